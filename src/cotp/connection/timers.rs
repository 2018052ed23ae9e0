//! The timers of a connection.

use core::time::Duration;

use super::{Connection, State};
use crate::cotp::api::EndReason;
use crate::{Instant, Machine as _};

#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// TS1, or the wait for a CR.
    Handshake,
    Packet,
    Idle,
    /// Progress of sending while closing or detaching, then TS2.
    Close,
}

impl Timer {
    pub(super) const ALL: [Self; 4] = [Self::Handshake, Self::Packet, Self::Idle, Self::Close];
    pub(super) const COUNT: usize = Self::ALL.len();

    /// Tells whether the timer waits for octets of the peer.
    const fn is_peer_timer(self) -> bool {
        matches!(self, Self::Packet | Self::Idle)
    }
}

/// The deadline of a suspended timer.
const SUSPENDED: Instant = Instant::MAX;

impl Connection {
    pub(super) fn restart_idle_timer(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            self.arm(Timer::Idle, self.config.idle_timeout);
        }
    }

    /// Restarts the packet timer when a packet begins, and stops it when none is incomplete.
    pub(super) fn update_packet_timer(&mut self) {
        let is_next = self.framing.take_progress();
        if self.framing.is_between() || self.discards() {
            self.disarm(Timer::Packet);
        } else if is_next || self.timer(Timer::Packet).is_none() {
            self.arm(Timer::Packet, self.config.packet_timeout);
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
        let config = &self.config;
        let (span, reason): (_, fn(Duration) -> EndReason) = match (timer, &mut self.state) {
            (Timer::Handshake, State::AwaitingCr(config)) => {
                (config.timers.request_timeout, EndReason::NoRequest)
            }
            (Timer::Handshake, State::AwaitingCc(config)) => {
                (config.timers.answer_timeout, EndReason::NoConfirm)
            }
            (Timer::Packet, _) => (config.packet_timeout, EndReason::PacketStalled),
            (Timer::Idle, _) => (config.idle_timeout, EndReason::Idle),
            (Timer::Close, State::Closing(_)) => return self.abort_stream(),
            (Timer::Close, State::Detaching(_)) => {
                self.end(EndReason::SendStalled(config.drain_timeout));
                return self.abort_stream();
            }
            (Timer::Handshake | Timer::Close, _) => return,
        };
        if timer.is_peer_timer() && !self.wants(()) {
            return self.suspend(timer);
        }
        self.end(reason(span.unwrap_or_default()));
    }

    /// Suspends the timers that wait for octets of the peer while the stream is not read, and restarts them
    /// after that: a peer that is not read cannot be blamed for silence.
    pub(super) fn update_peer_timers(&mut self) {
        let config = &self.config;
        let spans = [
            (Timer::Packet, config.packet_timeout),
            (Timer::Idle, config.idle_timeout),
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

    /// Returns the earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = |timer: &Timer| {
            let due = self.timer(*timer)?;
            let is_suspended = timer.is_peer_timer() && due == SUSPENDED;
            (!is_suspended).then_some(due)
        };
        Timer::ALL.iter().filter_map(due).min()
    }
}
