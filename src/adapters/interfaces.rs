//! The interfaces of a machine on [`Hop`]s: numbered, each a UDP socket, a byte stream or a packet device.
//!
//! The machine hears [`Link::Up`] of each interface first, [`Link::Full`] when it would block, [`Link::Free`]
//! when it takes more, and [`Link::Down`] when it is gone: of a byte stream at the hop to its node, of the
//! others at their [carrier](crate::Addr::carrier), with `via` 0. An interface that is down or closed stays so.
//! [`Ask::Open`] fails as unreachable.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::net::{TcpStream, UdpSocket};

use super::runtime::{ByteStream, Runtime, TcpIo};
use super::scratch::{with_buffer, with_recv_buffers};
use super::table::{DatagramIo, Opener, Socket, SocketCounters, Table};
use super::udp::{AsyncSocket, UdpOptions};
#[cfg(doc)]
use crate::{Ask, Link};
use crate::{Hop, Transmit};

/// A device that carries whole packets between nodes with link addresses: a CAN controller, a radio, a
/// message queue.
pub trait PacketDevice: Send + 'static {
    /// Sends one packet to the node `via`. `Pending` when the device would block; it wakes the waker of `cx`
    /// when it takes a packet again, and gets the same packet then.
    ///
    /// # Errors
    ///
    /// The packet cannot be sent. It is counted as unsent and dropped.
    fn poll_send(&mut self, cx: &mut Context<'_>, via: u16, packet: &[u8]) -> Poll<io::Result<()>>;

    /// Receives one packet into `buffer`, of 65,536 octets, and returns its length and the node that sent
    /// it. `Pending` when there is none; it wakes the waker of `cx` when there is.
    ///
    /// # Errors
    ///
    /// The packet cannot be received. 64 errors in a row take the interface down.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, u16)>>;
}

/// The interfaces that a machine has, by their numbers.
#[derive(Default)]
pub struct Interfaces {
    added: BTreeMap<u8, Added>,
    udp: UdpOptions,
    counters: Arc<SocketCounters>,
}

/// Makes the socket of an interface, once the runtime and the time to linger are known.
type Added = Box<dyn FnOnce(&dyn Runtime, Duration) -> io::Result<(Hop, Socket<Hop>)> + Send>;

impl Interfaces {
    /// Returns no interfaces.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how UDP sockets are set up.
    pub const fn set_udp_options(&mut self, options: UdpOptions) {
        self.udp = options;
    }

    /// Makes `interface` a bound UDP socket that reaches `nodes`, each a link address and its UDP address.
    ///
    /// A datagram to another link address is not sent, and one from another UDP address is dropped; both are
    /// counted.
    ///
    /// # Errors
    ///
    /// The number is taken (`AlreadyExists`).
    pub fn add_udp(
        &mut self,
        interface: u8,
        socket: UdpSocket,
        nodes: impl IntoIterator<Item = (u16, SocketAddr)>,
    ) -> io::Result<()> {
        let nodes: BTreeMap<u16, SocketAddr> = nodes.into_iter().collect();
        let (options, counters) = (self.udp.clone(), self.counters());
        let make = move |runtime: &dyn Runtime, _| {
            let mut socket = AsyncSocket::new(runtime, socket, &options)?;
            socket.count_in(&counters.udp);
            let hop = |via| Hop { interface, via };
            let io = UdpInterface {
                senders: nodes.iter().map(|(via, node)| (*node, hop(*via))).collect(),
                nodes,
                socket,
                counters,
            };
            Ok((hop(0), Socket::datagrams(io)))
        };
        self.add(interface, Box::new(make))
    }

    /// Makes `interface` a TCP connection to the node `via`.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_tcp(&mut self, interface: u8, via: u16, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let make = move |runtime: &dyn Runtime, linger| {
            let stream = TcpIo::new(runtime, stream.into())?;
            let stream = Socket::stream(Box::new(stream), linger);
            Ok((Hop { interface, via }, stream))
        };
        self.add(interface, Box::new(make))
    }

    /// Makes `interface` a byte stream to the node `via`: a serial line, a pipe. Its octets come from there.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_stream(
        &mut self,
        interface: u8,
        via: u16,
        stream: impl ByteStream,
    ) -> io::Result<()> {
        let make = move |_: &dyn Runtime, linger| {
            let stream = Socket::stream(Box::new(stream), linger);
            Ok((Hop { interface, via }, stream))
        };
        self.add(interface, Box::new(make))
    }

    /// Makes `interface` a packet device.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_device(&mut self, interface: u8, device: Box<dyn PacketDevice>) -> io::Result<()> {
        let io = PacketInterface {
            interface,
            device,
            counters: self.counters(),
        };
        let at = Hop { interface, via: 0 };
        let make = move |_: &dyn Runtime, _| Ok((at, Socket::datagrams(io)));
        self.add(interface, Box::new(make))
    }

    /// Returns the counters of all interfaces, which can be read while the machine is driven.
    #[must_use]
    pub fn counters(&self) -> Arc<SocketCounters> {
        Arc::clone(&self.counters)
    }

    fn add(&mut self, interface: u8, added: Added) -> io::Result<()> {
        if self.added.contains_key(&interface) {
            let text = alloc::format!("interface {interface} is taken");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        self.added.insert(interface, added);
        Ok(())
    }

    /// Has `runtime` watch all of them.
    pub(super) fn into_table(
        self,
        runtime: &Arc<dyn Runtime>,
        linger: Duration,
    ) -> io::Result<Table<Hop>> {
        let mut table = Table::new(Box::new(NothingToOpen), linger, self.counters);
        for make in self.added.into_values() {
            let (at, socket) = make(&**runtime, linger)?;
            table.add(at, socket);
        }
        Ok(table)
    }
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.added.keys()).finish()
    }
}

/// A machine cannot ask for interfaces.
struct NothingToOpen;

impl Opener<Hop> for NothingToOpen {}

struct UdpInterface {
    nodes: BTreeMap<u16, SocketAddr>,
    senders: BTreeMap<SocketAddr, Hop>,
    socket: AsyncSocket,
    counters: Arc<SocketCounters>,
}

impl DatagramIo<Hop> for UdpInterface {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &Transmit<Hop>,
        sent: &mut usize,
    ) -> Poll<()> {
        let Some(to) = tx.to().and_then(|to| self.nodes.get(&to.via)) else {
            SocketCounters::add(&self.counters.unroutable, tx.datagrams().len());
            return Poll::Ready(());
        };
        let batch = (tx.octets(), tx.segment_size());
        self.socket.poll_send_to(cx, *to, batch, sent)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(Hop, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let Self {
            senders,
            socket,
            counters,
            ..
        } = self;
        with_recv_buffers(|buffers| {
            socket.poll_receive_batch(cx, buffers, |from, octets, size| {
                if let Some(hop) = senders.get(&from.remote) {
                    return each(*hop, octets, size);
                }
                let count = octets.len().div_ceil(size.get()).max(1);
                SocketCounters::add(&counters.unknown_senders, count);
            })
        })
    }

    fn receive_buffer(&self) -> usize {
        self.socket.buffer_sizes().receive
    }
}

struct PacketInterface {
    interface: u8,
    device: Box<dyn PacketDevice>,
    counters: Arc<SocketCounters>,
}

impl DatagramIo<Hop> for PacketInterface {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &Transmit<Hop>,
        sent: &mut usize,
    ) -> Poll<()> {
        let via = tx.to().map_or(0, |to| to.via);
        for packet in tx.datagrams().skip(*sent) {
            if ready!(self.device.poll_send(cx, via, packet)).is_err() {
                self.counters.udp.count_unsent(1);
            }
            *sent += 1;
        }
        *sent = 0;
        Poll::Ready(())
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(Hop, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let Self {
            interface, device, ..
        } = self;
        with_buffer(|buffer| {
            let (len, via) = ready!(device.poll_receive(cx, buffer))?;
            let from = Hop {
                interface: *interface,
                via,
            };
            let packet = buffer.get(..len).unwrap_or_default();
            let size = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
            each(from, packet, size);
            Poll::Ready(Ok(1))
        })
    }
}
