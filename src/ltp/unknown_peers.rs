//! Peers that were not added, and are accepted by the first segment they send.

use alloc::boxed::Box;

use super::api::{Error, Event};
use super::auth::Keys;
use super::config::Peer;
use super::engine::Engine;
use super::peer::Origin;
use super::wire::{Body, Segment};
use crate::sync::Arc;
use crate::{Addr, Instant};

/// How unknown peers are accepted.
#[derive(Debug)]
pub(super) struct UnknownPeerPolicy<A> {
    /// The configuration of an accepted peer. Its address is replaced by that of the segment.
    pub(super) template: Box<Peer<A>>,
    /// The maximum number of accepted peers.
    pub(super) limit: u32,
    keys: Arc<Keys>,
}

impl<A: Addr> Engine<A> {
    /// Accepts segments from up to `limit` unknown peers, configured from the template. `None` rejects them;
    /// peers accepted before stay.
    ///
    /// Data of a session from an address that no peer has adds a peer with that address, under the engine ID in
    /// the session. Anybody can claim an ID, so the template should require authentication where the network
    /// is open. At the limit, an accepted peer without sessions is removed to make room.
    ///
    /// # Errors
    ///
    /// An invalid template.
    pub fn accept_unknown_peers(
        &mut self,
        now: Instant,
        template: Option<Peer<A>>,
        limit: u32,
    ) -> Result<(), Error> {
        self.advance(now);
        let Some(template) = template else {
            self.unknown_peer_policy = None;
            return Ok(());
        };
        let keys = template.check().map_err(Error::InvalidPeer)?;
        self.unknown_peer_policy = Some(UnknownPeerPolicy {
            template: Box::new(template),
            limit,
            keys: Arc::new(keys),
        });
        Ok(())
    }

    /// Returns the keys that must verify the segment of an unknown peer; `None` if it cannot add a peer.
    pub(super) fn keys_of_unknown(&self, segment: &Segment<'_>) -> Option<&Arc<Keys>> {
        let policy = self.unknown_peer_policy.as_ref()?;
        let id = segment.session.originator;
        let is_data = matches!(segment.body, Body::Data(_));
        let is_new = is_data && id != 0 && !self.by_id.contains_key(&id);
        (is_new && self.has_event_room()).then_some(&policy.keys)
    }

    /// Adds the peer that sent a verified segment. All accepted peers share the keys of the template.
    pub(super) fn accept_unknown(&mut self, from: A, segment: &Segment<'_>) -> Option<u32> {
        let policy = self.unknown_peer_policy.as_ref()?;
        let id = segment.session.originator;
        let keys = Arc::clone(&policy.keys);
        self.may_add(id, from).ok()?;
        let peer = Peer {
            address: from,
            ..(*policy.template).clone()
        };
        if self.unknown_peers >= policy.limit {
            let idle = self.idle_unknown_peer()?;
            self.remove_peer(self.now, idle).ok()?;
        }
        self.insert_peer(id, peer, keys).ok()?;
        self.unknown_peers += 1;
        let slot = *self.by_id.get(&id)?;
        self.peer_mut(slot)?.origin = Origin::Accepted;
        self.push_event(Event::UnknownPeer { peer: id }, 0);
        Some(slot)
    }

    fn idle_unknown_peer(&self) -> Option<u64> {
        self.peers
            .iter()
            .flatten()
            .find(|peer| peer.origin == Origin::Accepted && peer.exports == 0 && peer.imports == 0)
            .map(|peer| peer.id)
    }
}
