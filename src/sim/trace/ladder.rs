//! Ladder diagrams as text: one line for each packet and mark.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::runs::{PacketRun, RunRole, Runs, Style};
use super::{Delivery, MarkKind, Node, Trace, TraceEntry, TraceMark, TracePacket};
use crate::Instant;

/// With more nodes than this, messages are listed in words.
const MAX_LANES: usize = 6;

/// The columns between two lifelines: the fewest, the most, and the most where there are only two.
const MIN_GAP: usize = 22;
const MAX_GAP: usize = 46;
const MAX_GAP_OF_TWO: usize = 64;

impl Trace {
    /// Draws what happened as text.
    ///
    /// Each packet is a line at the time of its sending, with the time of its arrival at the end. A
    /// packet that was sent before is drawn with `=`, a lost one ends in `x` with the reason beside it.
    /// Events are marked `*`, refused commands `!`, link cues `[..]` and notes `#`. Bare acknowledgements
    /// of TCP are left out, and so are contacts after everything else.
    ///
    /// A ladder of more than 80 entries shows the first and the last of eight or more like messages, and
    /// how many are between them.
    #[must_use]
    pub fn ladder(&self) -> String {
        let lanes = self.lanes();
        let entries = self.shown();
        let ladder = Ladder {
            trace: self,
            gap: gap(&entries, lanes.len()),
            digits: digits(&entries),
            runs: Runs::of_long(&entries),
            lanes,
        };
        ladder.draw(&entries)
    }
}

/// Returns the fewest decimals, by threes, that show all times exactly.
fn digits(entries: &[TraceEntry<'_>]) -> usize {
    let mut digits = 3;
    let mut look = |time: Instant| {
        let nanos = time.as_nanos();
        if !nanos.is_multiple_of(1_000) {
            digits = 9;
        } else if !nanos.is_multiple_of(1_000_000) {
            digits = digits.max(6);
        }
    };
    for entry in entries {
        match entry {
            TraceEntry::Packet(packet) => {
                look(packet.time);
                packet.arrived().map(&mut look);
            }
            TraceEntry::Mark(mark) => look(mark.time),
        }
    }
    digits
}

struct Ladder<'a> {
    trace: &'a Trace,
    lanes: Vec<Node>,
    gap: usize,
    digits: usize,
    runs: Runs<'a>,
}

impl Ladder<'_> {
    fn draw(&self, entries: &[TraceEntry<'_>]) -> String {
        let is_list = self.lanes.len() > MAX_LANES;
        let mut text = String::new();
        if !is_list {
            line(&mut text, &self.header());
        }
        for (number, entry) in entries.iter().enumerate() {
            let role = self.runs.role(number);
            if matches!(role, RunRole::Inside) {
                continue;
            }
            let suffix = match role {
                RunRole::FirstMark(run) => {
                    let last = run
                        .marks
                        .last()
                        .map_or(Instant::ZERO, |(_, mark)| mark.time);
                    let last = clock(last, self.digits);
                    format!(" ({} times until {})", run.marks.len(), last.trim_start())
                }
                _ => String::new(),
            };
            let (time, row) = match entry {
                TraceEntry::Packet(packet) if is_list => {
                    (packet.time, self.message_in_words(packet))
                }
                TraceEntry::Packet(packet) => (packet.time, self.arrow(packet)),
                TraceEntry::Mark(mark) if is_list => {
                    let name = self.trace.name(mark.node);
                    (mark.time, format!("{name} {}{suffix}", mark_text(mark)))
                }
                TraceEntry::Mark(mark) => (mark.time, self.mark(mark, &suffix)),
            };
            let time = clock(time, self.digits);
            line(&mut text, &format!("{time}  {row}"));
            if let RunRole::FirstPacket(run) = role {
                let blank = time.len();
                line(
                    &mut text,
                    &format!("{:blank$}  {}", "", self.middle_of(run, is_list)),
                );
            }
        }
        text
    }

    fn message_in_words(&self, packet: &TracePacket) -> String {
        let from = self.trace.name(packet.from);
        let to = packet.to.map_or("?", |to| self.trace.name(to));
        format!(
            "{from} -> {to}: {}  {}",
            packet.title(),
            ending(packet, self.digits)
        )
    }

    /// Counts what is between the first and the last message of a run.
    fn middle_of(&self, run: &PacketRun<'_>, is_list: bool) -> String {
        let (lost, corrupted) = (run.lost.len(), run.count(Style::Corrupted));
        let more = run.packets.len().saturating_sub(2) + lost + corrupted;
        let mut text = format!("... {more} more");
        let counts = [
            (lost, "lost"),
            (corrupted, "corrupted"),
            (run.count(Style::Copy), "copied"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, ", {count} {what}");
        }
        if is_list {
            return text;
        }
        let mut row = self.bars();
        let from = run
            .packets
            .first()
            .and_then(|(_, first)| self.lane(first.from));
        let left = from.into_iter().chain(self.lane(run.to)).min();
        put(&mut row, left.unwrap_or_default() + 3, &text);
        row.into_iter().collect()
    }

    fn header(&self) -> String {
        // Names are cut to the distance of the lifelines.
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

    fn arrow(&self, packet: &TracePacket) -> String {
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
        for (cell, letter) in row.iter_mut().skip(left).zip(drawn) {
            // A lifeline that an arrow crosses stays visible.
            if letter != shaft || *cell != '|' {
                *cell = letter;
            }
        }
        format!("{}  {end}", row.iter().collect::<String>())
    }

    fn mark(&self, mark: &TraceMark, suffix: &str) -> String {
        let mut row = self.bars();
        let at = self.lane(mark.node).unwrap_or_default();
        put(&mut row, at + 2, &format!("{}{suffix}", mark_text(mark)));
        row.iter().collect()
    }
}

/// Ends the arrow of a lost packet three columns before its receiver.
fn break_off(drawn: &mut [char], is_rightward: bool) {
    let span = drawn.len();
    if is_rightward {
        put(drawn, span.saturating_sub(4), "x   ");
    } else {
        put(drawn, 0, "   x");
    }
}

fn gap(entries: &[TraceEntry<'_>], lanes: usize) -> usize {
    let most = if lanes <= 2 { MAX_GAP_OF_TWO } else { MAX_GAP };
    let longest = entries.iter().map(|entry| match entry {
        TraceEntry::Packet(packet) => packet.title().chars().count() + 10,
        TraceEntry::Mark(_) => 0,
    });
    longest.max().unwrap_or(0).clamp(MIN_GAP, most)
}

fn ending(packet: &TracePacket, digits: usize) -> String {
    let mut end = match packet.delivery {
        Delivery::InFlight => String::from("in flight"),
        Delivery::Arrived(at) => clock(at, digits).trim_start().into(),
        Delivery::Lost(_, reason) => format!("{reason}"),
    };
    if packet.is_copy {
        end.push_str(" (copy)");
    }
    if packet.is_corrupted {
        end.push_str(" (corrupted)");
    }
    end
}

fn mark_text(mark: &TraceMark) -> String {
    let text = &mark.text;
    match mark.kind {
        MarkKind::Event => format!("* {text}"),
        MarkKind::Refusal => format!("! {text}"),
        MarkKind::Link | MarkKind::Contact => format!("[{text}]"),
        MarkKind::Note => format!("# {text}"),
    }
}

fn clock(time: Instant, digits: usize) -> String {
    let nanos = time.as_nanos();
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let decimals: String = format!("{part:09}").chars().take(digits).collect();
    format!("{whole:>6}.{decimals}")
}

/// Writes text at a column, over what is there.
fn put(row: &mut (impl TextRow + ?Sized), at: usize, text: &str) {
    for (index, letter) in text.chars().enumerate() {
        row.set(at + index, letter);
    }
}

trait TextRow {
    fn set(&mut self, at: usize, letter: char);
}

impl TextRow for [char] {
    fn set(&mut self, at: usize, letter: char) {
        if let Some(cell) = self.get_mut(at) {
            *cell = letter;
        }
    }
}

impl TextRow for Vec<char> {
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
