//! Carriers: how the packets of an interface become datagrams or octets of a stream, and packets again.
//!
//! | carrier | datagram | encapsulation |
//! |---|---|---|
//! | UDP, a hub of ZMQ | the packet | [`Encapsulation::Packet`] |
//! | a hub of ZMQ with nodes of libcsp 1.x | the next hop, then the packet | [`Encapsulation::NextHop`] |
//! | a serial line | a stream of frames | [`Encapsulation::Kiss`] |
//! | a CAN bus | a frame, as `LINKTYPE_CAN_SOCKETCAN` has it | [`Encapsulation::Can`] |
//! | Ethernet | a frame from its addresses on, without check sequence | [`Encapsulation::Ethernet`] |
//! | I2C | the octet of the address, then the packet | [`Encapsulation::I2c`] |
//!
//! An [`InterfaceCodec`] does all of it for one interface; a [`Node`](crate::csp::Node) has one for each. Everything
//! here is bounded and allocates when it is made alone: at most 16 packets are put together at a time on an interface,
//! and one of which nothing came for 1 s is dropped. Of more than 16 the one that was heard of longest ago gives way:
//! packets of which a frame was lost would otherwise keep whole ones out for a second.

mod can;
mod cfp1;
mod cfp2;
mod codec;
mod ethernet;
mod kiss;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod partials;
mod zmq;

pub use can::CanFrame;
pub use cfp1::{Cfp1Packet, Cfp1Reassembler};
pub use cfp2::{Cfp2Packet, Cfp2Reassembler};
pub use codec::{InterfaceCodec, Pushed};
pub use ethernet::{EtherAddress, EthernetFrame, EthernetReassembler};
pub use kiss::{Kiss, encode_kiss};
#[cfg(any(test, feature = "laws"))]
pub use laws::{CanFrameCodec, EthernetFrameCodec};
pub use zmq::{ByteOrder, subscriptions};

/// How the packets of an interface are encapsulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Encapsulation {
    /// A datagram is a packet: UDP, and ZMQ but for the forms of version 1 below.
    #[default]
    Packet,
    /// A datagram is the octet of the next hop and a packet of version 1: ZMQ of libcsp 1.x, and of 2.x in version 1.
    NextHop(ByteOrder),
    /// Frames of KISS on the stream of the interface, which is at the hop with `via` 0.
    Kiss {
        /// Whether frames end with a CRC32 of their own. All of libcsp has it but for a build option of the 2.2 line.
        crc32: bool,
    },
    /// The fragmentation protocol of CAN: CFP1 with packets of version 1, CFP2 with those of version 2.
    Can {
        /// Whether frames to other nodes are put together too, as a router needs under CFP2, which has no next hop.
        promiscuous: bool,
    },
    /// Frames of Ethernet with the ethertype 0x88B5.
    Ethernet {
        /// The address of the interface.
        address: EtherAddress,
        /// Octets of the longest frame, at least 23. The 22 of the headers are part of it.
        mtu: u16,
    },
    /// The octet of the address of 7 bits, then a packet: a write on I2C.
    I2c,
}

impl Encapsulation {
    /// KISS as libcsp has it by default.
    pub const KISS: Self = Self::Kiss { crc32: true };

    /// Tells whether the octets of the interface are a stream, and not datagrams.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Kiss { .. })
    }
}

/// What was counted of frames that came and gave no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct FrameStats {
    /// Frames whose form or length is wrong, and escapes of KISS that are none.
    pub malformed: u64,
    /// Frames of KISS with a wrong CRC32.
    pub bad_crc32: u64,
    /// Frames to other nodes.
    pub other_address: u64,
    /// Frames of packets whose first frame has not come.
    pub stray: u64,
    /// Packets longer than the limit.
    pub too_long: u64,
    /// Packets of which a frame is missing or out of place.
    pub incomplete: u64,
    /// Unfinished packets in place of which another one of the same number began.
    pub superseded: u64,
    /// Unfinished packets of which nothing came for 1 s.
    pub stale: u64,
    /// Unfinished packets that gave way, since 16 are put together at a time.
    pub displaced: u64,
}

impl FrameStats {
    /// Adds what was counted of frames before they were put together.
    const fn plus_unread(self, before: Self) -> Self {
        Self {
            malformed: self.malformed + before.malformed,
            other_address: self.other_address + before.other_address,
            ..self
        }
    }
}
