//! What ends transfers of libdtp for good, with nodes of this crate in its place and with its model.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{Flags, Packet, Version};
use farlink::dtp::{Command, Config, Event, GetOptions, Node};
use farlink::sim::{FaultRule, Host, Line, PacketView, World};
use farlink::{Instant, Seed, Tag};

use crate::libcsp::{self, Build, Call, Libcsp, Passive};
use crate::libdtp::{Server, ServerCommand};
use crate::talk::Talk;

const SERVER: u16 = 1;
const PAYLOAD: u8 = 3;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn node(address: u16, change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::default();
    config.csp.address = address;
    change(&mut config);
    let seed = Seed::from(3).child(&format!("node {address}"));
    Node::new(config, &seed).unwrap()
}

fn payload(octets: usize) -> Bytes {
    (0..=250).cycle().take(octets).collect()
}

fn serve(data: &Bytes) -> Command {
    Command::Serve {
        payload: PAYLOAD,
        data: data.clone(),
    }
}

fn get(throughput: u32) -> Command {
    Command::Get {
        tag: Tag(1),
        server: SERVER,
        payload: PAYLOAD,
        options: GetOptions {
            throughput,
            ..GetOptions::default()
        },
    }
}

/// Asserts that a client has the payload.
fn assert_whole(world: &World, client: Host<Node>, payload: &Bytes, name: &str) {
    let mut got = vec![None; payload.len()];
    let mut is_complete = false;
    for (_, event) in world.events(client) {
        match event {
            Event::Data { offset, data, .. } => {
                let start = usize::try_from(*offset).unwrap();
                for (octet, place) in data.iter().zip(&mut got[start..]) {
                    *place = Some(*octet);
                }
            }
            Event::Complete { .. } => is_complete = true,
            Event::Failed { .. } => panic!("{name}: {event:?}"),
            _ => {}
        }
    }
    assert!(is_complete, "{name}");
    let got: Vec<u8> = got.into_iter().map(Option::unwrap).collect();
    assert!(got == payload[..], "{name}");
}

/// Each client of fifty gets its own copy, at the pace that it asked for.
#[test]
fn two_and_fifty_clients_at_a_time_are_each_served_whole() {
    for count in [2, 50] {
        let mut world = World::new(1);
        let server = node(SERVER, |config| {
            config.servers = 50;
        });
        let server = world.host(SERVER, server);
        let line = Line {
            loss: 0.02,
            ..Line::delayed(ms(5))
        };
        let bus = world.bus(line);
        world.join(bus, server, 0);
        let data = payload(5000);
        world.command(server, serve(&data)).unwrap();
        let clients: Vec<Host<Node>> = (0..count)
            .map(|number| {
                let address = 100 + number;
                let client = world.host(address, node(address, |_| {}));
                world.join(bus, client, 0);
                world.command(client, get(20_000)).unwrap();
                client
            })
            .collect();

        world.run_until(Instant::ZERO + ms(60_000));

        for client in clients {
            assert_whole(&world, client, &data, &format!("{count} clients"));
        }
    }
}

/// Whether a packet is the response to a request: the first of a connection with data.
fn is_response(packet: &PacketView<'_>) -> bool {
    let packet = Packet::decode(Version::V2, packet.octets).unwrap();
    packet.header.flags.contains(Flags::RDP) && packet.data.len() > 80
}

/// libdtp's client loses all that comes before the response, which comes again after a second.
#[test]
fn a_lost_response_costs_no_data() {
    let mut world = World::new(1);
    let server = world.host(SERVER, node(SERVER, |_| {}));
    let client = world.host(2, node(2, |_| {}));
    world.wire((server, 0), (client, 0), Line::delayed(ms(5)));
    let rule = FaultRule::nth(1).matching(is_response);
    let line = Line::delayed(ms(5)).with_rule(rule);
    world.wire_from((server, 0), (client, 0), line);
    let data = payload(10_000);
    world.command(server, serve(&data)).unwrap();
    world.command(client, get(20_000)).unwrap();

    world.run_until(Instant::ZERO + ms(10_000));

    assert_whole(&world, client, &data, "lost response");
    let requests = world.events(client).find_map(|(_, event)| match event {
        Event::Complete { requests, .. } => Some(*requests),
        _ => None,
    });
    assert_eq!(requests, Some(1));
}

/// libdtp's server waits 10 ms before each interval, in which it sends 50 packets: where one of ten is lost it is
/// quicker to have all of them again.
#[test]
fn near_holes_cost_libdtp_no_interval_each() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        let model = Libcsp::new(Build::new(SERVER), Server::new(2), &Seed::from(seed));
        let server = world.host(SERVER, libcsp::Machine(model));
        let client = world.host(2, node(2, |_| {}));
        let line = Line {
            loss: 0.1,
            ..Line::delayed(ms(5))
        };
        world.wire((server, 0), (client, 0), line);
        let data = payload(600_000);
        for command in [
            ServerCommand::Start,
            ServerCommand::Serve(PAYLOAD, data.clone()),
        ] {
            let command = libcsp::Command::App(command);
            world.command(server, command).unwrap();
        }
        world.command(client, get(1_000_000)).unwrap();

        world.run_until(Instant::ZERO + ms(20_000));

        assert_whole(&world, client, &data, "near holes");
        let ended = world.events(client).find_map(|(at, event)| match event {
            Event::Complete { requests, .. } => Some((at, *requests)),
            _ => None,
        });
        // Of 3000 packets 300 are lost: 38 requests for them alone, which take some 100 ms each.
        let (at, requests) = ended.unwrap();
        eprintln!(
            "{requests} requests in {at:?} {:?}",
            world.machine(client).stats()
        );
        assert!(requests < 12, "{requests} requests in {at:?}");
    }
}

/// libdtp's server keeps the slot of a connection without a request for ever.
#[test]
fn clients_that_connect_and_ask_for_nothing_keep_no_slot() {
    let mut world = World::new(1);
    let server = world.host(SERVER, node(SERVER, |config| config.servers = 4));
    let bus = world.bus(Line::delayed(ms(5)));
    world.join(bus, server, 0);
    let data = payload(2000);
    world.command(server, serve(&data)).unwrap();
    let silent = Libcsp::new(Build::new(9), Passive::default(), &Seed::from(9));
    let silent = world.host(9, libcsp::Machine(silent));
    world.join(bus, silent, 0);
    for tag in 0..8 {
        let connect = Call::Connect(libcsp::Connect {
            tag,
            to: (SERVER, 7),
            options: farlink::csp::SynOptions::default(),
            crc32: false,
            priority: farlink::csp::Priority::Normal,
        });
        world
            .command(silent, libcsp::Command::App(connect))
            .unwrap();
    }
    // Those without a slot ask for 10 s, and those with one are waited for as long.
    world.run_until(Instant::ZERO + ms(25_000));
    let client = world.host(2, node(2, |_| {}));
    world.join(bus, client, 0);
    world.command(client, get(20_000)).unwrap();

    world.run_until(Instant::ZERO + ms(60_000));

    assert_whole(&world, client, &data, "behind eight silent clients");
}

/// A node driven by hand, made anew with other numbers.
fn talk(address: u16, start: u64) -> Talk {
    let mut config = Config::default();
    config.csp.address = address;
    Talk::with(Node::new(config, &Seed::from(start)).unwrap())
}

/// libdtp's server keeps no state either; its client needs a hand.
#[test]
fn a_server_that_is_killed_at_any_packet_and_starts_again_brings_the_rest() {
    const DOWN: Duration = ms(700);
    let data = payload(5000);
    let mut killed = 0;
    for packets in 0..40 {
        let (mut server, mut client) = (talk(SERVER, 1), talk(2, 2));
        server.command(serve(&data)).unwrap();
        client.command(get(20_000)).unwrap();
        let (mut sent, mut up_at) = (0, Instant::ZERO);
        while client.now < Instant::ZERO + ms(15_000) {
            client.pass(ms(1));
            server.pass_until(client.now);
            for packet in client.take_sent() {
                if up_at <= client.now {
                    server.receive(&packet);
                }
            }
            for packet in server.take_sent() {
                if sent == packets {
                    up_at = client.now + DOWN;
                    server = talk(SERVER, 100);
                    server.pass_until(client.now);
                    server.command(serve(&data)).unwrap();
                    killed += 1;
                }
                sent += 1;
                if up_at <= client.now {
                    client.receive(&packet);
                }
            }
        }

        let mut got = vec![None; data.len()];
        for event in &client.events {
            if let Event::Data { offset, data, .. } = event {
                let start = usize::try_from(*offset).unwrap();
                for (octet, place) in data.iter().zip(&mut got[start..]) {
                    *place = Some(*octet);
                }
            }
        }
        let end = client.events.last();
        let is_checked = matches!(
            end,
            Some(Event::Complete {
                is_checked: true,
                ..
            })
        );
        assert!(is_checked, "killed at packet {packets}: {end:?}");
        let got: Vec<u8> = got.into_iter().map(Option::unwrap).collect();
        assert!(got == data, "killed at packet {packets}");
    }
    assert!(killed > 25, "{killed}");
}
