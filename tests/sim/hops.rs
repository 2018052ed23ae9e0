//! Wires and buses between numbered interfaces.

use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{BROADCAST, Contacts, DropReason, Host, Line, Queue, TracePacket, World};
use farlink::{Addr as _, Ask, Cause, Hop, Instant, Link, Tag};

use crate::scripted_machine::{Action, Observed, ScriptedMachine, links, octets};

type Node = Host<ScriptedMachine<Hop>>;

const SECOND: Duration = Duration::from_secs(1);

fn push(world: &mut World, from: Node, interface: u8, via: u16, octets: &'static [u8]) {
    let to = Hop { interface, via };
    world
        .command(from, Action::Push(to, Bytes::from_static(octets)))
        .unwrap();
}

fn got(world: &World, host: Node) -> Vec<(Hop, Vec<u8>)> {
    let events = world.events(host);
    events
        .filter_map(|(_, event)| match event {
            Observed::Octets(from, octets) => Some((*from, octets.to_vec())),
            _ => None,
        })
        .collect()
}

fn node(world: &mut World, link: u16) -> Node {
    world.host(link, ScriptedMachine::default())
}

#[test]
fn a_wire_joins_two_interfaces_whatever_the_next_hop() {
    let mut world = World::new(1);
    let (one, two) = (node(&mut world, 10), node(&mut world, 20));
    world.wire((one, 3), (two, 5), Line::delayed(SECOND));

    push(&mut world, one, 3, 99, b"there");
    push(&mut world, two, 5, 0, b"back");
    world.run_until_idle(10 * SECOND);

    let from_one = Hop {
        interface: 5,
        via: 10,
    };
    let from_two = Hop {
        interface: 3,
        via: 20,
    };
    assert_eq!(got(&world, two), [(from_one, b"there".to_vec())]);
    assert_eq!(got(&world, one), [(from_two, b"back".to_vec())]);
}

#[test]
fn a_bus_delivers_by_link_address_or_to_all_others() {
    let mut world = World::new(1);
    let nodes = [10, 20, 30].map(|link| node(&mut world, link));
    let bus = world.bus(Line::default());
    for node in nodes {
        world.join(bus, node, 0);
    }

    push(&mut world, nodes[0], 0, 30, b"one");
    push(&mut world, nodes[1], 0, BROADCAST, b"all");
    push(&mut world, nodes[2], 0, 77, b"none");
    world.run_until_idle(10 * SECOND);

    let from = |via| Hop { interface: 0, via };
    assert_eq!(got(&world, nodes[0]), [(from(20), b"all".to_vec())]);
    assert_eq!(got(&world, nodes[1]), []);
    assert_eq!(
        got(&world, nodes[2]),
        [(from(10), b"one".to_vec()), (from(20), b"all".to_vec())]
    );
    let lost = world.trace().packets().filter_map(TracePacket::lost);
    assert_eq!(
        lost.map(|(_, why)| why).collect::<Vec<_>>(),
        [DropReason::NoHost]
    );
}

#[test]
fn the_members_of_a_bus_share_its_rate() {
    let mut world = World::new(1);
    let nodes = [10, 20, 30].map(|link| node(&mut world, link));
    let bus = world.bus(Line {
        rate: Some(80),
        ..Line::default()
    });
    for node in nodes {
        world.join(bus, node, 0);
    }

    push(&mut world, nodes[0], 0, 30, b"0123456789");
    push(&mut world, nodes[1], 0, 30, b"0123456789");
    world.run_until_idle(10 * SECOND);

    let times: Vec<Instant> = octets(&world, nodes[2])
        .iter()
        .map(|(time, _)| *time)
        .collect();
    assert_eq!(times, [Instant::ZERO + SECOND, Instant::ZERO + 2 * SECOND]);
}

#[test]
fn an_interface_that_is_full_leaves_the_others_alone() {
    let mut world = World::new(1);
    let (one, two, three) = (
        node(&mut world, 1),
        node(&mut world, 2),
        node(&mut world, 3),
    );
    let serial = Line {
        rate: Some(80),
        queue: Queue::Signal(10),
        ..Line::default()
    };
    world.wire((one, 0), (two, 0), serial);
    world.wire((one, 1), (three, 0), Line::default());

    for _ in 0..3 {
        push(&mut world, one, 0, 2, b"0123456789");
        push(&mut world, one, 1, 3, b"quick");
    }
    world.run_until_idle(100 * SECOND);

    // The interface, which carries all hops over it.
    let slow = Hop {
        interface: 0,
        via: 2,
    }
    .carrier();
    assert!(links(&world, one).iter().all(|(_, at, _)| *at == slow));
    assert_eq!(links(&world, one)[0], (Instant::ZERO, slow, Link::Full));
    assert_eq!(got(&world, two).len(), 3);
    let times: Vec<Instant> = octets(&world, three)
        .iter()
        .map(|(time, _)| *time)
        .collect();
    assert_eq!(times, [Instant::ZERO; 3]);
}

#[test]
fn an_open_without_sockets_fails_unless_it_is_cancelled() {
    let mut world = World::new(1);
    let one = node(&mut world, 1);
    let path = Hop {
        interface: 0,
        via: 2,
    };

    for tag in [Tag(1), Tag(2)] {
        let open = Ask::Open { tag, path };
        world.command(one, Action::Ask(open)).unwrap();
    }
    world
        .command(one, Action::Ask(Ask::Cancel(Tag(1))))
        .unwrap();
    world.run_until_idle(SECOND);

    let failed = Link::Failed(Tag(2), Cause::Unreachable);
    assert_eq!(links(&world, one), [(Instant::ZERO, path, failed)]);
}

#[test]
fn contacts_are_told_at_the_hop_of_the_peer() {
    let mut world = World::new(1);
    let (one, two) = (node(&mut world, 1), node(&mut world, 2));
    let pass = Line {
        contacts: Contacts::windows([(SECOND, 2 * SECOND)]),
        ..Line::default()
    };
    world.wire((one, 4), (two, 0), Line::default());
    world.wire_from((one, 4), (two, 0), pass);

    world.run_until_idle(10 * SECOND);

    let hop = Hop {
        interface: 4,
        via: 2,
    };
    let ups: Vec<_> = links(&world, one)
        .into_iter()
        .filter(|(.., link)| *link == Link::Up)
        .collect();
    assert_eq!(ups, [(Instant::ZERO + SECOND, hop, Link::Up)]);
    assert!(links(&world, two).is_empty());
}
