//! Octets and TPDUs from the peer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::{Closing, Connection, Negotiated, PeerEnd, State, Timer};
use crate::Machine as _;
use crate::cotp::api::{
    Acceptance, Connected, ConnectionEnd, Disconnect, EndReason, Event, Indication, ProtocolError,
};
use crate::cotp::config::{AfterHandshake, NonTpkt, Policy, Role, SendDisconnect, Strict};
use crate::cotp::handshake::{self, Request};
use crate::cotp::params::MAX_TPDU;
use crate::cotp::segment::{ENTRY_COST, Lookahead};
use crate::cotp::tpkt::{StreamItem, VERSION, look_ahead};
use crate::cotp::wire::{
    CC, CR, Connect, DATA_HEADER, DR, DisconnectReason, DisconnectRequest, ER, ErrorReport,
    Expedited, RejectCause, Tpdu,
};

/// Octets of expedited data (RFC 1006 section 6).
pub(super) const MAX_EXPEDITED: usize = 16;
/// Octets of memory that are reserved by the length in a header. Further memory follows the octets that arrive.
const MAX_CLAIMED: usize = 256;

impl Connection {
    /// Decodes octets of the stream, or keeps them until they may be decoded.
    pub(super) fn receive_octets(&mut self, octets: &[u8]) {
        if self.peer_end.is_some() || self.discards() {
            self.stats.discarded += octets.len() as u64;
            self.look_for_dc(octets);
            return;
        }
        if octets.is_empty() {
            return;
        }
        if !self.wants(()) {
            self.fail_overrun();
            return;
        }
        self.restart_idle_timer();
        let mut rest = octets;
        self.decode(&mut rest);
        self.decoded = self.decoded.saturating_add(octets.len() - rest.len());
        if self.discards() {
            self.stats.discarded += rest.len() as u64;
        } else {
            self.unread.extend_from_slice(rest);
        }
        self.update_packet_timer();
    }

    /// Ends the wait for the peer on a DC. Some peers answer a DR with it, though class 0 has none, and
    /// keep the stream open.
    pub(super) fn look_for_dc(&mut self, octets: &[u8]) {
        let State::Closing(Closing {
            awaits_dc: true, ..
        }) = self.state
        else {
            return;
        };
        let mut rest = octets;
        while let Ok(Some(next_item)) = self.framing.next_item(&mut rest) {
            if let StreamItem::Tpdu(tpdu) = next_item
                && let Ok(Tpdu::DisconnectConfirm(_)) = Tpdu::decode(tpdu)
            {
                self.peer_end = Some(PeerEnd::Confirmed);
            }
        }
        self.framing.release_returned();
    }

    /// Ends a connection whose driver ignores `wants`: the octets could only be dropped or kept without limit.
    fn fail_overrun(&mut self) {
        self.end(EndReason::Overrun);
        self.abort_stream();
    }

    /// Decodes the octets that were kept, as far as the state allows, then handles the end of the stream.
    pub(super) fn decode_unread(&mut self) {
        if self.has_unread() && self.may_decode() {
            let unread = mem::take(&mut self.unread);
            let mut rest = unread.get(self.unread_at..).unwrap_or_default();
            let before = rest.len();
            self.decode(&mut rest);
            self.decoded = self.decoded.saturating_add(before - rest.len());
            if self.discards() {
                self.stats.discarded += rest.len() as u64;
            } else if !rest.is_empty() {
                self.unread_at = unread.len() - rest.len();
                self.unread = unread;
            } else {
                self.unread_at = 0;
            }
            self.update_packet_timer();
        }
        self.handle_peer_end();
    }

    /// Tells whether octets that arrive are discarded.
    pub(super) const fn discards(&self) -> bool {
        matches!(self.state, State::Closing(_) | State::Done)
    }

    pub(super) const fn has_unread(&self) -> bool {
        self.unread_at < self.unread.len()
    }

    pub(super) const fn is_paused(&self) -> bool {
        matches!(
            self.state,
            State::Open { is_paused: true } | State::Detaching(_)
        )
    }

    /// Tells whether the state decodes octets.
    pub(super) const fn is_reading(&self) -> bool {
        matches!(
            self.state,
            State::AwaitingCc(_) | State::AwaitingCr(_) | State::Open { is_paused: false }
        )
    }

    pub(super) fn may_decode(&self) -> bool {
        self.is_reading()
            && self.events_cost < self.config.receive_queue
            && self.is_held_within_input()
    }

    pub(super) fn clear_unread(&mut self) {
        self.unread = Vec::new();
        self.unread_at = 0;
    }

    fn decode(&mut self, rest: &mut &[u8]) {
        while self.may_decode()
            && let Some(&first) = rest.first()
        {
            if self.is_offered(first) {
                self.state = State::Open { is_paused: true };
                self.emit(Event::NonTpkt(first));
                return;
            }
            let mut framing = mem::take(&mut self.framing);
            let outcome = match framing.next_item(rest) {
                Ok(Some(StreamItem::Tpdu(tpdu))) => self.on_tpdu(tpdu, rest),
                Ok(Some(StreamItem::DataStart {
                    header,
                    length,
                    first,
                })) => self.on_data(header, length, first, rest),
                Ok(Some(StreamItem::DataMore { octets, is_end })) => {
                    self.on_more(octets, is_end, || look_ahead(rest));
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(fault) => Err(EndReason::Framing(fault)),
            };
            framing.release_returned();
            self.framing = framing;
            if let Err(reason) = outcome {
                self.end(reason);
            }
        }
    }

    fn is_offered(&self, first: u8) -> bool {
        self.config.non_tpkt == NonTpkt::Offer
            && first != VERSION
            && matches!(self.state, State::Open { .. })
            && self.framing.is_between()
            && !self.reassembly.is_begun()
    }

    /// Handles a whole TPDU, behind which `behind` was read.
    fn on_tpdu(&mut self, octets: &[u8], behind: &[u8]) -> Result<(), EndReason> {
        if let (State::Open { .. }, &[2, code @ (0xF0 | 0xF1), last, ref user_data @ ..]) =
            (&self.state, octets)
        {
            return self.on_data([2, code, last], user_data.len(), user_data, behind);
        }
        let outcome = match self.state {
            State::AwaitingCc(_) => self.on_answer(octets),
            State::AwaitingCr(_) => self.on_first(octets),
            _ => self.on_open(octets),
        };
        outcome.inspect_err(|reason| self.report(reason, octets))
    }

    /// Sends an ER before the close, if the configuration says so (ISO 8073 6.6.3, 6.22.3).
    fn report(&mut self, reason: &EndReason, tpdu: &[u8]) {
        let send_disconnect = self.config.send_disconnect;
        let (destination, size) = match self.state {
            State::AwaitingCr(_) if send_disconnect.contains(SendDisconnect::INVALID_REQUEST) => {
                (handshake::source_of(tpdu, CR), MAX_TPDU)
            }
            State::AwaitingCc(_) if send_disconnect.contains(SendDisconnect::PROTOCOL_ERROR) => {
                (handshake::source_of(tpdu, CC), MAX_TPDU)
            }
            State::Open { .. } if send_disconnect.contains(SendDisconnect::PROTOCOL_ERROR) => {
                (Some(self.negotiated.peer), self.negotiated.tpdu_size)
            }
            _ => return,
        };
        if let Some(destination) = destination
            && let Some(er) = handshake::report(destination, reason, tpdu, size)
        {
            self.outbox.set_disconnect(er);
        }
    }

    /// Handles the answer to a CR.
    fn on_answer(&mut self, octets: &[u8]) -> Result<(), EndReason> {
        match self.decode_tpdu(octets)? {
            Tpdu::ConnectionConfirm(cc) => self.on_confirm(&cc),
            other => Err(
                ending(&other, EndReason::Refused).unwrap_or(EndReason::Unexpected {
                    tpdu: other.name(),
                    awaited: "CC",
                }),
            ),
        }
    }

    /// Decodes a TPDU. A malformed DR or ER counts as one without a reason: it ends the connection in any case.
    fn decode_tpdu<'a>(&mut self, octets: &'a [u8]) -> Result<Tpdu<'a>, EndReason> {
        Tpdu::decode(octets).or_else(|error| {
            let tpdu = ending_without_reason(octets)
                .filter(|_| !self.config.strict.contains(Strict::DISCONNECT))
                .ok_or(EndReason::Malformed(error))?;
            self.stats.tolerated += 1;
            Ok(tpdu)
        })
    }

    fn on_confirm(&mut self, cc: &Connect<'_>) -> Result<(), EndReason> {
        let awaited = "CR";
        let unexpected = EndReason::Unexpected {
            tpdu: "CC",
            awaited,
        };
        let State::AwaitingCc(config) = &self.state else {
            return Err(unexpected);
        };
        let Role::Initiator(proposal) = &config.role else {
            return Err(unexpected);
        };
        let tolerated = &mut self.stats.tolerated;
        let connected =
            handshake::negotiate_confirm(config, proposal, self.reference, cc, tolerated)?;
        self.open(connected);
        Ok(())
    }

    /// Handles the first TPDU at a responder. One that is not a CR gets no answer (ISO 8073 6.9.4.1 b).
    fn on_first(&mut self, octets: &[u8]) -> Result<(), EndReason> {
        let cr = match Tpdu::decode(octets) {
            Ok(Tpdu::ConnectionRequest(cr)) => cr,
            Ok(other) => {
                return Err(EndReason::Unexpected {
                    tpdu: other.name(),
                    awaited: "CR",
                });
            }
            Err(error) => return Err(EndReason::Malformed(error)),
        };
        let State::AwaitingCr(config) = &self.state else {
            return Err(EndReason::Unexpected {
                tpdu: "CR",
                awaited: "DT",
            });
        };
        match handshake::negotiate_request(config, &cr, &mut self.stats.tolerated) {
            Ok(request) => self.on_request(request),
            Err(reason) => {
                if matches!(reason, EndReason::ProtocolError(ProtocolError::Class(_))) {
                    let why = DisconnectReason::NEGOTIATION_FAILED;
                    self.outbox
                        .set_disconnect(handshake::refuse(cr.source, why, &[]));
                }
                Err(reason)
            }
        }
    }

    fn on_request(&mut self, request: Request) -> Result<(), EndReason> {
        let State::AwaitingCr(config) = &self.state else {
            return Err(EndReason::Unexpected {
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
                    // A CC without content of the application always fits.
                    Err(_) => DisconnectReason::NOT_SPECIFIED,
                }
            }
            Role::Responder(Policy::Ask) | Role::Initiator(_) => {
                self.ask(request);
                return Ok(());
            }
        };
        self.outbox
            .set_disconnect(handshake::refuse(request.indication.reference, why, &[]));
        Err(EndReason::Declined(why))
    }

    fn ask(&mut self, request: Request) {
        self.disarm(Timer::Handshake);
        self.emit(Event::Indication(Box::new(request.indication.clone())));
        match mem::replace(&mut self.state, State::Done) {
            State::AwaitingCr(config) => self.state = State::Deciding(config, Box::new(request)),
            other => self.state = other,
        }
    }

    pub(super) fn confirm(&mut self, cc: Bytes, connected: Connected) {
        self.outbox.set_connect(cc);
        self.open(connected);
    }

    fn open(&mut self, connected: Connected) {
        self.disarm(Timer::Handshake);
        self.negotiated = Negotiated {
            tpdu_size: connected.tpdu_size,
            expedited: connected.expedited,
            peer: connected.reference,
        };
        let is_paused = self.config.after_handshake == AfterHandshake::Pause;
        self.state = State::Open { is_paused };
        self.restart_idle_timer();
        self.emit(Event::Connected(Box::new(connected)));
    }

    /// Handles a TPDU other than DT on an open connection.
    fn on_open(&mut self, octets: &[u8]) -> Result<(), EndReason> {
        match self.decode_tpdu(octets)? {
            Tpdu::Expedited(ed) if self.negotiated.expedited => {
                self.on_expedited(&ed).map_err(EndReason::ProtocolError)
            }
            other => Err(ending(&other, EndReason::Disconnected).unwrap_or(
                EndReason::Unexpected {
                    tpdu: other.name(),
                    awaited: "DT",
                },
            )),
        }
    }

    /// Handles an ED: one message of 1 to 16 octets, with EOT (RFC 1006 section 6, RFC 2126 section 4.1.2).
    fn on_expedited(&mut self, ed: &Expedited<'_>) -> Result<(), ProtocolError> {
        let Expedited { credit, number, .. } = *ed;
        self.tolerate(credit != 0, Strict::CREDIT, || {
            ProtocolError::Credit(credit)
        })?;
        self.tolerate(number != 0, Strict::TPDU_NUMBER, || {
            ProtocolError::TpduNumber(number)
        })?;
        let len = ed.user_data.len();
        if !ed.is_last {
            return Err(ProtocolError::ExpeditedSegment);
        }
        if !(1..=MAX_EXPEDITED).contains(&len) {
            return Err(ProtocolError::Expedited(len));
        }
        self.count_message(len);
        self.emit(Event::Expedited(Bytes::copy_from_slice(ed.user_data)));
        Ok(())
    }

    /// Handles a DT with `length` octets of user data, of which `first` have arrived, and behind which
    /// `behind` was read.
    fn on_data(
        &mut self,
        header: [u8; DATA_HEADER],
        length: usize,
        first: &[u8],
        behind: &[u8],
    ) -> Result<(), EndReason> {
        if !matches!(self.state, State::Open { .. }) {
            let awaited = if matches!(self.state, State::AwaitingCc(_)) {
                "CC"
            } else {
                "CR"
            };
            return Err(EndReason::Unexpected {
                tpdu: "DT",
                awaited,
            });
        }
        let is_last = header[2] & 0x80 != 0;
        self.check_data(header, length, is_last)
            .map_err(EndReason::ProtocolError)
            .inspect_err(|reason| self.report(reason, &header))?;
        if is_last && first.len() == length && !self.reassembly.is_begun() {
            self.count_message(length);
            self.emit(Event::Received(Bytes::copy_from_slice(first)));
            return Ok(());
        }
        self.is_last_segment = is_last;
        let is_end = first.len() == length;
        self.on_more(first, is_end, || {
            if is_end {
                look_ahead(behind)
            } else {
                Lookahead {
                    octets: MAX_CLAIMED.min(length - first.len()),
                    is_whole: is_last,
                }
            }
        });
        Ok(())
    }

    fn check_data(
        &mut self,
        header: [u8; DATA_HEADER],
        length: usize,
        is_last: bool,
    ) -> Result<(), ProtocolError> {
        let [_, code, last] = header;
        let number = last & 0x7F;
        self.tolerate(code != 0xF0, Strict::DATA_CODE, || {
            ProtocolError::DataCode(code)
        })?;
        self.tolerate(number != 0, Strict::TPDU_NUMBER, || {
            ProtocolError::TpduNumber(number)
        })?;
        let (len, limit) = (length + DATA_HEADER, self.negotiated.tpdu_size);
        self.tolerate(len > limit, Strict::DATA_SIZE, || ProtocolError::DataSize {
            len,
            limit,
        })?;
        if length == 0 && !is_last {
            self.tolerate(true, Strict::EMPTY_SEGMENT, || ProtocolError::EmptySegment)?;
            let limit = self.config.empty_segment_limit;
            if self.reassembly.count_empty() > u32::from(limit) {
                return Err(ProtocolError::EmptySegments { limit });
            }
        }
        let (len, limit) = (self.reassembly.len() + length, self.config.message_limit);
        if len > limit {
            return Err(ProtocolError::MessageLimit { len, limit });
        }
        Ok(())
    }

    fn tolerate(
        &mut self,
        is_off: bool,
        flag: Strict,
        violation: impl FnOnce() -> ProtocolError,
    ) -> Result<(), ProtocolError> {
        if is_off && self.config.strict.contains(flag) {
            return Err(violation());
        }
        self.stats.tolerated += u64::from(is_off);
        Ok(())
    }

    /// Handles user data of the current DT, up to its end if `is_end`. `ahead` returns the user data behind it.
    fn on_more(&mut self, octets: &[u8], is_end: bool, ahead: impl FnOnce() -> Lookahead) {
        let is_last = is_end && self.is_last_segment;
        self.reassembly.append(octets, || {
            if is_last {
                Lookahead::default()
            } else {
                ahead()
            }
        });
        if is_last {
            let message = self.reassembly.finish();
            self.count_message(message.len());
            self.emit(Event::Received(message));
        }
    }

    fn count_message(&mut self, len: usize) {
        self.stats.messages_received += 1;
        self.stats.octets_received += len as u64;
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events_cost += cost_of(&event);
        self.events.push_back(event);
    }
}

/// Returns the reason of a DR or ER, which end a connection whatever their references are. Class 0 has no
/// DC to answer a DR.
fn ending(tpdu: &Tpdu<'_>, by_dr: fn(Disconnect) -> EndReason) -> Option<EndReason> {
    match tpdu {
        Tpdu::DisconnectRequest(dr) => Some(by_dr(Disconnect {
            reason: dr.reason,
            information: Bytes::copy_from_slice(dr.information()),
            user_data: Bytes::copy_from_slice(dr.user_data),
        })),
        Tpdu::Error(er) => Some(EndReason::Rejected(er.cause)),
        _ => None,
    }
}

/// Returns the DR or ER of these octets, whose other fields are malformed.
fn ending_without_reason(octets: &[u8]) -> Option<Tpdu<'static>> {
    match *octets.get(1)? {
        DR => Some(Tpdu::DisconnectRequest(DisconnectRequest {
            destination: 0,
            source: 0,
            reason: DisconnectReason::NOT_SPECIFIED,
            variable: &[],
            user_data: &[],
        })),
        ER => Some(Tpdu::Error(ErrorReport {
            destination: 0,
            cause: RejectCause::NOT_SPECIFIED,
            variable: &[],
        })),
        _ => None,
    }
}

/// Returns the octets that an event counts in the receive queue: its content, and at least its own size.
pub(super) fn cost_of(event: &Event) -> usize {
    ENTRY_COST
        + match event {
            Event::Received(message) | Event::Expedited(message) => message.len(),
            // The selectors are copies of octets in the variable part.
            Event::Indication(indication) => {
                size_of::<Indication>() + indication.variable.len() * 2 + indication.user_data.len()
            }
            Event::Connected(connected) => {
                size_of::<Connected>() + connected.variable.len() * 2 + connected.user_data.len()
            }
            Event::Failed(end) | Event::Closed(end) => {
                let carried = match &end.reason {
                    EndReason::Refused(dr) | EndReason::Disconnected(dr) => {
                        dr.information.len() + dr.user_data.len()
                    }
                    _ => 0,
                };
                size_of::<ConnectionEnd>() + carried
            }
            Event::Room | Event::Flushed(_) | Event::NonTpkt(_) => 0,
        }
}
