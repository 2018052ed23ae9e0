//! Hash maps that are never iterated, so their order cannot affect a run.

use foldhash::fast::FixedState;

/// A hash map without a secret: nobody attacks the tables of a simulation.
pub(super) type LookupMap<K, V> = hashbrown::HashMap<K, V, FixedState>;
