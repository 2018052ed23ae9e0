//! Commands, events, errors and statistics of a connection.

use alloc::boxed::Box;
use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::config::ConfigError;
use super::params::Selector;
use super::tpkt::TpktFault;
use super::wire::{DisconnectReason, RejectCause};
use crate::preview::Preview;
use crate::wire::DecodeError;
use crate::{Cause, Tag};

/// A request of the application to a connection.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command {
    /// Answer the CR of [`Event::Indication`] with a CC.
    Accept(Acceptance),
    /// Answer the CR of [`Event::Indication`] with a DR.
    Refuse(Refusal),
    /// Send a message of any length up to the queue limit.
    Send(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Send 1 to 16 octets of expedited data ahead of the queued messages (RFC 1006 section 6).
    SendExpedited(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Report [`Event::Flushed`] when all messages queued before this command are written to the stream.
    Flush(Tag),
    /// Continue reading after [`AfterHandshake::Pause`](super::AfterHandshake::Pause).
    Resume,
    /// Give the stream to the application when all queued messages are written, with the octets that were
    /// read from it and not decoded.
    Detach(Tag),
    /// Send all queued messages, then close the connection.
    Close,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(acceptance) => f.debug_tuple("Accept").field(acceptance).finish(),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
            Self::Send(message) => f.debug_tuple("Send").field(&Preview(message)).finish(),
            Self::SendExpedited(message) => {
                let message = Preview(message);
                f.debug_tuple("SendExpedited").field(&message).finish()
            }
            Self::Flush(tag) => f.debug_tuple("Flush").field(tag).finish(),
            Self::Resume => f.write_str("Resume"),
            Self::Detach(tag) => f.debug_tuple("Detach").field(tag).finish(),
            Self::Close => f.write_str("Close"),
        }
    }
}

/// The content of a CC beside the negotiated parameters.
#[derive(derive_more::Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Acceptance {
    /// Octets that replace the whole variable part, such as the negotiation response of RDP.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex::option"))]
    #[debug("{:?}", variable.as_deref().map(Preview))]
    pub variable: Option<Bytes>,
    /// User data behind the header, at most 32 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(user_data))]
    pub user_data: Bytes,
}

/// The content of a DR that refuses a CR.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Refusal {
    /// The reason. Class 0 has 0 to 3 (ISO 8073 13.5.3 d).
    pub reason: DisconnectReason,
    /// Additional information, at most 119 octets (ISO 8073 13.5.4).
    #[cfg_attr(feature = "serde", serde(default, with = "crate::hex"))]
    #[debug("{:?}", Preview(information))]
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

/// What a connection reports to the application. `Failed` or `Closed` is the last event, and comes once.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// A CR arrived. Answer it with [`Command::Accept`] or [`Command::Refuse`].
    Indication(Box<Indication>),
    /// The connection is open.
    Connected(Box<Connected>),
    /// A whole message arrived.
    Received(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// Expedited data arrived.
    Expedited(#[cfg_attr(feature = "serde", serde(with = "crate::hex"))] Bytes),
    /// The send queue has room again, after a command was refused with [`Error::Full`].
    Room,
    /// All messages queued before [`Command::Flush`] are written to the stream.
    Flushed(Tag),
    /// The peer sent octets that are not a TPKT, beginning with this one. See
    /// [`NonTpkt::Offer`](super::NonTpkt::Offer).
    NonTpkt(u8),
    /// The connection could not be opened.
    Failed(Box<ConnectionEnd>),
    /// The open connection ended.
    Closed(Box<ConnectionEnd>),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indication(indication) => f.debug_tuple("Indication").field(indication).finish(),
            Self::Connected(connected) => f.debug_tuple("Connected").field(connected).finish(),
            Self::Received(message) => f.debug_tuple("Received").field(&Preview(message)).finish(),
            Self::Expedited(message) => {
                f.debug_tuple("Expedited").field(&Preview(message)).finish()
            }
            Self::Room => f.write_str("Room"),
            Self::Flushed(tag) => f.debug_tuple("Flushed").field(tag).finish(),
            Self::NonTpkt(octet) => f.debug_tuple("NonTpkt").field(octet).finish(),
            Self::Failed(end) => f.debug_tuple("Failed").field(end).finish(),
            Self::Closed(end) => f.debug_tuple("Closed").field(end).finish(),
        }
    }
}

/// The content of a CR.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Indication {
    /// The selector of the initiator (parameter 0xC1).
    pub calling: Option<Selector>,
    /// The requested selector (parameter 0xC2).
    pub called: Option<Selector>,
    /// The TPDU size in octets that the CC will confirm.
    pub tpdu_size: usize,
    /// The preferred class. Class 0 was offered, at least as an alternative.
    pub class: u8,
    /// SRC-REF, the reference of the initiator.
    pub reference: u16,
    /// The variable part as received.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(variable))]
    pub variable: Bytes,
    /// User data behind the header.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(user_data))]
    pub user_data: Bytes,
}

/// The result of the handshake.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Connected {
    /// The selector of the initiator, if one was given.
    pub calling: Option<Selector>,
    /// The selector of the responder, if one was given.
    pub called: Option<Selector>,
    /// Octets of the largest TPDU that this end sends, header included.
    pub tpdu_size: usize,
    /// Whether expedited data may be sent.
    pub expedited: bool,
    /// The reference of the peer.
    pub reference: u16,
    /// The variable part of the peer's CR or CC as received.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(variable))]
    pub variable: Bytes,
    /// User data of the peer's CR or CC.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(user_data))]
    pub user_data: Bytes,
}

/// How a connection ended, and what was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConnectionEnd {
    /// Why the connection ended.
    pub reason: EndReason,
    /// Octets of an unfinished message or packet that arrived and were dropped.
    pub incomplete: usize,
    /// Octets of queued messages that were not written to the stream.
    pub unsent: usize,
}

impl ConnectionEnd {
    /// Tells whether the connection was closed normally: by either end, and without loss.
    ///
    /// A DR that says "normal disconnect" (128) or gives no reason (0) is a normal close: peers send one before
    /// they close the stream, though class 0 ends with the stream alone (ISO 8073 6.7.4).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let is_normal = match &self.reason {
            EndReason::Closed
            | EndReason::HalfClosed(_)
            | EndReason::Detached(_)
            | EndReason::PeerClosed => true,
            EndReason::Disconnected(disconnect) => matches!(
                disconnect.reason,
                DisconnectReason::NOT_SPECIFIED | DisconnectReason::NORMAL
            ),
            _ => false,
        };
        is_normal && self.incomplete == 0 && self.unsent == 0
    }
}

impl fmt::Display for ConnectionEnd {
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
pub enum EndReason {
    /// The application closed the connection.
    Closed,
    /// The application closed the connection, and the peer did not close its end of the stream within this
    /// time.
    HalfClosed(Duration),
    /// The application detached the stream.
    Detached(Tag),
    /// The application or the policy refused the CR.
    Declined(DisconnectReason),
    /// The peer closed the stream.
    PeerClosed,
    /// The peer closed the stream before it sent a CC.
    ClosedBeforeConfirm,
    /// The peer closed the stream before it sent a whole CR.
    ClosedBeforeRequest,
    /// The stream failed.
    Link(Cause),
    /// The peer refused the CR with a DR.
    Refused(Disconnect),
    /// The peer ended the open connection with a DR.
    Disconnected(Disconnect),
    /// The peer sent an ER.
    Rejected(RejectCause),
    /// No answer to the CR arrived within this time (TS1).
    NoConfirm(Duration),
    /// No CR arrived within this time.
    NoRequest(Duration),
    /// A packet was not complete within this time.
    PacketStalled(Duration),
    /// Nothing arrived on the open connection for this time.
    Idle(Duration),
    /// The peer read none of the queued messages for this time.
    SendStalled(Duration),
    /// The stream is not a sequence of TPKTs.
    Framing(TpktFault),
    /// A TPDU could not be decoded.
    Malformed(DecodeError),
    /// A TPDU arrived that the state does not allow.
    Unexpected {
        /// The short name of the TPDU.
        tpdu: &'static str,
        /// The short name of the TPDU that the state allows.
        awaited: &'static str,
    },
    /// The peer broke a rule of the protocol.
    ProtocolError(ProtocolError),
    /// The driver closed the connection in favour of others.
    Displaced {
        /// What all of them share.
        shared: &'static str,
        /// The most of it.
        limit: usize,
    },
    /// The driver passed octets to the connection while [`wants`](crate::Machine::wants) returned false.
    Overrun,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by this side"),
            Self::HalfClosed(span) => write!(
                f,
                "closed by this side; the peer did not close the stream within {span:?}"
            ),
            Self::Detached(_) => f.write_str("the stream was detached"),
            Self::Declined(reason) => write!(f, "refused by this side: {reason}"),
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::ClosedBeforeConfirm => f.write_str(
                "closed by the peer before it confirmed the connection; likely causes: \
                 an unknown selector, a TPDU size or parameter order it does not take, no free connection",
            ),
            Self::ClosedBeforeRequest => {
                f.write_str("closed by the peer before it requested a connection")
            }
            Self::Link(cause) => write!(f, "{cause}"),
            Self::Refused(disconnect) => write!(f, "refused by the peer: {disconnect}"),
            Self::Disconnected(disconnect) => write!(f, "disconnected by the peer: {disconnect}"),
            Self::Rejected(cause) => write!(f, "the peer reported an error: {cause}"),
            Self::NoConfirm(span) => {
                write!(f, "no answer to the connection request within {span:?}")
            }
            Self::NoRequest(span) => write!(f, "no connection request within {span:?}"),
            Self::PacketStalled(span) => write!(f, "a packet was not complete within {span:?}"),
            Self::Idle(span) => write!(f, "nothing arrived from the peer for {span:?}"),
            Self::SendStalled(span) => {
                write!(f, "the peer read none of the queued messages for {span:?}")
            }
            Self::Framing(fault) => write!(f, "not a TPKT stream: {fault}"),
            Self::Malformed(error) => write!(f, "malformed TPDU: {error}"),
            Self::Unexpected { tpdu, awaited } => {
                write!(f, "unexpected {tpdu}; {awaited} is allowed here")
            }
            Self::ProtocolError(error) => write!(f, "protocol error: {error}"),
            Self::Displaced { shared, limit } => write!(
                f,
                "closed in favour of others, which reached the limit of {limit} {shared}"
            ),
            Self::Overrun => {
                f.write_str("the driver read the stream while the connection did not want octets")
            }
        }
    }
}

/// The content of a DR from the peer.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Disconnect {
    /// The reason.
    pub reason: DisconnectReason,
    /// Additional information (ISO 8073 13.5.4).
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(information))]
    pub information: Bytes,
    /// User data, which a DR of class 0 does not have (ISO 8073 13.5.5).
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(user_data))]
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

/// A rule of the protocol that the peer broke (ISO 8073 6.22).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ProtocolError {
    /// The CR does not offer class 0.
    Class(u8),
    /// The CC selects a class other than 0.
    SelectedClass(u8),
    /// DST-REF of the CC is not the reference of the CR.
    Reference {
        /// SRC-REF of the CR.
        expected: u16,
        /// DST-REF of the CC.
        found: u16,
    },
    /// DST-REF of the CR is not 0.
    RequestReference(u16),
    /// The credit of a CR, CC or ED is not 0.
    Credit(u8),
    /// A parameter occurs twice.
    Repeated,
    /// The CC has another selector than the CR.
    Selector {
        /// The selector in the CR.
        expected: Selector,
        /// The selector in the CC.
        found: Selector,
    },
    /// The TPDU size in the CC is larger than that in the CR.
    Size {
        /// Octets in the CC.
        found: usize,
        /// Octets in the CR.
        proposed: usize,
    },
    /// A DT is larger than the negotiated TPDU size.
    DataSize {
        /// Octets of the TPDU.
        len: usize,
        /// The negotiated TPDU size in octets.
        limit: usize,
    },
    /// TPDU-NR of a DT is not 0.
    TpduNumber(u8),
    /// The code of a DT is that of class 1.
    DataCode(u8),
    /// A DT has neither user data nor EOT.
    EmptySegment,
    /// A message exceeds `message_limit`.
    MessageLimit {
        /// Octets of the message so far.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// A message has more segments without user data than `empty_segment_limit`.
    EmptySegments {
        /// The limit.
        limit: u16,
    },
    /// Expedited data have no octets, or more than 16.
    Expedited(usize),
    /// An ED does not have EOT.
    ExpeditedSegment,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(
                f,
                "class {class} requested without class 0 as an alternative"
            ),
            Self::SelectedClass(class) => write!(f, "class {class} selected, class 0 was offered"),
            Self::Reference { expected, found } => {
                write!(
                    f,
                    "confirmation for reference {found}, the request had {expected}"
                )
            }
            Self::RequestReference(found) => {
                write!(f, "destination reference {found} in a connection request")
            }
            Self::Credit(credit) => write!(f, "credit {credit} in class 0"),
            Self::Repeated => f.write_str("a parameter occurs twice"),
            Self::Selector { expected, found } => write!(
                f,
                "selector \"{found}\" confirmed, \"{expected}\" was requested"
            ),
            Self::Size { found, proposed } => {
                write!(f, "TPDU size {found} confirmed, {proposed} was proposed")
            }
            Self::DataSize { len, limit } => write!(
                f,
                "DT of {len} octets exceeds the negotiated TPDU size of {limit}"
            ),
            Self::TpduNumber(number) => write!(f, "TPDU number {number} in class 0"),
            Self::DataCode(code) => write!(f, "DT with code 0x{code:02x}, class 0 has 0xf0"),
            Self::EmptySegment => f.write_str("DT with neither user data nor end of message"),
            Self::MessageLimit { len, limit } => write!(
                f,
                "message of at least {len} octets exceeds the limit of {limit}"
            ),
            Self::EmptySegments { limit } => write!(
                f,
                "message exceeds the limit of {limit} segments without user data"
            ),
            Self::Expedited(len) => {
                write!(f, "expedited data of {len} octets, 1 to 16 are allowed")
            }
            Self::ExpeditedSegment => f.write_str("expedited data without end of message"),
        }
    }
}

/// Why a command was refused. The command has no effect on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The connection is not open yet.
    NotOpen,
    /// The connection has ended, or is closing.
    Closed,
    /// No CR waits for an answer.
    NoIndication,
    /// The connection is not paused.
    NotPaused,
    /// The send queue is full. [`Event::Room`] follows when it has room.
    Full {
        /// Octets in the queue.
        queued: usize,
        /// The limit of the queue in octets.
        limit: usize,
    },
    /// The message is longer than the send queue.
    TooLong {
        /// Octets of the message.
        len: usize,
        /// Octets of the longest message that the queue holds.
        limit: usize,
    },
    /// The message is empty, and the configuration refuses empty messages.
    Empty,
    /// The handshake did not agree on expedited data.
    NotAgreed,
    /// Expedited data have no octets, or more than 16 (RFC 1006 section 6).
    Expedited {
        /// Octets given.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// Too many flushes are pending.
    Flushes {
        /// The limit.
        limit: usize,
    },
    /// A message has arrived in part, which detaching the stream would lose.
    MidMessage {
        /// Octets of it so far.
        len: usize,
    },
    /// The additional information of a refusal is too long.
    Information {
        /// Octets given.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// The acceptance does not fit a CC.
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
            Self::Empty => f.write_str("empty messages are disabled by the configuration"),
            Self::NotAgreed => f.write_str("the peer did not agree to expedited data"),
            Self::Expedited { len, limit } => {
                write!(
                    f,
                    "expedited data of {len} octets, 1 to {limit} are allowed"
                )
            }
            Self::Flushes { limit } => write!(f, "limit of {limit} pending flushes reached"),
            Self::MidMessage { len } => {
                write!(f, "{len} octets of an unfinished message have arrived")
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

/// The counters of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stats {
    /// Messages received whole.
    pub messages_received: u64,
    /// Octets of user data received.
    pub octets_received: u64,
    /// Messages written to the stream whole.
    pub messages_sent: u64,
    /// Octets of user data written to the stream.
    pub octets_sent: u64,
    /// Deviations of the peer from the standards that [`Strict`](super::Strict) does not refuse.
    pub tolerated: u64,
    /// Octets that arrived while the connection was closing, and were dropped.
    pub discarded: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages_received,
            octets_received,
            messages_sent,
            octets_sent,
            tolerated,
            discarded,
        } = self;
        write!(
            f,
            "{messages_received} messages ({octets_received} octets) received, \
             {messages_sent} messages ({octets_sent} octets) sent, \
             {tolerated} deviations tolerated, {discarded} octets discarded"
        )
    }
}
