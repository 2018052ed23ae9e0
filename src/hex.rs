//! Octets in JSON: `"hex:0a0b"`.
//!
//! Fields of octets have the attribute `#[serde(with = "farlink::hex")]`. The prefix distinguishes payload from
//! text, so that a recorder can write large payloads elsewhere, and redact them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

/// The prefix before the digits.
pub const PREFIX: &str = "hex:";

/// Encodes octets as the prefix and two lower-case digits for each.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = Vec::with_capacity(PREFIX.len() + 2 * octets.len());
    text.extend_from_slice(PREFIX.as_bytes());
    for octet in octets {
        text.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
    }
    // Digits are ASCII, so this cannot fail.
    String::from_utf8(text).unwrap_or_default()
}

/// Decodes what [`encode`] returns; `None` for any other text.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(PREFIX)?.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut octets = Vec::with_capacity(pairs.len());
    for &[high, low] in pairs {
        octets.push(value(high)? << 4 | value(low)?);
    }
    rest.is_empty().then_some(octets)
}

/// Serialises octets as [`encode`] encodes them.
///
/// # Errors
///
/// Those of the serialiser.
pub fn serialize<S: Serializer>(
    octets: &impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(octets.as_ref()))
}

/// Deserialises octets into a type that can be made of a vector of octets.
///
/// # Errors
///
/// Those of the deserialiser; a text that [`encode`] does not return; too many or too few octets.
pub fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let octets = deserializer.deserialize_str(Digits)?;
    let length = octets.len();
    T::try_from(octets).map_err(|_| Error::invalid_length(length, &"another number of octets"))
}

/// Octets of an optional field in JSON.
pub mod option {
    use alloc::string::String;
    use alloc::vec::Vec;

    use serde::Deserialize as _;
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    /// Serialises octets or `None`.
    ///
    /// # Errors
    ///
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(
        octets: &Option<impl AsRef<[u8]>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match octets {
            Some(octets) => serializer.serialize_some(&super::encode(octets.as_ref())),
            None => serializer.serialize_none(),
        }
    }

    /// Deserialises octets or `None`.
    ///
    /// # Errors
    ///
    /// As for [`deserialize`](super::deserialize).
    pub fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let octets = super::decode(&text).ok_or_else(|| D::Error::custom(super::EXPECTED))?;
        let length = octets.len();
        let octets = T::try_from(octets)
            .map_err(|_| D::Error::invalid_length(length, &"another number of octets"))?;
        Ok(Some(octets))
    }
}

const EXPECTED: &str = "octets as \"hex:\" and pairs of lower-case digits";

struct Digits;

impl Visitor<'_> for Digits {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        decode(text).ok_or_else(|| E::custom(EXPECTED))
    }
}

const fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_lower_case_digits_behind_a_prefix() {
        assert_eq!(encode(&[0x00, 0xAB, 0x9f]), "hex:00ab9f");
        assert_eq!(decode("hex:00ab9f"), Some(alloc::vec![0x00, 0xAB, 0x9f]));
        assert_eq!(decode("hex:"), Some(Vec::new()));
    }

    #[test]
    fn only_what_encode_writes_is_read() {
        for text in ["00ab", "hex:0", "hex:AB", "hex:0g", "hex: 00"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
