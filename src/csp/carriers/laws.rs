//! The laws for the frames of carriers.

use alloc::vec::Vec;

use super::can::CanFrame;
use super::ethernet::EthernetFrame;
use crate::laws::codec::Codec;

/// The codec of [`CanFrame`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct CanFrameCodec;

/// The codec of [`EthernetFrame`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct EthernetFrameCodec;

impl Codec for CanFrameCodec {
    type Item<'a> = CanFrame;

    /// Padding, and the reserved octets of the header, are no part of a frame.
    fn decode(octets: &[u8]) -> Option<CanFrame> {
        let frame = CanFrame::decode(octets).ok()?;
        let is_whole = frame.wire_len() == octets.len() && octets.get(5..8) == Some(&[0; 3]);
        is_whole.then_some(frame)
    }

    fn wire_len(item: &CanFrame) -> usize {
        item.wire_len()
    }

    fn encode(item: &CanFrame, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &CanFrame, other: &CanFrame) -> bool {
        one == other
    }
}

impl Codec for EthernetFrameCodec {
    type Item<'a> = EthernetFrame<'a>;

    /// Padding is no part of a frame.
    fn decode(octets: &[u8]) -> Option<EthernetFrame<'_>> {
        let frame = EthernetFrame::decode(octets).ok()?;
        (frame.wire_len() == octets.len()).then_some(frame)
    }

    fn wire_len(item: &EthernetFrame<'_>) -> usize {
        item.wire_len()
    }

    fn encode(item: &EthernetFrame<'_>, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &EthernetFrame<'_>, other: &EthernetFrame<'_>) -> bool {
        one == other
    }
}
