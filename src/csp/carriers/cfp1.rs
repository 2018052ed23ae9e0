//! CFP1: packets of version 1 in frames of CAN, each with the number of frames that follow it.

use super::FrameStats;
use super::can::{CanFrame, MAX_DATA};
use super::partials::Partials;
use crate::Instant;
use crate::csp::wire::{Header, Version};

/// Octets of the header of a packet.
const HEADER: usize = 4;
/// Octets of data in the first frame, behind the header of the packet and its length.
const FIRST_DATA: usize = 2;
/// Octets of the packet in the first frame.
const FIRST: usize = HEADER + FIRST_DATA;
/// Octets of the longest data: 255 frames follow the first.
const LONGEST: usize = FIRST_DATA + 255 * MAX_DATA;
/// The bits of an identifier that all frames of a packet have in common: source, destination and number.
const KEY: u32 = 0x1FF8_03FF;
/// The frame is not the first one.
const MORE: u32 = 1 << 18;

/// Frames of one source to other packets, after which the number of an unfinished packet may have come round.
const ROUND: u16 = 512;
/// The same, after which a frame that came before the first one of its packet was not swapped with it.
const SWAPPED: u16 = 8;

/// A packet of version 1 to be sent in frames of CAN.
#[derive(Debug, Clone, Copy)]
pub struct Cfp1Packet<'a> {
    /// Source, destination and number.
    key: u32,
    header: &'a [u8],
    data: &'a [u8],
}

impl<'a> Cfp1Packet<'a> {
    /// Octets of the longest packet, with its header.
    pub const LONGEST: usize = HEADER + LONGEST;

    /// Takes a packet with header to a next hop. `number` tells it from others of its source, in 10 bits. `None` when
    /// it is shorter than a header, or its data exceed 2042 octets.
    #[must_use]
    pub fn new(packet: &'a [u8], next_hop: u16, number: u16) -> Option<Self> {
        let (fields, data) = Header::decode(Version::V1, packet).ok()?;
        let header = packet.get(..HEADER).filter(|_| data.len() <= LONGEST)?;
        let next_hop = u32::from(next_hop & Version::V1.broadcast());
        let key = u32::from(fields.source) << 24 | next_hop << 19 | u32::from(number & 0x3FF);
        Some(Self { key, header, data })
    }

    /// Returns the frame at a place, from 0; `None` behind the last one.
    #[must_use]
    pub fn frame(&self, place: usize) -> Option<CanFrame> {
        let last = following(self.data.len());
        let remaining = u32::try_from(last.checked_sub(place)?).ok()?;
        let key = self.key | remaining << 10;
        let Some(before) = place.checked_sub(1) else {
            // Bound: `LONGEST`.
            let length = u16::try_from(self.data.len()).unwrap_or(u16::MAX);
            let first = self.data.get(..FIRST_DATA).unwrap_or(self.data);
            let pieces = [self.header, &length.to_be_bytes(), first];
            return Some(CanFrame::new(key, &pieces));
        };
        let rest = self.data.get(FIRST_DATA + before * MAX_DATA..)?;
        Some(CanFrame::new(key | MORE, &[rest]))
    }
}

/// Returns how many frames follow the first one.
const fn following(data: usize) -> usize {
    (data + FIRST - 1) / MAX_DATA
}

/// Puts packets of version 1 together from frames of CAN.
///
/// Kernels deliver frames swapped. So each is put to where the number of those that follow it says, and a packet is
/// done when all are there.
#[derive(Debug)]
pub struct Cfp1Reassembler {
    partials: Partials<State>,
    max_data: usize,
    /// Frames that may follow the first one.
    most: usize,
    /// A packet of one frame.
    single: [u8; FIRST],
    stats: FrameStats,
}

/// What has come of a packet. Its octets end where its memory does, since the first frame may come later.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    first: Option<First>,
    /// A bit for each following frame that came, by how many follow it.
    came: [u64; 4],
    count: u8,
    /// Octets of the last frame.
    last: usize,
    /// Frames of its source to other packets since.
    others: u16,
}

/// What the first frame says.
#[derive(Debug, Clone, Copy)]
struct First {
    remaining: u8,
    data: usize,
}

impl State {
    /// Notes a frame by how many follow it. Returns false if it has come before.
    fn note(&mut self, remaining: u8) -> bool {
        let bit = 1 << (remaining % 64);
        let Some(word) = self.came.get_mut(usize::from(remaining / 64)) else {
            return false;
        };
        let is_first = *word & bit == 0;
        *word |= bit;
        self.count += u8::from(is_first);
        is_first
    }

    /// Returns how many follow the earliest frame that came, and one more.
    fn highest(&self) -> u32 {
        let words = self.came.iter().zip((0..).step_by(64));
        let ends = words.map(|(word, base)| match word {
            0 => 0,
            word => base + u64::BITS - word.leading_zeros(),
        });
        ends.max().unwrap_or(0)
    }
}

impl Cfp1Reassembler {
    /// Takes packets with up to `max_data` octets of data.
    #[must_use]
    pub fn new(max_data: usize) -> Self {
        let most = most(max_data);
        Self {
            partials: Partials::new(octets(most)),
            max_data,
            most,
            single: [0; FIRST],
            stats: FrameStats::default(),
        }
    }

    /// Returns the bytes that it allocates.
    #[must_use]
    pub const fn footprint(max_data: usize) -> usize {
        Partials::<State>::footprint(octets(most(max_data)))
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> FrameStats {
        self.stats
    }

    /// Returns the destination of a frame: the next hop.
    #[must_use]
    pub fn destination(frame: &CanFrame) -> u16 {
        let [_, destination, ..] = (frame.identifier() >> 3).to_be_bytes();
        u16::from(destination) & Version::V1.broadcast()
    }

    /// Takes a frame, and returns the packet with its header of which it is the last one to come.
    pub fn receive(&mut self, now: Instant, frame: &CanFrame) -> Option<&[u8]> {
        self.partials.expire(now, &mut self.stats);
        let identifier = frame.identifier();
        let key = identifier & KEY;
        self.age(key);
        let [_, remaining, ..] = (identifier << 6).to_be_bytes();
        if identifier & MORE != 0 {
            let at = self.receive_more(now, (key, remaining), frame.data())?;
            return self.finish(at);
        }
        let Some((first, header, data)) = split_first(frame.data(), remaining) else {
            self.stats.malformed += 1;
            return None;
        };
        if first.data > self.max_data {
            self.stats.too_long += 1;
            return None;
        }
        if remaining == 0 {
            let packet = self.single.get_mut(..HEADER + data.len())?;
            let (head, tail) = packet.split_at_mut(HEADER);
            head.copy_from_slice(header);
            tail.copy_from_slice(data);
            return Some(packet);
        }
        let at = self.receive_first(now, key, (first, header, data))?;
        self.finish(at)
    }

    /// Forgets all unfinished packets.
    pub fn clear(&mut self) {
        self.partials.clear();
    }

    /// Counts a frame for the unfinished packets of its source, and drops those whose number may have come round.
    fn age(&mut self, key: u32) {
        let stats = &mut self.stats;
        self.partials.retain(|other, state| {
            if other == key || other >> 24 != key >> 24 {
                return true;
            }
            state.others += 1;
            let (limit, counter) = match state.first {
                Some(_) => (ROUND, &mut stats.stale),
                None => (SWAPPED, &mut stats.stray),
            };
            *counter += u64::from(state.others >= limit);
            state.others < limit
        });
    }

    fn receive_first(
        &mut self,
        now: Instant,
        key: u32,
        (first, header, data): (First, &[u8], &[u8]),
    ) -> Option<usize> {
        let at = self.partials.find_or_insert(key, &mut self.stats);
        let start = self.start(first);
        let partial = self.partials.hear(at, now)?;
        let is_other = partial.state.first.is_some();
        if is_other || partial.state.highest() > first.remaining.into() {
            partial.state = State::default();
            self.stats.superseded += u64::from(is_other);
        }
        partial.state.first = Some(first);
        partial.put(start, header);
        partial.put(start + HEADER, data);
        Some(at)
    }

    fn receive_more(
        &mut self,
        now: Instant,
        (key, remaining): (u32, u8),
        data: &[u8],
    ) -> Option<usize> {
        let is_long_enough = match remaining {
            0 => !data.is_empty(),
            _ => data.len() == MAX_DATA,
        };
        let behind = usize::from(remaining) + 1;
        if !is_long_enough || behind > self.most {
            self.stats.malformed += 1;
            return None;
        }
        let at = self.partials.find_or_insert(key, &mut self.stats);
        let start = FIRST + (self.most - behind) * MAX_DATA;
        let partial = self.partials.hear(at, now)?;
        let state = &mut partial.state;
        if state.first.is_some_and(|it| it.remaining <= remaining) {
            self.stats.malformed += 1;
            return None;
        }
        if state.note(remaining) {
            if remaining == 0 {
                state.last = data.len();
            }
            partial.put(start, data);
        }
        Some(at)
    }

    /// Returns a packet if all of it has come.
    fn finish(&mut self, at: usize) -> Option<&[u8]> {
        let state = self.partials.state(at)?;
        let first = state.first.filter(|it| it.remaining == state.count)?;
        let start = self.start(first);
        let before_last = FIRST_DATA + (usize::from(first.remaining) - 1) * MAX_DATA;
        let octets = self.partials.take(at);
        if before_last + state.last != first.data {
            self.stats.malformed += 1;
            return None;
        }
        octets.get(start..start + HEADER + first.data)
    }

    /// Returns where a packet begins in its memory.
    fn start(&self, first: First) -> usize {
        self.most.saturating_sub(first.remaining.into()) * MAX_DATA
    }
}

/// Returns how many frames may follow the first one of a packet.
const fn most(max_data: usize) -> usize {
    if max_data < LONGEST {
        following(max_data)
    } else {
        following(LONGEST)
    }
}

const fn octets(most: usize) -> usize {
    FIRST + most * MAX_DATA
}

/// Returns what the first frame says, the header of the packet and the first of its data, if lengths agree.
fn split_first(octets: &[u8], remaining: u8) -> Option<(First, &[u8], &[u8])> {
    let (header, rest) = octets.split_at_checked(HEADER)?;
    let (length, data) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let agrees =
        following(length) == usize::from(remaining) && data.len() == length.min(FIRST_DATA);
    let first = First {
        remaining,
        data: length,
    };
    agrees.then_some((first, header, data))
}
