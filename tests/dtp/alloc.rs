//! Nothing is allocated or freed once a node is made.

use core::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use farlink::dtp::{Command, Config, Event, GetOptions, MemoryRequest, Node, VmemTransport};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};

const SIZE: usize = 40_000;
static PAYLOAD: [u8; SIZE] = [9; SIZE];

/// Two nodes on a line that loses every ninth packet.
struct Pair {
    nodes: [Node; 2],
    tx: [Transmit<Hop>; 2],
    /// Packets under way: to whom, and their octets. Memory of the test, taken before it counts.
    flying: Vec<(usize, [u8; 256], usize)>,
    now: Instant,
    written: usize,
    octets: usize,
    complete: usize,
}

impl Pair {
    fn new(nodes: [Node; 2]) -> Self {
        let tx = || Transmit::with_memory(Limits::default(), Vec::with_capacity(1 << 17));
        Self {
            nodes,
            tx: [tx(), tx()],
            flying: Vec::with_capacity(100_000),
            now: Instant::ZERO,
            written: 0,
            octets: 0,
            complete: 0,
        }
    }

    fn drain(&mut self, at: usize) {
        loop {
            match self.nodes[at].poll(self.now, &mut self.tx[at]) {
                Output::Transmit => {
                    for packet in self.tx[at].datagrams() {
                        self.written += 1;
                        if !self.written.is_multiple_of(9) {
                            let mut octets = [0; 256];
                            octets[..packet.len()].copy_from_slice(packet);
                            self.flying.push((1 - at, octets, packet.len()));
                        }
                    }
                }
                Output::Event(Event::Data { data, .. }) => self.octets += data.len(),
                Output::Event(Event::Complete { .. }) => self.complete += 1,
                Output::Event(Event::Failed { .. }) => panic!("failed"),
                Output::Event(_) | Output::Yield => {}
                _ => return,
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let from = Hop {
            interface: 0,
            via: 0,
        };
        while self.now < end {
            for at in [0, 1] {
                self.drain(at);
            }
            self.now += Duration::from_millis(1);
            let count = self.flying.len().min(32);
            for place in 0..count {
                let (to, octets, len) = self.flying[place];
                self.nodes[to].receive(self.now, from, &octets[..len]);
                self.drain(to);
            }
            self.flying.drain(..count);
        }
    }
}

#[test]
fn from_the_first_syn_to_the_last_rst_nothing_is_allocated() {
    let node = |address| {
        let mut config = Config::default();
        config.csp.address = address;
        Node::new(config, &Seed::from(u64::from(address))).unwrap()
    };
    let mut pair = Pair::new([node(1), node(2)]);

    let counted = measure(|| {
        for payload in 0..4 {
            let data = Bytes::from_static(&PAYLOAD);
            let serve = Command::Serve { payload, data };
            pair.nodes[0].command(pair.now, serve).unwrap();
            let get = Command::Get {
                tag: Tag(payload.into()),
                server: 1,
                payload,
                options: GetOptions {
                    throughput: 100_000,
                    ..GetOptions::default()
                },
            };
            pair.nodes[1].command(pair.now, get).unwrap();
        }
        pair.run(Duration::from_secs(60));
    });

    assert_eq!(
        (pair.complete, pair.octets),
        (4, 4 * SIZE),
        "all slots, each octet once"
    );
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

#[test]
fn messages_of_vmem_and_what_they_ask_for_allocate_nothing() {
    let node = |address| {
        let mut config = Config {
            vmem_messages: 4,
            ..Config::default()
        };
        config.csp.address = address;
        Node::new(config, &Seed::from(u64::from(address))).unwrap()
    };
    let mut pair = Pair::new([node(1), node(2)]);

    let counted = measure(|| {
        for payload in 0..4 {
            let data = Bytes::from_static(&PAYLOAD);
            let address = u64::from(payload) << 20;
            for command in [
                Command::Serve { payload, data },
                Command::ServeMemory { payload, address },
            ] {
                pair.nodes[0].command(pair.now, command).unwrap();
            }
            let transport = [VmemTransport::Rdp, VmemTransport::Datagrams];
            let request = MemoryRequest {
                transport: transport[usize::from(payload % 2)],
                keep_alive: Duration::from_millis(50),
                ..MemoryRequest::new(1, address, u32::try_from(SIZE).unwrap())
            };
            let get = Command::GetMemory {
                tag: Tag(payload.into()),
                request,
                session: None,
                options: GetOptions::default(),
            };
            pair.nodes[1].command(pair.now, get).unwrap();
        }
        pair.run(Duration::from_secs(60));
    });

    assert_eq!((pair.complete, pair.octets), (4, 4 * SIZE));
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

#[test]
fn the_footprint_covers_what_a_node_allocates() {
    for (clients, servers, max_holes) in [(0, 0, 1), (4, 4, 1024), (50, 50, 20_u16)] {
        let config = Config {
            vmem_messages: max_holes.to_le_bytes()[0],
            clients,
            servers,
            max_holes,
            ..Config::default()
        };
        let footprint = u64::try_from(config.footprint()).unwrap();
        let mut node = None;

        let counted = measure(|| node = Node::new(config, &Seed::from(1)).ok());

        assert!(node.is_some());
        let allocated = counted.bytes_current.unsigned_abs();
        assert!(allocated <= footprint, "{allocated} of {footprint}");
        assert!(
            footprint <= allocated + allocated / 4 + 20_000,
            "{allocated} of {footprint}"
        );
    }
}
