//! Another implementation at the other end: `licklider-core`, in memory, over a line with losses.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::ltp_peers::{Licklider, Notice, Send};
use crate::seeds::for_each_seed;
use farlink::ltp::{
    Block, Config, Engine, Event, Flow, Peer, PeerLimits, PeerTimers, Red, Redundancy, Service,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Rng, Seed, Tag, Transmit};
use licklider_core as other;
use other::EngineId;

const HOP: Hop = Hop {
    interface: 0,
    via: 1,
};
const CLIENT: u64 = 1;
const OURS: u64 = 1;
const THEIRS: u64 = 2;

struct World {
    ours: Engine<Hop>,
    theirs: Licklider,
    now: Instant,
    /// Of both engines.
    deadlines: [Option<Instant>; 2],
    under_way: BTreeMap<(Instant, u64), (u64, Vec<u8>)>,
    sent: u64,
    delay: Duration,
    rng: Rng,
    loss: u64,
    twice: u64,
    late: u64,
    events: Vec<Event>,
    notices: Vec<Notice>,
    tx: Transmit<Hop>,
    their_tx: Transmit<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Seed::from(seed).child("line").rng();
        let delay = Duration::from_millis(rng.below(2000));
        let segment = 120 + usize::try_from(rng.below(1200)).unwrap();
        let every = u32::try_from(rng.below(4)).unwrap();
        let mut wait = || Duration::from_millis([0, 0, 20][index(&mut rng, 3)]);
        let (report_delay, repair_delay) = (wait(), wait());
        let mut ours = Engine::new(Config::engine(OURS), Seed::from(seed)).unwrap();
        let peer = Peer {
            timers: PeerTimers {
                owlt_out: delay,
                owlt_in: delay,
                report_delay,
                repair_delay,
                ..PeerTimers::default()
            },
            redundancy: Redundancy::Fixed([0, 0, 1][index(&mut rng, 3)]),
            segment,
            checkpoint_every: core::num::NonZeroU32::new(every),
            limits: PeerLimits {
                checkpoint_retries: 30,
                report_retries: 30,
                ..PeerLimits::default()
            },
            ..Peer::at(HOP).with_flow(Flow::Unlimited)
        };
        ours.add_peer(Instant::ZERO, THEIRS, peer).unwrap();
        ours.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
        Self {
            ours,
            theirs: their_engine(seed, delay, segment),
            now: Instant::ZERO,
            deadlines: [None; 2],
            under_way: BTreeMap::new(),
            sent: 0,
            delay,
            loss: [0, 50, 200][index(&mut rng, 3)],
            twice: [0, 100][index(&mut rng, 2)],
            late: [0, 200][index(&mut rng, 2)],
            rng,
            events: Vec::new(),
            notices: Vec::new(),
            tx: Transmit::new(Limits::default()),
            their_tx: Transmit::new(Limits::default()),
        }
    }

    fn launch(&mut self, to: u64, octets: &[u8]) {
        let mut falls = |per_mille| self.rng.below(1000) < per_mille;
        if falls(self.loss) {
            return;
        }
        let copies = if falls(self.twice) { 2 } else { 1 };
        let late = if falls(self.late) { 500 } else { 0 };
        for _ in 0..copies {
            let extra = Duration::from_millis(self.rng.below(late + 1));
            self.sent += 1;
            let key = (self.now + self.delay + extra, self.sent);
            self.under_way.insert(key, (to, octets.to_vec()));
        }
    }

    fn drain(&mut self) {
        loop {
            match self.ours.poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    let datagrams: Vec<Vec<u8>> = self.tx.datagrams().map(<[u8]>::to_vec).collect();
                    for octets in &datagrams {
                        self.launch(THEIRS, octets);
                    }
                }
                Output::Event(event) => self.events.push(event),
                Output::Ask(_) | Output::Done => panic!("an engine asks for nothing"),
                Output::Yield => {}
                Output::Idle(deadline) => {
                    self.deadlines[0] = deadline;
                    break;
                }
            }
        }
        loop {
            match self.theirs.poll(self.now, &mut self.their_tx) {
                Output::Transmit => {
                    let datagrams = self.their_tx.datagrams();
                    let datagrams: Vec<Vec<u8>> = datagrams.map(<[u8]>::to_vec).collect();
                    for octets in &datagrams {
                        self.launch(OURS, octets);
                    }
                }
                Output::Event(notice) => self.notices.push(notice),
                Output::Idle(deadline) => {
                    self.deadlines[1] = deadline;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            self.drain();
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let deadlines = self.deadlines.into_iter().flatten();
            let Some(next) = arrival.into_iter().chain(deadlines).min() else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.under_way.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, octets) = entry.remove();
                if to == OURS {
                    self.ours.receive(self.now, HOP, &octets);
                } else {
                    self.theirs.receive(self.now, OURS, &octets);
                }
            }
        }
        panic!("it never ends");
    }
}

fn index(rng: &mut Rng, len: u64) -> usize {
    usize::try_from(rng.below(len)).unwrap()
}

fn their_engine(seed: u64, delay: Duration, segment: usize) -> Licklider {
    let mut config = other::Config::new(EngineId(THEIRS), seed);
    config.checkpoint_rtx_limit = 30;
    config.report_rtx_limit = 30;
    config.rtx_cycle_limit = 60;
    config.reception_problem_limit = 1000;
    let mut peer = other::PeerConfig::new(EngineId(OURS));
    peer.owlt_out = other::Duration::from_micros(u64::try_from(delay.as_micros()).unwrap());
    peer.owlt_in = peer.owlt_out;
    // Theirs counts data, ours whole segments.
    peer.max_segment_len = segment - 40;
    Licklider::with(config, peer, CLIENT)
}

fn pattern(len: u64, seed: u64) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + (at >> 8) * 13 + seed) % 256).unwrap())
        .collect()
}

fn transfer(seed: u64) {
    let mut world = World::new(seed);
    let len = 1 + world.rng.below(20_000);
    let red = match world.rng.below(3) {
        0 => world.rng.below(len),
        _ => len,
    };
    let out = pattern(len, seed);
    let back = pattern(len, seed + 1);
    let block = Block {
        tag: Tag(1),
        to: THEIRS,
        client: CLIENT,
        data: out.clone().into(),
        red: Red::Octets(red),
    };
    world.ours.send_block(Instant::ZERO, block).unwrap();
    let command = Send {
        client: CLIENT,
        data: back.clone().into(),
        red: usize::try_from(red).unwrap(),
    };
    world.theirs.command(Instant::ZERO, command).unwrap();
    world.run();

    let cut = usize::try_from(red).unwrap();
    let theirs: Vec<&[u8]> = world
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Received { data, .. } => Some(data.as_ref()),
            _ => None,
        })
        .collect();
    let ours: Vec<&[u8]> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Received { data, .. } => Some(data.as_ref()),
            _ => None,
        })
        .collect();
    let wanted = usize::from(red > 0);
    let is_complete = world
        .events
        .iter()
        .any(|event| matches!(event, Event::Complete { tag: Tag(1), .. }));
    // A green EOB that arrives before any red data makes theirs close the session, and refuse the red
    // part for good: we report that we failed.
    let is_mixed = (1..len).contains(&red);
    assert!(is_complete || is_mixed, "seed {seed}: {:?}", world.events);
    if is_complete {
        assert_eq!(
            theirs,
            vec![&out[..cut]; wanted],
            "seed {seed}: ours to theirs"
        );
    }
    let completes = |notice: &Notice| matches!(notice, Notice::Complete { .. });
    assert!(world.notices.iter().any(completes), "seed {seed}: theirs");
    assert_eq!(
        ours,
        vec![&back[..cut]; wanted],
        "seed {seed}: theirs to ours"
    );
    assert_eq!(world.ours.usage().sessions, (0, 0), "seed {seed}");
    assert_eq!(world.ours.usage().timers, 0, "seed {seed}");
    assert_eq!(world.ours.usage().octets_held, 0, "seed {seed}");
}

#[test]
fn blocks_pass_both_ways_whatever_the_line_loses_repeats_and_reorders() {
    for_each_seed(2000, transfer);
}
