//! COTP over TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use farlink::adapters::cotp::{self, Arrival, ConnectionOptions};
use farlink::adapters::tls::{
    self, TlsIo,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use farlink::cotp::{Config, Policy};

use crate::cotp::client;
use crate::loopback::here;
use crate::on::{On, on_all, on_both};

on_all! {
async fn messages_pass_over_tls_both_ways(on: On) {
    let tls = Certified::new();
    let listener = on.listen(tls.server()).unwrap();
    let address = listener.local_addr();

    let (near, far) = tokio::join!(on.connect(address, tls.client("plant.example")), listener.accept());
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    near.send(vec![7; 300_000]).await.unwrap();
    assert_eq!(far.receive().await.unwrap().unwrap(), vec![7; 300_000]);
    far.send("hello").await.unwrap();
    assert_eq!(near.receive().await.unwrap().unwrap(), "hello");

    assert_eq!(near.info().local, far.info().remote, "TLS has the addresses of TCP");
    far.close().await.unwrap();
    assert_eq!(near.receive().await.unwrap(), None);
}

async fn a_certificate_for_another_name_is_refused(on: On) {
    let tls = Certified::new();
    let listener = on.listen(tls.server()).unwrap();

    let error = on.connect(listener.local_addr(), tls.client("elsewhere.example")).await.unwrap_err();

    assert!(error.to_string().contains("certificate"), "{error}");
    let arrival = listener.next().await.unwrap();
    assert!(matches!(arrival, Arrival::Failed { .. }), "{arrival:?}");
}

async fn a_peer_without_tls_is_told_apart(on: On) {
    let tls = Certified::new();
    let listener = on.listen(tls.server()).unwrap();
    let mut raw = TcpStream::connect(listener.local_addr()).unwrap();
    raw.write_all(b"\x03\0\0\x0b\x06\xe0\0\0\x12\x34\0").unwrap();

    let Arrival::Failed { error, .. } = listener.next().await.unwrap() else {
        panic!("it does not speak TLS");
    };

    assert!(error.to_string().contains("InvalidContentType"), "{error}");
}

async fn a_peer_that_does_not_begin_tls_is_given_up(on: On) {
    let mut options = Certified::new().server();
    options.config.timers.request_timeout = Some(Duration::from_millis(20));
    let listener = on.listen(options).unwrap();
    let mut silent = TcpStream::connect(listener.local_addr()).unwrap();

    let Arrival::Failed { error, .. } = listener.next().await.unwrap() else {
        panic!("nobody said anything");
    };

    assert_eq!(error.to_string(), "the stream was not upgraded within 20ms");
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

async fn a_stream_of_tls_that_is_cut_off_is_no_clean_end(on: On) {
    let tls = Certified::new();
    let listener = on.listen(tls.server()).unwrap();
    let (relay, address) = cut_off_relay(listener.local_addr());
    let connecting = on.connect(address, tls.client("plant.example"));
    let (near, far) = tokio::join!(connecting, listener.accept());
    let (near, mut far) = (near.unwrap(), far.unwrap());
    near.send("whole").await.unwrap();
    assert_eq!(far.receive().await.unwrap().unwrap(), "whole");

    relay.send(()).unwrap();

    far.receive().await.unwrap_err();
}

}

mod detached {
    use super::*;

    on_both! {
    async fn a_detached_stream_of_tls_is_given_back(on: On) {
        let tls = Certified::new();
        let listener = cotp::listen(&on.runtime(), [here()], tls.server()).unwrap();
        let runtime = on.runtime();
        let connecting = cotp::connect(&runtime, [listener.local_addr()], tls.client("plant.example"));
        let (near, _far) = tokio::join!(connecting, listener.accept());

        let stream = near.unwrap().detach_stream().await.unwrap();

        let session = stream.downcast::<TlsIo>().unwrap().stream;
        assert!(session.session().peer_certificates().is_some());
    }
    }
}

/// A certificate for one host, and its key.
struct Certified {
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certified {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["plant.example".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
        }
    }

    fn server(&self) -> ConnectionOptions {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
        options.upgrade = Some(tls::server(Arc::new(config)));
        options
    }

    fn client(&self, name: &'static str) -> ConnectionOptions {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut options = ConnectionOptions::from(client());
        options.upgrade = Some(tls::client(Arc::new(config), name.try_into().unwrap()));
        options
    }
}

/// Passes on what a client sends, until it is told to close both streams.
fn cut_off_relay(
    server: std::net::SocketAddr,
) -> (std::sync::mpsc::Sender<()>, std::net::SocketAddr) {
    let listener = std::net::TcpListener::bind(here()).unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = TcpStream::connect(server).unwrap();
        for (mut from, mut to) in [
            (near.try_clone().unwrap(), far.try_clone().unwrap()),
            (far.try_clone().unwrap(), near.try_clone().unwrap()),
        ] {
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
        let _ = told.recv();
        let _ = far.shutdown(std::net::Shutdown::Both);
    });
    (cut, address)
}
