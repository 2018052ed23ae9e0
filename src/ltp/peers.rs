//! The peers of an engine: by engine ID, by address, and by the segments they send.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use slab::Slab;
use smallvec::SmallVec;

use super::api::{Cue, Error, Event};
use super::auth::Keys;
use super::beyond::{Hosts, Newcomer, Standing, UnknownPeerPolicy};
use super::closed::End;
use super::config::{Direction, Peer};
use super::context::{Core, Node, Step};
use super::end_cause::EndCause;
use super::engine::Engine;
use super::import::Imports;
use super::peer::{LinkState, Origin, PeerState, Role};
use super::wire::{Body, SessionId};
use crate::sync::Arc;
use crate::{Addr, Instant};

/// How long nothing has to come from the port of an accepted peer before another one of its host takes its place.
const MIN_ABSENCE: Duration = Duration::from_secs(1);
/// The maximum number of addresses without a peer whose link state is kept.
const MAX_UNKNOWN_LINKS: usize = 64;

/// The peers, each in a slot that it keeps until it is removed.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Slab<Box<PeerState>>,
    pub(super) by_id: BTreeMap<u64, u32>,
    /// Session numbers of pings, and the slots of their peers.
    pub(super) pings: BTreeMap<u64, u32>,
    /// Slots of peers for which a block was refused for lack of room.
    pub(super) blocked: VecDeque<u32>,
    /// Number of peers accepted by the policy for unknown peers.
    pub(super) accepted: u32,
    /// Slots of removed peers in the queue of those with something to send.
    still_ready: BTreeSet<u32>,
}

/// Where the peers are reached.
#[derive(Debug)]
pub(super) struct Addresses<A> {
    by_addr: BTreeSet<(A, u32)>,
    /// Where the last segment that was accepted came from. Predicted ones come from there.
    pub(super) accepted_from: Option<A>,
    /// The addresses of the peers in the slots.
    by_slot: Vec<A>,
    /// Addresses whose link is full or down, of peers or not.
    links: BTreeMap<A, LinkState>,
    pub(super) policy: Option<UnknownPeerPolicy<A>>,
    hosts: Hosts<A>,
}

impl Peers {
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&PeerState> {
        self.slots.get(index(slot)).map(|peer| &**peer)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut PeerState> {
        self.slots.get_mut(index(slot)).map(|peer| &mut **peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerState> {
        self.slots.iter().map(|(_, peer)| &**peer)
    }

    /// Returns the slot of the peer with an engine ID.
    pub(super) fn slot(&self, id: u64) -> Result<u32, Error> {
        self.by_id.get(&id).copied().ok_or(Error::UnknownPeer(id))
    }

    /// Notes that a block of some octets was refused.
    pub(super) fn block(&mut self, slot: u32, octets: usize) {
        if let Some(peer) = self.get_mut(slot)
            && peer.blocked_peers.replace(octets).is_none()
        {
            self.blocked.push_back(slot);
        }
    }

    /// Frees the slot of a peer.
    fn remove(&mut self, slot: u32) {
        let Some(state) = self.slots.try_remove(index(slot)) else {
            return;
        };
        if state.blocked_peers.is_some() {
            self.blocked.retain(|other| *other != slot);
        }
        if state.is_ready {
            self.still_ready.insert(slot);
        }
        if state.origin == Origin::Accepted {
            self.accepted -= 1;
        }
    }

    /// Whether no further peer fits.
    pub(super) fn is_full(&self, node: &Node) -> bool {
        self.slots.len() >= index(node.config.limits.peers)
    }

    /// Takes the slot of a removed peer off the queue of those with something to send.
    pub(super) fn forget_ready(&mut self, slot: u32) {
        self.still_ready.remove(&slot);
    }

    /// Returns the bytes of memory held.
    pub(super) fn memory_used(&self) -> usize {
        self.still_ready.len() * (size_of::<u32>() + 32)
            + self.slots.capacity() * 2 * size_of::<Box<PeerState>>()
            + self.blocked.capacity() * size_of::<u32>()
            + (self.by_id.len() + self.pings.len()) * (size_of::<(u64, u32)>() + 64)
            + self.iter().map(PeerState::memory_used).sum::<usize>()
    }
}

impl<A: Addr> Addresses<A> {
    pub(super) const fn new() -> Self {
        Self {
            by_addr: BTreeSet::new(),
            accepted_from: None,
            by_slot: Vec::new(),
            links: BTreeMap::new(),
            policy: None,
            hosts: Hosts::new(),
        }
    }

    /// Counts a peer as accepted by the policy for unknown peers.
    pub(super) fn count_accepted(&mut self, slot: u32, core: &mut Core) {
        let Core { node, peers } = core;
        let Some(address) = self.of(slot) else {
            return;
        };
        peers.accepted += 1;
        let Some(peer) = peers.get_mut(slot) else {
            return;
        };
        peer.origin = Origin::Accepted;
        peer.heard = node.now;
        self.enter_host(address, peer, node);
    }

    /// Counts an accepted peer for its host.
    fn enter_host(&mut self, address: A, peer: &mut PeerState, node: &mut Node) {
        peer.host = self.hosts.enter(address, &mut node.strangers);
        peer.account = peer.host.filter(|_| peer.keys.accepts_all());
        let Some(host) = peer.host else {
            return;
        };
        let standing = match peer.unproved(node) {
            Some(_) => Standing::Unproved,
            None if peer.is_named => Standing::Named,
            None => Standing::Proved,
        };
        let accepted = &mut node.strangers.peers;
        accepted.set(peer.slot, host, standing, peer.heard);
    }

    /// Returns the account of the host at an address, if peers are or were there.
    pub(super) fn host_of(&self, at: A) -> Option<u32> {
        self.hosts.account_of(at)
    }

    /// Tells whether the peers at an address have neither been named nor proved that they hear.
    pub(super) fn is_stranger(&self, at: A, core: &Core) -> bool {
        let mut peers = self.slots_at(at).filter_map(|slot| core.peers.get(slot));
        let is_unproved = |peer: &PeerState| peer.unproved(&core.node).is_some();
        let first = peers.next();
        first.is_some_and(is_unproved) && peers.all(is_unproved)
    }

    /// Counts a segment of a stranger, if it came from its host.
    pub(super) fn hear(&self, slot: u32, from: A, octets: usize, core: &mut Core) {
        let Core { node, peers } = core;
        let Some(peer) = peers.get_mut(slot) else {
            return;
        };
        peer.heard = node.now;
        if let Some(account) = peer.account
            && self
                .of(slot)
                .is_some_and(|own| own.prefix() == from.prefix())
        {
            node.strangers.came(account, octets);
            peer.is_over_budget = false;
            peer.mark_ready(node);
        }
    }

    /// Returns the address of the peer in a slot.
    pub(super) fn of(&self, slot: u32) -> Option<A> {
        self.by_slot.get(index(slot)).copied()
    }

    fn slots_at(&self, at: A) -> impl Iterator<Item = u32> {
        let at_it = self.by_addr.range((at, 0)..=(at, u32::MAX));
        at_it.map(|(_, slot)| *slot)
    }

    /// Whether a segment of the peer in a slot may come from an address.
    #[inline]
    pub(super) fn admits(&self, slot: u32, from: A, core: &Core) -> bool {
        let is_home = self.of(slot).is_some_and(|own| own.same_host(from));
        is_home || core.peers.get(slot).is_some_and(|peer| peer.config.roams)
    }

    /// Whether a segment from an address may be one that was predicted.
    #[inline]
    pub(super) fn is_continued_from(&self, from: A) -> bool {
        self.accepted_from == Some(from)
    }

    /// Finds the peer that sent a segment. `known` is the slot of its session, if there is one.
    ///
    /// A segment from a receiver of blocks does not name it: the session tells, or the source address.
    #[inline]
    pub(super) fn sender_of(
        &self,
        (from, session): (A, SessionId),
        body: &Body<'_>,
        known: Option<u32>,
        core: &Core,
    ) -> Option<u32> {
        if known.is_some() {
            return known;
        }
        let Core { node, peers } = core;
        match body.receiving_role() {
            Role::Receiver => peers.by_id.get(&session.originator).copied(),
            Role::Sender if session.originator != node.config.engine => None,
            Role::Sender => {
                let ping = peers.pings.get(&session.number).copied();
                ping.or_else(|| Some(node.closed.get(node.now, (Role::Sender, session))?.slot))
                    .or_else(|| self.slots_at(from).next())
            }
        }
    }

    pub(super) fn may_add(id: u64, peers: &Peers) -> Result<(), Error> {
        if id == 0 {
            return Err(Error::EngineZero);
        }
        if peers.by_id.contains_key(&id) {
            return Err(Error::PeerExists(id));
        }
        Ok(())
    }

    /// Adds a peer that was checked, and returns its slot.
    pub(super) fn insert(
        &mut self,
        id: u64,
        peer: Peer<A>,
        keys: Arc<Keys>,
        core: &mut Core,
    ) -> Result<u32, Error> {
        let Core { node, peers } = core;
        let limit = node.config.limits.peers;
        let slot = u32::try_from(peers.slots.vacant_key()).ok();
        let slot = slot.filter(|_| !peers.is_full(node));
        let slot = slot.ok_or(Error::TooManyPeers { limit })?;
        let address = peer.address;
        peers.by_id.insert(id, slot);
        self.by_addr.insert((address, slot));
        let (carrier, config) = (self.link_state(address), peer.map_address(|_| ()));
        let mut state = Box::new(PeerState::new((slot, id), config, keys, carrier, node.now));
        // The entry that is left of a peer before it serves this one.
        state.is_ready = peers.still_ready.remove(&slot);
        state.keep_alive(node);
        peers.slots.insert(state);
        match self.by_slot.get_mut(index(slot)) {
            Some(own) => *own = address,
            None => self.by_slot.push(address),
        }
        Ok(slot)
    }

    pub(super) fn set_link(&mut self, at: A, core: &mut Core, change: impl FnOnce(&mut LinkState)) {
        let Core { node, peers } = core;
        let mut carrier = self.links.get(&at).copied().unwrap_or_default();
        change(&mut carrier);
        // The state of a carrier applies to all addresses on it, which follow it in order.
        let over = |address: &A| *address == at || address.carrier() == at;
        let concerned = self.by_addr.range((at, 0)..);
        let concerned = concerned.take_while(|(address, _)| over(address));
        let slots: SmallVec<[(A, u32); 4]> = concerned.copied().collect();
        if carrier == LinkState::default() {
            self.links.remove(&at);
        } else if !slots.is_empty() || self.links.len() < peers.by_id.len() + MAX_UNKNOWN_LINKS {
            self.links.insert(at, carrier);
        }
        for (address, slot) in slots {
            let carrier = self.link_state(address);
            if let Some(peer) = peers.get_mut(slot) {
                peer.cue(node, |peer| peer.carrier = carrier);
            }
        }
    }

    /// Returns the link state of an address, combined with that of its carrier.
    fn link_state(&self, at: A) -> LinkState {
        let said = |at: A| self.links.get(&at).copied().unwrap_or_default();
        let (own, carrier) = (said(at), said(at.carrier()));
        LinkState {
            is_full: own.is_full || carrier.is_full,
            is_down: own.is_down || carrier.is_down,
        }
    }

    /// Changes the address of a peer that is heard from elsewhere. A stranger takes no budget with it.
    pub(super) fn follow(&mut self, slot: u32, address: A, core: &mut Core) {
        let Core { node, peers } = core;
        let old = self.of(slot);
        self.change(slot, address);
        let carrier = self.link_state(address);
        let (Some(old), Some(peer)) = (old, peers.get_mut(slot)) else {
            return;
        };
        // The link there may be down or full.
        peer.cue(node, |peer| peer.carrier = carrier);
        node.push_event(Event::UnknownPeer { peer: peer.id }, 0);
        if peer.host.is_some() {
            // A command named it where it was. Who is on another host has yet to prove that it hears.
            peer.is_named &= old.same_host(address);
            self.hosts.leave(old, node.now, &mut node.strangers);
            self.enter_host(address, peer, node);
        }
    }

    /// Changes the address of the peer in a slot.
    pub(super) fn change(&mut self, slot: u32, address: A) {
        if let Some(own) = self.by_slot.get_mut(index(slot)) {
            self.by_addr.remove(&(*own, slot));
            self.by_addr.insert((address, slot));
            *own = address;
        }
    }

    /// Returns the bytes of memory held.
    pub(super) fn memory_used(&self) -> usize {
        let entries = self.by_addr.len() + self.links.len();
        self.hosts.memory_used()
            + self.by_slot.capacity() * size_of::<A>()
            + entries * (size_of::<(A, LinkState)>() + 64)
    }
}

pub(super) const fn index(slot: u32) -> usize {
    // Bound: usize has at least 32 bits where there is room for a peer.
    slot as usize
}

impl Core {
    /// Whether a peer that was accepted as an unknown one may be at another address from here on, since it starts a
    /// session there or asks whether it is heard: it has no sessions, or it started anew on its host and nothing comes
    /// from its old port.
    pub(super) fn may_move(&self, slot: u32, body: &Body<'_>, is_same_host: bool) -> bool {
        let Some(peer) = self.peers.get(slot) else {
            return false;
        };
        let is_idle = peer.imports == 0 && peer.exports == 0;
        let has_left =
            is_same_host && self.node.now >= peer.home_heard + peer.timeout().max(MIN_ABSENCE);
        peer.origin == Origin::Accepted
            && matches!(body, Body::Data(_) | Body::CancelBySender(_))
            && (is_idle || has_left)
    }
}

impl PeerState {
    /// Changes the state of a contact, and freezes or thaws the timers of the peer when it falls silent or speaks.
    fn cue(&mut self, node: &mut Node, change: impl FnOnce(&mut Self)) {
        let was_silent = self.is_silent();
        change(self);
        match (was_silent, self.is_silent()) {
            (false, true) => node.timers.freeze(self.slot, node.now),
            (true, false) => {
                self.contact_start = node.now;
                node.timers.thaw(self.slot, node.now);
            }
            (false, false) | (true, true) => {}
        }
        self.on_contact(node);
        self.mark_ready(node);
    }

    /// Lets the peer send without waiting for the pacing timer, since its rate may be higher.
    fn release_pacing(&mut self, node: &mut Node) {
        node.stop(self.pace.take());
        self.mark_ready(node);
    }
}

impl<A: Addr> Engine<A> {
    /// Returns the address at which a peer is reached. `None` for an unknown peer.
    #[must_use]
    pub fn peer_address(&self, id: u64) -> Option<A> {
        self.addresses.of(self.core.peers.slot(id).ok()?)
    }

    /// Adds a peer under its engine ID.
    ///
    /// A peer that was accepted as an unknown one under the ID becomes this one where it is on the same host and no
    /// authentication is asked for, and its sessions go on. Any other one is removed first.
    ///
    /// # Errors
    ///
    /// A peer with the ID was added, the limit of peers is reached, or the configuration is invalid. A peer that was
    /// accepted as an unknown one gives way where the limit is reached.
    pub fn add_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        let keys = Arc::new(peer.check().map_err(Error::InvalidPeer)?);
        let slot = self.core.peers.slot(id).ok();
        let old = slot.and_then(|slot| self.core.peers.get(slot));
        if old.is_some_and(|old| old.origin == Origin::Accepted) {
            let at = slot.and_then(|slot| self.addresses.of(slot));
            let is_there = at.is_some_and(|at| at.same_host(peer.address)) && keys.accepts_all();
            if is_there && self.change_peer(now, id, peer.clone()).is_ok() {
                return Ok(());
            }
            self.remove(id, Imports::drop_at)?;
        }
        Addresses::<A>::may_add(id, &self.core.peers)?;
        if self.core.peers.is_full(&self.core.node) {
            self.make_way(Newcomer::Named);
        }
        let (addresses, core) = (&mut self.addresses, &mut self.core);
        addresses.insert(id, peer, keys, core).map(drop)
    }

    /// Removes the accepted peer that gives way to a newcomer. False if there is none.
    pub(super) fn make_way(&mut self, newcomer: Newcomer) -> bool {
        let Core { node, peers } = &mut self.core;
        let victim = node.strangers.peers.next_victim(newcomer, peers);
        let victim = victim.and_then(|slot| peers.get(slot)).map(|peer| peer.id);
        victim.is_some_and(|id| self.remove(id, Imports::drop_at).is_ok())
    }

    /// Changes the configuration of a peer. Sessions go on, and running timers keep their deadlines. A peer accepted
    /// as an unknown one counts as added from here on.
    ///
    /// # Errors
    ///
    /// Unknown peer, an invalid configuration, or a different direction while the
    /// peer has sessions.
    pub fn change_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        let (core, addresses) = (&mut self.core, &mut self.addresses);
        let slot = core.peers.slot(id)?;
        let keys = peer.check().map_err(Error::InvalidPeer)?;
        let state = core.peers.get(slot).ok_or(Error::UnknownPeer(id))?;
        if state.config.direction != peer.direction && state.exports + state.imports > 0 {
            return Err(Error::Direction(id));
        }
        if peer.direction != Direction::Both {
            core.end_ping(slot);
        }
        let Core { node, peers } = core;
        let state = peers.get_mut(slot).ok_or(Error::UnknownPeer(id))?;
        let carrier = addresses.link_state(peer.address);
        let old = addresses.of(slot).unwrap_or(peer.address);
        let has_moved = !old.same_host(peer.address);
        addresses.change(slot, peer.address);
        // The peer may require authentication from here on.
        node.prediction = None;
        state.cue(node, |state| {
            if has_moved {
                state.flow.forget();
            }
            state.configure(peer.map_address(|_| ()), keys);
            state.carrier = carrier;
        });
        let was_unknown = core::mem::take(&mut state.origin) == Origin::Accepted;
        if was_unknown {
            node.budget.strangers -= state.import_octets;
            state.is_over_budget = false;
            state.is_found_busy = false;
            (state.account, state.host) = (None, None);
            node.strangers.peers.remove(slot);
            addresses.hosts.leave(old, node.now, &mut node.strangers);
        }
        if !state.can_send() {
            state.drop_control(node);
        }
        state.keep_alive(node);
        state.release_pacing(node);
        state.release_first_passes(node);
        if was_unknown {
            peers.accepted -= 1;
        }
        self.exports.unblock(core);
        Ok(())
    }

    /// Removes a peer. Its sessions fail at once, and nothing is sent to it.
    ///
    /// # Errors
    ///
    /// Unknown peer.
    pub fn remove_peer(&mut self, now: Instant, id: u64) -> Result<(), Error> {
        self.advance(now);
        self.remove(id, Imports::stop_at)
    }

    /// Removes a peer, whose sessions that are received end as `end` lets them.
    fn remove(&mut self, id: u64, end: fn(&mut Imports, u32, &mut Core)) -> Result<(), Error> {
        let (core, exports, imports) = (&mut self.core, &mut self.exports, &mut self.imports);
        let slot = core.peers.slot(id)?;
        core.peers.by_id.remove(&id);
        core.end_ping(slot);
        if let Some(peer) = core.peers.get_mut(slot) {
            peer.control.clear();
            peer.repairs.clear();
            peer.fresh.clear();
            peer.spare.clear();
        }
        while let Some(place) = exports.table.oldest_of(slot) {
            exports.run(place, core, |export, cx| {
                let _ = export.fail(EndCause::PeerRemoved, cx);
                Step::Ends(End::Plain)
            });
        }
        while let Some(place) = imports.table.oldest_of(slot) {
            end(imports, place, core);
        }
        let Core { node, peers } = core;
        if let Some(peer) = peers.get_mut(slot) {
            peer.release_pacing(node);
            node.stop(peer.keepalive.take());
            node.stop(peer.silence_timer.take());
            node.stop(peer.resume_timer.take());
        }
        node.closed.forget_peer(slot);
        let host = peers.get(slot).and_then(|peer| peer.host);
        node.strangers.peers.remove(slot);
        peers.remove(slot);
        if let Some(address) = self.addresses.of(slot) {
            self.addresses.by_addr.remove(&(address, slot));
            if host.is_some() {
                let hosts = &mut self.addresses.hosts;
                hosts.leave(address, node.now, &mut node.strangers);
            }
        }
        Ok(())
    }

    /// Reports a link state cue for one direction of a contact.
    ///
    /// # Errors
    ///
    /// Unknown peer.
    pub fn contact(&mut self, now: Instant, peer: u64, cue: Cue) -> Result<(), Error> {
        self.advance(now);
        let Core { node, peers } = &mut self.core;
        let slot = peers.slot(peer)?;
        if let Some(state) = peers.get_mut(slot) {
            state.cue(node, |peer| match cue {
                Cue::MayTransmit => peer.must_stop = false,
                Cue::MustStop => peer.must_stop = true,
                Cue::PeerTransmits => peer.peer_stopped = false,
                Cue::PeerStopped => peer.peer_stopped = true,
                Cue::EndsAt(at) => peer.ends = Some(at),
            });
        }
        Ok(())
    }
}
