//! How a connection ends, and how its stream is closed or handed over.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::timers::Timer;
use super::{Agreed, Carrier, Connection, PeerEnd, State};
use crate::cotp::api::{End, Event, Reason};
use crate::cotp::handshake;
use crate::cotp::segment::Assembly;
use crate::cotp::tpkt::{MIN_PACKET, Tpkt};
use crate::cotp::wire::DisconnectReason;
use crate::{Ask, Cause, Tag};

/// A connection that ended, and whose stream is being closed.
#[derive(Debug)]
pub(super) struct Closing {
    /// What to tell at the end, unless it was told at once.
    untold: Option<Untold>,
    is_finished: bool,
    /// A timer ran out, so the stream is to be cut.
    is_aborted: bool,
    /// A DC would answer the DR that was sent.
    pub(super) awaits_dc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    Failed,
    Closed,
}

impl Connection {
    /// Ends the connection for a reason of its own, tells it at once, and closes the stream.
    pub(super) fn end(&mut self, reason: Reason) {
        if matches!(self.state, State::Waiting(_)) {
            self.tell_end(Untold::Failed, reason);
            self.leave();
            return;
        }
        if self.discards() {
            return;
        }
        let untold = match self.state {
            State::Open { .. } | State::Handing(_) => Untold::Closed,
            _ => Untold::Failed,
        };
        while let Some(tag) = self.next_flushed() {
            self.tell(Event::Flushed(tag));
        }
        self.outbox.forget_flushes();
        self.tell_end(untold, reason);
        self.begin_closing(None);
    }

    fn tell_end(&mut self, untold: Untold, reason: Reason) {
        let is_cut_short = matches!(
            reason,
            Reason::PeerClosed
                | Reason::ClosedBeforeConfirm
                | Reason::ClosedBeforeRequest
                | Reason::Link(_)
                | Reason::PacketStalled(_)
                | Reason::Idle(_)
        );
        let packet = match self.framing.unfinished().len() {
            _ if !is_cut_short => 0,
            _ if self.framing.is_passing() => MIN_PACKET,
            len => len,
        };
        let end = Box::new(End {
            reason,
            incomplete: self.assembly.len() + packet,
            unsent: self.outbox.unsent(),
        });
        self.tell(match untold {
            Untold::Failed => Event::Failed(end),
            Untold::Closed => Event::Closed(end),
        });
    }

    pub(super) fn begin_closing(&mut self, untold: Option<Untold>) {
        self.timers = [None; Timer::COUNT];
        self.refused = None;
        self.assembly = Assembly::default();
        self.framing = Tpkt::default();
        self.drop_held();
        if self.carrier == Carrier::Dead {
            self.leave();
            return;
        }
        self.state = State::Closing(Closing {
            untold,
            is_finished: false,
            is_aborted: false,
            awaits_dc: false,
        });
        self.arm(Timer::Close, Some(self.rules.drain_timeout));
    }

    /// The stream is gone, or somebody else's.
    pub(super) fn leave(&mut self) {
        self.state = State::Gone;
        self.timers = [None; Timer::COUNT];
        self.outbox.clear();
        self.framing = Tpkt::default();
        self.drop_held();
    }

    pub(super) fn close_by_dr(&mut self) {
        // Class 0 has the reasons 0 to 3 alone, and iec61850bean fails on those above 4.
        let reason = DisconnectReason::NOT_SPECIFIED;
        let Agreed { peer, .. } = self.agreed;
        self.outbox
            .end_with(handshake::disconnect(peer, self.reference, reason, &[]));
        let framing = mem::take(&mut self.framing);
        let held = mem::take(&mut self.held);
        let held_at = self.held_at;
        self.begin_closing(Some(Untold::Closed));
        if let State::Closing(closing) = &mut self.state {
            closing.awaits_dc = true;
            self.framing = framing;
            self.look_for_dc(held.get(held_at..).unwrap_or_default());
        }
    }

    /// Waits for nothing any more.
    pub(super) const fn abort(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.is_aborted = true;
        }
    }

    /// Lets the end of the stream act, once everything before it is dealt with. What the peer finished and
    /// the application has not decided on still belongs to it; what broke belongs to nobody.
    pub(super) fn meet_end(&mut self) {
        let Some(end) = self.peer_end else {
            return;
        };
        let is_waiting = match end {
            PeerEnd::Finished | PeerEnd::Confirmed => self.is_holding() || self.is_paused(),
            PeerEnd::Down(_) => self.is_holding() && self.is_reading(),
        };
        if self.discards() || is_waiting {
            return;
        }
        self.end(match (end, &self.state) {
            (PeerEnd::Down(cause), _) if cause != Cause::Closed => Reason::Link(cause),
            (_, State::Requesting(_)) => Reason::ClosedBeforeConfirm,
            (_, State::Listening(_)) => Reason::ClosedBeforeRequest,
            _ => Reason::PeerClosed,
        });
    }

    pub(super) fn go_down(&mut self, cause: Cause) {
        let is_cut_short = self.carrier == Carrier::Full || self.outbox.unsent() > 0;
        self.carrier = Carrier::Dead;
        self.peer_end = Some(PeerEnd::Down(cause));
        match &self.state {
            State::Waiting(_) => self.end(Reason::Link(cause)),
            State::Closing(_) if is_cut_short => self.finish_closing(Reason::Link(cause)),
            State::Closing(_) => self.finish_closing(Reason::Closed),
            _ => (),
        }
    }

    pub(super) fn next_ask(&mut self) -> Option<Ask<()>> {
        let is_written = self.outbox.is_written() && self.carrier == Carrier::Ready;
        match &mut self.state {
            State::Handing(tag) if is_written => {
                let tag = *tag;
                Some(self.hand(tag))
            }
            State::Closing(closing) if closing.is_aborted => {
                // Behind our FIN everything is with the system, which goes on sending it after a close. A
                // reset would throw it away.
                let (reason, ask) = if closing.is_finished {
                    (Reason::HalfClosed(self.rules.close_timeout), Ask::Close(()))
                } else {
                    (
                        Reason::SendStalled(self.rules.drain_timeout),
                        Ask::Abort(()),
                    )
                };
                self.finish_closing(reason);
                Some(ask)
            }
            State::Closing(closing) if is_written => {
                let (is_over, awaits_ours) = match self.peer_end {
                    None => (false, true),
                    Some(PeerEnd::Confirmed) => (true, true),
                    Some(PeerEnd::Finished | PeerEnd::Down(_)) => (true, false),
                };
                if awaits_ours && !closing.is_finished {
                    closing.is_finished = true;
                    self.arm(Timer::Close, Some(self.rules.close_timeout));
                    Some(Ask::Finish(()))
                } else if is_over {
                    self.finish_closing(Reason::Closed);
                    Some(Ask::Close(()))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn hand(&mut self, tag: Tag) -> Ask<()> {
        let mut early = Vec::from(self.framing.unfinished());
        early.extend_from_slice(self.held.get(self.held_at..).unwrap_or_default());
        self.tell_end(Untold::Closed, Reason::Detached(tag));
        self.leave();
        Ask::Detach {
            tag,
            path: (),
            early: Bytes::from(early),
        }
    }

    fn finish_closing(&mut self, reason: Reason) {
        if let State::Closing(Closing {
            untold: Some(untold),
            ..
        }) = self.state
        {
            self.tell_end(untold, reason);
        }
        self.leave();
    }
}
