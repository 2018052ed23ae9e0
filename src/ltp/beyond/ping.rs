//! Pings, which tell whether a peer can be reached, and keep-alives.

use core::time::Duration;

use crate::kit::TimerId;
use crate::ltp::api::{Error, Event};
use crate::ltp::closed::End;
use crate::ltp::config::Direction;
use crate::ltp::context::{Core, Node, TimerKind};
use crate::ltp::engine::Engine;
use crate::ltp::peer::{Control, PeerState, Role};
use crate::{Addr, Instant};

/// A cancellation of a session that was never begun. Its acknowledgment shows that the peer can be reached.
#[derive(Debug)]
pub(in crate::ltp) struct Ping {
    pub(in crate::ltp) number: u64,
    tries: u8,
    /// When the first cancellation was sent.
    first: Instant,
    /// When the latest cancellation was sent.
    latest: Instant,
    timer: Option<TimerId>,
}

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
        let Core { node, peers } = &mut self.core;
        let exports = &self.exports;
        let slot = peers.slot(peer)?;
        let state = peers.get_mut(slot).ok_or(Error::UnknownPeer(peer))?;
        if state.config.direction != Direction::Both {
            return Err(Error::Direction(peer));
        }
        if state.ping.is_some() {
            return Err(Error::PingPending(peer));
        }
        let number = node.draw_number(|number| exports.table.contains(&number));
        state.name(node);
        state.ping = Some(Ping {
            number,
            tries: 0,
            first: node.now,
            latest: node.now,
            timer: None,
        });
        state.send_ping(node);
        peers.pings.insert(number, slot);
        Ok(())
    }
}

impl PeerState {
    fn send_ping(&mut self, node: &mut Node) {
        if !self.queue(node, Control::Ping) {
            // Treated as lost on the line: the timer repeats it.
            self.on_ping_sent(node);
        }
    }

    pub(in crate::ltp) fn on_ping_sent(&mut self, node: &mut Node) {
        let (now, departure) = (node.now, self.departure(node.now));
        if self.ping.is_none() {
            return;
        }
        let timer = self.start(node, self.answer(now), TimerKind::Ping);
        if let Some(ping) = &mut self.ping {
            ping.tries = ping.tries.saturating_add(1);
            ping.timer = timer;
            ping.latest = departure;
            if ping.tries == 1 {
                ping.first = departure;
            }
        }
    }

    // Keep-alives.

    /// Starts or stops keep-alives as the peer is configured.
    pub(in crate::ltp) fn keep_alive(&mut self, node: &mut Node) {
        node.stop(self.keepalive.take());
        if let Some(interval) = self.config.timers.keepalive.filter(|_| self.can_send()) {
            // Later than `now`, or the timer would fire twice in one drain.
            let soon = node.now + Duration::from_nanos(1);
            let at = soon.max(self.last_sent + interval);
            self.keepalive = self.start_local(node, at, TimerKind::KeepAlive);
        }
    }

    pub(in crate::ltp) fn keepalive_due(&mut self, node: &mut Node) {
        self.keepalive = None;
        let Some(interval) = self.config.timers.keepalive else {
            return;
        };
        if node.now - self.last_sent >= interval {
            // The next interval starts here, whether this keep-alive can be sent or not.
            self.last_sent = node.now;
            if self.may_send() && self.control.is_empty() {
                self.queue(node, Control::KeepAlive);
            }
        }
        self.keep_alive(node);
    }
}

impl Core {
    pub(in crate::ltp) fn ping_expired(&mut self, slot: u32) {
        let Some(state) = self.peers.get_mut(slot) else {
            return;
        };
        let limit = state.config.limits.cancel_retries;
        let Some(ping) = &mut state.ping else {
            return;
        };
        ping.timer = None;
        if ping.tries <= limit {
            state.send_ping(&mut self.node);
        } else {
            self.end_ping(slot);
        }
    }

    /// Handles a CAS that is for no block: it may be for a ping.
    pub(in crate::ltp) fn on_ping_answered(&mut self, number: u64) {
        let slot = self.peers.pings.get(&number).copied();
        if let Some((peer, ping)) = slot.and_then(|slot| self.take_ping(slot, true)) {
            let after = self.node.now - ping.first;
            self.node.push_event(Event::Answered { peer, after }, 0);
        }
    }

    /// Ends a ping without an answer: its retries are used up, or the peer cannot be asked any more.
    pub(in crate::ltp) fn end_ping(&mut self, slot: u32) {
        if let Some((peer, _)) = self.take_ping(slot, false) {
            self.node.push_event(Event::Silent { peer }, 0);
        }
    }

    /// Takes a ping that is over, and remembers its number, so that it is not drawn again while the peer may remember it.
    fn take_ping(&mut self, slot: u32, is_answered: bool) -> Option<(u64, Ping)> {
        let Self { node, peers } = self;
        let ping = peers.get_mut(slot)?.ping.take()?;
        node.stop(ping.timer);
        peers.pings.remove(&ping.number);
        let peer = peers.get_mut(slot)?;
        if is_answered {
            peer.answered(node.now, ping.first, ping.latest);
        }
        let name = (Role::Sender, node.own_session(ping.number));
        node.remember(peer, name, End::Plain, None, None);
        Some((peer.id, ping))
    }
}
