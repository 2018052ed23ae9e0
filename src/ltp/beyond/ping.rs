//! Pings, which tell whether a peer can be reached, and keep-alives.

use core::mem;
use core::time::Duration;

use crate::kit::TimerId;
use crate::ltp::api::{Error, Event};
use crate::ltp::closed::End;
use crate::ltp::config::Direction;
use crate::ltp::context::{Core, Node, TimerKind};
use crate::ltp::engine::Engine;
use crate::ltp::export::Exports;
use crate::ltp::peer::{Control, PeerState, Role};
use crate::{Addr, Instant};

/// How often a ping leaves that no command asked for. Sessions wait for its answer, and what follows one that is sent ahead
/// of a block may fill the queue of the line for minutes.
const COPIES: usize = 3;

/// A cancellation of a session that was never begun. Its acknowledgment shows that the peer can be reached, and that what
/// left before it has passed the line.
#[derive(Debug)]
pub(in crate::ltp) struct Ping {
    pub(in crate::ltp) number: u64,
    /// Whether a command asks for it. Otherwise its end is no event.
    is_commanded: bool,
    tries: u16,
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
        let Self { core, exports, .. } = self;
        let slot = core.peers.slot(peer)?;
        let state = core.peers.get_mut(slot).ok_or(Error::UnknownPeer(peer))?;
        if state.config.direction != Direction::Both {
            return Err(Error::Direction(peer));
        }
        state.name(&mut core.node);
        match &mut state.ping {
            Some(ping) if ping.is_commanded => return Err(Error::PingPending(peer)),
            Some(ping) => ping.is_commanded = true,
            None => core.begin_ping(slot, exports, true),
        }
        Ok(())
    }

    /// Pings the peers of which a session asks whether what has left for them has passed the line.
    #[cold]
    pub(in crate::ltp) fn ask(&mut self) {
        let Self { core, exports, .. } = self;
        for slot in mem::take(&mut core.node.asked) {
            let state = core.peers.get(slot);
            let can_ask = |state: &PeerState| {
                state.ping.is_none() && state.config.direction == Direction::Both
            };
            if state.is_some_and(can_ask) {
                core.begin_ping(slot, exports, false);
            }
        }
    }
}

impl PeerState {
    /// Asks by a ping whether a signal has passed the line, which waits until then.
    pub(in crate::ltp) fn ask(&mut self, node: &mut Node, signal: TimerKind) {
        self.asking.push_back(signal);
        node.asked.push(self.slot);
    }

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
        let mut due = self.answer(now);
        if let Some(ping) = &mut self.ping {
            node.stop(ping.timer.take());
            if ping.tries == 0 {
                ping.first = departure;
            }
            // Further ones that leave at once are no repetitions.
            ping.tries = ping
                .tries
                .saturating_add(u16::from(ping.tries == 0 || now > ping.latest));
            ping.latest = departure;
            if !ping.is_commanded {
                // It may wait in a queue: the interval doubles.
                due.deadline += now - ping.first;
            }
        }
        let timer = self.start(node, due, TimerKind::Ping);
        if let Some(ping) = &mut self.ping {
            ping.timer = timer;
        }
    }

    /// Whether a ping is to tell if a signal that left at `left` has passed the line, before it is taken for lost.
    ///
    /// What has left may be for minutes in the queue of a line whose rate is not known. Copies of the signal would fill
    /// it further, and ION counts each copy of a checkpoint as one more of the few reports that it allows.
    pub(in crate::ltp) fn must_ask(&self, left: Instant, now: Instant) -> bool {
        // Bound: usize has at most 64 bits.
        let is_long = self.in_flight.octets > self.config.segment as u64;
        let queued = self.flow.queueing_time(self.in_flight.octets);
        is_long && self.arrived_before < left && now < left + self.timeout() + queued
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
    fn begin_ping(&mut self, slot: u32, exports: &Exports, is_commanded: bool) {
        let Self { node, peers } = self;
        let Some(state) = peers.get_mut(slot) else {
            return;
        };
        let number = node.draw_number(|number| exports.table.contains(&number));
        state.ping = Some(Ping {
            number,
            is_commanded,
            tries: 0,
            first: node.now,
            latest: node.now,
            timer: None,
        });
        for _ in 0..if is_commanded { 1 } else { COPIES } {
            state.send_ping(node);
        }
        peers.pings.insert(number, slot);
    }

    pub(in crate::ltp) fn ping_expired(&mut self, slot: u32) {
        let Some(state) = self.peers.get_mut(slot) else {
            return;
        };
        let limit = state.config.limits.cancel_retries.into();
        let Some(ping) = &mut state.ping else {
            return;
        };
        ping.timer = None;
        let queued = self.node.now - ping.first < state.flow.queueing_time(state.in_flight.octets);
        if ping.tries <= limit || queued && !ping.is_commanded {
            state.send_ping(&mut self.node);
        } else {
            self.end_ping(slot);
        }
    }

    /// Handles a CAS that is for no block: it may be for a ping.
    pub(in crate::ltp) fn on_ping_answered(&mut self, number: u64) {
        let slot = self.peers.pings.get(&number).copied();
        if let Some((peer, ping)) = slot.and_then(|slot| self.take_ping(slot, true))
            && ping.is_commanded
        {
            let after = self.node.now - ping.first;
            self.node.push_event(Event::Answered { peer, after }, 0);
        }
    }

    /// Ends a ping without an answer: its retries are used up, or the peer cannot be asked any more.
    pub(in crate::ltp) fn end_ping(&mut self, slot: u32) {
        if let Some((peer, ping)) = self.take_ping(slot, false)
            && ping.is_commanded
        {
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
        peer.waiting.append(&mut peer.asking);
        // In a silence they wait for its next step, as all others.
        if is_answered || peer.silence_timer.is_none() {
            peer.resume(node);
        }
        // A peer that answers no pings is not asked again.
        peer.arrived_before = Instant::from_nanos(u64::MAX);
        if is_answered {
            peer.answered(node.now, ping.first, ping.latest);
            peer.arrived_before = ping.first;
        }
        let name = (Role::Sender, node.own_session(ping.number));
        node.remember(peer, name, End::Plain, None, None);
        Some((peer.id, ping))
    }
}
