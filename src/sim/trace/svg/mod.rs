//! Ladder diagrams as SVG.

mod axis;
mod labels;
mod shapes;
mod writer;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::runs::{Runs, Style};
use super::{MarkKind, Node, Trace};
use axis::Scale;
use labels::{LabelPlaces, LabelSide, fit};
use shapes::{Arrow, Band, Bracket, MarkDot, Shape, Shapes};
use writer::{SvgWriter, Text};

/// Options of a drawing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drawing {
    /// The title. An empty one is shown as `Ladder`.
    pub title: String,
    /// The scale of time.
    pub axis: Axis,
    /// When like messages are drawn as one band.
    pub bands: Bands,
}

/// The scale of time of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    /// Each time has the height that its labels need. The height of a pause grows with the logarithm of its
    /// length.
    #[default]
    Compressed,
    /// Equal times have equal heights.
    ToScale,
}

/// When eight or more like messages are drawn as one band.
///
/// Like messages have one direction and one kind, and all of them, or none, are repetitions. The lost ones
/// are drawn in the band one by one. Those that the line copied or corrupted are counted beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bands {
    /// If the drawing has more than 80 messages and marks.
    #[default]
    WhenMany,
    /// Never.
    Never,
}

/// The number of shapes from which on lines are thin.
const DENSE: usize = 400;

/// The heights and widths of the margins in pixels.
const TOP: f64 = 96.0;
const TIMES: f64 = 92.0;
const OUTSIDE: f64 = 190.0;

/// The layout of the page.
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
    /// Arrows of lost messages are broken off, and repeated messages have a colour of their own. Contacts
    /// are shaded on the side of the node that can send. A tooltip describes each shape in full. Bare
    /// acknowledgements of TCP are left out, and so are contacts after everything else.
    #[must_use]
    pub fn svg(&self, drawing: &Drawing) -> String {
        let lanes = self.lanes();
        let entries = self.shown();
        let runs = match drawing.bands {
            Bands::WhenMany => Runs::of_long(&entries),
            Bands::Never => Runs::default(),
        };
        let shapes = Shapes::of(self, &entries, &runs);
        let scale = Scale::lay_out(self, &shapes, drawing.axis);
        let gap = match lanes.len() {
            0..=2 => 420.0,
            3 => 320.0,
            4 | 5 => 250.0,
            _ => 190.0,
        };
        let has_marks = |node: &Node| self.marks().any(|mark| mark.node == *node);
        let margin = if lanes.first().is_some_and(has_marks) {
            OUTSIDE
        } else {
            30.0
        };
        let page = Page {
            trace: self,
            left: TIMES + margin,
            gap,
            bottom: TOP + scale.height() + 30.0,
            scale,
            lanes,
        };
        page.draw(drawing, &shapes)
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

    fn draw(&self, drawing: &Drawing, shapes: &Shapes<'_>) -> String {
        let mut writer = SvgWriter::new();
        let mut labels = LabelPlaces::default();
        let (width, height) = (self.right() + OUTSIDE, self.bottom + 80.0);
        let class = if shapes.list.len() > DENSE {
            "dense"
        } else {
            ""
        };
        writer.begin(width, height, class);
        self.heading(&mut writer, drawing);
        self.contacts(&mut writer);
        self.times(&mut writer);
        self.lifelines(&mut writer);
        for shape in &shapes.list {
            if let Shape::Band(band) = shape {
                self.band(&mut writer, &mut labels, band);
            }
        }
        for shape in &shapes.list {
            match shape {
                Shape::Arrow(arrow) => self.arrow(&mut writer, &mut labels, arrow),
                Shape::Mark(dot) => self.mark(&mut writer, &mut labels, dot),
                Shape::Bracket(bracket) => self.bracket(&mut writer, &mut labels, bracket),
                Shape::Band(_) => {}
            }
        }
        self.legend(&mut writer, shapes);
        writer.end()
    }

    fn heading(&self, writer: &mut SvgWriter, drawing: &Drawing) {
        let title = if drawing.title.is_empty() {
            "Ladder"
        } else {
            &drawing.title
        };
        writer.text(Text::new(20.0, 28.0, "title"), title);
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
        writer.text(Text::new(20.0, 46.0, "facts"), &facts);
    }

    fn lifelines(&self, writer: &mut SvgWriter) {
        for lane in &self.lanes {
            let (x, name) = (self.x(*lane), self.trace.name(*lane));
            let class = match lane {
                Node::Host(_) => "host",
                Node::Nat(_) => "nat",
            };
            writer.line((x, TOP - 14.0), (x, self.bottom), "life");
            writer.boxed(x, TOP - 28.0, name, class);
            writer.boxed(x, self.bottom + 14.0, name, class);
        }
    }

    /// Shades the half of the gap that is nearer to the sender.
    fn contacts(&self, writer: &mut SvgWriter) {
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
            writer.area(
                corner,
                ((middle - from).abs(), (bottom - top).max(1.0)),
                &title,
            );
        }
    }

    fn times(&self, writer: &mut SvgWriter) {
        let mut free = 0.0;
        for (time, y) in self.scale.ticks() {
            let y = TOP + y;
            if y < free {
                continue;
            }
            free = y + 15.0;
            writer.line((TIMES - 4.0, y), (self.right() + 20.0, y), "tick");
            writer.text(
                Text::new(TIMES - 10.0, y + 3.5, "time").right(),
                &axis::clock(time),
            );
        }
        for (y, text) in self.scale.breaks() {
            writer.zigzag(TIMES - 4.0, TOP + y);
            writer.text(
                Text::new(TIMES - 16.0, TOP + y + 3.5, "wait").right(),
                &text,
            );
        }
    }

    fn arrow(&self, writer: &mut SvgWriter, labels: &mut LabelPlaces, arrow: &Arrow<'_>) {
        let packet = arrow.packet;
        let start = (self.x(packet.from), TOP + arrow.starts.get());
        let to_x = packet.to.map_or(start.0 + self.gap / 2.0, |to| self.x(to));
        let end = (to_x, TOP + arrow.ends.get());
        let class = arrow.style.class();
        writer.open(&shapes::tooltip(self.trace, packet));
        if start.0.total_cmp(&end.0).is_eq() {
            writer.curl(start, end, class);
        } else if arrow.style == Style::Lost {
            writer.broken(start, end);
        } else {
            writer.arrow(start, end, class);
        }
        self.label(
            writer,
            labels,
            (packet.from, start, end),
            &arrow.label(),
            class,
        );
        writer.close();
    }

    /// Writes along an arrow, unless another label is in the way.
    fn label(
        &self,
        writer: &mut SvgWriter,
        labels: &mut LabelPlaces,
        (from, start, end): (Node, (f64, f64), (f64, f64)),
        label: &str,
        class: &str,
    ) {
        let slope = writer::label_direction(start, end);
        let side = LabelSide::of(from, start.0 <= end.0);
        if labels.take(side, start.1, slope.0) {
            let length = (end.0 - start.0).abs().max(self.gap / 2.0) / slope.0;
            writer.along(start, end, &fit(label, length - 36.0), class);
        }
    }

    fn band(&self, writer: &mut SvgWriter, labels: &mut LabelPlaces, band: &Band<'_>) {
        let node = band.first.from;
        let (from, to) = (self.x(node), self.x(band.to));
        let starts = (TOP + band.starts.0.get(), TOP + band.starts.1.get());
        let ends = (TOP + band.ends.0.get(), TOP + band.ends.1.get());
        let class = band.style.class();
        let (first, last) = (band.first.title(), band.last.title());
        let summary = band.summary(self.trace);
        let upper = (node, (from, starts.0), (to, ends.0));
        let lower = (node, (from, starts.1), (to, ends.1));
        writer.open(&band.tooltip(self.trace));
        writer.band((from, starts), (to, ends), class);
        writer.arrow(upper.1, upper.2, class);
        writer.arrow(lower.1, lower.2, class);
        if starts.1 - starts.0 < 28.0 {
            self.label(writer, labels, upper, &format!("{first}: {summary}"), class);
        } else {
            self.label(writer, labels, upper, &first, class);
            self.label(writer, labels, lower, &last, class);
            self.band_summary(writer, labels, band, &summary);
        }
        writer.close();
        for lost in &band.lost {
            // By their order, because many may have one time.
            let start = starts.0 + (starts.1 - starts.0) * lost.part;
            let end = ends.0 + (ends.1 - ends.0) * lost.part;
            writer.open(&shapes::tooltip(self.trace, lost.packet));
            writer.stub((from, start), (to, end));
            writer.close();
        }
    }

    /// Writes in the middle of a band, past the label of its lower edge and the stubs of lost messages.
    fn band_summary(
        &self,
        writer: &mut SvgWriter,
        labels: &mut LabelPlaces,
        band: &Band<'_>,
        summary: &str,
    ) {
        let (from, to) = (self.x(band.first.from), self.x(band.to));
        let start = TOP + f64::midpoint(band.starts.0.get(), band.starts.1.get());
        let end = TOP + f64::midpoint(band.ends.0.get(), band.ends.1.get());
        let slope = writer::label_direction((from, start), (to, end));
        let length = (to - from).abs().max(1.0);
        let half = labels::bold_width(summary) / 2.0;
        let label_end = 12.0 + labels::width(&band.last.title()) * slope.0;
        let least = if band.lost.is_empty() { 0.5 } else { 0.62 };
        let most = (1.0 - (half + 6.0) / length).max(least);
        let part = ((label_end + half + 6.0) / length).clamp(least, most);
        let middle = (
            from + (to - from) * part,
            start + (end - start) * part + 4.0,
        );
        // Both directions may have a band at one time, and then the same middle.
        let between =
            LabelSide::Between(band.first.from.min(band.to), band.first.from.max(band.to));
        if let Some(y) = labels.take_near(between, middle.1) {
            writer.text(Text::new(middle.0, y, "count").middle(), summary);
        }
    }

    fn mark(&self, writer: &mut SvgWriter, labels: &mut LabelPlaces, dot: &MarkDot<'_>) {
        let mark = dot.mark;
        let x = self.x(mark.node);
        let y = TOP + dot.y.get();
        let class = class(mark.kind);
        writer.open(&format!("{}: {}", axis::clock(mark.time), mark.text));
        writer.dot((x, y), class);
        if let Some(y) = labels.take_near(LabelSide::Outside(mark.node), y) {
            self.outside(writer, mark.node, (x, y), class, &mark.text);
        }
        writer.close();
    }

    fn bracket(&self, writer: &mut SvgWriter, labels: &mut LabelPlaces, bracket: &Bracket<'_>) {
        let node = bracket.first.node;
        let x = self.x(node);
        let (top, bottom) = (TOP + bracket.ends.0.get(), TOP + bracket.ends.1.get());
        let class = class(bracket.first.kind);
        writer.open(&bracket.tooltip());
        for y in [top, bottom] {
            writer.dot((x, y), class);
        }
        writer.area_of(class, (x - 2.5, top), (5.0, bottom - top));
        let middle = f64::midpoint(top, bottom);
        if let Some(y) = labels.take_near(LabelSide::Outside(node), middle) {
            self.outside(writer, node, (x, y), class, &bracket.text());
        }
        writer.close();
    }

    /// Writes beside a lifeline: to the left of the first, to the right of the others.
    fn outside(
        &self,
        writer: &mut SvgWriter,
        node: Node,
        (x, y): (f64, f64),
        class: &'static str,
        text: &str,
    ) {
        let is_first = self.lanes.first() == Some(&node) && self.lanes.len() > 1;
        let is_last = self.lanes.last() == Some(&node);
        let room = if is_first || is_last {
            OUTSIDE
        } else {
            self.gap
        };
        let text = &fit(text, room - 14.0);
        if is_first {
            writer.text(Text::new(x - 9.0, y + 3.5, class).right(), text);
        } else {
            writer.text(Text::new(x + 9.0, y + 3.5, class), text);
        }
    }

    fn legend(&self, writer: &mut SvgWriter, shapes: &Shapes<'_>) {
        let y = self.bottom + 56.0;
        let mut x = 20.0;
        for (style, name) in shapes.styles() {
            let start = (x, y);
            let end = (x + 34.0, y);
            match style {
                Style::Lost => writer.broken(start, end),
                _ => writer.arrow(start, end, style.class()),
            }
            writer.text(Text::new(x + 42.0, y + 3.5, "facts"), name);
            x += 70.0 + 6.4 * count(name.len());
        }
        if self.trace.contacts().next().is_some() {
            writer.area((x, y - 8.0), (34.0, 16.0), "contact");
            writer.text(Text::new(x + 42.0, y + 3.5, "facts"), "contact window");
        }
    }
}

const fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Event => "event",
        MarkKind::Refusal => "refusal",
        MarkKind::Link | MarkKind::Contact => "link",
        MarkKind::Note => "note",
    }
}

/// Converts a number of things to a length. Bound: no page holds more than 32 bits of them.
fn count(things: usize) -> f64 {
    f64::from(u32::try_from(things).unwrap_or(u32::MAX))
}
