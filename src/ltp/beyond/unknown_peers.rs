//! Peers that were not added, and are accepted by the first segment they send.

use alloc::boxed::Box;

use super::Newcomer;
use crate::ltp::api::{Error, Event};
use crate::ltp::auth::Keys;
use crate::ltp::config::Peer;
use crate::ltp::context::Core;
use crate::ltp::engine::Engine;
use crate::ltp::peers::Addresses;
use crate::ltp::wire::{Body, Segment};
use crate::sync::Arc;
use crate::{Addr, Instant};

/// How unknown peers are accepted.
#[derive(Debug)]
pub(in crate::ltp) struct UnknownPeerPolicy<A> {
    /// The configuration of an accepted peer. Its address is replaced by that of the segment.
    pub(in crate::ltp) template: Box<Peer<A>>,
    /// The maximum number of accepted peers.
    pub(in crate::ltp) limit: u32,
    keys: Arc<Keys>,
    /// Whether it was reported that there is no room, since there last was.
    has_told_full: bool,
}

impl<A: Addr> Engine<A> {
    /// Accepts segments from up to `limit` unknown peers, configured from the template. `None` rejects them;
    /// peers accepted before stay.
    ///
    /// Data of a session of an unknown engine, and a CS, which may be a ping, add a peer with the address that they
    /// come from, under the engine ID in the session. Anybody can claim an ID, so the template should require
    /// authentication where the network is open. At the limit, an accepted peer gives way: one that has proved nothing,
    /// or else one without a session, each time the longest idle one of the host with most of them. Where none does, the
    /// newcomer is refused ([`Event::UnknownPeerRefused`]). A peer has proved that it hears once it, or another one on its
    /// host, acknowledged a report, or was authenticated, or a block or a ping was sent to it. Of a full table each host
    /// that has proved so keeps an equal share at most, and those that have not keep one together: beyond it the longest
    /// idle peer of such a host gives way first, with its sessions if all have some.
    ///
    /// Until then it is a stranger. Its host is sent at most three times the octets that came from it, and 1 KiB; what
    /// exceeds that waits. A session of it lives for 30 s at most. All accepted peers together have
    /// [`EngineLimits::stranger_octets`](crate::ltp::EngineLimits::stranger_octets) octets for what they send.
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
            self.addresses.policy = None;
            return Ok(());
        };
        let keys = template.check().map_err(Error::InvalidPeer)?;
        self.addresses.policy = Some(UnknownPeerPolicy {
            template: Box::new(template),
            limit,
            keys: Arc::new(keys),
            has_told_full: false,
        });
        Ok(())
    }

    /// Adds the peer that sent a verified segment. All accepted peers share the keys of the template.
    pub(in crate::ltp) fn accept_unknown(&mut self, from: A, segment: &Segment<'_>) -> Option<u32> {
        let policy = self.addresses.policy.as_mut()?;
        let id = segment.session.originator;
        let keys = Arc::clone(&policy.keys);
        Addresses::<A>::may_add(id, &self.core.peers).ok()?;
        let peer = Peer {
            address: from,
            ..(*policy.template).clone()
        };
        let client = match &segment.body {
            Body::Data(data) => Some(data.client),
            Body::CancelBySender(_) => None,
            _ => return None,
        };
        let peers = &self.core.peers;
        if peers.accepted >= policy.limit || peers.is_full(&self.core.node) {
            // Only for a session that can start is anything taken from anybody.
            let can_start = segment.session.number > 0
                && client.is_some_and(|client| self.core.node.services.get(client).is_some())
                && policy.limit > 0;
            let newcomer = Newcomer::Unknown(self.addresses.host_of(from));
            if !can_start || !self.make_way(newcomer) {
                self.addresses.refuse(id, &mut self.core);
                return None;
            }
        } else {
            policy.has_told_full = false;
        }
        let core = &mut self.core;
        let slot = self.addresses.insert(id, peer, keys, core).ok()?;
        self.addresses.count_accepted(slot, core);
        core.node.push_event(Event::UnknownPeer { peer: id }, 0);
        Some(slot)
    }
}

impl<A: Addr> Addresses<A> {
    /// Reports that there is no room for a peer, once until there was room.
    fn refuse(&mut self, peer: u64, core: &mut Core) {
        let Core { node, peers } = core;
        let Some(policy) = &mut self.policy else {
            return;
        };
        if !core::mem::replace(&mut policy.has_told_full, true) {
            let is_of_policy = peers.accepted >= policy.limit;
            let limit = if is_of_policy {
                policy.limit
            } else {
                node.config.limits.peers
            };
            node.push_event(Event::UnknownPeerRefused { peer, limit }, 0);
        }
    }

    /// Returns the keys that must verify the segment of an unknown peer; `None` if it cannot add a peer.
    pub(in crate::ltp) fn keys_of_unknown(
        &self,
        segment: &Segment<'_>,
        core: &Core,
    ) -> Option<&Arc<Keys>> {
        let policy = self.policy.as_ref()?;
        let id = segment.session.originator;
        let names_sender = matches!(segment.body, Body::Data(_) | Body::CancelBySender(_));
        let is_new = names_sender && id != 0 && !core.peers.by_id.contains_key(&id);
        (is_new && core.node.has_event_room()).then_some(&policy.keys)
    }
}
