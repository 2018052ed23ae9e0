//! A node driven by hand.

use farlink::Seed;
use farlink::csp::{Config, Node};

pub(crate) use crate::node_talk::HOP;
use crate::node_talk::NodeTalk;

pub(crate) type Talk = NodeTalk<Node>;

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

impl Talk {
    pub(crate) fn new(config: Config) -> Self {
        Self::with(Node::new(config, &Seed::from(5)).unwrap())
    }

    pub(crate) fn receive_all(&mut self, packets: &[Vec<u8>]) {
        for octets in packets {
            self.receive(octets);
        }
    }
}
