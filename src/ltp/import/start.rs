//! How sessions in which blocks are received start, and what comes for those that are closed.

use alloc::boxed::Box;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::{ImportSession, Parts, Reception, SESSION};
use crate::ltp::api::{Event, Service};
use crate::ltp::closed::{End, Record};
use crate::ltp::context::{Cancel, Context, EVENT_OVERHEAD, Step};
use crate::ltp::fingerprint::{Fingerprint, Judgment};
use crate::ltp::peer::{Control, Role};
use crate::ltp::report::Reports;
use crate::ltp::stage::Stage;
use crate::ltp::wire::{Color, Data, Reason};

impl ImportSession {
    /// Makes a session for a segment, unless it is closed or a limit is reached. `count` sessions are open.
    ///
    /// Also returned are the first green octet and the end of the block, where its end overtook the red part.
    pub(super) fn admit(
        data: &Data<'_>,
        count: usize,
        cx: &mut Context<'_>,
    ) -> Option<(Self, Option<(u64, u64)>)> {
        // RFC 5326 does not exclude it, but ION and the CCSDS profile have no session 0.
        if cx.session.number == 0 {
            cx.node.stats.malformed += 1;
            return None;
        }
        let name = (Role::Receiver, cx.session);
        let record = cx.node.closed.get(cx.node.now, name).copied();
        let green = match record.as_ref().map(|record| cx.reopen(record, data)) {
            None => None,
            Some(ControlFlow::Continue(green)) => green,
            Some(ControlFlow::Break(())) => return None,
        };
        if !cx.has_import_room(count) || cx.node.is_over_share((data.client, cx.peer.origin)) {
            cx.node.stats.no_room += 1;
            return None;
        }
        let service = cx.node.services.get(data.client);
        if service.is_none() {
            cx.node.stats.unknown_client += 1;
            if cx.node.services.is_opening(cx.node.now) {
                return None;
            }
        }
        if record.is_some() {
            cx.node.closed.remove(name);
        }
        let stage = match service {
            Some(service) => {
                let serial = cx.first_serial();
                Stage::Open(Reception::new(data.client, service, serial, cx.node.now))
            }
            // RFC 5326 section 4.2: one CR per session, repeated like any other.
            None => Stage::Cancelling(Cancel::new(Reason::UNREACHABLE)),
        };
        let started = Self::new(cx.peer.slot, Fingerprint::new(data.client), stage);
        Some((started, green))
    }

    /// Handles the segment with which the session starts.
    pub(super) fn start(
        &mut self,
        data: &Data<'_>,
        green: Option<(u64, u64)>,
        cx: &mut Context<'_>,
    ) -> Step {
        let reception = match &mut self.stage {
            Stage::Open(reception) => reception,
            Stage::Cancelling(cancel) => {
                self.fingerprint.note(data);
                return cancel.send(Role::Receiver, cx);
            }
        };
        if green.is_none() && reception.receive_whole(data, cx) {
            self.fingerprint.note(data);
            return Step::Continues;
        }
        let reports = Reports::new(reception.serial);
        let parts = Parts::new(reception.service, green, reports);
        reception.parts = Some(Box::new(parts));
        reception.recharge(cx);
        reception.guard(cx);
        // A session that was opened again has been reported before.
        if reception.service == Service::Streaming && green.is_none() {
            let (session, client) = (cx.session, data.client);
            let event = Event::Started { session, client };
            cx.push_service_event(client, event, EVENT_OVERHEAD);
        }
        self.on_data(data, cx)
    }
}

impl Context<'_> {
    /// Decides whether a segment opens a session again that was closed, and handles it if not. If it is red and the green
    /// part was over before, the first octet of that is returned, and the end of the block.
    fn reopen(&mut self, record: &Record, data: &Data<'_>) -> ControlFlow<(), Option<(u64, u64)>> {
        let judgment = record.judge(data);
        match record.end {
            // Its sender started anew.
            _ if judgment == Judgment::NewSession => ControlFlow::Continue(None),
            // Its EOB overtook the red part (RFC 5326 section 8.2), which the sender still repeats.
            End::GreenOnly { low, end } if matches!(data.color, Color::Red(_)) => {
                ControlFlow::Continue(Some((low, end)))
            }
            end => {
                // As long as the peer has not closed it, it is remembered.
                let (name, now) = ((Role::Receiver, self.session), self.node.now);
                let until = now + self.peer.remembered_for();
                self.node.closed.change(now, name, |old| old.until = until);
                self.on_data_of_closed(data, end, judgment == Judgment::Repeat);
                ControlFlow::Break(())
            }
        }
    }

    fn has_import_room(&self, count: usize) -> bool {
        let limit = self.node.config.limits.imports;
        u32::try_from(count).is_ok_and(|count| count < limit)
            && self.node.has_event_room()
            && self.peer.imports < self.peer.config.limits.imports
            && self.free_octets() >= SESSION + 2 * EVENT_OVERHEAD
    }

    /// Handles data of a closed session. A duplicate never starts the session again, or the block would be delivered
    /// twice. Two things still help a sender: green data that the EOB overtook, and an answer to a checkpoint whose
    /// reports were all lost. Only one that is known to the octet is answered: what merely looks like it may be of a
    /// sender that started anew, and whose block nobody has.
    fn on_data_of_closed(&mut self, data: &Data<'_>, end: End, is_repeat: bool) {
        let session = self.session;
        match (end, data.color) {
            (End::GreenOnly { low, end }, Color::Green { ends_block: false })
                if data.range().end <= end && self.node.services.get(data.client).is_some() =>
            {
                self.hand_green(data, false);
                let low = low.min(data.offset);
                let now = self.node.now;
                self.node
                    .closed
                    .change(now, (Role::Receiver, session), |old| {
                        old.end = End::GreenOnly { low, end };
                    });
            }
            (End::Delivered { red, serial }, Color::Red(Some(checkpoint))) if is_repeat => {
                let checkpoint = checkpoint.serial;
                self.queue(Control::Final {
                    session,
                    serial,
                    checkpoint,
                    red,
                });
            }
            _ => self.node.stats.closed_session += 1,
        }
    }

    /// Delivers a green segment at once, in the order of arrival and with duplicates (RFC 5326 section 6.10). False if
    /// there is no room.
    pub(super) fn hand_green(&mut self, data: &Data<'_>, ends_block: bool) -> bool {
        let node = &mut *self.node;
        let octets = data.octets.len() + EVENT_OVERHEAD;
        let service = (data.client, self.peer.origin);
        let is_full = octets > node.budget.free() || node.is_over_share(service);
        if is_full || !node.has_event_room() {
            node.stats.no_room += 1;
            return false;
        }
        // Bound: usize has at most 64 bits.
        node.stats.green_octets += data.octets.len() as u64;
        let event = Event::Green {
            session: self.session,
            client: data.client,
            offset: data.offset,
            data: Bytes::copy_from_slice(data.octets),
            ends_block,
        };
        node.push_service_event(service, event, octets);
        true
    }
}
