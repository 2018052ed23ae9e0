//! Blocks that are one red segment.

use super::{Frame, Put, Turn, put_body};
use crate::ltp::engine::{Engine, Key, What, start};
use crate::ltp::sender::{Left, State};
use crate::ltp::wire::{Body, Color, Data, SessionId, header_len};
use crate::{Addr, Transmit};

impl<A: Addr> Engine<A> {
    /// Writes a block that is one segment. `None`: it is another, or does not fit one, or is to be copied.
    pub(super) fn send_brief(
        &mut self,
        slot: u32,
        number: u64,
        tx: &mut Transmit<A>,
    ) -> Option<Turn> {
        let now = self.now;
        let State::Brief(brief) = &mut self.exports.get_mut(&number)?.state else {
            return None;
        };
        let span = self.spans.get_mut(usize::try_from(slot).ok()?)?;
        let span = span.as_deref_mut().filter(|span| span.is_plain())?;
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let head = header_len(session) + span.keys.overhead();
        let frame = Frame {
            session,
            client: brief.client,
            room: span.config.segment.min(self.datagram).saturating_sub(head),
            is_small: false,
        };
        let color = Color::Red(Some(brief.checkpoint()));
        if brief.left.is_some() || frame.fit(0, color)? < brief.len() {
            return None;
        }
        let body = Body::Data(Data {
            client: brief.client,
            offset: 0,
            color,
            octets: &brief.block,
        });
        let len = match put_body(span, session, &body, tx) {
            Put::Written(len) => len,
            Put::Later => return Some(Turn::Full),
            Put::Never => return None,
        };
        self.stats.segments_sent += 1;
        span.pacer.on_sent(now, len);
        span.flight.octets += brief.len();
        span.fresh.pop_front();
        let serial = brief.serial;
        let what = What::Checkpoint { number, serial };
        let (due, is_frozen) = (span.answer(now, len), span.is_silent());
        brief.left = Some(Left {
            at: now,
            len,
            timer: start(&mut self.timers, due, Key { slot, what }, is_frozen),
        });
        Some(Turn::More)
    }
}
