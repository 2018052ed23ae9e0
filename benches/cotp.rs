//! The cost of sending and receiving COTP messages in memory, compared with another crate and with a
//! `memcpy` of the same octets.
//!
//! - `encode`: from a message to DTs in TPKTs.
//! - `decode`: from DTs in TPKTs to a message.
//! - `transfer`: both, from one machine to another, with the same message each time.
//! - `transfer_64`: the same with 64 messages of 16 KiB in separate memory, as those of an application. A
//!   single message stays in the innermost cache.
//!
//! `memcpy` copies the octets once into allocated memory, which is the lower bound. `memcpy_in_and_out`
//! copies them into a buffer and from there into new memory: the lower bound of a protocol whose driver
//! borrows the transmit buffer and whose events own their octets.
//!
//! The other crate is `rusty-cotp` with its largest TPDU size, 2048 octets, as in `farlink_2048`. `farlink`
//! proposes 8192 octets, `farlink_65531` the size of RFC 1006. The other crate gets packets
//! without TPKT headers and without a stream, which is less work.
#![allow(
    missing_docs,
    reason = "the functions that criterion's macros make have none"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark stops by panicking"
)]

extern crate alloc;

#[path = "../tests/support/cotp_pair.rs"]
mod cotp_pair;
mod peer;

use core::hint::black_box;

use bytes::Bytes;
use cotp_pair::Pair;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use farlink::cotp::{Config, ConnectionLimits, Event, Policy, TpduSize};
use farlink::{Machine as _, Output};
use peer::Peer;

const KIB: usize = 1 << 10;
const SIZES: [usize; 4] = [64, KIB, 16 * KIB, KIB * KIB];
/// The default, the largest of RFC 1006, and the largest of the other crate.
const TPDU_SIZES: [(&str, TpduSize); 3] = [
    ("farlink", TpduSize::ISO),
    ("farlink_65531", TpduSize::LARGEST),
    ("farlink_2048", TpduSize::CLASS_0),
];

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        let message = sized(&mut group, size);
        for (name, tpdu_size) in TPDU_SIZES {
            let mut pair = open(tpdu_size);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    send(&mut pair, black_box(&message), |octets| {
                        black_box(octets);
                    });
                });
            });
        }
        let mut peer = Peer::open();
        group.bench_function(BenchmarkId::new("rusty_cotp_2048", size), |bencher| {
            bencher.iter(|| {
                peer.send(black_box(&message));
                peer.forget();
            });
        });
        memcpy(&mut group, &message);
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES {
        let message = sized(&mut group, size);
        for (name, tpdu_size) in TPDU_SIZES {
            let mut pair = open(tpdu_size);
            let mut reads = Vec::new();
            send(&mut pair, &message, |octets| reads.push(octets.to_vec()));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    for octets in &reads {
                        pair.responder.receive(pair.now, (), black_box(octets));
                    }
                    receive(&mut pair)
                });
            });
        }
        let mut peer = Peer::open();
        peer.send(&message);
        group.bench_function(BenchmarkId::new("rusty_cotp_2048", size), |bencher| {
            bencher.iter(|| peer.receive_again());
        });
        memcpy(&mut group, &message);
    }
}

fn transfer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transfer");
    for size in SIZES {
        let message = sized(&mut group, size);
        for (name, tpdu_size) in TPDU_SIZES {
            let mut pair = open(tpdu_size);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    forward(&mut pair, black_box(&message));
                    receive(&mut pair)
                });
            });
        }
        let mut peer = Peer::open();
        group.bench_function(BenchmarkId::new("rusty_cotp_2048", size), |bencher| {
            bencher.iter(|| {
                peer.send(black_box(&message));
                peer.receive()
            });
        });
        memcpy(&mut group, &message);
        let mut buffer = vec![0; size];
        group.bench_function(BenchmarkId::new("memcpy_in_and_out", size), |bencher| {
            bencher.iter(|| {
                black_box(buffer.as_mut_slice()).copy_from_slice(black_box(&message));
                Bytes::copy_from_slice(black_box(&buffer))
            });
        });
    }
}

fn transfer_64(criterion: &mut Criterion) {
    const SIZE: usize = 16 * KIB;
    let mut group = criterion.benchmark_group("transfer_64");
    let messages: Vec<Bytes> = (0..64).map(|_| Bytes::from(vec![0x5A; SIZE])).collect();
    group.throughput(Throughput::Bytes(
        u64::try_from(messages.len() * SIZE).unwrap(),
    ));
    for (name, tpdu_size) in TPDU_SIZES {
        let mut pair = open(tpdu_size);
        group.bench_function(BenchmarkId::new(name, SIZE), |bencher| {
            bencher.iter(|| {
                for message in black_box(&messages) {
                    forward(&mut pair, message);
                    black_box(receive(&mut pair));
                }
            });
        });
    }
    let mut peer = Peer::open();
    group.bench_function(BenchmarkId::new("rusty_cotp_2048", SIZE), |bencher| {
        bencher.iter(|| {
            for message in black_box(&messages) {
                peer.send(message);
                black_box(peer.receive());
            }
        });
    });
    let mut copies = vec![vec![0; SIZE]; messages.len()];
    group.bench_function(BenchmarkId::new("memcpy", SIZE), |bencher| {
        bencher.iter(|| {
            for (message, copy) in black_box(&messages).iter().zip(black_box(&mut copies)) {
                copy.copy_from_slice(message);
            }
        });
    });
    let mut buffer = vec![0; SIZE];
    group.bench_function(BenchmarkId::new("memcpy_in_and_out", SIZE), |bencher| {
        bencher.iter(|| {
            for message in black_box(&messages) {
                black_box(buffer.as_mut_slice()).copy_from_slice(message);
                black_box(Bytes::copy_from_slice(black_box(&buffer)));
            }
        });
    });
}

/// Makes a message, and has the group count its octets.
fn sized(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) -> Bytes {
    group.throughput(Throughput::Bytes(u64::try_from(size).unwrap()));
    Bytes::from(vec![0x5A; size])
}

fn memcpy(group: &mut BenchmarkGroup<'_, WallTime>, message: &Bytes) {
    let mut buffer = vec![0; message.len()];
    group.bench_function(BenchmarkId::new("memcpy", message.len()), |bencher| {
        bencher.iter(|| {
            black_box(buffer.as_mut_slice()).copy_from_slice(black_box(message));
        });
    });
}

fn open(tpdu_size: TpduSize) -> Pair {
    let config = Config {
        tpdu_size,
        limits: ConnectionLimits {
            send_queue: 1 << 21,
            receive_queue: 1 << 21,
            message_limit: 1 << 21,
            ..ConnectionLimits::default()
        },
        ..Config::default()
    };
    let responder = Config {
        role: Config::responder(Policy::AcceptAny).role,
        ..config.clone()
    };
    Pair::open(config, responder)
}

fn send(pair: &mut Pair, message: &Bytes, mut written: impl FnMut(&[u8])) {
    pair.initiator.send(pair.now, message.clone()).unwrap();
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {
        written(pair.tx.octets());
    }
}

fn forward(pair: &mut Pair, message: &Bytes) {
    pair.initiator.send(pair.now, message.clone()).unwrap();
    while let Output::Transmit = pair.initiator.poll(pair.now, &mut pair.tx) {
        pair.responder.receive(pair.now, (), pair.tx.octets());
    }
}

fn receive(pair: &mut Pair) -> Bytes {
    match pair.responder.poll(pair.now, &mut pair.tx) {
        Output::Event(Event::Received(message)) => message,
        other => panic!("{other:?}"),
    }
}

criterion_group!(benches, encode, decode, transfer, transfer_64);
criterion_main!(benches);
