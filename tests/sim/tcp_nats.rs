//! NATs for TCP: RFC 5382.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{
    DropReason, Filtering, Ip, Line, Mapping, Nat, NatId, Ports, SimultaneousOpen, Stray, Tcp,
    TracePacket, Unsolicited, World,
};
use farlink::{Ask, Cause, Instant, Link, Path, Proto, Tag};

use crate::nats::{PathHost, addr};
use crate::scripted_machine::{Action, ScriptedMachine, links};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A host behind a NAT, and two servers that listen on ports 80 and 81.
struct Lab {
    world: World,
    nat: NatId,
    inside: PathHost,
    servers: [PathHost; 2],
}

impl Lab {
    fn new(nat: Nat) -> Self {
        let mut world = World::new(1);
        world.internet(Line::delayed(50 * MILLI));
        let nat = world.nat(Ip::at([198, 51, 100, 1]), nat);
        let servers = [1, 2].map(|last| {
            let server = world.host(Ip::at([192, 0, 2, last]), ScriptedMachine::default());
            for port in [80, 81] {
                world.bind(server, Proto::Tcp, SocketAddr::from(([0, 0, 0, 0], port)));
            }
            server
        });
        let inside = world.host(
            Ip::at([10, 0, 0, 2]).behind(nat),
            ScriptedMachine::default(),
        );
        Self {
            world,
            nat,
            inside,
            servers,
        }
    }

    fn open(&mut self, host: PathHost, tag: u64, local: &str, remote: SocketAddr) {
        let path = Path::tcp(addr(local), remote);
        let open = Ask::Open {
            tag: Tag(tag),
            path,
        };
        self.world.command(host, Action::Ask(open)).unwrap();
    }

    /// Connects from an inner port, and returns what the server sees.
    fn map(&mut self, port: u16, server: usize, server_port: u16) -> SocketAddr {
        let remote = [[192, 0, 2, 1], [192, 0, 2, 2]][server];
        let before = accepted(&self.world, self.servers[server]).len();
        let tag = u64::from(port) << 32 | u64::from(server_port) << 1 | server as u64;
        let local = format!("10.0.0.2:{port}");
        self.open(
            self.inside,
            tag,
            &local,
            SocketAddr::from((remote, server_port)),
        );
        self.world.run_for(SECOND);
        accepted(&self.world, self.servers[server])[before].remote
    }
}

fn accepted(world: &World, host: PathHost) -> Vec<Path> {
    let cues = links(world, host);
    cues.iter()
        .filter(|(_, path, link)| *link == Link::Up && !path.is_socket())
        .map(|(_, path, _)| *path)
        .collect()
}

fn answer(world: &World, host: PathHost, tag: u64) -> Option<(Instant, Link)> {
    let cues = links(world, host);
    cues.iter().find_map(|(time, _, link)| match link {
        Link::Opened(other) | Link::Failed(other, _) if other.0 == tag => Some((*time, *link)),
        _ => None,
    })
}

fn losses(world: &World) -> Vec<DropReason> {
    let lost = world.trace().packets().filter_map(TracePacket::lost);
    lost.map(|(_, why)| why).collect()
}

#[test]
fn mapping_depends_on_what_it_says() {
    for (mapping, expected) in [
        (Mapping::EndpointIndependent, [true, true, true]),
        (Mapping::AddressDependent, [true, false, true]),
        (Mapping::AddressAndPortDependent, [false, false, false]),
        (Mapping::ConnectionDependent, [false, false, false]),
    ] {
        let nat = Nat {
            tcp_mapping: Some(mapping),
            ..Nat::default()
        };
        let mut lab = Lab::new(nat);

        let one = lab.map(5000, 0, 80);
        let other_port = lab.map(5000, 0, 81);
        let other_address = lab.map(5000, 1, 80);
        let both = lab.map(5000, 1, 81);

        let same = [
            one == other_port,
            one == other_address,
            other_address == both,
        ];
        assert_eq!(same, expected, "{mapping:?}");
    }
}

#[test]
fn only_a_connection_dependent_mapping_changes_for_the_same_server() {
    for (mapping, is_same) in [
        (Mapping::AddressAndPortDependent, true),
        (Mapping::ConnectionDependent, false),
    ] {
        let nat = Nat {
            ports: Ports::Random,
            ..Nat::of(mapping, Filtering::AddressAndPortDependent)
        };
        let mut lab = Lab::new(nat);

        let one = lab.map(5000, 0, 80);
        lab.world.reset(
            lab.inside,
            Path::tcp(addr("10.0.0.2:5000"), addr("192.0.2.1:80")),
        );
        lab.world.run_for(SECOND);
        let again = lab.map(5000, 0, 80);

        assert_eq!(one == again, is_same, "{mapping:?}");
    }
}

#[test]
fn filtering_depends_on_what_it_says() {
    for (filtering, expected) in [
        (Filtering::EndpointIndependent, [true, true, true]),
        (Filtering::AddressDependent, [true, true, false]),
        (Filtering::AddressAndPortDependent, [true, false, false]),
        (Filtering::ConnectionDependent, [false, false, false]),
    ] {
        let nat = Nat {
            tcp_filtering: Some(filtering),
            ..Nat::default()
        };
        let mut lab = Lab::new(nat);
        lab.world
            .bind(lab.inside, Proto::Tcp, addr("10.0.0.2:5000"));
        let mapped = lab.map(5000, 0, 80);
        // The connection ends, the mapping lives on.
        lab.world.reset(
            lab.inside,
            Path::tcp(addr("10.0.0.2:5000"), addr("192.0.2.1:80")),
        );
        lab.world.run_for(SECOND);

        let [one, two] = lab.servers;
        lab.open(one, 1, "192.0.2.1:80", mapped);
        lab.open(one, 2, "192.0.2.1:99", mapped);
        lab.open(two, 3, "192.0.2.2:80", mapped);
        lab.world.run_for(SECOND / 2);

        let passes = [(one, 1), (one, 2), (two, 3)].map(|(host, tag)| {
            answer(&lab.world, host, tag).is_some_and(|(_, link)| link == Link::Opened(Tag(tag)))
        });
        assert_eq!(passes, expected, "{filtering:?}");
    }
}

/// Two hosts, each behind a NAT that keeps ports, that open to each other `apart` from each other.
fn punch(nats: [Nat; 2], apart: Duration) -> (World, [Option<Link>; 2]) {
    let mut world = World::new(1);
    world.internet(Line::delayed(50 * MILLI));
    let addresses = [[198, 51, 100, 1], [203, 0, 113, 1]];
    let mut hosts = Vec::new();
    for (nat, address) in nats.into_iter().zip(addresses) {
        let nat = world.nat(Ip::at(address), nat);
        let host = world.host(
            Ip::at([10, 0, 0, 2]).behind(nat),
            ScriptedMachine::default(),
        );
        world.tcp(
            host,
            Tcp {
                syn_tries: 4,
                ..Tcp::default()
            },
        );
        hosts.push(host);
    }
    for (number, host) in hosts.iter().copied().enumerate() {
        let remote = SocketAddr::from((addresses[1 - number], 5000));
        let path = Path::tcp(addr("10.0.0.2:5000"), remote);
        let open = Action::Ask(Ask::Open { tag: Tag(1), path });
        world.command_at(apart * u32::try_from(number).unwrap(), host, open);
    }
    world.run_until(100 * SECOND);
    let answers = [hosts[0], hosts[1]].map(|host| answer(&world, host, 1).map(|(_, link)| link));
    (world, answers)
}

#[test]
fn syns_that_cross_open_a_connection_through_strict_nats() {
    let (world, answers) = punch(
        [Nat::port_restricted_cone(), Nat::port_restricted_cone()],
        30 * MILLI,
    );

    assert_eq!(answers, [Some(Link::Opened(Tag(1))); 2]);
    assert!(losses(&world).is_empty());
}

#[test]
fn a_silent_nat_tolerates_an_early_syn() {
    let (world, answers) = punch(
        [Nat::port_restricted_cone(), Nat::port_restricted_cone()],
        SECOND / 2,
    );

    assert_eq!(answers, [Some(Link::Opened(Tag(1))); 2]);
    assert_eq!(losses(&world), [DropReason::NoMapping]);
}

#[test]
fn a_nat_that_resets_at_once_breaks_early_hole_punching() {
    let hasty = Nat {
        unsolicited: Unsolicited::Reset(Duration::ZERO),
        ..Nat::port_restricted_cone()
    };

    let (_, answers) = punch([Nat::port_restricted_cone(), hasty.clone()], SECOND / 2);
    assert_eq!(answers[0], Some(Link::Failed(Tag(1), Cause::Refused)));

    let (_, answers) = punch([hasty.clone(), hasty], 30 * MILLI);
    assert_eq!(answers, [Some(Link::Opened(Tag(1))); 2], "they crossed");
}

#[test]
fn a_nat_that_waits_six_seconds_tolerates_an_early_syn() {
    let patient = Nat {
        unsolicited: Unsolicited::Reset(6 * SECOND),
        ..Nat::port_restricted_cone()
    };

    let (_, answers) = punch([patient.clone(), patient.clone()], 2 * SECOND);
    assert_eq!(answers, [Some(Link::Opened(Tag(1))); 2]);

    let (_, answers) = punch([patient.clone(), patient], 20 * SECOND);
    assert_eq!(
        answers[0],
        Some(Link::Failed(Tag(1), Cause::Refused)),
        "RFC 5382 REQ-4"
    );
}

#[test]
fn a_nat_that_blocks_one_half_of_a_simultaneous_open_prevents_it() {
    for blocked in [
        SimultaneousOpen::InboundSynBlocked,
        SimultaneousOpen::OutboundSynAckBlocked,
    ] {
        let nat = Nat {
            simultaneous_open: blocked,
            ..Nat::port_restricted_cone()
        };

        let (world, answers) = punch([nat.clone(), nat], 30 * MILLI);

        assert_eq!(
            answers,
            [Some(Link::Failed(Tag(1), Cause::TimedOut)); 2],
            "{blocked:?}"
        );
        assert!(
            losses(&world)
                .iter()
                .all(|why| *why == DropReason::Filtered)
        );
    }
}

#[test]
fn a_connection_that_is_open_lives_longer_than_a_half_open_one() {
    let nat = Nat {
        tcp_lifetime: 1000 * SECOND,
        tcp_transitory: 100 * SECOND,
        ..Nat::port_restricted_cone()
    };
    let mut lab = Lab::new(nat);

    lab.map(5000, 0, 80);
    lab.world.tcp(
        lab.inside,
        Tcp {
            syn_tries: 0,
            ..Tcp::default()
        },
    );
    lab.open(lab.inside, 9, "10.0.0.2:6000", addr("192.0.2.77:80"));
    lab.world.run_for(50 * SECOND);
    assert_eq!(lab.world.bindings(lab.nat).len(), 2);
    lab.world.run_for(100 * SECOND);
    assert_eq!(lab.world.bindings(lab.nat).len(), 1);
    lab.world.run_for(1000 * SECOND);
    assert!(lab.world.bindings(lab.nat).is_empty());
}

#[test]
fn a_connection_that_was_closed_on_both_sides_is_transitory_again() {
    let mut lab = Lab::new(Nat::default());
    let mapped = lab.map(5000, 0, 80);
    let there = Path::tcp(addr("10.0.0.2:5000"), addr("192.0.2.1:80"));
    let back = Path::tcp(addr("192.0.2.1:80"), mapped);

    lab.world
        .command(lab.inside, Action::Ask(Ask::Close(there)))
        .unwrap();
    lab.world.run_for(SECOND);
    let server = lab.servers[0];
    lab.world
        .command(server, Action::Ask(Ask::Close(back)))
        .unwrap();
    lab.world.run_for(241 * SECOND);

    assert!(lab.world.bindings(lab.nat).is_empty());
    assert!(losses(&lab.world).is_empty());
}

#[test]
fn segments_of_an_unknown_connection_are_dropped_or_reset() {
    for (stray, cause) in [
        (Stray::Silent, Cause::TimedOut),
        (Stray::Reset, Cause::Reset),
    ] {
        let nat = Nat {
            stray,
            ..Nat::default()
        };
        let mut lab = Lab::new(nat);
        lab.map(5000, 0, 80);
        let there = Path::tcp(addr("10.0.0.2:5000"), addr("192.0.2.1:80"));

        lab.world.forget(lab.nat);
        let octets = Bytes::from_static(b"still there?");
        lab.world
            .command(lab.inside, Action::Append(there, octets))
            .unwrap();
        lab.world.run_for(100_000 * SECOND);

        let down = links(&lab.world, lab.inside).last().unwrap().2;
        assert_eq!(down, Link::Down(cause), "{stray:?}");
    }
}

#[test]
fn a_machine_behind_a_nat_is_told_its_inner_address() {
    let mut lab = Lab::new(Nat::default());

    lab.map(5000, 0, 80);

    let path = links(&lab.world, lab.inside)[0].1;
    assert_eq!(path, Path::tcp(addr("10.0.0.2:5000"), addr("192.0.2.1:80")));
    assert_eq!(
        accepted(&lab.world, lab.servers[0])[0].local,
        addr("192.0.2.1:80")
    );
}
