//! Engines that are killed and restored from a snapshot.

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
    };

    fn flow(self) -> Flow {
        match (self.window, self.every) {
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
            assert_eq!(engine.sessions(), (0, 0), "{:?}", self.plan);
            assert_eq!(
                (engine.timers(), engine.octets_held()),
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
    }
    assert!(killed > 300, "{killed} engines were killed");
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

/// Snapshots of both engines from all moments of a transfer.
fn snapshots() -> Vec<Snapshot<Hop>> {
    let mut all = Vec::new();
    for victim in [0, 1] {
        for step in (5..steps_of(3, 300, Plan::NONE)).step_by(9) {
            let plan = Plan {
                victim,
                step,
                again: Some(usize::MAX / 2),
                ..Plan::NONE
            };
            let mut world = World::new(3, 300, plan);
            world.is_stopping = true;
            all.extend(world.transfer().nodes[victim].disk.back().cloned());
        }
    }
    all
}

fn restored(
    config: Config,
    snapshot: Snapshot<Hop>,
    age: Age,
) -> Result<Engine<Hop>, RestoreError> {
    Engine::restore(
        config,
        Seed::from(77),
        snapshot,
        age,
        Instant::from_nanos(5),
    )
}

#[test]
fn what_is_restored_at_once_saves_what_it_was_restored_from() {
    for snapshot in snapshots() {
        let id = usize::try_from(snapshot.engine()).unwrap() - 1;
        let engine = restored(config(id), snapshot.clone(), Age::Current).unwrap();

        let again = engine.snapshot(Instant::from_nanos(5));

        let tags = |of: &Snapshot<Hop>| of.tags().collect::<Vec<_>>();
        assert_eq!(tags(&again), tags(&snapshot));
        let third = restored(config(id), again.clone(), Age::Current).unwrap();
        assert_eq!(third.sessions(), engine.sessions());
        assert_eq!(third.octets_held(), engine.octets_held());
    }
}

#[test]
fn a_snapshot_of_another_engine_or_beyond_the_limits_is_refused() {
    let snapshot = snapshots()
        .into_iter()
        .find(|one| one.tags().count() == 2)
        .unwrap();
    let refused = |change: fn(&mut Config)| {
        let mut config = config(0);
        change(&mut config);
        restored(config, snapshot.clone(), Age::Current).unwrap_err()
    };

    assert_eq!(
        refused(|config| config.engine = 5),
        RestoreError::Engine { id: 1, own: 5 }
    );
    assert_eq!(
        refused(|config| config.limits.exports = 1),
        RestoreError::Limit {
            field: "exports",
            value: 2,
            limit: 1
        }
    );
    assert_eq!(
        refused(|config| config.limits.export_octets = 2499),
        RestoreError::Limit {
            field: "export octets",
            value: 2500,
            limit: 2499
        }
    );
    assert_eq!(
        refused(|config| config.limits.peers = 0),
        RestoreError::Refused {
            field: "peers",
            at: 0,
            error: Error::TooManyPeers { limit: 0 }
        }
    );
    assert_eq!(
        refused(|config| config.limits.services = 0).to_string(),
        "services[0]: limit of 0 client services reached"
    );
}

/// Replaces every leaf of a document, one after the other, by each of many values.
#[cfg(feature = "serde")]
fn damage(document: &serde_json::Value, each: &mut dyn FnMut(&str, serde_json::Value)) {
    use serde_json::{Value, json};
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    leaves(&format!("{at}/{name}"), field, found);
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate().take(3) {
                    leaves(&format!("{at}/{place}"), item, found);
                }
            }
            _ => {}
        }
        found.push(at.to_string());
    }
    let mut found = Vec::new();
    leaves("", document, &mut found);
    for at in found {
        let old = document.pointer(&at).unwrap();
        let mut values = vec![
            json!(null),
            json!(0),
            json!(1),
            json!(u64::MAX),
            json!("hex:00"),
        ];
        values.extend([json!(u64::MAX - 1), json!(true), json!(false), json!([])]);
        if let Some(number) = old.as_u64() {
            values.extend([json!(number.wrapping_add(1)), json!(number.wrapping_sub(1))]);
        }
        if let Some(items) = old.as_array() {
            values.push([items.as_slice(), items].concat().into());
            values.push(items.iter().rev().cloned().collect());
        }
        for value in values {
            let mut damaged = document.clone();
            *damaged.pointer_mut(&at).unwrap() = value;
            each(&at, damaged);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_damaged_snapshot_is_refused_or_makes_an_engine_that_works_within_its_limits() {
    use farlink::laws::LawSubject as _;

    let small = |id| Config {
        limits: EngineLimits {
            exports: 4,
            imports: 4,
            export_octets: 5000,
            import_octets: 20_000,
            events: 16,
            ..EngineLimits::default()
        },
        ..config(id)
    };
    let (mut refused, mut taken) = (0, 0);
    for snapshot in snapshots().into_iter().step_by(7) {
        let id = usize::try_from(snapshot.engine()).unwrap() - 1;
        let document = serde_json::to_value(&snapshot).unwrap();
        damage(&document, &mut |at, damaged| {
            let Ok(snapshot) = serde_json::from_value(damaged) else {
                refused += 1;
                return;
            };
            let config = small(id);
            let ceiling = Engine::<Hop>::memory_limit(&config);
            let Ok(mut engine) = restored(config.clone(), snapshot, Age::Current) else {
                refused += 1;
                return;
            };
            taken += 1;
            assert!(engine.memory() <= ceiling, "{at}");
            live_on(&mut engine, at);
            assert!(engine.memory() <= ceiling, "{at}");
            // What it then is can be saved and restored.
            let again = engine.snapshot(Instant::from_nanos(6));
            restored(config, again, Age::Behind).unwrap();
        });
    }
    assert!(refused > 1000 && taken > 300, "{refused} {taken}");
}

#[cfg(feature = "serde")]
fn live_on(engine: &mut Engine<Hop>, at: &str) {
    let mut tx = Transmit::new(Limits::default());
    let mut now = Instant::from_nanos(5);
    for _ in 0..2000 {
        match engine.poll(now, &mut tx) {
            Output::Idle(Some(deadline)) => now = deadline,
            Output::Idle(None) => return,
            _ => {}
        }
    }
    panic!("it never ends: {at}");
}

/// A peer must not be able to bring an engine into a state that cannot be restored.
#[cfg(feature = "arbitrary")]
#[test]
fn whatever_was_done_to_an_engine_its_snapshot_is_taken_back() {
    use farlink::laws::LawSubject as _;
    use farlink::ltp::Command;

    let mut busy = 0;
    tries(2500, 1 << 10..=1 << 14, |u| {
        let config: Config = u.arbitrary()?;
        let Some(mut engine) = Engine::<Hop>::make(&config, Seed::from(9)) else {
            return Ok(());
        };
        let ceiling = Engine::<Hop>::memory_limit(&config);
        let mut tx = Transmit::new(Limits::default());
        let mut now = Instant::ZERO;
        while !u.is_empty() {
            match u.int_in_range(0..=9)? {
                0..=2 => drop(engine.command(now, u.arbitrary::<Command<Hop>>()?)),
                3..=6 => {
                    let octets = Engine::<Hop>::arbitrary_octets(&config, u)?;
                    engine.receive(now, u.arbitrary()?, &octets);
                }
                7 => now += Duration::from_millis(u.int_in_range(0..=3000)?),
                _ => drop(engine.poll(now, &mut tx)),
            }
            if u.ratio(1, 8)? {
                let age = if u.arbitrary()? {
                    Age::Current
                } else {
                    Age::Behind
                };
                let snapshot = engine.snapshot(now);
                busy += usize::from(engine.sessions() != (0, 0));
                engine =
                    Engine::restore(config.clone(), Seed::from(3), snapshot, age, now).unwrap();
                assert!(engine.memory() <= ceiling);
            }
        }
        Ok(())
    });
    let is_alone = number("FARLINK_SEED").is_some();
    assert!(busy > 20 || is_alone, "{busy} snapshots with sessions");
}

#[test]
fn strangers_and_contacts_are_as_they_were() {
    let now = Instant::ZERO;
    let mut engine = Engine::new(config(1), Seed::from(1)).unwrap();
    engine.open(now, CLIENT, Service::Whole).unwrap();
    engine
        .accept_unknown_peers(now, Some(Peer::at(hop(9)).with_flow(Flow::Unlimited)), 2)
        .unwrap();
    let data = |originator| {
        let session = SessionId {
            originator,
            number: 5,
        };
        let mut octets = Vec::new();
        let body = Body::Data(Data {
            client: CLIENT,
            offset: 0,
            color: Color::Red(None),
            octets: &[7; 10],
        });
        Segment::new(session, body).encode(&mut octets);
        octets
    };
    engine.receive(now, hop(3), &data(3));
    engine.contact(now, 3, Cue::MustStop).unwrap();
    engine.contact(now, 3, Cue::PeerStopped).unwrap();

    let mut engine = restored(config(1), engine.snapshot(now), Age::Current).unwrap();

    let mut tx = Transmit::new(Limits::default());
    assert!(matches!(
        engine.poll(Instant::from_nanos(5), &mut tx),
        Output::Event(Event::UnknownPeer { peer: 3 })
    ));
    assert_eq!(
        engine.poll(Instant::from_nanos(6), &mut tx),
        Output::Idle(None),
        "timers stand still, nothing is sent"
    );
    assert_eq!(engine.sessions(), (0, 1));
    engine.receive(now, hop(4), &data(4));
    engine.receive(now, hop(5), &data(5));
    assert_eq!(engine.sessions(), (0, 2), "two sessions, no more");
}
