//! What a connection makes of the octets that come.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::{Agreed, Closing, Connection, PeerEnd, State, Timer};
use crate::Machine as _;
use crate::cotp::api::{
    Acceptance, Connected, Disconnect, End, Event, Indication, Reason, Violation,
};
use crate::cotp::config::{AfterHandshake, NonTpkt, Policy, Role, SendDisconnect, Strict};
use crate::cotp::handshake::{self, Request};
use crate::cotp::params::MAX_TPDU;
use crate::cotp::segment::{Ahead, ENTRY};
use crate::cotp::tpkt::{Piece, VERSION, look_ahead};
use crate::cotp::wire::{CC, CR, Connect, DATA_HEADER, DisconnectReason, Expedited, Tpdu};

/// Octets of expedited data (RFC 1006 section 6).
pub(super) const MAX_EXPEDITED: usize = 16;
/// Octets for which memory is set aside because a header claims them. What was sent gets more.
const MOST_CLAIMED: usize = 256;

impl Connection {
    /// Takes octets of the stream: decodes them, or keeps them until they may be decoded.
    pub(super) fn take_in(&mut self, octets: &[u8]) {
        if self.peer_end.is_some() || self.discards() {
            self.stats.discarded += octets.len() as u64;
            self.look_for_dc(octets);
            return;
        }
        if octets.is_empty() {
            return;
        }
        if !self.wants(()) {
            self.overrun();
            return;
        }
        self.note_activity();
        let mut rest = octets;
        self.decode(&mut rest);
        if self.discards() {
            self.stats.discarded += rest.len() as u64;
        } else {
            self.held.extend_from_slice(rest);
        }
        self.watch_packet();
    }

    /// A DC ends the wait for the peer: some answer a DR by it, though class 0 has none, and keep the stream
    /// open.
    pub(super) fn look_for_dc(&mut self, octets: &[u8]) {
        let State::Closing(Closing {
            awaits_dc: true, ..
        }) = self.state
        else {
            return;
        };
        let mut rest = octets;
        while let Ok(Some(piece)) = self.framing.piece(&mut rest) {
            if let Piece::Tpdu(tpdu) = piece
                && let Ok(Tpdu::DisconnectConfirm(_)) = Tpdu::decode(tpdu)
            {
                self.peer_end = Some(PeerEnd::Confirmed);
            }
        }
        self.framing.forget_given();
    }

    /// What nobody wanted could only be lost or hoarded, and who feeds it would not wait for the peer's end.
    fn overrun(&mut self) {
        self.end(Reason::Overrun);
        self.abort();
    }

    /// Decodes what was held back, as far as the state allows it, then deals with the end of the stream.
    pub(super) fn catch_up(&mut self) {
        if self.is_holding() && self.may_decode() {
            let held = mem::take(&mut self.held);
            let mut rest = held.get(self.held_at..).unwrap_or_default();
            self.decode(&mut rest);
            if self.discards() {
                self.stats.discarded += rest.len() as u64;
            } else if !rest.is_empty() {
                self.held_at = held.len() - rest.len();
                self.held = held;
            } else {
                self.held_at = 0;
            }
            self.watch_packet();
        }
        self.meet_end();
    }

    /// Tells whether octets that come are of no use any more.
    pub(super) const fn discards(&self) -> bool {
        matches!(self.state, State::Closing(_) | State::Gone)
    }

    pub(super) const fn is_holding(&self) -> bool {
        self.held_at < self.held.len()
    }

    pub(super) const fn is_paused(&self) -> bool {
        matches!(
            self.state,
            State::Open { is_paused: true } | State::Handing(_)
        )
    }

    /// Tells whether the state can do something with octets.
    pub(super) const fn is_reading(&self) -> bool {
        matches!(
            self.state,
            State::Requesting(_) | State::Listening(_) | State::Open { is_paused: false }
        )
    }

    pub(super) const fn may_decode(&self) -> bool {
        self.is_reading() && self.events_cost < self.rules.receive_queue
    }

    pub(super) fn drop_held(&mut self) {
        self.held = Vec::new();
        self.held_at = 0;
    }

    fn decode(&mut self, rest: &mut &[u8]) {
        while self.may_decode()
            && let Some(&first) = rest.first()
        {
            if self.is_foreign(first) {
                self.state = State::Open { is_paused: true };
                self.tell(Event::NonTpkt(first));
                return;
            }
            let mut framing = mem::take(&mut self.framing);
            let outcome = match framing.piece(rest) {
                Ok(Some(Piece::Tpdu(tpdu))) => self.on_tpdu(tpdu, rest),
                Ok(Some(Piece::Begun {
                    header,
                    length,
                    first,
                })) => self.on_data(header, length, first, rest),
                Ok(Some(Piece::More { octets, is_end })) => {
                    self.on_more(octets, is_end, || look_ahead(rest));
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(fault) => Err(Reason::Framing(fault)),
            };
            framing.forget_given();
            self.framing = framing;
            if let Err(reason) = outcome {
                self.end(reason);
            }
        }
    }

    fn is_foreign(&self, first: u8) -> bool {
        self.rules.non_tpkt == NonTpkt::Offer
            && first != VERSION
            && matches!(self.state, State::Open { .. })
            && self.framing.is_between()
            && !self.assembly.is_begun()
    }

    /// A whole TPDU, with what lies behind it.
    fn on_tpdu(&mut self, octets: &[u8], behind: &[u8]) -> Result<(), Reason> {
        if let (State::Open { .. }, &[2, code @ (0xF0 | 0xF1), last, ref user_data @ ..]) =
            (&self.state, octets)
        {
            return self.on_data([2, code, last], user_data.len(), user_data, behind);
        }
        let outcome = match self.state {
            State::Requesting(_) => self.on_answer(octets),
            State::Listening(_) => self.on_first(octets),
            _ => self.on_open(octets),
        };
        outcome.inspect_err(|reason| self.report(reason, octets))
    }

    /// Puts an ER ahead of the close, where one is due (ISO 8073 6.6.3, 6.22.3).
    fn report(&mut self, reason: &Reason, tpdu: &[u8]) {
        let farewell = self.rules.farewell;
        let (destination, size) = match self.state {
            State::Listening(_) if farewell.contains(SendDisconnect::INVALID_REQUEST) => {
                (handshake::source_of(tpdu, CR), MAX_TPDU)
            }
            State::Requesting(_) if farewell.contains(SendDisconnect::PROTOCOL_ERROR) => {
                (handshake::source_of(tpdu, CC), MAX_TPDU)
            }
            State::Open { .. } if farewell.contains(SendDisconnect::PROTOCOL_ERROR) => {
                (Some(self.agreed.peer), self.agreed.tpdu_size)
            }
            _ => return,
        };
        if let Some(destination) = destination
            && let Some(er) = handshake::report(destination, reason, tpdu, size)
        {
            self.outbox.end_with(er);
        }
    }

    /// An initiator awaits a CC.
    fn on_answer(&mut self, octets: &[u8]) -> Result<(), Reason> {
        match Tpdu::decode(octets).map_err(Reason::Malformed)? {
            Tpdu::ConnectionConfirm(cc) => self.on_confirm(&cc),
            other => Err(
                ending(&other, Reason::Refused).unwrap_or(Reason::Unexpected {
                    tpdu: other.name(),
                    awaited: "CC",
                }),
            ),
        }
    }

    fn on_confirm(&mut self, cc: &Connect<'_>) -> Result<(), Reason> {
        let awaited = "CR";
        let unexpected = Reason::Unexpected {
            tpdu: "CC",
            awaited,
        };
        let State::Requesting(config) = &self.state else {
            return Err(unexpected);
        };
        let Role::Initiator(proposal) = &config.role else {
            return Err(unexpected);
        };
        let tolerated = &mut self.stats.tolerated;
        let connected = handshake::judge_confirm(config, proposal, self.reference, cc, tolerated)?;
        self.open(connected);
        Ok(())
    }

    /// A responder awaits a CR. What is none gets no answer (ISO 8073 6.9.4.1 b).
    fn on_first(&mut self, octets: &[u8]) -> Result<(), Reason> {
        let cr = match Tpdu::decode(octets) {
            Ok(Tpdu::ConnectionRequest(cr)) => cr,
            Ok(other) => {
                return Err(Reason::Unexpected {
                    tpdu: other.name(),
                    awaited: "CR",
                });
            }
            Err(error) => return Err(Reason::Malformed(error)),
        };
        let State::Listening(config) = &self.state else {
            return Err(Reason::Unexpected {
                tpdu: "CR",
                awaited: "DT",
            });
        };
        match handshake::judge_request(config, &cr, &mut self.stats.tolerated) {
            Ok(request) => self.on_request(request),
            Err(reason) => {
                if matches!(reason, Reason::Violation(Violation::Class(_))) {
                    let why = DisconnectReason::NEGOTIATION_FAILED;
                    self.outbox.end_with(handshake::refuse(cr.source, why, &[]));
                }
                Err(reason)
            }
        }
    }

    fn on_request(&mut self, request: Request) -> Result<(), Reason> {
        let State::Listening(config) = &self.state else {
            return Err(Reason::Unexpected {
                tpdu: "CR",
                awaited: "DT",
            });
        };
        let called = request.indication.called.clone().unwrap_or_default();
        let why = match &config.role {
            Role::Responder(Policy::Selectors(selectors)) if !selectors.contains(&called) => {
                DisconnectReason::ADDRESS_UNKNOWN
            }
            Role::Responder(Policy::Selectors(_) | Policy::AcceptAny) => {
                let acceptance = Acceptance::default();
                match handshake::confirm(config, &request, &acceptance, self.reference) {
                    Ok((cc, connected)) => {
                        self.confirm(cc, connected);
                        return Ok(());
                    }
                    // A CC without anything of the application always fits.
                    Err(_) => DisconnectReason::NOT_SPECIFIED,
                }
            }
            Role::Responder(Policy::Ask) | Role::Initiator(_) => {
                self.ask(request);
                return Ok(());
            }
        };
        self.outbox
            .end_with(handshake::refuse(request.indication.reference, why, &[]));
        Err(Reason::Declined(why))
    }

    fn ask(&mut self, request: Request) {
        self.disarm(Timer::Handshake);
        self.tell(Event::Indication(Box::new(request.indication.clone())));
        match mem::replace(&mut self.state, State::Gone) {
            State::Listening(config) => self.state = State::Deciding(config, Box::new(request)),
            other => self.state = other,
        }
    }

    pub(super) fn confirm(&mut self, cc: Bytes, connected: Connected) {
        self.outbox.open_with(cc);
        self.open(connected);
    }

    fn open(&mut self, connected: Connected) {
        self.disarm(Timer::Handshake);
        self.agreed = Agreed {
            tpdu_size: connected.tpdu_size,
            expedited: connected.expedited,
            peer: connected.reference,
        };
        let is_paused = self.rules.after_handshake == AfterHandshake::Pause;
        self.state = State::Open { is_paused };
        self.note_activity();
        self.tell(Event::Connected(Box::new(connected)));
    }

    /// A TPDU other than DT on an open connection.
    fn on_open(&mut self, octets: &[u8]) -> Result<(), Reason> {
        match Tpdu::decode(octets).map_err(Reason::Malformed)? {
            Tpdu::Expedited(ed) if self.agreed.expedited => {
                self.on_expedited(&ed).map_err(Reason::Violation)
            }
            other => Err(
                ending(&other, Reason::Disconnected).unwrap_or(Reason::Unexpected {
                    tpdu: other.name(),
                    awaited: "DT",
                }),
            ),
        }
    }

    /// One TPDU with EOT holds one message of 1 to 16 octets (RFC 1006 section 6, RFC 2126 section 4.1.2).
    fn on_expedited(&mut self, ed: &Expedited<'_>) -> Result<(), Violation> {
        let Expedited { credit, number, .. } = *ed;
        self.judge(credit != 0, Strict::CREDIT, || Violation::Credit(credit))?;
        self.judge(number != 0, Strict::TPDU_NUMBER, || {
            Violation::TpduNumber(number)
        })?;
        let len = ed.user_data.len();
        if !ed.is_last {
            return Err(Violation::ExpeditedSegment);
        }
        if !(1..=MAX_EXPEDITED).contains(&len) {
            return Err(Violation::Expedited(len));
        }
        self.count_message(len);
        self.tell(Event::Expedited(Bytes::copy_from_slice(ed.user_data)));
        Ok(())
    }

    /// A DT with `length` octets of user data in all, of which `first` are there, with what lies behind it.
    fn on_data(
        &mut self,
        header: [u8; DATA_HEADER],
        length: usize,
        first: &[u8],
        behind: &[u8],
    ) -> Result<(), Reason> {
        if !matches!(self.state, State::Open { .. }) {
            let awaited = if matches!(self.state, State::Requesting(_)) {
                "CC"
            } else {
                "CR"
            };
            return Err(Reason::Unexpected {
                tpdu: "DT",
                awaited,
            });
        }
        let is_last = header[2] & 0x80 != 0;
        self.judge_data(header, length, is_last)
            .map_err(Reason::Violation)
            .inspect_err(|reason| self.report(reason, &header))?;
        if is_last && first.len() == length && !self.assembly.is_begun() {
            self.count_message(length);
            self.tell(Event::Received(Bytes::copy_from_slice(first)));
            return Ok(());
        }
        self.is_passing_last = is_last;
        let is_end = first.len() == length;
        self.on_more(first, is_end, || {
            if is_end {
                look_ahead(behind)
            } else {
                Ahead {
                    octets: MOST_CLAIMED.min(length - first.len()),
                    is_whole: is_last,
                }
            }
        });
        Ok(())
    }

    fn judge_data(
        &mut self,
        header: [u8; DATA_HEADER],
        length: usize,
        is_last: bool,
    ) -> Result<(), Violation> {
        let [_, code, last] = header;
        let number = last & 0x7F;
        self.judge(code != 0xF0, Strict::DATA_CODE, || {
            Violation::DataCode(code)
        })?;
        self.judge(number != 0, Strict::TPDU_NUMBER, || {
            Violation::TpduNumber(number)
        })?;
        let (len, limit) = (length + DATA_HEADER, self.agreed.tpdu_size);
        self.judge(len > limit, Strict::DATA_SIZE, || Violation::DataSize {
            len,
            limit,
        })?;
        if length == 0 && !is_last {
            self.judge(true, Strict::EMPTY_SEGMENT, || Violation::EmptySegment)?;
            let limit = self.rules.empty_segment_limit;
            if self.assembly.note_empty() > u32::from(limit) {
                return Err(Violation::EmptySegments { limit });
            }
        }
        let (len, limit) = (self.assembly.len() + length, self.rules.message_limit);
        if len > limit {
            return Err(Violation::MessageLimit { len, limit });
        }
        Ok(())
    }

    fn judge(
        &mut self,
        is_off: bool,
        flag: Strict,
        violation: impl FnOnce() -> Violation,
    ) -> Result<(), Violation> {
        if is_off && self.rules.strict.contains(flag) {
            return Err(violation());
        }
        self.stats.tolerated += u64::from(is_off);
        Ok(())
    }

    /// User data of the DT under way; `is_end` with the last of it. `ahead` tells how many octets follow.
    fn on_more(&mut self, octets: &[u8], is_end: bool, ahead: impl FnOnce() -> Ahead) {
        let is_last = is_end && self.is_passing_last;
        self.assembly
            .append(octets, || if is_last { Ahead::default() } else { ahead() });
        if is_last {
            let message = self.assembly.finish();
            self.count_message(message.len());
            self.tell(Event::Received(message));
        }
    }

    fn count_message(&mut self, len: usize) {
        self.stats.messages_received += 1;
        self.stats.octets_received += len as u64;
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events_cost += cost_of(&event);
        self.events.push_back(event);
    }
}

/// DR and ER end a connection whatever their references say. There is no DC in class 0 to answer a DR.
fn ending(tpdu: &Tpdu<'_>, by_dr: fn(Disconnect) -> Reason) -> Option<Reason> {
    match tpdu {
        Tpdu::DisconnectRequest(dr) => Some(by_dr(Disconnect {
            reason: dr.reason,
            information: Bytes::copy_from_slice(dr.information()),
            user_data: Bytes::copy_from_slice(dr.user_data),
        })),
        Tpdu::Error(er) => Some(Reason::Rejected(er.cause)),
        _ => None,
    }
}

/// What an event counts against the receive queue: its octets, and more than its own size.
pub(super) fn cost_of(event: &Event) -> usize {
    ENTRY
        + match event {
            Event::Received(message) | Event::Expedited(message) => message.len(),
            // The selectors are copies of what stands in the variable part.
            Event::Indication(indication) => {
                size_of::<Indication>() + indication.variable.len() * 2 + indication.user_data.len()
            }
            Event::Connected(connected) => {
                size_of::<Connected>() + connected.variable.len() * 2 + connected.user_data.len()
            }
            Event::Failed(end) | Event::Closed(end) => {
                let carried = match &end.reason {
                    Reason::Refused(dr) | Reason::Disconnected(dr) => {
                        dr.information.len() + dr.user_data.len()
                    }
                    _ => 0,
                };
                size_of::<End>() + carried
            }
            Event::Room | Event::Flushed(_) | Event::NonTpkt(_) => 0,
        }
}
