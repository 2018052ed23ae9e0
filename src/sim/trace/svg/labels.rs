//! Room for labels: how long they are, and where they stand so that none covers another.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Node, count};

/// The mean width of a character in pixels, in the size of labels and in the bold one of summaries.
const WIDTH: f64 = 6.2;
const BOLD_WIDTH: f64 = 7.6;

/// The height of a label in pixels.
const HEIGHT: f64 = 10.5;

/// Returns about how wide a label is, in pixels.
pub(super) fn width(text: &str) -> f64 {
    count(text.chars().count()) * WIDTH
}

/// Returns about how wide a summary is, in pixels.
pub(super) fn bold_width(text: &str) -> f64 {
    count(text.chars().count()) * BOLD_WIDTH
}

/// Cuts a label that is wider than `room` pixels.
pub(super) fn fit(text: &str, room: f64) -> String {
    let fits = |chars: usize| count(chars) * WIDTH <= room;
    if fits(text.chars().count()) {
        return text.into();
    }
    let cut = text.char_indices().enumerate();
    let kept = cut.take_while(|(number, _)| fits(number + 3));
    let end = kept
        .last()
        .map_or(0, |(_, (end, letter))| end + letter.len_utf8());
    let mut text = String::from(text.get(..end).unwrap_or_default());
    text.push_str("..");
    text
}

/// Where labels stand.
#[derive(Default)]
pub(super) struct LabelPlaces {
    /// The heights of labels, each with the height that it needs for itself.
    taken: BTreeMap<LabelSide, Vec<(f64, f64)>>,
}

/// A side of a lifeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LabelSide {
    Left(Node),
    Right(Node),
    /// Where marks are described.
    Outside(Node),
    /// Half way to another lifeline.
    Between(Node, Node),
}

impl LabelSide {
    pub(super) const fn of(node: Node, is_rightward: bool) -> Self {
        if is_rightward {
            Self::Right(node)
        } else {
            Self::Left(node)
        }
    }
}

impl LabelPlaces {
    /// Takes the place at `y` for a label on a slope, of which `cosine` is that of its angle. Returns false
    /// if another label is too near.
    pub(super) fn take(&mut self, side: LabelSide, y: f64, cosine: f64) -> bool {
        // The distance of sloped lines is less than their difference in height, and their labels are longer.
        let height = HEIGHT / (cosine * cosine).max(0.1);
        let taken = self.taken.entry(side).or_default();
        // Labels come nearly in order, so only the last few can be near.
        let mut near = taken.iter().rev().take(8);
        let is_free = near.all(|(other, needed)| (y - other).abs() >= height.max(*needed));
        if is_free {
            taken.push((y, height));
        }
        is_free
    }

    /// Takes the place at `y`, or up to 22 pixels below, for a horizontal label.
    pub(super) fn take_near(&mut self, side: LabelSide, y: f64) -> Option<f64> {
        let below = [0.0, 11.0, 22.0].map(|down| y + down);
        below.into_iter().find(|y| self.take(side, *y, 1.0))
    }
}
