//! Tables that are only looked up, never walked through: their order is nobody's business.

use core::hash::{BuildHasherDefault, Hasher};

/// A table in which a look costs the same whatever its size.
pub(super) type Lookup<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<Fold>>;

/// Folds octets by the two halves of a product, as wyhash does. It needs no secret: in a world, nobody
/// attacks the tables.
#[derive(Debug)]
pub(super) struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0x2438_6f4c_0d56_a1e3)
    }
}

impl Fold {
    fn fold(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
        let (high, low) = ((product >> 64) as u64, product as u64);
        self.0 = high ^ low;
    }
}

impl Hasher for Fold {
    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut number = [0; 8];
            for (place, octet) in number.iter_mut().zip(chunk) {
                *place = *octet;
            }
            self.fold(u64::from_le_bytes(number));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn finish(&self) -> u64 {
        // What was folded last has to reach all bits.
        let mut last = Self(self.0);
        last.fold(0x2545_f491_4f6c_dd1d);
        last.0
    }
}

#[cfg(test)]
mod tests {
    use core::hash::{BuildHasher as _, Hash};
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn collisions<T: Hash>(values: impl Iterator<Item = T>) -> usize {
        let lookup = Lookup::<u32, ()>::default();
        let mut taken = [false; 1 << 14];
        let hits = values.filter(|value| {
            let hash = lookup.hasher().hash_one(value);
            core::mem::replace(&mut taken[usize::try_from(hash % (1 << 14)).unwrap()], true)
        });
        hits.count()
    }

    #[test]
    fn numbers_in_a_row_spread_like_chance() {
        // With 16,384 places of which 8,192 are drawn at random, 1,747 draws hit one that is taken.
        let expected = 1500..2000;

        assert!(expected.contains(&collisions(0..8192_u32)));
        assert!(expected.contains(&collisions((0..8192_u64).map(|n| n << 40))));
        let addresses = (0..8192).map(|n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)));
        assert!(expected.contains(&collisions(addresses)));
    }
}
