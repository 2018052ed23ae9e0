//! Progress of blocks being sent, and how their sessions end: complete, failed, closed.

use core::mem;

use super::{ExportSession, Outstanding, Sending, Stage};
use crate::ltp::api::{Event, Progress, Side};
use crate::ltp::closed::End;
use crate::ltp::config::Direction;
use crate::ltp::context::{Cancel, Context, ExportTimer, Node, Step};
use crate::ltp::engine::Engine;
use crate::ltp::peer::{Control, Role};
use crate::ltp::wire::Reason;
use crate::{Addr, Tag};

impl<A: Addr> Engine<A> {
    /// Returns how far the transmission of a block has got. `None` when no block with the tag is being sent.
    #[must_use]
    pub fn progress(&self, tag: Tag) -> Option<Progress> {
        let place = self.exports.place_of(tag).ok()?;
        let (_, export) = self.exports.table.at(place)?;
        match &export.stage {
            Stage::Sending(sending) => Some(Progress {
                sent: sending.next,
                claimed: sending.repair().claimed.len(),
                red: sending.red,
                len: sending.len(),
            }),
            Stage::Cancelling(_) => None,
        }
    }
}

impl ExportSession {
    /// Reports and completes a session whose last segment may just have been sent (RFC 5326 section 6.12).
    pub(in crate::ltp) fn after_first_pass<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        self.sending(cx, |sending, cx| {
            if sending.next == sending.len() && mem::take(&mut sending.notifies_sent) {
                let tag = sending.tag;
                cx.node.push_event(Event::Sent { tag }, 0);
            }
            sending.check_progress(cx)
        })
    }

    pub(super) fn complete<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        if let Some(sending) = self.end_sending(cx) {
            cx.node.stats.exports_complete += 1;
            cx.node.budget.exports -= sending.block.len();
            sending.learn_success(cx);
            let (tag, session) = (sending.tag, cx.session);
            cx.node.push_event(Event::Complete { tag, session }, 0);
        }
        Step::Ends(End::Plain)
    }

    /// Cancels a session as its sender (RFC 5326 section 6.19). The application hears of it once. The peer hears of it
    /// if a segment was sent and the peer did not cancel.
    pub(in crate::ltp) fn fail<A: Addr>(
        &mut self,
        by: Side,
        reason: Reason,
        cx: &mut Context<'_, A>,
    ) -> Step {
        let Some(sending) = self.end_sending(cx) else {
            return match by {
                Side::Local => Step::Continues,
                Side::Remote => Step::Ends(End::Plain),
            };
        };
        cx.node.stats.exports_failed += 1;
        let has_left = sending.next.max(sending.repair().may_have_left) > 0;
        sending.leave_queues(cx);
        // The block is given back in the event, and stays accounted for until that is taken.
        let failed = Event::Failed {
            tag: sending.tag,
            session: cx.session,
            by,
            reason,
            data: sending.block,
        };
        cx.node.push_event(failed, 0);
        if by == Side::Remote || !has_left {
            return Step::Ends(End::Plain);
        }
        self.stage = Stage::Cancelling(Cancel::new(reason));
        self.send_cancel(cx)
    }

    /// Learns from a cancellation by the peer because of one of its limits. Returns whether the block is to be sent once
    /// more, since it had checkpoints before the end of the red part, which ION refuses.
    pub(super) fn limit_exceeded<A: Addr>(&self, cx: &mut Context<'_, A>) -> bool {
        let Stage::Sending(sending) = &self.stage else {
            return false;
        };
        let flow = &sending.repair().flow;
        let is_possible = cx.peer.flow.on_limit_exceeded(flow.has_early_checkpoint);
        cx.peer.apply_flow();
        is_possible && !flow.is_second
    }

    /// Ends the session without a word to the application, and returns the session that sends its block once more.
    pub(super) fn begin_again<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Option<Self> {
        let sending = self.end_sending(cx)?;
        sending.leave_queues(cx);
        Some(Self {
            key_hash: None,
            stage: Stage::Sending(sending.again(cx.node)),
            ..*self
        })
    }

    /// Stops all timers of a block that is being sent, and takes it out of all queues.
    fn end_sending<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Option<Sending> {
        let over = Stage::Cancelling(Cancel::new(Reason::USER));
        let sending = match mem::replace(&mut self.stage, over) {
            Stage::Sending(sending) => sending,
            cancelling @ Stage::Cancelling(_) => {
                self.stage = cancelling;
                return None;
            }
        };
        cx.stop_all(sending.checkpoints.iter().flat_map(Outstanding::timers));
        if let Some(repair) = &sending.repair {
            cx.stop(repair.guard);
            cx.stop(repair.delay);
            if repair.duplicates.is_queued {
                let number = cx.session.number;
                cx.peer.spare.retain(|other| *other != number);
            }
        }
        cx.peer.remove_in_flight(cx.node, sending.in_flight());
        Some(sending)
    }

    /// Handles a CAS (RFC 5326 section 6.18).
    pub(in crate::ltp) const fn on_cancel_ack(&self) -> Step {
        match &self.stage {
            Stage::Sending(_) => Step::Continues,
            Stage::Cancelling(_) => Step::Ends(End::Plain),
        }
    }

    /// Repeats a CS whose timer expired (RFC 5326 section 6.16).
    pub(super) fn cancel_expired<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        if let Stage::Cancelling(cancel) = &mut self.stage {
            cancel.timer = None;
            return self.send_cancel(cx);
        }
        Step::Continues
    }

    /// Queues a CS, unless all tries are used up.
    pub(super) fn send_cancel<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        let Stage::Cancelling(cancel) = &self.stage else {
            return Step::Continues;
        };
        // Where the peer cannot answer, one CS is sent.
        let limit = match cx.peer.config.direction {
            Direction::Both => cx.peer.config.cancel_retries,
            Direction::ReceiveOnly | Direction::SendOnly => 0,
        };
        if cancel.tries > limit {
            return Step::Ends(End::Plain);
        }
        let control = Control::Cancel {
            session: cx.session,
            by: Role::Sender,
            left: None,
        };
        if !cx.queue(control) {
            // Treated as lost on the line: the timer repeats it.
            self.on_cancel_sent(0, cx);
        }
        Step::Continues
    }

    /// Starts the timer of a CS that was sent (RFC 5326 section 6.15).
    pub(in crate::ltp) fn on_cancel_sent<A: Addr>(&mut self, len: usize, cx: &mut Context<'_, A>) {
        if let Stage::Cancelling(cancel) = &mut self.stage {
            cancel.tries = cancel.tries.saturating_add(1);
            cancel.timer = cx.await_report(len, ExportTimer::Cancel);
        }
    }

    /// Stops the timer of a session that is closed.
    pub(super) fn stop_timer(&self, node: &mut Node) {
        if let Stage::Cancelling(cancel) = &self.stage {
            node.stop(cancel.timer);
        }
    }

    /// Returns the reason of a session that is being cancelled.
    pub(in crate::ltp) const fn cancel_reason(&self) -> Option<Reason> {
        match &self.stage {
            Stage::Sending(_) => None,
            Stage::Cancelling(cancel) => Some(cancel.reason),
        }
    }
}

impl Sending {
    /// Takes the session out of the queues of its peer. The others keep their order.
    fn leave_queues<A: Addr>(&self, cx: &mut Context<'_, A>) {
        let number = cx.session.number;
        if self.next < self.len() {
            cx.peer.fresh.retain(|other| *other != number);
        }
        if self.repair().is_queued {
            cx.peer.repairs.retain(|other| *other != number);
        }
    }

    /// Whether something is to be done once the last segment of the first pass was sent.
    pub(super) fn has_more_to_do(&self) -> bool {
        self.notifies_sent || self.is_claimed() || !self.awaits_report()
    }
}
