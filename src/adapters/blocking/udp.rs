//! One machine on one bound UDP socket, in the thread of the caller.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use crate::adapters::{Clock, CommandError};
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Output, Path, Proto, Transmit};

/// Sends and asks, or datagrams received, after which the loop looks at the other side.
const FAIR_SHARE: usize = 64;
/// Octets of the largest datagram there can be.
const LARGEST: usize = 1 << 16;

/// How a machine is driven.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The clock that the machine lives by. Default: one of its own.
    pub clock: Clock,
    /// How much one poll may send.
    pub limits: Limits,
}

/// What a turn ended with.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn<E> {
    /// The machine has something to tell. There may be more; ask at once.
    Event(E),
    /// The time given is over.
    Quiet,
    /// The machine is done, and what it sent has left.
    Done,
}

/// What went wrong on the way, and was not worth more than being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Errors reported by the network: port or host unreachable, datagram too long. Anybody can forge one,
    /// so they never end anything.
    pub reported: u64,
    /// Datagrams that the system would not send.
    pub unsent: u64,
    /// Asks for sockets, which this driver does not open.
    pub unanswered: u64,
}

/// Drives a machine over a bound UDP socket, without a thread of its own.
///
/// It lives in [`turn`](Self::turn) only: between two turns no timer fires, and datagrams wait in the
/// socket. Commands are given between turns, and what comes of them leaves with the next one. So whoever
/// has commands to give at any time takes short turns; their length bounds how long a command waits.
pub struct Driver<M: Machine<Addr = Path>> {
    machine: M,
    socket: UdpSocket,
    local: SocketAddr,
    /// A connected socket sends without an address.
    is_connected: bool,
    clock: Clock,
    tx: Transmit<Path>,
    /// How many datagrams of `tx` have left, while the socket does not take the rest.
    held: Option<usize>,
    scratch: Vec<u8>,
    /// The limit of a blocking read that the socket was last given.
    limit: Duration,
    done: bool,
    counts: Counts,
}

impl<M: Machine<Addr = Path>> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Driver");
        debug
            .field("local", &self.local)
            .field("counts", &self.counts);
        debug.finish_non_exhaustive()
    }
}

enum Drained<E> {
    Event(E),
    Idle(Option<Instant>),
    /// The socket is full.
    Held,
    /// More is to be sent, but the inputs first.
    More,
    Done,
}

impl<M: Machine<Addr = Path>> Driver<M> {
    /// Takes a bound socket, and tells `machine` that it is up.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn new(machine: M, socket: UdpSocket, options: &Options) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let mut driver = Self {
            machine,
            local,
            is_connected: socket.peer_addr().is_ok(),
            socket,
            clock: options.clock,
            tx: Transmit::new(options.limits),
            held: None,
            scratch: vec![0; LARGEST],
            limit: Duration::ZERO,
            done: false,
            counts: Counts::default(),
        };
        let itself = Path::socket(Proto::Udp, local);
        driver.machine.link(driver.clock.now(), itself, Link::Up);
        Ok(driver)
    }

    /// Gives the machine a command. What comes of it leaves with the next [`turn`](Self::turn).
    ///
    /// # Errors
    ///
    /// The machine's refusal, or that it is done.
    pub fn command(&mut self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        if self.done {
            return Err(CommandError::Gone);
        }
        let outcome = self.machine.command(self.clock.now(), command);
        outcome.map_err(CommandError::Refused)
    }

    /// Receives, sends and fires timers until there is an event, at most for `wait`, rounded up to
    /// [`Clock::GRAIN`].
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable any more.
    pub fn turn(&mut self, wait: Duration) -> io::Result<Turn<M::Event>> {
        let until = self.clock.now() + wait;
        loop {
            let wake = match self.drain() {
                Drained::Event(event) => return Ok(Turn::Event(event)),
                Drained::Done => return Ok(Turn::Done),
                Drained::More => Instant::ZERO,
                Drained::Held => until.min(self.clock.now() + Clock::GRAIN),
                Drained::Idle(deadline) => deadline.map_or(until, |time| time.min(until)),
            };
            let has_come = self.receive()? || self.await_datagram(wake)?;
            if !has_come && self.clock.now() >= until {
                return Ok(Turn::Quiet);
            }
        }
    }

    /// Returns the machine, to look at.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns what was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns what the socket is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the socket, blocking without a limit, and the machine.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn into_parts(self) -> io::Result<(M, UdpSocket)> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(None)?;
        Ok((self.machine, self.socket))
    }

    fn drain(&mut self) -> Drained<M::Event> {
        let mut outputs = 0;
        loop {
            if !self.flush() {
                return Drained::Held;
            }
            if self.done {
                return Drained::Done;
            }
            if outputs == FAIR_SHARE {
                return Drained::More;
            }
            match self.machine.poll(self.clock.now(), &mut self.tx) {
                Output::Transmit => {
                    self.held = Some(0);
                    outputs += 1;
                }
                Output::Event(event) => return Drained::Event(event),
                Output::Ask(ask) => {
                    self.answer(&ask);
                    outputs += 1;
                }
                Output::Idle(deadline) => return Drained::Idle(deadline),
                Output::Done => self.done = true,
            }
        }
    }

    fn answer(&mut self, ask: &Ask<Path>) {
        self.counts.unanswered += 1;
        if let Ask::Open { tag, path } = *ask {
            let failed = Link::Failed(tag, Cause::Unreachable);
            self.machine.link(self.clock.now(), path, failed);
        }
    }

    /// Sends what is held, and tells whether all of it has left. The machine is not polled before that.
    fn flush(&mut self) -> bool {
        let (Some(mut sent), Some(to)) = (self.held, self.tx.to()) else {
            return true;
        };
        for datagram in self.tx.datagrams().skip(sent) {
            match self.send(to.remote, datagram) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.held = Some(sent);
                    return false;
                }
                Err(_) => self.counts.unsent += 1,
            }
            sent += 1;
        }
        self.held = None;
        true
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let attempt = || {
            let sent = if self.is_connected {
                self.socket.send(datagram)
            } else {
                self.socket.send_to(datagram, to)
            };
            sent.map(drop)
        };
        match attempt() {
            // An error that the network reported before, about another datagram; this one was not tried.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => attempt(),
            other => other,
        }
    }

    /// Takes what the socket has, but for a limited number of datagrams, and tells whether that was any.
    fn receive(&mut self) -> io::Result<bool> {
        for count in 0..FAIR_SHARE {
            if !self.receive_one()? {
                return Ok(count > 0);
            }
        }
        Ok(true)
    }

    /// Waits for one datagram, and tells whether it came before `wake`.
    fn await_datagram(&mut self, wake: Instant) -> io::Result<bool> {
        let limit = self.clock.wait(wake);
        if limit.is_zero() {
            return Ok(false);
        }
        if limit != self.limit {
            self.socket.set_read_timeout(Some(limit))?;
            self.limit = limit;
        }
        self.socket.set_nonblocking(false)?;
        let has_come = self.receive_one();
        self.socket.set_nonblocking(true)?;
        has_come
    }

    /// Feeds the machine one datagram, or counts one error, and tells whether there was any.
    fn receive_one(&mut self) -> io::Result<bool> {
        match self.socket.recv_from(&mut self.scratch) {
            Ok((len, remote)) => {
                let octets = self.scratch.get(..len).unwrap_or_default();
                let from = Path::udp(self.local, remote);
                self.machine.receive(self.clock.now(), from, octets);
                Ok(true)
            }
            Err(error) if is_pause(&error) => Ok(false),
            Err(error) if is_reported(&error) => {
                self.counts.reported += 1;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Tells whether the network reported it (ICMP), so that it says nothing about the socket.
pub(super) fn is_reported(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | PermissionDenied
    ) || error.raw_os_error() == Some(TOO_LONG)
}

/// `EMSGSIZE`, for which `std` has no name.
const TOO_LONG: i32 = if cfg!(windows) {
    10_040
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};
