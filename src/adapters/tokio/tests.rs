//! What cannot be seen from outside: a UDP socket that would block, which loopback never does.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::{Context, Poll};
use std::io;

use tokio::net::UdpSocket;

use super::driver::{Carriers, Driver, Front, Outlook, Sent};
use super::sockets::Sockets;
use super::table::Table;
use crate::adapters::{Clock, Detached};
use crate::{Ask, Instant, Limits, Link, Machine, Output, Path, Transmit};

/// A machine that sends its numbers, and is done when it heard often enough.
struct Counting {
    sent: u8,
    all: u8,
    heard: usize,
    /// How much it had heard at each poll.
    polls: Vec<usize>,
    path: Option<Path>,
}

impl Counting {
    fn new(all: u8) -> Self {
        Self {
            sent: 0,
            all,
            heard: 0,
            polls: Vec::new(),
            path: None,
        }
    }
}

impl Machine for Counting {
    type Addr = Path;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: Path, _: &[u8]) {
        self.heard += 1;
    }

    fn link(&mut self, _: Instant, _: Path, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        assert_eq!(self.heard, 10, "no command is taken while a send is held");
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
        tx.clear();
        self.polls.push(self.heard);
        let path = self.path.unwrap_or_else(nowhere);
        while self.sent < self.all && tx.push(path, 1, |out| out.push(self.sent)) {
            self.sent += 1;
        }
        if tx.is_empty() {
            Output::Done
        } else {
            Output::Transmit
        }
    }
}

fn nowhere() -> Path {
    let address = core::net::SocketAddr::from(([127, 0, 0, 1], 9));
    Path::udp(address, address)
}

#[tokio::test]
async fn what_a_full_udp_socket_did_not_take_is_sent_later_and_nothing_twice() {
    let (socket, peer) = (udp().await, udp().await);
    let path = Path::udp(socket.local_addr().unwrap(), peer.local_addr().unwrap());
    let mut sockets = Sockets::new();
    sockets.add_udp(socket).unwrap();
    let mut table = Table::new(sockets, core::time::Duration::ZERO);
    let mut machine = Counting::new(200);
    machine.path = Some(path);
    let mut tx = Transmit::new(Limits::new(1, 200, 200));
    assert_eq!(machine.poll(Instant::ZERO, &mut tx), Output::Transmit);

    // A task of tokio's may do so much between two yields; beyond that every socket says it would block.
    let mut holds = 0;
    poll_fn(|cx| match send(&mut table, cx, &mut tx) {
        Sent::Held => {
            holds += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Sent::All => Poll::Ready(()),
        Sent::Full(_) => panic!("a UDP socket has no outbox"),
    })
    .await;

    assert!(holds > 0);
    for number in 0..200 {
        let mut octet = [0; 2];
        assert_eq!(peer.recv(&mut octet).await.unwrap(), 1);
        assert_eq!(octet[0], number);
    }
    assert!(peer.try_recv(&mut [0; 2]).is_err());
}

#[tokio::test]
async fn while_a_send_is_held_reading_goes_on_and_the_machine_is_not_polled() {
    let carriers = Narrow::default();
    let driver = Driver::new(
        Counting::new(1),
        carriers,
        Eager,
        Clock::new(),
        Limits::default(),
    );

    driver.run().await.unwrap();
}

/// A UDP socket that takes the first send only after ten datagrams were read.
#[derive(Default)]
struct Narrow {
    read: usize,
    taken: bool,
}

impl Carriers<Counting> for Narrow {
    type Stream = ();

    fn send(&mut self, _: &mut Context<'_>, tx: &mut Transmit<Path>) -> Sent<Path> {
        assert_eq!(tx.octets(), [0], "the held octets stay as they are");
        assert!(!self.taken);
        if self.read < 10 {
            return Sent::Held;
        }
        self.taken = true;
        Sent::All
    }

    fn answer(&mut self, _: Ask<Path>) {}

    fn poll_inputs(
        &mut self,
        _: &mut Context<'_>,
        now: Instant,
        machine: &mut Counting,
        may_read: bool,
    ) -> bool {
        assert!(may_read);
        if self.read < 10 {
            self.read += 1;
            machine.receive(now, nowhere(), b"");
            assert_eq!(machine.polls, [0]);
        }
        true
    }

    fn handed(&mut self) -> Option<Detached<()>> {
        None
    }

    fn outlook(&self) -> Outlook {
        Outlook::Alive
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.taken);
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// An application that always has a command.
struct Eager;

impl Front<Counting, ()> for Eager {
    fn event(&mut self, (): ()) {}

    fn handed(&mut self, _: Detached<()>) {}

    fn poll_room(&mut self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_command(&mut self, _: &Context<'_>, now: Instant, machine: &mut Counting) -> Poll<()> {
        let Ok(()) = machine.command(now, ());
        Poll::Ready(())
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn rest(&mut self) {}
}

fn send(table: &mut Table, cx: &mut Context<'_>, tx: &mut Transmit<Path>) -> Sent<Path> {
    Carriers::<Counting>::send(table, cx, tx)
}

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}
