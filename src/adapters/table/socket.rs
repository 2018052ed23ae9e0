//! One socket of a table: what it sends, and what a poll of it gives.

use alloc::boxed::Box;
use core::mem;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::SocketCounters;
use crate::adapters::cause::{cause_of, cause_of_failure};
use crate::adapters::runtime::{ByteStream, Source, TcpIo};
use crate::adapters::scratch;
use crate::adapters::stream::{IoEvent, StreamIo};
use crate::{Addr, Cause, Instant, Link, Machine, Tag, Transmit};

/// Datagrams read from one socket before other sockets get their turn.
const DATAGRAMS: usize = 64;

/// How long a listener waits after an error such as a lack of files, which would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Carries whole datagrams or packets. Errors of sending are counted by it and end nothing.
pub(in crate::adapters) trait DatagramIo<A>: Send {
    /// Sends what of `tx` lies behind its first `sent` datagrams, moves `sent` on, and sets it to 0 once
    /// nothing is left. `Pending` means that it is full; the waker is called once it takes more.
    fn poll_send(&mut self, cx: &mut Context<'_>, tx: &Transmit<A>, sent: &mut usize) -> Poll<()>;

    /// Receives what one system call gives and shows it to `each`: the sender, datagrams back to back, and
    /// the length of all but the last. Returns the number of datagrams.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(A, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>>;

    /// Returns the octets of the receive buffer that was granted; 0 if it is not known.
    fn receive_buffer(&self) -> usize {
        0
    }
}

/// A socket of a table.
pub(in crate::adapters) enum Socket<A> {
    Datagrams(Datagrams<A>),
    Listener(Listener),
    /// A connection whose handshake is under way.
    Connecting(Connecting),
    Stream(StreamIo<Box<dyn ByteStream>>),
}

/// Datagrams, and those of the last send that would have blocked.
pub(in crate::adapters) struct Datagrams<A> {
    io: Box<dyn DatagramIo<A>>,
    rest: Option<(Transmit<A>, usize)>,
}

/// What becomes a stream, asked for under a tag.
pub(in crate::adapters) struct Connecting {
    /// None once it is established.
    pub(in crate::adapters) tcp: Option<TcpIo>,
    pub(in crate::adapters) tag: Tag,
    pub(in crate::adapters) linger: Duration,
}

/// A TCP listener.
pub(in crate::adapters) struct Listener {
    source: Box<dyn Source>,
    /// Nothing is accepted before this time.
    retry_at: Option<Instant>,
}

/// What a poll of a socket gave.
pub(super) enum Outcome {
    /// Something happened; there may be more.
    Busy,
    /// Something happened; the waker is called when there is more.
    Drained,
    /// The waker is called when there is something.
    Quiet,
    /// Something may wait that is not wanted; the waker is not called for it.
    Blocked,
    /// The listener accepted a connection.
    Accepted(socket2::Socket, SocketAddr),
    /// Everything was sent, and the application may have the stream.
    Detached,
    /// Nothing is left to be done with the socket; the machine knows of it or is not to know.
    Gone,
}

impl<A: Addr> Socket<A> {
    pub(in crate::adapters) fn datagrams(io: impl DatagramIo<A> + 'static) -> Self {
        Self::Datagrams(Datagrams {
            io: Box::new(io),
            rest: None,
        })
    }

    pub(in crate::adapters) fn listener(source: Box<dyn Source>) -> Self {
        Self::Listener(Listener {
            source,
            retry_at: None,
        })
    }

    pub(in crate::adapters) fn stream(stream: Box<dyn ByteStream>, linger: Duration) -> Self {
        Self::Stream(StreamIo::new(stream, linger))
    }

    /// Returns the octets of the receive buffer for datagrams; 0 if there is none, or it is not known.
    pub(super) fn receive_buffer(&self) -> usize {
        match self {
            Self::Datagrams(datagrams) => datagrams.io.receive_buffer(),
            Self::Listener(_) | Self::Connecting(_) | Self::Stream(_) => 0,
        }
    }

    /// Sends, keeps what would block, and tells whether the machine must stop writing.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &mut Transmit<A>,
        counters: &SocketCounters,
    ) -> bool {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(cx, tx, counters),
            Self::Stream(stream) => stream.send(cx, tx),
            Self::Listener(_) | Self::Connecting(_) => {
                SocketCounters::add(&counters.unroutable, tx.datagrams().len());
                false
            }
        }
    }

    /// Moves what can be moved, and gives what came to the machine.
    pub(super) fn inputs<M: Machine<Addr = A>>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, A),
        (machine, may_read): (&mut M, bool),
        counters: &SocketCounters,
    ) -> Outcome {
        match self {
            Self::Stream(stream) => match stream.inputs(cx, (now, at), machine, may_read) {
                IoEvent::Busy => Outcome::Busy,
                IoEvent::Quiet => Outcome::Quiet,
                IoEvent::Blocked => Outcome::Blocked,
                IoEvent::Down(_) => Outcome::Gone,
                IoEvent::Detached => Outcome::Detached,
            },
            Self::Datagrams(datagrams) => {
                datagrams.inputs(cx, (now, at), (machine, may_read), counters)
            }
            Self::Listener(_) if !may_read => Outcome::Blocked,
            Self::Listener(listener) => listener.accept(cx, now, counters),
            Self::Connecting(Connecting { tcp, tag, linger }) => {
                match tcp.as_ref().map(|tcp| tcp.poll_connected(cx)) {
                    Some(Poll::Ready(Ok(()))) => machine.link(now, at, Link::Opened(*tag)),
                    Some(Poll::Ready(Err(error))) => {
                        machine.link(now, at, Link::Failed(*tag, cause_of_connect(&error)));
                        return Outcome::Gone;
                    }
                    Some(Poll::Pending) | None => return Outcome::Quiet,
                }
                let linger = *linger;
                if let Some(tcp) = tcp.take() {
                    *self = Self::stream(Box::new(tcp), linger);
                }
                Outcome::Busy
            }
        }
    }

    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self, Self::Connecting(_))
    }

    /// Begins to close, and tells whether something is left to be done before the socket can be dropped.
    pub(super) fn close(&mut self, now: Instant) -> bool {
        match self {
            Self::Stream(stream) => {
                stream.close(now);
                true
            }
            Self::Datagrams(datagrams) => datagrams.rest.is_some(),
            Self::Listener(_) | Self::Connecting(_) => false,
        }
    }

    /// Goes on with closing. Datagrams that would block at `give_up` are not sent.
    pub(super) fn poll_closed(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        give_up: Instant,
    ) -> Outcome {
        let is_late = now >= give_up;
        match self {
            Self::Stream(stream) if stream.is_detaching() => {
                if stream.poll_detached(cx, now).is_ready() {
                    return Outcome::Detached;
                }
            }
            Self::Stream(stream) => {
                if stream.poll_closed(cx, now).is_ready() {
                    return Outcome::Gone;
                }
            }
            Self::Datagrams(datagrams) if !is_late => {
                if datagrams.send_rest(cx).is_ready() {
                    return Outcome::Gone;
                }
            }
            Self::Datagrams(_) | Self::Listener(_) | Self::Connecting(_) => return Outcome::Gone,
        }
        Outcome::Quiet
    }

    /// Tells whether all that was sent is with the system.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.is_flushed(),
            Self::Datagrams(datagrams) => datagrams.rest.is_none(),
            Self::Listener(_) | Self::Connecting(_) => true,
        }
    }

    /// Returns when it is to be polled without having become ready.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Stream(stream) => stream.deadline(),
            Self::Listener(listener) => listener.retry_at,
            Self::Datagrams(_) | Self::Connecting(_) => None,
        }
    }
}

impl<A: Addr> Datagrams<A> {
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &mut Transmit<A>,
        counters: &SocketCounters,
    ) -> bool {
        if self.rest.is_some() {
            debug_assert!(false, "the machine wrote between Full and Free");
            SocketCounters::add(&counters.unroutable, tx.datagrams().len());
            return false;
        }
        let mut sent = 0;
        if self.io.poll_send(cx, tx, &mut sent).is_ready() {
            return false;
        }
        let spare = Transmit::with_memory(tx.limits(), scratch::take());
        self.rest = Some((mem::replace(tx, spare), sent));
        true
    }

    fn send_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((tx, sent)) = &mut self.rest {
            if self.io.poll_send(cx, tx, sent).is_pending() {
                return Poll::Pending;
            }
            scratch::give(tx.take_memory());
            self.rest = None;
        }
        Poll::Ready(())
    }

    fn inputs<M: Machine<Addr = A>>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, A),
        (machine, may_read): (&mut M, bool),
        counters: &SocketCounters,
    ) -> Outcome {
        let is_freed = self.rest.is_some() && self.send_rest(cx).is_ready();
        if is_freed {
            machine.link(now, at.carrier(), Link::Free);
        }
        if !may_read {
            return if is_freed {
                Outcome::Busy
            } else {
                Outcome::Blocked
            };
        }
        match self.read(cx, (now, at), machine, counters) {
            Outcome::Quiet if is_freed => Outcome::Drained,
            outcome => outcome,
        }
    }

    /// Reads up to a number of datagrams, so that one socket does not keep the others waiting.
    fn read<M: Machine<Addr = A>>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, A),
        machine: &mut M,
        counters: &SocketCounters,
    ) -> Outcome {
        let (mut read, mut failures) = (0, 0);
        while read < DATAGRAMS {
            let each =
                &mut |from, octets: &[u8], size| machine.receive_batch(now, from, octets, size);
            match self.io.poll_receive(cx, each) {
                // Errors were read, but no datagram.
                Poll::Ready(Ok(count)) => read += count.max(1),
                Poll::Ready(Err(error)) => {
                    read += 1;
                    failures += 1;
                    report!(debug, %error, "datagram not received");
                    SocketCounters::add(&counters.failed_reads, 1);
                    if failures == DATAGRAMS {
                        machine.link(now, at.carrier(), Link::Down(cause_of(&error)));
                        return Outcome::Gone;
                    }
                }
                Poll::Pending if read == 0 => return Outcome::Quiet,
                Poll::Pending => return Outcome::Drained,
            }
        }
        Outcome::Busy
    }
}

impl Listener {
    fn accept(&mut self, cx: &mut Context<'_>, now: Instant, counters: &SocketCounters) -> Outcome {
        if self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return Outcome::Quiet;
        }
        self.retry_at = None;
        match self.source.poll_accept(cx) {
            Poll::Ready(Ok((socket, remote))) => Outcome::Accepted(socket, remote),
            Poll::Ready(Err(error)) => {
                report!(warn, %error, "connection not accepted");
                SocketCounters::add(&counters.unaccepted, 1);
                if is_of_one_connection(&error) {
                    return Outcome::Busy;
                }
                self.retry_at = Some(now + ACCEPT_PAUSE);
                Outcome::Quiet
            }
            Poll::Pending => Outcome::Quiet,
        }
    }
}

/// Tells whether the next connection can be accepted at once although this one could not.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted
    )
}

/// Says in the machine's terms why there is no connection. The socket was bound, so its own address exists:
/// an address that is not available is a pair of addresses that is taken.
pub(in crate::adapters) fn cause_of_connect(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        Cause::InUse
    } else {
        cause_of_failure(error)
    }
}
