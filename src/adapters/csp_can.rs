//! CAN buses of Linux as interfaces.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use socketcan::{CanSocket, Socket as _};

use super::interfaces::{Interfaces, PacketDevice};
use super::runtime::{Kind, Moved, Runtime, Source, Timer, Way};
#[cfg(doc)]
use crate::csp::Encapsulation;

/// Octets of `struct can_frame`: the identifier in the order of the machine, the length, three octets that are not
/// used, eight of data.
const FRAME: usize = 16;
/// Octets before the data in both forms of a frame.
const HEADER: usize = 8;
/// What the system says while the queue of a bus is full. No readiness tells when it is not.
const ENOBUFS: i32 = 105;
/// How long a frame waits then: a bus of 1 Mbit/s takes some in this time.
const PAUSE: Duration = Duration::from_millis(1);

impl Interfaces {
    /// Makes `interface` the CAN bus of this name, such as `can0`. Its encapsulation is [`Encapsulation::Can`].
    ///
    /// # Errors
    ///
    /// There is no such bus, or as [`add_udp`](Self::add_udp).
    pub fn add_can(&mut self, interface: u8, name: &str) -> io::Result<()> {
        let socket = CanSocket::open(name)?;
        let socket = socket.as_fd().try_clone_to_owned()?;
        self.add_can_socket(interface, socket)
    }

    /// Makes `interface` a socket that carries a `struct can_frame` in each datagram.
    fn add_can_socket(&mut self, interface: u8, socket: OwnedFd) -> io::Result<()> {
        let socket = socket2::Socket::from(socket);
        socket.set_nonblocking(true)?;
        self.add_device_on(interface, move |runtime| {
            Ok(Box::new(CanIo {
                source: runtime.watch(socket, Kind::Datagram)?,
                runtime: Arc::clone(runtime),
                pause: None,
            }))
        })
    }
}

struct CanIo {
    source: Box<dyn Source>,
    runtime: Arc<dyn Runtime>,
    /// Set while the queue of the bus is full.
    pause: Option<Box<dyn Timer>>,
}

impl PacketDevice for CanIo {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: u16, packet: &[u8]) -> Poll<io::Result<()>> {
        let frame = to_system(packet).ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.poll(cx));
                self.pause = None;
            }
            let write = &mut |mut socket: &socket2::Socket| {
                socket.write(&frame).map(|count| Moved::new(count, false))
            };
            match ready!(self.source.poll_io(cx, Way::Out, write)) {
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                    let until = self.runtime.now() + PAUSE;
                    self.pause = Some(self.runtime.timer(until));
                }
                written => return Poll::Ready(written.map(drop)),
            }
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, u16)>> {
        let read = &mut |mut socket: &socket2::Socket| {
            socket.read(buffer).map(|count| Moved::new(count, false))
        };
        let count = ready!(self.source.poll_io(cx, Way::In, read))?;
        let frame = buffer.get_mut(..count).and_then(from_system);
        let len = frame.ok_or(io::ErrorKind::InvalidData)?;
        Poll::Ready(Ok((len, 0)))
    }
}

/// Returns a frame of the system from one in the form of `LINKTYPE_CAN_SOCKETCAN`.
fn to_system(packet: &[u8]) -> Option<[u8; FRAME]> {
    let (identifier, rest) = packet.split_first_chunk()?;
    let mut frame = [0; FRAME];
    let (place, others) = frame.split_first_chunk_mut()?;
    *place = u32::from_be_bytes(*identifier).to_ne_bytes();
    others.get_mut(..rest.len())?.copy_from_slice(rest);
    Some(frame)
}

/// Makes a frame of the system one in the form of `LINKTYPE_CAN_SOCKETCAN`, and returns its length.
fn from_system(frame: &mut [u8]) -> Option<usize> {
    let frame: &mut [u8; FRAME] = frame.try_into().ok()?;
    let [i0, i1, i2, i3, len, unused @ .., _, _, _, _, _, _, _, _] = frame;
    let len = usize::from(*len);
    let identifier = u32::from_ne_bytes([*i0, *i1, *i2, *i3]);
    [*i0, *i1, *i2, *i3] = identifier.to_be_bytes();
    unused.fill(0);
    let end = HEADER + len;
    (end <= FRAME).then_some(end)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;
    use std::os::unix::net::UnixDatagram;

    use bytes::Bytes;

    use super::*;
    use crate::csp::carriers::CanFrame;
    use crate::{Hop, Link, Machine, Output, Transmit};

    /// Sends a frame back with its data reversed, and tells it.
    struct Mirror(Vec<(Hop, CanFrame)>);

    impl Machine for Mirror {
        type Addr = Hop;
        type Command = ();
        type Event = Bytes;
        type Error = core::convert::Infallible;

        fn receive(&mut self, _: crate::Instant, from: Hop, octets: &[u8]) {
            self.0.push((from, CanFrame::decode(octets).unwrap()));
        }
        fn link(&mut self, _: crate::Instant, _: Hop, _: Link) {}
        fn command(&mut self, _: crate::Instant, (): ()) -> Result<(), Self::Error> {
            Ok(())
        }
        fn poll(&mut self, _: crate::Instant, tx: &mut Transmit<Hop>) -> Output<Hop, Bytes> {
            tx.clear();
            let Some((to, frame)) = self.0.pop() else {
                return Output::Idle(None);
            };
            let data: Vec<u8> = frame.data().iter().rev().copied().collect();
            let answer = CanFrame::new(frame.identifier() + 1, &[&data]);
            tx.push(to, answer.wire_len(), |out| answer.encode(out));
            Output::Transmit
        }
    }

    /// A pair of sockets that keep datagrams whole stands for a bus, which test machines lack.
    fn frames_pass_in_the_form_of_captures(runtime: &Arc<dyn Runtime>) {
        let (near, far) = UnixDatagram::pair().unwrap();
        let mut interfaces = Interfaces::new();
        interfaces.add_can_socket(3, near.into()).unwrap();
        let options = crate::adapters::raw::DriverOptions::default();
        let driven =
            crate::adapters::raw::interfaces(runtime, Mirror(Vec::new()), interfaces, options);
        let _driven = driven.unwrap();
        let mut frame = [0; FRAME];
        frame[..4].copy_from_slice(&0x9234_5678_u32.to_ne_bytes());
        frame[4] = 3;
        frame[8..11].copy_from_slice(b"abc");

        far.send(&frame).unwrap();
        let mut answer = [0; 100];
        let count = far.recv(&mut answer).unwrap();

        frame[..4].copy_from_slice(&0x9234_5679_u32.to_ne_bytes());
        frame[8..11].copy_from_slice(b"cba");
        assert_eq!(answer[..count], frame);
    }

    #[cfg(feature = "blocking")]
    #[test]
    fn frames_pass_on_threads() {
        frames_pass_in_the_form_of_captures(&crate::adapters::blocking::runtime());
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn frames_pass_on_tokio() {
        let mut builder = ::tokio::runtime::Builder::new_multi_thread();
        let tokio = builder.worker_threads(1).enable_all().build().unwrap();
        let _context = tokio.enter();
        frames_pass_in_the_form_of_captures(&crate::adapters::tokio::runtime());
    }

    #[test]
    fn a_bus_that_does_not_exist_is_refused() {
        let error = Interfaces::new().add_can(0, "no-such-bus0").unwrap_err();

        assert_ne!(error.to_string(), "");
    }

    #[test]
    fn frames_of_another_length_are_refused() {
        assert_eq!(to_system(&[0; FRAME + 1]), None);
        assert_eq!(to_system(&[0; 3]), None);
        assert_eq!(from_system(&mut [0; FRAME - 1]), None);
        let mut too_long = [0; FRAME];
        too_long[4] = 9;
        assert_eq!(from_system(&mut too_long), None);
    }
}
