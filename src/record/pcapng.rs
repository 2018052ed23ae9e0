//! The pcapng format: blocks and options, written and read.
//!
//! Written after draft-ietf-opsawg-pcapng. Everything written is little endian; both orders are read.

use alloc::vec::Vec;

use super::ReadError;

/// The type of a section header block; its value is the same in both byte orders.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
pub(super) const OBSOLETE_PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const PACKET: u32 = 6;
/// A custom block, which begins with the enterprise number of whoever defines its contents. Format 2 had its heads in
/// such blocks.
pub(super) const CUSTOM: u32 = 0x0bad;
/// A block of a type with the highest bit set, which is for local use and names nobody.
pub(super) const LOCAL: u32 = 0x8000_0bad;

pub(super) const END_OF_OPTIONS: u16 = 0;
/// An option of any block: text for people.
pub(super) const COMMENT: u16 = 1;
/// An option of a section: the application that wrote it.
pub(super) const APPLICATION: u16 = 4;
/// Options of an interface.
pub(super) const NAME: u16 = 2;
pub(super) const RESOLUTION: u16 = 9;
pub(super) const OFFSET: u16 = 14;
/// An option of a packet: its direction, in the two low bits.
pub(super) const FLAGS: u16 = 2;
/// An option of a packet for local use, as the highest bit of its code says.
pub(super) const LOCAL_OPTION: u16 = 0x8bad;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// The direction of a packet, as seen from the recorded machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketDirection {
    /// Received.
    In,
    /// Sent.
    Out,
}

impl PacketDirection {
    /// Returns the value of the `epb_flags` option.
    pub(super) const fn flags(self) -> u32 {
        match self {
            Self::In => 1,
            Self::Out => 2,
        }
    }

    pub(super) const fn from_flags(flags: u32) -> Option<Self> {
        match flags & 3 {
            1 => Some(Self::In),
            2 => Some(Self::Out),
            _ => None,
        }
    }
}

/// The byte order of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u16(self, octets: &mut &[u8]) -> Option<u16> {
        let value = take(octets)?;
        Some(match self {
            Self::Little => u16::from_le_bytes(value),
            Self::Big => u16::from_be_bytes(value),
        })
    }

    pub(super) fn u32(self, octets: &mut &[u8]) -> Option<u32> {
        let value = take(octets)?;
        Some(match self {
            Self::Little => u32::from_le_bytes(value),
            Self::Big => u32::from_be_bytes(value),
        })
    }

    pub(super) fn u64(self, octets: &mut &[u8]) -> Option<u64> {
        let value = take(octets)?;
        Some(match self {
            Self::Little => u64::from_le_bytes(value),
            Self::Big => u64::from_be_bytes(value),
        })
    }
}

/// Takes the first `N` octets.
pub(super) fn take<const N: usize>(octets: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = octets.split_first_chunk::<N>()?;
    *octets = rest;
    Some(*first)
}

/// Takes the first `length` octets.
pub(super) fn take_slice<'a>(octets: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, rest) = octets.split_at_checked(length)?;
    *octets = rest;
    Some(first)
}

/// One whole block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// Its offset in the file.
    pub(super) at: usize,
    pub(super) kind: u32,
    pub(super) order: Order,
    /// The octets between its two lengths.
    pub(super) body: &'a [u8],
}

/// A reader of the blocks of a file.
#[derive(Debug, Clone)]
pub(super) struct Blocks<'a> {
    file: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Blocks<'a> {
    /// Checks that the file begins with a section.
    pub(super) fn new(file: &'a [u8]) -> Result<Self, ReadError> {
        let mut start = file;
        if Order::Little.u32(&mut start) != Some(SECTION) {
            return Err(ReadError::NotACapture);
        }
        Ok(Self {
            file,
            at: 0,
            order: Order::Little,
        })
    }

    /// Reads blocks from the middle of a section in this order of octets.
    pub(super) const fn of_part(file: &'a [u8], order: Order) -> Self {
        Self { file, at: 0, order }
    }

    /// Returns the order of the octets of the current section.
    pub(super) const fn order(&self) -> Order {
        self.order
    }

    /// Returns the length of the next block, which is there in part at least. `None` if no block has it.
    pub(super) fn block_len(&self) -> Option<usize> {
        let mut rest = self.file.get(self.at..)?;
        let order = match self.order.u32(&mut { rest })? {
            SECTION => order_of_section(rest)?,
            _ => self.order,
        };
        rest = rest.get(4..)?;
        let length = usize::try_from(order.u32(&mut rest)?).ok()?;
        (length >= 12 && length.is_multiple_of(4)).then_some(length)
    }

    /// Returns the offset of the next block.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Returns the next block, or `None` at the end and where the file was truncated within a block.
    ///
    /// [`is_cut`](Self::is_cut) distinguishes the two.
    pub(super) fn next(&mut self) -> Result<Option<Block<'a>>, ReadError> {
        let Some(left) = self.file.get(self.at..) else {
            return Ok(None);
        };
        let mut rest = left;
        let Some(kind) = self.order.u32(&mut rest) else {
            return Ok(None);
        };
        if kind == SECTION {
            let Some(order) = order_of_section(left) else {
                return self.broken_or_cut(left.len() < 12, "the byte order of the section");
            };
            self.order = order;
        }
        let Some(length) = self.order.u32(&mut rest) else {
            return Ok(None);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < 12 || !length.is_multiple_of(4) {
            return self.broken_or_cut(false, "the length of a block");
        }
        let Some(mut body) = rest.get(..length - 8) else {
            return self.broken_or_cut(!self.goes_on(left, length), "the length of a block");
        };
        let Some((inner, mut trailer)) = body.split_last_chunk::<4>().map(|(a, b)| (a, &b[..]))
        else {
            return Ok(None);
        };
        if self.order.u32(&mut trailer).map(usize::try_from) != Some(Ok(length)) {
            return self.broken_or_cut(false, "the second length of a block");
        }
        body = inner;
        let block = Block {
            at: self.at,
            kind,
            order: self.order,
            body,
        };
        self.at += length;
        Ok(Some(block))
    }

    /// Tells whether `left` is a sequence of whole blocks, of which only the first has a wrong length, `claimed`.
    /// It is read from the end, since blocks end with their lengths too.
    fn goes_on(&self, left: &[u8], claimed: usize) -> bool {
        let length_at = |at: usize| {
            let length = self.order.u32(&mut left.get(at..)?)?;
            usize::try_from(length).ok()
        };
        let mut end = left.len();
        while end > 0 {
            let Some(length) = end.checked_sub(4).and_then(length_at) else {
                return false;
            };
            let Some(start) = end.checked_sub(length).filter(|_| length >= 12) else {
                return false;
            };
            if start == 0 {
                // A single block may be truncated, unless the lengths differ in one bit. A packet has 32 octets.
                let is_packet = self.order.u32(&mut { left }) == Some(PACKET);
                let is_block = length >= 32 || !is_packet;
                return end < left.len() || (is_block && (claimed ^ length).is_power_of_two());
            }
            if length_at(start + 4) != Some(length) {
                return false;
            }
            end = start;
        }
        false
    }

    fn broken_or_cut(&self, cut: bool, what: &'static str) -> Result<Option<Block<'a>>, ReadError> {
        if cut {
            return Ok(None);
        }
        Err(ReadError::Malformed { at: self.at, what })
    }

    /// Tells, after the last block, whether the file ends within another.
    pub(super) const fn is_cut(&self) -> bool {
        self.at < self.file.len()
    }
}

fn order_of_section(block: &[u8]) -> Option<Order> {
    let (_, mut rest) = block.split_at_checked(8)?;
    match Order::Little.u32(&mut rest)? {
        BYTE_ORDER => Some(Order::Little),
        magic if magic == BYTE_ORDER.swap_bytes() => Some(Order::Big),
        _ => None,
    }
}

/// A reader of the options at the end of a block; it ends at the first that is malformed.
#[derive(Debug, Clone)]
pub(super) struct Options<'a> {
    pub(super) rest: &'a [u8],
    pub(super) order: Order,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest;
        let code = self.order.u16(&mut rest)?;
        if code == END_OF_OPTIONS {
            return None;
        }
        let length = usize::from(self.order.u16(&mut rest)?);
        let value = take_slice(&mut rest, length)?;
        // Some writers omit the padding of the last option.
        self.rest = rest.get(padding(length)..).unwrap_or_default();
        Some((code, value))
    }
}

/// An enhanced packet block.
#[derive(Debug, Clone)]
pub(super) struct Packet<'a> {
    pub(super) interface: u32,
    pub(super) time: u64,
    pub(super) octets: &'a [u8],
    /// The length of the packet on the wire.
    pub(super) length: u32,
    pub(super) options: Options<'a>,
}

impl<'a> Packet<'a> {
    pub(super) fn read(block: &Block<'a>) -> Option<Self> {
        let (order, mut rest) = (block.order, block.body);
        let interface = order.u32(&mut rest)?;
        let high = order.u32(&mut rest)?;
        let low = order.u32(&mut rest)?;
        let captured = usize::try_from(order.u32(&mut rest)?).ok()?;
        let length = order.u32(&mut rest)?;
        let octets = take_slice(&mut rest, captured)?;
        let rest = rest.get(padding(captured)..)?;
        Some(Self {
            interface,
            time: u64::from(high) << 32 | u64::from(low),
            octets,
            length,
            options: Options { rest, order },
        })
    }
}

/// Appends the header of a section of unspecified length.
pub(super) fn write_section(out: &mut Vec<u8>, application: &str) {
    let start = open(out, SECTION);
    out.extend_from_slice(&BYTE_ORDER.to_le_bytes());
    out.extend_from_slice(&1_u16.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&u64::MAX.to_le_bytes());
    write_option(out, APPLICATION, application.as_bytes());
    write_option(out, END_OF_OPTIONS, &[]);
    close(out, start);
}

/// Appends the description of an interface that counts nanoseconds since `offset` seconds after 1970.
pub(super) fn write_interface(out: &mut Vec<u8>, link_type: u16, name: &str, offset: u64) {
    let start = open(out, INTERFACE);
    out.extend_from_slice(&link_type.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&0_u32.to_le_bytes());
    write_option(out, NAME, name.as_bytes());
    write_option(out, RESOLUTION, &[9]);
    write_option(out, OFFSET, &offset.to_le_bytes());
    write_option(out, END_OF_OPTIONS, &[]);
    close(out, start);
}

/// Returns the checksum of the file up to the end of its argument.
pub(super) type ChecksumFn<'s> = &'s mut dyn FnMut(&[u8]) -> u32;

/// A packet to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewPacket<'a> {
    pub(super) interface: u32,
    pub(super) time: u64,
    /// `None` for a packet that neither of its ends recorded.
    pub(super) direction: Option<PacketDirection>,
    /// A comment; may be empty.
    pub(super) comment: &'a str,
    /// The packet in two slices, so that a synthetic header and its payload need not be joined.
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
    /// The length on the wire, if it exceeds what is written.
    pub(super) length: Option<u32>,
}

/// Appends a packet. `local` becomes an option that ends with the checksum of everything before it.
pub(super) fn write_packet(
    out: &mut Vec<u8>,
    packet: NewPacket<'_>,
    local: Option<(&[u8], ChecksumFn<'_>)>,
) {
    let captured = packet.header.len() + packet.payload.len();
    let option = local.as_ref().map_or(0, |(value, _)| {
        let length = value.len() + 4;
        4 + length + padding(length)
    });
    let flags = packet.direction.map_or(0, |_| 8);
    let comment = match packet.comment.len().min(usize::from(u16::MAX)) {
        0 => 0,
        length => 4 + length + padding(length),
    };
    let total = number(32 + captured + padding(captured) + comment + flags + option + 4);
    out.extend_from_slice(&PACKET.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&packet.interface.to_le_bytes());
    let (high, low) = halves(packet.time);
    out.extend_from_slice(&high.to_le_bytes());
    out.extend_from_slice(&low.to_le_bytes());
    out.extend_from_slice(&number(captured).to_le_bytes());
    let length = packet.length.unwrap_or_else(|| number(captured));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(packet.header);
    out.extend_from_slice(packet.payload);
    pad(out, captured);
    if comment > 0 {
        write_option(out, COMMENT, packet.comment.as_bytes());
    }
    if let Some(direction) = packet.direction {
        write_option(out, FLAGS, &direction.flags().to_le_bytes());
    }
    if let Some((value, checksum)) = local {
        let length = value.len() + 4;
        out.extend_from_slice(&LOCAL_OPTION.to_le_bytes());
        out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(value);
        let checksum = checksum(out);
        out.extend_from_slice(&checksum.to_le_bytes());
        pad(out, length);
    }
    write_option(out, END_OF_OPTIONS, &[]);
    out.extend_from_slice(&total.to_le_bytes());
}

/// Appends a local block that ends with the checksum of everything before it. `filler` pads `body` to a
/// multiple of four octets.
pub(super) fn write_local(
    out: &mut Vec<u8>,
    magic: [u8; 8],
    body: &[u8],
    filler: u8,
    checksum: impl FnOnce(&[u8]) -> u32,
) {
    let fill = padding(body.len());
    let total = number(8 + 8 + body.len() + fill + 4 + 4);
    out.extend_from_slice(&LOCAL.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&magic);
    out.extend_from_slice(body);
    out.resize(out.len() + fill, filler);
    let checksum = checksum(out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
}

fn open(out: &mut Vec<u8>, kind: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    start
}

fn close(out: &mut Vec<u8>, start: usize) {
    let total = number(out.len() - start + 4).to_le_bytes();
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&total);
    }
    out.extend_from_slice(&total);
}

fn write_option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = value.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(value.get(..length).unwrap_or_default());
    pad(out, length);
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + padding(length), 0);
}

pub(super) const fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

/// Returns the length of a block or packet. Those that are written have limits far under 4 GiB.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn halves(time: u64) -> (u32, u32) {
    // Bound: a shifted or masked half of 64 bits.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
    ((time >> 32) as u32, time as u32)
}
