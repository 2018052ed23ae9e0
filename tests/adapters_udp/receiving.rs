//! What comes in: batches, single datagrams, and what does not fit.

use std::net::UdpSocket;
use std::time::Duration;

use farlink::Path;
use farlink::adapters::Clock;
use farlink::adapters::udp::{RecvBuffers, Socket, UdpOptions};

use super::{AT_LAST, batch, bound, is_early, receive, send, socket};

#[test]
#[cfg(target_os = "linux")]
fn many_batches_come_in_one_call() {
    let (sender, receiver) = (socket(), socket());
    for _ in 0..8 {
        let tx = batch(&sender, &receiver, (40, 1400, 11));
        send(&sender, &tx);
    }

    let datagrams = receive(&receiver, &mut RecvBuffers::default(), 320);

    assert_eq!(receiver.stats().receives, 1);
    assert_eq!(receiver.stats().received, 320);
    for (place, (_, octets)) in datagrams.iter().enumerate() {
        let len = if place % 40 == 39 { 11 } else { 1400 };
        assert_eq!(octets.len(), len, "the last of each batch is short");
        assert_eq!(usize::from(octets[0]), place % 40);
    }
}

#[test]
fn datagrams_of_different_senders_are_told_apart() {
    let receiver = socket();
    let senders = [socket(), socket(), socket()];
    for sender in &senders {
        let tx = batch(sender, &receiver, (10, 500, 500));
        send(sender, &tx);
    }

    let datagrams = receive(&receiver, &mut RecvBuffers::default(), 30);

    for sender in &senders {
        let from = Path::udp(receiver.local_addr(), sender.local_addr());
        let numbers: Vec<_> = datagrams
            .iter()
            .filter(|(path, _)| *path == from)
            .map(|(_, octets)| octets[0])
            .collect();
        assert_eq!(numbers, (0..10).collect::<Vec<u8>>());
    }
}

#[test]
fn without_trains_each_datagram_is_a_read() {
    let options = UdpOptions {
        coalesce: false,
        ..UdpOptions::default()
    };
    let receiver = Socket::new(bound(), &options).unwrap();
    let sender = socket();
    let tx = batch(&sender, &receiver, (40, 1000, 3));
    send(&sender, &tx);

    let datagrams = receive(&receiver, &mut RecvBuffers::new(4, 1 << 16), 40);

    assert_eq!(datagrams.len(), 40);
    assert_eq!(datagrams[39].1, [39; 3]);
    assert_eq!(receiver.stats().receives, 10, "of four buffers each");
}

#[test]
fn a_datagram_beyond_its_buffer_is_dropped_and_counted() {
    let (sender, receiver) = (socket(), socket());
    for len in [100, 101, 1000, 99] {
        let tx = batch(&sender, &receiver, (1, len, len));
        send(&sender, &tx);
    }

    let datagrams = receive(&receiver, &mut RecvBuffers::new(1, 101), 2);

    let lengths: Vec<_> = datagrams.iter().map(|(_, octets)| octets.len()).collect();
    assert_eq!(lengths, [100, 99]);
    assert_eq!(receiver.stats().truncated, 2);
}

#[test]
#[cfg(target_os = "linux")]
fn the_datagrams_of_a_gro_batch_that_fit_are_kept() {
    let (sender, receiver) = (socket(), socket());
    let tx = batch(&sender, &receiver, (10, 1000, 1000));
    send(&sender, &tx);

    let datagrams = receive(&receiver, &mut RecvBuffers::new(1, 3500), 3);

    let numbers: Vec<_> = datagrams.iter().map(|(_, octets)| octets[0]).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(datagrams.iter().all(|(_, octets)| octets.len() == 1000));
    assert!(receiver.stats().truncated >= 1);
}

/// What counts is that the datagrams are the same, however many make a batch.
#[test]
fn batches_are_the_datagrams_back_to_back() {
    let (sender, receiver) = (socket(), socket());
    let tx = batch(&sender, &receiver, (30, 1000, 77));
    send(&sender, &tx);
    sender
        .get_ref()
        .send_to(&[], receiver.local_addr())
        .unwrap();

    let (mut datagrams, mut count) = (Vec::new(), 0);
    let start = Clock::new();
    while count < 31 {
        let came = receiver.receive_batch(&mut RecvBuffers::default(), |from, batch, size| {
            assert_eq!(from.remote, sender.local_addr());
            if batch.is_empty() {
                datagrams.push(Vec::new());
            }
            datagrams.extend(batch.chunks(size.get()).map(Vec::from));
        });
        count += came.unwrap_or_default();
        assert!(is_early(start), "{count} came");
    }

    let mut expected: Vec<Vec<u8>> = tx.datagrams().map(Vec::from).collect();
    expected.push(Vec::new());
    assert_eq!(datagrams.len(), count);
    assert!(datagrams == expected);
}

#[test]
fn empty_datagrams_come_too() {
    let receiver = socket();
    let peer = bound();
    peer.send_to(&[], receiver.local_addr()).unwrap();

    let datagrams = receive(&receiver, &mut RecvBuffers::default(), 1);

    let from = Path::udp(receiver.local_addr(), peer.local_addr().unwrap());
    assert_eq!(datagrams, [(from, vec![])]);
}

#[test]
fn the_buffers_granted_are_told() {
    let small = UdpOptions {
        receive_buffer: 10_000,
        send_buffer: 10_000,
        ..UdpOptions::default()
    };
    let wide = UdpOptions {
        receive_buffer: 200_000,
        send_buffer: 200_000,
        ..UdpOptions::default()
    };

    let kept = Socket::new(bound(), &small).unwrap().buffer_sizes();
    let granted = Socket::new(bound(), &wide).unwrap();

    assert!(kept.receive > 10_000, "a larger one stays: {kept:?}");
    assert!(granted.buffer_sizes().receive >= 200_000);
    assert!(granted.buffer_sizes().send >= 200_000);
    let inner = socket2::SockRef::from(granted.get_ref());
    assert_eq!(
        granted.buffer_sizes().receive,
        inner.recv_buffer_size().unwrap()
    );
    assert_eq!(
        granted.buffer_sizes().send,
        inner.send_buffer_size().unwrap()
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_taken_back_gives_datagrams_one_by_one() {
    let sender = socket();
    let receiver = socket();
    let tx = batch(&sender, &receiver, (5, 1000, 1000));
    let receiver: UdpSocket = receiver.into_inner();
    receiver.set_nonblocking(false).unwrap();
    receiver.set_read_timeout(Some(AT_LAST)).unwrap();

    send(&sender, &tx);

    for number in 0..5 {
        let mut octets = [0; 4000];
        assert_eq!(receiver.recv(&mut octets).unwrap(), 1000);
        assert_eq!(octets[0], number);
    }
    let short = Some(Duration::from_millis(1));
    receiver.set_read_timeout(short).unwrap();
    assert!(receiver.recv(&mut [0; 10]).is_err(), "and that is all");
}
