//! The oracle against all orders of sends, and against what is known of the classic kinds.

use core::convert::Infallible;
use core::time::Duration;

use alloc::vec;

use super::*;
use crate::sim::{
    Conflict, Filtering, Hairpin, Ip, Mapping, Nat, Pooling, Ports, SimultaneousOpen, Unsolicited,
};
use crate::{Link, Machine, Output, Path, Transmit};

struct Idle;

impl Machine for Idle {
    type Addr = Path;
    type Command = ();
    type Event = ();
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: Path, _: &[u8]) {}

    fn link(&mut self, _: Instant, _: Path, _: Link) {}

    fn command(&mut self, _: Instant, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
        tx.clear();
        Output::Idle(None)
    }
}

/// How many sends in any order are tried, before an exchange of two.
const SENDS: usize = 3;

impl PeerPair<'_> {
    /// Tries all sequences of sends.
    fn search(&self, left: usize) -> bool {
        if self.is_connected() {
            return true;
        }
        if left == 0 {
            return false;
        }
        PeerSide::BOTH.into_iter().any(|side| {
            let targets: BTreeSet<SocketAddr> = self
                .candidates()
                .map(|[one, other]| match side {
                    PeerSide::One => other,
                    PeerSide::Other => one,
                })
                .collect();
            targets.into_iter().any(|target| {
                let mut after = self.clone();
                let passage = after.send(side, target, after.first_flags());
                let is_seen = passage.reached == Some(Reached::Peer(side.peer()));
                if is_seen || passage.was_foreseen {
                    after.learn(side, passage.source);
                }
                after.search(left - 1)
            })
        })
    }

    /// Tells whether packets pass both ways without any more preparation.
    fn is_connected(&self) -> bool {
        self.candidates().any(|pair| {
            PeerSide::BOTH.into_iter().any(|side| {
                let mut peers = self.clone();
                match self.proto {
                    Proto::Udp => {
                        peers.passes(side, pair, None) && peers.passes(side.peer(), pair, None)
                    }
                    Proto::Tcp => peers.shakes_hands(side, pair),
                }
            })
        })
    }
}

/// Two hosts, each behind its own NAT.
fn apart(one: Nat, other: Nat) -> (World, HostId, HostId) {
    let mut world = World::new(1);
    let one = world.nat(Ip::at([198, 51, 100, 1]), one);
    let other = world.nat(Ip::at([203, 0, 113, 1]), other);
    let one = world.host(Ip::at([10, 0, 0, 2]).behind(one), Idle);
    let other = world.host(Ip::at([10, 0, 0, 2]).behind(other), Idle);
    (world, one.id(), other.id())
}

fn brute(world: &World, one: HostId, other: HostId, proto: Proto) -> bool {
    let (one, other) = (world.homes(one)[0], world.homes(other)[0]);
    PeerPair::new(&world.net, proto, [one, other]).search(SENDS)
}

/// All kinds of mapping and filtering with these ways of choosing ports.
fn kinds(ports: &[Ports]) -> Vec<Nat> {
    let mappings = [
        Mapping::EndpointIndependent,
        Mapping::AddressDependent,
        Mapping::AddressAndPortDependent,
    ];
    let filterings = [
        Filtering::EndpointIndependent,
        Filtering::AddressDependent,
        Filtering::AddressAndPortDependent,
    ];
    let mut kinds = Vec::new();
    for mapping in mappings {
        for filtering in filterings {
            for ports in ports {
                kinds.push(Nat {
                    ports: *ports,
                    ..Nat::of(mapping, filtering)
                });
            }
        }
    }
    kinds
}

const SEQUENTIAL: Ports = Ports::Sequential {
    first: 20_000,
    step: 2,
};

#[test]
fn the_classic_kinds_meet_as_everybody_knows() {
    // RFC 5128 section 3.3, and the words of RFC 3489: full cone, restricted, port restricted, symmetric.
    let kinds = [
        Nat::full_cone(),
        Nat::restricted_cone(),
        Nat::port_restricted_cone(),
        Nat::symmetric(),
    ];
    let expected = [
        [true, true, true, true],
        [true, true, true, true],
        [true, true, true, false],
        [true, true, false, false],
    ];
    for (row, one) in expected.iter().zip(&kinds) {
        for (expected, other) in row.iter().zip(&kinds) {
            for proto in [Proto::Udp, Proto::Tcp] {
                let (world, a, b) = apart(one.clone(), other.clone());
                let is_possible = world.direct_path_possible(a, b, proto);
                assert_eq!(is_possible, *expected, "{proto:?} {one:?} {other:?}");
            }
        }
    }
}

#[test]
fn a_symmetric_nat_that_counts_is_as_good_as_a_cone() {
    let counting = Nat {
        ports: SEQUENTIAL,
        ..Nat::symmetric()
    };
    for other in [Nat::port_restricted_cone(), counting.clone()] {
        for proto in [Proto::Udp, Proto::Tcp] {
            let (world, one, other) = apart(counting.clone(), other.clone());

            assert!(world.direct_path_possible(one, other, proto));
        }
    }
}

#[test]
fn no_order_of_sends_does_better_or_worse_than_the_oracle() {
    for (proto, ports) in [
        (Proto::Udp, vec![SEQUENTIAL, Ports::Random]),
        (Proto::Tcp, vec![Ports::Random]),
    ] {
        let kinds = kinds(&ports);
        let mut count = [0, 0];
        for (index, one) in kinds.iter().enumerate() {
            for other in kinds.iter().skip(index) {
                let (world, a, b) = apart(one.clone(), other.clone());
                let oracle = world.direct_path_possible(a, b, proto);
                assert_eq!(
                    oracle,
                    brute(&world, a, b, proto),
                    "{proto:?} {one:?} {other:?}"
                );
                count[usize::from(oracle)] += 1;
            }
        }
        assert!(count[0] > 20 && count[1] > 20, "{count:?}");
    }
}

#[test]
fn ways_of_choosing_ports_and_addresses_agree_with_all_orders_of_sends() {
    let directions = [
        Ports::Preserving(Conflict::NextFree),
        Ports::Preserving(Conflict::Overwrite),
        Ports::Preserving(Conflict::Overload),
        Ports::Contiguous {
            stride: 1,
            offset: 77,
        },
    ];
    let symmetric = Mapping::AddressAndPortDependent;
    for ports in directions {
        for other in kinds(&[Ports::Random]) {
            let nat = Nat {
                ports,
                ..Nat::of(symmetric, Filtering::AddressAndPortDependent)
            };
            let (world, a, b) = apart(nat, other.clone());

            let oracle = world.direct_path_possible(a, b, Proto::Udp);

            assert_eq!(
                oracle,
                brute(&world, a, b, Proto::Udp),
                "{ports:?} {other:?}"
            );
        }
    }
}

#[test]
fn arbitrary_pooling_hides_the_address_even_when_ports_are_known() {
    for (pooling, expected) in [(Pooling::Paired, true), (Pooling::Arbitrary, false)] {
        let nat = Nat {
            pooling,
            ports: SEQUENTIAL,
            ..Nat::symmetric()
        };
        let mut world = World::new(1);
        let pool = Ip::at([198, 51, 100, 1]).and([198, 51, 100, 2]);
        let one = world.nat(pool, nat);
        let other = world.nat(Ip::at([203, 0, 113, 1]), Nat::port_restricted_cone());
        let one = world.host(Ip::at([10, 0, 0, 2]).behind(one), Idle).id();
        let other = world.host(Ip::at([10, 0, 0, 2]).behind(other), Idle).id();

        assert_eq!(world.direct_path_possible(one, other, Proto::Udp), expected);
        assert_eq!(brute(&world, one, other, Proto::Udp), expected);
    }
}

#[test]
fn without_a_nat_on_one_side_everything_is_possible() {
    for nat in kinds(&[Ports::Random]) {
        let mut world = World::new(1);
        let nat = world.nat(Ip::at([198, 51, 100, 1]), nat);
        let inside = world.host(Ip::at([10, 0, 0, 2]).behind(nat), Idle);
        let outside = world.host(Ip::at([192, 0, 2, 1]), Idle);

        for proto in [Proto::Udp, Proto::Tcp] {
            assert!(world.direct_path_possible(inside, outside, proto));
            assert!(world.direct_path_possible(outside, inside, proto));
        }
    }
}

/// Two homes behind one carrier.
fn neighbours(kind: Nat, home: &Nat) -> (World, HostId, HostId) {
    let mut world = World::new(1);
    let kind = world.nat(Ip::at([198, 51, 100, 1]), kind);
    let hosts = [5, 6].map(|last| {
        let home = world.nat(Ip::at([100, 64, 0, last]).behind(kind), home.clone());
        world.host(Ip::at([192, 168, 0, 2]).behind(home), Idle).id()
    });
    (world, hosts[0], hosts[1])
}

#[test]
fn neighbours_behind_a_carrier_need_its_hairpin() {
    for (hairpin, expected) in [(Hairpin::ExternalSource, true), (Hairpin::Off, false)] {
        for home in kinds(&[SEQUENTIAL]) {
            let kind = Nat {
                hairpin,
                ..Nat::full_cone()
            };
            // A mapping for each remote socket at home makes a new one at the carrier, which counts on.
            let kind = Nat {
                ports: SEQUENTIAL,
                ..kind
            };
            let (world, one, other) = neighbours(kind, &home);

            let oracle = world.direct_path_possible(one, other, Proto::Udp);

            assert_eq!(oracle, brute(&world, one, other, Proto::Udp), "{home:?}");
            assert_eq!(oracle, expected, "{hairpin:?} {home:?}");
        }
    }
}

#[test]
fn a_hairpin_with_the_inner_source_shows_neighbours_a_way_without_the_carrier() {
    let kind = Nat {
        hairpin: Hairpin::InternalSource,
        ..Nat::full_cone()
    };
    for home in kinds(&[Ports::Random]) {
        let (world, one, other) = neighbours(kind.clone(), &home);

        let oracle = world.direct_path_possible(one, other, Proto::Udp);

        assert_eq!(oracle, brute(&world, one, other, Proto::Udp), "{home:?}");
    }
    let (world, one, other) = neighbours(kind, &Nat::full_cone());
    assert!(world.direct_path_possible(one, other, Proto::Udp));
}

#[test]
fn the_stricter_of_two_nested_nats_decides() {
    let strict = Nat::symmetric();
    for (kind, home, expected) in [
        (Nat::full_cone(), Nat::full_cone(), true),
        (strict.clone(), Nat::full_cone(), false),
        (Nat::full_cone(), strict, false),
    ] {
        let mut world = World::new(1);
        let kind = world.nat(Ip::at([198, 51, 100, 1]), kind);
        let home = world.nat(Ip::at([100, 64, 0, 5]).behind(kind), home);
        let far = world.nat(Ip::at([203, 0, 113, 1]), Nat::port_restricted_cone());
        let one = world.host(Ip::at([192, 168, 0, 2]).behind(home), Idle).id();
        let other = world.host(Ip::at([10, 0, 0, 2]).behind(far), Idle).id();

        assert_eq!(world.direct_path_possible(one, other, Proto::Udp), expected);
        assert_eq!(brute(&world, one, other, Proto::Udp), expected);
    }
}

#[test]
fn hosts_of_one_network_need_no_nat_and_strangers_to_ip_have_no_path() {
    let mut world = World::new(1);
    let nat = world.nat(Ip::at([198, 51, 100, 1]), Nat::symmetric());
    let one = world.host(Ip::at([10, 0, 0, 2]).behind(nat), Idle);
    let other = world.host(Ip::at([10, 0, 0, 3]).behind(nat), Idle);
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let third = world.host(Ip::at(v6), Idle);

    assert!(world.direct_path_possible(one, other, Proto::Udp));
    assert!(!world.direct_path_possible(one, third, Proto::Udp));
}

#[test]
fn tcp_needs_one_side_that_lets_a_simultaneous_open_through() {
    for (blocked, one_is_enough) in [
        (SimultaneousOpen::InboundSynBlocked, true),
        (SimultaneousOpen::OutboundSynAckBlocked, true),
    ] {
        let blocking = Nat {
            simultaneous_open: blocked,
            ..Nat::port_restricted_cone()
        };

        let (world, one, other) = apart(blocking.clone(), Nat::port_restricted_cone());
        assert_eq!(
            world.direct_path_possible(one, other, Proto::Tcp),
            one_is_enough
        );
        let (world, one, other) = apart(blocking.clone(), blocking);
        assert!(!world.direct_path_possible(one, other, Proto::Tcp));
        assert!(world.direct_path_possible(one, other, Proto::Udp));
    }
}

#[test]
fn a_nat_that_refuses_too_early_a_syn_does_not_matter() {
    let hasty = Nat {
        unsolicited: Unsolicited::Reset(Duration::ZERO),
        ..Nat::port_restricted_cone()
    };
    let (world, one, other) = apart(hasty.clone(), hasty);

    assert!(world.direct_path_possible(one, other, Proto::Tcp));
}

#[test]
fn connection_dependent_nats_agree_with_all_orders_of_sends() {
    let mappings = [Mapping::EndpointIndependent, Mapping::ConnectionDependent];
    let filterings = [
        Filtering::EndpointIndependent,
        Filtering::ConnectionDependent,
    ];
    let nat = |mapping, filtering| Nat {
        ports: Ports::Random,
        ..Nat::of(mapping, filtering)
    };
    for (mapping, filtering) in mappings.into_iter().zip(filterings) {
        for other in kinds(&[Ports::Random]) {
            let (world, a, b) = apart(nat(mapping, filtering), other.clone());

            let oracle = world.direct_path_possible(a, b, Proto::Tcp);

            assert_eq!(
                oracle,
                brute(&world, a, b, Proto::Tcp),
                "{mapping:?} {other:?}"
            );
        }
    }
}
