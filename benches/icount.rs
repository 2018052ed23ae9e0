//! Instructions of the hot paths, counted by valgrind: equal for each run of one build, whatever else the
//! machine does. `.ci/run instructions` runs it; a count above its ceiling fails.
#![allow(
    missing_docs,
    reason = "the functions that the macros of gungraun make have none"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark stops by panicking"
)]

extern crate alloc;

#[path = "../tests/support/cotp_pair.rs"]
mod cotp_pair;

use core::hint::black_box;
use core::num::NonZeroUsize;

use bytes::Bytes;
use cotp_pair::Pair;
use farlink::cotp::{self, Config, Policy, TpduSize};
use farlink::ltp::{
    self, Block, Body, Color, Data, Engine, EngineLimits, Flow, Peer, PeerLimits, Segment, Service,
    SessionId,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};

/// What Rust 1.95 makes of it on x86-64. Whoever makes a path cheaper, or knows why it must cost more, writes
/// the count that was measured.
mod measured {
    pub(crate) const COTP_SEND_64: u64 = 1_777;
    pub(crate) const COTP_SEND_16384: u64 = 4_336;
    pub(crate) const COTP_RECEIVE_64: u64 = 1_105;
    pub(crate) const COTP_RECEIVE_16384: u64 = 3_425;
    pub(crate) const LTP_SESSION_OF_ONE_SEGMENT: u64 = 11_229;
    pub(crate) const LTP_ENCODE_DATA: u64 = 390;
    pub(crate) const LTP_DECODE_DATA: u64 = 309;
    pub(crate) const LTP_THOUSAND_TIMERS: u64 = 357_333;
}

const CLIENT: u64 = 4;
const SEGMENT: usize = 1400;

/// The ceiling is 5 % above, for the next compiler and for changes that cost next to nothing.
fn at_most(measured: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, measured + measured / 20)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

// A message becomes the octets of the stream.
#[library_benchmark]
#[bench::octets_64(args = (64), setup = cotp_sender, config = at_most(measured::COTP_SEND_64))]
#[bench::octets_16384(args = (16384), setup = cotp_sender, config = at_most(measured::COTP_SEND_16384))]
fn cotp_send((mut pair, message): (Pair, Bytes)) -> Pair {
    pair.initiator.send(pair.now, message).unwrap();
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {
        black_box(pair.tx.octets());
    }
    pair
}

// The octets of the stream become a message.
#[library_benchmark]
#[bench::octets_64(args = (64), setup = cotp_receiver, config = at_most(measured::COTP_RECEIVE_64))]
#[bench::octets_16384(args = (16384), setup = cotp_receiver, config = at_most(measured::COTP_RECEIVE_16384))]
fn cotp_receive((mut pair, reads): (Pair, Vec<Vec<u8>>)) -> (Pair, Vec<Vec<u8>>, Bytes) {
    for octets in &reads {
        pair.responder.receive(pair.now, (), octets);
    }
    match pair.responder.poll(pair.now, &mut pair.tx) {
        Output::Event(cotp::Event::Received(message)) => (pair, reads, message),
        other => panic!("{other:?}"),
    }
}

// A block of one segment goes from engine to engine, its report and its acknowledgment come and go.
#[library_benchmark]
#[bench::octets_1000(setup = ltp_pair_and_block, config = at_most(measured::LTP_SESSION_OF_ONE_SEGMENT))]
fn ltp_session((mut engines, block): (Box<Engines>, Block)) -> Box<Engines> {
    engines.near.send_block(Instant::ZERO, block).unwrap();
    for _ in 0..2 {
        engines.exchange();
    }
    engines
}

#[library_benchmark]
#[bench::octets_1400(setup = ltp_payload, config = at_most(measured::LTP_ENCODE_DATA))]
fn ltp_encode((payload, mut out): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    ltp_segment(&payload).encode(&mut out);
    (payload, out)
}

#[library_benchmark]
#[bench::octets_1400(setup = ltp_encoded, config = at_most(measured::LTP_DECODE_DATA))]
fn ltp_decode(octets: Vec<u8>) -> Vec<u8> {
    let _ = black_box(Segment::decode(&octets).unwrap());
    octets
}

// The checkpoints of 1000 sessions, all unanswered, are due at once and go again.
#[library_benchmark]
#[bench::sessions_1000(setup = ltp_unanswered, config = at_most(measured::LTP_THOUSAND_TIMERS))]
fn ltp_timers((mut engines, due): (Box<Engines>, Instant)) -> Box<Engines> {
    let Engines { near, tx, .. } = &mut *engines;
    while let Output::Transmit | Output::Event(_) | Output::Yield = near.poll(due, tx) {}
    engines
}

fn cotp_sender(octets: usize) -> (Pair, Bytes) {
    let initiator = Config {
        tpdu_size: TpduSize::ISO,
        ..Config::default()
    };
    let responder = Config {
        tpdu_size: TpduSize::ISO,
        ..Config::responder(Policy::AcceptAny)
    };
    (
        Pair::open(initiator, responder),
        Bytes::from(vec![0x5A; octets]),
    )
}

fn cotp_receiver(octets: usize) -> (Pair, Vec<Vec<u8>>) {
    let (mut pair, message) = cotp_sender(octets);
    pair.initiator.send(pair.now, message).unwrap();
    let mut reads = Vec::new();
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {
        reads.push(pair.tx.octets().to_vec());
    }
    (pair, reads)
}

/// Two engines, and the buffer that everything goes through. They are in a box, or each count would include their moves
/// in and out of the function.
struct Engines {
    near: Engine<Hop>,
    far: Engine<Hop>,
    tx: Transmit<Hop>,
}

impl Engines {
    fn new() -> Self {
        let [near, far] = [1, 2].map(|id| {
            let config = ltp::Config {
                limits: EngineLimits {
                    events: 1 << 12,
                    control_segments: 1 << 12,
                    ..EngineLimits::default()
                },
                ..ltp::Config::engine(id)
            };
            let mut engine = Engine::new(config, Seed::from(id)).unwrap();
            let peer = Peer {
                limits: PeerLimits {
                    exports: 1 << 11,
                    ..PeerLimits::default()
                },
                ..Peer::at(hop(3 - id)).with_flow(Flow::Unlimited)
            };
            engine.add_peer(Instant::ZERO, 3 - id, peer).unwrap();
            engine.open(Instant::ZERO, CLIENT, Service::Whole).unwrap();
            engine
        });
        let tx = Transmit::new(Limits::default());
        Self { near, far, tx }
    }

    fn exchange(&mut self) {
        let Self { near, far, tx } = self;
        forward(near, far, hop(1), tx);
        forward(far, near, hop(2), tx);
    }
}

fn forward(from: &mut Engine<Hop>, to: &mut Engine<Hop>, at: Hop, tx: &mut Transmit<Hop>) {
    loop {
        match from.poll(Instant::ZERO, tx) {
            Output::Transmit => {
                let size = NonZeroUsize::new(tx.segment_size()).unwrap();
                to.receive_batch(Instant::ZERO, at, tx.octets(), size);
            }
            Output::Event(event) => {
                black_box(event);
            }
            Output::Yield => {}
            Output::Ask(_) | Output::Idle(_) | Output::Done => return,
        }
    }
}

fn hop(engine: u64) -> Hop {
    Hop {
        interface: 0,
        via: u16::try_from(engine).unwrap(),
    }
}

/// A pair that has served one session already, for the first one allocates what later ones use again.
fn ltp_pair_and_block() -> (Box<Engines>, Block) {
    let mut engines = Box::new(Engines::new());
    engines
        .near
        .send_block(Instant::ZERO, ltp_block(1))
        .unwrap();
    for _ in 0..2 {
        engines.exchange();
    }
    (engines, ltp_block(2))
}

fn ltp_block(tag: u64) -> Block {
    Block::red(Tag(tag), 2, CLIENT, Bytes::from(vec![0x5A; 1000]))
}

fn ltp_unanswered() -> (Box<Engines>, Instant) {
    let mut engines = Box::new(Engines::new());
    for tag in 0..1000 {
        engines
            .near
            .send_block(Instant::ZERO, ltp_block(tag))
            .unwrap();
    }
    let Engines { near, tx, .. } = &mut *engines;
    let due = loop {
        match near.poll(Instant::ZERO, tx) {
            Output::Idle(Some(due)) => break due,
            Output::Idle(None) | Output::Done => panic!("no timer runs"),
            _ => {}
        }
    };
    (engines, due)
}

fn ltp_segment(payload: &[u8]) -> Segment<'_> {
    Segment::new(
        SessionId {
            originator: 1,
            number: 77,
        },
        Body::Data(Data {
            client: CLIENT,
            offset: 1_000_000,
            color: Color::Red(None),
            octets: payload,
        }),
    )
}

fn ltp_payload() -> (Vec<u8>, Vec<u8>) {
    (vec![0x5A; SEGMENT], Vec::with_capacity(2 * SEGMENT))
}

fn ltp_encoded() -> Vec<u8> {
    let (payload, mut out) = ltp_payload();
    ltp_segment(&payload).encode(&mut out);
    out
}

library_benchmark_group!(name = cotp_paths, benchmarks = [cotp_send, cotp_receive]);
library_benchmark_group!(
    name = ltp_paths,
    benchmarks = [ltp_session, ltp_encode, ltp_decode, ltp_timers]
);
main!(library_benchmark_groups = [cotp_paths, ltp_paths]);
