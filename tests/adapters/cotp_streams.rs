//! COTP over byte streams that are no TCP connections.

use std::os::unix::net::{UnixListener, UnixStream};

use farlink::adapters::blocking::cotp as blocking;
use farlink::adapters::cotp;
use farlink::adapters::runtime::TcpIo;
use farlink::cotp::{Config, Policy};

use crate::on::{On, on_both};

on_both! {
async fn a_unix_socket_carries_a_connection_and_is_given_back(on: On) {
    let path = std::env::temp_dir().join(format!("farlink-{}-{}", std::process::id(), on.name()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let listener = cotp::listen_on(&on.runtime(), unix, Config::responder(Policy::AcceptAny)).unwrap();
    let near = UnixStream::connect(&path).unwrap();
    let runtime = on.runtime();

    let (near, far) = tokio::join!(
        cotp::connect_on(&runtime, near, Config::default()),
        listener.accept(),
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    near.send("hello").await.unwrap();

    assert_eq!(far.receive().await.unwrap().unwrap(), "hello");
    assert_eq!(near.info().remote.port(), 0, "it has no address of IP");
    let stream = near.detach_stream().await.unwrap();
    assert!(stream.downcast::<TcpIo>().is_ok());
    std::fs::remove_file(&path).unwrap();
}
}

#[tokio::test]
async fn tokio_connects_over_whatever_can_be_read_and_written() {
    let (near, far) = tokio::io::duplex(100);
    let server = Config::responder(Policy::AcceptAny);

    let (near, far) = tokio::join!(
        farlink::adapters::tokio::cotp::connect_over(near, Config::default()),
        farlink::adapters::tokio::cotp::connect_over(far, server),
    );
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    near.send(vec![7; 10_000]).await.unwrap();
    assert_eq!(far.receive().await.unwrap().unwrap(), vec![7; 10_000]);

    let stream = near.detach_stream().await.unwrap();
    assert!(stream.downcast::<tokio::io::DuplexStream>().is_ok());
}

#[tokio::test]
async fn tokio_listens_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("farlink-{}-listen", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = tokio::net::UnixListener::bind(&path).unwrap();
    let server = Config::responder(Policy::AcceptAny);
    let listener = farlink::adapters::tokio::cotp::listen_on_unix(unix, server).unwrap();
    let near = tokio::net::UnixStream::connect(&path).await.unwrap();

    let (near, far) = tokio::join!(
        farlink::adapters::tokio::cotp::connect_over(near, Config::default()),
        listener.accept(),
    );
    near.unwrap().send("hello").await.unwrap();

    assert_eq!(far.unwrap().receive().await.unwrap().unwrap(), "hello");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn threads_connect_over_a_reader_and_a_writer() {
    let (near, far) = UnixStream::pair().unwrap();
    let answering = std::thread::spawn(|| {
        let reader = far.try_clone().unwrap();
        blocking::connect_over(reader, far, Config::responder(Policy::AcceptAny))
    });

    let near = blocking::connect_over(near.try_clone().unwrap(), near, Config::default()).unwrap();
    let mut far = answering.join().unwrap().unwrap();
    near.send(vec![7; 10_000]).unwrap();

    assert_eq!(far.receive().unwrap().unwrap(), vec![7; 10_000]);
}
