//! The configuration of a node, and the errors of an invalid one.

use alloc::vec;
use alloc::vec::Vec;
use core::error::Error as StdError;

use super::api::{Error, SendOptions};
use super::carriers::{Encapsulation, InterfaceCodec};
use super::rdp::Connection;
use super::routing::{InterfaceConfig, Route};
use super::security::SharedKey;
use super::services::{ServiceSet, Services};
use super::wire::{CRC32_LEN, Flags, HMAC_LEN, RdpHeader, SFP_LEN, SynOptions, Version};

/// The most interfaces: their numbers have 8 bits.
const MAX_INTERFACES: u16 = 256;
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
    /// The address of the node, on all interfaces that have none of their own. Default 1.
    pub address: u16,
    /// Other addresses of the node. Default none.
    pub aliases: Vec<u16>,
    /// The version of headers in its network. Default 2.
    pub version: Version,
    /// The interfaces of the node, 1 to 256. Default one, without a name and a subnet.
    pub interfaces: Vec<InterfaceConfig>,
    /// Where packets go that no subnet of an interface contains. Of those routes that contain an address the longest
    /// one holds; if several are equal, a copy leaves by each. Default one route, by which all packets leave by
    /// interface 0.
    pub routes: Vec<Route>,
    /// Routes that there may be in all, those of the start included. Default 16.
    pub max_routes: u16,
    /// Whether packets for other nodes are passed on, never to the interface that they came from or to one of the same
    /// subnet. Default yes, as libcsp does.
    pub forward: bool,
    /// Packets that may wait for each interface: those passed on, and copies that leave by several. Default 16.
    pub interface_queue: u16,
    /// Packets of 0.1 s that are remembered to drop their repetitions, 1 to 65,535. More are not passed on, or they
    /// could go round a loop for ever. Default 1024.
    pub max_remembered: u16,
    /// Two interfaces between which all packets are passed, without a look at their addresses and without repetitions
    /// within 0.1 s. The node itself takes none of them. Default none.
    pub bridge: Option<(u8, u8)>,
    /// Packets received and sent that may wait for the application in copy, which is told all of them. Default 0: none
    /// is told.
    pub promiscuous: u16,
    /// The key of HMAC. Default none.
    pub hmac_key: Option<SharedKey>,
    /// The key of XTEA, by which a node of version 1 reads encrypted packets; it sends none. Default none.
    pub xtea_key: Option<SharedKey>,
    /// The services of the node, apart from ping. Default none.
    pub services: Services,
    /// How pings and requests to services are sent. Default with CRC32.
    pub requests: SendOptions,
    /// Whether pings are answered. Default those with CRC32, as libcsp 2.x does.
    pub ping: PingService,
    /// Connections at a time, of both roles. Default 8.
    pub connections: u8,
    /// The options proposed with connections that this node opens. A window above 10 blocks a libcsp peer with the
    /// queues that it has by default. A count of delayed acknowledgements above half the window is reduced to that.
    /// Default those of libcsp with a window of 10.
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
    /// Octets of the longest whole that is sent or received in fragments. Default 1 MiB.
    pub max_sfp: u32,
    /// Senders whose fragments without connection are taken at a time. Default 4.
    pub sfp_senders: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: 1,
            aliases: Vec::new(),
            version: Version::V2,
            interfaces: vec![InterfaceConfig::default()],
            routes: vec![Route::default()],
            max_routes: 16,
            forward: true,
            interface_queue: 16,
            max_remembered: 1024,
            bridge: None,
            promiscuous: 0,
            hmac_key: None,
            xtea_key: None,
            services: Services::default(),
            requests: SendOptions {
                crc32: true,
                ..SendOptions::default()
            },
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
            max_sfp: 1 << 20,
            sfp_senders: 4,
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

/// Why a configuration is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum ConfigError {
    /// An address, a prefix or an interface is out of its range, as in a command.
    Value(Error),
    /// An interface sends the next hop before packets, which nodes of version 2 do not.
    #[display(
        "a next hop before the packets of interface {interface}, which version 2 does not have"
    )]
    NextHopInV2 {
        /// The number of the interface.
        interface: u8,
    },
    /// HMAC is to be sent or required, and there is no key for it.
    #[display("{field}: HMAC without a key")]
    NoHmacKey {
        /// The field.
        field: &'static str,
    },
    /// A key for XTEA, which version 2 does not have.
    #[display("xtea_key: there is no XTEA in version 2")]
    XteaInV2,
    /// Services that a node cannot answer by itself, or that the application answers too.
    #[display("by_node: services {:#06x} are not for the node alone", _0.bits())]
    ServicesByNode(ServiceSet),
    /// A value is out of its range.
    #[display("{field} of {value} is not within {least} to {most}")]
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

impl StdError for ConfigError {}

impl Config {
    /// Returns the octets that a node of this configuration allocates when it is made. It allocates nothing after.
    #[must_use]
    pub fn footprint(&self) -> usize {
        super::node::footprint(self)
    }

    /// Packets that a connection holds, to be sent and received.
    pub(super) const fn queues(&self) -> (u16, u16) {
        (self.send_queue, self.receive_queue)
    }

    pub(super) fn connection(&self) -> Connection {
        Connection::new(self.max_window, self.queues(), usize::from(self.max_data))
    }

    /// Tells whether an address is that of the node or another that it has, apart from those of its interfaces.
    pub(super) fn has_address(&self, address: u16) -> bool {
        self.address == address || self.aliases.contains(&address)
    }

    /// Octets of the longest packet with its header.
    pub(super) fn max_packet(&self) -> usize {
        self.version.header_len() + usize::from(self.max_data)
    }

    /// Routes that there may be: those of the start, if these are more.
    pub(super) fn max_routes(&self) -> u16 {
        let routes = u16::try_from(self.routes.len()).unwrap_or(u16::MAX);
        self.max_routes.max(routes)
    }

    /// Octets of data that fit into a packet beside its trailers.
    pub(crate) fn data_limit(&self, flags: Flags) -> usize {
        let length = |flag, octets| if flags.contains(flag) { octets } else { 0 };
        let trailers = length(Flags::FRAG, SFP_LEN)
            + length(Flags::RDP, RdpHeader::LEN)
            + length(Flags::HMAC, HMAC_LEN)
            + length(Flags::CRC32, CRC32_LEN);
        usize::from(self.max_data).saturating_sub(trailers)
    }

    pub(super) fn codecs(&self) -> Vec<InterfaceCodec> {
        let codec = |it: &InterfaceConfig| {
            let address = it.address.unwrap_or(self.address);
            let max_data = usize::from(self.max_data);
            InterfaceCodec::new(it.encapsulation, self.version, address, max_data)
        };
        self.interfaces.iter().map(codec).collect()
    }

    pub(super) fn codecs_footprint(&self) -> usize {
        let octets = |it: &InterfaceConfig| {
            let max_data = usize::from(self.max_data);
            let buffers = InterfaceCodec::footprint(it.encapsulation, self.version, max_data);
            size_of::<InterfaceCodec>() + buffers
        };
        self.interfaces.iter().map(octets).sum()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let interfaces = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        range("interfaces", interfaces, 1, MAX_INTERFACES)?;
        self.check_values().map_err(ConfigError::Value)?;
        self.check_encapsulations()?;
        self.check_security()?;
        let packets = |field, value: u16, least| range(field, value.into(), least, MAX_PACKETS);
        packets("max_window", self.max_window, 1)?;
        packets("send_queue", self.send_queue, 1)?;
        packets("receive_queue", self.receive_queue, self.max_window)?;
        packets("datagram_queue", self.datagram_queue, 1)?;
        packets("interface_queue", self.interface_queue, 1)?;
        range("max_remembered", self.max_remembered.into(), 1, u16::MAX)?;
        packets("promiscuous", self.promiscuous, 0)?;
        packets("max_routes", self.max_routes(), 0)?;
        range("window", self.rdp.window, 1, self.max_window)?;
        range("max_data", self.max_data.into(), MIN_DATA, MAX_DATA)
    }

    fn check_values(&self) -> Result<(), Error> {
        let mut own = self.aliases.iter().chain([&self.address]);
        own.try_for_each(|address| self.check_address(*address))?;
        for it in &self.interfaces {
            self.check_address(it.address.unwrap_or(0))?;
            self.check_prefix(it.prefix)?;
        }
        let mut bridged = self.bridge.into_iter().flat_map(<[u8; 2]>::from);
        bridged.try_for_each(|interface| self.check_interface(interface))?;
        let mut routes = self.routes.iter();
        routes.try_for_each(|route| self.check_route(*route))
    }

    /// Tells why a route is none of this node, if it is none.
    pub(super) fn check_route(&self, route: Route) -> Result<(), Error> {
        let Route { interface, via, .. } = route;
        self.check_address(route.address)?;
        self.check_address(via.unwrap_or(0))?;
        self.check_prefix(route.prefix)?;
        self.check_interface(interface)?;
        match via.filter(|_| self.is_cfp2(interface)) {
            Some(via) => Err(Error::ViaOnCfp2 { interface, via }),
            None => Ok(()),
        }
    }

    const fn check_address(&self, address: u16) -> Result<(), Error> {
        let limit = self.version.broadcast() - 1;
        if address > limit {
            return Err(Error::AddressTooLarge { address, limit });
        }
        Ok(())
    }

    const fn check_prefix(&self, prefix: u8) -> Result<(), Error> {
        let limit = self.version.address_bits();
        if prefix > limit {
            return Err(Error::PrefixTooLarge { prefix, limit });
        }
        Ok(())
    }

    fn check_interface(&self, interface: u8) -> Result<(), Error> {
        let interfaces = self.interfaces.len();
        if usize::from(interface) >= interfaces {
            return Err(Error::NoInterface {
                interface,
                interfaces,
            });
        }
        Ok(())
    }

    fn check_encapsulations(&self) -> Result<(), ConfigError> {
        let is_v2 = self.version == Version::V2;
        for (interface, it) in (0..=u8::MAX).zip(&self.interfaces) {
            match it.encapsulation {
                Encapsulation::NextHop(_) if is_v2 => {
                    return Err(ConfigError::NextHopInV2 { interface });
                }
                Encapsulation::Ethernet { mtu, .. } => range("mtu", mtu.into(), 23, u16::MAX)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells whether an interface is a CAN bus whose frames have no next hop.
    pub(super) fn is_cfp2(&self, interface: u8) -> bool {
        let interface = self.interfaces.get(usize::from(interface));
        let is_can = |it: &InterfaceConfig| matches!(it.encapsulation, Encapsulation::Can { .. });
        self.version == Version::V2 && interface.is_some_and(is_can)
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        let without_key = [
            ("requests", self.requests.hmac),
            ("require_hmac", self.services.require_hmac),
        ];
        let mut without_key = without_key.into_iter().filter(|(_, needs_key)| *needs_key);
        if let Some((field, _)) = without_key.next().filter(|_| self.hmac_key.is_none()) {
            return Err(ConfigError::NoHmacKey { field });
        }
        if self.xtea_key.is_some() && self.version == Version::V2 {
            return Err(ConfigError::XteaInV2);
        }
        let Services {
            by_node,
            by_application,
            ..
        } = self.services;
        let wrong = by_node.difference(ServiceSet::OF_NODE.difference(by_application));
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::ServicesByNode(wrong))
        }
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
    fn an_encapsulation_that_a_version_does_not_have_is_refused() {
        let interface = |encapsulation| {
            vec![InterfaceConfig {
                encapsulation,
                ..InterfaceConfig::default()
            }]
        };
        let via = Route {
            via: Some(7),
            ..Route::default()
        };
        let config = Config {
            interfaces: interface(Encapsulation::Can { promiscuous: true }),
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
            interfaces: interface(Encapsulation::NextHop(ByteOrder::BigEndian)),
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
            interfaces: interface(ethernet),
            ..Config::default()
        };
        assert_eq!(refused(&short), "mtu of 22 is not within 23 to 65535");
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
    fn hmac_without_a_key_is_refused() {
        let hmac = SendOptions {
            hmac: true,
            ..SendOptions::default()
        };
        let mut config = Config {
            requests: hmac,
            ..Config::default()
        };
        assert_eq!(refused(&config), "requests: HMAC without a key");
        config.services.require_hmac = true;
        config.requests.hmac = false;
        assert_eq!(refused(&config), "require_hmac: HMAC without a key");

        config.hmac_key = Some(SharedKey::from_passphrase(b"key"));
        assert_eq!(config.check(), Ok(()));
        config.xtea_key = config.hmac_key.clone();
        assert_eq!(refused(&config), "xtea_key: there is no XTEA in version 2");
    }

    #[test]
    fn interfaces_that_there_are_not_are_refused() {
        let route = Route {
            interface: 1,
            ..Route::default()
        };
        let mut config = Config {
            routes: vec![route],
            ..Config::default()
        };
        assert_eq!(refused(&config), "interface 1 is none of 1");
        config.routes = Vec::new();
        config.bridge = Some((0, 2));
        assert_eq!(refused(&config), "interface 2 is none of 1");
        config.interfaces = Vec::new();
        assert_eq!(refused(&config), "interfaces of 0 is not within 1 to 256");
    }

    #[test]
    fn services_that_need_the_application_are_not_for_the_node() {
        let mut config = Config::default();
        config.services.by_node = ServiceSet::IDENT | ServiceSet::REBOOT;
        assert_eq!(
            refused(&config),
            "by_node: services 0x0100 are not for the node alone"
        );
        config.services.by_node = ServiceSet::IDENT;
        config.services.by_application = ServiceSet::IDENT;
        assert_eq!(
            refused(&config),
            "by_node: services 0x0001 are not for the node alone"
        );
    }

    #[test]
    fn trailers_leave_less_room_for_data() {
        let config = Config::default();
        assert_eq!(config.data_limit(Flags::empty()), 256);
        let all = Flags::FRAG | Flags::RDP | Flags::HMAC | Flags::CRC32;
        assert_eq!(config.data_limit(all), 256 - 8 - 5 - 4 - 4);
    }
}
