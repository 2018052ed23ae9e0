//! Captures of services, HMAC and SFP, and a router, with a node of this crate in the place of libcsp.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Deduplication, Endpoint, Event, Flags, Header, Ident, InterfaceConfig, Packet,
    SendOptions, ServiceAnswer, ServiceSet, Services, SharedKey, SocketOptions, Text, Version,
};
use farlink::{Hop, Machine as _, Tag};

use crate::csp_captures::{Capture, Side, captures};
use crate::talk::Talk;

fn key() -> SharedKey {
    SharedKey::from_passphrase(b"interop-key")
}

fn frames(capture: &Capture, side: Side) -> Vec<Vec<u8>> {
    let frames = capture.frames().filter(|frame| frame.from == Some(side));
    frames.map(|frame| frame.octets.to_vec()).collect()
}

#[test]
fn captured_pings_with_hmac_and_crc32_are_answered_octet_by_octet() {
    let captures = captures("csp", "ping_hmac_crc32");
    assert_eq!(captures.len(), 2);
    for capture in captures {
        let mut server = Talk::new(Config {
            version: capture.version(),
            hmac_key: Some(key()),
            ..Config::default()
        });
        for octets in frames(&capture, Side::Client) {
            server.receive(&octets);
        }
        assert_eq!(server.take_sent(), frames(&capture, Side::Server));
    }
}

#[test]
fn captured_requests_to_services_are_answered_octet_by_octet() {
    let captures = captures("csp", "services_");
    assert_eq!(captures.len(), 2);
    for capture in captures {
        let expected = frames(&capture, Side::Server);
        let version = capture.version();
        let data = |at: usize| {
            let packet = Packet::decode(version, &expected[at]).unwrap();
            packet.split_crc32(version).unwrap().data.to_vec()
        };
        let word = |at: usize, from: usize| {
            u32::from_be_bytes(data(at)[from..from + 4].try_into().unwrap())
        };
        let mut server = Talk::new(Config {
            version,
            interfaces: vec![InterfaceConfig {
                name: Text::new("UDP").unwrap(),
                ..InterfaceConfig::default()
            }],
            services: Services {
                by_node: ServiceSet::IDENT | ServiceSet::INTERFACE_STATS,
                by_application: ServiceSet::CLOCK
                    | ServiceSet::UPTIME
                    | ServiceSet::FREE_BUFFERS
                    | ServiceSet::FREE_MEMORY,
                ident: Ident {
                    hostname: Text::new("refhost").unwrap(),
                    model: Text::new("refmodel").unwrap(),
                    revision: Text::new("1.0").unwrap(),
                    date: Text::new("Nov 21 2026").unwrap(),
                    time: Text::new("06:40:22").unwrap(),
                },
                ..Services::default()
            },
            ..Config::default()
        });
        let answers = [
            ServiceAnswer::Clock(farlink::csp::Timestamp {
                seconds: word(2, 2),
                nanoseconds: word(2, 6),
            }),
            ServiceAnswer::Uptime(word(3, 0)),
            ServiceAnswer::FreeBuffers(word(4, 0)),
            ServiceAnswer::FreeMemory(word(5, 0)),
        ];
        let mut answers = answers.into_iter();
        for octets in frames(&capture, Side::Client) {
            server.receive(&octets);
            for event in server.take_events() {
                let Event::ServiceRequested { id, .. } = event else {
                    panic!("{event:?}");
                };
                let answer = answers.next();
                server
                    .command(Command::Answer {
                        request: id,
                        answer,
                    })
                    .unwrap();
            }
        }
        assert_eq!(server.take_sent(), expected, "{}", capture.name);
    }
}

/// The payload of the captures.
fn payload() -> Vec<u8> {
    let octet = |offset: usize| u8::try_from((offset * 7 + (offset >> 8) * 13 + 3) % 256).unwrap();
    (0..1003).map(octet).collect()
}

#[test]
fn captured_fragments_without_connection_are_taken_and_sent_octet_by_octet() {
    for capture in captures("csp", "sfp_") {
        if capture.name.contains("rdp") {
            continue;
        }
        let version = capture.version();
        let (sent, name) = (frames(&capture, Side::Client), &capture.name);
        let mut server = Talk::new(Config {
            version,
            ..Config::default()
        });
        let options = SocketOptions::empty();
        server.command(Command::Bind { port: 12, options }).unwrap();
        let mut got = Vec::new();
        for octets in &sent {
            server.receive(octets);
            for event in server.take_events() {
                let Event::FragmentDatagram { place, data, .. } = event else {
                    panic!("{name}: {event:?}");
                };
                assert_eq!((place.offset as usize, place.total), (got.len(), 1003));
                got.extend_from_slice(&data);
            }
        }
        assert_eq!(got, payload(), "{name}");

        let header = Packet::decode(version, &sent[0]).unwrap().header;
        let mut client = Talk::new(Config {
            address: 2,
            version,
            ..Config::default()
        });
        client
            .command(Command::SendFragmentsTo {
                from: header.source_port,
                to: Endpoint {
                    address: 1,
                    port: 12,
                },
                options: SendOptions {
                    crc32: header.flags.contains(Flags::CRC32),
                    ..SendOptions::default()
                },
                mtu: 200,
                data: Bytes::from(payload()),
            })
            .unwrap();
        assert_eq!(client.take_sent(), sent, "{name}");
    }
}

#[test]
fn fragments_over_a_connection_arrive_whole_before_it_closes() {
    let mut node = Talk::new(Config {
        hmac_key: Some(key()),
        ..Config::default()
    });
    let options = SocketOptions::HMAC_REQUIRED;
    node.command(Command::Bind { port: 12, options }).unwrap();
    let to = Endpoint {
        address: 1,
        port: 12,
    };
    let options = SendOptions {
        hmac: true,
        crc32: true,
        ..SendOptions::default()
    };
    let tag = Tag(1);
    node.command(Command::Connect { tag, to, options }).unwrap();
    let opened = |event: &Event| match event {
        Event::Connected { connection, .. } => Some(*connection),
        _ => None,
    };
    let connection = node.take_events().iter().find_map(opened).unwrap();
    let data = vec![7; 50_000];

    node.command(Command::SendFragments {
        connection,
        mtu: 200,
        data: Bytes::from(data.clone()),
    })
    .unwrap();
    node.command(Command::Close(connection)).unwrap();
    node.pass(Duration::from_secs(60));

    let mut got = Vec::new();
    let mut left = Vec::new();
    for event in node.take_events() {
        match event {
            Event::Fragment { data, .. } => got.extend_from_slice(&data),
            Event::Closed { unacknowledged, .. } => left.push(unacknowledged),
            _ => {}
        }
    }
    assert_eq!(got, data);
    assert_eq!(left, [0, 0]);
}

fn router(prefixes: [u8; 3], addresses: [u16; 3]) -> Talk {
    let interfaces = prefixes.into_iter().zip(addresses);
    Talk::new(Config {
        address: addresses[0],
        interfaces: interfaces
            .map(|(prefix, address)| InterfaceConfig {
                address: Some(address),
                prefix,
                deduplication: Deduplication::All,
                ..InterfaceConfig::default()
            })
            .collect(),
        routes: Vec::new(),
        ..Config::default()
    })
}

fn packet(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let header = Header {
        source,
        destination,
        destination_port: 10,
        source_port: 20,
        ..Header::default()
    };
    let mut octets = Vec::new();
    Packet { header, data }.encode(Version::V2, &mut octets);
    octets
}

fn receive(talk: &mut Talk, interface: u8, octets: &[u8]) -> Vec<(Hop, Vec<u8>)> {
    let hop = Hop { interface, via: 0 };
    talk.node.receive(talk.now, hop, octets);
    talk.drain();
    core::mem::take(&mut talk.sent)
}

#[test]
fn a_router_passes_on_untouched_and_drops_what_is_repeated_within_100_ms() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0081, 0x00C1]);
    let octets = packet(0x0042, 0x0085, b"data");

    let hop = Hop {
        interface: 1,
        via: 0x0085,
    };
    assert_eq!(receive(&mut talk, 0, &octets), [(hop, octets.clone())]);
    assert_eq!(receive(&mut talk, 2, &octets), []);
    assert_eq!(talk.node.stats().repeated, 1);
    assert_eq!(talk.node.interface_stats(1).unwrap().sent, 1);
    talk.pass(Duration::from_millis(100));
    assert_eq!(receive(&mut talk, 2, &octets).len(), 1);
    // Split horizon.
    assert_eq!(receive(&mut talk, 1, &packet(1, 0x0086, b"back")), []);
    assert_eq!(talk.node.stats().other_address, 1);
}

#[test]
fn a_broadcast_to_a_subnet_becomes_one_to_all_nodes_where_it_arrives() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0081, 0x00C1]);
    let sent = receive(&mut talk, 0, &packet(0x0042, 0x00BF, b"all"));
    let hop = Hop {
        interface: 1,
        via: 0x3FFF,
    };
    assert_eq!(sent, [(hop, packet(0x0042, 0x3FFF, b"all"))]);
}

#[test]
fn two_interfaces_of_one_subnet_get_copies_and_pass_nothing_to_each_other() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0042, 0x0081]);
    assert_eq!(receive(&mut talk, 0, &packet(0x0043, 0x0044, b"x")), []);

    let sent = receive(&mut talk, 2, &packet(0x0085, 0x0044, b"y"));
    let interfaces: Vec<u8> = sent.iter().map(|(hop, _)| hop.interface).collect();
    assert_eq!(interfaces, [0, 1]);
    let counted = |at| talk.node.interface_stats(at).unwrap();
    assert_eq!([counted(0).sent, counted(1).sent], [1, 1]);
    assert_eq!(counted(0).dropped, 1);
}

#[test]
fn copies_of_a_packet_of_the_node_each_have_the_address_of_their_interface() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0042, 0x0081]);
    let to = Endpoint {
        address: 0x0044,
        port: 10,
    };
    talk.command(Command::SendTo {
        from: 20,
        to,
        options: SendOptions::default(),
        data: Bytes::from("x"),
    })
    .unwrap();
    let source = |octets: &Vec<u8>| Packet::decode(Version::V2, octets).unwrap().header.source;
    let sources: Vec<u16> = talk.take_sent().iter().map(source).collect();
    assert_eq!(sources, [0x0041, 0x0042]);
}

#[test]
fn a_bridge_passes_everything_and_takes_nothing() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        bridge: Some((0, 1)),
        ..Config::default()
    });
    let ping = packet(2, 1, b"for the node itself");
    let sent = receive(&mut talk, 1, &ping);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.interface, &sent[0].1), (0, &ping));
    assert!(talk.events.is_empty());
    assert_eq!(receive(&mut talk, 0, &ping), [], "a repetition");
}
