//! Datagrams are reassembled from the fragments of their IP packets.

use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;
use crate::record::{CapturedPacket, FlowEventKind, Flows, headers};

const MORE: u16 = 0x2000;

/// A datagram of `length` octets with the value `fill`, with its UDP header.
fn datagram(fill: u8, length: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let (from, to) = ("10.0.0.1:5".parse().unwrap(), "10.0.0.2:6".parse().unwrap());
    let payload = alloc::vec![fill; length];
    headers::udp(&mut packet, from, to, &payload);
    packet.extend_from_slice(&payload);
    packet.split_off(20)
}

/// The octets `from..to` of packet `number` as a fragment of IPv4.
fn fragment(number: u8, carried: &[u8], from: usize, to: usize) -> Vec<u8> {
    let more = if to < carried.len() { MORE } else { 0 };
    let field = (u16::try_from(from / 8).unwrap() | more).to_be_bytes();
    let total = u16::try_from(20 + to - from).unwrap().to_be_bytes();
    let mut packet = alloc::vec![0x45, 0, total[0], total[1], 0, number];
    packet.extend_from_slice(&[field[0], field[1], 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend_from_slice(&carried[from..to]);
    packet
}

/// The same as a fragment of IPv6.
fn fragment_v6(number: u8, carried: &[u8], from: usize, to: usize) -> Vec<u8> {
    let more = u16::from(to < carried.len());
    let field = (u16::try_from(from).unwrap() | more).to_be_bytes();
    let length = u16::try_from(8 + to - from).unwrap().to_be_bytes();
    let mut packet = alloc::vec![0x60, 0, 0, 0, length[0], length[1], 44, 64];
    packet.extend_from_slice(&[0xfe; 16]);
    packet.extend_from_slice(&[0xfd; 16]);
    packet.extend_from_slice(&[17, 0, field[0], field[1], 0, 0, 0, number]);
    packet.extend_from_slice(&carried[from..to]);
    packet
}

/// Returns what arrives, as its value and its length, and how many fragments were dropped.
fn arrivals(packets: &[(u64, Vec<u8>)]) -> (Vec<(u8, usize)>, u64) {
    let mut flows = Flows::new();
    let mut came = Vec::new();
    for (second, octets) in packets {
        let packet = CapturedPacket {
            at: 0,
            time: Instant::ZERO + Duration::from_secs(*second),
            link_type: 101,
            direction: None,
            octets,
            length: octets.len(),
        };
        flows.packet(&packet, |arrival| match arrival.kind {
            FlowEventKind::Datagram(octets) => {
                assert!(octets.iter().all(|octet| *octet == octets[0]));
                came.push((octets[0], octets.len()));
            }
            other => panic!("{other:?}"),
        });
    }
    (came, flows.skipped().fragments)
}

#[test]
fn fragments_in_any_order_make_one_datagram() {
    let whole = datagram(7, 992);
    for make in [fragment, fragment_v6] {
        let fragments =
            [(0, 400), (400, 800), (800, 1000)].map(|(from, to)| make(1, &whole, from, to));
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let packets = order.map(|place| (0, fragments[place].clone()));

            assert_eq!(arrivals(&packets), (alloc::vec![(7, 992)], 0));
        }
    }
}

#[test]
fn fragments_that_come_twice_or_overlap_count_once() {
    let whole = datagram(7, 992);
    let packets = [(0, 400), (0, 400), (200, 800), (400, 800), (800, 1000)];
    let packets = packets.map(|(from, to)| (0, fragment(1, &whole, from, to)));

    assert_eq!(arrivals(&packets), (alloc::vec![(7, 992)], 0));
}

#[test]
fn fragments_of_several_packets_are_distinguished_by_identification() {
    let (one, two) = (datagram(1, 992), datagram(2, 492));
    let packets = [
        (0, fragment(1, &one, 0, 400)),
        (0, fragment(2, &two, 0, 400)),
        (0, fragment(1, &one, 400, 1000)),
        (0, fragment(2, &two, 400, 500)),
    ];

    assert_eq!(arrivals(&packets), (alloc::vec![(1, 992), (2, 492)], 0));
}

#[test]
fn an_incomplete_packet_never_arrives_and_its_fragments_are_counted() {
    let whole = datagram(7, 992);
    let packets = [(0, 400), (800, 1000)].map(|(from, to)| (0, fragment(1, &whole, from, to)));

    assert_eq!(arrivals(&packets), (Vec::new(), 2));
}

#[test]
fn an_identification_that_is_reused_later_is_another_packet() {
    let (one, two) = (datagram(1, 992), datagram(2, 992));
    let packets = [
        (0, fragment(1, &one, 0, 400)),
        (90, fragment(1, &two, 400, 1000)),
        (90, fragment(1, &two, 0, 400)),
    ];

    assert_eq!(arrivals(&packets), (alloc::vec![(2, 992)], 1));
}

#[test]
fn the_number_of_incomplete_packets_is_bounded() {
    let whole = datagram(7, 992);
    let begin = |number: u8| (0, fragment(number, &whole, 0, 400));
    let end = |number: u8| (0, fragment(number, &whole, 400, 1000));
    let mut packets: Vec<_> = (0..65).map(begin).collect();
    packets.extend([end(64), end(0)]);

    let (came, lost) = arrivals(&packets);

    // The first was dropped; its last fragment waits again.
    assert_eq!((came.len(), lost), (1, 65));
}

#[test]
fn fragments_beyond_the_longest_packet_are_dropped() {
    let whole = datagram(7, 992);
    let mut beyond = fragment(1, &whole, 0, 1000);
    // The largest offset.
    beyond[6..8].copy_from_slice(&[0x1f, 0xff]);

    assert_eq!(arrivals(&[(0, beyond)]), (Vec::new(), 1));
}
