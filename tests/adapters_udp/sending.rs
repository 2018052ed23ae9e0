//! What leaves: batches, whatever the kernel thinks of them.

use std::num::NonZeroUsize;

use farlink::adapters::udp::{Socket, UdpOptions};
use farlink::{Limits, Path, Transmit};

use super::{RecvBuffers, batch, bound, bound_v6, passes, receive, send, socket};

#[test]
fn batches_arrive_whole_and_in_order() {
    let (sender, receiver) = (socket(), socket());

    for shape in [
        (1, 1, 1),
        (2, 1000, 1000),
        (44, 1472, 1),
        (46, 1400, 1399),
        (64, 100, 100),
        (65, 100, 99),
        (200, 10, 3),
        (7, 9000, 8999),
        (1, 65_507, 65_507),
        (2, 60_000, 5000),
    ] {
        passes(&sender, &receiver, shape);
    }

    assert_eq!(sender.stats().unsent, 0);
    assert_eq!(sender.stats().refused, 0);
}

#[test]
fn batches_arrive_over_ipv6() {
    let bound = || Socket::new(bound_v6(), &UdpOptions::default()).unwrap();
    let (sender, receiver) = (bound(), bound());

    passes(&sender, &receiver, (40, 1400, 7));
    passes(&sender, &receiver, (46, 1424, 1424));
    passes(&sender, &receiver, (1, 65_000, 65_000));
}

#[test]
fn a_connected_socket_sends_batches_too() {
    let receiver = socket();
    let connected = bound();
    connected.connect(receiver.local_addr()).unwrap();
    let sender = Socket::new(connected, &UdpOptions::default()).unwrap();

    passes(&sender, &receiver, (30, 1400, 7));
    passes(&sender, &receiver, (1, 5, 5));
}

#[test]
#[cfg(target_os = "linux")]
fn sixty_four_datagrams_are_one_call() {
    let (sender, receiver) = (socket(), socket());
    assert_eq!(sender.segments(), 64, "the kernel of this machine has GSO");

    passes(&sender, &receiver, (64, 1000, 1000));
    assert_eq!(sender.stats().sends, 1);
    assert_eq!(sender.stats().sent, 64);

    passes(&sender, &receiver, (65, 1000, 1000));
    assert_eq!(sender.stats().sends, 3, "one more than fit");
}

#[test]
#[cfg(target_os = "linux")]
fn what_exceeds_an_ip_packet_takes_two_calls() {
    let (sender, receiver) = (socket(), socket());

    passes(&sender, &receiver, (64, 1024, 1024));

    assert_eq!(sender.stats().sends, 2, "65,536 octets");
    assert_eq!(sender.stats().refused, 0);
}

/// Linux refuses more than 128 datagrams in a send, with the error that stands for a card without GSO.
#[test]
#[cfg(target_os = "linux")]
fn a_refused_batch_is_sent_one_by_one_and_none_is_tried_again() {
    let options = UdpOptions {
        segments: NonZeroUsize::new(200).unwrap(),
        ..UdpOptions::default()
    };
    let sender = Socket::new(bound(), &options).unwrap();
    let receiver = socket();

    passes(&sender, &receiver, (200, 100, 9));
    assert_eq!(sender.stats().refused, 1);
    assert_eq!(sender.stats().unsent, 0);
    assert_eq!(sender.segments(), 1);

    passes(&sender, &receiver, (200, 100, 9));
    assert_eq!(sender.stats().refused, 1, "not tried again");
    assert_eq!(sender.stats().sent, 400);
    assert_eq!(sender.stats().sends, 401);
}

#[test]
fn a_socket_told_to_send_singly_does() {
    let options = UdpOptions {
        segments: NonZeroUsize::MIN,
        ..UdpOptions::default()
    };
    let sender = Socket::new(bound(), &options).unwrap();
    let receiver = socket();

    passes(&sender, &receiver, (50, 1000, 3));

    assert_eq!(sender.stats().sends, 50);
}

#[test]
fn a_port_without_a_listener_is_counted_and_never_fatal() {
    let gone = bound().local_addr().unwrap();
    let connected = bound();
    connected.connect(gone).unwrap();
    let sender = Socket::new(connected, &UdpOptions::default()).unwrap();
    let mut tx = Transmit::new(Limits::default());
    let path = Path::udp(sender.local_addr(), gone);
    for _ in 0..10 {
        assert!(tx.push(path, 100, |out| out.resize(out.len() + 100, 0)));
    }

    for _ in 0..5 {
        send(&sender, &tx);
    }
    let nothing = sender.receive(&mut RecvBuffers::default(), |_, _| {
        panic!("nothing was sent here")
    });

    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let stats = sender.stats();
    assert!(stats.reported > 0, "{stats:?}");
    assert_eq!(stats.refused, 0, "batches are not to blame: {stats:?}");
}

#[test]
fn a_datagram_that_is_too_long_is_left_out() {
    let (sender, receiver) = (socket(), socket());
    let path = Path::udp(sender.local_addr(), receiver.local_addr());
    let mut tx = Transmit::new(Limits::single(1 << 16));
    assert!(tx.push(path, 65_530, |out| out.resize(out.len() + 65_530, 0)));

    send(&sender, &tx);
    passes(&sender, &receiver, (1, 10, 10));

    assert_eq!(sender.stats().unsent, 1);
}

#[test]
fn sending_goes_on_where_it_was_held() {
    let (sender, receiver) = (socket(), socket());
    let tx = batch(&sender, &receiver, (100, 600, 5));

    // As if the socket had taken the first sixty and no more.
    let mut sent = 60;
    assert!(sender.send(&tx, &mut sent));

    let datagrams = receive(&receiver, &mut RecvBuffers::default(), 40);
    let numbers: Vec<_> = datagrams.iter().map(|(_, octets)| octets[0]).collect();
    assert_eq!(numbers, (60..100).collect::<Vec<u8>>());
}

#[test]
fn an_empty_transmit_is_sent_at_once() {
    let sender = socket();

    send(&sender, &Transmit::new(Limits::default()));

    assert_eq!(sender.stats().sends, 0);
}
