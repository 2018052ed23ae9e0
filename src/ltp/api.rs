//! What goes into an engine and what comes out of it, as data.

use alloc::boxed::Box;
use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::config::{ConfigError, Peer};
use super::wire::{Reason, SessionId};
use crate::{Instant, Tag};

/// What the application can ask of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command<A> {
    /// Get to know a peer by its engine ID.
    AddPeer(u64, Box<Peer<A>>),
    /// Change what is known of a peer; sessions go on.
    ChangePeer(u64, Box<Peer<A>>),
    /// Forget a peer; its sessions fail.
    RemovePeer(u64),
    /// Open a client service. Its blocks are delivered unasked.
    Open(u64, Service),
    /// Open a client service whose blocks wait in the engine until [`Take`](Self::Take) asks for them.
    OpenOnDemand(u64, Service),
    /// Receive no more for a client service; what is under way is cancelled.
    Close(u64),
    /// Send a block.
    Send(Block),
    /// Make the next red segment of a block a checkpoint.
    Checkpoint(Tag),
    /// Cancel a block being sent (RFC 5326 section 4.2).
    Cancel(Tag),
    /// Cancel a block being received (RFC 5326 section 4.2).
    Refuse(SessionId),
    /// Ask whether a peer is there.
    Ping(u64),
    /// Let peers in that were not added, so many at most, treated as the template says; or nobody.
    Welcome(Option<Box<Peer<A>>>, u32),
    /// Tell one half of what [`Link::Up`](crate::Link::Up) and [`Link::Down`](crate::Link::Down) tell.
    Contact(u64, Cue),
    /// Ask for the next item of a client service that was opened on demand. See
    /// [`Engine::take`](super::Engine::take).
    Take(u64),
    /// Withdraw one `Take` that no event has answered. See [`Engine::untake`](super::Engine::untake).
    Untake(u64),
}

/// A block to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Block {
    /// The application's name for it, carried by every event about it. One at a time has it.
    pub tag: Tag,
    /// The engine ID of the peer.
    pub to: u64,
    /// The client service it is for.
    pub client: u64,
    /// The octets. They are not copied until a segment leaves.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub data: Bytes,
    /// How much of it is delivered reliably.
    pub red: Red,
}

impl Block {
    /// A block that is red all through.
    #[must_use]
    pub const fn red(tag: Tag, to: u64, client: u64, data: Bytes) -> Self {
        Self {
            tag,
            to,
            client,
            data,
            red: Red::All,
        }
    }
}

/// How much of a block is red: its first octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Red {
    /// All of it.
    All,
    /// So many octets; the others are green.
    Octets(u64),
}

/// How blocks of a client service are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Service {
    /// Whole red parts.
    #[default]
    Whole,
    /// [`Event::Arriving`] at the first segment of a session (RFC 5326 section 7.1), [`Event::Piece`] as the
    /// red part becomes contiguous, then the whole red part.
    Streaming,
}

/// What is known of a contact, one direction at a time (RFC 5326 sections 6.1, 6.4, 6.5 and 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cue {
    /// This end may transmit to the peer.
    MayTransmit,
    /// This end must stop.
    MustStop,
    /// The peer transmits to this end.
    PeerTransmits,
    /// The peer has stopped: timers that wait for it stand still.
    PeerStopped,
    /// This end will have to stop at that time. Where a rate is set, the last red segment before is a
    /// checkpoint, so that the peer can report while the contact is over (RFC 5325 section 3.3).
    EndsAt(Instant),
}

/// Which side did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Side {
    /// This engine, or its application.
    Local,
    /// The peer.
    Remote,
}

/// What an engine tells the application.
///
/// For each block accepted for sending, exactly one `Complete` or `Failed` comes. For each session received
/// there is at most one `Received` and at most one `Cancelled`, and nothing follows a `Cancelled`. Each session of
/// which something is told ends: by `Received` or `Green` with `ends_block`, and else by `Cancelled`. Green
/// segments may still follow the one that ends the block, as they overtake each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// Every segment of the block has left once (RFC 5326 section 7.7).
    Sent {
        /// The block.
        tag: Tag,
    },
    /// The red part was received and everything has left (RFC 5326 section 7.4).
    Complete {
        /// The block.
        tag: Tag,
        /// Its session.
        session: SessionId,
    },
    /// The block was given up (RFC 5326 section 7.5). What of it arrived is not known.
    Failed {
        /// The block.
        tag: Tag,
        /// Its session.
        session: SessionId,
        /// Who gave up.
        by: Side,
        /// Why.
        reason: Reason,
        /// The block, given back.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// The peer has room again for blocks, after one was refused with [`Error::Full`].
    Room {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// A peer that was asked by [`Command::Ping`] is there.
    Answered {
        /// The engine ID of the peer.
        peer: u64,
        /// How long its answer took, repeats included.
        after: Duration,
    },
    /// A peer that was asked has not answered, however often.
    Silent {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// A peer that was not added came by itself, and was let in.
    Stranger {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// A session for a streaming service began (RFC 5326 section 7.1).
    Arriving {
        /// The session.
        session: SessionId,
        /// The client service.
        client: u64,
    },
    /// The next octets of a red part, for a streaming service.
    Piece {
        /// The session.
        session: SessionId,
        /// The client service.
        client: u64,
        /// Octets of the block before these.
        offset: u64,
        /// The octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// A whole red part (RFC 5326 section 7.3).
    Received {
        /// The session.
        session: SessionId,
        /// The client service.
        client: u64,
        /// The octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
        /// Whether the block ends here; otherwise a green part follows.
        ends_block: bool,
    },
    /// A segment of a green part, as it came (RFC 5326 section 7.2).
    Green {
        /// The session.
        session: SessionId,
        /// The client service.
        client: u64,
        /// Octets of the block before these.
        offset: u64,
        /// The octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
        /// Whether the block ends here.
        ends_block: bool,
    },
    /// A reception was cancelled (RFC 5326 section 7.6). Nothing more comes of the session.
    ///
    /// So ends a block too whose end is lost: with no segment for as long as a sender repeats signals, this side
    /// gives it up with `SYS_CNCLD`, and does not tell the sender when no red octets are missing. What was handed
    /// over of it stands.
    Cancelled {
        /// The session.
        session: SessionId,
        /// The client service.
        client: u64,
        /// Who cancelled.
        by: Side,
        /// Why.
        reason: Reason,
        /// Whether the red part was handed over before, which stands.
        after_delivery: bool,
    },
}

/// Why a command was refused. A refused command has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No such peer.
    UnknownPeer(u64),
    /// There is such a peer already.
    PeerExists(u64),
    /// Another peer has the address.
    AddressInUse,
    /// What is said of the peer cannot be.
    Peer(ConfigError),
    /// The ways that there are to and from the peer do not allow it.
    OneWay(u64),
    /// The peer is being asked already.
    Pinging(u64),
    /// Engine ID 0 is reserved.
    EngineZero,
    /// There are as many peers or services as there may be.
    Many {
        /// How many there may be.
        limit: u32,
    },
    /// Client service ID 0 is reserved, or the service is open already.
    Service(u64),
    /// The service is not open.
    NotOpen(u64),
    /// The service delivers its blocks unasked.
    NotOnDemand(u64),
    /// Every take of the service was answered.
    NotTaking(u64),
    /// A block has at least one octet.
    Empty,
    /// The red part is longer than the block.
    RedTooLong {
        /// Octets of the red part.
        red: u64,
        /// Octets of the block.
        len: u64,
    },
    /// The block can never fit.
    TooLong {
        /// Octets of the block.
        len: usize,
        /// Octets of blocks that may be held.
        limit: usize,
    },
    /// There is no room for the block. [`Event::Room`] follows when there is.
    Full {
        /// What there is, of what is limited.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// A block being sent has the tag.
    TagInUse(Tag),
    /// No block being sent has the tag.
    UnknownTag(Tag),
    /// No such session is being received.
    UnknownSession(SessionId),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer(peer) => write!(f, "no peer {peer}"),
            Self::PeerExists(peer) => write!(f, "peer {peer} exists"),
            Self::AddressInUse => f.write_str("another peer has the address"),
            Self::Peer(error) => write!(f, "{error}"),
            Self::OneWay(peer) => write!(f, "not with the ways to and from peer {peer}"),
            Self::Pinging(peer) => write!(f, "peer {peer} is being asked already"),
            Self::EngineZero => f.write_str("engine ID 0 is reserved"),
            Self::Many { limit } => write!(f, "there are {limit} already, the limit"),
            Self::Service(0) => f.write_str("client service 0 is reserved"),
            Self::Service(client) => write!(f, "client service {client} is open already"),
            Self::NotOpen(client) => write!(f, "client service {client} is not open"),
            Self::NotOnDemand(client) => {
                write!(f, "client service {client} delivers its blocks unasked")
            }
            Self::NotTaking(client) => {
                write!(
                    f,
                    "client service {client} has no take that was not answered"
                )
            }
            Self::Empty => f.write_str("an empty block is not sent"),
            Self::RedTooLong { red, len } => {
                write!(f, "red part of {red} octets exceeds the block of {len}")
            }
            Self::TooLong { len, limit } => {
                write!(f, "block of {len} octets exceeds the limit of {limit}")
            }
            Self::Full { held, limit } => write!(f, "no room: {held} of a limit of {limit}"),
            Self::TagInUse(Tag(tag)) => write!(f, "a block with tag {tag} is being sent"),
            Self::UnknownTag(Tag(tag)) => write!(f, "no block with tag {tag} is being sent"),
            Self::UnknownSession(session) => write!(f, "no session {session} is being received"),
        }
    }
}

impl StdError for Error {}

/// How far a block has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Progress {
    /// Octets that have left once.
    pub sent: u64,
    /// Octets of the red part that the peer claims.
    pub claimed: u64,
    /// Octets of the red part.
    pub red: u64,
    /// Octets of the block.
    pub len: u64,
}

/// What an engine has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stats {
    /// Segments written.
    pub segments_sent: u64,
    /// Segments read, malformed ones included.
    pub segments_received: u64,
    /// Checkpoints written again.
    pub checkpoints_resent: u64,
    /// Reports written again.
    pub reports_resent: u64,
    /// Reports made that claim all of their scope.
    pub positive_reports_sent: u64,
    /// Reports made with gaps.
    pub negative_reports_sent: u64,
    /// Reports read that claim all of their scope.
    pub positive_reports_received: u64,
    /// Reports read with gaps.
    pub negative_reports_received: u64,
    /// Octets of red data written again.
    pub octets_resent: u64,
    /// Blocks sent whole.
    pub exports_complete: u64,
    /// Blocks given up.
    pub exports_failed: u64,
    /// Red parts received whole.
    pub imports_complete: u64,
    /// Receptions cancelled.
    pub imports_cancelled: u64,
    /// Octets of red data kept.
    pub red_octets: u64,
    /// Octets of green data handed over.
    pub green_octets: u64,
    /// Octets of red data that were there already.
    pub redundant_octets: u64,
    /// Segments that could not be decoded or contradict their session.
    pub malformed: u64,
    /// Segments with no authentication value that verifies.
    pub unauthentic: u64,
    /// Segments under no suite and key that their peer may use.
    pub unknown_key: u64,
    /// Cookies that neither begin one nor extend the one that is kept, with [`Config::max_cookies`](super::Config::max_cookies).
    pub odd_cookies: u64,
    /// Segments of nobody known.
    pub unknown_peer: u64,
    /// Segments for a client service that is not open.
    pub unknown_client: u64,
    /// Data segments of sessions that are closed.
    pub closed_session: u64,
    /// Segments dropped for want of memory, or of room in a queue.
    pub no_room: u64,
    /// Segments that no datagram could hold.
    pub oversize: u64,
    /// Keep-alive datagrams (RFC 7122 section 3.4).
    pub keepalives: u64,
}
