//! A node driven by hand: packets and time go in, packets and events come out.

use core::time::Duration;

use farlink::csp::{Command, Config, Error, Event, Node};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Transmit};

/// The other end of interface 0.
pub(crate) const HOP: Hop = Hop {
    interface: 0,
    via: 9,
};

/// Carries all packets both ways, until none is left.
pub(crate) fn carry(one: &mut Talk, other: &mut Talk) {
    loop {
        let (there, back) = (one.take_sent(), other.take_sent());
        if there.is_empty() && back.is_empty() {
            return;
        }
        other.receive_all(&there);
        one.receive_all(&back);
    }
}

pub(crate) struct Talk {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    tx: Transmit<Hop>,
    pub(crate) sent: Vec<(Hop, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
}

impl Talk {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            node: Node::new(config, &Seed::from(5)).unwrap(),
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Error> {
        let done = self.node.command(self.now, command);
        self.drain();
        done
    }

    pub(crate) fn receive(&mut self, octets: &[u8]) {
        self.node.receive(self.now, HOP, octets);
        self.drain();
    }

    pub(crate) fn receive_all(&mut self, packets: &[Vec<u8>]) {
        for octets in packets {
            self.receive(octets);
        }
    }

    pub(crate) fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.node.poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    let to = self.tx.to().unwrap();
                    let packets = self.tx.datagrams().map(|packet| (to, packet.to_vec()));
                    self.sent.extend(packets);
                }
                Output::Event(event) => self.events.push(event),
                Output::Yield => {}
                Output::Idle(deadline) => return deadline,
                Output::Ask(_) | Output::Done => panic!("a node asks for nothing and serves on"),
            }
        }
    }

    /// Lets time pass up to `until`, deadline by deadline.
    pub(crate) fn pass_until(&mut self, until: Instant) {
        while let Some(deadline) = self.drain().filter(|deadline| *deadline <= until) {
            self.now = deadline;
        }
        self.now = self.now.max(until);
        self.drain();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.pass_until(self.now + time);
    }

    pub(crate) fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).map(|(_, packet)| packet).collect()
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
