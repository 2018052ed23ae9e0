//! The state of one peer: its configuration, its contact, and its queues.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::auth::Keys;
use super::beyond::FlowControl;
use super::config::{Direction, Peer};
use super::line::{Line, LineEstimate};
use super::rto::RtoPolicy;
use super::window::InFlight;
use super::wire::SessionId;
use crate::Instant;
use crate::kit::{Due, Pacer, TimerId};
use crate::sync::Arc;

/// One peer, in a slot of the engine.
#[derive(Debug)]
pub(super) struct PeerState<A> {
    pub(super) id: u64,
    pub(super) config: Peer<A>,
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

/// How a peer came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    #[default]
    Added,
    /// It was accepted by the policy for unknown peers.
    Accepted,
}

/// A cancellation of a session that was never begun. Its acknowledgment shows that the peer can be reached.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) number: u64,
    pub(super) tries: u8,
    /// When the first cancellation was sent.
    pub(super) first: Instant,
    /// When the latest cancellation was sent.
    pub(super) latest: Instant,
    pub(super) timer: Option<TimerId>,
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
    Report {
        session: SessionId,
        serial: u64,
    },
    /// Further copies of a report that was just sent.
    ReportCopy {
        session: SessionId,
        serial: u64,
        left: u8,
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
    Cancel {
        session: SessionId,
        by: Role,
    },
    CancelCopy {
        session: SessionId,
        by: Role,
        left: u8,
    },
}

/// The role of an engine in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum Role {
    Sender,
    Receiver,
}

impl<A> PeerState<A> {
    pub(super) fn new(
        id: u64,
        config: Peer<A>,
        keys: Arc<Keys>,
        carrier: LinkState,
        now: Instant,
    ) -> Self {
        let light = config.owlt_out + config.owlt_in;
        let flow = FlowControl::new(config.flow, config.segment, light);
        let (rate, burst) = flow.pacing().unzip();
        let pacer = Pacer::new(rate, burst.unwrap_or(0));
        let mut peer = Self {
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
            pacer,
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
        peer.retime();
        peer
    }

    /// Changes the configuration.
    pub(super) fn configure(&mut self, config: Peer<A>, keys: Keys) {
        let light = config.owlt_out + config.owlt_in;
        self.flow.configure(config.flow, config.segment, light);
        let (rate, burst) = self.flow.pacing().unzip();
        self.pacer.set_rate(rate, burst.unwrap_or(0));
        self.config = config;
        self.keys = Arc::new(keys);
        self.retime();
    }

    fn retime(&mut self) {
        let config = &self.config;
        let light = config.owlt_out + config.owlt_in;
        let half = config.own_delay / 2;
        let fixed = (half + config.remote_delay, half);
        let learned = self.line.rto_margin(config.rto, light);
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
        self.line.estimate(&self.config.redundancy, self.timeout())
    }

    /// Measures the time of an answer to a signal that was sent first at `first` and last at `latest`. Contacts that
    /// ended in between would spoil the sample.
    pub(super) fn answered(&mut self, now: Instant, first: Instant, latest: Instant, len: usize) {
        if self.contact_start <= first && !self.is_silent() {
            let took = (now - first).saturating_sub(self.pacer.transmission_time(len));
            if self.line.took(took, latest - first) && self.config.rto != RtoPolicy::Fixed {
                self.retime();
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
