//! Whether peers are there: pings, keep-alives, and peers that come by themselves.

use alloc::boxed::Box;
use core::time::Duration;

use super::api::{Error, Event};
use super::auth::Keys;
use super::closed::{End, Record};
use super::config::{Peer, Ways};
use super::engine::{Engine, What};
use super::span::{Control, Origin, Ping, Role, Span};
use super::wire::{Body, Segment, SessionId};
use crate::sync::Arc;
use crate::{Addr, Instant};

/// What peers are like that come by themselves.
#[derive(Debug)]
pub(super) struct Welcome<A> {
    pub(super) template: Box<Peer<A>>,
    pub(super) most: u32,
    keys: Arc<Keys>,
}

impl<A: Addr> Engine<A> {
    // Pings.

    /// Asks whether a peer is there: cancels a session that never was, which every engine acknowledges.
    ///
    /// [`Event::Answered`] or [`Event::Silent`] follows.
    ///
    /// # Errors
    ///
    /// No such peer, a peer that cannot answer, or one that is being asked.
    pub fn ping(&mut self, now: Instant, peer: u64) -> Result<(), Error> {
        self.advance(now);
        let slot = *self.by_id.get(&peer).ok_or(Error::UnknownPeer(peer))?;
        let span = self.span(slot).ok_or(Error::UnknownPeer(peer))?;
        if span.config.ways != Ways::Both {
            return Err(Error::OneWay(peer));
        }
        if span.ping.is_some() {
            return Err(Error::Pinging(peer));
        }
        let number = self.draw_number();
        self.pings.insert(number, slot);
        let now = self.now;
        if let Some(span) = self.span_mut(slot) {
            span.ping = Some(Ping {
                number,
                tries: 0,
                first: now,
                latest: now,
                timer: None,
            });
        }
        self.ping_again(slot);
        Ok(())
    }

    fn ping_again(&mut self, slot: u32) {
        if !self.queue(slot, Control::Ping) {
            // As good as lost on the line.
            self.ping_left(slot, 0);
        }
    }

    pub(super) fn ping_left(&mut self, slot: u32, len: usize) {
        let now = self.now;
        let Some(due) = self.span(slot).map(|span| span.answer(now, len)) else {
            return;
        };
        if self.span(slot).is_none_or(|span| span.ping.is_none()) {
            return;
        }
        let timer = self.set(slot, due, What::Ping);
        if let Some(ping) = self.span_mut(slot).and_then(|span| span.ping.as_mut()) {
            ping.tries = ping.tries.saturating_add(1);
            ping.timer = timer;
            ping.latest = now;
            if ping.tries == 1 {
                ping.first = now;
            }
        }
    }

    pub(super) fn ping_expired(&mut self, slot: u32) {
        let Some(span) = self.span_mut(slot) else {
            return;
        };
        let limit = span.config.cancel_retries;
        let Some(ping) = &mut span.ping else {
            return;
        };
        ping.timer = None;
        if ping.tries <= limit {
            self.ping_again(slot);
        } else {
            self.end_ping(slot);
        }
    }

    /// A CAS for a session that never was. False when it is for another.
    pub(super) fn on_pong(&mut self, session: SessionId) -> bool {
        let Some(&slot) = self.pings.get(&session.number) else {
            return false;
        };
        let now = self.now;
        let Some(span) = self.span_mut(slot) else {
            return false;
        };
        let Some(ping) = span.ping.take() else {
            return false;
        };
        let peer = span.id;
        span.answered(now, ping.first, ping.latest, 0);
        self.forget_ping(slot, &ping);
        let after = now - ping.first;
        self.tell(Event::Answered { peer, after }, 0);
        true
    }

    /// Nobody answered, or nobody is asked any more.
    pub(super) fn end_ping(&mut self, slot: u32) {
        let Some(span) = self.span_mut(slot) else {
            return;
        };
        let Some(ping) = span.ping.take() else {
            return;
        };
        let peer = span.id;
        self.forget_ping(slot, &ping);
        self.tell(Event::Silent { peer }, 0);
    }

    /// The number is not drawn again while the peer may remember it.
    fn forget_ping(&mut self, slot: u32, ping: &Ping) {
        self.stop(ping.timer);
        self.pings.remove(&ping.number);
        let memory = self.span(slot).map(Span::memory).unwrap_or_default();
        let session = SessionId {
            originator: self.config.engine,
            number: ping.number,
        };
        let record = Record {
            slot,
            until: self.now + memory,
            key_name: None,
            end: End::Plain,
        };
        self.closed
            .insert(self.now, (Role::Sender, session), &record);
    }

    // Keep-alives.

    /// Starts to send keep-alives as the peer is configured, or stops.
    pub(super) fn keep_alive(&mut self, slot: u32) {
        let Some(span) = self.span_mut(slot) else {
            return;
        };
        let old = span.keepalive.take();
        let next = span.config.keepalive.filter(|_| span.has_way());
        let at = next.map(|interval| span.spoke + interval);
        self.stop(old);
        let Some(at) = at else {
            return;
        };
        // What is due is not due twice at one time.
        let at = at.max(self.now + Duration::from_nanos(1));
        let timer = self.set_local(slot, at, What::KeepAlive);
        if let Some(span) = self.span_mut(slot) {
            span.keepalive = timer;
        }
    }

    pub(super) fn keepalive_due(&mut self, slot: u32) {
        let now = self.now;
        let Some(span) = self.span_mut(slot) else {
            return;
        };
        span.keepalive = None;
        let Some(interval) = span.config.keepalive else {
            return;
        };
        if now - span.spoke >= interval {
            // The next interval begins here, whether this one can leave or not.
            span.spoke = now;
            if span.may_send() && span.control.is_empty() {
                self.queue(slot, Control::KeepAlive);
            }
        }
        self.keep_alive(slot);
    }

    // Peers that come by themselves.

    /// Lets peers in that were not added: `template` says how they are treated, but for its address, and
    /// `most` how many there may be. `None` lets nobody in; those who came stay.
    ///
    /// Whoever sends data of a session from an address that no peer has is let in under the engine ID that
    /// the session names, and answered at that address. Anybody can claim an ID, so the template should
    /// demand authentication where the network is open. At the limit, one without sessions makes room.
    ///
    /// # Errors
    ///
    /// A bad configuration.
    pub fn welcome(
        &mut self,
        now: Instant,
        template: Option<Peer<A>>,
        most: u32,
    ) -> Result<(), Error> {
        self.advance(now);
        let Some(template) = template else {
            self.welcome = None;
            return Ok(());
        };
        let keys = template.check().map_err(Error::Peer)?;
        self.welcome = Some(Welcome {
            template: Box::new(template),
            most,
            keys: Arc::new(keys),
        });
        Ok(())
    }

    /// What the segment of a stranger has to be proved by; `None` if it lets nobody in.
    pub(super) fn keys_of_strangers(&self, segment: &Segment<'_>) -> Option<&Arc<Keys>> {
        let welcome = self.welcome.as_ref()?;
        let id = segment.session.originator;
        let is_data = matches!(segment.body, Body::Data(_));
        let is_new = is_data && id != 0 && !self.by_id.contains_key(&id);
        (is_new && self.has_event_room()).then_some(&welcome.keys)
    }

    /// Lets in who sent a segment that was proved, under the keys of all strangers, which were read once.
    pub(super) fn admit_stranger(&mut self, from: A, segment: &Segment<'_>) -> Option<u32> {
        let welcome = self.welcome.as_ref()?;
        let id = segment.session.originator;
        let keys = Arc::clone(&welcome.keys);
        self.may_add(id, from).ok()?;
        let peer = Peer {
            address: from,
            ..(*welcome.template).clone()
        };
        if self.strangers >= welcome.most {
            let idle = self.idle_stranger()?;
            self.remove_peer(self.now, idle).ok()?;
        }
        self.insert_peer(id, peer, keys).ok()?;
        self.strangers += 1;
        let slot = *self.by_id.get(&id)?;
        self.span_mut(slot)?.origin = Origin::Stranger;
        self.tell(Event::Stranger { peer: id }, 0);
        Some(slot)
    }

    fn idle_stranger(&self) -> Option<u64> {
        self.spans
            .iter()
            .flatten()
            .find(|span| span.origin == Origin::Stranger && span.exports == 0 && span.imports == 0)
            .map(|span| span.id)
    }
}
