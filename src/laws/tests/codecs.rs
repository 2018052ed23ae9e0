//! Law 10: codecs that keep it, and codecs that violate it.

use alloc::vec::Vec;

use crate::laws::Law;
use crate::laws::codec::{Codec, check_octets, try_item, try_octets};

#[derive(Debug, PartialEq)]
struct Item<'a> {
    kind: u8,
    body: &'a [u8],
}

fn decode(octets: &[u8]) -> Option<Item<'_>> {
    let (&kind, body) = octets.split_first()?;
    Some(Item { kind, body })
}

fn encode(item: &Item<'_>, out: &mut Vec<u8>) {
    out.push(item.kind);
    out.extend_from_slice(item.body);
}

macro_rules! codec {
    ($name:ident, $decode:expr, $wire_len:expr, $encode:expr) => {
        struct $name;

        impl Codec for $name {
            type Item<'a> = super::codecs::Item<'a>;

            fn decode(octets: &[u8]) -> Option<Item<'_>> {
                $decode(octets)
            }
            fn wire_len(item: &Item<'_>) -> usize {
                $wire_len(item)
            }
            fn encode(item: &Item<'_>, out: &mut Vec<u8>) {
                $encode(item, out);
            }
            fn equal(one: &Item<'_>, other: &Item<'_>) -> bool {
                one == other
            }
        }
    };
}

fn wire_len(item: &Item<'_>) -> usize {
    item.body.len() + 1
}

/// Forgets the lowest bit of the kind.
fn encode_even(item: &Item<'_>, out: &mut Vec<u8>) {
    out.push(item.kind & !1);
    out.extend_from_slice(item.body);
}

/// Turns the kind over each time.
fn encode_turned(item: &Item<'_>, out: &mut Vec<u8>) {
    out.push(!item.kind);
    out.extend_from_slice(item.body);
}

/// Takes what it does not give.
fn decode_short(octets: &[u8]) -> Option<Item<'_>> {
    decode(octets).filter(|item| item.body.len() < 4)
}

fn encode_long(item: &Item<'_>, out: &mut Vec<u8>) {
    encode(item, out);
    out.resize(wire_len_long(item), 0);
}

fn wire_len_long(item: &Item<'_>) -> usize {
    wire_len(item) + 3
}

codec!(Sound, decode, wire_len, encode);
codec!(Forgets, decode, wire_len, encode_even);
codec!(Turns, decode, wire_len, encode_turned);
codec!(Outgrows, decode_short, wire_len_long, encode_long);
codec!(Misjudges, decode, |_: &Item<'_>| 1, encode);

#[test]
fn a_sound_codec_keeps_law_10() {
    assert_eq!(try_octets::<Sound>(&[7, 1, 2]), Ok(true));
    assert_eq!(try_octets::<Sound>(&[]), Ok(false));
    assert_eq!(
        try_item::<Sound>(&Item {
            kind: 1,
            body: b"x"
        }),
        Ok(())
    );
}

#[test]
fn law_10_finds_what_is_lost_in_encoding() {
    let violation = try_octets::<Forgets>(&[7, 1]).unwrap_err();

    assert_eq!(violation.law, Law::CodecRoundTrip);
    assert_eq!(
        violation.detail,
        "Item { kind: 7, body: [1] } encodes to [6, 1], which decode to Item { kind: 6, body: [1] }"
    );
    assert_eq!(violation.script, "&[7, 1]");
}

#[test]
fn law_10_finds_a_re_encoding_that_is_no_fixed_point() {
    let violation = try_item::<Turns>(&Item { kind: 1, body: b"" }).unwrap_err();

    assert_eq!(
        (violation.law, violation.detail.as_str()),
        (Law::CodecRoundTrip, "[254] re-encode to [1]")
    );
}

#[test]
fn law_10_finds_octets_that_only_the_encoder_likes() {
    let violation = try_octets::<Outgrows>(&[1, 2]).unwrap_err();

    assert!(
        violation.detail.ends_with("which do not decode"),
        "{violation}"
    );
}

#[test]
fn law_10_finds_a_length_that_is_not_kept() {
    let violation = try_octets::<Misjudges>(&[1, 2]).unwrap_err();

    assert!(
        violation
            .detail
            .ends_with("promises 1 octets and encodes to 2"),
        "{violation}"
    );
}

#[test]
#[should_panic(expected = "law 10")]
fn check_octets_panics_with_the_breach() {
    check_octets::<Forgets>(&[7, 1]);
}
