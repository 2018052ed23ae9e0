//! A COTP connection under test.
//!
//! A [`Probe`] is one connection that gets octets in hex; a [`Pair`] is two of them, connected to each other.
//! Both check the laws of a machine at every call.

use std::time::Duration;

use bytes::Bytes;
pub(crate) use farlink::cotp::*;
use farlink::laws::Checker;
use farlink::{Ask, Cause, Instant, Limits, Link, Machine as _, Output, Seed, Transmit};

/// A CR without parameters, from reference 0x1234.
pub(crate) const BARE_CR: &str = "03 00 00 0B 06 E0 00 00 12 34 00";
/// A CC without parameters, from reference 0x5678 to reference 1.
pub(crate) const BARE_CC: &str = "03 00 00 0B 06 D0 00 01 56 78 00";
/// A whole message.
pub(crate) const ABC: &str = "03 00 00 0A 02 F0 80 61 62 63";

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// One connection with hand-made input, and its collected output.
pub(crate) struct Probe {
    pub(crate) machine: Connection,
    pub(crate) checker: Checker<()>,
    pub(crate) tx: Transmit<()>,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<Event>,
    pub(crate) asks: Vec<Ask<()>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) is_done: bool,
}

impl Probe {
    /// Makes a connection with reference 1, unless the configuration has another.
    pub(crate) fn new(config: Config) -> Self {
        Self::with_limits(config, Limits::stream(1 << 16))
    }

    pub(crate) fn with_limits(config: Config, limits: Limits) -> Self {
        let config = Config {
            compat: Compat {
                reference: config.compat.reference.or(Some(1)),
                ..config.compat
            },
            ..config
        };
        Self {
            machine: Connection::new(config, &Seed::from(1)).expect("a configuration that works"),
            checker: Checker::new(limits),
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
    pub(crate) fn up(config: Config) -> Self {
        let mut probe = Self::new(config);
        probe.link(Link::Up);
        probe
    }

    /// Makes an open initiator, without the output of its handshake.
    pub(crate) fn initiator(config: Config) -> Self {
        let mut probe = Self::up(config);
        probe.feed(BARE_CC);
        probe.forget("Connected");
        probe
    }

    /// Makes an open responder, without the output of its handshake.
    pub(crate) fn responder(config: Config) -> Self {
        let mut probe = Self::up(config);
        probe.feed(BARE_CR);
        probe.forget("Connected");
        probe
    }

    pub(crate) fn forget(&mut self, last: &str) {
        let events = self.events();
        assert!(format!("{events:?}").starts_with(&format!("[{last}")));
        self.sent.clear();
        self.asks.clear();
    }

    /// Passes octets, in hex, which the machine must want.
    pub(crate) fn feed(&mut self, octets: &str) {
        self.feed_octets(&hex(octets));
    }

    pub(crate) fn feed_octets(&mut self, octets: &[u8]) {
        assert!(self.wants(), "the machine wants octets");
        self.flood(octets);
    }

    /// Passes octets, wanted or not.
    pub(crate) fn flood(&mut self, octets: &[u8]) {
        self.flood_undrained(octets);
        self.drain();
    }

    pub(crate) fn flood_undrained(&mut self, octets: &[u8]) {
        self.checker.receive(&self.machine, self.now, ());
        self.machine.receive(self.now, (), octets);
    }

    pub(crate) fn wants(&self) -> bool {
        self.machine.wants(())
    }

    pub(crate) fn link(&mut self, state: Link) {
        self.link_undrained(state);
        self.drain();
    }

    pub(crate) fn link_undrained(&mut self, state: Link) {
        self.checker.link(self.now, (), state);
        self.machine.link(self.now, (), state);
    }

    pub(crate) fn run(&mut self, command: Command) -> Result<(), Error> {
        let answer = self.run_undrained(command);
        self.drain();
        answer
    }

    pub(crate) fn run_undrained(&mut self, command: Command) -> Result<(), Error> {
        self.checker.command(self.now);
        self.machine.command(self.now, command)
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.run(Command::Send(Bytes::copy_from_slice(message)))
    }

    /// Lets time pass, then fires the timers that are due.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now += span;
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
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

    pub(crate) fn poll(&mut self) -> Output<(), Event> {
        let output = self.machine.poll(self.now, &mut self.tx);
        if let Err(violation) = self.checker.polled(self.now, &output, &self.tx) {
            panic!("{violation}");
        }
        output
    }

    /// Returns and removes the octets that were sent, in hex.
    pub(crate) fn sent(&mut self) -> String {
        let sent = core::mem::take(&mut self.sent);
        let octets: Vec<String> = sent.iter().map(|octet| format!("{octet:02X}")).collect();
        octets.join(" ")
    }

    /// Returns and removes the events.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    pub(crate) fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    pub(crate) fn asks(&mut self) -> Vec<Ask<()>> {
        core::mem::take(&mut self.asks)
    }

    pub(crate) fn connected(&mut self) -> Connected {
        match self.event() {
            Event::Connected(connected) => *connected,
            other => panic!("not connected: {other:?}"),
        }
    }

    pub(crate) fn indication(&mut self) -> Indication {
        match self.event() {
            Event::Indication(indication) => *indication,
            other => panic!("no indication: {other:?}"),
        }
    }

    pub(crate) fn reason(&mut self) -> EndReason {
        match self.event() {
            Event::Failed(end) | Event::Closed(end) => end.reason,
            other => panic!("not an end: {other:?}"),
        }
    }

    /// Returns the time until the deadline.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.deadline.map(|due| due - self.now)
    }
}

/// An initiator and a responder, connected to each other.
pub(crate) struct Pair {
    pub(crate) initiator: Probe,
    pub(crate) responder: Probe,
    /// The most octets of one call of `receive`.
    pub(crate) chunk: usize,
}

impl Pair {
    pub(crate) fn new(initiator: Config, responder: Config) -> Self {
        let mut pair = Self {
            initiator: Probe::up(initiator),
            responder: Probe::up(responder),
            chunk: usize::MAX,
        };
        pair.pump();
        pair
    }

    /// Opens a pair, without the events of the handshake.
    pub(crate) fn open(initiator: Config, responder: Config) -> Self {
        let mut pair = Self::new(initiator, responder);
        pair.initiator.connected();
        pair.responder.connected();
        pair
    }

    /// Carries octets and closes both ways until both ends are idle.
    pub(crate) fn pump(&mut self) {
        while carry(&mut self.initiator, &mut self.responder, self.chunk)
            || carry(&mut self.responder, &mut self.initiator, self.chunk)
        {}
    }
}

pub(crate) fn carry(from: &mut Probe, to: &mut Probe, chunk: usize) -> bool {
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

pub(crate) fn hex(octets: &str) -> Vec<u8> {
    octets
        .split_whitespace()
        .map(|octet| u8::from_str_radix(octet, 16).expect("hex"))
        .collect()
}

pub(crate) const fn end_for(reason: EndReason) -> ConnectionEnd {
    ConnectionEnd {
        reason,
        incomplete: 0,
        unsent: 0,
    }
}

pub(crate) fn failed(reason: EndReason) -> Event {
    Event::Failed(Box::new(end_for(reason)))
}

pub(crate) fn closed(reason: EndReason) -> Event {
    Event::Closed(Box::new(end_for(reason)))
}

/// A close that leaves octets unsent.
pub(crate) fn cut_off(reason: EndReason, unsent: usize) -> Event {
    Event::Closed(Box::new(ConnectionEnd {
        unsent,
        ..end_for(reason)
    }))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every field that takes a selector may lack one"
)]
pub(crate) fn selector(octets: &[u8]) -> Option<Selector> {
    Some(Selector::from(octets))
}

pub(crate) fn received(message: &[u8]) -> Event {
    Event::Received(Bytes::copy_from_slice(message))
}

pub(crate) fn anybody() -> Config {
    Config::responder(Policy::AcceptAny)
}

pub(crate) fn asking() -> Config {
    Config::responder(Policy::Ask)
}

/// An initiator whose CR has no parameters.
pub(crate) fn bare() -> Config {
    Config {
        tpdu_size: TpduSize::LARGEST,
        ..Config::default()
    }
}

/// An initiator with this content of the CR.
pub(crate) fn proposing(proposal: Proposal) -> Config {
    Config {
        role: Role::Initiator(proposal),
        ..Config::default()
    }
}

pub(crate) fn strictly(strict: Strict, config: Config) -> Config {
    Config {
        compat: Compat {
            strict,
            ..config.compat
        },
        ..config
    }
}
