//! What an engine keeps for one peer: its configuration, the state of the contact, and what waits to leave.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::auth::Keys;
use super::config::{Direction, Peer};
use super::line::{Line, LineEstimate};
use super::rto::RtoPolicy;
use super::window::InFlight;
use super::wire::SessionId;
use crate::Instant;
use crate::kit::{Due, Pacer, TimerId};
use crate::sync::Arc;

/// One peer, in a slot of the engine's.
#[derive(Debug)]
pub(super) struct PeerState<A> {
    pub(super) id: u64,
    pub(super) config: Peer<A>,
    pub(super) keys: Arc<Keys>,
    pub(super) carrier: LinkState,
    /// Cue P4: this end must not transmit.
    pub(super) must_stop: bool,
    /// Cue P5: the peer does not transmit.
    pub(super) peer_stopped: bool,
    /// When the peer last began to transmit.
    pub(super) contact_start: Instant,
    /// Segments of control, ahead of all else.
    pub(super) control: VecDeque<Control>,
    /// Sessions with data or checkpoints to repeat, ahead of first passes (against RFC 5325 section 3.2:
    /// a repair behind a long first pass costs round trips).
    pub(super) repairs: VecDeque<u64>,
    /// Sessions on their first pass.
    pub(super) fresh: VecDeque<u64>,
    pub(super) in_flight: InFlight,
    pub(super) is_ready: bool,
    pub(super) pacer: Pacer,
    pub(super) pace: Option<TimerId>,
    pub(super) exports: u32,
    pub(super) imports: u32,
    pub(super) import_octets: usize,
    /// Octets of the block that was refused for lack of room.
    pub(super) blocked_peers: Option<usize>,
    /// What was learned of the line.
    pub(super) line: Line,
    /// Sessions with segments to duplicate while nothing else waits.
    pub(super) spare: VecDeque<u64>,
    /// When something last left.
    pub(super) last_sent: Instant,
    pub(super) keepalive: Option<TimerId>,
    pub(super) ping: Option<Ping>,
    /// When transmission is known to have to stop.
    pub(super) ends: Option<Instant>,
    pub(super) origin: Origin,
    times: Times,
}

/// What follows from the configuration and from what was learned, and is asked for with every signal.
#[derive(Debug, Default)]
struct Times {
    /// From the end of a segment that leaves until the peer answers it, and from there on.
    nominal: Duration,
    behind: Duration,
    patience: Duration,
}

/// How a peer got to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    #[default]
    Added,
    /// It came by itself.
    Accepted,
}

/// A cancellation of a session that never was: its acknowledgment tells that the peer is there.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) number: u64,
    pub(super) tries: u8,
    /// When the first one left.
    pub(super) first: Instant,
    /// When the latest one left.
    pub(super) latest: Instant,
    pub(super) timer: Option<TimerId>,
}

/// What the driver said about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LinkState {
    pub(super) is_full: bool,
    pub(super) is_down: bool,
}

/// A segment of control that waits.
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
    /// Further copies of a report that has just left.
    ReportCopy {
        session: SessionId,
        serial: u64,
        left: u8,
    },
    /// The last word on a session that was closed after delivery: all was received.
    Final {
        session: SessionId,
        serial: u64,
        checkpoint: u64,
        red: u64,
    },
    /// See [`Ping`].
    Ping,
    /// Four zeros (RFC 7122 section 3.4).
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

/// The part an engine plays in a session.
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
        let pacer = Pacer::new(config.rate, config.burst);
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

    /// Changes what is known of the peer.
    pub(super) fn configure(&mut self, config: Peer<A>, keys: Keys) {
        self.pacer.set_rate(config.rate, config.burst);
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
        self.times.nominal = config.owlt_out + before;
        self.times.behind = config.owlt_in + behind;
        self.times.patience = config.round_trip().max(self.timeout()) * tries;
    }

    pub(super) const fn may_send(&self) -> bool {
        !self.carrier.is_full
            && !self.carrier.is_down
            && !self.must_stop
            && self.pace.is_none()
            && self.can_send()
    }

    /// Whether there is a way to the peer at all.
    pub(super) const fn can_send(&self) -> bool {
        !matches!(self.config.direction, Direction::ReceiveOnly)
    }

    /// Whether timers that wait for the peer stand still.
    pub(super) const fn is_silent(&self) -> bool {
        self.carrier.is_down || self.peer_stopped
    }

    /// Whether nothing but the rate keeps work from leaving.
    pub(super) fn is_held_back(&self) -> bool {
        let is_stopped = self.carrier.is_full || self.carrier.is_down || self.must_stop;
        self.has_work() && !is_stopped
    }

    /// The session whose first pass goes on next, unless all wait.
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

    /// When the answer to a segment of `len` octets that leaves at `now` is due.
    pub(super) fn answer(&self, now: Instant, len: usize) -> Due {
        let expected = now + self.pacer.transmission_time(len) + self.times.nominal;
        Due {
            deadline: expected + self.times.behind,
            expected,
        }
    }

    /// How long an answer may take, margins included.
    pub(super) fn timeout(&self) -> Duration {
        self.times.nominal + self.times.behind
    }

    /// How many copies a signal gets.
    pub(super) fn copies(&self) -> u8 {
        self.line.copies(&self.config.redundancy)
    }

    /// What was learned of the line.
    pub(super) fn estimate(&self) -> LineEstimate {
        self.line.estimate(&self.config.redundancy, self.timeout())
    }

    /// A signal that left at `first`, and the last time at `latest`, was answered. Contacts in between would
    /// spoil the sample.
    pub(super) fn answered(&mut self, now: Instant, first: Instant, latest: Instant, len: usize) {
        if self.contact_start <= first && !self.is_silent() {
            let took = (now - first).saturating_sub(self.pacer.transmission_time(len));
            if self.line.took(took, latest - first) && self.config.rto != RtoPolicy::Fixed {
                self.retime();
            }
        }
    }

    /// Whether no further segment but one leaves before the contact ends, as far as the rate tells.
    pub(super) fn is_last_of_contact(&self, now: Instant) -> bool {
        let two = self.config.segment.saturating_mul(2);
        let two = self.pacer.transmission_time(two);
        self.ends
            .is_some_and(|ends| now < ends && self.pacer.tx_clock(now) + two > ends)
    }

    /// How long a session may be without a segment: as long as a peer takes to use up its retries.
    pub(super) const fn patience(&self) -> Duration {
        self.times.patience
    }

    /// How long closed sessions are remembered at least (twice the retries of the peer, which are supposed to
    /// be ours).
    pub(super) fn memory(&self) -> Duration {
        self.patience() * 2
    }

    /// Bytes of memory held, the export and import tables not counted.
    pub(super) fn memory_used(&self) -> usize {
        size_of::<Self>()
            + self.keys.memory_used()
            + self.control.capacity() * size_of::<Control>()
            + self.line.memory_used()
            + (self.repairs.capacity() + self.fresh.capacity() + self.spare.capacity())
                * size_of::<u64>()
    }
}
