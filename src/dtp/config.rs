//! The configuration of a node, and the errors of an invalid one.

use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use super::vmem::VMEM_START_LEN;
use super::wire::REQUEST_LEN;
use crate::csp::{self, Flags, RdpHeader};

/// The configuration of one node.
///
/// With the feature `serde`, a configuration file needs only the fields that differ from the default. Unknown fields
/// are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// The node that carries the transfers. Its connections are those of the application; those of transfers come on
    /// top. Its packets need at least 85 octets of data, 108 with VMEM.
    pub csp: csp::Config,
    /// Whether transfers carry HMAC: requests of this node do, its server takes no others, and data do. libdtp has no
    /// HMAC. The node needs a key. Default no.
    pub hmac: bool,
    /// Payloads that may be got at a time. Default 4.
    pub clients: u8,
    /// Clients that may be served at a time; one more is told that there is no room. Default 4.
    pub servers: u8,
    /// Payloads that may be served. Default 8.
    pub payloads: u8,
    /// Ranges of missing packets that are known of a transfer, at least 1; each takes 8 octets. Beyond it packets that
    /// have come between two of them are asked for again, and the CRC-32C of the payload is not checked. There are about
    /// as many as packets are lost in one round. Default 16,384.
    pub max_holes: u16,
    /// Events of data that may wait, at least 1. Packets that follow on each other make one event; those that fill holes
    /// mostly make one each, and all that a driver reads before it polls need room. Default 1024.
    pub data_events: u16,
    /// Octets of the longest event of data, at least as many as a packet of `csp` holds. Four times as many may wait.
    /// Default 65,536.
    pub data_event_octets: u32,
    /// Octets per second that a client is sent at most, whatever it asks for. `None` is no limit. Default none.
    pub max_throughput: Option<u32>,
    /// Messages of VMEM that may be under way at a time, as many of clients as of the server. 0: none, and the port of
    /// VMEM is not bound. Default 0.
    pub vmem_messages: u8,
    /// How long a connection without a request is kept. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            csp: csp::Config::default(),
            hmac: false,
            clients: 4,
            servers: 4,
            payloads: 8,
            max_holes: 16_384,
            data_events: 1024,
            data_event_octets: 1 << 16,
            max_throughput: None,
            vmem_messages: 0,
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a configuration is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration of the node that carries the transfers.
    Csp(csp::ConfigError),
    /// Transfers are to carry HMAC, and the node has no key.
    HmacWithoutKey,
    /// A value is less than it has to be.
    TooSmall {
        /// The field.
        field: &'static str,
        /// The value.
        value: u32,
        /// The least value.
        least: u32,
    },
    /// There are more connections than a node can have.
    TooManyConnections {
        /// How many.
        connections: u16,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csp(error) => error.fmt(f),
            Self::TooSmall {
                field,
                value,
                least,
            } => write!(f, "{field} of {value} is less than {least}"),
            Self::HmacWithoutKey => f.write_str("hmac: HMAC without a key"),
            Self::TooManyConnections { connections } => {
                write!(f, "{connections} connections exceed the limit of 255")
            }
        }
    }
}

impl StdError for ConfigError {}

impl Config {
    /// Returns the octets that a node of this configuration allocates when it is made. It allocates nothing after.
    #[must_use]
    pub fn footprint(&self) -> usize {
        super::node::footprint(self)
    }

    /// Returns the configuration of the node that carries the transfers, with connections for them and one for a client
    /// that is refused.
    pub(super) fn carrier(&self) -> Result<csp::Config, ConfigError> {
        let own = [self.csp.connections, self.clients, self.servers];
        let roles = u16::from(self.servers > 0) + u16::from(self.clients > 0);
        let refused = u16::from(self.servers > 0);
        let messages = roles * u16::from(self.vmem_messages);
        let connections = own.into_iter().map(u16::from).sum::<u16>() + refused + messages;
        let Ok(connections) = u8::try_from(connections) else {
            return Err(ConfigError::TooManyConnections { connections });
        };
        Ok(csp::Config {
            connections,
            ..self.csp.clone()
        })
    }

    /// Returns the octets of the longest packet of data.
    pub(super) fn max_mtu(&self) -> u16 {
        let mut flags = Flags::empty();
        flags.set(Flags::HMAC, self.hmac);
        // Bound: at most the octets of a packet.
        u16::try_from(self.csp.data_limit(flags)).unwrap_or(u16::MAX)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.hmac && self.csp.hmac_key.is_none() {
            return Err(ConfigError::HmacWithoutKey);
        }
        let max_data = u32::from(self.csp.max_data);
        let trailers = self.csp.max_data - self.max_mtu();
        // Bound: 85, and 4 of HMAC.
        let request = u32::try_from(REQUEST_LEN + RdpHeader::LEN).unwrap_or(u32::MAX);
        let request = request + u32::from(trailers);
        // With CRC32.
        let start = u32::try_from(VMEM_START_LEN + RdpHeader::LEN + 4).unwrap_or(u32::MAX);
        let request = if self.vmem_messages > 0 {
            request.max(start)
        } else {
            request
        };
        for (field, value, least) in [
            ("max_data", max_data, request),
            ("max_holes", self.max_holes.into(), 1),
            ("data_events", self.data_events.into(), 1),
            ("data_event_octets", self.data_event_octets, max_data),
            ("max_throughput", self.max_throughput.unwrap_or(1), 1),
        ] {
            if value < least {
                return Err(ConfigError::TooSmall {
                    field,
                    value,
                    least,
                });
            }
        }
        Ok(())
    }
}
