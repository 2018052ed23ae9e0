//! Commands, events, errors and statistics of a node.

use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::extension::PayloadIdentity;
use super::session::Session;
use super::vmem::VmemStatus;
use crate::preview::Preview;
use crate::{Tag, csp};

/// What a client asks for, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct GetOptions {
    /// Octets per second that the server may send. Default 100,000.
    pub throughput: u32,
    /// Whether the rate follows what arrives: from the throughput it rises until packets are lost. Default no.
    pub follows_loss: bool,
    /// Octets of a data packet, its header of 8 octets included. Default 208.
    pub mtu: u16,
    /// Requests that may bring nothing before the transfer fails. Default 5.
    pub max_fruitless: u8,
    /// How long a server may take to answer a request: libdtp answers none while it sends. Default 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub response_timeout: Duration,
    /// Rounds that a transfer may take: how often each hole may be asked for. Default 1000.
    pub max_rounds: u32,
    /// How long the transfer may take. `None` is no limit. Default none.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub time_limit: Option<Duration>,
    /// The first octet that is wanted. Default 0.
    pub first: u32,
    /// The last octet that is wanted, as far as the payload has it: packets are asked for whole. Default all.
    pub last: u32,
}

impl Default for GetOptions {
    fn default() -> Self {
        Self {
            throughput: 100_000,
            follows_loss: false,
            mtu: 208,
            max_fruitless: 5,
            response_timeout: Duration::from_secs(30),
            max_rounds: 1000,
            time_limit: None,
            first: 0,
            last: u32::MAX,
        }
    }
}

/// How messages of VMEM are sent, always with CRC32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "the two ways of CSP")]
pub enum VmemTransport {
    /// Each on a connection of its own, by which it is known to have arrived. libdtp does so by default.
    #[default]
    Rdp,
    /// Without connection.
    Datagrams,
}

/// Memory of a server that is got by VMEM: nothing tells its size but the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_structs, reason = "what the messages tell")]
pub struct MemoryRequest {
    /// The address of the server.
    pub server: u16,
    /// The address of the first octet in its memory.
    pub address: u64,
    /// How many octets.
    pub size: u32,
    /// How messages are sent.
    pub transport: VmemTransport,
    /// The version of VMEM that messages tell, which libdtp ignores.
    pub version: u8,
    /// How often the server is told that the client is there, in milliseconds up to 65,535. A server of this crate that
    /// hears nothing for two times this and 0.5 s stops; libdtp reads it as none. Zero: it is not told.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub keep_alive: Duration,
}

impl MemoryRequest {
    /// The version of VMEM that libdtp tells.
    pub(super) const VERSION: u8 = 2;

    /// Asks for so many octets from an address on, by connections, without signs of life.
    #[must_use]
    pub const fn new(server: u16, address: u64, size: u32) -> Self {
        Self {
            server,
            address,
            size,
            transport: VmemTransport::Rdp,
            version: Self::VERSION,
            keep_alive: Duration::ZERO,
        }
    }
}

/// Octets that a payload on demand needs, by a number that each such need of a node has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct NeedId(pub u64);

/// A request of the application to a node.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command {
    /// Get a payload from a server.
    Get {
        /// The tag of its events.
        tag: Tag,
        /// The address of the server.
        server: u16,
        /// The payload.
        payload: u8,
        /// How.
        options: GetOptions,
    },
    /// Get what a session lacks of its payload.
    GetRest {
        /// The tag of its events.
        tag: Tag,
        /// What the application has. Its MTU and its throughput are used.
        session: Session,
        /// How, apart from these.
        options: GetOptions,
    },
    /// Get memory of a server by VMEM, or what a session lacks of it. Its CRC-32C is not known.
    GetMemory {
        /// The tag of its events.
        tag: Tag,
        /// What is asked for.
        request: MemoryRequest,
        /// What the application has. Its MTU and its throughput are used.
        session: Option<Session>,
        /// How, apart from these.
        options: GetOptions,
    },
    /// Ask a server by VMEM what it sends.
    MemoryStatus {
        /// The tag of [`Event::MemoryStatus`].
        tag: Tag,
        /// The address of the server.
        server: u16,
        /// How the message is sent.
        transport: VmemTransport,
        /// How long the answer is awaited.
        #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
        timeout: Duration,
    },
    /// Give a payload that is served an address in the memory that clients get by VMEM: each part of it can be got.
    ServeMemory {
        /// The number of the payload.
        payload: u8,
        /// The address of its first octet.
        address: u64,
    },
    /// Pause the transfer that was begun with a tag: the server is told to stop.
    Pause(Tag),
    /// Go on with a transfer that is paused.
    Resume(Tag),
    /// End the transfer that was begun with a tag.
    Cancel(Tag),
    /// Serve a payload, in place of one of the same number. Transfers of that go on with it. Its CRC-32C is computed.
    Serve {
        /// The number of the payload.
        payload: u8,
        /// Its octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Serve a payload whose octets are not in memory, in place of one of the same number: [`Event::Need`] tells which
    /// are needed.
    ServeOnDemand {
        /// The number of the payload.
        payload: u8,
        /// Its octets, at most 4 GiB - 1.
        size: u64,
        /// What tells it from another of this size.
        identity: PayloadIdentity,
    },
    /// The octets of [`Event::Need`]. Any other number of octets says that they cannot be had: the transfer ends.
    Feed {
        /// Its number.
        need: NeedId,
        /// The octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Serve a payload no longer. Transfers of it go on, those of a payload on demand end.
    Withdraw(u8),
    /// End all transfers, and tell clients and servers so. Connections to the port of requests are refused.
    Shutdown,
    /// Do what has nothing to do with transfers.
    Csp(csp::Command),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get {
                tag,
                server,
                payload,
                options,
            } => f
                .debug_struct("Get")
                .field("tag", tag)
                .field("server", server)
                .field("payload", payload)
                .field("options", options)
                .finish(),
            Self::GetRest {
                tag,
                session,
                options,
            } => f
                .debug_struct("GetRest")
                .field("tag", tag)
                .field("session", session)
                .field("options", options)
                .finish(),
            Self::GetMemory {
                tag,
                request,
                session,
                options,
            } => f
                .debug_struct("GetMemory")
                .field("tag", tag)
                .field("request", request)
                .field("session", session)
                .field("options", options)
                .finish(),
            Self::MemoryStatus {
                tag,
                server,
                transport,
                timeout,
            } => f
                .debug_struct("MemoryStatus")
                .field("tag", tag)
                .field("server", server)
                .field("transport", transport)
                .field("timeout", timeout)
                .finish(),
            Self::ServeMemory { payload, address } => f
                .debug_struct("ServeMemory")
                .field("payload", payload)
                .field("address", address)
                .finish(),
            Self::Pause(tag) => f.debug_tuple("Pause").field(tag).finish(),
            Self::Resume(tag) => f.debug_tuple("Resume").field(tag).finish(),
            Self::Cancel(tag) => f.debug_tuple("Cancel").field(tag).finish(),
            Self::ServeOnDemand {
                payload,
                size,
                identity,
            } => f
                .debug_struct("ServeOnDemand")
                .field("payload", payload)
                .field("size", size)
                .field("identity", identity)
                .finish(),
            Self::Feed { need, data } => f
                .debug_struct("Feed")
                .field("need", need)
                .field("data", &Preview(data))
                .finish(),
            Self::Shutdown => f.write_str("Shutdown"),
            Self::Serve { payload, data } => f
                .debug_struct("Serve")
                .field("payload", payload)
                .field("data", &Preview(data))
                .finish(),
            Self::Withdraw(payload) => f.debug_tuple("Withdraw").field(payload).finish(),
            Self::Csp(command) => f.debug_tuple("Csp").field(command).finish(),
        }
    }
}

/// A request of a client that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServedRequest {
    /// The address of the client.
    pub client: u16,
    /// The payload.
    pub payload: u8,
    /// Octets that will be sent.
    pub octets: u64,
}

/// Octets that a payload on demand needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PayloadNeed {
    /// Its number.
    pub need: NeedId,
    /// The payload.
    pub payload: u8,
    /// Octets of the payload before those that are needed.
    pub offset: u32,
    /// How many are needed, at most 65,536.
    pub len: u32,
}

/// What a node tells the application.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// The server has the payload.
    Started {
        /// The tag of the transfer.
        tag: Tag,
        /// Octets of the payload.
        size: u32,
        /// The session id in data packets.
        session: u32,
        /// What the server has told of the payload; `None` from one of libdtp.
        identity: Option<PayloadIdentity>,
    },
    /// Octets of the payload have come, in any order. Some may come twice.
    Data {
        /// The tag of the transfer.
        tag: Tag,
        /// Octets of the payload before these.
        offset: u32,
        /// The octets.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// All of the payload has come.
    Complete {
        /// The tag of the transfer.
        tag: Tag,
        /// Octets of the payload.
        size: u32,
        /// Requests that were sent, each on a connection of its own.
        requests: u32,
        /// How often all holes were asked for.
        rounds: u32,
        /// Packets that were asked for again.
        asked_again: u64,
        /// Whether all octets are known to be right, by the CRC-32C that the server has told.
        is_checked: bool,
    },
    /// The transfer has ended before all of the payload has come.
    Failed {
        /// The tag of the transfer.
        tag: Tag,
        /// Why.
        reason: FailReason,
        /// Packets that are missing; 0 also where the server told no size.
        missing: u32,
        /// How often all holes were asked for.
        rounds: u32,
        /// Packets that were asked for again.
        asked_again: u64,
    },
    /// A client has begun a transfer.
    Serving(ServedRequest),
    /// What a server answers to [`Command::MemoryStatus`].
    MemoryStatus {
        /// The tag of the command.
        tag: Tag,
        /// What it sends; `None` if it did not answer.
        status: Option<VmemStatus>,
    },
    /// Octets of a payload on demand are needed, for [`Command::Feed`].
    Need(PayloadNeed),
    /// What has nothing to do with transfers.
    Csp(csp::Event),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started {
                tag,
                size,
                session,
                identity,
            } => f
                .debug_struct("Started")
                .field("tag", tag)
                .field("size", size)
                .field("session", session)
                .field("identity", identity)
                .finish(),
            Self::Data { tag, offset, data } => f
                .debug_struct("Data")
                .field("tag", tag)
                .field("offset", offset)
                .field("data", &Preview(data))
                .finish(),
            Self::Complete {
                tag,
                size,
                requests,
                rounds,
                asked_again,
                is_checked,
            } => f
                .debug_struct("Complete")
                .field("tag", tag)
                .field("size", size)
                .field("requests", requests)
                .field("rounds", rounds)
                .field("asked_again", asked_again)
                .field("is_checked", is_checked)
                .finish(),
            Self::Need(need) => f.debug_tuple("Need").field(need).finish(),
            Self::Failed {
                tag,
                reason,
                missing,
                rounds,
                asked_again,
            } => f
                .debug_struct("Failed")
                .field("tag", tag)
                .field("reason", reason)
                .field("missing", missing)
                .field("rounds", rounds)
                .field("asked_again", asked_again)
                .finish(),
            Self::MemoryStatus { tag, status } => f
                .debug_struct("MemoryStatus")
                .field("tag", tag)
                .field("status", status)
                .finish(),
            Self::Serving(request) => f.debug_tuple("Serving").field(request).finish(),
            Self::Csp(event) => f.debug_tuple("Csp").field(event).finish(),
        }
    }
}

/// Why a transfer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FailReason {
    /// The application cancelled it.
    Cancelled,
    /// The server closed the connection in place of an answer: it has no such payload, or no room.
    Refused,
    /// The server did not answer.
    NoAnswer,
    /// So many requests in a row brought nothing.
    Fruitless,
    /// The payload is another than before.
    PayloadChanged,
    /// All has come, and its CRC-32C is not that of the payload.
    Damaged,
    /// There were as many rounds as may be.
    TooManyRounds,
    /// The transfer took as long as it may.
    OutOfTime,
    /// The answer of the server is malformed.
    BadResponse,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Refused => "refused by the server: no such payload, or no room",
            Self::NoAnswer => "the server does not answer",
            Self::Fruitless => "requests bring no data",
            Self::PayloadChanged => "the payload has changed",
            Self::Damaged => "all octets have come, and their CRC-32C is not that of the payload",
            Self::TooManyRounds => "the limit of rounds is reached",
            Self::OutOfTime => "the limit of time is reached",
            Self::BadResponse => "the answer of the server is malformed",
        })
    }
}

/// Why a node refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Error {
    /// The throughput is 0.
    NoThroughput,
    /// The MTU leaves no room for data, or exceeds a packet.
    Mtu {
        /// The MTU.
        mtu: u16,
        /// The least.
        least: u16,
        /// The largest.
        most: u16,
    },
    /// The first octet that is wanted is behind the last one.
    Range {
        /// The first octet.
        first: u32,
        /// The last octet.
        last: u32,
    },
    /// All client slots are taken.
    NoSlot {
        /// How many there are.
        limit: u8,
    },
    /// A transfer with this tag is under way.
    TagInUse(Tag),
    /// There is no transfer with this tag.
    NoTransfer(Tag),
    /// The transfer is not paused.
    NotPaused(Tag),
    /// The transfer is paused already, or over.
    NotUnderWay(Tag),
    /// No octets of this number are needed.
    NotNeeded(NeedId),
    /// The node was shut down.
    ShutDown,
    /// The payload exceeds the 4 GiB - 1 that an offset can tell.
    PayloadTooLarge(u64),
    /// So many payloads are served.
    TooManyPayloads {
        /// How many may be.
        limit: u8,
    },
    /// No such payload is served.
    NoPayload(u8),
    /// Messages of VMEM are off: [`Config::vmem_messages`](super::Config::vmem_messages).
    VmemOff,
    /// So many messages of VMEM are under way.
    TooManyMessages {
        /// How many may be.
        limit: u8,
    },
    /// The session is of another number of octets than are asked for.
    SessionSize {
        /// Octets of the session.
        session: u32,
        /// Octets that are asked for.
        size: u32,
    },
    /// The session is of a payload and memory is asked for, of memory and a payload is, or of other memory.
    SessionAddress {
        /// The address of the session.
        session: Option<u64>,
        /// The address that is asked for.
        address: Option<u64>,
    },
    /// The reason of the node that carries the transfers.
    Csp(csp::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThroughput => {
                f.write_str("throughput of 0 octets per second, at least 1 is needed")
            }
            Self::Mtu { mtu, least, most } => {
                write!(f, "MTU of {mtu} octets is not within {least} to {most}")
            }
            Self::Range { first, last } => {
                write!(
                    f,
                    "octet {first} is behind the last one that is wanted, {last}"
                )
            }
            Self::NoSlot { limit } => write!(f, "limit of {limit} transfers reached"),
            Self::TagInUse(Tag(tag)) => write!(f, "a transfer has the tag {tag}"),
            Self::NoTransfer(Tag(tag)) => write!(f, "no transfer has the tag {tag}"),
            Self::NotPaused(Tag(tag)) => write!(f, "the transfer with the tag {tag} is not paused"),
            Self::NotUnderWay(Tag(tag)) => {
                write!(f, "the transfer with the tag {tag} is paused or over")
            }
            Self::NotNeeded(NeedId(need)) => write!(f, "no octets are needed by the number {need}"),
            Self::ShutDown => f.write_str("the node was shut down"),
            Self::PayloadTooLarge(octets) => {
                write!(
                    f,
                    "payload of {octets} octets exceeds the limit of {}",
                    u32::MAX
                )
            }
            Self::TooManyPayloads { limit } => write!(f, "limit of {limit} payloads reached"),
            Self::NoPayload(payload) => write!(f, "payload {payload} is not served"),
            Self::VmemOff => f.write_str("messages of VMEM are off: vmem_messages is 0"),
            Self::TooManyMessages { limit } => {
                write!(f, "limit of {limit} messages of VMEM reached")
            }
            Self::SessionSize { session, size } => {
                write!(
                    f,
                    "session of {session} octets, of which {size} are asked for"
                )
            }
            Self::SessionAddress { session, address } => {
                let [session, address] = [*session, *address].map(SourceName);
                write!(f, "session of {session}, where {address} is asked for")
            }
            Self::Csp(error) => error.fmt(f),
        }
    }
}

/// What a session is of, in the words of an error.
struct SourceName(Option<u64>);

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(None) => f.write_str("a payload"),
            Self(Some(address)) => write!(f, "memory at {address:#x}"),
        }
    }
}

impl StdError for Error {}

impl From<csp::Error> for Error {
    fn from(error: csp::Error) -> Self {
        Self::Csp(error)
    }
}

/// Counters of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Data packets sent.
    pub data_sent: u64,
    /// Data packets received that were missing.
    pub data_received: u64,
    /// Data packets received that had come before.
    pub duplicates: u64,
    /// Data packets of no transfer: another source, session, offset or length.
    pub foreign_data: u64,
    /// Data packets dropped, since the application has not taken those before.
    pub queue_full: u64,
    /// Requests and messages of VMEM refused: malformed, of an unknown payload or memory, or past its end.
    pub requests_refused: u64,
    /// Messages of VMEM received.
    pub vmem_received: u64,
    /// Asks for more on the connection of a request.
    pub asks_received: u64,
    /// Connections closed for lack of a slot.
    pub no_slot: u64,
    /// Connections closed since no request came.
    pub no_request: u64,
}
