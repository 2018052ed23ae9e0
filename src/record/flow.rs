//! Puts captured TCP segments back into streams.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::capture::Packet;
use super::frame::{Frame, Piece, Skip, Transport};
use super::pieces::Pieces;
use super::synth::{FIN, RST, SYN};
use crate::{Instant, Path};

/// Directions of streams known at a time; beyond it, one is forgotten.
const FLOWS: usize = 1 << 14;
/// Octets and segments of one direction that may wait for those before them.
const WAITING_OCTETS: usize = 1 << 20;
const WAITING_SEGMENTS: usize = 1 << 10;

/// Something that came to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// When the packet that completed it was captured.
    pub time: Instant,
    /// Where it came to, and from where: as the machine at the destination would name it.
    pub path: Path,
    /// What came.
    pub what: What<'a>,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What<'a> {
    /// A datagram, as far as it was captured.
    Datagram(&'a [u8]),
    /// The beginning of a stream in this direction.
    Began,
    /// The next octets of a stream.
    Octets(&'a [u8]),
    /// That many octets of the stream are not in the capture.
    Gap(u64),
    /// The end of the stream in this direction (FIN).
    Ended,
    /// The stream was cut off (RST).
    Reset,
}

/// What was not taken out of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Packets of an unknown link type.
    pub link_type: u64,
    /// Packets that are neither UDP nor TCP on IP.
    pub other: u64,
    /// Fragments of IP packets whose other fragments are not there, or not yet.
    pub fragments: u64,
    /// Packets shorter than their headers.
    pub malformed: u64,
    /// Streams given up to make room for others.
    pub flows: u64,
}

/// Puts the packets of a capture into order.
///
/// Fragments of IP packets are put together. Datagrams pass. Of streams, each direction comes in order and once: repeated octets are dropped, and
/// what never comes is reported as a gap when too much waits behind it, or at the end. A stream whose
/// beginning is not in the capture begins with its first segment.
#[derive(Debug, Clone, Default)]
pub struct Flows {
    streams: BTreeMap<(SocketAddr, SocketAddr), Flow>,
    pieces: Pieces,
    skipped: Skipped,
}

/// One direction of a stream.
#[derive(Debug, Clone, Default)]
struct Flow {
    /// The sequence number of the next octet.
    sequence: u32,
    /// How many octets came before it.
    next: u64,
    /// Segments that came too early, by how many octets come before each.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_octets: usize,
    /// Where the FIN stands, once it was seen.
    end: Option<u64>,
    ended: bool,
}

impl Flows {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what was passed over so far.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        Skipped {
            fragments: self.pieces.lost(),
            ..self.skipped
        }
    }

    /// Takes the next packet of a capture; `arrive` gets what it completes.
    pub fn packet(&mut self, packet: &Packet<'_>, mut arrive: impl FnMut(Arrival<'_>)) {
        match Frame::read(packet.link_type, packet.octets) {
            Ok(frame) => self.frame(packet.time, &frame, &mut arrive),
            Err(Skip::LinkType(_)) => self.skipped.link_type += 1,
            Err(Skip::Other) => self.skipped.other += 1,
            Err(Skip::Fragment) => self.piece(packet, &mut arrive),
            Err(Skip::Malformed) => self.skipped.malformed += 1,
        }
    }

    /// What a fragmented packet carried comes with its last piece.
    fn piece(&mut self, packet: &Packet<'_>, arrive: &mut dyn FnMut(Arrival<'_>)) {
        let Some(piece) = Piece::read(packet.link_type, packet.octets) else {
            return;
        };
        if let Some(whole) = self.pieces.take(packet.time, &piece) {
            match Frame::of_pieces(piece.of, &whole) {
                Ok(frame) => self.frame(packet.time, &frame, arrive),
                Err(Skip::Malformed) => self.skipped.malformed += 1,
                Err(_) => self.skipped.other += 1,
            }
        }
    }

    fn frame(&mut self, time: Instant, frame: &Frame<'_>, arrive: &mut dyn FnMut(Arrival<'_>)) {
        let Transport::Tcp { sequence, flags } = frame.transport else {
            return arrive(Arrival {
                time,
                path: Path::udp(frame.destination, frame.source),
                what: What::Datagram(frame.payload),
            });
        };
        let path = Path::tcp(frame.destination, frame.source);
        if flags & RST != 0 {
            // Both directions are gone; the other end need not say so.
            self.close(time, path, arrive);
            self.close(time, Path::tcp(path.remote, path.local), arrive);
            let what = What::Reset;
            return arrive(Arrival { time, path, what });
        }
        let mut arrive = |what: What<'_>| arrive(Arrival { time, path, what });
        let key = (frame.source, frame.destination);
        if !self.streams.contains_key(&key) {
            // A probe of an idle stream is numbered one too low, and would make a bad beginning.
            if frame.payload.is_empty() && flags & SYN == 0 {
                return;
            }
            self.make_room();
        }
        let flow = self.streams.entry(key).or_insert_with(|| {
            // A SYN counts one; a stream that is met half way begins where it is met.
            Flow::new(sequence, flags)
        });
        if flags & SYN != 0 {
            flow.begin(sequence, &mut arrive);
        }
        let sequence = sequence.wrapping_add(u32::from(flags & SYN != 0));
        flow.segment(sequence, frame, flags & FIN != 0, &mut arrive);
    }

    fn make_room(&mut self) {
        if self.streams.len() >= FLOWS {
            self.streams.pop_first();
            self.skipped.flows += 1;
        }
    }

    fn close(&mut self, time: Instant, path: Path, arrive: &mut dyn FnMut(Arrival<'_>)) {
        if let Some(mut flow) = self.streams.remove(&(path.remote, path.local)) {
            flow.finish(&mut |what: What<'_>| arrive(Arrival { time, path, what }));
        }
    }

    /// Gives what still waits behind gaps, at the end of a capture.
    pub fn finish(&mut self, time: Instant, mut arrive: impl FnMut(Arrival<'_>)) {
        for ((source, destination), flow) in &mut self.streams {
            let path = Path::tcp(*destination, *source);
            flow.finish(&mut |what: What<'_>| arrive(Arrival { time, path, what }));
        }
        self.streams.clear();
    }
}

impl Flow {
    fn new(sequence: u32, flags: u8) -> Self {
        Self {
            // One before a SYN, so that `begin` sees a beginning and not a repetition.
            sequence: sequence.wrapping_sub(u32::from(flags & SYN != 0)),
            ..Self::default()
        }
    }

    /// Begins anew, unless the SYN is a repetition.
    fn begin(&mut self, sequence: u32, arrive: &mut dyn FnMut(What<'_>)) {
        let first = sequence.wrapping_add(1);
        if self.next == 0 && self.sequence == first {
            return;
        }
        self.finish(arrive);
        *self = Self {
            sequence: first,
            ..Self::default()
        };
        arrive(What::Began);
    }

    fn segment(
        &mut self,
        sequence: u32,
        frame: &Frame<'_>,
        fin: bool,
        arrive: &mut dyn FnMut(What<'_>),
    ) {
        // The distance wraps; half the space is ahead, half behind (RFC 9293 section 3.4).
        let distance = i64::from(sequence.wrapping_sub(self.sequence).cast_signed());
        let length = frame.payload.len() + frame.missing;
        let known = usize::try_from(distance.saturating_neg().max(0)).unwrap_or(usize::MAX);
        if known > length || (known == length && length > 0 && !fin) {
            return;
        }
        let start = self.next.saturating_add_signed(distance.max(0));
        let payload = frame.payload.get(known..).unwrap_or_default();
        let missing = length - known - payload.len();
        if fin {
            let fresh = u64::try_from(length - known).unwrap_or(u64::MAX);
            self.end = Some(start.saturating_add(fresh));
        }
        if start == self.next {
            self.deliver(payload, arrive);
            self.gap(missing, arrive);
        } else if !payload.is_empty() {
            self.wait(start, payload);
        }
        self.catch_up(arrive);
        while self.waiting_octets > WAITING_OCTETS || self.waiting.len() > WAITING_SEGMENTS {
            self.skip(arrive);
        }
    }

    fn deliver(&mut self, octets: &[u8], arrive: &mut dyn FnMut(What<'_>)) {
        if !octets.is_empty() {
            self.advance(octets.len());
            arrive(What::Octets(octets));
        }
    }

    fn gap(&mut self, length: usize, arrive: &mut dyn FnMut(What<'_>)) {
        if length > 0 {
            self.advance(length);
            arrive(What::Gap(u64::try_from(length).unwrap_or(u64::MAX)));
        }
    }

    fn advance(&mut self, length: usize) {
        self.next += u64::try_from(length).unwrap_or(u64::MAX);
        // The low 32 bits of the length are all that a sequence number has room for.
        let [a, b, c, d, ..] = u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
        self.sequence = self.sequence.wrapping_add(u32::from_le_bytes([a, b, c, d]));
    }

    /// Keeps the longest of the segments that begin at one place.
    fn wait(&mut self, start: u64, octets: &[u8]) {
        let held = self.waiting.entry(start).or_default();
        if octets.len() > held.len() {
            self.waiting_octets += octets.len() - held.len();
            *held = octets.to_vec();
        }
    }

    /// Gives what waited for what has come.
    fn catch_up(&mut self, arrive: &mut dyn FnMut(What<'_>)) {
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= self.next
        {
            let (start, octets) = first.remove_entry();
            self.waiting_octets -= octets.len();
            let known = usize::try_from(self.next - start).unwrap_or(usize::MAX);
            self.deliver(octets.get(known..).unwrap_or_default(), arrive);
        }
        if self.end.is_some_and(|end| end <= self.next) && !self.ended {
            self.ended = true;
            arrive(What::Ended);
        }
    }

    /// Gives up on what is missing before the first segment that waits.
    fn skip(&mut self, arrive: &mut dyn FnMut(What<'_>)) {
        let Some((&start, _)) = self.waiting.first_key_value() else {
            return;
        };
        let missing = usize::try_from(start.saturating_sub(self.next)).unwrap_or(usize::MAX);
        self.gap(missing, arrive);
        self.catch_up(arrive);
    }

    fn finish(&mut self, arrive: &mut dyn FnMut(What<'_>)) {
        while !self.waiting.is_empty() {
            self.skip(arrive);
        }
        if let Some(end) = self.end {
            let missing = usize::try_from(end.saturating_sub(self.next)).unwrap_or(usize::MAX);
            self.gap(missing, arrive);
            self.catch_up(arrive);
        }
    }
}
