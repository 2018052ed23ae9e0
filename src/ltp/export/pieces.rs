//! How blocks are cut into segments.

use core::ops::Range;

use super::{Outstanding, Retransmission, Sending};
use crate::ltp::sdnv::sdnv_len;
use crate::ltp::wire::{Checkpoint, Color, Mark, data_header_len};

/// A segment of a block to write.
#[derive(Debug)]
pub(in crate::ltp) struct Piece {
    pub(in crate::ltp) range: Range<u64>,
    pub(in crate::ltp) color: Color,
}

/// Octets of a checkpoint that is kept small because copies of it are sent.
const SMALL: u64 = 32;
/// The number of segments from which on a small checkpoint is worth one segment more.
pub(in crate::ltp) const MANY: usize = 8;

/// The client service and the size limits of a data segment.
#[derive(Debug, Clone, Copy)]
pub(in crate::ltp) struct Frame {
    pub(in crate::ltp) client: u64,
    /// Octets for the content of the segment.
    pub(in crate::ltp) room: usize,
    /// Whether the checkpoint behind many segments is a small one, because copies of it are sent.
    pub(in crate::ltp) is_small: bool,
}

impl Piece {
    pub(in crate::ltp) const fn new(range: Range<u64>, color: Color) -> Self {
        Self { range, color }
    }
}

impl Outstanding {
    pub(in crate::ltp) fn piece(&self) -> Piece {
        let checkpoint = Checkpoint {
            serial: self.serial,
            report: self.report,
            mark: self.mark,
        };
        Piece::new(self.range.clone(), Color::Red(Some(checkpoint)))
    }
}

impl Sending {
    pub(in crate::ltp) fn octets(&self, range: &Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.block.get(start..end)
    }

    /// Returns the next segment of the first pass. `None` if a segment has no room for an octet.
    ///
    /// The last red segment is the checkpoint that ends the red part, and the last segment ends the block (RFC 5326
    /// section 4.1). No segment has two colors.
    pub(in crate::ltp) fn next_piece(&self, frame: Frame, wants_checkpoint: bool) -> Option<Piece> {
        if self.next >= self.red {
            let left = self.len() - self.next;
            let fit = frame.fit(self.next, Color::Green { ends_block: true })?;
            let ends_block = left <= fit;
            let range = self.next..self.next + left.min(fit);
            return Some(Piece::new(range, Color::Green { ends_block }));
        }
        let last = Checkpoint {
            serial: self.serial,
            report: 0,
            mark: mark_at(self.red, self.red, self.len()),
        };
        let checked = frame.cut(self.next..self.red, last)?;
        if checked.range.end < self.red && wants_checkpoint {
            let checkpoint = Checkpoint {
                mark: Mark::None,
                ..last
            };
            let color = Color::Red(Some(checkpoint));
            let fit = frame.fit(self.next, color)?.min(self.red - self.next - 1);
            return Some(Piece::new(self.next..self.next + fit, color));
        }
        Some(checked)
    }
}

impl Retransmission {
    /// Returns the next segment. Only the last one is a checkpoint (RFC 5326 section 6.13).
    pub(in crate::ltp) fn next_piece(
        &self,
        frame: Frame,
        serial: u64,
        (red, len): (u64, u64),
    ) -> Option<Piece> {
        let gap = self.gaps.front()?.clone();
        if self.gaps.len() > 1 {
            let fit = frame.fit(gap.start, Color::Red(None))?;
            let end = gap.end.min(gap.start + fit);
            return Some(Piece::new(gap.start..end, Color::Red(None)));
        }
        let checkpoint = Checkpoint {
            serial,
            report: self.report,
            mark: mark_at(gap.end, red, len),
        };
        let has_begun = self.sent.last().is_some_and(|sent| sent.end == gap.start);
        let gaps = self.sent.len() + usize::from(!has_begun);
        // The copies of the checkpoint of a short retransmission are copies of its octets too.
        let frame = Frame {
            is_small: frame.is_small && gaps >= MANY,
            ..frame
        };
        frame.cut(gap, checkpoint)
    }

    /// Notes that the next octets were sent.
    pub(in crate::ltp) fn advance(&mut self, octets: Range<u64>) {
        if let Some(gap) = self.gaps.front_mut() {
            gap.start = octets.end;
            if gap.is_empty() {
                self.gaps.pop_front();
            }
        }
        match self.sent.last_mut() {
            Some(last) if last.end == octets.start => last.end = octets.end,
            _ => self.sent.push(octets),
        }
    }
}

/// Returns the mark of a red segment that ends at `end`, as on the first pass.
const fn mark_at(end: u64, red: u64, len: u64) -> Mark {
    if end < red {
        Mark::None
    } else if red < len {
        Mark::RedPart
    } else {
        Mark::Block
    }
}

impl Frame {
    /// Whether a segment at `offset` may reach `end`.
    pub(in crate::ltp) fn reaches(self, offset: u64, end: u64) -> bool {
        // Bound: usize has at most 64 bits.
        offset.saturating_add(self.room as u64) >= end
    }

    /// Returns how many octets of the block fit a segment at `offset`. `None` if not even one does.
    pub(in crate::ltp) fn fit(self, offset: u64, color: Color) -> Option<u64> {
        // The length field is counted by its real size.
        let head = data_header_len(self.client, offset, 0, color) - 1;
        let room = self.room.checked_sub(head)?;
        // Bound: usize has at most 64 bits.
        let fit = (room as u64).checked_sub(sdnv_len(room as u64) as u64)?;
        (fit > 0).then_some(fit)
    }

    /// Returns the next segment of red octets that end in a checkpoint.
    ///
    /// ION leaves a checkpoint of one octet where the serial numbers just do not fit. Here the rest is halved.
    fn cut(self, left: Range<u64>, last: Checkpoint) -> Option<Piece> {
        let len = left.end - left.start;
        let (start, checked) = (left.start, Color::Red(Some(last)));
        let with_serials = self.fit(start, checked)?;
        let keeps_small = self.is_small && len > SMALL;
        if len <= with_serials && !keeps_small {
            return Some(Piece::new(left, checked));
        }
        let fit = self.fit(start, Color::Red(None))?;
        let len = match len {
            _ if keeps_small => fit.min(len - SMALL),
            _ if len <= fit => len.div_ceil(2),
            _ => fit,
        };
        Some(Piece::new(start..start + len, Color::Red(None)))
    }
}
