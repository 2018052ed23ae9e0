//! CSP nodes over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::csp::{BoundPort, Connection, CspOptions, Error, Node};
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::runtime::Runtime;
use farlink::csp::{
    self, Config, Endpoint, SendOptions, ServiceAnswer, ServiceRequest, ServiceSet, SocketOptions,
    Timestamp,
};
use tokio::time::timeout;

use crate::AT_LAST;
use crate::loopback::here;

const SERVER: u16 = 1;
const CLIENT: u16 = 2;
const PORT: Endpoint = Endpoint {
    address: SERVER,
    port: 10,
};

fn start(
    runtime: &Arc<dyn Runtime>,
    socket: UdpSocket,
    peer: SocketAddr,
    options: impl Into<CspOptions>,
) -> Node {
    let mut interfaces = Interfaces::new();
    interfaces.add_udp_peer(0, socket, peer).unwrap();
    Node::start_on(runtime, interfaces, options).unwrap()
}

fn config(address: u16) -> Config {
    let mut config = Config {
        address,
        ..Config::default()
    };
    config.services.by_node = ServiceSet::UPTIME;
    config.services.by_application = ServiceSet::CLOCK;
    config
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(here()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A server and a client.
fn pair(runtime: &Arc<dyn Runtime>) -> (Node, Node) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let server = start(runtime, one, at_other, config(SERVER));
    (server, start(runtime, other, at_one, config(CLIENT)))
}

async fn connected(server: &Node, client: &Node) -> (BoundPort, Connection, Connection) {
    let socket = server.bind(PORT.port, SocketOptions::empty()).unwrap();
    let connecting = client.connect(PORT, SendOptions::default());
    let connection = timeout(AT_LAST, connecting).await.unwrap().unwrap();
    // The ACK of the handshake opens it there.
    let accepted = timeout(AT_LAST, socket.accept()).await.unwrap().unwrap();
    (socket, connection, accepted)
}

async fn next(connection: &Connection) -> Result<Option<Bytes>, Error> {
    timeout(AT_LAST, connection.receive()).await.unwrap()
}

fn packet(number: u32) -> Vec<u8> {
    let len = usize::try_from(1 + number % 200).unwrap();
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(4 + len, 0x5A);
    packet
}

async fn packets_of_a_connection_arrive_in_order_behind_a_full_window(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let (_socket, connection, accepted) = connected(&server, &client).await;
    assert_eq!(accepted.peer().address, CLIENT);
    let send = async {
        for number in 0..1000 {
            connection.send(packet(number)).await.unwrap();
        }
        connection.acked().await.unwrap();
        connection.close().await.unwrap();
    };
    let receive = async {
        for number in 0..1000 {
            let data = next(&accepted).await.unwrap();
            assert_eq!(data.unwrap(), packet(number));
        }
        assert_eq!(next(&accepted).await.unwrap(), None);
    };

    let both = async { tokio::join!(send, receive) };
    timeout(AT_LAST, both).await.unwrap();

    assert_eq!(next(&connection).await.unwrap(), None);
    assert!(connection.send("more").await.is_err());
}

async fn a_dropped_connection_delivers_what_was_sent_on_it(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let (_socket, connection, accepted) = connected(&server, &client).await;

    connection.send("the last words").await.unwrap();
    drop(connection);

    assert_eq!(next(&accepted).await.unwrap().unwrap(), "the last words");
    assert_eq!(next(&accepted).await.unwrap(), None);
}

async fn a_whole_in_fragments_is_received_as_one(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let (_socket, connection, accepted) = connected(&server, &client).await;
    let whole: Vec<u8> = (0..=255).cycle().take(20_000).collect();

    connection.send_fragments(200, whole.clone()).await.unwrap();
    connection.send("behind it").await.unwrap();

    assert_eq!(next(&accepted).await.unwrap().unwrap(), whole);
    assert_eq!(next(&accepted).await.unwrap().unwrap(), "behind it");
    timeout(AT_LAST, connection.acked()).await.unwrap().unwrap();
}

async fn packets_without_connection_pass_both_ways(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let at_server = server.bind(PORT.port, SocketOptions::empty()).unwrap();
    let at_client = client.bind(11, SocketOptions::empty()).unwrap();
    let crc32 = SendOptions {
        crc32: true,
        ..SendOptions::default()
    };

    at_client.send_to(PORT, crc32, "there").unwrap();
    let packet = timeout(AT_LAST, at_server.receive()).await.unwrap();
    let packet = packet.unwrap();
    let from = Endpoint {
        address: CLIENT,
        port: 11,
    };
    assert_eq!((packet.from, &packet.data[..]), (from, &b"there"[..]));
    at_server.send_to(packet.from, crc32, "and back").unwrap();
    let packet = timeout(AT_LAST, at_client.receive()).await.unwrap();

    assert_eq!(packet.unwrap().data, "and back");
    let error = at_client.send_to(PORT, crc32, vec![0; 253]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused(csp::Error::TooLong {
                octets: 253,
                limit: 252
            })
        ),
        "{error:?}"
    );
}

async fn a_socket_that_nobody_reads_drops_packets_and_counts_them(runtime: Arc<dyn Runtime>) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let small = CspOptions {
        receive_octets: 100,
        ..config(SERVER).into()
    };
    let server = start(&runtime, one, at_other, small);
    let client = start(&runtime, other, at_one, config(CLIENT));
    let at_server = server.bind(PORT.port, SocketOptions::empty()).unwrap();
    let at_client = client.bind(11, SocketOptions::empty()).unwrap();

    while server.stats().sockets_full == 0 {
        at_client
            .send_to(PORT, SendOptions::default(), vec![7; 50])
            .unwrap();
        client.ping(SERVER, 1, AT_LAST).await.unwrap();
    }

    for _ in 0..2 {
        let packet = timeout(AT_LAST, at_server.receive()).await.unwrap();
        assert_eq!(packet.unwrap().data.len(), 50);
    }
}

async fn a_connection_that_nobody_reads_holds_up_no_other(runtime: Arc<dyn Runtime>) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let small = CspOptions {
        receive_octets: 10_000,
        ..config(SERVER).into()
    };
    let server = start(&runtime, one, at_other, small);
    let client = start(&runtime, other, at_one, config(CLIENT));
    let (socket, unread, unread_there) = connected(&server, &client).await;
    let read = client.connect(PORT, SendOptions::default()).await.unwrap();
    let read_there = timeout(AT_LAST, socket.accept()).await.unwrap().unwrap();
    let fill = async {
        for number in 0..1000 {
            unread.send(packet(number)).await.unwrap();
        }
        unread.acked().await.unwrap();
    };
    let transfer = async {
        for number in 0..2000 {
            read.send(packet(number)).await.unwrap();
        }
    };
    let receive = async {
        for number in 0..2000 {
            let data = next(&read_there).await.unwrap();
            assert_eq!(data.unwrap(), packet(number));
        }
        for number in 0..1000 {
            let data = next(&unread_there).await.unwrap();
            assert_eq!(data.unwrap(), packet(number));
        }
    };

    let all = async { tokio::join!(fill, transfer, receive) };
    timeout(AT_LAST, all).await.unwrap();
}

async fn services_are_answered_by_the_node_and_by_the_application(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let time = Timestamp {
        seconds: 1000,
        nanoseconds: 7,
    };
    let answer = async {
        let asked = server.next_asked().await.unwrap();
        assert_eq!(asked.request, ServiceRequest::Clock);
        let answered = server.answer(asked.id, Some(ServiceAnswer::Clock(time)));
        answered.unwrap();
    };

    let clock = client.request(SERVER, ServiceRequest::Clock, AT_LAST);
    let uptime = client.request(SERVER, ServiceRequest::Uptime, AT_LAST);
    let (clock, uptime, ()) = tokio::join!(clock, uptime, answer);

    let clock = clock.unwrap().remove(0);
    assert_eq!(
        (clock.from, clock.answer),
        (SERVER, Some(ServiceAnswer::Clock(time)))
    );
    let uptime = uptime.unwrap().remove(0);
    assert_eq!(uptime.answer, Some(ServiceAnswer::Uptime(0)));
    let rebooted = client.request(SERVER, ServiceRequest::Reboot, AT_LAST);
    assert_eq!(rebooted.await.unwrap(), []);
}

async fn pings_to_all_nodes_name_who_answers_and_silence_is_an_error_of_one(
    runtime: Arc<dyn Runtime>,
) {
    let (_server, client) = pair(&runtime);
    let short = Duration::from_millis(200);

    client.ping(SERVER, 252, AT_LAST).await.unwrap();
    let all = client.ping_all(16_383, 10, short).await.unwrap();
    assert!(all.iter().any(|it| it.from == SERVER), "{all:?}");
    let error = client.ping(9, 10, Duration::from_millis(20)).await;

    assert_eq!(
        error.unwrap_err().to_string(),
        "node 9 does not answer within 0.02 s"
    );
}

async fn the_sender_learns_that_its_peer_is_silent_and_what_was_not_acknowledged(
    runtime: Arc<dyn Runtime>,
) {
    let ((one, at_one), (other, at_other), (line, at_line)) = (socket(), socket(), socket());
    let is_cut = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&is_cut);
    let carry = move || {
        let mut packet = [0; 2048];
        while let Ok((count, from)) = line.recv_from(&mut packet) {
            let to = if from == at_one { at_other } else { at_one };
            if !cut.load(Ordering::Relaxed) {
                line.send_to(&packet[..count], to).unwrap();
            }
        }
    };
    std::thread::spawn(carry);
    let server = start(&runtime, one, at_line, config(SERVER));
    let mut impatient = config(CLIENT);
    impatient.rdp.connection_timeout = 300;
    impatient.rdp.packet_timeout = 50;
    let client = start(&runtime, other, at_line, impatient);
    let (_socket, connection, _accepted) = connected(&server, &client).await;
    connection.send("heard").await.unwrap();
    timeout(AT_LAST, connection.acked()).await.unwrap().unwrap();

    is_cut.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        connection.send("unheard").await.unwrap();
    }
    let error = timeout(AT_LAST, connection.acked()).await.unwrap();

    assert_eq!(
        error.unwrap_err().to_string(),
        "the connection to 1:10 has ended with 3 packets not acknowledged: the peer sent nothing for the connection \
         timeout"
    );
    let error = client.connect(PORT, SendOptions::default()).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "no connection to 1:10: the peer sent nothing for the connection timeout"
    );
}

async fn a_wait_that_is_dropped_takes_nothing_with_it(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let (socket, connection, accepted) = connected(&server, &client).await;
    let nothing = Duration::from_millis(5);
    assert!(timeout(nothing, accepted.receive()).await.is_err());
    assert!(timeout(nothing, socket.accept()).await.is_err());
    assert!(timeout(nothing, socket.receive()).await.is_err());
    connection.send("kept").await.unwrap();
    assert_eq!(next(&accepted).await.unwrap().unwrap(), "kept");

    // Nobody takes what opens behind a connect that was dropped: it is closed, and its slot is free again.
    let mut config = self::config(3);
    config.connections = 1;
    let ((one, at_one), (other, at_other)) = (self::socket(), self::socket());
    let alone = start(&runtime, one, at_other, config);
    let peer = start(&runtime, other, at_one, self::config(SERVER));
    let bound = peer.bind(PORT.port, SocketOptions::empty()).unwrap();
    drop(timeout(Duration::ZERO, alone.connect(PORT, SendOptions::default())).await);
    let connection = loop {
        match alone.connect(PORT, SendOptions::default()).await {
            Ok(connection) => break connection,
            Err(Error::Refused(csp::Error::NoSlot { limit: 1 })) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    connection.send("here").await.unwrap();
    loop {
        let accepted = timeout(AT_LAST, bound.accept()).await.unwrap().unwrap();
        if let Some(data) = next(&accepted).await.unwrap() {
            assert_eq!(data, "here");
            break;
        }
    }
}

async fn a_node_that_is_shut_down_closes_its_connections_and_frees_its_socket(
    runtime: Arc<dyn Runtime>,
) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let server = start(&runtime, one, at_other, config(SERVER));
    let client = start(&runtime, other, at_one, config(CLIENT));
    let (socket, connection, accepted) = connected(&server, &client).await;
    accepted.send("bye").await.unwrap();

    timeout(AT_LAST, server.shutdown()).await.unwrap();

    assert_eq!(next(&connection).await.unwrap().unwrap(), "bye");
    assert_eq!(next(&connection).await.unwrap(), None);
    assert!(matches!(socket.accept().await, Err(Error::Closed)));
    assert!(matches!(socket.receive().await, Err(Error::Closed)));
    assert!(matches!(server.next_asked().await, Err(Error::Closed)));
    assert!(server.bind(11, SocketOptions::empty()).is_err());
    UdpSocket::bind(at_one).unwrap();
}

on_both_runtimes!(
    packets_of_a_connection_arrive_in_order_behind_a_full_window,
    a_dropped_connection_delivers_what_was_sent_on_it,
    a_whole_in_fragments_is_received_as_one,
    packets_without_connection_pass_both_ways,
    a_socket_that_nobody_reads_drops_packets_and_counts_them,
    a_connection_that_nobody_reads_holds_up_no_other,
    services_are_answered_by_the_node_and_by_the_application,
    pings_to_all_nodes_name_who_answers_and_silence_is_an_error_of_one,
    the_sender_learns_that_its_peer_is_silent_and_what_was_not_acknowledged,
    a_wait_that_is_dropped_takes_nothing_with_it,
    a_node_that_is_shut_down_closes_its_connections_and_frees_its_socket,
);

/// The same handles, with methods that block.
#[test]
fn a_thread_sends_and_another_receives() {
    use farlink::adapters::blocking::csp;

    let (server, client) = pair(&farlink::adapters::blocking::runtime());
    let (server, client) = (csp::Node::from(server), csp::Node::from(client));
    let socket = server.bind(PORT.port, SocketOptions::empty()).unwrap();
    let receiver = std::thread::spawn(move || {
        let accepted = socket.accept_timeout(AT_LAST).unwrap();
        let data = accepted.receive_timeout(AT_LAST).unwrap();
        assert_eq!(accepted.receive_timeout(AT_LAST).unwrap(), None);
        data.unwrap()
    });

    client.ping(SERVER, 10, AT_LAST).unwrap();
    let connection = client.connect(PORT, SendOptions::default()).unwrap();
    connection.send("hello").unwrap();
    connection.close().unwrap();

    assert_eq!(receiver.join().unwrap(), "hello");
    server.shutdown();
}
