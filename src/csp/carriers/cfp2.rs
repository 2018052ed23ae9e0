//! CFP2: packets of version 2 in frames of CAN, of which the first and the last one are marked.

use super::FrameStats;
use super::can::{CanFrame, MAX_DATA};
use super::partials::Partials;
use crate::Instant;

/// Octets of the header of a packet.
const HEADER: usize = 6;
/// The first of them, which each frame has in its identifier: priority and destination.
const COMMON: usize = 2;
/// Octets of the rest of the header, in the data of the first frame.
const REST: usize = HEADER - COMMON;
/// The bits of an identifier that all frames of a packet have in common. Two of them number the packets of a sender.
const KEY: u32 = 0x1FFF_FFE0;
/// The first frame of a packet.
const BEGIN: u32 = 1 << 1;
/// The last frame of a packet.
const END: u32 = 1;

/// Numbers of frames; they go round.
const NUMBERS: usize = 8;
/// How far before its turn a frame may come. As many of the numbers before the next one are of frames that came late,
/// and the one between says that a frame is lost.
const AHEAD: usize = 3;
/// Frames of a sender to other packets after which a frame that came before the first one of its packet was not swapped
/// with it. The fourth packet from there has the same number.
const SWAPPED: u8 = 3;

/// A packet of version 2 to be sent in frames of CAN.
#[derive(Debug, Clone, Copy)]
pub struct Cfp2Packet<'a> {
    /// Priority, destination, sender and number.
    key: u32,
    /// The packet behind priority and destination.
    octets: &'a [u8],
}

impl<'a> Cfp2Packet<'a> {
    /// Takes a packet with header. `sender` is the address of the interface that sends it, of which frames have 6
    /// bits, and `number` tells it from others of this sender, in 2 bits. `None` when it is shorter than a header.
    #[must_use]
    pub fn new(packet: &'a [u8], sender: u16, number: u16) -> Option<Self> {
        let (common, octets) = packet.split_first_chunk::<COMMON>()?;
        let common = u32::from(u16::from_be_bytes(*common)) << 13;
        let key = common | u32::from(sender & 0x3F) << 7 | u32::from(number & 3) << 5;
        (octets.len() >= REST).then_some(Self { key, octets })
    }

    /// Returns the frame at a place, from 0; `None` behind the last one.
    #[must_use]
    pub fn frame(&self, place: usize) -> Option<CanFrame> {
        let start = place.checked_mul(MAX_DATA)?;
        let rest = self.octets.get(start..).filter(|rest| !rest.is_empty())?;
        let begin = if place == 0 { BEGIN } else { 0 };
        let end = if rest.len() <= MAX_DATA { END } else { 0 };
        let [number, ..] = (place % NUMBERS).to_le_bytes();
        let identifier = self.key | u32::from(number) << 2 | begin | end;
        Some(CanFrame::new(identifier, &[rest]))
    }
}

/// Puts packets of version 2 together from frames of CAN.
///
/// Kernels deliver frames swapped. So one that comes up to three places before its turn is kept.
#[derive(Debug)]
pub struct Cfp2Reassembler {
    partials: Partials<State>,
    max_data: usize,
    stats: FrameStats,
}

/// What has come of a packet.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    has_begun: bool,
    /// The first frame that has not come.
    next: usize,
    /// Bits of those behind it that came.
    ahead: u8,
    /// The last frame, and the octets of the packet.
    end: Option<(usize, usize)>,
    /// Frames of its sender to other packets since.
    others: u8,
}

impl State {
    /// Notes the frame at a place from the next one on, and returns false if it came before.
    fn note(&mut self, ahead: usize) -> bool {
        let bit = 1 << ahead;
        if self.ahead & bit != 0 {
            return false;
        }
        self.ahead |= bit;
        while self.ahead & 1 != 0 {
            self.ahead >>= 1;
            self.next += 1;
        }
        true
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|(last, _)| last < self.next)
    }
}

impl Cfp2Reassembler {
    /// Takes packets with up to `max_data` octets of data.
    #[must_use]
    pub fn new(max_data: usize) -> Self {
        Self {
            partials: Partials::new(HEADER + max_data),
            max_data,
            stats: FrameStats::default(),
        }
    }

    /// Returns the bytes that it allocates.
    #[must_use]
    pub const fn footprint(max_data: usize) -> usize {
        Partials::<State>::footprint(HEADER + max_data)
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> FrameStats {
        self.stats
    }

    /// Returns the destination of a frame, which is that of its packet.
    #[must_use]
    pub const fn destination(frame: &CanFrame) -> u16 {
        let [high, low, ..] = (frame.identifier() << 3).to_be_bytes();
        u16::from_be_bytes([high, low]) & 0x3FFF
    }

    /// Takes a frame, and returns the packet with its header of which it is the last one to come.
    pub fn receive(&mut self, now: Instant, frame: &CanFrame) -> Option<&[u8]> {
        self.partials.expire(now, &mut self.stats);
        let identifier = frame.identifier();
        let (key, data) = (identifier & KEY, frame.data());
        self.age(key);
        let [.., number] = identifier.to_be_bytes();
        let number = usize::from(number >> 2) % NUMBERS;
        let (begins, ends) = (identifier & BEGIN != 0, identifier & END != 0);
        let is_long_enough = match (begins, ends) {
            (true, true) => data.len() >= REST,
            (false, true) => !data.is_empty(),
            (_, false) => data.len() == MAX_DATA,
        };
        if !is_long_enough || (begins && number != 0) {
            self.stats.malformed += 1;
            return None;
        }
        let at = self.place(key, begins, number)?;
        let partial = self.partials.hear(at, now)?;
        let state = &mut partial.state;
        let ahead = (number + NUMBERS - state.next % NUMBERS) % NUMBERS;
        if ahead > AHEAD {
            return self.late_or_lost(at, ahead);
        }
        let place = state.next + ahead;
        let (start, end) = (
            COMMON + place * MAX_DATA,
            COMMON + place * MAX_DATA + data.len(),
        );
        if state.end.is_some_and(|(last, _)| place >= last) {
            self.stats.malformed += 1;
            return None;
        }
        if end > HEADER + self.max_data {
            self.stats.too_long += 1;
            self.partials.take(at);
            return None;
        }
        if state.note(ahead) {
            if ends {
                state.end = Some((place, end));
            }
            state.has_begun |= begins;
            partial.put(start, data);
        }
        self.finish(at, identifier)
    }

    /// Forgets all unfinished packets.
    pub fn clear(&mut self) {
        self.partials.clear();
    }

    /// Counts a frame for the unfinished packets of its sender, and drops those that it was not swapped with.
    fn age(&mut self, key: u32) {
        let stats = &mut self.stats;
        // Priority, destination and sender may all differ; the numbers are those of the sender.
        let sender = |key: u32| key & (0x3F << 7);
        self.partials.retain(|other, state| {
            if other == key || sender(other) != sender(key) || state.has_begun {
                return true;
            }
            state.others += 1;
            stats.stray += u64::from(state.others >= SWAPPED);
            state.others < SWAPPED
        });
    }

    /// Returns where the packet of a frame is put together. A first frame always begins a packet.
    fn place(&mut self, key: u32, begins: bool, number: usize) -> Option<usize> {
        let known = self.partials.find(key);
        let has_begun = known
            .and_then(|at| self.partials.state(at))
            .is_some_and(|it| it.has_begun);
        if begins && has_begun {
            self.stats.superseded += 1;
            self.partials.take(known?);
            return Some(self.partials.insert(key, &mut self.stats));
        }
        // Only one of the next frames may have overtaken the first one.
        if !begins && !has_begun && !(1..=AHEAD).contains(&number) {
            self.stats.stray += 1;
            self.partials.take(known?);
            return None;
        }
        Some(known.unwrap_or_else(|| self.partials.insert(key, &mut self.stats)))
    }

    /// Drops a packet if a frame that came out of its turn shows that one is lost. Others come late.
    fn late_or_lost(&mut self, at: usize, ahead: usize) -> Option<&[u8]> {
        if ahead == AHEAD + 1 {
            self.stats.incomplete += 1;
            self.partials.take(at);
        }
        None
    }

    /// Returns a packet if all of it has come.
    fn finish(&mut self, at: usize, identifier: u32) -> Option<&[u8]> {
        let state = self.partials.state(at)?;
        let (_, end) = state.end.filter(|_| state.is_done())?;
        let [common @ .., _, _] = (identifier << 3).to_be_bytes();
        let octets = self.partials.take(at);
        let (place, _) = octets.split_first_chunk_mut()?;
        *place = common;
        octets.get(..end)
    }
}
