//! One UDP socket that takes and gives batches.

use core::net::SocketAddr;
use core::num::NonZeroUsize;
#[cfg(feature = "tokio")]
use core::task::{Context, Poll, ready};
use std::io;

use super::counts::{Tally, count_of};
use super::endpoint::Endpoint;
use super::inbox::{Train, singly};
use super::kernel::Kernel;
use super::{Buffers, Counts, Inbox};
use crate::{Path, Transmit};

/// Octets of the longest run of datagrams in one send: a datagram of that length must be possible.
const LONGEST: usize = 65_507;

/// Errors from the network that one receive takes in before it returns.
const ERRORS: usize = 64;

/// How a socket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Octets of the receive buffer asked for; a larger one stays. Beyond the limit of the system
    /// (`net.core.rmem_max`), a process with `CAP_NET_ADMIN` gets it all the same. Default 4 MiB.
    pub receive_buffer: usize,
    /// Octets of the send buffer asked for, in the same way. Default 4 MiB.
    pub send_buffer: usize,
    /// Datagrams of one send at most; 1 sends each by itself. Linux takes 64 or more. What it refuses is
    /// sent datagram by datagram, from then on. Default 64.
    pub segments: NonZeroUsize,
    /// Whether the kernel may give a train of datagrams in one read (GRO). Default true.
    pub coalesce: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            segments: NonZeroUsize::MIN.saturating_add(63),
            coalesce: true,
        }
    }
}

/// A bound UDP socket that takes and gives batches, and never waits.
///
/// `S` is the socket of the standard library or of tokio. Several threads may use it, each with an [`Inbox`]
/// and a progress of its own. Whoever makes the socket inside block again has one whose sends wait, and
/// reads from it with [`receive_batch`](Self::receive_batch).
#[derive(Debug)]
pub struct Socket<S = std::net::UdpSocket> {
    inner: S,
    local: SocketAddr,
    /// A connected socket sends without an address.
    peer: Option<SocketAddr>,
    kernel: Kernel,
    buffers: Buffers,
    tally: Tally,
}

impl<S: Endpoint> Socket<S> {
    /// Takes a bound socket and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system does not tell its address. What the system refuses of `options` is done without.
    pub fn new(inner: S, options: &Options) -> io::Result<Self> {
        let (local, peer) = (inner.local()?, inner.peer());
        let (kernel, buffers) = Kernel::new(&inner, options);
        socket2::SockRef::from(&inner).set_nonblocking(true)?;
        Ok(Self {
            inner,
            local,
            peer,
            kernel,
            buffers,
            tally: Tally::default(),
        })
    }

    /// Sends what of `tx` lies behind its first `sent` datagrams, and moves `sent` on.
    ///
    /// Returns true, and `sent` at 0 again, once all of it was given to the system; false when the socket is
    /// full. Then the same is to be called again once the socket takes more. What the system will not send is
    /// counted and left out.
    pub fn send(&self, tx: &Transmit<Path>, sent: &mut usize) -> bool {
        let Some(to) = tx.to() else {
            return true;
        };
        let size = tx.segment_size().max(1);
        let mut most = self.kernel.segments().min(LONGEST / size).max(1);
        while let Some(rest @ [_, ..]) = tx.octets().get(size.saturating_mul(*sent)..) {
            let run = rest.get(..size.saturating_mul(most)).unwrap_or(rest);
            let count = run.len().div_ceil(size);
            match self.send_run(to.remote, run, size, count) {
                Ok(()) => Tally::add(&self.tally.sent, count_of(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) if count > 1 => {
                    Tally::add(&self.tally.refused, 1);
                    most = 1;
                    continue;
                }
                Err(_) => Tally::add(&self.tally.unsent, 1),
            }
            *sent += count;
        }
        *sent = 0;
        true
    }

    /// Sends a run in one call. An error that the network reported is about another datagram, sent before;
    /// this one was not tried.
    fn send_run(&self, to: SocketAddr, run: &[u8], size: usize, count: usize) -> io::Result<()> {
        Tally::add(&self.tally.sends, 1);
        match self.send_once(to, run, size, count) {
            Err(error) if is_reported(&error) => {
                Tally::add(&self.tally.reported, 1);
                self.send_once(to, run, size, count)
            }
            other => other,
        }
    }

    fn send_once(&self, to: SocketAddr, run: &[u8], size: usize, count: usize) -> io::Result<()> {
        if count == 1 {
            let to = if self.peer.is_some() { None } else { Some(to) };
            return self.inner.send_one(run, to);
        }
        self.kernel
            .send(&self.inner, self.peer.unwrap_or(to), run, size)
    }

    /// Receives what one call of the system gives, and shows `each` datagram with the way it came.
    ///
    /// Returns how many there were, at least one unless only errors of the network were read.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing, and the system's own when the socket
    /// is not usable. What the network reported is counted and is none.
    pub fn receive(&self, inbox: &mut Inbox, each: impl FnMut(Path, &[u8])) -> io::Result<usize> {
        self.receive_batches(inbox, singly(each))
    }

    /// Does what [`receive`](Self::receive) does, and shows trains as
    /// [`Machine::receive_batch`](crate::Machine::receive_batch) takes them: datagrams back to back, and the
    /// length of all but the last. An empty datagram is a train of its own.
    ///
    /// Returns how many datagrams there were.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_batches(
        &self,
        inbox: &mut Inbox,
        mut each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> io::Result<usize> {
        for _ in 0..ERRORS {
            match self.receive_once(inbox, usize::MAX, &mut each) {
                Err(error) if is_reported(&error) => Tally::add(&self.tally.reported, 1),
                other => return other,
            }
        }
        Ok(0)
    }

    /// Receives a single datagram, or a train of them, into one buffer.
    ///
    /// On a socket that was made blocking again it waits for them, as [`receive`](Self::receive) would wait
    /// for all its buffers to be filled.
    ///
    /// # Errors
    ///
    /// As there. It returns 0 behind an error of the network.
    pub fn receive_batch(
        &self,
        inbox: &mut Inbox,
        each: impl FnMut(Path, &[u8]),
    ) -> io::Result<usize> {
        self.receive_one_train(inbox, singly(each))
    }

    /// Does what [`receive_batch`](Self::receive_batch) does, and shows the train as
    /// [`receive_batches`](Self::receive_batches) does.
    pub(crate) fn receive_one_train(
        &self,
        inbox: &mut Inbox,
        mut each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> io::Result<usize> {
        match self.receive_once(inbox, 1, &mut each) {
            Err(error) if is_reported(&error) => {
                Tally::add(&self.tally.reported, 1);
                Ok(0)
            }
            other => other,
        }
    }

    fn receive_once(
        &self,
        inbox: &mut Inbox,
        limit: usize,
        each: &mut impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> io::Result<usize> {
        let (size, local) = (inbox.size(), self.local);
        let (mut received, mut truncated) = (0, 0);
        let mut take = |train: &Train, octets: &[u8]| {
            let from = Path::udp(local, train.from);
            truncated += u64::from(train.whole(size) < train.len);
            received += train.show(octets, size, |octets, size| each(from, octets, size));
        };
        if let Some(outcome) = self.kernel.receive(&self.inner, inbox, limit, &mut take) {
            outcome?;
        } else {
            let buffer = inbox.buffers().next().unwrap_or_default();
            let (len, from) = self.inner.receive_one(buffer)?;
            let stride = len;
            let octets = buffer.get(..len).unwrap_or_default();
            take(&Train { from, len, stride }, octets);
        }
        Tally::add(&self.tally.receives, 1);
        Tally::add(&self.tally.received, count_of(received));
        Tally::add(&self.tally.truncated, truncated);
        Ok(received)
    }

    /// Returns what the socket is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the buffers that the system granted.
    #[must_use]
    pub const fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// Returns how many datagrams one send may have; 1 once the kernel has refused more.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.kernel.segments()
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Returns the socket inside, to wait on or to look at. Reading from it may give several datagrams as one.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the socket, which gives datagrams one by one again. It stays non-blocking.
    #[must_use]
    pub fn into_inner(self) -> S {
        Kernel::release(&self.inner);
        self.inner
    }
}

#[cfg(feature = "tokio")]
impl Socket<tokio::net::UdpSocket> {
    /// Does what [`send`](Self::send) does, and arranges for a wake when the socket takes more.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        tx: &Transmit<Path>,
        sent: &mut usize,
    ) -> Poll<()> {
        while !self.send(tx, sent) {
            if ready!(self.inner.poll_send_ready(cx)).is_err() {
                // The runtime is gone, and nothing will be sent any more.
                Tally::add(&self.tally.unsent, count_of(tx.datagrams().len() - *sent));
                *sent = 0;
                break;
            }
        }
        Poll::Ready(())
    }

    /// Does what [`receive`](Self::receive) does, and arranges for a wake when there is something.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        each: impl FnMut(Path, &[u8]),
    ) -> Poll<io::Result<usize>> {
        self.poll_receive_trains(cx, inbox, singly(each))
    }

    /// Does what [`receive_batches`](Self::receive_batches) does, and arranges for a wake when there is something.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable.
    pub fn poll_receive_trains(
        &self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        mut each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.receive_batches(inbox, &mut each) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.inner.poll_recv_ready(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

/// Tells whether the network reported it (ICMP), so that it says nothing about the socket.
fn is_reported(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | PermissionDenied
    ) || error.raw_os_error() == Some(TOO_LONG)
}

/// `EMSGSIZE`, for which `std` has no name.
const TOO_LONG: i32 = if cfg!(windows) {
    10_040
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};
