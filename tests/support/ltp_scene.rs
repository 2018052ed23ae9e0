//! Engines of LTP with lines between them.

use core::time::Duration;

use bytes::Bytes;
use farlink::Tag;
use farlink::ltp::{Block, Command, Event, Peer, Red};
use farlink::sim::{Delivery, Line, World};

use crate::scenarios::ltp::{CLIENT, Node, add_engines, connect};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A run that takes longer has gone wrong.
const BOUND: Duration = Duration::from_secs(7 * 24 * 3600);

/// Engines 1, 2, 3 and so on.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) nodes: Vec<Node>,
}

impl Scene {
    pub(crate) fn new<const N: usize>(seed: u64, names: [&str; N]) -> Self {
        let mut world = World::new(seed);
        let nodes = add_engines(&mut world, names).unwrap().to_vec();
        Self { world, nodes }
    }

    /// Two engines, with a line each way.
    pub(crate) fn pair(
        seed: u64,
        there: Line,
        back: Line,
        peer: impl Fn(u64) -> Peer<u64>,
    ) -> Self {
        let mut scene = Self::new(seed, ["earth", "mars"]);
        scene.join(1, 2, there, back, peer);
        scene
    }

    /// Adds lines between two engines, which become peers.
    pub(crate) fn join(
        &mut self,
        one: u64,
        other: u64,
        there: Line,
        back: Line,
        peer: impl Fn(u64) -> Peer<u64>,
    ) {
        let nodes = [one, other].map(|id| (self.node(id), id));
        connect(&mut self.world, nodes, [there, back], peer).unwrap();
    }

    pub(crate) fn node(&self, id: u64) -> Node {
        self.nodes[usize::try_from(id).unwrap() - 1]
    }

    pub(crate) fn send(&mut self, from: u64, to: u64, data: &Bytes, red: Red) {
        let block = Block {
            red,
            ..Block::red(Tag(to), to, CLIENT, data.clone())
        };
        let node = self.node(from);
        self.world.command(node, Command::Send(block)).unwrap();
    }

    /// Runs until no engine has a session and nothing is in flight.
    pub(crate) fn run(&mut self) {
        self.world.run_for(SECOND);
        let nodes = self.nodes.clone();
        let is_over = |world: &World| {
            let mut nodes = nodes.iter();
            nodes.all(|node| world.machine(*node).usage().sessions == (0, 0))
                && world
                    .trace()
                    .packets()
                    .all(|packet| packet.delivery != Delivery::InFlight)
        };
        assert!(self.world.run_until_holds(BOUND, is_over));
        for node in &self.nodes {
            let engine = self.world.machine(*node);
            assert_eq!(engine.usage().timers, 0);
        }
    }

    pub(crate) fn events(&self, id: u64) -> Vec<Event> {
        let events = self.world.events(self.node(id));
        events.map(|(_, event)| event.clone()).collect()
    }

    /// The red parts that an engine received.
    pub(crate) fn received(&self, id: u64) -> Vec<Bytes> {
        let events = self.events(id).into_iter();
        events
            .filter_map(|event| match event {
                Event::Received { data, .. } => Some(data),
                _ => None,
            })
            .collect()
    }

    /// The octets that an engine retransmitted.
    pub(crate) fn resent(&self, id: u64) -> u64 {
        self.world.machine(self.node(id)).stats().octets_resent
    }
}

/// A block in which each octet tells its offset.
pub(crate) fn pattern(len: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(len).collect()
}
