//! DTP over loopback UDP, beside the same packets without any protocol, in the same run, with default socket buffers.
//!
//! For each MTU the rows are: the fastest of some rates at which a bare pair of sockets loses none of 64 MB; transfers of
//! 64 MB between two nodes of this crate at the rates that were asked for, and at the rate that follows what arrives;
//! and 5 MB through a relay that drops no packet, then every hundredth one.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "benchmarks link the standard library anyway"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark stops by panicking")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use farlink::adapters::blocking::dtp::Node;
use farlink::adapters::interfaces::Interfaces;
use farlink::dtp::{Config, GetOptions};

const TOTAL: usize = 64_000_000;
const SHORT: usize = 5_000_000;
const PAYLOAD: u8 = 3;
const MB: u32 = 1_000_000;
/// Octets per second at which the bare pair is tried.
const BARE_RATES: [u32; 10] = [10, 25, 50, 75, 100, 150, 200, 300, 400, 600];
/// Octets before the data of a packet on UDP: those of CSP and of DTP.
const HEADER: usize = 14;
/// How long nothing comes behind the last packet.
const QUIET: Duration = Duration::from_millis(200);

fn main() {
    // `cargo test` runs benches too, to see whether they start.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let data: Bytes = (0..=250).cycle().take(TOTAL).collect();
    for mtu in [1032, 2048] {
        let bare = BARE_RATES.into_iter().rev();
        let best = bare
            .map(|rate| rate * MB)
            .find(|rate| is_loss_free(*rate, mtu));
        let best = best.unwrap_or(0);
        println!(
            "mtu {mtu}: bare pair loses nothing up to {} MB/s",
            best / MB
        );
        for rate in [Some(10), Some(100), Some(300), None] {
            let (server, client) = direct(mtu);
            let row = transfer(&server, &client, &data, options(rate, mtu));
            let asked = rate.map_or("max".into(), |rate| format!("{rate} MB/s"));
            let least = rate.map_or(f64::MAX, |rate| 0.9 * f64::from(rate));
            let least = least.min(0.6 * f64::from(best / MB));
            println!("mtu {mtu}: asked for {asked}: {row}, target {least:.0} MB/s");
        }
        let plain = lossy(mtu, u64::MAX, &data.slice(..SHORT));
        let lossy = lossy(mtu, 100, &data.slice(..SHORT));
        let ratio = lossy.seconds / plain.seconds;
        println!("mtu {mtu}: 5 MB, no loss: {plain}");
        println!("mtu {mtu}: 5 MB, every 100th packet lost: {lossy}, {ratio:.3} of the time");
    }
}

fn options(rate: Option<u32>, mtu: u16) -> GetOptions {
    GetOptions {
        throughput: rate.unwrap_or(1) * MB,
        follows_loss: rate.is_none(),
        mtu,
        ..GetOptions::default()
    }
}

/// What a transfer took.
struct Row {
    octets: usize,
    seconds: f64,
    rounds: u32,
    /// Of the packets of the payload, in percent.
    asked_again: f64,
}

impl core::fmt::Display for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        let rate = self.octets as f64 / self.seconds / f64::from(MB);
        let Self {
            rounds,
            asked_again,
            ..
        } = self;
        write!(
            f,
            "{rate:.1} MB/s, {rounds} rounds, {asked_again:.2} % asked again"
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn clock() -> Instant {
    Instant::now()
}

fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn node(address: u16, mtu: u16, socket: UdpSocket, remote: SocketAddr) -> Node {
    let mut interfaces = Interfaces::new();
    interfaces.add_udp_peer(0, socket, remote).unwrap();
    let mut config = Config::default();
    config.csp.address = address;
    config.csp.max_data = mtu;
    Node::start(interfaces, config).unwrap()
}

/// A server and a client at the two ends of one line.
fn direct(mtu: u16) -> (Node, Node) {
    let (one, other) = (socket(), socket());
    let at = [&one, &other].map(|it| it.local_addr().unwrap());
    let [at_one, at_other] = at;
    (node(1, mtu, one, at_other), node(2, mtu, other, at_one))
}

fn transfer(server: &Node, client: &Node, data: &Bytes, options: GetOptions) -> Row {
    server.serve(PAYLOAD, data.clone()).unwrap();
    let begun = clock();
    let mut download = client.get(1, PAYLOAD, options).unwrap();
    while download.next_run().unwrap().is_some() {}
    let seconds = begun.elapsed().as_secs_f64();
    let progress = download.progress();
    assert!(progress.is_checked);
    let packets = data.len().div_ceil(usize::from(options.mtu) - 8);
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let asked_again = 100.0 * progress.asked_again as f64 / packets as f64;
    Row {
        octets: data.len(),
        seconds,
        rounds: progress.rounds,
        asked_again,
    }
}

/// A transfer at 10 MB/s through a relay that drops every `nth` packet of the server.
fn lossy(mtu: u16, nth: u64, data: &Bytes) -> Row {
    let (one, other, left, right) = (socket(), socket(), socket(), socket());
    let [at_one, at_other, at_left, at_right] =
        [&one, &other, &left, &right].map(|it| it.local_addr().unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let relay = |from: UdpSocket, by: UdpSocket, to: SocketAddr, nth: u64| {
        let is_over = Arc::clone(&is_over);
        from.set_read_timeout(Some(QUIET)).unwrap();
        thread::spawn(move || {
            let mut octets = vec![0; 65_536];
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let Ok(len) = from.recv(&mut octets) else {
                    continue;
                };
                count += 1;
                if !count.is_multiple_of(nth)
                    && let Some(packet) = octets.get(..len)
                {
                    // The end of a transfer is the end of its sockets.
                    let _ = by.send_to(packet, to);
                }
            }
        })
    };
    let back = (right.try_clone().unwrap(), left.try_clone().unwrap());
    let threads = [
        relay(left, right, at_other, nth),
        relay(back.0, back.1, at_one, u64::MAX),
    ];
    let (server, client) = (node(1, mtu, one, at_left), node(2, mtu, other, at_right));
    let row = transfer(&server, &client, data, options(Some(10), mtu));
    is_over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    row
}

/// Tells whether all packets of 64 MB come that one socket sends to another at a rate.
fn is_loss_free(rate: u32, mtu: u16) -> bool {
    let (from, to) = (socket(), socket());
    let at = to.local_addr().unwrap();
    let len = usize::from(mtu) + HEADER - 8;
    let packets = u64::try_from(TOTAL / (usize::from(mtu) - 8)).unwrap();
    to.set_read_timeout(Some(QUIET * 5)).unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    let counting = thread::spawn(move || {
        let mut octets = vec![0; 65_536];
        loop {
            match to.recv(&mut octets) {
                Ok(_) => _ = count.fetch_add(1, Ordering::Relaxed),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    let octets = vec![7; len];
    let begun = clock();
    let mut sent = 0;
    while sent < packets {
        let due = begun.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000;
        while sent < packets && u128::from(sent) * u128::from(mtu) <= due {
            from.send_to(&octets, at).unwrap();
            sent += 1;
        }
        thread::yield_now();
    }
    counting.join().unwrap();
    received.load(Ordering::Relaxed) == packets
}
