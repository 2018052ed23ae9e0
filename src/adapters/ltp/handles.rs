//! The handles of LTP nodes: [`Node`], [`AccessPoint`] and [`Sending`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::port::{Line, NodePort, ServiceRef};
use super::snapshot::path_to;
use super::{EngineSetup, Error, NodeOptions, NodeSnapshot, NodeStats, Received, bind_socket};
#[cfg(feature = "blocking")]
use crate::adapters::blocking::ltp as blocking;
use crate::adapters::driver::NodeRef;
use crate::adapters::runtime::Runtime;
use crate::adapters::seed;
use crate::adapters::sockets::Sockets;
use crate::ltp::{Age, Block, Command, Cue, LineEstimate, Peer, Progress, Red, Service, SessionId};
use crate::{Path, Tag};

/// An LTP node on a UDP socket, with any number of peers and access points.
///
/// Clones are the same node. It lives as long as any of them, or an [`AccessPoint`] or [`Sending`] of it: then
/// blocks under way are cancelled, the peers are told so once, and the socket is closed. [`Node::shutdown`]
/// lets them finish first.
///
/// Should the runtime end before, everything ends with [`Error::Closed`].
#[derive(Clone, derive_more::Debug)]
#[debug("Node({local})")]
pub struct Node {
    inner: Arc<NodeRef<NodePort>>,
    local: SocketAddr,
}

/// A node that was restored from a snapshot, with the handles that it had.
///
/// Dropping an access point closes it. Blocks go on without their handle.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored<N = Node, P = AccessPoint, S = Sending> {
    /// The node.
    pub node: N,
    /// Its access points, in the order of their client services.
    pub points: Vec<P>,
    /// The blocks that it sends, and those whose end nobody had asked for, in the order in which they were
    /// started. [`Sending::tag`] tells them apart.
    pub sendings: Vec<S>,
}

/// A client service that is open at a node.
///
/// Clones are the same access point; it is closed when the last one is dropped, or by
/// [`close`](AccessPoint::close). Any number of tasks or threads can send and receive on it at a time: each
/// block goes to one receiver.
#[derive(Debug, Clone)]
pub struct AccessPoint(Arc<ServiceHandle>);

/// Closes the access point when it is dropped.
#[derive(Debug)]
struct ServiceHandle {
    node: Arc<NodeRef<NodePort>>,
    service: ServiceRef,
}

/// A block on its way to a peer. Dropping it does not cancel the block.
#[derive(Debug)]
pub struct Sending {
    node: Arc<NodeRef<NodePort>>,
    tag: Tag,
}

starts! {
    /// Binds a socket and starts a node on it. The standard port is 1113.
    ///
    /// # Errors
    ///
    /// The address cannot be had, above all because another node has it, or the configuration is refused.
    pub fn Node::bind, bind_on(runtime, address: SocketAddr, options: impl Into<NodeOptions>) -> Result<Node, Error> as Result<blocking::Node, Error> {
        Self::start(runtime, address, options.into(), None)
    }

    /// Binds a socket and resumes the node of a snapshot on it: with its peers, its access points, what was
    /// received and not taken, and the blocks in both directions. See [`snapshot`](Node::snapshot).
    ///
    /// The address may be another one, if the peers learn of it. The configuration in `options` is to name the
    /// same engine.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or the snapshot is damaged, of another engine, or more than the
    /// configuration allows. Peers have to be reachable from the address.
    pub fn Node::restore, restore_on(runtime, address: SocketAddr, options: impl Into<NodeOptions>, saved: NodeSnapshot) -> Result<Restored, Error> as Result<blocking::Restored, Error> {
        let node = Self::start(runtime, address, options.into(), Some(saved))?;
        let (services, tags) = node.inner.with(|core| {
            let tags: Vec<_> = core.port.blocks.keys().copied().collect();
            Ok((core.port.services().collect::<Vec<_>>(), tags))
        })?;
        let sending = |tag| Sending { node: Arc::clone(&node.inner), tag };
        let points = services.into_iter().map(|service| node.point(service)).collect();
        let sendings = tags.into_iter().map(sending).collect();
        Ok(Restored { node, points, sendings })
    }
}

impl Node {
    fn start(
        runtime: &Arc<dyn Runtime>,
        address: SocketAddr,
        options: NodeOptions,
        saved: Option<NodeSnapshot>,
    ) -> Result<Self, Error> {
        let mut sockets = Sockets::new();
        sockets.set_udp_options(options.udp);
        let local = sockets.add_udp(bind_socket(address)?)?.local;
        let saved = saved.map(|saved| saved.into_parts(local)).transpose()?;
        let (port, saved) = saved.unzip();
        let machine = options.factory.make(EngineSetup {
            config: options.config,
            seed: options.seed.map_or_else(seed, Ok)?,
            local,
            saved,
            now: options.clock.at(runtime.now()),
        })?;
        let how = (options.clock, options.limits);
        let port = port.unwrap_or_default();
        let inner = NodeRef::start(runtime, sockets, how, port, machine)?;
        Ok(Self { inner, local })
    }

    fn point(&self, service: ServiceRef) -> AccessPoint {
        let node = Arc::clone(&self.inner);
        AccessPoint(Arc::new(ServiceHandle { node, service }))
    }

    fn with_path(&self, peer: Peer<SocketAddr>) -> Result<Box<Peer<Path>>, Error> {
        let path = path_to(self.local, peer.address)?;
        Ok(Box::new(peer.map_address(|_| path)))
    }
}

faces! {
    impl Node {
        /// Takes a snapshot from which the node can be resumed after a crash.
        ///
        /// The node goes on meanwhile, so the snapshot will be behind ([`Age::Behind`](crate::ltp::Age)): blocks
        /// under way to peers go on; those under way from peers are cancelled, and their senders hear of it. What
        /// was told since is told again, under the same [tag](Sending::tag) or session. Blocks that were received
        /// whole since the snapshot was taken, and acknowledged, are lost with a node that crashes, unless the
        /// application has kept them: a snapshot after each one is as good as that.
        ///
        /// Blocks under way to peers are shared with the node. What was received in part is copied, and the node
        /// stands still meanwhile.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub fn snapshot(&self) -> Result<NodeSnapshot, Error> {
            self.inner.with(|core| core.save(Age::Behind))
        }

        /// Ends the node as it is, without a word to its peers, and takes a snapshot from which it can be resumed.
        /// Nothing is lost, and no peer hears of a failure if the node is resumed soon enough. The socket is closed
        /// when it returns.
        ///
        /// All calls that wait for something of the node fail with [`Error::Closed`]. What was received and not
        /// taken is in the snapshot.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`] when the node has ended.
        pub async fn suspend(&self) -> Result<NodeSnapshot, Error> {
            let saved = self.inner.with(|core| {
                let saved = core.save(Age::Current)?;
                // What was not taken is in the snapshot, and comes again.
                core.port.services.clear();
                core.wakes.everybody();
                core.over();
                Ok(saved)
            });
            self.inner.ended().await;
            saved
        }

        /// Returns what the socket is bound to, with the real port.
        pub fn local_addr(&self) -> SocketAddr {
            self.local
        }

        /// Adds a peer by its engine ID.
        ///
        /// # Errors
        ///
        /// A peer with the ID exists, the limit of peers is reached, or the parameters are invalid.
        pub fn add_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
            self.inner.command(Command::AddPeer(id, self.with_path(peer)?))
        }

        /// Changes the parameters of a peer. Blocks under way go on.
        ///
        /// # Errors
        ///
        /// No such peer, or invalid parameters.
        pub fn change_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
            self.inner.command(Command::ChangePeer(id, self.with_path(peer)?))
        }

        /// Removes a peer. Blocks to and from it fail.
        ///
        /// # Errors
        ///
        /// No such peer.
        pub fn remove_peer(&self, id: u64) -> Result<(), Error> {
            self.inner.with(|core| {
                core.command(Command::RemovePeer(id))?;
                // No room will be told of. To those that ping it the engine says that it is silent.
                core.wakes.all(Line::Room(id));
                if core.wakes.is_empty(Line::Ping(id)) {
                    core.port.answers.remove(&id);
                }
                Ok(())
            })
        }

        /// Tells one half of a contact: whether this end may transmit, or whether the peer does.
        ///
        /// # Errors
        ///
        /// No such peer.
        pub fn contact(&self, peer: u64, cue: Cue) -> Result<(), Error> {
            self.inner.command(Command::Contact(peer, cue))
        }

        /// Asks whether a peer answers, and returns how long its answer took, repeats included.
        ///
        /// Every engine answers, with or without open services. Pings of one peer at a time share the answer.
        ///
        /// # Errors
        ///
        /// [`Error::Silent`] when it has not answered after
        /// [`PeerLimits::cancel_retries`](crate::ltp::PeerLimits::cancel_retries); no such peer, or one that cannot
        /// answer.
        pub async fn ping(&self, peer: u64) -> Result<Duration, Error> {
            let mut asked = None;
            self.inner.until(Line::Ping(peer), |core, _| core.ping(peer, &mut asked)).await
        }

        /// Returns what was learned of the line to a peer: losses and round trips.
        pub fn line(&self, peer: u64) -> Option<LineEstimate> {
            self.inner.with_or_default(|core| core.peek().line(peer))
        }

        /// Returns the cookies that peers put into the segments of an open session (RFC 5327 section 2.2), as far
        /// as [`EngineLimits::cookies`](crate::ltp::EngineLimits::cookies) lets them be kept.
        pub fn cookies(&self, session: SessionId) -> Vec<Bytes> {
            self.inner.with_or_default(|core| core.peek().cookies(session).map(Bytes::copy_from_slice).collect())
        }

        /// Returns what was counted, and how much is under way.
        pub fn stats(&self) -> NodeStats {
            NodeStats { udp: self.inner.udp_stats(), ..self.inner.with_or_default(|core| core.stats()) }
        }

        /// Opens an access point for the client service `client`, which gives whole red parts.
        ///
        /// # Errors
        ///
        /// The service is open or reserved, the limit of services is reached, or the node was shut down.
        pub fn open(&self, client: u64) -> Result<AccessPoint, Error> as Result<blocking::AccessPoint, Error> {
            self.open_with(client, Service::Whole)
        }

        /// Opens an access point that gives blocks as `service` says.
        ///
        /// # Errors
        ///
        /// As [`open`](Self::open).
        pub fn open_with(&self, client: u64, service: Service) -> Result<AccessPoint, Error> as Result<blocking::AccessPoint, Error> {
            let service = self.inner.with(|core| {
                if core.port.closing.is_some() {
                    return Err(Error::Closed);
                }
                core.command(Command::OpenOnDemand(client, service))?;
                Ok(core.port.add_service(client))
            })?;
            Ok(self.point(service))
        }

        /// Ends the node once all blocks under way are over, in both directions, or after `limit`, when the
        /// others are cancelled.
        ///
        /// Nothing can be sent or opened from the first call on. What is received meanwhile can be taken, also
        /// afterwards. The socket is closed when it returns.
        pub async fn shutdown(&self, limit: Duration) -> () {
            self.inner.with_or_default(|core| core.close(limit));
            self.inner.ended().await;
        }
    }
}

faces! {
    impl AccessPoint {
        /// Returns the client service.
        pub fn client(&self) -> u64 {
            self.0.service.client
        }

        /// Tells whether blocks can be sent and received.
        pub fn is_open(&self) -> bool {
            self.0.node.with_or_default(|core| core.is_open(self.0.service))
        }

        /// Sends a red block, and waits until all of it is acknowledged. Returns the session it had.
        ///
        /// It waits for room first, behind others that wait for the same peer. Dropping the future after that
        /// does not cancel the block.
        ///
        /// # Errors
        ///
        /// [`Error::Failed`], with the reason and the block, when it was given up; [`Error::Refused`] when the
        /// engine cannot send it at all.
        pub async fn send(&self, peer: u64, data: impl Into<Bytes>) -> Result<SessionId, Error> {
            self.start(peer, data, Red::All).await?.wait().await
        }

        /// Starts to send a block, as soon as there is room.
        ///
        /// # Errors
        ///
        /// The engine cannot send it at all, or the access point was closed.
        pub async fn start(&self, peer: u64, data: impl Into<Bytes>, red: Red) -> Result<Sending, Error> as Result<blocking::Sending, Error> {
            let ServiceHandle { node, service } = &*self.0;
            let mut block = Block {
                // Drawn when it is given to the engine.
                tag: Tag(0),
                to: peer,
                client: service.client,
                data: data.into(),
                red,
            };
            let tag = node.until(Line::Room(peer), |core, place| core.send(*service, place, &mut block)).await?;
            Ok(Sending { node: Arc::clone(node), tag })
        }

        /// Waits for a block, or whatever else the access point gives. Dropping the future loses nothing.
        ///
        /// # Errors
        ///
        /// [`Error::Interrupted`] or [`Error::Closed`].
        pub async fn receive[receive_timeout](&self) -> Result<Received, Error> {
            let ServiceHandle { node, service } = &*self.0;
            node.until(Line::Receive(*service), |core, place| core.receive(*service, place)).await
        }

        /// Takes what has been received, if anything, without waiting.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`], once everything was taken.
        pub fn try_receive(&self) -> Result<Option<Received>, Error> {
            self.0.node.with(|core| core.try_receive(self.0.service))
        }

        /// Makes every receive that waits here fail with [`Error::Interrupted`]. If there is none, the next one
        /// that would have to wait does.
        pub fn interrupt(&self) -> () {
            let (service, line) = (self.0.service, Line::Receive(self.0.service));
            self.0.node.with_or_default(|core| if !core.wakes.is_empty(line) {
                core.wakes.interrupt(line);
            } else if let Ok(open) = core.port.service(service) {
                open.is_interrupted = true;
            });
        }

        /// Acknowledges the red part that [`ReceivedKind::RedPart`](super::ReceivedKind::RedPart) told of: all that was
        /// given of it is stored.
        ///
        /// # Errors
        ///
        /// No red part of the session waits for this.
        pub fn stored(&self, session: SessionId) -> Result<(), Error> {
            self.0.node.command(Command::Stored(session))
        }

        /// Cancels the reception of a block (RFC 5326 section 4.2).
        ///
        /// # Errors
        ///
        /// No such block is being received.
        pub fn refuse(&self, session: SessionId) -> Result<(), Error> {
            self.0.node.command(Command::Refuse(session))
        }

        /// Closes the access point: what is under way to it and what was not taken is cancelled, with `USR_CNCLD`. Blocks
        /// that were accepted for sending go on.
        pub fn close(&self) -> () {
            self.0.close();
        }
    }
}

impl ServiceHandle {
    fn close(&self) {
        self.node.with_or_default(|core| {
            if core.port.service(self.service).is_ok() {
                core.port.services.remove(&self.service.client);
                // Refused at the end only.
                let _ = core.command(Command::Close(self.service.client));
                // Those that wait to send from it, too: their line is that of the peer.
                core.wakes.everybody();
            }
        });
    }
}

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        self.close();
    }
}

faces! {
    impl Sending {
        /// Waits until the red part of the block was acknowledged, or the block was given up. It can be asked again.
        ///
        /// # Errors
        ///
        /// [`Error::Failed`], with the reason and the block; [`Error::Closed`] when the node ended before.
        pub async fn wait[wait_timeout](&mut self) -> Result<SessionId, Error> {
            self.node.until(Line::Block(self.tag), |core, _| core.outcome(self.tag)).await
        }

        /// Returns the tag of the block, which it keeps when the node is [restored](Node::restore_on).
        pub fn tag(&self) -> Tag {
            self.tag
        }

        /// Returns how far the block has got; `None` once it is over.
        pub fn progress(&self) -> Option<Progress> {
            self.node.with_or_default(|core| core.peek().progress(self.tag))
        }

        /// Cancels the block, unless it is over.
        pub fn cancel(&self) -> () {
            // Refused when the block is over, which is just as well.
            let _ = self.node.command(Command::Cancel(self.tag));
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.node
            .with_or_default(|core| core.port.unwatch(self.tag));
    }
}
