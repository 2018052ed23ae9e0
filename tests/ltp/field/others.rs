//! Many blocks between an engine and models of others, over lines that lose, repeat and reorder: what is complete was
//! received, once and as it was sent, and nothing is left at the end.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use farlink::ltp::{Block, Command, Config, Engine, Event, Flow, Peer, Service};
use farlink::sim::{Line, Reorder, TraceDetail, World};
use farlink::{Instant, Rng, Seed, Tag};

use crate::ltp_peers::{Habits, Model, Notice, Send};
use crate::seeds::for_each_seed;

const SEGMENT: usize = 400;

/// A line by chance.
fn line(rng: &mut Rng) -> Line {
    let share = |rng: &mut Rng, most: u64| [0.0, 0.01, 0.01 * most as f64][rng.below(3) as usize];
    Line {
        loss: share(rng, 15),
        duplication: share(rng, 20),
        reorder: Some(Reorder {
            probability: share(rng, 30),
            by: Duration::from_millis(300),
        }),
        ..Line::delayed(Duration::from_millis(rng.below(500)))
    }
}

fn habits(is_ion: bool) -> Habits {
    // ION expects more errors, or most blocks would end by its limits.
    let habits = if is_ion {
        Habits::ion(SEGMENT, 1e-4, 1)
    } else {
        Habits::hdtn(Duration::from_secs(3))
    };
    Habits {
        rate: Some(100_000),
        ..habits
    }
}

fn data(rng: &mut Rng, number: u64) -> Bytes {
    let len = 1 + rng.below(9000);
    (0..len)
        .map(|at| (7 * at + at / 251 + number) as u8)
        .collect()
}

fn engine(id: u64, seed: u64) -> Engine<u64> {
    let mut engine = Engine::new(Config::engine(id), Seed::from(seed)).unwrap();
    let peer = Peer {
        segment: SEGMENT,
        flow: Flow::rate(100_000).with_burst(1400),
        ..Peer::at(3 - id)
    };
    let peer = peer.at_distance(Duration::from_millis(800));
    engine.add_peer(Instant::ZERO, 3 - id, peer).unwrap();
    engine.open(Instant::ZERO, 4, Service::Whole).unwrap();
    engine
}

/// What a run came to: blocks sent, complete, failed, and what was received of each.
#[derive(Default)]
struct Outcome {
    sent: Vec<Bytes>,
    complete: Vec<usize>,
    failed: usize,
    received: BTreeMap<Bytes, usize>,
}

impl Outcome {
    /// Blocks that were complete were received once, and nothing else was.
    fn check(&self, seed: u64, may_repeat: bool) {
        assert_eq!(
            self.complete.len() + self.failed,
            self.sent.len(),
            "seed {seed}"
        );
        for at in &self.complete {
            let count = self.received.get(&self.sent[*at]).copied();
            let count = count.unwrap_or_default();
            assert!(
                count == 1 || (may_repeat && count > 1),
                "seed {seed}: {count}"
            );
        }
        let mut strangers = self.received.keys();
        let is_foreign = |data: &Bytes| !self.sent.contains(data);
        assert!(!strangers.any(is_foreign), "seed {seed}: other octets");
    }
}

/// The engine sends.
fn ours(seed: u64, is_ion: bool) -> usize {
    let mut world = World::new(seed);
    world.trace_detail(TraceDetail::Nothing);
    let mut rng = Seed::from(seed).child("others").rng();
    let sender = world.host(1, engine(1, seed));
    let receiver = world.host(2, Model::new(2, 1, habits(is_ion), seed));
    world.line_from(sender, receiver, line(&mut rng));
    world.line_from(receiver, sender, line(&mut rng));
    let mut outcome = Outcome::default();
    for number in 0..8 {
        let data = data(&mut rng, number);
        outcome.sent.push(data.clone());
        let block = Block::red(Tag(number), 2, 4, data);
        world.command(sender, Command::Send(block)).unwrap();
        world.run_for(Duration::from_millis(rng.below(3000)));
    }
    world.run_for(Duration::from_secs(4000));
    for (_, event) in world.events(sender) {
        match event {
            Event::Complete { tag, .. } => outcome.complete.push(tag.0 as usize),
            Event::Failed { .. } => outcome.failed += 1,
            _ => {}
        }
    }
    for (_, notice) in world.events(receiver) {
        if let Notice::Received { data, .. } = notice {
            *outcome.received.entry(data.clone()).or_default() += 1;
        }
    }
    // HDTN forgets a session at once, and a copy of a block of one segment is a block to it.
    outcome.check(seed, !is_ion);
    assert_eq!(
        world.machine(sender).usage().sessions,
        (0, 0),
        "seed {seed}"
    );
    outcome.complete.len()
}

/// The model sends.
fn theirs(seed: u64, is_ion: bool) -> usize {
    let mut world = World::new(seed);
    world.trace_detail(TraceDetail::Nothing);
    let mut rng = Seed::from(seed).child("others").rng();
    let sender = world.host(1, Model::new(1, 2, habits(is_ion), seed));
    let receiver = world.host(2, engine(2, seed));
    world.line_from(sender, receiver, line(&mut rng));
    world.line_from(receiver, sender, line(&mut rng));
    let mut outcome = Outcome::default();
    for number in 0..8 {
        let data = data(&mut rng, number);
        outcome.sent.push(data.clone());
        let command = Send {
            client: 4,
            red: data.len(),
            data,
        };
        world.command(sender, command).unwrap();
        world.run_for(Duration::from_millis(rng.below(3000)));
    }
    world.run_for(Duration::from_secs(4000));
    let mut numbers = Vec::new();
    for (_, notice) in world.events(sender) {
        match notice {
            Notice::Complete { number } => numbers.push(*number),
            Notice::Failed { .. } => outcome.failed += 1,
            _ => {}
        }
    }
    for (_, event) in world.events(receiver) {
        if let Event::Received { data, .. } = event {
            *outcome.received.entry(data.clone()).or_default() += 1;
        }
    }
    // Sessions are numbered in order by ION alone; of HDTN it is enough that as many were received.
    if is_ion {
        outcome.complete = numbers.iter().map(|number| *number as usize - 1).collect();
        outcome.check(seed, false);
    } else {
        assert!(outcome.received.len() >= numbers.len(), "seed {seed}");
        assert!(outcome.received.values().all(|count| *count == 1));
    }
    assert_eq!(
        world.machine(receiver).usage().sessions,
        (0, 0),
        "seed {seed}"
    );
    numbers.len()
}

/// Runs many seeds with each model, in which most blocks are to be complete.
fn prove(run: fn(u64, bool) -> usize) {
    for is_ion in [true, false] {
        let (blocks, complete) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for_each_seed(60, |seed| {
            blocks.fetch_add(8, Ordering::Relaxed);
            complete.fetch_add(run(seed, is_ion), Ordering::Relaxed);
        });
        let [blocks, complete] = [blocks, complete].map(AtomicUsize::into_inner);
        assert!(
            complete > blocks / 2,
            "{complete} of {blocks}, ion {is_ion}"
        );
    }
}

#[test]
fn what_an_engine_completes_to_ion_and_hdtn_was_received_as_it_was_sent() {
    prove(ours);
}

#[test]
fn what_ion_and_hdtn_complete_to_an_engine_was_received_once_as_it_was_sent() {
    prove(theirs);
}
