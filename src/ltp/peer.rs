//! The state of one peer: its configuration, its contact, and its queues.

use alloc::collections::VecDeque;
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use super::auth::Keys;
use super::beyond::{
    FlowControl, InFlight, Line, LineEstimate, MAX_WAITING, Ping, Redundancy, Repairs, RtoBounds,
    RtoPolicy,
};
use super::config::{Direction, Peer};
use super::context::{ImportTimer, Key, Lateness, Node, TimerKind};
use super::silence::{MAX_INTERVAL, Patience, Silence, Step};
use super::wire::SessionId;
use crate::Instant;
use crate::kit::{Due, Pacer, TimerId};
use crate::sync::Arc;

/// How often a learned margin is doubled at most.
const MAX_BACKOFF: u32 = 6;
/// Octets of a red part for which ION allows six reports with gaps.
pub(super) const MANY_REPORTS: u64 = 8_000_000;
/// Octets that the queue of a slow line is assumed to hold, and the octets per second of such a line.
const UNKNOWN_QUEUE: u64 = 64 * 1024;
const SLOW_LINE: u64 = 6250;

/// One peer, in a slot of the engine, which also has its address.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "contact, queues and budget of a peer change independently of each other"
)]
pub(super) struct PeerState {
    pub(super) slot: u32,
    pub(super) id: u64,
    pub(super) config: Peer<()>,
    pub(super) keys: Arc<Keys>,
    pub(super) carrier: LinkState,
    /// Transmission to the peer is stopped (RFC 5326 section 6.4).
    pub(super) must_stop: bool,
    /// The peer has stopped transmitting (RFC 5326 section 6.5).
    pub(super) peer_stopped: bool,
    /// When the peer last started to transmit.
    pub(super) contact_start: Instant,
    /// Control segments, sent ahead of everything else.
    pub(super) control: VecDeque<Control>,
    /// How many of those have left the queue, sent or dropped.
    control_left: u64,
    /// Sessions with data or checkpoints to send again, ahead of first passes. RFC 5325 section 3.2 queues them
    /// behind, but a repair behind a long first pass costs round trips.
    pub(super) repairs: VecDeque<u64>,
    /// Sessions on their first pass.
    pub(super) fresh: VecDeque<u64>,
    /// The session whose first pass has begun.
    pub(super) begun: Option<u64>,
    /// Whether a first pass that has begun is served before repairs.
    pub(super) is_first_pass_next: bool,
    pub(super) in_flight: InFlight,
    pub(super) is_ready: bool,
    pub(super) flow: FlowControl,
    /// What the flow says at present: the limit of octets in flight, and the octets between checkpoints.
    pub(super) window: Option<NonZeroU64>,
    pub(super) interval: Option<u64>,
    pub(super) pacer: Pacer,
    pub(super) pace: Option<TimerId>,
    pub(super) exports: u32,
    pub(super) imports: u32,
    /// Whether the last segment came from the address where the peer is reached, and when the last did that came from
    /// there.
    pub(super) is_home: bool,
    pub(super) home_heard: Instant,
    pub(super) import_octets: usize,
    /// Octets of the block that was refused for lack of room.
    pub(super) blocked_peers: Option<usize>,
    /// Measurements of the line.
    pub(super) line: Line,
    /// Sessions with duplicate repairs to send while nothing else waits.
    pub(super) spare: VecDeque<u64>,
    /// When a segment was last sent.
    pub(super) last_sent: Instant,
    pub(super) keepalive: Option<TimerId>,
    pub(super) ping: Option<Ping>,
    /// What left before this time has passed the line or is lost, as the answer to a ping tells.
    pub(super) arrived_before: Instant,
    /// When the contact is announced to end.
    pub(super) ends: Option<Instant>,
    pub(super) origin: Origin,
    /// The account of the host of a peer that was accepted.
    pub(super) host: Option<u32>,
    /// The same, of one that was accepted without authentication.
    pub(super) account: Option<u32>,
    /// Whether a command has named the peer.
    pub(super) is_named: bool,
    /// Whether a segment waits for octets from the host.
    pub(super) is_over_budget: bool,
    /// When a segment last came from the peer, as far as it is one that was accepted.
    pub(super) heard: Instant,
    /// Whether it was found to have sessions when it would have given way.
    pub(super) is_found_busy: bool,
    pub(super) silence: Silence,
    /// How often a learned margin is doubled, and until when it is not doubled again (RFC 6298 section 5).
    backoff: u32,
    backed_off_until: Instant,
    /// Before that time no discretionary checkpoint is answered: reports keep to a share of the rate.
    pub(super) next_report: Instant,
    /// Signals whose answers are late, and that wait until the peer is heard, in the order in which they did.
    pub(super) waiting: VecDeque<TimerKind>,
    /// Signals that wait until a ping tells whether they have passed the line.
    pub(super) asking: VecDeque<TimerKind>,
    /// How many of those are given up, and after which silence.
    pub(super) given_up: usize,
    pub(super) given_up_after: Duration,
    /// The timers of the next step in a silence, and of the next signal that waited.
    pub(super) silence_timer: Option<TimerId>,
    pub(super) resume_timer: Option<TimerId>,
    times: Times,
}

/// Times that follow from the configuration and the measurements, and are needed for every signal.
#[derive(Debug, Default)]
struct Times {
    /// From the end of a segment that is sent until its answer leaves the peer.
    until_answer: Duration,
    /// From when the answer leaves the peer until it is late here.
    after_answer: Duration,
    /// How long a session may be without a segment.
    silence_limit: Duration,
    /// How long a closed session is remembered.
    memory: Duration,
}

/// A queue of sessions with data to send, in the order in which the queues are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Repairs,
    FirstPasses,
    Duplicates,
}

/// How a peer came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    #[default]
    Added,
    /// It was accepted by the policy for unknown peers.
    Accepted,
}

/// The link state of an address, as the driver reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LinkState {
    pub(super) is_full: bool,
    pub(super) is_down: bool,
}

/// A control segment to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Control {
    ReportAck {
        session: SessionId,
        serial: u64,
    },
    CancelAck {
        session: SessionId,
        to: Role,
    },
    /// A report, or the first of `left` further copies of one that was just sent.
    Report {
        session: SessionId,
        serial: u64,
        left: Option<u8>,
    },
    /// A report that claims everything, for a session that was closed after delivery.
    Final {
        session: SessionId,
        serial: u64,
        checkpoint: u64,
        red: u64,
    },
    /// The cancellation of a [`Ping`].
    Ping,
    /// Four octets of 0 (RFC 7122 section 3.4).
    KeepAlive,
    /// A cancellation, or the first of `left` further copies of one that was just sent.
    Cancel {
        session: SessionId,
        by: Role,
        left: Option<u8>,
    },
}

impl Control {
    /// Returns the session that the segment is about.
    pub(super) const fn session(&self) -> SessionId {
        match self {
            Self::ReportAck { session, .. }
            | Self::CancelAck { session, .. }
            | Self::Report { session, .. }
            | Self::Final { session, .. }
            | Self::Cancel { session, .. } => *session,
            Self::Ping | Self::KeepAlive => SessionId {
                originator: 0,
                number: 0,
            },
        }
    }
}

/// The role of an engine in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum Role {
    Sender,
    Receiver,
}

impl PeerState {
    pub(super) fn new(
        (slot, id): (u32, u64),
        config: Peer<()>,
        keys: Arc<Keys>,
        carrier: LinkState,
        now: Instant,
    ) -> Self {
        let light = config.timers.light();
        let flow = FlowControl::new(config.flow, config.segment, light);
        let mut peer = Self {
            slot,
            id,
            config,
            keys,
            carrier,
            contact_start: now,
            flow,
            is_home: true,
            home_heard: now,
            last_sent: now,
            heard: now,
            ..Self::default()
        };
        peer.apply_flow();
        peer
    }

    /// Takes over what the flow says.
    pub(super) fn apply_flow(&mut self) {
        let (rate, burst) = self.flow.pacing().unzip();
        self.pacer.set_rate(rate, burst.unwrap_or(0));
        self.window = self.flow.window();
        self.interval = self.flow.checkpoint_interval();
        self.retime();
    }

    /// Returns every how many segments of a red part a checkpoint is configured, if the peer bears it.
    pub(super) fn checkpoint_every(&self) -> Option<NonZeroU32> {
        let every = self.config.checkpoint_every;
        every.filter(|_| self.flow.allows_checkpoints())
    }

    /// Returns how many retransmissions of a session may be under way. What asks for early reports takes any number.
    pub(super) fn repairs(&self) -> Repairs {
        let is_adaptive = self.is_auto();
        if is_adaptive || self.checkpoint_every().is_some() {
            Repairs::Parallel
        } else {
            self.flow.repairs()
        }
    }

    /// Changes the configuration.
    pub(super) fn configure(&mut self, config: Peer<()>, keys: Keys) {
        let light = config.timers.light();
        self.flow.configure(config.flow, config.segment, light);
        self.config = config;
        self.keys = Arc::new(keys);
        self.apply_flow();
    }

    fn retime(&mut self) {
        let config = &self.config;
        let light = config.timers.light();
        let half = config.timers.own_delay / 2;
        let fixed = (half + config.timers.remote_delay, half);
        let rto = self.rto();
        let learned = self.line.rto_margin(rto, light);
        let learned = learned.map(|margin| {
            let most = rto.longest().max(margin);
            margin.saturating_mul(1 << self.backoff).min(most)
        });
        let (before, behind) = learned.map_or(fixed, |rto_margin| (rto_margin, Duration::ZERO));
        let tries = u32::from(config.limits.checkpoint_retries) + 1;
        self.times.until_answer = config.timers.owlt_out + before;
        self.times.after_answer = config.timers.owlt_in + behind;
        self.times.silence_limit = config.timers.round_trip().max(self.timeout()) * tries;
        self.times.memory = self.reception_limit() + self.times.silence_limit * 2;
    }

    /// Returns how the timeout is found. Where the rate is an estimate, round trips are learned anyway.
    fn rto(&self) -> RtoPolicy {
        match (self.config.timers.rto, self.flow.least_margin()) {
            (RtoPolicy::Fixed, Some(min)) => {
                let max = self.config.timers.remote_delay + self.config.timers.own_delay;
                let min = min.min(max);
                RtoPolicy::Learned(RtoBounds { min, max })
            }
            (rto, _) => rto,
        }
    }

    pub(super) const fn may_send(&self) -> bool {
        let is_link_closed = self.carrier.is_full | self.carrier.is_down;
        let is_stopped = is_link_closed | self.must_stop | self.is_over_budget;
        !is_stopped && self.pace.is_none() && self.can_send()
    }

    /// Returns the account of the host of a stranger, unless it has proved that it hears.
    #[inline]
    pub(super) fn unproved(&self, node: &Node) -> Option<u32> {
        let account = self.account.filter(|_| !self.is_named)?;
        (!node.strangers.is_proved(account)).then_some(account)
    }

    /// Notes that a session is over.
    #[inline]
    pub(super) fn on_session_over(&mut self, node: &mut Node) {
        if self.is_found_busy && self.exports + self.imports == 0 {
            self.is_found_busy = false;
            node.strangers.peers.is_idle_again(self.slot, self.heard);
        }
    }

    /// Notes that a command names the peer. What waited for octets from its host may leave.
    pub(super) fn name(&mut self, node: &mut Node) {
        if !core::mem::replace(&mut self.is_named, true) {
            node.strangers.peers.name(self.slot);
            self.is_over_budget = false;
            self.mark_ready(node);
        }
    }

    /// Whether a segment of `len` octets may leave. One that may not waits until more has come from the host.
    #[inline]
    pub(super) fn may_spend(&mut self, node: &Node, len: usize) -> bool {
        let unproved = self.unproved(node);
        self.is_over_budget = unproved.is_some_and(|account| !node.strangers.allows(account, len));
        !self.is_over_budget
    }

    /// Queues a control segment. False if the queue is full: the timer of this engine or of the peer repeats it.
    pub(super) fn queue(&mut self, node: &mut Node, control: Control) -> bool {
        let limit = usize::try_from(node.config.limits.control_segments).unwrap_or(usize::MAX);
        if !self.can_send() {
            // Receive-only: nothing is sent to such a peer.
            return false;
        }
        if self.is_over_budget && self.control.len() >= MAX_WAITING {
            self.pop_control();
            node.stats.no_room += 1;
        }
        if self.control.len() >= limit {
            node.stats.no_room += 1;
            return false;
        }
        self.control.push_back(control);
        self.mark_ready(node);
        true
    }

    /// Takes the first control segment off the queue.
    pub(super) fn pop_control(&mut self) -> Option<Control> {
        let first = self.control.pop_front()?;
        self.control_left += 1;
        Some(first)
    }

    /// Returns the place in the queue behind all that was queued. Whoever has a place knows whether it is yet to be
    /// served.
    // Bound: usize has at most 64 bits.
    pub(super) fn control_end(&self) -> u64 {
        self.control_left + self.control.len() as u64
    }

    /// Whether the control segment at a place waits to be sent.
    pub(super) const fn is_waiting(&self, place: u64) -> bool {
        place > self.control_left
    }

    /// Drops all control segments. Reports among them count as lost on the line.
    pub(super) fn drop_control(&mut self, node: &mut Node) {
        while let Some(dropped) = self.pop_control() {
            if let Control::Report {
                session, serial, ..
            } = dropped
            {
                let what = TimerKind::Import(session, ImportTimer::Report(serial));
                self.start_local(node, node.now, what);
            }
        }
    }

    /// Returns a queue of sessions with data to send.
    pub(super) const fn sessions(&mut self, queue: Queue) -> &mut VecDeque<u64> {
        match queue {
            Queue::Repairs => &mut self.repairs,
            Queue::FirstPasses => &mut self.fresh,
            Queue::Duplicates => &mut self.spare,
        }
    }

    /// Queues the peer for sending.
    #[inline]
    pub(super) fn mark_ready(&mut self, node: &mut Node) {
        if !self.is_ready && self.may_send() && self.has_work() {
            self.is_ready = true;
            node.ready.push_back(self.slot);
        }
    }

    /// Starts a timer that is frozen while the peer is silent.
    pub(super) fn start(&self, node: &mut Node, due: Due, what: TimerKind) -> Option<TimerId> {
        let (slot, is_frozen) = (self.slot, self.is_silent());
        let key = Key { slot, what };
        if is_frozen {
            node.timers.set_frozen(due, slot, key)
        } else {
            node.timers.set(due, slot, key)
        }
    }

    /// Starts a timer that is never frozen.
    pub(super) fn start_local(
        &self,
        node: &mut Node,
        at: Instant,
        what: TimerKind,
    ) -> Option<TimerId> {
        let slot = self.slot;
        node.timers.set(Due::local(at), slot, Key { slot, what })
    }

    /// Whether signals are sent without copies.
    pub(super) fn is_plain(&self) -> bool {
        self.config.redundancy == Redundancy::Fixed(0)
    }

    /// Whether the direction of the peer allows sending to it.
    pub(super) const fn can_send(&self) -> bool {
        !matches!(self.config.direction, Direction::ReceiveOnly)
    }

    /// Whether timers that wait for the peer are frozen.
    pub(super) const fn is_silent(&self) -> bool {
        self.carrier.is_down || self.peer_stopped
    }

    /// Returns how long what has left may take through the queue of a line whose rate is not known.
    fn in_unknown_queue(&self) -> Duration {
        if !self.flow.is_estimated() {
            return Duration::ZERO;
        }
        let octets = self.in_flight.octets.min(UNKNOWN_QUEUE);
        Duration::from_micros(octets.saturating_mul(1_000_000) / SLOW_LINE)
    }

    fn patience(&self) -> Patience {
        Patience {
            unheard: self.config.timers.first_silence + self.in_unknown_queue(),
            heard: self.config.timers.silence,
            answer: self.timeout(),
            tries: u32::from(self.config.limits.checkpoint_retries) + 1,
        }
    }

    /// Returns how long nothing was heard although answers are due, and how long that may last.
    pub(super) fn silent_for(&self, now: Instant) -> Option<(Duration, Duration)> {
        Some((
            self.silence.lasts(now)?,
            self.silence.limit(&self.patience()),
        ))
    }

    /// Returns how long nothing may come of a block that is being received.
    pub(super) fn reception_limit(&self) -> Duration {
        self.config.timers.silence.max(self.times.silence_limit)
    }

    /// Notes a segment of the peer. What waited for it goes on.
    #[inline]
    pub(super) fn on_heard(&mut self, node: &mut Node) {
        if self.is_home {
            self.home_heard = node.now;
        }
        if self.silence.on_heard(node.now) {
            self.resume(node);
        }
    }

    /// Lets the signals that wait be repeated or given up, one after another.
    #[cold]
    pub(super) fn resume(&mut self, node: &mut Node) {
        node.stop(self.silence_timer.take());
        if self.resume_timer.is_none() && !self.waiting.is_empty() {
            self.resume_timer = self.start_local(node, node.now, TimerKind::Resume);
        }
    }

    /// Decides about a signal whose answer is late, and which left at `left` if that is known. `None` if it waits.
    pub(super) fn on_late(
        &mut self,
        node: &mut Node,
        what: TimerKind,
        left: impl FnOnce() -> Option<Instant>,
    ) -> Option<Lateness> {
        // In a silence all signals wait, whenever they left.
        let late = if self.silence.is_silent() {
            None
        } else {
            let patience = self.patience();
            let before = (node.now - Instant::ZERO).saturating_sub(patience.answer);
            let before = Instant::ZERO + before;
            let left = left().map_or(before, |left| left.min(before));
            self.silence.on_late(node.now, left, &patience)
        };
        if late.is_none() {
            self.waiting.push_back(what);
        }
        if self.silence.is_silent() && self.silence_timer.is_none() {
            self.set_silence_timer(node);
        }
        late
    }

    fn set_silence_timer(&mut self, node: &mut Node) {
        node.stop(self.silence_timer.take());
        let next = self.silence.next(&self.patience());
        self.silence_timer = next.and_then(|at| self.start_local(node, at, TimerKind::Silence));
    }

    /// Takes the step that is due in a silence, and returns the signal that is sent as a probe: the oldest whose session
    /// still awaits its answer.
    pub(super) fn silence_due(
        &mut self,
        node: &mut Node,
        left: impl Fn(TimerKind) -> Option<Instant>,
    ) -> Option<(TimerKind, Lateness)> {
        self.silence_timer = None;
        let lasts = self.silence.lasts(node.now);
        let step = self.silence.step(node.now, &self.patience());
        self.set_silence_timer(node);
        match step? {
            Step::Probe => {
                let late = Lateness::of_probe(self.silence.was_given_up());
                let mut waiting = core::iter::from_fn(|| self.waiting.pop_front());
                waiting
                    .find(|what| left(*what).is_some())
                    .map(|what| (what, late))
            }
            Step::GiveUp => {
                self.waiting.append(&mut self.asking);
                self.given_up = self.waiting.len();
                self.given_up_after = lasts.unwrap_or_default();
                self.resume(node);
                None
            }
        }
    }

    /// Returns the next signal that waited, and what is done about it.
    pub(super) fn next_waiting(&mut self, node: &mut Node) -> Option<(TimerKind, Lateness)> {
        self.resume_timer = None;
        let late = match self.given_up {
            0 => Lateness::Counts,
            _ => Lateness::IsFinal,
        };
        self.given_up = self.given_up.saturating_sub(1);
        let what = self.waiting.pop_front();
        self.resume(node);
        Some((what?, late))
    }

    /// Notes that the contact was opened or closed.
    pub(super) fn on_contact(&mut self, node: &mut Node) {
        if self.must_stop || self.is_silent() {
            self.silence.on_closed(node.now);
        } else {
            self.silence.on_opened(node.now);
        }
        if self.silence.is_silent() {
            self.set_silence_timer(node);
        }
    }

    /// Whether work waits for nothing but the rate.
    pub(super) fn is_held_back(&self) -> bool {
        let is_stopped = self.carrier.is_full || self.carrier.is_down || self.must_stop;
        self.has_work() && !is_stopped
    }

    /// Returns the session whose first pass goes on next; `None` if the window is full.
    pub(super) fn next_first_pass(&self) -> Option<u64> {
        let next = self.fresh.front().copied();
        next.filter(|_| !self.in_flight.is_held)
    }

    pub(super) fn has_work(&self) -> bool {
        !self.control.is_empty()
            || !self.repairs.is_empty()
            || self.next_first_pass().is_some()
            || !self.spare.is_empty()
    }

    /// Returns when the last octet of what was written has left, by the rate.
    pub(super) fn departure(&self, now: Instant) -> Instant {
        self.pacer.tx_clock(now)
    }

    /// Returns when the answer to a segment is due that was just written (RFC 5326 sections 6.2 and 6.3).
    pub(super) fn answer(&self, now: Instant) -> Due {
        let expected = self.departure(now) + self.times.until_answer;
        Due {
            deadline: expected + self.times.after_answer,
            expected,
        }
    }

    /// Returns when the answer to a signal is due that is sent for the time `tries`. Where the line is not known, the time
    /// doubles with each repetition, up to that between two probes of a silent peer: HDTN takes no notice of a checkpoint that
    /// came before, and repeats its report when an answer to that is late by a clock of its own.
    pub(super) fn answer_of(&self, tries: u16, now: Instant) -> Due {
        let mut due = self.answer(now);
        if tries > 1 && self.flow.is_estimated() {
            let times = (1 << (tries - 1).min(6)) - 1;
            due.deadline += (self.timeout() * times).min(MAX_INTERVAL);
        }
        due
    }

    /// Returns the retransmission timeout: the light times and the margin.
    pub(super) fn timeout(&self) -> Duration {
        self.times.until_answer + self.times.after_answer
    }

    /// Returns how many copies a signal gets.
    pub(super) fn copies(&self) -> u8 {
        self.line.copies(&self.config.redundancy)
    }

    /// Returns how often the octets of a retransmission of so many octets are sent before its checkpoint.
    pub(super) fn repair_copies(&self, octets: u64) -> u64 {
        let copies = &self.config.redundancy;
        let measured = if self.is_plain() {
            self.line.loss_out(copies)
        } else {
            0
        };
        self.flow.repair_copies(octets, measured)
    }

    /// Returns the measurements of the line.
    pub(super) fn estimate(&self) -> LineEstimate {
        let estimate = self.line.estimate(&self.config.redundancy, self.timeout());
        LineEstimate {
            flow: self.flow.estimate(),
            ..estimate
        }
    }

    /// Measures the time of an answer to a signal that was sent first at `first` and last at `latest`. Contacts that
    /// ended in between would spoil the sample.
    pub(super) fn answered(&mut self, now: Instant, first: Instant, latest: Instant) {
        if self.contact_start <= first && !self.is_silent() {
            let took = now - first;
            if self.line.took(took, latest - first) {
                self.backoff = 0;
                self.flow.on_round_trip(took);
                self.apply_flow();
            }
        }
    }

    /// Waits longer for answers where the time of one was learned and another is late: it may queue at the peer, and no
    /// time is measured as long as signals are repeated.
    pub(super) fn back_off(&mut self, now: Instant) {
        if self.rto() != RtoPolicy::Fixed && now >= self.backed_off_until {
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
            self.retime();
            self.backed_off_until = now + self.timeout();
        }
    }

    /// Notes that a report of `len` octets was written. Reports on discretionary checkpoints keep to a quarter of the
    /// rate.
    pub(super) fn note_report(&mut self, now: Instant, len: usize) {
        let others = self.pacer.transmission_time(len) * 3;
        self.next_report = self.next_report.max(self.departure(now)) + others;
    }

    /// Whether the next red segment is to be a checkpoint that was asked for, or is the last before the contact ends, by
    /// the rate, of a peer that bears one there. ION cancels the block for it, so where the rate is estimated the peer must
    /// be known to.
    pub(super) fn must_check(&self, is_asked_for: bool, now: Instant) -> bool {
        if !self.flow.allows_checkpoints() {
            return false;
        }
        let two = self.config.segment.saturating_mul(2);
        let two = self.pacer.transmission_time(two);
        let is_last = |ends: Instant| now < ends && self.pacer.tx_clock(now) + two > ends;
        let is_borne = !self.flow.is_estimated() || self.flow.takes_checkpoints();
        is_asked_for || is_borne && self.ends.is_some_and(is_last)
    }

    /// How long closed sessions are remembered: as long as the peer may wait for an answer, and twice the time of its
    /// retries, which are assumed to be as many as here.
    pub(super) const fn remembered_for(&self) -> Duration {
        self.times.memory
    }

    /// Returns the bytes of memory held, without the tables of sessions.
    pub(super) fn memory_used(&self) -> usize {
        size_of::<Self>()
            + self.keys.memory_used()
            + self.control.capacity() * size_of::<Control>()
            + self.line.memory_used()
            + (self.repairs.capacity() + self.fresh.capacity() + self.spare.capacity())
                * size_of::<u64>()
            + (self.waiting.capacity() + self.asking.capacity()) * size_of::<TimerKind>()
    }
}
