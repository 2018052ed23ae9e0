//! Engines that are killed and restored from a snapshot.

mod snapshots;

use core::num::{NonZeroU32, NonZeroU64};
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use farlink::ltp::{
    Age, Body, Claims, Color, Config, Cue, Data, Engine, EngineLimits, Error, Event, Flow, Peer,
    PeerLimits, PeerTimers, Red, Report, RestoreError, Segment, Service, SessionId, Snapshot,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Rng, Seed, Tag, Transmit};

use crate::line::{CLIENT, Line, block, hop, pattern};
#[cfg(feature = "arbitrary")]
use crate::tries::{number, tries};

const OWLT: Duration = Duration::from_secs(2);
const DOWNTIME: Duration = Duration::from_secs(7);
/// More outputs than any of these runs has.
const ENDLESS: usize = 100_000;

/// One engine, its disk, and its application, whose memory is on the disk too.
struct Node {
    /// `None` while it is down.
    engine: Option<Engine<Hop>>,
    /// The last snapshots, the latest at the end.
    disk: VecDeque<Snapshot<Hop>>,
    /// What the application has: a red part of a scattered service as one that was received.
    events: Vec<Event>,
    /// What a scattered service gave.
    given: BTreeMap<SessionId, Vec<u8>>,
    lives: u64,
    up_at: Instant,
    deadline: Option<Instant>,
}

struct World {
    nodes: [Node; 2],
    now: Instant,
    under_way: BTreeMap<(Instant, usize), (usize, Vec<u8>)>,
    weather: Rng,
    loss: u64,
    sent: usize,
    steps: usize,
    plan: Plan,
    /// Whether the run ends when an engine is killed.
    is_stopping: bool,
    tx: Transmit<Hop>,
}

/// Which engine is killed at which step, and which snapshot is on its disk.
#[derive(Debug, Clone, Copy)]
struct Plan {
    victim: usize,
    step: usize,
    /// Steps by which the disk is behind.
    lag: usize,
    again: Option<usize>,
    /// Segments between discretionary checkpoints.
    every: Option<NonZeroU32>,
    /// The window, in octets.
    window: Option<NonZeroU64>,
    service: Service,
    /// Whether the engines find the rate, and ask by pings what has passed the line.
    finds_rate: bool,
}

impl Plan {
    const NONE: Self = Self {
        victim: 0,
        step: usize::MAX,
        lag: 0,
        again: None,
        every: None,
        window: None,
        service: Service::Whole,
        finds_rate: false,
    };

    fn flow(self) -> Flow {
        match (self.window, self.every) {
            _ if self.finds_rate => Flow::Auto,
            (Some(octets), _) => Flow::window(octets.get()),
            (None, Some(_)) => Flow::rate(150).with_burst(0),
            (None, None) => Flow::Unlimited,
        }
    }

    fn age(self) -> Age {
        if self.lag == 0 {
            Age::Current
        } else {
            Age::Behind
        }
    }
}

impl Node {
    /// Does what an event leads to.
    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Segment {
                session,
                offset,
                data,
                ..
            } => {
                let block = self.given.entry(session).or_default();
                let start = usize::try_from(offset).unwrap();
                block.resize(block.len().max(start + data.len()), 0);
                block[start..start + data.len()].copy_from_slice(&data);
            }
            Event::RedPart {
                session,
                client,
                ends_block,
                ..
            } => {
                self.engine.as_mut().unwrap().stored(now, session).unwrap();
                let data = self.given[&session].clone().into();
                self.events.push(Event::Received {
                    session,
                    client,
                    data,
                    ends_block,
                });
            }
            event => self.events.push(event),
        }
    }
}

fn config(node: usize) -> Config {
    Config::engine(node as u64 + 1)
}

impl World {
    fn new(seed: u64, loss: u64, plan: Plan) -> Self {
        let nodes = [0, 1].map(|node| {
            let mut engine = Engine::new(config(node), Seed::from(seed + node as u64)).unwrap();
            let other = 2 - node as u64;
            let peer = Peer {
                segment: 140,
                checkpoint_every: plan.every,
                // A first pass that lasts for many light times, so that claims come in its middle.
                flow: plan.flow(),
                limits: PeerLimits {
                    checkpoint_retries: 12,
                    report_retries: 12,
                    cancel_retries: 12,
                    ..PeerLimits::default()
                },
                timers: PeerTimers {
                    owlt_out: OWLT,
                    owlt_in: OWLT,
                    first_silence: Duration::from_secs(600),
                    ..PeerTimers::default()
                },
                ..Peer::at(hop(other))
            };
            engine.add_peer(Instant::ZERO, other, peer).unwrap();
            engine.open(Instant::ZERO, CLIENT, plan.service).unwrap();
            Node {
                disk: VecDeque::from([engine.snapshot(Instant::ZERO)]),
                engine: Some(engine),
                events: Vec::new(),
                given: BTreeMap::new(),
                lives: 0,
                up_at: Instant::ZERO,
                deadline: None,
            }
        });
        Self {
            nodes,
            now: Instant::ZERO,
            under_way: BTreeMap::new(),
            weather: Seed::from(seed).child("weather").rng(),
            loss,
            sent: 0,
            steps: 0,
            plan,
            is_stopping: false,
            tx: Transmit::new(Limits::default()),
        }
    }

    /// A mixed block of twenty segments, and a small red one behind it.
    fn transfer(mut self) -> Self {
        let now = self.now;
        let engine = self.nodes[0].engine.as_mut().unwrap();
        for sent in [
            block(1, &pattern(2400), Red::Octets(1700)),
            block(2, &pattern(100), Red::All),
        ] {
            engine.send_block(now, sent).unwrap();
        }
        self.nodes[0].disk.clear();
        self.save(0);
        self.run();
        self
    }

    fn save(&mut self, node: usize) {
        let now = self.now;
        let node = &mut self.nodes[node];
        let snapshot = node.engine.as_ref().unwrap().snapshot(now);
        node.disk.push_back(snapshot);
        if node.disk.len() > 40 {
            node.disk.pop_front();
        }
    }

    /// Counts a step, and kills the engine when its time has come.
    fn step(&mut self, node: usize) -> bool {
        self.steps += 1;
        if node != self.plan.victim || self.steps < self.plan.step {
            return false;
        }
        self.plan.step = self
            .plan
            .again
            .take()
            .map_or(usize::MAX, |more| self.steps + more);
        let victim = &mut self.nodes[node];
        victim.engine = None;
        victim.up_at = self.now + DOWNTIME;
        victim.deadline = Some(victim.up_at);
        true
    }

    fn revive(&mut self, node: usize) {
        let (now, age, lag) = (self.now, self.plan.age(), self.plan.lag);
        let victim = &mut self.nodes[node];
        if victim.engine.is_some() || now < victim.up_at {
            return;
        }
        victim.lives += 1;
        let at = victim.disk.len().saturating_sub(1 + lag);
        victim.disk.truncate(at + 1);
        let snapshot = victim.disk.back().unwrap().clone();
        let snapshot = through_disk(&snapshot);
        let seed = Seed::from(1000 * victim.lives + node as u64);
        let engine = Engine::restore(config(node), seed, snapshot, age, now).unwrap();
        victim.engine = Some(engine);
    }

    fn run(&mut self) {
        loop {
            if self.is_stopping && self.nodes.iter().any(|node| node.engine.is_none()) {
                return;
            }
            for node in [0, 1] {
                self.revive(node);
                self.drain(node);
            }
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let deadlines = self.nodes.iter().filter_map(|node| node.deadline);
            let Some(next) = arrival.into_iter().chain(deadlines).min() else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.under_way.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, octets) = entry.remove();
                if let Some(engine) = &mut self.nodes[to].engine {
                    engine.receive(self.now, hop(2 - to as u64), &octets);
                    self.step(to);
                }
            }
        }
    }

    fn drain(&mut self, id: usize) {
        while let Some(engine) = &mut self.nodes[id].engine {
            let output = engine.poll(self.now, &mut self.tx);
            // What an event leads to is written in one go with the snapshot; segments leave behind it.
            match output {
                Output::Event(event) => self.nodes[id].handle(self.now, event),
                Output::Yield => {}
                Output::Idle(deadline) => {
                    self.nodes[id].deadline = deadline;
                    return;
                }
                Output::Transmit => {
                    self.save(id);
                    if self.step(id) {
                        return;
                    }
                    self.depart(id);
                    self.step(id);
                    continue;
                }
                other => panic!("{other:?}"),
            }
            self.save(id);
            self.step(id);
            assert!(self.steps < ENDLESS, "it never ends");
        }
    }

    fn depart(&mut self, from: usize) {
        for octets in self.tx.datagrams() {
            self.sent += 1;
            if self.weather.below(1000) >= self.loss {
                let at = (self.now + OWLT, self.sent);
                self.under_way.insert(at, (1 - from, octets.to_vec()));
            }
        }
    }

    fn count(&self, node: usize, is_meant: impl Fn(&Event) -> bool) -> usize {
        self.nodes[node]
            .events
            .iter()
            .filter(|event| is_meant(event))
            .count()
    }

    /// Nothing may be left in either engine.
    fn assert_nothing_leaks(&self) {
        for node in &self.nodes {
            let engine = node.engine.as_ref().unwrap();
            assert_eq!(engine.usage().sessions, (0, 0), "{:?}", self.plan);
            assert_eq!(
                (engine.usage().timers, engine.usage().octets_held),
                (0, 0),
                "{:?}",
                self.plan
            );
        }
    }

    /// How often each block was completed, failed, and was received.
    fn outcome(&self, tag: u64, red: usize) -> (usize, usize, usize) {
        let complete = self.count(
            0,
            |event| matches!(event, Event::Complete { tag: Tag(t), .. } if *t == tag),
        );
        let failed = self.count(
            0,
            |event| matches!(event, Event::Failed { tag: Tag(t), .. } if *t == tag),
        );
        let whole = pattern(2400);
        // An application that is told of a session again knows it by its name.
        let told: Vec<_> = self.nodes[1]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Received { session, data, .. } if data.len() == red => Some(session),
                _ => None,
            })
            .collect();
        let received = told.iter().collect::<BTreeSet<_>>().len();
        let may_hear_again = self.plan.lag > 0 && self.plan.victim == 1;
        assert!(
            may_hear_again || told.len() == received,
            "told twice: {:?}",
            self.plan
        );
        for event in &self.nodes[1].events {
            if let Event::Received { data, .. } = event {
                assert_eq!(data, &whole[..data.len()], "wrong octets: {:?}", self.plan);
            }
        }
        (complete, failed, received)
    }
}

const BLOCKS: [(u64, usize); 2] = [(1, 1700), (2, 100)];

/// A snapshot as it is read back from a disk.
#[cfg(feature = "serde")]
fn through_disk(snapshot: &Snapshot<Hop>) -> Snapshot<Hop> {
    let text = serde_json::to_string(snapshot).unwrap();
    let read = serde_json::from_str(&text).unwrap();
    assert_eq!(*snapshot, read);
    read
}

#[cfg(not(feature = "serde"))]
fn through_disk(snapshot: &Snapshot<Hop>) -> Snapshot<Hop> {
    snapshot.clone()
}

fn steps_of(seed: u64, loss: u64, plan: Plan) -> usize {
    let plan = Plan {
        step: usize::MAX,
        ..plan
    };
    World::new(seed, loss, plan).transfer().steps
}

/// Kills either engine at each step, and returns how many were killed. Each block arrives once all the same.
fn kill_at_each_step(seed: u64, loss: u64, plan: Plan) -> u64 {
    let mut killed = 0;
    for victim in [0, 1] {
        for step in 1..=steps_of(seed, loss, plan) {
            let plan = Plan {
                victim,
                step,
                ..plan
            };
            let world = World::new(seed, loss, plan).transfer();

            killed += world.nodes[victim].lives;
            world.assert_nothing_leaks();
            for (tag, red) in BLOCKS {
                let outcome = world.outcome(tag, red);
                assert_eq!(outcome, (1, 0, 1), "seed {seed}, block {tag}: {plan:?}");
            }
        }
    }
    killed
}

#[test]
fn an_engine_killed_at_any_step_goes_on_from_its_snapshot_and_each_block_arrives_once() {
    let mut killed = 0;
    for (seed, loss, service) in [
        (1, 0, Service::Whole),
        (2, 150, Service::Whole),
        (3, 300, Service::Whole),
        (4, 0, Service::Scattered),
        (5, 300, Service::Scattered),
    ] {
        let plan = Plan {
            service,
            ..Plan::NONE
        };
        killed += kill_at_each_step(seed, loss, plan);
    }
    assert!(killed > 300, "{killed} engines were killed");
}

/// Snapshots have no pings: whoever waited for an answer to one goes on without.
#[test]
fn an_engine_killed_while_a_ping_is_under_way_goes_on_from_its_snapshot() {
    let plan = Plan {
        finds_rate: true,
        ..Plan::NONE
    };
    for (seed, loss) in [(1, 0), (2, 150)] {
        assert!(kill_at_each_step(seed, loss, plan) > 0);
    }
}

#[test]
fn an_engine_killed_twice_goes_on_both_times() {
    for victim in [0, 1] {
        for step in (1..=steps_of(4, 200, Plan::NONE)).step_by(3) {
            for again in [1, 2, 7, 20] {
                let plan = Plan {
                    victim,
                    step,
                    again: Some(again),
                    ..Plan::NONE
                };
                let world = World::new(4, 200, plan).transfer();

                world.assert_nothing_leaks();
                for (tag, red) in BLOCKS {
                    assert_eq!(world.outcome(tag, red), (1, 0, 1), "{plan:?}");
                }
            }
        }
    }
}

#[test]
fn a_sender_whose_disk_lags_delivers_no_block_twice_and_tells_the_end_of_each() {
    for (seed, loss, window) in [(1, 0, 0), (2, 150, 0), (3, 300, 600)] {
        let plan = Plan {
            window: NonZeroU64::new(window),
            ..Plan::NONE
        };
        for lag in [1, 7, 39] {
            for step in 1..=steps_of(seed, loss, plan) {
                let plan = Plan {
                    victim: 0,
                    step,
                    lag,
                    ..plan
                };
                let world = World::new(seed, loss, plan).transfer();

                world.assert_nothing_leaks();
                for (tag, red) in BLOCKS {
                    let (complete, failed, received) = world.outcome(tag, red);
                    assert!(complete + failed >= 1, "{tag}: {plan:?}");
                    assert_eq!((failed, received), (0, 1), "{tag}: {plan:?}");
                }
            }
        }
    }
}

#[test]
fn a_receiver_whose_disk_lags_loses_no_block_that_its_sender_takes_for_delivered() {
    let mut failures = 0;
    let discretionary = Plan {
        victim: 1,
        every: NonZeroU32::new(3),
        ..Plan::NONE
    };
    let windowed = Plan {
        every: None,
        window: NonZeroU64::new(600),
        ..discretionary
    };
    let first = Plan {
        every: None,
        ..discretionary
    };
    let scattered = Plan {
        service: Service::Scattered,
        ..discretionary
    };
    for (seed, loss, plan) in [
        (1, 0, first),
        (2, 150, first),
        (3, 300, first),
        (5, 0, discretionary),
        (6, 200, discretionary),
        (7, 200, windowed),
        (8, 0, scattered),
        (9, 200, scattered),
    ] {
        for lag in [1, 7, 39] {
            for step in (1..=steps_of(seed, loss, plan)).step_by(2) {
                let plan = Plan { step, lag, ..plan };
                let world = World::new(seed, loss, plan).transfer();

                world.assert_nothing_leaks();
                for (tag, red) in BLOCKS {
                    let (complete, failed, received) = world.outcome(tag, red);
                    assert_eq!(complete + failed, 1, "{tag}: {plan:?}");
                    assert!(received >= complete, "lost: {tag}: {plan:?}");
                    assert!(received <= 1, "twice: {tag}: {plan:?}");
                    failures += failed;
                }
            }
        }
    }
    assert!(failures > 0, "no restart cut a block in two");
}

#[test]
fn a_report_of_a_receiver_that_began_anew_brings_back_what_it_denies_and_any_other_does_not() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(4000), Red::All);
    line.drain();
    let sent = line.log.len();
    let report = |serial, claims: &[Range<u64>]| {
        let mut octets = Vec::new();
        let body = Body::Report(Report {
            serial,
            checkpoint: 0,
            scope: (0..3000).into(),
            claims: Claims::new(claims),
        });
        Segment::new(session, body).encode(&mut octets);
        octets
    };

    line.deliver(1, &report(100, &[0..3000]));
    line.deliver(1, &report(99, &[0..1000]));
    line.deliver(1, &report(101, &[0..3000]));
    line.drain();
    assert_eq!(line.log.len(), sent + 3, "acknowledgments alone");
    assert_eq!(line.near().progress(Tag(1)).unwrap().claimed, 3000);
    line.deliver(1, &report(70_000, &[500..1000, 1200..3000]));
    line.drain();

    assert_eq!(line.near().progress(Tag(1)).unwrap().claimed, 2300);
    let bodies = line.bodies();
    let repaired: Vec<(u64, usize)> = bodies[sent + 3..]
        .iter()
        .filter_map(|(_, segment)| match segment.body {
            Body::Data(data) => Some((data.offset, data.octets.len())),
            _ => None,
        })
        .collect();
    assert_eq!(repaired, [(0, 500), (1000, 200)]);
}
