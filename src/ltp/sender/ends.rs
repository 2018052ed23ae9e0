//! Progress of blocks being sent, and how their sessions end: complete, failed, closed.

use alloc::boxed::Box;
use core::mem;

use super::{Cancel, Outstanding, Sending, State};
use crate::ltp::api::{Event, Progress, Side};
use crate::ltp::closed::{End, Record};
use crate::ltp::config::Direction;
use crate::ltp::engine::{Engine, TimerKind};
use crate::ltp::peer::{Control, PeerState, Role};
use crate::ltp::wire::{Reason, SessionId};
use crate::{Addr, Tag};

impl<A: Addr> Engine<A> {
    /// Returns how far the transmission of a block has got. `None` when no block with the tag is being sent.
    #[must_use]
    pub fn progress(&self, tag: Tag) -> Option<Progress> {
        let export = self.exports.get(&self.tagged(tag)?)?;
        match &export.state {
            State::Sending(sending) => Some(Progress {
                sent: sending.next,
                claimed: sending.claimed.len(),
                red: sending.red,
                len: sending.len,
            }),
            State::Single(single) => Some(Progress {
                sent: single.left.map_or(0, |_| single.len()),
                claimed: 0,
                red: single.len(),
                len: single.len(),
            }),
            State::Cancelling(_) => None,
        }
    }

    /// Reports and completes sessions whose last segment may just have been sent (RFC 5326 section 6.12).
    pub(in crate::ltp) fn after_first_passes(&mut self) {
        let mut first_pass_done = mem::take(&mut self.first_pass_done);
        for number in first_pass_done.drain(..) {
            if let Some((_, sending)) = self.sending(number)
                && sending.next == sending.len
                && mem::take(&mut sending.notifies_sent)
            {
                let tag = sending.tag;
                self.push_event(Event::Sent { tag }, 0);
            }
            self.check_progress(number);
        }
        self.first_pass_done = first_pass_done;
    }

    pub(super) fn complete(&mut self, number: u64) {
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        if let Some((_, sending)) = self.end_sending(number) {
            self.stats.exports_complete += 1;
            self.export_octets -= sending.block.len();
            let tag = sending.tag;
            self.push_event(Event::Complete { tag, session }, 0);
        }
        self.close_export(number);
    }

    /// Cancels a session as its sender (RFC 5326 section 6.19). The application hears of it once. The peer hears of it
    /// if a segment was sent and the peer did not cancel.
    pub(in crate::ltp) fn fail(&mut self, number: u64, by: Side, reason: Reason) {
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let Some((slot, sending)) = self.end_sending(number) else {
            if by == Side::Remote {
                self.close_export(number);
            }
            return;
        };
        self.stats.exports_failed += 1;
        let has_left = sending.next.max(sending.may_have_left) > 0;
        if let Some(peer) = self.peer_mut(slot) {
            forget(peer, number, &sending);
        }
        // The block is given back in the event, and stays accounted for until that is taken.
        let failed = Event::Failed {
            tag: sending.tag,
            session,
            by,
            reason,
            data: sending.block,
        };
        self.push_event(failed, 0);
        if by == Side::Local && has_left {
            if let Some(export) = self.exports.get_mut(&number) {
                export.state = State::Cancelling(Cancel::new(reason));
            }
            self.cancel_export_again(slot, number, 0);
        } else {
            self.close_export(number);
        }
    }

    /// Stops all timers of a session and takes it out of all queues.
    pub(super) fn end_sending(&mut self, number: u64) -> Option<(u32, Box<Sending>)> {
        let export = self.exports.get_mut(&number)?;
        let slot = export.slot;
        export.state.sending()?;
        let idle = State::Cancelling(Cancel::new(Reason::USER));
        let State::Sending(sending) = mem::replace(&mut export.state, idle) else {
            return None;
        };
        for timer in sending.checkpoints.iter().flat_map(Outstanding::timers) {
            self.stop(Some(timer));
        }
        self.stop(sending.guard);
        self.stop(sending.delay);
        if let Some(place) = self.exports.position(&number) {
            self.tags.remove(sending.tag, place);
        }
        if sending.spare.is_queued
            && let Some(peer) = self.peer_mut(slot)
        {
            peer.spare.retain(|other| *other != number);
        }
        self.remove_in_flight(slot, sending.in_flight());
        Some((slot, sending))
    }

    /// Repeats a CS whose timer expired (RFC 5326 section 6.16).
    pub(in crate::ltp) fn export_cancel_expired(&mut self, number: u64) {
        let Some(export) = self.exports.get_mut(&number) else {
            return;
        };
        let slot = export.slot;
        let State::Cancelling(cancel) = &mut export.state else {
            return;
        };
        cancel.timer = None;
        let tries = cancel.tries;
        self.cancel_export_again(slot, number, tries);
    }

    pub(super) fn cancel_export_again(&mut self, slot: u32, number: u64, tries: u8) {
        let peer = self
            .peer(slot)
            .filter(|peer| peer.config.direction == Direction::Both);
        let limit = peer.map(|peer| peer.config.cancel_retries);
        // Where the peer cannot answer, one CS is sent.
        if limit.map_or(tries > 0, |limit| tries > limit) {
            self.close_export(number);
            return;
        }
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let by = Role::Sender;
        if !self.queue(slot, Control::Cancel { session, by }) {
            // Treated as lost on the line: the timer repeats it.
            self.on_export_cancel_sent(slot, number, 0);
        }
    }

    /// Starts the timer of a CS that was sent (RFC 5326 section 6.15).
    pub(in crate::ltp) fn on_export_cancel_sent(&mut self, slot: u32, number: u64, len: usize) {
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, len)) else {
            return;
        };
        let timer = self.set(slot, due, TimerKind::ExportCancel { number });
        if let Some(export) = self.exports.get_mut(&number)
            && let State::Cancelling(cancel) = &mut export.state
        {
            cancel.tries = cancel.tries.saturating_add(1);
            cancel.timer = timer;
        }
    }

    /// Closes a session (RFC 5326 section 6.20), and remembers that its number was used.
    pub(in crate::ltp) fn close_export(&mut self, number: u64) {
        let Some(export) = self.exports.remove(&number) else {
            return;
        };
        if let State::Cancelling(cancel) = &export.state {
            self.stop(cancel.timer);
        }
        let slot = export.slot;
        let memory = self.peer_mut(slot).map(|peer| {
            peer.exports -= 1;
            peer.remembered_for()
        });
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let record = Record {
            slot,
            until: self.now + memory.unwrap_or_default(),
            key_hash: export.key_hash,
            end: End::Plain,
        };
        self.cookies.forget(Role::Sender, session);
        self.closed
            .insert(self.now, (Role::Sender, session), &record);
        self.unblock_peers();
    }
}

/// Takes a session out of the queues. The others keep their order.
fn forget<A>(peer: &mut PeerState<A>, number: u64, sending: &Sending) {
    if sending.next < sending.len {
        peer.fresh.retain(|other| *other != number);
    }
    if sending.is_repairing {
        peer.repairs.retain(|other| *other != number);
    }
}
