//! Many connections on one listener.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use super::connection::Connection;
use super::opening::{Opened, Opening, Overheard, Request};
use crate::adapters::blocking::stream::Handle;
use crate::adapters::cotp::{Error, Options};
use crate::cotp::Command;
use crate::{Rng, Seed};

/// How long a listener rests after an error such as a lack of files, which would come again at once.
const REST: Duration = Duration::from_millis(100);
/// How long a listener tries to reach itself.
const SELF_CALL: Duration = Duration::from_secs(1);

/// Takes connections in, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
pub struct Listener {
    local: SocketAddr,
    socket: Arc<TcpListener>,
    hall: Arc<Hall>,
    thread: Option<JoinHandle<()>>,
}

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival {
    /// A connection is open; the policy of the configuration accepted it.
    Connection(Connection),
    /// A peer asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
    Request(Request),
    /// A handshake came to nothing.
    Failed {
        /// The address of the peer.
        remote: SocketAddr,
        /// Why.
        error: Error,
    },
}

impl Listener {
    pub(super) fn start(socket: TcpListener, options: Options, seed: &Seed) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        let local = socket.local_addr()?;
        let socket = Arc::new(socket);
        let hall = Arc::new(Hall::new(options.arrivals));
        let chance = seed.rng();
        let (door, inside) = (Arc::clone(&socket), Arc::clone(&hall));
        let thread = thread::Builder::new()
            .name("farlink listener".into())
            .spawn(move || take_in(&door, &inside, &Arc::new(options), chance))?;
        Ok(Self {
            local,
            socket,
            hall,
            thread: Some(thread),
        })
    }

    /// Returns the address it listens on, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next open connection. Requests are accepted, failed handshakes passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]: the listener's thread has ended.
    pub fn accept(&self) -> Result<Connection, Error> {
        loop {
            match self.next()? {
                Arrival::Connection(connection) => return Ok(connection),
                Arrival::Request(request) => {
                    if let Ok(connection) = request.accept() {
                        return Ok(connection);
                    }
                }
                Arrival::Failed { .. } => {}
            }
        }
    }

    /// Waits for the next connection, request or failed handshake.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]: the listener's thread has ended.
    pub fn next(&self) -> Result<Arrival, Error> {
        self.hall.take().ok_or(Error::Gone)
    }

    /// Wakes the thread that accepts, and tells whether that is sure to work.
    fn wake(&self) -> bool {
        if SockRef::from(&*self.socket)
            .shutdown(Shutdown::Both)
            .is_ok()
        {
            return true;
        }
        // Not every system wakes an accept by that; a connection does everywhere.
        let here = match self.local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let here = SocketAddr::new(here, self.local.port());
        TcpStream::connect_timeout(&here, SELF_CALL).is_ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hall.close();
        if self.wake()
            && let Some(thread) = self.thread.take()
        {
            // It cannot panic; if it did, it has ended all the same.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Where connections wait for the application, and the places that there are.
struct Hall {
    state: Mutex<State>,
    arrived: Condvar,
    left: Condvar,
}

struct State {
    arrivals: VecDeque<Arrival>,
    /// The connections in their handshake, by number.
    openings: BTreeMap<u64, Handle<Overheard>>,
    /// Connections that were accepted and not taken, however far they have come.
    inside: usize,
    places: usize,
    is_closed: bool,
}

impl Hall {
    fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                arrivals: VecDeque::new(),
                openings: BTreeMap::new(),
                inside: 0,
                places: places.max(1),
                is_closed: false,
            }),
            arrived: Condvar::new(),
            left: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; `None` when no more connections are wanted.
    fn reserve(&self) -> Option<()> {
        let mut state = self.lock();
        while state.inside >= state.places && !state.is_closed {
            let woken = self.left.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.inside += 1;
        (!state.is_closed).then_some(())
    }

    fn give_back(&self) {
        self.lock().inside -= 1;
    }

    /// Waits a little, unless the listener is dropped.
    fn rest(&self) {
        let state = self.lock();
        if !state.is_closed {
            drop(self.left.wait_timeout(state, REST));
        }
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Notes a handshake that has begun; `None` when nobody waits for it any more.
    fn begin(&self, number: u64, handle: Handle<Overheard>) -> Option<()> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        state.openings.insert(number, handle);
        Some(())
    }

    fn arrive(&self, number: u64, arrival: Arrival) {
        let mut state = self.lock();
        let handle = state.openings.remove(&number);
        let unwanted = if state.is_closed {
            Some(arrival)
        } else {
            state.arrivals.push_back(arrival);
            None
        };
        drop(state);
        self.arrived.notify_one();
        drop((handle, unwanted));
    }

    fn take(&self) -> Option<Arrival> {
        let mut state = self.lock();
        loop {
            if let Some(arrival) = state.arrivals.pop_front() {
                state.inside -= 1;
                drop(state);
                self.left.notify_one();
                return Some(arrival);
            }
            if state.is_closed {
                return None;
            }
            let woken = self.arrived.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let openings = mem::take(&mut state.openings);
        let arrivals = mem::take(&mut state.arrivals);
        drop(state);
        self.arrived.notify_all();
        self.left.notify_all();
        for handle in openings.values() {
            // It is only refused by a connection that has ended.
            let _ = handle.command_last(Command::Close);
        }
        drop(arrivals);
    }
}

fn take_in(socket: &TcpListener, hall: &Arc<Hall>, options: &Arc<Options>, mut chance: Rng) {
    for number in 0.. {
        if hall.reserve().is_none() {
            return;
        }
        let accepted = socket.accept();
        if hall.is_closed() {
            return;
        }
        match accepted {
            Ok((stream, remote)) => {
                let mut octets = [0; 32];
                chance.fill(&mut octets);
                let seed = Seed::from_octets(octets);
                receive(hall, number, (stream, remote), options, seed);
            }
            Err(error) => {
                hall.give_back();
                if !is_of_one_connection(&error) {
                    hall.rest();
                }
            }
        }
    }
}

/// Goes through the handshake in a thread of its own.
fn receive(
    hall: &Arc<Hall>,
    number: u64,
    (stream, remote): (TcpStream, SocketAddr),
    options: &Arc<Options>,
    seed: Seed,
) {
    let (inside, options) = (Arc::clone(hall), Arc::clone(options));
    let spawned = thread::Builder::new()
        .name("farlink handshake".into())
        .spawn(move || {
            let arrival = match shake_hands(&inside, number, stream, &options, &seed) {
                Ok(Opened::Connection(connection)) => Arrival::Connection(connection),
                Ok(Opened::Request(request)) => Arrival::Request(request),
                Err(error) => Arrival::Failed { remote, error },
            };
            inside.arrive(number, arrival);
        });
    if let Err(error) = spawned {
        let error = Error::Io(error);
        hall.arrive(number, Arrival::Failed { remote, error });
    }
}

fn shake_hands(
    hall: &Hall,
    number: u64,
    stream: TcpStream,
    options: &Options,
    seed: &Seed,
) -> Result<Opened, Error> {
    let opening = Opening::start(stream, options, seed)?;
    hall.begin(number, opening.handle()).ok_or(Error::Gone)?;
    opening.open()
}

/// Tells whether the next connection can be accepted at once although this one could not.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted
    )
}
