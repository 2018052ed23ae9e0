//! One machine on one bound UDP socket, in the thread of the caller.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use crate::adapters::offload::{self, Buffers, Inbox, Socket, give_to};
use crate::adapters::{Clock, CommandError};
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Output, Path, Proto, Transmit};

/// Sends and asks, or datagrams received, after which the loop looks at the other side.
const FAIR_SHARE: usize = 64;

/// How a machine is driven.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The clock that the machine lives by. Default: one of its own.
    pub clock: Clock,
    /// How much one poll may send.
    pub limits: Limits,
    /// How the socket is set up.
    pub socket: offload::Options,
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
    socket: Socket,
    clock: Clock,
    tx: Transmit<Path>,
    /// How many datagrams of `tx` have left, while the socket does not take the rest.
    held: Option<usize>,
    inbox: Inbox,
    /// The limit of a blocking read that the socket was last given.
    limit: Duration,
    done: bool,
    unanswered: u64,
}

impl<M: Machine<Addr = Path>> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Driver");
        debug
            .field("local", &self.local_addr())
            .field("counts", &self.counts());
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
        let socket = Socket::new(socket, &options.socket)?;
        let mut driver = Self {
            machine,
            socket,
            clock: options.clock,
            tx: Transmit::new(options.limits),
            held: None,
            inbox: Inbox::default(),
            limit: Duration::ZERO,
            done: false,
            unanswered: 0,
        };
        let itself = Path::socket(Proto::Udp, driver.local_addr());
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
    pub fn counts(&self) -> Counts {
        let counts = self.socket.counts();
        Counts {
            reported: counts.reported,
            unsent: counts.unsent,
            unanswered: self.unanswered,
        }
    }

    /// Returns the buffers that the system granted the socket.
    #[must_use]
    pub const fn buffers(&self) -> Buffers {
        self.socket.buffers()
    }

    /// Returns what the socket is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Returns the socket, blocking without a limit, and the machine.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub fn into_parts(self) -> io::Result<(M, UdpSocket)> {
        let socket = self.socket.into_inner();
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(None)?;
        Ok((self.machine, socket))
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
                Output::Yield => return Drained::More,
                Output::Idle(deadline) => return Drained::Idle(deadline),
                Output::Done => self.done = true,
            }
        }
    }

    fn answer(&mut self, ask: &Ask<Path>) {
        self.unanswered += 1;
        if let Ask::Open { tag, path } = *ask {
            let failed = Link::Failed(tag, Cause::Unreachable);
            self.machine.link(self.clock.now(), path, failed);
        }
    }

    /// Sends what is held, and tells whether all of it has left. The machine is not polled before that.
    fn flush(&mut self) -> bool {
        if let Some(sent) = &mut self.held {
            if !self.socket.send(&self.tx, sent) {
                return false;
            }
            self.held = None;
        }
        true
    }

    /// Takes what the socket has, but for a limited number of datagrams, and tells whether that was any.
    fn receive(&mut self) -> io::Result<bool> {
        let mut count = 0;
        while count < FAIR_SHARE {
            let now = self.clock.now();
            let machine = &mut self.machine;
            let give = give_to(machine, || now);
            let received = self.socket.receive_batches(&mut self.inbox, give);
            match received {
                // Errors were read, but no datagram.
                Ok(received) => count += received.max(1),
                Err(error) if is_pause(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(count > 0)
    }

    /// Waits for one datagram, and tells whether it came before `wake`.
    fn await_datagram(&mut self, wake: Instant) -> io::Result<bool> {
        let limit = self.clock.wait(wake);
        if limit.is_zero() {
            return Ok(false);
        }
        let socket = self.socket.get_ref();
        if limit != self.limit {
            socket.set_read_timeout(Some(limit))?;
            self.limit = limit;
        }
        socket.set_nonblocking(false)?;
        let clock = self.clock;
        let give = give_to(&mut self.machine, || clock.now());
        let received = self.socket.receive_one_train(&mut self.inbox, give);
        self.socket.get_ref().set_nonblocking(true)?;
        match received {
            Ok(_) => Ok(true),
            Err(error) if is_pause(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
