//! The engine of one LTP node: its tables, its timers, and how segments are dispatched and sent.

mod peers;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::num::NonZeroUsize;

use smallvec::SmallVec;

use super::api::{Command, Cue, Error, Event, Side, Stats};
use super::auth::Verification;
use super::buffer_pool::BufferPool;
use super::closed::Closed;
use super::config::{Config, ConfigError};
use super::cookies::Cookies;
use super::peer::{Control, LinkState, Origin, PeerState, Role};
use super::receiver::{Import, Prediction};
use super::sender::Export;
use super::services::ClientService;
use super::table::{Keyed, Sessions, Tags};
use super::unknown_peers::UnknownPeerPolicy;
use super::wire::{Body, Reason, Segment, SessionId};
use crate::kit::{Due, TimerId, Timers};
use crate::{Addr, Instant, Link, Machine, Output, Rng, Seed, Transmit};

/// A keep-alive (RFC 7122 section 3.4). By its length alone it could be a CAS.
pub(super) const KEEPALIVE: [u8; 4] = [0; 4];
/// The maximum number of due timers that one poll fires, so that a driver looks at its inputs in between.
const MAX_TIMERS: usize = 256;
/// The maximum number of addresses without a peer whose link state is kept.
const MAX_UNKNOWN_LINKS: usize = 64;

/// The engine of one LTP node, in both roles, with any number of peers.
#[derive(Debug)]
pub struct Engine<A> {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) peers: Vec<Option<Box<PeerState<A>>>>,
    pub(super) by_id: BTreeMap<u64, u32>,
    by_addr: BTreeMap<A, u32>,
    /// Addresses whose link is full or down, of peers or not.
    links: BTreeMap<A, LinkState>,
    pub(super) services: BTreeMap<u64, ClientService>,
    pub(super) exports: Sessions<u64, Export>,
    pub(super) tags: Tags,
    pub(super) imports: Sessions<SessionId, Import>,
    /// The session and the content of the segment expected next.
    pub(super) prediction: Option<Prediction>,
    pub(super) closed: Closed,
    pub(super) cookies: Cookies,
    pub(super) timers: Timers<Key>,
    /// Events to be polled, each with the octets it counts for.
    pub(super) events: VecDeque<(Event, usize)>,
    /// Sessions of streaming services with octets for a piece.
    pub(super) streams: VecDeque<SessionId>,
    pub(super) blocked_peers: VecDeque<u32>,
    pub(super) ready: VecDeque<u32>,
    pub(super) first_pass_done: Vec<u64>,
    /// Session numbers of pings, and the slots of their peers.
    pub(super) pings: BTreeMap<u64, u32>,
    pub(super) unknown_peer_policy: Option<UnknownPeerPolicy<A>>,
    /// Number of peers accepted by the policy for unknown peers.
    pub(super) unknown_peers: u32,
    pub(super) export_octets: usize,
    pub(super) import_octets: usize,
    pub(super) event_octets: usize,
    pub(super) pool: BufferPool,
    /// Octets that wait in services opened on demand. They are part of `event_octets` too.
    pub(super) waiting_octets: usize,
    /// Services with an item and a take for it.
    pub(super) answerable: VecDeque<u64>,
    /// Octets of the longest datagram, by the limits of the last poll.
    pub(super) datagram: usize,
    /// The number of restarts, and whether sessions before one of them may be unknown.
    pub(super) incarnation: u64,
    pub(super) is_forgetful: bool,
    pub(super) stats: Stats,
}

/// The timer of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) slot: u32,
    pub(super) what: TimerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerKind {
    Checkpoint {
        number: u64,
        serial: u64,
    },
    CheckpointCopy {
        number: u64,
        serial: u64,
        left: u8,
    },
    Repair {
        number: u64,
    },
    ExportGuard {
        number: u64,
    },
    ExportCancel {
        number: u64,
    },
    Report {
        session: SessionId,
        serial: u64,
    },
    ReportCopy {
        session: SessionId,
        serial: u64,
        left: u8,
    },
    DelayedReport {
        session: SessionId,
    },
    ImportGuard {
        session: SessionId,
    },
    ImportCancel {
        session: SessionId,
    },
    Ping,
    KeepAlive,
    Pace,
}

impl<A: Addr> Engine<A> {
    /// Makes an engine without peers and services.
    ///
    /// Session and serial numbers are drawn from the seed, and cannot be predicted without it.
    ///
    /// # Errors
    ///
    /// Engine ID 0, or limits that contradict each other.
    #[expect(clippy::needless_pass_by_value, reason = "every machine is made alike")]
    pub fn new(config: Config, seed: Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let hasher = Keyed(seed.child("tables").rng().next_u64());
        Ok(Self {
            closed: Closed::new(hasher, config.engine, config.min_closed, config.max_closed),
            cookies: Cookies::new(hasher),
            rng: seed.rng(),
            now: Instant::ZERO,
            peers: Vec::new(),
            by_id: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            links: BTreeMap::new(),
            services: BTreeMap::new(),
            exports: Sessions::new(hasher, config.max_exports),
            tags: Tags::new(hasher, config.max_exports),
            imports: Sessions::new(hasher, config.max_imports),
            prediction: None,
            timers: Timers::new(),
            events: VecDeque::new(),
            streams: VecDeque::new(),
            blocked_peers: VecDeque::new(),
            ready: VecDeque::new(),
            first_pass_done: Vec::new(),
            pings: BTreeMap::new(),
            unknown_peer_policy: None,
            unknown_peers: 0,
            export_octets: 0,
            import_octets: 0,
            event_octets: 0,
            pool: BufferPool::default(),
            waiting_octets: 0,
            answerable: VecDeque::new(),
            datagram: usize::MAX,
            incarnation: 0,
            is_forgetful: false,
            stats: Stats::default(),
            config,
        })
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the number of sessions: of blocks being sent, and of blocks being received.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        (self.exports.len(), self.imports.len())
    }

    /// Tells whether segments wait that only the rate of their peer delays.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.peers.iter().flatten().any(|peer| peer.is_held_back())
    }

    /// Returns the number of timers, running or frozen.
    #[must_use]
    pub const fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Returns the octets held for sessions, and for events that were not taken.
    #[must_use]
    pub const fn octets_held(&self) -> usize {
        self.export_octets + self.import_octets + self.event_octets
    }

    // Removal of peers.

    /// Removes a peer. Its sessions fail at once, and nothing is sent to it.
    ///
    /// # Errors
    ///
    /// Unknown peer.
    pub fn remove_peer(&mut self, now: Instant, id: u64) -> Result<(), Error> {
        self.advance(now);
        let slot = self.by_id.remove(&id).ok_or(Error::UnknownPeer(id))?;
        self.end_ping(slot);
        if let Some(peer) = self.peer_mut(slot) {
            peer.control.clear();
            peer.repairs.clear();
            peer.fresh.clear();
            peer.spare.clear();
        }
        let mut numbers: Vec<u64> = self
            .exports
            .iter()
            .filter(|(_, export)| export.slot == slot)
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            self.fail(number, Side::Local, Reason::SYSTEM);
            self.close_export(number);
        }
        for session in self.imports_where(|import| import.slot == slot) {
            self.stop_import(session, Side::Local, Reason::SYSTEM);
            self.close_import(session);
        }
        self.release_pacing(slot);
        let leaving = self.peer_mut(slot).map(|peer| {
            let was_unknown = core::mem::take(&mut peer.origin) == Origin::Accepted;
            (peer.keepalive.take(), was_unknown)
        });
        if let Some((keepalive, was_unknown)) = leaving {
            self.stop(keepalive);
            self.unknown_peers -= u32::from(was_unknown);
        }
        self.closed.forget(slot);
        self.ready.retain(|other| *other != slot);
        self.blocked_peers.retain(|other| *other != slot);
        if let Some(address) = self.peer(slot).map(|peer| peer.config.address) {
            self.by_addr.remove(&address);
        }
        if let Some(place) = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.peers.get_mut(slot))
        {
            *place = None;
        }
        Ok(())
    }

    /// Returns the sessions being received for which `is_meant` holds, in ascending order.
    pub(super) fn imports_where(&self, is_meant: impl Fn(&Import) -> bool) -> Vec<SessionId> {
        let mut sessions: Vec<SessionId> = self
            .imports
            .iter()
            .filter(|(_, import)| is_meant(import))
            .map(|(session, _)| *session)
            .collect();
        sessions.sort_unstable();
        sessions
    }

    // Contacts.

    /// Reports a link state cue for one direction of a contact.
    ///
    /// # Errors
    ///
    /// Unknown peer.
    pub fn contact(&mut self, now: Instant, peer: u64, cue: Cue) -> Result<(), Error> {
        self.advance(now);
        let slot = *self.by_id.get(&peer).ok_or(Error::UnknownPeer(peer))?;
        self.cue(slot, |peer| match cue {
            Cue::MayTransmit => peer.must_stop = false,
            Cue::MustStop => peer.must_stop = true,
            Cue::PeerTransmits => peer.peer_stopped = false,
            Cue::PeerStopped => peer.peer_stopped = true,
            Cue::EndsAt(at) => peer.ends = Some(at),
        });
        Ok(())
    }

    /// Changes the state of a contact, and freezes or thaws the timers of the peer when it falls silent or speaks.
    fn cue(&mut self, slot: u32, change: impl FnOnce(&mut PeerState<A>)) {
        let now = self.now;
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        let was_silent = peer.is_silent();
        change(peer);
        let is_silent = peer.is_silent();
        if was_silent && !is_silent {
            peer.contact_start = now;
        }
        match (was_silent, is_silent) {
            (false, true) => self.timers.freeze(slot, now),
            (true, false) => self.timers.thaw(slot, now),
            (false, false) | (true, true) => {}
        }
        self.mark_ready(slot);
    }

    fn set_link(&mut self, at: A, change: impl FnOnce(&mut LinkState)) {
        let mut carrier = self.links.get(&at).copied().unwrap_or_default();
        change(&mut carrier);
        // The state of a carrier applies to all addresses on it, which follow it in order.
        let over = |address: &A| *address == at || address.carrier() == at;
        let concerned = self.by_addr.range(at..);
        let concerned = concerned.take_while(|(address, _)| over(address));
        let slots: SmallVec<[u32; 4]> = concerned.map(|(_, slot)| *slot).collect();
        if carrier == LinkState::default() {
            self.links.remove(&at);
        } else if !slots.is_empty() || self.links.len() < self.by_id.len() + MAX_UNKNOWN_LINKS {
            self.links.insert(at, carrier);
        }
        for slot in slots {
            let address = self.peer(slot).map(|peer| peer.config.address);
            let carrier = address.map(|address| self.link_state(address));
            self.cue(slot, |peer| peer.carrier = carrier.unwrap_or_default());
        }
    }

    /// Returns the link state of an address, combined with that of its carrier.
    pub(super) fn link_state(&self, at: A) -> LinkState {
        let said = |at: A| self.links.get(&at).copied().unwrap_or_default();
        let (own, carrier) = (said(at), said(at.carrier()));
        LinkState {
            is_full: own.is_full || carrier.is_full,
            is_down: own.is_down || carrier.is_down,
        }
    }

    /// Returns the bytes of the trees of peers, addresses and links.
    pub(super) fn trees(&self) -> usize {
        let entries = self.by_id.len() + self.by_addr.len() + self.links.len() + self.pings.len();
        entries * (size_of::<(A, LinkState)>() + size_of::<(u64, u32)>() + 64)
    }

    // Shared by all parts.

    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn peer(&self, slot: u32) -> Option<&PeerState<A>> {
        self.peers.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    pub(super) fn peer_mut(&mut self, slot: u32) -> Option<&mut PeerState<A>> {
        self.peers
            .get_mut(usize::try_from(slot).ok()?)?
            .as_deref_mut()
    }

    /// Queues a peer for sending.
    pub(super) fn mark_ready(&mut self, slot: u32) {
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        if !peer.is_ready && peer.may_send() && peer.has_work() {
            peer.is_ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Queues a control segment. False if the queue is full: the timer of this engine or of the peer repeats it.
    pub(super) fn queue(&mut self, slot: u32, control: Control) -> bool {
        let limit = usize::try_from(self.config.max_control).unwrap_or(usize::MAX);
        let Some(peer) = self.peer_mut(slot) else {
            return false;
        };
        if !peer.can_send() {
            // Receive-only: nothing is sent to such a peer.
            return true;
        }
        if peer.control.len() >= limit {
            self.stats.no_room += 1;
            return false;
        }
        peer.control.push_back(control);
        self.mark_ready(slot);
        true
    }

    /// Starts a timer that is frozen while the peer is silent.
    pub(super) fn set(&mut self, slot: u32, due: Due, what: TimerKind) -> Option<TimerId> {
        let is_frozen = self.peer(slot).is_some_and(PeerState::is_silent);
        start(&mut self.timers, due, Key { slot, what }, is_frozen)
    }

    /// Starts a timer that is never frozen.
    pub(super) fn set_local(&mut self, slot: u32, at: Instant, what: TimerKind) -> Option<TimerId> {
        self.timers.set(Due::local(at), slot, Key { slot, what })
    }

    pub(super) fn stop(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.timers.stop(timer);
        }
    }

    pub(super) fn push_event(&mut self, event: Event, octets: usize) {
        self.event_octets += octets;
        self.events.push_back((event, octets));
        self.shrink_pool();
    }

    pub(super) fn has_event_room(&self) -> bool {
        u32::try_from(self.events.len()).is_ok_and(|len| len < self.config.max_events)
    }

    // Input.

    fn read_datagram(&mut self, from: A, octets: &[u8]) {
        if octets == KEEPALIVE {
            self.stats.keepalives += 1;
            return;
        }
        self.stats.segments_received += 1;
        // The decoded segment is large, so it is matched in place.
        let decoded = Segment::decode_first(octets);
        match &decoded {
            Ok((segment, used)) => match octets.split_at_checked(*used) {
                Some((octets, behind)) if segment.may_precede(behind) => {
                    self.read_segment(from, octets, segment);
                }
                _ => self.stats.malformed += 1,
            },
            Err(_) => self.stats.malformed += 1,
        }
    }

    fn read_segment(&mut self, from: A, octets: &[u8], segment: &Segment<'_>) {
        let known = self.peer_of(from, segment);
        let keys = match known {
            Some(slot) => self.peer(slot).map(|peer| &peer.keys),
            None => self.keys_of_unknown(segment),
        };
        let Some(keys) = keys else {
            self.stats.unknown_peer += 1;
            return;
        };
        let name = match keys.verify(octets, segment, || self.key_hash(segment)) {
            Verification::Valid(name) => name,
            Verification::UnknownKey => {
                self.stats.unknown_key += 1;
                return;
            }
            Verification::Invalid => {
                self.stats.unauthentic += 1;
                return;
            }
        };
        // The peer is added only behind verification, or a forged segment could cost another peer its place.
        let Some(slot) = known.or_else(|| self.accept_unknown(from, segment)) else {
            self.stats.unknown_peer += 1;
            return;
        };
        self.dispatch(slot, segment);
        self.remember_key(segment, name);
        let role = segment.body.receiving_role();
        self.keep_cookies(role, segment.session, &segment.header);
    }

    /// Finds the peer that sent a segment. A segment from a receiver of blocks does not name it: the session tells,
    /// or the source address.
    fn peer_of(&mut self, from: A, segment: &Segment<'_>) -> Option<u32> {
        let session = segment.session;
        match segment.body {
            Body::Data(_)
            | Body::ReportAck(_)
            | Body::CancelBySender(_)
            | Body::CancelAckToReceiver => self.by_id.get(&session.originator).copied(),
            Body::Report(_) | Body::CancelAckToSender | Body::CancelByReceiver(_) => {
                if session.originator != self.config.engine {
                    return None;
                }
                let known = self.exports.get_mut(&session.number);
                let known = known.map(|export| export.slot);
                known
                    .or_else(|| self.pings.get(&session.number).copied())
                    .or_else(|| self.closed.get((Role::Sender, session)).map(|old| old.slot))
                    .or_else(|| self.by_addr.get(&from).copied())
            }
        }
    }

    fn dispatch(&mut self, slot: u32, segment: &Segment<'_>) {
        let session = segment.session;
        match segment.body {
            Body::Data(data) => self.on_data(slot, session, &data),
            Body::Report(report) => self.on_report(slot, session, &report),
            Body::ReportAck(serial) => self.on_report_ack(slot, session, serial),
            Body::CancelBySender(reason) => self.on_cancel_by_sender(slot, session, reason),
            Body::CancelAckToSender => self.on_cancel_ack_to_sender(session),
            Body::CancelByReceiver(reason) => self.on_cancel_by_receiver(slot, session, reason),
            Body::CancelAckToReceiver => self.on_cancel_ack_to_receiver(session),
        }
    }

    // Timers.

    #[inline]
    fn is_due(&self) -> bool {
        self.timers.next().is_some_and(|next| next <= self.now)
    }

    /// Fires due timers, at most as many as one poll may.
    #[inline(never)]
    fn fire_due(&mut self) {
        for _ in 0..MAX_TIMERS {
            let Some(key) = self.timers.pop(self.now) else {
                return;
            };
            match key.what {
                TimerKind::Checkpoint { number, serial } => self.checkpoint_expired(number, serial),
                TimerKind::CheckpointCopy {
                    number,
                    serial,
                    left,
                } => self.copy_checkpoint_now(number, serial, left),
                TimerKind::Repair { number } => self.repair_due(number),
                TimerKind::ExportGuard { number } => self.export_guard_expired(number),
                TimerKind::ExportCancel { number } => self.export_cancel_expired(number),
                TimerKind::Report { session, serial } => self.report_expired(session, serial),
                TimerKind::ReportCopy {
                    session,
                    serial,
                    left,
                } => self.copy_report_now(key.slot, session, serial, left),
                TimerKind::DelayedReport { session } => self.delayed_report_due(session),
                TimerKind::ImportGuard { session } => self.import_guard_expired(session),
                TimerKind::ImportCancel { session } => self.import_cancel_expired(session),
                TimerKind::Ping => self.ping_expired(key.slot),
                TimerKind::KeepAlive => self.keepalive_due(key.slot),
                TimerKind::Pace => self.pace_expired(key.slot),
            }
        }
    }

    fn pace_expired(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.pace = None;
        }
        self.mark_ready(slot);
    }

    // Output.

    #[inline]
    fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() && self.answerable.is_empty() && self.streams.is_empty() {
            None
        } else {
            self.take_event()
        }
    }

    #[inline(never)]
    fn take_event(&mut self) -> Option<Event> {
        if let Some((event, octets)) = self.events.pop_front() {
            self.event_octets -= octets;
            if let Event::Failed { data, .. } = &event {
                self.export_octets -= data.len();
            }
            self.unblock_peers();
            return Some(event);
        }
        if let Some(event) = self.next_taken() {
            self.unblock_peers();
            return Some(event);
        }
        self.next_piece()
    }

    /// Writes a batch for the next ready peer. Peers take turns, so that none waits for another's backlog.
    fn send(&mut self, tx: &mut Transmit<A>) -> bool {
        while let Some(slot) = self.ready.pop_front() {
            if let Some(peer) = self.peer_mut(slot) {
                peer.is_ready = false;
            }
            self.fill(slot, tx);
            self.mark_ready(slot);
            if !self.first_pass_done.is_empty() {
                self.after_first_passes();
            }
            if !tx.is_empty() {
                let now = self.now;
                if let Some(peer) = self.peer_mut(slot) {
                    peer.last_sent = now;
                }
                return true;
            }
        }
        false
    }
}

/// Starts a timer, frozen if the peer is silent.
pub(super) fn start(
    timers: &mut Timers<Key>,
    due: Due,
    key: Key,
    is_frozen: bool,
) -> Option<TimerId> {
    if is_frozen {
        timers.set_frozen(due, key.slot, key)
    } else {
        timers.set(due, key.slot, key)
    }
}

impl<A: Addr> Machine for Engine<A> {
    type Addr = A;
    type Command = Command<A>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        self.advance(now);
        if self.receive_predicted(octets, octets.len()) == 0 {
            self.read_datagram(from, octets);
        }
    }

    fn receive_batch(&mut self, now: Instant, from: A, octets: &[u8], size: NonZeroUsize) {
        if octets.is_empty() {
            self.receive(now, from, octets);
        }
        self.advance(now);
        let mut rest = octets;
        while !rest.is_empty() {
            let taken = self.receive_predicted(rest, size.get());
            rest = rest.get(taken..).unwrap_or_default();
            // The datagram that was not as predicted.
            let (datagram, behind) = rest.split_at(size.get().min(rest.len()));
            if !datagram.is_empty() {
                self.read_datagram(from, datagram);
            }
            rest = behind;
        }
    }

    fn link(&mut self, now: Instant, at: A, state: Link) {
        self.advance(now);
        match state {
            Link::Up | Link::Opened(_) => self.set_link(at, |carrier| {
                // A path that comes up again starts without a backlog.
                if carrier.is_down {
                    *carrier = LinkState::default();
                }
            }),
            Link::Down(_) => self.set_link(at, |carrier| carrier.is_down = true),
            Link::Full => self.set_link(at, |carrier| carrier.is_full = true),
            Link::Free => self.set_link(at, |carrier| carrier.is_full = false),
            Link::Failed(..) | Link::Ended => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command<A>) -> Result<(), Error> {
        match command {
            Command::AddPeer(id, peer) => self.add_peer(now, id, *peer),
            Command::ChangePeer(id, peer) => self.change_peer(now, id, *peer),
            Command::RemovePeer(id) => self.remove_peer(now, id),
            Command::Open(client, service) => self.open(now, client, service),
            Command::OpenOnDemand(client, service) => self.open_on_demand(now, client, service),
            Command::Close(client) => self.close(now, client),
            Command::Send(block) => self.send_block(now, block).map(drop),
            Command::Checkpoint(tag) => self.checkpoint(now, tag),
            Command::Cancel(tag) => self.cancel(now, tag),
            Command::Refuse(session) => self.refuse(now, session),
            Command::Ping(peer) => self.ping(now, peer),
            Command::AcceptUnknownPeers(template, limit) => {
                self.accept_unknown_peers(now, template.map(|template| *template), limit)
            }
            Command::Contact(peer, cue) => self.contact(now, peer, cue),
            Command::Take(client) => self.take(now, client),
            Command::Untake(client) => self.untake(now, client),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<A>) -> Output<A, Event> {
        tx.clear();
        let limits = tx.limits();
        self.datagram = limits.datagram.get().min(limits.octets.get());
        self.advance(now);
        if self.is_due() {
            self.fire_due();
            if self.is_due() {
                return Output::Yield;
            }
        }
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        if !self.ready.is_empty() {
            if self.send(tx) {
                return Output::Transmit;
            }
            // Segments just sent may have ended sessions.
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
        }
        Output::Idle(self.timers.next())
    }
}
