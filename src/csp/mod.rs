//! The Cubesat Space Protocol, as libcsp 1.x and 2.x have it on the wire.

#[cfg(any(test, feature = "laws"))]
mod laws;
mod rdp;
mod wire;

#[cfg(any(test, feature = "laws"))]
pub use laws::{PacketV1Codec, PacketV2Codec};
pub use wire::{
    CRC32_LEN, Flags, Header, MAX_PORT, Packet, Priority, RdpFlags, RdpHeader, SFP_LEN,
    SequenceNumber, SfpTrailer, SynOptions, Version, crc32, eack_numbers,
};
