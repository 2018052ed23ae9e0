//! A transfer from a server.

mod asks;
mod memory;
mod rate;

use core::time::Duration;

use super::api::{FailReason, GetOptions};
use super::digest::PayloadDigest;
use super::extension::{Extension, PayloadIdentity};
use super::holes::Holes;
use super::message::Message;
use super::session::Session;
use super::wire::{
    DataPacket, Interval, Intervals, MAX_INTERVALS, REQUEST_LEN, Request, Response, TO_THE_END,
};
use crate::csp::ConnectionId;
use crate::{Instant, Tag};
use asks::Asks;
pub(super) use memory::Memory;
use rate::{Outcome, Rate};

/// How long a packet may be late: after the last one that was asked for, or after the server has closed. Half the time
/// that it took until a response came, within these bounds.
const GRACE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// How long a server may be silent beyond the time of some packets.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the server is left alone after a request that brought nothing, for each of them.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a server sends at a rate that follows what arrives, after the first request, and after each other request
/// where it takes no asks.
const FIRST_TIME: Duration = Duration::from_millis(100);
const REQUEST_TIME: Duration = Duration::from_secs(1);
/// Refusals before the first answer that end a transfer: the second time it is no lack of room.
const MAX_REFUSALS: u8 = 2;

/// A slot for a transfer.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) tag: Tag,
    pub(super) server: u16,
    pub(super) payload: u8,
    /// What is got by VMEM, in place of a payload.
    pub(super) memory: Option<Memory>,
    options: GetOptions,
    pub(super) session: u32,
    pub(super) stage: Stage,
    /// Octets of the payload, once the server has told.
    pub(super) size: Option<u32>,
    /// What the server has told of the payload.
    pub(super) identity: Option<PayloadIdentity>,
    /// The CRC-32C of what has come; `None` if some octets came twice.
    digest: Option<PayloadDigest>,
    pub(super) holes: Holes,
    /// What the present request asks for.
    asked: Intervals,
    /// Packets that were asked for, again or not, and those that were missing at first.
    asked_packets: u64,
    first_missing: u32,
    asks: Asks,
    rate: Rate,
    begun_at: Instant,
    /// When a connection was last opened, and how long it took until a response came.
    connected_at: Instant,
    setup: Duration,
    /// The shortest of these times: none was lost on the way.
    least_setup: Option<Duration>,
    /// Where the holes of the next request begin, and the last packet that was asked for.
    next: u32,
    last_asked: u32,
    /// The last packet that has come of this round, and whether any came behind a later one.
    highest: u32,
    is_reordered: bool,
    missing_before: u32,
    pub(super) requests: u32,
    pub(super) rounds: u32,
    is_next_round: bool,
    fruitless: u8,
    lost_rounds: u8,
    pub(super) is_announced: bool,
    pub(super) message: Message<REQUEST_LEN>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Free,
    /// A connection is to be opened.
    Waiting {
        until: Instant,
    },
    /// The application has paused it.
    Paused,
    Connecting,
    AwaitingResponse {
        connection: ConnectionId,
        deadline: Instant,
    },
    Receiving {
        /// None of VMEM.
        connection: Option<ConnectionId>,
        deadline: Instant,
    },
    /// All has come.
    Complete,
    Failed(FailReason),
}

impl Download {
    pub(super) fn free(max_holes: usize, max_ask: usize) -> Self {
        Self {
            tag: Tag(0),
            server: 0,
            payload: 0,
            memory: None,
            options: GetOptions::default(),
            session: 0,
            stage: Stage::Free,
            size: None,
            identity: None,
            digest: None,
            holes: Holes::new(max_holes),
            asked: Intervals::ALL,
            asked_packets: 0,
            first_missing: 0,
            asks: Asks::new(max_ask),
            rate: Rate::new(&GetOptions::default()),
            begun_at: Instant::ZERO,
            connected_at: Instant::ZERO,
            setup: Duration::ZERO,
            least_setup: None,
            next: 0,
            last_asked: 0,
            highest: 0,
            is_reordered: false,
            missing_before: 0,
            requests: 0,
            rounds: 0,
            is_next_round: false,
            fruitless: 0,
            lost_rounds: 0,
            is_announced: true,
            message: Message::new(),
        }
    }

    /// Returns the bytes that a slot allocates.
    pub(super) fn footprint(max_holes: usize, max_ask: usize) -> usize {
        Holes::footprint(max_holes) + Asks::footprint(max_ask) + Message::<REQUEST_LEN>::footprint()
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
        self.rate = Rate::new(&options);
        self.server = server;
        self.payload = payload;
        self.memory = None;
        self.options = options;
        self.session = session;
        self.stage = Stage::Waiting { until: now };
        self.size = None;
        self.identity = None;
        self.digest = None;
        self.holes.reset(0);
        self.asked_packets = 0;
        self.first_missing = 0;
        self.begun_at = now;
        self.least_setup = None;
        self.next = 0;
        self.is_reordered = false;
        self.requests = 0;
        self.rounds = 0;
        self.fruitless = 0;
        self.lost_rounds = 0;
        self.is_announced = true;
    }

    /// Goes on with what a session tells: only what it lacks is asked for.
    pub(super) fn restore(&mut self, session: &Session) {
        self.size = Some(session.size);
        self.identity = session.identity;
        self.reset_holes();
        self.digest = session.sum.map(|sum| PayloadDigest::of(session.size, sum));
        for range in &session.received {
            self.holes
                .remove_range(range.start..range.end.saturating_add(1));
        }
        self.first_missing = self.holes.missing();
        self.missing_before = self.holes.missing();
        self.is_announced = false;
        if self.holes.is_empty() {
            self.complete();
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.stage == Stage::Free
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.stage {
            Stage::AwaitingResponse { connection, .. } => Some(connection),
            Stage::Receiving { connection, .. } => connection,
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
            u64::from(self.chunk()) * 1_000_000_000 / u64::from(self.rate.throughput().max(1));
        Duration::from_nanos(nanos)
    }

    /// Returns the packets that were asked for more than once.
    pub(super) fn asked_again(&self) -> u64 {
        self.asked_packets.saturating_sub(self.first_missing.into())
    }

    /// A connection is being opened.
    pub(super) fn connect(&mut self, now: Instant) {
        self.stage = Stage::Connecting;
        self.connected_at = now;
    }

    /// Returns the request for the next holes.
    pub(super) fn request(&mut self, now: Instant, connection: ConnectionId) -> Request {
        let request = self.next_request();
        self.stage = Stage::AwaitingResponse {
            connection,
            deadline: now + self.options.response_timeout,
        };
        request
    }

    fn next_request(&mut self) -> Request {
        self.asked = self.next_intervals();
        self.missing_before = self.holes.missing();
        self.requests = self.requests.saturating_add(1);
        self.highest = 0;
        self.asks.begin();
        Request {
            throughput: self.rate.throughput(),
            payload: self.payload,
            session: self.session,
            mtu: self.options.mtu,
            keep_alive: 0,
            intervals: self.asked,
        }
    }

    /// Returns the first holes behind those that were asked for last, or the first of all.
    fn next_intervals(&mut self) -> Intervals {
        if self.size.is_none() || self.is_all_of_memory() {
            self.is_next_round = true;
            let mut wanted = self.wanted();
            if self.rate.follows() {
                let packets = self.rate.packets(self.chunk(), FIRST_TIME);
                wanted.end = wanted.end.min(wanted.start.saturating_add(packets - 1));
            }
            return Intervals::new(&[wanted]).unwrap_or(Intervals::ALL);
        }
        let has_more = self.next > 0 && self.holes.from(self.next).next().is_some();
        let start = if has_more { self.next } else { 0 };
        self.is_next_round = !has_more;
        // To libdtp packets between two holes are asked for with them where that takes less than another interval: the
        // round that it waits first, and a part of what a request takes.
        let setup = self.least_setup.unwrap_or_default();
        let interval_time = round_time(self.rate.throughput(), self.chunk()) + setup / 8;
        let near = interval_time.as_nanos() / self.packet_time().as_nanos().max(1);
        let near = u32::try_from(near).unwrap_or(u32::MAX);
        let is_many = self.holes.from(start).nth(MAX_INTERVALS).is_some();
        let may_join = is_many && self.identity.is_none();
        let mut intervals = [Interval::default(); MAX_INTERVALS];
        let mut count: usize = 0;
        let mut left = self.rate.packets(self.chunk(), REQUEST_TIME);
        for hole in self.holes.from(start) {
            let start = hole.start.max(start);
            let end = hole.end.min(start.saturating_add(left));
            if start == end {
                break;
            }
            left -= end - start;
            let last = count.checked_sub(1).and_then(|at| intervals.get_mut(at));
            if let Some(last) = last.filter(|it| may_join && start - it.end <= near) {
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

    /// Takes the answer of the server.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        response: Response,
        extension: Option<Extension>,
    ) {
        let size = response.payload_size;
        self.on_setup(now);
        let identity = extension.map(|it| it.identity);
        let is_other = self
            .identity
            .zip(identity)
            .is_some_and(|(one, other)| !one.is_same(other));
        if is_other || self.size.is_some_and(|known| known != size) {
            self.stage = Stage::Failed(FailReason::PayloadChanged);
            return;
        }
        self.identity = identity.or(self.identity);
        if self.size.is_none() {
            self.size = Some(size);
            self.digest = Some(PayloadDigest::new(size));
            self.reset_holes();
            self.first_missing = self.holes.missing();
            self.missing_before = self.holes.missing();
            self.is_announced = false;
        }
        self.asks.set_server(extension);
        self.expect(now, Some(connection), self.silence());
    }

    /// The server has answered a request.
    fn on_setup(&mut self, now: Instant) {
        self.setup = now - self.connected_at;
        let least = self.least_setup.map_or(self.setup, |it| it.min(self.setup));
        self.least_setup = Some(least);
    }

    /// Waits for the packets of a request, the first of them within so long.
    fn expect(&mut self, now: Instant, connection: Option<ConnectionId>, patience: Duration) {
        self.stage = Stage::Receiving {
            connection,
            deadline: now + patience,
        };
        let is_first = self.next == 0;
        let last = self.packets().saturating_sub(1);
        let asked = self.asked;
        let mut asked_now = 0_u32;
        for interval in asked.as_slice() {
            self.last_asked = interval.end.min(last);
            let packets = self.last_asked.saturating_sub(interval.start) + 1;
            asked_now = asked_now.saturating_add(packets.min(self.packets()));
        }
        self.asked_packets += u64::from(asked_now);
        if is_first {
            self.next = self.last_asked.saturating_add(1);
        }
        if self.rate.follows() {
            let (last, throughput) = (self.last_asked, self.rate.throughput());
            self.asks.begin_measure(last, asked_now, throughput);
        }
        if self.is_next_round {
            self.count_round();
        }
    }

    /// Counts a round. Returns false if there were as many as may be, and the transfer has failed.
    fn count_round(&mut self) -> bool {
        if self.rounds >= self.options.max_rounds {
            self.stage = Stage::Failed(FailReason::TooManyRounds);
            return false;
        }
        self.rounds += 1;
        true
    }

    /// Returns the packets that are wanted.
    fn wanted(&self) -> Interval {
        let end = match self.options.last {
            u32::MAX => TO_THE_END,
            last => last / self.chunk(),
        };
        Interval {
            start: self.options.first / self.chunk(),
            end,
        }
    }

    /// Misses all packets that are wanted.
    fn reset_holes(&mut self) {
        let (packets, wanted) = (self.packets(), self.wanted());
        self.holes.reset(packets);
        self.holes.remove_range(0..wanted.start.min(packets));
        let behind = wanted.end.saturating_add(1).min(packets);
        self.holes.remove_range(behind..packets);
    }

    fn packets(&self) -> u32 {
        self.size.unwrap_or_default().div_ceil(self.chunk())
    }

    /// How long nothing may come. A server of libdtp sends in rounds of up to a second, and waits one first.
    fn silence(&self) -> Duration {
        SILENCE + Duration::from_secs(1) + self.packet_time() * 4 + self.setup * 2
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
        let is_under_way = matches!(
            self.stage,
            Stage::AwaitingResponse { .. } | Stage::Receiving { .. }
        );
        is_under_way && self.server == source && self.session == session
    }

    /// Takes a packet of the payload as received. Returns whether it was missing.
    pub(super) fn take(&mut self, place: u32) -> bool {
        let was_missing = self.holes.remove(place);
        if self.holes.are_joined() {
            // Some octets will come again.
            self.digest = None;
        }
        was_missing
    }

    /// Octets of the payload are given to the application.
    pub(super) fn on_data(&mut self, offset: u32, octets: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.add(offset, octets);
        }
    }

    /// A packet of the payload has come.
    pub(super) fn on_packet(&mut self, now: Instant, place: u32, was_missing: bool) {
        self.on_packet_of_memory(now);
        let (silence, grace) = (self.silence(), self.grace());
        self.is_reordered |= was_missing && place < self.highest;
        self.highest = self.highest.max(place);
        let is_last = place == self.last_asked && !self.asks.is_of_this_crate();
        if let Stage::Receiving { deadline, .. } = &mut self.stage
            && !self.asks.is_over()
        {
            *deadline = now + if is_last { grace } else { silence };
        }
        if was_missing && self.asks.is_of_this_crate() {
            self.on_packet_of_round(now, place);
        }
    }

    /// Tells whether all that was asked for has come.
    fn is_answered(&self) -> bool {
        if self.holes.is_empty() || self.asks.is_of_this_crate() {
            return self.holes.is_empty();
        }
        let asked = self.asked.as_slice().iter();
        let mut asked = asked.map(|it| it.start..it.end.saturating_add(1));
        !asked.any(|range| self.holes.intersects(&range))
    }

    /// Goes on while data come, at a deadline or before it.
    pub(super) fn receive_on_time(&mut self, now: Instant) {
        let Stage::Receiving { deadline, .. } = self.stage else {
            return;
        };
        if self.is_answered() {
            self.end_request(now);
        } else if deadline <= now {
            if self.asks.is_over() {
                self.next_round(now);
            } else {
                self.end_request(now);
            }
        }
    }

    /// The server has closed the connection: what is on its way still comes.
    pub(super) fn on_closed(&mut self, now: Instant) {
        let grace = self.grace();
        match &mut self.stage {
            Stage::Receiving { deadline, .. } => {
                *deadline = (*deadline).min(now + grace);
                // There is none to ask on.
                self.asks.set_server(None);
            }
            Stage::AwaitingResponse { .. } => self.fail_request(now, FailReason::Refused),
            _ => {}
        }
    }

    /// The request is over: another follows, or the transfer is.
    fn end_request(&mut self, now: Instant) {
        if !self.asks.is_of_this_crate() {
            self.follow_request();
        }
        if self.holes.is_empty() {
            self.complete();
        } else if self.holes.missing() < self.missing_before {
            self.fruitless = 0;
            self.stage = Stage::Waiting { until: now };
        } else {
            self.fail_request(now, FailReason::Fruitless);
        }
    }

    /// Follows what has come of a request to a server that takes no asks.
    fn follow_request(&mut self) {
        let packets = self.packets();
        let (mut asked, mut lost) = (0_u32, 0_u32);
        for interval in self.asked.as_slice() {
            let range = interval.start..interval.end.saturating_add(1).min(packets);
            asked = asked.saturating_add(range.end.saturating_sub(range.start));
            let holes = self.holes.from(range.start);
            let holes = holes.take_while(|hole| hole.start < range.end);
            lost += holes
                .map(|hole| hole.end.min(range.end) - hole.start.max(range.start))
                .sum::<u32>();
        }
        let (received, throughput) = (asked.saturating_sub(lost), self.rate.throughput());
        let delivered = u64::from(throughput) * u64::from(received) / u64::from(asked.max(1));
        self.rate.follow(Outcome {
            asked,
            throughput,
            received,
            // Bound: at most the throughput.
            delivered: u32::try_from(delivered).unwrap_or(throughput),
        });
    }

    fn complete(&mut self) {
        self.stage = Stage::Complete;
    }

    /// Tells whether all octets are those of the server's payload, if its CRC-32C is known; to be called once they are
    /// given to the application.
    pub(super) fn check(&self) -> Option<bool> {
        if self.options.first > 0 || self.options.last < self.size?.saturating_sub(1) {
            return None;
        }
        let crc32c = self.identity?.crc32c?;
        Some(self.digest?.crc32c() == crc32c)
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
            Stage::Waiting {
                until: now + PAUSE * u32::from(self.fruitless),
            }
        };
    }

    /// Fails if the transfer takes longer than it may. Returns whether it has.
    pub(super) fn is_out_of_time(&mut self, now: Instant) -> bool {
        let is_over = self.time_limit().is_some_and(|limit| limit <= now);
        if is_over {
            self.stage = Stage::Failed(FailReason::OutOfTime);
        }
        is_over
    }

    fn time_limit(&self) -> Option<Instant> {
        let is_under_way = !matches!(
            self.stage,
            Stage::Free | Stage::Paused | Stage::Complete | Stage::Failed(_)
        );
        let limit = self.options.time_limit.filter(|_| is_under_way)?;
        Some(self.begun_at + limit)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = match self.stage {
            Stage::Waiting { until } => Some(until),
            Stage::AwaitingResponse { deadline, .. } | Stage::Receiving { deadline, .. } => {
                Some(deadline)
            }
            _ => None,
        };
        let all = deadline.into_iter().chain(self.time_limit());
        all.chain(self.alive_at()).min()
    }
}

/// Returns how long a server of libdtp waits before each interval of a request: one of the rounds in which it sends
/// packets.
fn round_time(throughput: u32, chunk: u32) -> Duration {
    let (rate, chunk) = (u64::from(throughput.max(1)), u64::from(chunk.max(1)));
    let mut packets = rate / chunk;
    let mut millis = 1000;
    if chunk / rate > packets {
        return Duration::from_secs(chunk / rate);
    }
    // It takes a tenth as long as that keeps the rate to 5 %.
    while millis >= 100 {
        let slower = (packets / 10) * chunk * 1000 / (millis / 10);
        if slower.abs_diff(rate) * 20 >= rate {
            break;
        }
        (millis, packets) = (millis / 10, packets / 10);
    }
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_libdtp_takes_as_long_as_its_documentation_says() {
        for (throughput, chunk, millis) in [
            (20_000, 200, 10),
            (20_000_000, 1024, 10),
            (100, 200, 2000),
            (2100, 200, 100),
            (2500, 200, 1000),
            (1_000_000, 200, 10),
        ] {
            assert_eq!(round_time(throughput, chunk).as_millis(), millis);
        }
    }
}
