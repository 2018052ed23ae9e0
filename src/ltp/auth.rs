//! Authentication of segments (RFC 5327 section 2.1): what is sent to a peer, and what is accepted.
//!
//! [`Auth`] is the policy as plain data, a field of [`Peer`](super::Peer). The engine reads the keys once, when
//! the peer is added or changed, and keeps them beside it.

mod keys;
#[cfg(feature = "ltp-rsa")]
mod rsa;
mod sessions;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub(super) use keys::{Keys, Verification};
pub(super) use sessions::KeyHash;

use super::config::ConfigError;

/// Octets of the longest key ID, and of the longest shared key.
const MAX_KEY: usize = 256;
/// Signatures under one segment: the RFC knows of two, the old key's and the new one's.
pub(super) const MAX_SIGNERS: usize = 2;
/// Keys accepted from one peer.
pub(super) const MAX_VERIFIERS: usize = 8;

/// How the segments of one peer are authenticated: what is sent to it, and what is accepted from it.
///
/// To change a key, first let both ends accept the new one beside the old one, then let both send with it,
/// then drop the old one. A peer that accepts one key only is sent both for a while.
///
/// ```
/// use farlink::ltp::{Auth, Key, Signer, Verifier};
///
/// let old = Key { id: "1".into(), secret: "a secret".into() };
/// let new = Key { id: "2".into(), secret: "another".into() };
/// let auth = Auth {
///     send: vec![Signer::HmacSha1(new.clone())],
///     accept: vec![Verifier::HmacSha1(old), Verifier::HmacSha1(new)],
/// };
/// # assert!(!format!("{auth:?}").contains("secret"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Auth {
    /// What signs every segment, at most 2: one, or two while keys change. Default none, nothing is added.
    ///
    /// Of two values each covers all that precedes it; a peer that looks at the first one alone sees no good
    /// value.
    pub send: Vec<Signer>,
    /// What segments are accepted by, at most 8: one value that verifies is enough. Default none, and then
    /// every segment is accepted and the extension ignored, as the RFC asks of an engine without it.
    ///
    /// A segment that names neither suite nor key is taken to mean those that its session named before.
    pub accept: Vec<Verifier>,
}

/// What signs segments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Signer {
    /// Suite 255: a checksum in the shape of a signature, against accidents. Adds 16 octets.
    Null,
    /// Suite 0, HMAC-SHA1-80. Adds 16 octets and the key ID.
    HmacSha1(Key),
    /// Suite 1, RSA-SHA256, RSASSA-PKCS1-v1_5 (RFC 3447 section 8.2). Adds 7 octets, the key ID and the
    /// modulus: 263 with 2048 bits.
    ///
    /// The same octets always get the same signature; no randomness is taken.
    #[cfg(feature = "ltp-rsa")]
    RsaSha256(PrivateKey),
}

/// What segments are accepted by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verifier {
    /// Suite 255: finds accidents, not forgers.
    Null,
    /// Suite 0, HMAC-SHA1-80.
    HmacSha1(Key),
    /// Suite 1, RSA-SHA256.
    #[cfg(feature = "ltp-rsa")]
    RsaSha256(PublicKey),
}

/// A shared key, and its name.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key {
    /// What the peer finds the key by, 0 to 256 octets; they mean nothing to the engine.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key, 1 to 256 octets. `Debug` hides it.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub secret: Bytes,
}

/// A private RSA key, and the name of its public half.
#[cfg(feature = "ltp-rsa")]
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PrivateKey {
    /// What the peer finds the public key by, 0 to 256 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key of two primes, 1024 to 4096 bits, as DER of PKCS#8 or PKCS#1. `Debug` hides it.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub der: Bytes,
}

/// A public RSA key, and its name.
#[cfg(feature = "ltp-rsa")]
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PublicKey {
    /// What the peer names the key by, 0 to 256 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key, 1024 to 4096 bits, as DER of a `SubjectPublicKeyInfo` or of PKCS#1.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub der: Bytes,
}

impl Auth {
    /// Nothing is sent, and what comes is ignored.
    pub const OFF: Self = Self {
        send: Vec::new(),
        accept: Vec::new(),
    };

    /// The NULL suite both ways: against accidents on lines without a good checksum (RFC 7122 section 3.5.2).
    #[must_use]
    pub fn null() -> Self {
        Self {
            send: vec![Signer::Null],
            accept: vec![Verifier::Null],
        }
    }

    /// One shared key both ways.
    #[must_use]
    pub fn hmac_sha1(key: Key) -> Self {
        Self {
            send: vec![Signer::HmacSha1(key.clone())],
            accept: vec![Verifier::HmacSha1(key)],
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (count, limit) in [
            (self.send.len(), MAX_SIGNERS),
            (self.accept.len(), MAX_VERIFIERS),
        ] {
            if count > limit {
                return Err(ConfigError::Keys { count, limit });
            }
        }
        Ok(())
    }
}

impl Key {
    fn check(&self) -> Result<(), ConfigError> {
        check_len(self.secret.len())?;
        check_id(&self.id)
    }
}

fn check_id(id: &[u8]) -> Result<(), ConfigError> {
    check_len(id.len().max(1))
}

const fn check_len(len: usize) -> Result<(), ConfigError> {
    if len == 0 || len > MAX_KEY {
        return Err(ConfigError::Key {
            len,
            limit: MAX_KEY,
        });
    }
    Ok(())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id.escape_ascii())
    }
}

#[cfg(feature = "ltp-rsa")]
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.id.escape_ascii())
    }
}

#[cfg(feature = "ltp-rsa")]
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id.escape_ascii())
    }
}
