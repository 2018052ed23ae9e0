//! What both ends of a connection keep to.

use core::time::Duration;

use crate::csp::wire::SynOptions;

/// The shortest and the longest connection timeout.
const CONNECTION_TIMEOUT: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(600));
/// The shortest packet timeout.
const MIN_PACKET_TIMEOUT: Duration = Duration::from_millis(10);
/// How late timers of libcsp expire: its router looks at them so often.
const PEER_TICK: Duration = Duration::from_millis(100);

/// The options of a connection within the bounds of this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) struct Parameters {
    /// Packets that may be sent beyond the last acknowledged one, at least 1.
    pub(super) window: u16,
    pub(super) connection_timeout: Duration,
    pub(super) packet_timeout: Duration,
    /// How long an acknowledgement may be delayed; `None` if each packet is acknowledged.
    pub(super) ack_timeout: Option<Duration>,
    /// Packets received that may be unacknowledged.
    ack_delay_count: u16,
}

impl Parameters {
    /// Takes the options that a peer proposed, whatever they are.
    ///
    /// libcsp takes them unchecked. A window of 0 would then block it for ever, and an acknowledgement delayed for
    /// as many packets as the window stalls each window until its timeout.
    pub(in crate::csp) fn new(options: &SynOptions, max_window: u16) -> Self {
        let (least, most) = CONNECTION_TIMEOUT;
        let millis = |value: u32| Duration::from_millis(u64::from(value));
        let window = u16::try_from(options.window).unwrap_or(u16::MAX);
        let window = window.clamp(1, max_window.max(1));
        let connection_timeout = millis(options.connection_timeout).clamp(least, most);
        let packet_timeout = millis(options.packet_timeout);
        let packet_timeout = packet_timeout.clamp(MIN_PACKET_TIMEOUT, connection_timeout);
        let ack_timeout = millis(options.ack_timeout).min(packet_timeout / 2);
        let ack_delay_count = u16::try_from(options.ack_delay_count).unwrap_or(u16::MAX);
        Self {
            window,
            connection_timeout,
            packet_timeout,
            ack_timeout: (options.delayed_acks != 0).then_some(ack_timeout),
            ack_delay_count: ack_delay_count.min(window / 2),
        }
    }

    /// Returns how many packets this end receives before it acknowledges them at once.
    pub(super) const fn packets_per_ack(&self) -> u16 {
        let half = self.window / 2;
        match self.ack_timeout {
            Some(_) if half > self.ack_delay_count => self.ack_delay_count + 1,
            Some(_) if half > 1 => half,
            _ => 1,
        }
    }

    /// Returns how long the peer may delay the acknowledgement of so many packets.
    pub(super) fn peer_delay(&self, packets: u16) -> Duration {
        match self.ack_timeout {
            Some(timeout) if packets <= self.ack_delay_count => timeout + PEER_TICK,
            _ => Duration::ZERO,
        }
    }

    /// Returns how many packets the peer may have without acknowledging them in time.
    pub(super) const fn delayed_by_peer(&self) -> u16 {
        match self.ack_timeout {
            Some(_) => self.ack_delay_count,
            None => 0,
        }
    }

    /// Returns how long nothing may be sent.
    pub(super) fn keepalive(&self) -> Duration {
        self.connection_timeout / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_peer_are_clamped() {
        let hostile = SynOptions {
            window: u32::MAX,
            connection_timeout: 0,
            packet_timeout: u32::MAX,
            delayed_acks: 7,
            ack_timeout: u32::MAX,
            ack_delay_count: u32::MAX,
        };

        let parameters = Parameters::new(&hostile, 20);

        assert_eq!(parameters.window, 20);
        assert_eq!(parameters.connection_timeout, Duration::from_millis(100));
        assert_eq!(parameters.packet_timeout, Duration::from_millis(100));
        assert_eq!(parameters.ack_timeout, Some(Duration::from_millis(50)));
        assert_eq!(parameters.packets_per_ack(), 10);
        let zero = SynOptions {
            window: 0,
            packet_timeout: 0,
            ..hostile
        };
        let parameters = Parameters::new(&zero, 20);
        assert_eq!((parameters.window, parameters.packets_per_ack()), (1, 1));
        assert_eq!(parameters.packet_timeout, Duration::from_millis(10));
    }

    #[test]
    fn half_a_window_is_acknowledged_at_once() {
        let per_ack = |window, ack_delay_count| {
            let options = SynOptions {
                window,
                ack_delay_count,
                ..SynOptions::default()
            };
            Parameters::new(&options, 100).packets_per_ack()
        };

        assert_eq!(per_ack(4, 2), 2);
        assert_eq!(per_ack(10, 2), 3);
        assert_eq!(per_ack(10, 100), 5);
        assert_eq!(per_ack(10, 0), 1);
        assert_eq!(per_ack(1, 2), 1);
    }
}
