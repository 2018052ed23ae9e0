//! Reassembles the streams of captured TCP segments.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::capture::CapturedPacket;
use super::frame::{Fragment, Frame, SkipReason, Transport};
use super::headers::{FIN, RST, SYN};
use super::ip_reassembly::Reassembly;
use crate::{Instant, Path};

/// The most directions of streams; beyond it, one is dropped.
const MAX_FLOWS: usize = 1 << 14;
/// The most octets and segments of one direction that wait for those before them.
const MAX_WAITING_OCTETS: usize = 1 << 20;
const MAX_WAITING_SEGMENTS: usize = 1 << 10;

/// A datagram, octets of a stream, or its beginning or end, at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEvent<'a> {
    /// The time at which the packet that completed it was captured.
    pub time: Instant,
    /// The path, as seen from the destination.
    pub path: Path,
    /// What arrived.
    pub kind: FlowEventKind<'a>,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowEventKind<'a> {
    /// A datagram, as far as it was captured.
    Datagram(&'a [u8]),
    /// The stream began in this direction (SYN).
    Began,
    /// The next octets of a stream.
    Octets(&'a [u8]),
    /// This number of octets of the stream are not in the capture.
    Gap(u64),
    /// The stream ended in this direction (FIN).
    Ended,
    /// The stream was reset (RST).
    Reset,
}

/// Counts what [`Flows`] skipped in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Packets of an unknown link type.
    pub link_type: u64,
    /// Packets that are neither UDP nor TCP on IP.
    pub other: u64,
    /// Fragments of IP packets of which another fragment is missing so far.
    pub fragments: u64,
    /// Packets shorter than their headers.
    pub malformed: u64,
    /// Streams dropped to make room for others.
    pub flows: u64,
}

/// Reassembles the datagrams and streams of a capture.
///
/// Fragments of IP packets are joined. Each direction of a stream arrives in order and once: repeated octets
/// are dropped, and missing octets are reported as a gap at the end, or once over 1 MiB wait for them. A stream
/// whose beginning is not in the capture begins with its first segment.
#[derive(Debug, Clone, Default)]
pub struct Flows {
    streams: BTreeMap<(SocketAddr, SocketAddr), Flow>,
    reassembly: Reassembly,
    skipped: Skipped,
}

/// One direction of a stream.
#[derive(Debug, Clone, Default)]
struct Flow {
    /// The sequence number of the next octet.
    sequence: u32,
    /// The number of octets before it.
    next: u64,
    /// Segments that came early, by the number of octets before each.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_octets: usize,
    /// The number of octets before the FIN, once it was seen.
    end: Option<u64>,
    ended: bool,
}

impl Flows {
    /// Returns a reassembly without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the counts of what was skipped so far.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        Skipped {
            fragments: self.reassembly.lost(),
            ..self.skipped
        }
    }

    /// Takes the next packet of a capture, and calls `arrive` with what it completes.
    pub fn packet(&mut self, packet: &CapturedPacket<'_>, mut arrive: impl FnMut(FlowEvent<'_>)) {
        match Frame::read(packet.link_type, packet.octets) {
            Ok(frame) => self.frame(packet.time, &frame, &mut arrive),
            Err(SkipReason::LinkType(_)) => self.skipped.link_type += 1,
            Err(SkipReason::Other) => self.skipped.other += 1,
            Err(SkipReason::Fragment) => self.fragment(packet, &mut arrive),
            Err(SkipReason::Malformed) => self.skipped.malformed += 1,
        }
    }

    /// Takes a fragment, and the payload of its packet if that is complete.
    fn fragment(&mut self, packet: &CapturedPacket<'_>, arrive: &mut dyn FnMut(FlowEvent<'_>)) {
        let Some(fragment) = Fragment::read(packet.link_type, packet.octets) else {
            return;
        };
        if let Some(whole) = self.reassembly.take(packet.time, &fragment) {
            match Frame::of_fragments(fragment.packet, &whole) {
                Ok(frame) => self.frame(packet.time, &frame, arrive),
                Err(SkipReason::Malformed) => self.skipped.malformed += 1,
                Err(_) => self.skipped.other += 1,
            }
        }
    }

    fn frame(&mut self, time: Instant, frame: &Frame<'_>, arrive: &mut dyn FnMut(FlowEvent<'_>)) {
        let Transport::Tcp { sequence, flags } = frame.transport else {
            return arrive(FlowEvent {
                time,
                path: Path::udp(frame.destination, frame.source),
                kind: FlowEventKind::Datagram(frame.payload),
            });
        };
        let path = Path::tcp(frame.destination, frame.source);
        if flags & RST != 0 {
            // A reset ends both directions.
            self.close(time, path, arrive);
            self.close(time, Path::tcp(path.remote, path.local), arrive);
            let kind = FlowEventKind::Reset;
            return arrive(FlowEvent { time, path, kind });
        }
        let mut arrive = |kind: FlowEventKind<'_>| arrive(FlowEvent { time, path, kind });
        let key = (frame.source, frame.destination);
        if !self.streams.contains_key(&key) {
            // A keepalive probe has a sequence number one too low for the beginning of a stream.
            if frame.payload.is_empty() && flags & SYN == 0 {
                return;
            }
            self.make_room();
        }
        let flow = self.streams.entry(key).or_insert_with(|| {
            // A SYN counts one; a stream without a SYN begins with its first segment.
            Flow::new(sequence, flags)
        });
        if flags & SYN != 0 {
            flow.begin(sequence, &mut arrive);
        }
        let sequence = sequence.wrapping_add(u32::from(flags & SYN != 0));
        flow.segment(sequence, frame, flags & FIN != 0, &mut arrive);
    }

    fn make_room(&mut self) {
        if self.streams.len() >= MAX_FLOWS {
            self.streams.pop_first();
            self.skipped.flows += 1;
        }
    }

    fn close(&mut self, time: Instant, path: Path, arrive: &mut dyn FnMut(FlowEvent<'_>)) {
        if let Some(mut flow) = self.streams.remove(&(path.remote, path.local)) {
            flow.finish(&mut |kind: FlowEventKind<'_>| arrive(FlowEvent { time, path, kind }));
        }
    }

    /// Reports what still waits for missing octets, at the end of a capture.
    pub fn finish(&mut self, time: Instant, mut arrive: impl FnMut(FlowEvent<'_>)) {
        for ((source, destination), flow) in &mut self.streams {
            let path = Path::tcp(*destination, *source);
            flow.finish(&mut |kind: FlowEventKind<'_>| arrive(FlowEvent { time, path, kind }));
        }
        self.streams.clear();
    }
}

impl Flow {
    fn new(sequence: u32, flags: u8) -> Self {
        Self {
            // One before a SYN, so that `begin` does not take it for a repetition.
            sequence: sequence.wrapping_sub(u32::from(flags & SYN != 0)),
            ..Self::default()
        }
    }

    /// Begins another stream, unless the SYN is a repetition.
    fn begin(&mut self, sequence: u32, arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
        let first = sequence.wrapping_add(1);
        if self.next == 0 && self.sequence == first {
            return;
        }
        self.finish(arrive);
        *self = Self {
            sequence: first,
            ..Self::default()
        };
        arrive(FlowEventKind::Began);
    }

    fn segment(
        &mut self,
        sequence: u32,
        frame: &Frame<'_>,
        fin: bool,
        arrive: &mut dyn FnMut(FlowEventKind<'_>),
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
        self.deliver_waiting(arrive);
        while self.waiting_octets > MAX_WAITING_OCTETS || self.waiting.len() > MAX_WAITING_SEGMENTS
        {
            self.skip(arrive);
        }
    }

    fn deliver(&mut self, octets: &[u8], arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
        if !octets.is_empty() {
            self.advance(octets.len());
            arrive(FlowEventKind::Octets(octets));
        }
    }

    fn gap(&mut self, length: usize, arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
        if length > 0 {
            self.advance(length);
            arrive(FlowEventKind::Gap(
                u64::try_from(length).unwrap_or(u64::MAX),
            ));
        }
    }

    fn advance(&mut self, length: usize) {
        self.next += u64::try_from(length).unwrap_or(u64::MAX);
        // A sequence number has the low 32 bits of the length.
        let [a, b, c, d, ..] = u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
        self.sequence = self.sequence.wrapping_add(u32::from_le_bytes([a, b, c, d]));
    }

    /// Keeps the longest of the segments that begin at one octet.
    fn wait(&mut self, start: u64, octets: &[u8]) {
        let kept = self.waiting.entry(start).or_default();
        if octets.len() > kept.len() {
            self.waiting_octets += octets.len() - kept.len();
            *kept = octets.to_vec();
        }
    }

    /// Delivers the waiting segments that follow what was delivered.
    fn deliver_waiting(&mut self, arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
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
            arrive(FlowEventKind::Ended);
        }
    }

    /// Reports the octets before the first waiting segment as missing.
    fn skip(&mut self, arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
        let Some((&start, _)) = self.waiting.first_key_value() else {
            return;
        };
        let missing = usize::try_from(start.saturating_sub(self.next)).unwrap_or(usize::MAX);
        self.gap(missing, arrive);
        self.deliver_waiting(arrive);
    }

    fn finish(&mut self, arrive: &mut dyn FnMut(FlowEventKind<'_>)) {
        while !self.waiting.is_empty() {
            self.skip(arrive);
        }
        if let Some(end) = self.end {
            let missing = usize::try_from(end.saturating_sub(self.next)).unwrap_or(usize::MAX);
            self.gap(missing, arrive);
            self.deliver_waiting(arrive);
        }
    }
}
