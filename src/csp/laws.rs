//! The laws for a node and for the wire format.

use alloc::vec::Vec;

use super::config::Config;
use super::node::Node;
use super::wire::{Packet, Version};
use crate::laws::LawSubject;
use crate::laws::codec::Codec;
use crate::{Hop, Seed};

/// Octets of data in requests under way: 8 pokes.
const MAX_REQUESTS_OCTETS: usize = 8 * 200;

impl LawSubject for Node {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    /// What is allocated at the start, and the packets that came with commands.
    fn memory_limit(config: &Config) -> usize {
        let (max_data, max_sfp) = (usize::from(config.max_data), config.max_sfp as usize);
        let packets = usize::from(config.send_queue) * max_data;
        let connections = usize::from(config.connections) * (packets + max_sfp);
        let datagrams = usize::from(config.datagram_queue) * max_data.max(max_sfp);
        config.footprint() + connections + datagrams + MAX_REQUESTS_OCTETS
    }

    fn memory_used(&self) -> usize {
        Self::memory_used(self)
    }

    /// The stream of an interface with KISS is at the interface itself.
    fn is_stream(config: &Config, at: Hop) -> bool {
        let interface = config.interfaces.get(usize::from(at.interface));
        at.via == 0 && interface.is_some_and(|it| it.encapsulation.is_stream())
    }

    /// Two neighbours on each of two interfaces, and the interfaces themselves.
    fn route(at: Hop, _: &[Hop]) -> Hop {
        Hop {
            interface: at.interface % 2,
            via: at.via % 4,
        }
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(config, u)
    }
}

/// The codec of [`Packet`] in header version 1, for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct PacketV1Codec;

/// The codec of [`Packet`] in header version 2, for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct PacketV2Codec;

macro_rules! packet_codec {
    ($codec:ty, $version:expr) => {
        impl Codec for $codec {
            type Item<'a> = Packet<'a>;

            fn decode(octets: &[u8]) -> Option<Packet<'_>> {
                Packet::decode($version, octets).ok()
            }

            fn wire_len(item: &Packet<'_>) -> usize {
                item.wire_len($version)
            }

            fn encode(item: &Packet<'_>, out: &mut Vec<u8>) {
                item.encode($version, out);
            }

            fn equal(one: &Packet<'_>, other: &Packet<'_>) -> bool {
                one == other
            }
        }
    };
}

packet_codec!(PacketV1Codec, Version::V1);
packet_codec!(PacketV2Codec, Version::V2);
