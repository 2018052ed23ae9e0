//! The peers of an engine: by engine ID, by address, and by the segments they send.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::api::{Cue, Error, Side};
use super::auth::Keys;
use super::beyond::UnknownPeerPolicy;
use super::closed::End;
use super::config::{Direction, Peer};
use super::context::{Core, Node, Step};
use super::engine::Engine;
use super::peer::{LinkState, Origin, PeerState, Role};
use super::wire::{Body, Reason, SessionId};
use crate::sync::Arc;
use crate::{Addr, Instant};

/// The maximum number of addresses without a peer whose link state is kept.
const MAX_UNKNOWN_LINKS: usize = 64;

/// The peers, each in a slot that it keeps until it is removed.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Box<PeerState>>>,
    pub(super) by_id: BTreeMap<u64, u32>,
    /// Session numbers of pings, and the slots of their peers.
    pub(super) pings: BTreeMap<u64, u32>,
    /// Slots of peers for which a block was refused for lack of room.
    pub(super) blocked: VecDeque<u32>,
    /// Number of peers accepted by the policy for unknown peers.
    pub(super) accepted: u32,
}

/// Where the peers are reached.
#[derive(Debug)]
pub(super) struct Addresses<A> {
    by_addr: BTreeMap<A, u32>,
    /// The addresses of the peers in the slots.
    by_slot: Vec<A>,
    /// Addresses whose link is full or down, of peers or not.
    links: BTreeMap<A, LinkState>,
    pub(super) policy: Option<UnknownPeerPolicy<A>>,
}

impl Peers {
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&PeerState> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut PeerState> {
        let slot = usize::try_from(slot).ok()?;
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PeerState> {
        self.slots.iter().flatten().map(|peer| &**peer)
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
        self.blocked.retain(|other| *other != slot);
        let place = usize::try_from(slot).ok();
        let place = place.and_then(|place| self.slots.get_mut(place));
        if let Some(state) = place.and_then(Option::take) {
            self.accepted -= u32::from(state.origin == Origin::Accepted);
        }
    }

    /// Returns the bytes of memory held.
    pub(super) fn memory_used(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Box<PeerState>>>()
            + self.blocked.capacity() * size_of::<u32>()
            + (self.by_id.len() + self.pings.len()) * (size_of::<(u64, u32)>() + 64)
            + self.iter().map(PeerState::memory_used).sum::<usize>()
    }
}

impl<A: Addr> Addresses<A> {
    pub(super) const fn new() -> Self {
        Self {
            by_addr: BTreeMap::new(),
            by_slot: Vec::new(),
            links: BTreeMap::new(),
            policy: None,
        }
    }

    /// Returns the address of the peer in a slot.
    pub(super) fn of(&self, slot: u32) -> Option<A> {
        self.by_slot.get(usize::try_from(slot).ok()?).copied()
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
                ping.or_else(|| Some(node.closed.get((Role::Sender, session))?.slot))
                    .or_else(|| self.by_addr.get(&from).copied())
            }
        }
    }

    pub(super) fn may_add(&self, id: u64, address: A, peers: &Peers) -> Result<(), Error> {
        if id == 0 {
            return Err(Error::EngineZero);
        }
        if peers.by_id.contains_key(&id) {
            return Err(Error::PeerExists(id));
        }
        if self.by_addr.contains_key(&address) {
            return Err(Error::AddressInUse);
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
        let limit = node.config.max_peers;
        let vacant = peers.slots.iter().position(Option::is_none);
        let place = vacant.unwrap_or(peers.slots.len());
        let slot = u32::try_from(place).ok().filter(|slot| *slot < limit);
        let slot = slot.ok_or(Error::TooManyPeers { limit })?;
        let address = peer.address;
        peers.by_id.insert(id, slot);
        self.by_addr.insert(address, slot);
        let (carrier, config) = (self.link_state(address), peer.map_address(|_| ()));
        let mut state = Box::new(PeerState::new((slot, id), config, keys, carrier, node.now));
        state.keep_alive(node);
        match (peers.slots.get_mut(place), self.by_slot.get_mut(place)) {
            (Some(one), Some(own)) => (*one, *own) = (Some(state), address),
            _ => {
                peers.slots.push(Some(state));
                self.by_slot.push(address);
            }
        }
        Ok(slot)
    }

    pub(super) fn set_link(&mut self, at: A, core: &mut Core, change: impl FnOnce(&mut LinkState)) {
        let Core { node, peers } = core;
        let mut carrier = self.links.get(&at).copied().unwrap_or_default();
        change(&mut carrier);
        // The state of a carrier applies to all addresses on it, which follow it in order.
        let over = |address: &A| *address == at || address.carrier() == at;
        let concerned = self.by_addr.range(at..);
        let concerned = concerned.take_while(|(address, _)| over(address));
        let slots: SmallVec<[(A, u32); 4]> = concerned.map(|(at, slot)| (*at, *slot)).collect();
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

    /// Changes the address of the peer in a slot.
    fn change(&mut self, slot: u32, address: A) {
        let place = usize::try_from(slot).ok();
        if let Some(own) = place.and_then(|place| self.by_slot.get_mut(place)) {
            self.by_addr.remove(own);
            self.by_addr.insert(address, slot);
            *own = address;
        }
    }

    /// Returns the bytes of memory held.
    pub(super) fn memory_used(&self) -> usize {
        let entries = self.by_addr.len() + self.links.len();
        self.by_slot.capacity() * size_of::<A>() + entries * (size_of::<(A, LinkState)>() + 64)
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
        self.mark_ready(node);
    }

    /// Lets the peer send without waiting for the pacing timer, since its rate may be higher.
    fn release_pacing(&mut self, node: &mut Node) {
        node.stop(self.pace.take());
        self.mark_ready(node);
    }
}

impl<A: Addr> Engine<A> {
    /// Adds a peer under its engine ID.
    ///
    /// # Errors
    ///
    /// A peer with the ID or the address exists, the limit of peers is reached, or the configuration is invalid.
    pub fn add_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        let addresses = &mut self.addresses;
        addresses.may_add(id, peer.address, &self.core.peers)?;
        let keys = Arc::new(peer.check().map_err(Error::InvalidPeer)?);
        addresses.insert(id, peer, keys, &mut self.core).map(drop)
    }

    /// Changes the configuration of a peer. Sessions go on, and running timers keep their deadlines. A peer accepted
    /// as an unknown one counts as added from here on.
    ///
    /// # Errors
    ///
    /// Unknown peer, an address that another peer has, an invalid configuration, or a different direction while the
    /// peer has sessions.
    pub fn change_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        let Self {
            core, addresses, ..
        } = self;
        let Core { node, peers } = core;
        let slot = peers.slot(id)?;
        let other = addresses.by_addr.get(&peer.address);
        if other.is_some_and(|other| *other != slot) {
            return Err(Error::AddressInUse);
        }
        let keys = peer.check().map_err(Error::InvalidPeer)?;
        let state = peers.get_mut(slot).ok_or(Error::UnknownPeer(id))?;
        if state.config.direction != peer.direction && state.exports + state.imports > 0 {
            return Err(Error::Direction(id));
        }
        let carrier = addresses.link_state(peer.address);
        let old = addresses.of(slot);
        let has_moved = old.is_some_and(|old| !old.same_host(peer.address));
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
        if !state.can_send() {
            state.control.clear();
        }
        let may_ping = state.config.direction == Direction::Both;
        peers.accepted -= u32::from(was_unknown);
        if !may_ping {
            core.end_ping(slot);
        }
        let Core { node, peers } = core;
        if let Some(state) = peers.get_mut(slot) {
            state.keep_alive(node);
            state.release_pacing(node);
            state.release_first_passes(node);
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
        let own = exports.table.iter();
        let own = own.filter(|(_, export)| export.slot == slot);
        let mut numbers: Vec<u64> = own.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            exports.with(number, core, |export, cx| {
                let _ = export.fail(Side::Local, Reason::SYSTEM, cx);
                Step::Ends(End::Plain)
            });
        }
        for place in imports.places(|import| import.slot == slot) {
            imports.run(place, core, |import, cx| {
                import.stop(Side::Local, Reason::SYSTEM, cx);
                Step::Ends(End::Plain)
            });
        }
        let Core { node, peers } = core;
        if let Some(peer) = peers.get_mut(slot) {
            peer.release_pacing(node);
            node.stop(peer.keepalive.take());
        }
        node.closed.forget(slot);
        node.ready.retain(|other| *other != slot);
        peers.remove(slot);
        if let Some(address) = self.addresses.of(slot) {
            self.addresses.by_addr.remove(&address);
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
