//! Hash tables that are equal in every run and that no peer can fill with collisions.

use core::hash::{BuildHasher, Hasher};

/// A hash table under a key drawn from the seed. It is never iterated where order shows.
pub(super) type Table<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Makes hashers that nobody can foretell without the seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed(pub(super) u64);

impl BuildHasher for Keyed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

/// Folds numbers by the two halves of a product, as wyhash does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
        let (high, low) = ((product >> 64) as u64, product as u64);
        self.0 = (high ^ low).rotate_left(23).wrapping_add(number);
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u64(u64::from(*octet));
        }
    }

    fn finish(&self) -> u64 {
        let mut last = *self;
        last.write_u64(0xE703_7ED1_A0B4_28DB);
        last.0
    }
}
