//! Either side is restarted without its state at every step of a transfer, and at random ones. A block is never complete
//! at its sender and nowhere at the receiver.
//!
//! Each engine starts as its original does: ION counts sessions from 1 again, the others draw their numbers. Of the
//! serial numbers of ION's second life it is assumed that they do not continue those of the first, as they do by chance
//! once in 128 times. Early checkpoints are ours alone: what a foreign sender was told before a receiver lost it, and
//! does not send again, no receiver can know.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use farlink::ltp::{Age, Block, Command, Config, Engine, Event, Flow, Peer, Service, SessionId};
use farlink::sim::{Host, Line, TraceDetail, World};
use farlink::{Instant, Rng, Seed, Tag};

use super::scene::Scene;
use crate::ltp_alone::{Alone, session};
use crate::ltp_peers::{Cut, Habits, Licklider, Model, Notice, Send};
use crate::seeds::for_each_seed;

/// Octets per second, and of a segment: a first pass takes many round trips.
const RATE: u64 = 3000;
const SEGMENT: usize = 300;
const DELAY: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Farlink,
    Ion,
    Hdtn,
    Licklider,
}

use Kind::{Farlink, Hdtn, Ion, Licklider as Lick};

/// Who sends to whom: one of them is ours.
const PAIRS: [[Kind; 2]; 7] = [
    [Farlink, Farlink],
    [Farlink, Ion],
    [Ion, Farlink],
    [Farlink, Hdtn],
    [Hdtn, Farlink],
    [Farlink, Lick],
    [Lick, Farlink],
];

/// One side of a transfer.
#[derive(Debug, Clone, Copy)]
enum Party {
    Farlink(Host<Engine<u64>>),
    Model(Host<Model>),
    Licklider(Host<Licklider>),
}

/// What a side was told, of either life.
#[derive(Debug, Default)]
struct Heard {
    received: Vec<Bytes>,
    /// Whether the only block of a life was complete.
    complete: bool,
    failed: bool,
}

fn engine(id: u64, seed: u64, every: u32, now: Instant, service: Service) -> Engine<u64> {
    let mut engine = Engine::new(Config::engine(id), Seed::from(seed)).unwrap();
    let peer = Peer {
        flow: Flow::rate(RATE).with_burst(300),
        segment: SEGMENT,
        checkpoint_every: NonZeroU32::new(every),
        ..Peer::at(3 - id)
    };
    engine.add_peer(now, 3 - id, peer).unwrap();
    engine.open(now, 4, service).unwrap();
    engine
}

fn model(kind: Kind, id: u64, seed: u64, life: u64) -> Model {
    let habits = match kind {
        Kind::Ion => Habits::ion(SEGMENT, 1e-5, 0),
        _ => Habits::hdtn(Duration::from_secs(1)),
    };
    let habits = Habits {
        cut: Cut::Segment(SEGMENT),
        rate: Some(RATE),
        ..habits
    };
    let mut model = Model::new(id, 3 - id, habits, seed);
    if kind == Kind::Ion {
        let drawn = 1 + Seed::from(seed).child("serial").rng().below(7000);
        model.expect_session(1, drawn + 8000 * life);
    }
    model
}

impl Party {
    fn new(world: &mut World, kind: Kind, id: u64, seed: u64, every: u32) -> Self {
        match kind {
            Kind::Farlink => Self::Farlink(
                world.host(id, engine(id, seed, every, Instant::ZERO, Service::Whole)),
            ),
            Kind::Ion | Kind::Hdtn => Self::Model(world.host(id, model(kind, id, seed, 0))),
            Kind::Licklider => Self::Licklider(world.host(id, Licklider::new(id, 3 - id, seed))),
        }
    }

    /// Begins another life, which knows nothing of those before.
    fn restart(self, world: &mut World, kind: Kind, id: u64, seed: u64, every: u32) {
        let now = world.now();
        match self {
            Self::Farlink(host) => world.with(host, |old, _| {
                *old = engine(id, seed, every, now, Service::Whole);
            }),
            Self::Model(host) => {
                world.with(host, |old, _| *old = model(kind, id, seed, 1));
            }
            Self::Licklider(host) => {
                world.with(host, |old, _| *old = Licklider::new(id, 3 - id, seed));
            }
        }
    }

    fn send(self, world: &mut World, data: Bytes) {
        let send = Send {
            client: 4,
            red: data.len(),
            data: data.clone(),
        };
        match self {
            Self::Farlink(host) => {
                let command = Command::Send(Block::red(Tag(1), 2, 4, data));
                world.command(host, command).unwrap();
            }
            Self::Model(host) => world.command(host, send).unwrap(),
            Self::Licklider(host) => world.command(host, send).unwrap(),
        }
    }

    /// Takes what this side was told since the last time.
    fn heard(self, world: &mut World) -> Heard {
        let mut heard = Heard::default();
        let mut take = |notice: Notice| match notice {
            Notice::Received { data, .. } => heard.received.push(data),
            Notice::Complete { .. } => heard.complete = true,
            Notice::Failed { .. } => heard.failed = true,
            Notice::Green { .. } | Notice::Cancelled { .. } => {}
        };
        match self {
            Self::Farlink(host) => {
                for (_, event) in world.take_events(host) {
                    match event {
                        Event::Received { data, .. } => heard.received.push(data),
                        Event::Complete { .. } => heard.complete = true,
                        Event::Failed { .. } => heard.failed = true,
                        _ => {}
                    }
                }
            }
            Self::Model(host) => {
                for (_, notice) in world.take_events(host) {
                    take(notice);
                }
            }
            Self::Licklider(host) => {
                for (_, notice) in world.take_events(host) {
                    take(notice);
                }
            }
        }
        heard
    }
}

/// One transfer with a restart.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pair: [Kind; 2],
    /// 0 for the sender, 1 for the receiver.
    victim: usize,
    /// After how many events of the world.
    step: u64,
    /// How long the sender then waits for its next block.
    pause: Duration,
    every: u32,
    /// Octets at the start that the blocks of both lives have in common.
    common: usize,
    loss: f64,
    seed: u64,
}

/// What became of the blocks of a plan.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    /// Whether the restart came before the end.
    is_hit: bool,
    complete: u32,
    failed: u32,
    /// Blocks that were complete and nowhere received.
    lost: u32,
}

fn data(len: usize, life: u64) -> Bytes {
    let octet = |at| (at * (3 + 2 * life) + at / 251 + life) as u8;
    (0..len as u64).map(octet).collect()
}

impl Plan {
    fn data(self, len: usize, life: u64) -> Bytes {
        let first = data(self.common, 0);
        first
            .into_iter()
            .chain(data(len, life).into_iter().skip(self.common))
            .collect()
    }

    fn run(self) -> Outcome {
        let mut world = World::new(self.seed);
        world.trace_detail(TraceDetail::Nothing);
        let seed = self.seed * 10;
        let parties: Vec<Party> = (0..2)
            .map(|at| {
                let (kind, id) = (self.pair[at], at as u64 + 1);
                Party::new(&mut world, kind, id, seed + id, self.every)
            })
            .collect();
        self.connect(&mut world, [parties[0], parties[1]]);
        let mut rng = world.seed("lengths").rng();
        // Mostly of one length: a new block that looks like the old one.
        let lens = match rng.below(3) {
            0 => [2000, 3100],
            1 => [3100, 2000],
            _ => [3100, 3100],
        };
        parties[0].send(&mut world, self.data(lens[0], 0));
        let mut steps = 0;
        while steps < self.step && world.step() {
            steps += 1;
        }
        let is_hit = steps == self.step;
        let mut ends = [Heard::default(), Heard::default()];
        let mut received = parties[1].heard(&mut world).received;
        if is_hit {
            let (kind, id) = (self.pair[self.victim], self.victim as u64 + 1);
            ends[0] = parties[0].heard(&mut world);
            parties[self.victim].restart(&mut world, kind, id, seed + id + 5, self.every);
            if self.victim == 0 {
                world.run_for(self.pause);
                received.extend(parties[1].heard(&mut world).received);
                parties[0].send(&mut world, self.data(lens[1], 1));
            }
        }
        world.run_for(HOUR);
        let second = parties[0].heard(&mut world);
        received.extend(parties[1].heard(&mut world).received);
        if self.victim == 0 && is_hit {
            ends[1] = second;
        } else {
            ends[0].complete |= second.complete;
            ends[0].failed |= second.failed;
        }
        let mut outcome = Outcome {
            is_hit,
            ..Outcome::default()
        };
        for (life, end) in ends.iter().enumerate() {
            let is_received = received.contains(&self.data(lens[life], life as u64));
            outcome.complete += u32::from(end.complete);
            outcome.failed += u32::from(end.failed);
            outcome.lost += u32::from(end.complete && !is_received);
        }
        outcome
    }

    fn connect(self, world: &mut World, parties: [Party; 2]) {
        let line = || Line {
            loss: self.loss,
            ..Line::delayed(DELAY)
        };
        let id = |party| match party {
            Party::Farlink(host) => host.id(),
            Party::Model(host) => host.id(),
            Party::Licklider(host) => host.id(),
        };
        world.line(id(parties[0]), id(parties[1]), line());
    }
}

/// All plans of one pair and victim whose restart comes at a step before the end.
fn every_step(pair: [Kind; 2], victim: usize, every: u32, common: usize) -> (u32, Vec<String>) {
    let mut lost = Vec::new();
    let mut complete = 0;
    for seed in 0..2 {
        for step in 1.. {
            let plan = Plan {
                pair,
                victim,
                step,
                pause: Duration::ZERO,
                every,
                common,
                loss: 0.0,
                seed,
            };
            let outcome = plan.run();
            if !outcome.is_hit || step > 400 {
                break;
            }
            complete += outcome.complete;
            if outcome.lost > 0 {
                lost.push(format!("{plan:?}: {outcome:?}"));
            }
        }
    }
    (complete, lost)
}

/// All restarts of one side, at every step, of every pair, with and without early checkpoints.
fn prove_every_step(victim: usize, common: usize) {
    let mut faults = Vec::new();
    for pair in PAIRS {
        let mut complete = 0;
        for every in [0, 3] {
            let (more, lost) = every_step(pair, victim, every, common);
            complete += more;
            if let Some(first) = lost.first() {
                faults.push(format!("{} lost, {more} complete: {first}", lost.len()));
            }
        }
        assert!(complete > 10, "{complete} complete: {pair:?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_restart_of_the_receiver_at_any_step_loses_no_block_that_is_complete() {
    prove_every_step(1, 0);
}

#[test]
fn a_restart_of_the_sender_at_any_step_loses_no_block_that_is_complete() {
    prove_every_step(0, 0);
}

#[test]
fn a_restart_of_the_sender_of_blocks_that_begin_alike_loses_none_that_is_complete() {
    prove_every_step(0, 700);
}

/// How long an application takes to store a block.
const STORING: Duration = Duration::from_millis(300);
const SLICE: Duration = Duration::from_millis(10);

/// An application that stores what a scattered service gives.
#[derive(Debug, Default)]
struct Storage {
    /// Octets that were given and are not stored.
    given: BTreeMap<SessionId, BTreeMap<u64, Bytes>>,
    /// Red parts that are being stored, and when they are.
    storing: Vec<(Instant, SessionId)>,
    stored: Vec<Bytes>,
}

impl Storage {
    /// Handles the events of the engine, and tells it what is stored.
    fn run_for(&mut self, span: Duration, world: &mut World, host: Host<Engine<u64>>) {
        world.run_for(span);
        for (at, event) in world.take_events(host) {
            match event {
                Event::Segment {
                    session,
                    offset,
                    data,
                    ..
                } => {
                    self.given.entry(session).or_default().insert(offset, data);
                }
                Event::RedPart { session, .. } => self.storing.push((at + STORING, session)),
                Event::Cancelled { session, .. } => {
                    self.given.remove(&session);
                    self.storing.retain(|(_, other)| *other != session);
                }
                _ => {}
            }
        }
        let now = world.now();
        let due = self.storing.extract_if(.., |(at, _)| *at <= now);
        for (_, session) in due {
            let runs = self.given.remove(&session).unwrap();
            let mut block = Vec::new();
            for (offset, run) in runs {
                assert_eq!(offset, block.len() as u64);
                block.extend(run);
            }
            self.stored.push(block.into());
            world.command(host, Command::Stored(session)).unwrap();
        }
    }
}

/// A block is sent to a scattered service, and the receiver killed at a time. Tells whether red octets were given then and
/// not stored, and whether the sender heard that the block is complete.
fn killed_while_storing(kind: Kind, every: u32, kill_at: Duration, seed: u64) -> (bool, bool) {
    let mut world = World::new(seed);
    world.trace_detail(TraceDetail::Nothing);
    let sender = Party::new(&mut world, kind, 1, seed, every);
    let anew = |seed, now| engine(2, seed, every, now, Service::Scattered);
    let host = world.host(2, anew(seed, Instant::ZERO));
    let id = match sender {
        Party::Farlink(host) => host.id(),
        Party::Model(host) => host.id(),
        Party::Licklider(host) => host.id(),
    };
    world.line(id, host.id(), Line::delayed(DELAY));
    sender.send(&mut world, data(3100, 0));
    let mut storage = Storage::default();
    while world.now() < Instant::ZERO + kill_at {
        storage.run_for(SLICE, &mut world, host);
    }
    let is_hit = !storage.given.is_empty();
    let now = world.now();
    world.with(host, |old, _| *old = anew(seed + 1, now));
    storage.given.clear();
    storage.storing.clear();
    for _ in 0..200 {
        storage.run_for(Duration::from_secs(1), &mut world, host);
    }

    let is_complete = sender.heard(&mut world).complete;
    let is_stored = storage.stored.contains(&data(3100, 0));
    assert!(
        is_stored || !is_complete,
        "{kind:?}, {every}, killed after {kill_at:?}, seed {seed}"
    );
    (is_hit, is_complete)
}

#[test]
fn a_receiver_killed_before_a_block_is_stored_leaves_no_sender_that_takes_it_for_complete() {
    for kind in [Farlink, Ion, Hdtn, Lick] {
        let (mut hits, mut complete) = (0, 0);
        for every in [0, 3] {
            for step in 0..70 {
                let kill_at = Duration::from_millis(30 * step);
                let outcome = killed_while_storing(kind, every, kill_at, 1 + step);
                hits += u32::from(outcome.0);
                complete += u32::from(outcome.1);
            }
        }
        assert!(hits > 10 && complete > 10, "{kind:?}: {hits} {complete}");
    }
}

/// One in `n`, and the other times nothing.
fn sometimes(rng: &mut Rng, n: u64, value: u64) -> u64 {
    if rng.below(n) == 0 { value } else { 0 }
}

/// `FARLINK_TRIES=50` makes 10,000 seeds of it.
#[test]
fn restarts_at_random_on_lines_that_lose_segments_lose_no_block_that_is_complete() {
    for_each_seed(200, |seed| {
        let mut rng = Seed::from(seed).child("restart").rng();
        let pair = PAIRS[usize::try_from(rng.below(7)).unwrap()];
        let victim = usize::try_from(rng.below(2)).unwrap();
        // Segments of two lives under one number can be told apart where they overlap, and so not by those that are lost.
        let is_mixed = pair[0] == Ion && victim == 0;
        let plan = Plan {
            pair,
            victim,
            step: 1 + rng.below(70),
            pause: Duration::from_secs(sometimes(&mut rng, 2, 75)),
            every: u32::try_from(sometimes(&mut rng, 2, 3)).unwrap(),
            common: usize::try_from(sometimes(&mut rng, 2, 1500)).unwrap(),
            loss: if is_mixed {
                0.0
            } else {
                sometimes(&mut rng, 2, 1) as f64 * 0.1
            },
            seed,
        };

        let outcome = plan.run();

        assert_eq!(outcome.lost, 0, "{plan:?}: {outcome:?}");
    });
}

/// Two engines, of which the first sends a block with a checkpoint every third segment, halfway through.
fn halfway(seed: u64) -> Scene {
    let mut scene = Scene::new(seed);
    scene.engine(1, seed);
    scene.engine(2, seed + 1000);
    let sender = Peer {
        checkpoint_every: NonZeroU32::new(3),
        flow: Flow::rate(1400).with_burst(1400),
        ..Peer::at(2)
    };
    scene.peer(1, 2, sender);
    scene.peer(2, 1, Peer::at(1));
    for (from, to) in [(1, 2), (2, 1)] {
        scene.line(from, to, Line::delayed(Duration::from_millis(10)));
    }
    scene.send(1, Block::red(Tag(1), 2, 4, data(8000, 0)));
    scene.run(3);
    scene
}

#[test]
fn a_receiver_made_anew_after_a_claim_receives_the_block_or_the_sender_fails() {
    for_each_seed(40, |seed| {
        let mut scene = halfway(seed);
        scene.engine(2, seed + 2000);
        scene.peer(2, 1, Peer::at(1));

        scene.run(3600);

        let is_received = scene.received(2) == [8000];
        assert!(is_received || scene.complete(1).is_empty(), "seed {seed}");
    });
}

#[test]
fn a_receiver_restored_from_any_snapshot_receives_the_block() {
    for age in [Age::Behind, Age::Current] {
        let mut scene = halfway(1);
        let host = scene.engines[&2];
        let empty = {
            let mut fresh = Engine::<u64>::new(Config::engine(2), Seed::from(3)).unwrap();
            let now = scene.world.now();
            fresh.add_peer(now, 1, Peer::at(1)).unwrap();
            fresh.open(now, 4, Service::Whole).unwrap();
            fresh.snapshot(now)
        };
        scene.world.with(host, |engine, now| {
            let saved = match age {
                Age::Current => engine.snapshot(now),
                Age::Behind => empty,
            };
            let seed = Seed::from(3);
            *engine = Engine::restore(Config::engine(2), seed, saved, age, now).unwrap();
        });

        scene.run(3600);

        assert_eq!(scene.received(2), [8000], "{age:?}");
        assert_eq!(scene.complete(1).len(), 1, "{age:?}");
    }
}

/// A block counts as received when the application has it.
#[test]
fn the_report_that_completes_a_block_on_demand_waits_until_it_is_taken() {
    let mut alone = Alone::<u64>::new(Config::engine(2), 2);
    let now = alone.now;
    alone.engine.add_peer(now, 1, Peer::at(1)).unwrap();
    alone.engine.open_on_demand(now, 4, Service::Whole).unwrap();

    alone.hear(1, "03 01 05 00 04 00 05 09 00 41*5");
    let before = alone.has_reported(session(1, 5), 9);
    alone.engine.take(alone.now, 4).unwrap();
    alone.drain();

    assert!(!before, "reported before it was taken");
    assert_eq!(alone.received().len(), 1);
    assert!(alone.has_reported(session(1, 5), 9));
}

/// Driven by hand, a poll gives the block before the datagram that says so.
#[test]
fn a_red_part_is_handed_up_before_the_report_that_completes_it_leaves() {
    use farlink::{Limits, Machine as _, Output, Transmit};
    let now = Instant::ZERO;
    let mut engine = Engine::<u64>::new(Config::engine(2), Seed::from(2)).unwrap();
    engine.add_peer(now, 1, Peer::at(1)).unwrap();
    engine.open(now, 4, Service::Whole).unwrap();
    let octets = crate::ltp_alone::datagram("03 01 05 00 04 00 05 09 00 41*5");
    engine.receive(now, 1, &octets);
    let mut tx = Transmit::new(Limits::default());

    let first = engine.poll(now, &mut tx);
    let second = engine.poll(now, &mut tx);

    assert!(matches!(first, Output::Event(Event::Received { .. })));
    assert!(matches!(second, Output::Transmit));
}
