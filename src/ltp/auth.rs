//! Authentication of segments (RFC 5327 section 2.1).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::config::ConfigError;
use super::sdnv::{put_sdnv, sdnv_len};
use super::wire::{Extension, ExtensionTag, Segment};

/// Octets of an authentication value of suites 0 and 255.
const VALUE: usize = 10;
/// Octets of the trailer extension: tag, length and value.
const TRAILER: usize = 2 + VALUE;
/// Octets of the longest key and key ID.
const LONGEST_KEY: usize = 256;
/// The key of the NULL suite, known to all: it finds accidents, not forgers.
const NULL_KEY: [u8; 20] = [
    0xC3, 0x7B, 0x7E, 0x64, 0x92, 0x58, 0x43, 0x40, 0xBE, 0xD1, 0x22, 0x07, 0x80, 0x89, 0x41, 0x15,
    0x50, 0x68, 0xF7, 0x38,
];

/// How the segments of one peer are authenticated, in both directions.
///
/// With any suite, what comes without a good value is dropped. A key is looked up by the peer; the key ID
/// is sent, and one that differs on reception is not ours to verify.
#[derive(Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Auth {
    /// Nothing is sent, and what comes is ignored, as RFC 5327 asks of an engine without it.
    #[default]
    Off,
    /// Suite 255: a checksum in the shape of a signature, against accidents.
    Null,
    /// Suite 0, HMAC-SHA1-80.
    HmacSha1(Key),
}

/// A shared key, and its name.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key {
    /// What the peer finds the key by; may be empty.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key, 1 to 256 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub secret: Bytes,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Null => f.write_str("Null"),
            Self::HmacSha1(key) => write!(f, "HmacSha1({key:?})"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id.escape_ascii())
    }
}

impl Auth {
    const fn suite(&self) -> Option<u8> {
        match self {
            Self::Off => None,
            Self::HmacSha1(_) => Some(0),
            Self::Null => Some(255),
        }
    }

    fn key(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Off => (&[], &[]),
            Self::Null => (&[], &NULL_KEY),
            Self::HmacSha1(key) => (&key.id, &key.secret),
        }
    }

    /// Octets that it adds to every segment.
    ///
    /// Header and trailer extension stand in all of them, so that no order of arrival matters.
    pub(super) fn overhead(&self) -> usize {
        match self.suite() {
            None => 0,
            Some(_) => self.header_len() + TRAILER,
        }
    }

    fn header_len(&self) -> usize {
        let value = 1 + self.key().0.len();
        // Bound: usize has at most 64 bits.
        1 + sdnv_len(value as u64) + value
    }

    /// Octets it holds.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Off | Self::Null => 0,
            Self::HmacSha1(key) => key.id.len() + key.secret.len(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Self::HmacSha1(key) = self else {
            return Ok(());
        };
        let lens = [key.secret.len(), key.id.len().max(1)];
        match lens
            .into_iter()
            .find(|len| !(1..=LONGEST_KEY).contains(len))
        {
            Some(len) => Err(ConfigError::Key {
                len,
                limit: LONGEST_KEY,
            }),
            None => Ok(()),
        }
    }

    /// The octet that counts the extensions.
    pub(super) const fn counts(&self) -> u8 {
        match self.suite() {
            None => 0,
            Some(_) => 0x11,
        }
    }

    /// Appends the header extension.
    pub(super) fn put_header(&self, out: &mut Vec<u8>) {
        let Some(suite) = self.suite() else {
            return;
        };
        let id = self.key().0;
        out.push(ExtensionTag::AUTHENTICATION.0);
        // Bound: usize has at most 64 bits.
        put_sdnv(out, 1 + id.len() as u64);
        out.push(suite);
        out.extend_from_slice(id);
    }

    /// Appends the trailer extension, computed over what `out` holds from `start` on.
    ///
    /// It covers its own tag and length, and stands last: there the two readings of the RFC agree.
    pub(super) fn put_trailer(&self, out: &mut Vec<u8>, start: usize) {
        if self.suite().is_none() {
            return;
        }
        out.push(ExtensionTag::AUTHENTICATION.0);
        // Bound: 10 fits.
        put_sdnv(out, VALUE as u64);
        let value = self
            .mac(out.get(start..).unwrap_or_default())
            .map(|mac| mac.finalize().into_bytes());
        match value.as_ref().and_then(|value| value.get(..VALUE)) {
            Some(value) => out.extend_from_slice(value),
            None => out.extend_from_slice(&[0; VALUE]),
        }
    }

    /// Tells whether a received segment is good: it carries our suite and key ID, and a value that verifies.
    ///
    /// With several values each covers what precedes it, and one that verifies is enough.
    pub(super) fn is_good(&self, octets: &[u8], segment: &Segment<'_>) -> bool {
        let Some(suite) = self.suite() else {
            return true;
        };
        let names_key = |extension: Extension<'_>| {
            extension.tag == ExtensionTag::AUTHENTICATION
                && extension.value.split_first() == Some((&suite, self.key().0))
        };
        segment.header.iter().any(names_key) && self.verifies(octets, segment)
    }

    fn verifies(&self, octets: &[u8], segment: &Segment<'_>) -> bool {
        if cfg!(fuzzing) {
            return true;
        }
        let whole = segment.trailer.octets();
        let is_single = segment
            .trailer
            .iter()
            .filter(|one| one.tag == ExtensionTag::AUTHENTICATION)
            .count()
            == 1;
        let mut behind = whole.len();
        for extension in segment.trailer.iter() {
            let head = 1 + sdnv_len(extension.value.len() as u64);
            let end = octets.len() - behind + head;
            behind = behind.saturating_sub(head + extension.value.len());
            if extension.tag != ExtensionTag::AUTHENTICATION {
                continue;
            }
            // Alone, it covers the trailers behind it too: everything but the value, to the letter.
            let rest = octets.len() - behind;
            let tail = octets.get(rest..).filter(|_| is_single).unwrap_or_default();
            if self.is_mac(octets.get(..end).unwrap_or_default(), tail, extension.value) {
                return true;
            }
        }
        false
    }

    fn is_mac(&self, covered: &[u8], tail: &[u8], value: &[u8]) -> bool {
        let Some(mut mac) = self.mac(covered) else {
            return false;
        };
        mac.update(tail);
        // Constant time; the length is public.
        value.len() == VALUE && mac.verify_truncated_left(value).is_ok()
    }

    fn mac(&self, covered: &[u8]) -> Option<Hmac<Sha1>> {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.key().1).ok()?;
        mac.update(covered);
        Some(mac)
    }
}
