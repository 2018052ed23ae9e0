//! One engine without a line: a test plays all of its peers.
#![allow(dead_code, reason = "each test program uses some of it")]

use core::time::Duration;

use farlink::ltp::{Body, Config, Engine, Event, Segment, SessionId, put_sdnv};
use farlink::{Addr, Instant, Limits, Machine as _, Output, Seed, Transmit};

/// An engine, its clock, and what came out of it.
pub(crate) struct Alone<A: Addr> {
    pub(crate) engine: Engine<A>,
    pub(crate) now: Instant,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) sent: Vec<Sent<A>>,
    /// Calls of poll.
    pub(crate) polls: u64,
    /// Where datagrams that are kept go to. `None` keeps all; others are counted only.
    pub(crate) kept: Option<A>,
    pub(crate) datagrams_out: u64,
    pub(crate) octets_out: u64,
    deadline: Option<Instant>,
    tx: Transmit<A>,
}

/// A datagram that left.
#[derive(Debug, Clone)]
pub(crate) struct Sent<A> {
    pub(crate) at: Instant,
    pub(crate) to: A,
    pub(crate) octets: Vec<u8>,
}

impl<A> Sent<A> {
    pub(crate) fn segment(&self) -> Segment<'_> {
        Segment::decode(&self.octets).unwrap()
    }
}

impl<A: Addr> Alone<A> {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self {
            engine: Engine::new(config, Seed::from(seed)).unwrap(),
            now: Instant::ZERO,
            events: Vec::new(),
            sent: Vec::new(),
            polls: 0,
            kept: None,
            datagrams_out: 0,
            octets_out: 0,
            deadline: None,
            tx: Transmit::new(Limits::default()),
        }
    }

    /// Gives the engine a datagram, and polls it until it is idle.
    pub(crate) fn receive(&mut self, from: A, octets: &[u8]) {
        self.engine.receive(self.now, from, octets);
        self.drain();
    }

    /// Gives the engine the datagram that a text describes.
    pub(crate) fn hear(&mut self, from: A, text: &str) {
        self.receive(from, &datagram(text));
    }

    pub(crate) fn drain(&mut self) {
        loop {
            self.polls += 1;
            match self.engine.poll(self.now, &mut self.tx) {
                Output::Transmit => self.keep(),
                Output::Event(event) => self.events.push((self.now, event)),
                Output::Ask(_) | Output::Done => panic!("an engine asks for nothing"),
                Output::Yield => {}
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    fn keep(&mut self) {
        let to = self.tx.to().unwrap();
        for octets in self.tx.datagrams() {
            self.datagrams_out += 1;
            self.octets_out += octets.len() as u64;
            if self.kept.is_none_or(|kept| kept == to) {
                self.sent.push(Sent {
                    at: self.now,
                    to,
                    octets: octets.to_vec(),
                });
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(at) = self.deadline.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.drain();
        }
        self.now = end;
        self.drain();
    }

    /// Polls as often as it takes until no timer is left.
    pub(crate) fn run(&mut self) {
        self.run_for(Duration::from_secs(30 * 86_400));
    }

    /// The red parts that were received.
    pub(crate) fn received(&self) -> Vec<(SessionId, &[u8])> {
        let events = self.events.iter();
        events
            .filter_map(|(_, event)| match event {
                Event::Received { session, data, .. } => Some((*session, data.as_ref())),
                _ => None,
            })
            .collect()
    }

    /// The contents that were sent in a session, in order.
    pub(crate) fn bodies(&self, session: SessionId) -> Vec<Body<'_>> {
        let sent = self.sent.iter().map(Sent::segment);
        sent.filter(|segment| segment.session == session)
            .map(|segment| segment.body)
            .collect()
    }

    /// Whether a report on this checkpoint claims octets.
    pub(crate) fn has_reported(&self, session: SessionId, checkpoint: u64) -> bool {
        self.bodies(session).iter().any(|body| {
            matches!(body, Body::Report(report) if report.checkpoint == checkpoint && report.claims.count() > 0)
        })
    }

    /// The serial numbers of the reports in a session.
    pub(crate) fn reports(&self, session: SessionId) -> Vec<u64> {
        let bodies = self.bodies(session);
        let serials = bodies.iter().filter_map(|body| match body {
            Body::Report(report) => Some(report.serial),
            _ => None,
        });
        serials.collect()
    }
}

/// A session of a peer.
pub(crate) const fn session(originator: u64, number: u64) -> SessionId {
    SessionId { originator, number }
}

/// Reads a datagram: octets in hex, `41*5` for five times 41, and `@300` for the SDNV of 300.
pub(crate) fn datagram(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in text.split_whitespace() {
        if let Some(number) = word.strip_prefix('@') {
            put_sdnv(&mut octets, number.parse().unwrap());
            continue;
        }
        let (hex, times) = word.split_once('*').unwrap_or((word, "1"));
        for _ in 0..times.parse().unwrap() {
            for at in (0..hex.len()).step_by(2) {
                octets.push(u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            }
        }
    }
    octets
}

pub(crate) fn encode(session: SessionId, body: Body<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    Segment::new(session, body).encode(&mut octets);
    octets
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
