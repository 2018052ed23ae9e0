//! DTP nodes over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::dtp::{Download, Error, Node, PayloadRun};
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::runtime::Runtime;
use farlink::csp::{self, Endpoint, SendOptions, SocketOptions};
use farlink::dtp::{self, Config, FailReason, GetOptions, PayloadIdentity};
use tokio::time::timeout;

use crate::AT_LAST;
use crate::loopback::here;

const SERVER: u16 = 1;
const CLIENT: u16 = 2;
const NOBODY: u16 = 9;

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

async fn a_session_has_what_was_taken_and_another_node_gets_the_rest(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(50_000)).unwrap();
    let slow = GetOptions {
        throughput: 200_000,
        ..fast()
    };
    let unanswered = client.get(NOBODY, 3, slow).unwrap();
    assert_eq!(unanswered.session(), None, "of no size");
    drop(unanswered);
    let mut download = client.get(SERVER, 3, slow).unwrap();
    let mut octets = vec![0; 50_000];
    let mut write = |run: &PayloadRun| {
        let start = usize::try_from(run.offset).unwrap();
        octets[start..start + run.data.len()].copy_from_slice(&run.data);
        u64::from(run.offset)..u64::from(run.offset) + run.data.len() as u64
    };
    let first = timeout(AT_LAST, download.next_run()).await.unwrap();
    let range = write(&first.unwrap().unwrap());
    assert!(download.has(range.clone()) && !download.has(range.start..50_000));
    assert!(
        !download.session().unwrap().has(&range),
        "it is still worked on"
    );
    let second = timeout(AT_LAST, download.next_run()).await.unwrap();
    write(&second.unwrap().unwrap());
    let session = download.session().unwrap();
    assert!(session.has(&range));
    assert_eq!((session.server, session.payload), (SERVER, 3));
    assert!(session.identity.unwrap().crc32c.is_some());
    download.cancel();
    drop((download, server, client));

    let (server, client) = pair(&runtime);
    server.serve(3, payload(50_000)).unwrap();
    let had = session.received_octets();
    let mut download = client.get_rest(session, slow).unwrap();
    assert!(download.progress().received >= had, "more may have come");
    let mut came = 0;
    while let Some(run) = timeout(AT_LAST, download.next_run())
        .await
        .unwrap()
        .unwrap()
    {
        came += run.data.len() as u64;
        write(&run);
    }
    assert_eq!(came, 50_000 - had, "nothing twice");
    assert!(octets == payload(50_000));
    let progress = download.progress();
    assert!(progress.is_checked && progress.rounds > 0);
    assert!(download.session().unwrap().missing().next().is_none());
}

async fn a_range_alone_comes_in_whole_packets(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(10_000)).unwrap();
    let some = |first, last| GetOptions {
        first,
        last,
        ..fast()
    };

    let mut download = client.get(SERVER, 3, some(1500, 3000)).unwrap();
    let octets = whole(&mut download).await.unwrap();

    assert!(octets[1024..] == payload(10_000)[1024..3072]);
    assert_eq!(download.missing(), Some(vec![]));
    assert!(!download.progress().is_checked && !download.has(0..1500));
    let mut download = client.get(SERVER, 3, some(9000, u32::MAX)).unwrap();
    assert_eq!(whole(&mut download).await.unwrap().len(), 10_000);
    let mut download = client.get(SERVER, 3, some(20_000, 30_000)).unwrap();
    assert!(matches!(
        whole(&mut download).await,
        Err(Error::Failed {
            reason: FailReason::Refused,
            ..
        })
    ));
    let refused = client.get(SERVER, 3, some(5, 4)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "octet 5 is behind the last one that is wanted, 4"
    );
}

async fn a_paused_download_goes_on_when_it_is_resumed(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(100_000)).unwrap();
    let slow = GetOptions {
        throughput: 500_000,
        ..fast()
    };
    let mut download = client.get(SERVER, 3, slow).unwrap();
    assert!(matches!(
        download.resume(),
        Err(Error::Refused(dtp::Error::NotPaused(_)))
    ));
    timeout(AT_LAST, download.next_run())
        .await
        .unwrap()
        .unwrap();

    download.pause().unwrap();
    assert!(matches!(
        download.pause(),
        Err(Error::Refused(dtp::Error::NotUnderWay(_)))
    ));
    let answered = client.ping(SERVER, 10, AT_LAST).await;
    assert!(answered.is_ok(), "{answered:?}");
    assert!(download.progress().received < 100_000);
    download.resume().unwrap();

    while let Some(_run) = timeout(AT_LAST, download.next_run())
        .await
        .unwrap()
        .unwrap()
    {}
    assert_eq!(download.progress().received, 100_000);
    assert!(download.pause().is_err(), "it is over");
}

/// Feeds what is needed until the node ends.
async fn feed(server: &Node, data: Bytes) {
    while let Ok(need) = server.next_need().await {
        assert_eq!(need.payload, 3);
        let start = usize::try_from(need.offset).unwrap();
        let len = usize::try_from(need.len).unwrap();
        // A transfer that has ended needs nothing.
        let _ = server.feed(need.need, data.slice(start..start + len));
    }
}

async fn a_payload_on_demand_is_read_as_it_is_needed(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    let data = payload(300_000);
    let identity = PayloadIdentity {
        crc32c: Some(csp::crc32(&[&data])),
        generation: 7,
    };
    server.serve_on_demand(3, 300_000, identity).unwrap();
    let mut download = client.get(SERVER, 3, fast()).unwrap();

    let octets = tokio::select! {
        octets = whole(&mut download) => octets.unwrap(),
        () = feed(&server, data.clone()) => panic!("it goes on"),
    };

    assert!(octets == data);
    assert!(download.progress().is_checked);
    let error = server.serve_on_demand(4, 1 << 32, identity).unwrap_err();
    assert_eq!(
        error.to_string(),
        "payload of 4294967296 octets exceeds the limit of 4294967295"
    );
    server.shutdown().await;
    assert!(matches!(server.next_need().await, Err(Error::Closed)));
}

async fn a_server_that_is_shut_down_tells_its_clients(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(100_000)).unwrap();
    let slow = GetOptions {
        throughput: 20_000,
        max_fruitless: 1,
        ..fast()
    };
    let mut download = client.get(SERVER, 3, slow).unwrap();
    timeout(AT_LAST, download.next_run())
        .await
        .unwrap()
        .unwrap();

    server.shutdown().await;

    // Of the silence alone it would hear after its time limit at the earliest.
    let error = whole(&mut download).await.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
}

async fn transfers_with_hmac_need_the_key(runtime: Arc<dyn Runtime>) {
    let key = |passphrase: &[u8]| Some(csp::SharedKey::from_passphrase(passphrase));
    let start = |address, (socket, _): (UdpSocket, SocketAddr), peer, hmac_key| {
        let mut interfaces = Interfaces::new();
        interfaces.add_udp_peer(0, socket, peer).unwrap();
        let mut config = Config {
            hmac: true,
            ..Config::default()
        };
        config.csp.address = address;
        config.csp.hmac_key = hmac_key;
        Node::start_on(&runtime, interfaces, config)
    };
    let (one, other) = (socket(), socket());
    let (at_one, at_other) = (one.1, other.1);
    let server = start(SERVER, one, at_other, key(b"ours")).unwrap();
    server.serve(3, payload(5000)).unwrap();
    let client = start(CLIENT, other, at_one, key(b"ours")).unwrap();

    let mut download = client.get(SERVER, 3, GetOptions::default()).unwrap();
    assert!(whole(&mut download).await.unwrap() == payload(5000));

    client.shutdown().await;
    drop(client);
    let other = UdpSocket::bind(at_other).unwrap();
    let client = start(CLIENT, (other, at_other), at_one, key(b"theirs")).unwrap();
    let single = GetOptions {
        max_fruitless: 1,
        ..GetOptions::default()
    };
    let mut download = client.get(SERVER, 3, single).unwrap();
    assert!(matches!(
        whole(&mut download).await,
        Err(Error::Failed {
            reason: FailReason::NoAnswer,
            ..
        })
    ));
    let refused = start(CLIENT, socket(), at_one, None).unwrap_err();
    assert_eq!(refused.to_string(), "hmac: HMAC without a key");
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

async fn a_node_has_connections_and_bound_ports_beside_its_transfers(runtime: Arc<dyn Runtime>) {
    let (server, client) = pair(&runtime);
    server.serve(3, payload(50_000)).unwrap();
    let port = server.bind(10, SocketOptions::empty()).unwrap();
    for taken in [7, 8] {
        let refused = server.bind(taken, SocketOptions::empty()).unwrap_err();
        assert_eq!(refused.to_string(), format!("port {taken} is in use"));
    }
    let to = Endpoint {
        address: SERVER,
        port: 10,
    };
    let mut download = client.get(SERVER, 3, fast()).unwrap();
    let connecting = client.connect(to, SendOptions::default());
    let connection = timeout(AT_LAST, connecting).await.unwrap().unwrap();
    connection.send("hello").await.unwrap();
    let accepted = timeout(AT_LAST, port.accept()).await.unwrap().unwrap();
    let data = timeout(AT_LAST, accepted.receive()).await.unwrap();
    assert_eq!(data.unwrap().unwrap(), "hello");
    assert!(whole(&mut download).await.unwrap() == payload(50_000));

    let source = client.bind(11, SocketOptions::empty()).unwrap();
    source.send_to(to, SendOptions::default(), "alone").unwrap();
    let packet = timeout(AT_LAST, port.receive()).await.unwrap().unwrap();
    assert_eq!(packet.data, "alone");
    assert!(client.csp().interface_stats(0).is_some());

    timeout(AT_LAST, client.shutdown()).await.unwrap();
    assert_eq!(
        timeout(AT_LAST, accepted.receive()).await.unwrap().unwrap(),
        None
    );
    assert!(connection.send("late").await.is_err());
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
    a_session_has_what_was_taken_and_another_node_gets_the_rest,
    a_range_alone_comes_in_whole_packets,
    a_paused_download_goes_on_when_it_is_resumed,
    a_payload_on_demand_is_read_as_it_is_needed,
    a_server_that_is_shut_down_tells_its_clients,
    transfers_with_hmac_need_the_key,
    a_node_answers_pings_and_a_silent_one_is_named,
    a_node_has_connections_and_bound_ports_beside_its_transfers,
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
