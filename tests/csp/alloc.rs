//! Nothing is allocated or freed once a node is made.

use core::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Event, Node, SendOptions, SocketOptions, SynOptions,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};

const PACKETS: usize = 300;
static DATA: [u8; 200] = [7; 200];

/// Two nodes on a line that loses every seventh packet.
struct Pair {
    nodes: [Node; 2],
    tx: [Transmit<Hop>; 2],
    /// Packets under way: their octets and to whom. Memory of the test, taken before it counts.
    flying: Vec<(usize, [u8; 256], usize)>,
    now: Instant,
    written: usize,
    received: usize,
    closed: usize,
    left: [usize; 8],
}

impl Pair {
    fn drain(&mut self, at: usize) {
        loop {
            match self.nodes[at].poll(self.now, &mut self.tx[at]) {
                Output::Transmit => {
                    for packet in self.tx[at].datagrams() {
                        self.written += 1;
                        if !self.written.is_multiple_of(7) {
                            let mut octets = [0; 256];
                            octets[..packet.len()].copy_from_slice(packet);
                            self.flying.push((1 - at, octets, packet.len()));
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
            Event::Connected { connection, .. } | Event::Room(connection) => {
                self.fill(at, connection);
            }
            Event::Received { .. } => self.received += 1,
            Event::Closed { .. } => self.closed += 1,
            _ => {}
        }
    }

    /// The slots of the connections of the client are those of their tags.
    fn fill(&mut self, at: usize, connection: farlink::csp::ConnectionId) {
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

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for at in [0, 1] {
                self.drain(at);
            }
            let mut taken = [(0, [0; 256], 0); 32];
            let count = self.flying.len().min(32);
            taken[..count].copy_from_slice(&self.flying[..count]);
            self.flying.drain(..count);
            self.now += Duration::from_millis(1);
            for (to, octets, len) in &taken[..count] {
                let from = Hop {
                    interface: 0,
                    via: 0,
                };
                self.nodes[*to].receive(self.now, from, &octets[..*len]);
                self.drain(*to);
            }
        }
    }
}

#[test]
fn from_the_first_syn_to_the_last_rst_nothing_is_allocated() {
    let config = |address| Config {
        address,
        rdp: SynOptions {
            window: 10,
            ..SynOptions::default()
        },
        ..Config::default()
    };
    let node = |address| Node::new(config(address), &Seed::from(u64::from(address))).unwrap();
    let tx = || {
        let mut tx = Transmit::with_memory(Limits::default(), Vec::with_capacity(1 << 17));
        tx.clear();
        tx
    };
    let mut pair = Pair {
        nodes: [node(1), node(2)],
        tx: [tx(), tx()],
        flying: Vec::with_capacity(10_000),
        now: Instant::ZERO,
        written: 0,
        received: 0,
        closed: 0,
        left: [PACKETS; 8],
    };
    let options = SocketOptions::empty();
    let bind = Command::Bind { port: 10, options };
    pair.nodes[1].command(pair.now, bind).unwrap();

    let counted = measure(|| {
        for number in 0..8 {
            let connect = Command::Connect {
                tag: Tag(number),
                to: Endpoint {
                    address: 2,
                    port: 10,
                },
                options: SendOptions::default(),
            };
            pair.nodes[0].command(pair.now, connect).unwrap();
        }
        pair.run(Duration::from_secs(60));
    });

    assert_eq!(pair.received, 8 * PACKETS, "all slots, each packet once");
    assert_eq!(pair.closed, 16);
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
