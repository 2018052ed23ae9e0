//! Progress of blocks being sent, and how their sessions end: complete, failed, closed.

use core::mem;

use super::{ExportSession, Outstanding, Sending, Stage};
use crate::ltp::api::{Event, Progress, Side};
use crate::ltp::closed::End;
use crate::ltp::context::{Cancel, Context, Node, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
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
    pub(in crate::ltp) fn after_first_pass(&mut self, cx: &mut Context<'_>) -> Step {
        self.sending(cx, |sending, cx| {
            if sending.next == sending.len() && mem::take(&mut sending.notifies_sent) {
                let tag = sending.tag;
                cx.node.push_event(Event::Sent { tag }, 0);
            }
            sending.check_progress(cx)
        })
    }

    pub(super) fn complete(&mut self, cx: &mut Context<'_>) -> Step {
        if let Some(sending) = self.end_sending(cx) {
            cx.node.stats.exports_complete += 1;
            cx.node.budget.exports -= sending.block.len();
            let (tag, session) = (sending.tag, cx.session);
            cx.node.push_event(Event::Complete { tag, session }, 0);
        }
        Step::Ends(End::Plain)
    }

    /// Cancels a session as its sender (RFC 5326 section 6.19). The application hears of it once. The peer hears of it
    /// if a segment was sent and the peer did not cancel.
    pub(in crate::ltp) fn fail(&mut self, cause: EndCause, cx: &mut Context<'_>) -> Step {
        self.fail_with((Side::Local, cause.reason(), cause), cx)
    }

    pub(super) fn fail_with(
        &mut self,
        (by, reason, cause): (Side, Reason, EndCause),
        cx: &mut Context<'_>,
    ) -> Step {
        let Some(sending) = self.end_sending(cx) else {
            return match by {
                Side::Local => Step::Continues,
                Side::Remote => Step::Ends(End::Plain),
            };
        };
        cx.node.stats.exports_failed += 1;
        let has_left = sending.next.max(sending.repair().may_have_left) > 0;
        let number = cx.session.number;
        // The others keep their order.
        if sending.next < sending.len() {
            cx.peer.fresh.retain(|other| *other != number);
        }
        if sending.repair().is_queued {
            cx.peer.repairs.retain(|other| *other != number);
        }
        // The block is given back in the event, and stays accounted for until that is taken.
        let failed = Event::Failed {
            tag: sending.tag,
            session: cx.session,
            by,
            reason,
            cause,
            data: sending.block,
        };
        cx.node.push_event(failed, 0);
        if by == Side::Remote || !has_left {
            return Step::Ends(End::Plain);
        }
        let mut cancel = Cancel::after(reason, cx);
        let step = cancel.send(Role::Sender, cx);
        self.stage = Stage::Cancelling(cancel);
        step
    }

    /// Stops all timers of a block that is being sent, and takes it out of all queues.
    fn end_sending(&mut self, cx: &mut Context<'_>) -> Option<Sending> {
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

    /// Stops the timer of a session that is closed.
    pub(super) fn stop_timer(&self, node: &mut Node) {
        if let Stage::Cancelling(cancel) = &self.stage {
            node.stop(cancel.timer);
        }
    }

    /// Returns the cancellation of a session that is being cancelled.
    pub(in crate::ltp) const fn cancel_mut(&mut self) -> Option<&mut Cancel> {
        match &mut self.stage {
            Stage::Cancelling(cancel) => Some(cancel),
            _ => None,
        }
    }
}

impl Sending {
    /// Whether something is to be done once the last segment of the first pass was sent.
    pub(super) fn has_more_to_do(&self) -> bool {
        self.notifies_sent || self.is_claimed() || !self.awaits_report()
    }
}
