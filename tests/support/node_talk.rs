//! A node on interfaces driven by hand: packets and time go in, packets and events come out.

use core::time::Duration;

use farlink::{Hop, Instant, Limits, Machine, Output, Transmit};

/// The other end of interface 0.
pub(crate) const HOP: Hop = Hop {
    interface: 0,
    via: 9,
};

pub(crate) struct NodeTalk<M: Machine<Addr = Hop>> {
    pub(crate) node: M,
    pub(crate) now: Instant,
    tx: Transmit<Hop>,
    pub(crate) sent: Vec<(Hop, Vec<u8>)>,
    pub(crate) events: Vec<M::Event>,
}

impl<M: Machine<Addr = Hop>> NodeTalk<M> {
    pub(crate) fn with(node: M) -> Self {
        Self {
            node,
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn command(&mut self, command: M::Command) -> Result<(), M::Error> {
        let done = self.node.command(self.now, command);
        self.drain();
        done
    }

    pub(crate) fn receive(&mut self, octets: &[u8]) {
        self.node.receive(self.now, HOP, octets);
        self.drain();
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

    pub(crate) fn take_events(&mut self) -> Vec<M::Event> {
        core::mem::take(&mut self.events)
    }
}
