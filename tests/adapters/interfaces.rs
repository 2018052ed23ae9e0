//! One machine on numbered interfaces.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use farlink::adapters::interfaces::{Interfaces, PacketDevice};
use farlink::adapters::raw::{self, Commands, DriverOptions, Events, Notice};
use farlink::adapters::runtime::Runtime;
use farlink::adapters::tokio::TokioIo;
use farlink::{Ask, Cause, Hop, Link, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::loopback::here;
use crate::puppet::{Do, Heard, Puppet};

async fn a_udp_interface_reaches_its_nodes_by_link_address(runtime: Arc<dyn Runtime>) {
    let (socket, one, other) = (udp().await, udp().await, udp().await);
    let local = socket.local_addr().unwrap();
    let nodes = [&one, &other].map(|peer| peer.local_addr().unwrap());
    let mut interfaces = Interfaces::new();
    interfaces
        .add_udp(
            3,
            socket.into_std().unwrap(),
            [(10, nodes[0]), (20, nodes[1])],
        )
        .unwrap();
    let mut app = App::start(&runtime, interfaces);
    assert_eq!(app.heard().await, Heard::Link(hop(3, 0), Link::Up));

    one.send_to(b"from ten", local).await.unwrap();
    assert_eq!(app.octets().await, (hop(3, 10), Bytes::from("from ten")));
    app.say(Do::Datagram(hop(3, 20), Bytes::from("to twenty")))
        .await;

    let mut octets = [0; 100];
    let (len, from) = other.recv_from(&mut octets).await.unwrap();
    assert_eq!((&octets[..len], from), (&b"to twenty"[..], local));
}

async fn datagrams_from_and_to_unknown_nodes_are_counted_and_dropped(runtime: Arc<dyn Runtime>) {
    let (socket, known, stranger) = (udp().await, udp().await, udp().await);
    let local = socket.local_addr().unwrap();
    let mut interfaces = Interfaces::new();
    let nodes = [(10, known.local_addr().unwrap())];
    interfaces
        .add_udp(0, socket.into_std().unwrap(), nodes)
        .unwrap();
    let counters = interfaces.counters();
    let mut app = App::start(&runtime, interfaces);

    stranger.send_to(b"who?", local).await.unwrap();
    app.say(Do::Datagram(hop(0, 99), Bytes::from("nobody")))
        .await;
    known.send_to(b"me", local).await.unwrap();

    assert_eq!(app.octets().await, (hop(0, 10), Bytes::from("me")));
    assert_eq!(counters.stats().unknown_senders, 1);
    assert_eq!(counters.stats().unroutable, 1);
}

async fn a_byte_stream_is_an_interface_to_one_node(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tokio::io::duplex(64);
    let mut interfaces = Interfaces::new();
    interfaces.add_stream(7, 2, TokioIo(near)).unwrap();
    let mut app = App::start(&runtime, interfaces);
    assert_eq!(app.heard().await, Heard::Link(hop(7, 2), Link::Up));

    far.write_all(b"serial").await.unwrap();
    assert_eq!(app.octets().await, (hop(7, 2), Bytes::from("serial")));
    // More than the line takes at once: the machine waits for it.
    let long = Bytes::from(vec![5; 100_000]);
    app.say(Do::Write(hop(7, 2), long.clone())).await;
    let mut all = vec![0; long.len()];
    far.read_exact(&mut all).await.unwrap();
    assert_eq!(all, long);

    drop(far);
    loop {
        match app.heard().await {
            Heard::Link(_, Link::Full | Link::Free) => {}
            heard => break assert_eq!(heard, Heard::Link(hop(7, 2), Link::Ended)),
        }
    }
}

async fn a_connection_is_an_interface_to_one_node_and_close_sends_fin(runtime: Arc<dyn Runtime>) {
    let (near, mut far) = tcp().await;
    let mut interfaces = Interfaces::new();
    interfaces.add_tcp(1, 4, near.into_std().unwrap()).unwrap();
    let mut app = App::start(&runtime, interfaces);

    far.write_all(b"hello").await.unwrap();
    assert_eq!(app.octets().await, (hop(1, 4), Bytes::from("hello")));
    app.say(Do::Write(hop(1, 4), Bytes::from("bye"))).await;
    app.say(Do::Ask(Ask::Close(hop(1, 4)))).await;

    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"bye");
}

async fn a_packet_device_that_is_full_holds_up_its_interface_and_no_other(
    runtime: Arc<dyn Runtime>,
) {
    let (slow, quick) = (Device::default(), Device::default());
    quick.takes(10);
    let mut interfaces = Interfaces::new();
    interfaces.add_device(0, Box::new(slow.clone())).unwrap();
    interfaces.add_device(1, Box::new(quick.clone())).unwrap();
    let mut app = App::start(&runtime, interfaces);
    for interface in [0, 1] {
        assert_eq!(app.heard().await, Heard::Link(hop(interface, 0), Link::Up));
    }

    app.say(Do::Datagram(hop(0, 5), Bytes::from("one"))).await;
    assert_eq!(app.heard().await, Heard::Link(hop(0, 0), Link::Full));
    app.say(Do::Datagram(hop(1, 5), Bytes::from("quick"))).await;
    while quick.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    // To another node of the interface that is full.
    app.say(Do::Datagram(hop(0, 6), Bytes::from("two"))).await;
    assert_eq!(slow.sent(), []);
    slow.takes(10);

    assert_eq!(app.heard().await, Heard::Link(hop(0, 0), Link::Free));
    while slow.sent().len() < 2 {
        tokio::task::yield_now().await;
    }
    let packet = |via, octets: &[u8]| (via, octets.to_vec());
    assert_eq!(slow.sent(), [packet(5, b"one"), packet(6, b"two")]);
    assert_eq!(quick.sent(), [packet(5, b"quick")]);
}

async fn packets_come_from_the_node_that_sent_them(runtime: Arc<dyn Runtime>) {
    let device = Device::default();
    let mut interfaces = Interfaces::new();
    interfaces.add_device(9, Box::new(device.clone())).unwrap();
    let mut app = App::start(&runtime, interfaces);

    device.arrives(77, b"can");
    assert_eq!(app.octets().await, (hop(9, 77), Bytes::from("can")));
    device.arrives(78, b"");

    assert_eq!(app.octets().await, (hop(9, 78), Bytes::new()));
}

async fn done_sends_what_a_full_device_did_not_take(runtime: Arc<dyn Runtime>) {
    let device = Device::default();
    let mut interfaces = Interfaces::new();
    interfaces.add_device(0, Box::new(device.clone())).unwrap();
    let mut app = App::start(&runtime, interfaces);
    assert_eq!(app.heard().await, Heard::Link(hop(0, 0), Link::Up));
    app.say(Do::Datagram(hop(0, 5), Bytes::from("last"))).await;
    assert_eq!(app.heard().await, Heard::Link(hop(0, 0), Link::Full));

    app.say(Do::Done).await;
    device.takes(1);
    app.commands.closed().await.unwrap();

    assert_eq!(device.sent(), [(5, b"last".to_vec())]);
}

async fn an_interface_cannot_be_opened(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Interfaces::new());
    let (tag, path) = (Tag(1), hop(0, 1));

    app.say(Do::Ask(Ask::Open { tag, path })).await;

    let failed = Link::Failed(tag, Cause::Unreachable);
    assert_eq!(app.heard().await, Heard::Link(path, failed));
}

#[test]
fn a_number_names_one_interface() {
    let mut interfaces = Interfaces::new();
    interfaces
        .add_device(4, Box::new(Device::default()))
        .unwrap();

    let error = interfaces.add_device(4, Box::new(Device::default()));

    let error = error.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(error.to_string(), "interface 4 is taken");
}

on_both_runtimes!(
    a_udp_interface_reaches_its_nodes_by_link_address,
    datagrams_from_and_to_unknown_nodes_are_counted_and_dropped,
    a_byte_stream_is_an_interface_to_one_node,
    a_connection_is_an_interface_to_one_node_and_close_sends_fin,
    a_packet_device_that_is_full_holds_up_its_interface_and_no_other,
    packets_come_from_the_node_that_sent_them,
    done_sends_what_a_full_device_did_not_take,
    an_interface_cannot_be_opened,
);

/// The application of a puppet.
struct App {
    commands: Commands<Puppet<Hop>>,
    events: Events<Puppet<Hop>>,
}

impl App {
    fn start(runtime: &Arc<dyn Runtime>, interfaces: Interfaces) -> Self {
        let options = DriverOptions::default();
        let (commands, events) =
            raw::interfaces(runtime, Puppet::new(), interfaces, options).unwrap();
        Self { commands, events }
    }

    async fn say(&self, what: Do<Hop>) {
        self.commands.command(what).await.unwrap();
        // The driver may be a task of this thread.
        tokio::task::yield_now().await;
    }

    async fn heard(&mut self) -> Heard<Hop> {
        match self.events.recv().await {
            Some(Notice::Event(event)) => event,
            Some(Notice::Detached(_)) => panic!("detached"),
            None => panic!("ended"),
        }
    }

    /// Passes over cues.
    async fn octets(&mut self) -> (Hop, Bytes) {
        loop {
            if let Heard::Octets(from, octets) = self.heard().await {
                return (from, octets);
            }
        }
    }
}

/// A device that takes as many packets as the test says.
#[derive(Clone, Default)]
struct Device(Arc<Mutex<DeviceState>>);

#[derive(Default)]
struct DeviceState {
    room: usize,
    sent: Vec<(u16, Vec<u8>)>,
    incoming: VecDeque<(u16, Vec<u8>)>,
    wakers: Vec<Waker>,
}

impl Device {
    fn takes(&self, count: usize) {
        self.change(|state| state.room = count);
    }

    fn arrives(&self, via: u16, packet: &[u8]) {
        self.change(|state| state.incoming.push_back((via, packet.to_vec())));
    }

    fn sent(&self) -> Vec<(u16, Vec<u8>)> {
        self.0.lock().unwrap().sent.clone()
    }

    fn change(&self, change: impl FnOnce(&mut DeviceState)) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl PacketDevice for Device {
    fn poll_send(&mut self, cx: &mut Context<'_>, via: u16, packet: &[u8]) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if state.room == 0 {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        state.room -= 1;
        state.sent.push((via, packet.to_vec()));
        Poll::Ready(Ok(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, u16)>> {
        let mut state = self.0.lock().unwrap();
        let Some((via, packet)) = state.incoming.pop_front() else {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        };
        buffer[..packet.len()].copy_from_slice(&packet);
        Poll::Ready(Ok((packet.len(), via)))
    }
}

const fn hop(interface: u8, via: u16) -> Hop {
    Hop { interface, via }
}

async fn udp() -> UdpSocket {
    UdpSocket::bind(here()).await.unwrap()
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(here()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}
