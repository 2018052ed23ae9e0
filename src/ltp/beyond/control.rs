//! The flow of one peer: how fast, whether checkpoints may be sent before the end of a red part, and a window.

use core::num::NonZeroU64;
use core::time::Duration;

use super::delivery_rate::{self, DeliveryRate};
use super::flow::{Flow, FlowEstimate, burst};
use super::hello::Hello;
use super::level::{Level, PARTS, Round};
use crate::Instant;

/// The rate of a block to an unknown peer, in octets per second: 100 Mbit/s.
const START: u64 = 12_500_000;
/// The highest rate to a peer that is not of this crate: 400 Mbit/s.
const MAX_RATE: u64 = 50_000_000;
/// The lowest rate that losses lead to: 100 kbit/s.
const MIN_RATE: u64 = 12_500;
/// The largest window that is believed, in octets.
const MAX_WINDOW: u64 = 16 << 20;
/// Segments of the smallest window that losses lead to: one for each checkpoint in it.
const MIN_WINDOW: u64 = 4;
/// Checkpoints in one window, or in one round trip. With fewer a line falls idle between two reports; more are only
/// overhead.
const CHECKPOINTS: u64 = 4;
/// Segments between two checkpoints at least.
const MIN_INTERVAL: u64 = 8;
/// The shortest round trip for which checkpoints are spaced.
const MIN_ROUND_TRIP: Duration = Duration::from_millis(20);
/// The part of a burst that may precede the last segment of a red part at once.
const LAST: u32 = 4;
/// Every how many segments of a block a hello is repeated, until it is answered.
pub(in crate::ltp) const HELLO_INTERVAL: u32 = 64;
/// Blocks that begin with a hello in any case, and every how many do after them.
const HELLO_BLOCKS: u32 = 4;
const HELLO_PERIOD: u32 = 64;
/// How long the rest of a report is awaited: at least, at most, and as a part of the round trip.
const MIN_GATHERING: Duration = Duration::from_millis(10);
const MAX_GATHERING: Duration = Duration::from_secs(1);
const GATHERING_PART: u32 = 8;
/// An answer has waited in a queue if it is later than the round trip by more than this part of it.
const QUEUED: u32 = 4;

/// Octets that the queue of a line of unknown rate is assumed to hold, and the lowest rate of one, in octets per second.
const QUEUE: u64 = 1 << 16;
const SLOWEST: u64 = 150;
/// How often octets of a retransmission are sent at most before its checkpoint.
const MAX_COPIES: u64 = 4;
/// The margin of learned timeouts at least. Peers whose process waits for others answer late; a checkpoint that is
/// repeated without need may cost one of few reports.
const MIN_MARGIN: Duration = Duration::from_millis(200);

/// How many retransmissions of a session may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ltp) enum Repairs {
    /// One, once the red part has left: the peer may count the checkpoints that find gaps.
    OneByOne,
    /// Any number, each with its own checkpoint.
    Parallel,
}

/// The flow to one peer.
///
/// It is pure: what was sent, reported and measured is told, and rates and windows are asked for.
#[derive(Debug, Clone)]
pub(in crate::ltp) struct FlowControl {
    flow: Flow,
    /// Octets of the longest segment.
    segment: u64,
    /// The light times of both directions.
    light: Duration,
    rate: Level,
    /// The window of a peer of this crate, which follows losses. `None` until one was offered.
    window: Option<Level>,
    /// What the rate of a line follows that is slower than what is sent.
    delivery: DeliveryRate,
    peer: Recognition,
    /// The shortest round trip that was measured.
    round_trip: Option<Duration>,
    /// The peer has cancelled a block that had checkpoints before its end. It gets no more, even if they are configured.
    refuses_checkpoints: bool,
    /// Octets per second that are known to have passed the line.
    carried: u64,
}

/// Whether the peer is an engine of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recognition {
    /// It was not told yet, or told and has not answered.
    Unknown {
        /// Blocks since the peer was added or forgotten.
        blocks: u32,
        /// When the first hello left.
        asked: Option<Instant>,
    },
    Farlink,
}

impl Recognition {
    const NOT_ASKED: Self = Self::Unknown {
        blocks: 0,
        asked: None,
    };
}

impl Default for FlowControl {
    fn default() -> Self {
        Self::new(Flow::Auto, 0, Duration::ZERO)
    }
}

impl FlowControl {
    pub(in crate::ltp) fn new(flow: Flow, segment: usize, light: Duration) -> Self {
        Self {
            flow,
            // Bound: usize has at most 64 bits.
            segment: segment as u64,
            light,
            rate: Level::new(START, MIN_RATE, MAX_RATE),
            window: None,
            delivery: DeliveryRate::default(),
            peer: Recognition::NOT_ASKED,
            round_trip: None,
            refuses_checkpoints: false,
            carried: SLOWEST,
        }
    }

    /// Takes a changed configuration. What was learnt stays, unless the peer has another address.
    pub(in crate::ltp) fn configure(&mut self, flow: Flow, segment: usize, light: Duration) {
        self.flow = flow;
        self.refuses_checkpoints = false;
        // Bound: usize has at most 64 bits.
        self.segment = segment as u64;
        if self.light != light {
            self.light = light;
            self.round_trip = None;
        }
    }

    /// Forgets all of the peer: another one may be at its address, or it may have restarted.
    pub(in crate::ltp) fn forget(&mut self) {
        *self = Self {
            segment: self.segment,
            ..Self::new(self.flow, 0, self.light)
        };
    }

    // What holds at present.

    /// Returns the rate in octets per second, and the burst in octets. `None` without a limit.
    pub(in crate::ltp) fn pacing(&self) -> Option<(NonZeroU64, u32)> {
        let paced = |rate: NonZeroU64| (rate, burst(rate.get(), self.segment));
        match self.flow {
            Flow::Unlimited => None,
            Flow::Rate {
                octets_per_second,
                burst: Some(burst),
            } => Some((octets_per_second, burst)),
            Flow::Rate {
                octets_per_second, ..
            } => Some(paced(octets_per_second)),
            Flow::Window {
                octets_per_second: Some(rate),
                ..
            } => Some(paced(rate)),
            Flow::Window { .. } if !self.refuses_checkpoints => None,
            Flow::Auto if self.is_near() => None,
            // Without checkpoints there is no window.
            Flow::Auto | Flow::Window { .. } => NonZeroU64::new(self.rate.value()).map(paced),
        }
    }

    /// Returns how many octets may be ahead of the rate when the last segment of a red part leaves. A receive buffer
    /// that is full takes no checkpoint, and its loss costs a timeout. A burst given by hand is obeyed.
    pub(in crate::ltp) fn last_burst(&self) -> Option<u32> {
        match self.flow {
            // A burst given by hand is obeyed.
            Flow::Rate { burst: Some(_), .. } => None,
            _ => self.pacing().map(|(_, burst)| burst / LAST),
        }
    }

    /// Returns the limit of red octets in flight.
    pub(in crate::ltp) fn window(&self) -> Option<NonZeroU64> {
        match self.flow {
            Flow::Window { octets, .. } => Some(octets).filter(|_| !self.refuses_checkpoints),
            Flow::Auto if self.is_near() => {
                let window = self.window.as_ref().map_or(0, Level::value);
                NonZeroU64::new(window)
            }
            Flow::Auto | Flow::Rate { .. } | Flow::Unlimited => None,
        }
    }

    /// Whether the peer may get checkpoints before the end of a red part that were configured or asked for.
    pub(in crate::ltp) const fn allows_checkpoints(&self) -> bool {
        !self.refuses_checkpoints
    }

    /// Returns the octets between two checkpoints of a red part. `None` if none may precede its end.
    pub(in crate::ltp) fn checkpoint_interval(&self) -> Option<u64> {
        if let Some(window) = self.window() {
            return Some(window.get() / CHECKPOINTS);
        }
        if self.flow != Flow::Auto || !self.takes_checkpoints() {
            return None;
        }
        let octets = self.in_round_trip(self.round_trip().max(MIN_ROUND_TRIP));
        let least = self.segment.saturating_mul(MIN_INTERVAL);
        Some((octets / CHECKPOINTS).max(least))
    }

    /// Returns how often the octets of a retransmission of so many octets are sent before its checkpoint, on a line that
    /// has lost the share `measured`, in parts per million.
    ///
    /// On a line that loses octets whatever the rate, each round of reports takes a round trip and leaves as large a
    /// share of it. What is sent twice within half a round trip costs no time and saves rounds. Where the rate is an
    /// estimate, losses may be its own fault, and only those count that a lower rate has not changed.
    pub(in crate::ltp) fn repair_copies(&self, octets: u64, measured: u32) -> u64 {
        let loss = match self.flow {
            Flow::Auto => self.ambient(),
            Flow::Rate { .. } => measured.into(),
            Flow::Window { .. } | Flow::Unlimited => 0,
        };
        if loss == 0 {
            return 1;
        }
        let fit = self.in_round_trip(self.round_trip() / 2) / octets.max(1);
        let mut left = octets / self.segment.max(1) * PARTS;
        let mut copies = 0;
        // Until less than one segment in fifty retransmissions is expected to be lost with all copies.
        while left > PARTS / 50 && copies < MAX_COPIES {
            left = left * loss / PARTS;
            copies += 1;
        }
        copies.min(fit).max(1)
    }

    /// Whether the rate is an estimate.
    pub(in crate::ltp) fn is_estimated(&self) -> bool {
        self.flow == Flow::Auto
    }

    /// Whether the line is known to lose segments whatever the rate.
    pub(in crate::ltp) fn is_lossy(&self) -> bool {
        self.ambient() > 0
    }

    /// Returns the share of segments that the line loses whatever the rate, in parts per million.
    fn ambient(&self) -> u64 {
        let near = self.window.as_ref().filter(|_| self.is_near());
        match self.flow {
            Flow::Auto => near.unwrap_or(&self.rate).ambient(),
            Flow::Rate { .. } | Flow::Window { .. } | Flow::Unlimited => 0,
        }
    }

    /// Returns by how much a learned timeout exceeds the round trip at least, where nothing was configured about it.
    pub(in crate::ltp) fn least_margin(&self) -> Option<Duration> {
        (self.flow == Flow::Auto).then_some(MIN_MARGIN)
    }

    /// Returns how many retransmissions may be under way, where nothing was configured about checkpoints.
    pub(in crate::ltp) fn repairs(&self) -> Repairs {
        match self.checkpoint_interval() {
            Some(_) => Repairs::Parallel,
            None => Repairs::OneByOne,
        }
    }

    /// Returns how long the rest of a report is awaited that came in part.
    pub(in crate::ltp) fn gathering_time(&self) -> Duration {
        (self.round_trip() / GATHERING_PART).clamp(MIN_GATHERING, MAX_GATHERING)
    }

    /// Returns after which time the checkpoint at the end of a long red part is sent once more, if no answer has come.
    pub(in crate::ltp) fn end_copy(&self) -> Option<Duration> {
        let pause = (self.round_trip() * 2).max(MIN_GATHERING);
        (self.flow == Flow::Auto && self.is_near()).then_some(pause)
    }

    /// Whether a report that comes at `now` tells when the octets ahead of its checkpoint arrived, which left first and
    /// last at these times: it left once, or its latest copy has waited behind octets in a queue.
    pub(in crate::ltp) fn is_timed(&self, now: Instant, first: Instant, latest: Instant) -> bool {
        first == latest || self.is_delayed(now, latest)
    }

    /// Whether a report that comes at `now` on a checkpoint that left last at `latest` has waited in a queue, or that.
    pub(in crate::ltp) fn is_delayed(&self, now: Instant, latest: Instant) -> bool {
        let round_trip = self.round_trip();
        now - latest > round_trip + (round_trip / QUEUED).max(MIN_GATHERING)
    }

    /// Returns after how many octets a retransmission gets a checkpoint, where the rate was measured and is tried.
    pub(in crate::ltp) fn repair_interval(&self) -> Option<u64> {
        let is_tried = self.delivery.is_in_force() && self.takes_checkpoints();
        is_tried.then(|| self.segment.saturating_mul(delivery_rate::SAMPLE))
    }

    /// Returns what is known.
    pub(in crate::ltp) fn estimate(&self) -> FlowEstimate {
        let level = match &self.window {
            Some(window) if self.is_near() => window,
            _ => &self.rate,
        };
        FlowEstimate {
            octets_per_second: self.pacing().map(|(rate, _)| rate),
            window: self.window(),
            is_farlink: self.peer == Recognition::Farlink,
            reductions: level.reductions(),
            loss: level.loss(),
        }
    }

    /// Whether the peer is known to bear checkpoints before the end of a red part.
    pub(in crate::ltp) fn takes_checkpoints(&self) -> bool {
        self.peer == Recognition::Farlink && !self.refuses_checkpoints
    }

    /// Whether the window of a peer of this crate holds what leaves at the rate within a round trip.
    fn is_near(&self) -> bool {
        let window = self.window.as_ref().map_or(0, Level::value);
        self.takes_checkpoints()
            && self.is_measured()
            && !self.delivery.is_in_force()
            && window >= self.in_round_trip(self.round_trip())
            && window > 0
    }

    /// Whether anything is known about the round trip.
    const fn is_measured(&self) -> bool {
        self.round_trip.is_some() || !self.light.is_zero()
    }

    /// Returns the round trip without the time in queues.
    fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or_default().max(self.light)
    }

    fn in_round_trip(&self, round_trip: Duration) -> u64 {
        let rate = match self.flow {
            Flow::Rate {
                octets_per_second, ..
            } => octets_per_second.get(),
            _ => self.rate.value(),
        };
        let octets = u128::from(rate) * round_trip.as_nanos() / 1_000_000_000;
        u64::try_from(octets).unwrap_or(u64::MAX)
    }

    // Hello.

    /// Counts a block, and returns whether it begins with a hello.
    pub(in crate::ltp) fn begin_block(&mut self) -> bool {
        let Recognition::Unknown { blocks, .. } = &mut self.peer else {
            return false;
        };
        let is_due = *blocks < HELLO_BLOCKS || blocks.is_multiple_of(HELLO_PERIOD);
        *blocks = blocks.wrapping_add(1);
        is_due && self.flow == Flow::Auto
    }

    /// Whether blocks that began with a hello still repeat it.
    pub(in crate::ltp) fn has_hello(&self) -> bool {
        self.peer != Recognition::Farlink && self.flow == Flow::Auto
    }

    /// Notes that a hello left.
    pub(in crate::ltp) fn on_hello_sent(&mut self, now: Instant) {
        if let Recognition::Unknown { asked, .. } = &mut self.peer {
            asked.get_or_insert(now);
        }
    }

    /// Takes a hello that came from the peer's own host.
    pub(in crate::ltp) fn on_hello(&mut self, now: Instant, hello: Hello) {
        if let Recognition::Unknown {
            asked: Some(asked), ..
        } = self.peer
        {
            // It answers the first one or a later one, so this is at least the round trip.
            self.on_round_trip(now - asked);
        }
        self.peer = Recognition::Farlink;
        self.rate.set_max(u64::MAX);
        let offered = hello.window.min(MAX_WINDOW);
        let least = self.segment.saturating_mul(MIN_WINDOW).min(offered);
        match &mut self.window {
            Some(window) => window.set_max(offered),
            None => self.window = Some(Level::new(offered, least, offered)),
        }
    }

    // Measurements.

    /// Notes that so many octets have passed the line in a time.
    pub(in crate::ltp) fn on_passed(&mut self, octets: u64, took: Duration) {
        let rate = u128::from(octets) * 1_000_000_000 / took.as_nanos().max(1);
        self.carried = self.carried.max(u64::try_from(rate).unwrap_or(u64::MAX));
    }

    /// Returns how long so many octets may take through the queue of the line, as far as its rate is not known.
    pub(in crate::ltp) fn queueing_time(&self, octets: u64) -> Duration {
        if self.flow != Flow::Auto {
            return Duration::ZERO;
        }
        Duration::from_micros(octets.min(QUEUE) * 1_000_000 / self.carried)
    }

    /// Takes a measured round trip.
    pub(in crate::ltp) fn on_round_trip(&mut self, sample: Duration) {
        let shortest = self.round_trip.unwrap_or(Duration::MAX);
        self.round_trip = Some(shortest.min(sample));
    }

    /// Counts octets that a report has claimed.
    pub(in crate::ltp) const fn on_claimed(&mut self, octets: u64) {
        self.delivery.on_claimed(octets);
    }

    /// Takes what reports told about a part of a block. Returns whether rate or window have changed.
    pub(in crate::ltp) fn on_round(&mut self, now: Instant, round: &Round) -> bool {
        let segment = self.segment;
        self.on_passed(round.delivered, now - round.since);
        if self.flow == Flow::Auto && self.follow_delivery(now, round) {
            return true;
        }
        self.level()
            .is_some_and(|level| level.on_round(now, round, segment))
    }

    /// Lets the rate follow what the line delivers, if that is far less than what is sent. Returns whether it has changed.
    fn follow_delivery(&mut self, now: Instant, round: &Round) -> bool {
        if !self.is_measured() {
            return false;
        }
        let (round_trip, is_window) = (self.round_trip(), self.is_near());
        self.delivery.is_cautious = !self.takes_checkpoints();
        let (rate, delivery) = (&mut self.rate, &mut self.delivery);
        let from = (round_trip, rate.changed());
        let Some(measured) = delivery.on_round(now, round, from, self.segment) else {
            return false;
        };
        let Some(next) = delivery.next(&measured, (rate.value(), rate.ambient()), is_window) else {
            return false;
        };
        if measured.is_overload() {
            return rate.fall_to(now, next, (measured.sent, measured.delivered));
        }
        delivery.release(next, START);
        rate.move_to(now, next)
    }

    /// Takes the success of a block with so many red octets whose transmission began at `started`. Returns whether
    /// rate or window have changed.
    pub(in crate::ltp) fn on_complete(
        &mut self,
        now: Instant,
        started: Instant,
        octets: u64,
    ) -> bool {
        let has_changed = self
            .level()
            .is_some_and(|level| level.on_complete(now, started, octets));
        self.delivery.release(self.rate.value(), START);
        has_changed
    }

    /// Takes a cancellation by the peer because of a limit (`RLEXC`) of a block, which had checkpoints before the end of
    /// its red part or not. Returns whether the block can be sent once more without.
    pub(in crate::ltp) fn on_limit_exceeded(&mut self, had_checkpoints: bool) -> bool {
        self.refuses_checkpoints |= had_checkpoints;
        self.peer = Recognition::NOT_ASKED;
        self.window = None;
        had_checkpoints
    }

    fn level(&mut self) -> Option<&mut Level> {
        if self.flow != Flow::Auto {
            return None;
        }
        if self.is_near() {
            self.window.as_mut()
        } else {
            Some(&mut self.rate)
        }
    }
}

#[cfg(test)]
mod tests;
