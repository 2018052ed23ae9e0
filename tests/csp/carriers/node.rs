//! Nodes whose interfaces have carriers other than UDP.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::carriers::{ByteOrder, EtherAddress};
use farlink::csp::{
    Command, Config, Encapsulation, Endpoint, Event, InterfaceConfig, Node, SendOptions,
    SocketOptions, Version,
};
use farlink::{Hop, Instant, Limits, Link, Machine as _, Output, Seed, Tag, Transmit};

use super::{CAN, all};

const PORT: u8 = 10;
/// The interface that both nodes have.
const AT: Hop = Hop {
    interface: 0,
    via: 0,
};

/// Two nodes, and what is under way between them: datagrams, or octets of a stream.
struct Line {
    nodes: [Node; 2],
    limits: Limits,
    now: Instant,
    carried: usize,
    /// Of so many datagrams one changes places with the one before.
    swaps: usize,
}

impl Line {
    fn new(kinds: [Encapsulation; 2], version: Version, limits: Limits) -> Self {
        let node = |address: u16, encapsulation| {
            let config = Config {
                address,
                version,
                interfaces: vec![InterfaceConfig {
                    encapsulation,
                    ..InterfaceConfig::default()
                }],
                ..Config::default()
            };
            Node::new(config, &Seed::from(u64::from(address))).unwrap()
        };
        let [one, other] = kinds;
        let mut nodes = [node(1, one), node(2, other)];
        for node in &mut nodes {
            node.link(Instant::ZERO, AT, Link::Up);
        }
        Self {
            nodes,
            limits,
            now: Instant::ZERO,
            carried: 0,
            swaps: usize::MAX,
        }
    }

    fn drain(&mut self, from: usize) -> (Vec<Vec<u8>>, Vec<Event>) {
        let (mut carried, mut events) = (Vec::new(), Vec::new());
        let mut tx = Transmit::new(self.limits);
        loop {
            match self.nodes[from].poll(self.now, &mut tx) {
                Output::Transmit if tx.is_stream() => carried.push(tx.octets().to_vec()),
                Output::Transmit => carried.extend(tx.datagrams().map(<[u8]>::to_vec)),
                Output::Event(event) => events.push(event),
                Output::Yield => {}
                _ => break,
            }
        }
        for at in 1..carried.len() {
            self.carried += 1;
            if self.carried.is_multiple_of(self.swaps) {
                carried.swap(at - 1, at);
            }
        }
        (carried, events)
    }

    /// Carries what the nodes send for a time, and returns the events of both.
    fn pass(&mut self, time: Duration) -> [Vec<Event>; 2] {
        let end = self.now + time;
        let mut told = [Vec::new(), Vec::new()];
        while self.now < end {
            for from in [0, 1] {
                let (carried, events) = self.drain(from);
                told[from].extend(events);
                for octets in carried {
                    self.nodes[1 - from].receive(self.now, AT, &octets);
                }
            }
            self.now += Duration::from_millis(10);
        }
        told
    }

    /// Has node 1 send packets to node 2 on a connection, and returns the data that came and the end.
    fn transfer(&mut self, packets: &[Bytes]) -> Vec<Bytes> {
        let options = SocketOptions::empty();
        let bind = Command::Bind {
            port: PORT,
            options,
        };
        self.nodes[1].command(self.now, bind).unwrap();
        let connect = Command::Connect {
            tag: Tag(1),
            to: Endpoint {
                address: 2,
                port: PORT,
            },
            options: SendOptions {
                crc32: true,
                ..SendOptions::default()
            },
        };
        self.nodes[0].command(self.now, connect).unwrap();
        let [events, _] = self.pass(Duration::from_millis(100));
        let [Event::Connected { connection, .. }] = events[..] else {
            panic!("{events:?}")
        };
        for data in packets {
            let data = data.clone();
            let send = Command::Send { connection, data };
            self.nodes[0].command(self.now, send).unwrap();
        }
        let close = Command::Close(connection);
        self.nodes[0].command(self.now, close).unwrap();
        let [ours, theirs] = self.pass(Duration::from_secs(10));
        let Some(Event::Closed {
            unacknowledged: 0, ..
        }) = ours.last()
        else {
            panic!("{ours:?}")
        };
        let received = theirs.into_iter().filter_map(|event| match event {
            Event::Received { data, .. } => Some(data),
            _ => None,
        });
        received.collect()
    }
}

fn packets() -> Vec<Bytes> {
    let packet = |number: u8| Bytes::from(vec![number; 240]);
    (0xB0..0xCA).map(packet).collect()
}

#[test]
fn a_connection_delivers_all_over_every_carrier() {
    for version in [Version::V1, Version::V2] {
        for kind in all(version) {
            // A KISS frame, and a packet in frames of CAN, exceed what one transmit holds.
            for limits in [Limits::default(), Limits::new(300, 3, 300)] {
                let mut line = Line::new([kind; 2], version, limits);

                assert_eq!(line.transfer(&packets()), packets(), "{kind:?}, {limits:?}");
            }
        }
    }
}

#[test]
fn swapped_frames_of_can_cost_no_packet_a_repetition() {
    for version in [Version::V1, Version::V2] {
        let mut line = Line::new([CAN; 2], version, Limits::default());
        line.swaps = 37;

        assert_eq!(line.transfer(&packets()), packets(), "{version:?}");
        assert!(line.carried > 800, "{} frames", line.carried);
        assert_eq!(line.nodes[0].stats().resent, 0);
    }
}

#[test]
fn nodes_that_take_different_forms_of_zmq_hear_nothing_of_each_other() {
    let forms = [
        Encapsulation::NextHop(ByteOrder::BigEndian),
        Encapsulation::NextHop(ByteOrder::LittleEndian),
        Encapsulation::Packet,
    ];
    for one in forms {
        for other in forms {
            let mut line = Line::new([one, other], Version::V1, Limits::default());
            let ping = Command::Ping {
                tag: Tag(3),
                destination: 2,
                octets: 8,
                timeout: Duration::from_secs(1),
            };
            line.nodes[0].command(line.now, ping).unwrap();
            let [events, _] = line.pass(Duration::from_secs(2));
            let expected = u32::from(one == other);
            let ended = Event::PingEnded {
                tag: Tag(3),
                answers: expected,
            };
            assert_eq!(events.last(), Some(&ended), "{one:?} to {other:?}");
        }
    }
}

#[test]
fn nothing_is_written_to_a_full_carrier_and_the_rest_of_a_packet_follows() {
    let mut line = Line::new([CAN; 2], Version::V2, Limits::single(100));
    let send = Command::SendTo {
        from: 20,
        to: Endpoint {
            address: 2,
            port: PORT,
        },
        options: SendOptions::default(),
        data: Bytes::from(vec![7; 100]),
    };
    let options = SocketOptions::empty();
    let bind = Command::Bind {
        port: PORT,
        options,
    };
    line.nodes[1].command(line.now, bind).unwrap();
    line.nodes[0].command(line.now, send).unwrap();
    let mut tx = Transmit::new(line.limits);
    let first = line.nodes[0].poll(line.now, &mut tx);
    assert_eq!(first, Output::Transmit);
    line.nodes[1].receive(line.now, AT, tx.octets());

    line.nodes[0].link(line.now, AT, Link::Full);
    assert!(line.drain(0).0.is_empty());
    line.nodes[0].link(line.now, AT, Link::Free);
    let [_, events] = line.pass(Duration::from_millis(20));

    assert!(matches!(&events[..], [Event::Datagram { data, .. }] if data.len() == 100));
}

#[test]
fn a_stream_that_begins_anew_loses_what_it_had_in_part() {
    let mut line = Line::new([Encapsulation::KISS; 2], Version::V2, Limits::default());
    line.nodes[1].receive(line.now, AT, &[0xC0, 0, 1, 2, 3]);
    for node in &mut line.nodes {
        node.link(line.now, AT, Link::Up);
    }

    assert_eq!(line.transfer(&packets()), packets());
    // Of another hop on the interface there is no stream.
    let elsewhere = Hop { via: 4, ..AT };
    let received = line.nodes[1].stats().received;
    line.nodes[1].receive(line.now, elsewhere, b"\xC0\0datadata\0\0\0\0\xC0");
    assert_eq!(line.nodes[1].stats().received, received);
}

#[test]
fn stations_of_ethernet_learn_each_other() {
    let kind = |last| Encapsulation::Ethernet {
        address: EtherAddress([2, 0, 0, 0, 0, last]),
        mtu: 100,
    };
    let mut line = Line::new([kind(1), kind(2)], Version::V2, Limits::default());

    assert_eq!(line.transfer(&packets()), packets());
}
