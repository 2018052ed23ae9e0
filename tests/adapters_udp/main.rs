//! Sockets that move batches, on loopback.
#![cfg(feature = "offload")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

mod budget;
#[cfg(feature = "ltp")]
#[path = "../support/engine_loop.rs"]
mod engine_loop;
#[cfg(feature = "ltp")]
mod ltp;
mod receiving;
mod sending;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod watched;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use farlink::adapters::Clock;
use farlink::adapters::udp::{RecvBuffers, Socket, UdpOptions};
use farlink::{Limits, Path, Transmit};

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);

/// The largest batch there can be, many times over the limits of any one send.
const LIMITS: Limits = Limits::new(65_507, 512, 1 << 16);

fn bound() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn bound_v6() -> UdpSocket {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap()
}

fn socket() -> Socket {
    Socket::new(bound(), &UdpOptions::default()).unwrap()
}

/// Datagrams of `len` octets, and a last one of `last`, each filled with its number.
fn batch(from: &Socket, to: &Socket, (count, len, last): (u8, usize, usize)) -> Transmit<Path> {
    let path = Path::udp(from.local_addr(), to.local_addr());
    let mut tx = Transmit::new(LIMITS);
    for number in 0..count {
        let len = if number + 1 == count { last } else { len };
        assert!(tx.push(path, len, |out| out.resize(out.len() + len, number)));
    }
    tx
}

fn send(socket: &Socket, tx: &Transmit<Path>) {
    let mut sent = 0;
    let start = Clock::new();
    while !socket.send(tx, &mut sent) {
        assert!(is_early(start), "the socket stays full");
        pause();
    }
    assert_eq!(sent, 0, "ready for the next batch");
}

fn receive(socket: &Socket, buffers: &mut RecvBuffers, count: usize) -> Vec<(Path, Vec<u8>)> {
    let mut datagrams = Vec::new();
    let start = Clock::new();
    while datagrams.len() < count {
        assert!(is_early(start), "{} came", datagrams.len());
        let mut take = |from, octets: &[u8]| datagrams.push((from, octets.to_vec()));
        match socket.receive(buffers, &mut take) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pause();
            }
            Err(error) => panic!("{error}"),
        }
    }
    datagrams
}

/// Sends a batch and wants it back, whole and in order.
fn passes(sender: &Socket, receiver: &Socket, shape: (u8, usize, usize)) {
    let tx = batch(sender, receiver, shape);

    send(sender, &tx);
    let datagrams = receive(receiver, &mut RecvBuffers::default(), usize::from(shape.0));

    let from = Path::udp(receiver.local_addr(), sender.local_addr());
    let expected: Vec<_> = tx
        .datagrams()
        .map(|octets| (from, octets.to_vec()))
        .collect();
    assert_eq!(datagrams.len(), expected.len(), "{shape:?}");
    assert!(datagrams == expected, "{shape:?}");
}

fn is_early(start: Clock) -> bool {
    start.now() - farlink::Instant::ZERO < AT_LAST
}

#[expect(
    clippy::disallowed_methods,
    reason = "adapter tests meet the real clock"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}
