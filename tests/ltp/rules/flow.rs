//! The default flow: how engines of this crate recognise each other, and what follows from it.

use std::collections::VecDeque;

use farlink::ltp::{
    Auth, Block, Config, Engine, ExtensionTag, Extensions, FlowEstimate, Key, Peer, Segment,
};
use farlink::{Hop, Limits, Output, Seed, Transmit};

use super::*;
use crate::line::hop;

/// The tag of the private extension.
const HELLO: ExtensionTag = ExtensionTag(0xF1);
const LIGHT: Duration = Duration::from_millis(1);

/// Two engines next to each other, which know the receive buffers of their sockets.
struct Pair {
    engines: [Engine<Hop>; 2],
    limits: [Limits; 2],
    now: Instant,
    /// What was sent: by whom, and the octets.
    log: Vec<(u64, Vec<u8>)>,
    events: Vec<Event>,
    /// Whether a segment is lost.
    loses: fn(&Segment<'_>) -> bool,
}

impl Pair {
    fn new(buffer: usize, change: impl Fn(u64, &mut Config, &mut Peer<Hop>)) -> Self {
        Self::with_seed(0, buffer, change)
    }

    fn with_seed(
        seed: u64,
        buffer: usize,
        change: impl Fn(u64, &mut Config, &mut Peer<Hop>),
    ) -> Self {
        let engines = [1, 2].map(|id| {
            let (mut config, mut peer) = (Config::engine(id), Peer::at(hop(3 - id)));
            change(id, &mut config, &mut peer);
            let mut engine = Engine::new(config, Seed::from(seed + id)).unwrap();
            engine.add_peer(Instant::ZERO, 3 - id, peer).unwrap();
            engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
            engine
        });
        let limits = Limits::default();
        Self {
            engines,
            limits: [limits, limits.with_receive_buffer(buffer)],
            now: Instant::ZERO,
            log: Vec::new(),
            events: Vec::new(),
            loses: |_| false,
        }
    }

    fn send(&mut self, tag: u64, len: usize) {
        let block = Block::red(Tag(tag), 2, CLIENT, pattern(len).into());
        self.engines[0].send_block(self.now, block).unwrap();
    }

    /// Runs until nothing happens any more. Segments take a millisecond.
    fn run(&mut self) {
        let mut under_way: VecDeque<(Instant, u64, Vec<u8>)> = VecDeque::new();
        loop {
            let mut next = under_way.front().map(|(at, ..)| *at);
            for id in [1, 2] {
                let (engine, place) = (&mut self.engines[id as usize - 1], id as usize - 1);
                let mut tx = Transmit::new(self.limits[place]);
                let deadline = loop {
                    match engine.poll(self.now, &mut tx) {
                        Output::Transmit => {
                            for octets in tx.datagrams() {
                                self.log.push((id, octets.to_vec()));
                                if !(self.loses)(&Segment::decode(octets).unwrap()) {
                                    let at = self.now + LIGHT;
                                    under_way.push_back((at, id, octets.to_vec()));
                                }
                            }
                        }
                        Output::Event(event) => self.events.push(event),
                        Output::Idle(deadline) => break deadline,
                        _ => {}
                    }
                };
                next = next.into_iter().chain(deadline).min();
            }
            let arrival = under_way.front().map(|(at, ..)| *at);
            let Some(at) = next.into_iter().chain(arrival).min() else {
                return;
            };
            self.now = self.now.max(at);
            while let Some((at, ..)) = under_way.front()
                && *at <= self.now
            {
                let (_, from, octets) = under_way.pop_front().unwrap();
                self.engines[2 - from as usize].receive(self.now, hop(from), &octets);
            }
        }
    }

    fn flow(&self, id: u64) -> FlowEstimate {
        let line = self.engines[id as usize - 1].line(3 - id).unwrap();
        line.flow
    }

    /// The segments of an engine with the extension, by their numbers among all of the same engine and type.
    fn hellos(&self, from: u64, code: u8) -> Vec<usize> {
        let sent = self.log.iter().filter(|(by, _)| *by == from);
        let segments = sent.map(|(_, octets)| Segment::decode(octets).unwrap());
        segments
            .filter(|segment| segment.body.code() == code)
            .enumerate()
            .filter(|(_, segment)| segment.header.find(HELLO).is_some())
            .map(|(place, _)| place)
            .collect()
    }

    fn is_complete(&self, tag: u64) -> bool {
        is_complete(&self.events, tag)
    }
}

#[test]
fn an_engine_of_this_crate_answers_the_first_segment_with_its_window() {
    let mut pair = Pair::new(400_000, |_, _, _| {});

    pair.send(1, 300_000);
    pair.run();

    assert!(pair.is_complete(1));
    assert_eq!(pair.hellos(1, 0).first(), Some(&0));
    let flow = pair.flow(1);
    assert!(flow.is_farlink);
    // Half of the buffer, in units of 1024 octets.
    assert_eq!(flow.window.map(core::num::NonZero::get), Some(199_680));
    assert_eq!(flow.octets_per_second, None, "the window takes its place");
    // The answer is asynchronous (RFC 5326 section 6.11 b), and what it says is true.
    let reports = pair.log.iter().filter(|(by, _)| *by == 2);
    let first = reports
        .map(|(_, octets)| Segment::decode(octets).unwrap())
        .find(|segment| segment.body.code() == 8);
    let Some(Body::Report(report)) = first.map(|segment| segment.body) else {
        panic!("no report");
    };
    assert_eq!((report.checkpoint, report.scope.start), (0, 0));
    assert_eq!(
        report.claims.iter().collect::<Vec<_>>(),
        [0..report.scope.end]
    );
}

#[test]
fn what_is_known_is_not_asked_again() {
    let mut pair = Pair::new(400_000, |_, _, _| {});
    pair.send(1, 300_000);
    pair.run();
    let before = pair.hellos(1, 0).len();

    pair.send(2, 300_000);
    pair.run();

    assert!(pair.is_complete(2));
    assert_eq!(pair.hellos(1, 0).len(), before);
    assert_eq!(pair.engines[0].stats().octets_resent, 0);
}

#[test]
fn a_near_engine_gets_checkpoints_every_quarter_of_its_window_and_no_rate() {
    let mut pair = Pair::new(400_000, |_, _, _| {});
    pair.send(1, 10_000);
    pair.run();
    pair.log.clear();

    pair.send(2, 1_000_000);
    pair.run();

    let checkpoints = pair
        .log
        .iter()
        .filter(|(by, octets)| *by == 1 && Segment::decode(octets).unwrap().body.code() == 1);
    assert!((18..=22).contains(&checkpoints.count()));
}

#[test]
fn the_report_on_a_block_of_one_segment_is_the_answer() {
    let mut pair = Pair::new(400_000, |_, _, _| {});

    pair.send(1, 100);
    pair.run();

    assert!(pair.is_complete(1));
    assert_eq!(pair.hellos(1, 3), [0]);
    assert_eq!(pair.hellos(2, 8), [0]);
    let reports = pair.engines[1].stats().positive_reports_sent;
    assert_eq!(reports, 1, "no other is made");
    assert!(pair.flow(1).is_farlink);
}

#[test]
fn a_lost_hello_is_repeated_with_the_64th_segment() {
    let mut pair = Pair::new(400_000, |_, _, _| {});
    pair.send(1, 300_000);
    pair.loses = |segment| {
        matches!(segment.body, Body::Data(data) if data.offset == 0)
            && segment.header.find(HELLO).is_some()
    };
    pair.run();

    assert!(pair.is_complete(1));
    assert_eq!(pair.hellos(1, 0), [0, 64]);
    assert!(pair.flow(1).is_farlink);
}

#[test]
fn an_engine_that_is_not_to_tell_is_a_stranger() {
    for silent in [1, 2] {
        let mut pair = Pair::new(400_000, |id, config, _| config.hello = id != silent);

        pair.send(1, 300_000);
        pair.run();

        assert!(pair.is_complete(1));
        assert!(pair.hellos(2, 8).is_empty());
        assert_eq!(pair.hellos(1, 0).is_empty(), silent == 1);
        assert!(!pair.flow(1).is_farlink && !pair.flow(2).is_farlink);
        assert_eq!(pair.flow(1).window, None);
        let early = |octets: &[u8]| Segment::decode(octets).unwrap().body.code() == 1;
        assert!(!pair.log.iter().any(|(_, octets)| early(octets)));
    }
}

#[test]
fn a_flow_given_by_hand_tells_nothing_and_is_told_nothing() {
    for flow in [Flow::Unlimited, Flow::rate(1_000_000), Flow::window(20_000)] {
        let mut pair = Pair::new(400_000, |_, _, peer| peer.flow = flow);

        pair.send(1, 100_000);
        pair.run();

        assert!(pair.is_complete(1), "{flow:?}");
        for (_, octets) in &pair.log {
            assert_eq!(Segment::decode(octets).unwrap().header, Extensions::NONE);
        }
    }
}

#[test]
fn a_signed_hello_is_believed() {
    let key = || Key {
        id: b"7"[..].into(),
        secret: b"secret"[..].into(),
    };
    let mut pair = Pair::new(400_000, |_, _, peer| peer.auth = Auth::hmac_sha1(key()));

    pair.send(1, 100_000);
    pair.run();

    assert!(pair.is_complete(1));
    assert!(pair.flow(1).is_farlink);
}

#[test]
fn a_hello_from_elsewhere_is_not_believed() {
    let mut pair = Pair::new(400_000, |_, _, _| {});
    pair.send(1, 300_000);
    let mut tx = Transmit::new(pair.limits[0]);
    while let Output::Transmit = pair.engines[0].poll(pair.now, &mut tx) {
        let session = Segment::decode(tx.octets().get(..1400).unwrap_or(tx.octets()))
            .map(|segment| segment.session);
        if let Ok(session) = session {
            let claims = [0..1000];
            let mut octets = Vec::new();
            let extension = [0xF1, 6, b'f', b'l', 1, 0, 8, 0];
            let segment = Segment {
                header: Extensions::new(&extension).unwrap(),
                ..Segment::new(
                    session,
                    Body::Report(Report {
                        serial: 9,
                        checkpoint: 0,
                        scope: (0..1000).into(),
                        claims: Claims::new(&claims),
                    }),
                )
            };
            segment.encode(&mut octets);
            for (from, is_farlink) in [(hop(9), false), (hop(2), true)] {
                pair.engines[0].receive(pair.now + LIGHT, from, &octets);
                assert_eq!(pair.flow(1).is_farlink, is_farlink, "{from:?}");
            }
            return;
        }
    }
    panic!("nothing was sent");
}

#[test]
fn a_peer_at_another_address_is_a_stranger_again() {
    let mut pair = Pair::new(400_000, |_, _, _| {});
    pair.send(1, 100_000);
    pair.run();
    assert!(pair.flow(1).is_farlink);

    let now = pair.now;
    pair.engines[0]
        .change_peer(now, 2, Peer::at(hop(2)))
        .unwrap();
    assert!(pair.flow(1).is_farlink, "the same address");
    pair.engines[0]
        .change_peer(now, 2, Peer::at(hop(7)))
        .unwrap();

    assert!(!pair.flow(1).is_farlink);
    assert_eq!(pair.flow(1).window, None);
}

/// Whatever serial numbers are drawn for either session.
#[test]
fn a_block_refused_for_early_checkpoints_is_sent_again_without_them() {
    for seed in 0..16 {
        refuse_early_checkpoints(seed);
    }
}

fn refuse_early_checkpoints(seed: u64) {
    let mut pair = Pair::with_seed(seed, 400_000, |_, _, _| {});
    pair.send(1, 10_000);
    pair.run();
    pair.send(2, 1_000_000);
    let mut tx = Transmit::new(pair.limits[0]);
    let mut session = None;
    while let Output::Transmit = pair.engines[0].poll(pair.now, &mut tx) {
        let first = tx.datagrams().next().unwrap();
        session = Some(Segment::decode(first).unwrap().session);
    }

    let mut refusal = Vec::new();
    let body = Body::CancelByReceiver(Reason::RETRANSMISSION_LIMIT);
    Segment::new(session.unwrap(), body).encode(&mut refusal);
    pair.engines[0].receive(pair.now, hop(2), &refusal);
    pair.events.clear();
    pair.log.clear();
    pair.engines[1].refuse(pair.now, session.unwrap()).ok();
    pair.run();

    let Some(Event::Restarted {
        tag: Tag(2),
        session: second,
    }) = pair.events.first()
    else {
        panic!("{:?}", pair.events);
    };
    assert_ne!(session, Some(*second));
    assert!(pair.is_complete(2), "seed {seed}");
    let [sender, _] = &pair.engines;
    assert_eq!(sender.stats().unknown_checkpoint, 0, "seed {seed}");
    let early = pair.log.iter().any(|(by, octets)| {
        let segment = Segment::decode(octets).unwrap();
        *by == 1 && segment.session == *second && segment.body.code() == 1
    });
    assert!(!early);
}
