//! The cost of CSP and DTP in memory.
//!
//! - `crc32`: CRC-32C of this crate beside a table of 256 entries, by which libcsp computes it octet by octet.
//! - `rdp`: packets from one node to another over a connection, acknowledgements included.
//! - `dtp`: a payload of 64 MB from a server to a client, requests and data.
#![allow(
    missing_docs,
    reason = "the functions that criterion's macros make have none"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark stops by panicking"
)]

use core::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farlink::{Hop, Instant, Limits, Machine, Output, Seed, Tag, Transmit, csp, dtp};

const POLYNOMIAL: u32 = 0x82F6_3B78;
/// Packets of 200 octets, as libcsp has them by default, and what DTP sends on a fast line.
const SIZES: [usize; 3] = [32, 200, 2048];
const PACKETS: u32 = 1000;
const PAYLOAD: usize = 64_000_000;

/// The table of one octet, which the loop looks up for each.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let mut value = octet;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[octet as usize] = value;
        octet += 1;
    }
    table
}

static TABLE: [u32; 256] = table();

fn crc32_by_octets(data: &[u8]) -> u32 {
    let step = |crc: u32, octet: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE.get(usize::from(low ^ octet)).unwrap()
    };
    !data.iter().fold(u32::MAX, step)
}

fn crc32(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32");
    for size in SIZES {
        let data: Vec<u8> = (0..=250).cycle().take(size).collect();
        assert_eq!(csp::crc32(&[&data]), crc32_by_octets(&data));
        group.throughput(Throughput::Bytes(u64::try_from(size).unwrap()));
        group.bench_function(BenchmarkId::new("farlink", size), |bencher| {
            bencher.iter(|| csp::crc32(&[black_box(&data)]));
        });
        group.bench_function(BenchmarkId::new("byte_table", size), |bencher| {
            bencher.iter(|| crc32_by_octets(black_box(&data)));
        });
    }
    group.finish();
}

/// Two nodes on a line without delay or loss.
struct Pair<M> {
    nodes: [M; 2],
    tx: Transmit<Hop>,
    now: Instant,
}

impl<M: Machine<Addr = Hop>> Pair<M> {
    fn new(nodes: [M; 2]) -> Self {
        Self {
            nodes,
            // With room for packets of 2048 octets and their header.
            tx: Transmit::new(Limits::new(4096, 44, 1 << 16)),
            now: Instant::ZERO,
        }
    }

    /// Carries packets and lets time pass until `is_done`, to which events are told.
    fn run(&mut self, mut is_done: impl FnMut(&mut M, Instant, M::Event) -> bool) {
        let hop = Hop {
            interface: 0,
            via: 0,
        };
        loop {
            let mut next: Option<Instant> = None;
            let mut is_idle = true;
            for at in [0, 1] {
                let [one, other] = &mut self.nodes;
                let (node, peer) = if at == 0 { (one, other) } else { (other, one) };
                loop {
                    match node.poll(self.now, &mut self.tx) {
                        Output::Transmit => {
                            is_idle = false;
                            for octets in self.tx.datagrams() {
                                peer.receive(self.now, hop, octets);
                            }
                        }
                        Output::Event(event) => {
                            is_idle = false;
                            if is_done(node, self.now, event) {
                                return;
                            }
                        }
                        Output::Idle(deadline) => {
                            next = next.into_iter().chain(deadline).min();
                            break;
                        }
                        _ => {}
                    }
                }
            }
            if is_idle {
                self.now = self.now.max(next.unwrap());
            }
        }
    }
}

fn connected() -> (Pair<csp::Node>, csp::ConnectionId) {
    let node = |address: u16| {
        let mut config = csp::Config {
            address,
            ..csp::Config::default()
        };
        config.rdp.window = 32;
        csp::Node::new(config, &Seed::from(u64::from(address))).unwrap()
    };
    let mut pair = Pair::new([node(1), node(2)]);
    let [client, server] = &mut pair.nodes;
    let options = csp::SocketOptions::empty();
    let bind = csp::Command::Bind { port: 10, options };
    server.command(pair.now, bind).unwrap();
    let to = csp::Endpoint {
        address: 2,
        port: 10,
    };
    let connect = csp::Command::Connect {
        tag: Tag(1),
        to,
        options: csp::SendOptions::default(),
    };
    client.command(pair.now, connect).unwrap();
    let mut opened = None;
    pair.run(|_, _, event| {
        if let csp::Event::Connected { connection, .. } = event {
            opened = Some(connection);
        }
        opened.is_some()
    });
    (pair, opened.unwrap())
}

fn rdp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rdp");
    group.throughput(Throughput::Elements(PACKETS.into()));
    let data = Bytes::from_static(&[0x5A; 200]);
    let (mut pair, connection) = connected();
    group.bench_function("packets_of_200", |bencher| {
        bencher.iter(|| {
            let (mut sent, mut received) = (0, 0);
            let packet = || csp::Command::Send {
                connection,
                data: data.clone(),
            };
            let [client, _] = &mut pair.nodes;
            while sent < PACKETS && client.command(pair.now, packet()).is_ok() {
                sent += 1;
            }
            pair.run(|node, now, event| {
                match event {
                    csp::Event::Received { .. } => received += 1,
                    csp::Event::Closed { .. } => panic!("closed"),
                    csp::Event::Acknowledged { .. } | csp::Event::Room(_) => {
                        while sent < PACKETS && node.command(now, packet()).is_ok() {
                            sent += 1;
                        }
                    }
                    _ => {}
                }
                received == PACKETS
            });
        });
    });
    group.finish();
}

fn dtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dtp");
    group.throughput(Throughput::Bytes(u64::try_from(PAYLOAD).unwrap()));
    group.sample_size(10);
    let data: Bytes = (0..=250).cycle().take(PAYLOAD).collect();
    for mtu in [1032, 2048] {
        let pair = || {
            let node = |address: u16| {
                let mut config = dtp::Config::default();
                config.csp.address = address;
                config.csp.max_data = 2100;
                dtp::Node::new(config, &Seed::from(u64::from(address))).unwrap()
            };
            let mut pair = Pair::new([node(1), node(2)]);
            let [server, client] = &mut pair.nodes;
            let serve = dtp::Command::Serve {
                payload: 3,
                data: data.clone(),
            };
            server.command(pair.now, serve).unwrap();
            let get = dtp::Command::Get {
                tag: Tag(1),
                server: 1,
                payload: 3,
                options: dtp::GetOptions {
                    throughput: 1_000_000_000,
                    mtu,
                    ..dtp::GetOptions::default()
                },
            };
            client.command(pair.now, get).unwrap();
            pair
        };
        let transfer = |mut pair: Pair<dtp::Node>| {
            let mut octets = 0;
            pair.run(|_, _, event| {
                match event {
                    dtp::Event::Data { data, .. } => octets += data.len(),
                    dtp::Event::Failed { .. } => panic!("{event:?}"),
                    dtp::Event::Complete { .. } => return true,
                    _ => {}
                }
                false
            });
            assert_eq!(octets, PAYLOAD);
        };
        group.bench_function(BenchmarkId::new("64_MB", mtu), |bencher| {
            bencher.iter_batched(pair, transfer, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, crc32, rdp, dtp);
criterion_main!(benches);
