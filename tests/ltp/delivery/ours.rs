//! Two engines of this crate on a lossy line, in simulated time.

use core::mem;
use core::time::Duration;
use std::collections::VecDeque;

use farlink::ltp::{
    Block, Body, Color, Config, Engine, Event, Flow, Peer, PeerLimits, Segment, Service,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};

use super::coin::{Coin, SegmentKind};
use super::scene::{BLOCK, RATE, SEGMENT, Scene};

const CLIENT: u64 = 4;

pub(crate) struct Pair {
    scene: Scene,
    engines: [Engine<Hop>; 2],
    deadlines: [Option<Instant>; 2],
    /// Each direction is first in, first out.
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// When each direction is idle again.
    free: [Instant; 2],
    now: Instant,
    tx: Transmit<Hop>,
    coin: Coin,
    /// Offsets and lengths of the segments of the first pass.
    sizes: Vec<(u64, usize)>,
    reached: u64,
    received: Option<Instant>,
    is_complete: bool,
    /// Octets sent to the receiver.
    pub(crate) octets: u64,
}

/// The result of one block.
pub(crate) struct Outcome {
    pub(crate) delivery: Duration,
    pub(crate) sizes: Vec<(u64, usize)>,
    pub(crate) octets: u64,
}

fn hop(engine: u16) -> Hop {
    Hop {
        interface: 0,
        via: engine,
    }
}

impl Pair {
    pub(crate) fn new(scene: Scene, change: impl Fn(Peer<Hop>) -> Peer<Hop>) -> Self {
        let engines = [1, 2].map(|id| {
            let mut engine = Engine::new(Config::engine(id), Seed::from(id)).unwrap();
            let peer = Peer {
                flow: Flow::rate(RATE).with_burst(0),
                segment: SEGMENT,
                limits: PeerLimits {
                    checkpoint_retries: 200,
                    report_retries: 200,
                    cycles: 1000,
                    ..PeerLimits::default()
                },
                ..Peer::at(hop(3 - id as u16)).at_distance(scene.owlt)
            };
            engine
                .add_peer(Instant::ZERO, 3 - id, change(peer))
                .unwrap();
            engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
            engine
        });
        Self {
            scene,
            engines,
            deadlines: [None; 2],
            under_way: [VecDeque::new(), VecDeque::new()],
            free: [Instant::ZERO; 2],
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            coin: Coin::new(0, 0),
            sizes: Vec::new(),
            reached: 0,
            received: None,
            is_complete: false,
            octets: 0,
        }
    }

    /// Sends one block, and runs until both engines are done with it.
    pub(crate) fn block(&mut self, coin: Coin) -> Outcome {
        let start = self.now;
        self.coin = coin;
        self.reached = 0;
        self.received = None;
        self.is_complete = false;
        self.octets = 0;
        let block = Block::red(Tag(1), 2, CLIENT, vec![0x5A; BLOCK].into());
        self.engines[0].send_block(self.now, block).unwrap();
        loop {
            self.drain();
            let is_over = self.is_complete && self.engines[1].usage().sessions.1 == 0;
            if is_over && self.under_way.iter().all(VecDeque::is_empty) {
                break;
            }
            self.step();
        }
        Outcome {
            delivery: self.received.unwrap() - start,
            sizes: mem::take(&mut self.sizes),
            octets: self.octets,
        }
    }

    fn step(&mut self) {
        let arrivals = self.under_way.iter().filter_map(|way| way.front());
        let next = arrivals
            .map(|(at, _)| *at)
            .chain(self.deadlines.into_iter().flatten())
            .min()
            .unwrap();
        self.now = self.now.max(next);
        for way in [0, 1] {
            while let Some((at, octets)) = self.under_way[way].front()
                && *at <= self.now
            {
                let from = hop(way as u16 + 1);
                self.engines[1 - way].receive(self.now, from, octets);
                self.under_way[way].pop_front();
            }
        }
    }

    fn drain(&mut self) {
        for id in [0, 1] {
            loop {
                match self.engines[id].poll(self.now, &mut self.tx) {
                    Output::Transmit => self.depart(id),
                    Output::Event(Event::Received { .. }) => self.received = Some(self.now),
                    Output::Event(Event::Complete { .. }) => self.is_complete = true,
                    Output::Yield => {}
                    Output::Idle(deadline) => {
                        self.deadlines[id] = deadline;
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn depart(&mut self, id: usize) {
        for octets in self.tx.datagrams() {
            let begins = self.free[id].max(self.now);
            let left = begins + Scene::radiation(octets.len());
            self.free[id] = left;
            let segment = Segment::decode(octets).unwrap();
            let way = match segment.body {
                Body::Data(data) => {
                    let color = data.color;
                    assert!(matches!(color, Color::Red(_)));
                    if data.offset == self.reached {
                        self.reached = data.range().end;
                        self.sizes.push((data.offset, octets.len()));
                    }
                    SegmentKind::Data(data.offset)
                }
                _ if id == 0 => SegmentKind::Out,
                _ => SegmentKind::Back,
            };
            if id == 0 {
                self.octets += octets.len() as u64;
            }
            if !self.coin.loses(way) {
                let at = left + self.scene.owlt;
                self.under_way[id].push_back((at, octets.to_vec()));
            }
        }
    }
}
