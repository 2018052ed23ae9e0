//! Packets of a payload that are missing.

use alloc::vec::Vec;
use core::ops::Range;

/// Ranges of missing packets, ascending and never touching, in memory allocated once.
///
/// Beyond the largest number of ranges, the fewest received packets between two of them count as missing again.
#[derive(Debug)]
pub(super) struct Holes {
    ranges: Vec<Range<u32>>,
    limit: usize,
    missing: u32,
    are_joined: bool,
}

impl Holes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            // One more while two ranges are joined.
            ranges: Vec::with_capacity(limit.saturating_add(1)),
            limit: limit.max(1),
            missing: 0,
            are_joined: false,
        }
    }

    /// Returns the bytes that the ranges allocate.
    pub(super) const fn footprint(limit: usize) -> usize {
        limit.saturating_add(1) * size_of::<Range<u32>>()
    }

    /// Begins with so many packets, all of them missing.
    pub(super) fn reset(&mut self, packets: u32) {
        self.ranges.clear();
        self.missing = packets;
        self.are_joined = false;
        if packets > 0 {
            self.ranges.push(0..packets);
        }
    }

    /// Tells whether packets that were received have ever counted as missing again.
    pub(super) const fn are_joined(&self) -> bool {
        self.are_joined
    }

    pub(super) const fn missing(&self) -> u32 {
        self.missing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the first range that ends behind `packet`, and those after it.
    pub(super) fn from(&self, packet: u32) -> impl Iterator<Item = Range<u32>> {
        let at = self.ranges.partition_point(|range| range.end <= packet);
        self.ranges.get(at..).unwrap_or_default().iter().cloned()
    }

    /// Tells whether a packet is missing.
    pub(super) fn contains(&self, packet: u32) -> bool {
        self.from(packet)
            .next()
            .is_some_and(|range| range.contains(&packet))
    }

    /// Tells whether any packet of a range is missing.
    pub(super) fn intersects(&self, range: &Range<u32>) -> bool {
        self.from(range.start)
            .next()
            .is_some_and(|hole| hole.start < range.end)
    }

    /// Counts a packet as received. Returns whether it was missing.
    pub(super) fn remove(&mut self, packet: u32) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= packet);
        let Some(hole) = self.ranges.get_mut(at) else {
            return false;
        };
        if !hole.contains(&packet) {
            return false;
        }
        self.missing -= 1;
        let rest = packet + 1..hole.end;
        hole.end = packet;
        match (hole.start == packet, rest.start == rest.end) {
            (true, true) => drop(self.ranges.remove(at)),
            (true, false) => *hole = rest,
            (false, true) => {}
            (false, false) => {
                self.ranges.insert(at + 1, rest);
                self.join_nearest();
            }
        }
        true
    }

    /// Counts a range of packets as received.
    pub(super) fn remove_range(&mut self, range: Range<u32>) {
        let mut first = self.ranges.partition_point(|it| it.end <= range.start);
        if range.is_empty() {
            return;
        }
        if let Some(hole) = self.ranges.get_mut(first)
            && hole.start < range.start
        {
            let rest = range.end..hole.end;
            self.missing -= hole.end.min(range.end) - range.start;
            hole.end = range.start;
            first += 1;
            if !rest.is_empty() {
                self.ranges.insert(first, rest);
                return self.join_nearest();
            }
        }
        let behind = self.ranges.partition_point(|it| it.end <= range.end);
        let whole = self.ranges.drain(first..behind.max(first));
        self.missing -= whole.map(|it| it.end - it.start).sum::<u32>();
        if let Some(hole) = self.ranges.get_mut(first)
            && hole.start < range.end
        {
            self.missing -= range.end - hole.start;
            hole.start = range.end;
        }
    }

    /// Joins the two nearest ranges if there are too many.
    fn join_nearest(&mut self) {
        if self.ranges.len() <= self.limit {
            return;
        }
        let distance = |pair: &[Range<u32>]| match pair {
            [one, next] => next.start - one.end,
            _ => u32::MAX,
        };
        let pairs = self.ranges.windows(2).map(distance).enumerate();
        let Some((at, packets)) = pairs.min_by_key(|(_, packets)| *packets) else {
            return;
        };
        let next = self.ranges.remove(at + 1);
        if let Some(one) = self.ranges.get_mut(at) {
            one.end = next.end;
            self.missing += packets;
            self.are_joined = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(holes: &Holes) -> Vec<Range<u32>> {
        holes.from(0).collect()
    }

    #[test]
    fn packets_are_missing_until_they_come_in_any_order() {
        let mut holes = Holes::new(10);
        holes.reset(6);

        for packet in [1, 4, 0] {
            assert!(holes.remove(packet));
            assert!(!holes.remove(packet), "twice");
        }
        assert_eq!(ranges(&holes), [2..4, 5..6]);
        assert_eq!(holes.missing(), 3);
        assert!(holes.contains(5) && !holes.contains(4) && !holes.contains(6));
        assert!(holes.intersects(&(3..5)) && !holes.intersects(&(4..5)));
        for packet in [3, 2, 5] {
            assert!(holes.remove(packet));
        }
        assert!(holes.is_empty());
        assert!(!holes.remove(9));
    }

    #[test]
    fn a_range_is_removed_as_its_packets_are() {
        for start in 0..12 {
            for end in start..=12 {
                let (mut one, mut other) = (Holes::new(10), Holes::new(10));
                for holes in [&mut one, &mut other] {
                    holes.reset(12);
                    for packet in [2, 3, 6, 9] {
                        holes.remove(packet);
                    }
                }
                one.remove_range(start..end);
                for packet in start..end {
                    other.remove(packet);
                }

                assert_eq!(ranges(&one), ranges(&other), "{start}..{end}");
                assert_eq!(one.missing(), other.missing(), "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_lone_last_packet_is_a_hole_and_an_empty_payload_has_none() {
        let mut holes = Holes::new(1);
        holes.reset(3);
        holes.remove(0);
        holes.remove(1);
        assert_eq!(ranges(&holes), alloc::vec![2..3]);

        holes.reset(0);
        assert!(holes.is_empty());
    }

    #[test]
    fn beyond_the_limit_the_nearest_holes_are_joined() {
        let mut holes = Holes::new(2);
        holes.reset(20);
        holes.remove(3);
        for packet in [10, 11, 12] {
            holes.remove(packet);
        }
        assert_eq!(
            ranges(&holes),
            [0..10, 13..20],
            "packet 3 is asked for again"
        );
        assert_eq!(holes.missing(), 17);
    }
}
