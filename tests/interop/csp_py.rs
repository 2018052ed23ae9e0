//! `cubesat-space-protocol-py` of KP Labs: CSP without RDP, over UDP by the script beside this file.

use std::future::Future;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;

use farlink::adapters::interfaces::Interfaces;
use farlink::adapters::raw::{self, Commands, DriverOptions, Events, Notice};
use farlink::csp::{
    Command, Config, Encapsulation, Endpoint, Event, InterfaceConfig, Node, SendOptions,
    SocketOptions, Version,
};
use farlink::{Limits, Seed, Tag};
use serde_json::Value;

use crate::script::Script;

const WHY: &str = "run tests/interop/setup.sh first";
const OURS: u16 = 1;
const THEIRS: u16 = 2;
/// The bound port of whoever answers.
const PORT: u8 = 20;
const SIZES: [usize; 5] = [0, 1, 4, 255, 2040];
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the package that prints its events, one JSON object per line.
pub(crate) struct Peer(Script);

impl Peer {
    pub(crate) fn start(remote: u16, arguments: &[&str]) -> Self {
        let remote = remote.to_string();
        let arguments = [&["--remote", &remote], arguments].concat();
        Self(Script::start("csp_py_peer.py", &arguments, WHY))
    }

    /// Lets it send what its arguments say.
    pub(crate) fn go(&mut self) {
        self.0.tell("");
    }

    /// Returns its next event, which must have this name.
    pub(crate) fn told(&mut self, event: &str) -> Value {
        self.0.told(event)
    }
}

/// A node of this crate, and one of the package at the other end of a UDP interface.
struct Pair {
    commands: Commands<Node>,
    events: Events<Node>,
    peer: Peer,
}

impl Pair {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, Version::V2, Encapsulation::Packet)
    }

    /// Starts a pair whose datagrams are frames of a CAN bus: CFP1 or CFP2, as the version says.
    fn on_can(arguments: &[&str], version: Version) -> Self {
        let carrier = match version {
            Version::V1 => "can1",
            Version::V2 => "can2",
        };
        let can = Encapsulation::Can { promiscuous: false };
        let arguments = [&["--carrier", carrier], arguments].concat();
        Self::start_with(&arguments, version, can)
    }

    fn start_with(arguments: &[&str], version: Version, encapsulation: Encapsulation) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = Peer::start(socket.local_addr().unwrap().port(), arguments);
        let port = u16::try_from(peer.told("bound")["port"].as_u64().unwrap()).unwrap();
        let mut interfaces = Interfaces::new();
        let remote = (Ipv4Addr::LOCALHOST, port).into();
        interfaces.add_udp_peer(0, socket, remote).unwrap();
        let config = Config {
            address: OURS,
            version,
            interfaces: vec![InterfaceConfig {
                encapsulation,
                ..InterfaceConfig::default()
            }],
            max_data: 2048,
            ..Config::default()
        };
        let node = Node::new(config, &Seed::from(1)).unwrap();
        let runtime = farlink::adapters::tokio::runtime();
        let options = DriverOptions {
            limits: Limits::new(2054, 64, 1 << 16),
            ..DriverOptions::default()
        };
        let (commands, events) = raw::interfaces(&runtime, node, interfaces, options).unwrap();
        Self {
            commands,
            events,
            peer,
        }
    }

    async fn command(&self, command: Command) {
        self.commands.command(command).await.unwrap();
    }

    async fn bind(&self, options: SocketOptions) {
        let port = PORT;
        self.command(Command::Bind { port, options }).await;
    }

    async fn next(&mut self) -> Event {
        match self.events.recv().await.unwrap() {
            Notice::Event(event) => event,
            Notice::Detached(_) => panic!("a node has no streams"),
        }
    }
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("the test hangs");
    });
}

fn pattern(size: usize) -> Bytes {
    (0..size)
        .map(|i| u8::try_from(7 * i % 256).unwrap())
        .collect()
}

fn sizes() -> Vec<String> {
    SIZES.iter().map(|size| format!("--size={size}")).collect()
}

fn arguments<'a>(fixed: &[&'a str], sizes: &'a [String]) -> Vec<&'a str> {
    let sizes = sizes.iter().map(String::as_str);
    fixed.iter().copied().chain(sizes).collect()
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn csp_py_answers_our_pings() {
    run(async {
        let mut pair = Pair::start(&[]);
        for (tag, octets) in (0..).map(Tag).zip([0, 1, 100, 256]) {
            let ping = Command::Ping {
                tag,
                destination: THEIRS,
                octets,
                timeout: Duration::from_secs(10),
            };
            pair.command(ping).await;

            let event = pair.next().await;

            let Event::Pong { tag: of, from, .. } = event else {
                panic!("{event:?}");
            };
            assert_eq!((of, from), (tag, THEIRS));
            let ended = Event::PingEnded { tag, answers: 1 };
            assert_eq!(pair.next().await, ended);
        }
    });
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn pings_of_csp_py_are_answered_if_they_carry_crc32() {
    run(async {
        let sizes = sizes();
        let mut pair = Pair::start(&arguments(&["--crc32"], &sizes));
        pair.peer.go();
        for size in SIZES {
            assert_eq!(pair.peer.told("pong")["size"], size);
        }

        let mut without = Pair::start(&["--size=10", "--patience=0.3"]);
        without.peer.go();
        without.peer.told("silent");
        let stats = without.commands.with_machine(Node::stats).unwrap();
        assert_eq!((stats.received, stats.forbidden), (1, 1));
    });
}

async fn packets_to_a_bound_port_come_back(crc32: bool) {
    let port = PORT.to_string();
    let fixed = if crc32 {
        vec!["--echo", &port, "--crc32"]
    } else {
        vec!["--echo", &port]
    };
    let mut pair = Pair::start(&fixed);
    pair.bind(SocketOptions::empty()).await;
    let to = Endpoint {
        address: THEIRS,
        port: PORT,
    };
    let options = SendOptions {
        crc32,
        ..SendOptions::default()
    };
    for data in SIZES.map(pattern) {
        let send = Command::SendTo {
            from: PORT,
            to,
            options,
            data: data.clone(),
        };
        pair.command(send).await;

        let port = PORT;
        let from = to;
        let datagram = Event::Datagram { port, from, data };
        assert_eq!(pair.next().await, datagram);
        let told = pair.peer.told("packet");
        assert_eq!((&told["from"], &told["port"]), (&OURS.into(), &PORT.into()));
        assert_eq!(told["priority"], options.priority as u8);
        assert_eq!(told["flags"], u8::from(crc32));
    }
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_bound_socket_of_csp_py_answers_packets_without_crc32() {
    run(packets_to_a_bound_port_come_back(false));
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_bound_socket_of_csp_py_answers_packets_with_crc32() {
    run(packets_to_a_bound_port_come_back(true));
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_listening_socket_of_csp_py_takes_each_source_port_as_a_connection() {
    run(async {
        let port = PORT.to_string();
        let mut pair = Pair::start(&["--accept", &port]);
        for from in [30, 31] {
            let options = SocketOptions::empty();
            pair.command(Command::Bind {
                port: from,
                options,
            })
            .await;
            for data in ["a", "b"] {
                let to = Endpoint {
                    address: THEIRS,
                    port: PORT,
                };
                let options = SendOptions::default();
                let data = Bytes::from(data);
                let send = Command::SendTo {
                    from,
                    to,
                    options,
                    data: data.clone(),
                };
                pair.command(send).await;

                let datagram = Event::Datagram {
                    port: from,
                    from: to,
                    data,
                };
                assert_eq!(pair.next().await, datagram);
            }
            let accepted = pair.peer.told("accepted");
            assert_eq!(accepted["port"], from);
        }
    });
}

/// Sends the packets of a connection of the package back.
async fn a_connection_of_csp_py_gets_all_back(fixed: &[&str], options: SocketOptions) {
    let sizes = sizes();
    let to_port = PORT.to_string();
    let all = arguments(&[fixed, &["--to-port", &to_port]].concat(), &sizes);
    let mut pair = Pair::start(&all);
    pair.bind(options).await;
    pair.peer.go();
    for expected in SIZES.map(pattern) {
        let event = pair.next().await;
        let Event::Datagram { port, from, data } = event else {
            panic!("{event:?}");
        };
        assert_eq!((port, from.address), (PORT, THEIRS));
        assert_eq!(data, expected);
        let options = SendOptions {
            crc32: fixed.contains(&"--crc32"),
            ..SendOptions::default()
        };
        pair.command(Command::SendTo {
            from: port,
            to: from,
            options,
            data,
        })
        .await;

        let answer = pair.peer.told("answer");
        assert_eq!(answer["is_equal"], true, "{answer}");
        assert_eq!(answer["from"], OURS);
    }
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_connection_of_csp_py_is_answered_without_crc32() {
    run(a_connection_of_csp_py_gets_all_back(
        &[],
        SocketOptions::empty(),
    ));
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_connection_of_csp_py_is_answered_with_crc32_where_that_is_required() {
    run(a_connection_of_csp_py_gets_all_back(
        &["--crc32"],
        SocketOptions::CRC32_REQUIRED,
    ));
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn a_socket_that_requires_crc32_takes_nothing_without_it() {
    run(async {
        let to_port = PORT.to_string();
        let mut pair = Pair::start(&["--to-port", &to_port, "--size=5", "--patience=0.3"]);
        pair.bind(SocketOptions::CRC32_REQUIRED).await;
        pair.peer.go();

        let mut stats = pair.commands.with_machine(Node::stats).unwrap();
        while stats.received == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            stats = pair.commands.with_machine(Node::stats).unwrap();
        }

        assert_eq!(stats.forbidden, 1);
        assert!(pair.events.try_recv().is_none());
    });
}

/// Pings both ways, then sends packets to a bound port, which come back.
async fn frames_of_can_pass_both_ways(version: Version) {
    let port = PORT.to_string();
    let longest = if version == Version::V1 { 1000 } else { 2000 };
    let longest_text = format!("--size={longest}");
    let fixed = [
        "--echo",
        &port,
        "--crc32",
        "--size=0",
        "--size=255",
        &longest_text,
    ];
    let mut pair = Pair::on_can(&fixed, version);
    for (tag, octets) in (0..).map(Tag).zip([0, 2, 100, 256]) {
        let ping = Command::Ping {
            tag,
            destination: THEIRS,
            octets,
            timeout: Duration::from_secs(10),
        };
        pair.command(ping).await;
        let event = pair.next().await;
        assert!(matches!(event, Event::Pong { .. }), "{event:?}");
        assert_eq!(pair.next().await, Event::PingEnded { tag, answers: 1 });
    }
    pair.bind(SocketOptions::empty()).await;
    for data in [0, 1, 2, 3, 10, longest].map(pattern) {
        let to = Endpoint {
            address: THEIRS,
            port: PORT,
        };
        let crc32 = SendOptions {
            crc32: true,
            ..SendOptions::default()
        };
        let send = Command::SendTo {
            from: PORT,
            to,
            options: crc32,
            data: data.clone(),
        };
        pair.command(send).await;
        let datagram = Event::Datagram {
            port: PORT,
            from: to,
            data,
        };
        assert_eq!(pair.next().await, datagram);
        pair.peer.told("packet");
    }
    pair.peer.go();
    for size in [0, 255, longest] {
        assert_eq!(pair.peer.told("pong")["size"], size);
    }
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn csp_py_reads_our_frames_of_cfp1_and_we_read_its() {
    run(frames_of_can_pass_both_ways(Version::V1));
}

#[test]
#[ignore = "needs cubesat-space-protocol-py; tests/interop/setup.sh installs it"]
fn csp_py_reads_our_frames_of_cfp2_and_we_read_its() {
    run(frames_of_can_pass_both_ways(Version::V2));
}
