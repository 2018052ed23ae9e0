//! A connection whose peer is a list of octets.
#![allow(dead_code, reason = "every user needs another part of it")]

use bytes::Bytes;
use farlink::cotp::{Command, Config, Connected, Connection, ConnectionEnd, Event};
use farlink::{Ask, Cause, Instant, Limits, Link, Machine, Output, Seed, Transmit};

/// The most outputs of one drain, beside one for each octet received.
const MOST_OUTPUTS: usize = 64;
/// Bytes of memory held beside those for received octets.
const MOST_HELD: usize = 4 << 10;
/// Bytes of memory for a message in a queue, beside its octets.
const PER_MESSAGE: usize = 64;
/// The most deadlines of a connection after its peer fell silent.
const MOST_DEADLINES: usize = 8;

/// A connection on a connected stream, and its collected output.
///
/// Every call checks that the drain ends, and that memory stays in proportion to the octets received.
pub(crate) struct Talk<M = Connection> {
    machine: M,
    /// Returns the bytes of memory that the machine holds.
    held: fn(&M) -> usize,
    tx: Transmit<()>,
    now: Instant,
    /// Messages that are sent when the connection is open.
    greeting: Vec<Bytes>,
    fed: usize,
    is_done: bool,
    pub(crate) written: Vec<u8>,
    pub(crate) connected: Option<Box<Connected>>,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) end: Option<Box<ConnectionEnd>>,
}

impl Talk {
    /// Makes a connection and brings its stream up.
    pub(crate) fn new(config: Config, greeting: Vec<Bytes>) -> Self {
        let machine = Connection::new(config, &Seed::from(1)).unwrap();
        Self::with(machine, Connection::memory_used, greeting)
    }
}

impl<M: Machine<Addr = (), Command = Command, Event = Event>> Talk<M> {
    /// Connects the stream of a machine that has a connection.
    pub(crate) fn with(machine: M, held: fn(&M) -> usize, greeting: Vec<Bytes>) -> Self {
        let sent: usize = greeting.iter().map(|sent| sent.len() + PER_MESSAGE).sum();
        let mut talk = Self {
            machine,
            held,
            tx: Transmit::new(Limits::stream(1 << 16)),
            now: Instant::from_nanos(1),
            greeting,
            fed: sent,
            is_done: false,
            written: Vec::new(),
            connected: None,
            messages: Vec::new(),
            end: None,
        };
        talk.link(Link::Up);
        talk
    }

    /// Passes octets of the peer, as long as the machine wants them.
    pub(crate) fn receive(&mut self, octets: &[u8]) {
        if self.machine.wants(()) {
            self.fed += octets.len();
            self.machine.receive(self.now, (), octets);
            self.drain();
        }
    }

    pub(crate) fn link(&mut self, state: Link) {
        if !self.is_done {
            self.machine.link(self.now, (), state);
            self.drain();
        }
    }

    /// Lets time pass until the connection has no deadline, and returns whether it is done.
    pub(crate) fn pass_time(&mut self) -> bool {
        for _ in 0..MOST_DEADLINES {
            match self.drain() {
                Some(deadline) => self.now = deadline,
                None => return self.is_done,
            }
        }
        panic!("deadlines follow deadlines");
    }

    /// Drains the machine and returns its deadline.
    fn drain(&mut self) -> Option<Instant> {
        for _ in 0..MOST_OUTPUTS + self.fed {
            let held = (self.held)(&self.machine);
            let bound = MOST_HELD + 3 * self.fed;
            assert!(
                held <= bound,
                "{held} bytes held, after {} octets",
                self.fed
            );
            match self.machine.poll(self.now, &mut self.tx) {
                Output::Transmit => self.written.extend_from_slice(self.tx.octets()),
                Output::Event(event) => self.take(event),
                Output::Ask(Ask::Close(()) | Ask::Abort(())) => {
                    self.machine.link(self.now, (), Link::Down(Cause::Closed));
                }
                Output::Ask(_) => (),
                Output::Yield => {}
                Output::Idle(deadline) => return deadline,
                Output::Done => {
                    self.is_done = true;
                    return None;
                }
            }
        }
        panic!("the drain does not end");
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected(connected) => {
                self.connected = Some(connected);
                for message in self.greeting.drain(..) {
                    self.machine
                        .command(self.now, Command::Send(message))
                        .unwrap();
                }
            }
            Event::Received(message) => self.messages.push(message),
            Event::Failed(end) => {
                assert!(self.connected.is_none(), "it was open");
                self.end = Some(end);
            }
            Event::Closed(end) => {
                assert!(self.connected.is_some(), "it was never open");
                self.end = Some(end);
            }
            other => panic!("{other:?}"),
        }
    }
}
