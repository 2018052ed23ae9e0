//! One machine on many sockets, some of which it asks for.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::Detached;
use farlink::adapters::raw::{self, Commands, DriverOptions, Events, Notice};
use farlink::adapters::runtime::Runtime;
use farlink::adapters::sockets::Sockets;
use farlink::{Ask, Cause, Link, Path, Proto, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::loopback::here;
use crate::puppet::{Do, Heard, Puppet};

const TAG: Tag = Tag(1);
const OTHER: Tag = Tag(2);

async fn a_bound_udp_socket_is_up_and_echoes(runtime: Arc<dyn Runtime>) {
    let mut sockets = Sockets::new();
    let path = sockets.add_udp(udp().await.into_std().unwrap()).unwrap();
    let mut app = App::start(&runtime, sockets);
    let peer = udp().await;

    assert_eq!(app.heard().await, Heard::Link(path, Link::Up));
    assert_eq!(path, Path::socket(Proto::Udp, path.local));
    peer.send_to(b"hello", path.local).await.unwrap();
    let from = Path::udp(path.local, peer.local_addr().unwrap());
    let hello = Bytes::from_static(b"hello");
    assert_eq!(app.heard().await, Heard::Octets(from, hello.clone()));
    app.say(Do::Datagram(from, hello)).await;

    assert_eq!(datagram(&peer).await, (b"hello".to_vec(), path.local));
}

async fn an_icmp_error_is_counted_and_the_socket_goes_on(runtime: Arc<dyn Runtime>) {
    let socket = udp().await;
    let peer = udp().await;
    let remote = peer.local_addr().unwrap();
    // A connected socket is the one that hears of ICMP errors.
    socket.connect(remote).await.unwrap();
    let local = socket.local_addr().unwrap();
    drop(peer);
    let mut sockets = Sockets::new();
    sockets.add_udp(socket.into_std().unwrap()).unwrap();
    let counters = sockets.counters();
    let mut app = App::start(&runtime, sockets);
    let path = Path::udp(local, remote);

    // Each of these but the first meets the error of the one before, sending or reading.
    while counters.stats().udp.reported < 3 {
        app.say(Do::Datagram(path, Bytes::from_static(b"nobody")))
            .await;
    }
    let peer = UdpSocket::bind(remote).await.unwrap();
    peer.send_to(b"back", local).await.unwrap();

    assert!(matches!(app.heard().await, Heard::Link(_, Link::Up)));
    assert_eq!(app.octets(path, 4).await, b"back");
    app.say(Do::Datagram(path, Bytes::from_static(b"again")))
        .await;
    while datagram(&peer).await != (b"again".to_vec(), local) {}
}

async fn a_datagram_that_is_too_long_is_lost_and_nothing_else(runtime: Arc<dyn Runtime>) {
    let mut sockets = Sockets::new();
    let local = sockets
        .add_udp(udp().await.into_std().unwrap())
        .unwrap()
        .local;
    let counters = sockets.counters();
    let options = DriverOptions {
        limits: farlink::Limits::single(1 << 16),
        ..DriverOptions::default()
    };
    let mut app = App::with(&runtime, sockets, options);
    let peer = udp().await;
    let path = Path::udp(local, peer.local_addr().unwrap());

    app.say(Do::Datagram(path, Bytes::from(vec![0; 65_530])))
        .await;
    app.say(Do::Datagram(path, Bytes::from_static(b"short")))
        .await;

    assert_eq!(datagram(&peer).await.0, b"short");
    assert_eq!(counters.stats().udp.unsent, 1);
    assert!(matches!(app.heard().await, Heard::Link(_, Link::Up)));
}

async fn a_udp_socket_on_demand_has_a_real_port_of_its_own(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let peer = udp().await;

    let path = app.open(TAG, Path::socket(Proto::Udp, here())).await;
    app.say(open(OTHER, path)).await;

    assert_ne!(path.local.port(), 0);
    // The port is shared with nobody, neither in this table nor outside of it.
    let taken = Link::Failed(OTHER, Cause::InUse);
    assert_eq!(app.heard().await, Heard::Link(path, taken));
    let taken = Path::socket(Proto::Udp, peer.local_addr().unwrap());
    app.say(open(OTHER, taken)).await;
    let failed = Link::Failed(OTHER, Cause::InUse);
    assert_eq!(app.heard().await, Heard::Link(taken, failed));
    let to = Path::udp(path.local, peer.local_addr().unwrap());
    app.say(Do::Datagram(to, Bytes::from_static(b"hello")))
        .await;
    assert_eq!(datagram(&peer).await, (b"hello".to_vec(), path.local));
}

async fn a_link_local_address_keeps_its_scope(runtime: Arc<dyn Runtime>) {
    let Some(address) = link_local() else {
        return;
    };
    let mut app = App::start(&runtime, Sockets::new());

    let path = app.open(TAG, Path::socket(Proto::Udp, address)).await;
    let peer = UdpSocket::bind(address).await.unwrap();
    peer.send_to(b"hello", path.local).await.unwrap();

    let SocketAddr::V6(local) = path.local else {
        panic!("{path}");
    };
    assert_ne!(local.scope_id(), 0);
    let Heard::Octets(from, octets) = app.heard().await else {
        panic!("no datagram");
    };
    assert_eq!((from.local, &octets[..]), (path.local, &b"hello"[..]));
    app.say(Do::Datagram(from, octets)).await;
    assert_eq!(datagram(&peer).await, (b"hello".to_vec(), path.local));
}

async fn a_listener_on_demand_accepts(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let listener = app.open(TAG, Path::socket(Proto::Tcp, here())).await;

    let mut peer = TcpStream::connect(listener.local).await.unwrap();
    let path = Path::tcp(listener.local, peer.local_addr().unwrap());
    peer.write_all(b"hello").await.unwrap();

    assert_eq!(app.heard().await, Heard::Link(path, Link::Up));
    assert_eq!(app.octets(path, 5).await, b"hello");
    app.say(Do::Write(path, Bytes::from_static(b"welcome")))
        .await;
    assert_eq!(exactly(&mut peer, 7).await, b"welcome");
}

async fn a_listener_that_is_closed_listens_no_longer(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let listener = app.open(TAG, Path::socket(Proto::Tcp, here())).await;

    app.say(Do::Ask(Ask::Close(listener))).await;
    // Behind the answer to this one the close was done.
    app.open(OTHER, Path::socket(Proto::Udp, here())).await;

    let error = TcpStream::connect(listener.local).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

async fn a_connection_comes_from_the_chosen_port_even_beside_a_listener(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let listener = app.open(TAG, Path::socket(Proto::Tcp, here())).await;
    let server = TcpListener::bind(here()).await.unwrap();
    let remote = server.local_addr().unwrap();

    let path = app.open(OTHER, Path::tcp(listener.local, remote)).await;
    let (mut peer, from) = server.accept().await.unwrap();

    assert_eq!(path, Path::tcp(listener.local, remote));
    assert_eq!(from, listener.local);
    app.say(Do::Write(path, Bytes::from_static(b"hi"))).await;
    assert_eq!(exactly(&mut peer, 2).await, b"hi");
}

async fn a_connection_from_any_port_is_told_the_real_one(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let server = TcpListener::bind(here()).await.unwrap();
    let remote = server.local_addr().unwrap();

    let path = app.open(TAG, Path::tcp(here(), remote)).await;

    let (_, from) = server.accept().await.unwrap();
    assert_eq!(path.local, from);
}

async fn what_cannot_be_opened_is_failed_with_the_cause(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let closed = {
        let listener = TcpListener::bind(here()).await.unwrap();
        listener.local_addr().unwrap()
    };
    let taken = TcpListener::bind(here()).await.unwrap();
    let taken = taken.local_addr().map(|local| (taken, local)).unwrap();
    let v6: SocketAddr = "[::1]:9".parse().unwrap();
    let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let cases = [
        (Path::tcp(here(), closed), Cause::Refused),
        (Path::socket(Proto::Tcp, taken.1), Cause::InUse),
        (Path::tcp(here(), v6), Cause::Unreachable),
        (Path::socket(Proto::Udp, foreign), Cause::Unreachable),
        (Path::socket(Proto::Tcp, foreign), Cause::Unreachable),
    ];

    for (path, cause) in cases {
        app.say(open(TAG, path)).await;
        let Heard::Link(at, Link::Failed(TAG, heard)) = app.heard().await else {
            panic!("{path} was opened");
        };
        assert_eq!(heard, cause, "{path}");
        assert_eq!(at.remote, path.remote);
    }
}

async fn a_connection_that_is_given_up_frees_its_tag_and_is_not_heard_of_again(
    runtime: Arc<dyn Runtime>,
) {
    let mut app = App::start(&runtime, Sockets::new());
    let (_deaf, address, _fillers) = deaf().await;
    app.say(open(TAG, Path::tcp(here(), address))).await;
    app.say(open(TAG, Path::socket(Proto::Udp, here()))).await;
    assert!(matches!(
        app.heard().await,
        Heard::Link(_, Link::Failed(TAG, Cause::InUse))
    ));

    app.say(Do::Ask(Ask::Cancel(TAG))).await;

    app.open(TAG, Path::socket(Proto::Udp, here())).await;
}

async fn what_was_opened_under_a_tag_that_is_given_up_is_closed(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let path = app.open(TAG, Path::socket(Proto::Udp, here())).await;

    app.say(Do::Ask(Ask::Cancel(TAG))).await;
    // Cancelled before its answer was told: of this one nothing is heard at all.
    let open = Ask::Open { tag: OTHER, path };
    app.say(Do::Asks([open, Ask::Cancel(OTHER)])).await;

    // Again free, twice.
    assert_eq!(app.open(TAG, path).await, path);
}

async fn finish_and_close_send_fin_behind_what_was_written(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    let long = vec![4; 1 << 22];
    app.say(Do::Write(path, Bytes::from(long.clone()))).await;
    app.say(Do::Ask(Ask::Finish(path))).await;

    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, long);
    peer.write_all(b"still read").await.unwrap();
    assert_eq!(app.octets(path, 10).await, b"still read");

    let (other, mut peer) = app.accept().await;
    app.say(Do::Write(other, Bytes::from(long.clone()))).await;
    app.say(Do::Ask(Ask::Close(other))).await;
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, long);
}

async fn nothing_is_heard_of_a_path_that_was_closed(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    app.say(Do::Ask(Ask::Close(path))).await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    peer.write_all(b"too late").await.unwrap();
    drop(peer);

    app.open(OTHER, Path::socket(Proto::Udp, here())).await;
    app.say(Do::Done).await;

    while let Some(notice) = app.events.recv().await {
        let Notice::Event(event) = notice else {
            panic!("detached");
        };
        assert!(!matches!(event, Heard::Link(at, _) | Heard::Octets(at, _) if at == path));
    }
}

async fn an_rst_goes_both_ways(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    app.say(Do::Ask(Ask::Abort(path))).await;
    let error = peer.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let (path, peer) = app.accept().await;
    peer.set_zero_linger().unwrap();
    drop(peer);

    let down = Link::Down(Cause::Reset);
    assert_eq!(app.heard().await, Heard::Link(path, down));
}

async fn the_peers_fin_is_ended(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    peer.shutdown().await.unwrap();

    assert_eq!(app.heard().await, Heard::Link(path, Link::Ended));
    app.say(Do::Write(path, Bytes::from_static(b"bye"))).await;

    assert_eq!(exactly(&mut peer, 3).await, b"bye");
}

async fn a_stream_is_detached_and_the_others_stay(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    let (other, mut other_peer) = app.accept().await;
    app.say(Do::Want(path, false)).await;
    peer.write_all(b"theirs").await.unwrap();
    app.say(Do::Write(path, Bytes::from_static(b"machine, ")))
        .await;
    let hand = Ask::Detach {
        tag: OTHER,
        path,
        early: Bytes::from_static(b"early"),
    };
    app.say(Do::Ask(hand)).await;

    let mut detached = app.detached().await;
    detached.stream.write_all(b"application").await.unwrap();

    assert_eq!(detached.tag, OTHER);
    assert_eq!(&detached.early[..], b"early");
    assert_eq!(exactly(&mut detached.stream, 6).await, b"theirs");
    assert_eq!(exactly(&mut peer, 20).await, b"machine, application");
    other_peer.write_all(b"here").await.unwrap();
    assert_eq!(app.octets(other, 4).await, b"here");
}

async fn a_stream_that_stalls_holds_up_nobody_else_and_recovers(runtime: Arc<dyn Runtime>) {
    let mut sockets = Sockets::new();
    let local = sockets
        .add_udp(udp().await.into_std().unwrap())
        .unwrap()
        .local;
    let mut app = App::start(&runtime, sockets);
    app.heard().await;
    let (path, mut slow) = app.accept().await;
    let long = vec![6; 1 << 24];
    app.say(Do::Write(path, Bytes::from(long.clone()))).await;
    assert_eq!(app.heard().await, Heard::Link(path, Link::Full));

    let peer = udp().await;
    let from = Path::udp(local, peer.local_addr().unwrap());
    peer.send_to(b"ping", local).await.unwrap();
    assert_eq!(app.octets(from, 4).await, b"ping");
    app.say(Do::Datagram(from, Bytes::from_static(b"pong")))
        .await;
    assert_eq!(datagram(&peer).await.0, b"pong");

    let all = exactly(&mut slow, long.len()).await;
    assert_eq!(app.heard().await, Heard::Link(path, Link::Free));
    assert!(all == long);
}

async fn an_unwanted_stream_is_left_alone_while_others_are_read(runtime: Arc<dyn Runtime>) {
    let mut app = App::start(&runtime, Sockets::new());
    let (path, mut peer) = app.accept().await;
    let (other, mut other_peer) = app.accept().await;
    app.say(Do::Want(path, false)).await;
    peer.write_all(b"unwanted").await.unwrap();
    other_peer.write_all(b"wanted").await.unwrap();

    let Heard::Octets(at, octets) = app.heard().await else {
        panic!("no octets");
    };
    assert_eq!((at, &octets[..]), (other, &b"wanted"[..]));
    app.say(Do::Want(path, true)).await;

    assert_eq!(app.octets(path, 8).await, b"unwanted");
}

async fn a_peer_that_comes_back_on_the_same_port_is_another_life(runtime: Arc<dyn Runtime>) {
    // Another test may be given the port in between; then the next try has another one.
    let (mut app, path, _again) = loop {
        if let Some(met) = meet_twice(&runtime).await {
            break met;
        }
    };

    let down = Link::Down(Cause::Reset);
    assert_eq!(app.heard().await, Heard::Link(path, down));
    assert_eq!(app.heard().await, Heard::Link(path, Link::Up));
}

/// Lets a peer connect, vanish with an RST that nobody reads, and connect from the same port.
async fn meet_twice(runtime: &Arc<dyn Runtime>) -> Option<(App, Path, TcpStream)> {
    let mut app = App::start(runtime, Sockets::new());
    let (path, first) = app.accept().await;
    app.say(Do::Want(path, false)).await;
    first.set_zero_linger().unwrap();
    drop(first);

    let again = TcpSocket::new_v4().unwrap();
    again.set_reuseaddr(true).unwrap();
    again.bind(path.remote).ok()?;
    let again = again.connect(path.local).await.ok()?;
    Some((app, path, again))
}

async fn a_slow_application_does_not_keep_an_ask_from_being_answered(runtime: Arc<dyn Runtime>) {
    let options = DriverOptions {
        events: 1,
        ..DriverOptions::default()
    };
    let mut sockets = Sockets::new();
    sockets.add_udp(udp().await.into_std().unwrap()).unwrap();
    let mut app = App::with(&runtime, sockets, options);
    let free = TcpListener::bind(here()).await.unwrap();
    let local = free.local_addr().unwrap();
    drop(free);
    let ask = Ask::Open {
        tag: TAG,
        path: Path::socket(Proto::Tcp, local),
    };
    let later = Do::AskLater(Duration::from_millis(1), ask);
    app.commands.command_now(later).unwrap();

    // One event fills the channel and is not taken, yet the listener comes.
    while TcpStream::connect(local).await.is_err() {
        tokio::task::yield_now().await;
    }

    assert!(matches!(app.heard().await, Heard::Link(_, Link::Up)));
    assert_eq!(app.heard().await, Heard::Woken(0));
    let opened = Link::Opened(TAG);
    assert!(matches!(app.heard().await, Heard::Link(_, cue) if cue == opened));
}

async fn dropping_every_handle_closes_every_socket(runtime: Arc<dyn Runtime>) {
    let options = DriverOptions {
        on_drop: Some(Do::Done),
        ..DriverOptions::default()
    };
    let mut app = App::with(&runtime, Sockets::new(), options);
    let (path, mut peer) = app.accept().await;
    app.say(Do::Write(path, Bytes::from_static(b"bye"))).await;
    let probe = app.probe();
    drop(app);

    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"bye");
    drop(peer);

    until_dropped(&probe).await;
}

async fn a_driver_that_nothing_can_reach_ends(runtime: Arc<dyn Runtime>) {
    let app = App::start(&runtime, Sockets::new());
    let probe = app.probe();
    drop(app);

    until_dropped(&probe).await;
}

/// The application of a puppet.
struct App {
    commands: Commands<Puppet<Path>>,
    events: Events<Puppet<Path>>,
    listener: Option<Path>,
}

impl App {
    fn start(runtime: &Arc<dyn Runtime>, sockets: Sockets) -> Self {
        Self::with(runtime, sockets, DriverOptions::default())
    }

    fn with(
        runtime: &Arc<dyn Runtime>,
        sockets: Sockets,
        options: DriverOptions<Puppet<Path>>,
    ) -> Self {
        let (commands, events) = raw::sockets(runtime, Puppet::new(), sockets, options).unwrap();
        Self {
            commands,
            events,
            listener: None,
        }
    }

    async fn say(&self, what: Do<Path>) {
        self.commands.command(what).await.unwrap();
        // The driver may be a task of this thread.
        tokio::task::yield_now().await;
    }

    fn probe(&self) -> Weak<()> {
        self.commands.with_machine(Puppet::probe).unwrap()
    }

    async fn heard(&mut self) -> Heard<Path> {
        match self.events.recv().await {
            Some(Notice::Event(event)) => event,
            Some(Notice::Detached(_)) => panic!("detached"),
            None => panic!("ended"),
        }
    }

    async fn detached(&mut self) -> Detached<TcpStream> {
        let detached = match self.events.recv().await {
            Some(Notice::Detached(detached)) => detached.into_tcp().unwrap(),
            Some(Notice::Event(event)) => panic!("{event:?}"),
            None => panic!("ended"),
        };
        Detached {
            tag: detached.tag,
            stream: TcpStream::from_std(detached.stream).unwrap(),
            early: detached.early,
        }
    }

    async fn open(&mut self, tag: Tag, path: Path) -> Path {
        self.say(open(tag, path)).await;
        match self.heard().await {
            Heard::Link(path, Link::Opened(opened)) if opened == tag => path,
            other => panic!("{other:?}"),
        }
    }

    /// Lets a peer connect, and returns its path and its end.
    async fn accept(&mut self) -> (Path, TcpStream) {
        let listener = match self.listener {
            Some(listener) => listener,
            None => self.open(Tag(99), Path::socket(Proto::Tcp, here())).await,
        };
        self.listener = Some(listener);
        let peer = TcpStream::connect(listener.local).await.unwrap();
        let path = Path::tcp(listener.local, peer.local_addr().unwrap());
        loop {
            if self.heard().await == Heard::Link(path, Link::Up) {
                return (path, peer);
            }
        }
    }

    /// Collects octets of one path; cues of a full stream in between do not matter.
    async fn octets(&mut self, path: Path, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.heard().await {
                Heard::Octets(at, octets) if at == path => all.extend_from_slice(&octets),
                Heard::Link(_, Link::Full | Link::Free) => {}
                other => panic!("{other:?}"),
            }
        }
        all
    }
}

fn open(tag: Tag, path: Path) -> Do<Path> {
    Do::Ask(Ask::Open { tag, path })
}

/// An address of this host that only its interface gives a meaning, if there is one.
fn link_local() -> Option<SocketAddr> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    interfaces.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bits = u128::from_str_radix(fields[0], 16).ok()?;
        let scope = u32::from_str_radix(fields[1], 16).ok()?;
        let address = Ipv6Addr::from_bits(bits);
        let socket = SocketAddrV6::new(address, 0, 0, scope);
        address.is_unicast_link_local().then(|| socket.into())
    })
}

async fn until_dropped(probe: &Weak<()>) {
    while probe.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

async fn udp() -> UdpSocket {
    UdpSocket::bind(here()).await.unwrap()
}

async fn datagram(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = vec![0; 2000];
    let (count, from) = socket.recv_from(&mut octets).await.unwrap();
    octets.truncate(count);
    (octets, from)
}

async fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    stream.read_exact(&mut all).await.unwrap();
    all
}

/// A listener whose queue is full, so that a connection to it stays on its way.
async fn deaf() -> (TcpListener, SocketAddr, Vec<JoinHandle<()>>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(here()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let fillers = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let _held = TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    tokio::task::yield_now().await;
    (listener, address, fillers)
}

on_both_runtimes!(
    a_bound_udp_socket_is_up_and_echoes,
    an_icmp_error_is_counted_and_the_socket_goes_on,
    a_datagram_that_is_too_long_is_lost_and_nothing_else,
    a_udp_socket_on_demand_has_a_real_port_of_its_own,
    a_link_local_address_keeps_its_scope,
    a_listener_on_demand_accepts,
    a_listener_that_is_closed_listens_no_longer,
    a_connection_comes_from_the_chosen_port_even_beside_a_listener,
    a_connection_from_any_port_is_told_the_real_one,
    what_cannot_be_opened_is_failed_with_the_cause,
    a_connection_that_is_given_up_frees_its_tag_and_is_not_heard_of_again,
    what_was_opened_under_a_tag_that_is_given_up_is_closed,
    finish_and_close_send_fin_behind_what_was_written,
    nothing_is_heard_of_a_path_that_was_closed,
    an_rst_goes_both_ways,
    the_peers_fin_is_ended,
    a_stream_is_detached_and_the_others_stay,
    a_stream_that_stalls_holds_up_nobody_else_and_recovers,
    an_unwanted_stream_is_left_alone_while_others_are_read,
    a_peer_that_comes_back_on_the_same_port_is_another_life,
    a_slow_application_does_not_keep_an_ask_from_being_answered,
    dropping_every_handle_closes_every_socket,
    a_driver_that_nothing_can_reach_ends,
);
