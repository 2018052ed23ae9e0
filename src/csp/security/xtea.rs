//! XTEA as libcsp 1.x uses it: as a stream cipher over a counter.
//!
//! The key stream of the first two blocks is the same, a weakness of libcsp. So this decrypts alone.

use alloc::vec::Vec;

use super::KEY_LEN;
use crate::csp::wire::XTEA_LEN;

/// What is added in each of the rounds.
const DELTA: u32 = 0x9E37_79B9;
/// Rounds, each of both halves of a block.
const ROUNDS: u32 = 32;
/// Octets of a block.
const BLOCK: usize = 8;

/// A key of four words, from octets in little-endian order.
pub(super) struct Key([u32; 4]);

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(super) fn new(octets: [u8; KEY_LEN]) -> Self {
        let (words, _) = octets.as_chunks::<4>();
        let mut key = [0; 4];
        for (place, word) in key.iter_mut().zip(words) {
            *place = u32::from_le_bytes(*word);
        }
        Self(key)
    }

    /// Decrypts data with the nonce behind them into `out`. Returns false if they are shorter than it.
    pub(super) fn decrypt(&self, data: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((data, nonce)) = data.split_last_chunk::<XTEA_LEN>() else {
            return false;
        };
        out.clear();
        // libcsp increases the counter after it has stored it: two blocks have the first one.
        let counters = core::iter::once(1).chain(1_u32..);
        for (block, counter) in data.chunks(BLOCK).zip(counters) {
            let stream = self.key_stream(*nonce, counter);
            out.extend(block.iter().zip(stream).map(|(octet, key)| octet ^ key));
        }
        true
    }

    fn key_stream(&self, nonce: [u8; 4], counter: u32) -> [u8; BLOCK] {
        let words = [
            u32::from_le_bytes(nonce),
            u32::from_le_bytes(counter.to_be_bytes()),
        ];
        let [low, high] = self.encrypt(words).map(u64::from);
        (high << 32 | low).to_le_bytes()
    }

    fn encrypt(&self, [mut low, mut high]: [u32; 2]) -> [u32; 2] {
        let mix = |half: u32| (half << 4 ^ half >> 5).wrapping_add(half);
        let Self([k0, k1, k2, k3]) = *self;
        let word = |select: u32| match select & 3 {
            0 => k0,
            1 => k1,
            2 => k2,
            _ => k3,
        };
        let mut sum: u32 = 0;
        for _ in 0..ROUNDS {
            low = low.wrapping_add(mix(high) ^ sum.wrapping_add(word(sum)));
            sum = sum.wrapping_add(DELTA);
            high = high.wrapping_add(mix(low) ^ sum.wrapping_add(word(sum >> 11)));
        }
        [low, high]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published vectors, which the test suites of `PolarSSL` have too, as big-endian words. What libcsp makes of it is
    /// tested by its own octets in `tests/csp/security.rs`.
    #[test]
    fn a_block_is_encrypted_as_xtea() {
        let key = Key([0x0001_0203, 0x0405_0607, 0x0809_0A0B, 0x0C0D_0E0F]);
        assert_eq!(
            key.encrypt([0x4142_4344, 0x4546_4748]),
            [0x497D_F3D0, 0x7261_2CB5]
        );
        assert_eq!(
            key.encrypt([0x4141_4141, 0x4141_4141]),
            [0xE78F_2D13, 0x7443_41D8]
        );
        let zero = Key([0; 4]);
        assert_eq!(
            zero.encrypt([0x4142_4344, 0x4546_4748]),
            [0xA039_0589, 0xF8B8_EFA5]
        );
    }

    #[test]
    fn the_key_stream_of_the_first_two_blocks_is_the_same() {
        let key = Key::new(*b"0123456789abcdef");
        let mut out = Vec::new();
        assert!(key.decrypt(&[0; 28], &mut out));

        assert_eq!(out.len(), 24);
        assert_eq!(out[..8], out[8..16]);
        assert_ne!(out[..8], out[16..]);
        assert_eq!(out[..8], key.key_stream([0; 4], 1));
        assert_eq!(out[16..], key.key_stream([0; 4], 2));
    }

    #[test]
    fn data_shorter_than_the_nonce_are_refused() {
        let key = Key::new([0; 16]);
        let mut out = Vec::new();
        assert!(!key.decrypt(&[1, 2, 3], &mut out));
        assert!(key.decrypt(&[1, 2, 3, 4], &mut out));
        assert!(out.is_empty());
    }
}
