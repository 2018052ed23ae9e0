//! Sockets on IP: UDP, and TCP over lines with losses.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::sim::{
    Chunks, Contacts, Delivery, DropReason, FaultRule, Ip, Line, Nat, PacketKind, Queue, Tcp,
    TcpFlags, TracePacket, World,
};
use farlink::{Ask, Cause, Instant, Link, Path, Proto, Tag};

use crate::path_hosts::{
    MILLI, PathHost, SECOND, addr, append, ask, at, joined, last_link, losses, open, pair, push,
};
use crate::scripted_machine::{Action, Observed, ScriptedMachine, links, octets};

/// A listener on port 80 at the second host, and a connection to it from port 1000 of the first.
fn connected(seed: u64) -> (World, PathHost, PathHost, Path, Path) {
    let (mut world, one, two) = pair(seed);
    world.bind(two, Proto::Tcp, addr("0.0.0.0:80"));
    let there = Path::tcp(addr("192.0.2.1:1000"), addr("192.0.2.2:80"));
    let back = Path::tcp(addr("192.0.2.2:80"), addr("192.0.2.1:1000"));
    open(&mut world, one, 1, there);
    world.run_until(4 * SECOND);
    assert_eq!(
        last_link(&world, one),
        (at(2 * SECOND), there, Link::Opened(Tag(1)))
    );
    assert_eq!(last_link(&world, two), (at(3 * SECOND), back, Link::Up));
    (world, one, two, there, back)
}

#[test]
fn a_datagram_names_the_bound_socket_and_its_sender() {
    let (mut world, one, two) = pair(1);
    world.bind(one, Proto::Udp, addr("192.0.2.1:1000"));
    world.bind(two, Proto::Udp, addr("0.0.0.0:2000"));

    let path = Path::udp(addr("192.0.2.1:1000"), addr("192.0.2.2:2000"));
    push(&mut world, one, path, b"hello");
    world.run_until_idle(10 * SECOND);

    let from = Path::udp(addr("0.0.0.0:2000"), addr("192.0.2.1:1000"));
    let octets = Bytes::from_static(b"hello");
    let got = world.events(two).last().unwrap();
    assert_eq!(got, (at(SECOND), &Observed::Octets(from, octets)));
}

#[test]
fn datagrams_need_a_socket_at_both_ends_and_a_host() {
    let (mut world, one, _) = pair(1);
    let unbound = Path::udp(addr("192.0.2.1:1000"), addr("192.0.2.2:2000"));
    push(&mut world, one, unbound, b"no socket here");
    world.bind(one, Proto::Udp, addr("192.0.2.1:1000"));
    push(&mut world, one, unbound, b"no socket there");
    let nobody = Path::udp(addr("192.0.2.1:1000"), addr("192.0.2.99:2000"));
    push(&mut world, one, nobody, b"no host there");

    world.run_until_idle(10 * SECOND);

    assert_eq!(
        losses(&world),
        [
            DropReason::NoSocket,
            DropReason::NoSocket,
            DropReason::NoHost
        ]
    );
}

#[test]
fn an_open_is_answered_with_the_real_port() {
    let (mut world, one, _) = pair(1);

    open(
        &mut world,
        one,
        7,
        Path::socket(Proto::Udp, addr("0.0.0.0:0")),
    );
    open(
        &mut world,
        one,
        8,
        Path::socket(Proto::Tcp, addr("192.0.2.1:0")),
    );
    world.run_until_idle(SECOND);

    let cues = links(&world, one);
    assert_eq!(cues[0].2, Link::Opened(Tag(7)));
    assert_eq!(cues[1].2, Link::Opened(Tag(8)));
    for (_, path, _) in cues {
        assert!(path.local.port() >= 49152, "{path}");
        assert!(path.is_socket());
    }
}

#[test]
fn a_port_is_bound_once_and_free_again_when_closed() {
    let (mut world, one, _) = pair(1);
    let socket = Path::socket(Proto::Udp, addr("192.0.2.1:500"));

    open(&mut world, one, 1, socket);
    open(
        &mut world,
        one,
        2,
        Path::socket(Proto::Udp, addr("0.0.0.0:500")),
    );
    ask(&mut world, one, Ask::Close(socket));
    open(&mut world, one, 3, socket);
    open(
        &mut world,
        one,
        4,
        Path::socket(Proto::Tcp, addr("192.0.2.1:500")),
    );
    open(
        &mut world,
        one,
        5,
        Path::socket(Proto::Udp, addr("192.0.2.7:501")),
    );
    world.run_until_idle(SECOND);

    let answers: Vec<Link> = links(&world, one)
        .iter()
        .map(|(_, _, link)| *link)
        .collect();
    assert_eq!(
        answers,
        [
            Link::Opened(Tag(1)),
            Link::Failed(Tag(2), Cause::InUse),
            Link::Opened(Tag(3)),
            Link::Opened(Tag(4)),
            Link::Failed(Tag(5), Cause::Unreachable),
        ]
    );
}

#[test]
fn a_full_line_is_told_at_the_udp_socket_which_carries_all_paths_from_it() {
    let (mut world, one, two) = pair(1);
    let three = world.host(Ip::at([192, 0, 2, 3]), ScriptedMachine::<Path>::default());
    let slow = |rate| Line {
        rate: Some(rate),
        queue: Queue::Signal(100),
        ..Line::default()
    };
    world.line_from(one, two, slow(8000));
    world.line_from(one, three, slow(800));
    let socket = world.bind(one, Proto::Udp, addr("192.0.2.1:500"));
    let there = |host: u8| {
        let remote = SocketAddr::from(([192, 0, 2, host], 53));
        Path::udp(addr("192.0.2.1:500"), remote)
    };

    // The second waits until the line of the first is half empty.
    push(&mut world, one, there(3), &[7; 100]);
    push(&mut world, one, there(2), &[7; 100]);
    world.run_until_idle(100 * SECOND);

    let cues: Vec<(Instant, Path, Link)> = links(&world, one);
    let expected = [
        (Instant::ZERO, socket, Link::Up),
        (Instant::ZERO, socket, Link::Full),
        (at(500 * MILLI), socket, Link::Free),
        (at(500 * MILLI), socket, Link::Full),
        (at(550 * MILLI), socket, Link::Free),
    ];
    assert_eq!(cues, expected);
}

#[test]
fn tcp_carries_octets_both_ways_and_ends_each_way_by_itself() {
    let (mut world, one, two, there, back) = connected(1);
    let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();

    append(&mut world, one, there, &sent);
    ask(&mut world, one, Ask::Finish(there));
    world.run_until(100 * SECOND);
    assert_eq!(joined(&world, two), sent);
    assert_eq!(last_link(&world, two).2, Link::Ended);
    append(&mut world, two, back, b"and back");
    ask(&mut world, two, Ask::Finish(back));
    assert!(world.run_until_idle(1000 * SECOND));

    assert_eq!(joined(&world, one), b"and back");
    assert_eq!(last_link(&world, one).2, Link::Ended);
    assert!(losses(&world).is_empty());
    assert!(!world.trace().packets().any(|packet| packet.is_repeated));
}

#[test]
fn tcp_mends_losses_reordering_copies_and_flipped_bits() {
    let (mut world, one, two, there, _) = connected(5);
    let bad = Line {
        delay: 50 * MILLI,
        jitter: 10 * MILLI,
        loss: 0.1,
        duplication: 0.1,
        corruption: 0.05,
        reorder: Some(farlink::sim::Reorder {
            probability: 0.2,
            by: 100 * MILLI,
        }),
        ..Line::default()
    };
    world.line(one, two, bad);
    let sent: Vec<u8> = (0..=250).cycle().take(300_000).collect();

    for chunk in sent.chunks(50_000) {
        append(&mut world, one, there, chunk);
    }
    world.at(1000 * SECOND, move |world| {
        ask(world, one, Ask::Finish(there));
    });
    world.run_until(2000 * SECOND);

    assert_eq!(joined(&world, two), sent);
    assert_eq!(last_link(&world, two).2, Link::Ended);
    assert!(losses(&world).contains(&DropReason::Checksum));
    assert!(world.trace().packets().any(|packet| packet.is_repeated));
}

#[test]
fn a_closed_port_refuses() {
    let (mut world, one, _) = pair(1);
    let path = Path::tcp(addr("192.0.2.1:0"), addr("192.0.2.2:80"));

    open(&mut world, one, 1, path);
    world.run_until_idle(1000 * SECOND);

    let (time, path, link) = last_link(&world, one);
    assert_eq!(
        (time, link),
        (at(2 * SECOND), Link::Failed(Tag(1), Cause::Refused))
    );
    assert!(path.local.port() >= 49152, "{path}");
}

#[test]
fn an_unreachable_peer_times_out_after_all_tries() {
    let (mut world, one, _) = pair(1);
    world.tcp(
        one,
        Tcp {
            syn_tries: 3,
            ..Tcp::default()
        },
    );
    let path = Path::tcp(addr("192.0.2.1:1"), addr("192.0.2.77:80"));

    open(&mut world, one, 1, path);
    world.run_until_idle(1000 * SECOND);

    // 1 + 2 + 4 + 8 seconds.
    let failed = Link::Failed(Tag(1), Cause::TimedOut);
    assert_eq!(last_link(&world, one), (at(15 * SECOND), path, failed));
    assert_eq!(losses(&world), [DropReason::NoHost; 4]);
}

#[test]
fn a_lost_syn_is_sent_again() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));
    world.line_from(one, two, Line::delayed(MILLI).with_rule(FaultRule::nth(1)));
    world.line_from(two, one, Line::delayed(MILLI).with_rule(FaultRule::nth(1)));
    let path = Path::tcp(addr("192.0.2.1:1"), addr("192.0.2.2:80"));

    open(&mut world, one, 1, path);
    world.run_until_idle(1000 * SECOND);

    // The SYN is lost, and sent again after 3 seconds. Then its answer is lost, and sent again after 3 more.
    let (time, _, link) = last_link(&world, one);
    assert_eq!(link, Link::Opened(Tag(1)));
    assert_eq!(time, at(6 * SECOND + 2 * MILLI));
}

#[test]
fn two_syns_that_cross_open_one_connection() {
    let (mut world, one, two) = pair(1);
    let there = Path::tcp(addr("192.0.2.1:1000"), addr("192.0.2.2:2000"));
    let back = Path::tcp(addr("192.0.2.2:2000"), addr("192.0.2.1:1000"));

    open(&mut world, one, 1, there);
    world.at(SECOND / 2, move |world| open(world, two, 2, back));
    world.run_until(10 * SECOND);
    append(&mut world, one, there, b"ping");
    append(&mut world, two, back, b"pong");
    world.run_until(20 * SECOND);

    assert_eq!(
        links(&world, one),
        [(at(2 * SECOND), there, Link::Opened(Tag(1)))]
    );
    assert_eq!(
        links(&world, two),
        [(at(5 * SECOND / 2), back, Link::Opened(Tag(2)))]
    );
    assert_eq!(joined(&world, two), b"ping");
    assert_eq!(joined(&world, one), b"pong");
}

#[test]
fn a_pair_of_sockets_carries_one_connection() {
    let (mut world, one, _, there, _) = connected(1);
    let elsewhere = Path {
        remote: addr("192.0.2.2:81"),
        ..there
    };

    open(&mut world, one, 2, there);
    open(&mut world, one, 3, elsewhere);
    world.run_until(10 * SECOND);

    let answers: Vec<Link> = links(&world, one)[1..]
        .iter()
        .map(|(_, _, link)| *link)
        .collect();
    let refused = Link::Failed(Tag(3), Cause::Refused);
    assert_eq!(answers, [Link::Failed(Tag(2), Cause::InUse), refused]);
}

#[test]
fn a_listener_and_connections_share_a_port() {
    let (mut world, one, two) = pair(1);
    world.bind(one, Proto::Tcp, addr("192.0.2.1:1000"));
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));

    open(
        &mut world,
        one,
        1,
        Path::tcp(addr("192.0.2.1:1000"), addr("192.0.2.2:80")),
    );
    open(
        &mut world,
        two,
        2,
        Path::tcp(addr("192.0.2.2:0"), addr("192.0.2.1:1000")),
    );
    world.run_until(10 * SECOND);

    let opened = |world: &World, host: PathHost| {
        let cues = links(world, host);
        cues.iter().filter(|(_, path, _)| !path.is_socket()).count()
    };
    assert_eq!(opened(&world, one), 2);
    assert_eq!(opened(&world, two), 2);
}

#[test]
fn abort_is_a_reset_for_the_peer() {
    let (mut world, one, two, there, back) = connected(1);

    ask(&mut world, one, Ask::Abort(there));
    world.run_until_idle(1000 * SECOND);

    assert_eq!(
        last_link(&world, two),
        (at(5 * SECOND), back, Link::Down(Cause::Reset))
    );
}

#[test]
fn a_scripted_reset_reaches_both_ends() {
    let (mut world, one, two, there, back) = connected(1);

    world.reset(one, there);
    world.run_until_idle(1000 * SECOND);

    let reset = Link::Down(Cause::Reset);
    assert_eq!(last_link(&world, one), (at(4 * SECOND), there, reset));
    assert_eq!(last_link(&world, two), (at(5 * SECOND), back, reset));
}

#[test]
fn a_scripted_half_close_ends_one_direction() {
    let (mut world, one, two, there, back) = connected(1);

    world.half_close(one, there);
    append(&mut world, two, back, b"still here");
    world.run_until(10 * SECOND);

    assert_eq!(last_link(&world, two).2, Link::Ended);
    assert_eq!(joined(&world, one), b"still here");
}

#[test]
fn close_flushes_and_gives_no_further_cues() {
    let (mut world, one, two, there, back) = connected(1);

    append(&mut world, one, there, &[7; 5000]);
    ask(&mut world, one, Ask::Close(there));
    append(&mut world, two, back, b"too late");
    ask(&mut world, two, Ask::Close(back));
    assert!(world.run_until_idle(1000 * SECOND));

    assert_eq!(octets(&world, one), []);
    assert_eq!(links(&world, one).len(), 1);
    assert_eq!(octets(&world, two), [], "it closed before anything came");
}

#[test]
fn a_reader_that_wants_nothing_fills_the_windows_until_the_writer_gets_full() {
    let (mut world, one, two, there, _) = connected(1);
    for host in [one, two] {
        world.allow_unread(host, |_| true);
    }

    world.command(two, Action::Want(false)).unwrap();
    append(&mut world, one, there, &vec![3; 400_000]);
    world.run_until(1000 * SECOND);
    assert!(octets(&world, two).is_empty());
    assert_eq!(last_link(&world, one).2, Link::Full);
    world.command(two, Action::Want(true)).unwrap();
    world.run_until(2000 * SECOND);

    assert_eq!(joined(&world, two).len(), 400_000);
    assert_eq!(last_link(&world, one).2, Link::Free);
}

#[test]
fn a_connection_to_a_silent_peer_is_dropped() {
    let (mut world, one, two, there, _) = connected(1);
    let dead = Line {
        contacts: Contacts::windows([(Duration::ZERO, SECOND)]),
        ..Line::default()
    };
    world.line(one, two, dead);

    append(&mut world, one, there, b"anybody?");
    world.run_until_idle(100_000 * SECOND);

    assert_eq!(last_link(&world, one).2, Link::Down(Cause::TimedOut));
    assert!(
        losses(&world)
            .iter()
            .all(|why| *why == DropReason::NoContact)
    );
    assert_eq!(losses(&world).len(), 16);
}

#[test]
fn a_stream_can_be_cut_to_single_octets() {
    let (mut world, one, two, there, _) = connected(1);
    world.chunks(two, Chunks::Fixed(1));

    append(&mut world, one, there, b"letter by letter");
    world.run_until(10 * SECOND);

    assert_eq!(octets(&world, two).len(), 16);
    assert_eq!(joined(&world, two), b"letter by letter");
}

#[test]
fn a_detached_stream_continues_without_its_machine() {
    let (mut world, one, two, there, back) = connected(1);
    let tag = Tag(9);

    let early = Bytes::from_static(b"early");
    ask(
        &mut world,
        one,
        Ask::Detach {
            tag,
            path: there,
            early: early.clone(),
        },
    );
    append(&mut world, two, back, b"for the application");
    world.run_until(8 * SECOND);
    world.write(one, tag, b"from the application");
    world.close(one, tag);
    ask(&mut world, two, Ask::Close(back));
    assert!(world.run_until_idle(1000 * SECOND));

    let detached = &world.detached(one)[0];
    assert_eq!((&detached.early, detached.tag), (&early, tag));
    assert_eq!(detached.received, b"for the application");
    assert_eq!(octets(&world, one), []);
}

#[test]
fn a_host_talks_to_itself_without_a_line() {
    let (mut world, one, _) = pair(1);
    world.bind(one, Proto::Tcp, addr("192.0.2.1:80"));
    let path = Path::tcp(addr("192.0.2.1:1"), addr("192.0.2.1:80"));

    open(&mut world, one, 1, path);
    world.run_until(SECOND);
    append(&mut world, one, path, b"echo");
    world.run_until(2 * SECOND);

    assert_eq!(joined(&world, one), b"echo");
    assert!(
        world
            .trace()
            .packets()
            .all(|packet| packet.delivery == Delivery::Arrived(packet.time))
    );
}

#[test]
fn a_host_with_two_addresses_sends_from_the_one_it_is_bound_to() {
    let mut world = World::new(1);
    let one = world.host(
        Ip::at([192, 0, 2, 1]).and([192, 0, 2, 11]),
        ScriptedMachine::<Path>::default(),
    );
    let two = world.host(Ip::at([192, 0, 2, 2]), ScriptedMachine::<Path>::default());
    world.bind(two, Proto::Udp, addr("192.0.2.2:5"));
    for local in ["192.0.2.1:7", "192.0.2.11:7"] {
        world.bind(one, Proto::Udp, addr(local));
        push(
            &mut world,
            one,
            Path::udp(addr(local), addr("192.0.2.2:5")),
            b"x",
        );
    }

    world.run_until_idle(SECOND);

    let from: Vec<SocketAddr> = world
        .events(two)
        .filter_map(|(_, event)| match event {
            Observed::Octets(path, _) => Some(path.remote),
            _ => None,
        })
        .collect();
    assert_eq!(from, [addr("192.0.2.1:7"), addr("192.0.2.11:7")]);
}

#[test]
fn a_dialled_connection_comes_up_or_goes_down() {
    let (mut world, one, two) = pair(1);
    world.bind(two, Proto::Tcp, addr("192.0.2.2:80"));

    let good = world.dial(one, addr("192.0.2.1:0"), addr("192.0.2.2:80"));
    let bad = world.dial(one, addr("192.0.2.1:0"), addr("192.0.2.2:81"));
    world.run_until(10 * SECOND);

    assert_eq!(
        links(&world, one),
        [
            (at(2 * SECOND), good, Link::Up),
            (at(2 * SECOND), bad, Link::Down(Cause::Refused)),
        ]
    );
}

#[test]
fn a_segment_can_be_chosen_by_its_flags_and_its_data() {
    let (mut world, one, two, there, _) = connected(1);
    let first_fin =
        FaultRule::nth(1).matching(|sight| sight.kind == PacketKind::Tcp(TcpFlags::FIN_ACK));
    let second_data = FaultRule::nth(2).matching(|sight| sight.octets.starts_with(b"data"));
    let line = Line::delayed(SECOND);
    world.line_from(one, two, line.with_rule(first_fin).with_rule(second_data));

    append(&mut world, one, there, b"data one");
    append(&mut world, one, there, b"data two");
    world.run_until(100 * SECOND);
    ask(&mut world, one, Ask::Finish(there));
    world.run_until(200 * SECOND);

    assert_eq!(joined(&world, two), b"data onedata two");
    assert_eq!(last_link(&world, two).2, Link::Ended);
    assert_eq!(losses(&world), [DropReason::Rule; 2]);
    let again = world.trace().packets().filter(|packet| packet.is_repeated);
    let again: Vec<String> = again.map(TracePacket::title).collect();
    assert_eq!(again, ["8 octets", "FIN"]);
}

#[test]
fn ipv6_works_like_ipv4() {
    let mut world = World::new(1);
    let firewall = world.nat(Ip::at(addr("[2001:db8:f::1]:0").ip()), Nat::firewall());
    let inside = Ip::at(addr("[2001:db8:a::2]:0").ip()).behind(firewall);
    let one: PathHost = world.host(inside, ScriptedMachine::default());
    let two: PathHost = world.host(
        Ip::at(addr("[2001:db8:b::1]:0").ip()),
        ScriptedMachine::default(),
    );
    world.bind(two, Proto::Tcp, addr("[::]:80"));
    world.bind(two, Proto::Udp, addr("[::]:53"));
    world.bind(one, Proto::Udp, addr("[::]:5000"));

    open(
        &mut world,
        one,
        1,
        Path::tcp(addr("[::]:0"), addr("[2001:db8:b::1]:80")),
    );
    let path = Path::udp(addr("[::]:5000"), addr("[2001:db8:b::1]:53"));
    push(&mut world, one, path, b"question");
    open(
        &mut world,
        two,
        2,
        Path::tcp(addr("[::]:0"), addr("[2001:db8:a::2]:80")),
    );
    world.run_until_idle(1000 * SECOND);

    let (_, opened, link) = links(&world, one)[1];
    assert_eq!(
        (link, opened.local.ip()),
        (Link::Opened(Tag(1)), addr("[2001:db8:a::2]:0").ip())
    );
    assert_eq!(joined(&world, two), b"question");
    assert_eq!(
        last_link(&world, two).2,
        Link::Failed(Tag(2), Cause::TimedOut)
    );
}
