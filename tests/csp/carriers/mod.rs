//! Packets over the carriers of CSP: octets as libcsp has them, and frames that are lost, swapped or foreign.

mod can;
mod captures;
mod kiss;
mod node;
mod others;

use core::time::Duration;

use allocation_counter::measure;
use farlink::csp::carriers::{ByteOrder, EtherAddress, FrameStats, Pushed};
use farlink::csp::{Encapsulation, Header, InterfaceCodec, Version};
use farlink::{Hop, Instant, Limits, Transmit};

use crate::{carrier_bodies, tries};

const ADDRESS: EtherAddress = EtherAddress([2, 0, 0, 0, 0, 1]);
const CAN: Encapsulation = Encapsulation::Can { promiscuous: false };

/// All encapsulations that carry packets of a version.
fn all(version: Version) -> Vec<Encapsulation> {
    let mut all = vec![
        Encapsulation::Packet,
        Encapsulation::KISS,
        Encapsulation::Kiss { crc32: false },
        CAN,
        Encapsulation::Ethernet {
            address: ADDRESS,
            mtu: 60,
        },
        Encapsulation::I2c,
    ];
    if version == Version::V1 {
        all.push(Encapsulation::NextHop(ByteOrder::BigEndian));
        all.push(Encapsulation::NextHop(ByteOrder::LittleEndian));
    }
    all
}

fn to(via: u16) -> Hop {
    Hop { interface: 3, via }
}

/// A packet from node 1 to node 2 with some octets of data.
fn packet(version: Version, len: usize, first: u8) -> Vec<u8> {
    let header = Header {
        source: 1,
        destination: 2,
        destination_port: 10,
        source_port: 20,
        ..Header::default()
    };
    let mut octets = Vec::new();
    header.encode(version, &mut octets);
    octets.extend((0..len).map(|at| first.wrapping_add(at.to_le_bytes()[0])));
    octets
}

/// What the codec of node 1 makes of a packet to node 2, in transmits of these limits.
fn sent(
    codec: &mut InterfaceCodec,
    packet: &[u8],
    version: Version,
    limits: Limits,
) -> Vec<Vec<u8>> {
    let (header, data) = packet.split_at(version.header_len());
    let mut tx = Transmit::new(limits);
    assert_eq!(codec.push(&mut tx, to(2), header, &[data]), Pushed::Done);
    let mut sent = Vec::new();
    loop {
        if tx.is_stream() {
            assert_eq!(tx.to(), Some(to(0)), "the stream of the interface");
            sent.push(tx.octets().to_vec());
        } else {
            assert_eq!(tx.to(), Some(to(2)));
            sent.extend(tx.datagrams().map(<[u8]>::to_vec));
        }
        if codec.pending().is_none() {
            return sent;
        }
        tx.clear();
        codec.flush(&mut tx);
    }
}

/// The packets that a codec finds in these datagrams, or octets of a stream.
fn received<O: AsRef<[u8]>>(
    codec: &mut InterfaceCodec,
    carried: &[O],
    now: Instant,
) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for octets in carried {
        let mut octets = octets.as_ref();
        while let Some(packet) = codec.next_packet(now, &mut octets) {
            packets.push(packet.to_vec());
        }
    }
    packets
}

/// A sender and a receiver.
fn pair(kind: Encapsulation, version: Version, max_data: usize) -> [InterfaceCodec; 2] {
    [1, 2].map(|address| InterfaceCodec::new(kind, version, address, max_data))
}

#[test]
fn packets_of_every_length_come_as_they_were_sent_whatever_a_transmit_holds() {
    for version in [Version::V1, Version::V2] {
        for kind in all(version) {
            for limits in [
                Limits::default(),
                Limits::single(400),
                Limits::new(400, 3, 1000),
            ] {
                let [mut sender, mut receiver] = pair(kind, version, 300);
                for len in (0..40).chain([253, 254, 255, 256, 299, 300]) {
                    let packet = packet(version, len, 0xBF);
                    let sent = sent(&mut sender, &packet, version, limits);

                    let came = received(&mut receiver, &sent, Instant::ZERO);

                    assert_eq!(came, [packet], "{kind:?} of {len} octets");
                }
                assert_eq!(receiver.stats(), FrameStats::default());
            }
        }
    }
}

#[test]
fn a_packet_longer_than_the_limit_is_not_sent_and_not_put_together() {
    for version in [Version::V1, Version::V2] {
        for kind in all(version) {
            let [mut long, mut short] =
                [200, 100].map(|max| InterfaceCodec::new(kind, version, 2, max));
            let packet = packet(version, 101, 7);
            let header = version.header_len();
            let mut tx = Transmit::new(Limits::default());
            let pushed = short.push(&mut tx, to(2), &packet[..header], &[&packet[header..]]);
            let is_whole = matches!(
                kind,
                Encapsulation::Packet | Encapsulation::NextHop(_) | Encapsulation::I2c
            );
            // A datagram that holds a packet has the limit of the transmit.
            assert_eq!(pushed == Pushed::TooLong, !is_whole, "{kind:?}");
            assert_eq!(tx.is_empty(), !is_whole);

            let frames = sent(&mut long, &packet, version, Limits::default());
            let came = received(&mut short, &frames, Instant::ZERO);
            let little = Encapsulation::NextHop(ByteOrder::LittleEndian);
            if is_whole && kind != little {
                assert_eq!(came, [packet]);
            } else {
                assert!(came.is_empty(), "{kind:?}");
                assert!(short.stats().too_long > 0, "{kind:?}: {:?}", short.stats());
            }
        }
    }
}

#[test]
fn a_codec_allocates_its_footprint_and_nothing_after_it_is_made() {
    for version in [Version::V1, Version::V2] {
        for kind in all(version) {
            let footprint = InterfaceCodec::footprint(kind, version, 256);
            let mut made = None;
            let counted = measure(|| made = Some(InterfaceCodec::new(kind, version, 2, 256)));
            let allocated = counted.bytes_current.unsigned_abs();
            assert!(
                allocated <= u64::try_from(footprint).unwrap(),
                "{kind:?}: {allocated}"
            );
            assert!(
                allocated + 64 >= u64::try_from(footprint).unwrap(),
                "{kind:?}"
            );
            let mut codec = made.unwrap();
            let packet = packet(version, 256, 0xC0);
            let (header, data) = packet.split_at(version.header_len());
            let mut tx = Transmit::with_memory(Limits::default(), Vec::with_capacity(1 << 12));
            let frames = sent(&mut codec, &packet, version, Limits::default());
            let mut came = 0;

            let counted = measure(|| {
                for lost in 0..frames.len() {
                    codec.push(&mut tx, to(2), header, &[data]);
                    tx.clear();
                    for (at, frame) in frames.iter().enumerate() {
                        let mut octets = &frame[..];
                        while at != lost && codec.next_packet(Instant::ZERO, &mut octets).is_some()
                        {
                            came += 1;
                        }
                    }
                }
            });

            assert_eq!(
                (counted.count_total, counted.bytes_total),
                (0, 0),
                "{kind:?}"
            );
            assert!(came < frames.len());
        }
    }
}

#[test]
fn what_is_left_of_a_packet_is_forgotten_where_the_interface_begins_anew() {
    for kind in [Encapsulation::KISS, CAN] {
        let [mut sender, mut receiver] = pair(kind, Version::V2, 300);
        let old = packet(Version::V2, 200, 1);
        let mut tx = Transmit::new(Limits::new(16, 1, 16));
        let header = &old[..6];
        assert_eq!(
            sender.push(&mut tx, to(2), header, &[&old[6..]]),
            Pushed::Done
        );
        assert!(sender.pending().is_some(), "most of it waits");
        assert!(received(&mut receiver, &[tx.octets()], Instant::ZERO).is_empty());

        sender.clear();
        receiver.clear();

        assert_eq!(sender.pending(), None);
        let new = packet(Version::V2, 20, 9);
        let frames = sent(&mut sender, &new, Version::V2, Limits::default());
        assert_eq!(received(&mut receiver, &frames, Instant::ZERO), [new]);
    }
}

#[test]
fn a_second_packet_waits_for_the_rest_of_the_first() {
    let [mut sender, _] = pair(CAN, Version::V2, 300);
    let packet = packet(Version::V2, 100, 1);
    let (header, data) = packet.split_at(6);
    let mut tx = Transmit::new(Limits::single(100));

    assert_eq!(sender.push(&mut tx, to(2), header, &[data]), Pushed::Done);
    assert_eq!(sender.push(&mut tx, to(2), header, &[data]), Pushed::Later);
    assert_eq!(sender.pending(), Some(to(2)));
}

/// How long the receivers below are left alone until an unfinished packet is dropped.
const STALE: Duration = Duration::from_secs(1);
const STALE_BUT_1_NS: Duration = Duration::from_nanos(999_999_999);

#[test]
fn an_unfinished_packet_is_dropped_after_a_second_and_not_before() {
    for version in [Version::V1, Version::V2] {
        for kind in [
            CAN,
            Encapsulation::Ethernet {
                address: ADDRESS,
                mtu: 60,
            },
        ] {
            for (pause, is_whole) in [(STALE_BUT_1_NS, true), (STALE, false)] {
                let [mut sender, mut receiver] = pair(kind, version, 300);
                let packet = packet(version, 50, 3);
                let frames = sent(&mut sender, &packet, version, Limits::default());
                let (last, first) = frames.split_last().unwrap();

                assert!(received(&mut receiver, first, Instant::ZERO).is_empty());
                let came = received(&mut receiver, &[last], Instant::ZERO + pause);

                assert_eq!(came.len(), usize::from(is_whole), "{kind:?} {version:?}");
                assert_eq!(receiver.stats().stale, u64::from(!is_whole));
            }
        }
    }
}

#[test]
fn of_more_packets_than_are_put_together_the_one_heard_of_longest_ago_gives_way() {
    for version in [Version::V1, Version::V2] {
        let kind = Encapsulation::Ethernet {
            address: ADDRESS,
            mtu: 60,
        };
        let [mut sender, mut receiver] = pair(kind, version, 300);
        let packets: Vec<Vec<u8>> = (0..17).map(|first| packet(version, 60, first)).collect();
        let mut starts = Vec::new();
        let mut ends = Vec::new();
        for packet in &packets {
            let frames = sent(&mut sender, packet, version, Limits::default());
            let [start, end] = &frames[..] else {
                panic!("{frames:?}")
            };
            starts.push(start.clone());
            ends.push(end.clone());
        }

        for (at, start) in (0..).zip(&starts) {
            let now = Instant::ZERO + Duration::from_millis(at);
            assert!(received(&mut receiver, &[start], now).is_empty());
        }
        let came = received(
            &mut receiver,
            &ends[1..],
            Instant::ZERO + Duration::from_millis(20),
        );

        assert_eq!(came, packets[1..]);
        assert_eq!(receiver.stats().displaced, 1);
    }
}

#[test]
fn whatever_comes_only_packets_that_were_sent_are_found() {
    tries::tries(1500, 20..=600, |u| {
        carrier_bodies::carriers(u.peek_bytes(u.len()).unwrap_or_default());
        Ok(())
    });
}
