//! Blocks from engine to engine in memory, beside `licklider-core` and a plain copy.

use core::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
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

struct Pair {
    near: Engine<Hop>,
    far: Engine<Hop>,
    tx: Transmit<Hop>,
    tag: u64,
}

impl Pair {
    fn new() -> Option<Self> {
        let now = Instant::ZERO;
        let mut near = Engine::new(Config::engine(1), Seed::from(1)).ok()?;
        let mut far = Engine::new(Config::engine(2), Seed::from(2)).ok()?;
        near.add_peer(now, 2, Peer::new(FAR)).ok()?;
        far.add_peer(now, 1, Peer::new(NEAR)).ok()?;
        far.open(now, CLIENT, Service::Whole).ok()?;
        let tx = Transmit::new(Limits::default());
        Some(Self {
            near,
            far,
            tx,
            tag: 0,
        })
    }

    /// Sends a block, and returns the octets that arrived once it is complete.
    fn transfer(&mut self, data: Bytes) -> usize {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, data);
        if self.near.send_block(Instant::ZERO, block).is_err() {
            return 0;
        }
        let mut arrived = 0;
        for _ in 0..3 {
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
                for octets in tx.datagrams() {
                    to.receive(Instant::ZERO, hop, octets);
                }
            }
            Output::Event(Event::Received { data, .. }) => *arrived += data.len(),
            Output::Event(_) => {}
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
        for _ in 0..3 {
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

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("ltp block");
    group.sample_size(10);
    for len in [100_usize, 100_000, 1_000_000, 60_000_000] {
        let data = Bytes::from(vec![0x5A; len]);
        group.throughput(Throughput::Bytes(len as u64));
        if let Some(mut pair) = Pair::new() {
            group.bench_function(BenchmarkId::new("farlink", len), |b| {
                b.iter(|| assert_eq!(pair.transfer(data.clone()), len));
            });
        }
        if let Some(mut others) = Others::new() {
            group.bench_function(BenchmarkId::new("licklider-core", len), |b| {
                b.iter(|| assert_eq!(others.transfer(data.clone()), len));
            });
        }
        group.bench_function(BenchmarkId::new("copy", len), |b| {
            b.iter_batched(
                || vec![0_u8; len],
                |mut target| {
                    target.copy_from_slice(&data);
                    black_box(target)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
