//! COTP listeners and connections among crowds of peers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

use farlink::adapters::cotp::{Arrival, ConnectionOptions, Error, ReassemblyLimit};
use farlink::cotp::{Config, EndReason, Policy};

use crate::cotp::client;
use crate::face::Listener;
use crate::on::{On, on_all};

/// Connections that say nothing, or too little, in each test.
const CROWD: usize = 700;

/// Tests with so many sockets run one after another.
static SOCKETS: Mutex<()> = Mutex::new(());

on_all! {
async fn seven_hundred_silent_peers_keep_nobody_out(on: On) {
    let _alone = SOCKETS.lock();
    let listener = on.listen(crowded()).unwrap();
    let address = listener.local_addr();
    let _silent: Vec<_> = (0..CROWD).map(|_| TcpStream::connect(address).unwrap()).collect();

    assert!(accepted_before_a_newcomer(&on, &listener).await <= 64);
}

async fn peers_that_send_a_part_of_their_request_keep_nobody_out(on: On) {
    let _alone = SOCKETS.lock();
    let listener = on.listen(crowded()).unwrap();
    let address = listener.local_addr();
    let _slow: Vec<_> = (0..CROWD)
        .map(|_| {
            let mut slow = TcpStream::connect(address).unwrap();
            slow.write_all(b"\x03\0\0").unwrap();
            slow
        })
        .collect();

    assert!(accepted_before_a_newcomer(&on, &listener).await <= 64);
}

async fn the_oldest_handshake_is_told_why_it_gave_way(on: On) {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.handshakes = 2;
    let listener = on.listen(options).unwrap();
    let mut silent: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr()).unwrap()).collect();

    let Arrival::Failed { remote, error } = listener.next().await.unwrap() else {
        panic!("nobody said anything");
    };

    assert_eq!(remote, silent[0].local_addr().unwrap());
    assert_eq!(
        error.to_string(),
        "closed in favour of others, which reached the limit of 2 handshakes"
    );
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "at once");
}

async fn a_host_with_one_handshake_keeps_it_while_another_has_many(on: On) {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.handshakes = 3;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let listener = on.listen_at(&[everywhere], options).unwrap();
    let port = listener.local_addr().port();
    let connect_from = |host: u8| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        TcpStream::from(socket)
    };
    let mut first = connect_from(2);
    let many: Vec<_> = (0..20).map(|_| connect_from(3)).collect();

    for _ in 0..18 {
        let Arrival::Failed { remote, .. } = listener.next().await.unwrap() else {
            panic!("nobody said anything");
        };
        assert_eq!(remote.ip(), many[0].local_addr().unwrap().ip());
    }
    first.write_all(b"\x03\0\0\x0b\x06\xe0\0\0\x12\x34\0").unwrap();

    let accepted = listener.accept().await.unwrap();
    assert_eq!(accepted.info().remote, first.local_addr().unwrap());
}

async fn unfinished_messages_of_all_connections_take_no_more_than_their_limit(on: On) {
    const LIMIT: usize = 1 << 20;
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.config.tpdu_size = farlink::cotp::TpduSize::LARGEST;
    options.reassembly = ReassemblyLimit::new(LIMIT);
    let limit = options.reassembly.clone();
    let listener = on.listen(options).unwrap();
    let mut legitimate = on.connect(listener.local_addr(), client()).await.unwrap();
    let mut far = listener.accept().await.unwrap();
    let mut greedy = Vec::new();
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
        raw.write_all(b"\x03\0\0\x0b\x06\xe0\0\0\x12\x34\0").unwrap();
        held.push(listener.accept().await.unwrap());
        for _ in 0..5 {
            // The whole of 65,528 octets, and no end of the message.
            let mut packet = b"\x03\0\xff\xff\x02\xf0\0".to_vec();
            packet.resize(65_535, 7);
            raw.write_all(&packet).unwrap();
        }
        greedy.push(raw);
    }

    let end = held[0].closed().await.unwrap();
    let EndReason::Displaced { limit: octets, .. } = end.reason else {
        panic!("{end}");
    };
    assert_eq!(octets, LIMIT);
    assert!(end.incomplete >= 5 * 65_528, "{end}");
    assert!(limit.held() <= LIMIT);
    let error = held[0].receive().await.unwrap_err();
    assert!(matches!(error, Error::Ended(_)), "{error}");
    // Others go on.
    legitimate.send(vec![1; 500_000]).await.unwrap();
    assert_eq!(far.receive().await.unwrap().unwrap().len(), 500_000);
    far.send("still there").await.unwrap();
    assert_eq!(legitimate.receive().await.unwrap().unwrap(), "still there");
    drop((far, held, greedy, listener));
    legitimate.closed().await.unwrap();
    on.settle().await;
    assert_eq!(limit.held(), 0);
}
}

fn crowded() -> ConnectionOptions {
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.config.timers.request_timeout = None;
    options.arrivals = 2 * CROWD;
    options
}

/// Connects when all of the crowd were accepted, and returns how many more were until the connection was.
async fn accepted_before_a_newcomer(on: &On, listener: &Listener) -> usize {
    // The newest are in their handshakes, and the others gave way to them.
    for _ in ConnectionOptions::from(client()).handshakes..CROWD {
        let arrival = listener.next().await.unwrap();
        assert!(matches!(arrival, Arrival::Failed { .. }), "{arrival:?}");
    }
    let newcomer = on.spawn(on.connect(listener.local_addr(), client()));
    let mut gave_way = 0;
    while !matches!(listener.next().await.unwrap(), Arrival::Connection(_)) {
        gave_way += 1;
    }
    newcomer.await.unwrap().unwrap();
    gave_way
}
