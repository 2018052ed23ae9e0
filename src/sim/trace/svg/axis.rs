//! How time runs down the page.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use super::super::{Node, Trace};
use super::parts::{Part, Parts};
use super::{Axis, count};
use crate::Instant;

/// The height of a message among others at its end of a lifeline.
const ROW: f64 = 15.0;

/// Viewers give up on pages that are longer.
const LONGEST_PAGE: f64 = 24_000.0;

/// A wait that is shortened gets at most so much, and is marked from here on.
const LONGEST_WAIT: f64 = 54.0;
const MARKED_WAIT: f64 = 38.0;

/// Times and their heights, ascending in both.
pub(super) struct Scale {
    points: Vec<(Instant, f64)>,
    ticks: Vec<(Instant, f64)>,
    breaks: Vec<(f64, Duration)>,
    height: f64,
}

/// Something that begins, ends or is at a time on a lifeline.
struct Anchor<'p> {
    time: Instant,
    node: Node,
    place: &'p Cell<f64>,
    /// What must be at least this far above it.
    below: Option<(&'p Cell<f64>, f64)>,
}

impl Scale {
    /// Finds the heights of all parts.
    pub(super) fn lay(trace: &Trace, parts: &Parts<'_>, axis: Axis) -> Self {
        let mut anchors = anchors(parts);
        // A stable sort: what happened at one time stays in its order.
        anchors.sort_by_key(|anchor| anchor.time);
        let mut edges: Vec<Instant> = Vec::new();
        let last = anchors.last().map_or(Instant::ZERO, |anchor| anchor.time);
        for contact in trace.contacts() {
            edges.extend(
                [contact.opens, contact.closes]
                    .iter()
                    .filter(|edge| **edge <= last),
            );
        }
        match axis {
            Axis::Compressed => Self::compress(&anchors, edges, &busy(parts)),
            Axis::ToScale => Self::to_scale(&anchors),
        }
    }

    fn compress(anchors: &[Anchor<'_>], edges: Vec<Instant>, busy: &[Span]) -> Self {
        let mut times: BTreeMap<Instant, Vec<&Anchor<'_>>> = BTreeMap::new();
        for edge in edges {
            times.entry(edge).or_default();
        }
        for anchor in anchors {
            times.entry(anchor.time).or_default().push(anchor);
        }
        let shortest = shortest_wait(times.keys().copied());
        let mut scale = Self {
            points: Vec::new(),
            ticks: Vec::new(),
            breaks: Vec::new(),
            height: 0.0,
        };
        let mut before: Option<Instant> = None;
        for (time, anchors) in &times {
            if let Some(before) = before {
                let (wait, top) = (*time - before, scale.height);
                let room = scale.wait(wait, shortest);
                let is_idle = busy
                    .iter()
                    .all(|(from, to)| *to <= before || *time <= *from);
                if room >= MARKED_WAIT && is_idle {
                    scale.breaks.push((top + room / 2.0, wait));
                }
            }
            before = Some(*time);
            scale.stack(*time, anchors);
        }
        if scale.height > LONGEST_PAGE {
            scale.shrink(anchors, LONGEST_PAGE / scale.height);
        }
        scale
    }

    fn shrink(&mut self, anchors: &[Anchor<'_>], by: f64) {
        for anchor in anchors {
            anchor.place.set(anchor.place.get() * by);
        }
        for (_, y) in self.points.iter_mut().chain(&mut self.ticks) {
            *y *= by;
        }
        for (y, _) in &mut self.breaks {
            *y *= by;
        }
        self.height *= by;
    }

    /// Leaves room for a wait: a little for the shortest, and each doubling a little more.
    fn wait(&mut self, wait: Duration, shortest: Duration) -> f64 {
        let times = wait.as_nanos() / shortest.as_nanos().max(1);
        let doublings = times.max(1).ilog2();
        let room = (3.0 + 3.0 * f64::from(doublings)).min(LONGEST_WAIT);
        self.height += room;
        room
    }

    /// Puts what is at one time below each other, each lifeline for itself.
    fn stack(&mut self, time: Instant, anchors: &[&Anchor<'_>]) {
        let is_here = |place: &Cell<f64>| {
            let mut here = anchors.iter();
            here.any(|anchor| core::ptr::eq(anchor.place, place))
        };
        let pushed = anchors.iter().filter_map(|anchor| {
            // What begins and ends at one time has its room below the others of that time.
            let (above, room) = anchor.below.filter(|(above, _)| !is_here(above))?;
            Some(above.get() + room)
        });
        let top = pushed.fold(self.height, f64::max);
        self.points.push((time, top));
        self.ticks.push((time, top));
        let mut filled: BTreeMap<Node, f64> = BTreeMap::new();
        for anchor in anchors {
            let height = filled.entry(anchor.node).or_insert(0.0);
            let above = anchor.below.map_or(top, |(above, room)| above.get() + room);
            let place = (top + *height).max(above);
            anchor.place.set(place);
            *height = place - top + ROW;
        }
        let tallest = filled.values().copied().fold(0.0, f64::max);
        // The last row of one time shares some of its height with the wait that follows.
        self.height = top + (tallest - ROW / 4.0).max(0.0);
        self.points.push((time, self.height));
    }

    fn to_scale(anchors: &[Anchor<'_>]) -> Self {
        let first = anchors.first().map_or(Instant::ZERO, |anchor| anchor.time);
        let last = anchors.last().map_or(Instant::ZERO, |anchor| anchor.time);
        let span = (last - first).as_secs_f64();
        let height = (count(anchors.len()) * 9.0).clamp(640.0, 12_000.0);
        let place = |time: Instant| {
            if span > 0.0 {
                (time - first).as_secs_f64() / span * height
            } else {
                0.0
            }
        };
        for anchor in anchors {
            anchor.place.set(place(anchor.time));
        }
        let step = round_step((last - first) / 24);
        let whole = |number: u32| Instant::ZERO + step * number;
        let begin = (first - Instant::ZERO).as_nanos() / step.as_nanos().max(1);
        let begin = u32::try_from(begin).unwrap_or(u32::MAX);
        let ticks = (0..=26).map(|number| whole(begin.saturating_add(number)));
        Self {
            points: [first, last].map(|time| (time, place(time))).into(),
            ticks: ticks
                .filter(|time| (first..=last).contains(time))
                .map(|time| (time, place(time)))
                .collect(),
            breaks: Vec::new(),
            height: height + ROW,
        }
    }

    pub(super) const fn height(&self) -> f64 {
        self.height
    }

    pub(super) fn first(&self) -> Instant {
        self.points.first().map_or(Instant::ZERO, |(time, _)| *time)
    }

    pub(super) fn last(&self) -> Instant {
        self.points.last().map_or(Instant::ZERO, |(time, _)| *time)
    }

    /// Returns the height of any time, between its neighbours.
    pub(super) fn y(&self, time: Instant) -> f64 {
        let after = self.points.partition_point(|(other, _)| *other < time);
        let above = after
            .checked_sub(1)
            .and_then(|index| self.points.get(index));
        match (above, self.points.get(after)) {
            (Some((before, top)), Some((next, bottom))) => {
                let whole = (*next - *before).as_secs_f64();
                let part = (time - *before).as_secs_f64() / whole.max(1e-9);
                top + (bottom - top) * part
            }
            (None, Some((_, top))) => *top,
            (Some((_, bottom)), None) => *bottom,
            (None, None) => 0.0,
        }
    }

    /// The times that are written at the side.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (Instant, f64)> {
        self.ticks.iter().copied()
    }

    /// Where waits were shortened much, and how long they were.
    pub(super) fn breaks(&self) -> impl Iterator<Item = (f64, String)> {
        self.breaks.iter().map(|(y, wait)| (*y, span(*wait)))
    }
}

fn anchors<'p>(parts: &'p Parts<'_>) -> Vec<Anchor<'p>> {
    let mut anchors = Vec::new();
    let mut add = |time, node, place, below| {
        anchors.push(Anchor {
            time,
            node,
            place,
            below,
        });
    };
    for part in &parts.list {
        match part {
            Part::Arrow(arrow) => {
                let packet = arrow.packet;
                add(packet.time, packet.from, &arrow.starts, None);
                let to = packet.to.unwrap_or(packet.from);
                add(arrow.aims, to, &arrow.ends, None);
            }
            Part::Remark(remark) => add(remark.mark.time, remark.mark.node, &remark.at, None),
            Part::Bracket(bracket) => {
                let (first, last) = (bracket.first, bracket.last);
                add(first.time, first.node, &bracket.ends.0, None);
                let below = Some((&bracket.ends.0, 2.0 * ROW));
                add(last.time, last.node, &bracket.ends.1, below);
            }
            Part::Band(band) => {
                let (Some(first), Some(last)) = (band.packets.first(), band.packets.last()) else {
                    continue;
                };
                let room = band.room();
                add(first.time, band.from, &band.starts.0, None);
                let start = Some((&band.starts.0, room));
                add(last.time, band.from, &band.starts.1, start);
                let arrived =
                    |packet: &super::super::Packet| packet.arrived().unwrap_or(packet.time);
                add(arrived(first), band.to, &band.ends.0, None);
                let end = Some((&band.ends.0, room));
                add(arrived(last), band.to, &band.ends.1, end);
            }
        }
    }
    anchors
}

/// From when to when.
type Span = (Instant, Instant);

/// When the messages of bands set off or arrive: that is no waiting.
fn busy(parts: &Parts<'_>) -> Vec<Span> {
    let mut busy = Vec::new();
    for part in &parts.list {
        if let Part::Band(band) = part
            && let (Some(first), Some(last)) = (band.packets.first(), band.packets.last())
        {
            busy.push((first.time, last.time));
            busy.extend(first.arrived().zip(last.arrived()));
        }
    }
    busy
}

/// The next span of a whole number of common units.
fn round_step(least: Duration) -> Duration {
    const COMMON: [u64; 14] = [
        60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800,
        2_592_000,
    ];
    let decades = (0..=10).map(|power| 10_u64.pow(power));
    let small =
        decades.flat_map(|decade| [1, 2, 5].map(|step| Duration::from_nanos(step * decade)));
    let large = COMMON.into_iter().map(Duration::from_secs);
    let mut steps = small.filter(|step| step.as_secs() < 60).chain(large);
    steps.find(|step| *step >= least).unwrap_or(least)
}

fn shortest_wait(times: impl Iterator<Item = Instant> + Clone) -> Duration {
    let next = times.clone().skip(1);
    let waits = times.zip(next).map(|(one, other)| other - one);
    // Waits shorter than this cannot be told apart by eye.
    waits
        .min()
        .unwrap_or_default()
        .max(Duration::from_micros(10))
}

/// A time for people: seconds, or hours, minutes and seconds.
pub(super) fn clock(time: Instant) -> String {
    span(time - Instant::ZERO)
}

fn span(span: Duration) -> String {
    let (whole, nanos) = (span.as_secs(), span.subsec_nanos());
    let mut decimals = format!("{:06}", nanos / 1000);
    while decimals.ends_with('0') {
        decimals.pop();
    }
    let point = if decimals.is_empty() { "" } else { "." };
    if whole < 100 {
        return format!("{whole}{point}{decimals} s");
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let decimals: String = decimals.chars().take(3).collect();
    if hours == 0 {
        format!("{minutes}:{seconds:02}{point}{decimals}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}{point}{decimals}")
    }
}
