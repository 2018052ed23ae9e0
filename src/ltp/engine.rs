//! The engine of one LTP node: it finds the peer and the session of each input, and lets them handle it.

use core::num::NonZeroUsize;

use super::api::{Command, Error, Event, Stats};
use super::auth::{self, Verification};
use super::beyond::Hello;
use super::config::{Config, ConfigError};
use super::context::{Node, TimerKind};
use super::export::Exports;
use super::import::Imports;
use super::output::KEEPALIVE;
use super::peer::{Control, LinkState, PeerState, Role};
use super::peers::Peers;
use super::table::Keyed;
use super::wire::{Body, Segment};
use crate::{Addr, Instant, Link, Machine, Output, Seed, Transmit};

/// The maximum number of due timers that one poll fires, so that a driver looks at its inputs in between.
const MAX_TIMERS: usize = 256;

/// The engine of one LTP node, in both roles, with any number of peers.
#[derive(Debug)]
pub struct Engine<A> {
    pub(super) node: Node,
    pub(super) peers: Peers<A>,
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
    /// Engine ID 0, or limits that contradict each other.
    pub fn new(config: Config, seed: Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let hasher = Keyed(seed.child("tables").rng().next_u64());
        Ok(Self {
            node: Node::new(config, seed, hasher),
            peers: Peers::new(),
            exports: Exports::new(hasher),
            imports: Imports::new(hasher),
        })
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.node.stats
    }

    /// Returns the number of sessions: of blocks being sent, and of blocks being received.
    #[must_use]
    pub fn sessions(&self) -> (usize, usize) {
        (self.exports.table.len(), self.imports.table.len())
    }

    /// Tells whether segments wait that only the rate of their peer delays.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.peers.iter().any(PeerState::is_held_back)
    }

    /// Returns the number of timers, running or frozen.
    #[must_use]
    pub const fn timers(&self) -> usize {
        self.node.timers.len()
    }

    /// Returns the octets held for sessions, and for events that were not taken.
    #[must_use]
    pub const fn octets_held(&self) -> usize {
        self.node.budget.held()
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.node.now = self.node.now.max(now);
    }

    // Input.

    fn read_datagram(&mut self, from: A, octets: &[u8]) {
        let stats = &mut self.node.stats;
        if octets == KEEPALIVE {
            stats.keepalives += 1;
            return;
        }
        stats.segments_received += 1;
        // The decoded segment is large, so it is matched in place.
        let decoded = Segment::decode_first(octets);
        match &decoded {
            Ok((segment, used)) => match octets.split_at_checked(*used) {
                Some((octets, behind)) if segment.may_precede(behind) => {
                    self.read_segment(from, octets, segment);
                }
                _ => stats.malformed += 1,
            },
            Err(_) => stats.malformed += 1,
        }
    }

    fn read_segment(&mut self, from: A, octets: &[u8], segment: &Segment<'_>) {
        let Self {
            node,
            peers,
            exports,
            imports,
        } = self;
        let (session, body) = (segment.session, &segment.body);
        let name = (body.receiving_role(), session);
        let (place, slot) = match name.0 {
            Role::Receiver => {
                let place = imports.table.find(&session);
                let open = place.and_then(|place| imports.table.at(place));
                (place, open.map(|(_, import)| import.slot))
            }
            Role::Sender if session.originator != node.config.engine => (None, None),
            Role::Sender => {
                let place = exports.table.find(&session.number);
                let open = place.and_then(|place| exports.table.at(place));
                (place, open.map(|(_, export)| export.slot))
            }
        };
        let known = peers.sender_of((from, session), body, slot, node);
        let keys = match known {
            Some(slot) => peers.get(slot).map(|peer| &peer.keys),
            None => peers.keys_of_unknown(segment, node),
        };
        let Some(keys) = keys else {
            node.stats.unknown_peer += 1;
            return;
        };
        let key_hash = || auth::key_hash(name, exports, imports, &node.closed);
        let key = match keys.verify(octets, segment, key_hash) {
            Verification::Valid(key) => key,
            Verification::UnknownKey => {
                node.stats.unknown_key += 1;
                return;
            }
            Verification::Invalid => {
                node.stats.unauthentic += 1;
                return;
            }
        };
        // The peer is added only behind verification, or a forged segment could cost another peer its place.
        let Some(slot) = known.or_else(|| self.accept_unknown(from, segment)) else {
            self.node.stats.unknown_peer += 1;
            return;
        };
        let hello = Hello::find(&segment.header).filter(|_| self.node.config.hello);
        if let Some(hello) = hello
            && self.peers.greeted((slot, from), hello, &mut self.node)
        {
            self.dispatch((slot, place), segment);
            self.imports
                .answer_hello(session, &mut self.peers, &mut self.node);
        } else {
            self.dispatch((slot, place), segment);
        }
        let (exports, imports) = (&mut self.exports, &mut self.imports);
        if let Some(key) = key {
            auth::remember_key(name, key, (exports, imports), &mut self.node.closed);
        }
        self.node
            .keep_cookies(name, &segment.header, || match name.0 {
                Role::Sender => exports.table.contains(&session.number),
                Role::Receiver => imports.table.contains(&session),
            });
    }

    /// Lets the session at a place handle a segment, or does what is to be done without a session.
    fn dispatch(&mut self, (slot, place): (u32, Option<u32>), segment: &Segment<'_>) {
        let Self {
            node,
            peers,
            exports,
            imports,
        } = self;
        let session = segment.session;
        let control = match &segment.body {
            Body::Data(data) => {
                match place {
                    Some(place) => {
                        imports.run(place, peers, node, |import, cx| import.on_data(data, cx));
                    }
                    None => imports.start(data, (slot, session), peers, node),
                }
                return;
            }
            Body::Report(report) => {
                if let Some(place) = place {
                    exports.run(place, peers, node, |export, cx| {
                        export.on_report(report, cx)
                    });
                    return;
                }
                let serial = report.serial;
                Some(Control::ReportAck { session, serial })
            }
            Body::ReportAck(_) | Body::CancelAckToSender | Body::CancelAckToReceiver => None,
            Body::CancelBySender(_) => {
                let to = Role::Sender;
                Some(Control::CancelAck { session, to })
            }
            Body::CancelByReceiver(_) => {
                let to = Role::Receiver;
                Some(Control::CancelAck { session, to })
            }
        };
        if let (Some(control), Some(peer)) = (control, peers.get_mut(slot)) {
            peer.queue(node, control);
        }
        match (&segment.body, place) {
            (Body::ReportAck(serial), place) => {
                if let Some(peer) = peers.get_mut(slot) {
                    peer.line.report_acknowledged(session, *serial);
                }
                if let Some(place) = place {
                    imports.run(place, peers, node, |import, cx| {
                        import.on_report_ack(*serial, cx)
                    });
                }
            }
            (Body::CancelBySender(reason), Some(place)) => {
                imports.run(place, peers, node, |import, cx| {
                    import.on_cancel(*reason, cx)
                });
            }
            (Body::CancelByReceiver(reason), Some(place)) => {
                exports.run(place, peers, node, |export, cx| {
                    export.on_cancel(*reason, cx)
                });
            }
            (Body::CancelAckToReceiver, Some(place)) => {
                imports.run(place, peers, node, |import, _| import.on_cancel_ack());
            }
            (Body::CancelAckToSender, Some(place)) => {
                exports.run(place, peers, node, |export, _| export.on_cancel_ack());
            }
            (Body::CancelAckToSender, None) => {
                peers.on_ping_answered(session.number, node);
            }
            _ => {}
        }
    }

    // Timers.

    /// Fires due timers, at most as many as one poll may. False if some are left.
    #[inline(never)]
    fn fire_due(&mut self) -> bool {
        let Self {
            node,
            peers,
            exports,
            imports,
        } = self;
        for _ in 0..MAX_TIMERS {
            let Some(key) = node.timers.pop(node.now) else {
                return true;
            };
            match key.what {
                TimerKind::Export(number, timer) => {
                    exports.with(number, peers, node, |export, cx| export.on_timer(timer, cx));
                }
                TimerKind::Import(session, timer) => {
                    imports.with(session, peers, node, |import, cx| {
                        import.on_timer(timer, cx)
                    });
                }
                TimerKind::Ping => peers.ping_expired(key.slot, node),
                TimerKind::KeepAlive => {
                    if let Some(peer) = peers.get_mut(key.slot) {
                        peer.keepalive_due(node);
                    }
                }
                TimerKind::Pace => {
                    if let Some(peer) = peers.get_mut(key.slot) {
                        peer.pace = None;
                        peer.mark_ready(node);
                    }
                }
            }
        }
        !node.is_due()
    }

    // Output.

    #[inline]
    fn next_event(&mut self) -> Option<Event> {
        if self.node.events.is_empty() && !self.node.services.is_pending() {
            None
        } else {
            self.take_event()
        }
    }

    #[inline(never)]
    fn take_event(&mut self) -> Option<Event> {
        let Self {
            node,
            peers,
            exports,
            imports,
        } = self;
        let event = if let Some((event, octets)) = node.events.pop_front() {
            node.budget.events -= octets;
            if let Event::Failed { data, .. } = &event {
                node.budget.exports -= data.len();
            }
            Some(event)
        } else {
            node.next_taken(imports)
        };
        if event.is_some() {
            exports.unblock(peers, node);
            return event;
        }
        node.services.next_piece(imports)
    }
}

impl Node {
    #[inline]
    fn is_due(&self) -> bool {
        self.timers.next().is_some_and(|next| next <= self.now)
    }
}

impl<A: Addr> Machine for Engine<A> {
    type Addr = A;
    type Command = Command<A>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        self.advance(now);
        let predicted = self
            .imports
            .receive_predicted(&mut self.node, octets, octets.len());
        if predicted == 0 {
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
            let taken = self
                .imports
                .receive_predicted(&mut self.node, rest, size.get());
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
        self.peers
            .set_link(at, &mut self.node, |carrier| match state {
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
        self.node.datagram = limits.datagram.get().min(limits.octets.get());
        // Bound: usize has at most 64 bits.
        self.node.hello = Hello::from_receive_buffer(limits.receive_buffer as u64);
        self.advance(now);
        if self.node.is_due() && !self.fire_due() {
            return Output::Yield;
        }
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        if !self.node.ready.is_empty() {
            if self.send(tx) {
                return Output::Transmit;
            }
            // Segments just sent may have ended sessions.
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
        }
        Output::Idle(self.node.timers.next())
    }
}
