//! What the nodes of protocols have in common: a table of sockets below them, and an end with their last handle.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::MachineFactory;
use super::event_loop::{AddrOf, CommandOf, Core, ErrorOf, Port};
use super::interfaces::Interfaces;
use super::shared::{Closed, Shared};
use super::sockets::{Means, SocketCounters, SocketSet};
use super::table::Opener;
use super::waiters::WaitStatus;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::threads;
use crate::adapters::runtime::Runtime;
use crate::adapters::udp::UdpStats;
use crate::adapters::{Clock, seed};
use crate::{BoxedMachine, Hop, Limits, Machine, Seed};

/// How long a node that ends waits for a socket that is full.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);

/// Octets of a UDP datagram at most.
const LONGEST: usize = 65_507;

/// How much one poll of a node may send by default: 64 datagrams of any length, and 64 KiB.
pub(crate) const NODE_LIMITS: Limits = Limits::new(LONGEST, 64, 1 << 16);

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

/// The port of a node.
pub(crate) trait ClosePort: Port {
    /// Why a handle cannot do something.
    type Error: From<Closed> + From<ErrorOf<Self>>;
    /// Where the end of the node is waited for.
    const END: Self::Line;

    /// Tells whether the node ends, so that it takes no commands.
    fn is_closing(&self) -> bool {
        false
    }

    /// Begins to end the node. It has no handle any more, or nobody waits for more than its end.
    fn close(core: &mut Core<Self>);
}

impl<P: ClosePort> Core<P> {
    /// Gives the machine a command, unless the node ends.
    pub(crate) fn command(&mut self, command: CommandOf<P>) -> Result<(), P::Error> {
        if self.is_over() || self.port.is_closing() {
            return Err(Closed.into());
        }
        Ok(self.give(command)?)
    }

    /// Is ready with what was found, or once the node has ended.
    pub(crate) fn found<T>(&self, found: Option<T>) -> Poll<Result<T, P::Error>> {
        match found {
            Some(found) => Poll::Ready(Ok(found)),
            None if self.is_over() => Poll::Ready(Err(Closed.into())),
            None => Poll::Pending,
        }
    }
}

/// A node, which ends when this is dropped.
#[derive(derive_more::Debug)]
#[debug("..")]
pub(crate) struct NodeRef<P: ClosePort> {
    pub(crate) shared: Arc<Shared<P>>,
    counters: Arc<SocketCounters>,
}

impl<P: ClosePort> NodeRef<P> {
    /// Drives `machine` on `sockets`.
    ///
    /// # Errors
    ///
    /// A socket cannot be watched.
    pub(crate) fn start(
        runtime: &Arc<dyn Runtime>,
        sockets: SocketSet<AddrOf<P>>,
        (clock, limits): (Clock, Limits),
        port: P,
        machine: P::Machine,
    ) -> io::Result<Arc<Self>>
    where
        Means: Opener<AddrOf<P>>,
    {
        let counters = sockets.counters();
        let carrier = Box::new(sockets.into_table(runtime, FLUSH_LIMIT)?);
        let shared = Shared::start(runtime, clock, limits, port, machine, carrier);
        Ok(Arc::new(Self { shared, counters }))
    }

    /// Acts under the lock.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&mut Core<P>) -> Result<T, P::Error>,
    ) -> Result<T, P::Error> {
        self.shared.with(act)?
    }

    /// Acts under the lock on what can be done without: after a panic nothing is kept.
    pub(crate) fn with_or_default<T: Default>(&self, act: impl FnOnce(&mut Core<P>) -> T) -> T {
        self.shared.with(act).unwrap_or_default()
    }

    pub(crate) fn command(&self, command: CommandOf<P>) -> Result<(), P::Error> {
        self.with(|core| core.command(command))
    }

    /// Waits in `line` until `look` is ready; see [`Shared::until`].
    pub(crate) async fn until<T>(
        &self,
        line: P::Line,
        look: impl FnMut(&mut Core<P>, WaitStatus) -> Poll<Result<T, P::Error>>,
    ) -> Result<T, P::Error> {
        self.shared.until(line, look).await?
    }

    /// Returns what was counted of the sockets.
    pub(crate) fn udp_stats(&self) -> UdpStats {
        self.counters.stats().udp
    }

    /// Closes the node, and waits until its sockets are closed.
    pub(crate) async fn shutdown(&self) {
        self.with_or_default(P::close);
        self.ended().await;
    }

    /// Waits until the sockets are closed.
    pub(crate) async fn ended(&self) {
        let ended = |core: &mut Core<P>, _| {
            let ended = core.is_ended().then_some(());
            ended.map_or(Poll::Pending, Poll::Ready)
        };
        // After a panic they are closed too.
        let _ = self.shared.until(P::END, ended).await;
    }
}

impl<P: ClosePort> Drop for NodeRef<P> {
    fn drop(&mut self) {
        self.with_or_default(P::close);
        #[cfg(feature = "blocking")]
        if self.shared.runtime().callers_drive() && !threads::is_driver_thread() {
            // The sockets are free again when the last handle is gone.
            threads::block_on(self.ended());
        }
    }
}

/// Acts when it is dropped, with a future for example.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
