//! How a node on numbered interfaces is made.

use alloc::sync::Arc;
use std::io;

use super::MachineFactory;
use super::interfaces::Interfaces;
use super::node::{ClosePort, NODE_LIMITS, NodeRef};
use crate::adapters::runtime::Runtime;
use crate::adapters::{Clock, seed};
use crate::{BoxedMachine, Hop, Limits, Machine, Seed};

/// How a node on numbered interfaces is made and driven. The configuration of a protocol alone will do:
/// `config.into()`.
#[derive(Debug, Clone)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made of a configuration and then changed, field by field"
)]
pub struct InterfaceNodeOptions<C, F> {
    /// The parameters of the protocol, and the limits of what the node holds.
    pub config: C,
    /// Where sequence numbers, source ports and session ids come from. Default: the operating system's generator.
    pub seed: Option<Seed>,
    /// The origin of the node's time, which passes by the clock of its runtime. Default: the moment at which the
    /// options were made.
    pub clock: Clock,
    /// How much one poll may send. Default: 64 packets of any size, 64 KiB in all.
    pub limits: Limits,
    /// Octets that may wait to be taken from a connection, a download or a bound port. From there on, and until half of
    /// them are taken, the node reads nothing, or, of a bound port, drops packets. Default 1 MiB.
    pub receive_octets: usize,
    /// What makes the machine. Default: the node of the protocol.
    pub factory: F,
}

impl<C, F: Default> From<C> for InterfaceNodeOptions<C, F> {
    fn from(config: C) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            limits: NODE_LIMITS,
            receive_octets: 1 << 20,
            factory: F::default(),
        }
    }
}

impl<C, M: Machine<Addr = Hop>, E: From<io::Error>>
    InterfaceNodeOptions<C, MachineFactory<M, (C, Seed), E>>
{
    /// Makes the machine and drives it.
    pub(crate) fn start<P>(
        self,
        runtime: &Arc<dyn Runtime>,
        interfaces: Interfaces,
        port: P,
    ) -> Result<Arc<NodeRef<P>>, E>
    where
        P: ClosePort<Machine = BoxedMachine<M>>,
    {
        let seed = self.seed.map_or_else(seed, Ok)?;
        let machine = self.factory.make((self.config, seed))?;
        let how = (self.clock, self.limits);
        Ok(NodeRef::start(runtime, interfaces, how, port, machine)?)
    }
}
