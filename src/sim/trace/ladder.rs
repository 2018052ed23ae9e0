//! The ladder as text: one line for each packet and mark, for snapshots and terminals.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::{Fate, Mark, MarkKind, Node, Noted, Packet, Trace};
use crate::Instant;

/// With more nodes than this, arrows become words.
const MOST_LANES: usize = 6;

/// The least and the most columns between two lifelines.
const NARROW: usize = 22;
const WIDE: usize = 46;
/// The most with two lifelines, which leave room on a page.
const WIDEST: usize = 64;

impl Trace {
    /// Draws what happened as text.
    ///
    /// Each packet is a line at the time of its sending, with the time of its arrival at the end. A
    /// packet that was sent before is drawn with `=`, a lost one ends in `x` with the reason beside it.
    /// Events are marked `*`, refused commands `!`, link cues `[..]` and remarks `#`. Bare
    /// acknowledgements of TCP are left out.
    #[must_use]
    pub fn ladder(&self) -> String {
        let lanes = self.lanes();
        let digits = self.digits();
        let moments: Vec<Noted<'_>> = self.notes().collect();
        if lanes.len() > MOST_LANES {
            return self.listing(&moments, digits);
        }
        let ladder = Ladder {
            trace: self,
            gap: gap(&moments, lanes.len()),
            lanes,
            digits,
        };
        ladder.draw(&moments)
    }

    /// The fewest decimals, by threes, that tell all times exactly.
    fn digits(&self) -> usize {
        let mut digits = 3;
        let mut look = |time: Instant| {
            let nanos = time.as_nanos();
            if !nanos.is_multiple_of(1_000) {
                digits = 9;
            } else if !nanos.is_multiple_of(1_000_000) {
                digits = digits.max(6);
            }
        };
        for moment in self.notes() {
            match moment {
                Noted::Packet(packet) => {
                    look(packet.time);
                    packet.arrived().map(&mut look);
                }
                Noted::Mark(mark) => look(mark.time),
            }
        }
        digits
    }

    fn listing(&self, moments: &[Noted<'_>], digits: usize) -> String {
        let mut text = String::new();
        for moment in moments {
            match moment {
                Noted::Packet(packet) => {
                    let from = self.name(packet.from);
                    let to = packet.to.map_or("?", |to| self.name(to));
                    let (title, end) = (packet.title(), ending(packet, digits));
                    let time = clock(packet.time, digits);
                    line(
                        &mut text,
                        &format!("{time}  {from} -> {to}: {title}  {end}"),
                    );
                }
                Noted::Mark(mark) => {
                    let (time, node) = (clock(mark.time, digits), self.name(mark.node));
                    line(&mut text, &format!("{time}  {node} {}", remark(mark)));
                }
            }
        }
        text
    }
}

struct Ladder<'a> {
    trace: &'a Trace,
    lanes: Vec<Node>,
    gap: usize,
    digits: usize,
}

impl Ladder<'_> {
    fn draw(&self, moments: &[Noted<'_>]) -> String {
        let mut text = String::new();
        line(&mut text, &self.header());
        for moment in moments {
            let (time, row) = match moment {
                Noted::Packet(packet) => (packet.time, self.arrow(packet)),
                Noted::Mark(mark) => (mark.time, self.remark(mark)),
            };
            line(&mut text, &format!("{}  {row}", clock(time, self.digits)));
        }
        text
    }

    fn header(&self) -> String {
        // The names stand over the lifelines, cut to what there is room for.
        let time = clock(Instant::ZERO, self.digits).len();
        let mut header = format!("{:>time$}  ", "time");
        for lane in &self.lanes {
            let name: String = self.trace.name(*lane).chars().take(self.gap).collect();
            let width = self.gap + 1;
            let _ = write!(header, "{name:<width$}");
        }
        header
    }

    fn lane(&self, node: Node) -> Option<usize> {
        let index = self.lanes.iter().position(|lane| *lane == node)?;
        Some(index * (self.gap + 1))
    }

    fn bars(&self) -> Vec<char> {
        let mut row = vec![' '; self.lanes.len().saturating_sub(1) * (self.gap + 1) + 1];
        for index in 0..self.lanes.len() {
            put(&mut row, index * (self.gap + 1), "|");
        }
        row
    }

    fn arrow(&self, packet: &Packet) -> String {
        let mut row = self.bars();
        let end = ending(packet, self.digits);
        let from = self.lane(packet.from);
        let to = packet.to.and_then(|to| self.lane(to));
        let (Some(from), Some(to)) = (from, to) else {
            let at = from.unwrap_or_default() + 2;
            put(&mut row, at, &packet.title());
            return format!("{}  {end}", row.iter().collect::<String>());
        };
        if from == to {
            put(&mut row, from + 2, &format!("{} to itself", packet.title()));
            return format!("{}  {end}", row.iter().collect::<String>());
        }
        let (left, right) = (from.min(to) + 1, from.max(to));
        let span = right - left;
        let shaft = if packet.is_repeated { '=' } else { '-' };
        let mut drawn: Vec<char> = vec![shaft; span];
        let title: String = packet
            .title()
            .chars()
            .take(span.saturating_sub(8))
            .collect();
        let room = span.saturating_sub(title.chars().count() + 2) / 2;
        put(&mut drawn, room, &format!(" {title} "));
        if packet.lost().is_some() {
            break_off(&mut drawn, from < to);
        } else if from < to {
            put(&mut drawn, span - 1, ">");
        } else {
            put(&mut drawn, 0, "<");
        }
        for (place, letter) in row.iter_mut().skip(left).zip(drawn) {
            // An arrow across a lifeline lets it show.
            if letter != shaft || *place != '|' {
                *place = letter;
            }
        }
        format!("{}  {end}", row.iter().collect::<String>())
    }

    fn remark(&self, mark: &Mark) -> String {
        let mut row = self.bars();
        let at = self.lane(mark.node).unwrap_or_default();
        put(&mut row, at + 2, &remark(mark));
        row.iter().collect()
    }
}

/// Ends a lost packet's arrow three columns before its aim.
fn break_off(drawn: &mut [char], is_rightward: bool) {
    let span = drawn.len();
    if is_rightward {
        put(drawn, span.saturating_sub(4), "x   ");
    } else {
        put(drawn, 0, "   x");
    }
}

fn gap(moments: &[Noted<'_>], lanes: usize) -> usize {
    let most = if lanes <= 2 { WIDEST } else { WIDE };
    let longest = moments.iter().map(|moment| match moment {
        Noted::Packet(packet) => packet.title().chars().count() + 10,
        Noted::Mark(_) => 0,
    });
    longest.max().unwrap_or(0).clamp(NARROW, most)
}

fn ending(packet: &Packet, digits: usize) -> String {
    let mut end = match packet.fate {
        Fate::InFlight => String::from("in flight"),
        Fate::Arrived(at) => clock(at, digits).trim_start().into(),
        Fate::Lost(_, why) => format!("{why}"),
    };
    if packet.is_copy {
        end.push_str(" (copy)");
    }
    if packet.is_corrupted {
        end.push_str(" (corrupted)");
    }
    end
}

fn remark(mark: &Mark) -> String {
    let text = &mark.text;
    match mark.kind {
        MarkKind::Event => format!("* {text}"),
        MarkKind::Refusal => format!("! {text}"),
        MarkKind::Link => format!("[{text}]"),
        MarkKind::Note => format!("# {text}"),
    }
}

fn clock(time: Instant, digits: usize) -> String {
    let nanos = time.as_nanos();
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let decimals: String = format!("{part:09}").chars().take(digits).collect();
    format!("{whole:>6}.{decimals}")
}

/// Writes over what stands there; what goes beyond the end is added.
fn put(row: &mut (impl Row + ?Sized), at: usize, text: &str) {
    for (index, letter) in text.chars().enumerate() {
        row.set(at + index, letter);
    }
}

trait Row {
    fn set(&mut self, at: usize, letter: char);
}

impl Row for [char] {
    fn set(&mut self, at: usize, letter: char) {
        if let Some(place) = self.get_mut(at) {
            *place = letter;
        }
    }
}

impl Row for Vec<char> {
    fn set(&mut self, at: usize, letter: char) {
        while self.len() <= at {
            self.push(' ');
        }
        self.as_mut_slice().set(at, letter);
    }
}

fn line(text: &mut String, row: &str) {
    text.push_str(row.trim_end());
    text.push('\n');
}
