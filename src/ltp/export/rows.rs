//! Plain segments of a first pass: red, of full length, without marks. They are most segments of a large block.

use super::Sending;
use super::pieces::Frame;
use crate::Instant;
use crate::ltp::beyond::HELLO_INTERVAL;
use crate::ltp::context::Context;
use crate::ltp::output::{Unwritten, Written};
use crate::ltp::peer::PeerState;
use crate::ltp::sdnv::{Head, HeaderTemplate};
use crate::ltp::wire::{Color, put_header};
use crate::transmit::TransmitBuffer;

/// Segments of equal length that follow each other.
struct Row {
    /// Octets of the block in each.
    fit: u64,
    count: u64,
}

impl Sending {
    /// Writes plain segments of the block, as many as fit the batch and may be sent.
    ///
    /// They start no timer and differ only in the offset, so one header serves all of them. `None` if the next segment
    /// is not plain.
    pub(super) fn send_rows(
        &mut self,
        frame: Frame,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Option<Written> {
        let (now, before) = (cx.node.now, self.next);
        let due = cx.peer.checkpoint_due(self);
        while let Some(row) = cx.peer.next_row(self, frame, due, now) {
            if cx.peer.pacer.blocked_until(now).is_some() {
                return Some(Ok(()));
            }
            let written = self.write_row(frame, &row, tx, cx)?;
            if written == 0 {
                return (!tx.is_empty()).then_some(Err(Unwritten::NoRoom));
            }
            self.begin_first_part(cx);
            self.next += written * row.fit;
            if self.counts_in_flight() {
                cx.peer.in_flight.octets += written * row.fit;
            }
            let segments = u32::try_from(written).unwrap_or(u32::MAX);
            self.unchecked = self.unchecked.saturating_add(segments);
            if let Some(repair) = &mut self.repair {
                repair.flow.on_segments(segments, HELLO_INTERVAL);
            }
        }
        // The rate is checked again before the next segment.
        (self.next > before).then_some(Ok(()))
    }

    /// Writes a row of segments as far as the batch has room, and returns how many.
    fn write_row(
        &self,
        frame: Frame,
        row: &Row,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Option<u64> {
        let (first, fit) = (self.next, row.fit);
        let mut head = Head::new();
        put_header(&mut head, 0, cx.session, 0);
        head.sdnv(frame.client);
        let template = HeaderTemplate::new(&head, first, fit)?;
        let longer = template.end().checked_sub(first)?;
        let count = row.count.min(longer.div_ceil(fit));
        let step = usize::try_from(fit).ok()?;
        // Bound: no more than a block has octets.
        let octets = self.octets(&(first..first + count * fit))?;
        let mut pieces = octets.chunks_exact(step);
        let mut offset = first;
        let len = template.len() + step;
        if len < HeaderTemplate::MIN_DATAGRAM {
            return None;
        }
        let written = tx.push_row(len, pieces.len(), |datagram| {
            template.write(datagram, offset);
            offset += fit;
            if let Some(piece) = pieces.next()
                && let Some(place) = datagram.get_mut(template.len()..)
            {
                place.copy_from_slice(piece);
            }
        });
        if written > 0 {
            cx.peer.pacer.on_sent(cx.node.now, len);
        }
        // Bound: usize has at most 64 bits.
        cx.node.stats.segments_sent += written as u64;
        Some(written as u64)
    }
}

impl PeerState {
    /// Returns the next plain segments. `None` if the next one is the last of the red part, must be a checkpoint, or has
    /// a longer header for its offset.
    fn next_row(
        &self,
        sending: &Sending,
        frame: Frame,
        due: Option<u64>,
        now: Instant,
    ) -> Option<Row> {
        if self.must_check(sending.wants_checkpoint, now) {
            return None;
        }
        let left = sending.red.checked_sub(sending.next)?.checked_sub(1)?;
        let fit = frame.fit(sending.next, Color::Red(None))?;
        let mut count = left / fit;
        if let Some(until) = sending.repair().flow.hello
            && self.flow.has_hello()
        {
            count = count.min(until.into());
        }
        if let Some(every) = self.checkpoint_every() {
            let most = every.get().saturating_sub(1);
            count = count.min(u64::from(most.saturating_sub(sending.unchecked)));
        }
        if let Some(due) = due {
            // Bound: usize has at most 64 bits.
            let open = due.saturating_sub(sending.next.saturating_add(frame.room as u64));
            count = count.min(open.div_ceil(fit));
        }
        // The rate is checked before each segment.
        if self.pacer.is_limited() {
            count = count.min(1);
        }
        (count > 0).then_some(Row { fit, count })
    }
}
