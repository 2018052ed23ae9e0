//! How the reception of a block ends: cancelled by either side, or closed and remembered.

use core::mem;

use super::{Awaited, ImportSession, Reception, SESSION};
use crate::ltp::api::{Error, Event, Service, Side};
use crate::ltp::closed::End;
use crate::ltp::context::{Cancel, Context, EVENT_OVERHEAD, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
use crate::ltp::stage::Stage;
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
        let mut is_known = false;
        self.imports.with(session, &mut self.core, |import, cx| {
            is_known = import.stage.open_mut().is_some();
            import.cancel(EndCause::Application, cx)
        });
        is_known.then_some(()).ok_or(Error::UnknownSession(session))
    }

    /// Acknowledges a red part that [`Event::RedPart`] told of, for a [scattered](Service::Scattered) service: the
    /// application says that it has stored what it was given, and the report that claims all of it is sent.
    ///
    /// Until then, or until [`refuse`](Self::refuse), the sender repeats its checkpoint, and gives up when its limits are
    /// reached.
    ///
    /// # Errors
    ///
    /// No red part of the session waits for this.
    pub fn stored(&mut self, now: Instant, session: SessionId) -> Result<(), Error> {
        self.advance(now);
        let mut is_awaited = false;
        self.imports.with(session, &mut self.core, |import, cx| {
            let reception = import.stage.open_mut();
            let reception = reception.filter(|one| one.awaits == Some(Awaited::Storage));
            is_awaited = reception.is_some();
            reception.map_or(Step::Continues, |reception| reception.acknowledge_all(cx))
        });
        is_awaited
            .then_some(())
            .ok_or(Error::NothingToStore(session))
    }
}

impl ImportSession {
    /// Cancels a session as its receiver (RFC 5326 section 6.19): frees what it holds, and sends CRs until one is
    /// acknowledged.
    pub(in crate::ltp) fn cancel(&mut self, cause: EndCause, cx: &mut Context<'_>) -> Step {
        let is_new = self.stop(cause, cx);
        match self.stage.cancel_mut().filter(|_| is_new) {
            Some(cancel) => cancel.send(Role::Receiver, cx),
            None => Step::Continues,
        }
    }

    /// Frees what a session holds, and reports the cancellation once. False if it was cancelled before.
    pub(in crate::ltp) fn stop(&mut self, cause: EndCause, cx: &mut Context<'_>) -> bool {
        let is_reporting = self.stage.open().is_some_and(Reception::has_reports);
        let reason = match cause {
            // The sender has not failed to answer, it has just stopped.
            EndCause::PeerSilent(_) if !is_reporting => Reason::SYSTEM,
            cause => cause.reason(),
        };
        self.stop_with((Side::Local, reason, cause), cx)
    }

    fn stop_with(
        &mut self,
        (by, reason, cause): (Side, Reason, EndCause),
        cx: &mut Context<'_>,
    ) -> bool {
        if matches!(self.stage, Stage::Cancelling(_)) {
            return false;
        }
        let cancelling = Stage::Cancelling(Cancel::after(reason, cx));
        if let Stage::Open(reception) = mem::replace(&mut self.stage, cancelling) {
            reception.release(cx);
            cx.node.stats.imports_cancelled += 1;
            let client = reception.client;
            let event = Event::Cancelled {
                session: cx.session,
                client,
                by,
                reason,
                cause,
                after_delivery: reception.is_delivered && !reception.is_to_be_stored(),
            };
            cx.push_service_event(client, event, EVENT_OVERHEAD);
        }
        true
    }

    /// Gives up a session whose EOB was lost, maybe with green segments. The application hears that nothing more
    /// comes (RFC 5326 section 7.6). The sender waits for nothing, and is not told.
    pub(super) fn give_up_end(&mut self, cx: &mut Context<'_>) -> Step {
        let end = match self.stage.open().map(Reception::end) {
            Some(end @ End::Delivered { .. }) => end,
            // Red data that still come must not be delivered any more.
            _ => End::Plain,
        };
        let silent_for = self.stage.open().map(|one| cx.node.now - one.active);
        self.stop(EndCause::PeerSilent(silent_for.unwrap_or_default()), cx);
        Step::Ends(end)
    }

    /// Stops the timers of a session that is closed, and frees what it holds.
    pub(super) fn release(&self, cx: &mut Context<'_>) {
        cx.stop(self.lifetime);
        match &self.stage {
            Stage::Open(reception) => reception.release(cx),
            Stage::Cancelling(cancel) => cx.stop(cancel.timer),
        }
    }

    /// Whether the sender or the application has heard of the session, or may have.
    pub(in crate::ltp) fn has_been_heard_of(&self) -> bool {
        self.stage.open().is_none_or(|reception| {
            let parts = reception.parts.as_ref();
            let has_reported = parts.is_none_or(|parts| {
                parts.reports.first != reception.serial || parts.green.is_some()
            });
            has_reported || reception.is_delivered || reception.service != Service::Whole
        })
    }

    /// Handles a CS (RFC 5326 section 6.17), which was acknowledged.
    pub(in crate::ltp) fn on_cancel(&mut self, reason: Reason, cx: &mut Context<'_>) -> Step {
        self.stop_with((Side::Remote, reason, EndCause::Peer), cx);
        Step::Ends(End::Plain)
    }
}

impl Reception {
    fn end(&self) -> End {
        let parts = self.parts.as_ref();
        let green = parts.and_then(|parts| Some((parts.green?, parts.green_end)));
        match (self.is_delivered && self.awaits.is_none(), self.red, green) {
            (true, Some(red), _) => End::Delivered {
                red,
                serial: self.serial,
            },
            (false, None, Some((low, Some(end)))) => End::GreenOnly { low, end },
            _ => End::Plain,
        }
    }

    fn release(&self, cx: &mut Context<'_>) {
        for issued in &self.pending {
            cx.stop(issued.timers());
        }
        let mut charge = SESSION;
        if let Some(parts) = &self.parts {
            charge = parts.charge;
            cx.stop(parts.guard);
            cx.stop(parts.reports.delay);
            parts.red.release(&mut cx.node.budget.pool);
            self.unqueue(cx);
            cx.node.services.recount(self.client, parts.untaken, 0);
        }
        cx.charge(charge, 0);
    }

    /// Closes a session that was delivered, once every report is acknowledged and the green part has ended.
    ///
    /// RFC 5326 section 6.14 does not require the first of these conditions, and section 8.2 not the second. RFC 5325
    /// section 3.2 has the reading that works.
    pub(in crate::ltp) fn close_if_over(&self) -> Step {
        let is_green_over = self
            .parts
            .as_ref()
            .is_some_and(|parts| parts.green_end.is_some());
        let is_acknowledged = self.is_delivered && self.awaits.is_none() && !self.has_reports();
        let is_over = is_acknowledged && (self.ends_block || is_green_over);
        if is_over {
            Step::Ends(self.end())
        } else {
            Step::Continues
        }
    }
}
