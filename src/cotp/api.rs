//! What goes into a connection and what comes out of it, as data.

use alloc::boxed::Box;
use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::config::ConfigError;
use super::params::Selector;
use super::tpkt::TpktFault;
use super::wire::{DisconnectReason, RejectCause};
use crate::wire::DecodeError;
use crate::{Cause, Tag};

/// What the application can ask of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command {
    /// Confirm the CR that [`Event::Indication`] showed.
    Accept(Acceptance),
    /// Refuse it.
    Refuse(Refusal),
    /// Send a message of any length up to the queue limit.
    Send(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Send 1 to 16 octets ahead of the messages that wait.
    SendExpedited(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Ask for [`Event::Flushed`] once everything accepted so far is with the link.
    Flush(Tag),
    /// Read on after [`AfterHandshake::Pause`](super::AfterHandshake::Pause).
    Resume,
    /// Take the stream over, with the octets that were read too far, once everything accepted so far is
    /// with the link.
    Detach(Tag),
    /// Send what was accepted, then end the connection.
    Close,
}

/// What a CC carries beside the negotiated parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Acceptance {
    /// The whole variable part in place of all parameters: RDP's negotiation response.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex::option"))]
    pub variable: Option<Bytes>,
    /// User data behind the header, at most 32 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub user_data: Bytes,
}

/// What a DR carries when a CR is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Refusal {
    /// Why. Class 0 has 0 to 3 (ISO 8073 13.5.3 d).
    pub reason: DisconnectReason,
    /// Additional information, at most 119 octets (ISO 8073 13.5.4).
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub information: Bytes,
}

impl From<DisconnectReason> for Refusal {
    fn from(reason: DisconnectReason) -> Self {
        Self {
            reason,
            information: Bytes::new(),
        }
    }
}

/// What a connection tells the application. `Failed` or `Closed` comes once, as the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// A peer wants to connect; answer with [`Command::Accept`] or [`Command::Refuse`].
    Indication(Box<Indication>),
    /// The connection is open.
    Connected(Box<Connected>),
    /// A whole message came.
    Received(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Expedited data came.
    Expedited(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// There is room again, after a command was refused with [`Error::Full`].
    Room,
    /// Everything accepted before [`Command::Flush`] is with the link.
    Flushed(Tag),
    /// The peer sent octets that are no TPKT, the first of which is given; see
    /// [`NonTpkt::Offer`](super::NonTpkt::Offer).
    NonTpkt(u8),
    /// The connection never opened.
    Failed(Box<End>),
    /// The open connection ended.
    Closed(Box<End>),
}

/// What a CR asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Indication {
    /// The selector of the initiator (0xC1).
    pub calling: Option<Selector>,
    /// The selector it wants to reach (0xC2).
    pub called: Option<Selector>,
    /// Octets of the largest TPDU, as this end would confirm it.
    pub tpdu_size: usize,
    /// The class that was preferred; class 0 was offered at least as an alternative.
    pub class: u8,
    /// The reference of the initiator.
    pub reference: u16,
    /// The variable part as it stands in the CR.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub variable: Bytes,
    /// User data behind the header.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub user_data: Bytes,
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Connected {
    /// The selector of the initiator, if one was given.
    pub calling: Option<Selector>,
    /// The selector of the responder, if one was given.
    pub called: Option<Selector>,
    /// Octets of the largest TPDU this end sends, header included.
    pub tpdu_size: usize,
    /// Whether expedited data may be sent.
    pub expedited: bool,
    /// The reference of the peer.
    pub reference: u16,
    /// The variable part of the peer's CR or CC as it stands there.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub variable: Bytes,
    /// User data of the peer's CR or CC.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub user_data: Bytes,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Octets of an unfinished message or packet that came and were dropped.
    pub incomplete: usize,
    /// Octets of accepted messages that were not with the link by then.
    pub unsent: usize,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let Self {
            incomplete, unsent, ..
        } = self;
        match (incomplete, unsent) {
            (0, 0) => Ok(()),
            (_, 0) => write!(f, " ({incomplete} octets of an unfinished message dropped)"),
            (0, _) => write!(f, " ({unsent} octets not sent)"),
            _ => write!(
                f,
                " ({incomplete} octets of an unfinished message dropped, {unsent} octets not sent)"
            ),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Reason {
    /// The application closed it.
    Closed,
    /// The application closed it, and the peer did not end too within the time given.
    HalfClosed(Duration),
    /// The application took the stream over.
    Detached(Tag),
    /// The application, or the policy, refused the CR.
    Declined(DisconnectReason),
    /// The peer ended the stream.
    PeerClosed,
    /// The peer ended the stream where its CC was due.
    ClosedBeforeConfirm,
    /// The peer ended the stream before it sent a whole CR.
    ClosedBeforeRequest,
    /// The link broke.
    Link(Cause),
    /// The peer refused the connection by a DR.
    Refused(Disconnect),
    /// The peer ended the open connection by a DR.
    Disconnected(Disconnect),
    /// The peer sent an ER.
    Rejected(RejectCause),
    /// No answer came to the CR (TS1).
    NoConfirm(Duration),
    /// No CR came.
    NoRequest(Duration),
    /// A packet was not finished in time.
    PacketStalled(Duration),
    /// Nothing came for too long.
    Idle(Duration),
    /// The peer did not take what was accepted for sending.
    SendStalled(Duration),
    /// The octets are no TPKT.
    Framing(TpktFault),
    /// A TPDU cannot be read.
    Malformed(DecodeError),
    /// A TPDU that may not come here.
    Unexpected {
        /// Its name.
        tpdu: &'static str,
        /// What was awaited.
        awaited: &'static str,
    },
    /// A rule of the protocol was broken.
    Violation(Violation),
    /// The driver went on feeding a stream that was not wanted.
    Overrun,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by this side"),
            Self::HalfClosed(span) => {
                write!(
                    f,
                    "closed by this side, and the peer did not end too within {span:?}"
                )
            }
            Self::Detached(_) => f.write_str("the stream was handed over"),
            Self::Declined(reason) => write!(f, "refused by this side: {reason}"),
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::ClosedBeforeConfirm => {
                f.write_str("closed before the connection was confirmed: wrong selector?")
            }
            Self::ClosedBeforeRequest => f.write_str("closed before a connection was requested"),
            Self::Link(cause) => write!(f, "{cause}"),
            Self::Refused(disconnect) => write!(f, "refused by the peer: {disconnect}"),
            Self::Disconnected(disconnect) => write!(f, "disconnected by the peer: {disconnect}"),
            Self::Rejected(cause) => write!(f, "the peer reported an error: {cause}"),
            Self::NoConfirm(span) => {
                write!(f, "no answer to the connection request within {span:?}")
            }
            Self::NoRequest(span) => write!(f, "no connection request within {span:?}"),
            Self::PacketStalled(span) => write!(f, "a packet was not finished within {span:?}"),
            Self::Idle(span) => write!(f, "nothing came from the peer for {span:?}"),
            Self::SendStalled(span) => {
                write!(
                    f,
                    "the peer took nothing for {span:?} of what was still to be sent"
                )
            }
            Self::Framing(fault) => write!(f, "not a TPKT stream: {fault}"),
            Self::Malformed(error) => write!(f, "malformed TPDU: {error}"),
            Self::Unexpected { tpdu, awaited } => write!(f, "{tpdu} where {awaited} was awaited"),
            Self::Violation(violation) => write!(f, "protocol error: {violation}"),
            Self::Overrun => f.write_str("the driver fed on while the stream was not wanted"),
        }
    }
}

/// What a DR of the peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Disconnect {
    /// The peer's reason.
    pub reason: DisconnectReason,
    /// Additional information (ISO 8073 13.5.4).
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub information: Bytes,
    /// User data, which class 0 does not have (ISO 8073 13.5.5).
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub user_data: Bytes,
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if self.information.is_empty() {
            return Ok(());
        }
        write!(f, ", \"{}\"", self.information.escape_ascii())
    }
}

/// A rule of the protocol that the peer broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Violation {
    /// The CR offers no class that this end has.
    Class(u8),
    /// The CC selects a class that was not offered.
    SelectedClass(u8),
    /// The CC answers another CR.
    Reference {
        /// The reference of our CR.
        expected: u16,
        /// The reference in the CC.
        found: u16,
    },
    /// The CR has a destination reference.
    RequestReference(u16),
    /// A CR, CC or ED gives credit.
    Credit(u8),
    /// A parameter stands twice.
    Repeated,
    /// The CC has another selector than the CR.
    Selector {
        /// Ours.
        expected: Selector,
        /// The peer's.
        found: Selector,
    },
    /// The CC has a preferred TPDU size of so many octets, and none was proposed (X.224 6.5.4 k).
    PreferredSize(usize),
    /// The CC has a larger TPDU size than was proposed.
    Size {
        /// Octets in the CC.
        found: usize,
        /// Octets proposed.
        proposed: usize,
    },
    /// A DT is larger than agreed.
    DataSize {
        /// Octets of the TPDU.
        len: usize,
        /// Octets agreed on.
        limit: usize,
    },
    /// The TPDU number of a DT is not 0.
    TpduNumber(u8),
    /// A DT has the code of class 1.
    DataCode(u8),
    /// A DT without user data does not end a message.
    EmptySegment,
    /// A message grew too long.
    MessageLimit {
        /// Octets of it so far.
        len: usize,
        /// Octets accepted.
        limit: usize,
    },
    /// A message had too many segments without user data.
    EmptySegments {
        /// Segments accepted.
        limit: u16,
    },
    /// Expedited data have 1 to 16 octets.
    Expedited(usize),
    /// Expedited data end with their TPDU.
    ExpeditedSegment,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(
                f,
                "class {class} requested without class 0 as an alternative"
            ),
            Self::SelectedClass(class) => write!(f, "class {class} selected, class 0 was offered"),
            Self::Reference { expected, found } => {
                write!(f, "confirmation for reference {found}, ours is {expected}")
            }
            Self::RequestReference(found) => {
                write!(f, "destination reference {found} in a connection request")
            }
            Self::Credit(credit) => write!(f, "credit {credit} in class 0"),
            Self::Repeated => f.write_str("a parameter stands twice"),
            Self::Selector { expected, found } => {
                write!(
                    f,
                    "selector \"{found}\" confirmed, \"{expected}\" was requested"
                )
            }
            Self::PreferredSize(found) => {
                write!(
                    f,
                    "preferred TPDU size {found} confirmed, none was proposed"
                )
            }
            Self::Size { found, proposed } => {
                write!(f, "TPDU size {found} confirmed, {proposed} was proposed")
            }
            Self::DataSize { len, limit } => {
                write!(
                    f,
                    "DT of {len} octets exceeds the agreed TPDU size of {limit}"
                )
            }
            Self::TpduNumber(number) => write!(f, "TPDU number {number} in class 0"),
            Self::DataCode(code) => write!(f, "DT with code 0x{code:02x}, class 0 has 0xf0"),
            Self::EmptySegment => f.write_str("DT without user data in the middle of a message"),
            Self::MessageLimit { len, limit } => {
                write!(
                    f,
                    "message of {len} octets or more exceeds the limit of {limit}"
                )
            }
            Self::EmptySegments { limit } => {
                write!(
                    f,
                    "message with more than {limit} segments without user data"
                )
            }
            Self::Expedited(len) => {
                write!(f, "expedited data of {len} octets, 1 to 16 are allowed")
            }
            Self::ExpeditedSegment => f.write_str("expedited data that do not end with their TPDU"),
        }
    }
}

/// Why a command was refused. The connection goes on as if it had not been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The connection is not open yet.
    NotOpen,
    /// The connection has ended or is ending.
    Closed,
    /// No CR waits for an answer.
    NoIndication,
    /// Nothing is paused.
    NotPaused,
    /// The send queue has no room for it. [`Event::Room`] follows when there is.
    Full {
        /// Octets in the queue.
        queued: usize,
        /// Octets it may hold.
        limit: usize,
    },
    /// The message can never fit the send queue.
    TooLong {
        /// Octets of the message.
        len: usize,
        /// Octets a message may have.
        limit: usize,
    },
    /// The message is empty, and the configuration refuses empty ones.
    Empty,
    /// Expedited data were not agreed on.
    NotAgreed,
    /// Expedited data have 1 to 16 octets (RFC 1006 section 6).
    Expedited {
        /// Octets given.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// Too many flushes are under way.
    Flushes {
        /// How many there may be.
        limit: usize,
    },
    /// Part of a message has come, which a hand-over would lose.
    MidMessage {
        /// Octets of it so far.
        len: usize,
    },
    /// The additional information of a refusal is too long.
    Information {
        /// Octets given.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// The parameters of an acceptance do not fit a CC.
    Acceptance(ConfigError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the connection is not open yet"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::NoIndication => f.write_str("no connection request waits for an answer"),
            Self::NotPaused => f.write_str("the connection is not paused"),
            Self::Full { queued, limit } => {
                write!(
                    f,
                    "send queue is full: {queued} octets of a limit of {limit}"
                )
            }
            Self::TooLong { len, limit } => {
                write!(f, "message of {len} octets exceeds the limit of {limit}")
            }
            Self::Empty => f.write_str("empty messages are not sent"),
            Self::NotAgreed => f.write_str("the peer did not agree to expedited data"),
            Self::Expedited { len, limit } => {
                write!(
                    f,
                    "expedited data of {len} octets, 1 to {limit} are allowed"
                )
            }
            Self::Flushes { limit } => write!(f, "{limit} flushes are under way, the limit"),
            Self::MidMessage { len } => {
                write!(f, "{len} octets of an unfinished message have come")
            }
            Self::Information { len, limit } => {
                write!(
                    f,
                    "additional information of {len} octets exceeds the limit of {limit}"
                )
            }
            Self::Acceptance(error) => write!(f, "{error}"),
        }
    }
}

impl StdError for Error {}

/// What a connection has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Messages received whole.
    pub messages_received: u64,
    /// Octets of user data received.
    pub octets_received: u64,
    /// Messages written to the link whole.
    pub messages_sent: u64,
    /// Octets of user data written to the link.
    pub octets_sent: u64,
    /// Deviations of the peer that were passed over.
    pub tolerated: u64,
    /// Octets that came when nothing could be done with them any more.
    pub discarded: u64,
}
