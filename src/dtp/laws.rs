//! The laws for the wire format.

use alloc::vec::Vec;

use super::wire::DataPacket;
use crate::laws::codec::Codec;

/// The codec of [`DataPacket`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct DataPacketCodec;

impl Codec for DataPacketCodec {
    type Item<'a> = DataPacket<'a>;

    fn decode(octets: &[u8]) -> Option<DataPacket<'_>> {
        DataPacket::decode(octets).ok()
    }

    fn wire_len(item: &DataPacket<'_>) -> usize {
        item.wire_len()
    }

    fn encode(item: &DataPacket<'_>, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &DataPacket<'_>, other: &DataPacket<'_>) -> bool {
        one == other
    }
}
