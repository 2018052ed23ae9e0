//! How the reception of a block ends: cancelled by either side, or closed and remembered.

use core::mem;

use super::{ImportSession, Reception, SESSION, Stage};
use crate::ltp::api::{Error, Event, Side};
use crate::ltp::closed::End;
use crate::ltp::context::{Cancel, Context, EVENT_OVERHEAD, ImportTimer, Step};
use crate::ltp::engine::Engine;
use crate::ltp::peer::{Control, Role};
use crate::ltp::wire::{Reason, SessionId};
use crate::{Addr, Instant};

impl<A: Addr> Engine<A> {
    /// Cancels the reception of a block (RFC 5326 section 4.2).
    ///
    /// # Errors
    ///
    /// Unknown session.
    pub fn refuse(&mut self, now: Instant, session: SessionId) -> Result<(), Error> {
        self.advance(now);
        let Self {
            node,
            peers,
            imports,
            ..
        } = self;
        let mut is_known = false;
        imports.with(session, peers, node, |import, cx| {
            is_known = import.reception().is_some();
            import.cancel(Reason::USER, cx)
        });
        is_known.then_some(()).ok_or(Error::UnknownSession(session))
    }
}

impl ImportSession {
    /// Cancels a session as its receiver (RFC 5326 section 6.19): frees what it holds, and sends CRs until one is
    /// acknowledged.
    pub(in crate::ltp) fn cancel<A: Addr>(
        &mut self,
        reason: Reason,
        cx: &mut Context<'_, A>,
    ) -> Step {
        if self.stop(Side::Local, reason, cx) {
            self.send_cancel(cx)
        } else {
            Step::Continues
        }
    }

    /// Frees what a session holds, and reports the cancellation once. False if it was cancelled before.
    pub(in crate::ltp) fn stop<A: Addr>(
        &mut self,
        by: Side,
        reason: Reason,
        cx: &mut Context<'_, A>,
    ) -> bool {
        if matches!(self.stage, Stage::Cancelling(_)) {
            return false;
        }
        let cancelling = Stage::Cancelling(Cancel::new(reason));
        if let Stage::Receiving(reception) = mem::replace(&mut self.stage, cancelling) {
            reception.release(cx);
            cx.node.stats.imports_cancelled += 1;
            let client = reception.client;
            let event = Event::Cancelled {
                session: cx.session,
                client,
                by,
                reason,
                after_delivery: reception.is_delivered,
            };
            cx.node.push_service_event(client, event, EVENT_OVERHEAD);
        }
        true
    }

    /// Gives up a session whose EOB was lost, maybe with green segments. The application hears that nothing more
    /// comes (RFC 5326 section 7.6). The sender waits for nothing, and is not told.
    pub(super) fn give_up_end<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        let end = match self.reception().map(|reception| reception.end()) {
            Some(end @ End::Delivered { .. }) => end,
            // Red data that still come must not be delivered any more.
            _ => End::Plain,
        };
        self.stop(Side::Local, Reason::SYSTEM, cx);
        Step::Ends(end)
    }

    /// Stops the timers of a session that is closed, and frees what it holds.
    pub(super) fn release<A: Addr>(&self, cx: &mut Context<'_, A>) {
        match &self.stage {
            Stage::Receiving(reception) => reception.release(cx),
            Stage::Cancelling(cancel) => cx.stop(cancel.timer),
        }
    }

    /// Queues a CR, unless all tries are used up.
    pub(super) fn send_cancel<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        let Stage::Cancelling(cancel) = &self.stage else {
            return Step::Continues;
        };
        // Receive-only engines close at once (RFC 5326 section 4.2).
        if !cx.peer.can_send() || cancel.tries > cx.peer.config.cancel_retries {
            return Step::Ends(End::Plain);
        }
        let control = Control::Cancel {
            session: cx.session,
            by: Role::Receiver,
            left: None,
        };
        if !cx.queue(control) {
            // Treated as lost on the line: the timer repeats it.
            self.on_cancel_sent(0, cx);
        }
        Step::Continues
    }

    /// Starts the timer of a CR that was sent (RFC 5326 section 6.15).
    pub(in crate::ltp) fn on_cancel_sent<A: Addr>(&mut self, len: usize, cx: &mut Context<'_, A>) {
        if let Stage::Cancelling(cancel) = &mut self.stage {
            cancel.tries = cancel.tries.saturating_add(1);
            cancel.timer = cx.await_ack(len, ImportTimer::Cancel);
        }
    }

    /// Repeats a CR whose timer expired (RFC 5326 section 6.16).
    pub(super) fn cancel_expired<A: Addr>(&mut self, cx: &mut Context<'_, A>) -> Step {
        if let Stage::Cancelling(cancel) = &mut self.stage {
            cancel.timer = None;
        }
        self.send_cancel(cx)
    }

    /// Returns the reason of a session that is being cancelled.
    pub(in crate::ltp) const fn cancel_reason(&self) -> Option<Reason> {
        match &self.stage {
            Stage::Receiving(_) => None,
            Stage::Cancelling(cancel) => Some(cancel.reason),
        }
    }

    /// Handles a CS (RFC 5326 section 6.17), which was acknowledged.
    pub(in crate::ltp) fn on_cancel<A: Addr>(
        &mut self,
        reason: Reason,
        cx: &mut Context<'_, A>,
    ) -> Step {
        self.stop(Side::Remote, reason, cx);
        Step::Ends(End::Plain)
    }

    /// Handles a CAR (RFC 5326 section 6.18).
    pub(in crate::ltp) const fn on_cancel_ack(&self) -> Step {
        match &self.stage {
            Stage::Receiving(_) => Step::Continues,
            Stage::Cancelling(_) => Step::Ends(End::Plain),
        }
    }
}

impl Reception {
    fn end(&self) -> End {
        let green = self.parts.as_ref().and_then(|parts| parts.green);
        match (self.is_delivered, self.red, green) {
            (true, Some(red), _) => End::Delivered {
                red,
                serial: self.serial,
            },
            (false, None, Some(low)) => End::GreenOnly { low },
            _ => End::Plain,
        }
    }

    fn release<A: Addr>(&self, cx: &mut Context<'_, A>) {
        for issued in &self.pending {
            cx.stop_all(issued.timers());
        }
        let mut charge = SESSION;
        if let Some(parts) = &self.parts {
            charge = parts.charge;
            cx.stop(parts.guard);
            cx.stop(parts.reports.delay);
            parts.red.release(&mut cx.node.budget.pool);
            if parts.is_streaming {
                cx.node.services.end_stream(self.client);
            }
        }
        cx.node.budget.charge(cx.peer, charge, 0);
    }

    /// Closes a session that was delivered, once every report is acknowledged and the green part has ended.
    ///
    /// RFC 5326 section 6.14 does not require the first of these conditions, and section 8.2 not the second. RFC 5325
    /// section 3.2 has the reading that works.
    pub(in crate::ltp) fn close_if_over(&self) -> Step {
        let is_green_over = self.parts.as_ref().is_some_and(|parts| parts.is_green_over);
        let is_over =
            self.is_delivered && !self.has_reports() && (self.ends_block || is_green_over);
        if is_over {
            Step::Ends(self.end())
        } else {
            Step::Continues
        }
    }
}
