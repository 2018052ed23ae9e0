//! What a drawing consists of: arrows, bands of like messages, marks and brackets of like marks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use super::super::runs::{MarkRun, PacketRun, RunRole, Runs, Style};
use super::super::{Delivery, Node, Trace, TraceEntry, TraceMark, TracePacket};
use super::{axis, count};
use crate::Instant;

/// All shapes of a page, in the order of time. Their heights are set when the axis is laid out.
pub(super) struct Shapes<'a> {
    pub(super) list: Vec<Shape<'a>>,
}

pub(super) enum Shape<'a> {
    Arrow(Arrow<'a>),
    Band(Band<'a>),
    Mark(MarkDot<'a>),
    Bracket(Bracket<'a>),
}

/// One message.
pub(super) struct Arrow<'a> {
    pub(super) packet: &'a TracePacket,
    pub(super) style: Style,
    /// When it arrives, or would have arrived.
    pub(super) end_time: Instant,
    pub(super) starts: Cell<f64>,
    pub(super) ends: Cell<f64>,
}

/// A run of messages, drawn as its first and its last.
pub(super) struct Band<'a> {
    pub(super) first: &'a TracePacket,
    pub(super) last: &'a TracePacket,
    pub(super) to: Node,
    pub(super) style: Style,
    /// How many arrived.
    pub(super) arrived: usize,
    pub(super) lost: Vec<LostInBand<'a>>,
    copied: usize,
    corrupted: usize,
    pub(super) starts: (Cell<f64>, Cell<f64>),
    pub(super) ends: (Cell<f64>, Cell<f64>),
}

pub(super) struct LostInBand<'a> {
    pub(super) packet: &'a TracePacket,
    /// How far along the edge of the band it was sent, from 0 to 1.
    pub(super) part: f64,
}

pub(super) struct MarkDot<'a> {
    pub(super) mark: &'a TraceMark,
    pub(super) y: Cell<f64>,
}

/// A run of marks.
pub(super) struct Bracket<'a> {
    pub(super) first: &'a TraceMark,
    pub(super) last: &'a TraceMark,
    count: usize,
    pub(super) ends: (Cell<f64>, Cell<f64>),
}

impl Style {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Repeated => "again",
            Self::Copy => "copy",
            Self::Corrupted => "bad",
            Self::InFlight => "flying",
            Self::Lost => "lost",
        }
    }
}

impl<'a> Shapes<'a> {
    pub(super) fn of(trace: &'a Trace, entries: &[TraceEntry<'a>], runs: &Runs<'a>) -> Self {
        let delays = Delays::of(trace);
        let mut list = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            match (runs.role(number), *entry) {
                (RunRole::Inside | RunRole::LastPacket, _) => {}
                (RunRole::FirstPacket(run), _) => list.extend(Band::of(run).map(Shape::Band)),
                (RunRole::FirstMark(run), _) => list.extend(Bracket::of(run).map(Shape::Bracket)),
                (RunRole::Alone, TraceEntry::Mark(mark)) => list.push(Shape::Mark(MarkDot {
                    mark,
                    y: Cell::default(),
                })),
                (RunRole::Alone, TraceEntry::Packet(packet)) => list.push(Shape::Arrow(Arrow {
                    packet,
                    style: Style::of(packet),
                    end_time: delays.end_of(packet),
                    starts: Cell::default(),
                    ends: Cell::default(),
                })),
            }
        }
        Self { list }
    }

    /// Returns the styles that occur, with their names.
    pub(super) fn styles(&self) -> Vec<(Style, &'static str)> {
        let mut styles = BTreeSet::new();
        for shape in &self.list {
            match shape {
                Shape::Arrow(arrow) => {
                    styles.insert(arrow.style);
                }
                Shape::Band(band) => {
                    styles.insert(band.style);
                    if !band.lost.is_empty() {
                        styles.insert(Style::Lost);
                    }
                }
                Shape::Mark(_) | Shape::Bracket(_) => {}
            }
        }
        let name = |style| match style {
            Style::Plain => "message",
            Style::Repeated => "sent again",
            Style::Copy => "copied by the line",
            Style::Corrupted => "corrupted",
            Style::InFlight => "in flight",
            Style::Lost => "lost",
        };
        styles
            .into_iter()
            .map(|style| (style, name(style)))
            .collect()
    }
}

/// How long the first message between two nodes took; lost ones are drawn as if they took as long.
struct Delays(BTreeMap<(Node, Option<Node>), Duration>);

impl Delays {
    fn of(trace: &Trace) -> Self {
        let mut delays = BTreeMap::new();
        for packet in trace.packets() {
            if let Some(at) = packet.arrived() {
                delays
                    .entry((packet.from, packet.to))
                    .or_insert(at - packet.time);
            }
        }
        Self(delays)
    }

    /// Returns when a packet arrived, or would have arrived.
    fn end_of(&self, packet: &TracePacket) -> Instant {
        let usual = self.0.get(&(packet.from, packet.to)).copied();
        let due = packet.time + usual.unwrap_or_default();
        match packet.delivery {
            Delivery::Arrived(at) => at,
            Delivery::Lost(at, _) => at.max(due),
            Delivery::InFlight => due,
        }
    }
}

impl Arrow<'_> {
    pub(super) fn label(&self) -> String {
        match self.packet.lost() {
            Some((_, reason)) => format!("{} ({reason})", self.packet.title()),
            None => self.packet.title(),
        }
    }
}

/// Tells all about a packet, for the tooltip.
pub(super) fn tooltip(trace: &Trace, packet: &TracePacket) -> String {
    let from = trace.name(packet.from);
    let to = packet.to.map_or("?", |to| trace.name(to));
    let delivery = match packet.delivery {
        Delivery::InFlight => String::from("in flight"),
        Delivery::Arrived(at) => format!("arrived {}", axis::clock(at)),
        Delivery::Lost(at, reason) => format!("{reason} {}", axis::clock(at)),
    };
    format!(
        "{}: {} octets from {from} to {to}, sent {}, {delivery}",
        packet.title(),
        packet.len,
        axis::clock(packet.time)
    )
}

impl<'a> Band<'a> {
    fn of(run: &PacketRun<'a>) -> Option<Self> {
        let arrived = run.packets.len();
        let all = count(arrived + run.lost.len());
        let lost = run
            .lost
            .iter()
            .enumerate()
            .map(|(before, lost)| LostInBand {
                packet: lost.packet,
                part: (count(before + lost.after) / (all - 1.0).max(1.0)).min(1.0),
            });
        Some(Self {
            first: run.packets.first()?.1,
            last: run.packets.last()?.1,
            to: run.to,
            style: run.style,
            arrived,
            lost: lost.collect(),
            copied: run.count(Style::Copy),
            corrupted: run.count(Style::Corrupted),
            starts: <(Cell<f64>, Cell<f64>)>::default(),
            ends: <(Cell<f64>, Cell<f64>)>::default(),
        })
    }

    pub(super) fn summary(&self, trace: &Trace) -> String {
        let (arrived, lost) = (self.arrived + self.corrupted, self.lost.len());
        let mut summary = format!("{} messages to {}", arrived + lost, trace.name(self.to));
        let counts = [
            (lost, "lost"),
            (self.corrupted, "corrupted"),
            (self.copied, "copied"),
        ];
        for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
            summary = format!("{summary}, {number} {what}");
        }
        summary
    }

    pub(super) fn tooltip(&self, trace: &Trace) -> String {
        format!(
            "{}\nfirst: {}\nlast: {}",
            self.summary(trace),
            tooltip(trace, self.first),
            tooltip(trace, self.last)
        )
    }

    /// Returns the height of its edges in pixels: 6 more for each doubling of the number of messages.
    pub(super) fn room(&self) -> f64 {
        let many = u32::try_from(self.arrived + self.lost.len()).unwrap_or(u32::MAX);
        let doublings = many.checked_ilog2().unwrap_or(0);
        let stubs = count(self.lost.len()) * 3.0;
        30.0 + 6.0 * f64::from(doublings) + stubs.min(120.0)
    }
}

impl<'a> Bracket<'a> {
    fn of(run: &MarkRun<'a>) -> Option<Self> {
        Some(Self {
            first: run.marks.first()?.1,
            last: run.marks.last()?.1,
            count: run.marks.len(),
            ends: <(Cell<f64>, Cell<f64>)>::default(),
        })
    }

    pub(super) fn text(&self) -> String {
        format!("{} times {}", self.count, self.first.text)
    }

    pub(super) fn tooltip(&self) -> String {
        format!(
            "{}: {} to {}",
            self.text(),
            axis::clock(self.first.time),
            axis::clock(self.last.time)
        )
    }
}
