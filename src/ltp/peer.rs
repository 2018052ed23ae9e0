//! The state of one peer: its configuration, its contact, and its queues.

use alloc::collections::VecDeque;
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use super::auth::Keys;
use super::beyond::{
    FlowControl, InFlight, Line, LineEstimate, Ping, Redundancy, Repairs, RtoBounds, RtoPolicy,
};
use super::config::{Direction, Peer};
use super::context::{Key, Node, TimerKind};
use super::wire::SessionId;
use crate::Instant;
use crate::kit::{Due, Pacer, TimerId};
use crate::sync::Arc;

/// What may wait in the queue of a line whose rate is not known, in octets, and the rate at which it leaves, in octets
/// per second: 50 kbit/s.
const MAX_QUEUE: u64 = 1 << 16;
const SLOW_RATE: u32 = 6250;
/// Octets of a red part for which ION allows six reports with gaps.
pub(super) const MANY_REPORTS: u64 = 8_000_000;

/// One peer, in a slot of the engine, which also has its address.
#[derive(Debug)]
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
    /// Sessions with data or checkpoints to send again, ahead of first passes. RFC 5325 section 3.2 queues them
    /// behind, but a repair behind a long first pass costs round trips.
    pub(super) repairs: VecDeque<u64>,
    /// Sessions on their first pass.
    pub(super) fresh: VecDeque<u64>,
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
    /// When the contact is announced to end.
    pub(super) ends: Option<Instant>,
    pub(super) origin: Origin,
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
        let light = config.owlt_out + config.owlt_in;
        let flow = FlowControl::new(config.flow, config.segment, light);
        let mut peer = Self {
            slot,
            id,
            config,
            keys,
            carrier,
            must_stop: false,
            peer_stopped: false,
            contact_start: now,
            control: VecDeque::new(),
            repairs: VecDeque::new(),
            fresh: VecDeque::new(),
            in_flight: InFlight::default(),
            is_ready: false,
            flow,
            window: None,
            interval: None,
            pacer: Pacer::new(None, 0),
            pace: None,
            exports: 0,
            imports: 0,
            import_octets: 0,
            blocked_peers: None,
            line: Line::default(),
            spare: VecDeque::new(),
            last_sent: now,
            keepalive: None,
            ping: None,
            ends: None,
            origin: Origin::Added,
            times: Times::default(),
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
        let is_adaptive = self.config.redundancy.adaptive().is_some();
        if is_adaptive || self.checkpoint_every().is_some() {
            Repairs::Parallel
        } else {
            self.flow.repairs()
        }
    }

    /// Changes the configuration.
    pub(super) fn configure(&mut self, config: Peer<()>, keys: Keys) {
        let light = config.owlt_out + config.owlt_in;
        self.flow.configure(config.flow, config.segment, light);
        self.config = config;
        self.keys = Arc::new(keys);
        self.apply_flow();
    }

    fn retime(&mut self) {
        let config = &self.config;
        let light = config.owlt_out + config.owlt_in;
        let half = config.own_delay / 2;
        let fixed = (half + config.remote_delay, half);
        let rto = match (config.rto, self.flow.least_margin()) {
            (RtoPolicy::Fixed, Some(min)) => {
                let max = config.remote_delay + config.own_delay;
                let min = min.min(max);
                RtoPolicy::Learned(RtoBounds { min, max })
            }
            (rto, _) => rto,
        };
        let learned = self.line.rto_margin(rto, light);
        let (before, behind) = learned.map_or(fixed, |rto_margin| (rto_margin, Duration::ZERO));
        let tries = u32::from(config.checkpoint_retries) + 1;
        self.times.until_answer = config.owlt_out + before;
        self.times.after_answer = config.owlt_in + behind;
        self.times.silence_limit = config.round_trip().max(self.timeout()) * tries;
    }

    pub(super) const fn may_send(&self) -> bool {
        !self.carrier.is_full
            && !self.carrier.is_down
            && !self.must_stop
            && self.pace.is_none()
            && self.can_send()
    }

    /// Queues a control segment. False if the queue is full: the timer of this engine or of the peer repeats it.
    pub(super) fn queue(&mut self, node: &mut Node, control: Control) -> bool {
        let limit = usize::try_from(node.config.max_control).unwrap_or(usize::MAX);
        if !self.can_send() {
            // Receive-only: nothing is sent to such a peer.
            return true;
        }
        if self.control.len() >= limit {
            node.stats.no_room += 1;
            return false;
        }
        self.control.push_back(control);
        self.mark_ready(node);
        true
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

    /// Returns when the answer to a segment of `len` octets sent at `now` is due.
    pub(super) fn answer(&self, now: Instant, len: usize) -> Due {
        let expected = now + self.pacer.transmission_time(len) + self.times.until_answer;
        Due {
            deadline: expected + self.times.after_answer,
            expected,
        }
    }

    /// Returns when the answer to a checkpoint on a red part up to `end` is due, which is sent after `tries` others. `None`
    /// if it is not sent again.
    pub(super) fn answer_after(
        &self,
        now: Instant,
        len: usize,
        (tries, end): (u8, u64),
    ) -> Option<Due> {
        let due = self.answer(now, len);
        if !self.flow.is_estimated() {
            return (tries <= self.config.checkpoint_retries).then_some(due);
        }
        // As long in all as with the configured timeout; and while nothing was heard, as long as it takes a slow line to
        // carry what may wait in a queue.
        let retries = u32::from(self.config.checkpoint_retries);
        let mut left = self.config.round_trip().saturating_mul(retries + 1);
        let is_unheard = self.line.is_unmeasured();
        if is_unheard {
            left += Duration::from_secs(end.min(MAX_QUEUE)) / SLOW_RATE;
        }
        // ION counts repeated checkpoints that come late, and allows few for a short block.
        let growth = match is_unheard {
            true if end < MANY_REPORTS => 8,
            true => 1,
            false => 2,
        };
        let mut wait = self.timeout().min(left);
        for _ in 0..tries {
            left = left.saturating_sub(wait);
            wait = wait.saturating_mul(growth).min(left);
        }
        let more = wait.saturating_sub(self.timeout());
        (!wait.is_zero()).then(|| Due {
            deadline: due.deadline + more,
            ..due
        })
    }

    /// Returns the retransmission timeout: the light times and the margin.
    pub(super) fn timeout(&self) -> Duration {
        self.times.until_answer + self.times.after_answer
    }

    /// Returns how many copies a signal gets.
    pub(super) fn copies(&self) -> u8 {
        self.line.copies(&self.config.redundancy)
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
    pub(super) fn answered(&mut self, now: Instant, first: Instant, latest: Instant, len: usize) {
        if self.contact_start <= first && !self.is_silent() {
            let took = (now - first).saturating_sub(self.pacer.transmission_time(len));
            if self.line.took(took, latest - first) {
                self.flow.on_round_trip(took);
                self.apply_flow();
            }
        }
    }

    /// Whether at most one further segment can be sent before the contact ends, by the rate.
    pub(super) fn is_last_of_contact(&self, now: Instant) -> bool {
        let two = self.config.segment.saturating_mul(2);
        let two = self.pacer.transmission_time(two);
        self.ends
            .is_some_and(|ends| now < ends && self.pacer.tx_clock(now) + two > ends)
    }

    /// How long a session may be without a segment: as long as a peer takes to use up its retries.
    pub(super) const fn silence_limit(&self) -> Duration {
        self.times.silence_limit
    }

    /// How long closed sessions are remembered at least: twice the time of all retries of the peer, which are
    /// assumed to be as many as here.
    pub(super) fn remembered_for(&self) -> Duration {
        self.silence_limit() * 2
    }

    /// Returns the bytes of memory held, without the tables of sessions.
    pub(super) fn memory_used(&self) -> usize {
        size_of::<Self>()
            + self.keys.memory_used()
            + self.control.capacity() * size_of::<Control>()
            + self.line.memory_used()
            + (self.repairs.capacity() + self.fresh.capacity() + self.spare.capacity())
                * size_of::<u64>()
    }
}
