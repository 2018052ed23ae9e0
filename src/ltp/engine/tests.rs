//! Sessions that keep only what their block needs behave as those that keep everything, which no driver can see.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Engine;
use crate::ltp::api::{Block, Cue, Event, Red, Service};
use crate::ltp::beyond::{AdaptiveRedundancy, Redundancy};
use crate::ltp::config::{Config, EngineLimits, Peer};
use crate::ltp::export::Sending;
use crate::{Hop, Instant, Limits, Machine as _, Output, Rng, Seed, Tag, Transmit};

const CLIENT: u64 = 4;

#[test]
fn a_session_that_keeps_little_does_what_one_does_that_keeps_everything() {
    let mut single = 0;
    for seed in 0..150 {
        let mut usual = World::new(seed, false);
        let mut expanded = World::new(seed, true);
        let mut script = Seed::from(seed).child("script").rng();
        for _ in 0..120 {
            let steps = [script.next_u64(), script.next_u64()];
            usual.step(steps);
            single += usual.single();
            expanded.step(steps);

            assert_eq!(usual.outputs, expanded.outputs, "seed {seed}");
            for (one, other) in usual.engines.iter().zip(&expanded.engines) {
                assert_eq!(one.stats(), other.stats(), "seed {seed}");
                assert_eq!(one.usage().timers, other.usage().timers, "seed {seed}");
                assert_eq!(
                    one.usage().octets_held,
                    other.usage().octets_held,
                    "seed {seed}"
                );
                assert_eq!(
                    one.snapshot(usual.now),
                    other.snapshot(usual.now),
                    "seed {seed}"
                );
            }
        }
    }
    assert!(single > 10_000, "{single}");
}

/// Lets all sessions of an engine keep everything.
fn expand(engine: &mut Engine<Hop>) {
    for export in engine.exports.table.values_mut() {
        if let Some(sending) = export.stage.open_mut() {
            sending.repair_mut();
        }
    }
    for import in engine.imports.table.values_mut() {
        if let Some(reception) = import.stage.open_mut() {
            reception.parts();
        }
    }
}

/// Two engines, and datagrams that are lost, duplicated and reordered.
struct World {
    engines: [Engine<Hop>; 2],
    direction: [VecDeque<Vec<u8>>; 2],
    rng: Rng,
    now: Instant,
    due: [Option<Instant>; 2],
    tag: u64,
    outputs: Vec<Observed>,
    /// Whether every session is expanded after each input.
    expands: bool,
}

#[derive(Debug, PartialEq)]
enum Observed {
    Event(usize, Event),
    Sent(usize, Vec<u8>),
    Idle(usize, Option<Instant>),
}

fn hop(via: usize) -> Hop {
    Hop {
        interface: 0,
        via: u16::try_from(via).unwrap(),
    }
}

fn pick<T: Copy>(of: &[T], number: u64) -> T {
    of[usize::try_from(number).unwrap() % of.len()]
}

impl World {
    fn new(seed: u64, expands: bool) -> Self {
        let mut rng = Seed::from(seed).child("world").rng();
        let engines = [0, 1].map(|side| {
            let config = Config {
                limits: EngineLimits {
                    control_segments: 1 + u32::try_from(rng.below(6)).unwrap(),
                    import_octets: 3000 + usize::try_from(rng.below(40_000)).unwrap(),
                    ..EngineLimits::default()
                },
                notify_sent: rng.below(8) == 0,
                ..Config::engine(1 + side as u64)
            };
            let mut engine = Engine::new(config, Seed::from(seed).child("engines")).unwrap();
            let at = hop(1 - side);
            engine
                .add_peer(Instant::ZERO, 2 - side as u64, Peer::at(at))
                .unwrap();
            engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
            engine
        });
        Self {
            engines,
            direction: [VecDeque::new(), VecDeque::new()],
            rng,
            now: Instant::ZERO,
            due: [None; 2],
            tag: 0,
            outputs: Vec::new(),
            expands,
        }
    }

    fn single(&self) -> usize {
        let count = |engine: &Engine<Hop>| {
            let exports = engine
                .exports
                .table
                .iter()
                .filter(|(_, export)| export.stage.open().is_some_and(Sending::lost_nothing));
            let imports = engine.imports.table.iter().filter(|(_, import)| {
                let reception = import.stage.open();
                reception.is_some_and(|reception| reception.parts.is_none())
            });
            exports.count() + imports.count()
        };
        self.engines.iter().map(count).sum()
    }

    /// Does one random step, and drains both engines.
    fn step(&mut self, [what, which]: [u64; 2]) {
        self.outputs.clear();
        let side = usize::from(which % 2 == 1);
        let now = self.now;
        match what % 16 {
            0..=3 => self.send(side, which),
            4..=10 => self.set_link(side),
            11 => {
                self.now += Duration::from_millis(which % 1500);
            }
            12 => {
                let due = self.due.iter().flatten().min();
                self.now = due.copied().unwrap_or(now).max(now);
            }
            13 => {
                let tag = Tag(1 + which % self.tag.max(1));
                let _ = match which >> 8 & 1 {
                    0 => self.engines[side].cancel(now, tag),
                    _ => self.engines[side].checkpoint(now, tag),
                };
            }
            14 => {
                let silence = [Cue::PeerStopped, Cue::PeerTransmits];
                let stop = [Cue::MustStop, Cue::MayTransmit];
                let cue = pick(&pick(&[silence, stop], which >> 8), which >> 9);
                let peer = 2 - side as u64;
                self.engines[side].contact(now, peer, cue).unwrap();
            }
            _ => self.change(side, which),
        }
        for side in [0, 1] {
            if self.expands {
                expand(&mut self.engines[side]);
            }
            self.drain(side);
        }
    }

    fn send(&mut self, side: usize, which: u64) {
        self.tag += 1;
        let len = pick(&[1, 100, 1370, 1376, 1380, 3000], which >> 8 & 0xFF);
        let red = match which >> 16 & 7 {
            0 => Red::Octets(len as u64 / 2),
            _ => Red::All,
        };
        let block = Block {
            tag: Tag(self.tag),
            to: 2 - side as u64,
            client: CLIENT,
            data: Bytes::from(alloc::vec![7; len]),
            red,
        };
        let _ = self.engines[side].send_block(self.now, block);
    }

    fn change(&mut self, side: usize, which: u64) {
        let redundancy = match which >> 8 & 7 {
            0 => Redundancy::Fixed(1),
            1 => Redundancy::Adaptive(AdaptiveRedundancy::default()),
            _ => Redundancy::Fixed(0),
        };
        let segment = pick(&[1400, 1000], which >> 16);
        let peer = Peer {
            segment,
            redundancy,
            ..Peer::at(hop(1 - side))
        };
        let id = 2 - side as u64;
        self.engines[side].change_peer(self.now, id, peer).unwrap();
    }

    /// Delivers a datagram to `side`, or drops it, or delivers it twice.
    fn set_link(&mut self, side: usize) {
        let way = &mut self.direction[side];
        if way.len() > 1 && self.rng.below(5) == 0 {
            way.swap(0, 1);
        }
        let Some(octets) = way.pop_front() else {
            return;
        };
        let times = pick(&[0, 2, 1, 1, 1, 1, 1, 1], self.rng.below(8));
        for _ in 0..times {
            self.engines[side].receive(self.now, hop(1 - side), &octets);
            if self.expands {
                expand(&mut self.engines[side]);
            }
        }
    }

    fn drain(&mut self, side: usize) {
        let mut tx = Transmit::new(Limits::default());
        loop {
            match self.engines[side].poll(self.now, &mut tx) {
                Output::Transmit => {
                    for octets in tx.datagrams() {
                        self.direction[1 - side].push_back(octets.to_vec());
                        self.outputs.push(Observed::Sent(side, octets.to_vec()));
                    }
                }
                Output::Event(event) => self.outputs.push(Observed::Event(side, event)),
                Output::Yield => {}
                Output::Idle(due) => {
                    self.due[side] = due;
                    self.outputs.push(Observed::Idle(side, due));
                    return;
                }
                Output::Ask(_) | Output::Done => return,
            }
        }
    }
}

/// The default of `EngineLimits::peers` is chosen by it.
#[test]
fn sixteen_thousand_idle_peers_take_28_mb() {
    const COUNT: u64 = 1 << 14;
    let mut engine = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
    let before = engine.memory();

    for id in 2..2 + COUNT {
        let peer = Peer::at(hop(0));
        engine.add_peer(Instant::ZERO, id, peer).unwrap();
    }

    let taken = engine.memory() - before;
    assert!((26_000_000..30_000_000).contains(&taken), "{taken}");
}
