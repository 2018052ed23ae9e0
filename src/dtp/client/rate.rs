//! The throughput that a client asks for, which follows what arrives if it is to.

use core::time::Duration;

use crate::dtp::api::GetOptions;

/// One asked packet of so many may be lost for the rate to rise.
const LOSS: u32 = 64;
/// Packets that are asked for at a rate at least.
const MIN_PACKETS: u64 = 16;
/// Outcomes without loss after which the rate rises again, at least and at most: two times as many after each loss.
const PATIENCE: (u8, u8) = (2, 64);
/// Parts of the packets, of which loss is counted.
const PARTS: u32 = 1 << 16;
/// The most loss that is taken for that of the line.
const MAX_TOLERATED: u32 = PARTS / 4;

/// The throughput, by what has become of the packets that were asked for at it.
#[derive(Debug)]
pub(super) struct Rate {
    throughput: u32,
    follows: bool,
    /// Nothing has shown a limit.
    is_rising: bool,
    /// The highest throughput at which all came.
    whole: u32,
    /// Outcomes without loss to wait for before the rate rises, and how many they were at first.
    waits: u8,
    patience: u8,
    /// The throughput that was last too much, and the loss at it.
    cut: Option<(u32, u32)>,
    /// The loss that a lower rate does not lessen.
    tolerated: u32,
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
            whole: 0,
            waits: 0,
            patience: PATIENCE.0,
            cut: None,
            tolerated: 0,
        }
    }

    /// Tells whether the limit is still looked for: then the packets of one ask tell about the next.
    pub(super) const fn is_rising(&self) -> bool {
        self.is_rising
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

    /// Follows what has become of packets: two times as many while all come, then below what came where too many did
    /// not, and slowly up from there.
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
        let loss = part(PARTS, asked.saturating_sub(received), asked.max(1));
        let next = if loss > self.tolerated + PARTS / LOSS {
            self.on_loss(loss, throughput, delivered)
        } else if delivered < part(throughput, 3, 4) {
            // The server sends no faster.
            self.is_rising = false;
            part(delivered, 5, 4).min(throughput)
        } else if loss > self.tolerated {
            throughput
        } else {
            self.on_whole(throughput)
        };
        self.throughput = next.max(1);
    }

    /// All came, but for the loss of the line.
    fn on_whole(&mut self, throughput: u32) -> u32 {
        self.whole = self.whole.max(throughput);
        // Up to what came whole once, it rises as at first: a computer with other work delivers late.
        if self.is_rising || throughput < self.whole / 2 {
            return throughput.saturating_mul(2);
        }
        if self.waits > 0 {
            self.waits -= 1;
            return throughput.max(self.throughput);
        }
        part(throughput, 17, 16).max(self.throughput)
    }

    /// Too much was lost.
    fn on_loss(&mut self, loss: u32, throughput: u32, delivered: u32) -> u32 {
        if let Some((of, before)) = self.cut
            && throughput <= part(of, 15, 16)
            && loss <= MAX_TOLERATED
            && loss >= part(before, 3, 4)
        {
            // As much as at a higher rate, so it is not the rate.
            self.tolerated = part(loss, 5, 4);
            self.cut = None;
            self.is_rising = true;
            return of;
        }
        self.is_rising = false;
        self.cut = Some((throughput, loss));
        self.waits = self.patience;
        self.patience = self.patience.saturating_mul(2).min(PATIENCE.1);
        let below = part(delivered.min(throughput), 7, 8);
        if self.whole < throughput {
            // What came whole once does so again.
            return below.max(self.whole);
        }
        self.whole = below;
        below
    }
}

/// Returns `of / over` of a number.
fn part(number: u32, of: u32, over: u32) -> u32 {
    let part = u64::from(number) * u64::from(of) / u64::from(over);
    u32::try_from(part).unwrap_or(u32::MAX)
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

    /// The outcome of 100 packets at a throughput, on a line that passes so much and loses so many of 100.
    fn on_line(throughput: u32, passes: u32, lost: u32) -> Outcome {
        let received =
            u32::try_from(100 * u64::from(throughput.min(passes)) / u64::from(throughput)).unwrap();
        let received = received * (100 - lost) / 100;
        Outcome {
            throughput,
            ..outcome(received, part(throughput, received, 100))
        }
    }

    #[test]
    fn the_rate_doubles_until_packets_are_lost_and_then_rises_slowly() {
        let mut rate = rate(true);
        rate.follow(outcome(100, 990));
        assert_eq!(rate.throughput(), 2000);
        rate.follow(Outcome {
            throughput: 2000,
            ..outcome(80, 1600)
        });
        assert_eq!(rate.throughput(), 1400, "below what came");
        for expected in [1400, 1400, 1487] {
            let throughput = rate.throughput();
            rate.follow(Outcome {
                throughput,
                ..outcome(100, throughput)
            });
            assert_eq!(rate.throughput(), expected);
        }
        let throughput = 1487;
        rate.follow(Outcome {
            throughput,
            ..outcome(99, 1470)
        });
        assert_eq!(rate.throughput(), 1487, "one of 64 may be lost");
        rate.follow(outcome(100, 400));
        assert_eq!(rate.throughput(), 500, "a little more than comes");
        rate.follow(outcome(0, 0));
        assert_eq!(rate.throughput(), 1, "never 0");
    }

    #[test]
    fn a_loss_that_falls_with_no_rate_is_that_of_the_line() {
        for lost in [0, 2, 5, 10] {
            let mut rate = rate(true);
            for _ in 0..100 {
                rate.follow(on_line(rate.throughput(), 50_000, lost));
            }
            let found = rate.throughput();
            assert!((35_000..=58_000).contains(&found), "{found}, {lost} %");
        }
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
