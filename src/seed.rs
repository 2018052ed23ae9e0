//! The seed, from which machines draw all random numbers.

use core::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// 256 bits from which a machine derives every identifier and every random delay.
///
/// A machine on a network needs a seed from the random generator of the operating system: whoever knows the seed
/// can predict all identifiers. `Debug` therefore hides it. In tests, `Seed::from(7)`.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Seed(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] [u8; 32]);

impl Seed {
    /// Makes a seed of 32 octets, which should come from the random generator of the operating system.
    #[must_use]
    pub const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Returns the octets of the seed.
    #[must_use]
    pub const fn to_octets(&self) -> [u8; 32] {
        self.0
    }

    /// Derives a seed for a machine inside this one.
    ///
    /// Each name gives an independent seed, so that adding an inner machine does not change the identifiers of
    /// the others.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut rng = ChaCha12Rng::from_seed(self.0);
        rng.set_stream(stream_of(name));
        let mut octets = [0; 32];
        rng.fill_bytes(&mut octets);
        Self(octets)
    }

    /// Returns a random generator that starts from this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng(ChaCha12Rng::from_seed(self.0))
    }
}

impl From<u64> for Seed {
    /// Makes a seed of a small number, for tests, simulations and reproducible runs.
    fn from(number: u64) -> Self {
        let mut octets = [0; 32];
        for (to, octet) in octets.iter_mut().zip(number.to_le_bytes()) {
            *to = octet;
        }
        Self(octets)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// FNV-1a over 64 bits. Bit 63 is set, so that no name shares stream 0, which is that of `rng`.
fn stream_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash | 1 << 63
}

/// A random generator whose numbers cannot be predicted without the seed (`ChaCha12`).
#[derive(Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// Returns 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `octets` with random values.
    pub fn fill(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }

    /// Returns a uniformly distributed number below `bound`, or 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers under `bias` would make the small results more likely (Lemire's rejection).
        let bias = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            // The low half of a 128 bit product, and a high half that is below `bound`.
            #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
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
        let mut rng = Seed::from(1).rng();
        let mut seen = [0_u32; 5];

        for _ in 0..1000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }

        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn debug_hides_the_seed() {
        assert_eq!(alloc::format!("{:?}", Seed::from(7)), "Seed(..)");
    }
}
