//! Writes SVG.

use alloc::format;
use alloc::string::String;

pub(super) type Xy = (f64, f64);

/// An SVG document that is being written.
pub(super) struct SvgWriter {
    out: String,
}

/// The position and style of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    x: f64,
    y: f64,
    class: &'static str,
    anchor: &'static str,
}

impl Text {
    pub(super) const fn new(x: f64, y: f64, class: &'static str) -> Self {
        Self {
            x,
            y,
            class,
            anchor: "start",
        }
    }

    pub(super) const fn right(mut self) -> Self {
        self.anchor = "end";
        self
    }

    pub(super) const fn middle(mut self) -> Self {
        self.anchor = "middle";
        self
    }
}

/// The style sheet.
const STYLE: &str = "\
text{font-family:'DejaVu Sans',Verdana,sans-serif;font-size:10.5px;fill:#26323f}
.halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}
.title{font-size:17px;font-weight:bold}.facts{fill:#5b6876;font-size:11px}
.time{fill:#7a8794;font-size:10px}.wait{fill:#a0643c;font-size:10px;font-style:italic}
.tick{stroke:#edf0f3;stroke-width:1}.life{stroke:#9aa7b4;stroke-width:1.6}
.zigzag{fill:none;stroke:#c98a5e;stroke-width:1.2}
.box{stroke:#4d6276;fill:#e8eef5}.box-nat{stroke:#8a7a4d;fill:#f6f0dc}.name{font-size:12px;font-weight:bold}
.contact{fill:#cfeedb;fill-opacity:.75}
path.arrow{fill:none;stroke-width:1.4}.plain{stroke:#2f5d8a}.again{stroke:#e07b00}.copy{stroke:#8455b0}
.bad{stroke:#b8336a}.flying{stroke:#2f5d8a;stroke-dasharray:2 4}.lost{stroke:#d02a2a}
path.copy{stroke-dasharray:6 3}path.bad{stroke-dasharray:1.5 2.5}path.ghost{stroke-dasharray:2 5;stroke-opacity:.35}
path.again{stroke-width:1.8}path.stub{stroke-width:1;stroke-opacity:.5}
.head-plain,.head-flying{fill:#2f5d8a}.head-again{fill:#e07b00}.head-copy{fill:#8455b0}.head-bad{fill:#b8336a}
.band-plain{fill:#2f5d8a;fill-opacity:.13}.band-again{fill:#e07b00;fill-opacity:.2}
.t-again{fill:#a85c00}.t-copy{fill:#6a3f94}.t-bad{fill:#952654}.t-lost{fill:#b01f1f}
.count{font-size:11.5px;font-weight:bold;fill:#33475b}
.event{fill:#1d7a46}.refusal{fill:#b01f1f}.link{fill:#7a8794}.note{fill:#6a3f94}.faint{fill-opacity:.45}
g:hover>path.arrow{stroke-width:3;stroke-opacity:1}
.dense path.arrow{stroke-width:.7;stroke-opacity:.55}.dense path.again,.dense path.lost{stroke-width:1.2;stroke-opacity:.9}
";

impl SvgWriter {
    pub(super) const fn new() -> Self {
        Self { out: String::new() }
    }

    pub(super) fn begin(&mut self, width: f64, height: f64, class: &str) {
        self.write(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        ));
    }

    pub(super) fn end(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// Begins a group with a tooltip.
    pub(super) fn open(&mut self, title: &str) {
        let title = escape(title);
        self.write(&format!("<g><title>{title}</title>"));
    }

    pub(super) fn close(&mut self) {
        self.write("</g>\n");
    }

    pub(super) fn text(&mut self, text: Text, content: &str) {
        let Text {
            x,
            y,
            class,
            anchor,
        } = text;
        let content = escape(content);
        self.write(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class} halo\" text-anchor=\"{anchor}\">{content}</text>\n"
        ));
    }

    pub(super) fn line(&mut self, from: Xy, to: Xy, class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.write(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n"
        ));
    }

    pub(super) fn boxed(&mut self, x: f64, y: f64, name: &str, class: &str) {
        let width = 24.0 + 8.0 * super::count(name.chars().count());
        let (left, top) = (x - width / 2.0, y - 12.0);
        let kind = if class == "nat" { "box-nat" } else { "box" };
        self.write(&format!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"24\" rx=\"6\" class=\"{kind}\"/>"
        ));
        self.text(Text::new(x, y + 4.5, "name").middle(), name);
    }

    pub(super) fn area(&mut self, corner: Xy, size: (f64, f64), title: &str) {
        let ((x, y), (width, height)) = (corner, size);
        let title = escape(title);
        self.write(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             class=\"contact\"><title>{title}</title></rect>\n"
        ));
    }

    pub(super) fn area_of(&mut self, class: &str, corner: Xy, size: (f64, f64)) {
        let ((x, y), (width, height)) = (corner, size);
        self.write(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             class=\"{class} faint\"/>"
        ));
    }

    pub(super) fn zigzag(&mut self, x: f64, y: f64) {
        self.write(&format!(
            "<path class=\"zigzag\" d=\"M{x:.1} {:.1}l4 4l-8 4l4 4\"/>\n",
            y - 6.0
        ));
    }

    pub(super) fn dot(&mut self, at: Xy, class: &str) {
        let (x, y) = at;
        self.write(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" class=\"{class}\"/>"
        ));
    }

    pub(super) fn arrow(&mut self, from: Xy, to: Xy, class: &str) {
        self.path(from, to, class, "");
        self.head(from, to, class);
    }

    fn path(&mut self, from: Xy, to: Xy, class: &str, kind: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.write(&format!(
            "<path class=\"arrow {class}{kind}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>"
        ));
    }

    fn head(&mut self, from: Xy, to: Xy, class: &str) {
        let (ux, uy) = direction(from, to);
        let (x, y) = to;
        let (bx, by) = (x - ux * 8.0, y - uy * 8.0);
        let (px, py) = (-uy * 3.4, ux * 3.4);
        self.write(&format!(
            "<path class=\"head-{class}\" d=\"M{x:.1} {y:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
            bx + px,
            by + py,
            bx - px,
            by - py
        ));
    }

    /// Draws the arrow of a lost message.
    pub(super) fn broken(&mut self, from: Xy, to: Xy) {
        let stop = between(from, to, 0.6);
        self.path(from, stop, "lost", "");
        self.path(between(from, to, 0.66), to, "lost", " ghost");
        self.cross(stop, 4.5);
    }

    /// Draws a lost message in a band, where there is little room.
    pub(super) fn stub(&mut self, from: Xy, to: Xy) {
        let stop = between(from, to, 0.22);
        self.path(from, stop, "lost", " stub");
        self.cross(stop, 3.0);
    }

    fn cross(&mut self, at: Xy, arm: f64) {
        let (x, y) = at;
        let (left, right, top, bottom) = (x - arm, x + arm, y - arm, y + arm);
        self.write(&format!(
            "<path class=\"arrow lost\" d=\"M{left:.1} {top:.1}L{right:.1} {bottom:.1}M{left:.1} \
             {bottom:.1}L{right:.1} {top:.1}\"/>"
        ));
    }

    /// Draws a message of a node to itself.
    pub(super) fn curl(&mut self, from: Xy, to: Xy, class: &str) {
        let ((x, y1), (_, y2)) = (from, to);
        let (right, low) = (x + 34.0, y2.max(y1 + 8.0));
        self.write(&format!(
            "<path class=\"arrow {class}\" d=\"M{x:.1} {y1:.1}C{right:.1} {y1:.1} {right:.1} {low:.1} {x:.1} {low:.1}\"/>"
        ));
        self.head((right, low), (x, low), class);
    }

    /// Fills the area between the first and the last message of a band.
    pub(super) fn band(
        &mut self,
        (x1, starts): (f64, (f64, f64)),
        (x2, ends): (f64, (f64, f64)),
        class: &str,
    ) {
        self.write(&format!(
            "<path class=\"band-{class}\" d=\"M{x1:.1} {:.1}L{x2:.1} {:.1}L{x2:.1} {:.1}L{x1:.1} {:.1}Z\"/>",
            starts.0, ends.0, ends.1, starts.1
        ));
    }

    /// Writes a label on an arrow, near its start.
    pub(super) fn along(&mut self, from: Xy, to: Xy, label: &str, class: &str) {
        let (ux, uy) = label_direction(from, to);
        let (sign, anchor) = if from.0 <= to.0 {
            (1.0, "start")
        } else {
            (-1.0, "end")
        };
        let (x, y) = (
            from.0 + sign * ux * 12.0 + uy * 3.0,
            from.1 + sign * uy * 12.0 - ux * 3.0,
        );
        let label = escape(label);
        self.write(&format!(
            "<text transform=\"matrix({ux:.4} {uy:.4} {:.4} {ux:.4} {x:.1} {y:.1})\" \
             class=\"halo t-{class}\" text-anchor=\"{anchor}\">{label}</text>",
            -uy
        ));
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
    }
}

/// Returns the direction in which the label of an arrow is written, with length 1 and to the right.
///
/// A label on a steep arrow is horizontal: along the arrow it would cover those of its neighbours.
pub(super) fn label_direction(from: Xy, to: Xy) -> Xy {
    let (ux, uy) = if from.0 <= to.0 {
        direction(from, to)
    } else {
        direction(to, from)
    };
    if uy.abs() > 0.8 { (1.0, 0.0) } else { (ux, uy) }
}

fn between(from: Xy, to: Xy, part: f64) -> Xy {
    (
        from.0 + (to.0 - from.0) * part,
        from.1 + (to.1 - from.1) * part,
    )
}

/// Returns the direction with length 1.
fn direction(from: Xy, to: Xy) -> Xy {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = (dx * dx + dy * dy).sqrt().max(1e-6);
    (dx / length, dy / length)
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() && letter != '\n' => safe.push('?'),
            letter => safe.push(letter),
        }
    }
    safe
}
