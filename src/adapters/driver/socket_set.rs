//! The sockets that a machine has from the start, whatever their addresses.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;

use socket2::SockRef;

use super::runtime::{ByteStream, Kind as SourceKind, Moved, Runtime, Source, Way};
use super::scratch::with_recv_buffers;
use super::socket::{DatagramIo, Kind, Socket};
use super::table::{Opener, Table};
use crate::adapters::udp::{Offload, SocketCounters, UdpOptions};
use crate::{Addr, Transmit};

/// The sockets that a machine has from the start: [`Sockets`](super::sockets::Sockets) on paths,
/// [`Interfaces`](super::interfaces::Interfaces) on hops.
#[derive(derive_more::Debug)]
#[debug("{:?}", added.iter().map(|(at, _)| at).collect::<Vec<_>>())]
pub struct SocketSet<A: Addr> {
    added: Vec<(A, Make<A>)>,
    udp: UdpOptions,
    counters: Arc<SocketCounters>,
}

/// Makes a socket once it is known with what.
type Make<A> = Box<dyn FnOnce(&Means) -> io::Result<Socket<A>> + Send>;

/// What sockets are made with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) counters: Arc<SocketCounters>,
    udp: UdpOptions,
    linger: Duration,
}

impl<A: Addr> SocketSet<A> {
    /// Returns no sockets.
    #[must_use]
    pub fn new() -> Self {
        Self {
            added: Vec::new(),
            udp: UdpOptions::default(),
            counters: Arc::default(),
        }
    }

    /// Sets how UDP sockets are set up, both those added and those asked for.
    pub const fn set_udp_options(&mut self, options: UdpOptions) {
        self.udp = options;
    }

    /// Returns the counters of all sockets, which can be read while the machine is driven.
    #[must_use]
    pub fn counters(&self) -> Arc<SocketCounters> {
        Arc::clone(&self.counters)
    }

    /// Adds what `make` makes, unless the address is taken.
    pub(super) fn add(
        &mut self,
        at: A,
        make: impl FnOnce(&Means) -> io::Result<Socket<A>> + Send + 'static,
    ) -> Option<A> {
        let mut taken = self.added.iter().map(|(taken, _)| taken.carrier());
        if taken.any(|taken| taken == at.carrier()) {
            return None;
        }
        self.added.push((at, Box::new(make)));
        Some(at)
    }

    /// Has `runtime` watch all of them.
    pub(crate) fn into_table(
        self,
        runtime: &Arc<dyn Runtime>,
        linger: Duration,
    ) -> io::Result<Table<A>>
    where
        Means: Opener<A>,
    {
        let means = Means {
            runtime: Arc::clone(runtime),
            counters: Arc::clone(&self.counters),
            udp: self.udp,
            linger,
        };
        let mut table = Table::new(Box::new(means.clone()), self.counters);
        for (at, make) in self.added {
            table.add(at, make(&means)?);
        }
        Ok(table)
    }
}

impl<A: Addr> Default for SocketSet<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl Means {
    pub(super) fn socket<A: Addr>(&self, kind: Kind<A>) -> Socket<A> {
        Socket::new(kind, self.linger)
    }

    pub(super) fn stream<A: Addr>(&self, stream: impl Into<Box<dyn ByteStream>>) -> Socket<A> {
        self.socket(Kind::Stream(stream.into()))
    }

    pub(super) fn datagrams<A: Addr>(&self, io: impl DatagramIo<A> + 'static) -> Socket<A> {
        self.socket(Kind::Datagrams(Box::new(io), Arc::clone(&self.counters)))
    }

    /// Makes a UDP socket. `to` says where an address is, `from` what the machine calls a sender.
    pub(super) fn udp<A: Addr>(
        &self,
        socket: UdpSocket,
        to: impl Fn(A) -> Option<SocketAddr> + Send + 'static,
        from: impl Fn(SocketAddr) -> Option<A> + Send + 'static,
    ) -> io::Result<Socket<A>> {
        let counters = Arc::clone(&self.counters);
        let offload = Offload::new(&SockRef::from(&socket), &self.udp, counters)?;
        Ok(self.datagrams(UdpIo {
            source: self.runtime.watch(socket.into(), SourceKind::Datagram)?,
            offload,
            counters: Arc::clone(&self.counters),
            to,
            from,
        }))
    }
}

/// A UDP socket, and what the machine calls the addresses that it reaches.
struct UdpIo<T, F> {
    source: Box<dyn Source>,
    offload: Offload,
    counters: Arc<SocketCounters>,
    to: T,
    from: F,
}

impl<A: Addr, T, F> DatagramIo<A> for UdpIo<T, F>
where
    T: Fn(A) -> Option<SocketAddr> + Send,
    F: Fn(SocketAddr) -> Option<A> + Send,
{
    fn poll_send(&mut self, cx: &mut Context<'_>, tx: &Transmit<A>, sent: &mut usize) -> Poll<()> {
        let Some(to) = tx.to().and_then(&self.to) else {
            let count = tx.datagrams().len() as u64;
            self.counters.count(|stats| stats.unroutable += count);
            return Poll::Ready(());
        };
        let batch = (tx.octets(), tx.segment_size());
        let call = &mut |socket: &socket2::Socket| {
            self.offload.send(socket, to, batch, sent)?;
            Ok(Moved::new(0, false))
        };
        if ready!(self.source.poll_io(cx, Way::Out, call)).is_err() {
            // The runtime has ended, and nothing will be sent again.
            let left = tx.datagrams().len().saturating_sub(*sent) as u64;
            self.counters.count(|stats| stats.udp.unsent += left);
        }
        *sent = 0;
        Poll::Ready(())
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(A, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let each = &mut |sender: SocketAddr, octets: &[u8], size: NonZeroUsize| {
            if let Some(from) = (self.from)(sender) {
                return each(from, octets, size);
            }
            let count = octets.len().div_ceil(size.get()).max(1) as u64;
            self.counters.count(|stats| stats.unknown_senders += count);
        };
        with_recv_buffers(|buffers| {
            let call = &mut |socket: &socket2::Socket| {
                let (count, is_drained) = self.offload.receive(socket, buffers, each)?;
                Ok(Moved::new(count, is_drained))
            };
            self.source.poll_io(cx, Way::In, call)
        })
    }

    fn receive_buffer(&self) -> usize {
        self.offload.sizes.receive
    }
}
