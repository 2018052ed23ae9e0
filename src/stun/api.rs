//! What an application asks of a client, and what it is told.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::attribute::{AttributeType, ChangeRequest};
use crate::{Cause, Path, Proto, Tag};

/// Octets of the longest user name that is sent (RFC 8489 section 14.3).
pub(super) const MAX_USERNAME: usize = 508;
/// Octets of the longest password. No RFC has a limit; this one bounds the memory of a query.
const MAX_PASSWORD: usize = 1024;
/// Octets of the longest PADDING: with it a request fits into a UDP datagram.
pub const MAX_PADDING: u16 = 64_000;

/// What the application can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Command {
    /// Send a Binding request, until it is answered: [`Event::Answered`] or [`Event::Failed`].
    Query {
        /// Identifies the query.
        tag: Tag,
        /// To which server, and from where: the address of a socket of the client, or one to open. With port 0 a port is
        /// chosen; queries from equal addresses share it, and over TCP to one server the connection.
        to: Path,
        /// What is asked.
        query: Query,
    },
    /// Give up a query. Nothing more is told of it.
    Cancel(Tag),
    /// Give up all queries, close what the client has opened, and be done.
    Close,
}

/// A Binding request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Query {
    /// Whether the request is one of RFC 3489, without the magic cookie and, but for CHANGE-REQUEST, without attributes.
    /// It is sent over UDP and IPv4 alone, after 0, 0.1, 0.3, 0.7, 1.5, 3.1, 4.7, 6.3 and 7.9 s, and fails after 9.5 s
    /// (RFC 3489 section 9.3). Default no.
    pub classic: bool,
    /// From where the answer is wanted. The answer is taken from there alone. Default from the address that is asked.
    pub change: ChangeRequest,
    /// The port to which the answer is wanted (RFC 5780 section 7.5). Nothing is heard here if it is another one than the
    /// socket's. Default that of the socket.
    pub response_port: Option<u16>,
    /// Octets of PADDING, up to 64,000 (RFC 5780 section 7.6). Default none.
    pub padding: u16,
    /// With what the request is signed, if the server wants it so. Default nothing.
    pub credentials: Option<Credentials>,
    /// How long the query may take in all. Default as long as the timers say.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration::option"))]
    pub limit: Option<Duration>,
}

/// A user name and a password. `Debug` hides the password; recordings have it.
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
#[debug("Credentials({username:?}, {kind:?})")]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Credentials {
    /// The user name, of 1 to 508 printable characters of ASCII.
    pub username: String,
    /// The password, of 1 to 1024 printable characters of ASCII.
    pub password: String,
    /// Whether it is short-term or long-term.
    pub kind: CredentialKind,
}

/// How requests are signed (RFC 8489 section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CredentialKind {
    /// By the password, from the first request on.
    ShortTerm,
    /// By a digest of user name, realm and password, once the server has told realm and nonce.
    #[default]
    LongTerm,
}

impl Query {
    pub(super) fn check(&self, to: Path) -> Result<(), Error> {
        let Path {
            proto,
            local,
            remote,
        } = to;
        if remote.port() == 0 {
            return Err(Error::NoPort);
        }
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(Error::Families { local, remote });
        }
        let is_stream = proto == Proto::Tcp;
        if is_stream && (self.change != ChangeRequest::default() || self.response_port.is_some()) {
            return Err(Error::NotOverTcp);
        }
        let has_attributes =
            self.padding > 0 || self.response_port.is_some() || self.credentials.is_some();
        if self.classic && (is_stream || remote.is_ipv6() || has_attributes) {
            return Err(Error::NotClassic);
        }
        if self.padding > 0 && self.response_port.is_some() {
            return Err(Error::PaddingElsewhere);
        }
        if self.padding > MAX_PADDING {
            return Err(Error::TooMuchPadding(self.padding));
        }
        self.credentials.as_ref().map_or(Ok(()), Credentials::check)
    }
}

impl Credentials {
    /// Of characters beyond ASCII `OpaqueString` needs tables, and servers differ in them (RFC 8489 section 14.3).
    fn check(&self) -> Result<(), Error> {
        for (field, text, most) in [
            ("user name", &self.username, MAX_USERNAME),
            ("password", &self.password, MAX_PASSWORD),
        ] {
            let is_printable = |octet: u8| (b' '..=b'~').contains(&octet);
            if !(1..=most).contains(&text.len()) || !text.bytes().all(is_printable) {
                return Err(Error::Credentials { field, most });
            }
        }
        Ok(())
    }
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// A query has this tag.
    #[display("tag {} is in use", _0.0)]
    TagInUse(#[error(not(source))] Tag),
    /// No query has this tag.
    #[display("no query has tag {}", _0.0)]
    NoQuery(#[error(not(source))] Tag),
    /// So many queries are under way, or their events were not taken.
    #[display("limit of {_0} queries reached")]
    TooManyQueries(#[error(not(source))] u16),
    /// So many sockets are open.
    #[display("limit of {_0} sockets reached")]
    TooManySockets(#[error(not(source))] u16),
    /// The server has no port.
    #[display("port 0 is not the port of a server")]
    NoPort,
    /// One address is IPv4 and the other one IPv6.
    #[display("{local} and {remote} are of different families")]
    Families {
        /// The own address.
        local: SocketAddr,
        /// The server.
        remote: SocketAddr,
    },
    /// An answer from or to another address is asked for over TCP, where there is none.
    #[display("CHANGE-REQUEST and RESPONSE-PORT are for UDP")]
    NotOverTcp,
    /// RFC 3489 does not have what is asked for.
    #[display("RFC 3489 is for UDP and IPv4, without padding, RESPONSE-PORT and credentials")]
    NotClassic,
    /// PADDING and RESPONSE-PORT exclude each other (RFC 5780 section 7.6).
    #[display("PADDING and RESPONSE-PORT exclude each other")]
    PaddingElsewhere,
    /// There is more padding than fits into a datagram.
    #[display("{_0} octets of padding exceed the limit of {MAX_PADDING}")]
    TooMuchPadding(#[error(not(source))] u16),
    /// User name or password is empty, too long or not printable ASCII.
    #[display("the {field} is not 1 to {most} printable characters of ASCII")]
    Credentials {
        /// Which of the two.
        field: &'static str,
        /// The largest number of octets.
        most: usize,
    },
    /// The client was closed.
    #[display("the client is closed")]
    Closed,
}

/// What the application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Event {
    /// The server answered.
    Answered {
        /// The query.
        tag: Tag,
        /// What it said.
        answer: BindingAnswer,
    },
    /// The query has failed.
    Failed {
        /// The query.
        tag: Tag,
        /// Why.
        failure: QueryFailure,
    },
}

/// The answer to a Binding request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BindingAnswer {
    /// The own address, with its port, and the address that the answer came from.
    pub path: Path,
    /// The address that the server saw.
    pub mapped: SocketAddr,
    /// MAPPED-ADDRESS, if there was one: it differs from `mapped` where a NAT rewrites addresses in packets.
    pub mapped_in_clear: Option<SocketAddr>,
    /// From where the server says to have answered: RESPONSE-ORIGIN, or SOURCE-ADDRESS of RFC 3489.
    pub origin: Option<SocketAddr>,
    /// The other address and port of the server: OTHER-ADDRESS, or CHANGED-ADDRESS of RFC 3489.
    pub other: Option<SocketAddr>,
    /// The program of the server.
    pub software: Option<String>,
    /// Octets of PADDING.
    pub padding: usize,
    /// Whether the answer was signed by the server.
    pub is_verified: bool,
    /// Requests that were sent, those that a challenge answered included.
    pub sends: u32,
    /// The time from the first request of the last transaction to its answer.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub round_trip: Duration,
}

/// Why a query has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum QueryFailure {
    /// No answer came that could be taken.
    Silent(Silence),
    /// The server refused.
    Rejected {
        /// The code, 300 to 699.
        code: u16,
        /// The reason, for people.
        reason: String,
        /// With code 420, the attributes that the server does not know.
        unknown: Vec<AttributeType>,
    },
    /// The server does not accept user name or password.
    WrongCredentials {
        /// The reason, for people.
        reason: String,
    },
    /// The server demands credentials, and does not say all that they are made of; or somebody has removed the strong
    /// algorithms from its challenge (RFC 8489 section 9.2.1).
    BadChallenge,
    /// The server makes keys by none of the known algorithms.
    NoAlgorithm,
    /// Each nonce of the server was stale at once.
    StaleNonces,
    /// The answer has attributes that must be understood.
    UnknownAttributes(Vec<AttributeType>),
    /// The answer has no address, or no error code.
    Incomplete,
    /// The socket was not opened, or the connection was refused or has broken.
    Unreachable(Cause),
    /// What came over the connection is not STUN.
    NotStun,
    /// The request is longer than a datagram may be.
    TooLong {
        /// Octets of the request.
        octets: usize,
    },
}

/// That no answer came, and what came in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Silence {
    /// Requests that were sent.
    pub sends: u32,
    /// The time since the query began.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub after: Duration,
    /// From where an answer came that should have come from elsewhere.
    pub elsewhere: Option<SocketAddr>,
    /// Octets that claimed to be from the server and were no answer: forged, or broken.
    pub forged: u32,
    /// Answers that were not signed as they should be.
    pub unverified: u32,
    /// The code of the first error among them.
    pub unverified_code: Option<u16>,
}

impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |types: &[AttributeType]| -> String {
            let names: Vec<_> = types
                .iter()
                .map(alloc::string::ToString::to_string)
                .collect();
            names.join(", ")
        };
        match self {
            Self::Silent(silence) => silence.fmt(f),
            Self::Rejected {
                code,
                reason,
                unknown,
            } => {
                write!(f, "the server refuses: {code} {reason}")?;
                if !unknown.is_empty() {
                    write!(f, " ({})", names(unknown))?;
                }
                Ok(())
            }
            Self::WrongCredentials { reason } => {
                write!(f, "the server refuses user name or password: 401 {reason}")
            }
            Self::BadChallenge => f.write_str(
                "the challenge of the server lacks realm, nonce or algorithms; somebody may have removed them",
            ),
            Self::NoAlgorithm => f.write_str("the server makes keys by no known algorithm"),
            Self::StaleNonces => f.write_str("each nonce of the server was stale at once"),
            Self::UnknownAttributes(types) => {
                write!(f, "the answer has unknown attributes: {}", names(types))
            }
            Self::Incomplete => f.write_str("the answer has neither an address nor an error code"),
            Self::Unreachable(cause) => cause.fmt(f),
            Self::NotStun => f.write_str("what came over the connection is not STUN"),
            Self::TooLong { octets } => {
                write!(f, "a request of {octets} octets does not fit into a datagram")
            }
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sends, seconds) = (self.sends, self.after.as_secs_f64());
        let plural = if sends == 1 { "" } else { "s" };
        write!(
            f,
            "no answer to {sends} request{plural} within {seconds:.1} s"
        )?;
        if let Some(from) = self.elsewhere {
            write!(f, "; an answer came from {from}, which was not asked")?;
        }
        if self.unverified > 0 {
            write!(f, "; {} not signed by the server", self.unverified)?;
        }
        if let Some(code) = self.unverified_code {
            write!(f, ", the first with error {code}")?;
        }
        if self.forged > 0 {
            write!(f, "; {} forged or broken", self.forged)?;
        }
        Ok(())
    }
}

impl core::error::Error for QueryFailure {}

impl Credentials {
    pub(super) const fn memory_used(&self) -> usize {
        self.username.capacity() + self.password.capacity()
    }
}

impl Event {
    /// Returns the bytes of memory that the event has allocated.
    pub(super) fn memory_used(&self) -> usize {
        let types = |types: &Vec<AttributeType>| types.capacity() * size_of::<AttributeType>();
        match self {
            Self::Answered { answer, .. } => answer.software.as_ref().map_or(0, String::capacity),
            Self::Failed { failure, .. } => match failure {
                QueryFailure::Rejected {
                    reason, unknown, ..
                } => reason.capacity() + types(unknown),
                QueryFailure::WrongCredentials { reason } => reason.capacity(),
                QueryFailure::UnknownAttributes(unknown) => types(unknown),
                _ => 0,
            },
        }
    }
}

/// Counters of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Requests sent, those sent again included.
    pub requests: u64,
    /// Answers that ended or continued a transaction.
    pub answers: u64,
    /// Octets that are no message, or whose FINGERPRINT is wrong.
    pub malformed: u64,
    /// Answers to no transaction: late, repeated or forged.
    pub unmatched: u64,
    /// Answers from an address that was not asked.
    pub elsewhere: u64,
    /// Answers without the integrity that they should have.
    pub unverified: u64,
    /// Requests and indications, which a client does not answer.
    pub unasked: u64,
}
