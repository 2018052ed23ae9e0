//! Suite 1, RSA-SHA256: RSASSA-PKCS1-v1_5 (RFC 3447 section 8.2).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha2::{Digest as _, Sha256};

use super::check_len;
use super::keys::MAX_DER;
use crate::ltp::config::ConfigError;

/// The length of a modulus in octets: 1024 to 4096 bits.
const LENS: core::ops::RangeInclusive<usize> = 128..=512;
/// The prefix of a SHA-256 digest (RFC 3447 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A private key. Its arithmetic takes constant time, so no blinding and no randomness is needed.
pub(super) struct Private(RsaPrivateKey);

/// A public key.
pub(super) struct Public(RsaPublicKey);

impl Private {
    /// Reads a key, and checks it with a signature.
    pub(super) fn read(der: &[u8]) -> Result<Self, ConfigError> {
        check_len(der.len(), MAX_DER)?;
        let key = RsaPrivateKey::from_pkcs8_der(der)
            .ok()
            .or_else(|| RsaPrivateKey::from_pkcs1_der(der).ok())
            .filter(|key| LENS.contains(&key.size()))
            .map(Self)
            .ok_or(ConfigError::RsaKey { len: der.len() })?;
        let public = Public(key.0.to_public_key());
        if !public.verifies([b"farlink", &[]], &key.sign(b"farlink")) {
            return Err(ConfigError::RsaKey { len: der.len() });
        }
        Ok(key)
    }

    /// Returns the length of a signature in octets.
    pub(super) fn len(&self) -> usize {
        self.0.size()
    }

    /// Signs the covered octets. A key that was checked does not fail.
    pub(super) fn sign(&self, covered: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(covered);
        self.0.sign(padding(), &digest).unwrap_or_default()
    }
}

impl Public {
    pub(super) fn read(der: &[u8]) -> Result<Self, ConfigError> {
        check_len(der.len(), MAX_DER)?;
        RsaPublicKey::from_public_key_der(der)
            .ok()
            .or_else(|| RsaPublicKey::from_pkcs1_der(der).ok())
            .filter(|key| LENS.contains(&key.size()))
            .map(Self)
            .ok_or(ConfigError::RsaKey { len: der.len() })
    }

    /// Returns the length of a signature in octets.
    pub(super) fn len(&self) -> usize {
        self.0.size()
    }

    pub(super) fn verifies(&self, covered: [&[u8]; 2], value: &[u8]) -> bool {
        let mut digest = Sha256::new();
        for part in covered {
            digest.update(part);
        }
        let digest = digest.finalize();
        self.0.verify(padding(), &digest, value).is_ok()
    }
}

fn padding() -> Pkcs1v15Sign {
    Pkcs1v15Sign {
        hash_len: Some(32),
        prefix: Box::new(DIGEST_INFO),
    }
}
