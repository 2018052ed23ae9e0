//! Frames on a serial line with noise.

use farlink::csp::carriers::{FrameStats, Kiss, encode_kiss};
use farlink::csp::{Encapsulation, InterfaceCodec, Version, crc32};
use farlink::{Framing as _, Instant, Limits};

use super::{packet, pair, received, sent};

const FEND: u8 = 0xC0;
const V2: Version = Version::V2;

fn frame(packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_kiss(&packet[..6], &[&packet[6..]], true, &mut out);
    out
}

fn line() -> InterfaceCodec {
    InterfaceCodec::new(Encapsulation::KISS, V2, 2, 64)
}

/// libcsp loses the second one.
#[test]
fn two_frames_that_share_a_fend_are_two_packets() {
    let [one, other] = [1, 0xB0].map(|first| packet(V2, 20, first));
    let [first, second] = [&one, &other].map(|packet| frame(packet));
    let stream = [&first[..], &second[1..]].concat();

    for size in 1..=stream.len() {
        let mut codec = line();
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();
        let came = received(&mut codec, &chunks, Instant::ZERO);

        assert_eq!(came, [&one[..], &other], "chunks of {size}");
        assert_eq!(codec.stats(), FrameStats::default());
    }
}

/// libcsp loses the frame behind the noise.
#[test]
fn noise_that_holds_a_fend_costs_no_frame_that_came_whole() {
    let whole = packet(V2, 20, 7);
    for noise in [
        &[0x55, FEND, 0x31, 0xDB][..],
        &[FEND],
        &[FEND, FEND, 0, 1, 2],
        &[0xDB, FEND, 0xDB, 0xDB, FEND, 0],
        &[1, 2, 3],
    ] {
        let mut codec = line();
        let before = frame(&whole);
        let stream = [noise, &before, noise, &frame(&whole), &frame(&whole)].concat();

        let came = received(&mut codec, &[stream], Instant::ZERO);

        assert_eq!(came, [&whole[..], &whole, &whole], "{noise:?}");
    }
}

#[test]
fn an_escape_of_nothing_spoils_its_frame_alone() {
    let packet = packet(V2, 20, 7);
    let mut spoiled = frame(&packet);
    spoiled.splice(5..5, [0xDB, 0x41]);
    let stream = [
        spoiled,
        frame(&packet),
        vec![FEND, 0, 0xDB, FEND],
        frame(&packet),
    ]
    .concat();
    let mut codec = line();

    let came = received(&mut codec, &[stream], Instant::ZERO);

    assert_eq!(came, [&packet[..], &packet]);
    assert_eq!(codec.stats().malformed, 2);
}

#[test]
fn any_damaged_bit_of_the_data_is_found() {
    let packet = packet(V2, 20, 7);
    let frame = frame(&packet);
    // Behind FEND, type and header; the last octet ends the frame.
    for bit in 8 * 8..(frame.len() - 1) * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut codec = line();

        assert!(
            received(&mut codec, &[damaged], Instant::ZERO).is_empty(),
            "bit {bit}"
        );
        let stats = codec.stats();
        assert!(stats.bad_crc32 + stats.malformed > 0);
    }
}

#[test]
fn the_sum_may_cover_the_header_too_and_the_first_octet_is_not_looked_at() {
    let packet = packet(V2, 20, 7);
    let sum = crc32(&[&packet]).to_be_bytes();
    let stream = [&[FEND, 0x10][..], &packet, &sum, &[FEND]].concat();

    assert_eq!(received(&mut line(), &[stream], Instant::ZERO), [packet]);
}

#[test]
fn a_frame_without_sum_is_taken_where_the_interface_has_none() {
    let kind = Encapsulation::Kiss { crc32: false };
    let [mut sender, mut receiver] = pair(kind, V2, 64);
    let packet = packet(V2, 20, 7);
    let frames = sent(&mut sender, &packet, V2, Limits::default());

    assert_eq!(frames[0].len(), packet.len() + 3);
    assert_eq!(
        received(&mut receiver, &frames, Instant::ZERO),
        [&packet[..]]
    );
    let mut codec = line();
    assert!(received(&mut codec, &frames, Instant::ZERO).is_empty());
    assert_eq!(codec.stats().bad_crc32, 1);
}

#[test]
fn a_frame_longer_than_the_limit_is_dropped_and_the_next_one_taken() {
    let [long, short] = [65, 64].map(|len| packet(V2, len, 0x80));
    let stream = [frame(&long), frame(&short), vec![7; 10_000], frame(&short)].concat();
    for size in [1, 7, 20_000] {
        let mut codec = line();
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();

        let came = received(&mut codec, &chunks, Instant::ZERO);

        assert_eq!(came, [&short[..], &short], "chunks of {size}");
        assert_eq!(codec.stats().too_long, 2);
    }
}

#[test]
fn a_frame_that_is_whole_in_a_chunk_and_has_no_escapes_is_borrowed() {
    let packet = packet(V2, 20, 7);
    let stream = frame(&packet);
    let mut kiss = Kiss::new(V2, true, 70);
    let mut chunk = &stream[..];

    let found = kiss.next(&mut chunk).unwrap().unwrap();

    assert!(core::ptr::eq(found, &raw const stream[2..2 + packet.len()]));
    assert!(chunk.is_empty());
    assert_eq!(kiss.next(&mut chunk), Ok(None));
}
