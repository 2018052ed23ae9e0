//! Progress of blocks being sent, and how their sessions end: complete, failed, closed.

use core::mem;

use super::{ExportSession, Outstanding, Sending};
use crate::ltp::api::{Event, Progress, Side};
use crate::ltp::closed::End;
use crate::ltp::context::{Cancel, Context, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
use crate::ltp::stage::Stage;
use crate::ltp::wire::Reason;
use crate::{Addr, Tag};

impl<A: Addr> Engine<A> {
    /// Returns how far the transmission of a block has got. `None` when no block with the tag is being sent.
    #[must_use]
    pub fn progress(&self, tag: Tag) -> Option<Progress> {
        let place = self.exports.place_of(tag).ok()?;
        let (_, export) = self.exports.table.at(place)?;
        let sending = export.stage.open()?;
        Some(Progress {
            sent: sending.next,
            claimed: sending.repair().claimed.len(),
            red: sending.red,
            len: sending.len(),
        })
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
        if let Stage::Open(sending) = &self.stage {
            sending.end(cx);
            cx.node.stats.exports_complete += 1;
            cx.node.budget.exports -= sending.block.len();
            sending.learn_success(cx);
            let (tag, session) = (sending.tag, cx.session);
            cx.node.push_event(Event::Complete { tag, session }, 0);
        }
        self.stage = Stage::Cancelling(Cancel::new(Reason::USER));
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
        let Stage::Open(sending) = &mut self.stage else {
            return match by {
                Side::Local => Step::Continues,
                Side::Remote => Step::Ends(End::Plain),
            };
        };
        sending.end(cx);
        cx.node.stats.exports_failed += 1;
        let has_left = sending.next.max(sending.repair().may_have_left) > 0;
        sending.leave_queues(cx);
        // The block is given back in the event, and stays accounted for until that is taken.
        let failed = Event::Failed {
            tag: sending.tag,
            session: cx.session,
            by,
            reason,
            cause,
            data: mem::take(&mut sending.block),
        };
        cx.node.push_event(failed, 0);
        let mut cancel = Cancel::after(reason, cx);
        let step = match by {
            Side::Local if has_left => cancel.send(Role::Sender, cx),
            Side::Local | Side::Remote => Step::Ends(End::Plain),
        };
        self.stage = Stage::Cancelling(cancel);
        step
    }

    /// Learns from a cancellation by the peer because of one of its limits. Returns whether the block is to be sent once
    /// more, since it had checkpoints before the end of the red part, which ION refuses.
    pub(super) fn limit_exceeded(&self, cx: &mut Context<'_>) -> bool {
        let Some(sending) = self.stage.open() else {
            return false;
        };
        let flow = &sending.repair().flow;
        let is_possible = cx.peer.flow.on_limit_exceeded(flow.has_early_checkpoint);
        cx.peer.apply_flow();
        is_possible && !flow.is_second
    }

    /// Ends the session without a word to the application, and returns the session that sends its block once more.
    pub(super) fn begin_again(&mut self, cx: &mut Context<'_>) -> Option<Self> {
        let over = Stage::Cancelling(Cancel::new(Reason::USER));
        let Stage::Open(sending) = mem::replace(&mut self.stage, over) else {
            return None;
        };
        sending.end(cx);
        sending.leave_queues(cx);
        Some(Self {
            key_hash: None,
            stage: Stage::Open(sending.again(cx.node)),
            ..*self
        })
    }
}

impl Sending {
    /// Stops all timers, and takes the session out of the queues that it is in beside those of its passes.
    fn end(&self, cx: &mut Context<'_>) {
        cx.stop(self.checkpoints.iter().flat_map(Outstanding::timers));
        if let Some(repair) = &self.repair {
            cx.stop(repair.guard);
            cx.stop(repair.delay);
            if repair.duplicates.is_queued {
                let number = cx.session.number;
                cx.peer.spare.retain(|other| *other != number);
            }
        }
        cx.peer.remove_in_flight(cx.node, self.in_flight());
    }

    /// Takes the session out of the queues of its passes. The others keep their order.
    fn leave_queues(&self, cx: &mut Context<'_>) {
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
