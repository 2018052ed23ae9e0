//! Prints the recorded and the replayed result of a call side by side.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use super::json::pretty;
use crate::Instant;

/// Octets of one row.
const ROW: usize = 16;
/// Rows and lines printed before and after the first difference.
const BEFORE: usize = 3;
const AFTER: usize = 8;
/// Characters of one side.
const WIDTH: usize = 72;

/// The first call that had another result in the replay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The number of the call, counted from 1.
    pub number: u64,
    /// The time of the call.
    pub time: Instant,
    /// The name of the call.
    pub call: String,
    /// The last input before it.
    pub after: Option<String>,
    /// The recorded result, in lines that correspond to those of `replayed`.
    pub recorded: Vec<String>,
    /// The result of the replay.
    pub replayed: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} at {}: {}", self.number, self.time, self.call)?;
        if let Some(after) = &self.after {
            write!(f, ", after {after}")?;
        }
        let lines = self.recorded.len().max(self.replayed.len());
        let width = |lines: &[String]| lines.iter().map(|line| line.chars().count()).max();
        let left = width(&self.recorded).unwrap_or(0).max("recorded".len());
        write!(f, "\n  {:left$} | replayed", "recorded")?;
        for line in 0..lines {
            let side = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
            let row = format!(
                "  {:left$} | {}",
                side(&self.recorded),
                side(&self.replayed)
            );
            write!(f, "\n{}", row.trim_end())?;
        }
        Ok(())
    }
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// One line.
    Line(String),
    /// JSON with a title.
    Json(&'static str, Vec<u8>),
    /// Datagrams, or octets of a stream as one.
    Octets {
        title: String,
        datagrams: Vec<Vec<u8>>,
    },
}

/// Returns the lines of both sides around their first difference.
pub(super) fn lay_out(recorded: &Side, replayed: &Side) -> (Vec<String>, Vec<String>) {
    if let (
        Side::Octets { datagrams: one, .. },
        Side::Octets {
            datagrams: other, ..
        },
    ) = (recorded, replayed)
    {
        let number = first_difference(one, other);
        return match (one.get(number), other.get(number)) {
            (Some(a), Some(b)) => {
                let at = Some(first_difference(a, b));
                (rows(recorded, number, at), rows(replayed, number, at))
            }
            // The same octets to another address.
            (None, None) => (rows(recorded, 0, None), rows(replayed, 0, None)),
            _ => (rows(recorded, number, None), rows(replayed, number, None)),
        };
    }
    let (one, other) = (lines(recorded), lines(replayed));
    let at = first_difference(&one, &other);
    let focus = match (one.get(at), other.get(at)) {
        (Some(one), Some(other)) => {
            let chars = |line: &String| line.chars().collect::<Vec<_>>();
            first_difference(&chars(one), &chars(other))
        }
        _ => 0,
    };
    (window(&one, at, focus), window(&other, at, focus))
}

fn first_difference<T: PartialEq>(one: &[T], other: &[T]) -> usize {
    let equal = one.iter().zip(other).take_while(|(a, b)| a == b);
    equal.count()
}

fn lines(side: &Side) -> Vec<String> {
    match side {
        Side::Line(line) => alloc::vec![line.clone()],
        Side::Json(word, text) => {
            let mut lines = alloc::vec![(*word).to_string()];
            lines.extend(pretty(text).lines().map(String::from));
            lines
        }
        Side::Octets { .. } => rows(side, 0, None),
    }
}

/// Prints one datagram around the octet `at`, with a mark under it.
fn rows(side: &Side, number: usize, at: Option<usize>) -> Vec<String> {
    let Side::Octets { title, datagrams } = side else {
        return Vec::new();
    };
    let mut shown = alloc::vec![title.clone()];
    let Some(octets) = datagrams.get(number) else {
        shown.push(format!("no datagram {}", number + 1));
        return shown;
    };
    if datagrams.len() > 1 {
        let (number, length) = (number + 1, octets.len());
        shown.push(format!("datagram {number}, {length} octets"));
    }
    let marked = at.map(|at| at / ROW);
    let first = marked.unwrap_or(0).saturating_sub(BEFORE);
    let rows = octets.chunks(ROW).enumerate().skip(first);
    for (row, octets) in rows.take(BEFORE + AFTER) {
        let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        shown.push(format!("{:04x}  {}", row * ROW, digits.join(" ")));
        if let Some(at) = at.filter(|at| at / ROW == row) {
            shown.push(format!("{:1$}^^", "", 6 + 3 * (at % ROW)));
        }
    }
    shown
}

/// Returns the lines around line `at`, long ones truncated around the character `focus`.
fn window(lines: &[String], at: usize, focus: usize) -> Vec<String> {
    let first = at.saturating_sub(BEFORE).max(1);
    // The first line is the title.
    let title = lines.iter().take(1);
    let shown = title.chain(lines.iter().skip(first).take(BEFORE + AFTER));
    shown.map(|line| clip(line, focus)).collect()
}

fn clip(line: &str, focus: usize) -> String {
    let length = line.chars().count();
    if length <= WIDTH {
        return line.to_string();
    }
    let start = focus.saturating_sub(WIDTH / 2).min(length - WIDTH);
    let middle: String = line.chars().skip(start).take(WIDTH).collect();
    let ahead = if start > 0 { ".." } else { "" };
    let after = if start + WIDTH < length { ".." } else { "" };
    format!("{ahead}{middle}{after}")
}
