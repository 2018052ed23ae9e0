//! Many connections on one listener.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io;
use std::sync::Mutex;

use async_channel::{Receiver, Sender, bounded, unbounded};
use futures_lite::future::or;
use socket2::Socket;

use super::connection::{Connection, ConnectionRequest, PendingConnection};
use super::{ConnectionOptions, Error};
#[cfg(feature = "blocking")]
use crate::adapters::blocking::cotp as blocking;
use crate::adapters::driver::{ACCEPT_PAUSE, is_of_one_connection};
use crate::adapters::runtime::{Kind, Runtime, Source, TcpIo};
use crate::{Rng, Seed};

/// Accepts connections, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
#[derive(derive_more::Debug)]
#[debug("Listener({local})")]
pub struct Listener {
    local: SocketAddr,
    /// None once it is closed.
    source: Arc<Mutex<Option<Box<dyn Source>>>>,
    arrivals: Receiver<Arrival>,
    /// One for each connection that was accepted and not taken.
    accepted: Receiver<()>,
}

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival<C = Connection, R = ConnectionRequest> {
    /// A connection is open; the policy of the configuration accepted it.
    Connection(C),
    /// A peer asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
    Request(R),
    /// A handshake failed.
    Failed {
        /// The address of the peer.
        remote: SocketAddr,
        /// Why.
        error: Error,
    },
}

faces! {
    impl Listener {
        /// Returns the address it listens on, with the real port.
        #[must_use]
        pub fn local_addr(&self) -> SocketAddr {
            self.local
        }

        /// Waits for the next open connection. Requests are accepted, failed handshakes passed over.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`]: the runtime stopped the listener.
        pub async fn accept[accept_timeout](&self) -> Result<Connection, Error> as Result<blocking::Connection, Error> {
            loop {
                if let Ok(connection) = self.next().await?.accepted().await {
                    return Ok(connection);
                }
            }
        }

        /// Waits for the next connection, request or failed handshake. A call that is given up has taken
        /// nothing.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`]: the runtime stopped the listener.
        pub async fn next[next_timeout](&self) -> Result<Arrival, Error> as Result<blocking::Arrival, Error> {
            let arrival = self.arrivals.recv().await.map_err(|_| Error::Closed)?;
            // There is room for another one.
            let _ = self.accepted.try_recv();
            Ok(arrival)
        }
    }
}

impl Listener {
    pub(super) fn start(
        runtime: &Arc<dyn Runtime>,
        socket: Socket,
        options: ConnectionOptions,
        seed: &Seed,
    ) -> Result<Self, Error> {
        let local = socket.local_addr()?.as_socket();
        let source = runtime.watch(socket, Kind::Listener)?;
        let (arrived, arrivals) = unbounded();
        let (accepting, accepted) = bounded(options.arrivals.max(1));
        let listener = Self {
            local: local.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?,
            source: Arc::new(Mutex::new(Some(source))),
            arrivals,
            accepted,
        };
        let acceptor = Arc::new(Acceptor {
            runtime: Arc::clone(runtime),
            options,
            source: Arc::clone(&listener.source),
            arrived,
            accepting,
        });
        runtime.spawn(Box::pin(accept_all(acceptor, seed.rng())));
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.source.lock().map(|mut source| source.take()));
        self.arrivals.close();
        while self.arrivals.try_recv().is_ok() {}
    }
}

impl Arrival {
    /// Waits for the connection; a request is accepted.
    pub(super) async fn accepted(self) -> Result<Connection, Error> {
        match self {
            Self::Connection(connection) => Ok(connection),
            Self::Request(request) => request.accept().await,
            Self::Failed { error, .. } => Err(error),
        }
    }
}

/// What accepts the connections of a listener. It is no machine.
struct Acceptor {
    runtime: Arc<dyn Runtime>,
    options: ConnectionOptions,
    source: Arc<Mutex<Option<Box<dyn Source>>>>,
    arrived: Sender<Arrival>,
    accepting: Sender<()>,
}

type Accepted = (Socket, SocketAddr);

impl Acceptor {
    /// Waits for `future`, and gives it up when the listener is closed.
    async fn unless_closed<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let closed = async {
            self.arrived.closed().await;
            None
        };
        or(closed, async { Some(future.await) }).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        // Nothing panics under this lock.
        let source = self.source.lock();
        let source = source.as_deref().ok().and_then(Option::as_ref);
        source.map_or(Poll::Pending, |source| source.poll_accept(cx))
    }

    /// Waits for a connection; `None` once the listener is closed.
    async fn accept(&self) -> Option<Accepted> {
        loop {
            let accepting = poll_fn(|cx| self.poll_accept(cx));
            match self.unless_closed(accepting).await? {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    report!(warn, %error, "connection not accepted");
                    if !is_of_one_connection(&error) {
                        let until = self.runtime.now() + ACCEPT_PAUSE;
                        let mut pause = self.runtime.timer(until);
                        poll_fn(|cx| pause.poll(cx)).await;
                    }
                }
            }
        }
    }

    /// Waits for the end of a handshake.
    async fn shake_hands(&self, socket: Socket, seed: Seed) -> Result<Arrival, Error> {
        let stream = TcpIo::new(self.runtime.as_ref(), socket)?;
        let opening = PendingConnection::start(&self.runtime, stream, &self.options, seed)?;
        opening.opened().await
    }
}

async fn accept_all(acceptor: Arc<Acceptor>, mut rng: Rng) {
    while acceptor.accepting.send(()).await.is_ok() {
        let Some((socket, remote)) = acceptor.accept().await else {
            return;
        };
        let mut octets = [0; 32];
        rng.fill(&mut octets);
        let (acceptor, seed) = (Arc::clone(&acceptor), Seed::from_octets(octets));
        let runtime = Arc::clone(&acceptor.runtime);
        runtime.spawn(Box::pin(async move {
            let handshake = acceptor.shake_hands(socket, seed);
            if let Some(opened) = acceptor.unless_closed(handshake).await {
                let arrival = opened.unwrap_or_else(|error| Arrival::Failed { remote, error });
                // Refused by a listener that was closed meanwhile.
                let _ = acceptor.arrived.try_send(arrival);
            }
        }));
    }
}
