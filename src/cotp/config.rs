//! How a connection behaves: the configuration, and the one gate that refuses a bad one.

use alloc::vec::Vec;
use core::error::Error as StdError;
use core::fmt;
use core::num::NonZeroU16;
use core::time::Duration;

use bytes::Bytes;

use super::params::{Selector, TpduSize};

/// How one connection behaves. `Default` is an initiator without selectors.
///
/// Spans of `None` switch a timer off, and none may be 0. No RFC gives values for them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Config {
    /// Which end this is, and what only that end decides.
    pub role: Role,
    /// The largest TPDU to propose or to agree to. [`TpduSize::LARGEST`] proposes by leaving the parameter
    /// out (RFC 1006 section 5). Default 8192 octets.
    pub tpdu_size: TpduSize,
    /// The preferred maximum TPDU size in units of 128 octets, 1 to 511: what an initiator proposes beside
    /// `tpdu_size` (X.224 6.5.4 k). A responder uses the parameter whenever a CR has it, up to this many
    /// units, or as many as `tpdu_size` holds when it is `None`. Default `None`.
    pub preferred_size: Option<NonZeroU16>,
    /// This end's reference, or `None` to draw one from the seed (ISO 8073 6.5.4 a).
    pub reference: Option<NonZeroU16>,
    /// The order in which CR or CC carry their parameters; LOGO! controllers drop others than the default.
    pub order: ParameterOrder,
    /// What the variable part of the peer's CR or CC is read as.
    pub variable_part: VariablePart,
    /// What a missing TPDU size in the CC means for an initiator that proposed one.
    pub absent_size: AbsentSize,
    /// Whether to agree to expedited data (RFC 1006 section 5). Default false.
    pub expedited: bool,
    /// What follows the handshake.
    pub after_handshake: AfterHandshake,
    /// What a packet that is no TPKT does to an open connection.
    pub non_tpkt: NonTpkt,
    /// Whether the application may send empty messages. Default refused: libiec61850 and others close on
    /// one.
    pub empty: EmptyMessages,
    /// Deviations of the peer that end the connection. Deployed peers show all those that are off by default.
    pub strict: Strict,
    /// Which TPDUs of courtesy to send at an end.
    pub farewell: SendDisconnect,
    /// Octets of the longest packet accepted, 7 to 65,535; never less than 4 more than `tpdu_size`.
    pub packet_limit: u16,
    /// Octets of the longest message accepted, whatever its segments. Default 1 MiB.
    pub message_limit: usize,
    /// Segments without user data accepted in one message. Default 16.
    pub empty_segment_limit: u16,
    /// Octets of received messages that wait for the application, each counted with 64 more; at the limit
    /// the stream is left unread. Default 256 KiB.
    pub receive_queue: usize,
    /// Octets of accepted messages that wait to be sent, each counted with 64 more. Default 2 MiB, so
    /// that the longest message that a peer accepts by default fits.
    pub send_queue: usize,
    /// TS1: how long an initiator waits for the answer to its CR (ISO 8073 6.5.4). Default 10 s.
    pub answer_timeout: Option<Duration>,
    /// How long a responder waits for a CR. Default 10 s.
    pub request_timeout: Option<Duration>,
    /// How long a packet may stay unfinished. Default 30 s.
    pub packet_timeout: Option<Duration>,
    /// How long nothing may come on an open connection. Default off.
    pub idle_timeout: Option<Duration>,
    /// How long a connection that closes or is handed over may make no progress in sending what was
    /// accepted. Default 30 s.
    pub drain_timeout: Duration,
    /// TS2: how long to wait for the peer's end after ours. Then the stream is closed without it; what was
    /// accepted is with the system by then. Default 2 s.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Initiator(Proposal::default()),
            tpdu_size: TpduSize::ISO,
            preferred_size: None,
            reference: None,
            order: ParameterOrder::default(),
            variable_part: VariablePart::Parameters,
            absent_size: AbsentSize::Proposal,
            expedited: false,
            after_handshake: AfterHandshake::Receive,
            non_tpkt: NonTpkt::Close,
            empty: EmptyMessages::Refuse,
            strict: Strict::default(),
            farewell: SendDisconnect::INVALID_REQUEST,
            packet_limit: u16::MAX,
            message_limit: 1 << 20,
            empty_segment_limit: 16,
            receive_queue: 1 << 18,
            send_queue: 1 << 21,
            answer_timeout: Some(Duration::from_secs(10)),
            request_timeout: Some(Duration::from_secs(10)),
            packet_timeout: Some(Duration::from_secs(30)),
            idle_timeout: None,
            drain_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// An initiator that calls `called` from `calling`; all else by default.
    #[must_use]
    pub fn initiator(calling: Option<Selector>, called: Option<Selector>) -> Self {
        Self {
            role: Role::Initiator(Proposal {
                calling,
                called,
                ..Proposal::default()
            }),
            ..Self::default()
        }
    }

    /// A responder; all else by default.
    #[must_use]
    pub fn responder(policy: Policy) -> Self {
        Self {
            role: Role::Responder(policy),
            ..Self::default()
        }
    }

    /// Returns the bytes of memory that it holds beside its own size.
    pub(super) fn memory_used(&self) -> usize {
        let of = |selector: &Selector| selector.octets().len();
        match &self.role {
            Role::Initiator(proposal) => {
                proposal.calling.as_ref().map_or(0, of)
                    + proposal.called.as_ref().map_or(0, of)
                    + proposal.variable.as_ref().map_or(0, Bytes::len)
                    + proposal.extra.len()
                    + proposal.user_data.len()
            }
            Role::Responder(Policy::Selectors(selectors)) => {
                selectors.capacity() * size_of::<Selector>()
                    + selectors.iter().map(of).sum::<usize>()
            }
            Role::Responder(Policy::Ask | Policy::AcceptAny) => 0,
        }
    }
}

/// Which end of the connection this is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Role {
    /// Sends the CR as soon as the stream is up.
    Initiator(Proposal),
    /// Waits for a CR.
    Responder(Policy),
}

/// What an initiator puts into its CR beside the sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Proposal {
    /// The selector of this end (0xC1).
    pub calling: Option<Selector>,
    /// The selector to be reached (0xC2).
    pub called: Option<Selector>,
    /// Octets behind the parameters, inside the header: further parameters as S7 routing has them.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub extra: Bytes,
    /// The whole variable part in place of all parameters: RDP's cookie and negotiation request.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex::option"))]
    pub variable: Option<Bytes>,
    /// User data behind the header (RFC 2126 section 4.1.1), at most 32 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub user_data: Bytes,
    /// Whether the CR may exceed the 128 octets of ISO 8073 13.3, as RDP and long selectors do.
    pub long_request: bool,
}

/// How a responder decides on a CR that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Policy {
    /// [`Event::Indication`](super::Event::Indication) asks the application, which answers
    /// [`Command::Accept`](super::Command::Accept) or [`Command::Refuse`](super::Command::Refuse).
    Ask,
    /// Everybody is accepted.
    AcceptAny,
    /// A CR is accepted when its called selector is one of these, and refused as unknown otherwise. An
    /// absent selector matches an empty one.
    Selectors(Vec<Selector>),
}

/// The parameters of a CR or CC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Parameter {
    /// 0xC1.
    Calling,
    /// 0xC2.
    Called,
    /// 0xC0, with 0xF0 behind it.
    TpduSize,
}

/// An order of the three parameters; `extra` octets and options always come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ParameterOrder(pub [Parameter; 3]);

impl Default for ParameterOrder {
    /// Selectors before the size: the order of hat-drivers, and the only one that LOGO! takes.
    fn default() -> Self {
        Self([Parameter::Calling, Parameter::Called, Parameter::TpduSize])
    }
}

/// What a variable part is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum VariablePart {
    /// A list of parameters. One that begins with `Cookie: ` is RDP's and counts as none.
    Parameters,
    /// Opaque octets for the application; there are no selectors and no size then.
    Opaque,
}

/// What a CC without a TPDU size has selected, after a CR that proposed one (RFC 2126 section 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AbsentSize {
    /// The size that was proposed, as hat-drivers and libiec61850 read it.
    Proposal,
    /// 128 octets (ISO 8073 13.3.4 b).
    Iso128,
    /// 65,531 octets, though that is more than was proposed (RFC 1006 section 5).
    Rfc1006,
}

/// What follows the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AfterHandshake {
    /// Messages.
    Receive,
    /// Nothing is read until [`Command::Resume`](super::Command::Resume) or
    /// [`Command::Detach`](super::Command::Detach): RDP starts TLS on the stream.
    Pause,
}

/// What octets that are no TPKT do to an open connection, when they stand where a packet may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum NonTpkt {
    /// They end it.
    Close,
    /// [`Event::NonTpkt`](super::Event::NonTpkt) offers the stream, and nothing is read until the
    /// application answers by [`Command::Detach`](super::Command::Detach) or
    /// [`Command::Close`](super::Command::Close). RDP's fast path looks like this.
    Offer,
}

/// Whether empty messages may be sent. They are always received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EmptyMessages {
    /// Refused with [`Error::Empty`](super::Error::Empty).
    Refuse,
    /// Sent as one DT without user data.
    Send,
}

bitflags::bitflags! {
    /// Deviations from the letter that end the connection instead of being passed over.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct Strict: u16 {
        /// The reserved octet of a TPKT is not 0 (against RFC 2126 section 6.10).
        const RESERVED = 1;
        /// The TPDU number of a DT or ED is not 0 (RFC 2126 section 6.5).
        const TPDU_NUMBER = 1 << 1;
        /// A DT is larger than agreed (ISO 8073 13.7.5).
        const DATA_SIZE = 1 << 2;
        /// The CC has a larger size than proposed (ISO 8073 6.5.4 j).
        const CONFIRM_SIZE = 1 << 3;
        /// The destination reference of a CR is not 0 (ISO 8073 13.3.3 c).
        const REQUEST_REFERENCE = 1 << 4;
        /// The credit of a CR, CC or ED is not 0 (ISO 8073 13.3.3 b, RFC 2126 section 6.5).
        const CREDIT = 1 << 5;
        /// A parameter stands twice (against ISO 8073 13.2.3).
        const REPEATED = 1 << 6;
        /// The CC has another calling selector than the CR.
        const CALLING = 1 << 7;
        /// A DT has no user data and does not end a message (ISO 8073 6.3.3).
        const EMPTY_SEGMENT = 1 << 8;
        /// The CC has another called selector than the CR; the default refuses this one.
        const RESPONDING = 1 << 9;
        /// The code of a DT has bit 1 set, which is class 1 of later X.224; the default refuses this one.
        const DATA_CODE = 1 << 10;
    }

    /// TPDUs of courtesy. Class 0 ends with its TCP connection and needs none of them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct SendDisconnect: u8 {
        /// An ER answers an invalid CR (ISO 8073 6.6.3). On by default.
        const INVALID_REQUEST = 1;
        /// An ER goes before the close when a CC is not in order, or the peer breaks the protocol on an open
        /// connection (ISO 8073 6.22.3).
        const PROTOCOL_ERROR = 1 << 1;
        /// A DR goes before a close by the application, as iec61850bean and python-snap7 do.
        const CLOSE = 1 << 2;
    }
}

impl Default for Strict {
    fn default() -> Self {
        Self::RESPONDING | Self::DATA_CODE
    }
}

/// Why a [`Config`] or the parameters of a CC were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `preferred_size` is over 511 units, the most that a TPKT holds.
    PreferredSize(u16),
    /// `order` does not name each parameter once.
    Order,
    /// The variable part is longer than a header can be.
    Variable {
        /// Its octets.
        len: usize,
        /// Octets there is room for.
        limit: usize,
    },
    /// The CR is longer than ISO 8073 13.3 allows, and `long_request` is not set.
    Request {
        /// Its octets.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// The user data of CR or CC are longer than 32 octets.
    UserData {
        /// Its octets.
        len: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// `packet_limit` is under what `tpdu_size` can agree to.
    PacketLimit {
        /// The configured limit.
        limit: u16,
        /// The least that is allowed.
        least: usize,
    },
    /// `receive_queue` is 0, so that nothing could ever be read.
    ReceiveQueue,
    /// A timer of no time at all would run out before anything could happen; `None` switches one off.
    NoTime {
        /// The field.
        timer: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreferredSize(units) => write!(
                f,
                "preferred size of {units} units exceeds the limit of 511"
            ),
            Self::Order => f.write_str("the parameter order does not name each parameter once"),
            Self::Variable { len, limit } => {
                write!(
                    f,
                    "variable part of {len} octets exceeds the limit of {limit}"
                )
            }
            Self::Request { len, limit } => {
                write!(
                    f,
                    "connection request of {len} octets exceeds the limit of {limit}"
                )
            }
            Self::UserData { len, limit } => {
                write!(
                    f,
                    "connect user data of {len} octets exceeds the limit of {limit}"
                )
            }
            Self::PacketLimit { limit, least } => {
                write!(
                    f,
                    "packet limit of {limit} octets is under the least of {least}"
                )
            }
            Self::ReceiveQueue => f.write_str("receive queue of 0 octets is under the least of 1"),
            Self::NoTime { timer } => {
                write!(f, "{timer} of 0 s leaves no time")
            }
        }
    }
}

impl StdError for ConfigError {}
