//! What the nodes of protocols have in common: a table of sockets below them, and an end with their last handle.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::event_loop::{AddrOf, CommandOf, Core, ErrorOf, Port};
use super::shared::{Closed, Shared};
use super::sockets::{Means, SocketCounters, SocketSet};
use super::table::Opener;
use super::waiters::WaitStatus;
use crate::Limits;
use crate::adapters::Clock;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::threads;
use crate::adapters::runtime::Runtime;
use crate::adapters::udp::UdpStats;

/// How long a node that ends waits for a socket that is full.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);

/// Octets of a UDP datagram at most.
const LONGEST: usize = 65_507;

/// How much one poll of a node may send by default: 64 datagrams of any length, and 64 KiB.
pub(crate) const NODE_LIMITS: Limits = Limits::new(LONGEST, 64, 1 << 16);

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
