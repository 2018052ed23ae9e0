//! HMAC and XTEA: what needs a key.
//!
//! Neither protects from replays: a packet that was valid once is valid again.

mod xtea;

use alloc::vec::Vec;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use super::config::Config;
use super::wire::{HMAC_LEN, Packet, Version};

/// Octets of a key.
const KEY_LEN: usize = 16;

/// A key for HMAC or XTEA. `Debug` hides it.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("SharedKey")]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SharedKey(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] [u8; KEY_LEN]);

impl SharedKey {
    /// Makes the key of a passphrase as libcsp does: the first 16 octets of its SHA-1.
    #[must_use]
    pub fn from_passphrase(passphrase: &[u8]) -> Self {
        let digest = Sha1::digest(passphrase);
        let mut key = [0; KEY_LEN];
        for (octet, from) in key.iter_mut().zip(digest) {
            *octet = from;
        }
        Self(key)
    }

    /// Makes a key of its octets.
    #[must_use]
    pub const fn new(octets: [u8; KEY_LEN]) -> Self {
        Self(octets)
    }
}

/// Why the trailer of HMAC was not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HmacFault {
    NoKey,
    Wrong,
}

/// The keys of a node, prepared for use.
#[derive(Debug)]
pub(super) struct Security {
    hmac: Option<Hmac<Sha1>>,
    xtea: Option<xtea::Key>,
}

impl Security {
    pub(super) fn new(config: &Config) -> Self {
        let hmac = config.hmac_key.as_ref();
        // Of a key of 16 octets one can always be made.
        let hmac = hmac.and_then(|SharedKey(key)| Hmac::new_from_slice(key).ok());
        let is_v1 = config.version == Version::V1;
        let xtea = config.xtea_key.as_ref().filter(|_| is_v1);
        Self {
            hmac,
            xtea: xtea.map(|SharedKey(key)| xtea::Key::new(*key)),
        }
    }

    /// Returns the HMAC trailer behind these pieces, if there is a key.
    pub(super) fn hmac(&self, pieces: &[&[u8]]) -> Option<[u8; HMAC_LEN]> {
        let mut mac = self.hmac.clone()?;
        for piece in pieces {
            mac.update(piece);
        }
        let value = mac.finalize().into_bytes();
        value.first_chunk().copied()
    }

    /// Removes the HMAC trailer. Its value is compared in constant time.
    pub(super) fn split_hmac<'a>(&self, packet: Packet<'a>) -> Result<Packet<'a>, HmacFault> {
        let mac = self.hmac.clone().ok_or(HmacFault::NoKey)?;
        let parts = packet.data.split_last_chunk::<HMAC_LEN>();
        let (data, trailer) = parts.ok_or(HmacFault::Wrong)?;
        let mac = mac.chain_update(data);
        let verdict = mac.verify_truncated_left(trailer);
        verdict.map_err(|_| HmacFault::Wrong)?;
        Ok(Packet { data, ..packet })
    }

    /// Tells whether packets with XTEA can be read.
    pub(super) const fn has_xtea(&self) -> bool {
        self.xtea.is_some()
    }

    /// Decrypts data with their trailer into `out`. Returns false if they are shorter than it.
    pub(super) fn decrypt(&self, data: &[u8], out: &mut Vec<u8>) -> bool {
        self.xtea.as_ref().is_some_and(|key| key.decrypt(data, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csp::wire::Header;

    fn security(passphrase: &[u8]) -> Security {
        Security::new(&Config {
            hmac_key: Some(SharedKey::from_passphrase(passphrase)),
            ..Config::default()
        })
    }

    #[test]
    fn an_hmac_is_that_of_all_pieces_in_order() {
        let security = security(b"interop-key");
        let one = security.hmac(&[b"some ", b"", b"data"]);

        assert_eq!(one, security.hmac(&[b"some data"]));
        assert_ne!(one, security.hmac(&[b"data", b"some "]));
        assert_ne!(one, self::security(b"another key").hmac(&[b"some data"]));
    }

    #[test]
    fn a_packet_with_any_bit_changed_is_refused() {
        let security = security(b"key");
        let trailer = security.hmac(&[b"data"]).unwrap();
        let good = [&b"data"[..], &trailer].concat();
        let header = Header::default();
        let split = |data: &[u8]| {
            let rest = security.split_hmac(Packet { header, data })?;
            Ok::<_, HmacFault>(rest.data.len())
        };

        assert_eq!(split(&good), Ok(4));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(split(&bad), Err(HmacFault::Wrong), "bit {bit}");
        }
        for len in 0..4 {
            assert_eq!(split(&good[..len]), Err(HmacFault::Wrong));
        }
    }

    #[test]
    fn no_key_shows_in_debug() {
        let key = SharedKey::new(*b"a secret of mine");
        assert_eq!(alloc::format!("{key:?}"), "SharedKey");
    }
}
