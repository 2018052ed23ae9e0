//! One UDP socket that takes and gives batches, whose readiness a runtime watches.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, ready};
use std::io;
use std::net::UdpSocket;

use socket2::{SockRef, Socket};

use super::offload::Offload;
use super::socket::singly;
use super::stats::SocketCounters;
use super::{BufferSizes, RecvBuffers, UdpOptions, UdpStats};
use crate::adapters::runtime::{Kind, Moved, Runtime, Source, Way};
use crate::{Path, Transmit};

/// A bound UDP socket on a [`Runtime`] that takes and gives batches.
#[derive(derive_more::Debug)]
#[debug("AsyncSocket({offload:?})")]
pub struct AsyncSocket {
    source: Box<dyn Source>,
    offload: Offload,
}

impl AsyncSocket {
    /// Takes a bound socket, makes it non-blocking and has `runtime` watch it.
    ///
    /// # Errors
    ///
    /// As [`Socket::new`](super::Socket::new), or the runtime cannot watch it.
    pub fn new(runtime: &dyn Runtime, socket: UdpSocket, options: &UdpOptions) -> io::Result<Self> {
        Self::counting(runtime, socket, options, Arc::default())
    }

    /// Does what [`new`](Self::new) does, and counts in `counters`, which several sockets may share.
    pub(crate) fn counting(
        runtime: &dyn Runtime,
        socket: UdpSocket,
        options: &UdpOptions,
        counters: Arc<SocketCounters>,
    ) -> io::Result<Self> {
        let offload = Offload::new(&SockRef::from(&socket), options, counters)?;
        let source = runtime.watch(socket.into(), Kind::Datagram)?;
        Ok(Self { source, offload })
    }

    /// Sends what of `tx` lies behind its first `sent` datagrams, moves `sent` on, and sets it to 0 once all
    /// of it was given to the system. What the system refuses to send is counted and left out.
    ///
    /// `Pending` means that the socket is full; the waker is called once it takes more.
    pub fn poll_send(
        &self,
        cx: &mut Context<'_>,
        tx: &Transmit<Path>,
        sent: &mut usize,
    ) -> Poll<()> {
        let Some(to) = tx.to() else {
            return Poll::Ready(());
        };
        let batch = (tx.octets(), tx.segment_size());
        self.poll_send_to(cx, to.remote, batch, sent)
    }

    /// Sends like [`poll_send`](Self::poll_send): octets, in datagrams of a size.
    pub(crate) fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        to: SocketAddr,
        (octets, size): (&[u8], usize),
        sent: &mut usize,
    ) -> Poll<()> {
        let call = &mut |socket: &Socket| {
            self.offload.send(socket, to, (octets, size), sent)?;
            Ok(Moved {
                count: 0,
                drained: false,
            })
        };
        if ready!(self.source.poll_io(cx, Way::Out, call)).is_err() {
            // The runtime has ended, and nothing will be sent again.
            let count = octets.len().div_ceil(size.max(1)).saturating_sub(*sent);
            self.offload.count(|udp| udp.unsent += count as u64);
        }
        *sent = 0;
        Poll::Ready(())
    }

    /// Receives what one system call gives, and shows `each` datagram with the path it came on.
    ///
    /// Returns how many there were, at least one unless only errors of the network were read.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable. What the network reported is counted and is no error.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut RecvBuffers,
        each: impl FnMut(Path, &[u8]),
    ) -> Poll<io::Result<usize>> {
        self.poll_receive_batch(cx, buffers, singly(each))
    }

    /// Receives like [`poll_receive`](Self::poll_receive), and shows batches as
    /// [`Machine::receive_batch`](crate::Machine::receive_batch) takes them: datagrams back to back, and the
    /// length of all but the last. An empty datagram is a batch of its own.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_receive_batch(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut RecvBuffers,
        mut each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let local = self.local_addr();
        self.poll_receive_from(cx, buffers, |from, octets, size| {
            each(Path::udp(local, from), octets, size);
        })
    }

    /// Receives like [`poll_receive_batch`](Self::poll_receive_batch), and shows the address of the sender.
    pub(crate) fn poll_receive_from(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut RecvBuffers,
        mut each: impl FnMut(SocketAddr, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let receive = &mut |socket: &Socket| {
            let (count, drained) = self.offload.receive(socket, buffers, &mut each)?;
            Ok(Moved { count, drained })
        };
        self.source.poll_io(cx, Way::In, receive)
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

    /// Returns what was counted so far.
    #[must_use]
    pub fn stats(&self) -> UdpStats {
        self.offload.stats()
    }

    /// Takes the socket out of the runtime. It gives datagrams one by one again and stays non-blocking.
    ///
    /// # Errors
    ///
    /// The runtime cannot deregister it; the socket is closed then.
    pub fn into_std(self) -> io::Result<UdpSocket> {
        let socket = self.source.into_socket()?;
        Offload::release(&socket);
        Ok(socket.into())
    }
}
