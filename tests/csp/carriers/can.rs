//! Frames of CAN that are lost, swapped or repeated.

use core::time::Duration;

use farlink::csp::carriers::{CanFrame, FrameStats};
use farlink::csp::{Encapsulation, InterfaceCodec, Version};
use farlink::{Instant, Limits, Seed};

use super::{CAN, packet, pair, received, sent, to};

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

fn frames(codec: &mut InterfaceCodec, packet: &[u8], version: Version) -> Vec<Vec<u8>> {
    sent(codec, packet, version, Limits::default())
}

/// libcsp 1023: kernels deliver up to some percent of frames swapped, of which libcsp loses the packets.
#[test]
fn swapped_can_frames_are_put_by_place() {
    for version in VERSIONS {
        for len in [3, 10, 20, 50, 100, 256] {
            let packet = packet(version, len, 0x40);
            let count = frames(&mut pair(CAN, version, 256)[0], &packet, version).len();
            for at in 0..count.saturating_sub(1) {
                let [mut sender, mut receiver] = pair(CAN, version, 256);
                let mut frames = frames(&mut sender, &packet, version);
                frames.swap(at, at + 1);

                let came = received(&mut receiver, &frames, Instant::ZERO);

                assert_eq!(came.len(), 1, "{version:?}, {len} octets, frame {at}");
                assert_eq!(came, [&packet[..]]);
                assert_eq!(receiver.stats(), FrameStats::default());
            }
        }
    }
}

#[test]
fn swaps_across_packets_and_repeated_frames_lose_none() {
    for version in VERSIONS {
        for seed in 0..50 {
            let mut rng = Seed::from(seed).rng();
            let [mut sender, mut receiver] = pair(CAN, version, 256);
            let packets: Vec<Vec<u8>> = (0..60).map(|n| packet(version, 30, n)).collect();
            let mut all = Vec::new();
            for packet in &packets {
                all.extend(frames(&mut sender, packet, version));
            }
            let mut at = 0;
            while at + 1 < all.len() {
                if rng.below(20) == 0 {
                    all.swap(at, at + 1);
                    at += 1;
                }
                at += 1;
            }

            let came = received(&mut receiver, &all, Instant::ZERO);

            // A swap over the border of two packets exchanges their ends.
            let mut sorted = came.clone();
            sorted.sort();
            let mut expected = packets.clone();
            expected.sort();
            assert_eq!(sorted, expected, "{version:?}, seed {seed}");
        }
    }
}

/// The frames of one packet in any order: of version 1 all orders do, since each frame has its place.
#[test]
fn frames_of_version_1_come_in_any_order_behind_the_first() {
    for seed in 0..50 {
        let mut rng = Seed::from(seed).rng();
        let [mut sender, mut receiver] = pair(CAN, Version::V1, 2042);
        let packet = packet(Version::V1, 2042, 1);
        let mut frames = frames(&mut sender, &packet, Version::V1);
        assert_eq!(frames.len(), 256);
        for at in (2..frames.len()).rev() {
            let other = 1 + rng.below(u64::try_from(at).unwrap());
            frames.swap(at, usize::try_from(other).unwrap());
        }

        assert_eq!(received(&mut receiver, &frames, Instant::ZERO), [packet]);
    }
}

#[test]
fn a_packet_of_which_a_frame_is_lost_is_dropped_alone() {
    for version in VERSIONS {
        let long = packet(version, 100, 1);
        let count = frames(&mut pair(CAN, version, 256)[0], &long, version).len();
        for lost in 0..count {
            let [mut sender, mut receiver] = pair(CAN, version, 256);
            let mut frames_of_long = frames(&mut sender, &long, version);
            frames_of_long.remove(lost);
            assert!(received(&mut receiver, &frames_of_long, Instant::ZERO).is_empty());

            // Far more than there are numbers of packets, and all of them come.
            let wait = Duration::from_micros(100);
            for number in 0..1100_u32 {
                let now = Instant::ZERO + wait * number;
                let next = packet(version, 20, number.to_le_bytes()[0]);
                let frames = frames(&mut sender, &next, version);
                assert_eq!(
                    received(&mut receiver, &frames, now),
                    [next],
                    "{version:?}, frame {lost} lost, packet {number} after it"
                );
            }
            let stats = receiver.stats();
            let told = stats.stray + stats.incomplete + stats.superseded + stats.stale;
            assert!(told > 0, "{stats:?}");
        }
    }
}

/// Where the end of a packet is lost, libcsp appends the packet that has its number next: 10 octets became 18.
#[test]
fn a_first_frame_of_cfp2_on_an_unfinished_packet_begins_anew() {
    let [mut sender, mut receiver] = pair(CAN, Version::V2, 256);
    let unfinished = packet(Version::V2, 12, 0x80);
    let mut first = frames(&mut sender, &unfinished, Version::V2);
    drop(first.pop());
    assert!(received(&mut receiver, &first, Instant::ZERO).is_empty());
    for number in 1..4 {
        let between = packet(Version::V2, 2, number);
        let frames = frames(&mut sender, &between, Version::V2);
        assert_eq!(received(&mut receiver, &frames, Instant::ZERO), [between]);
    }

    let next = packet(Version::V2, 10, 0x20);
    let frames = frames(&mut sender, &next, Version::V2);
    let came = received(&mut receiver, &frames, Instant::ZERO);

    assert_eq!(came, [next], "10 octets stay 10 octets");
    assert_eq!(receiver.stats().superseded, 1);
}

#[test]
fn frames_to_other_nodes_are_left_unless_promiscuous() {
    for version in VERSIONS {
        for (promiscuous, found) in [(false, 0), (true, 1)] {
            let kind = Encapsulation::Can { promiscuous };
            let mut sender = InterfaceCodec::new(kind, version, 1, 64);
            let mut receiver = InterfaceCodec::new(kind, version, 5, 64);
            let packet = packet(version, 30, 1);
            let frames = frames(&mut sender, &packet, version);

            assert_eq!(received(&mut receiver, &frames, Instant::ZERO).len(), found);
            let left = if promiscuous { 0 } else { frames.len() };
            assert_eq!(receiver.stats().other_address, u64::try_from(left).unwrap());
        }
    }
}

#[test]
fn frames_of_version_1_have_the_next_hop_and_those_of_version_2_the_destination() {
    for (version, identifier) in [(Version::V1, 0x0138_0000), (Version::V2, 0x1000_4083)] {
        let [mut sender, _] = pair(CAN, version, 64);
        let packet = packet(version, 1, 1);
        let (header, data) = packet.split_at(version.header_len());
        let mut tx = farlink::Transmit::new(Limits::default());
        sender.push(&mut tx, to(7), header, &[data]);

        let frame = CanFrame::decode(tx.octets()).unwrap();
        assert_eq!(frame.identifier(), identifier, "{version:?}");
    }
}

#[test]
fn frames_that_are_no_data_frames_with_29_bits_are_refused_with_their_fault() {
    let refused = |octets: &[u8]| CanFrame::decode(octets).unwrap_err().to_string();

    assert_eq!(
        refused(&[0; 7]),
        "header at offset 0: needs 8 octets, 7 left"
    );
    let standard = "identifier at offset 0: value 5 (0x05) is not allowed";
    assert_eq!(refused(&[0, 0, 0, 5, 0, 0, 0, 0]), standard);
    assert!(
        refused(&[0xC0, 0, 0, 5, 0, 0, 0, 0]).starts_with("identifier"),
        "a remote frame"
    );
    assert_eq!(
        refused(&[0x80, 0, 0, 5, 9, 0, 0, 0]),
        "length at offset 4: a length of 9 octets is not allowed"
    );
    assert_eq!(
        refused(&[0x80, 0, 0, 5, 2, 0, 0, 0, 1]),
        "data at offset 8: needs 2 octets, 1 left"
    );
    let padded = [0x80, 0, 0, 5, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(CanFrame::decode(&padded).unwrap().data(), [7]);
}

#[test]
fn a_frame_whose_length_is_not_what_it_says_is_dropped_and_counted() {
    for version in VERSIONS {
        let [mut sender, mut receiver] = pair(CAN, version, 64);
        let frames = frames(&mut sender, &packet(version, 30, 1), version);
        for frame in &frames[..frames.len() - 1] {
            let mut shorter = frame.clone();
            shorter.pop();
            shorter[4] -= 1;
            assert!(received(&mut receiver, &[shorter], Instant::ZERO).is_empty());
        }
        let dropped = u64::try_from(frames.len() - 1).unwrap();
        assert_eq!(receiver.stats().malformed, dropped, "{version:?}");
    }
}
