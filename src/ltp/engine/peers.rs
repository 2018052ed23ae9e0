//! Peers as they come and change.

use alloc::boxed::Box;

use super::Engine;
use crate::ltp::api::Error;
use crate::ltp::auth::Keys;
use crate::ltp::config::{Peer, Ways};
use crate::ltp::span::{Origin, Span};
use crate::sync::Arc;
use crate::{Addr, Instant};

impl<A: Addr> Engine<A> {
    /// Gets to know a peer.
    ///
    /// # Errors
    ///
    /// A peer with the ID or the address exists, there are too many, or the configuration is bad.
    pub fn add_peer(&mut self, now: Instant, id: u64, peer: Peer<A>) -> Result<(), Error> {
        self.advance(now);
        self.may_add(id, peer.address)?;
        let keys = peer.check().map_err(Error::Peer)?;
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

    /// Adds a peer that was looked at.
    pub(in crate::ltp) fn insert_peer(
        &mut self,
        id: u64,
        peer: Peer<A>,
        keys: Arc<Keys>,
    ) -> Result<(), Error> {
        let limit = self.config.max_peers;
        let vacant = self.spans.iter().position(Option::is_none);
        let slot = vacant.unwrap_or(self.spans.len());
        let number = u32::try_from(slot).ok().filter(|slot| *slot < limit);
        let number = number.ok_or(Error::Many { limit })?;
        let carrier = self.carrier_of(peer.address);
        self.by_id.insert(id, number);
        self.by_addr.insert(peer.address, number);
        let span = Some(Box::new(Span::new(id, peer, keys, carrier, self.now)));
        match self.spans.get_mut(slot) {
            Some(place) => *place = span,
            None => self.spans.push(span),
        }
        self.keep_alive(number);
        Ok(())
    }

    /// Changes what is known of a peer. Sessions go on; timers that run keep their deadlines. One that came by
    /// itself is from here on like one that was added.
    ///
    /// # Errors
    ///
    /// No such peer, an address that another peer has, a bad configuration, or other ways than before while
    /// a session needs them.
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
        let keys = peer.check().map_err(Error::Peer)?;
        if self
            .span(slot)
            .is_some_and(|span| span.config.ways != peer.ways && span.exports + span.imports > 0)
        {
            return Err(Error::OneWay(id));
        }
        let carrier = self.carrier_of(peer.address);
        if let Some(address) = self.span(slot).map(|span| span.config.address) {
            self.by_addr.remove(&address);
        }
        self.by_addr.insert(peer.address, slot);
        // It may have to be authenticated from here on.
        self.flow = None;
        self.cue(slot, |span| {
            span.configure(peer, keys);
            span.carrier = carrier;
        });
        self.adopt(slot);
        self.keep_alive(slot);
        self.unpace(slot);
        self.let_go(slot);
        self.relieve();
        Ok(())
    }

    /// A peer that came by itself has been configured. What cannot be sent any more is dropped.
    fn adopt(&mut self, slot: u32) {
        let Some(span) = self.span_mut(slot) else {
            return;
        };
        let was_stranger = core::mem::take(&mut span.origin) == Origin::Stranger;
        if !span.has_way() {
            span.control.clear();
        }
        if span.config.ways != Ways::Both {
            self.end_ping(slot);
        }
        self.strangers -= u32::from(was_stranger);
    }

    /// A higher rate takes effect at once.
    pub(super) fn unpace(&mut self, slot: u32) {
        let pace = self.span_mut(slot).and_then(|span| span.pace.take());
        self.stop(pace);
        self.wake(slot);
    }
}
