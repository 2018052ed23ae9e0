//! The segments that nearly all are: red, on their first pass, as long as can be, and no checkpoints.

use super::{Put, Turn, put_body, written};
use crate::ltp::engine::Engine;
use crate::ltp::sender::State;
use crate::ltp::wire::{Body, Color, Data, header};
use crate::{Addr, Transmit};

impl<A: Addr> Engine<A> {
    /// Writes plain segments of a block, as many as fit and may go.
    ///
    /// They start no timer and differ from each other in the offset alone, so tables are looked into, and the
    /// header up to there is put together, once for all of them. `None`: what comes next is no such segment.
    pub(super) fn send_plain(
        &mut self,
        slot: u32,
        number: u64,
        tx: &mut Transmit<A>,
    ) -> Option<Turn> {
        let frame = self.frame(slot, number)?;
        let now = self.now;
        let span = self.spans.get_mut(usize::try_from(slot).ok()?)?;
        let span = span.as_deref_mut()?;
        let State::Sending(sending) = &mut self.exports.get_mut(&number)?.state else {
            return None;
        };
        if sending.wants_checkpoint {
            return None;
        }
        let before = sending.next;
        let every = span.config.checkpoint_every;
        let due = span.checkpoint_due(sending);
        let color = Color::Red(None);
        let mut head = header(0, frame.session, 0);
        head.sdnv(frame.client);
        while every.is_none_or(|every| sending.unchecked + 1 < every.get())
            && due.is_none_or(|due| !frame.reaches(sending.next, due))
            && !span.is_last_of_contact(now)
            && let Some(fit) = frame.fit(sending.next, color)
            && fit < sending.red.saturating_sub(sending.next)
            && let Some(octets) = sending.octets(&(sending.next..sending.next + fit))
        {
            if span.held_back(now).is_some() {
                return Some(Turn::More);
            }
            let put = if span.keys.overhead() == 0 {
                let mut head = head;
                head.sdnv(sending.next);
                head.sdnv(fit);
                let len = head.octets().len() + octets.len();
                let is_written = tx.push(span.config.address, len, |out| {
                    head.put(out);
                    out.extend_from_slice(octets);
                });
                written(is_written, len, tx)
            } else {
                let body = Body::Data(Data {
                    client: frame.client,
                    offset: sending.next,
                    color,
                    octets,
                });
                put_body(span, frame.session, &body, tx)
            };
            let Put::Written(len) = put else {
                return (!tx.is_empty()).then_some(Turn::Full);
            };
            sending.next += fit;
            if sending.counts_in_flight() {
                span.flight.octets += fit;
            }
            sending.unchecked = sending.unchecked.saturating_add(1);
            span.count(now, len);
            self.stats.segments_sent += 1;
        }
        // The rate is asked anew before whatever comes next.
        (sending.next > before).then_some(Turn::More)
    }
}
