//! The end of a connection: closing and detaching the stream.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::timers::Timer;
use super::{Connection, LinkState, Negotiated, PeerEnd, State};
use crate::cotp::api::{ConnectionEnd, EndReason, Event};
use crate::cotp::handshake;
use crate::cotp::segment::Reassembly;
use crate::cotp::tpkt::{MIN_PACKET, Tpkt};
use crate::cotp::wire::DisconnectReason;
use crate::{Ask, Cause, Tag};

/// A connection that ended and closes its stream.
#[derive(Debug)]
pub(super) struct Closing {
    /// The event that is reported when the stream is closed. `None` if the end was reported before.
    unreported: Option<EndEvent>,
    is_finished: bool,
    /// Whether a timer expired, so that the stream is closed at once.
    is_aborted: bool,
    /// Whether a DC may answer the DR that was sent.
    pub(super) awaits_dc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndEvent {
    Failed,
    Closed,
}

impl Connection {
    /// Ends the connection, reports the reason, and closes the stream.
    pub(super) fn end(&mut self, reason: EndReason) {
        if matches!(self.state, State::AwaitingLink(_)) {
            self.emit_end(EndEvent::Failed, reason);
            self.set_done();
            return;
        }
        if self.discards() {
            return;
        }
        let unreported = match self.state {
            State::Open { .. } | State::Detaching(_) => EndEvent::Closed,
            _ => EndEvent::Failed,
        };
        while let Some(tag) = self.next_flushed() {
            self.emit(Event::Flushed(tag));
        }
        self.outbox.clear_flushes();
        self.emit_end(unreported, reason);
        self.begin_closing(None);
    }

    fn emit_end(&mut self, unreported: EndEvent, reason: EndReason) {
        let is_cut_short = matches!(
            reason,
            EndReason::PeerClosed
                | EndReason::ClosedBeforeConfirm
                | EndReason::ClosedBeforeRequest
                | EndReason::Link(_)
                | EndReason::PacketStalled(_)
                | EndReason::Idle(_)
        );
        let packet = match self.framing.unfinished().len() {
            _ if !is_cut_short => 0,
            _ if self.framing.is_inside_data() => MIN_PACKET,
            len => len,
        };
        let end = Box::new(ConnectionEnd {
            reason,
            incomplete: self.reassembly.len() + packet,
            unsent: self.outbox.unsent(),
        });
        self.emit(match unreported {
            EndEvent::Failed => Event::Failed(end),
            EndEvent::Closed => Event::Closed(end),
        });
    }

    pub(super) fn begin_closing(&mut self, unreported: Option<EndEvent>) {
        self.timers = [None; Timer::COUNT];
        self.refused = None;
        self.reassembly = Reassembly::default();
        self.framing = Tpkt::default();
        self.clear_unread();
        if self.link_state == LinkState::Down {
            self.set_done();
            return;
        }
        self.state = State::Closing(Closing {
            unreported,
            is_finished: false,
            is_aborted: false,
            awaits_dc: false,
        });
        self.arm(Timer::Close, Some(self.config.drain_timeout));
    }

    /// Ends the machine: the stream is closed, or belongs to the application.
    pub(super) fn set_done(&mut self) {
        self.state = State::Done;
        self.timers = [None; Timer::COUNT];
        self.outbox.clear();
        self.framing = Tpkt::default();
        self.clear_unread();
    }

    pub(super) fn close_by_dr(&mut self) {
        // Class 0 has only the reasons 0 to 3, and iec61850bean fails on reasons above 4.
        let reason = DisconnectReason::NOT_SPECIFIED;
        let Negotiated { peer, .. } = self.negotiated;
        self.outbox
            .set_disconnect(handshake::disconnect(peer, self.reference, reason, &[]));
        let framing = mem::take(&mut self.framing);
        let unread = mem::take(&mut self.unread);
        let unread_at = self.unread_at;
        self.begin_closing(Some(EndEvent::Closed));
        if let State::Closing(closing) = &mut self.state {
            closing.awaits_dc = true;
            self.framing = framing;
            self.look_for_dc(unread.get(unread_at..).unwrap_or_default());
        }
    }

    /// Stops waiting for the stream to close.
    pub(super) const fn abort_stream(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.is_aborted = true;
        }
    }

    /// Ends the connection after the end of the stream, when all octets before it are decoded. Octets that
    /// wait for a decision of the application are kept if the peer closed the stream, and dropped if the
    /// stream failed.
    pub(super) fn handle_peer_end(&mut self) {
        let Some(end) = self.peer_end else {
            return;
        };
        let is_waiting = match end {
            PeerEnd::Finished | PeerEnd::Confirmed => self.has_unread() || self.is_paused(),
            PeerEnd::Down(_) => self.has_unread() && self.is_reading(),
        };
        if self.discards() || is_waiting {
            return;
        }
        self.end(match (end, &self.state) {
            (PeerEnd::Down(cause), _) if cause != Cause::Closed => EndReason::Link(cause),
            (_, State::AwaitingCc(_)) => EndReason::ClosedBeforeConfirm,
            (_, State::AwaitingCr(_)) => EndReason::ClosedBeforeRequest,
            _ => EndReason::PeerClosed,
        });
    }

    pub(super) fn link_down(&mut self, cause: Cause) {
        let is_cut_short = self.link_state == LinkState::Full || self.outbox.unsent() > 0;
        self.link_state = LinkState::Down;
        self.peer_end = Some(PeerEnd::Down(cause));
        match &self.state {
            State::AwaitingLink(_) => self.end(EndReason::Link(cause)),
            State::Closing(_) if is_cut_short => self.finish_closing(EndReason::Link(cause)),
            State::Closing(_) => self.finish_closing(EndReason::Closed),
            _ => (),
        }
    }

    pub(super) fn next_ask(&mut self) -> Option<Ask<()>> {
        let is_written = self.outbox.is_written() && self.link_state == LinkState::Ready;
        match &mut self.state {
            State::Detaching(tag) if is_written => {
                let tag = *tag;
                Some(self.detach_stream(tag))
            }
            State::Closing(closing) if closing.is_aborted => {
                // Behind the FIN all octets are with the operating system, which sends them after a close.
                // A reset would drop them.
                let (reason, ask) = if closing.is_finished {
                    (
                        EndReason::HalfClosed(self.config.close_timeout),
                        Ask::Close(()),
                    )
                } else {
                    (
                        EndReason::SendStalled(self.config.drain_timeout),
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
                    self.arm(Timer::Close, Some(self.config.close_timeout));
                    Some(Ask::Finish(()))
                } else if is_over {
                    self.finish_closing(EndReason::Closed);
                    Some(Ask::Close(()))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn detach_stream(&mut self, tag: Tag) -> Ask<()> {
        let mut early = Vec::from(self.framing.unfinished());
        early.extend_from_slice(self.unread.get(self.unread_at..).unwrap_or_default());
        self.emit_end(EndEvent::Closed, EndReason::Detached(tag));
        self.set_done();
        Ask::Detach {
            tag,
            path: (),
            early: Bytes::from(early),
        }
    }

    fn finish_closing(&mut self, reason: EndReason) {
        if let State::Closing(Closing {
            unreported: Some(unreported),
            ..
        }) = self.state
        {
            self.emit_end(unreported, reason);
        }
        self.set_done();
    }
}
