//! Two engines, a line with a delay between them, and a outcome for every segment. The laws are checked on the way.

use core::time::Duration;
use std::collections::BTreeMap;

use farlink::laws::Checker;
use farlink::ltp::{
    Block, Body, Config, Engine, Event, Flow, Peer, Red, Segment, Service, SessionId,
};
use farlink::{Hop, Instant, Limits, Link, Machine, Output, Seed, Tag, Transmit};

pub(crate) const CLIENT: u64 = 4;
/// More outputs than any of these tests has.
const ENDLESS: usize = 2_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentOutcome {
    Pass,
    Drop,
    Twice,
    Late(Duration),
    /// It passes, and a copy arrives later.
    Again(Duration),
}

/// A segment on the line.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    /// The number of segments before it, in both directions.
    pub(crate) nth: usize,
    /// 1 from the first engine, 2 from the second.
    pub(crate) from: u64,
    pub(crate) octets: &'a [u8],
}

impl Passing<'_> {
    pub(crate) fn segment(&self) -> Segment<'_> {
        Segment::decode(self.octets).unwrap()
    }
}

type Judge = Box<dyn FnMut(&Passing<'_>) -> SegmentOutcome>;

pub(crate) struct Node {
    pub(crate) engine: Engine<Hop>,
    pub(crate) events: Vec<Event>,
    watch: Checker<Hop>,
    deadline: Option<Instant>,
}

pub(crate) struct Line {
    pub(crate) nodes: [Node; 2],
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    /// All segments sent: when, by whom, and their octets.
    pub(crate) log: Vec<(Instant, u64, Vec<u8>)>,
    under_way: BTreeMap<(Instant, usize), (u64, Vec<u8>)>,
    judge: Judge,
    tx: Transmit<Hop>,
    outputs: usize,
    /// Whether applications say at once that a red part is stored.
    pub(crate) stores: bool,
}

pub(crate) fn hop(engine: u64) -> Hop {
    Hop {
        interface: 0,
        via: u16::try_from(engine).unwrap(),
    }
}

impl Line {
    pub(crate) fn new(seed: u64, delay: Duration) -> Self {
        Self::with(seed, delay, |_| {}, |_| {})
    }

    pub(crate) fn with(
        seed: u64,
        delay: Duration,
        config: impl Fn(&mut Config),
        change: impl Fn(&mut Peer<Hop>),
    ) -> Self {
        let limits = Limits::default();
        let nodes = [1, 2].map(|id| {
            let mut own = Config::engine(id);
            config(&mut own);
            let mut engine = Engine::new(own, Seed::from(seed * 2 + id)).unwrap();
            let mut peer = Peer::at(hop(3 - id))
                .with_flow(Flow::Unlimited)
                .at_distance(delay);
            change(&mut peer);
            engine.add_peer(Instant::ZERO, 3 - id, peer).unwrap();
            engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
            Node {
                engine,
                events: Vec::new(),
                watch: Checker::new(limits),
                deadline: None,
            }
        });
        Self {
            nodes,
            now: Instant::ZERO,
            delay,
            log: Vec::new(),
            under_way: BTreeMap::new(),
            judge: Box::new(|_| SegmentOutcome::Pass),
            tx: Transmit::new(limits),
            outputs: 0,
            stores: false,
        }
    }

    pub(crate) fn judged(
        mut self,
        judge: impl FnMut(&Passing<'_>) -> SegmentOutcome + 'static,
    ) -> Self {
        self.judge(judge);
        self
    }

    pub(crate) fn judge(&mut self, judge: impl FnMut(&Passing<'_>) -> SegmentOutcome + 'static) {
        self.judge = Box::new(judge);
    }

    /// The engine that sends, for input. The checker notes the command.
    pub(crate) fn near(&mut self) -> &mut Engine<Hop> {
        self.nodes[0].watch.command(self.now);
        &mut self.nodes[0].engine
    }

    /// The engine that receives.
    pub(crate) fn far(&mut self) -> &mut Engine<Hop> {
        self.nodes[1].watch.command(self.now);
        &mut self.nodes[1].engine
    }

    pub(crate) fn send(&mut self, tag: u64, data: &[u8], red: Red) -> SessionId {
        let now = self.now;
        self.near().send_block(now, block(tag, data, red)).unwrap()
    }

    pub(crate) fn link(&mut self, node: usize, state: Link) {
        let at = hop(2 - node as u64);
        let now = self.now;
        let node = &mut self.nodes[node];
        node.watch.link(now, at, state);
        node.engine.link(now, at, state);
    }

    /// Runs until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        self.run_until(Instant::MAX);
    }

    /// Runs until `end`, and sets the clock to it.
    pub(crate) fn run_until(&mut self, end: Instant) {
        loop {
            self.drain();
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let deadlines = self.nodes.iter().filter_map(|node| node.deadline);
            let Some(next) = arrival
                .into_iter()
                .chain(deadlines)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.arrive();
        }
        if end != Instant::MAX {
            self.now = end;
            self.drain();
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, octets) = entry.remove();
            self.deliver(to, &octets);
        }
    }

    /// Delivers octets to an engine as if its peer had sent them.
    pub(crate) fn deliver(&mut self, to: u64, octets: &[u8]) {
        let now = self.now;
        let node = &mut self.nodes[to as usize - 1];
        let from = hop(3 - to);
        node.watch.receive(&node.engine, now, from);
        node.engine.receive(now, from, octets);
    }

    pub(crate) fn give(&mut self, to: u64, session: SessionId, body: Body<'_>) {
        let mut octets = Vec::new();
        Segment::new(session, body).encode(&mut octets);
        self.deliver(to, &octets);
    }

    pub(crate) fn drain(&mut self) {
        for id in [1, 2] {
            loop {
                let now = self.now;
                let node = &mut self.nodes[id as usize - 1];
                let output = node.engine.poll(now, &mut self.tx);
                node.watch.polled(now, &output, &self.tx).unwrap();
                self.outputs += 1;
                assert!(self.outputs < ENDLESS, "it never ends");
                match output {
                    Output::Transmit => self.depart(id),
                    Output::Event(event) => {
                        if let (Event::RedPart { session, .. }, true) = (&event, self.stores) {
                            node.watch.command(now);
                            node.engine.stored(now, *session).unwrap();
                        }
                        node.events.push(event);
                    }
                    Output::Ask(ask) => panic!("{ask:?}"),
                    Output::Yield => {}
                    Output::Idle(deadline) => {
                        node.deadline = deadline;
                        break;
                    }
                    Output::Done => panic!("an engine is never done"),
                }
            }
        }
    }

    fn depart(&mut self, from: u64) {
        assert_eq!(self.tx.to(), Some(hop(3 - from)));
        for octets in self.tx.datagrams() {
            let nth = self.log.len();
            let outcome = (self.judge)(&Passing { nth, from, octets });
            self.log.push((self.now, from, octets.to_vec()));
            let at = self.now + self.delay;
            let arrivals: &[Instant] = match outcome {
                SegmentOutcome::Pass => &[at],
                SegmentOutcome::Drop => &[],
                SegmentOutcome::Twice => &[at, at],
                SegmentOutcome::Late(span) => &[at + span],
                SegmentOutcome::Again(span) => &[at, at + span],
            };
            for (copy, at) in arrivals.iter().enumerate() {
                let key = (*at, nth * 2 + copy);
                self.under_way.insert(key, (3 - from, octets.to_vec()));
            }
        }
    }

    /// What is left at the end: sessions, timers and octets of both engines.
    pub(crate) fn left(&self) -> (usize, usize, usize) {
        let sum = |count: fn(&Engine<Hop>) -> usize| {
            self.nodes.iter().map(|node| count(&node.engine)).sum()
        };
        (
            sum(|engine| engine.usage().sessions.0 + engine.usage().sessions.1),
            sum(|engine| engine.usage().timers),
            sum(|engine| engine.usage().octets_held),
        )
    }

    pub(crate) fn events(&mut self, id: u64) -> Vec<Event> {
        core::mem::take(&mut self.nodes[id as usize - 1].events)
    }

    pub(crate) fn bodies(&self) -> Vec<(u64, Segment<'_>)> {
        self.log
            .iter()
            .map(|(_, from, octets)| (*from, Segment::decode(octets).unwrap()))
            .collect()
    }

    /// The types of all segments sent, in order.
    pub(crate) fn codes(&self) -> Vec<u8> {
        self.bodies()
            .iter()
            .map(|(_, segment)| segment.body.code())
            .collect()
    }
}

pub(crate) fn block(tag: u64, data: &[u8], red: Red) -> Block {
    Block {
        tag: Tag(tag),
        to: 2,
        client: CLIENT,
        data: data.to_vec().into(),
        red,
    }
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + (at >> 8) * 13) as u8).collect()
}

/// The red part that was received, if exactly one was.
pub(crate) fn received(events: &[Event]) -> Option<&[u8]> {
    let mut all = events.iter().filter_map(|event| match event {
        Event::Received { data, .. } => Some(data.as_ref()),
        _ => None,
    });
    let first = all.next();
    assert_eq!(all.next(), None, "a block was delivered twice");
    first
}

pub(crate) fn is_complete(events: &[Event], tag: u64) -> bool {
    let ends: Vec<&Event> = events
        .iter()
        .filter(|event| {
            matches!(event, Event::Complete { tag: Tag(t), .. } | Event::Failed { tag: Tag(t), .. } if *t == tag)
        })
        .collect();
    assert_eq!(ends.len(), 1, "one end for each block: {events:?}");
    matches!(ends[0], Event::Complete { .. })
}
