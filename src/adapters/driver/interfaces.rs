//! The interfaces of a machine on [`Hop`]s: numbered, each a UDP socket, a byte stream or a packet device.
//!
//! The machine hears [`Link::Up`] of each interface first, [`Link::Full`] when it would block, [`Link::Free`]
//! when it takes more, and [`Link::Down`] when it is gone: of a byte stream at the hop to its node, of the
//! others at their [carrier](crate::Addr::carrier), with `via` 0. An interface that is down or closed stays so.
//! [`Ask::Open`] fails as unreachable.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, ready};
use std::io;
use std::net::{TcpStream, UdpSocket};

use super::runtime::{ByteStream, Runtime, TcpIo};
use super::scratch::with_buffer;
use super::socket::{DatagramIo, Socket};
use super::sockets::{Means, SocketSet};
use super::table::Opener;
use crate::adapters::udp::SocketCounters;
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
pub type Interfaces = SocketSet<Hop>;

impl Interfaces {
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
        let names = nodes.iter().map(|(via, node)| (*node, *via));
        let names: BTreeMap<SocketAddr, u16> = names.collect();
        let at = Hop { interface, via: 0 };
        self.add_interface(at, move |means| {
            let from = move |node| {
                let via = *names.get(&node)?;
                Some(Hop { interface, via })
            };
            means.udp(at, socket, move |to: Hop| nodes.get(&to.via).copied(), from)
        })
    }

    /// Makes `interface` a bound UDP socket with one peer, to which all packets go, whatever their link address.
    ///
    /// A datagram from another UDP address is dropped and counted. What comes from the peer has the link address 0.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_udp_peer(
        &mut self,
        interface: u8,
        socket: UdpSocket,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let at = Hop { interface, via: 0 };
        self.add_interface(at, move |means| {
            let from = move |node| (node == peer).then_some(at);
            means.udp(at, socket, move |_| Some(peer), from)
        })
    }

    /// Makes `interface` a TCP connection to the node `via`.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_tcp(&mut self, interface: u8, via: u16, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let at = Hop { interface, via };
        self.add_interface(at, move |means| {
            let stream = TcpIo::new(&*means.runtime, stream.into())?;
            Ok(means.stream(at, stream.into()))
        })
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
        stream: impl Into<Box<dyn ByteStream>>,
    ) -> io::Result<()> {
        let (at, stream) = (Hop { interface, via }, stream.into());
        self.add_interface(at, move |means| Ok(means.stream(at, stream)))
    }

    /// Makes `interface` a packet device.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_device(&mut self, interface: u8, device: Box<dyn PacketDevice>) -> io::Result<()> {
        self.add_device_on(interface, |_| Ok(device))
    }

    /// Makes `interface` a packet device that `make` makes with the runtime.
    pub(in crate::adapters) fn add_device_on(
        &mut self,
        interface: u8,
        make: impl FnOnce(&Arc<dyn Runtime>) -> io::Result<Box<dyn PacketDevice>> + Send + 'static,
    ) -> io::Result<()> {
        let (at, counters) = (Hop { interface, via: 0 }, self.counters());
        self.add_interface(at, move |means| {
            let device = make(&means.runtime)?;
            let io = PacketIo {
                interface,
                device,
                counters,
            };
            Ok(means.datagrams(at, Box::new(io)))
        })
    }

    fn add_interface(
        &mut self,
        at: Hop,
        make: impl FnOnce(&Means) -> io::Result<Socket<Hop>> + Send + 'static,
    ) -> io::Result<()> {
        self.add(at, make).map(drop).ok_or_else(|| {
            let text = alloc::format!("interface {} is taken", at.interface);
            io::Error::new(io::ErrorKind::AlreadyExists, text)
        })
    }
}

/// A machine cannot ask for interfaces.
impl Opener<Hop> for Means {}

struct PacketIo {
    interface: u8,
    device: Box<dyn PacketDevice>,
    counters: Arc<SocketCounters>,
}

impl DatagramIo<Hop> for PacketIo {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &Transmit<Hop>,
        sent: &mut usize,
    ) -> Poll<()> {
        let via = tx.to().map_or(0, |to| to.via);
        for packet in tx.datagrams().skip(*sent) {
            if ready!(self.device.poll_send(cx, via, packet)).is_err() {
                self.counters.count(|stats| stats.udp.unsent += 1);
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
        let (interface, device) = (self.interface, &mut self.device);
        with_buffer(|buffer| {
            let (len, via) = ready!(device.poll_receive(cx, buffer))?;
            let packet = buffer.get(..len).unwrap_or_default();
            let size = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
            each(Hop { interface, via }, packet, size);
            Poll::Ready(Ok(1))
        })
    }
}
