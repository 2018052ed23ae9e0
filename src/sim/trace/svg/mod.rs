//! The ladder as a drawing.

mod axis;
mod parts;
mod pen;
mod runs;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{MarkKind, Node, Trace};
use axis::Scale;
use parts::{Arrow, Band, Bracket, Part, Parts, Remark, Style};
use pen::{Pen, Text};

/// How a ladder is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drawing {
    /// What is written over it.
    pub title: String,
    /// How time runs down the page.
    pub axis: Axis,
    /// When many messages are drawn as one band.
    pub bands: Bands,
}

/// How time runs down the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    /// Each moment has the room that it needs; long waits are shortened, the longer the more.
    #[default]
    Compressed,
    /// Equal spans are equally long.
    ToScale,
}

/// When many messages are drawn as one band.
///
/// A band stands for a run of messages in one direction that went well, or that were all sent again. Lost
/// ones are drawn in it, each for itself; those that the line copied or corrupted are counted beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bands {
    /// With more messages than a page shows.
    #[default]
    WhenMany,
    /// Never.
    Never,
}

/// Messages that a ladder shows one by one.
const FEW: usize = 80;

/// With more on one page, lines are thin.
const DENSE: usize = 400;

const TOP: f64 = 96.0;
const TIMES: f64 = 92.0;
const OUTSIDE: f64 = 190.0;

/// Where things are on the page.
struct Page<'a> {
    trace: &'a Trace,
    lanes: Vec<Node>,
    gap: f64,
    left: f64,
    bottom: f64,
    scale: Scale,
}

impl Trace {
    /// Draws what happened as an SVG: a lifeline for each node, time running down, an arrow for each
    /// message from its sending to its arrival.
    ///
    /// Lost messages are broken off, messages that were sent again stand out, contact windows are shaded on
    /// the side of who can send. Pointing at something tells all about it. Bare acknowledgements of TCP are
    /// left out.
    #[must_use]
    pub fn svg(&self, drawing: &Drawing) -> String {
        let lanes = self.lanes();
        let messages = self.notes().count();
        let fold = drawing.bands == Bands::WhenMany && messages > FEW;
        let parts = Parts::of(self, fold);
        let scale = Scale::lay(self, &parts, drawing.axis);
        let gap = match lanes.len() {
            0..=2 => 420.0,
            3 => 320.0,
            4 | 5 => 250.0,
            _ => 190.0,
        };
        let has_outside = |node: Option<&Node>| {
            node.is_some_and(|node| self.marks().any(|mark| mark.node == *node))
        };
        let page = Page {
            trace: self,
            left: TIMES
                + if has_outside(lanes.first()) {
                    OUTSIDE
                } else {
                    30.0
                },
            gap,
            bottom: TOP + scale.height() + 30.0,
            scale,
            lanes,
        };
        page.draw(drawing, &parts)
    }
}

impl Page<'_> {
    fn x(&self, node: Node) -> f64 {
        let index = self.lanes.iter().position(|lane| *lane == node);
        self.left + self.gap * count(index.unwrap_or_default())
    }

    fn right(&self) -> f64 {
        self.left + self.gap * count(self.lanes.len().saturating_sub(1))
    }

    fn draw(&self, drawing: &Drawing, parts: &Parts<'_>) -> String {
        let mut pen = Pen::new();
        let mut labels = Labels::default();
        let (width, height) = (self.right() + OUTSIDE, self.bottom + 80.0);
        let class = if parts.list.len() > DENSE {
            "dense"
        } else {
            ""
        };
        pen.begin(width, height, class);
        self.heading(&mut pen, drawing);
        self.contacts(&mut pen);
        self.times(&mut pen);
        self.lifelines(&mut pen);
        for part in &parts.list {
            if let Part::Band(band) = part {
                self.band(&mut pen, &mut labels, band);
            }
        }
        for part in &parts.list {
            match part {
                Part::Arrow(arrow) => self.arrow(&mut pen, &mut labels, arrow),
                Part::Remark(remark) => self.remark(&mut pen, &mut labels, remark),
                Part::Bracket(bracket) => self.bracket(&mut pen, &mut labels, bracket),
                Part::Band(_) => {}
            }
        }
        self.legend(&mut pen, parts);
        pen.end()
    }

    fn heading(&self, pen: &mut Pen, drawing: &Drawing) {
        let title = if drawing.title.is_empty() {
            "Ladder"
        } else {
            &drawing.title
        };
        pen.text(Text::new(20.0, 28.0, "title"), title);
        let packets = || self.trace.packets().filter(|packet| !packet.is_bare_ack());
        let lost = packets().filter(|packet| packet.lost().is_some()).count();
        let again = packets().filter(|packet| packet.is_repeated).count();
        let seed = self
            .trace
            .seed
            .map_or_else(String::new, |seed| format!("seed {seed}  \u{b7}  "));
        let facts = format!(
            "{seed}{} messages, {lost} lost, {again} sent again  \u{b7}  {} to {}  \u{b7}  {}",
            packets().count(),
            axis::clock(self.scale.first()),
            axis::clock(self.scale.last()),
            match drawing.axis {
                Axis::Compressed => "time compressed",
                Axis::ToScale => "time to scale",
            }
        );
        pen.text(Text::new(20.0, 46.0, "facts"), &facts);
    }

    fn lifelines(&self, pen: &mut Pen) {
        for lane in &self.lanes {
            let (x, name) = (self.x(*lane), self.trace.name(*lane));
            let class = match lane {
                Node::Host(_) => "host",
                Node::Nat(_) => "nat",
            };
            pen.line((x, TOP - 14.0), (x, self.bottom), "life");
            pen.boxed(x, TOP - 28.0, name, class);
            pen.boxed(x, self.bottom + 14.0, name, class);
        }
    }

    /// Shades the half of the gap that is nearer to who can send.
    fn contacts(&self, pen: &mut Pen) {
        for contact in self.trace.contacts() {
            let (from, to) = (self.x(contact.from), self.x(contact.to));
            let middle = f64::midpoint(from, to);
            let top = TOP + self.scale.y(contact.opens);
            let end = contact.closes.min(self.scale.last());
            let bottom = TOP + self.scale.y(end);
            if contact.opens > self.scale.last() {
                continue;
            }
            let title = format!(
                "contact from {} to {}: {} to {}",
                self.trace.name(contact.from),
                self.trace.name(contact.to),
                axis::clock(contact.opens),
                axis::clock(contact.closes)
            );
            let corner = (from.min(middle), top);
            pen.area(
                corner,
                ((middle - from).abs(), (bottom - top).max(1.0)),
                &title,
            );
        }
    }

    fn times(&self, pen: &mut Pen) {
        let mut free = 0.0;
        for (time, y) in self.scale.ticks() {
            let y = TOP + y;
            if y < free {
                continue;
            }
            free = y + 15.0;
            pen.line((TIMES - 4.0, y), (self.right() + 20.0, y), "tick");
            pen.text(
                Text::new(TIMES - 10.0, y + 3.5, "time").right(),
                &axis::clock(time),
            );
        }
        for (y, text) in self.scale.breaks() {
            pen.zigzag(TIMES - 4.0, TOP + y);
            pen.text(
                Text::new(TIMES - 16.0, TOP + y + 3.5, "wait").right(),
                &text,
            );
        }
    }

    fn arrow(&self, pen: &mut Pen, labels: &mut Labels, arrow: &Arrow<'_>) {
        let packet = arrow.packet;
        let start = (self.x(packet.from), TOP + arrow.starts.get());
        let aim = packet.to.map_or(start.0 + self.gap / 2.0, |to| self.x(to));
        let end = (aim, TOP + arrow.ends.get());
        let class = arrow.style.class();
        pen.open(&arrow.title(self.trace));
        if start.0.total_cmp(&end.0).is_eq() {
            pen.curl(start, end, class);
        } else if arrow.style == Style::Lost {
            pen.broken(start, end);
        } else {
            pen.arrow(start, end, class);
        }
        if labels.takes(Side::of(packet.from, start.0 <= end.0), start.1) {
            pen.along(start, end, &arrow.label(), class);
        }
        pen.close();
    }

    fn band(&self, pen: &mut Pen, labels: &mut Labels, band: &Band<'_>) {
        let (from, to) = (self.x(band.from), self.x(band.to));
        let starts = (TOP + band.starts.0.get(), TOP + band.starts.1.get());
        let ends = (TOP + band.ends.0.get(), TOP + band.ends.1.get());
        pen.open(&band.title(self.trace));
        pen.sheet((from, starts), (to, ends), band.style.class());
        pen.arrow((from, starts.0), (to, ends.0), band.style.class());
        pen.arrow((from, starts.1), (to, ends.1), band.style.class());
        let side = Side::of(band.from, from <= to);
        let summary = band.summary(self.trace);
        let class = band.style.class();
        if starts.1 - starts.0 < 28.0 {
            let label = format!("{}: {summary}", band.first_label());
            if labels.takes(side, starts.0) {
                pen.along((from, starts.0), (to, ends.0), &label, class);
            }
        } else {
            for (start, end, label) in [
                (starts.0, ends.0, band.first_label()),
                (starts.1, ends.1, band.last_label()),
            ] {
                if labels.takes(side, start) {
                    pen.along((from, start), (to, end), &label, class);
                }
            }
            let start = f64::midpoint(starts.0, starts.1);
            let end = f64::midpoint(ends.0, ends.1);
            // Behind the stubs of what was lost.
            let part = if band.lost.is_empty() { 0.5 } else { 0.62 };
            let middle = (
                from + (to - from) * part,
                start + (end - start) * part + 4.0,
            );
            // Both directions often have a band at one time, and so one middle.
            let between = Side::Between(band.from.min(band.to), band.from.max(band.to));
            if let Some(y) = labels.place(between, middle.1) {
                pen.text(Text::new(middle.0, y, "count").middle(), &summary);
            }
        }
        pen.close();
        for lost in &band.lost {
            // Their order gives their place along the edge: many may share one time.
            let part = lost.part;
            let start = starts.0 + (starts.1 - starts.0) * part;
            let end = ends.0 + (ends.1 - ends.0) * part;
            pen.open(&parts::title(self.trace, lost.packet));
            pen.stub((from, start), (to, end));
            pen.close();
        }
    }

    fn remark(&self, pen: &mut Pen, labels: &mut Labels, remark: &Remark<'_>) {
        let mark = remark.mark;
        let x = self.x(mark.node);
        let y = TOP + remark.at.get();
        let class = class(mark.kind);
        pen.open(&format!("{}: {}", axis::clock(mark.time), mark.text));
        pen.dot((x, y), class);
        let text = remark.text();
        if let Some(y) = labels.place(Side::Outside(mark.node), y) {
            self.outside(pen, mark.node, (x, y), class, &text);
        }
        pen.close();
    }

    fn bracket(&self, pen: &mut Pen, labels: &mut Labels, bracket: &Bracket<'_>) {
        let node = bracket.first.node;
        let x = self.x(node);
        let (top, bottom) = (TOP + bracket.ends.0.get(), TOP + bracket.ends.1.get());
        let class = class(bracket.first.kind);
        pen.open(&bracket.title());
        for y in [top, bottom] {
            pen.dot((x, y), class);
        }
        pen.area_of(class, (x - 2.5, top), (5.0, bottom - top));
        if let Some(y) = labels.place(Side::Outside(node), f64::midpoint(top, bottom)) {
            self.outside(pen, node, (x, y), class, &bracket.text());
        }
        pen.close();
    }

    /// Writes beside a lifeline: to the left of the first, to the right of the others.
    fn outside(
        &self,
        pen: &mut Pen,
        node: Node,
        (x, y): (f64, f64),
        class: &'static str,
        text: &str,
    ) {
        let is_first = self.lanes.first() == Some(&node) && self.lanes.len() > 1;
        if is_first {
            pen.text(Text::new(x - 9.0, y + 3.5, class).right(), text);
        } else {
            pen.text(Text::new(x + 9.0, y + 3.5, class), text);
        }
    }

    fn legend(&self, pen: &mut Pen, parts: &Parts<'_>) {
        let y = self.bottom + 56.0;
        let mut x = 20.0;
        for (style, name) in parts.styles() {
            let start = (x, y);
            let end = (x + 34.0, y);
            match style {
                Style::Lost => pen.broken(start, end),
                _ => pen.arrow(start, end, style.class()),
            }
            pen.text(Text::new(x + 42.0, y + 3.5, "facts"), name);
            x += 70.0 + 6.4 * count(name.len());
        }
        if self.trace.contacts().next().is_some() {
            pen.area((x, y - 8.0), (34.0, 16.0), "contact");
            pen.text(Text::new(x + 42.0, y + 3.5, "facts"), "contact window");
        }
    }
}

const fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Event => "event",
        MarkKind::Refusal => "refusal",
        MarkKind::Link => "link",
        MarkKind::Note => "note",
    }
}

/// Where labels stand, so that none covers another.
#[derive(Default)]
struct Labels {
    filled: BTreeMap<Side, Vec<f64>>,
}

/// A side of a lifeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Left(Node),
    Right(Node),
    /// Where remarks stand.
    Outside(Node),
    /// Half way to the other.
    Between(Node, Node),
}

impl Side {
    const fn of(node: Node, is_rightward: bool) -> Self {
        if is_rightward {
            Self::Right(node)
        } else {
            Self::Left(node)
        }
    }
}

impl Labels {
    /// Takes the place at `y`, unless it is taken.
    fn takes(&mut self, side: Side, y: f64) -> bool {
        let filled = self.filled.entry(side).or_default();
        // Labels come nearly in order, so the last few are the ones that can be near.
        let mut near = filled.iter().rev().take(8);
        let is_free = near.all(|other| (y - other).abs() >= 10.5);
        if is_free {
            filled.push(y);
        }
        is_free
    }

    /// Takes the place at `y`, or a little below.
    fn place(&mut self, side: Side, y: f64) -> Option<f64> {
        let below = [0.0, 11.0, 22.0].map(|down| y + down);
        below.into_iter().find(|y| self.takes(side, *y))
    }
}

/// A number of things as a length; beyond 32 bits no page would hold them.
fn count(things: usize) -> f64 {
    f64::from(u32::try_from(things).unwrap_or(u32::MAX))
}
