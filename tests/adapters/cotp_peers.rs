//! COTP and peers that vanish, say goodbye or take their time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use farlink::adapters::TcpOptions;
use farlink::adapters::cotp::{ConnectionOptions, Error};
use farlink::cotp::{Config, DisconnectReason, EndReason, Policy};
use socket2::SockRef;

use crate::cotp::client;
use crate::loopback::here;
use crate::on::{On, on_all};

on_all! {
async fn tcp_is_to_notice_a_vanished_peer_within_ninety_seconds_at_both_ends(on: On) {
    let (mut near, mut far) = on.pair(client()).await;

    let streams = [near.detach().await, far.detach().await];

    for stream in streams {
        let seconds = Duration::from_secs;
        assert_eq!(options_of(&stream.unwrap().stream), (seconds(60), seconds(10), 3, Some(seconds(30))));
    }
}

async fn the_options_of_tcp_are_those_that_were_set(on: On) {
    let seconds = Duration::from_secs;
    let tcp = TcpOptions {
        idle: Some(seconds(5)),
        interval: seconds(2),
        probes: 7,
        user_timeout: Some(seconds(11)),
    };
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.tcp = tcp;
    let listener = on.listen(options).unwrap();
    let mut options = ConnectionOptions::from(client());
    options.tcp = TcpOptions { idle: None, user_timeout: None, ..tcp };
    let connecting = on.connect(listener.local_addr(), options);
    let (near, far) = tokio::join!(connecting, listener.accept());

    let far = far.unwrap().detach().await.unwrap().stream;
    let near = near.unwrap().detach().await.unwrap().stream;

    assert_eq!(options_of(&far), (seconds(5), seconds(2), 7, Some(seconds(11))));
    assert!(!SockRef::from(&near).keepalive().unwrap());
    assert_eq!(SockRef::from(&near).tcp_user_timeout().unwrap(), None);
}

async fn whatever_is_octets_can_be_sent(on: On) {
    let (near, mut far) = on.pair(client()).await;
    let owned = vec![1, 2];

    near.send(&owned[..]).await.unwrap();
    near.send(&owned).await.unwrap();
    near.send(&[1, 2]).await.unwrap();
    near.send([1, 2]).await.unwrap();
    near.send(String::from("\u{1}\u{2}").as_str()).await.unwrap();
    near.send(bytes::BytesMut::from(&owned[..])).await.unwrap();
    near.send(&bytes::Bytes::from(owned)).await.unwrap();

    for _ in 0..7 {
        assert_eq!(far.receive().await.unwrap().unwrap(), vec![1, 2]);
    }
}

async fn who_only_sends_hears_of_the_end_and_why(on: On) {
    let (near, mut raw) = on.raw_peer(client()).await;
    let (sender, receiver) = near.split();
    drop(receiver);
    sender.send("all there is").await.unwrap();
    let waiting = on.spawn(async move { sender.closed().await });
    on.settle().await;
    // A DR without a reason, as python-snap7 sends before it closes.
    raw.write_all(b"\x03\0\0\x0b\x06\x80\0\x01\0\x01\0").unwrap();

    let end = waiting.await.unwrap().unwrap();

    let EndReason::Disconnected(disconnect) = &end.reason else {
        panic!("{end}");
    };
    assert_eq!(disconnect.reason, DisconnectReason::NOT_SPECIFIED);
    assert!(end.is_clean());
}

async fn a_connection_is_open_until_its_end_is_known(on: On) {
    let (near, far) = on.pair(client()).await;
    assert!(near.is_open());
    assert!(far.is_open());

    far.close().await.unwrap();

    assert_eq!(near.closed().await.unwrap().reason, EndReason::PeerClosed);
    assert!(!near.is_open());
    assert_eq!(near.closed().await.unwrap().reason, EndReason::PeerClosed);
}

async fn a_goodbye_by_dr_is_a_clean_end_and_messages_before_it_are_received(on: On) {
    for (dr, reason) in [
        (&b"\x03\0\0\x0c\x06\x80\0\x01\0\x01\0\0"[..], DisconnectReason::NOT_SPECIFIED),
        (b"\x03\0\0\x0b\x06\x80\0\x01\0\x01\x80", DisconnectReason::NORMAL),
        (b"\x03\0\0\x0b\x06\x80\0\0\0\x01\0", DisconnectReason::NOT_SPECIFIED),
    ] {
        let (mut near, mut raw) = on.raw_peer(client()).await;
        raw.write_all(b"\x03\0\0\x0a\x02\xf0\x80abc").unwrap();
        raw.write_all(dr).unwrap();

        assert_eq!(near.receive().await.unwrap().unwrap(), "abc");
        assert_eq!(near.receive().await.unwrap(), None);
        let end = near.closed().await.unwrap();
        let EndReason::Disconnected(disconnect) = &end.reason else {
            panic!("{end}");
        };
        assert_eq!(disconnect.reason, reason);
        near.close().await.unwrap();
    }
}

async fn a_dr_for_congestion_is_no_clean_end(on: On) {
    let (mut near, mut raw) = on.raw_peer(client()).await;
    raw.write_all(b"\x03\0\0\x0b\x06\x80\0\x01\0\x01\x01").unwrap();

    let error = near.receive().await.unwrap_err();

    assert!(matches!(error, Error::Ended(_)), "{error}");
    assert!(!near.closed().await.unwrap().is_clean());
}

async fn a_peer_that_takes_longer_than_the_limit_to_close_is_no_failure(on: On) {
    let mut config = client();
    config.timers.close_timeout = Duration::from_millis(20);
    let (near, mut raw) = on.raw_peer(config).await;
    near.send("all there is").await.unwrap();
    let (sender, _receiver) = near.split();
    let observer = sender.clone();

    sender.close().await.unwrap();

    let end = observer.closed().await.unwrap();
    assert_eq!(end.reason, EndReason::HalfClosed(Duration::from_millis(20)));
    let mut all = Vec::new();
    raw.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"all there is"));
}

async fn an_idle_peer_is_given_up_after_the_time_that_was_set(on: On) {
    let mut config = client();
    config.timers.idle_timeout = Some(Duration::from_millis(20));
    let (mut near, _raw) = on.raw_peer(config).await;

    let error = near.receive().await.unwrap_err();

    assert_eq!(error.to_string(), "nothing arrived from the peer for 20ms");
}

async fn closing_a_listener_ends_the_waits_for_connections(on: On) {
    let listener = std::sync::Arc::new(on.server(Policy::AcceptAny));
    let other = std::sync::Arc::clone(&listener);
    let accepting = on.spawn(async move { other.accept().await.map(drop) });
    on.settle().await;

    listener.close();

    assert!(matches!(accepting.await.unwrap(), Err(Error::Closed)));
    assert!(matches!(listener.accept().await, Err(Error::Closed)));
    let refused = TcpStream::connect(listener.local_addr()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

async fn a_listener_has_several_addresses(on: On) {
    let other = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    let absent = std::net::SocketAddr::from(([192, 0, 2, 1], 0));
    let listener = on.listen_at(&[here(), absent, other], Config::responder(Policy::AcceptAny)).unwrap();

    let addresses = listener.local_addrs().to_vec();
    assert_eq!(addresses.len(), 2, "those that this host has");
    assert_eq!(addresses[1].ip(), other.ip());
    for address in addresses {
        let (near, far) = tokio::join!(on.connect(address, client()), listener.accept());
        assert_eq!(near.unwrap().info().remote, address);
        assert_eq!(far.unwrap().info().local, address);
    }
    let error = on.listen_at(listener.local_addrs(), Config::responder(Policy::AcceptAny)).unwrap_err();
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::AddrInUse);
}
}

/// Keep-alive after, again after, how often, and the limit of unacknowledged octets.
fn options_of(stream: &TcpStream) -> (Duration, Duration, u32, Option<Duration>) {
    let socket = SockRef::from(stream);
    assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    (
        socket.tcp_keepalive_time().unwrap(),
        socket.tcp_keepalive_interval().unwrap(),
        socket.tcp_keepalive_retries().unwrap(),
        socket.tcp_user_timeout().unwrap(),
    )
}
