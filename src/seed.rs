//! The only source of chance: a seed that the embedder gives.

use core::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// 256 bits from which a machine derives every id and every jitter.
///
/// Give a machine that meets strangers a seed from the operating system's generator: whoever knows the
/// seed knows all ids to come. `Debug` therefore hides it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Seed(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] [u8; 32]);

impl Seed {
    /// Takes 32 octets, best from the operating system's generator.
    #[must_use]
    pub const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Returns the octets, for a recording.
    #[must_use]
    pub const fn to_octets(&self) -> [u8; 32] {
        self.0
    }

    /// Derives the seed of an owned machine.
    ///
    /// Each name opens a stream of its own, so adding a part never moves the ids of the others.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut rng = ChaCha12Rng::from_seed(self.0);
        rng.set_stream(stream_of(name));
        let mut octets = [0; 32];
        rng.fill_bytes(&mut octets);
        Self(octets)
    }

    /// Starts the generator of this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng(ChaCha12Rng::from_seed(self.0))
    }
}

impl From<u64> for Seed {
    /// Spreads a small number over the seed: for tests, simulations and reproducible runs.
    fn from(number: u64) -> Self {
        let mut octets = [0; 32];
        for (place, octet) in octets.iter_mut().zip(number.to_le_bytes()) {
            *place = octet;
        }
        Self(octets)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// FNV-1a over 64 bits. Bit 63 is set, so that no name shares the stream of `chance`, which is 0.
fn stream_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash | 1 << 63
}

/// A stream of numbers that nobody can foretell without the seed (`ChaCha12`).
#[derive(Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// Returns 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `octets` with random ones.
    pub fn fill(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }

    /// Returns a number below `bound`, each as likely as the others; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers under `bias` would make the small results more likely (Lemire's rejection).
        let bias = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            // Bound: the low half of a 128 bit product, and a high half below `bound`.
            #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
            let (high, low) = ((wide >> 64) as u64, wide as u64);
            if low >= bias {
                return high;
            }
        }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers() {
        let mut one = Seed::from(7).rng();
        let mut other = Seed::from(7).rng();

        assert_eq!(one.next_u64(), other.next_u64());
    }

    #[test]
    fn children_differ_from_each_other_and_from_the_parent() {
        let seed = Seed::from(7);

        assert_ne!(seed.child("stun"), seed.child("turn"));
        assert_ne!(seed.child("stun").rng().next_u64(), seed.rng().next_u64());
        assert_eq!(seed.child("stun"), seed.child("stun"));
    }

    #[test]
    fn a_bounded_number_stays_below_its_bound_and_reaches_every_value() {
        let mut chance = Seed::from(1).rng();
        let mut seen = [0_u32; 5];

        for _ in 0..1000 {
            seen[usize::try_from(chance.below(5)).unwrap()] += 1;
        }

        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }

    #[test]
    fn debug_hides_the_seed() {
        assert_eq!(alloc::format!("{:?}", Seed::from(7)), "Seed(..)");
    }
}
