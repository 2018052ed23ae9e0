//! Rules of COTP, one test each, through the public face of the machine.
//!
//! A [`Probe`] is one connection fed by hand with octets in hex; a [`Pair`] is two of them that talk to
//! each other. Both go through [`Checker`], so every test also checks the laws that one run can show.

mod close;
mod confirm;
mod data;
mod expedited;
mod gate;
mod handover;
mod pressure;
mod request;
mod sizes;
mod states;
mod timers;
mod wire;
mod words;

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::laws::Checker;
use crate::{Ask, Cause, Instant, Limits, Link, Machine as _, Output, Seed, Tag, Transmit};

/// A CR without parameters, from reference 0x1234.
const BARE_CR: &str = "03 00 00 0B 06 E0 00 00 12 34 00";
/// A CC without parameters, from reference 0x5678 to reference 1.
const BARE_CC: &str = "03 00 00 0B 06 D0 00 01 56 78 00";
/// A whole message.
const ABC: &str = "03 00 00 0A 02 F0 80 61 62 63";

const SECOND: Duration = Duration::from_secs(1);

/// One connection, and everything that came out of it.
struct Probe {
    machine: Connection,
    watch: Checker<()>,
    tx: Transmit<()>,
    now: Instant,
    sent: Vec<u8>,
    events: Vec<Event>,
    asks: Vec<Ask<()>>,
    deadline: Option<Instant>,
    is_done: bool,
}

impl Probe {
    /// Makes a connection with reference 1 unless the configuration says another.
    fn new(config: Config) -> Self {
        Self::with_limits(config, Limits::stream(1 << 16))
    }

    fn with_limits(config: Config, limits: Limits) -> Self {
        let config = Config {
            reference: config.reference.or(NonZeroU16::new(1)),
            ..config
        };
        Self {
            machine: Connection::new(config, &Seed::from(1)).expect("a configuration that works"),
            watch: Checker::new(limits),
            tx: Transmit::new(limits),
            now: Instant::from_nanos(1_000_000_000),
            sent: Vec::new(),
            events: Vec::new(),
            asks: Vec::new(),
            deadline: None,
            is_done: false,
        }
    }

    /// Makes a connection whose stream is up.
    fn up(config: Config) -> Self {
        let mut probe = Self::new(config);
        probe.link(Link::Up);
        probe
    }

    /// Makes an open initiator; what led there is forgotten.
    fn initiator(config: Config) -> Self {
        let mut probe = Self::up(config);
        probe.feed(BARE_CC);
        probe.forget("Connected");
        probe
    }

    /// Makes an open responder; what led there is forgotten.
    fn responder(config: Config) -> Self {
        let mut probe = Self::up(config);
        probe.feed(BARE_CR);
        probe.forget("Connected");
        probe
    }

    fn forget(&mut self, last: &str) {
        let events = self.events();
        assert!(alloc::format!("{events:?}").starts_with(&alloc::format!("[{last}")));
        self.sent.clear();
        self.asks.clear();
    }

    /// Gives octets that the machine wants.
    fn feed(&mut self, octets: &str) {
        self.feed_octets(&hex(octets));
    }

    fn feed_octets(&mut self, octets: &[u8]) {
        assert!(self.wants(), "the stream is to be left unread");
        self.flood(octets);
    }

    /// Gives octets, wanted or not.
    fn flood(&mut self, octets: &[u8]) {
        self.flood_undrained(octets);
        self.drain();
    }

    fn flood_undrained(&mut self, octets: &[u8]) {
        self.watch.receive(&self.machine, self.now, ());
        self.machine.receive(self.now, (), octets);
    }

    fn wants(&self) -> bool {
        self.machine.wants(())
    }

    fn link(&mut self, state: Link) {
        self.link_undrained(state);
        self.drain();
    }

    fn link_undrained(&mut self, state: Link) {
        self.watch.link(self.now, (), state);
        self.machine.link(self.now, (), state);
    }

    fn run(&mut self, command: Command) -> Result<(), Error> {
        let answer = self.run_undrained(command);
        self.drain();
        answer
    }

    fn run_undrained(&mut self, command: Command) -> Result<(), Error> {
        self.watch.command(self.now);
        self.machine.command(self.now, command)
    }

    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.run(Command::Send(Bytes::copy_from_slice(message)))
    }

    /// Lets time pass, and fires what is due at the end of it.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.poll() {
                Output::Transmit => self.sent.extend_from_slice(self.tx.octets()),
                Output::Event(event) => self.events.push(event),
                Output::Ask(ask) => self.asks.push(ask),
                Output::Yield => {}
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    break;
                }
                Output::Done => {
                    self.deadline = None;
                    self.is_done = true;
                    break;
                }
            }
        }
    }

    fn poll(&mut self) -> Output<(), Event> {
        let output = self.machine.poll(self.now, &mut self.tx);
        if let Err(breach) = self.watch.polled(self.now, &output, &self.tx) {
            panic!("{breach}");
        }
        output
    }

    /// Takes what was sent, in hex.
    fn sent(&mut self) -> String {
        let sent = core::mem::take(&mut self.sent);
        let octets: Vec<String> = sent
            .iter()
            .map(|octet| alloc::format!("{octet:02X}"))
            .collect();
        octets.join(" ")
    }

    /// Takes what was told.
    fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn asks(&mut self) -> Vec<Ask<()>> {
        core::mem::take(&mut self.asks)
    }

    fn connected(&mut self) -> Connected {
        match self.event() {
            Event::Connected(connected) => *connected,
            other => panic!("not connected: {other:?}"),
        }
    }

    fn indication(&mut self) -> Indication {
        match self.event() {
            Event::Indication(indication) => *indication,
            other => panic!("no indication: {other:?}"),
        }
    }

    fn reason(&mut self) -> Reason {
        match self.event() {
            Event::Failed(end) | Event::Closed(end) => end.reason,
            other => panic!("not the end: {other:?}"),
        }
    }

    /// Returns how long it is until the machine wants to be polled.
    fn wait(&self) -> Option<Duration> {
        self.deadline.map(|due| due - self.now)
    }
}

/// Two connections that are each other's peers.
struct Pair {
    initiator: Probe,
    responder: Probe,
    /// Octets that one receive has at most.
    chunk: usize,
}

impl Pair {
    fn new(initiator: Config, responder: Config) -> Self {
        let mut pair = Self {
            initiator: Probe::up(initiator),
            responder: Probe::up(responder),
            chunk: usize::MAX,
        };
        pair.pump();
        pair
    }

    /// Opens a pair; the events of the handshake are taken.
    fn open(initiator: Config, responder: Config) -> Self {
        let mut pair = Self::new(initiator, responder);
        pair.initiator.connected();
        pair.responder.connected();
        pair
    }

    /// Carries octets and ends to and fro until nothing moves.
    fn pump(&mut self) {
        while carry(&mut self.initiator, &mut self.responder, self.chunk)
            || carry(&mut self.responder, &mut self.initiator, self.chunk)
        {}
    }
}

fn carry(from: &mut Probe, to: &mut Probe, chunk: usize) -> bool {
    let octets = core::mem::take(&mut from.sent);
    for piece in octets.chunks(chunk.min(octets.len()).max(1)) {
        to.flood(piece);
    }
    let is_ended = !from.asks.is_empty();
    for ask in from.asks() {
        match ask {
            Ask::Finish(()) => to.link(Link::Ended),
            Ask::Close(()) => to.link(Link::Down(Cause::Closed)),
            Ask::Abort(()) => to.link(Link::Down(Cause::Reset)),
            other => panic!("a stream asks for no {other:?}"),
        }
    }
    !octets.is_empty() || is_ended
}

fn hex(octets: &str) -> Vec<u8> {
    octets
        .split_whitespace()
        .map(|octet| u8::from_str_radix(octet, 16).expect("hex"))
        .collect()
}

const fn end_for(reason: Reason) -> End {
    End {
        reason,
        incomplete: 0,
        unsent: 0,
    }
}

fn failed(reason: Reason) -> Event {
    Event::Failed(Box::new(end_for(reason)))
}

fn closed(reason: Reason) -> Event {
    Event::Closed(Box::new(end_for(reason)))
}

/// An end that leaves octets unsent.
fn cut_off(reason: Reason, unsent: usize) -> Event {
    Event::Closed(Box::new(End {
        unsent,
        ..end_for(reason)
    }))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every field that takes a selector may lack one"
)]
fn selector(octets: &[u8]) -> Option<Selector> {
    Some(Selector::from(octets))
}

fn received(message: &[u8]) -> Event {
    Event::Received(Bytes::copy_from_slice(message))
}

fn anybody() -> Config {
    Config::responder(Policy::AcceptAny)
}

fn asking() -> Config {
    Config::responder(Policy::Ask)
}

/// An initiator that says nothing but its reference.
fn bare() -> Config {
    Config {
        tpdu_size: TpduSize::LARGEST,
        ..Config::default()
    }
}

/// An initiator with these words in its CR.
fn proposing(proposal: Proposal) -> Config {
    Config {
        role: Role::Initiator(proposal),
        ..Config::default()
    }
}

fn strictly(strict: Strict, config: Config) -> Config {
    Config { strict, ..config }
}
