//! Many connections on one listener.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, pending, poll_fn};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::io;
use std::sync::Mutex;

use async_channel::{Receiver, Sender, bounded, unbounded};
use futures_lite::future::or;
use socket2::{SockRef, Socket};

use super::connection::{Connection, ConnectionRequest, PendingConnection};
use super::shares::{self, Shares};
use super::{ConnectionOptions, Error};
#[cfg(feature = "blocking")]
use crate::adapters::blocking::cotp as blocking;
use crate::adapters::driver::{ACCEPT_PAUSE, BACKLOG, is_of_one_connection, new_socket};
use crate::adapters::lock;
use crate::adapters::runtime::{Kind, NO_ADDRESS, Runtime, Source, TcpIo};
use crate::cotp::Role;
use crate::{Path, Proto, Rng, Seed};

/// Accepts connections, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
#[derive(derive_more::Debug)]
#[debug("Listener({local:?})")]
pub struct Listener {
    local: Vec<SocketAddr>,
    queue: Arc<AcceptQueue>,
    arrivals: Receiver<Arrival>,
}

/// What a listener and its acceptor share.
struct AcceptQueue {
    /// None once it is closed.
    sources: Mutex<Vec<Box<dyn Source>>>,
    /// Connections that are open or failed, and were not taken yet.
    untaken: Arc<AtomicUsize>,
    /// Told when one was taken.
    room: (Sender<()>, Receiver<()>),
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
        /// Returns the first address it listens on, with the real port; 0.0.0.0:0 if that is none of IP.
        #[must_use]
        pub fn local_addr(&self) -> SocketAddr {
            self.local.first().copied().unwrap_or(NO_ADDRESS)
        }

        /// Returns all addresses it listens on.
        #[must_use]
        pub fn local_addrs(&self) -> &[SocketAddr] {
            &self.local
        }

        /// Closes the socket and all connections that were not taken. Those that were stay. Whoever waits in `accept` or
        /// `next` hears of [`Error::Closed`].
        pub fn close(&self) -> () {
            lock(&self.queue.sources).clear();
            self.arrivals.close();
            while self.arrivals.try_recv().is_ok() {}
        }

        /// Waits for the next open connection. Requests are accepted, failed handshakes passed over.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`]: the listener was closed, or its runtime stopped it.
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
        /// [`Error::Closed`]: the listener was closed, or its runtime stopped it.
        pub async fn next[next_timeout](&self) -> Result<Arrival, Error> as Result<blocking::Arrival, Error> {
            let arrival = self.arrivals.recv().await.map_err(|_| Error::Closed)?;
            self.queue.untaken.fetch_sub(1, Ordering::Relaxed);
            let _ = self.queue.room.0.try_send(());
            Ok(arrival)
        }
    }
}

impl Listener {
    pub(super) fn start(
        runtime: &Arc<dyn Runtime>,
        sockets: Vec<Socket>,
        options: ConnectionOptions,
    ) -> Result<Self, Error> {
        if let Role::Initiator(_) = options.config.role {
            let message = "a listener needs the configuration of a responder";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
        }
        let seed = options.checked_seed()?;
        let (mut local, mut sources) = (Vec::new(), Vec::new());
        for socket in sockets {
            socket.set_nonblocking(true)?;
            local.push(socket.local_addr()?.as_socket().unwrap_or(NO_ADDRESS));
            sources.push(runtime.watch(socket, Kind::Listener)?);
        }
        let (arrived, arrivals) = unbounded();
        let queue = Arc::new(AcceptQueue {
            sources: Mutex::new(sources),
            untaken: Arc::default(),
            room: bounded(1),
        });
        let acceptor = Arc::new(Acceptor {
            runtime: Arc::clone(runtime),
            handshakes: Shares::new(options.handshakes.max(1)),
            options,
            queue: Arc::clone(&queue),
            arrived,
        });
        runtime.spawn(Box::pin(accept_all(acceptor, seed.rng())));
        Ok(Self {
            local,
            queue,
            arrivals,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// Binds sockets that listen on all of `addresses` that this host has.
pub(super) fn bind_all(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<Vec<Socket>> {
    use io::ErrorKind::{AddrInUse, InvalidInput, PermissionDenied};
    let addresses: Vec<_> = addresses.into_iter().collect();
    let mut failure = io::Error::new(InvalidInput, "no address to listen on");
    let mut sockets = Vec::new();
    for address in &addresses {
        match bind(*address, addresses.len() == 1) {
            Ok(socket) => sockets.push(socket),
            Err(error) if matches!(error.kind(), AddrInUse | PermissionDenied) => {
                return Err(error);
            }
            Err(error) => failure = error,
        }
    }
    if sockets.is_empty() {
        return Err(failure);
    }
    Ok(sockets)
}

fn bind(address: SocketAddr, is_alone: bool) -> io::Result<Socket> {
    let socket = new_socket(Path::socket(Proto::Tcp, address), !is_alone, false)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
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
    queue: Arc<AcceptQueue>,
    arrived: Sender<Arrival>,
    /// The connections in their handshakes. Who receives from one of the senders hears when it is dropped.
    handshakes: Shares<Sender<()>>,
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

    /// Waits for a connection, and with more of them than may be untaken for room.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        if self.queue.untaken.load(Ordering::Relaxed) >= self.options.arrivals.max(1) {
            return Poll::Pending;
        }
        let mut sources = lock(&self.queue.sources);
        for number in 0..sources.len() {
            let accepted = sources.get(number).map(|source| source.poll_accept(cx));
            if let Some(Poll::Ready(accepted)) = accepted {
                // The others are asked first next time.
                sources.rotate_left(number + 1);
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    /// Waits for a connection; `None` once the listener is closed.
    async fn accept(&self) -> Option<Accepted> {
        loop {
            let accepting = async { Some(poll_fn(|cx| self.poll_accept(cx)).await) };
            let roomy = async { self.queue.room.1.recv().await.err().and(None) };
            match self.unless_closed(or(accepting, roomy)).await? {
                None => {}
                Some(Ok(accepted)) => return Some(accepted),
                Some(Err(error)) => self.recover(&error).await,
            }
        }
    }

    /// Waits until another connection may be accepted.
    async fn recover(&self, error: &io::Error) {
        report!(warn, %error, "connection not accepted");
        if is_of_one_connection(error) {
            return;
        }
        // If it is for want of files, the next one has that of a handshake.
        drop(self.handshakes.displace());
        let mut pause = self.runtime.timer(self.runtime.now() + ACCEPT_PAUSE);
        poll_fn(|cx| pause.poll(cx)).await;
    }

    /// Waits for the end of a handshake. It gives way to others when `displaced` hears of it.
    async fn shake_hands(
        &self,
        socket: Socket,
        seed: Seed,
        displaced: Receiver<()>,
    ) -> Result<Arrival, Error> {
        let (runtime, options) = (&self.runtime, &self.options);
        options.tcp.apply(&SockRef::from(&socket));
        let stream = TcpIo::new(runtime.as_ref(), socket)?;
        let gives_way = async {
            let _ = displaced.recv().await;
            Err(io::Error::other("the limit of handshakes is reached"))
        };
        let stream = or(options.upgraded(runtime, stream.into()), gives_way).await?;
        let untaken = Some(Arc::clone(&self.queue.untaken));
        let opening = PendingConnection::start(runtime, stream, options, seed, untaken)?;
        let shared = opening.shared();
        let gives_way = async {
            let _ = displaced.recv().await;
            shared.displace("handshakes", self.handshakes.limit);
            // The handshake hears of it.
            pending().await
        };
        or(opening.opened(), gives_way).await
    }
}

async fn accept_all(acceptor: Arc<Acceptor>, mut rng: Rng) {
    while let Some((socket, remote)) = acceptor.accept().await {
        let mut octets = [0; 32];
        rng.fill(&mut octets);
        let (acceptor, seed) = (Arc::clone(&acceptor), Seed::from_octets(octets));
        let (displace, displaced) = bounded(1);
        let mut key = shares::key(remote);
        drop(acceptor.handshakes.hold(&mut key, 1, displace));
        let runtime = Arc::clone(&acceptor.runtime);
        runtime.spawn(Box::pin(async move {
            let handshake = acceptor.shake_hands(socket, seed, displaced);
            let opened = acceptor.unless_closed(handshake).await;
            acceptor.handshakes.release(key);
            if let Some(opened) = opened {
                let arrival = opened.unwrap_or_else(|error| {
                    acceptor.queue.untaken.fetch_add(1, Ordering::Relaxed);
                    Arrival::Failed { remote, error }
                });
                // Refused by a listener that was closed meanwhile.
                let _ = acceptor.arrived.try_send(arrival);
            }
        }));
    }
}
