//! Adding and changing peers.

use alloc::boxed::Box;

use super::Engine;
use crate::ltp::api::Error;
use crate::ltp::auth::Keys;
use crate::ltp::config::{Direction, Peer};
use crate::ltp::peer::{Origin, PeerState};
use crate::sync::Arc;
use crate::{Addr, Instant};

impl<A: Addr> Engine<A> {
    /// Adds a peer under its engine ID.
    ///
    /// # Errors
    ///
    /// A peer with the ID or the address exists, the limit of peers is reached, or the configuration is invalid.
    pub fn add_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        self.may_add(id, peer.address)?;
        let keys = peer.check().map_err(Error::InvalidPeer)?;
        self.insert_peer(id, peer, Arc::new(keys))
    }

    pub(in crate::ltp) fn may_add(&self, id: u64, address: A) -> Result<(), Error> {
        if id == 0 {
            return Err(Error::EngineZero);
        }
        if self.by_id.contains_key(&id) {
            return Err(Error::PeerExists(id));
        }
        if self.by_addr.contains_key(&address) {
            return Err(Error::AddressInUse);
        }
        Ok(())
    }

    /// Adds a peer that was checked.
    pub(in crate::ltp) fn insert_peer(
        &mut self,
        id: u64,
        peer: Peer<A>,
        keys: Arc<Keys>,
    ) -> Result<(), Error> {
        let limit = self.config.max_peers;
        let vacant = self.peers.iter().position(Option::is_none);
        let slot = vacant.unwrap_or(self.peers.len());
        let number = u32::try_from(slot).ok().filter(|slot| *slot < limit);
        let number = number.ok_or(Error::TooManyPeers { limit })?;
        let carrier = self.link_state(peer.address);
        self.by_id.insert(id, number);
        self.by_addr.insert(peer.address, number);
        let state = Some(Box::new(PeerState::new(id, peer, keys, carrier, self.now)));
        match self.peers.get_mut(slot) {
            Some(place) => *place = state,
            None => self.peers.push(state),
        }
        self.keep_alive(number);
        Ok(())
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
        let slot = *self.by_id.get(&id).ok_or(Error::UnknownPeer(id))?;
        if self
            .by_addr
            .get(&peer.address)
            .is_some_and(|other| *other != slot)
        {
            return Err(Error::AddressInUse);
        }
        let keys = peer.check().map_err(Error::InvalidPeer)?;
        if self.peer(slot).is_some_and(|state| {
            state.config.direction != peer.direction && state.exports + state.imports > 0
        }) {
            return Err(Error::Direction(id));
        }
        let carrier = self.link_state(peer.address);
        if let Some(address) = self.peer(slot).map(|state| state.config.address) {
            self.by_addr.remove(&address);
        }
        self.by_addr.insert(peer.address, slot);
        // The peer may require authentication from here on.
        self.prediction = None;
        self.cue(slot, |state| {
            state.configure(peer, keys);
            state.carrier = carrier;
        });
        self.adopt(slot);
        self.keep_alive(slot);
        self.release_pacing(slot);
        self.release_first_passes(slot);
        self.unblock_peers();
        Ok(())
    }

    /// Completes the change of a peer: drops what its direction does not allow, and counts it as added.
    fn adopt(&mut self, slot: u32) {
        let Some(state) = self.peer_mut(slot) else {
            return;
        };
        let was_unknown = core::mem::take(&mut state.origin) == Origin::Accepted;
        if !state.can_send() {
            state.control.clear();
        }
        if state.config.direction != Direction::Both {
            self.end_ping(slot);
        }
        self.unknown_peers -= u32::from(was_unknown);
    }

    /// Lets a peer send without waiting for the pacing timer, since its rate may be higher.
    pub(super) fn release_pacing(&mut self, slot: u32) {
        let pace = self.peer_mut(slot).and_then(|state| state.pace.take());
        self.stop(pace);
        self.mark_ready(slot);
    }
}
