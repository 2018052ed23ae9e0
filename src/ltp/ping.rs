//! Pings, which tell whether a peer can be reached, and keep-alives.

use core::time::Duration;

use super::api::{Error, Event};
use super::closed::{End, Record};
use super::config::Direction;
use super::engine::{Engine, TimerKind};
use super::peer::{Control, PeerState, Ping, Role};
use super::wire::SessionId;
use crate::{Addr, Instant};

impl<A: Addr> Engine<A> {
    /// Asks a peer for a sign of life: cancels a session that was never begun, which every engine acknowledges
    /// (RFC 5326 section 6.17).
    ///
    /// [`Event::Answered`] or [`Event::Silent`] follows.
    ///
    /// # Errors
    ///
    /// Unknown peer, a peer whose direction is not both, or a ping that awaits its answer.
    pub fn ping(&mut self, now: Instant, peer: u64) -> Result<(), Error> {
        self.advance(now);
        let slot = *self.by_id.get(&peer).ok_or(Error::UnknownPeer(peer))?;
        let state = self.peer(slot).ok_or(Error::UnknownPeer(peer))?;
        if state.config.direction != Direction::Both {
            return Err(Error::Direction(peer));
        }
        if state.ping.is_some() {
            return Err(Error::PingPending(peer));
        }
        let number = self.draw_number();
        self.pings.insert(number, slot);
        let now = self.now;
        if let Some(state) = self.peer_mut(slot) {
            state.ping = Some(Ping {
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
            // Treated as lost on the line: the timer repeats it.
            self.on_ping_sent(slot, 0);
        }
    }

    pub(super) fn on_ping_sent(&mut self, slot: u32, len: usize) {
        let now = self.now;
        let Some(due) = self.peer(slot).map(|state| state.answer(now, len)) else {
            return;
        };
        if self.peer(slot).is_none_or(|state| state.ping.is_none()) {
            return;
        }
        let timer = self.set(slot, due, TimerKind::Ping);
        if let Some(ping) = self.peer_mut(slot).and_then(|state| state.ping.as_mut()) {
            ping.tries = ping.tries.saturating_add(1);
            ping.timer = timer;
            ping.latest = now;
            if ping.tries == 1 {
                ping.first = now;
            }
        }
    }

    pub(super) fn ping_expired(&mut self, slot: u32) {
        let Some(state) = self.peer_mut(slot) else {
            return;
        };
        let limit = state.config.cancel_retries;
        let Some(ping) = &mut state.ping else {
            return;
        };
        ping.timer = None;
        if ping.tries <= limit {
            self.ping_again(slot);
        } else {
            self.end_ping(slot);
        }
    }

    /// Handles a CAS for a ping. False when the CAS is for another session.
    pub(super) fn on_ping_answered(&mut self, session: SessionId) -> bool {
        let Some(&slot) = self.pings.get(&session.number) else {
            return false;
        };
        let now = self.now;
        let Some(state) = self.peer_mut(slot) else {
            return false;
        };
        let Some(ping) = state.ping.take() else {
            return false;
        };
        let peer = state.id;
        state.answered(now, ping.first, ping.latest, 0);
        self.forget_ping(slot, &ping);
        let after = now - ping.first;
        self.push_event(Event::Answered { peer, after }, 0);
        true
    }

    /// Ends a ping without an answer: its retries are used up, or the peer cannot be asked any more.
    pub(super) fn end_ping(&mut self, slot: u32) {
        let Some(state) = self.peer_mut(slot) else {
            return;
        };
        let Some(ping) = state.ping.take() else {
            return;
        };
        let peer = state.id;
        self.forget_ping(slot, &ping);
        self.push_event(Event::Silent { peer }, 0);
    }

    /// Remembers the number of a ping, so that it is not drawn again while the peer may remember it.
    fn forget_ping(&mut self, slot: u32, ping: &Ping) {
        self.stop(ping.timer);
        self.pings.remove(&ping.number);
        let memory = self
            .peer(slot)
            .map(PeerState::remembered_for)
            .unwrap_or_default();
        let session = SessionId {
            originator: self.config.engine,
            number: ping.number,
        };
        let record = Record {
            slot,
            until: self.now + memory,
            key_hash: None,
            end: End::Plain,
        };
        self.closed
            .insert(self.now, (Role::Sender, session), &record);
    }

    // Keep-alives.

    /// Starts or stops keep-alives as the peer is configured.
    pub(super) fn keep_alive(&mut self, slot: u32) {
        let Some(state) = self.peer_mut(slot) else {
            return;
        };
        let old = state.keepalive.take();
        let next = state.config.keepalive.filter(|_| state.can_send());
        let at = next.map(|interval| state.last_sent + interval);
        self.stop(old);
        let Some(at) = at else {
            return;
        };
        // Later than `now`, or the timer would fire twice in one drain.
        let at = at.max(self.now + Duration::from_nanos(1));
        let timer = self.set_local(slot, at, TimerKind::KeepAlive);
        if let Some(state) = self.peer_mut(slot) {
            state.keepalive = timer;
        }
    }

    pub(super) fn keepalive_due(&mut self, slot: u32) {
        let now = self.now;
        let Some(state) = self.peer_mut(slot) else {
            return;
        };
        state.keepalive = None;
        let Some(interval) = state.config.keepalive else {
            return;
        };
        if now - state.last_sent >= interval {
            // The next interval starts here, whether this keep-alive can be sent or not.
            state.last_sent = now;
            if state.may_send() && state.control.is_empty() {
                self.queue(slot, Control::KeepAlive);
            }
        }
        self.keep_alive(slot);
    }
}
