//! What makes the machines that a driver runs.

use alloc::sync::Arc;

use crate::{BoxedMachine, Machine};

/// Makes the machines `M` of a driver from `T`: a configuration, a seed and what else the protocol names.
///
/// The default of each protocol makes a bare machine. A factory of one's own puts a machine around it, such as
/// a recorder.
#[derive(derive_more::Debug)]
#[debug("MachineFactory(..)")]
pub struct MachineFactory<M: Machine, T, E>(Arc<Make<M, T, E>>);

type Make<M, T, E> = dyn Fn(T) -> Result<BoxedMachine<M>, E> + Send + Sync;

impl<M: Machine, T, E> MachineFactory<M, T, E> {
    /// Makes machines by calling `make`.
    pub fn new(make: impl Fn(T) -> Result<BoxedMachine<M>, E> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self, from: T) -> Result<BoxedMachine<M>, E> {
        (self.0)(from)
    }
}

impl<M: Machine, T, E> Clone for MachineFactory<M, T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
