//! What is drawn: arrows, bands of many alike, and remarks, each still without its place.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use super::super::{Fate, Mark, Node, Noted, Packet, Trace};
use super::runs::{Role, Runs};
use super::{axis, count};
use crate::Instant;

/// Everything on the page, in order of time.
pub(super) struct Parts<'a> {
    pub(super) list: Vec<Part<'a>>,
}

pub(super) enum Part<'a> {
    Arrow(Arrow<'a>),
    Band(Band<'a>),
    Remark(Remark<'a>),
    Bracket(Bracket<'a>),
}

/// One message. The heights are found when the axis is laid.
pub(super) struct Arrow<'a> {
    pub(super) packet: &'a Packet,
    pub(super) style: Style,
    /// When it arrives, or would have.
    pub(super) aims: Instant,
    pub(super) starts: Cell<f64>,
    pub(super) ends: Cell<f64>,
}

/// Many messages alike: their first and their last.
pub(super) struct Band<'a> {
    pub(super) from: Node,
    pub(super) to: Node,
    pub(super) style: Style,
    pub(super) packets: Vec<&'a Packet>,
    pub(super) lost: Vec<LostOne<'a>>,
    pub(super) copies: usize,
    pub(super) corrupted: usize,
    pub(super) starts: (Cell<f64>, Cell<f64>),
    pub(super) ends: (Cell<f64>, Cell<f64>),
}

pub(super) struct LostOne<'a> {
    pub(super) packet: &'a Packet,
    /// How far along the band it was sent, from 0 to 1.
    pub(super) part: f64,
}

pub(super) struct Remark<'a> {
    pub(super) mark: &'a Mark,
    pub(super) at: Cell<f64>,
}

/// Many remarks alike at one node.
pub(super) struct Bracket<'a> {
    pub(super) first: &'a Mark,
    pub(super) last: &'a Mark,
    pub(super) count: usize,
    pub(super) ends: (Cell<f64>, Cell<f64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    Plain,
    Repeated,
    Copy,
    Corrupted,
    InFlight,
    Lost,
}

impl Style {
    pub(super) fn of(packet: &Packet) -> Self {
        match packet.fate {
            Fate::Lost(..) => Self::Lost,
            _ if packet.is_corrupted => Self::Corrupted,
            _ if packet.is_copy => Self::Copy,
            _ if packet.is_repeated => Self::Repeated,
            Fate::InFlight => Self::InFlight,
            Fate::Arrived(_) => Self::Plain,
        }
    }

    /// Tells whether messages of this style are drawn together when there are many.
    pub(super) const fn runs(self) -> bool {
        !matches!(self, Self::InFlight)
    }

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

impl<'a> Parts<'a> {
    pub(super) fn of(trace: &'a Trace, fold: bool) -> Self {
        let delays = Delays::of(trace);
        let runs = if fold {
            Runs::of(trace)
        } else {
            Runs::default()
        };
        let mut list = Vec::new();
        for (number, moment) in trace.notes().enumerate() {
            match (runs.role(number), moment) {
                (Role::Inside, _) => {}
                (Role::Messages(run), _) => list.push(Part::Band(run.band())),
                (Role::Marks(run), _) => list.extend(run.bracket().map(Part::Bracket)),
                (Role::Alone, Noted::Mark(mark)) => list.push(Part::Remark(Remark {
                    mark,
                    at: Cell::default(),
                })),
                (Role::Alone, Noted::Packet(packet)) => list.push(Part::Arrow(Arrow {
                    packet,
                    style: Style::of(packet),
                    aims: delays.aim(packet),
                    starts: Cell::default(),
                    ends: Cell::default(),
                })),
            }
        }
        Self { list }
    }

    /// The styles that occur, with their names.
    pub(super) fn styles(&self) -> Vec<(Style, &'static str)> {
        let mut styles = BTreeSet::new();
        for part in &self.list {
            match part {
                Part::Arrow(arrow) => {
                    styles.insert(arrow.style);
                }
                Part::Band(band) => {
                    styles.insert(band.style);
                    if !band.lost.is_empty() {
                        styles.insert(Style::Lost);
                    }
                }
                Part::Remark(_) | Part::Bracket(_) => {}
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

/// How long messages take, to draw those that never arrived.
struct Delays(BTreeMap<(Node, Option<Node>), core::time::Duration>);

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

    /// When a packet arrived, or would have.
    fn aim(&self, packet: &Packet) -> Instant {
        let usual = self.0.get(&(packet.from, packet.to)).copied();
        let due = packet.time + usual.unwrap_or_default();
        match packet.fate {
            Fate::Arrived(at) => at,
            Fate::Lost(at, _) => at.max(due),
            Fate::InFlight => due,
        }
    }
}

impl Arrow<'_> {
    pub(super) fn label(&self) -> String {
        let mut label = self.packet.title();
        if let Some((_, why)) = self.packet.lost() {
            label = format!("{label} ({why})");
        }
        shorten(label, 46)
    }

    pub(super) fn title(&self, trace: &Trace) -> String {
        title(trace, self.packet)
    }
}

pub(super) fn title(trace: &Trace, packet: &Packet) -> String {
    let from = trace.name(packet.from);
    let to = packet.to.map_or("?", |to| trace.name(to));
    let fate = match packet.fate {
        Fate::InFlight => String::from("in flight"),
        Fate::Arrived(at) => format!("arrived {}", axis::clock(at)),
        Fate::Lost(at, why) => format!("{why} {}", axis::clock(at)),
    };
    format!(
        "{}: {} octets from {from} to {to}, sent {}, {fate}",
        packet.title(),
        packet.len,
        axis::clock(packet.time)
    )
}

impl Band<'_> {
    pub(super) fn first_label(&self) -> String {
        self.packets
            .first()
            .map_or_else(String::new, |packet| shorten(packet.title(), 46))
    }

    pub(super) fn last_label(&self) -> String {
        self.packets
            .last()
            .map_or_else(String::new, |packet| shorten(packet.title(), 46))
    }

    pub(super) fn summary(&self, trace: &Trace) -> String {
        let (arrived, lost) = (self.packets.len() + self.corrupted, self.lost.len());
        let mut summary = format!("{} messages to {}", arrived + lost, trace.name(self.to));
        let fates = [
            (lost, "lost"),
            (self.corrupted, "corrupted"),
            (self.copies, "copied"),
        ];
        for (number, fate) in fates.into_iter().filter(|(number, _)| *number > 0) {
            summary = format!("{summary}, {number} {fate}");
        }
        summary
    }

    pub(super) fn title(&self, trace: &Trace) -> String {
        let first = self.packets.first().map(|packet| title(trace, packet));
        let last = self.packets.last().map(|packet| title(trace, packet));
        format!(
            "{}\nfirst: {}\nlast: {}",
            self.summary(trace),
            first.unwrap_or_default(),
            last.unwrap_or_default()
        )
    }

    /// How much room its edges need: more for more messages, but by far not as much more.
    pub(super) fn room(&self) -> f64 {
        let many = u32::try_from(self.packets.len() + self.lost.len()).unwrap_or(u32::MAX);
        let doublings = many.checked_ilog2().unwrap_or(0);
        let stubs = count(self.lost.len()) * 3.0;
        30.0 + 6.0 * f64::from(doublings) + stubs.min(120.0)
    }
}

impl Bracket<'_> {
    pub(super) fn text(&self) -> String {
        format!(
            "{} times {}",
            self.count,
            shorten(self.first.text.clone(), 24)
        )
    }

    pub(super) fn title(&self) -> String {
        format!(
            "{} times {}: {} to {}",
            self.count,
            self.first.text,
            axis::clock(self.first.time),
            axis::clock(self.last.time)
        )
    }
}

impl Remark<'_> {
    pub(super) fn text(&self) -> String {
        shorten(self.mark.text.clone(), 30)
    }
}

fn shorten(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push_str("..");
    }
    text
}
