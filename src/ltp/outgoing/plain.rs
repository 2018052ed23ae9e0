//! Plain segments of a first pass: red, of full length, without marks. They are most segments of a large block.

use super::pieces::Frame;
use super::{Batch, WriteResult, put_body};
use crate::ltp::engine::Engine;
use crate::ltp::peer::PeerState;
use crate::ltp::sdnv::HeaderTemplate;
use crate::ltp::sender::{Sending, State};
use crate::ltp::wire::{Body, Color, Data, header};
use crate::{Addr, Instant, Transmit};

/// Segments of equal length that follow each other.
struct Row {
    /// Octets of the block in each.
    fit: u64,
    count: u64,
}

impl<A: Addr> Engine<A> {
    /// Writes plain segments of a block, as many as fit the batch and may be sent.
    ///
    /// They start no timer and differ only in the offset, so one lookup and one header serve all of them. `None` if the
    /// next segment is not plain.
    pub(super) fn send_plain(
        &mut self,
        slot: u32,
        number: u64,
        tx: &mut Transmit<A>,
    ) -> Option<Batch> {
        let frame = self.frame(slot, number)?;
        let now = self.now;
        let peer = self.peers.get_mut(usize::try_from(slot).ok()?)?;
        let peer = peer.as_deref_mut()?;
        let State::Sending(sending) = &mut self.exports.get_mut(&number)?.state else {
            return None;
        };
        let before = sending.next;
        let due = peer.checkpoint_due(sending);
        while let Some(row) = peer.next_row(sending, frame, due, now) {
            if peer.pacer.blocked_until(now).is_some() {
                return Some(Batch::HasRoom);
            }
            let (written, len) = if peer.keys.overhead() == 0 {
                peer.write_row(sending, frame, &row, tx)?
            } else {
                peer.write_signed(sending, frame, row.fit, tx)?
            };
            if written == 0 {
                return (!tx.is_empty()).then_some(Batch::Full);
            }
            sending.next += written * row.fit;
            if sending.counts_in_flight() {
                peer.in_flight.octets += written * row.fit;
            }
            let segments = u32::try_from(written).unwrap_or(u32::MAX);
            sending.unchecked = sending.unchecked.saturating_add(segments);
            peer.pacer.on_sent(now, len);
            self.stats.segments_sent += written;
        }
        // The rate is checked again before the next segment.
        (sending.next > before).then_some(Batch::HasRoom)
    }
}

impl<A: Addr> PeerState<A> {
    /// Returns the next plain segments. `None` if the next one is the last of the red part, must be a checkpoint, or has
    /// a longer header for its offset.
    fn next_row(
        &self,
        sending: &Sending,
        frame: Frame,
        due: Option<u64>,
        now: Instant,
    ) -> Option<Row> {
        if sending.wants_checkpoint || self.is_last_of_contact(now) {
            return None;
        }
        let fit = frame.fit(sending.next, Color::Red(None))?;
        let left = sending.red.checked_sub(sending.next)?;
        let mut count = left.checked_sub(1)? / fit;
        if let Some(every) = self.config.checkpoint_every {
            let most = every.get().saturating_sub(1);
            count = count.min(u64::from(most.saturating_sub(sending.unchecked)));
        }
        if let Some(due) = due {
            // Bound: usize has at most 64 bits.
            let open = due.saturating_sub(sending.next.saturating_add(frame.room as u64));
            count = count.min(open.div_ceil(fit));
        }
        // The rate is checked before each segment.
        if self.flow.pacing().is_some() {
            count = count.min(1);
        }
        (count > 0).then_some(Row { fit, count })
    }

    /// Writes a row of segments as far as the batch has room, and returns how many, and the length of each.
    fn write_row(
        &self,
        sending: &Sending,
        frame: Frame,
        row: &Row,
        tx: &mut Transmit<A>,
    ) -> Option<(u64, usize)> {
        let (first, fit) = (sending.next, row.fit);
        let mut head = header(0, frame.session, 0);
        head.sdnv(frame.client);
        let template = HeaderTemplate::new(&head, first, fit)?;
        let longer = template.end().checked_sub(first)?;
        let count = row.count.min(longer.div_ceil(fit));
        let step = usize::try_from(fit).ok()?;
        // Bound: no more than a block has octets.
        let octets = sending.octets(&(first..first + count * fit))?;
        let mut pieces = octets.chunks_exact(step);
        let mut offset = first;
        let len = template.len() + step;
        if len < HeaderTemplate::MIN_DATAGRAM {
            return None;
        }
        let written = tx.push_row(self.config.address, len, pieces.len(), |datagram| {
            template.write(datagram, offset);
            offset += fit;
            if let Some(piece) = pieces.next()
                && let Some(place) = datagram.get_mut(template.len()..)
            {
                place.copy_from_slice(piece);
            }
        });
        // Bound: usize has at most 64 bits.
        Some((written as u64, len))
    }

    /// Writes one segment with its authentication value.
    fn write_signed(
        &mut self,
        sending: &Sending,
        frame: Frame,
        fit: u64,
        tx: &mut Transmit<A>,
    ) -> Option<(u64, usize)> {
        let body = Body::Data(Data {
            client: frame.client,
            offset: sending.next,
            color: Color::Red(None),
            octets: sending.octets(&(sending.next..sending.next + fit))?,
        });
        Some(match put_body(self, frame.session, &body, tx) {
            WriteResult::Written(len) => (1, len),
            WriteResult::NoRoom | WriteResult::Impossible => (0, 0),
        })
    }
}
