//! Machines that a factory of the application makes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::{Machine, Seed};

/// A machine of any type that speaks a protocol: the crate's own, or one around it that records.
pub type BoxedMachine<A, C, E, R> =
    Box<dyn Machine<Addr = A, Command = C, Event = E, Error = R> + Send>;

/// Makes the machines of a protocol out of a configuration `C`, a seed and the addresses `A` of its socket.
///
/// The default makes the crate's own machine. Another one wraps it, in a recorder for example.
pub struct MachineFactory<C, A, M, R>(Arc<Make<C, A, M, R>>);

type Make<C, A, M, R> = dyn Fn(C, &Seed, A) -> Result<M, R> + Send + Sync;

impl<C, A, M, R> MachineFactory<C, A, M, R> {
    /// Makes machines by `make`, whose error refuses the configuration.
    pub fn new(make: impl Fn(C, &Seed, A) -> Result<M, R> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self, config: C, seed: &Seed, addresses: A) -> Result<M, R> {
        (self.0)(config, seed, addresses)
    }
}

impl<C, A, M, R> Clone for MachineFactory<C, A, M, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C, A, M, R> fmt::Debug for MachineFactory<C, A, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineFactory(..)")
    }
}
