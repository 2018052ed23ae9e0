//! NATs for UDP: the behaviours of RFC 4787, discovered as in RFC 5780.

use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{
    Conflict, DropReason, Filtering, Hairpin, Host, Ip, Line, Mapping, Nat, NatId, Parity, Pooling,
    Ports, Refresh, TracePacket, World,
};
use farlink::{Path, Proto};

use crate::scripted_machine::{Action, Observed, ScriptedMachine};

pub(crate) type PathHost = Host<ScriptedMachine<Path>>;

const SECOND: Duration = Duration::from_secs(1);

/// The sockets of a server as RFC 5780 has it: two addresses with two ports each.
const SERVERS: [&str; 4] = [
    "192.0.2.1:3478",
    "192.0.2.1:3479",
    "192.0.2.2:3478",
    "192.0.2.2:3479",
];

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A host behind a NAT, and a server outside.
struct Lab {
    world: World,
    nat: NatId,
    inside: PathHost,
    server: PathHost,
}

impl Lab {
    fn new(seed: u64, nat: Nat) -> Self {
        Self::at(seed, Ip::at([198, 51, 100, 1]), nat)
    }

    fn at(seed: u64, ip: Ip, nat: Nat) -> Self {
        let mut world = World::new(seed);
        world.internet(Line::delayed(Duration::from_millis(20)));
        let nat = world.nat(ip, nat);
        let server = world.host(
            Ip::at([192, 0, 2, 1]).and([192, 0, 2, 2]),
            ScriptedMachine::default(),
        );
        for socket in SERVERS {
            world.bind(server, Proto::Udp, addr(socket));
        }
        let inside = host(&mut world, nat, [10, 0, 0, 2]);
        Self {
            world,
            nat,
            inside,
            server,
        }
    }

    /// Sends from an inner port to a socket of the server, and returns what the server sees it come from.
    fn map(&mut self, port: u16, server: usize) -> Option<SocketAddr> {
        self.map_of(self.inside, [10, 0, 0, 2], port, server)
    }

    fn map_of(
        &mut self,
        host: PathHost,
        ip: [u8; 4],
        port: u16,
        server: usize,
    ) -> Option<SocketAddr> {
        let local = SocketAddr::from((ip, port));
        let before = seen(&self.world, self.server).len();
        send(&mut self.world, host, local, addr(SERVERS[server]));
        self.world.run_for(SECOND);
        seen(&self.world, self.server)
            .get(before)
            .map(|(path, _)| path.remote)
    }

    /// Sends from a socket of the server, and tells whether it gets in.
    fn gets_in(&mut self, server: usize, to: SocketAddr) -> bool {
        let before = seen(&self.world, self.inside).len();
        send(&mut self.world, self.server, addr(SERVERS[server]), to);
        self.world.run_for(SECOND);
        seen(&self.world, self.inside).len() > before
    }
}

fn host(world: &mut World, nat: NatId, ip: [u8; 4]) -> PathHost {
    world.host(Ip::at(ip).behind(nat), ScriptedMachine::default())
}

/// Sends a datagram, from a socket that is bound first if need be.
fn send(world: &mut World, host: PathHost, from: SocketAddr, to: SocketAddr) {
    let has_socket = world.events(host).any(
        |(_, event)| matches!(event, Observed::Link(path, _) if path.local == from && path.is_socket()),
    );
    if !has_socket {
        world.bind(host, Proto::Udp, from);
    }
    let octets = Bytes::from_static(b"hello");
    world
        .command(host, Action::Push(Path::udp(from, to), octets))
        .unwrap();
}

pub(crate) fn seen(world: &World, host: PathHost) -> Vec<(Path, Bytes)> {
    let events = world.events(host);
    events
        .filter_map(|(_, event)| match event {
            Observed::Octets(from, octets) => Some((*from, octets.clone())),
            _ => None,
        })
        .collect()
}

fn ports(mapped: impl IntoIterator<Item = Option<SocketAddr>>) -> Vec<u16> {
    mapped
        .into_iter()
        .map(|mapped| mapped.unwrap().port())
        .collect()
}

fn choosing(ports: Ports, range: RangeInclusive<u16>) -> Nat {
    Nat {
        ports,
        range,
        ..Nat::default()
    }
}

#[test]
fn mapping_depends_on_what_it_says() {
    // RFC 5780 section 4.3: to a socket, to another address, and to another port of that.
    for (mapping, expected) in [
        (Mapping::EndpointIndependent, [true, true, true]),
        (Mapping::AddressDependent, [true, false, true]),
        (Mapping::AddressAndPortDependent, [false, false, false]),
        (Mapping::ConnectionDependent, [false, false, false]),
    ] {
        let mut lab = Lab::new(1, Nat::of(mapping, Filtering::EndpointIndependent));

        let one = lab.map(5000, 0);
        let same_address = lab.map(5000, 1);
        let other_address = lab.map(5000, 2);
        let other_address_and_port = lab.map(5000, 3);

        let same = [
            one == same_address,
            one == other_address,
            other_address == other_address_and_port,
        ];
        assert_eq!(same, expected, "{mapping:?}");
        assert_eq!(lab.map(5000, 0), one, "a mapping is kept");
        assert_eq!(one.unwrap().ip(), addr("198.51.100.1:1").ip());
    }
}

#[test]
fn filtering_depends_on_what_it_says() {
    // RFC 5780 section 4.4: the answer from the same socket, from another port, from another address.
    for (filtering, expected) in [
        (Filtering::EndpointIndependent, [true, true, true]),
        (Filtering::AddressDependent, [true, true, false]),
        (Filtering::AddressAndPortDependent, [true, false, false]),
        (Filtering::ConnectionDependent, [true, false, false]),
    ] {
        let mut lab = Lab::new(1, Nat::of(Mapping::EndpointIndependent, filtering));

        let mapped = lab.map(5000, 0).unwrap();
        let passes = [0, 1, 3].map(|server| lab.gets_in(server, mapped));

        assert_eq!(passes, expected, "{filtering:?}");
    }
}

#[test]
fn only_packets_through_a_mapping_open_its_filter() {
    let mut lab = Lab::new(1, Nat::port_restricted_cone());
    let mapped = lab.map(5000, 0).unwrap();

    assert!(!lab.gets_in(3, mapped));
    assert!(!lab.gets_in(3, mapped), "knocking does not help");
    lab.map(5000, 3);
    assert!(lab.gets_in(3, mapped));
}

#[test]
fn without_a_mapping_nothing_gets_in() {
    let mut lab = Lab::new(1, Nat::full_cone());

    assert!(!lab.gets_in(0, addr("198.51.100.1:5000")));
    let lost = lab.world.trace().packets().filter_map(TracePacket::lost);
    assert_eq!(
        lost.map(|(_, why)| why).collect::<Vec<_>>(),
        [DropReason::NoMapping]
    );
}

#[test]
fn a_preserving_nat_keeps_the_port_and_its_way_out_of_a_conflict() {
    for (conflict, is_kept) in [
        (Conflict::NextFree, false),
        (Conflict::Random, false),
        (Conflict::Overwrite, true),
        (Conflict::Overload, true),
    ] {
        let mut lab = Lab::new(1, choosing(Ports::Preserving(conflict), 1024..=65535));
        let other = host(&mut lab.world, lab.nat, [10, 0, 0, 3]);

        let first = lab.map(5000, 0).unwrap();
        let second = lab.map_of(other, [10, 0, 0, 3], 5000, 2).unwrap();

        assert_eq!(first.port(), 5000);
        assert_eq!(second.port() == 5000, is_kept, "{conflict:?}");
        assert_eq!(second.port() % 2, 0, "{conflict:?} keeps parity");
        if conflict == Conflict::NextFree {
            assert_eq!(second.port(), 5002);
        }
        // Overwriting cuts the first off; overloading tells the two apart by the remote socket.
        let first_is_reached = lab.gets_in(0, first);
        assert_eq!(
            first_is_reached,
            conflict != Conflict::Overwrite,
            "{conflict:?}"
        );
    }
}

#[test]
fn an_overloaded_port_does_not_serve_one_remote_socket_twice() {
    let mut lab = Lab::new(
        1,
        choosing(Ports::Preserving(Conflict::Overload), 1024..=65535),
    );
    let other = host(&mut lab.world, lab.nat, [10, 0, 0, 3]);

    lab.map(5000, 0);
    let second = lab.map_of(other, [10, 0, 0, 3], 5000, 0).unwrap();

    assert_ne!(second.port(), 5000);
}

#[test]
fn sequential_ports_are_a_step_apart_whatever_the_inner_ports() {
    for (step, expected) in [
        (1, [4000, 4001, 4002, 4003]),
        (7, [4000, 4007, 4014, 4021]),
        (-2, [4000, 3998, 3996, 3994]),
    ] {
        let mut lab = Lab::new(
            1,
            choosing(Ports::Sequential { first: 4000, step }, 1024..=65535),
        );

        let mapped = [5000, 6001, 7777, 5001].map(|port| lab.map(port, 0));

        assert_eq!(ports(mapped), expected);
    }
}

#[test]
fn sequential_ports_go_round_in_their_range_and_pass_taken_ones_by() {
    let sequential = Ports::Sequential {
        first: 4002,
        step: 1,
    };
    let mut lab = Lab::new(1, choosing(sequential, 4000..=4003));

    let mapped = [1, 2, 3, 4].map(|port| lab.map(port, 0));
    assert_eq!(ports(mapped), [4002, 4003, 4000, 4001]);

    assert_eq!(lab.map(5, 0), None, "no port is left");
    let lost = lab.world.trace().packets().filter_map(TracePacket::lost);
    assert_eq!(
        lost.map(|(_, why)| why).collect::<Vec<_>>(),
        [DropReason::NoPort]
    );
}

#[test]
fn contiguous_ports_keep_their_distances_or_a_multiple() {
    for (stride, offset, expected) in [(1, 100, [5100, 5101, 5110]), (3, -9000, [6000, 6003, 6030])]
    {
        let mut lab = Lab::new(
            1,
            choosing(Ports::Contiguous { stride, offset }, 1024..=65535),
        );

        let mapped = [5000, 5001, 5010].map(|port| lab.map(port, 0));

        assert_eq!(ports(mapped), expected);
    }
}

#[test]
fn random_ports_have_no_order_and_keep_range_and_parity() {
    let mut lab = Lab::new(1, choosing(Ports::Random, 20_000..=29_999));

    let mapped = ports((5000..5100).map(|port| lab.map(port, 0)));

    assert!(mapped.iter().all(|port| (20_000..=29_999).contains(port)));
    assert!(
        mapped
            .iter()
            .zip(5000..)
            .all(|(port, inner)| port % 2 == inner % 2)
    );
    let rises = mapped.windows(2).filter(|two| two[0] < two[1]).count();
    assert!((30..=69).contains(&rises), "{rises}");
    let mut sorted = mapped;
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 100, "each has its own");
}

#[test]
fn parity_can_be_ignored() {
    let nat = Nat {
        parity: Parity::Ignored,
        ..choosing(Ports::Random, 20_000..=29_999)
    };
    let mut lab = Lab::new(1, nat);

    let mapped = ports((0..50).map(|n| lab.map(5000 + 2 * n, 0)));

    let odd = mapped.iter().filter(|port| **port % 2 == 1).count();
    assert!((12..=38).contains(&odd), "{odd}");
}

#[test]
fn a_mapping_expires_when_it_is_not_used() {
    for (refresh, by_sending, by_receiving) in [
        (Refresh::Outbound, true, false),
        (Refresh::Inbound, false, true),
        (Refresh::Both, true, true),
    ] {
        let nat = Nat {
            refresh,
            udp_lifetime: 60 * SECOND,
            ..Nat::default()
        };

        let mut lab = Lab::new(1, nat.clone());
        let mapped = lab.map(5000, 0).unwrap();
        lab.world.run_for(50 * SECOND);
        lab.map(5000, 0);
        lab.world.run_for(50 * SECOND);
        assert_eq!(lab.gets_in(0, mapped), by_sending, "{refresh:?}");

        let mut lab = Lab::new(1, nat);
        let mapped = lab.map(5000, 0).unwrap();
        lab.world.run_for(50 * SECOND);
        lab.gets_in(0, mapped);
        lab.world.run_for(50 * SECOND);
        assert_eq!(lab.gets_in(0, mapped), by_receiving, "{refresh:?}");
    }
}

#[test]
fn what_is_filtered_refreshes_nothing() {
    let nat = Nat {
        refresh: Refresh::Both,
        udp_lifetime: 60 * SECOND,
        ..Nat::port_restricted_cone()
    };
    let mut lab = Lab::new(1, nat);
    let mapped = lab.map(5000, 0).unwrap();

    lab.world.run_for(50 * SECOND);
    assert!(!lab.gets_in(3, mapped));
    lab.world.run_for(50 * SECOND);

    assert!(!lab.gets_in(0, mapped));
}

#[test]
fn an_expired_port_is_reused() {
    let sequential = Ports::Sequential {
        first: 4000,
        step: 1,
    };
    let nat = Nat {
        udp_lifetime: 60 * SECOND,
        ..choosing(sequential, 4000..=4001)
    };
    let mut lab = Lab::new(1, nat);

    assert_eq!(ports([lab.map(1, 0), lab.map(2, 0)]), [4000, 4001]);
    assert_eq!(lab.map(3, 0), None);
    lab.world.run_for(60 * SECOND);
    assert_eq!(ports([lab.map(3, 0)]), [4000]);
    assert_eq!(lab.world.bindings(lab.nat).len(), 1);
}

#[test]
fn hairpinning_shows_the_external_source_or_the_inner_one_or_nothing() {
    for (hairpin, expected) in [
        (Hairpin::ExternalSource, Some("198.51.100.1:6000")),
        (Hairpin::InternalSource, Some("10.0.0.3:6000")),
        (Hairpin::Off, None),
    ] {
        let nat = Nat {
            hairpin,
            ..Nat::default()
        };
        let mut lab = Lab::new(1, nat);
        let other = host(&mut lab.world, lab.nat, [10, 0, 0, 3]);
        let mapped = lab.map(5000, 0).unwrap();

        send(&mut lab.world, other, addr("10.0.0.3:6000"), mapped);
        lab.world.run_for(SECOND);

        let got = seen(&lab.world, lab.inside);
        let sources: Vec<SocketAddr> = got.iter().map(|(path, _)| path.remote).collect();
        assert_eq!(
            sources,
            expected.map(addr).into_iter().collect::<Vec<_>>(),
            "{hairpin:?}"
        );
    }
}

#[test]
fn a_hairpin_is_filtered_like_what_comes_from_outside() {
    let mut lab = Lab::new(1, Nat::port_restricted_cone());
    let other = host(&mut lab.world, lab.nat, [10, 0, 0, 3]);
    let mapped = lab.map(5000, 0).unwrap();
    let to_other = lab.map_of(other, [10, 0, 0, 3], 6000, 0).unwrap();

    send(&mut lab.world, other, addr("10.0.0.3:6000"), mapped);
    lab.world.run_for(SECOND);
    assert!(seen(&lab.world, lab.inside).is_empty());
    send(&mut lab.world, lab.inside, addr("10.0.0.2:5000"), to_other);
    lab.world.run_for(SECOND);

    assert_eq!(seen(&lab.world, other).len(), 1);
}

#[test]
fn paired_pooling_gives_a_host_one_address_and_arbitrary_any() {
    let pool = || {
        let one = Ip::at([198, 51, 100, 1]);
        one.and([198, 51, 100, 2]).and([198, 51, 100, 3])
    };
    for (pooling, is_paired) in [(Pooling::Paired, true), (Pooling::Arbitrary, false)] {
        let nat = Nat {
            pooling,
            ..Nat::default()
        };
        let mut lab = Lab::at(1, pool(), nat);
        let other = host(&mut lab.world, lab.nat, [10, 0, 0, 3]);

        let mut mine: Vec<_> = (5000..5020)
            .map(|port| lab.map(port, 0).unwrap().ip())
            .collect();
        let theirs = lab.map_of(other, [10, 0, 0, 3], 5000, 0).unwrap().ip();
        let first = mine[0];
        mine.sort_unstable();
        mine.dedup();

        assert_eq!(mine.len(), if is_paired { 1 } else { 3 }, "{pooling:?}");
        assert!(!is_paired || first != theirs, "the pool is used evenly");
    }
}

#[test]
fn a_firewall_translates_nothing_and_lets_in_who_was_written_to() {
    let mut world = World::new(1);
    let nat = world.nat(Ip::at([198, 51, 100, 1]), Nat::firewall());
    let inside = world.host(
        Ip::at([198, 51, 100, 7]).behind(nat),
        ScriptedMachine::default(),
    );
    let outside = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
    let (own, far) = (addr("198.51.100.7:5000"), addr("192.0.2.1:3478"));
    world.bind(inside, Proto::Udp, own);

    send(&mut world, outside, far, own);
    world.run_for(SECOND);
    assert!(seen(&world, inside).is_empty());
    send(&mut world, inside, own, far);
    world.run_for(SECOND);
    assert_eq!(seen(&world, outside)[0].0.remote, own);
    send(&mut world, outside, far, own);
    world.run_for(SECOND);

    assert_eq!(seen(&world, inside).len(), 1);
}

#[test]
fn nested_nats_translate_twice_and_both_filter() {
    let mut world = World::new(1);
    let carrier = world.nat(Ip::at([198, 51, 100, 1]), Nat::restricted_cone());
    let home = Ip::at([100, 64, 0, 5]).behind(carrier);
    let random = choosing(Ports::Random, 40_000..=50_000);
    let home = world.nat(home, random);
    let inside = host(&mut world, home, [192, 168, 0, 2]);
    let server = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
    let stranger = world.host(Ip::at([192, 0, 2, 9]), ScriptedMachine::default());
    world.bind(server, Proto::Udp, addr("192.0.2.1:3478"));

    send(
        &mut world,
        inside,
        addr("192.168.0.2:5000"),
        addr("192.0.2.1:3478"),
    );
    world.run_for(SECOND);
    let mapped = seen(&world, server)[0].0.remote;
    send(&mut world, server, addr("192.0.2.1:3478"), mapped);
    send(&mut world, stranger, addr("192.0.2.9:1"), mapped);
    world.run_for(SECOND);

    assert_eq!(mapped.ip(), addr("198.51.100.1:1").ip());
    let (outer, inner) = (world.bindings(carrier)[0], world.bindings(home)[0]);
    assert_eq!(inner.inside, addr("192.168.0.2:5000"));
    assert_eq!(inner.outside, outer.inside);
    assert_eq!(outer.outside, mapped);
    assert_eq!(
        seen(&world, inside).len(),
        1,
        "the carrier filters by address"
    );
}

#[test]
fn equal_inner_addresses_on_both_sides_of_a_nested_nat_do_not_mix() {
    // RFC 4787 REQ-7: the inner network has the numbers of the outer one.
    let mut world = World::new(1);
    let carrier = world.nat(Ip::at([198, 51, 100, 1]), Nat::default());
    let home = world.nat(Ip::at([10, 0, 0, 2]).behind(carrier), Nat::default());
    let inside = host(&mut world, home, [10, 0, 0, 2]);
    let server = world.host(Ip::at([192, 0, 2, 1]), ScriptedMachine::default());
    world.bind(server, Proto::Udp, addr("192.0.2.1:3478"));

    send(
        &mut world,
        inside,
        addr("10.0.0.2:5000"),
        addr("192.0.2.1:3478"),
    );
    world.run_for(SECOND);
    let mapped = seen(&world, server)[0].0.remote;
    send(&mut world, server, addr("192.0.2.1:3478"), mapped);
    world.run_for(SECOND);

    assert_eq!(seen(&world, inside).len(), 1);
}

#[test]
fn a_restarted_nat_has_no_mappings() {
    let mut lab = Lab::new(1, Nat::default());
    let mapped = lab.map(5000, 0).unwrap();

    lab.world.forget(lab.nat);

    assert!(!lab.gets_in(0, mapped));
    assert!(lab.world.bindings(lab.nat).is_empty());
    assert_eq!(lab.map(5000, 0), Some(mapped), "the port is kept as before");
}
