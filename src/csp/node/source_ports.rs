//! The ports that connections and pings of this node come from.

use core::time::Duration;

use crate::{Instant, Rng};

/// The first source port, as libcsp has it by default.
const FIRST: u8 = 17;
const COUNT: usize = 47;

/// Source ports, which go round.
///
/// A peer ignores a SYN from a port while it holds an earlier connection from there, for its connection timeout. So no
/// port comes again within it.
#[derive(Debug)]
pub(super) struct SourcePorts {
    next: u8,
    /// Until when each of them rests.
    rests_until: [Instant; COUNT],
}

impl SourcePorts {
    pub(super) fn new(rng: &mut Rng) -> Self {
        // Bound: below 47.
        let next = u8::try_from(rng.below(COUNT as u64)).unwrap_or_default();
        Self {
            next,
            rests_until: [Instant::ZERO; COUNT],
        }
    }

    /// Takes the next port that rests no longer and is not `in_use`.
    pub(super) fn take(&mut self, now: Instant, in_use: impl Fn(u8) -> bool) -> Option<u8> {
        for _ in 0..COUNT {
            let place = usize::from(self.next);
            let port = FIRST + self.next;
            self.next = if place + 1 == COUNT { 0 } else { self.next + 1 };
            let rests_until = self.rests_until.get(place)?;
            if *rests_until <= now && !in_use(port) {
                return Some(port);
            }
        }
        None
    }

    /// Lets a port rest from `now` on.
    pub(super) fn rest(&mut self, port: u8, now: Instant, time: Duration) {
        let place = port.checked_sub(FIRST).map(usize::from);
        if let Some(until) = place.and_then(|place| self.rests_until.get_mut(place)) {
            *until = now + time;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::Seed;

    #[test]
    fn ports_go_round_and_rest() {
        let mut ports = SourcePorts::new(&mut Seed::from(1).rng());
        let now = Instant::ZERO;
        let mut taken = Vec::new();
        while let Some(port) = ports.take(now, |port| port == 20) {
            ports.rest(port, now, Duration::from_secs(10));
            taken.push(port);
        }
        taken.sort_unstable();

        let all: Vec<u8> = (17..64).filter(|port| *port != 20).collect();
        assert_eq!(taken, all);
        assert_eq!(
            ports.take(now + Duration::from_secs(9), |_| false),
            Some(20)
        );
        let port = ports.take(now + Duration::from_secs(10), |_| false);
        assert!(port.is_some());
    }
}
