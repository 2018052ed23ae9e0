//! Commands, events and errors of an engine, and its statistics.

use alloc::boxed::Box;
use core::error::Error as StdError;
use core::time::Duration;

use bytes::Bytes;

use super::config::{ConfigError, Peer};
use super::end_cause::EndCause;
use super::wire::{Reason, SessionId};
use crate::preview::Preview;
use crate::{Instant, Tag};

/// A command of the application to an engine.
///
/// Each has a method of [`Engine`](super::Engine) that does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command<A> {
    /// Add a peer under its engine ID.
    AddPeer(u64, Box<Peer<A>>),
    /// Change the configuration of a peer. Sessions go on.
    ChangePeer(u64, Box<Peer<A>>),
    /// Remove a peer. Its sessions fail.
    RemovePeer(u64),
    /// Open a client service. Its blocks are delivered unasked.
    Open(u64, Service),
    /// Open a client service whose blocks wait in the engine until [`Take`](Self::Take) asks for them.
    OpenOnDemand(u64, Service),
    /// Close a client service. Sessions for it that were not delivered are cancelled.
    Close(u64),
    /// Send a block.
    Send(Block),
    /// Make the next red segment of a block a checkpoint.
    Checkpoint(Tag),
    /// Cancel the transmission of a block (RFC 5326 section 4.2).
    Cancel(Tag),
    /// Cancel the reception of a block (RFC 5326 section 4.2).
    Refuse(SessionId),
    /// Acknowledge a red part that [`Event::RedPart`] told of. See [`Engine::stored`](super::Engine::stored).
    Stored(SessionId),
    /// Ask a peer for a sign of life. [`Event::Answered`] or [`Event::Silent`] follows.
    Ping(u64),
    /// Accept segments from up to this many unknown peers, configured from the template. `None` rejects them.
    AcceptUnknownPeers(Option<Box<Peer<A>>>, u32),
    /// Report a link state cue for one direction of a contact. [`Link::Up`](crate::Link::Up) and
    /// [`Link::Down`](crate::Link::Down) report both directions.
    Contact(u64, Cue),
    /// Ask for the next item of a client service that was opened on demand. See
    /// [`Engine::take`](super::Engine::take).
    Take(u64),
    /// Withdraw one `Take` that no event has answered. See [`Engine::untake`](super::Engine::untake).
    Untake(u64),
}

/// A block to send.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Block {
    /// The application's tag of the block, carried by every event about it. No two blocks that are being sent
    /// have the same.
    pub tag: Tag,
    /// The engine ID of the peer.
    pub to: u64,
    /// The destination client service ID.
    pub client: u64,
    /// The octets, at least one. They are not copied until a segment is written.
    #[debug("{:?}", Preview(data))]
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub data: Bytes,
    /// The length of the red part.
    pub red: Red,
}

impl Block {
    /// Makes a block that is red as a whole.
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

/// The length of the red part of a block: its first octets, which are delivered reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Red {
    /// The whole block.
    All,
    /// This many octets. The rest is green.
    Octets(u64),
}

/// In which parts the blocks of a client service are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Service {
    /// Red parts are delivered whole.
    #[default]
    Whole,
    /// [`Event::Started`] reports the first segment of a session (RFC 5326 section 7.1) and [`Event::Piece`]
    /// the octets of the red part as they become contiguous. The whole red part follows.
    Streaming,
    /// [`Event::Segment`] gives the octets of the red part once each, in the order of arrival, and the engine keeps
    /// none that were polled. [`Event::RedPart`] follows the last ones. The report that claims the whole red part is
    /// sent after [`Command::Stored`], so a block whose storage fails can be refused before it is acknowledged.
    ///
    /// Earlier reports claim octets as soon as they were received, as RFC 5326 section 6.11 has it. No sender completes a
    /// block by them: what came last is in none of them. After [`Command::Refuse`] their claims count for nothing, and
    /// an engine that has lost them contradicts them, which a sender of this crate takes for a restart.
    ///
    /// Octets that come again are compared with those that were not polled yet. Of others the first count, and
    /// [`Stats::redundant_octets`] counts the repeated ones: two blocks that a restarted sender numbers alike, and of
    /// which the second comes while the first is incomplete, are told apart by other services only.
    Scattered,
}

/// A link state cue for one direction of a contact (RFC 5326 sections 6.1, 6.4, 6.5 and 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cue {
    /// This engine may transmit to the peer (section 6.1).
    MayTransmit,
    /// This engine must stop (section 6.4).
    MustStop,
    /// The peer transmits to this engine (section 6.6).
    PeerTransmits,
    /// The peer has stopped. Timers that wait for it are suspended (section 6.5).
    PeerStopped,
    /// This engine will have to stop at that time. Where a rate is set, the last red segment before it is a
    /// checkpoint, so that the peer can report while the contact is over (RFC 5325 section 3.3).
    EndsAt(Instant),
}

/// The side that caused an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Side {
    /// This engine, or its application.
    Local,
    /// The peer.
    Remote,
}

/// An event for the application.
///
/// Each block accepted for sending ends with exactly one `Complete` or `Failed`. A session that is received has
/// at most one `Received` or `RedPart` and at most one `Cancelled`, and nothing follows a `Cancelled`. A session with an
/// event ends with `Received`, `RedPart` or `Green` with `ends_block`, or with `Cancelled`. Green segments overtake each
/// other, so some may follow the one that ends the block. All this holds while the session is remembered: one whose
/// sender comes back later begins anew.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// Every segment of the block was sent once (RFC 5326 section 7.7).
    Sent {
        /// The tag of the block.
        tag: Tag,
    },
    /// The peer has received the red part, and the green part was sent (RFC 5326 section 7.4).
    Complete {
        /// The tag of the block.
        tag: Tag,
        /// The session of the block.
        session: SessionId,
    },
    /// The transmission of the block was cancelled (RFC 5326 section 7.5). How much of it the peer has received
    /// is not known.
    Failed {
        /// The tag of the block.
        tag: Tag,
        /// The session of the block.
        session: SessionId,
        /// The side that cancelled.
        by: Side,
        /// The reason code.
        reason: Reason,
        /// What it stands for.
        cause: EndCause,
        /// The block, given back.
        #[debug("{:?}", Preview(data))]
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// The peer refused the block because it had checkpoints before the end of its red part (`RLEXC`, from ION). It is
    /// sent once more without, in another session.
    Restarted {
        /// The tag of the block.
        tag: Tag,
        /// The session in which the block is sent.
        session: SessionId,
    },
    /// There is room for the block to this peer that was refused with [`Error::Full`].
    Room {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// The peer answered a [`Command::Ping`].
    Answered {
        /// The engine ID of the peer.
        peer: u64,
        /// The time from the first ping to the answer.
        after: Duration,
    },
    /// The peer did not answer a [`Command::Ping`], nor any of its repetitions.
    Silent {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// An unknown peer was accepted ([`Command::AcceptUnknownPeers`]), or an accepted one is at another address.
    UnknownPeer {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// An unknown peer found no room and was refused: as many as may be are accepted, and none of them gives way.
    ///
    /// Further ones are not reported until one was accepted without taking the place of another, or
    /// [`Command::AcceptUnknownPeers`] was given again.
    UnknownPeerRefused {
        /// The engine ID of the peer.
        peer: u64,
        /// The limit that is reached: of unknown peers, or of all.
        limit: u32,
    },
    /// A session for a streaming service started (RFC 5326 section 7.1).
    Started {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
    },
    /// The next octets of a red part for a streaming service.
    Piece {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// The offset of the octets in the block.
        offset: u64,
        /// The octets.
        #[debug("{:?}", Preview(data))]
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Octets of a red part for a scattered service that were not received before.
    Segment {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// The offset of the octets in the block.
        offset: u64,
        /// The octets. What arrived in several segments between two polls is given at once where it is contiguous.
        #[debug("{:?}", Preview(data))]
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Every octet of a red part for a scattered service was given. [`Command::Stored`] or [`Command::Refuse`] is
    /// awaited.
    RedPart {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// Octets of the red part.
        len: u64,
        /// Whether the block ends with the red part. Otherwise a green part follows.
        ends_block: bool,
    },
    /// A whole red part was received (RFC 5326 section 7.3).
    Received {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// The octets.
        #[debug("{:?}", Preview(data))]
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
        /// Whether the block ends with the red part. Otherwise a green part follows.
        ends_block: bool,
    },
    /// A segment of a green part was received (RFC 5326 section 7.2). Segments come in the order of arrival, and
    /// duplicates are not removed.
    Green {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// The offset of the octets in the block.
        offset: u64,
        /// The octets.
        #[debug("{:?}", Preview(data))]
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
        /// Whether the block ends with this segment.
        ends_block: bool,
    },
    /// The reception of a block was cancelled (RFC 5326 section 7.6). No event of the session follows.
    ///
    /// A block whose end was lost ends like this too: after as long without a segment as a sender takes to use
    /// up its retries, this engine cancels with `SYS_CNCLD`. If no red octets are missing the sender is not
    /// told, since it waits for nothing. What was delivered stays valid.
    Cancelled {
        /// The session.
        session: SessionId,
        /// The client service ID.
        client: u64,
        /// The side that cancelled.
        by: Side,
        /// The reason code.
        reason: Reason,
        /// What it stands for.
        cause: EndCause,
        /// Whether the red part was delivered before. It stays valid. That of a scattered service was delivered when
        /// [`Command::Stored`] said so.
        after_delivery: bool,
    },
}

/// Why an engine refused a command. A refused command has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum Error {
    /// No peer with this engine ID was added.
    #[display("unknown peer {_0}")]
    UnknownPeer(u64),
    /// A peer with this engine ID was added before.
    #[display("peer {_0} was added before")]
    PeerExists(u64),
    /// Invalid peer parameters.
    #[display("invalid peer: {_0}")]
    InvalidPeer(ConfigError),
    /// The [`Direction`](super::Direction) of this peer does not allow it.
    #[display("the direction of peer {_0} does not allow it")]
    Direction(u64),
    /// A ping to this peer is awaiting its answer.
    #[display("a ping to peer {_0} is awaiting its answer")]
    PingPending(u64),
    /// Engine ID 0 is reserved (RFC 7116 section 3.1.2).
    #[display("engine ID 0 is reserved")]
    EngineZero,
    /// The limit of peers is reached.
    #[display("limit of {limit} peers reached")]
    TooManyPeers {
        /// The limit, [`EngineLimits::peers`](super::EngineLimits::peers).
        limit: u32,
    },
    /// The limit of open client services is reached.
    #[display("limit of {limit} client services reached")]
    TooManyServices {
        /// The limit, [`EngineLimits::services`](super::EngineLimits::services).
        limit: u32,
    },
    /// Client service ID 0 is reserved, or the service is open.
    #[display("client service ID {_0} is {}", if *_0 == 0 { "reserved" } else { "in use" })]
    Service(u64),
    /// The client service is not open.
    #[display("client service {_0} is not open")]
    NotOpen(u64),
    /// The client service delivers its blocks unasked.
    #[display("client service {_0} delivers its blocks unasked")]
    NotOnDemand(u64),
    /// Every take of the client service was answered.
    #[display("every take of client service {_0} was answered")]
    NotTaking(u64),
    /// A block has at least one octet.
    #[display("a block has at least one octet")]
    Empty,
    /// The red part is longer than the block.
    #[display("red part of {red} octets exceeds the block of {len}")]
    RedTooLong {
        /// Octets of the red part.
        red: u64,
        /// Octets of the block.
        len: u64,
    },
    /// The block is longer than all blocks together may be.
    #[display("block of {len} octets exceeds the limit of {limit}")]
    TooLong {
        /// Octets of the block.
        len: usize,
        /// The limit, [`EngineLimits::export_octets`](super::EngineLimits::export_octets).
        limit: usize,
    },
    /// A limit of blocks being sent is reached. [`Event::Room`] follows when there is room for the block.
    #[display("limit of {limit} reached: {held} in use")]
    Full {
        /// How much of what is limited is in use: blocks, events or octets.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// A block with this tag is being sent.
    #[display("a block with tag {} is being sent", _0.0)]
    TagInUse(Tag),
    /// No block with this tag is being sent.
    #[display("no block with tag {} is being sent", _0.0)]
    UnknownTag(Tag),
    /// No block of this session is being received.
    #[display("no block of session {_0} is being received")]
    UnknownSession(SessionId),
    /// No red part of this session waits to be stored.
    #[display("no red part of session {_0} waits to be stored")]
    NothingToStore(SessionId),
}

impl StdError for Error {}

/// How far the transmission of a block has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Progress {
    /// Octets that were sent at least once.
    pub sent: u64,
    /// Octets of the red part that the peer has claimed in its reports.
    pub claimed: u64,
    /// Octets of the red part.
    pub red: u64,
    /// Octets of the block.
    pub len: u64,
}

/// What an engine holds at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Sessions: of blocks being sent, and of blocks being received.
    pub sessions: (usize, usize),
    /// Timers, running or frozen.
    pub timers: usize,
    /// Octets held for sessions, and for events that were not taken.
    pub octets_held: usize,
    /// Octets that wait to be taken in services opened on demand, with what it takes to hold them.
    pub octets_waiting: usize,
}

/// Counters of an engine, since it was made or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, derive_more::Display)]
#[display(
    "{exports_complete} blocks sent, {exports_failed} failed; \
     {imports_complete} received, {imports_cancelled} cancelled; \
     {segments_sent} segments sent, {segments_received} received, {} dropped; \
     {octets_resent} octets, {} checkpoints and reports sent again",
    self.dropped(), self.checkpoints_resent + self.reports_resent
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Segments sent.
    pub segments_sent: u64,
    /// Segments received, malformed ones included.
    pub segments_received: u64,
    /// Checkpoints sent again.
    pub checkpoints_resent: u64,
    /// Reports sent again.
    pub reports_resent: u64,
    /// Reports made that claim all of their scope.
    pub positive_reports_sent: u64,
    /// Reports made with gaps.
    pub negative_reports_sent: u64,
    /// Reports received that claim all of their scope.
    pub positive_reports_received: u64,
    /// Reports received with gaps.
    pub negative_reports_received: u64,
    /// Octets of red data sent again.
    pub octets_resent: u64,
    /// Blocks sent completely.
    pub exports_complete: u64,
    /// Blocks whose transmission was cancelled.
    pub exports_failed: u64,
    /// Red parts received and delivered.
    pub imports_complete: u64,
    /// Blocks whose reception was cancelled.
    pub imports_cancelled: u64,
    /// Octets of red data stored.
    pub red_octets: u64,
    /// Octets of green data delivered.
    pub green_octets: u64,
    /// Octets of red data that were received before.
    pub redundant_octets: u64,
    /// Segments that could not be decoded, or that contradict their session.
    pub malformed: u64,
    /// Segments without a valid authentication value.
    pub unauthentic: u64,
    /// Segments that name no suite and key accepted from their peer.
    pub unknown_key: u64,
    /// Cookies that neither begin one nor extend the one that is kept, with
    /// [`EngineLimits::cookies`](super::EngineLimits::cookies).
    pub invalid_cookies: u64,
    /// Segments from unknown engines.
    pub unknown_peer: u64,
    /// Segments for a client service that is not open.
    pub unknown_client: u64,
    /// Reports that cite a checkpoint which was never sent (RFC 5326 section 6.13). Their claims are not used.
    pub unknown_checkpoint: u64,
    /// Data segments of closed sessions.
    pub closed_session: u64,
    /// Segments dropped for lack of memory, or because a queue was full.
    pub no_room: u64,
    /// Segments that fit no datagram.
    pub oversize: u64,
    /// Keep-alive datagrams received (RFC 7122 section 3.4).
    pub keepalives: u64,
}

impl Stats {
    const fn dropped(&self) -> u64 {
        self.malformed
            + self.unauthentic
            + self.unknown_key
            + self.unknown_peer
            + self.unknown_client
            + self.closed_session
            + self.no_room
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString as _;

    use super::*;

    const SESSION: SessionId = SessionId {
        originator: 1,
        number: 9,
    };

    #[test]
    fn debug_shows_the_first_octets_of_a_payload_and_its_length() {
        let data = Bytes::from(alloc::vec![b'a'; 1 << 20]);
        let event = Event::Received {
            session: SESSION,
            client: 4,
            data: data.clone(),
            ends_block: true,
        };
        let command: Command<()> = Command::Send(Block::red(Tag(7), 2, 4, data));

        for text in [format!("{event:?}"), format!("{command:?}")] {
            assert!(
                text.contains("aaaaaaaaaaaaaaaa\".. (1048576 octets)"),
                "{text}"
            );
            assert!(text.len() < 250, "{text}");
        }
    }

    #[test]
    fn statistics_print_in_one_line() {
        let stats = Stats {
            exports_complete: 3,
            segments_sent: 40,
            malformed: 1,
            no_room: 2,
            ..Stats::default()
        };

        assert_eq!(
            stats.to_string(),
            "3 blocks sent, 0 failed; 0 received, 0 cancelled; 40 segments sent, 0 received, 3 dropped; \
             0 octets, 0 checkpoints and reports sent again"
        );
    }
}
