//! Authentication of segments (RFC 5327 section 2.1): how they are signed, and which are accepted.
//!
//! [`Auth`] is the policy as plain data, a field of [`Peer`](super::Peer). The engine reads its keys once, when the
//! peer is added or changed.

mod cookies;
mod keys;
#[cfg(feature = "ltp-rsa")]
mod rsa;
mod sessions;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

pub(super) use cookies::Cookies;
pub(super) use keys::{Keys, Verification};
pub(super) use sessions::{KeyHash, key_hash, remember_key};

use super::config::ConfigError;

/// The maximum length of a key ID, and of a shared key, in octets.
const MAX_KEY: usize = 256;
/// The maximum number of signatures of one segment. RFC 5327 has two: of the old key and of the new one.
pub(super) const MAX_SIGNERS: usize = 2;
/// The maximum number of keys accepted from one peer.
pub(super) const MAX_VERIFIERS: usize = 8;

/// How the segments of one peer are authenticated: how they are signed, and which are accepted.
///
/// To change a key, first let both ends accept the new one beside the old one, then let both sign with it, then
/// drop the old one. For a peer that accepts a single key, sign with both for a while.
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
    /// The signers of every segment, at most 2: two while keys change. Default none, which adds nothing.
    ///
    /// Of two values each covers everything before it. A peer that verifies only the first one rejects the segment.
    pub send: Vec<Signer>,
    /// The verifiers of received segments, at most 8. One value that verifies is enough. Default none: then every
    /// segment is accepted, and its extension ignored, as RFC 5327 requires of an engine without authentication.
    ///
    /// A segment that names no suite and key is verified with those that its session named before.
    pub accept: Vec<Verifier>,
}

/// How segments are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Signer {
    /// Suite 255, NULL: a checksum in the form of a signature, against accidents. Adds 16 octets.
    Null,
    /// Suite 0, HMAC-SHA1-80. Adds 16 octets and the key ID.
    HmacSha1(Key),
    /// Suite 1, RSA-SHA256, RSASSA-PKCS1-v1_5 (RFC 3447 section 8.2). Adds 7 octets, the key ID and the
    /// modulus: 263 with 2048 bits.
    ///
    /// The same octets always get the same signature. No randomness is used.
    #[cfg(feature = "ltp-rsa")]
    RsaSha256(PrivateKey),
}

/// How segments are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verifier {
    /// Suite 255, NULL: it detects accidents, not forgeries.
    Null,
    /// Suite 0, HMAC-SHA1-80.
    HmacSha1(Key),
    /// Suite 1, RSA-SHA256.
    #[cfg(feature = "ltp-rsa")]
    RsaSha256(PublicKey),
}

/// A shared key.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("Key({})", id.escape_ascii())]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key {
    /// The key ID, by which the peer finds the key: 0 to 256 octets, which the engine does not interpret.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key, 1 to 256 octets. `Debug` hides it.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub secret: Bytes,
}

/// A private RSA key.
#[cfg(feature = "ltp-rsa")]
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("PrivateKey({})", id.escape_ascii())]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PrivateKey {
    /// The key ID, by which the peer finds the public key: 0 to 256 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key of two primes, 1024 to 4096 bits, as DER of PKCS#8 or PKCS#1. `Debug` hides it.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub der: Bytes,
}

/// A public RSA key.
#[cfg(feature = "ltp-rsa")]
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("PublicKey({})", id.escape_ascii())]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PublicKey {
    /// The key ID in segments of the peer: 0 to 256 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub id: Bytes,
    /// The key, 1024 to 4096 bits, as DER of a `SubjectPublicKeyInfo` or of PKCS#1.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub der: Bytes,
}

impl Auth {
    /// No authentication: nothing is added to segments, and extensions are ignored.
    pub const OFF: Self = Self {
        send: Vec::new(),
        accept: Vec::new(),
    };

    /// The NULL suite in both directions, against accidents on lines without a good checksum (RFC 7122 section 3.5.2).
    #[must_use]
    pub fn null() -> Self {
        Self {
            send: vec![Signer::Null],
            accept: vec![Verifier::Null],
        }
    }

    /// One shared key in both directions.
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
        check_len(self.secret.len(), MAX_KEY)?;
        check_id(&self.id)
    }
}

fn check_id(id: &[u8]) -> Result<(), ConfigError> {
    check_len(id.len().max(1), MAX_KEY)
}

const fn check_len(len: usize, limit: usize) -> Result<(), ConfigError> {
    if len == 0 || len > limit {
        return Err(ConfigError::Key { len, limit });
    }
    Ok(())
}
