//! Packets of the peer.

use core::time::Duration;

use super::{Ack, CloseReason, Connection, Received, State};
use crate::Instant;
use crate::csp::rdp::receive::{DataKind, Inserted};
use crate::csp::wire::{RdpFlags, RdpHeader, SequenceNumber, SynOptions, eack_numbers};

impl Connection {
    /// Takes a packet of the peer, without its trailer.
    pub(in crate::csp) fn receive(
        &mut self,
        now: Instant,
        header: RdpHeader,
        data: &[u8],
        kind: DataKind,
    ) -> Received {
        match self.state {
            State::Closed(_) | State::Resetting(_) => Received::Unexpected,
            State::SynSent { .. } => self.receive_in_syn_sent(now, header),
            State::SynReceived { .. } => self.receive_in_syn_received(now, header, data, kind),
            State::Open | State::Closing => self.receive_in_open(now, header, data, kind),
            State::CloseWait { .. } => {
                if header.flags == RdpFlags::SYN || header.flags.contains(RdpFlags::RST) {
                    self.state = State::Closed(CloseReason::Closed);
                } else {
                    self.state = State::CloseWait { is_due: true };
                }
                Received::Accepted
            }
        }
    }

    fn receive_in_syn_sent(&mut self, now: Instant, header: RdpHeader) -> Received {
        let flags = header.flags;
        let acknowledges = flags.contains(RdpFlags::ACK) && header.acknowledgement == self.initial;
        if flags.contains(RdpFlags::RST) {
            // One that does not acknowledge the SYN is left from an earlier connection of these ports.
            if !acknowledges {
                return Received::Unexpected;
            }
            self.state = State::Closed(CloseReason::Refused);
            return Received::Accepted;
        }
        if !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        if !flags.contains(RdpFlags::SYN) {
            // The peer resets its old connection if the number is its next one.
            return Received::HalfOpen(header.acknowledgement.plus(1));
        }
        if !acknowledges {
            return Received::BadAcknowledgement;
        }
        self.begin_receiving(header.sequence);
        self.open(now);
        self.ack = Ack::Due;
        Received::Accepted
    }

    fn open(&mut self, now: Instant) {
        if self.backoff == 0 && self.retransmit_at.is_some() {
            self.on_round_trip(now - self.sent);
        }
        // The peer answers; that it took several packets tells of losses more than of a long way.
        self.backoff = self.backoff.min(1);
        self.state = State::Open;
        self.heard = now;
        self.is_opened = true;
        self.retransmit_at = None;
    }

    fn receive_in_syn_received(
        &mut self,
        now: Instant,
        header: RdpHeader,
        data: &[u8],
        kind: DataKind,
    ) -> Received {
        let flags = header.flags;
        if flags.contains(RdpFlags::RST) {
            if header.sequence != self.peer_initial.plus(1) {
                return Received::BadSequence;
            }
            self.state = State::Closed(CloseReason::PeerClosed);
            return Received::Accepted;
        }
        if flags == RdpFlags::SYN {
            return self.receive_another_syn(now, header, data);
        }
        if flags.contains(RdpFlags::SYN) || !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        let reach = self.parameters.window.saturating_mul(2);
        if !header.sequence.is_within(self.peer_initial.plus(1), reach) {
            self.state = State::SynReceived { is_due: true };
            return Received::BadSequence;
        }
        if header.acknowledgement != self.initial {
            return Received::BadAcknowledgement;
        }
        self.open(now);
        self.receive_in_open(now, header, data, kind)
    }

    /// Takes a SYN before the connection is open: the same again, or one of a peer that gave up the first.
    fn receive_another_syn(&mut self, now: Instant, header: RdpHeader, data: &[u8]) -> Received {
        if header.sequence != self.peer_initial {
            let Ok(options) = SynOptions::decode(data) else {
                return Received::Unexpected;
            };
            let initial = self.initial;
            self.accept(now, (header, options), initial);
            return Received::Accepted;
        }
        self.state = State::SynReceived { is_due: true };
        Received::Duplicate
    }

    fn receive_in_open(
        &mut self,
        now: Instant,
        header: RdpHeader,
        data: &[u8],
        kind: DataKind,
    ) -> Received {
        let flags = header.flags;
        if flags.contains(RdpFlags::RST) {
            return self.receive_reset(now, header);
        }
        if flags.contains(RdpFlags::SYN) {
            return self.receive_syn_in_open(header);
        }
        if !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        let window = self.parameters.window;
        let next = self.receive.current().plus(1);
        let reach = window.saturating_mul(2);
        // What is behind comes again since its acknowledgement was lost.
        let first = next.minus(reach);
        if !header.sequence.is_within(first, reach.saturating_mul(2)) {
            // An answer to one without data could go back and forth for ever.
            if !data.is_empty() {
                self.ack = Ack::Due;
            }
            return Received::BadSequence;
        }
        if !self.send.can_acknowledge(header.acknowledgement, window) {
            return Received::BadAcknowledgement;
        }
        self.heard = now;
        self.on_acknowledgement(now, header.acknowledgement);
        if flags.contains(RdpFlags::EAK) {
            // An EACK is never delayed.
            if let Some(sample) = self.send.acknowledge_ahead(now, eack_numbers(data)) {
                self.on_round_trip(sample);
            }
            return Received::Accepted;
        }
        if data.is_empty() {
            return Received::Accepted;
        }
        let distance = header.sequence.distance(next);
        if distance >= reach {
            self.ack = Ack::Due;
            return Received::Duplicate;
        }
        self.insert(now, distance, data, kind)
    }

    fn insert(&mut self, now: Instant, distance: u16, data: &[u8], kind: DataKind) -> Received {
        match self.receive.insert(distance, data, kind) {
            Inserted::NoRoom => {
                // The peer hears that this end is there, and asks for it with less.
                self.ack = Ack::Due;
                return Received::NoRoom;
            }
            Inserted::Duplicate => {
                self.ack = Ack::Due;
                return Received::Duplicate;
            }
            Inserted::Ahead => self.ack = Ack::Due,
            Inserted::InOrder => self.delay_ack(now),
        }
        if self.reset_at == Some(self.receive.current().plus(1)) {
            self.state = State::Resetting(CloseReason::PeerClosed);
        }
        Received::Accepted
    }

    /// Acknowledges what has come in order: by number, or by time.
    fn delay_ack(&mut self, now: Instant) {
        let pending = self.receive.current().distance(self.last_acknowledged);
        if pending >= self.parameters.packets_per_ack() || self.receive.has_gap() {
            self.ack = Ack::Due;
        } else if let (Ack::Idle, Some(timeout)) = (self.ack, self.parameters.ack_timeout) {
            self.ack = Ack::By(now + timeout);
        }
    }

    fn receive_reset(&mut self, now: Instant, header: RdpHeader) -> Received {
        let window = self.parameters.window;
        let number = header.acknowledgement;
        let has_ack = header.flags.contains(RdpFlags::ACK);
        // A peer that took the RST of this end, and whose answer was lost, has forgotten the connection. Then libcsp
        // answers what comes with an RST in which, though no flag says so, is the last number that it took.
        let is_all = self.ask.is_reset_sent && number.plus(1) == self.send.next_number();
        if (has_ack || is_all) && self.send.can_acknowledge(number, window) {
            self.on_acknowledgement(now, number);
        }
        let next = self.receive.current().plus(1);
        if is_all && (!has_ack || header.sequence == next) {
            self.state = State::Closed(CloseReason::Closed);
            return Received::Accepted;
        }
        if header.sequence == next {
            self.state = State::Resetting(CloseReason::PeerClosed);
            return Received::Accepted;
        }
        if !header.sequence.is_within(next, window.saturating_add(1)) {
            return Received::BadSequence;
        }
        // Data before it are missing: an acknowledgement asks for them. One for each copy would go back and forth,
        // since libcsp answers each with another RST while it closes.
        if self.reset_at.replace(header.sequence) == Some(header.sequence) {
            return Received::Duplicate;
        }
        self.ack = Ack::Due;
        Received::Accepted
    }

    fn receive_syn_in_open(&mut self, header: RdpHeader) -> Received {
        if header.sequence == self.peer_initial {
            // The ACK that ends the handshake was lost, or this came late.
            self.ack = Ack::Due;
            return Received::Duplicate;
        }
        if header.flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        self.state = State::Resetting(CloseReason::PeerRestarted);
        Received::Accepted
    }

    fn on_acknowledgement(&mut self, now: Instant, number: SequenceNumber) {
        let told = self.send.acknowledge(now, number);
        if told.packets == 0 {
            return;
        }
        self.newly_acknowledged += u32::from(told.packets);
        self.ask.packets = 0;
        if self.state == State::Closing {
            self.since = now;
        }
        if let Some(sample) = told.sample {
            self.sample(told.packets, sample);
        }
        let rest = self.send.outstanding();
        self.retransmit_at = (rest > 0).then(|| now + self.retransmission_timeout());
    }

    /// Takes the time from a packet to its acknowledgement, of which a delay of the peer is no part.
    fn sample(&mut self, packets: u16, sample: Duration) {
        let delay = self.parameters.peer_delay(packets);
        self.on_round_trip(match self.rtt.smoothed() {
            Some(known) if sample > known => known.max(sample.saturating_sub(delay)),
            _ => sample,
        });
    }

    fn on_round_trip(&mut self, time: Duration) {
        self.backoff = 0;
        self.rtt.on_sample(time);
        self.shortest = Some(self.shortest.map_or(time, |it| it.min(time)));
    }
}
