//! Many connections on one listener.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::Socket;

use super::connection::{Canceller, Connection, Opened, PendingConnection, Request};
use super::{ConnectionOptions, Error};
use crate::adapters::faces::faces;
use crate::adapters::runtime::{Kind, Runtime, Source, TcpIo};
use crate::adapters::waiters::Wakes;
use crate::{Rng, Seed};

#[cfg(feature = "blocking")]
use crate::adapters::blocking::cotp as blocking;

/// How long a listener rests after an error such as a lack of files, which would come again at once.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
pub struct Listener {
    local: SocketAddr,
    queue: Arc<AcceptQueue>,
}

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival {
    /// A connection is open; the policy of the configuration accepted it.
    Connection(Connection),
    /// A peer asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
    Request(Request),
    /// A handshake failed.
    Failed {
        /// The address of the peer.
        remote: SocketAddr,
        /// Why.
        error: Error,
    },
}

faces! {
    impl Listener, blocking::Listener {
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
                match self.next().await? {
                    Arrival::Connection(connection) => return Ok(connection),
                    Arrival::Request(request) => {
                        if let Ok(connection) = request.accept().await {
                            return Ok(connection);
                        }
                    }
                    Arrival::Failed { .. } => {}
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
            let mut waiting = Waiting {
                queue: &self.queue,
                ticket: None,
            };
            poll_fn(|cx| waiting.poll(cx)).await
        }
    }
}

impl Listener {
    pub(super) fn start(
        runtime: &Arc<dyn Runtime>,
        socket: Socket,
        options: ConnectionOptions,
        seed: &Seed,
    ) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket();
        let queue = Arc::new(AcceptQueue {
            runtime: Arc::clone(runtime),
            state: Mutex::new(State {
                source: Some(runtime.watch(socket, Kind::Listener)?),
                room: options.arrivals.max(1),
                acceptor: None,
                arrivals: VecDeque::new(),
                takers: Wakes::new(),
                handshakes: BTreeMap::new(),
            }),
            options,
        });
        runtime.spawn(Box::pin(accept_all(Arc::clone(&queue), seed.rng())));
        Ok(Self {
            local: local.ok_or(io::ErrorKind::Unsupported)?,
            queue,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}

/// The connections of a listener that are in their handshake or were not taken yet. It is no machine, and
/// has a small lock of its own.
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
    acceptor: Option<Waker>,
    arrivals: VecDeque<Arrival>,
    takers: Wakes<()>,
    handshakes: BTreeMap<u64, Canceller>,
}

impl AcceptQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way, so a poisoned queue is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, and accepts a connection; `None` once the listener is closed.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<(Socket, SocketAddr)>>> {
        let mut state = self.lock();
        let replaced = state.acceptor.replace(cx.waker().clone());
        let polled = match &state.source {
            None => Poll::Ready(None),
            Some(_) if state.room == 0 => Poll::Pending,
            Some(source) => source.poll_accept(cx).map(Some),
        };
        if let Poll::Ready(Some(Ok(_))) = polled {
            state.room -= 1;
        }
        drop(state);
        drop(replaced);
        polled
    }

    /// Notes a handshake that has begun; false when the listener was closed meanwhile.
    fn begin(&self, number: u64, handshake: Canceller) -> bool {
        let mut state = self.lock();
        let is_open = state.source.is_some();
        if is_open {
            state.handshakes.insert(number, handshake);
        }
        is_open
    }

    fn arrive(&self, number: u64, arrival: Arrival) {
        let mut state = self.lock();
        let handshake = state.handshakes.remove(&number);
        let unwanted = if state.source.is_some() {
            state.arrivals.push_back(arrival);
            state.takers.first(());
            None
        } else {
            Some(arrival)
        };
        let woken = state.takers.take();
        drop(state);
        woken.wake();
        drop((handshake, unwanted));
    }

    /// Closes the socket and everything that was not taken.
    fn close(&self) {
        let mut state = self.lock();
        let source = state.source.take();
        let arrivals = mem::take(&mut state.arrivals);
        let handshakes = mem::take(&mut state.handshakes);
        let acceptor = state.acceptor.take();
        state.takers.everybody();
        let woken = state.takers.take();
        drop(state);
        drop(source);
        handshakes.values().for_each(Canceller::cancel);
        woken.wake();
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        drop(arrivals);
    }
}

/// A wait for the next arrival.
struct Waiting<'a> {
    queue: &'a AcceptQueue,
    ticket: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Arrival, Error>> {
        let mut state = self.queue.lock();
        let replaced = state.takers.lift((), self.ticket);
        let polled = match state.arrivals.pop_front() {
            Some(arrival) => {
                state.room += 1;
                Poll::Ready(Ok(arrival))
            }
            None if state.source.is_none() => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        };
        let mut acceptor = None;
        if polled.is_pending() {
            state.takers.wait((), &mut self.ticket, cx.waker().clone());
        } else {
            acceptor = state.acceptor.take();
            let _ = state.takers.leave((), &mut self.ticket);
        }
        let woken = state.takers.take();
        drop(state);
        drop(replaced);
        woken.wake();
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        polled
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let mut state = self.queue.lock();
            let left = state.takers.leave((), &mut self.ticket);
            let woken = state.takers.take();
            drop(state);
            woken.wake();
            drop(left);
        }
    }
}

/// Closes the listener when its runtime stops it.
struct CloseOnDrop(Arc<AcceptQueue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn accept_all(queue: Arc<AcceptQueue>, mut rng: Rng) {
    let queue = CloseOnDrop(queue);
    let AcceptQueue { runtime, .. } = &*queue.0;
    for number in 0.. {
        match poll_fn(|cx| queue.0.poll_accept(cx)).await {
            None => return,
            Some(Ok(accepted)) => {
                let mut octets = [0; 32];
                rng.fill(&mut octets);
                let seed = Seed::from_octets(octets);
                let handshake = shake_hands(Arc::clone(&queue.0), number, accepted, seed);
                runtime.spawn(Box::pin(handshake));
            }
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(_)) => {
                let mut rest = runtime.timer(runtime.now() + REST);
                poll_fn(|cx| rest.poll(cx)).await;
            }
        }
    }
}

async fn shake_hands(
    queue: Arc<AcceptQueue>,
    number: u64,
    (socket, remote): (Socket, SocketAddr),
    seed: Seed,
) {
    let arrival = match open(&queue, number, socket, &seed).await {
        Ok(Opened::Connection(connection)) => Arrival::Connection(connection),
        Ok(Opened::Request(request)) => Arrival::Request(request),
        Err(error) => Arrival::Failed { remote, error },
    };
    queue.arrive(number, arrival);
}

async fn open(
    queue: &AcceptQueue,
    number: u64,
    socket: Socket,
    seed: &Seed,
) -> Result<Opened, Error> {
    let stream = TcpIo::new(queue.runtime.as_ref(), socket)?;
    let opening = PendingConnection::start(&queue.runtime, stream, &queue.options, seed)?;
    if !queue.begin(number, opening.canceller()) {
        return Err(Error::Closed);
    }
    opening.opened().await
}

/// Tells whether the next connection can be accepted at once although this one could not.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted
    )
}
