//! The configuration of a client.

use alloc::string::String;
use core::time::Duration;

/// The most queries and sockets: each is looked through for each datagram.
const MAX_QUERIES: u16 = 256;
/// The most times that a request is sent: the waits of more would not end within days.
const MAX_SENDS: u8 = 16;
/// The longest time of a timer: a day.
const MAX_TIME: Duration = Duration::from_secs(86_400);
/// The largest factor of the last wait.
const MAX_LAST_WAIT: u16 = 1000;
/// Octets of the longest name of a program (RFC 8489 section 14.14).
const MAX_SOFTWARE: usize = 509;

/// The configuration of a [`Client`](super::Client). The defaults are those of RFC 8489.
///
/// With the feature `serde`, a configuration file needs only the fields that differ from the default. Unknown fields
/// are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// How long the first answer over UDP is awaited (RTO, RFC 8489 section 6.2.1), 1 ms to 1 day. Each further wait is
    /// twice as long. It grows with the round trips measured, and never falls below this. Default 500 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub rto: Duration,
    /// How often a request is sent over UDP (Rc), 1 to 16. Default 7.
    pub sends: u8,
    /// How many RTOs the answer to the last of them is awaited (Rm), 1 to 1000. Default 16.
    pub last_wait: u16,
    /// How long an answer over TCP is awaited, and before that the connection (Ti, RFC 8489 section 6.2.2), 1 ms to
    /// 1 day. Default 39.5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub stream_timeout: Duration,
    /// Transactions that one server has at a time (RFC 8489 section 6.2), 1 to 255. Default 10.
    pub per_server: u8,
    /// The time between the starts of two transactions with one server, up to 1 day. Default 50 ms, as ICE has it (RFC
    /// 8445 section 14.2).
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub pace: Duration,
    /// Queries at a time, 1 to 256: those under way, and those whose end was not taken. Default 64.
    pub queries: u16,
    /// Sockets and connections at a time, 1 to 256. Default 16.
    pub sockets: u16,
    /// How long a socket or connection that the client has opened stays open without a query, 1 ms to 1 day. Default
    /// 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub idle: Duration,
    /// The name of the program, at most 509 octets, for SOFTWARE; empty for none. Default "farlink".
    pub software: String,
    /// Whether requests have FINGERPRINT, but for those of RFC 3489. Default yes.
    pub fingerprint: bool,
    /// Octets of the longest answer over TCP, 576 to 65,552. Default 4096.
    pub max_message: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rto: Duration::from_millis(500),
            sends: 7,
            last_wait: 16,
            stream_timeout: Duration::from_millis(39_500),
            per_server: 10,
            pace: Duration::from_millis(50),
            queries: 64,
            sockets: 16,
            idle: Duration::from_secs(30),
            software: String::from("farlink"),
            fingerprint: true,
            max_message: 4096,
        }
    }
}

/// Why a configuration is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A time is out of its range.
    #[display("{field}: {value:?} is not between {least:?} and 1 day")]
    Time {
        /// The field.
        field: &'static str,
        /// The time.
        value: Duration,
        /// The shortest one.
        least: Duration,
    },
    /// A number is out of its range.
    #[display("{field}: {value} is not between {least} and {most}")]
    Number {
        /// The field.
        field: &'static str,
        /// The number.
        value: u32,
        /// The smallest one.
        least: u32,
        /// The largest one.
        most: u32,
    },
    /// The name of the program is too long.
    #[display("software: {octets} octets exceed the limit of {MAX_SOFTWARE}")]
    Software {
        /// Octets of the name.
        octets: usize,
    },
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let short = Duration::from_millis(1);
        for (field, value, least) in [
            ("rto", self.rto, short),
            ("stream_timeout", self.stream_timeout, short),
            ("pace", self.pace, Duration::ZERO),
            ("idle", self.idle, short),
        ] {
            if !(least..=MAX_TIME).contains(&value) {
                return Err(ConfigError::Time {
                    field,
                    value,
                    least,
                });
            }
        }
        for (field, value, least, most) in [
            ("sends", self.sends.into(), 1, MAX_SENDS.into()),
            ("last_wait", self.last_wait.into(), 1, MAX_LAST_WAIT.into()),
            ("per_server", self.per_server.into(), 1, u8::MAX.into()),
            ("queries", self.queries.into(), 1, MAX_QUERIES.into()),
            ("sockets", self.sockets.into(), 1, MAX_QUERIES.into()),
            ("max_message", self.max_message, 576, 65_552),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Number {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        match self.software.len() {
            0..=MAX_SOFTWARE => Ok(()),
            octets => Err(ConfigError::Software { octets }),
        }
    }
}
