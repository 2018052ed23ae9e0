//! The CRC-32C of a payload whose octets come in any order.

use crate::csp::crc32;

/// The polynomial of CRC-32C, the coefficient of the highest power first in the lowest bit.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;
/// Numbers of octets have at most 32 bits.
const BITS: usize = 32;
/// x to the power of 8, 16, 32, 64, ..: as many bits as 1, 2, 4, 8, .. octets have.
const POWERS: [u32; BITS] = {
    let mut powers = [ONE >> 8; BITS];
    let mut rest: &mut [u32] = &mut powers;
    let mut power = ONE >> 8;
    while let [first, others @ ..] = rest {
        *first = power;
        power = product(power, power);
        rest = others;
    }
    powers
};

/// The CRC-32C of a payload of known size, of which each octet is added once, in any order.
///
/// ```
/// use farlink::csp::crc32;
/// use farlink::dtp::PayloadDigest;
///
/// let mut digest = PayloadDigest::new(9);
/// digest.add(4, b"56789");
/// digest.add(0, b"1234");
/// assert_eq!(digest.crc32c(), crc32(&[b"123456789"]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadDigest {
    size: u32,
    sum: u32,
}

impl PayloadDigest {
    /// Begins with a payload of so many octets.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self { size, sum: 0 }
    }

    /// Adds octets. Those past the end of the payload are ignored.
    pub fn add(&mut self, offset: u32, octets: &[u8]) {
        let Some(room) = self.size.checked_sub(offset) else {
            return;
        };
        let len = octets
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        let octets = octets.get(..len).unwrap_or_default();
        // Bound: at most `room`.
        let behind = room - u32::try_from(len).unwrap_or(room);
        self.sum ^= shifted(crc32(&[octets]), behind);
    }

    /// Returns the CRC-32C of the payload, once all octets were added.
    #[must_use]
    pub const fn crc32c(&self) -> u32 {
        self.sum
    }

    /// Returns a digest that goes on from what [`crc32c`](Self::crc32c) returned of another.
    pub(super) const fn of(size: u32, sum: u32) -> Self {
        Self { size, sum }
    }
}

/// Returns the part that octets of a CRC have in the CRC of these and `octets` more.
fn shifted(crc: u32, octets: u32) -> u32 {
    let bits = (0..).zip(POWERS).filter(|(bit, _)| octets >> bit & 1 == 1);
    bits.fold(crc, |crc, (_, power)| product(crc, power))
}

/// Returns the product of two polynomials modulo that of CRC-32C.
const fn product(mut one: u32, other: u32) -> u32 {
    let (mut sum, mut bit) = (0, ONE);
    while bit > 0 {
        if other & bit != 0 {
            sum ^= one;
        }
        let is_high = one & 1 == 1;
        one >>= 1;
        if is_high {
            one ^= POLYNOMIAL;
        }
        bit >>= 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::Seed;

    #[test]
    fn pieces_in_any_order_give_the_sum_of_the_whole() {
        let mut octets = [0; 10_000];
        let mut rng = Seed::from(1).rng();
        rng.fill(&mut octets);
        for piece in [1, 7, 200, 1024, 9999, 10_000] {
            let mut pieces: Vec<(usize, &[u8])> = octets.chunks(piece).enumerate().collect();
            for last in (1..pieces.len()).rev() {
                let other = usize::try_from(rng.below(last as u64 + 1)).unwrap();
                pieces.swap(last, other);
            }
            let mut digest = PayloadDigest::new(10_000);
            for (place, octets) in pieces {
                digest.add(u32::try_from(place * piece).unwrap(), octets);
            }

            assert_eq!(digest.crc32c(), crc32(&[&octets]), "{piece}");
        }
    }

    #[test]
    fn an_empty_payload_has_the_sum_0_and_octets_past_the_end_count_not() {
        let mut digest = PayloadDigest::new(0);
        digest.add(0, b"x");
        digest.add(9, b"x");
        assert_eq!(digest.crc32c(), crc32(&[]));

        let mut digest = PayloadDigest::new(2);
        digest.add(0, b"abc");
        assert_eq!(digest.crc32c(), crc32(&[b"ab"]));
    }
}
