//! LTP over loopback UDP, beside the same datagrams without any protocol, in the same run.
//!
//! One iteration moves 64 MiB from one thread to another. The rows named `bare` send slices of a block with
//! `quinn-udp` and copy once what comes; a counter shared by both threads keeps the receiver's socket from
//! overflowing, which costs nothing. The rows named `ltp` send a block from engine to engine, each in a loop and
//! a thread of its own, in segments of the same length, with as much under way as between the bare sockets.
//! `ltp_singly` does so without GSO and GRO. Rows that end in `in_turns` have both sides in one thread, which
//! take turns: the sum of both, and a figure that other work on the machine disturbs less. `ltp_nodes` sends
//! from node to node with methods that block, both under the one driver thread of the process. At the end a
//! gigabyte is sent, with a window of half of the receiver's socket buffer, and the number of octets that were
//! sent twice is printed.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "benchmarks link the standard library anyway"
)]
#![allow(
    missing_docs,
    reason = "the functions that criterion's macros make have none"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark stops by panicking"
)]

use core::hint::black_box;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farlink::adapters::blocking::ltp::{AccessPoint, Error, Node, NodeOptions};
use farlink::adapters::udp::UdpOptions;
use farlink::ltp::{Block, Command, Config, Event, Flow, Peer, PeerTimers, Service};
use farlink::{Limits, Path, Tag};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

#[path = "../tests/support/engine_loop.rs"]
mod engine_loop;

use engine_loop::EngineLoop;

const TOTAL: usize = 64 << 20;
/// The sizes that Ethernet and jumbo frames carry, and nearly the longest there is.
const SIZES: [usize; 3] = [1400, 8972, 65_000];
/// Octets of the longest batch.
const BATCH: usize = 65_507;
const CLIENT: u64 = 4;
/// Octets under way between the bare sockets: what the receive buffer takes for certain.
const CREDIT: usize = 1 << 20;

fn loopback(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group(format!("ltp_loopback/{size}"));
        group.throughput(Throughput::Bytes(TOTAL as u64));
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        let mut bare = Bare::new(size);
        group.bench_function("bare", |bencher| bencher.iter(|| bare.transfer()));
        drop(bare);
        let mut ltp = Ltp::new(Pair::new(size, &UdpOptions::default(), CREDIT));
        group.bench_function("ltp", |bencher| bencher.iter(|| ltp.transfer()));
        drop(ltp);
        let singly = UdpOptions {
            segments: NonZeroUsize::MIN,
            coalesce: false,
            ..UdpOptions::default()
        };
        let mut ltp = Ltp::new(Pair::new(size, &singly, CREDIT));
        group.bench_function("ltp_singly", |bencher| bencher.iter(|| ltp.transfer()));
        drop(ltp);
        let mut bare = BareTurns::new(size);
        group.bench_function("bare_in_turns", |bencher| {
            bencher.iter(|| bare.transfer());
        });
        let mut ltp = Pair::new(size, &UdpOptions::default(), CREDIT);
        group.bench_function("ltp_in_turns", |bencher| bencher.iter(|| ltp.transfer()));
        drop(ltp);
        let nodes = Nodes::new(size);
        group.bench_function("ltp_nodes", |bencher| bencher.iter(|| nodes.transfer()));
        drop(nodes);
        group.finish();
        first_pass(size);
    }
}

/// Sends a gigabyte, and tells how much of it was sent twice.
fn first_pass(size: usize) {
    let half = |pair: Pair| pair.far.receive_buffer() / 2;
    let window = half(Pair::new(size, &UdpOptions::default(), CREDIT));
    let mut ltp = Ltp::new(Pair::new(size, &UdpOptions::default(), window));
    for _ in 0..(1 << 30) / TOTAL {
        ltp.transfer();
    }
    let resent = ltp.near.engine().stats().octets_resent;
    let in_a_million = resent * 1_000_000 / (1 << 30);
    println!("ltp_loopback/{size}: {resent} octets of 1 GiB resent ({in_a_million} in a million)");
}

/// Two sockets, and threads that know nothing of protocols.
struct Bare {
    socket: UdpSocket,
    state: UdpSocketState,
    to: SocketAddr,
    size: usize,
    block: Vec<u8>,
    progress: Arc<Progress>,
    sent: usize,
    receiver: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    received: AtomicUsize,
    is_over: AtomicBool,
}

impl Bare {
    fn new(size: usize) -> Self {
        let (socket, state) = bare_socket();
        let (receiving, receiving_state) = bare_socket();
        let to = receiving.local_addr().unwrap();
        let progress = Arc::new(Progress::default());
        let shared = Arc::clone(&progress);
        let receiver = thread::spawn(move || receive(&receiving, &receiving_state, &shared));
        Self {
            socket,
            state,
            to,
            size,
            block: vec![7; TOTAL],
            progress,
            sent: 0,
            receiver: Some(receiver),
        }
    }

    fn transfer(&mut self) {
        let progress = Arc::clone(&self.progress);
        let batch = BATCH / self.size * self.size;
        for contents in self.block.chunks(batch) {
            while self.sent - progress.received.load(Ordering::Acquire) > CREDIT {
                thread::yield_now();
            }
            let transmit = Transmit {
                destination: self.to,
                ecn: None,
                contents,
                segment_size: Some(self.size),
                src_ip: None,
            };
            let socket = || UdpSockRef::from(&self.socket);
            while self.state.try_send(socket(), &transmit).is_err() {
                thread::yield_now();
            }
            self.sent += contents.len();
        }
        while progress.received.load(Ordering::Acquire) < self.sent {
            thread::yield_now();
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Ordering::Release);
        self.receiver.take().map(JoinHandle::join);
    }
}

fn bare_socket() -> (UdpSocket, UdpSocketState) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
    let socket_ref = || UdpSockRef::from(&socket);
    state.set_recv_buffer_size(socket_ref(), 4 << 20).unwrap();
    state.set_send_buffer_size(socket_ref(), 4 << 20).unwrap();
    (socket, state)
}

fn receive(socket: &UdpSocket, state: &UdpSocketState, progress: &Progress) {
    let mut sink = Sink::new();
    while !progress.is_over.load(Ordering::Acquire) {
        match sink.receive(socket, state) {
            0 => thread::yield_now(),
            octets => {
                progress.received.fetch_add(octets, Ordering::Release);
            }
        }
    }
}

/// Where datagrams are copied to, once.
struct Sink {
    memory: Vec<u8>,
    block: Vec<u8>,
    at: usize,
}

impl Sink {
    fn new() -> Self {
        Self {
            memory: vec![0; 16 << 16],
            block: vec![0; TOTAL],
            at: 0,
        }
    }

    /// Takes what one call gives, and returns how many octets that was.
    fn receive(&mut self, socket: &UdpSocket, state: &UdpSocketState) -> usize {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let buffers = self.memory.chunks_mut(1 << 16);
        let mut slices: Vec<_> = buffers.map(IoSliceMut::new).collect();
        let received = state.recv(UdpSockRef::from(socket), &mut slices, &mut metas);
        let mut octets = 0;
        for (meta, slice) in metas.iter().zip(&slices).take(received.unwrap_or(0)) {
            let place = self.at.min(TOTAL - meta.len);
            let end = place + meta.len;
            self.block[place..end].copy_from_slice(&slice[..meta.len]);
            self.at = if end == TOTAL { 0 } else { end };
            octets += meta.len;
        }
        black_box(&self.block);
        octets
    }
}

/// The bare sockets in one thread: as much is sent as may be under way, then it is read.
struct BareTurns {
    from: (UdpSocket, UdpSocketState),
    to: (UdpSocket, UdpSocketState),
    size: usize,
    block: Vec<u8>,
    sink: Sink,
}

impl BareTurns {
    fn new(size: usize) -> Self {
        Self {
            from: bare_socket(),
            to: bare_socket(),
            size,
            block: vec![7; TOTAL],
            sink: Sink::new(),
        }
    }

    fn transfer(&mut self) {
        let destination = self.to.0.local_addr().unwrap();
        let batch = BATCH / self.size * self.size;
        for turn in self.block.chunks(CREDIT / batch * batch) {
            for contents in turn.chunks(batch) {
                let transmit = Transmit {
                    destination,
                    ecn: None,
                    contents,
                    segment_size: Some(self.size),
                    src_ip: None,
                };
                let socket = UdpSockRef::from(&self.from.0);
                self.from.1.try_send(socket, &transmit).unwrap();
            }
            let mut left = turn.len();
            while left > 0 {
                left -= self.sink.receive(&self.to.0, &self.to.1);
            }
        }
    }
}

/// The parameters of a peer to which segments of `size` octets go, with so many octets under way.
fn peer<A>(address: A, size: usize, window: usize) -> Peer<A> {
    Peer {
        segment: size,
        flow: Flow::window(window as u64),
        timers: PeerTimers {
            own_delay: Duration::from_millis(100),
            remote_delay: Duration::from_millis(100),
            ..PeerTimers::default()
        },
        ..Peer::at(address)
    }
}

/// Two engines in one thread.
struct Pair {
    near: EngineLoop,
    far: EngineLoop,
    block: Bytes,
    tag: u64,
}

impl Pair {
    fn new(size: usize, udp: &UdpOptions, window: usize) -> Self {
        let limits = Limits::new(size, 64, BATCH);
        let mut near = EngineLoop::new(1, limits, udp);
        let mut far = EngineLoop::new(2, limits, udp);
        let to_far = Path::udp(near.local_addr(), far.local_addr());
        let to_near = Path::udp(far.local_addr(), near.local_addr());
        near.command(Command::AddPeer(2, peer(to_far, size, window).into()));
        far.command(Command::AddPeer(1, peer(to_near, size, window).into()));
        far.command(Command::Open(CLIENT, Service::Whole));
        Self {
            near,
            far,
            block: vec![7; TOTAL].into(),
            tag: 0,
        }
    }

    fn transfer(&mut self) {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, self.block.clone());
        self.near.command(Command::Send(block));
        while !matches!(self.near.turn(), Some(Event::Complete { .. })) {
            black_box(self.far.turn());
        }
    }
}

/// Two engines, the receiving one in a thread of its own.
struct Ltp {
    near: EngineLoop,
    block: Bytes,
    tag: u64,
    is_over: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

impl Ltp {
    fn new(pair: Pair) -> Self {
        let Pair {
            near,
            mut far,
            block,
            ..
        } = pair;
        let is_over = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_over);
        let receiver = thread::spawn(move || {
            while !shared.load(Ordering::Acquire) {
                if black_box(far.turn()).is_none() {
                    thread::yield_now();
                }
            }
        });
        Self {
            near,
            block,
            tag: 0,
            is_over,
            receiver: Some(receiver),
        }
    }

    fn transfer(&mut self) {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, self.block.clone());
        self.near.command(Command::Send(block));
        loop {
            match self.near.turn() {
                Some(Event::Complete { .. }) => return,
                Some(Event::Failed { reason, .. }) => panic!("given up: {reason}"),
                Some(_) => {}
                None => thread::yield_now(),
            }
        }
    }
}

impl Drop for Ltp {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.receiver.take().map(JoinHandle::join);
    }
}

/// Two nodes, the receiving one with a thread that takes what comes.
struct Nodes {
    far: Node,
    point: AccessPoint,
    block: Bytes,
    receiver: Option<JoinHandle<()>>,
}

impl Nodes {
    fn new(size: usize) -> Self {
        let bind = |engine| {
            let options = NodeOptions {
                limits: Limits::new(size, 64, BATCH),
                ..NodeOptions::from(Config::engine(engine))
            };
            Node::bind("127.0.0.1:0".parse().unwrap(), options).unwrap()
        };
        let (near, far) = (bind(1), bind(2));
        let peer = |node: &Node| peer(node.local_addr(), size, CREDIT);
        near.add_peer(2, peer(&far)).unwrap();
        far.add_peer(1, peer(&near)).unwrap();
        let taken = far.open(CLIENT).unwrap();
        let receiver = thread::spawn(move || {
            loop {
                match taken.receive() {
                    Ok(received) => drop(black_box(received)),
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self {
            far,
            point: near.open(CLIENT).unwrap(),
            block: vec![7; TOTAL].into(),
            receiver: Some(receiver),
        }
    }

    fn transfer(&self) {
        self.point.send(2, self.block.clone()).unwrap();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.far.shutdown(Duration::ZERO);
        self.receiver.take().map(JoinHandle::join);
    }
}

criterion_group!(benches, loopback);
criterion_main!(benches);
