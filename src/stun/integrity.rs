//! What proves that a message is whole and whose it is: FINGERPRINT, both integrity attributes, their keys
//! (RFC 8489 sections 9, 14.5 to 14.7).

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use hmac::digest::Output;
use hmac::{Hmac, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;

use super::attribute::AttributeType;
use super::wire::HEADER_LEN;

/// Octets of MESSAGE-INTEGRITY.
pub(super) const SHA1_LEN: usize = 20;
/// Octets of MESSAGE-INTEGRITY-SHA256 that is not truncated.
pub(super) const SHA256_LEN: usize = 32;
/// Octets that MESSAGE-INTEGRITY-SHA256 has at least (RFC 8489 section 14.6).
const MIN_SHA256_LEN: usize = 16;
/// What tells the CRC of a FINGERPRINT from that of another protocol: "STUN" in ASCII.
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// CRC-32 of ITU V.42.
static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Returns the value of a FINGERPRINT behind these octets, whose length field counts it.
pub(super) fn fingerprint(before: &[u8]) -> u32 {
    CRC32.checksum(before) ^ FINGERPRINT_XOR
}

/// The hash of an integrity attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Integrity {
    /// MESSAGE-INTEGRITY: HMAC-SHA1.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA256.
    Sha256,
}

impl Integrity {
    /// Returns the type of its attribute.
    #[must_use]
    pub const fn attribute_type(self) -> AttributeType {
        match self {
            Self::Sha1 => AttributeType::MESSAGE_INTEGRITY,
            Self::Sha256 => AttributeType::MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// Returns the octets of its value when it is not truncated.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha1 => SHA1_LEN,
            Self::Sha256 => SHA256_LEN,
        }
    }
}

/// Why a message was not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum IntegrityFault {
    /// It has no integrity attribute.
    #[display("the message has no integrity attribute")]
    Missing,
    /// The attribute has a length that is not allowed.
    #[display("the integrity attribute has {_0} octets, which is not allowed")]
    Length(#[error(not(source))] usize),
    /// The value is not that of the key.
    #[display("the integrity attribute is not that of the key")]
    Wrong,
}

/// How a long-term key is made of user name, realm and password (RFC 8489 section 18.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// MD5, the only one before RFC 8489.
    Md5,
    /// SHA-256.
    Sha256,
}

impl KeyAlgorithm {
    /// Returns the number of the algorithm in PASSWORD-ALGORITHM.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }

    /// Returns the algorithm of this number, if it is known.
    #[must_use]
    pub const fn of_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Md5),
            2 => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// A key of integrity attributes, prepared for both. `Debug` hides it.
#[derive(Clone)]
pub struct IntegrityKey {
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
}

impl IntegrityKey {
    /// Makes a key of its octets.
    #[must_use]
    pub fn from_octets(octets: &[u8]) -> Self {
        Self {
            sha1: prepared(octets),
            sha256: prepared(octets),
        }
    }

    /// Makes the short-term key of a password, to which `OpaqueString` of RFC 8265 was applied (RFC 8489 section 9.1.1).
    #[must_use]
    pub fn short_term(password: &[u8]) -> Self {
        Self::from_octets(password)
    }

    /// Makes the long-term key of a user name and a realm as they are on the wire, and of a password to which
    /// `OpaqueString` was applied (RFC 8489 section 9.2.2).
    #[must_use]
    pub fn long_term(
        username: &[u8],
        realm: &[u8],
        password: &[u8],
        algorithm: KeyAlgorithm,
    ) -> Self {
        let parts = [username, b":", realm, b":", password];
        match algorithm {
            KeyAlgorithm::Md5 => Self::from_octets(&digest::<Md5>(&parts)),
            KeyAlgorithm::Sha256 => Self::from_octets(&digest::<Sha256>(&parts)),
        }
    }

    pub(super) fn sha1(&self, signed: &SignedOctets<'_>) -> [u8; SHA1_LEN] {
        signed
            .feed(self.sha1.clone())
            .finalize()
            .into_bytes()
            .into()
    }

    pub(super) fn sha256(&self, signed: &SignedOctets<'_>) -> [u8; SHA256_LEN] {
        let value = signed.feed(self.sha256.clone()).finalize();
        value.into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn verify(
        &self,
        kind: Integrity,
        signed: &SignedOctets<'_>,
        value: &[u8],
        shortest: usize,
    ) -> Result<(), IntegrityFault> {
        let len = value.len();
        let lengths = match kind {
            Integrity::Sha1 => SHA1_LEN..=SHA1_LEN,
            Integrity::Sha256 => shortest.max(MIN_SHA256_LEN)..=SHA256_LEN,
        };
        if !len.is_multiple_of(4) || !lengths.contains(&len) {
            return Err(IntegrityFault::Length(len));
        }
        if cfg!(fuzzing) {
            return Ok(());
        }
        let verified = match kind {
            Integrity::Sha1 => signed.feed(self.sha1.clone()).verify_slice(value),
            Integrity::Sha256 => signed
                .feed(self.sha256.clone())
                .verify_truncated_left(value),
        };
        verified.map_err(|_| IntegrityFault::Wrong)
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

/// HMAC takes keys of any length.
fn prepared<M: hmac::KeyInit>(octets: &[u8]) -> M {
    M::new_from_slice(octets).unwrap_or_else(|_| M::new(&hmac::digest::Key::<M>::default()))
}

fn digest<D: md5::Digest>(parts: &[&[u8]]) -> Output<D> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

/// Returns the value of USERHASH, which hides a user name (RFC 8489 section 14.4).
#[must_use]
pub fn userhash(username: &[u8], realm: &[u8]) -> [u8; 32] {
    digest::<Sha256>(&[username, b":", realm]).into()
}

/// What an integrity attribute covers: the message before it, with a length field that ends behind it.
pub(super) struct SignedOctets<'a> {
    kind: &'a [u8],
    length: [u8; 2],
    rest: &'a [u8],
}

impl<'a> SignedOctets<'a> {
    /// Takes the octets before `offset`, of a message that would end at `length`.
    pub(super) fn new(message: &'a [u8], offset: usize, length: usize) -> Self {
        let before = message.get(..offset).unwrap_or_default();
        let body = u16::try_from(length - HEADER_LEN).unwrap_or(u16::MAX);
        Self {
            kind: before.get(..2).unwrap_or_default(),
            length: body.to_be_bytes(),
            rest: before.get(4..).unwrap_or_default(),
        }
    }

    fn feed<M: hmac::Mac>(&self, mut mac: M) -> M {
        mac.update(self.kind);
        mac.update(&self.length);
        mac.update(self.rest);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_term_key_is_the_digest_of_user_realm_and_password() {
        let key = digest::<Md5>(&[b"user", b":", b"realm", b":", b"pass"]);

        // RFC 8489 section 9.2.2.
        let expected = 0x8493_fbc5_3ba5_82fb_4c04_4c45_6bdc_40eb_u128;
        assert_eq!(key[..], expected.to_be_bytes());
    }

    #[test]
    fn debug_hides_a_key() {
        let key = IntegrityKey::short_term(b"secret");

        assert_eq!(alloc::format!("{key:?}"), "IntegrityKey(..)");
    }
}
