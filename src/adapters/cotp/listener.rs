//! Many connections on one listener.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::{Future as _, poll_fn};
use core::mem;
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::{Mutex, PoisonError};

use socket2::Socket;

use super::connection::{Connection, PendingConnection, Request};
use super::{ConnectionOptions, Error};
#[cfg(feature = "blocking")]
use crate::adapters::blocking::cotp as blocking;
use crate::adapters::faces::faces;
use crate::adapters::runtime::{Kind, Runtime, Source, TcpIo};
use crate::adapters::socket::{ACCEPT_PAUSE, is_of_one_connection};
use crate::adapters::waiters::Wakes;
use crate::{Rng, Seed};

/// Accepts connections, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
#[derive(derive_more::Debug)]
#[debug("Listener({local})")]
pub struct Listener {
    local: SocketAddr,
    queue: OpenQueue,
}

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival<C = Connection, R = Request> {
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
            let next = self.queue.0.until(Line::Arrival, |state, _| match state.arrivals.pop_front() {
                Some(arrival) => {
                    state.room += 1;
                    state.wakes.first(Line::Room);
                    Poll::Ready(Ok(arrival))
                }
                None => state.poll_closed().map(|()| Err(Error::Closed)),
            });
            next.await
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
        let state = State {
            source: Some(runtime.watch(socket, Kind::Listener)?),
            room: options.arrivals.max(1),
            arrivals: VecDeque::new(),
            wakes: Wakes::new(),
        };
        let queue = Arc::new(AcceptQueue {
            runtime: Arc::clone(runtime),
            options,
            state: Mutex::new(state),
        });
        let accepting = accept_all(OpenQueue(Arc::clone(&queue)), seed.rng());
        runtime.spawn(Box::pin(accepting));
        Ok(Self {
            local: local.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?,
            queue: OpenQueue(queue),
        })
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

/// Closes the listener when its handle is dropped, or when its runtime stops it.
struct OpenQueue(Arc<AcceptQueue>);

impl Drop for OpenQueue {
    fn drop(&mut self) {
        // Dropped outside the lock.
        let _closed = self.0.with(|state| {
            state.wakes.everybody();
            (state.source.take(), mem::take(&mut state.arrivals))
        });
    }
}

/// The connections of a listener that were not taken yet. It is no machine, and has a small lock of its own.
struct AcceptQueue {
    runtime: Arc<dyn Runtime>,
    options: ConnectionOptions,
    state: Mutex<State>,
}

struct State {
    /// None once the listener is closed.
    source: Option<Box<dyn Source>>,
    /// Connections that may still be accepted.
    room: usize,
    arrivals: VecDeque<Arrival>,
    wakes: Wakes<Line>,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    /// An arrival.
    Arrival,
    /// Room for another connection.
    Room,
    /// The end of the listener.
    Close,
}

impl State {
    const fn poll_closed(&self) -> Poll<()> {
        match self.source {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }

    /// Waits for room, and accepts a connection; `None` once the listener is closed.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Accepted>>> {
        let polled = match &self.source {
            None => return Poll::Ready(None),
            Some(_) if self.room == 0 => return Poll::Pending,
            Some(source) => source.poll_accept(cx),
        };
        if let Poll::Ready(Ok(_)) = polled {
            self.room -= 1;
        }
        polled.map(Some)
    }
}

type Accepted = (Socket, SocketAddr);

impl AcceptQueue {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here panics half-way, so a poisoned queue is a whole one.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let woken = state.wakes.take();
        drop(state);
        woken.wake();
        result
    }

    /// Waits in `line` until `look` is ready.
    async fn until<T>(
        &self,
        line: Line,
        mut look: impl FnMut(&mut State, &mut Context<'_>) -> Poll<T>,
    ) -> T {
        let mut waiting = Waiting {
            queue: self,
            line,
            ticket: None,
        };
        let looking = poll_fn(|cx| {
            // A waker is dropped outside the lock.
            let (polled, _replaced) = self.with(|state| {
                let replaced = state.wakes.lift(line, waiting.ticket);
                let polled = look(state, cx);
                if polled.is_pending() {
                    let waker = cx.waker().clone();
                    state.wakes.wait(line, &mut waiting.ticket, waker);
                }
                (polled, replaced)
            });
            polled
        });
        looking.await
    }
}

/// A wait in a line, which is left when it is dropped.
struct Waiting<'a> {
    queue: &'a AcceptQueue,
    line: Line,
    ticket: Option<u64>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (line, ticket) = (self.line, &mut self.ticket);
        let _left = self.queue.with(|state| state.wakes.leave(line, ticket));
    }
}

async fn accept_all(queue: OpenQueue, mut rng: Rng) {
    let queue = &queue.0;
    while let Some(accepted) = queue.until(Line::Room, State::poll_accept).await {
        match accepted {
            Ok(accepted) => {
                let mut octets = [0; 32];
                rng.fill(&mut octets);
                let seed = Seed::from_octets(octets);
                let handshake = shake_hands(Arc::clone(queue), accepted, seed);
                queue.runtime.spawn(Box::pin(handshake));
            }
            Err(error) => {
                report!(warn, %error, "connection not accepted");
                if !is_of_one_connection(&error) {
                    let until = queue.runtime.now() + ACCEPT_PAUSE;
                    let mut pause = queue.runtime.timer(until);
                    poll_fn(|cx| pause.poll(cx)).await;
                }
            }
        }
    }
}

/// Waits for the end of a handshake, and gives it up when the listener is closed.
async fn shake_hands(queue: Arc<AcceptQueue>, (socket, remote): Accepted, seed: Seed) {
    let AcceptQueue {
        runtime, options, ..
    } = &*queue;
    let opening = async {
        let stream = TcpIo::new(runtime.as_ref(), socket)?;
        let opening = PendingConnection::start(runtime, stream, options, seed)?;
        opening.opened().await
    };
    let closing = queue.until(Line::Close, |state, _| state.poll_closed());
    let (mut opening, mut closing) = (pin!(opening), pin!(closing));
    let opened = poll_fn(|cx| match closing.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => opening.as_mut().poll(cx).map(Some),
    });
    if let Some(opened) = opened.await {
        let arrival = opened.unwrap_or_else(|error| Arrival::Failed { remote, error });
        // Unwanted, it is dropped outside the lock.
        let _unwanted = queue.with(|state| match state.source {
            Some(_) => {
                state.arrivals.push_back(arrival);
                state.wakes.first(Line::Arrival);
                None
            }
            None => Some(arrival),
        });
    }
}
