//! LTP over loopback UDP, beside the same datagrams without any protocol, in the same run.
//!
//! One iteration moves 64 MiB from one thread to another. The rows named `bare` send slices of a block with
//! `quinn-udp` and copy once what comes; a counter shared by both threads keeps the receiver's socket from
//! overflowing, which costs nothing. The rows named `ltp` send a block from engine to engine, each under a
//! blocking driver, in segments of the same length, with a window of half of the receiver's socket buffer.
//! `ltp_singly` does so without GSO and GRO. At the end a gigabyte is sent, and what was sent twice printed.
#![allow(
    missing_docs,
    reason = "the functions that criterion's macros make have none"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops by panicking"
)]

use core::hint::black_box;
use core::num::{NonZeroU64, NonZeroUsize};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farlink::adapters::blocking::udp::{Driver, Options, Turn};
use farlink::adapters::offload;
use farlink::ltp::{Block, Command, Config, Engine, Event, Peer, Service};
use farlink::{Limits, Path, Seed, Tag};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

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
        group.warm_up_time(Duration::from_millis(500));
        group.measurement_time(Duration::from_secs(2));
        let mut bare = Bare::new(size);
        group.bench_function("bare", |bencher| bencher.iter(|| bare.transfer()));
        drop(bare);
        let mut ltp = Ltp::new(size, &offload::Options::default());
        group.bench_function("ltp", |bencher| bencher.iter(|| ltp.transfer()));
        drop(ltp);
        let singly = offload::Options {
            segments: NonZeroUsize::MIN,
            coalesce: false,
            ..offload::Options::default()
        };
        let mut ltp = Ltp::new(size, &singly);
        group.bench_function("ltp_singly", |bencher| bencher.iter(|| ltp.transfer()));
        drop(ltp);
        group.finish();
        first_pass(size);
    }
}

/// Sends a gigabyte, and tells how much of it was sent twice.
fn first_pass(size: usize) {
    let mut ltp = Ltp::new(size, &offload::Options::default());
    for _ in 0..(1 << 30) / TOTAL {
        ltp.transfer();
    }
    let stats = ltp.near.machine().stats();
    let resent = stats.octets_resent;
    let per_mille = 1000.0 * resent as f64 / f64::from(1 << 30);
    println!("ltp_loopback/{size}: {resent} octets of 1 GiB resent ({per_mille:.3} per mille)");
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
    let mut memory = vec![0; 16 << 16];
    let mut block = vec![0; TOTAL];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut at = 0;
    while !progress.is_over.load(Ordering::Acquire) {
        let mut slices: Vec<_> = memory.chunks_mut(1 << 16).map(IoSliceMut::new).collect();
        let received = state.recv(UdpSockRef::from(socket), &mut slices, &mut metas);
        let Ok(count) = received else {
            thread::yield_now();
            continue;
        };
        let mut octets = 0;
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let place = at.min(TOTAL - meta.len);
            block[place..place + meta.len].copy_from_slice(&slice[..meta.len]);
            at = if place + meta.len == TOTAL {
                0
            } else {
                place + meta.len
            };
            octets += meta.len;
        }
        progress.received.fetch_add(octets, Ordering::Release);
        black_box(&block);
    }
}

/// Two engines under drivers, the receiving one in a thread of its own.
struct Ltp {
    near: Driver<Engine<Path>>,
    block: Bytes,
    tag: u64,
    is_over: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

impl Ltp {
    fn new(size: usize, socket: &offload::Options) -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (here, there) = (bind(), bind());
        let near = here.local_addr().unwrap();
        let far = there.local_addr().unwrap();
        let options = Options {
            limits: Limits::new(size, 64, BATCH),
            socket: socket.clone(),
            ..Options::default()
        };
        let mut receiver = driver(2, there, &options);
        let window = u64::try_from(receiver.buffers().receive / 2).unwrap();
        let mut sender = driver(1, here, &options);
        add_peer(&mut sender, 2, Path::udp(near, far), (size, window));
        add_peer(&mut receiver, 1, Path::udp(far, near), (size, window));
        let open = Command::Open(CLIENT, Service::Whole);
        receiver.command(open).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_over);
        let receiver = thread::spawn(move || {
            while !shared.load(Ordering::Acquire) {
                black_box(receiver.turn(Duration::from_millis(10)).unwrap());
            }
        });
        Self {
            near: sender,
            block: vec![7; TOTAL].into(),
            tag: 0,
            is_over,
            receiver: Some(receiver),
        }
    }

    fn transfer(&mut self) {
        self.tag += 1;
        let block = Block::red(Tag(self.tag), 2, CLIENT, self.block.clone());
        self.near.command(Command::Send(block)).unwrap();
        loop {
            match self.near.turn(Duration::from_secs(1)).unwrap() {
                Turn::Event(Event::Complete { .. }) => return,
                Turn::Event(Event::Failed { reason, .. }) => panic!("given up: {reason}"),
                Turn::Event(_) | Turn::Quiet | Turn::Done => {}
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

fn driver(engine: u64, socket: UdpSocket, options: &Options) -> Driver<Engine<Path>> {
    let engine = Engine::new(Config::engine(engine), Seed::from(engine)).unwrap();
    Driver::new(engine, socket, options).unwrap()
}

fn add_peer(
    driver: &mut Driver<Engine<Path>>,
    id: u64,
    path: Path,
    (segment, window): (usize, u64),
) {
    let peer = Peer {
        segment,
        window: NonZeroU64::new(window),
        own_delay: Duration::from_millis(100),
        remote_delay: Duration::from_millis(100),
        ..Peer::new(path)
    };
    let add = Command::AddPeer(id, peer.into());
    driver.command(add).unwrap();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
