//! The four timers of a connection.

use core::time::Duration;

use super::{Connection, State};
use crate::cotp::api::Reason;
use crate::{Instant, Machine as _};

#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// TS1, or the wait for a CR.
    Handshake,
    Packet,
    Idle,
    /// Progress of sending while closing or handing over, then TS2.
    Close,
}

impl Timer {
    pub(super) const ALL: [Self; 4] = [Self::Handshake, Self::Packet, Self::Idle, Self::Close];
    pub(super) const COUNT: usize = Self::ALL.len();

    /// Tells whether it times the peer's silence.
    const fn is_of_peer(self) -> bool {
        matches!(self, Self::Packet | Self::Idle)
    }
}

/// When a timer of the peer is due that stands.
const SUSPENDED: Instant = Instant::MAX;

impl Connection {
    pub(super) fn note_activity(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            self.arm(Timer::Idle, self.rules.idle_timeout);
        }
    }

    /// A packet that has begun is to be finished in time, each in its own.
    pub(super) fn watch_packet(&mut self) {
        let is_next = self.framing.take_progress();
        if self.framing.is_between() || self.discards() {
            self.disarm(Timer::Packet);
        } else if is_next || self.timer(Timer::Packet).is_none() {
            self.arm(Timer::Packet, self.rules.packet_timeout);
        }
    }

    pub(super) fn arm(&mut self, timer: Timer, span: Option<Duration>) {
        if let Some(place) = self.timers.get_mut(timer as usize) {
            *place = span.map(|span| self.now + span);
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.arm(timer, None);
    }

    fn timer(&self, timer: Timer) -> Option<Instant> {
        self.timers.get(timer as usize).copied().flatten()
    }

    pub(super) fn fire_timers(&mut self) {
        for timer in Timer::ALL {
            if self.timer(timer).is_some_and(|due| due <= self.now) {
                self.disarm(timer);
                self.fire(timer);
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        let rules = &self.rules;
        let (span, reason): (_, fn(Duration) -> Reason) = match (timer, &mut self.state) {
            (Timer::Handshake, State::Listening(config)) => {
                (config.request_timeout, Reason::NoRequest)
            }
            (Timer::Handshake, State::Requesting(config)) => {
                (config.answer_timeout, Reason::NoConfirm)
            }
            (Timer::Packet, _) => (rules.packet_timeout, Reason::PacketStalled),
            (Timer::Idle, _) => (rules.idle_timeout, Reason::Idle),
            (Timer::Close, State::Closing(_)) => return self.abort(),
            (Timer::Close, State::Handing(_)) => {
                self.end(Reason::SendStalled(rules.drain_timeout));
                return self.abort();
            }
            (Timer::Handshake | Timer::Close, _) => return,
        };
        if timer.is_of_peer() && !self.wants(()) {
            return self.suspend(timer);
        }
        self.end(reason(span.unwrap_or_default()));
    }

    /// Who is not read cannot be blamed for silence: while that is so the timers of the peer stand, and wake
    /// nobody. They begin anew when reading goes on.
    pub(super) fn time_silence(&mut self) {
        let rules = &self.rules;
        let spans = [
            (Timer::Packet, rules.packet_timeout),
            (Timer::Idle, rules.idle_timeout),
        ];
        let is_read = self.wants(());
        for (timer, span) in spans {
            match self.timer(timer) {
                Some(_) if !is_read => self.suspend(timer),
                Some(SUSPENDED) => self.arm(timer, span),
                _ => {}
            }
        }
    }

    fn suspend(&mut self, timer: Timer) {
        if let Some(place) = self.timers.get_mut(timer as usize) {
            *place = Some(SUSPENDED);
        }
    }

    /// Returns when the next timer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = |timer: &Timer| {
            let due = self.timer(*timer)?;
            let stands = timer.is_of_peer() && due == SUSPENDED;
            (!stands).then_some(due)
        };
        Timer::ALL.iter().filter_map(due).min()
    }
}
