//! Ethernet, I2C and the messages of ZMQ.

use farlink::csp::carriers::{ByteOrder, EtherAddress, EthernetFrame};
use farlink::csp::{Encapsulation, InterfaceCodec, Version};
use farlink::{Instant, Limits, Transmit};

use super::{ADDRESS, packet, pair, received, sent, to};

const OTHER: EtherAddress = EtherAddress([2, 0, 0, 0, 0, 9]);

fn ethernet(mtu: u16) -> Encapsulation {
    Encapsulation::Ethernet {
        address: ADDRESS,
        mtu,
    }
}

/// libcsp 173 and 738, csh 59: three forms of the same packet are on hubs, and a node has to be told which.
#[test]
fn the_three_forms_of_version_1_on_a_hub_differ_in_next_hop_and_order() {
    let packet = packet(Version::V1, 3, 1);
    assert_eq!(packet, [0x82, 0x22, 0x94, 0, 1, 2, 3]);
    for (kind, octets) in [
        (
            Encapsulation::NextHop(ByteOrder::BigEndian),
            &[7, 0x82, 0x22, 0x94, 0, 1, 2, 3][..],
        ),
        (
            Encapsulation::NextHop(ByteOrder::LittleEndian),
            &[7, 0, 0x94, 0x22, 0x82, 1, 2, 3],
        ),
        (Encapsulation::Packet, &[0x82, 0x22, 0x94, 0, 1, 2, 3]),
    ] {
        let [mut sender, mut receiver] = pair(kind, Version::V1, 64);
        let mut tx = Transmit::new(Limits::default());
        let (header, data) = packet.split_at(4);
        sender.push(&mut tx, to(7), header, &[data]);

        assert_eq!(tx.octets(), octets, "{kind:?}");
        assert_eq!(
            received(&mut receiver, &[octets], Instant::ZERO),
            [&packet[..]]
        );
    }
}

#[test]
fn a_station_that_was_heard_of_is_sent_to_alone_and_ten_are_remembered() {
    let [mut codec, _] = pair(ethernet(100), Version::V2, 64);
    let hear = |codec: &mut InterfaceCodec, node: u8, station| {
        let packet = packet(Version::V2, 4, 0);
        let frame = EthernetFrame {
            to: ADDRESS,
            from: station,
            number: 1,
            source: node.into(),
            length: 10,
            segment: &packet,
        };
        let mut octets = Vec::new();
        frame.encode(&mut octets);
        assert_eq!(received(codec, &[octets], Instant::ZERO).len(), 1);
    };
    let station = |codec: &mut InterfaceCodec, node| {
        let packet = packet(Version::V2, 4, 0);
        let mut tx = Transmit::new(Limits::default());
        codec.push(&mut tx, to(node), &packet, &[]);
        EthernetFrame::decode(tx.octets()).unwrap().to
    };

    assert_eq!(station(&mut codec, 9), EtherAddress::BROADCAST);
    hear(&mut codec, 9, OTHER);
    assert_eq!(station(&mut codec, 9), OTHER);
    for node in 10..20 {
        hear(&mut codec, node, EtherAddress([2, 0, 0, 0, 0, node]));
    }
    assert_eq!(
        station(&mut codec, 9),
        EtherAddress::BROADCAST,
        "the oldest"
    );
    assert_eq!(station(&mut codec, 10).to_string(), "02:00:00:00:00:0a");
}

#[test]
fn segments_out_of_place_and_padding_and_other_stations() {
    let [mut sender, mut receiver] = pair(ethernet(60), Version::V2, 200);
    let whole = packet(Version::V2, 100, 1);
    let frames = sent(&mut sender, &whole, Version::V2, Limits::default());
    assert_eq!(frames.len(), 3);

    let early = [frames[0].clone(), frames[2].clone(), frames[1].clone()];
    assert!(received(&mut receiver, &early, Instant::ZERO).is_empty());
    assert_eq!(
        receiver.stats().incomplete,
        1,
        "a short one was not the last"
    );
    receiver.clear();

    let mut padded = frames.clone();
    padded[2].resize(60, 0);
    assert_eq!(
        received(&mut receiver, &padded, Instant::ZERO),
        [&whole[..]]
    );

    let mut foreign = frames[0].clone();
    foreign[..6].copy_from_slice(&OTHER.0);
    assert!(received(&mut receiver, &[foreign], Instant::ZERO).is_empty());
    assert_eq!(receiver.stats().other_address, 1);

    let mut of_ip = frames[0].clone();
    of_ip[12..14].copy_from_slice(&[8, 0]);
    let error = EthernetFrame::decode(&of_ip).unwrap_err().to_string();
    assert_eq!(
        error,
        "ethertype at offset 12: value 2048 (0x800) is not allowed"
    );
    let error = EthernetFrame::decode(&frames[0][..59])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "segment at offset 22: needs 38 octets, 37 left");
}

#[test]
fn i2c_has_the_low_seven_bits_of_the_next_hop() {
    let [mut sender, mut receiver] = pair(Encapsulation::I2c, Version::V2, 64);
    let packet = packet(Version::V2, 1, 1);
    let mut tx = Transmit::new(Limits::default());
    sender.push(&mut tx, to(0x3F85), &packet, &[]);

    assert_eq!(tx.octets()[0], 5 << 1);
    assert_eq!(
        received(&mut receiver, &[tx.octets()], Instant::ZERO),
        [packet]
    );
}
