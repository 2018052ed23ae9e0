//! A transfer from a server.

use core::ops::Range;
use core::time::Duration;

use super::api::{FailReason, GetOptions};
use super::holes::Holes;
use super::message::Message;
use super::wire::{DataPacket, Interval, Intervals, MAX_INTERVALS, Request};
use crate::csp::ConnectionId;
use crate::{Instant, Tag};

/// How long a packet may be late: after the last one that was asked for, or after the server has closed. Half the time
/// that it took until a response came, within these bounds.
const GRACE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// How long a server may be silent beyond the time of some packets.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the server is left alone after a request that brought nothing, for each of them.
const PAUSE: Duration = Duration::from_secs(1);
/// Refusals before the first answer that end a transfer: the second time it is no lack of room.
const MAX_REFUSALS: u8 = 2;

/// A slot for a transfer.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) tag: Tag,
    pub(super) server: u16,
    pub(super) payload: u8,
    options: GetOptions,
    pub(super) session: u32,
    pub(super) stage: Stage,
    /// Octets of the payload, once the server has told.
    pub(super) size: Option<u32>,
    pub(super) holes: Holes,
    /// What the present request asks for.
    asked: Intervals,
    /// When a connection was last opened, and how long it took until a response came.
    connected_at: Instant,
    setup: Duration,
    /// Where the holes of the next request begin.
    next: u32,
    missing_before: u32,
    pub(super) requests: u32,
    fruitless: u8,
    pub(super) is_announced: bool,
    pub(super) message: Message,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Free,
    /// A connection is to be opened.
    Paused {
        until: Instant,
    },
    Connecting,
    AwaitingResponse {
        connection: ConnectionId,
        deadline: Instant,
    },
    Receiving {
        connection: ConnectionId,
        deadline: Instant,
    },
    /// All has come.
    Complete,
    Failed(FailReason),
}

impl Download {
    pub(super) fn free(max_holes: usize) -> Self {
        Self {
            tag: Tag(0),
            server: 0,
            payload: 0,
            options: GetOptions::default(),
            session: 0,
            stage: Stage::Free,
            size: None,
            holes: Holes::new(max_holes),
            asked: Intervals::ALL,
            connected_at: Instant::ZERO,
            setup: Duration::ZERO,
            next: 0,
            missing_before: 0,
            requests: 0,
            fruitless: 0,
            is_announced: true,
            message: Message::new(),
        }
    }

    pub(super) fn begin(
        &mut self,
        now: Instant,
        tag: Tag,
        (server, payload): (u16, u8),
        options: GetOptions,
        session: u32,
    ) {
        self.tag = tag;
        self.server = server;
        self.payload = payload;
        self.options = options;
        self.session = session;
        self.stage = Stage::Paused { until: now };
        self.size = None;
        self.holes.reset(0);
        self.next = 0;
        self.requests = 0;
        self.fruitless = 0;
        self.is_announced = true;
    }

    pub(super) fn is_free(&self) -> bool {
        self.stage == Stage::Free
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.stage {
            Stage::AwaitingResponse { connection, .. } | Stage::Receiving { connection, .. } => {
                Some(connection)
            }
            _ => None,
        }
    }

    /// Returns the octets of a packet but the last.
    fn chunk(&self) -> u32 {
        // Bound: the MTU was checked to be more than the header.
        u32::from(self.options.mtu).saturating_sub(8).max(1)
    }

    fn packet_time(&self) -> Duration {
        let nanos =
            u64::from(self.chunk()) * 1_000_000_000 / u64::from(self.options.throughput.max(1));
        Duration::from_nanos(nanos)
    }

    /// A connection is being opened.
    pub(super) fn connect(&mut self, now: Instant) {
        self.stage = Stage::Connecting;
        self.connected_at = now;
    }

    /// Returns the request for the next holes.
    pub(super) fn request(&mut self, now: Instant, connection: ConnectionId) -> Request {
        self.asked = self.next_intervals();
        self.missing_before = self.holes.missing();
        self.requests = self.requests.saturating_add(1);
        self.stage = Stage::AwaitingResponse {
            connection,
            deadline: now + self.options.response_timeout,
        };
        Request {
            throughput: self.options.throughput,
            payload: self.payload,
            session: self.session,
            mtu: self.options.mtu,
            keep_alive: 0,
            intervals: self.asked,
        }
    }

    /// Returns the first holes behind those that were asked for last, or the first of all.
    fn next_intervals(&mut self) -> Intervals {
        if self.size.is_none() {
            return Intervals::ALL;
        }
        let has_more = self.holes.from(self.next).next().is_some();
        let start = if has_more { self.next } else { 0 };
        // Packets between two holes are asked for with them where that takes less than half of what a request more
        // costs for each of its intervals.
        let near = self.setup.as_nanos() / 16 / self.packet_time().as_nanos().max(1);
        let near = u32::try_from(near).unwrap_or(u32::MAX);
        let is_many = self.holes.from(start).nth(MAX_INTERVALS).is_some();
        let mut intervals = [Interval::default(); MAX_INTERVALS];
        let mut count: usize = 0;
        for Range { start, end } in self.holes.from(start) {
            let last = count.checked_sub(1).and_then(|at| intervals.get_mut(at));
            if let Some(last) = last.filter(|it| is_many && start - it.end <= near) {
                last.end = end - 1;
                continue;
            }
            let Some(place) = intervals.get_mut(count) else {
                break;
            };
            *place = Interval {
                start,
                end: end - 1,
            };
            count += 1;
        }
        let intervals = intervals.get(..count).and_then(Intervals::new);
        let intervals = intervals.unwrap_or(Intervals::ALL);
        let last = intervals.as_slice().last();
        self.next = last.map_or(0, |it| it.end.saturating_add(1));
        intervals
    }

    /// Takes the size of the payload from the server.
    pub(super) fn on_response(&mut self, now: Instant, connection: ConnectionId, size: u32) {
        self.setup = now - self.connected_at;
        if self.size.is_some_and(|known| known != size) {
            self.stage = Stage::Failed(FailReason::PayloadChanged);
            return;
        }
        if self.size.is_none() {
            self.size = Some(size);
            self.holes.reset(size.div_ceil(self.chunk()));
            self.missing_before = self.holes.missing();
            self.is_announced = false;
        }
        self.stage = Stage::Receiving {
            connection,
            deadline: now + self.silence(),
        };
    }

    /// How long nothing may come. A server of libdtp sends in rounds of up to a second, and waits one first.
    fn silence(&self) -> Duration {
        SILENCE + Duration::from_secs(1) + self.packet_time() * 4
    }

    fn grace(&self) -> Duration {
        let (least, most) = GRACE;
        (self.setup / 2).clamp(least, most) + self.packet_time()
    }

    /// Tells which packet of the payload these data are, if they are one of this transfer.
    pub(super) fn place_of(&self, packet: &DataPacket<'_>) -> Option<u32> {
        let (size, chunk) = (self.size?, self.chunk());
        let is_aligned = packet.offset.is_multiple_of(chunk) && packet.offset < size;
        let len = (size - packet.offset.min(size)).min(chunk);
        (is_aligned && packet.data.len() == usize::try_from(len).ok()?)
            .then(|| packet.offset / chunk)
    }

    pub(super) fn expects(&self, source: u16, session: u32) -> bool {
        self.connection().is_some() && self.server == source && self.session == session
    }

    /// A packet of the payload has come.
    pub(super) fn on_packet(&mut self, now: Instant, place: u32) {
        let (silence, grace) = (self.silence(), self.grace());
        let intervals = self.asked.as_slice();
        let packets = self.size.unwrap_or_default().div_ceil(self.chunk());
        let last = intervals
            .last()
            .map_or(0, |it| it.end.min(packets.saturating_sub(1)));
        if let Stage::Receiving { deadline, .. } = &mut self.stage {
            *deadline = now + if place == last { grace } else { silence };
        }
    }

    /// Tells whether all that was asked for has come.
    pub(super) fn is_answered(&self) -> bool {
        let asked = self.asked.as_slice().iter();
        let mut asked = asked.map(|it| it.start..it.end.saturating_add(1));
        matches!(self.stage, Stage::Receiving { .. })
            && !asked.any(|range| self.holes.intersects(&range))
    }

    /// The server has closed the connection: what is on its way still comes.
    pub(super) fn on_closed(&mut self, now: Instant) {
        let grace = self.grace();
        match &mut self.stage {
            Stage::Receiving { deadline, .. } => *deadline = (*deadline).min(now + grace),
            Stage::AwaitingResponse { .. } => self.fail_request(now, FailReason::Refused),
            _ => {}
        }
    }

    /// The request is over: another follows, or the transfer is.
    pub(super) fn end_request(&mut self, now: Instant) {
        if self.holes.is_empty() {
            self.stage = Stage::Complete;
        } else if self.holes.missing() < self.missing_before {
            self.fruitless = 0;
            self.stage = Stage::Paused { until: now };
        } else {
            self.fail_request(now, FailReason::Fruitless);
        }
    }

    /// The request has brought nothing.
    pub(super) fn fail_request(&mut self, now: Instant, reason: FailReason) {
        self.fruitless = self.fruitless.saturating_add(1);
        let limit = match self.size {
            None if reason == FailReason::Refused => MAX_REFUSALS,
            _ => self.options.max_fruitless,
        };
        self.stage = if self.fruitless >= limit {
            Stage::Failed(reason)
        } else {
            Stage::Paused {
                until: now + PAUSE * u32::from(self.fruitless),
            }
        };
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Paused { until } => Some(until),
            Stage::AwaitingResponse { deadline, .. } | Stage::Receiving { deadline, .. } => {
                Some(deadline)
            }
            _ => None,
        }
    }
}
