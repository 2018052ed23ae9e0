//! `rusty-cotp`, on TCP in both roles.

use std::collections::VecDeque;

use farlink::adapters::tokio::cotp;
use farlink::cotp::{Config, Policy, Selector};
use rusty_cotp::{
    CotpConnection, CotpConnectionParameters, CotpProtocolInformation, CotpReader as _,
    CotpResponder as _, CotpWriter as _, RustyCotpConnection, RustyCotpResponder,
};
use rusty_tpkt::{TcpTpktConnection, TcpTpktReader, TcpTpktServer, TcpTpktWriter};

/// Around the TPDU size of class 0, and far beyond.
const SIZES: [usize; 4] = [1, 2045, 2046, 100_000];

fn octets(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

/// Sends back as many messages as are tried.
async fn echo(connection: impl CotpConnection) {
    let (mut reader, mut writer) = connection.split().await.unwrap();
    for _ in SIZES {
        let message = reader.recv().await.unwrap().unwrap();
        writer.send(&mut VecDeque::from([message])).await.unwrap();
    }
    // The other end closes first.
    let _ = reader.recv().await;
}

#[tokio::test]
async fn a_rusty_server_echoes_every_size() {
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let server = TcpTpktServer::listen(address).await.unwrap();
    let serving = tokio::spawn(async move {
        let connection = server.accept().await.unwrap();
        let (responder, information) = RustyCotpResponder::<TcpTpktReader, TcpTpktWriter>::new(
            connection,
            CotpConnectionParameters::default(),
        )
        .await
        .unwrap();
        echo(responder.accept(information.responder()).await.unwrap()).await;
    });

    let config = Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)));
    let mut connection = cotp::connect(address, config).await.unwrap();

    for size in SIZES {
        connection.send(octets(size)).await.unwrap();
        assert_eq!(connection.receive().await.unwrap().unwrap(), octets(size));
    }
    connection.close().await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_rusty_client_gets_every_size_back() {
    let policy = Policy::Selectors(vec![Selector::from(2)]);
    let listener = cotp::listen("127.0.0.1:0", Config::responder(policy))
        .await
        .unwrap();
    let address = listener.local_addr();
    let serving = tokio::spawn(async move {
        let mut connection = listener.accept().await.unwrap();
        for _ in SIZES {
            let message = connection.receive().await.unwrap().unwrap();
            connection.send(message).await.unwrap();
        }
        connection.receive().await.unwrap()
    });

    let connection = TcpTpktConnection::connect(address).await.unwrap();
    let information = CotpProtocolInformation::initiator(Some(vec![0, 1]), Some(vec![0, 2]));
    let connection = RustyCotpConnection::<TcpTpktReader, TcpTpktWriter>::initiate(
        connection,
        information,
        CotpConnectionParameters::default(),
    );
    let (mut reader, mut writer) = connection.await.unwrap().split().await.unwrap();

    for size in SIZES {
        let message = VecDeque::from([octets(size)]);
        writer.send(&mut { message }).await.unwrap();
        assert_eq!(reader.recv().await.unwrap().unwrap(), octets(size));
    }
    drop((reader, writer));
    assert_eq!(serving.await.unwrap(), None);
}
