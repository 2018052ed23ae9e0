//! Carries the datagrams of a machine over one UDP socket.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::{AsyncSocket, RecvBuffers};
use crate::adapters::cause::cause_of;
use crate::adapters::event_loop::{Carrier, Liveness};
use crate::adapters::scratch;
use crate::{Ask, Cause, Instant, Link, Machine, Path, Proto, Transmit};

/// Reads that fail in a row after which the socket is down.
const FAILURES: usize = 64;

/// How long a full socket is waited for at the end. UDP leaves at line rate, so this is long.
const LONGEST_FLUSH: Duration = Duration::from_millis(100);

/// One UDP socket that carries the datagrams of a machine, from and to anybody.
pub(crate) struct UdpCarrier {
    /// None once it is closed.
    socket: Option<AsyncSocket>,
    itself: Path,
    buffers: RecvBuffers,
    /// What a full socket has not taken yet.
    unsent: Option<Unsent>,
    /// What the machine is told at the next look at the inputs.
    cues: VecDeque<(Path, Link)>,
    /// Reads that failed since one succeeded.
    failures: usize,
    error: Option<io::Error>,
    /// When a full socket is closed all the same.
    flush_until: Option<Instant>,
}

/// The rest of one send.
struct Unsent {
    to: SocketAddr,
    octets: Vec<u8>,
    size: usize,
    sent: usize,
}

impl UdpCarrier {
    pub(crate) fn new(socket: AsyncSocket) -> Self {
        let itself = Path::socket(Proto::Udp, socket.local_addr());
        Self {
            socket: Some(socket),
            itself,
            buffers: RecvBuffers::default(),
            unsent: None,
            cues: VecDeque::new(),
            failures: 0,
            error: None,
            flush_until: None,
        }
    }

    /// Sends what is left, and tells whether the socket took it.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(socket), Some(unsent)) = (&self.socket, &mut self.unsent) else {
            return false;
        };
        let batch = (unsent.octets.as_slice(), unsent.size);
        if socket
            .poll_send_to(cx, unsent.to, batch, &mut unsent.sent)
            .is_pending()
        {
            return false;
        }
        if let Some(unsent) = self.unsent.take() {
            scratch::give(unsent.octets);
        }
        true
    }
}

impl<M: Machine<Addr = Path>> Carrier<M> for UdpCarrier {
    fn begin(&mut self, now: Instant, machine: &mut M) {
        machine.link(now, self.itself, Link::Up);
    }

    fn send(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<Path>) -> Option<Path> {
        let (Some(socket), Some(to)) = (&self.socket, tx.to()) else {
            return None;
        };
        let mut sent = 0;
        if self.unsent.is_none() && socket.poll_send(cx, tx, &mut sent).is_ready() {
            return None;
        }
        if self.unsent.is_some() {
            // The machine writes although the socket is full.
            socket.count_unsent(tx.datagrams().len());
            return None;
        }
        let size = tx.segment_size();
        self.unsent = Some(Unsent {
            to: to.remote,
            octets: tx.take_memory(),
            size,
            sent,
        });
        Some(self.itself)
    }

    fn answer(&mut self, _: Instant, ask: Ask<Path>) {
        if let Ask::Open { tag, path } = ask {
            let failed = Link::Failed(tag, Cause::Unreachable);
            self.cues.push_back((path, failed));
        }
    }

    fn inputs(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        let mut is_busy = !self.cues.is_empty();
        for (at, cue) in self.cues.drain(..) {
            machine.link(now, at, cue);
        }
        if self.flush(cx) {
            machine.link(now, self.itself, Link::Free);
            is_busy = true;
        }
        let Some(socket) = self.socket.as_ref().filter(|_| may_read) else {
            return is_busy;
        };
        let received = socket.poll_receive_batch(cx, &mut self.buffers, |from, octets, size| {
            machine.receive_batch(now, from, octets, size);
        });
        match received {
            Poll::Pending => return is_busy,
            Poll::Ready(Ok(_)) => self.failures = 0,
            Poll::Ready(Err(error)) => {
                self.failures += 1;
                if self.failures == FAILURES {
                    machine.link(now, self.itself, Link::Down(cause_of(&error)));
                    self.error = Some(error);
                    self.socket = None;
                }
            }
        }
        true
    }

    fn is_flushed(&self) -> bool {
        self.unsent.is_none()
    }

    fn liveness(&self) -> Liveness {
        if self.socket.is_some() {
            Liveness::Alive
        } else {
            Liveness::Empty
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let until = *self.flush_until.get_or_insert(now + LONGEST_FLUSH);
        self.flush(cx);
        if self.unsent.is_some() && now < until {
            return Poll::Pending;
        }
        self.socket = None;
        self.unsent = None;
        Poll::Ready(())
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    fn deadline(&self) -> Option<Instant> {
        self.flush_until.filter(|_| self.unsent.is_some())
    }
}
