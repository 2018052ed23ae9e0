//! DTP nodes over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::dtp::{Download, Error, Node};
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::runtime::Runtime;
use farlink::csp;
use farlink::dtp::{self, Config, FailReason, GetOptions};
use tokio::time::timeout;

use crate::AT_LAST;
use crate::loopback::here;

const SERVER: u16 = 1;
const CLIENT: u16 = 2;

fn node_at(runtime: &Arc<dyn Runtime>, address: u16, socket: UdpSocket, peer: SocketAddr) -> Node {
    let mut interfaces = Interfaces::new();
    interfaces.add_udp_peer(0, socket, peer).unwrap();
    let mut config = Config::default();
    config.csp.address = address;
    config.csp.max_data = 2056;
    config.data_event_octets = 4096;
    Node::start_on(runtime, interfaces, config).unwrap()
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(here()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A server and a client.
fn pair(runtime: &Arc<dyn Runtime>) -> (Node, Node) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let server = node_at(runtime, SERVER, one, at_other);
    (server, node_at(runtime, CLIENT, other, at_one))
}

fn fast() -> GetOptions {
    GetOptions {
        throughput: 10_000_000,
        mtu: 1032,
        ..GetOptions::default()
    }
}

/// Takes all of a payload.
async fn whole(download: &mut Download) -> Result<Vec<u8>, Error> {
    let mut octets = Vec::new();
    while let Some(run) = timeout(AT_LAST, download.next_run()).await.unwrap()? {
        let start = usize::try_from(run.offset).unwrap();
        let end = start + run.data.len();
        octets.resize(octets.len().max(end), 0);
        octets[start..end].copy_from_slice(&run.data);
    }
    Ok(octets)
}

fn payload(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

async fn payloads_of_all_sizes_arrive_whole(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    for len in [0, 1, 1024, 1025, 300_000] {
        server.serve(3, payload(len)).unwrap();

        let mut download = client.get(SERVER, 3, fast()).unwrap();
        let octets = whole(&mut download).await.unwrap();

        assert!(octets == payload(len), "{len}");
        let progress = download.progress();
        let size = u32::try_from(len).unwrap();
        assert_eq!((progress.size, progress.received), (Some(size), len as u64));
        assert!(progress.requests.is_some());
        assert_eq!(download.missing(), Some(vec![]));
        let request = timeout(AT_LAST, server.next_request()).await.unwrap();
        let request = request.unwrap();
        assert_eq!((request.client, request.payload), (CLIENT, 3));
        assert_eq!(request.octets, len as u64);
    }
}

async fn an_unknown_payload_is_refused_and_the_error_says_so(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(9)).unwrap();

    let mut download = client.get(SERVER, 4, fast()).unwrap();
    let error = whole(&mut download).await.unwrap_err();

    assert!(
        matches!(
            error,
            Error::Failed {
                server: SERVER,
                payload: 4,
                reason: FailReason::Refused,
                missing: None,
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "all octets of payload 4 of node 1 are missing: refused by the server: no such payload, or no room"
    );
}

async fn a_cancelled_download_gives_what_has_come_and_tells_what_has_not(
    runtime: Arc<dyn Runtime>,
) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(100_000)).unwrap();
    let slow = GetOptions {
        throughput: 20_000,
        ..fast()
    };
    let mut download = client.get(SERVER, 3, slow).unwrap();
    let run = timeout(AT_LAST, download.next_run()).await.unwrap();
    assert_eq!(run.unwrap().unwrap().offset, 0);

    download.cancel();
    let error = whole(&mut download).await.unwrap_err();

    let Error::Failed {
        reason: FailReason::Cancelled,
        missing: Some(missing),
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    let ranges = download.missing().unwrap();
    let told: u64 = ranges.iter().map(|it| it.end - it.start).sum();
    assert_eq!(told, missing);
    assert_eq!(missing + download.progress().received, 100_000);
}

async fn a_download_that_nobody_takes_holds_its_octets_back_and_comes_whole(
    runtime: Arc<dyn Runtime>,
) {
    let ((one, at_one), (other, at_other)) = (socket(), socket());
    let server = node_at(&runtime, SERVER, one, at_other);
    let mut interfaces = Interfaces::new();
    interfaces.add_udp_peer(0, other, at_one).unwrap();
    let mut config = Config::default();
    config.csp.address = CLIENT;
    config.csp.max_data = 2056;
    let options = farlink::adapters::dtp::DtpOptions {
        receive_octets: 10_000,
        ..config.into()
    };
    let client = Node::start_on(&runtime, interfaces, options).unwrap();
    server.serve(3, payload(200_000)).unwrap();

    let mut download = client.get(SERVER, 3, fast()).unwrap();
    while download.progress().received < 10_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let octets = whole(&mut download).await.unwrap();

    assert!(octets == payload(200_000));
}

async fn a_node_answers_pings_and_a_silent_one_is_named(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);

    let answered = client.ping(SERVER, 10, AT_LAST).await;
    assert!(answered.is_ok(), "{answered:?}");
    drop(server);
    let error = client.ping(SERVER, 10, Duration::from_millis(20)).await;

    assert_eq!(
        error.unwrap_err().to_string(),
        "node 1 does not answer within 0.02 s"
    );
}

async fn values_out_of_their_range_are_refused_with_the_limit(runtime: Arc<dyn Runtime>) {
    let (_, client) = pair(&runtime);
    let refused = |server, mtu| {
        let options = GetOptions { mtu, ..fast() };
        match client.get(server, 3, options) {
            Err(Error::Refused(error)) => error,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(
        refused(SERVER, 2057),
        dtp::Error::Mtu {
            mtu: 2057,
            least: 9,
            most: 2056
        }
    );
    assert_eq!(
        refused(16_384, 208),
        dtp::Error::Csp(csp::Error::AddressTooLarge {
            address: 16_384,
            limit: 16_382
        })
    );
}

async fn a_node_that_is_shut_down_ends_what_waits_and_frees_its_socket(runtime: Arc<dyn Runtime>) {
    let ((one, at_one), (_other, at_other)) = (socket(), socket());
    let node = node_at(&runtime, CLIENT, one, at_other);
    let mut download = node.get(SERVER, 3, fast()).unwrap();

    timeout(AT_LAST, node.shutdown()).await.unwrap();

    let error = whole(&mut download).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Failed {
                reason: FailReason::Cancelled,
                ..
            } | Error::Closed
        ),
        "{error:?}"
    );
    assert!(matches!(node.serve(1, "x"), Err(Error::Closed)));
    assert!(matches!(node.next_request().await, Err(Error::Closed)));
    UdpSocket::bind(at_one).unwrap();
}

on_both_runtimes!(
    payloads_of_all_sizes_arrive_whole,
    an_unknown_payload_is_refused_and_the_error_says_so,
    a_cancelled_download_gives_what_has_come_and_tells_what_has_not,
    a_download_that_nobody_takes_holds_its_octets_back_and_comes_whole,
    a_node_answers_pings_and_a_silent_one_is_named,
    values_out_of_their_range_are_refused_with_the_limit,
    a_node_that_is_shut_down_ends_what_waits_and_frees_its_socket,
);

/// The same handles, with methods that block.
#[test]
fn a_thread_gets_a_payload() {
    use farlink::adapters::blocking::dtp;

    let (server, client) = pair(&farlink::adapters::blocking::runtime());
    let (server, client) = (dtp::Node::from(server), dtp::Node::from(client));
    server.serve(3, payload(5000)).unwrap();

    let mut download = client.get(SERVER, 3, fast()).unwrap();
    let mut octets = Vec::new();
    while let Some(run) = download.next_run_timeout(AT_LAST).unwrap() {
        octets.extend(run.data);
    }

    assert_eq!(octets, payload(5000));
    server.shutdown();
}
