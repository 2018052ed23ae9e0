//! One UDP socket that takes and gives batches, for loops of one's own.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use std::io;
use std::net::UdpSocket;

use socket2::SockRef;

use super::offload::Offload;
use super::{RecvBuffers, UdpStats};
use crate::{Path, Transmit};

/// How a UDP socket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpOptions {
    /// Octets of the receive buffer (`SO_RCVBUF`) asked for; a larger one stays. Beyond the limit of the system
    /// (`net.core.rmem_max`), a process with `CAP_NET_ADMIN` gets it all the same. Default 4 MiB.
    pub receive_buffer: usize,
    /// Octets of the send buffer (`SO_SNDBUF`) asked for, in the same way. Default 4 MiB.
    pub send_buffer: usize,
    /// Datagrams of one send at most; 1 sends each by itself. Linux takes 64 or more. What it refuses is
    /// sent datagram by datagram, from then on. Default 64.
    pub segments: NonZeroUsize,
    /// Whether the kernel may give several datagrams in one read (GRO). Default true.
    pub coalesce: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            segments: NonZeroUsize::MIN.saturating_add(63),
            coalesce: true,
        }
    }
}

/// The sizes of the buffers that the system granted to a socket.
///
/// Linux grants twice what was asked, as its own bookkeeping is taken out of it: datagrams of 1400 octets
/// fill the buffer at about half of it, GRO batches at nearly all of it. A size that the system does not tell
/// is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferSizes {
    /// Octets that wait to be read (`SO_RCVBUF`); what comes beyond is lost.
    pub receive: usize,
    /// Octets that wait to be sent (`SO_SNDBUF`); beyond, the socket is full.
    pub send: usize,
}

/// A bound UDP socket that takes and gives batches, and never waits.
///
/// Several threads may use it, each with [`RecvBuffers`] and a progress of its own. On a socket that was made
/// blocking again, sends wait for room, and reads wait until all of the [`RecvBuffers`] are filled: give them
/// one buffer.
#[derive(Debug)]
pub struct Socket {
    inner: UdpSocket,
    offload: Offload,
}

impl Socket {
    /// Takes a bound socket and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system does not tell its address, or has no socket to find out what it can do. What it refuses of
    /// `options` is done without.
    pub fn new(inner: UdpSocket, options: &UdpOptions) -> io::Result<Self> {
        let offload = Offload::new(&SockRef::from(&inner), options, Arc::default())?;
        Ok(Self { inner, offload })
    }

    /// Sends what of `tx` lies behind its first `sent` datagrams, and moves `sent` on.
    ///
    /// Returns true, and sets `sent` to 0, once all of it was given to the system; false when the socket is
    /// full. Then the same is to be called again once the socket is writable. What the system refuses to send
    /// is counted and left out.
    pub fn send(&self, tx: &Transmit<Path>, sent: &mut usize) -> bool {
        let Some(to) = tx.to() else {
            return true;
        };
        let batch = (tx.octets(), tx.segment_size());
        let socket = SockRef::from(&self.inner);
        let is_sent = self.offload.send(&socket, to.remote, batch, sent).is_ok();
        if is_sent {
            *sent = 0;
        }
        is_sent
    }

    /// Receives what one system call gives, and shows `each` datagram with the path it came on.
    ///
    /// Returns how many there were, at least one unless only errors of the network were read.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing, and the system's own when the socket
    /// is not usable. What the network reported is counted and is no error.
    pub fn receive(
        &self,
        buffers: &mut RecvBuffers,
        each: impl FnMut(Path, &[u8]),
    ) -> io::Result<usize> {
        self.receive_batch(buffers, singly(each))
    }

    /// Receives like [`receive`](Self::receive), and shows batches as
    /// [`Machine::receive_batch`](crate::Machine::receive_batch) takes them: datagrams back to back, and the
    /// length of all but the last. An empty datagram is a batch of its own.
    ///
    /// Returns how many datagrams there were.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_batch(
        &self,
        buffers: &mut RecvBuffers,
        mut each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> io::Result<usize> {
        let (socket, local) = (SockRef::from(&self.inner), self.local_addr());
        let each = &mut |from, octets: &[u8], size| each(Path::udp(local, from), octets, size);
        let (count, _) = self.offload.receive(&socket, buffers, each)?;
        Ok(count)
    }

    /// Returns what the socket is bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.offload.local
    }

    /// Returns the sizes of the buffers that the system granted.
    #[must_use]
    pub const fn buffer_sizes(&self) -> BufferSizes {
        self.offload.sizes
    }

    /// Returns how many datagrams one send may have; 1 once the kernel has refused more.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.offload.segments()
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn stats(&self) -> UdpStats {
        self.offload.stats()
    }

    /// Returns the socket inside, to wait on or to look at. Reading from it may give several datagrams as one.
    #[must_use]
    pub const fn get_ref(&self) -> &UdpSocket {
        &self.inner
    }

    /// Returns the socket, which gives datagrams one by one again. It stays non-blocking.
    #[must_use]
    pub fn into_inner(self) -> UdpSocket {
        Offload::release(&SockRef::from(&self.inner));
        self.inner
    }
}

/// Shows the datagrams of batches one by one.
pub(super) fn singly(mut each: impl FnMut(Path, &[u8])) -> impl FnMut(Path, &[u8], NonZeroUsize) {
    move |from, octets, size| {
        if octets.is_empty() {
            each(from, octets);
        }
        for datagram in octets.chunks(size.get()) {
            each(from, datagram);
        }
    }
}
