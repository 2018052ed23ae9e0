//! The engine of one LTP node: it finds the peer and the session of each input, and lets them handle it.

#[cfg(test)]
mod tests;

use core::num::NonZeroUsize;

use super::api::{Command, Error, Event, Stats, Usage};
use super::auth::{self, Verification};
use super::beyond::{Hello, Newcomer};
use super::config::{Config, ConfigError};
use super::context::{Core, Node, TimerKind};
use super::export::Exports;
use super::import::{Imports, Reception, SESSION};
use super::output::KEEPALIVE;
use super::peer::{Control, LinkState, Origin, PeerState, Role};
use super::peers::{Addresses, Peers};
use super::table::Keyed;
use super::wire::{Body, Report, Segment};
use crate::{Addr, Instant, Link, Machine, Output, Seed, Transmit};

/// The maximum number of due timers that one poll fires, and of segments that it looks at, so that a driver looks at its
/// inputs in between.
pub(super) const MAX_STEPS: usize = 256;

/// The engine of one LTP node, in both roles, with any number of peers.
#[derive(Debug)]
pub struct Engine<A> {
    pub(super) core: Core,
    pub(super) addresses: Addresses<A>,
    pub(super) exports: Exports,
    pub(super) imports: Imports,
}

impl<A: Addr> Engine<A> {
    /// Makes an engine without peers and services.
    ///
    /// Session and serial numbers are drawn from the seed, and cannot be predicted without it.
    ///
    /// # Errors
    ///
    /// Engine ID 0.
    #[expect(clippy::needless_pass_by_value, reason = "every machine is made alike")]
    pub fn new(config: Config, seed: Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let hasher = Keyed(seed.child("tables").rng().next_u64());
        Ok(Self {
            core: Core {
                node: Node::new(config, &seed, hasher),
                peers: Peers::default(),
            },
            addresses: Addresses::new(),
            exports: Exports::new(hasher),
            imports: Imports::new(hasher),
        })
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.core.node.stats
    }

    /// Returns what the engine holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let node = &self.core.node;
        Usage {
            sessions: (self.exports.table.len(), self.imports.table.len()),
            timers: node.timers.len(),
            octets_held: node.budget.held(),
            octets_waiting: node.budget.waiting,
        }
    }

    /// Tells whether segments wait that only the rate of their peer delays.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.core.peers.iter().any(PeerState::is_held_back)
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.core.node.now = self.core.node.now.max(now);
    }

    // Input.

    #[inline(never)]
    fn read_datagram(&mut self, from: A, octets: &[u8]) {
        let stats = &mut self.core.node.stats;
        if octets == KEEPALIVE {
            stats.keepalives += 1;
            return;
        }
        stats.segments_received += 1;
        // The decoded segment is large, so it is matched in place.
        if let Ok((segment, used)) = &Segment::decode_first(octets)
            && let Some((octets, behind)) = octets.split_at_checked(*used)
            && segment.may_precede(behind)
        {
            self.read_segment(from, octets, segment);
        } else {
            stats.malformed += 1;
        }
    }

    fn read_segment(&mut self, from: A, octets: &[u8], segment: &Segment<'_>) {
        let (session, body) = (segment.session, &segment.body);
        let name = (body.receiving_role(), session);
        let Self {
            core,
            addresses,
            exports,
            imports,
        } = self;
        let open = match name.0 {
            Role::Receiver => imports.table.locate(&session),
            Role::Sender if session.originator != core.node.config.engine => None,
            Role::Sender => exports.table.locate(&session.number),
        };
        let (place, slot) = open.unzip();
        let known = addresses.sender_of((from, session), body, slot, core);
        let keys = match known {
            Some(slot) => core.peers.get(slot).map(|peer| &peer.keys),
            None => addresses.keys_of_unknown(segment, core),
        };
        let Some(keys) = keys else {
            core.node.stats.unknown_peer += 1;
            return;
        };
        let is_home = known.and_then(|slot| addresses.of(slot)) == Some(from);
        let mut has_moved = false;
        if let Some(slot) = known.filter(|_| !is_home) {
            let is_admitted = addresses.admits(slot, from, core);
            has_moved = core.may_move(slot, body, is_admitted);
            if !is_admitted && !has_moved {
                core.node.stats.unknown_peer += 1;
                return;
            }
        }
        let node = &core.node;
        let key_hash = || auth::key_hash(name, exports, imports, (&node.closed, node.now));
        let key = match keys.verify(octets, segment, key_hash) {
            Verification::Valid(key) => key,
            Verification::UnknownKey => {
                core.node.stats.unknown_key += 1;
                return;
            }
            Verification::Invalid => {
                core.node.stats.unauthentic += 1;
                return;
            }
        };
        // The peer is added only behind verification, or a forged segment could cost another peer its place.
        let Some(slot) = known.or_else(|| self.accept_unknown(from, segment)) else {
            self.core.node.stats.unknown_peer += 1;
            return;
        };
        if has_moved {
            self.addresses.follow(slot, from, &mut self.core);
        }
        self.addresses.accepted_from = Some(from);
        if let Some(peer) = self.core.peers.get_mut(slot) {
            peer.is_home = is_home || has_moved || known.is_none();
            peer.on_heard(&mut self.core.node);
        }
        let place = self.admit((slot, place), from, octets, segment);
        let hello = Hello::find(&segment.header).filter(|_| self.core.node.config.hello);
        // Anybody can write what its own host says.
        let own = self.addresses.of(slot);
        let is_own_host = || own.is_some_and(|own| from.same_host(own));
        let hello = hello.filter(|_| is_own_host());
        if let Some(hello) = hello {
            self.core.greeted(slot, hello);
        }
        match segment.body {
            // It cites nothing that only the peer has seen, so its claims are not used.
            Body::Report(Report {
                serial,
                checkpoint: 0,
                ..
            }) if !is_own_host() && key.is_none() => {
                self.core.node.stats.unknown_checkpoint += 1;
                self.core
                    .queue(slot, Control::ReportAck { session, serial });
            }
            _ => self.dispatch((slot, place), segment),
        }
        if hello.is_some() && matches!(segment.body, Body::Data(_)) {
            self.imports.with(session, &mut self.core, |import, cx| {
                import.receive(cx, Reception::answer_hello)
            });
        }
        let (exports, imports) = (&mut self.exports, &mut self.imports);
        let node = &mut self.core.node;
        if let Some(key) = key {
            let closed = (&mut node.closed, node.now);
            auth::remember_key(name, key, (exports, imports), closed);
        }
        node.keep_cookies(name, &segment.header, || match name.0 {
            Role::Sender => exports.table.contains(&session.number),
            Role::Receiver => imports.table.contains(&session),
        });
    }

    /// Counts a segment of an accepted peer, and makes room for it: the host that holds most gives way. Returns the place
    /// of its session.
    fn admit(
        &mut self,
        (slot, place): (u32, Option<u32>),
        from: A,
        octets: &[u8],
        segment: &Segment<'_>,
    ) -> Option<u32> {
        let peer = self.core.peers.get(slot)?;
        if peer.origin == Origin::Added {
            return place;
        }
        let account = peer.account;
        self.addresses
            .hear(slot, from, octets.len(), &mut self.core);
        if !matches!(segment.body, Body::Data(_)) {
            if let (Body::ReportAck(_), None) = (&segment.body, place) {
                self.core.node.strangers.cite_wrong(account);
            }
            return place;
        }
        // Room for the segment, a session, and the buffer to double.
        let needed = 2 * octets.len() + 2 * SESSION;
        let is_full = |engine: &Self| {
            let limit = engine.core.node.config.limits.imports;
            let is_over = u32::try_from(engine.imports.table.len()).is_ok_and(|len| len >= limit);
            engine.core.node.budget.free_for_strangers() < needed || (place.is_none() && is_over)
        };
        let newcomer = Newcomer::Segment {
            slot,
            octets: needed,
            limit: self.core.node.config.limits.stranger_octets,
        };
        while is_full(self) && self.make_way(newcomer) {
            self.core.node.stats.no_room += 1;
        }
        // The oldest session of a stranger gives way to its newest.
        let peer = self.core.peers.get(slot)?;
        let is_over = peer.imports >= peer.config.limits.imports && place.is_none();
        if is_over
            && peer.unproved(&self.core.node).is_some()
            && let Some(oldest) = self.imports.table.oldest_of(slot)
        {
            self.imports.drop_at(oldest, &mut self.core);
            self.core.node.stats.no_room += 1;
        }
        place
    }

    /// Lets the session at a place handle a segment, or does what is to be done without a session.
    fn dispatch(&mut self, (slot, place): (u32, Option<u32>), segment: &Segment<'_>) {
        let (core, exports, imports) = (&mut self.core, &mut self.exports, &mut self.imports);
        let session = segment.session;
        match (&segment.body, place) {
            (Body::Data(data), Some(place)) => {
                if imports.run(place, core, |import, cx| import.on_data(data, cx)) {
                    core.node.closed.remove((Role::Receiver, session));
                    imports.start(data, (slot, session), core);
                }
            }
            (Body::Data(data), None) => imports.start(data, (slot, session), core),
            (Body::Report(report), Some(place)) => {
                exports.run(place, core, |export, cx| export.on_report(report, cx));
            }
            (Body::Report(report), None) => {
                let serial = report.serial;
                core.queue(slot, Control::ReportAck { session, serial });
            }
            (Body::ReportAck(serial), place) => {
                if let Some(peer) = core.peers.get_mut(slot) {
                    peer.line.report_acknowledged(session, *serial);
                }
                if let Some(place) = place {
                    imports.run(place, core, |import, cx| {
                        import.receive(cx, |reception, cx| Ok(reception.on_report_ack(*serial, cx)))
                    });
                }
            }
            (Body::CancelBySender(reason), place) => {
                let to = Role::Sender;
                core.queue(slot, Control::CancelAck { session, to });
                if let Some(place) = place {
                    imports.run(place, core, |import, cx| import.on_cancel(*reason, cx));
                }
            }
            (Body::CancelByReceiver(reason), place) => {
                let to = Role::Receiver;
                core.queue(slot, Control::CancelAck { session, to });
                if let Some(place) = place {
                    exports.run(place, core, |export, cx| export.on_cancel(*reason, cx));
                }
            }
            (Body::CancelAckToReceiver, Some(place)) => {
                imports.run(place, core, |import, _| import.stage.on_cancel_ack());
            }
            (Body::CancelAckToSender, Some(place)) => {
                exports.run(place, core, |export, _| export.stage.on_cancel_ack());
            }
            (Body::CancelAckToSender, None) => core.on_ping_answered(session.number),
            (Body::CancelAckToReceiver, None) => {}
        }
    }

    // Timers.

    /// Fires due timers, at most as many as one poll may. False if some are left.
    #[inline(never)]
    fn fire_due(&mut self) -> bool {
        let (core, exports, imports) = (&mut self.core, &mut self.exports, &mut self.imports);
        for _ in 0..MAX_STEPS {
            let Some(key) = core.node.timers.pop(core.node.now) else {
                return true;
            };
            let left = |what| match what {
                TimerKind::Export(session, timer) => {
                    exports.table.get(&session.number)?.awaits(timer)
                }
                TimerKind::Import(session, timer) => imports.table.get(&session)?.awaits(timer),
                _ => None,
            };
            let Some((what, late)) = core.due(key, left) else {
                continue;
            };
            match what {
                TimerKind::Export(session, timer) => {
                    exports.with(session.number, core, |export, cx| {
                        cx.late = late;
                        export.on_timer(timer, cx)
                    });
                }
                TimerKind::Import(session, timer) => {
                    imports.with(session, core, |import, cx| {
                        cx.late = late;
                        import.on_timer(timer, cx)
                    });
                }
                TimerKind::Silence | TimerKind::Resume => {}
                TimerKind::Ping => core.ping_expired(key.slot),
                TimerKind::KeepAlive => {
                    if let Some(peer) = core.peers.get_mut(key.slot) {
                        peer.keepalive_due(&mut core.node);
                    }
                }
                TimerKind::Pace => {
                    if let Some(peer) = core.peers.get_mut(key.slot) {
                        peer.pace = None;
                        peer.mark_ready(&mut core.node);
                    }
                }
            }
        }
        !core.node.is_due()
    }

    // Output.

    #[inline(never)]
    fn take_event(&mut self) -> Option<Event> {
        let Self { core, imports, .. } = self;
        let node = &mut core.node;
        if let Some((event, octets)) = node.events.pop_front() {
            node.budget.events -= octets;
            if let Event::Failed { data, .. } = &event {
                node.budget.exports -= data.len();
            }
            self.exports.unblock(core);
            return Some(event);
        }
        let event = node.next_taken(imports);
        let event = event.or_else(|| core.node.services.next_item(None, imports))?;
        if let Event::Received { session, .. } | Event::Segment { session, .. } = &event {
            imports.with(*session, core, |import, cx| {
                import.receive(cx, |reception, cx| Ok(reception.on_given(cx)))
            });
        }
        self.exports.unblock(core);
        Some(event)
    }
}

impl Node {
    #[inline]
    fn is_due(&self) -> bool {
        self.timers.next().is_some_and(|next| next <= self.now)
    }

    #[inline]
    fn has_event(&self) -> bool {
        !self.events.is_empty() || self.services.is_pending()
    }
}

impl<A: Addr> Machine for Engine<A> {
    type Addr = A;
    type Command = Command<A>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        if let Some(size) = NonZeroUsize::new(octets.len()) {
            self.receive_batch(now, from, octets, size);
        } else {
            self.advance(now);
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
            let mut taken = 0;
            if self.addresses.is_continued_from(from) {
                let (core, size) = (&mut self.core, size.get());
                taken = self.imports.receive_predicted(core, rest, size);
            }
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
        if matches!(state, Link::Failed(..) | Link::Ended) {
            return;
        }
        self.addresses
            .set_link(at, &mut self.core, |carrier| match state {
                // A path that comes up again starts without a backlog.
                Link::Up | Link::Opened(_) if carrier.is_down => *carrier = LinkState::default(),
                Link::Down(_) => carrier.is_down = true,
                Link::Full => carrier.is_full = true,
                Link::Free => carrier.is_full = false,
                Link::Up | Link::Opened(_) | Link::Failed(..) | Link::Ended => {}
            });
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
            Command::Stored(session) => self.stored(now, session),
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
        self.core.node.datagram = limits.datagram.get().min(limits.octets.get());
        // Bound: usize has at most 64 bits.
        self.core.node.hello = Hello::from_receive_buffer(limits.receive_buffer as u64);
        self.advance(now);
        if self.core.node.is_due() && !self.fire_due() {
            return Output::Yield;
        }
        if !self.core.node.asked.is_empty() {
            self.ask();
        }
        if self.core.node.has_event()
            && let Some(event) = self.take_event()
        {
            return Output::Event(event);
        }
        if !self.core.node.ready.is_empty() {
            if self.send(tx) {
                return Output::Transmit;
            }
            // Segments just sent may have ended sessions.
            if self.core.node.has_event()
                && let Some(event) = self.take_event()
            {
                return Output::Event(event);
            }
            if !self.core.node.ready.is_empty() {
                return Output::Yield;
            }
        }
        Output::Idle(self.core.node.timers.next())
    }
}
