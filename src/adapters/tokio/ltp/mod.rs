//! LTP nodes over UDP: blocks to and from named client services.
//!
//! ```
//! use farlink::adapters::ltp::Kind;
//! use farlink::adapters::tokio::ltp::Node;
//! use farlink::ltp::{Config, Peer};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let here = "127.0.0.1:0".parse().unwrap();
//! let earth = Node::bind(here, Config::engine(1))?;
//! let mars = Node::bind(here, Config::engine(2))?;
//! earth.add_peer(2, Peer::new(mars.local_addr()))?;
//! mars.add_peer(1, Peer::new(earth.local_addr()))?;
//!
//! let (pictures, album) = (earth.open(4)?, mars.open(4)?);
//! pictures.send(2, "a red planet").await?;
//! let received = album.receive().await?;
//! assert_eq!((received.from, &received.data[..]), (1, &b"a red planet"[..]));
//! assert_eq!(received.kind, Kind::Whole { ends_block: true });
//! # Ok::<_, farlink::adapters::ltp::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod driver;

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

pub use crate::adapters::ltp::{Error, Kind, NodeSnapshot, NodeStats, Options, Received};

use crate::Tag;
use crate::adapters::ltp::{Access, Handle, Tracked, bind};
use crate::ltp::{Cue, LineEstimate, Peer, Progress, Red, Service, SessionId};
use driver::Bell;

/// A node on a UDP socket, with any number of peers and access points.
///
/// Clones are the same node. It lives as long as any of them, or an [`AccessPoint`] or [`Sending`] of it: then
/// blocks under way are cancelled, the peers are told so once, and the socket is closed. [`Node::shutdown`]
/// lets them finish first.
///
/// A task of the runtime drives it; should the runtime end before, everything ends with [`Error::Closed`].
#[derive(Clone)]
pub struct Node(Handle<Bell>);

impl Node {
    /// Binds a socket, and starts a node on it. 1113 is the port of the standard.
    ///
    /// # Errors
    ///
    /// The address cannot be had, above all because another node has it, or the configuration is refused.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn bind(address: SocketAddr, options: impl Into<Options>) -> Result<Self, Error> {
        let options = options.into();
        let socket = bind(address, &options)?;
        socket.set_nonblocking(true)?;
        let hall = driver::spawn(socket, &options, None)?;
        Ok(Self(Handle::new(hall)))
    }

    /// Binds a socket, and goes on with the node of a snapshot on it: with its peers, its access points, what
    /// waited in them, and the blocks in both directions.
    ///
    /// The address may be another one, if the peers learn of it. Of `options`, the configuration is to name
    /// the same engine.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or the snapshot is damaged, of another engine, or more than the
    /// configuration allows. Peers have to be reachable from the address, and [`Options::maker`] must be the
    /// default one.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub fn restore(
        address: SocketAddr,
        options: impl Into<Options>,
        saved: NodeSnapshot,
    ) -> Result<Restored, Error> {
        let options = options.into();
        let socket = bind(address, &options)?;
        socket.set_nonblocking(true)?;
        let hall = driver::spawn(socket, &options, Some(saved))?;
        let node = Self(Handle::new(hall));
        let (points, sendings) = node.0.kept();
        Ok(Restored {
            node,
            points: points.into_iter().map(AccessPoint).collect(),
            sendings: sendings.into_iter().map(Sending).collect(),
        })
    }

    /// Returns what [`restore`](Self::restore) goes on with, should everything end here without a word.
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
        self.0.save()
    }

    /// Ends the node as it is, without a word to its peers, and returns what [`restore`](Self::restore) goes
    /// on with; nothing is lost on the way, and no peer is told of a failure, if that is soon enough. When it
    /// returns, the socket is closed.
    ///
    /// Whoever waits for something of the node hears [`Error::Closed`]. What was received and not taken is in
    /// the snapshot: what is taken afterwards all the same comes again.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] when the node has ended.
    pub async fn suspend(&self) -> Result<NodeSnapshot, Error> {
        let (saved, mut leaving) = self.0.suspend()?;
        poll_fn(|cx| leaving.poll(cx)).await;
        Ok(saved)
    }

    /// Returns what the socket is bound to, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local()
    }

    /// Gets to know a peer by its engine ID.
    ///
    /// # Errors
    ///
    /// A peer with the ID or the address exists, there are too many, or what is said of it cannot be.
    pub fn add_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
        self.0.add_peer(id, peer)
    }

    /// Changes what is known of a peer. Blocks under way go on.
    ///
    /// # Errors
    ///
    /// No such peer, an address that another peer has, or what is said of it cannot be.
    pub fn change_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
        self.0.change_peer(id, peer)
    }

    /// Forgets a peer. Blocks to and from it fail.
    ///
    /// # Errors
    ///
    /// No such peer.
    pub fn remove_peer(&self, id: u64) -> Result<(), Error> {
        self.0.remove_peer(id)
    }

    /// Tells one half of a contact: whether this end may transmit, or whether the peer does.
    ///
    /// # Errors
    ///
    /// No such peer.
    pub fn contact(&self, peer: u64, cue: Cue) -> Result<(), Error> {
        self.0.contact(peer, cue)
    }

    /// Asks a peer whether it is there, and returns how long its answer took, repeats included.
    ///
    /// Every engine answers, with or without open services. Who asks while others do shares their answer.
    ///
    /// # Errors
    ///
    /// [`Error::Silent`] when it has not answered, however often ([`Peer::cancel_retries`]); no such peer, or
    /// one that cannot answer.
    pub async fn ping(&self, peer: u64) -> Result<Duration, Error> {
        let mut asking = self.0.ping(peer);
        poll_fn(|cx| asking.poll(cx)).await
    }

    /// Returns what was learned of the line to a peer: losses and round trips.
    #[must_use]
    pub fn line(&self, peer: u64) -> Option<LineEstimate> {
        self.0.line(peer)
    }

    /// Returns the cookies that peers put into the segments of an open session (RFC 5327 section 2.2), as far as
    /// [`Config::max_cookies`](crate::ltp::Config::max_cookies) lets them be kept.
    #[must_use]
    pub fn cookies(&self, session: SessionId) -> Vec<Bytes> {
        self.0.cookies(session)
    }

    /// Returns what was counted, and how much is under way.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        self.0.stats()
    }

    /// Opens an access point for the client service `client`, which gives whole red parts.
    ///
    /// # Errors
    ///
    /// The service is open or reserved, there are too many, or the node was shut down.
    pub fn open(&self, client: u64) -> Result<AccessPoint, Error> {
        self.open_with(client, Service::Whole)
    }

    /// Opens an access point that gives blocks as `service` says.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(&self, client: u64, service: Service) -> Result<AccessPoint, Error> {
        self.0.open(client, service).map(AccessPoint)
    }

    /// Ends the node once all blocks under way are over, in both directions, or after `limit`, when the
    /// others are cancelled.
    ///
    /// Nothing can be sent or opened from the first call on. What is received meanwhile can be taken, also
    /// afterwards. When it returns, the socket is closed.
    pub async fn shutdown(&self, limit: Duration) {
        let mut leaving = self.0.leave(limit);
        poll_fn(|cx| leaving.poll(cx)).await;
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("local", &self.local_addr())
            .finish_non_exhaustive()
    }
}

/// A node that was taken up from a snapshot, with the handles that it had.
///
/// Dropping an access point closes it. Blocks go on without their handle.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The node.
    pub node: Node,
    /// Its access points, in the order of their client services.
    pub points: Vec<AccessPoint>,
    /// The blocks that it sends, and those whose end nobody had asked for, in the order in which they were
    /// started. [`Sending::tag`] tells them apart.
    pub sendings: Vec<Sending>,
}

/// A client service that is open at a node.
///
/// Clones are the same access point; it is closed when the last one is dropped, or one says so. Any number of
/// tasks can send and receive on it at a time: each block goes to one receiver.
#[derive(Clone)]
pub struct AccessPoint(Access<Bell>);

impl AccessPoint {
    /// Returns the client service.
    #[must_use]
    pub fn client(&self) -> u64 {
        self.0.client()
    }

    /// Tells whether blocks can be sent and received.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open()
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

    /// Begins to send a block, as soon as there is room.
    ///
    /// # Errors
    ///
    /// The engine cannot send it at all, or the access point was closed.
    pub async fn start(
        &self,
        peer: u64,
        data: impl Into<Bytes>,
        red: Red,
    ) -> Result<Sending, Error> {
        let mut starting = self.0.start(peer, data.into(), red);
        poll_fn(|cx| starting.poll(cx)).await.map(Sending)
    }

    /// Waits for a block, or whatever else the access point gives. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] or [`Error::Closed`].
    pub async fn receive(&self) -> Result<Received, Error> {
        let mut receiving = self.0.receive();
        poll_fn(|cx| receiving.poll(cx)).await
    }

    /// Takes what has been received, if anything, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], once everything was taken.
    pub fn try_receive(&self) -> Result<Option<Received>, Error> {
        self.0.try_receive()
    }

    /// Makes every receive that waits here return [`Error::Interrupted`]. If there is none, the next one
    /// that would have to wait does.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }

    /// Cancels the reception of a block (RFC 5326 section 4.2).
    ///
    /// # Errors
    ///
    /// No such block is being received.
    pub fn refuse(&self, session: SessionId) -> Result<(), Error> {
        self.0.refuse(session)
    }

    /// Receives no more: what is under way to it is cancelled, and what was not taken is lost, though its
    /// senders are told that it has arrived. Blocks that were accepted for sending go on.
    pub fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for AccessPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessPoint")
            .field("client", &self.client())
            .finish_non_exhaustive()
    }
}

/// A block on its way to a peer. Dropping it does not cancel the block.
pub struct Sending(Tracked<Bell>);

impl Sending {
    /// Waits until the block has arrived, as far as it is red, or was given up. It can be asked again.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`], with the reason and the block; [`Error::Closed`] when the node ended before.
    pub async fn wait(&mut self) -> Result<SessionId, Error> {
        poll_fn(|cx| self.0.poll(cx)).await
    }

    /// Returns the name of the block at its node, which it keeps when the node is [restored](Node::restore).
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.0.tag()
    }

    /// Returns how far the block has got; `None` once it is over.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        self.0.progress()
    }

    /// Cancels the block, unless it is over.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}
