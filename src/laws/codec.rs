//! Law 10: the round trip of a codec.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::{Law, Violation};

/// The codec of a wire type: its three functions.
///
/// ```
/// # use farlink::laws::codec::{self, Codec};
/// struct Short;
///
/// impl Codec for Short {
///     type Item<'a> = u16;
///
///     fn decode(octets: &[u8]) -> Option<u16> {
///         octets.try_into().ok().map(u16::from_be_bytes)
///     }
///     fn wire_len(_: &u16) -> usize {
///         2
///     }
///     fn encode(item: &u16, out: &mut Vec<u8>) {
///         out.extend_from_slice(&item.to_be_bytes());
///     }
///     fn equal(one: &u16, other: &u16) -> bool {
///         one == other
///     }
/// }
///
/// codec::check_octets::<Short>(&[1, 2]);
/// codec::check_item::<Short>(&258);
/// ```
pub trait Codec {
    /// The decoded type, which may borrow from the octets.
    type Item<'a>: Debug;

    /// Decodes one item that takes all the octets, or returns `None` when they are malformed.
    fn decode(octets: &[u8]) -> Option<Self::Item<'_>>;
    /// Returns the number of octets that [`encode`](Self::encode) appends.
    fn wire_len(item: &Self::Item<'_>) -> usize;
    /// Appends the octets of an item.
    fn encode(item: &Self::Item<'_>, out: &mut Vec<u8>);
    /// Returns `one == other`. Only a concrete type can compare items of two lifetimes.
    fn equal(one: &Self::Item<'_>, other: &Self::Item<'_>) -> bool;
}

/// Runs [`try_octets`]: the body of a fuzz target.
///
/// # Panics
///
/// When law 10 is violated.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check_octets<C: Codec>(octets: &[u8]) {
    if let Err(violation) = try_octets::<C>(octets) {
        panic!("{violation}");
    }
}

/// Runs [`try_item`]: the body of a fuzz target.
///
/// # Panics
///
/// When law 10 is violated.
#[expect(clippy::panic, reason = "a test and a fuzz target fail by panicking")]
pub fn check_item<C: Codec>(item: &C::Item<'_>) {
    if let Err(violation) = try_item::<C>(item) {
        panic!("{violation}");
    }
}

/// Checks octets: if they decode, the item encodes to octets that decode to the same item and re-encode to
/// themselves. Returns whether they decode.
///
/// # Errors
///
/// A violation of law 10, with the octets in place of a script.
pub fn try_octets<C: Codec>(octets: &[u8]) -> Result<bool, Violation> {
    let Some(item) = C::decode(octets) else {
        return Ok(false);
    };
    round_trip::<C>(&item)
        .map(|()| true)
        .map_err(|detail| Violation {
            script: format!("&{octets:?}"),
            ..Violation::new(Law::CodecRoundTrip, 0, detail)
        })
}

/// Checks an item: its octets decode to it, and re-encode to themselves.
///
/// # Errors
///
/// A violation of law 10, with the item in place of a script.
pub fn try_item<C: Codec>(item: &C::Item<'_>) -> Result<(), Violation> {
    round_trip::<C>(item).map_err(|detail| Violation {
        script: format!("{item:?}"),
        ..Violation::new(Law::CodecRoundTrip, 0, detail)
    })
}

fn round_trip<C: Codec>(item: &C::Item<'_>) -> Result<(), String> {
    let first = encoded::<C>(item)?;
    let Some(again) = C::decode(&first) else {
        return Err(format!(
            "{item:?} encodes to {first:?}, which do not decode"
        ));
    };
    let second = encoded::<C>(&again)?;
    if second != first {
        return Err(format!("{first:?} re-encode to {second:?}"));
    }
    if !C::equal(item, &again) {
        return Err(format!(
            "{item:?} encodes to {first:?}, which decode to {again:?}"
        ));
    }
    Ok(())
}

fn encoded<C: Codec>(item: &C::Item<'_>) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    C::encode(item, &mut octets);
    let promised = C::wire_len(item);
    if octets.len() != promised {
        let len = octets.len();
        return Err(format!(
            "{item:?} promises {promised} octets and encodes to {len}"
        ));
    }
    Ok(octets)
}
