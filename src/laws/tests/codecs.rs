//! Law 10 on codecs that keep it, and on ones that do not.

use alloc::vec::Vec;

use crate::laws::Law;
use crate::laws::codec::{Codec, check_octets, try_item, try_octets};

/// A number with leading zeros allowed, or not, as `LEADING`; the fault is what it does with the last octet.
#[derive(Debug, PartialEq)]
struct Run<'a> {
    kind: u8,
    body: &'a [u8],
}

fn decode(octets: &[u8]) -> Option<Run<'_>> {
    let (&kind, body) = octets.split_first()?;
    Some(Run { kind, body })
}

fn encode(run: &Run<'_>, out: &mut Vec<u8>) {
    out.push(run.kind);
    out.extend_from_slice(run.body);
}

macro_rules! codec {
    ($name:ident, $decode:expr, $wire_len:expr, $encode:expr) => {
        struct $name;

        impl Codec for $name {
            type Item<'a> = Run<'a>;

            fn decode(octets: &[u8]) -> Option<Run<'_>> {
                $decode(octets)
            }
            fn wire_len(run: &Run<'_>) -> usize {
                $wire_len(run)
            }
            fn encode(run: &Run<'_>, out: &mut Vec<u8>) {
                $encode(run, out);
            }
            fn equal(one: &Run<'_>, other: &Run<'_>) -> bool {
                one == other
            }
        }
    };
}

fn wire_len(run: &Run<'_>) -> usize {
    run.body.len() + 1
}

/// Forgets the lowest bit of the kind.
fn encode_even(run: &Run<'_>, out: &mut Vec<u8>) {
    out.push(run.kind & !1);
    out.extend_from_slice(run.body);
}

/// Turns the kind over each time.
fn encode_turned(run: &Run<'_>, out: &mut Vec<u8>) {
    out.push(!run.kind);
    out.extend_from_slice(run.body);
}

/// Takes what it does not give.
fn decode_short(octets: &[u8]) -> Option<Run<'_>> {
    decode(octets).filter(|run| run.body.len() < 4)
}

fn encode_long(run: &Run<'_>, out: &mut Vec<u8>) {
    encode(run, out);
    out.resize(wire_len_long(run), 0);
}

fn wire_len_long(run: &Run<'_>) -> usize {
    wire_len(run) + 3
}

codec!(Sound, decode, wire_len, encode);
codec!(Forgets, decode, wire_len, encode_even);
codec!(Turns, decode, wire_len, encode_turned);
codec!(Outgrows, decode_short, wire_len_long, encode_long);
codec!(Misjudges, decode, |_: &Run<'_>| 1, encode);

#[test]
fn a_sound_codec_keeps_law_10() {
    assert_eq!(try_octets::<Sound>(&[7, 1, 2]), Ok(true));
    assert_eq!(try_octets::<Sound>(&[]), Ok(false));
    assert_eq!(
        try_item::<Sound>(&Run {
            kind: 1,
            body: b"x"
        }),
        Ok(())
    );
}

#[test]
fn law_10_finds_what_is_lost_in_encoding() {
    let breach = try_octets::<Forgets>(&[7, 1]).unwrap_err();

    assert_eq!(breach.law, Law::CodecAgrees);
    assert_eq!(
        breach.detail,
        "Run { kind: 7, body: [1] } encodes to [6, 1], which decode to Run { kind: 6, body: [1] }"
    );
    assert_eq!(breach.script, "&[7, 1]");
}

#[test]
fn law_10_finds_a_re_encoding_that_is_no_fixed_point() {
    let breach = try_item::<Turns>(&Run { kind: 1, body: b"" }).unwrap_err();

    assert_eq!(
        (breach.law, breach.detail.as_str()),
        (Law::CodecAgrees, "[254] re-encode to [1]")
    );
}

#[test]
fn law_10_finds_octets_that_only_the_encoder_likes() {
    let breach = try_octets::<Outgrows>(&[1, 2]).unwrap_err();

    assert!(breach.detail.ends_with("which do not decode"), "{breach}");
}

#[test]
fn law_10_finds_a_length_that_is_not_kept() {
    let breach = try_octets::<Misjudges>(&[1, 2]).unwrap_err();

    assert!(
        breach
            .detail
            .ends_with("promises 1 octets and encodes to 2"),
        "{breach}"
    );
}

#[test]
#[should_panic(expected = "law 10")]
fn check_octets_panics_with_the_breach() {
    check_octets::<Forgets>(&[7, 1]);
}
