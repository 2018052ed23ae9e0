//! Two engines in memory, compared with `licklider-core` and with plain copies.

use core::hint::black_box;
use core::num::NonZeroUsize;
use core::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use farlink::ltp::{
    Block, Body, Color, Config, Cue, Data, Engine, EngineLimits, Event, Flow, Peer, PeerLimits,
    Segment, Service, SessionId,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};
use licklider_core as other;

const NEAR: Hop = Hop {
    interface: 0,
    via: 1,
};
const FAR: Hop = Hop {
    interface: 0,
    via: 2,
};
const CLIENT: u64 = 4;

/// Octets of the longest block here, for the limits of memory.
const LONGEST: usize = 1_000_000_000;

struct Pair {
    near: Engine<Hop>,
    far: Engine<Hop>,
    tx: Transmit<Hop>,
    tag: u64,
}

impl Pair {
    fn new() -> Option<Self> {
        Self::remembering(Config::default().limits.closed_sessions)
    }

    /// A pair of engines that remember this many closed sessions.
    fn remembering(closed_sessions: u32) -> Option<Self> {
        let now = Instant::ZERO;
        let config = |engine| {
            let mut config = config(engine);
            config.limits.closed_sessions = closed_sessions;
            config
        };
        let mut near = Engine::new(config(1), Seed::from(1)).ok()?;
        let mut far = Engine::new(config(2), Seed::from(2)).ok()?;
        near.add_peer(now, 2, peer(FAR)).ok()?;
        far.add_peer(now, 1, peer(NEAR)).ok()?;
        far.open(now, CLIENT, Service::Whole).ok()?;
        let tx = Transmit::new(Limits::default());
        Some(Self {
            near,
            far,
            tx,
            tag: 0,
        })
    }

    fn send(&mut self, data: Bytes) -> bool {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, data);
        self.near.send_block(Instant::ZERO, block).is_ok()
    }

    /// Sends a block, and returns the octets that arrived once it is complete.
    fn transfer(&mut self, data: Bytes) -> usize {
        if self.send(data) { self.settle() } else { 0 }
    }

    /// Delivers everything that is sent, until there is nothing: data, reports, acknowledgments, each for all blocks.
    fn settle(&mut self) -> usize {
        let mut arrived = 0;
        for _ in 0..2 {
            exchange(
                &mut self.near,
                &mut self.far,
                NEAR,
                &mut self.tx,
                &mut arrived,
            );
            exchange(
                &mut self.far,
                &mut self.near,
                FAR,
                &mut self.tx,
                &mut arrived,
            );
        }
        arrived
    }
}

/// Limits that allow 100,000 sessions and the longest block.
fn config(engine: u64) -> Config {
    Config {
        limits: EngineLimits {
            export_octets: LONGEST,
            import_octets: 3 * LONGEST,
            pool_octets: LONGEST,
            events: 1 << 18,
            control_segments: 1 << 18,
            ..EngineLimits::default()
        },
        ..Config::engine(engine)
    }
}

fn peer(at: Hop) -> Peer<Hop> {
    Peer {
        limits: PeerLimits {
            exports: 1 << 17,
            imports: 1 << 17,
            session_octets: LONGEST,
            import_octets: 2 * LONGEST,
            ..PeerLimits::default()
        },
        ..Peer::at(at).with_flow(Flow::Unlimited)
    }
}

fn exchange(
    from: &mut Engine<Hop>,
    to: &mut Engine<Hop>,
    hop: Hop,
    tx: &mut Transmit<Hop>,
    arrived: &mut usize,
) {
    loop {
        match from.poll(Instant::ZERO, tx) {
            Output::Transmit => {
                if let Some(size) = NonZeroUsize::new(tx.segment_size()) {
                    to.receive_batch(Instant::ZERO, hop, tx.octets(), size);
                }
            }
            Output::Event(Event::Received { data, .. }) => *arrived += data.len(),
            Output::Event(_) | Output::Yield => {}
            Output::Ask(_) | Output::Idle(_) | Output::Done => return,
        }
    }
}

struct Others {
    near: other::Engine,
    far: other::Engine,
}

impl Others {
    fn new() -> Option<Self> {
        let make = |id, peer| {
            let mut engine =
                other::Engine::new(other::Config::new(other::EngineId(id), id)).ok()?;
            let mut peer = other::PeerConfig::new(other::EngineId(peer));
            peer.max_segment_len = 1388;
            engine.add_peer(peer).ok()?;
            engine.register_client_service(CLIENT);
            Some(engine)
        };
        Some(Self {
            near: make(1, 2)?,
            far: make(2, 1)?,
        })
    }

    fn transfer(&mut self, data: Bytes) -> usize {
        let request = other::TransmissionRequest {
            destination: other::EngineId(2),
            client_service: CLIENT,
            red_len: data.len() as u64,
            data,
        };
        if self
            .near
            .request_transmission(other::Timestamp::ZERO, request)
            .is_err()
        {
            return 0;
        }
        let mut arrived = 0;
        for _ in 0..2 {
            pass(&mut self.near, &mut self.far, 1, &mut arrived);
            pass(&mut self.far, &mut self.near, 2, &mut arrived);
        }
        arrived
    }
}

fn pass(from: &mut other::Engine, to: &mut other::Engine, id: u64, arrived: &mut usize) {
    let now = other::Timestamp::ZERO;
    while let Some(output) = from.poll_output(now) {
        match output {
            other::Output::Transmit { segment, .. } => {
                let peer = other::EngineId(id);
                to.handle_input(
                    now,
                    other::Input::Segment {
                        peer,
                        data: &segment,
                    },
                );
            }
            other::Output::Notice(other::Notice::RedPartReceived { data, .. }) => {
                *arrived += data.len();
            }
            other::Output::Notice(_) => {}
        }
    }
}

/// Whole blocks, beside a copy between two buffers that were written before.
fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp block");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(1));
    group.warm_up_time(Duration::from_millis(300));
    for len in [100_000, 1_000_000, 16_000_000, 60_000_000, 1 << 26, LONGEST] {
        let data = Bytes::from(vec![0x5A; len]);
        group.throughput(Throughput::Bytes(len as u64));
        if let Some(mut pair) = Pair::new() {
            // The first block finds the memory for those that follow.
            assert_eq!(pair.transfer(data.clone()), len);
            group.bench_function(BenchmarkId::new("farlink", len), |b| {
                b.iter(|| assert_eq!(pair.transfer(data.clone()), len));
            });
        }
        if let Some(mut others) = Others::new().filter(|_| len <= 60_000_000) {
            group.bench_function(BenchmarkId::new("licklider-core", len), |b| {
                b.iter(|| assert_eq!(others.transfer(data.clone()), len));
            });
        }
        let mut target = vec![1_u8; len];
        group.bench_function(BenchmarkId::new("copy", len), |b| {
            b.iter(|| {
                target.copy_from_slice(&data);
                black_box(&mut target);
            });
        });
        let mut batch = Vec::with_capacity(1 << 16);
        group.bench_function(BenchmarkId::new("two copies in pieces", len), |b| {
            b.iter(|| copy_in_pieces(&data, &mut batch, &mut target));
        });
    }
    group.finish();
}

/// Octets of a header of a data segment.
const HEAD: usize = 12;
/// Octets of a data segment behind its header.
const PIECE: usize = 1388;

/// The copies that every engine needs: into batches of datagrams, and out of them.
fn copy_in_pieces(data: &[u8], batch: &mut Vec<u8>, target: &mut Vec<u8>) {
    target.clear();
    for pieces in data.chunks(44 * PIECE) {
        batch.clear();
        for piece in pieces.chunks(PIECE) {
            batch.extend_from_slice(&[0; HEAD]);
            batch.extend_from_slice(piece);
        }
        for datagram in batch.chunks(HEAD + PIECE) {
            target.extend_from_slice(datagram.get(HEAD..).unwrap_or_default());
        }
    }
    black_box(target);
}

/// Sessions of one segment, from the request to the last acknowledgment.
fn sessions(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp session of one segment");
    quick(&mut group);
    let data = Bytes::from(vec![0x5A; 100]);
    if let Some(mut pair) = Pair::new() {
        group.bench_function("farlink", |b| {
            b.iter(|| assert_eq!(pair.transfer(data.clone()), 100));
        });
    }
    // As many as the other engine remembers; ours does so for as long as a peer may still ask.
    if let Some(mut pair) = Pair::remembering(1024) {
        group.bench_function("farlink, 1024 remembered", |b| {
            b.iter(|| assert_eq!(pair.transfer(data.clone()), 100));
        });
    }
    if let Some(mut others) = Others::new() {
        group.bench_function("licklider-core", |b| {
            b.iter(|| assert_eq!(others.transfer(data.clone()), 100));
        });
    }
    group.finish();
}

/// Many sessions at a time, each at the same step, so that each input is for another session than the one before. The
/// time is that of one session with nine inputs.
fn concurrent_sessions(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp sessions at a time");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(2));
    group.warm_up_time(Duration::from_millis(300));
    let data = Bytes::from(vec![0x5A; 100]);
    for count in [100_u64, 1000, 10_000, 100_000] {
        let Some(mut pair) = Pair::new() else {
            continue;
        };
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                assert!((0..count).all(|_| pair.send(data.clone())));
                assert_eq!(pair.settle() as u64, 100 * count);
            });
        });
    }
    group.finish();
}

/// One data segment, beside a copy of its octets.
fn segments(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp segment");
    quick(&mut group);
    let payload = vec![0x5A; 1388];
    let body = Body::Data(Data {
        client: CLIENT,
        offset: 13_880_000,
        color: Color::Red(None),
        octets: &payload,
    });
    let session = SessionId {
        originator: 1,
        number: 0x5A5A_5A5A,
    };
    let segment = Segment::new(session, body);
    let mut octets = Vec::new();
    segment.encode(&mut octets);
    let mut out = Vec::with_capacity(4096);
    group.bench_function("copy", |b| {
        b.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&payload));
            black_box(&mut out);
        });
    });
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            black_box(&segment).encode(&mut out);
            black_box(&mut out);
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| black_box(Segment::decode(black_box(&octets)).is_ok()));
    });
    group.bench_function("decode and copy", |b| {
        b.iter(|| {
            out.clear();
            if let Ok(Segment {
                body: Body::Data(data),
                ..
            }) = Segment::decode(black_box(&octets))
            {
                out.extend_from_slice(data.octets);
            }
            black_box(&mut out);
        });
    });
    group.finish();
}

/// A contact with one peer that ends and begins, among peers that each have a timer.
fn contacts(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp contact among peers");
    quick(&mut group);
    for count in [10_u16, 10_000] {
        let Some(mut engine) = engine_with_peers(count) else {
            continue;
        };
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                for cue in [Cue::PeerStopped, Cue::PeerTransmits] {
                    assert_eq!(engine.contact(Instant::ZERO, 9, cue), Ok(()));
                }
            });
        });
    }
    group.finish();
}

/// An engine that awaits a report from each of its peers.
fn engine_with_peers(count: u16) -> Option<Engine<Hop>> {
    let now = Instant::ZERO;
    let mut engine = Engine::new(config(1), Seed::from(1)).ok()?;
    for via in 0..count {
        let id = u64::from(via) + 2;
        let hop = Hop { interface: 0, via };
        engine
            .add_peer(now, id, Peer::at(hop).with_flow(Flow::Unlimited))
            .ok()?;
        let block = Block::red(Tag(id), id, CLIENT, Bytes::from_static(b"block"));
        engine.send_block(now, block).ok()?;
    }
    let mut tx = Transmit::new(Limits::default());
    while let Output::Transmit = engine.poll(now, &mut tx) {}
    (engine.usage().timers == usize::from(count)).then_some(engine)
}

fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.measurement_time(Duration::from_millis(500));
    group.warm_up_time(Duration::from_millis(300));
    group.sample_size(20);
}

criterion_group!(
    benches,
    blocks,
    sessions,
    concurrent_sessions,
    segments,
    contacts
);
criterion_main!(benches);
