//! The handles of CSP nodes: [`Node`], [`Connection`] and [`BoundPort`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;

use bytes::Bytes;

use super::port::{CspCore, Line, NodePort};
use super::state::NodeState;
use super::{AskedService, CspOptions, CspStats, Error, NodeAnswer, ReceivedPacket};
use crate::Tag;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::csp as blocking;
use crate::adapters::driver::{NodeRef, OnDrop};
#[cfg(feature = "dtp")]
use crate::adapters::dtp;
use crate::adapters::interfaces::Interfaces;
use crate::adapters::runtime::Runtime;
use crate::csp::carriers::FrameStats;
use crate::csp::{Command, ConnectionId, Endpoint, InterfaceStats, RequestId, Route};
use crate::csp::{SendOptions, ServiceAnswer, ServiceRequest, SocketOptions};

/// A CSP node on numbered interfaces: a host, and a router between them.
///
/// Clones are the same node. It lives as long as any of them, or a [`Connection`] or [`BoundPort`] of it: then its
/// connections are closed, for 3 s at most, and its interfaces. Should the runtime end before, everything ends with
/// [`Error::Closed`].
#[derive(Debug, Clone)]
pub struct Node(pub(in crate::adapters) SharedNode);

/// The node that handles act on: one of CSP, or of a protocol above it.
#[derive(Debug, Clone)]
pub(in crate::adapters) enum SharedNode {
    Csp(Arc<NodeRef<NodePort>>),
    #[cfg(feature = "dtp")]
    Dtp(Arc<NodeRef<dtp::NodePort>>),
}

/// Does the same with whichever node it is.
macro_rules! with_node {
    ($shared:expr, $node:ident => $act:expr) => {
        match $shared {
            SharedNode::Csp($node) => $act,
            #[cfg(feature = "dtp")]
            SharedNode::Dtp($node) => $act,
        }
    };
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

starts! {
    /// Starts a node on these interfaces.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched, or the configuration is refused.
    pub fn Node::start, start_on(runtime, interfaces: Interfaces, options: impl Into<CspOptions>) -> Result<Node, Error> as Result<blocking::Node, Error> {
        let options = options.into();
        let port = NodePort(NodeState::new(options.receive_octets));
        let node = options.start(runtime, interfaces, port)?;
        Ok(Self(SharedNode::Csp(node)))
    }
}

impl Node {
    /// Acts under the lock.
    fn with<T>(&self, act: impl FnOnce(&mut dyn CspCore) -> Result<T, Error>) -> Result<T, Error> {
        with_node!(&self.0, node => node.shared.with(|core| act(core)))?
    }

    /// Acts under the lock on what can be done without: after a panic nothing is kept.
    fn with_or_default<T: Default>(&self, act: impl FnOnce(&mut dyn CspCore) -> T) -> T {
        with_node!(&self.0, node => node.with_or_default(|core| act(core)))
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        self.with(|core| core.command(command))
    }

    /// Waits until `look` is ready.
    async fn until<T>(
        &self,
        line: Line,
        mut look: impl FnMut(&mut dyn CspCore) -> Poll<Result<T, Error>>,
    ) -> Result<T, Error> {
        match &self.0 {
            SharedNode::Csp(node) => node.shared.until(line, |core, _| look(core)).await?,
            #[cfg(feature = "dtp")]
            SharedNode::Dtp(node) => {
                let line = dtp::Line::Csp(line);
                node.shared.until(line, |core, _| look(core)).await?
            }
        }
    }

    /// Waits for all answers to what a command asks.
    async fn ask(&self, make: impl FnOnce(Tag) -> Command) -> Result<Vec<NodeAnswer>, Error> {
        let tag = self.with(|core| core.ask(make))?;
        let _guard = OnDrop(|| self.with_or_default(|core| core.forget_question(tag)));
        let answers = self.until(Line::Answer(tag), |core| core.answers(tag));
        answers.await
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
            let _guard = OnDrop(|| self.with_or_default(|core| core.forget_opening(tag)));
            let id = self.until(Line::Open(tag), |core| core.opened(tag)).await?;
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
            self.command(Command::Answer { request, answer })
        }

        /// Sets a route, in place of one of the same address and prefix by the same interface.
        ///
        /// # Errors
        ///
        /// A value is out of its range, or the table is full.
        pub fn set_route(&self, route: Route) -> Result<(), Error> {
            self.command(Command::SetRoute(route))
        }

        /// Returns what was counted.
        pub fn stats(&self) -> CspStats {
            let (csp, sockets_full) = self.with_or_default(|core| (core.csp().stats(), core.state().sockets_full));
            CspStats { csp, udp: with_node!(&self.0, node => node.udp_stats()), sockets_full }
        }

        /// Returns what was counted of packets and of frames on an interface, if there is one of this number.
        pub fn interface_stats(&self, interface: u8) -> Option<(InterfaceStats, FrameStats)> {
            self.with_or_default(|core| core.csp().interface_stats(interface).zip(core.csp().frame_stats(interface)))
        }

        /// Ends the node: connections are closed once their packets are acknowledged, for 3 s at most, and the
        /// interfaces are closed when it returns.
        pub async fn shutdown(&self) -> () {
            with_node!(&self.0, node => node.shutdown().await);
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
            let (id, peer) = self.node.until(Line::Socket(self.port), |core| core.accept(self.port)).await?;
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
            self.node.command(Command::SendTo { from, to, options, data })
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
            let sent = self.node.with_or_default(|core| core.sent(self.id));
            self.node.until(Line::Connection(self.id), |core| core.acked(self.id, sent)).await
        }

        /// Closes the connection once all its packets are acknowledged, and waits for that.
        ///
        /// # Errors
        ///
        /// [`Error::Ended`] when the peer has not acknowledged some of them.
        pub async fn close[close_timeout](&self) -> Result<(), Error> {
            self.node.with_or_default(|core| core.close_connection(self.id));
            self.node.until(Line::Connection(self.id), |core| core.closed(self.id)).await
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.node.with_or_default(|core| core.forget(self.id));
    }
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        self.node.with_or_default(|core| core.unbind(self.port));
    }
}
