//! Reads the packets of captures of any program: pcap and pcapng, in both byte orders.

use alloc::vec::Vec;

use super::ReadError;
use super::pcapng::{
    Block, Blocks, FLAGS, INTERFACE, OBSOLETE_PACKET, OFFSET, Options, Order, PACKET,
    Packet as PacketBlock, PacketDirection, RESOLUTION, SECTION, SIMPLE_PACKET, padding,
    take_slice,
};
use crate::Instant;

/// One packet of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedPacket<'a> {
    /// The offset of its record in the file.
    pub at: usize,
    /// The time of capture, since 1970 or since the origin of a recording.
    pub time: Instant,
    /// The `LINKTYPE` of its first header.
    pub link_type: u16,
    /// Its direction, if the capture has it.
    pub direction: Option<PacketDirection>,
    /// The captured octets.
    pub octets: &'a [u8],
    /// The length on the wire, in octets.
    pub length: usize,
}

/// A reader of the packets of a capture.
///
/// It borrows from the file and copies nothing. Blocks without packets are skipped.
#[derive(Debug, Clone)]
pub struct Capture<'a>(Format<'a>);

#[derive(Debug, Clone)]
enum Format<'a> {
    Pcap(Pcap<'a>),
    Pcapng(Blocks<'a>, Interfaces),
}

impl<'a> Capture<'a> {
    /// Reads the header of a capture.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotACapture`], when the file is no capture.
    pub fn open(file: &'a [u8]) -> Result<Self, ReadError> {
        if let Some(pcap) = Pcap::open(file) {
            return Ok(Self(Format::Pcap(pcap)));
        }
        let blocks = Blocks::new(file)?;
        Ok(Self(Format::Pcapng(blocks, Interfaces::default())))
    }

    /// Returns the next packet, or `None` at the end and where the file was truncated.
    ///
    /// # Errors
    ///
    /// [`ReadError::Malformed`], after which nothing can be read.
    pub fn next_packet(&mut self) -> Result<Option<CapturedPacket<'a>>, ReadError> {
        match &mut self.0 {
            Format::Pcap(pcap) => pcap.next(),
            Format::Pcapng(blocks, interfaces) => {
                while let Some(block) = blocks.next()? {
                    let packet = interfaces.packet(&block)?;
                    if packet.is_some() {
                        return Ok(packet);
                    }
                }
                Ok(None)
            }
        }
    }

    /// Tells, after the last packet, whether the file ends within another.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        match &self.0 {
            Format::Pcap(pcap) => pcap.at < pcap.file.len(),
            Format::Pcapng(blocks, _) => blocks.is_cut(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Pcap<'a> {
    file: &'a [u8],
    at: usize,
    order: Order,
    /// Nanoseconds in one unit of the fraction.
    unit: u64,
    link_type: u16,
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

impl<'a> Pcap<'a> {
    /// Octets before the first packet.
    pub(super) const HEADER: usize = 24;

    pub(super) fn open(file: &'a [u8]) -> Option<Self> {
        let mut rest = file;
        let magic = Order::Little.u32(&mut rest)?;
        let (order, unit) = match magic {
            MICROSECONDS => (Order::Little, 1000),
            NANOSECONDS => (Order::Little, 1),
            _ if magic.swap_bytes() == MICROSECONDS => (Order::Big, 1000),
            _ if magic.swap_bytes() == NANOSECONDS => (Order::Big, 1),
            _ => return None,
        };
        // Version, time zone, accuracy and snapshot length are not needed.
        take_slice(&mut rest, 16)?;
        // The upper half may hold the length of a frame check sequence.
        let link_type = order.u32(&mut rest)?.to_le_bytes();
        Some(Self {
            file,
            at: Self::HEADER,
            order,
            unit,
            link_type: u16::from_le_bytes([link_type[0], link_type[1]]),
        })
    }

    /// Returns a reader of packets from the middle of the file.
    pub(super) const fn of_part<'p>(&self, file: &'p [u8]) -> Pcap<'p> {
        let Self {
            order,
            unit,
            link_type,
            ..
        } = *self;
        Pcap {
            file,
            at: 0,
            order,
            unit,
            link_type,
        }
    }

    /// Returns the length of the next packet with its header, which is there in part at least.
    pub(super) fn record_len(&self) -> Option<usize> {
        let mut captured = self.file.get(self.at + 8..)?;
        let captured = self.order.u32(&mut captured)?;
        usize::try_from(captured).ok()?.checked_add(16)
    }

    pub(super) fn next(&mut self) -> Result<Option<CapturedPacket<'a>>, ReadError> {
        let Some((packet, end)) = self.read() else {
            return Ok(None);
        };
        let CapturedPacket { at, length, .. } = packet;
        // Not every writer respects the snapshot length in its header, but no packet has a gigabyte.
        if length > 1 << 30 {
            let what = "the length of a packet";
            return Err(ReadError::Malformed { at, what });
        }
        self.at = end;
        Ok(Some(packet))
    }

    fn read(&self) -> Option<(CapturedPacket<'a>, usize)> {
        let mut rest = self.file.get(self.at..)?;
        let whole = rest.len();
        let seconds = u64::from(self.order.u32(&mut rest)?);
        let fraction = u64::from(self.order.u32(&mut rest)?);
        let captured = usize::try_from(self.order.u32(&mut rest)?).ok()?;
        let length = usize::try_from(self.order.u32(&mut rest)?).ok()?;
        let octets = take_slice(&mut rest, captured)?;
        let packet = CapturedPacket {
            at: self.at,
            time: Instant::from_nanos(seconds * 1_000_000_000 + fraction * self.unit),
            link_type: self.link_type,
            direction: None,
            octets,
            length: length.max(captured),
        };
        Some((packet, self.at + (whole - rest.len())))
    }
}

/// The interfaces of a section of a pcapng file.
#[derive(Debug, Clone, Default)]
pub(super) struct Interfaces(Vec<CaptureInterface>);

#[derive(Debug, Clone, Copy)]
struct CaptureInterface {
    link_type: u16,
    /// The snapshot length in octets; 0 is no limit.
    snap_length: u32,
    resolution: u8,
    offset: i64,
}

impl Interfaces {
    /// Returns the packet of the next block, if it has one.
    pub(super) fn packet<'a>(
        &mut self,
        block: &Block<'a>,
    ) -> Result<Option<CapturedPacket<'a>>, ReadError> {
        let packet = match block.kind {
            SECTION => {
                self.0.clear();
                return Ok(None);
            }
            INTERFACE => {
                self.interface(block)?;
                return Ok(None);
            }
            PACKET => self.enhanced(block),
            SIMPLE_PACKET => self.simple(block),
            OBSOLETE_PACKET => self.obsolete(block),
            _ => return Ok(None),
        };
        let what = "a packet of an unknown interface, or truncated";
        packet.map(Some).ok_or_else(|| malformed(block, what))
    }

    fn interface(&mut self, block: &Block<'_>) -> Result<(), ReadError> {
        let order = block.order;
        let mut body = block.body;
        let (Some(link_type), Some(_), Some(snap_length)) = (
            order.u16(&mut body),
            order.u16(&mut body),
            order.u32(&mut body),
        ) else {
            return Err(malformed(block, "a truncated interface"));
        };
        let mut interface = CaptureInterface {
            link_type,
            snap_length,
            resolution: 6,
            offset: 0,
        };
        for (code, mut value) in (Options { rest: body, order }) {
            match (code, value) {
                (RESOLUTION, &[resolution]) => interface.resolution = resolution,
                (OFFSET, [_, _, _, _, _, _, _, _]) => {
                    let offset = order.u64(&mut value).unwrap_or(0);
                    interface.offset = offset.cast_signed();
                }
                _ => {}
            }
        }
        self.0.push(interface);
        Ok(())
    }

    fn enhanced<'a>(&self, block: &Block<'a>) -> Option<CapturedPacket<'a>> {
        let packet = PacketBlock::read(block)?;
        let interface = self.0.get(usize::try_from(packet.interface).ok()?)?;
        let length = usize::try_from(packet.length).ok()?;
        let order = block.order;
        let flags = packet.options.clone().find(|(code, _)| *code == FLAGS);
        let flags = flags.and_then(|(_, mut flags)| order.u32(&mut flags));
        Some(CapturedPacket {
            at: block.at,
            time: interface.time(packet.time),
            link_type: interface.link_type,
            direction: flags.and_then(PacketDirection::from_flags),
            octets: packet.octets,
            length: length.max(packet.octets.len()),
        })
    }

    /// Reads a packet without a time, which is of the first interface and has at most its snapshot length.
    fn simple<'a>(&self, block: &Block<'a>) -> Option<CapturedPacket<'a>> {
        let interface = self.0.first()?;
        let mut body = block.body;
        let length = usize::try_from(block.order.u32(&mut body)?).ok()?;
        let limit = match interface.snap_length {
            0 => usize::MAX,
            limit => usize::try_from(limit).ok()?,
        };
        Some(CapturedPacket {
            at: block.at,
            time: Instant::ZERO,
            link_type: interface.link_type,
            direction: None,
            octets: take_slice(&mut body, length.min(limit))?,
            length,
        })
    }

    /// Reads the predecessor of the enhanced packet block, which has a count of drops after the interface.
    fn obsolete<'a>(&self, block: &Block<'a>) -> Option<CapturedPacket<'a>> {
        let order = block.order;
        let mut body = block.body;
        let interface = usize::from(order.u16(&mut body)?);
        let interface = self.0.get(interface)?;
        order.u16(&mut body)?;
        let (high, low) = (order.u32(&mut body)?, order.u32(&mut body)?);
        let captured = usize::try_from(order.u32(&mut body)?).ok()?;
        let length = usize::try_from(order.u32(&mut body)?).ok()?;
        let octets = take_slice(&mut body, captured)?;
        body.get(padding(captured)..)?;
        Some(CapturedPacket {
            at: block.at,
            time: interface.time(u64::from(high) << 32 | u64::from(low)),
            link_type: interface.link_type,
            direction: None,
            octets,
            length: length.max(captured),
        })
    }
}

fn malformed(block: &Block<'_>, what: &'static str) -> ReadError {
    ReadError::Malformed { at: block.at, what }
}

impl CaptureInterface {
    /// Converts a number of units to nanoseconds. The top bit of the resolution stands for powers of two.
    fn time(&self, units: u64) -> Instant {
        let power = u32::from(self.resolution & 0x7f);
        let units = u128::from(units);
        let nanos = if self.resolution & 0x80 != 0 {
            units.saturating_mul(1_000_000_000).checked_shr(power)
        } else if power <= 9 {
            10_u128
                .checked_pow(9 - power)
                .and_then(|unit| units.checked_mul(unit))
        } else {
            let parts = 10_u128.checked_pow(power - 9);
            Some(parts.map_or(0, |parts| units / parts))
        };
        let nanos = nanos.unwrap_or(0).cast_signed();
        let offset = i128::from(self.offset).saturating_mul(1_000_000_000);
        let nanos = nanos.saturating_add(offset).max(0);
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
