//! Traces as pcapng.

use core::time::Duration;

use bytes::Bytes;
use farlink::record::{
    BUS_LINK_TYPE, Capture, CapturedPacket, FlowEventKind, Flows, Frame, Transport,
};
use farlink::sim::{FaultRule, Host, Ip, Line, StreamLine, TraceDetail, World};
use farlink::{Ask, Hop, Instant, Path, Proto};

use crate::scripted_machine::{Action, ScriptedMachine};

const SECOND: Duration = Duration::from_secs(1);

/// The link type of packets that begin with an IP header.
const RAW: u16 = 101;

fn at(span: Duration) -> Instant {
    Instant::ZERO + span
}

fn packets(file: &[u8]) -> Vec<CapturedPacket<'_>> {
    let mut capture = Capture::open(file).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        packets.push(packet);
    }
    assert!(!capture.is_cut());
    packets
}

fn comments(file: &[u8], comment: &str) -> usize {
    let windows = file.windows(comment.len());
    windows
        .filter(|window| *window == comment.as_bytes())
        .count()
}

fn numbered(line: Line) -> (World, Host<ScriptedMachine<u8>>) {
    let mut world = World::new(1);
    let one = world.host(1, ScriptedMachine::<u8>::default());
    let two = world.host(2, ScriptedMachine::<u8>::default());
    world.name(one, "earth");
    world.name(two, "mars");
    world.line(one, two, line);
    (world, one)
}

fn push(world: &mut World, from: Host<ScriptedMachine<u8>>, octets: &'static [u8]) {
    let octets = Bytes::from_static(octets);
    world.command(from, Action::Push(2, octets)).unwrap();
}

#[test]
fn numbered_machines_are_shown_as_udp_at_the_time_of_sending() {
    let (mut world, one) = numbered(Line::delayed(720 * SECOND));
    world.run_until(5 * SECOND);
    push(&mut world, one, b"hello");
    world.run_until_idle(3600 * SECOND);

    let file = world.trace().pcapng(1113);

    let [packet] = packets(&file)[..] else {
        panic!("one packet");
    };
    let frame = Frame::read(packet.link_type, packet.octets).unwrap();
    assert_eq!((packet.time, packet.link_type), (at(5 * SECOND), RAW));
    assert_eq!(frame.source, "192.0.2.1:1113".parse().unwrap());
    assert_eq!(frame.destination, "192.0.2.2:1113".parse().unwrap());
    assert_eq!(
        (frame.transport, frame.payload),
        (Transport::Udp, &b"hello"[..])
    );
    assert_eq!(comments(&file, "earth"), 1, "the name of the interface");
}

#[test]
fn a_lost_packet_is_written_once_with_its_reason() {
    let (mut world, one) = numbered(Line::delayed(SECOND).with_rule(FaultRule::nth(2).lost()));
    for octets in [b"one", b"two", b"six"] {
        push(&mut world, one, octets);
    }
    world.run_until_idle(10 * SECOND);

    let file = world.trace().pcapng(1113);

    assert_eq!(packets(&file).len(), 3);
    assert_eq!(comments(&file, "lost: lost by choice"), 1);
}

#[test]
fn copies_flipped_bits_and_packets_in_flight_are_marked() {
    let line = Line::delayed(SECOND)
        .with_rule(FaultRule::nth(1).duplicated())
        .with_rule(FaultRule::nth(2).bit_flipped(3));
    let (mut world, one) = numbered(line);
    push(&mut world, one, b"one");
    push(&mut world, one, b"two");
    world.run_until_idle(10 * SECOND);
    push(&mut world, one, b"two");

    let file = world.trace().pcapng(1113);

    assert_eq!(packets(&file).len(), 4);
    assert_eq!(comments(&file, "a copy that the line made"), 1);
    assert_eq!(comments(&file, "a bit was flipped on the way"), 1);
    assert_eq!(
        comments(&file, "sent again, in flight at the end of the trace"),
        1
    );
    let sent = packets(&file);
    assert!(sent.iter().skip(1).all(|packet| {
        let frame = Frame::read(packet.link_type, packet.octets).unwrap();
        [&b"one"[..], b"two"].contains(&frame.payload)
    }));
}

#[test]
fn octets_that_were_not_kept_are_zeros_with_a_comment() {
    let (mut world, one) = numbered(Line::default());
    world.trace_detail(TraceDetail::Lengths);
    push(&mut world, one, b"secret");
    world.run_until_idle(10 * SECOND);

    let file = world.trace().pcapng(1113);

    let packets = packets(&file);
    let frame = Frame::read(RAW, packets[0].octets).unwrap();
    assert_eq!(frame.payload, [0; 6]);
    assert_eq!(comments(&file, "octets were not kept"), 1);
}

/// What came in each direction of the only connection of a capture, the one to port 102 first.
#[derive(Debug, Default, PartialEq)]
struct Came {
    octets: [Vec<u8>; 2],
    began: [usize; 2],
    ended: [usize; 2],
    resets: usize,
}

fn came(file: &[u8]) -> Came {
    let mut came = Came::default();
    let mut flows = Flows::new();
    for packet in packets(file) {
        flows.packet(&packet, |arrival| {
            let side = usize::from(arrival.path.local.port() != 102);
            match arrival.kind {
                FlowEventKind::Octets(octets) => came.octets[side].extend_from_slice(octets),
                FlowEventKind::Began => came.began[side] += 1,
                FlowEventKind::Ended => came.ended[side] += 1,
                FlowEventKind::Reset => came.resets += 1,
                other => panic!("{other:?}"),
            }
        });
    }
    came
}

fn stream(line: StreamLine) -> (World, [Host<ScriptedMachine<()>>; 2]) {
    let mut world = World::new(1);
    let one = world.host((), ScriptedMachine::<()>::default());
    let two = world.host((), ScriptedMachine::<()>::default());
    world.connect(one, two, line);
    (world, [one, two])
}

fn append(world: &mut World, from: Host<ScriptedMachine<()>>, octets: &[u8]) {
    let octets = Bytes::copy_from_slice(octets);
    world.command(from, Action::Append((), octets)).unwrap();
}

#[test]
fn a_stream_is_shown_as_tcp_from_the_end_that_sent_first() {
    let (mut world, [one, two]) = stream(StreamLine::delayed(SECOND));
    let long: Vec<u8> = (0..=255).cycle().take(150_000).collect();

    append(&mut world, two, &long);
    world.run_until(5 * SECOND);
    append(&mut world, one, b"answer");
    for host in [two, one] {
        world.command(host, Action::Ask(Ask::Finish(()))).unwrap();
    }
    world.run_until_idle(10 * SECOND);
    let file = world.trace().pcapng(102);

    let expected = Came {
        octets: [long, b"answer".to_vec()],
        began: [1, 1],
        ended: [1, 1],
        resets: 0,
    };
    assert!(came(&file) == expected);
    let first = packets(&file)[0];
    let frame = Frame::read(RAW, first.octets).unwrap();
    assert_eq!(frame.source, "192.0.2.2:49152".parse().unwrap());
    assert_eq!(frame.destination, "192.0.2.1:102".parse().unwrap());
}

#[test]
fn octets_are_acknowledged_when_they_have_arrived() {
    let (mut world, [one, two]) = stream(StreamLine::delayed(SECOND));

    append(&mut world, one, b"hello");
    append(&mut world, two, b"early");
    world.run_until_idle(5 * SECOND);
    append(&mut world, two, b"late");
    let file = world.trace().pcapng(102);

    let acknowledged: Vec<u32> = packets(&file)
        .iter()
        .filter(|packet| packet.octets.len() > 40)
        .map(|packet| u32::from_be_bytes(packet.octets[28..32].try_into().unwrap()))
        .collect();
    // The SYN counts one.
    assert_eq!(acknowledged, [1, 1, 6]);
}

#[test]
fn a_stream_that_is_reset_ends_in_rst() {
    let (mut world, [one, two]) = stream(StreamLine::delayed(SECOND));

    append(&mut world, one, b"hello");
    world.reset(two, ());
    world.run_until_idle(5 * SECOND);
    let file = world.trace().pcapng(102);

    assert_eq!((came(&file).resets, came(&file).ended), (1, [0, 0]));
    assert_eq!(comments(&file, "cut off"), 1);
}

#[test]
fn retransmitted_segments_keep_their_numbers() {
    let has_data = |sight: &farlink::sim::PacketView<'_>| !sight.octets.is_empty();
    let mut world = World::new(3);
    world.internet(Line::delayed(SECOND).with_rule(FaultRule::nth(2).matching(has_data).lost()));
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Ip::at);
    let near = world.host(near, ScriptedMachine::<Path>::default());
    let far = world.host(far, ScriptedMachine::<Path>::default());
    world.bind(far, Proto::Tcp, "192.0.2.2:102".parse().unwrap());
    let local = "192.0.2.1:1000".parse().unwrap();
    let path = world.dial(near, local, "192.0.2.2:102".parse().unwrap());
    world.run_until(5 * SECOND);
    let octets: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let append = Action::Append(path, octets.clone().into());
    world.command(near, append).unwrap();
    world.run_until(60 * SECOND);

    let file = world.trace().pcapng(102);

    let came = came(&file);
    assert!(came.octets[0] == octets);
    assert_eq!(came.began, [1, 1]);
    assert_eq!(comments(&file, "lost: lost by choice"), 1);
    assert!(comments(&file, "sent again") >= 1);
}

#[test]
fn packets_of_hops_are_written_as_they_are() {
    let mut world = World::new(1);
    let one = world.host(10, ScriptedMachine::<Hop>::default());
    let two = world.host(20, ScriptedMachine::<Hop>::default());
    world.name(one, "radio");
    world.wire((one, 3), (two, 5), Line::default());
    let to = Hop {
        interface: 3,
        via: 20,
    };
    let octets = Bytes::from_static(b"frame");
    world.command(one, Action::Push(to, octets)).unwrap();
    world.run_until_idle(SECOND);

    let file = world.trace().pcapng(102);

    let packets = packets(&file);
    assert_eq!(packets.len(), 1);
    assert_eq!(
        (packets[0].link_type, packets[0].octets),
        (BUS_LINK_TYPE, &b"frame"[..])
    );
    assert_eq!(comments(&file, "radio, bus 3"), 1);
}
