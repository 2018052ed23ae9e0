//! KISS: packets on a serial line, between octets that occur nowhere else.

use alloc::vec::Vec;
use core::ops::Range;

use super::FrameStats;
use crate::csp::wire::{CRC32_LEN, Version, crc32};
use crate::{Broken, Framing};

/// The end of a frame, and the start of the next one.
const FEND: u8 = 0xC0;
/// The start of an escape.
const FESC: u8 = 0xDB;
/// What follows it in place of `FEND`.
const TFEND: u8 = 0xDC;
/// What follows it in place of `FESC`.
const TFESC: u8 = 0xDD;
/// The first octet of a frame: data of port 0. It is not looked at.
const DATA: u8 = 0;

/// Finds the packets in a stream of frames.
///
/// Each end of a frame is the start of the next one too, so that frames which share it, or follow noise, are not
/// lost. The memory is allocated when it is made.
#[derive(Debug)]
pub struct Kiss {
    version: Version,
    has_crc32: bool,
    /// Octets of the longest frame without its ends and escapes.
    limit: usize,
    /// The received part of a frame, without escapes.
    frame: Vec<u8>,
    state: State,
    /// Whether the frame in memory was returned.
    is_returned: bool,
    stats: FrameStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No frame has begun, or it has a fault: the next one follows the next end.
    Skip,
    Frame,
    Escape,
}

impl Kiss {
    /// Takes packets of a version, of up to `max_packet` octets with their headers, with a CRC32 behind them or not.
    #[must_use]
    pub fn new(version: Version, has_crc32: bool, max_packet: usize) -> Self {
        Self {
            version,
            has_crc32,
            limit: Self::footprint(max_packet) - if has_crc32 { 0 } else { CRC32_LEN },
            frame: Vec::with_capacity(Self::footprint(max_packet)),
            state: State::Skip,
            is_returned: false,
            stats: FrameStats::default(),
        }
    }

    /// Returns the bytes that it allocates.
    #[must_use]
    pub const fn footprint(max_packet: usize) -> usize {
        1 + max_packet + CRC32_LEN
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> FrameStats {
        self.stats
    }

    /// Forgets what has come, since the stream begins anew.
    pub fn clear(&mut self) {
        self.frame.clear();
        self.state = State::Skip;
    }

    /// Returns the next packet, and advances `chunk` past the octets that it took; `None` once it took all.
    pub fn next_packet<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Option<&'a [u8]> {
        if self.is_returned {
            self.is_returned = false;
            self.frame.clear();
        }
        while !chunk.is_empty() {
            if self.state == State::Frame
                && self.frame.is_empty()
                && let Some(frame) = self.whole(chunk)
            {
                if let Some(packet) = self.packet(frame) {
                    return frame.get(packet);
                }
            } else if self.take_up_to_end(chunk)
                && let Some(packet) = self.end()
            {
                return self.frame.get(packet);
            }
        }
        None
    }

    /// Takes a frame that is whole in `chunk` and has no escapes.
    fn whole<'c>(&self, chunk: &mut &'c [u8]) -> Option<&'c [u8]> {
        let octets = *chunk;
        let limit = octets.len().min(self.limit + 1);
        let mut start = octets.get(..limit)?.iter();
        let end = start.position(|octet| matches!(*octet, FEND | FESC))?;
        let (frame, rest) = octets.split_at_checked(end)?;
        let (&FEND, rest) = rest.split_first()? else {
            return None;
        };
        *chunk = rest;
        Some(frame)
    }

    /// Takes the octets of a frame into memory, and tells whether its end has come.
    fn take_up_to_end(&mut self, chunk: &mut &[u8]) -> bool {
        while let Some((octet, rest)) = chunk.split_first() {
            *chunk = rest;
            let octet = match (self.state, *octet) {
                (_, FEND) => return true,
                (State::Skip, _) => continue,
                (State::Frame, FESC) => {
                    self.state = State::Escape;
                    continue;
                }
                (State::Frame, octet) => octet,
                (State::Escape, TFEND) => FEND,
                (State::Escape, TFESC) => FESC,
                (State::Escape, _) => {
                    self.stats.malformed += 1;
                    self.state = State::Skip;
                    continue;
                }
            };
            if self.frame.len() >= self.limit {
                self.stats.too_long += 1;
                self.state = State::Skip;
                continue;
            }
            self.state = State::Frame;
            self.frame.push(octet);
        }
        false
    }

    /// Ends the frame in memory, and returns where in it the packet is, if it has one.
    fn end(&mut self) -> Option<Range<usize>> {
        let state = core::mem::replace(&mut self.state, State::Frame);
        self.is_returned = true;
        let packet = match state {
            State::Frame => {
                let frame = core::mem::take(&mut self.frame);
                let packet = self.packet(&frame);
                self.frame = frame;
                packet
            }
            State::Escape => {
                self.stats.malformed += 1;
                None
            }
            State::Skip => None,
        };
        if packet.is_none() {
            self.is_returned = false;
            self.frame.clear();
        }
        packet
    }

    /// Returns where in a frame its packet is. An empty frame has none.
    fn packet(&mut self, frame: &[u8]) -> Option<Range<usize>> {
        let (_, rest) = frame.split_first()?;
        let trailer = if self.has_crc32 { CRC32_LEN } else { 0 };
        let header = self.version.header_len();
        let packet = rest.len().checked_sub(trailer).filter(|it| *it >= header);
        let Some((packet, sum)) = packet.and_then(|end| rest.split_at_checked(end)) else {
            self.stats.malformed += 1;
            return None;
        };
        let (_, data) = packet.split_at_checked(header)?;
        // The sum covers the data, or, by a build option of libcsp 2.x, the header too.
        let is_sum = |pieces: &[&[u8]]| crc32(pieces).to_be_bytes() == sum;
        if self.has_crc32 && !is_sum(&[data]) && !is_sum(&[packet]) {
            self.stats.bad_crc32 += 1;
            return None;
        }
        Some(1..1 + packet.len())
    }
}

impl Framing for Kiss {
    fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Result<Option<&'a [u8]>, Broken> {
        Ok(self.next_packet(chunk))
    }
}

/// Appends the frame of a packet, of which the header and the data are given in pieces.
///
/// It has both its ends: libcsp loses the second of two frames with one end between them.
pub fn encode_kiss(header: &[u8], data: &[&[u8]], has_crc32: bool, out: &mut Vec<u8>) {
    let sum = crc32(data).to_be_bytes();
    out.extend_from_slice(&[FEND, DATA]);
    escape(header, out);
    for piece in data {
        escape(piece, out);
    }
    if has_crc32 {
        escape(&sum, out);
    }
    out.push(FEND);
}

/// Returns the octets of the longest frame.
pub(super) const fn longest_frame(max_packet: usize) -> usize {
    3 + 2 * (max_packet + CRC32_LEN)
}

fn escape(octets: &[u8], out: &mut Vec<u8>) {
    for octet in octets {
        match *octet {
            FEND => out.extend_from_slice(&[FESC, TFEND]),
            FESC => out.extend_from_slice(&[FESC, TFESC]),
            octet => out.push(octet),
        }
    }
}
