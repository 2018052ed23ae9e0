//! How the reception of a block ends: cancelled by either side, or closed and remembered.

use core::mem;

use super::{Reception, Stage};
use crate::ltp::api::{Error, Event, Side};
use crate::ltp::auth::KeyHash;
use crate::ltp::closed::{End, Record};
use crate::ltp::engine::{Engine, TimerKind};
use crate::ltp::peer::{Control, PeerState, Role};
use crate::ltp::receiver::EVENT_OVERHEAD;
use crate::ltp::sender::Cancel;
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
        if self.reception(session).is_none() {
            return Err(Error::UnknownSession(session));
        }
        self.cancel_import(session, Reason::USER);
        Ok(())
    }

    /// Cancels a session as its receiver (RFC 5326 section 6.19): frees what it holds, and sends CRs until one is
    /// acknowledged.
    pub(in crate::ltp) fn cancel_import(&mut self, session: SessionId, reason: Reason) {
        if let Some(slot) = self.stop_import(session, Side::Local, reason) {
            self.cancel_import_again(slot, session, 0);
        }
    }

    /// Frees what a session holds, and reports the cancellation once.
    pub(in crate::ltp) fn stop_import(
        &mut self,
        session: SessionId,
        by: Side,
        reason: Reason,
    ) -> Option<u32> {
        self.reception(session)?;
        let import = self.imports.get_mut(&session)?;
        let slot = import.slot;
        let stage = mem::replace(&mut import.stage, Stage::Cancelling(Cancel::new(reason)));
        let Stage::Receiving(reception) = stage else {
            return None;
        };
        self.release(slot, &reception);
        self.stats.imports_cancelled += 1;
        let client = reception.client;
        let event = Event::Cancelled {
            session,
            client,
            by,
            reason,
            after_delivery: reception.is_delivered,
        };
        self.push_service_event(client, event, EVENT_OVERHEAD);
        Some(slot)
    }

    /// Gives up a session whose EOB was lost, maybe with green segments. The application hears that nothing more
    /// comes (RFC 5326 section 7.6). The sender waits for nothing, and is not told.
    pub(super) fn give_up_end(&mut self, session: SessionId) {
        let end = match self.reception(session).map(|reception| reception.end()) {
            Some(end @ End::Delivered { .. }) => end,
            // Red data that still come must not be delivered any more.
            _ => End::Plain,
        };
        self.stop_import(session, Side::Local, Reason::SYSTEM);
        self.close_import_as(session, end);
    }

    pub(super) fn release(&mut self, slot: u32, reception: &Reception) {
        self.stop(reception.guard);
        for timer in reception.reports.timers() {
            self.stop(Some(timer));
        }
        if reception.is_streaming {
            self.end_stream(reception.client);
        }
        self.pool.exceed(reception.excess, 0);
        self.charge(slot, reception.charge, 0);
    }

    pub(super) fn cancel_import_again(&mut self, slot: u32, session: SessionId, tries: u8) {
        let peer = self.peer(slot).filter(|peer| peer.can_send());
        let limit = peer.map(|peer| peer.config.cancel_retries);
        // Receive-only engines close at once (RFC 5326 section 4.2).
        if limit.is_none_or(|limit| tries > limit) {
            self.close_import(session);
            return;
        }
        let by = Role::Receiver;
        if !self.queue(slot, Control::Cancel { session, by }) {
            // Treated as lost on the line: the timer repeats it.
            self.on_import_cancel_sent(slot, session, 0);
        }
    }

    /// Starts the timer of a CR that was sent (RFC 5326 section 6.15).
    pub(in crate::ltp) fn on_import_cancel_sent(
        &mut self,
        slot: u32,
        session: SessionId,
        len: usize,
    ) {
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, len)) else {
            return;
        };
        if !matches!(
            self.imports.get(&session).map(|import| &import.stage),
            Some(Stage::Cancelling(_))
        ) {
            return;
        }
        let timer = self.set(slot, due, TimerKind::ImportCancel { session });
        if let Some(import) = self.imports.get_mut(&session)
            && let Stage::Cancelling(cancel) = &mut import.stage
        {
            cancel.tries = cancel.tries.saturating_add(1);
            cancel.timer = timer;
        }
    }

    /// Repeats a CR whose timer expired (RFC 5326 section 6.16).
    pub(in crate::ltp) fn import_cancel_expired(&mut self, session: SessionId) {
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        let slot = import.slot;
        let Stage::Cancelling(cancel) = &mut import.stage else {
            return;
        };
        cancel.timer = None;
        let tries = cancel.tries;
        self.cancel_import_again(slot, session, tries);
    }

    /// Handles a CS (RFC 5326 section 6.17).
    pub(in crate::ltp) fn on_cancel_by_sender(
        &mut self,
        slot: u32,
        session: SessionId,
        reason: Reason,
    ) {
        let to = Role::Sender;
        self.queue(slot, Control::CancelAck { session, to });
        self.stop_import(session, Side::Remote, reason);
        self.close_import(session);
    }

    /// Handles a CAR (RFC 5326 section 6.18).
    pub(in crate::ltp) fn on_cancel_ack_to_receiver(&mut self, session: SessionId) {
        if self.reception(session).is_none() {
            self.close_import(session);
        }
    }

    /// Closes a session that was delivered, once every report is acknowledged and the green part has ended.
    ///
    /// RFC 5326 section 6.14 does not require the first of these conditions, and section 8.2 not the second. RFC 5325
    /// section 3.2 has the reading that works.
    pub(in crate::ltp) fn close_if_over(&mut self, session: SessionId) {
        let Some(reception) = self.reception(session) else {
            return;
        };
        let is_over = reception.is_delivered
            && reception.reports.is_empty()
            && (reception.ends_block || reception.is_green_over);
        if is_over {
            let end = reception.end();
            self.close_import_as(session, end);
        }
    }

    pub(in crate::ltp) fn close_import(&mut self, session: SessionId) {
        self.close_import_as(session, End::Plain);
    }

    /// Closes a session (RFC 5326 section 6.20), and remembers it.
    pub(in crate::ltp) fn close_import_as(&mut self, session: SessionId, end: End) {
        let Some(import) = self.imports.remove(&session) else {
            return;
        };
        let slot = import.slot;
        match &import.stage {
            Stage::Receiving(reception) => self.release(slot, reception),
            Stage::Single(single) => {
                self.stop(single.report.timer());
                self.charge(slot, size_of::<Reception>(), 0);
            }
            Stage::Cancelling(cancel) => self.stop(cancel.timer),
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.imports -= 1;
        }
        self.cookies.forget(Role::Receiver, session);
        self.remember(slot, session, end, import.key_hash);
    }

    pub(super) fn remember(
        &mut self,
        slot: u32,
        session: SessionId,
        end: End,
        key_hash: Option<KeyHash>,
    ) {
        let memory = self
            .peer(slot)
            .map(PeerState::remembered_for)
            .unwrap_or_default();
        let record = Record {
            slot,
            until: self.now + memory,
            key_hash,
            end,
        };
        self.closed
            .insert(self.now, (Role::Receiver, session), &record);
    }
}
