//! Carriers of CSP: the codec of `cubesat-testbed` for CAN, and libzmq by `pyzmq` as a hub.

use std::time::Duration;

use farlink::Instant;
use farlink::adapters::csp_zmq::ZmqHub;
use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::tokio::csp::{Error, Node};
use farlink::csp::carriers::{ByteOrder, CanFrame, Cfp2Packet, Cfp2Reassembler, subscriptions};
use farlink::csp::{
    Config, Encapsulation, Endpoint, Flags, Header, InterfaceConfig, Packet, Priority, SendOptions,
    SocketOptions, Version,
};
use serde_json::json;

use crate::script::Script;

const WHY: &str = "run tests/interop/setup.sh first";
const PATIENCE: Duration = Duration::from_secs(60);

fn hex(octets: &[u8]) -> String {
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    let digits = digits.map(|digit| char::from_digit(digit.into(), 16).unwrap());
    digits.collect()
}

/// Packets that fit into one frame.
fn short_packets() -> impl Iterator<Item = (Header, Vec<u8>)> {
    let priorities = [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
    ];
    (0..200_u16).map(move |number| {
        let header = Header {
            priority: priorities[usize::from(number % 4)],
            source: number * 81 % 16_383,
            destination: number * 53 % 16_384,
            destination_port: u8::try_from(number % 64).unwrap(),
            source_port: u8::try_from(number * 7 % 64).unwrap(),
            flags: Flags::empty(),
        };
        let [_, low] = number.to_be_bytes();
        (header, vec![low; usize::from(number % 5)])
    })
}

#[test]
#[ignore = "needs cubesat-testbed; tests/interop/setup.sh installs it"]
fn cubesat_testbed_reads_our_frames_of_can_and_we_read_its() {
    let mut testbed = Script::start("csp_testbed.py", &[], WHY);
    let mut reassembler = Cfp2Reassembler::new(256);
    for ((header, data), number) in short_packets().zip(0..) {
        let mut packet = Vec::new();
        let whole = Packet {
            header,
            data: &data,
        };
        whole.encode(Version::V2, &mut packet);
        let sender = header.source & 0x3F;
        let ours = Cfp2Packet::new(&packet, sender, number).unwrap();
        let ours = ours.frame(0).unwrap();
        let asked = json!({ "identifier": ours.identifier(), "data": hex(ours.data()) });

        let read = testbed.answer(&asked);
        let mut fields = json!({
            "priority": header.priority as u8,
            "source": header.source,
            "destination": header.destination,
            "destination_port": header.destination_port,
            "source_port": header.source_port,
            "flags": 0,
            "data": hex(&data),
            "sender": sender,
        });
        assert_eq!(read, fields);

        fields["number"] = (number % 4).into();
        assert_eq!(testbed.answer(&fields), asked);
        let theirs = CanFrame::new(ours.identifier(), &[ours.data()]);
        let found = reassembler.receive(Instant::ZERO, &theirs);
        assert_eq!(found, Some(&packet[..]));
    }
}

/// A node on the hub of this machine.
fn node(address: u16, version: Version) -> Node {
    let addresses = [address, version.broadcast()];
    let hub = ZmqHub::new("127.0.0.1", subscriptions(version, &addresses));
    let mut interfaces = Interfaces::new();
    interfaces.add_zmq(0, hub).unwrap();
    let encapsulation = match version {
        Version::V1 => Encapsulation::NextHop(ByteOrder::LittleEndian),
        Version::V2 => Encapsulation::Packet,
    };
    let config = Config {
        address,
        version,
        interfaces: vec![InterfaceConfig {
            encapsulation,
            ..InterfaceConfig::default()
        }],
        ..Config::default()
    };
    Node::start(interfaces, config).unwrap()
}

/// Pings until there is an answer: what is sent before a node has joined the hub is lost.
async fn joined(node: &Node, destination: u16) {
    loop {
        let answer = node.ping(destination, 10, Duration::from_millis(200)).await;
        match answer {
            Ok(_) => return,
            Err(Error::Silent { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn nodes_on_a_hub_hear_what_is_theirs() {
    let (one, two, three) = (
        node(1, Version::V2),
        node(2, Version::V2),
        node(3, Version::V2),
    );
    joined(&one, 2).await;
    joined(&three, 2).await;
    let before = three.stats().csp.received;
    let port = two.bind(10, SocketOptions::empty()).unwrap();
    let to = Endpoint {
        address: 2,
        port: 10,
    };

    let connection = one.connect(to, SendOptions::default()).await.unwrap();
    let accepted = port.accept().await.unwrap();
    for number in 0..100_u8 {
        connection.send(vec![number; 200]).await.unwrap();
        let data = accepted.receive().await.unwrap().unwrap();
        assert_eq!(data, vec![number; 200]);
    }
    connection.close().await.unwrap();

    // The hub sends node 3 nothing of it, but a broadcast.
    assert_eq!(three.stats().csp.received, before);
    let all = one.ping_all(16_383, 10, Duration::from_secs(1)).await;
    let mut from: Vec<u16> = all.unwrap().iter().map(|it| it.from).collect();
    from.retain(|address| *address != 1);
    from.sort_unstable();
    assert_eq!(from, [2, 3]);
}

async fn nodes_of_version_1_on_a_hub_hear_all_and_take_what_is_theirs() {
    let (one, two, three) = (
        node(1, Version::V1),
        node(2, Version::V1),
        node(3, Version::V1),
    );
    joined(&one, 2).await;
    joined(&three, 2).await;
    let before = three.stats().csp.received;

    one.ping(2, 100, PATIENCE).await.unwrap();
    two.ping(1, 100, PATIENCE).await.unwrap();
    joined(&three, 1).await;

    assert!(three.stats().csp.received > before + 1);
}

/// In one test, since there is one hub at these ports.
#[test]
#[ignore = "needs pyzmq; tests/interop/setup.sh installs it"]
fn nodes_meet_on_a_hub_of_libzmq() {
    let mut hub = Script::start("csp_zmq_hub.py", &[], WHY);
    assert_eq!(hub.line(), "bound");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tests = async {
            nodes_on_a_hub_hear_what_is_theirs().await;
            nodes_of_version_1_on_a_hub_hear_all_and_take_what_is_theirs().await;
        };
        let ended = tokio::time::timeout(PATIENCE, tests).await;
        ended.expect("the test hangs");
    });
}
