//! Reads captures as streams, of which one record is held at a time.

use alloc::vec::Vec;
use std::io::{self, Read};

use super::ReadError;
use super::capture::{CapturedPacket, Interfaces, Pcap};
use super::pcapng::{Blocks, OBSOLETE_PACKET, Order, PACKET, SIMPLE_PACKET};

/// Octets of the longest packet or block.
const MAX_RECORD: usize = 64 << 20;
/// Octets that are read at a time.
const CHUNK: usize = 1 << 16;

/// A reader of the packets of a capture, as it comes from a file or a pipe.
///
/// It reads what [`Capture`](super::Capture) reads, and holds one packet or block at a time, up to 64 MiB.
#[derive(Debug)]
pub struct CaptureReader<R> {
    input: R,
    /// What was read, of which the octets before `used` are in records that were returned.
    buffer: Vec<u8>,
    used: usize,
    /// The offset of the next record in the file.
    at: usize,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap<'static>),
    Pcapng(Order, Interfaces),
}

impl<R: Read> CaptureReader<R> {
    /// Reads the header of a capture.
    ///
    /// # Errors
    ///
    /// The input cannot be read, or is no capture: [`ReadError::NotACapture`].
    pub fn new(input: R) -> io::Result<Self> {
        let mut reader = Self {
            input,
            buffer: Vec::new(),
            used: 0,
            at: 0,
            format: Format::Pcapng(Order::Little, Interfaces::default()),
        };
        reader.fill(Pcap::HEADER)?;
        if let Some(pcap) = Pcap::open(&reader.buffer) {
            reader.format = Format::Pcap(pcap.of_part(&[]));
            reader.skip(Pcap::HEADER);
        } else {
            Blocks::new(&reader.buffer).map_err(io::Error::other)?;
        }
        Ok(reader)
    }

    /// Returns the next packet, or `None` at the end and where the input was truncated.
    ///
    /// # Errors
    ///
    /// The input cannot be read, or is [`ReadError::Malformed`], after which nothing can be read.
    pub fn next_packet(&mut self) -> io::Result<Option<CapturedPacket<'_>>> {
        let at = loop {
            let len = self.fill_record()?;
            let record = self.buffer.get(self.used..self.used + len);
            let record = record.unwrap_or_default();
            if self.format.is_packet(record) {
                self.skip(len);
                break self.at - len;
            }
            // A section, an interface, or a block without a meaning here.
            if !self.format.read(record, self.at)?.0 {
                return Ok(None);
            }
            self.skip(len);
        };
        let record = self.buffer.get(self.used - (self.at - at)..self.used);
        let (is_whole, packet) = self.format.read(record.unwrap_or_default(), at)?;
        if !is_whole {
            self.used -= self.at - at;
            self.at = at;
        }
        Ok(packet)
    }

    /// Tells, after the last packet, whether the input ends within another.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.used < self.buffer.len()
    }

    const fn skip(&mut self, len: usize) {
        self.used += len;
        self.at += len;
    }

    /// Reads the next record, and returns its length: that of what is left, if it is not whole.
    fn fill_record(&mut self) -> io::Result<usize> {
        self.fill(16)?;
        let claimed = self
            .format
            .len(self.buffer.get(self.used..).unwrap_or_default());
        let Some(claimed) = claimed else {
            return Ok(self.buffer.len() - self.used);
        };
        self.fill(claimed.min(MAX_RECORD))?;
        let left = self.buffer.len() - self.used;
        if claimed > MAX_RECORD && left >= MAX_RECORD {
            let what = "the length of a packet or block";
            return Err(io::Error::other(ReadError::Malformed { at: self.at, what }));
        }
        Ok(left.min(claimed))
    }

    /// Reads until so many octets are there, or the input ends.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        let left = self.buffer.len() - self.used;
        let Some(missing) = len.checked_sub(left).filter(|&missing| missing > 0) else {
            return Ok(());
        };
        self.buffer.drain(..self.used);
        self.used = 0;
        let limit = missing.max(CHUNK) as u64;
        let mut input = self.input.by_ref().take(limit);
        input.read_to_end(&mut self.buffer).map(|_| ())
    }
}

impl Format {
    /// Returns the length of a record by its first octets, if it has one.
    fn len(&self, record: &[u8]) -> Option<usize> {
        match self {
            Self::Pcap(pcap) => pcap.of_part(record).record_len(),
            Self::Pcapng(order, _) => Blocks::of_part(record, *order).block_len(),
        }
    }

    /// Tells whether a record has a packet, if it is whole.
    fn is_packet(&self, record: &[u8]) -> bool {
        match self {
            Self::Pcap(_) => true,
            Self::Pcapng(order, _) => matches!(
                order.u32(&mut { record }),
                Some(PACKET | SIMPLE_PACKET | OBSOLETE_PACKET)
            ),
        }
    }

    /// Reads the record at this offset. Tells whether it is whole.
    fn read<'a>(
        &mut self,
        record: &'a [u8],
        at: usize,
    ) -> io::Result<(bool, Option<CapturedPacket<'a>>)> {
        let read = match self {
            Self::Pcap(pcap) => {
                let packet = pcap.of_part(record).next();
                packet.map(|packet| (packet.is_some(), packet))
            }
            Self::Pcapng(order, interfaces) => {
                let mut blocks = Blocks::of_part(record, *order);
                let block = blocks.next();
                *order = blocks.order();
                block.and_then(|block| match block {
                    Some(block) => interfaces.packet(&block).map(|packet| (true, packet)),
                    None => Ok((false, None)),
                })
            }
        };
        match read {
            Ok((is_whole, packet)) => Ok((
                is_whole,
                packet.map(|packet| CapturedPacket { at, ..packet }),
            )),
            Err(ReadError::Malformed { what, .. }) => {
                Err(io::Error::other(ReadError::Malformed { at, what }))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
