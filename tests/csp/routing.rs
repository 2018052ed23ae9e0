//! Addresses, subnets, routes, and what is passed on.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Deduplication, Encapsulation, Endpoint, Error, Event, Flags, Header,
    InterfaceConfig, Node, Packet, RdpFlags, RdpHeader, Route, SendOptions, SequenceNumber,
    SocketOptions, SynOptions, Version,
};
use farlink::sim::{Host, Line, World};
use farlink::{Hop, Machine as _, Seed, Tag};

use crate::packets::{sealed, unsealed};
use crate::talk::Talk;

const V2: Version = Version::V2;

fn router(prefixes: [u8; 3], addresses: [u16; 3]) -> Talk {
    router_with(Deduplication::All, prefixes, addresses)
}

fn router_with(deduplication: Deduplication, prefixes: [u8; 3], addresses: [u16; 3]) -> Talk {
    let interfaces = prefixes.into_iter().zip(addresses);
    Talk::new(Config {
        address: addresses[0],
        interfaces: interfaces
            .map(|(prefix, address)| InterfaceConfig {
                address: Some(address),
                prefix,
                deduplication,
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
    Packet { header, data }.encode(V2, &mut octets);
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
fn each_kind_of_deduplication_drops_the_repetitions_that_it_names() {
    for (kind, for_node, for_others) in [
        (Deduplication::Off, 2, 2),
        (Deduplication::Incoming, 1, 2),
        (Deduplication::Forwarded, 2, 1),
        (Deduplication::All, 1, 1),
    ] {
        let mut talk = router_with(kind, [8, 8, 8], [0x0041, 0x0081, 0x00C1]);
        let (port, options) = (10, SocketOptions::empty());
        talk.command(Command::Bind { port, options }).unwrap();
        let mut passed = 0;
        for destination in [0x0041, 0x0085] {
            let octets = packet(0x0042, destination, b"data");
            for interface in [0, 2] {
                passed += receive(&mut talk, interface, &octets).len();
            }
        }

        let taken = talk.take_events().len();
        assert_eq!((taken, passed), (for_node, for_others), "{kind:?}");
        let repeated = u64::try_from(4 - taken - passed).unwrap();
        assert_eq!(talk.node.stats().repeated, repeated, "{kind:?}");
    }
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
    let source = |octets: &Vec<u8>| Packet::decode(V2, octets).unwrap().header.source;
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

#[test]
fn a_packet_for_the_interface_it_came_from_is_not_passed_on() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        ..Config::default()
    });
    assert_eq!(receive(&mut talk, 0, &packet(2, 7, b"x")), []);
    assert_eq!(talk.node.stats().other_address, 1);
    assert_eq!(receive(&mut talk, 1, &packet(2, 7, b"y")).len(), 1);
}

#[test]
fn a_packet_to_which_no_route_leads_is_dropped_and_counted_so() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        routes: Vec::new(),
        ..Config::default()
    });
    assert_eq!(receive(&mut talk, 0, &packet(2, 7, b"x")), []);
    let stats = talk.node.stats();
    assert_eq!((stats.no_route, stats.other_address), (1, 0));
    assert_eq!(talk.node.interface_stats(0).unwrap().dropped, 1);
}

#[test]
fn a_node_that_forwards_nothing_drops_packets_for_others() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        forward: false,
        ..Config::default()
    });
    assert_eq!(receive(&mut talk, 1, &packet(2, 7, b"x")), []);
    assert_eq!(talk.node.stats().other_address, 1);
}

#[test]
fn default_interfaces_get_copies_of_what_no_subnet_and_no_route_leads_to() {
    let interface = |prefix, is_default| InterfaceConfig {
        prefix,
        is_default,
        ..InterfaceConfig::default()
    };
    let mut talk = Talk::new(Config {
        address: 0x0041,
        interfaces: vec![
            interface(8, false),
            interface(0, true),
            interface(0, true),
            interface(0, false),
        ],
        routes: vec![Route {
            address: 0x0100,
            prefix: 6,
            interface: 3,
            via: None,
        }],
        ..Config::default()
    });
    let mut exits = |address| {
        let to = Endpoint { address, port: 10 };
        talk.command(send_to(to)).unwrap();
        let sent = talk.sent.drain(..);
        sent.map(|(hop, _)| hop.interface).collect::<Vec<u8>>()
    };

    assert_eq!(exits(0x0042), [0], "a subnet");
    assert_eq!(exits(0x0101), [3], "a route");
    assert_eq!(exits(0x0900), [1, 2], "neither");
}

fn send_to(to: Endpoint) -> Command {
    Command::SendTo {
        from: 20,
        to,
        options: SendOptions::default(),
        data: Bytes::from("x"),
    }
}

#[test]
fn a_node_takes_packets_to_its_aliases_and_answers_from_them() {
    let mut talk = Talk::new(Config {
        aliases: vec![40, 41],
        ..Config::default()
    });
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port: 10, options }).unwrap();
    let header = |destination, destination_port, flags| Header {
        source: 2,
        destination,
        destination_port,
        source_port: 20,
        flags,
        ..Header::default()
    };

    let ping = header(40, 1, Flags::CRC32);
    talk.receive(&sealed(V2, ping, b"ping"));
    assert_eq!(talk.take_sent(), [sealed(V2, ping.reversed(), b"ping")]);

    talk.receive(&packet(2, 41, b"x"));
    assert!(matches!(talk.take_events()[..], [Event::Datagram { .. }]));

    let syn = RdpHeader {
        flags: RdpFlags::SYN,
        count: 0,
        sequence: SequenceNumber(7),
        acknowledgement: SequenceNumber(0),
    };
    let data = [&SynOptions::default().encode()[..], &syn.encode()].concat();
    talk.receive(&sealed(V2, header(41, 10, Flags::RDP), &data));
    let sent = talk.take_sent();
    assert_eq!(unsealed(V2, &sent[0]).header.source, 41, "SYN+ACK");

    talk.receive(&packet(2, 42, b"x"));
    assert_eq!(talk.node.stats().other_address, 1);
}

#[test]
fn packets_to_an_alias_of_the_node_come_back_to_it() {
    let mut talk = Talk::new(Config {
        aliases: vec![40],
        ..Config::default()
    });
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port: 10, options }).unwrap();
    let to = Endpoint {
        address: 40,
        port: 10,
    };
    talk.command(send_to(to)).unwrap();

    assert!(talk.sent.is_empty());
    assert_eq!(talk.take_events().len(), 1);
}

#[test]
fn an_alias_that_no_header_can_have_is_refused() {
    for (version, alias) in [(Version::V1, 31), (V2, 16_383)] {
        let config = Config {
            aliases: vec![alias],
            version,
            ..Config::default()
        };
        let refused = Node::new(config, &Seed::from(1)).unwrap_err();
        let limit = alias - 1;
        let expected = format!("address {alias} exceeds the limit of {limit}");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn the_promiscuous_tap_has_all_that_is_received_sent_and_passed_on_up_to_its_limit() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        promiscuous: 3,
        ..Config::default()
    });
    let tapped = |talk: &mut Talk| {
        let events = talk.take_events().into_iter();
        let tapped = events.filter_map(|event| match event {
            Event::Promiscuous { from, octets } => Some((from, octets.to_vec())),
            _ => None,
        });
        tapped.collect::<Vec<_>>()
    };
    let hop = |interface| Hop { interface, via: 0 };

    let to_node = packet(2, 1, b"to the node, where no port is open");
    receive(&mut talk, 0, &to_node);
    assert_eq!(tapped(&mut talk), [(Some(hop(0)), to_node)]);

    let to_other = packet(2, 7, b"passed on");
    assert_eq!(receive(&mut talk, 1, &to_other).len(), 1);
    assert_eq!(tapped(&mut talk), [(Some(hop(1)), to_other)], "once");

    let to = Endpoint {
        address: 7,
        port: 10,
    };
    talk.command(send_to(to)).unwrap();
    let sent = talk.take_sent();
    assert_eq!(tapped(&mut talk), [(None, sent[0].clone())]);

    for number in 0..5 {
        let octets = packet(2, 1, &[number]);
        talk.node.receive(talk.now, hop(0), &octets);
    }
    talk.drain();
    assert_eq!(tapped(&mut talk).len(), 3, "the newest are left out");
    assert_eq!(talk.node.stats().promiscuous_full, 2);
}

#[test]
fn a_bridge_counts_what_it_passes_and_what_it_drops() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 3],
        bridge: Some((0, 1)),
        ..Config::default()
    });
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port: 10, options }).unwrap();
    let octets = packet(2, 1, b"x");
    assert_eq!(receive(&mut talk, 0, &octets).len(), 1);
    assert_eq!(receive(&mut talk, 1, &octets), []);
    let counters = |at| talk.node.interface_stats(at).unwrap();

    assert_eq!((counters(0).received, counters(1).sent), (1, 1));
    assert_eq!((counters(1).received, counters(1).dropped), (1, 1));
    assert_eq!(talk.node.stats().repeated, 1);
    assert_eq!(receive(&mut talk, 2, &octets), []);
    assert_eq!(talk.take_events().len(), 1, "the third is none of it");
}

#[test]
fn a_route_via_another_node_over_can_of_version_2_is_refused() {
    let can = |version| {
        Talk::new(Config {
            version,
            interfaces: vec![InterfaceConfig {
                encapsulation: Encapsulation::Can { promiscuous: false },
                ..InterfaceConfig::default()
            }],
            ..Config::default()
        })
    };
    let route = Route {
        address: 8,
        prefix: 5,
        interface: 0,
        via: Some(7),
    };
    let refused = can(V2).command(Command::SetRoute(route)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a route via 7 over the CAN bus of interface 0: CFP2 has no next hop"
    );
    let via = None;
    let direct = Command::SetRoute(Route { via, ..route });
    assert_eq!(can(V2).command(direct), Ok(()));
    assert_eq!(can(Version::V1).command(Command::SetRoute(route)), Ok(()));
}

#[test]
fn a_route_that_is_set_again_takes_the_place_of_the_first_and_is_removed_once() {
    let route = |via| Route {
        address: 8,
        prefix: 14,
        interface: 0,
        via,
    };
    let mut talk = Talk::new(Config {
        routes: vec![route(Some(1)), route(Some(2))],
        max_routes: 2,
        ..Config::default()
    });
    assert_eq!(talk.node.routes(), [route(Some(2))]);
    talk.command(Command::SetRoute(route(Some(3)))).unwrap();
    assert_eq!(talk.node.routes(), [route(Some(3))]);

    let other = Route {
        address: 9,
        ..route(None)
    };
    let third = Route {
        address: 10,
        ..route(None)
    };
    talk.command(Command::SetRoute(other)).unwrap();
    let limit = 2;
    let full = Err(Error::TooManyRoutes { limit });
    assert_eq!(talk.command(Command::SetRoute(third)), full);
    let remove = |address| Command::RemoveRoute {
        address,
        prefix: 14,
    };
    assert_eq!(talk.command(remove(8)), Ok(()));
    let unknown = Err(Error::UnknownRoute {
        address: 8,
        prefix: 14,
    });
    assert_eq!(talk.command(remove(8)), unknown);
}

/// Without a look at it, its answer would go to all nodes of the subnet.
#[test]
fn a_packet_from_all_nodes_of_a_subnet_is_dropped() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0081, 0x00C1]);
    let ping = Header {
        source: 0x007F,
        destination: 0x0041,
        destination_port: 1,
        source_port: 20,
        flags: Flags::CRC32,
        ..Header::default()
    };
    for source in [0x007F, 0x00BF] {
        let ping = Header { source, ..ping };
        assert_eq!(receive(&mut talk, 0, &sealed(V2, ping, b"x")), []);
    }
    assert_eq!(talk.node.stats().bad_source, 2);
}

/// Two routers with two lines between them, each of which sends by the other what it does not know.
#[test]
fn a_packet_goes_round_a_loop_of_routers_once() {
    let mut world = World::new(1);
    let mut router = |address| {
        let interface = InterfaceConfig {
            is_default: true,
            ..InterfaceConfig::default()
        };
        let config = Config {
            address,
            interfaces: vec![interface; 2],
            routes: Vec::new(),
            ..Config::default()
        };
        world.host(address, Node::new(config, &Seed::from(1)).unwrap())
    };
    let (one, other) = (router(1), router(2));
    let line = Line::delayed(Duration::from_millis(10));
    for interface in [0, 1] {
        world.wire((one, interface), (other, interface), line.clone());
    }
    let to = Endpoint {
        address: 9,
        port: 10,
    };
    world.command(one, send_to(to)).unwrap();
    world.run_until(world.now() + Duration::from_secs(10));

    let forwarded = |host: Host<Node>| world.machine(host).stats().forwarded;
    assert_eq!((forwarded(other), forwarded(one)), (1, 0));
    let repeated = |host: Host<Node>| world.machine(host).stats().repeated;
    assert_eq!((repeated(other), repeated(one)), (1, 1));
}

/// A host beside two routers on a bus, from which a third leads back: it missed the packet of the host.
#[test]
fn a_loop_that_returns_by_the_interface_of_the_first_goes_round_three_times() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        ..Config::default()
    });
    let octets = packet(2, 7, b"x");
    let mut passed = 0;
    while !receive(&mut talk, 1, &octets).is_empty() {
        passed += 1;
        talk.pass(Duration::from_millis(99));
    }
    assert_eq!((passed, talk.node.stats().repeated), (3, 1));
}

/// Were the oldest forgotten, all would go round for ever.
#[test]
fn more_packets_than_are_remembered_are_not_passed_on() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 3],
        max_remembered: 10,
        ..Config::default()
    });
    for number in 0..12 {
        let octets = packet(2, 7, &[number]);
        let expected = usize::from(number < 10);
        assert_eq!(receive(&mut talk, 1, &octets).len(), expected);
    }
    for number in 0..10 {
        assert_eq!(receive(&mut talk, 2, &packet(2, 7, &[number])), []);
    }
    let stats = talk.node.stats();
    assert_eq!((stats.unremembered, stats.repeated), (2, 10));
    talk.pass(Duration::from_millis(100));
    assert_eq!(receive(&mut talk, 1, &packet(2, 7, &[11])).len(), 1);
}

#[test]
fn a_full_queue_of_an_interface_drops_the_newest_and_tells_so() {
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 2],
        interface_queue: 3,
        ..Config::default()
    });
    let at = Hop {
        interface: 1,
        via: 0,
    };
    for number in 0..5 {
        let octets = packet(2, 7, &[number]);
        talk.node.receive(talk.now, at, &octets);
    }
    talk.drain();

    let sent = talk.take_sent();
    let first: Vec<u8> = sent.iter().map(|octets| octets[6]).collect();
    assert_eq!(first, [0, 1, 2]);
    assert_eq!(talk.node.stats().interface_full, 2);
    assert_eq!(talk.node.interface_stats(0).unwrap().dropped, 2);
}

#[test]
fn a_command_beside_a_subnet_and_a_route_is_refused() {
    let mut talk = router([8, 8, 8], [0x0041, 0x0081, 0x00C1]);
    let to = Endpoint {
        address: 0x0900,
        port: 10,
    };
    assert_eq!(talk.command(send_to(to)), Err(Error::NoRoute(0x0900)));
    let connect = Command::Connect {
        tag: Tag(1),
        to,
        options: SendOptions::default(),
    };
    assert_eq!(talk.command(connect), Err(Error::NoRoute(0x0900)));
}
