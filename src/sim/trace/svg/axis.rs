//! The scale of time.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use super::super::{MarkKind, Node, Trace, TraceMark, TracePacket};
use super::shapes::{Shape, Shapes};
use super::{Axis, count};
use crate::Instant;

/// The height of a message or mark among others at its lifeline, in pixels.
const ROW: f64 = 15.0;

/// The greatest height. Viewers fail on longer pages.
const LONGEST_PAGE: f64 = 24_000.0;

/// The greatest height of a pause, and that from which a pause is marked.
const LONGEST_WAIT: f64 = 54.0;
const MARKED_WAIT: f64 = 38.0;

/// Times and their heights, ascending in both.
pub(super) struct Scale {
    points: Vec<(Instant, f64)>,
    ticks: Vec<(Instant, f64)>,
    breaks: Vec<(f64, Duration)>,
    height: f64,
}

/// The order of what has one time and node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The beginning or end of a contact, which comes before what is sent or received in it.
    Contact,
    Other,
}

impl Rank {
    fn of(mark: &TraceMark) -> Self {
        match mark.kind {
            MarkKind::Contact => Self::Contact,
            _ => Self::Other,
        }
    }
}

/// A point on a lifeline that needs a height.
struct Anchor<'p> {
    time: Instant,
    node: Node,
    y: &'p Cell<f64>,
    rank: Rank,
    /// A point that must be at least this far above.
    below: Option<(&'p Cell<f64>, f64)>,
}

impl Scale {
    /// Computes the heights of all shapes.
    pub(super) fn lay_out(trace: &Trace, shapes: &Shapes<'_>, axis: Axis) -> Self {
        let mut anchors = anchors(shapes);
        // A stable sort: what has one time keeps its order.
        anchors.sort_by_key(|anchor| (anchor.time, anchor.rank));
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
            Axis::Compressed => Self::compress(&anchors, edges, &busy(shapes)),
            Axis::ToScale => Self::to_scale(&anchors),
        }
    }

    fn compress(anchors: &[Anchor<'_>], edges: Vec<Instant>, busy: &[TimeSpan]) -> Self {
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
            anchor.y.set(anchor.y.get() * by);
        }
        for (_, y) in self.points.iter_mut().chain(&mut self.ticks) {
            *y *= by;
        }
        for (y, _) in &mut self.breaks {
            *y *= by;
        }
        self.height *= by;
    }

    /// Adds a pause: 3 pixels for the shortest, and 3 more for each doubling.
    fn wait(&mut self, wait: Duration, shortest: Duration) -> f64 {
        let times = wait.as_nanos() / shortest.as_nanos().max(1);
        let doublings = times.max(1).ilog2();
        let room = (3.0 + 3.0 * f64::from(doublings)).min(LONGEST_WAIT);
        self.height += room;
        room
    }

    /// Puts points of one time below each other, for each lifeline.
    fn stack(&mut self, time: Instant, anchors: &[&Anchor<'_>]) {
        let is_here = |y: &Cell<f64>| {
            let mut here = anchors.iter();
            here.any(|anchor| core::ptr::eq(anchor.y, y))
        };
        let pushed = anchors.iter().filter_map(|anchor| {
            // If both ends of a shape have one time, it needs its height below that.
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
            let y = (top + *height).max(above);
            anchor.y.set(y);
            *height = y - top + ROW;
        }
        let tallest = filled.values().copied().fold(0.0, f64::max);
        // The last row shares some of its height with the pause after it.
        self.height = top + (tallest - ROW / 4.0).max(0.0);
        self.points.push((time, self.height));
    }

    fn to_scale(anchors: &[Anchor<'_>]) -> Self {
        let first = anchors.first().map_or(Instant::ZERO, |anchor| anchor.time);
        let last = anchors.last().map_or(Instant::ZERO, |anchor| anchor.time);
        let span = (last - first).as_secs_f64();
        let height = (count(anchors.len()) * 9.0).clamp(640.0, 12_000.0);
        let y = |time: Instant| {
            if span > 0.0 {
                (time - first).as_secs_f64() / span * height
            } else {
                0.0
            }
        };
        for anchor in anchors {
            anchor.y.set(y(anchor.time));
        }
        let step = round_step((last - first) / 24);
        let whole = |number: u32| Instant::ZERO + step * number;
        let begin = (first - Instant::ZERO).as_nanos() / step.as_nanos().max(1);
        let begin = u32::try_from(begin).unwrap_or(u32::MAX);
        let ticks = (0..=26).map(|number| whole(begin.saturating_add(number)));
        Self {
            points: [first, last].map(|time| (time, y(time))).into(),
            ticks: ticks
                .filter(|time| (first..=last).contains(time))
                .map(|time| (time, y(time)))
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

    /// Returns the height of a time, by linear interpolation.
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

    /// Returns the times that are labelled.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (Instant, f64)> {
        self.ticks.iter().copied()
    }

    /// Returns the pauses that are marked, with their lengths.
    pub(super) fn breaks(&self) -> impl Iterator<Item = (f64, String)> {
        self.breaks.iter().map(|(y, wait)| (*y, span(*wait)))
    }
}

fn anchors<'p>(shapes: &'p Shapes<'_>) -> Vec<Anchor<'p>> {
    let mut anchors = Vec::new();
    let mut add = |time, node, y, rank, below| {
        anchors.push(Anchor {
            time,
            node,
            y,
            rank,
            below,
        });
    };
    let arrived = |packet: &TracePacket| packet.arrived().unwrap_or(packet.time);
    for shape in &shapes.list {
        match shape {
            Shape::Arrow(arrow) => {
                let packet = arrow.packet;
                let to = packet.to.unwrap_or(packet.from);
                add(packet.time, packet.from, &arrow.starts, Rank::Other, None);
                add(arrow.end_time, to, &arrow.ends, Rank::Other, None);
            }
            Shape::Mark(dot) => {
                let rank = Rank::of(dot.mark);
                add(dot.mark.time, dot.mark.node, &dot.y, rank, None);
            }
            Shape::Bracket(bracket) => {
                let (first, last) = (bracket.first, bracket.last);
                let (top, bottom) = &bracket.ends;
                let rank = Rank::of(first);
                add(first.time, first.node, top, rank, None);
                add(last.time, last.node, bottom, rank, Some((top, 2.0 * ROW)));
            }
            Shape::Band(band) => {
                let (first, last, from) = (band.first, band.last, band.first.from);
                let (top, bottom) = &band.starts;
                add(first.time, from, top, Rank::Other, None);
                add(
                    last.time,
                    from,
                    bottom,
                    Rank::Other,
                    Some((top, band.room())),
                );
                let (top, bottom) = &band.ends;
                add(arrived(first), band.to, top, Rank::Other, None);
                let below = Some((top, band.room()));
                add(arrived(last), band.to, bottom, Rank::Other, below);
            }
        }
    }
    anchors
}

/// From when to when.
type TimeSpan = (Instant, Instant);

/// Returns the times in which messages of bands are sent or arrive, which are no pauses.
fn busy(shapes: &Shapes<'_>) -> Vec<TimeSpan> {
    let mut busy = Vec::new();
    for shape in &shapes.list {
        if let Shape::Band(band) = shape {
            let (first, last) = (band.first, band.last);
            busy.push((first.time, last.time));
            busy.extend(first.arrived().zip(last.arrived()));
        }
    }
    busy
}

/// Returns the next length of time that is round in common units.
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
    // Shorter pauses look alike.
    waits
        .min()
        .unwrap_or_default()
        .max(Duration::from_micros(10))
}

/// Formats a time in seconds, or in hours, minutes and seconds.
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
