//! Engines, and models of others, with lines between them.

use core::time::Duration;
use std::collections::BTreeMap;

use farlink::ltp::{Block, Command, Config, Cue, Engine, Event, Peer, Segment, Service};
use farlink::sim::{Host, Line, PacketView, TraceDetail, World};
use farlink::{Instant, Seed};

/// Engines by their IDs, which are their addresses.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) engines: BTreeMap<u64, Host<Engine<u64>>>,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.trace_detail(TraceDetail::Nothing);
        Self {
            world,
            engines: BTreeMap::new(),
        }
    }

    /// Two engines that are peers of each other, with a line each way.
    pub(crate) fn pair(peers: [Peer<u64>; 2], lines: [Line; 2]) -> Self {
        let mut scene = Self::new(1);
        let [there, back] = lines;
        for (id, peer) in (1..).zip(peers) {
            scene.engine(id, id);
            scene.peer(id, 3 - id, peer);
        }
        scene.line(1, 2, there);
        scene.line(2, 1, back);
        scene
    }

    /// A fresh engine with client service 4: the first under this ID, or one that has lost its state.
    pub(crate) fn engine(&mut self, id: u64, seed: u64) {
        let mut engine = Engine::new(Config::engine(id), Seed::from(seed)).unwrap();
        let now = self.world.now();
        engine.open(now, 4, Service::Whole).unwrap();
        match self.engines.get(&id) {
            Some(host) => self.world.with(*host, |old, _| *old = engine),
            None => drop(self.engines.insert(id, self.world.host(id, engine))),
        }
    }

    pub(crate) fn peer(&mut self, at: u64, id: u64, peer: Peer<u64>) {
        let command = Command::AddPeer(id, Box::new(peer));
        self.world.command(self.engines[&at], command).unwrap();
    }

    pub(crate) fn change(&mut self, at: u64, id: u64, peer: Peer<u64>) {
        let command = Command::ChangePeer(id, Box::new(peer));
        self.world.command(self.engines[&at], command).unwrap();
    }

    pub(crate) fn line(&mut self, from: u64, to: u64, line: Line) {
        self.world
            .line_from(self.engines[&from], self.engines[&to], line);
    }

    pub(crate) fn send(&mut self, from: u64, block: Block) {
        self.world
            .command(self.engines[&from], Command::Send(block))
            .unwrap();
    }

    pub(crate) fn contact(&mut self, at: u64, peer: u64, cue: Cue) {
        let command = Command::Contact(peer, cue);
        self.world.command(self.engines[&at], command).unwrap();
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds));
    }

    /// Runs until both engines have no session left, or to the bound.
    pub(crate) fn run_until_over(&mut self, seconds: u64) -> Duration {
        let start = self.world.now();
        self.world.run_for(Duration::from_millis(1));
        let hosts: Vec<_> = self.engines.values().copied().collect();
        let bound = start + Duration::from_secs(seconds);
        self.world.run_until_holds(bound, |world| {
            let is_over =
                |host: &Host<Engine<u64>>| world.machine(*host).usage().sessions == (0, 0);
            hosts.iter().all(is_over)
        });
        self.world.now() - start
    }

    pub(crate) fn events(&self, at: u64) -> Vec<(Instant, Event)> {
        let events = self.world.events(self.engines[&at]);
        events.map(|(at, event)| (at, event.clone())).collect()
    }

    pub(crate) fn machine(&self, at: u64) -> &Engine<u64> {
        self.world.machine(self.engines[&at])
    }

    /// When blocks were complete at the sender.
    pub(crate) fn complete(&self, at: u64) -> Vec<Duration> {
        let events = self.events(at).into_iter();
        events
            .filter(|(_, event)| matches!(event, Event::Complete { .. }))
            .map(|(at, _)| at - Instant::ZERO)
            .collect()
    }

    /// The lengths of the red parts that were received.
    pub(crate) fn received(&self, at: u64) -> Vec<usize> {
        let events = self.events(at).into_iter();
        events
            .filter_map(|(_, event)| match event {
                Event::Received { data, .. } => Some(data.len()),
                _ => None,
            })
            .collect()
    }

    /// Asserts that all blocks were sent, received whole, and nothing was cancelled.
    pub(crate) fn assert_all_complete(&self, lens: &[usize]) {
        for at in [1, 2] {
            let events = self.events(at);
            let lost =
                |event: &Event| matches!(event, Event::Failed { .. } | Event::Cancelled { .. });
            let lost: Vec<_> = events.iter().filter(|(_, event)| lost(event)).collect();
            assert!(lost.is_empty(), "at engine {at}: {lost:?}");
        }
        assert_eq!(self.complete(1).len(), lens.len(), "complete");
        let mut received = self.received(2);
        received.sort_unstable();
        let mut lens = lens.to_vec();
        lens.sort_unstable();
        assert_eq!(received, lens);
    }
}

/// Matches segments of a type code, for rules of a line.
pub(crate) fn is_type(code: u8) -> impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static {
    move |packet| {
        let segment = Segment::decode_first(packet.octets);
        segment.is_ok_and(|(segment, _)| segment.body.code() == code)
    }
}

/// Matches segments of over `len` octets sent from `start` on.
pub(crate) fn is_longer(
    len: usize,
    start: Instant,
) -> impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static {
    move |packet| packet.sent >= start && packet.octets.len() > len
}
