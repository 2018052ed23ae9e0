//! Timers, and packets to the peer.

use core::time::Duration;

use super::{
    Ack, CloseReason, Connection, GRANULARITY, HANDSHAKE_TIMEOUT, MAX_BACKOFF, MAX_EACK,
    MAX_RESETS, Segment, State, Written,
};
use crate::Instant;
use crate::csp::rdp::parameters::Parameters;
use crate::csp::wire::RdpFlags;

impl Connection {
    /// Returns how long the acknowledgement of what is outstanding may take.
    ///
    /// It doubles with each repetition, up to the packet timeout, by which libcsp repeats, or two round trips: a peer
    /// ends the connection when it is not heard in time.
    pub(super) fn retransmission_timeout(&self) -> Duration {
        let Parameters {
            packet_timeout,
            connection_timeout,
            ..
        } = self.parameters;
        // Nothing but the acknowledgement of data is delayed.
        let delay = match self.state {
            State::Open | State::Closing => self.parameters.peer_delay(self.send.outstanding()),
            _ => Duration::ZERO,
        };
        let (timeout, most) = match (self.rtt.timeout(GRANULARITY), self.shortest) {
            (Some(timeout), Some(shortest)) => {
                (timeout + delay, packet_timeout.max(shortest * 2 + delay))
            }
            _ => (packet_timeout, packet_timeout.max(connection_timeout / 4)),
        };
        (timeout * (1 << self.backoff)).min(most)
    }

    /// Returns after which silence the state ends.
    fn timeout(&self) -> Duration {
        let timeout = self.parameters.connection_timeout;
        match self.state {
            State::SynReceived { .. } => timeout.min(HANDSHAKE_TIMEOUT),
            _ => timeout,
        }
    }

    /// Returns when time alone changes the connection.
    pub(in crate::csp) fn deadline(&self) -> Option<Instant> {
        let ended = match self.state {
            State::Closed(_) | State::Resetting(_) => return None,
            State::Open => self.heard,
            State::Closing => self.heard.min(self.since),
            _ => self.since,
        };
        let mut deadline = ended + self.timeout();
        if let Some(at) = self.retransmit_at {
            deadline = deadline.min(at);
        }
        if let State::Open | State::Closing = self.state {
            let keepalive = self.sent + self.parameters.keepalive();
            deadline = match self.ack {
                Ack::Idle => deadline.min(keepalive),
                Ack::By(at) => deadline.min(keepalive).min(at),
                Ack::Due => deadline,
            };
        }
        Some(deadline)
    }

    /// Fires the timers that are due.
    pub(in crate::csp) fn on_time(&mut self, now: Instant) {
        let timeout = self.timeout();
        match self.state {
            State::Closed(_) | State::Resetting(_) => return,
            State::SynSent { .. } | State::SynReceived { .. } if self.since + timeout <= now => {
                self.state = State::Closed(CloseReason::TimedOut);
                return;
            }
            State::CloseWait { .. } if self.since + timeout <= now || self.backoff > MAX_RESETS => {
                self.state = State::Closed(CloseReason::Closed);
                return;
            }
            State::Open | State::Closing => {
                let is_stuck = self.state == State::Closing && self.since + timeout <= now;
                if is_stuck || self.heard + timeout <= now {
                    self.state = State::Resetting(CloseReason::TimedOut);
                    return;
                }
                let is_silent = self.sent + self.parameters.keepalive() <= now;
                if is_silent || matches!(self.ack, Ack::By(at) if at <= now) {
                    self.ack = Ack::Due;
                }
            }
            _ => {}
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.retransmit_at = None;
            if self.backoff == MAX_BACKOFF && matches!(self.state, State::SynReceived { .. }) {
                return;
            }
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
            match &mut self.state {
                State::SynSent { is_due }
                | State::SynReceived { is_due }
                | State::CloseWait { is_due } => *is_due = true,
                _ => {
                    self.send.on_timeout(self.packets_to_repeat());
                    // A peer that answers and acknowledges no more has no room: more packets would be lost.
                    if self.heard <= self.sent {
                        self.ask_for_acknowledgement();
                    }
                }
            }
        }
    }

    /// Returns how many packets go again after a timeout: those that the peer may have without saying so, and one more.
    const fn packets_to_repeat(&self) -> u16 {
        match self.parameters.ack_timeout {
            Some(_) => self.parameters.delayed_by_peer().saturating_add(1),
            None if self.ask.packets == 0 => 1,
            // A peer that acknowledges nothing twice may have the first and miss another.
            None => u16::MAX,
        }
    }

    /// Asks for an acknowledgement: each timeout by a packet more, and one that is never repeated by an RST once there
    /// is no packet.
    fn ask_for_acknowledgement(&mut self) {
        self.ask.packets = self.ask.packets.saturating_add(1);
        self.ask.is_reset_due = self.parameters.ack_timeout.is_none()
            && self.state == State::Closing
            && self.send.is_all_sent();
    }

    /// Writes the next segment, if there is one, by `put`, which tells whether there was room for it.
    pub(in crate::csp) fn write(
        &mut self,
        now: Instant,
        mut put: impl FnMut(Segment<'_>) -> bool,
    ) -> Written {
        let acknowledgement = self.receive.current();
        let control = |flags, sequence, data| Segment {
            flags,
            sequence,
            acknowledgement,
            data,
            fragment: None,
            is_data: false,
        };
        let reset = RdpFlags::RST | RdpFlags::ACK;
        let options = self.options.encode();
        let segment = match self.state {
            State::SynSent { is_due: true } => control(RdpFlags::SYN, self.initial, &options[..]),
            State::SynReceived { is_due: true } => {
                control(RdpFlags::SYN | RdpFlags::ACK, self.initial, &[])
            }
            State::CloseWait { is_due: true } | State::Resetting(_) => {
                control(reset, self.send.next_number(), &[])
            }
            State::Open | State::Closing => return self.write_in_open(now, put),
            _ => return Written::Nothing,
        };
        if !put(segment) {
            return Written::Blocked;
        }
        self.on_control_sent(now);
        Written::Segment
    }

    fn on_control_sent(&mut self, now: Instant) {
        self.sent = now;
        match &mut self.state {
            State::Resetting(reason) => {
                self.state = State::Closed(*reason);
                return;
            }
            State::SynSent { is_due }
            | State::SynReceived { is_due }
            | State::CloseWait { is_due } => *is_due = false,
            _ => {}
        }
        self.retransmit_at = Some(now + self.retransmission_timeout());
    }

    fn write_in_open(&mut self, now: Instant, mut put: impl FnMut(Segment<'_>) -> bool) -> Written {
        let acknowledgement = self.receive.current();
        let window = self.parameters.window.saturating_add(self.ask.packets);
        if let Some(next) = self.send.next(window) {
            let segment = Segment {
                flags: RdpFlags::ACK,
                sequence: next.sequence,
                acknowledgement,
                data: next.data,
                fragment: next.fragment,
                is_data: true,
            };
            let place = next.place();
            if !put(segment) {
                return Written::Blocked;
            }
            let is_again = self.send.on_sent(now, place);
            self.on_acknowledged_sent(now);
            // Each packet shortens the wait for one that the peer may delay.
            let at = now + self.retransmission_timeout();
            self.retransmit_at = Some(self.retransmit_at.map_or(at, |it| it.min(at)));
            return if is_again {
                Written::Repetition
            } else {
                Written::Segment
            };
        }
        if self.state == State::Closing && self.send.is_empty() {
            self.state = State::CloseWait { is_due: true };
            self.since = now;
            self.backoff = 0;
            return self.write(now, put);
        }
        let mut numbers = [0; 2 * MAX_EACK];
        let (flags, data) = if self.ask.is_reset_due {
            (RdpFlags::RST | RdpFlags::ACK, &[][..])
        } else if self.ack != Ack::Due {
            return Written::Nothing;
        } else {
            match self.numbers_ahead(&mut numbers) {
                [] => (RdpFlags::ACK, &[][..]),
                numbers => (RdpFlags::ACK | RdpFlags::EAK, numbers),
            }
        };
        let segment = Segment {
            flags,
            sequence: self.send.next_number(),
            acknowledgement,
            data,
            fragment: None,
            is_data: false,
        };
        if !put(segment) {
            return Written::Blocked;
        }
        self.ask.is_reset_sent |= self.ask.is_reset_due;
        self.ask.is_reset_due = false;
        self.on_acknowledged_sent(now);
        Written::Segment
    }

    /// Writes the numbers received out of order as the data of an EACK.
    fn numbers_ahead<'a>(&self, out: &'a mut [u8; 2 * MAX_EACK]) -> &'a [u8] {
        if !self.receive.has_gap() {
            return &[];
        }
        let (places, _) = out.as_chunks_mut::<2>();
        let mut count = 0;
        for (place, number) in places.iter_mut().zip(self.receive.numbers_ahead()) {
            *place = number.0.to_be_bytes();
            count += 1;
        }
        out.get(..2 * count).unwrap_or_default()
    }

    /// A segment with the acknowledgement number was sent.
    const fn on_acknowledged_sent(&mut self, now: Instant) {
        self.sent = now;
        self.ack = Ack::Idle;
        self.last_acknowledged = self.receive.current();
    }
}
