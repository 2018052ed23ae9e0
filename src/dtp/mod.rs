//! The Data Transfer Protocol over CSP, as libdtp has it: payloads that are pulled in intervals of packets.

#[cfg(any(test, feature = "laws"))]
mod laws;
mod wire;

#[cfg(any(test, feature = "laws"))]
pub use laws::DataPacketCodec;
pub use wire::{
    DATA_HEADER_LEN, DataPacket, Interval, Intervals, LONG_REQUEST_LEN, MAX_INTERVALS, REQUEST_LEN,
    Request, Response, TO_THE_END,
};
