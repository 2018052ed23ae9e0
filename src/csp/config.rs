//! The configuration of a node, and the errors of an invalid one.

use alloc::vec;
use alloc::vec::Vec;
use core::error::Error as StdError;
use core::fmt;

use super::carriers::{Encapsulation, InterfaceCodec};
use super::rdp::Connection;
use super::wire::{CRC32_LEN, Flags, RdpHeader, SynOptions, Version};

/// Interfaces that a number of 8 bits tells apart.
const MAX_INTERFACES: usize = 256;
/// The largest window and queue.
const MAX_PACKETS: u16 = 1024;
/// The shortest limit of data: a SYN with CRC32.
const MIN_DATA: u16 = 33;
/// The longest, with which a packet fits into a UDP datagram.
const MAX_DATA: u16 = 65_000;

/// The configuration of one node.
///
/// With the feature `serde`, a configuration file needs only the fields that differ from the default. Unknown fields
/// are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Config {
    /// The address of the node on all its interfaces. Default 1.
    pub address: u16,
    /// The version of headers in its network. Default 2.
    pub version: Version,
    /// Where packets go. Of those routes that contain an address the longest one holds, of equal ones the last.
    /// Default one route, by which all packets leave by interface 0.
    pub routes: Vec<Route>,
    /// How the packets of each interface are encapsulated, by its number. Further ones carry a packet in each
    /// datagram. Default none.
    pub encapsulations: Vec<Encapsulation>,
    /// Whether pings are answered. Default those with CRC32, as libcsp 2.x does.
    pub ping: PingService,
    /// Connections at a time, of both roles. Default 8.
    pub connections: u8,
    /// The options proposed with connections that this node opens. A window above 10 blocks a libcsp peer with the
    /// queues that it has by default. Default those of libcsp with a window of 10.
    pub rdp: SynOptions,
    /// The largest window, 1 to 1024; larger ones of peers are reduced to it. Default 32.
    pub max_window: u16,
    /// Packets of a connection that may wait for the window or for an acknowledgement, 1 to 1024. Default 32.
    pub send_queue: u16,
    /// Packets of a connection that may wait for the application, `max_window` to 1024. Default 32.
    pub receive_queue: u16,
    /// Packets without connection that may wait for the application, and as many that may wait to be sent. Default
    /// 16.
    pub datagram_queue: u16,
    /// Octets of data in a packet with all trailers, 33 to 65,000. Default 256, as libcsp has it by default.
    pub max_data: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: 1,
            version: Version::V2,
            routes: vec![Route::default()],
            encapsulations: Vec::new(),
            ping: PingService::RequireCrc32,
            connections: 8,
            rdp: SynOptions {
                window: 10,
                ..SynOptions::default()
            },
            max_window: 32,
            send_queue: 32,
            receive_queue: 32,
            datagram_queue: 16,
            max_data: 256,
        }
    }
}

/// Whether pings to port 1 are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PingService {
    /// None. The port can be bound.
    Off,
    /// Those with CRC32, as libcsp 2.x does.
    #[default]
    RequireCrc32,
    /// All, as libcsp 1.x does.
    Any,
}

/// Where the packets to some addresses go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Route {
    /// An address.
    pub address: u16,
    /// How many of its first bits an address needs to have in common with it: 0 for all addresses, 5 or 14 for it
    /// alone.
    pub prefix: u8,
    /// The number of the interface.
    pub interface: u8,
    /// The next node; `None` sends to the destination itself.
    pub via: Option<u16>,
}

impl Route {
    /// Tells whether it is for `address`.
    pub(super) fn contains(self, address: u16, version: Version) -> bool {
        let rest = version.address_bits().saturating_sub(self.prefix);
        (self.address ^ address) >> rest == 0
    }
}

/// Why a configuration is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// An address exceeds the bits of the header, or is that of all nodes.
    Address {
        /// The address.
        address: u16,
        /// The largest one.
        limit: u16,
    },
    /// The prefix of a route exceeds the bits of an address.
    Prefix {
        /// The prefix.
        prefix: u8,
        /// The bits of an address.
        limit: u8,
    },
    /// A route over a CAN bus has a next node, of which the frames of version 2 say nothing.
    ViaOnCfp2 {
        /// The number of the interface.
        interface: u8,
        /// The next node.
        via: u16,
    },
    /// An interface sends the next hop before packets, which nodes of version 2 do not.
    NextHopInV2 {
        /// The number of the interface.
        interface: u8,
    },
    /// A value is out of its range.
    Range {
        /// The field.
        field: &'static str,
        /// The value.
        value: u32,
        /// The least value.
        least: u32,
        /// The largest value.
        most: u32,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, limit } => {
                write!(f, "address {address} exceeds the limit of {limit}")
            }
            Self::Prefix { prefix, limit } => {
                write!(
                    f,
                    "prefix of {prefix} bits exceeds the {limit} bits of an address"
                )
            }
            Self::ViaOnCfp2 { interface, via } => {
                write!(
                    f,
                    "a route via {via} over the CAN bus of interface {interface}: CFP2 has no next hop"
                )
            }
            Self::NextHopInV2 { interface } => {
                write!(
                    f,
                    "a next hop before the packets of interface {interface}, which version 2 does not have"
                )
            }
            Self::Range {
                field,
                value,
                least,
                most,
            } => write!(f, "{field} of {value} is not within {least} to {most}"),
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

    pub(super) fn codecs(&self) -> Vec<InterfaceCodec> {
        let (version, address) = (self.version, self.address);
        let codec = |it: &Encapsulation| {
            InterfaceCodec::new(*it, version, address, usize::from(self.max_data))
        };
        self.encapsulations.iter().map(codec).collect()
    }

    pub(super) fn codecs_footprint(&self) -> usize {
        let octets = |it: &Encapsulation| {
            let buffers = InterfaceCodec::footprint(*it, self.version, self.max_data.into());
            size_of::<InterfaceCodec>() + buffers
        };
        self.encapsulations.iter().map(octets).sum::<usize>()
            + self.encapsulations.capacity() * size_of::<Encapsulation>()
    }

    /// Packets that a connection holds, to be sent and received.
    pub(super) const fn queues(&self) -> (u16, u16) {
        (self.send_queue, self.receive_queue)
    }

    pub(super) fn connection(&self) -> Connection {
        Connection::new(self.max_window, self.queues(), usize::from(self.max_data))
    }

    /// Octets of data that fit into a packet beside its trailers.
    pub(super) fn data_limit(&self, flags: Flags) -> usize {
        let length = |flag, octets| if flags.contains(flag) { octets } else { 0 };
        let trailers = length(Flags::RDP, RdpHeader::LEN) + length(Flags::CRC32, CRC32_LEN);
        usize::from(self.max_data).saturating_sub(trailers)
    }

    fn check_encapsulations(&self) -> Result<(), ConfigError> {
        if self.encapsulations.len() > MAX_INTERFACES {
            let count = self.encapsulations.len();
            return range(
                "encapsulations",
                u32::try_from(count).unwrap_or(u32::MAX),
                0,
                256,
            );
        }
        for (interface, encapsulation) in (0..=u8::MAX).zip(&self.encapsulations) {
            match *encapsulation {
                Encapsulation::NextHop(_) if self.version == Version::V2 => {
                    return Err(ConfigError::NextHopInV2 { interface });
                }
                Encapsulation::Ethernet { mtu, .. } => range("mtu", mtu.into(), 23, u16::MAX)?,
                _ => {}
            }
            let is_cfp2 =
                self.version == Version::V2 && matches!(encapsulation, Encapsulation::Can { .. });
            let mut routes = self.routes.iter().filter(|it| it.interface == interface);
            if is_cfp2 && let Some(via) = routes.find_map(|route| route.via) {
                return Err(ConfigError::ViaOnCfp2 { interface, via });
            }
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limit = self.version.broadcast() - 1;
        let routed = self.routes.iter().flat_map(|it| [Some(it.address), it.via]);
        let mut addresses = routed.flatten().chain([self.address]);
        if let Some(address) = addresses.find(|address| *address > limit) {
            return Err(ConfigError::Address { address, limit });
        }
        let bits = self.version.address_bits();
        if let Some(route) = self.routes.iter().find(|route| route.prefix > bits) {
            return Err(ConfigError::Prefix {
                prefix: route.prefix,
                limit: bits,
            });
        }
        self.check_encapsulations()?;
        let packets = |field, value: u16, least| range(field, value.into(), least, MAX_PACKETS);
        packets("max_window", self.max_window, 1)?;
        packets("send_queue", self.send_queue, 1)?;
        packets("receive_queue", self.receive_queue, self.max_window)?;
        packets("datagram_queue", self.datagram_queue, 1)?;
        range("window", self.rdp.window, 1, self.max_window)?;
        range("max_data", self.max_data.into(), MIN_DATA, MAX_DATA)
    }
}

fn range(field: &'static str, value: u32, least: u16, most: u16) -> Result<(), ConfigError> {
    let (least, most) = (u32::from(least), u32::from(most));
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Range {
        field,
        value,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::csp::carriers::{ByteOrder, EtherAddress};

    fn refused(config: &Config) -> alloc::string::String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_refusal_tells_the_value_and_the_limit() {
        let config = Config::default;
        let v1 = Config {
            address: 31,
            version: Version::V1,
            ..config()
        };
        assert_eq!(refused(&v1), "address 31 exceeds the limit of 30");
        let route = Route {
            prefix: 15,
            ..Route::default()
        };
        let routes = vec![route];
        assert_eq!(
            refused(&Config { routes, ..config() }),
            "prefix of 15 bits exceeds the 14 bits of an address"
        );
        let receive_queue = 31;
        assert_eq!(
            refused(&Config {
                receive_queue,
                ..config()
            }),
            "receive_queue of 31 is not within 32 to 1024"
        );
        let max_data = 32;
        assert_eq!(
            refused(&Config {
                max_data,
                ..config()
            }),
            "max_data of 32 is not within 33 to 65000"
        );
    }

    #[test]
    fn an_encapsulation_that_a_version_does_not_have_is_refused() {
        let can = vec![Encapsulation::Can { promiscuous: true }];
        let via = Route {
            via: Some(7),
            ..Route::default()
        };
        let config = Config {
            encapsulations: can,
            routes: vec![via],
            ..Config::default()
        };
        assert_eq!(
            refused(&config),
            "a route via 7 over the CAN bus of interface 0: CFP2 has no next hop"
        );
        let version = Version::V1;
        assert_eq!(Config { version, ..config }.check(), Ok(()));
        let of_v1 = Config {
            encapsulations: vec![Encapsulation::NextHop(ByteOrder::BigEndian)],
            ..Config::default()
        };
        assert_eq!(
            refused(&of_v1),
            "a next hop before the packets of interface 0, which version 2 does not have"
        );
        let ethernet = Encapsulation::Ethernet {
            address: EtherAddress([2; 6]),
            mtu: 22,
        };
        let short = Config {
            encapsulations: vec![ethernet],
            ..Config::default()
        };
        assert_eq!(refused(&short), "mtu of 22 is not within 23 to 65535");
    }

    #[test]
    fn a_route_contains_the_addresses_with_its_first_bits() {
        let contains = |prefix, address| {
            let route = Route {
                address: 8,
                prefix,
                ..Route::default()
            };
            route.contains(address, Version::V2)
        };

        assert!(contains(14, 8) && !contains(14, 9));
        assert!(contains(11, 15) && !contains(11, 16));
        assert!(contains(0, 16_382));
    }
}
