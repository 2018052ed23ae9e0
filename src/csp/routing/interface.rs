//! The configuration of an interface.

use crate::csp::carriers::Encapsulation;
use crate::csp::services::InterfaceName;
use crate::csp::wire::Version;

/// An interface of a node. Its number is its place in [`Config::interfaces`](crate::csp::Config::interfaces).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct InterfaceConfig {
    /// Its name in routing tables and statistics, at most 10 octets; libcsp reads 9 of them. Default empty.
    pub name: InterfaceName,
    /// Its address; `None` is that of the node. Default that of the node.
    pub address: Option<u16>,
    /// How many of the first bits of the address are those of its subnet. Packets to a subnet leave by all its
    /// interfaces. Default 0: it has none.
    pub prefix: u8,
    /// Whether packets leave by it to which no subnet and no route leads. Default no.
    pub is_default: bool,
    /// Which packets are dropped that are equal to one of the last 0.1 s, by whatever interface that came. Default
    /// those to be forwarded.
    pub deduplication: Deduplication,
    /// How packets are encapsulated. Default a packet in each datagram.
    pub encapsulation: Encapsulation,
    /// Octets per second that transfers of DTP send by it at most, all clients together; other packets do not wait. 0 is
    /// taken as 1.
    /// `None` is no limit. Default none.
    pub max_throughput: Option<u32>,
}

/// Which packets that an interface receives are dropped if they are repetitions.
///
/// It ends loops, since packets count no hops. A peer that sends this node the same packet twice within 0.1 s is heard
/// once. Of a packet for another node, two copies from the interface of the first are passed on too: the peer may have
/// sent it again, since it was lost further on. A node never passes on what it has sent itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Deduplication {
    /// None.
    Off,
    /// Those for this node.
    Incoming,
    /// Those for others.
    #[default]
    Forwarded,
    /// All.
    All,
}

impl Deduplication {
    pub(super) const fn applies(self, is_for_node: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Incoming => is_for_node,
            Self::Forwarded => !is_for_node,
            Self::All => true,
        }
    }
}

/// The subnet of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    address: u16,
    prefix: u8,
    version: Version,
}

impl Subnet {
    /// Returns the subnet of an address; `None` without a prefix.
    pub(super) const fn new(address: u16, prefix: u8, version: Version) -> Option<Self> {
        if prefix == 0 {
            return None;
        }
        let subnet = Self {
            address: 0,
            prefix,
            version,
        };
        Some(Self {
            address: address & !subnet.host_mask(),
            ..subnet
        })
    }

    const fn host_mask(self) -> u16 {
        let bits = self.version.address_bits().saturating_sub(self.prefix);
        !(u16::MAX << bits)
    }

    pub(super) const fn contains(self, address: u16) -> bool {
        address & !self.host_mask() & self.version.broadcast() == self.address
    }

    /// Tells whether an address is that of all nodes of the subnet: the bits of the host are all set.
    pub(super) const fn is_broadcast(self, address: u16) -> bool {
        let mask = self.host_mask();
        mask != 0 && self.contains(address) && address & mask == mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_contains_the_addresses_with_its_first_bits() {
        let subnet = Subnet::new(0x0105, 6, Version::V2).unwrap();

        assert!(subnet.contains(0x0100) && subnet.contains(0x01FF));
        assert!(!subnet.contains(0x0200) && !subnet.contains(0x00FF));
        assert!(subnet.is_broadcast(0x01FF));
        assert!(!subnet.is_broadcast(0x01FE) && !subnet.is_broadcast(0x02FF));
        assert_eq!(Subnet::new(5, 0, Version::V2), None);
    }

    #[test]
    fn a_subnet_of_one_node_has_no_broadcast() {
        let subnet = Subnet::new(31, 5, Version::V1).unwrap();

        assert!(subnet.contains(31) && !subnet.contains(30));
        assert!(!subnet.is_broadcast(31));
    }

    #[test]
    fn two_addresses_of_a_subnet_are_the_same_subnet() {
        let subnet = |address, prefix| Subnet::new(address, prefix, Version::V1);
        assert_eq!(subnet(8, 2), subnet(15, 2));
        assert_ne!(subnet(8, 2), subnet(16, 2));
        assert_ne!(subnet(8, 2), subnet(8, 3));
    }
}
