//! The laws for the wire format.

use alloc::vec::Vec;

use super::wire::{Packet, Version};
use crate::laws::codec::Codec;

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
