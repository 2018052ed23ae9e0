//! The configuration of a connection, and the errors of an invalid one.

use alloc::vec::Vec;
use core::error::Error as StdError;
use core::fmt;
use core::num::NonZeroU16;
use core::time::Duration;

use bytes::Bytes;

use super::params::{Selector, TpduSize};
use crate::preview::Preview;

/// The configuration of one connection. `Default` is an initiator without selectors; presets such as
/// [`Config::s7`] are what peers of one kind need.
///
/// With the feature `serde`, a configuration file needs only the fields that differ from the default, and has those of
/// all parts in one table. Durations are texts such as `"1.3s"`, numbers of seconds, or `"off"` for `None`; octets
/// are `"hex:0102"`. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// Initiator or responder, with the settings that only one of them has.
    pub role: Role,
    /// The largest TPDU to propose or to agree to. [`TpduSize::LARGEST`] is proposed by leaving the parameter
    /// out (RFC 1006 section 5). Default 2048 octets, with which class 0 of ISO 8073 ends (13.3.4 b): some
    /// peers refuse a CR that proposes more.
    pub tpdu_size: TpduSize,
    /// Whether messages are read as soon as the connection is open.
    pub after_handshake: AfterHandshake,
    /// What may be held and received.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub limits: ConnectionLimits,
    /// How long is waited for what.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub timers: ConnectionTimers,
    /// What single kinds of peers need.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub compat: Compat,
}

/// What a connection may hold and receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ConnectionLimits {
    /// Octets of the longest packet accepted, at least 4 more than `tpdu_size`. Default 65,535.
    pub packet_limit: u16,
    /// Octets of the longest message accepted. Default 1 MiB.
    pub message_limit: usize,
    /// The most segments without user data accepted in one message. Default 16.
    pub empty_segment_limit: u16,
    /// Octets of received messages that may wait for the application, with 64 more for each message. At the
    /// limit the stream is not read. Default 256 KiB.
    pub receive_queue: usize,
    /// Octets of messages that may wait to be sent, with 64 more for each message. Default 2 MiB, in which the
    /// longest message that a peer accepts by default has room.
    pub send_queue: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            packet_limit: u16::MAX,
            message_limit: 1 << 20,
            empty_segment_limit: 16,
            receive_queue: 1 << 18,
            send_queue: 1 << 21,
        }
    }
}

/// How long a connection waits for what. `None` switches a timer off; a timer of 0 s is refused. No RFC gives values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ConnectionTimers {
    /// TS1: how long an initiator waits for the answer to its CR (ISO 8073 6.5.4). Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub answer_timeout: Option<Duration>,
    /// How long a responder waits for a CR. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub request_timeout: Option<Duration>,
    /// How long a packet may stay incomplete. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub packet_timeout: Option<Duration>,
    /// How long an open connection may receive nothing. Off by default.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub idle_timeout: Option<Duration>,
    /// How long sending the queued messages may make no progress while the connection is closed or detached.
    /// Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub drain_timeout: Duration,
    /// TS2: how long to wait for the peer to close its end of the stream after this end closed its own. The
    /// stream is closed after that; all queued messages are with the operating system by then. Default 2 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub close_timeout: Duration,
}

impl Default for ConnectionTimers {
    fn default() -> Self {
        Self {
            answer_timeout: Some(Duration::from_secs(10)),
            request_timeout: Some(Duration::from_secs(10)),
            packet_timeout: Some(Duration::from_secs(30)),
            idle_timeout: None,
            drain_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
        }
    }
}

/// What single kinds of peers need. Each field names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Compat {
    /// The preferred maximum TPDU size in units of 128 octets, 1 to 511 (X.224 6.5.4 k). An initiator proposes
    /// it beside `tpdu_size`. A responder answers the parameter with at most this many units, or with those
    /// that fit `tpdu_size` if this is `None`. Stacks that know 0xF0, such as hat-drivers, take odd sizes by it.
    /// Default `None`.
    pub preferred_size: Option<NonZeroU16>,
    /// SRC-REF of the CR or CC (ISO 8073 6.5.4 a). `None` draws a number from 1 to 65,535 from the seed. RDP
    /// clients send 0.
    pub reference: Option<u16>,
    /// The order of the parameters in CR and CC. LOGO! controllers refuse any but the default.
    pub order: ParameterOrder,
    /// Whether expedited data are offered and agreed to (RFC 1006 section 5), as sessions of X.400 and X.500 may
    /// need. Default false.
    pub expedited: bool,
    /// What happens when octets that are not a TPKT arrive on an open connection. RDP has fast-path packets.
    pub non_tpkt: NonTpkt,
    /// Whether the application may send empty messages. Refused by default, since libiec61850 and others close
    /// the connection on one. S7 controllers send them.
    pub empty: EmptyMessages,
    /// Deviations of the peer that end the connection. Those that deployed peers show are off by default.
    pub strict: Strict,
    /// When a DR or ER is sent before the connection ends. iec61850bean and python-snap7 send one.
    pub send_disconnect: SendDisconnect,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            preferred_size: None,
            reference: None,
            order: ParameterOrder::default(),
            expedited: false,
            non_tpkt: NonTpkt::Close,
            empty: EmptyMessages::Refuse,
            strict: Strict::default(),
            send_disconnect: SendDisconnect::INVALID_REQUEST,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Initiator(Proposal::default()),
            tpdu_size: TpduSize::CLASS_0,
            after_handshake: AfterHandshake::Receive,
            limits: ConnectionLimits::default(),
            timers: ConnectionTimers::default(),
            compat: Compat::default(),
        }
    }
}

impl Config {
    /// Configures an initiator with these selectors; all else by default.
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

    /// Configures a responder; all else by default.
    #[must_use]
    pub fn responder(policy: Policy) -> Self {
        Self {
            role: Role::Responder(policy),
            ..Self::default()
        }
    }

    /// Configures a client of an S7 controller in this rack and slot: rack 0 and slot 2 of a S7-300, slot 1 of a S7-1200
    /// or S7-1500. Racks and slots have 3 and 5 bits.
    #[must_use]
    pub fn s7(rack: u8, slot: u8) -> Self {
        Self::logo(0x0100, u16::from_be_bytes([1, rack << 5 | slot & 0x1F]))
    }

    /// Configures a client of a LOGO! with these TSAPs, as they are set in its program: `0x0200` is shown as 02.00.
    #[must_use]
    pub fn logo(local: u16, remote: u16) -> Self {
        Self {
            tpdu_size: TpduSize::S7,
            ..Self::hat(Some(local), Some(remote))
        }
    }

    /// Configures a client of MMS (IEC 61850) or ICCP: selectors 0000 and 0001, which their servers have by default.
    #[must_use]
    pub fn mms() -> Self {
        Self::hat(Some(0), Some(1))
    }

    /// Configures a client of RDP, whose request has these octets: a cookie or token and a request of negotiation
    /// (MS-RDPBCGR 2.2.1.1). The stream is paused behind the handshake, to be detached for TLS.
    #[must_use]
    pub fn rdp(variable: Bytes) -> Self {
        let proposal = Proposal {
            variable: Some(variable),
            long_request: true,
            ..Proposal::default()
        };
        Self {
            role: Role::Initiator(proposal),
            after_handshake: AfterHandshake::Pause,
            compat: Compat {
                reference: Some(0),
                non_tpkt: NonTpkt::Offer,
                ..Compat::default()
            },
            ..Self::default()
        }
    }

    /// Configures a client of hat-drivers, which has numbers for selectors and writes them in two octets.
    #[must_use]
    pub fn hat(local: Option<u16>, remote: Option<u16>) -> Self {
        Self::initiator(local.map(Selector::from), remote.map(Selector::from))
    }

    /// Returns the bytes of memory that the configuration holds on the heap.
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

/// The role of this end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Role {
    /// Sends a CR as soon as the stream is up.
    Initiator(Proposal),
    /// Waits for a CR.
    Responder(Policy),
}

/// The content of a CR beside the sizes.
#[derive(derive_more::Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Proposal {
    /// The selector of this end (parameter 0xC1).
    pub calling: Option<Selector>,
    /// The requested selector (parameter 0xC2).
    pub called: Option<Selector>,
    /// Further parameters behind those of this crate, already encoded. S7 routing needs some.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(extra))]
    pub extra: Bytes,
    /// Octets that replace the whole variable part, such as the cookie and negotiation request of RDP.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex::option"))]
    #[debug("{:?}", variable.as_deref().map(Preview))]
    pub variable: Option<Bytes>,
    /// User data behind the header (RFC 2126 section 4.1.1), at most 32 octets.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    #[debug("{:?}", Preview(user_data))]
    pub user_data: Bytes,
    /// Whether the CR may exceed the 128 octets of ISO 8073 13.3, as RDP and long selectors need.
    pub long_request: bool,
}

/// How a responder answers a valid CR.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Policy {
    /// [`Event::Indication`](super::Event::Indication) shows the CR to the application, which answers with
    /// [`Command::Accept`](super::Command::Accept) or [`Command::Refuse`](super::Command::Refuse).
    Ask,
    /// Accepts every CR.
    AcceptAny,
    /// Accepts a CR if its called selector is one of these, and refuses others with reason 3. A CR without a
    /// called selector counts as one with an empty selector.
    Selectors(Vec<Selector>),
}

/// A parameter of a CR or CC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Parameter {
    /// The calling selector, 0xC1.
    Calling,
    /// The called selector, 0xC2.
    Called,
    /// The TPDU size, 0xC0, followed by the preferred size, 0xF0.
    TpduSize,
}

/// The order of the three parameters. Options and [`Proposal::extra`] always come last.
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

/// Whether messages are read as soon as the connection is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AfterHandshake {
    /// Messages are read at once.
    Receive,
    /// Nothing is read until [`Command::Resume`](super::Command::Resume) or
    /// [`Command::Detach`](super::Command::Detach). RDP starts TLS on the detached stream.
    Pause,
}

/// What happens when octets that are not a TPKT arrive between two packets of an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum NonTpkt {
    /// The connection ends.
    Close,
    /// [`Event::NonTpkt`](super::Event::NonTpkt) offers the stream to the application. Nothing is read until
    /// [`Command::Detach`](super::Command::Detach) or [`Command::Close`](super::Command::Close). Fast-path
    /// packets of RDP arrive in this way.
    Offer,
}

/// Whether empty messages may be sent. Receiving them is always possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum EmptyMessages {
    /// Refused with [`Error::Empty`](super::Error::Empty).
    Refuse,
    /// Sent, each as one DT without user data.
    Send,
}

bitflags::bitflags! {
    /// Deviations from the standards that end the connection. Others are tolerated, and most of them counted in
    /// [`Stats::tolerated`](super::Stats::tolerated).
    ///
    /// What decides nothing over TCP is tolerated by default, whoever sends it:
    ///
    /// | deviation | sent by | refused by |
    /// |---|---|---|
    /// | reserved octet of a TPKT that is not 0 | none known; RFC 2126 section 6.10 | [`Self::RESERVED`] |
    /// | TPDU number of a DT or ED that is not 0 | none known; all peers tried but iec61850bean ignore it | [`Self::TPDU_NUMBER`] |
    /// | code 0xF1 of a DT | none known; hat-drivers takes it | [`Self::DATA_CODE`] |
    /// | DT that is larger than agreed | hat-drivers, after 0xF0 | [`Self::DATA_SIZE`] |
    /// | DT with neither user data nor EOT | S7 controllers | [`Self::EMPTY_SEGMENT`] |
    /// | size in a CC that is larger than proposed, or in 0xF0 and not proposed | servers with a size of their own | [`Self::CONFIRM_SIZE`] |
    /// | DST-REF of a CC that is not SRC-REF of the CR | FreeRDP, ironrdp, xrdp, MMS servers | [`Self::CONFIRM_REFERENCE`] |
    /// | DST-REF of a CR that is not 0 | none known; hat-drivers, libiec61850 and python-snap7 take it | [`Self::REQUEST_REFERENCE`] |
    /// | SRC-REF 0 | RDP clients and servers, libiec61850 before 1.5 | |
    /// | credit in a CR, CC or ED | none known; hat-drivers takes it | [`Self::CREDIT`] |
    /// | option bits in class 0 | RDP clients | |
    /// | variable part that begins below 0x80, which is no list | RDP clients and servers | |
    /// | octets behind the parameter list | conpot | [`Self::PARAMETERS`] |
    /// | TPDU size without a valid value, which counts as absent | none known; python-snap7 ignores it too | [`Self::PARAMETERS`] |
    /// | TPDU size codes 12 to 16 | libiec61850, iec61850bean | |
    /// | parameter of another class, or unknown | clients of ISO class 4, S7 routing | |
    /// | parameter 0xC6 that is not one octet long | S7 routing | |
    /// | parameter that occurs twice | none known; ISO 8073 13.2.3 | [`Self::REPEATED`] |
    /// | selectors in a CC that were not requested | libiec61850 | |
    /// | another calling selector in a CC | none known | [`Self::CALLING`] |
    /// | selector in a CC with more or fewer zeros before it | hat-drivers | [`Self::PADDING`] |
    /// | user data in a CR, CC or DR | test programs (RFC 1006 section 5) | |
    /// | DR or ER without all of its header | clients that leave the reason out | [`Self::DISCONNECT`] |
    /// | DR of an open connection, with a reason of another class | python-snap7, plc4x, iec61850bean | |
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
        /// A parameter occurs twice (against ISO 8073 13.2.3).
        const REPEATED = 1 << 6;
        /// The CC has another calling selector than the CR.
        const CALLING = 1 << 7;
        /// A DT has neither user data nor EOT (ISO 8073 6.3.3).
        const EMPTY_SEGMENT = 1 << 8;
        /// The CC has another called selector than the CR. On by default, as it names another service.
        const RESPONDING = 1 << 9;
        /// The code of a DT has bit 1 set, as in class 1 of later X.224.
        const DATA_CODE = 1 << 10;
        /// DST-REF of the CC is not SRC-REF of the CR (ISO 8073 6.5.4 a). References identify nothing where
        /// each connection has a stream of its own.
        const CONFIRM_REFERENCE = 1 << 11;
        /// Octets that form no parameter follow the parameter list of a CR or CC, or a TPDU size in it has an
        /// invalid value or length (ISO 8073 13.2.3).
        const PARAMETERS = 1 << 12;
        /// A DR or ER is malformed (ISO 8073 13.5, 13.12), and ends the connection as a malformed TPDU. Others
        /// end it as a DR or ER without a reason.
        const DISCONNECT = 1 << 13;
        /// A selector in the CC is that of the CR with more or fewer zeros before it.
        const PADDING = 1 << 14;
    }

    /// When a DR or ER is sent before the connection ends. Class 0 ends with the stream and needs neither (ISO
    /// 8073 6.7.4).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct SendDisconnect: u8 {
        /// An ER is the answer to an invalid CR (ISO 8073 6.6.3). On by default.
        const INVALID_REQUEST = 1;
        /// An ER is sent when a CC is invalid or the peer breaks the protocol on an open connection (ISO 8073
        /// 6.22.3).
        const PROTOCOL_ERROR = 1 << 1;
        /// A DR is sent when the application closes the connection, as iec61850bean and python-snap7 do.
        const CLOSE = 1 << 2;
    }
}

impl Default for Strict {
    fn default() -> Self {
        Self::RESPONDING
    }
}

/// Why a [`Config`] or an [`Acceptance`](super::Acceptance) is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `preferred_size` exceeds 511 units, the most that a TPKT holds.
    PreferredSize(u16),
    /// `order` does not name each parameter once.
    Order,
    /// The variable part is too long for the header.
    Variable {
        /// Octets of the variable part.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// The CR is longer than ISO 8073 13.3 allows, and `long_request` is not set.
    Request {
        /// Octets of the CR.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// The user data of a CR or CC are longer than 32 octets (ISO 8073 13.3.5).
    UserData {
        /// Octets of the user data.
        len: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// `packet_limit` is too small for `tpdu_size` or `preferred_size`.
    PacketLimit {
        /// The configured limit in octets.
        limit: u16,
        /// The smallest valid limit in octets.
        least: usize,
    },
    /// `receive_queue` is 0, so that nothing could be read.
    ReceiveQueue,
    /// A timer has 0 s. `None` switches a timer off.
    ZeroTimeout {
        /// The name of the field.
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
                    "packet limit of {limit} octets is below the minimum of {least}"
                )
            }
            Self::ReceiveQueue => {
                f.write_str("receive queue of 0 octets is below the minimum of 1")
            }
            Self::ZeroTimeout { timer } => {
                write!(f, "{timer} of 0 s is below the minimum of 1 ns")
            }
        }
    }
}

impl StdError for ConfigError {}
