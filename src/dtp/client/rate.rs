//! The throughput that a client asks for, which follows what arrives if it is to.

use core::time::Duration;

use crate::dtp::api::GetOptions;

/// Asked packets of which one may be lost for the rate to rise.
const LOSS: u64 = 64;
/// Packets that are asked for at a rate at least.
const MIN_PACKETS: u64 = 16;

/// The throughput, by what has become of the packets that were asked for at it.
#[derive(Debug)]
pub(super) struct Rate {
    throughput: u32,
    follows: bool,
    /// Nothing has shown a limit.
    is_rising: bool,
}

/// What has become of some packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) asked: u32,
    /// The throughput at which they were asked for.
    pub(super) throughput: u32,
    pub(super) received: u32,
    /// The octets per second that came.
    pub(super) delivered: u32,
}

impl Rate {
    pub(super) const fn new(options: &GetOptions) -> Self {
        Self {
            throughput: options.throughput,
            follows: options.follows_loss,
            is_rising: true,
        }
    }

    pub(super) const fn throughput(&self) -> u32 {
        self.throughput
    }

    pub(super) const fn follows(&self) -> bool {
        self.follows
    }

    /// Returns how many packets are asked for at the present rate: those of so long, or all.
    pub(super) fn packets(&self, chunk: u32, time: Duration) -> u32 {
        if !self.follows {
            return u32::MAX;
        }
        let octets = u128::from(self.throughput) * time.as_nanos() / 1_000_000_000;
        let packets = u64::try_from(octets).unwrap_or(u64::MAX) / u64::from(chunk.max(1));
        u32::try_from(packets.max(MIN_PACKETS)).unwrap_or(u32::MAX)
    }

    /// Follows what has become of packets: up while they come, and below what comes where too many do not.
    pub(super) fn follow(&mut self, outcome: Outcome) {
        if !self.follows {
            return;
        }
        let Outcome {
            asked,
            throughput,
            received,
            delivered,
        } = outcome;
        let lost = u64::from(asked.saturating_sub(received));
        let part = |rate: u32, of: u64, over: u64| {
            let rate = u64::from(rate) * of / over;
            u32::try_from(rate).unwrap_or(u32::MAX).max(1)
        };
        self.throughput = if lost * LOSS > asked.into() {
            self.is_rising = false;
            part(delivered.min(throughput), 7, 8)
        } else if delivered < part(throughput, 3, 4) {
            // The server sends no faster.
            self.is_rising = false;
            part(delivered, 5, 4).min(throughput)
        } else if self.is_rising {
            throughput.saturating_mul(4)
        } else {
            part(throughput, 17, 16)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(follows_loss: bool) -> Rate {
        Rate::new(&GetOptions {
            throughput: 1000,
            follows_loss,
            ..GetOptions::default()
        })
    }

    fn outcome(received: u32, delivered: u32) -> Outcome {
        Outcome {
            asked: 100,
            throughput: 1000,
            received,
            delivered,
        }
    }

    #[test]
    fn the_rate_rises_until_packets_are_lost_and_then_slowly() {
        let mut rate = rate(true);
        rate.follow(outcome(100, 990));
        assert_eq!(rate.throughput(), 4000);
        rate.follow(outcome(80, 800));
        assert_eq!(rate.throughput(), 700);
        rate.follow(outcome(99, 990));
        assert_eq!(rate.throughput(), 1062);
        rate.follow(outcome(100, 400));
        assert_eq!(rate.throughput(), 500, "a little more than comes");
        rate.follow(outcome(0, 0));
        assert_eq!(rate.throughput(), 1, "never 0");
    }

    #[test]
    fn a_fixed_rate_asks_for_all_and_stays() {
        let mut rate = rate(false);
        rate.follow(outcome(1, 1));
        assert_eq!(rate.throughput(), 1000);
        assert_eq!(rate.packets(200, Duration::from_secs(1)), u32::MAX);
        assert_eq!(self::rate(true).packets(50, Duration::from_secs(1)), 20);
        assert_eq!(self::rate(true).packets(500, Duration::from_secs(1)), 16);
    }
}
