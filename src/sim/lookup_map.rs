//! Tables that are only looked up, never walked through: their order is nobody's business.

use foldhash::fast::FixedState;

/// A table in which a look costs the same whatever its size. It needs no secret: in a world, nobody attacks
/// the tables.
pub(super) type Lookup<K, V> = hashbrown::HashMap<K, V, FixedState>;
