//! Nothing is allocated or freed once a node is made.

use core::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use farlink::csp::{
    Command, Config, ConnectionId, Endpoint, Event, InterfaceConfig, Node, Route, SendOptions,
    ServiceRequest, ServiceSet, Services, SocketOptions, SynOptions, Version,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};

use crate::packets::key;

const PACKETS: usize = 300;
static DATA: [u8; 200] = [7; 200];
static WHOLE: [u8; 30_000] = [7; 30_000];
/// The longest packet with its header.
const LONGEST: usize = 262;
const CLIENT: usize = 0;

/// How the client sends.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Packets,
    Fragments,
}

/// Nodes in a row, on lines that lose every seventh packet. The first is the client, the last the server.
struct Row {
    nodes: Vec<Node>,
    tx: Vec<Transmit<Hop>>,
    /// Packets under way: to whom, by which interface, and their octets. Memory of the test, taken before it counts.
    flying: Vec<(usize, u8, [u8; LONGEST], usize)>,
    now: Instant,
    kind: Kind,
    options: SendOptions,
    written: usize,
    received: usize,
    datagrams: usize,
    answers: u32,
    closed: usize,
    left: [usize; 8],
}

impl Row {
    fn new(configs: Vec<Config>, kind: Kind, options: SendOptions) -> Self {
        let tx = || {
            let mut tx = Transmit::with_memory(Limits::default(), Vec::with_capacity(1 << 17));
            tx.clear();
            tx
        };
        let count = configs.len();
        let nodes = configs.into_iter().zip(1_u64..);
        let mut nodes: Vec<Node> = nodes
            .map(|(config, seed)| Node::new(config, &Seed::from(seed)).unwrap())
            .collect();
        let bind = Command::Bind {
            port: 10,
            options: SocketOptions::empty(),
        };
        nodes[count - 1].command(Instant::ZERO, bind).unwrap();
        Self {
            nodes,
            tx: (0..count).map(|_| tx()).collect(),
            flying: Vec::with_capacity(10_000),
            now: Instant::ZERO,
            kind,
            options,
            written: 0,
            received: 0,
            datagrams: 0,
            answers: 0,
            closed: 0,
            left: [PACKETS; 8],
        }
    }

    /// Interface 0 of a node leads to the one before, and of the client to the next; interface 1 to the next.
    fn neighbour(&self, at: usize, interface: u8) -> (usize, u8) {
        if at > 0 && interface == 0 {
            let is_router = at - 1 > 0;
            return (at - 1, u8::from(is_router));
        }
        assert!(at + 1 < self.nodes.len());
        (at + 1, 0)
    }

    fn drain(&mut self, at: usize) {
        loop {
            match self.nodes[at].poll(self.now, &mut self.tx[at]) {
                Output::Transmit => {
                    let hop = self.tx[at].to().unwrap();
                    let (to, interface) = self.neighbour(at, hop.interface);
                    for packet in self.tx[at].datagrams() {
                        self.written += 1;
                        if !self.written.is_multiple_of(7) {
                            let mut octets = [0; LONGEST];
                            octets[..packet.len()].copy_from_slice(packet);
                            self.flying.push((to, interface, octets, packet.len()));
                        }
                    }
                }
                Output::Event(event) => self.on_event(at, &event),
                Output::Yield => {}
                _ => return,
            }
        }
    }

    fn on_event(&mut self, at: usize, event: &Event) {
        match *event {
            Event::Connected { connection, .. } if self.kind == Kind::Fragments => {
                let send = Command::SendFragments {
                    connection,
                    mtu: 200,
                    data: Bytes::from_static(&WHOLE),
                };
                self.nodes[at].command(self.now, send).unwrap();
                let close = Command::Close(connection);
                self.nodes[at].command(self.now, close).unwrap();
            }
            Event::Connected { connection, .. } | Event::Room(connection) => {
                self.fill(at, connection);
            }
            Event::Received { .. } | Event::Fragment { .. } => self.received += 1,
            Event::Closed { .. } => self.closed += 1,
            // All its SYNs were lost.
            Event::ConnectFailed { tag, .. } => self.connect(tag),
            Event::FragmentDatagram { .. } => self.datagrams += 1,
            Event::PingEnded { answers, .. } | Event::RequestEnded { answers, .. } => {
                self.answers += answers;
            }
            _ => {}
        }
    }

    /// The slots of the connections of the client are those of their tags.
    fn fill(&mut self, at: usize, connection: ConnectionId) {
        let left = &mut self.left[connection.slot()];
        while *left > 0 {
            let data = Bytes::from_static(&DATA);
            let send = Command::Send { connection, data };
            if self.nodes[at].command(self.now, send).is_err() {
                return;
            }
            *left -= 1;
        }
        let close = Command::Close(connection);
        self.nodes[at].command(self.now, close).unwrap();
    }

    fn connect_all(&mut self) {
        for number in 0..8 {
            self.connect(Tag(number));
        }
    }

    fn connect(&mut self, tag: Tag) {
        let to = Endpoint {
            address: 2,
            port: 10,
        };
        let options = self.options;
        let connect = Command::Connect { tag, to, options };
        self.nodes[CLIENT].command(self.now, connect).unwrap();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for at in 0..self.nodes.len() {
                self.drain(at);
            }
            let mut taken = [(0, 0, [0; LONGEST], 0); 32];
            let count = self.flying.len().min(32);
            taken[..count].copy_from_slice(&self.flying[..count]);
            self.flying.drain(..count);
            self.now += Duration::from_millis(1);
            for (to, interface, octets, len) in &taken[..count] {
                let from = Hop {
                    interface: *interface,
                    via: 0,
                };
                self.nodes[*to].receive(self.now, from, &octets[..*len]);
                self.drain(*to);
            }
        }
    }
}

fn config(address: u16) -> Config {
    Config {
        address,
        rdp: SynOptions {
            window: 10,
            ..SynOptions::default()
        },
        ..Config::default()
    }
}

#[test]
fn from_the_first_syn_to_the_last_rst_nothing_is_allocated() {
    let nodes = vec![config(1), config(2)];
    let mut row = Row::new(nodes, Kind::Packets, SendOptions::default());

    let counted = measure(|| {
        row.connect_all();
        row.run(Duration::from_secs(60));
    });

    assert_eq!(row.received, 8 * PACKETS, "all slots, each packet once");
    assert_eq!(row.closed, 16);
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

/// All slots are busy with fragments, under HMAC and CRC32, through a router; beside them fragments without connection,
/// pings and requests.
#[test]
fn fragments_hmac_services_and_a_router_allocate_nothing() {
    let node = |address| Config {
        hmac_key: Some(key()),
        promiscuous: 4,
        services: Services {
            by_node: ServiceSet::OF_NODE,
            ..Services::default()
        },
        ..config(address)
    };
    let routes = |interface| Route {
        address: if interface == 0 { 1 } else { 2 },
        prefix: Version::V2.address_bits(),
        interface,
        via: None,
    };
    let between = Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        routes: vec![routes(0), routes(1)],
        ..node(3)
    };
    let options = SendOptions {
        crc32: true,
        hmac: true,
        ..SendOptions::default()
    };
    let nodes = vec![node(1), between, node(2)];
    let mut row = Row::new(nodes, Kind::Fragments, options);

    let counted = measure(|| {
        row.connect_all();
        for number in 0..60 {
            row.run(Duration::from_secs(1));
            let (tag, timeout) = (Tag(number), Duration::from_millis(900));
            let to = Endpoint {
                address: 2,
                port: 10,
            };
            let client = &mut row.nodes[CLIENT];
            for command in [
                Command::SendFragmentsTo {
                    from: 20,
                    to,
                    options,
                    mtu: 200,
                    data: Bytes::from_static(&WHOLE[..1000]),
                },
                Command::Ping {
                    tag,
                    destination: 2,
                    octets: 100,
                    timeout,
                },
                Command::Request {
                    tag,
                    destination: 2,
                    request: ServiceRequest::Ident,
                    timeout,
                },
            ] {
                client.command(row.now, command).unwrap();
            }
        }
        row.run(Duration::from_secs(20));
    });

    assert_eq!(row.received, 8 * WHOLE.len() / 200, "each fragment once");
    assert_eq!(row.closed, 16);
    let (datagrams, answers) = (row.datagrams, row.answers);
    assert!(datagrams > 50 && answers > 30, "{datagrams} {answers}");
    assert!(row.nodes[1].stats().forwarded > 2000);
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

#[test]
fn the_footprint_covers_what_a_node_allocates() {
    for (connections, max_data) in [(0, 33), (1, 256), (8, 256), (32, 2048)] {
        let config = Config {
            connections,
            max_data,
            ..Config::default()
        };
        let full = Config {
            interfaces: vec![InterfaceConfig::default(); 3],
            promiscuous: 9,
            max_remembered: 7,
            services: Services {
                by_application: ServiceSet::all(),
                ..Services::default()
            },
            aliases: vec![5; 3],
            version: Version::V1,
            xtea_key: Some(key()),
            ..config.clone()
        };
        for config in [config, full] {
            let footprint = config.footprint();
            let mut node = None;

            let counted = measure(|| node = Node::new(config, &Seed::from(1)).ok());

            assert!(node.is_some());
            let allocated = counted.bytes_current.unsigned_abs();
            let footprint = u64::try_from(footprint).unwrap();
            assert!(allocated <= footprint, "{allocated} of {footprint}");
            assert!(
                footprint <= allocated + allocated / 4 + 20_000,
                "{allocated} of {footprint}"
            );
        }
    }
}
