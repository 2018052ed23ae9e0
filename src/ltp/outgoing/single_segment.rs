//! Sending blocks of one red segment.

use super::{Batch, Frame, WriteResult, put_body};
use crate::ltp::engine::{Engine, Key, TimerKind, start};
use crate::ltp::sender::{Left, State};
use crate::ltp::wire::{Body, Color, Data, SessionId, header_len};
use crate::{Addr, Transmit};

impl<A: Addr> Engine<A> {
    /// Writes a block that is one segment. `None` if the session is another, does not fit a segment, or gets copies.
    pub(super) fn send_single(
        &mut self,
        slot: u32,
        number: u64,
        tx: &mut Transmit<A>,
    ) -> Option<Batch> {
        let now = self.now;
        let State::Single(single) = &mut self.exports.get_mut(&number)?.state else {
            return None;
        };
        let peer = self.peers.get_mut(usize::try_from(slot).ok()?)?;
        let peer = peer.as_deref_mut().filter(|peer| peer.is_plain())?;
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let head = header_len(session) + peer.keys.overhead();
        let frame = Frame {
            session,
            client: single.client,
            room: peer.config.segment.min(self.datagram).saturating_sub(head),
            is_small: false,
        };
        let color = Color::Red(Some(single.checkpoint()));
        if single.left.is_some() || frame.fit(0, color)? < single.len() {
            return None;
        }
        let body = Body::Data(Data {
            client: single.client,
            offset: 0,
            color,
            octets: &single.block,
        });
        let len = match put_body(peer, session, &body, tx) {
            WriteResult::Written(len) => len,
            WriteResult::NoRoom => return Some(Batch::Full),
            WriteResult::Impossible => return None,
        };
        self.stats.segments_sent += 1;
        peer.pacer.on_sent(now, len);
        peer.in_flight.octets += single.len();
        peer.fresh.pop_front();
        let serial = single.serial;
        let what = TimerKind::Checkpoint { number, serial };
        let (due, is_frozen) = (peer.answer(now, len), peer.is_silent());
        single.left = Some(Left {
            at: now,
            len,
            timer: start(&mut self.timers, due, Key { slot, what }, is_frozen),
        });
        Some(Batch::HasRoom)
    }
}
