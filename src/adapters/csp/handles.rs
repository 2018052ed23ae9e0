//! The handles of CSP nodes: [`Node`], [`Connection`] and [`BoundPort`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;

use bytes::Bytes;

use super::port::{CspCore, Line, NodePort};
use super::state::NodeState;
use super::{AskedService, CspOptions, CspStats, Error, NodeAnswer, ReceivedPacket};
use crate::Tag;
use crate::adapters::Closed;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::{csp as blocking, threads};
use crate::adapters::driver::Shared;
#[cfg(feature = "dtp")]
use crate::adapters::dtp;
use crate::adapters::interfaces::Interfaces;
use crate::adapters::runtime::Runtime;
use crate::adapters::seed;
use crate::adapters::sockets::SocketCounters;
use crate::csp::carriers::FrameStats;
use crate::csp::{Command, ConnectionId, Endpoint, InterfaceStats, RequestId, Route};
use crate::csp::{SendOptions, ServiceAnswer, ServiceRequest, SocketOptions};

/// How long a node that ends waits for an interface that is full.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);

/// A CSP node on numbered interfaces: a host, and a router between them.
///
/// Clones are the same node. It lives as long as any of them, or a [`Connection`] or [`BoundPort`] of it: then its
/// connections are closed, for 3 s at most, and its interfaces. Should the runtime end before, everything ends with
/// [`Error::Closed`].
#[derive(Debug, Clone)]
pub struct Node(Arc<NodeRef>);

/// Ends the node when it is dropped.
#[derive(derive_more::Debug)]
#[debug("..")]
struct NodeRef {
    shared: SharedNode,
    counters: Arc<SocketCounters>,
}

/// The machine that handles act on.
pub(in crate::adapters) enum SharedNode {
    Csp(Arc<Shared<NodePort>>),
    #[cfg(feature = "dtp")]
    Dtp(Arc<Shared<dtp::NodePort>>),
}

/// A connection to a port of another node. Dropping it closes it once all its packets are acknowledged.
#[derive(Debug)]
pub struct Connection {
    node: Node,
    id: ConnectionId,
    peer: Endpoint,
}

/// A bound port. Dropping it closes the connections that nobody has accepted.
#[derive(Debug)]
pub struct BoundPort {
    node: Node,
    port: u8,
}

/// What is forgotten when its future is dropped.
struct Guard<'a, F: Fn(&mut dyn CspCore)> {
    node: &'a Node,
    forget: F,
}

impl<F: Fn(&mut dyn CspCore)> Drop for Guard<'_, F> {
    fn drop(&mut self) {
        // After a panic nothing is kept.
        let _ = self.node.0.shared.with(|core| (self.forget)(core));
    }
}

#[cfg(feature = "tokio")]
impl Node {
    /// Starts a node on these interfaces, in a task of the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched, or the configuration is refused.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn start(interfaces: Interfaces, options: impl Into<CspOptions>) -> Result<Self, Error> {
        Self::start_on(&crate::adapters::tokio::runtime(), interfaces, options)
    }
}

impl Node {
    /// Starts a node on these interfaces, driven by `runtime`.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched, or the configuration is refused.
    pub fn start_on(
        runtime: &Arc<dyn Runtime>,
        interfaces: Interfaces,
        options: impl Into<CspOptions>,
    ) -> Result<Self, Error> {
        let options = options.into();
        let counters = interfaces.counters();
        let seed = options.seed.map_or_else(seed, Ok)?;
        let machine = options.factory.make((options.config, seed))?;
        let carrier = Box::new(interfaces.into_table(runtime, FLUSH_LIMIT)?);
        let (clock, limits) = (options.clock, options.limits);
        let port = NodePort(NodeState::new(options.receive_octets));
        let shared = Shared::start(runtime, clock, limits, port, machine, carrier);
        Ok(Self::of(SharedNode::Csp(shared), counters))
    }

    /// Makes the first handle of a node.
    pub(in crate::adapters) fn of(shared: SharedNode, counters: Arc<SocketCounters>) -> Self {
        Self(Arc::new(NodeRef { shared, counters }))
    }

    /// Acts under the lock.
    fn with<T>(&self, act: impl FnOnce(&mut dyn CspCore) -> Result<T, Error>) -> Result<T, Error> {
        self.0.shared.with(act)?
    }

    /// Waits until `look` is ready.
    async fn until<T>(
        &self,
        line: Line,
        look: impl FnMut(&mut dyn CspCore) -> Poll<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.0.shared.until(line, look).await?
    }

    /// Waits for all answers to what a command asks.
    async fn ask(&self, make: impl FnOnce(Tag) -> Command) -> Result<Vec<NodeAnswer>, Error> {
        let tag = self.with(|core| core.ask(make))?;
        let forget = |core: &mut dyn CspCore| core.forget_question(tag);
        let _guard = Guard { node: self, forget };
        self.until(Line::Answer(tag), |core| core.answers(tag))
            .await
    }
}

faces! {
    impl Node {
        /// Opens a connection to a port of another node.
        ///
        /// # Errors
        ///
        /// [`Error::NotConnected`] when the peer refuses, or does not answer within the connection timeout. The address
        /// or the options are out of their range, no route leads there, or the limit of connections is reached.
        pub async fn connect[connect_timeout](&self, to: Endpoint, options: SendOptions) -> Result<Connection, Error> as Result<blocking::Connection, Error> {
            let tag = self.with(|core| core.connect(to, options))?;
            let taken = core::cell::Cell::new(false);
            let forget = |core: &mut dyn CspCore| core.forget_opening(tag, taken.get());
            let _guard = Guard { node: self, forget };
            let id = self.until(Line::Open(tag), |core| core.opened(tag)).await?;
            taken.set(true);
            Ok(Connection { node: self.clone(), id, peer: to })
        }

        /// Takes connections and packets at a port.
        ///
        /// # Errors
        ///
        /// The port is above 63, or in use, or HMAC is to be required without a key.
        pub fn bind(&self, port: u8, options: SocketOptions) -> Result<BoundPort, Error> as Result<blocking::BoundPort, Error> {
            self.with(|core| core.bind(port, options))?;
            Ok(BoundPort { node: self.clone(), port })
        }

        /// Asks a node to send a packet of so many octets back, at most 256, and returns how long it took.
        ///
        /// # Errors
        ///
        /// [`Error::Silent`] when no answer came within `timeout`; no route leads there, or the limit of requests is
        /// reached.
        pub async fn ping(&self, destination: u16, octets: u16, timeout: Duration) -> Result<Duration, Error> {
            let answers = self.ping_all(destination, octets, timeout).await?;
            let first = answers.first();
            first.map(|it| it.time).ok_or(Error::Silent { node: destination, after: timeout })
        }

        /// Pings a node, or all nodes by the broadcast address, and returns each answer: of one node the first, of all
        /// nodes those that come within `timeout`.
        ///
        /// # Errors
        ///
        /// As for [`ping`](Self::ping), but silence is none.
        pub async fn ping_all(&self, destination: u16, octets: u16, timeout: Duration) -> Result<Vec<NodeAnswer>, Error> {
            self.ask(|tag| Command::Ping { tag, destination, octets, timeout }).await
        }

        /// Asks a service of a node, or of all nodes by the broadcast address, and returns each answer: of one node the
        /// first, of all nodes, and of a list of processes, those that come within `timeout`. To reboot and shutdown
        /// there are none.
        ///
        /// # Errors
        ///
        /// No route leads there, the request is too long, or the limit of requests is reached.
        pub async fn request(&self, destination: u16, request: ServiceRequest, timeout: Duration) -> Result<Vec<NodeAnswer>, Error> {
            self.ask(|tag| Command::Request { tag, destination, request, timeout }).await
        }

        /// Waits for the next request to a service of
        /// [`Services::by_application`](crate::csp::Services::by_application). The last 64 are kept.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn next_asked[next_asked_timeout](&self) -> Result<AskedService, Error> {
            self.until(Line::Asked, |core| core.next_asked()).await
        }

        /// Answers a request to a service; `None` sends no answer.
        ///
        /// # Errors
        ///
        /// The answer is that to another request, or the time of the request is over.
        pub fn answer(&self, request: RequestId, answer: Option<ServiceAnswer>) -> Result<(), Error> {
            self.with(|core| core.command(Command::Answer { request, answer }))
        }

        /// Sets a route, in place of one of the same address and prefix by the same interface.
        ///
        /// # Errors
        ///
        /// A value is out of its range, or the table is full.
        pub fn set_route(&self, route: Route) -> Result<(), Error> {
            self.with(|core| core.command(Command::SetRoute(route)))
        }

        /// Returns what was counted.
        pub fn stats(&self) -> CspStats {
            let stats = self.with(|core| Ok((core.csp().stats(), core.state().sockets_full)));
            let (csp, sockets_full) = stats.unwrap_or_default();
            CspStats { csp, udp: self.0.counters.stats().udp, sockets_full }
        }

        /// Returns what was counted of packets and of frames on an interface, if there is one of this number.
        pub fn interface_stats(&self, interface: u8) -> Option<(InterfaceStats, FrameStats)> {
            self.with(|core| {
                let machine = core.csp();
                Ok(machine.interface_stats(interface).zip(machine.frame_stats(interface)))
            }).ok()?
        }

        /// Ends the node: connections are closed once their packets are acknowledged, for 3 s at most, and the
        /// interfaces are closed when it returns.
        pub async fn shutdown(&self) -> () {
            self.0.close();
            self.0.ended().await;
        }
    }
}

faces! {
    impl BoundPort {
        /// Waits for the next connection of a peer.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn accept[accept_timeout](&self) -> Result<Connection, Error> as Result<blocking::Connection, Error> {
            let (id, peer) = self.node.until(Line::Socket(self.port), |core| {
                core.accept(self.port).map_ok(|id| (id, core.peer(id).unwrap_or_default()))
            }).await?;
            Ok(Connection { node: self.node.clone(), id, peer })
        }

        /// Waits for the next packet without connection, or whole that came in fragments.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn receive[receive_timeout](&self) -> Result<ReceivedPacket, Error> {
            self.node.until(Line::Socket(self.port), |core| core.next_packet(self.port)).await
        }

        /// Sends a packet from this port, without connection.
        ///
        /// # Errors
        ///
        /// The packet is too long for its options, no route leads there, or too many packets wait.
        pub fn send_to(&self, to: Endpoint, options: SendOptions, data: impl Into<Bytes>) -> Result<(), Error> {
            let (from, data) = (self.port, data.into());
            self.node.with(|core| core.command(Command::SendTo { from, to, options, data }))
        }
    }
}

impl Connection {
    /// Returns the port at the other end.
    #[must_use]
    pub const fn peer(&self) -> Endpoint {
        self.peer
    }
}

faces! {
    impl Connection {
        /// Sends a packet, as soon as there is room for it.
        ///
        /// # Errors
        ///
        /// The packet is empty or too long, or the connection has ended.
        pub async fn send[send_timeout](&self, data: impl Into<Bytes>) -> Result<(), Error> {
            let (connection, data) = (self.id, data.into());
            self.node.until(Line::Connection(connection), |core| {
                core.send(connection, 1, Command::Send { connection, data: data.clone() })
            }).await
        }

        /// Sends octets by SFP in fragments of `mtu` octets, as soon as those before have left.
        ///
        /// # Errors
        ///
        /// There are no octets, or too many, or a fragment is too long, or the connection has ended.
        pub async fn send_fragments[send_fragments_timeout](&self, mtu: u16, data: impl Into<Bytes>) -> Result<(), Error> {
            let (connection, data) = (self.id, data.into());
            let packets = data.len().div_ceil(usize::from(mtu.max(1))) as u64;
            self.node.until(Line::Connection(connection), |core| {
                core.send(connection, packets, Command::SendFragments { connection, mtu, data: data.clone() })
            }).await
        }

        /// Waits for the next packet, or whole that came in fragments; `None` says that either end has closed the
        /// connection.
        ///
        /// # Errors
        ///
        /// [`Error::Ended`] when the connection has ended otherwise.
        pub async fn receive[receive_timeout](&self) -> Result<Option<Bytes>, Error> {
            self.node.until(Line::Connection(self.id), |core| core.receive(self.id)).await
        }

        /// Waits until the peer has acknowledged all that was sent before the call.
        ///
        /// # Errors
        ///
        /// [`Error::Ended`] when the connection has ended before.
        pub async fn acked[acked_timeout](&self) -> Result<(), Error> {
            let sent = self.node.with(|core| Ok(core.sent(self.id)))?;
            self.node.until(Line::Connection(self.id), |core| core.acked(self.id, sent)).await
        }

        /// Closes the connection once all its packets are acknowledged, and waits for that.
        ///
        /// # Errors
        ///
        /// [`Error::Ended`] when the peer has not acknowledged some of them.
        pub async fn close[close_timeout](&self) -> Result<(), Error> {
            self.node.with(|core| { core.close_connection(self.id); Ok(()) })?;
            self.node.until(Line::Connection(self.id), |core| core.closed(self.id)).await
        }
    }
}

impl SharedNode {
    /// Acts under the lock.
    fn with<T>(&self, act: impl FnOnce(&mut dyn CspCore) -> T) -> Result<T, Closed> {
        match self {
            Self::Csp(shared) => shared.with(|core| act(core)),
            #[cfg(feature = "dtp")]
            Self::Dtp(shared) => shared.with(|core| act(core)),
        }
    }

    /// Waits until `look` is ready.
    async fn until<T>(
        &self,
        line: Line,
        mut look: impl FnMut(&mut dyn CspCore) -> Poll<T>,
    ) -> Result<T, Closed> {
        match self {
            Self::Csp(shared) => shared.until(line, |core, _| look(core)).await,
            #[cfg(feature = "dtp")]
            Self::Dtp(shared) => {
                let line = dtp::Line::Csp(line);
                shared.until(line, |core, _| look(core)).await
            }
        }
    }

    #[cfg(feature = "blocking")]
    fn runtime(&self) -> &Arc<dyn Runtime> {
        match self {
            Self::Csp(shared) => shared.runtime(),
            #[cfg(feature = "dtp")]
            Self::Dtp(shared) => shared.runtime(),
        }
    }
}

impl NodeRef {
    fn close(&self) {
        // After a panic it is closed already.
        let _ = self.shared.with(|core| core.close());
    }

    /// Waits until the interfaces are closed.
    async fn ended(&self) {
        let look = |core: &mut dyn CspCore| {
            let ended = core.is_ended().then_some(());
            ended.map_or(Poll::Pending, Poll::Ready)
        };
        // After a panic they are closed too.
        let _ = self.shared.until(Line::End, look).await;
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        self.close();
        #[cfg(feature = "blocking")]
        if self.shared.runtime().callers_drive() && !threads::is_driver_thread() {
            // The sockets are free again when the last handle is gone.
            threads::block_on(self.ended());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // After a panic nothing is kept.
        let _ = self.node.0.shared.with(|core| core.forget(self.id));
    }
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        // After a panic nothing is kept.
        let _ = self.node.0.shared.with(|core| core.unbind(self.port));
    }
}
