//! What a session works with: the peer, and what all sessions of an engine share.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::api::{Event, Stats};
use super::auth::{Cookies, KeyHash};
use super::beyond::{Accounts, Hello, MAX_UNPROVED, Prediction, STRANGER_SERIALS};
use super::budget::Budget;
use super::closed::{Closed, End, Record};
use super::config::{Config, Direction, Numbers};
use super::end_cause::{EndCause, Limit};
use super::fingerprint::Fingerprint;
use super::peer::{Control, Origin, PeerState, Role};
use super::peers::{Peers, index};
use super::services::Services;
use super::table::Keyed;
use super::wire::{Reason, SessionId};
use crate::kit::{Due, TimerId, Timers};
use crate::{Instant, Rng, Seed};

/// Octets that an event counts for beside its payload.
pub(super) const EVENT_OVERHEAD: usize = size_of::<(Event, usize)>() + 64;
/// First serial numbers are below this (CCSDS 734.1-B-1).
pub(super) const FIRST_SERIALS: u64 = 1 << 14;
/// More serial numbers than one session uses between two snapshots. With 65,535 restarts they stay below 2^32, the
/// limit of ION.
pub(super) const SERIALS: u64 = 1 << 16;

/// What all sessions of an engine share, beside the peers.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) timers: Timers<Key>,
    /// Events to be polled, each with the octets it counts for.
    pub(super) events: VecDeque<(Event, usize)>,
    pub(super) services: Services,
    pub(super) budget: Budget,
    pub(super) closed: Closed,
    pub(super) cookies: Cookies,
    /// The session and the content of the segment expected next.
    pub(super) prediction: Option<Prediction>,
    /// Slots of peers with something to send.
    pub(super) ready: VecDeque<u32>,
    /// Sessions whose last segment was sent in the batch that is being written.
    pub(super) first_pass_done: Vec<u64>,
    /// Slots of peers of which a session asks whether what has left has passed the line.
    pub(super) asked: Vec<u32>,
    /// Octets of the longest datagram, by the limits of the last poll.
    pub(super) datagram: usize,
    /// What this engine says about itself, by the limits of the last poll.
    pub(super) hello: Hello,
    /// The number of restarts, and whether sessions before one of them may be unknown.
    pub(super) incarnation: u64,
    pub(super) is_forgetful: bool,
    pub(super) strangers: Accounts,
    pub(super) stats: Stats,
}

/// Everything that is shared: what all sessions use, and the peers.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) node: Node,
    pub(super) peers: Peers,
}

impl Core {
    /// Takes what a peer says about its engine.
    pub(super) fn greeted(&mut self, slot: u32, hello: Hello) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.flow.on_hello(self.node.now, hello);
            peer.apply_flow();
            peer.release_first_passes(&mut self.node);
        }
    }
}

/// What a session works with while it handles one input.
pub(super) struct Context<'a> {
    pub(super) node: &'a mut Node,
    pub(super) peer: &'a mut PeerState,
    pub(super) session: SessionId,
    /// What the timer that fires stands for.
    pub(super) late: Lateness,
}

/// What is done about an answer that is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lateness {
    /// The signal is repeated, and that counts towards its limit.
    Counts,
    /// The signal asks whether the peer is back, which does not count.
    Probes,
    /// The peer is given up.
    IsFinal,
}

impl Lateness {
    pub(super) const fn of_probe(counts: bool) -> Self {
        if counts { Self::Counts } else { Self::Probes }
    }

    /// Returns the tries used up, of which the last may not count.
    pub(super) const fn tries(self, tries: u16) -> u16 {
        match self {
            Self::Probes if tries > 1 => tries - 1,
            Self::Counts | Self::Probes => tries,
            Self::IsFinal => u16::MAX,
        }
    }
}

/// What becomes of a session after an input.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Continues,
    /// It is closed (RFC 5326 section 6.20), and remembered as it ended.
    Ends(End),
    /// It is closed, and another session begins: its block is sent once more, or what came is of another sender.
    Restarts,
}

/// The timer of a peer or of one of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) slot: u32,
    pub(super) what: TimerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::From)]
pub(super) enum TimerKind {
    Export(SessionId, ExportTimer),
    Import(SessionId, ImportTimer),
    Ping,
    KeepAlive,
    Pace,
    /// The next step in the silence of the peer.
    Silence,
    /// A signal that waited until the peer was heard.
    Resume,
}

impl TimerKind {
    /// Whether the timer waits for an answer of the peer that counts retries.
    pub(super) const fn awaits_answer(self) -> bool {
        matches!(
            self,
            Self::Export(_, ExportTimer::Checkpoint(_) | ExportTimer::Guard)
                | Self::Import(_, ImportTimer::Report(_))
        )
    }
}

/// A timer of a session in which a block is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportTimer {
    Checkpoint(u64),
    CheckpointCopy { serial: u64, left: u8 },
    Repair,
    Guard,
    Cancel,
}

/// A timer of a session in which a block is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportTimer {
    Report(u64),
    ReportCopy {
        serial: u64,
        left: u8,
    },
    DelayedReport,
    Guard,
    Cancel,
    /// The end of a session of a host that has proved nothing.
    Lifetime,
}

/// A cancellation that awaits its acknowledgment, in either role. Snapshots have it without its timer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Cancel {
    pub(super) reason: Reason,
    pub(super) tries: u16,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) timer: Option<TimerId>,
}

impl Cancel {
    pub(super) const fn new(reason: Reason) -> Self {
        Self {
            reason,
            tries: 0,
            timer: None,
        }
    }

    /// Returns the cancellation for a snapshot.
    pub(super) const fn saved(&self) -> Self {
        Self {
            timer: None,
            ..*self
        }
    }

    /// Returns the cancellation that an input causes. A peer that is given up is told once.
    pub(super) fn after(reason: Reason, cx: &Context<'_>) -> Self {
        let mut cancel = Self::new(reason);
        if matches!(cx.late, Lateness::IsFinal) {
            cancel.tries = cx.peer.config.limits.cancel_retries.into();
        }
        cancel
    }

    /// Queues the segment of the side that cancels, unless all tries are used up.
    pub(super) fn send(&mut self, by: Role, cx: &mut Context<'_>) -> Step {
        let config = &cx.peer.config;
        let limit = match (by, config.direction) {
            (_, Direction::Both) | (Role::Receiver, Direction::SendOnly) => {
                Some(config.limits.cancel_retries)
            }
            // Where the peer cannot answer, one CS is sent.
            (Role::Sender, _) => Some(0),
            // Receive-only engines close at once (RFC 5326 section 4.2).
            (Role::Receiver, Direction::ReceiveOnly) => None,
        };
        if limit.is_none_or(|limit| self.tries > limit.into()) {
            return Step::Ends(End::Plain);
        }
        let (session, left) = (cx.session, None);
        if !cx.queue(Control::Cancel { session, by, left }) {
            // Treated as lost on the line: the timer repeats it.
            self.on_sent(by, cx);
        }
        Step::Continues
    }

    /// Starts the timer of the segment, which was sent (RFC 5326 section 6.15).
    pub(super) fn on_sent(&mut self, by: Role, cx: &mut Context<'_>) {
        self.tries = self.tries.saturating_add(1);
        self.timer = match by {
            Role::Sender => cx.await_answer(ExportTimer::Cancel),
            Role::Receiver => cx.await_answer(ImportTimer::Cancel),
        };
    }

    /// Repeats the segment, whose timer expired (RFC 5326 section 6.16).
    pub(super) fn expired(&mut self, by: Role, cx: &mut Context<'_>) -> Step {
        self.timer = None;
        self.send(by, cx)
    }
}

impl Node {
    pub(super) fn new(config: Config, seed: &Seed, hasher: Keyed) -> Self {
        Self {
            closed: Closed::new(hasher, config.limits.closed_sessions),
            cookies: Cookies::new(hasher),
            rng: seed.rng(),
            now: Instant::ZERO,
            timers: Timers::new(),
            events: VecDeque::new(),
            services: Services::default(),
            budget: Budget::new(config.limits.import_octets, config.limits.stranger_octets),
            prediction: None,
            ready: VecDeque::new(),
            first_pass_done: Vec::new(),
            asked: Vec::new(),
            datagram: usize::MAX,
            hello: Hello { window: 0 },
            incarnation: 0,
            is_forgetful: false,
            strangers: Accounts::default(),
            stats: Stats::default(),
            config,
        }
    }

    /// Returns the ID of a session in which this engine sends.
    pub(super) const fn own_session(&self, number: u64) -> SessionId {
        SessionId {
            originator: self.config.engine,
            number,
        }
    }

    /// Draws a session number that no session has and no peer may remember (RFC 5326 sections 3.1 and 9.1).
    pub(super) fn draw_number(&mut self, is_in_use: impl Fn(u64) -> bool) -> u64 {
        loop {
            let number = match self.config.numbers {
                Numbers::Bits32 => 1 + self.rng.below(u64::from(u32::MAX)),
                Numbers::Bits64 => self.rng.next_u64().max(1),
            };
            let name = (Role::Sender, self.own_session(number));
            if !is_in_use(number) && self.closed.get(self.now, name).is_none() {
                return number;
            }
        }
    }

    /// Draws a first serial number from 1 to 16,383 (CCSDS 734.1-B-1) at random (RFC 5326 section 3.2.1).
    ///
    /// An engine that lost sessions starts beyond the numbers it may have used in them, as those sessions may come again.
    pub(super) fn first_serial(&mut self) -> u64 {
        let used = if self.is_forgetful {
            SERIALS * (self.incarnation % SERIALS)
        } else {
            0
        };
        used + 1 + self.rng.below(FIRST_SERIALS - 1)
    }

    pub(super) fn push_event(&mut self, event: Event, octets: usize) {
        self.budget.events += octets;
        self.events.push_back((event, octets));
    }

    pub(super) fn has_event_room(&self) -> bool {
        u32::try_from(self.events.len()).is_ok_and(|len| len < self.config.limits.events)
    }

    pub(super) fn stop(&mut self, timers: impl IntoIterator<Item = TimerId>) {
        timers.into_iter().for_each(|timer| self.timers.stop(timer));
    }

    /// Remembers a session that was closed.
    pub(super) fn remember(
        &mut self,
        peer: &PeerState,
        (role, session): (Role, SessionId),
        end: End,
        key_hash: Option<KeyHash>,
        fingerprint: Option<Fingerprint>,
    ) {
        let record = Record {
            slot: peer.slot,
            until: self.now + peer.remembered_for(),
            key_hash,
            end,
            fingerprint,
        };
        self.closed.insert(self.now, (role, session), record);
    }
}

impl Core {
    /// Returns what a session with the peer in a slot works with.
    #[inline]
    pub(super) fn context(&mut self, slot: u32, session: SessionId) -> Option<Context<'_>> {
        let (node, peer) = (&mut self.node, self.peers.get_mut(slot)?);
        Some(Context {
            node,
            peer,
            session,
            late: Lateness::Counts,
        })
    }

    /// Returns what a timer that is due lets happen, and whether it counts. `None` if that waits. `left` tells when the
    /// signal left whose answer a timer waits for.
    pub(super) fn due(
        &mut self,
        Key { slot, what }: Key,
        left: impl Fn(TimerKind) -> Option<Instant>,
    ) -> Option<(TimerKind, Lateness)> {
        let Self { node, peers } = self;
        match what {
            TimerKind::Silence => peers
                .get_mut(slot)?
                .silence_due(node, |what| left(what).is_some()),
            TimerKind::Resume => peers.get_mut(slot)?.next_waiting(node),
            what if what.awaits_answer() => {
                let late = peers.get_mut(slot)?.on_late(node, what, left(what));
                late.map(|late| (what, late))
            }
            what => Some((what, Lateness::Counts)),
        }
    }

    /// Queues a control segment for the peer in a slot.
    pub(super) fn queue(&mut self, slot: u32, control: Control) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.queue(&mut self.node, control);
        }
    }
}

impl Context<'_> {
    /// Queues a control segment. False if the queue is full: the timer of this engine or of the peer repeats it.
    pub(super) fn queue(&mut self, control: Control) -> bool {
        self.peer.queue(self.node, control)
    }

    pub(super) fn stop(&mut self, timers: impl IntoIterator<Item = TimerId>) {
        self.node.stop(timers);
    }

    /// Returns why a session ends whose signal was not answered as often as a limit allows.
    pub(super) fn unanswered(&self, limit: Limit) -> EndCause {
        if self.late == Lateness::IsFinal {
            return EndCause::PeerSilent(self.peer.given_up_after);
        }
        let config = &self.peer.config;
        match limit {
            Limit::ReportRetries => EndCause::over(limit, config.limits.report_retries),
            _ => EndCause::over(limit, config.limits.checkpoint_retries),
        }
    }

    /// Returns when the last octet of what was written has left.
    pub(super) fn departure(&self) -> Instant {
        self.peer.departure(self.node.now)
    }

    /// Starts the timer of a segment that was written, for its answer.
    pub(super) fn await_answer<T>(&mut self, timer: T) -> Option<TimerId>
    where
        (SessionId, T): Into<TimerKind>,
    {
        self.start(self.peer.answer(self.node.now), timer)
    }

    /// Starts a timer that is frozen while the peer is silent.
    pub(super) fn start<T>(&mut self, due: Due, timer: T) -> Option<TimerId>
    where
        (SessionId, T): Into<TimerKind>,
    {
        let what = (self.session, timer).into();
        self.peer.start(self.node, due, what)
    }

    /// Starts a timer that is never frozen.
    pub(super) fn start_local<T>(&mut self, at: Instant, timer: T) -> Option<TimerId>
    where
        (SessionId, T): Into<TimerKind>,
    {
        let what = (self.session, timer).into();
        self.peer.start_local(self.node, at, what)
    }

    /// Draws the first serial number of the reports of a session (RFC 5326 section 3.2.1).
    ///
    /// A stranger proves by it that it hears, so it comes from 31 bits there.
    pub(super) fn first_serial(&mut self) -> u64 {
        if self.peer.unproved(self.node).is_some() {
            1 + self.node.rng.below(STRANGER_SERIALS - 1)
        } else {
            self.node.first_serial()
        }
    }

    /// Limits the life of a session, if the peer has proved nothing.
    pub(super) fn limit_lifetime(&mut self) -> Option<TimerId> {
        self.peer.unproved(self.node)?;
        self.start_local(self.node.now + MAX_UNPROVED, ImportTimer::Lifetime)
    }

    /// Queues an event of a client service, which counts for `octets`.
    pub(super) fn push_service_event(&mut self, client: u64, event: Event, octets: usize) {
        let service = (client, self.peer.origin);
        self.node.push_service_event(service, event, octets);
    }

    /// Counts a session that held `before` octets and holds `after`.
    pub(super) fn charge(&mut self, before: usize, after: usize) {
        self.node.budget.charge(self.peer, before, after);
        self.weigh();
    }

    /// Notes what an accepted peer holds, each session counted for its share of their table too.
    pub(super) fn weigh(&mut self) {
        let Self { node, peer, .. } = self;
        if peer.origin == Origin::Accepted {
            let limits = &node.config.limits;
            let each = limits.stranger_octets / index(limits.imports.max(1));
            let held = peer.import_octets + each * index(peer.imports);
            node.strangers.peers.weigh(peer.slot, held);
        }
    }

    /// Returns the octets that may yet be allocated for receiving from the peer.
    pub(super) fn free_octets(&self) -> usize {
        self.node.budget.free_for(self.peer)
    }
}
