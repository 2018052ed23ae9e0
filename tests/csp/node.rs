//! Rules of a node, one by one.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    CloseReason, Command, Config, Endpoint, Error, Event, Flags, Header, InterfaceConfig, Packet,
    PingService, Priority, RdpFlags, RdpHeader, Route, SendOptions, SocketOptions, SynOptions,
    Version,
};
use farlink::{Cause, Hop, Link, Machine as _, Tag};

use crate::packets::{rdp, sealed};
use crate::talk::{HOP, Talk};

const V2: Version = Version::V2;

fn talk() -> Talk {
    Talk::new(Config::default())
}

fn header(port: u8, flags: Flags) -> Header {
    Header {
        priority: Priority::Normal,
        source: 2,
        destination: 1,
        destination_port: port,
        source_port: 20,
        flags,
    }
}

fn packet(header: Header, data: &[u8]) -> Vec<u8> {
    sealed(V2, header, data)
}

fn segment(port: u8, rdp: RdpHeader, data: &[u8]) -> Vec<u8> {
    packet(header(port, Flags::RDP), &[data, &rdp.encode()].concat())
}

fn syn(port: u8) -> Vec<u8> {
    let options = SynOptions::default().encode();
    segment(port, rdp(RdpFlags::SYN, 700, 0), &options)
}

/// The trailer of the last packet sent, and the packet without it.
fn last(talk: &mut Talk) -> (Header, RdpHeader, Vec<u8>) {
    let sent = talk.take_sent();
    let packet = Packet::decode(V2, sent.last().expect("a packet")).unwrap();
    let (rdp, packet) = packet.split_rdp().unwrap();
    (packet.header, rdp, packet.data.to_vec())
}

fn bind(talk: &mut Talk, port: u8) {
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port, options }).unwrap();
}

/// Opens a connection to port 10, and returns the initial number of the node.
fn opened(talk: &mut Talk) -> u16 {
    bind(talk, 10);
    talk.receive(&syn(10));
    let initial = last(talk).1.sequence.0;
    talk.receive(&segment(10, rdp(RdpFlags::ACK, 701, initial), &[]));
    assert!(matches!(talk.take_events()[..], [Event::Accepted { .. }]));
    initial
}

#[test]
fn a_packet_to_a_bound_port_is_delivered_with_its_source() {
    let mut talk = talk();
    bind(&mut talk, 10);

    talk.receive(&packet(header(10, Flags::CRC32), b"hello"));

    let from = Endpoint {
        address: 2,
        port: 20,
    };
    let datagram = Event::Datagram {
        port: 10,
        from,
        data: Bytes::from("hello"),
    };
    assert_eq!(talk.take_events(), [datagram]);
    assert!(talk.sent.is_empty());
}

#[test]
fn a_packet_to_all_nodes_is_delivered() {
    let mut talk = talk();
    bind(&mut talk, 10);
    let header = Header {
        destination: V2.broadcast(),
        ..header(10, Flags::empty())
    };

    talk.receive(&packet(header, b"all"));

    assert_eq!(talk.take_events().len(), 1);
}

#[test]
fn packets_leave_by_the_routes_with_most_bits_and_by_the_last_of_equal_ones() {
    let route = |address, prefix, interface, via| Route {
        address,
        prefix,
        interface,
        via,
    };
    let mut talk = Talk::new(Config {
        interfaces: vec![InterfaceConfig::default(); 5],
        routes: vec![
            route(8, 11, 1, None),
            route(8, 14, 2, Some(5)),
            route(16, 11, 3, None),
            route(16, 11, 4, None),
        ],
        ..Config::default()
    });
    let mut send = |address| {
        let to = Endpoint { address, port: 10 };
        let sent = talk.command(Command::SendTo {
            from: 20,
            to,
            options: SendOptions::default(),
            data: Bytes::from("x"),
        });
        sent.map(|()| talk.sent.pop().unwrap().0)
    };

    assert_eq!(
        send(9),
        Ok(Hop {
            interface: 1,
            via: 9
        })
    );
    assert_eq!(
        send(8),
        Ok(Hop {
            interface: 2,
            via: 5
        })
    );
    assert_eq!(
        send(17),
        Ok(Hop {
            interface: 4,
            via: 17
        })
    );
    assert_eq!(send(40), Err(Error::NoRoute(40)));
}

#[test]
fn packets_to_the_node_itself_come_back() {
    let mut talk = talk();
    bind(&mut talk, 10);
    let to = Endpoint {
        address: 1,
        port: 10,
    };
    let options = SendOptions {
        crc32: true,
        ..SendOptions::default()
    };

    talk.command(Command::SendTo {
        from: 11,
        to,
        options,
        data: Bytes::from("me"),
    })
    .unwrap();
    let tag = Tag(3);
    talk.command(Command::Connect { tag, to, options }).unwrap();

    let events = talk.take_events();
    assert!(matches!(&events[0], Event::Datagram { port: 10, data, .. } if data == "me"));
    let connected = |event: &Event| matches!(event, Event::Connected { tag: Tag(3), .. });
    assert!(events.iter().any(connected), "{events:?}");
    assert!(talk.sent.is_empty());
}

#[test]
fn pings_without_crc32_are_answered_where_the_configuration_says_so() {
    for (ping, answers) in [
        (PingService::Off, [0, 0]),
        (PingService::RequireCrc32, [1, 0]),
        (PingService::Any, [1, 1]),
    ] {
        let mut talk = Talk::new(Config {
            ping,
            ..Config::default()
        });
        for (flags, answers) in [Flags::CRC32, Flags::empty()].into_iter().zip(answers) {
            talk.receive(&packet(header(1, flags), b"ping"));

            let expected = packet(header(1, flags).reversed(), b"ping");
            assert_eq!(talk.take_sent(), vec![expected; answers]);
        }
    }
}

#[test]
fn a_ping_ends_with_its_answer_or_its_time() {
    let mut talk = talk();
    let ping = |tag, destination| Command::Ping {
        tag,
        destination,
        octets: 20,
        timeout: Duration::from_secs(1),
    };
    talk.command(ping(Tag(1), 2)).unwrap();
    let sent = talk.take_sent();
    let asked = Packet::decode(V2, &sent[0])
        .unwrap()
        .split_crc32(V2)
        .unwrap();
    assert_eq!(asked.data, (0..20).collect::<Vec<u8>>());
    let answer = |source, data: &[u8]| {
        let header = Header {
            source,
            ..asked.header.reversed()
        };
        packet(header, data)
    };

    talk.pass(Duration::from_millis(30));
    talk.receive(&answer(3, asked.data));
    talk.receive(&answer(2, &asked.data[1..]));
    assert!(talk.take_events().is_empty(), "another node, other data");
    talk.receive(&answer(2, asked.data));
    talk.receive(&answer(2, asked.data));

    let answered = |from, time| Event::Pong {
        tag: Tag(1),
        from,
        time: Duration::from_millis(time),
    };
    let ended = |answers| Event::PingEnded {
        tag: Tag(1),
        answers,
    };
    assert_eq!(talk.take_events(), [answered(2, 30), ended(1)]);

    talk.command(ping(Tag(1), 4)).unwrap();
    talk.pass(Duration::from_millis(999));
    assert!(talk.take_events().is_empty());
    talk.pass(Duration::from_millis(1));
    assert_eq!(talk.take_events(), [ended(0)]);
}

#[test]
fn a_ping_to_all_nodes_tells_the_source_of_each_answer() {
    let mut talk = talk();
    talk.command(Command::Ping {
        tag: Tag(1),
        destination: V2.broadcast(),
        octets: 4,
        timeout: Duration::from_secs(1),
    })
    .unwrap();
    let sent = talk.take_sent();
    let asked = Packet::decode(V2, &sent[0])
        .unwrap()
        .split_crc32(V2)
        .unwrap();
    for source in [5, 9] {
        let header = Header {
            source,
            destination: 1,
            ..asked.header.reversed()
        };
        talk.receive(&packet(header, asked.data));
    }
    talk.pass(Duration::from_secs(1));

    let events = talk.take_events();
    let from: Vec<u16> = events
        .iter()
        .filter_map(|event| match event {
            Event::Pong { from, .. } => Some(*from),
            _ => None,
        })
        .collect();
    assert_eq!(from, [5, 9]);
    let ended = Event::PingEnded {
        tag: Tag(1),
        answers: 2,
    };
    assert_eq!(events.last(), Some(&ended));
}

#[test]
fn control_packets_count_up_and_have_a_high_priority() {
    let mut talk = talk();
    bind(&mut talk, 10);
    let mut counts = Vec::new();
    for _ in 0..3 {
        talk.receive(&syn(10));
        let (header, rdp, _) = last(&mut talk);
        assert_eq!(header.priority, Priority::High);
        assert_eq!(rdp.flags, RdpFlags::SYN | RdpFlags::ACK);
        counts.push(rdp.count);
    }
    assert_eq!(counts, [0, 1, 2], "a repeated SYN is answered again");
}

#[test]
fn a_sender_is_told_when_there_is_room_again() {
    let mut talk = Talk::new(Config {
        send_queue: 2,
        max_window: 1,
        rdp: SynOptions {
            window: 1,
            ..SynOptions::default()
        },
        ..Config::default()
    });
    bind(&mut talk, 10);
    talk.receive(&syn(10));
    let initial = last(&mut talk).1.sequence.0;
    talk.receive(&segment(10, rdp(RdpFlags::ACK, 701, initial), &[]));
    let Some(Event::Accepted { connection, .. }) = talk.take_events().pop() else {
        panic!("accepted");
    };
    let send = |talk: &mut Talk, data| {
        talk.command(Command::Send {
            connection,
            data: Bytes::from_static(data),
        })
    };

    send(&mut talk, b"a").unwrap();
    send(&mut talk, b"b").unwrap();
    assert_eq!(send(&mut talk, b"c"), Err(Error::Full { limit: 2 }));
    assert!(talk.take_events().is_empty());
    let acknowledgement = rdp(RdpFlags::ACK, 701, initial.wrapping_add(1));
    talk.receive(&segment(10, acknowledgement, &[]));

    let acknowledged = Event::Acknowledged {
        connection,
        packets: 1,
    };
    assert_eq!(talk.take_events(), [acknowledged, Event::Room(connection)]);
    assert_eq!(send(&mut talk, b""), Err(Error::Empty));
    let long: &'static [u8] = &[0; 252];
    let too_long = Error::TooLong {
        octets: 252,
        limit: 251,
    };
    assert_eq!(send(&mut talk, long), Err(too_long), "256 but the trailer");
}

#[test]
fn nothing_is_written_to_an_interface_that_is_full_or_down() {
    let mut talk = talk();
    let carrier = Hop {
        interface: 0,
        via: 0,
    };
    let peer = Hop {
        interface: 0,
        via: 2,
    };
    let to = Endpoint {
        address: 2,
        port: 10,
    };
    for (at, stop, go) in [
        (carrier, Link::Full, Link::Free),
        (carrier, Link::Down(Cause::Closed), Link::Up),
        (peer, Link::Down(Cause::Closed), Link::Up),
        (peer, Link::Down(Cause::Closed), Link::Up),
    ] {
        talk.node.link(talk.now, at, stop);
        talk.command(Command::SendTo {
            from: 20,
            to,
            options: SendOptions::default(),
            data: Bytes::from("x"),
        })
        .unwrap();
        assert!(talk.take_sent().is_empty());

        talk.node.link(talk.now, at, go);
        talk.drain();
        assert_eq!(talk.take_sent().len(), 1);
    }
}

#[test]
fn the_source_port_of_a_connection_is_a_fresh_one() {
    let mut talk = talk();
    let to = Endpoint {
        address: 2,
        port: 10,
    };
    let mut ports = Vec::new();
    for number in 0..20 {
        let options = SendOptions::default();
        let tag = Tag(number);
        talk.command(Command::Connect { tag, to, options }).unwrap();
        let (header, syn, _) = last(&mut talk);
        ports.push(header.source_port);
        let refusal = rdp(RdpFlags::RST | RdpFlags::ACK, 0, syn.sequence.0);
        let refusal = segment(0, refusal, &[]);
        let (rest, mut packet) = (header.reversed(), Vec::new());
        rest.encode(V2, &mut packet);
        packet.extend(&refusal[6..]);
        talk.receive(&packet);
        let reason = CloseReason::Refused;
        assert_eq!(talk.take_events(), [Event::ConnectFailed { tag, reason }]);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 20);
}

/// libcsp keeps a connection whose peer has restarted, and answers its SYN by an ACK or not at all.
#[test]
fn a_peer_that_knows_an_older_connection_is_reset_and_asked_again_from_another_port() {
    let mut talk = talk();
    let to = Endpoint {
        address: 2,
        port: 10,
    };
    let options = SendOptions::default();
    talk.command(Command::Connect {
        tag: Tag(1),
        to,
        options,
    })
    .unwrap();
    let (first, _, _) = last(&mut talk);
    let stale = [&rdp(RdpFlags::ACK, 44, 90).encode()[..]].concat();

    talk.receive(&packet(first.reversed(), &stale));

    let sent = talk.take_sent();
    let of = |at: usize| {
        let packet = Packet::decode(V2, &sent[at]).unwrap();
        (packet.header, packet.split_rdp().unwrap().0)
    };
    let ((reset_header, reset), (again, syn)) = (of(0), of(1));
    assert_eq!(reset_header.source_port, first.source_port);
    assert_eq!((reset.flags, reset.sequence.0), (RdpFlags::RST, 91));
    assert_eq!(syn.flags, RdpFlags::SYN);
    assert_ne!(again.source_port, first.source_port);
}

#[test]
fn a_packet_of_a_connection_from_before_a_restart_is_reset() {
    let mut talk = talk();
    bind(&mut talk, 10);

    talk.receive(&segment(10, rdp(RdpFlags::ACK, 300, 77), b"data"));
    let (_, reset, _) = last(&mut talk);
    assert_eq!((reset.flags, reset.sequence.0), (RdpFlags::RST, 78));

    talk.receive(&segment(
        10,
        rdp(RdpFlags::RST | RdpFlags::ACK, 300, 77),
        &[],
    ));
    assert!(talk.sent.is_empty(), "no answer to an RST");
}

#[test]
fn a_closed_connection_is_forgotten() {
    let mut talk = talk();
    let initial = opened(&mut talk);
    let reset = rdp(RdpFlags::RST | RdpFlags::ACK, 701, initial);

    talk.receive(&segment(10, reset, &[]));

    let events = talk.take_events();
    let Some(Event::Closed { connection, .. }) = events.last() else {
        panic!("{events:?}");
    };
    let data = Bytes::from("x");
    let connection = *connection;
    assert_eq!(
        talk.command(Command::Send { connection, data }),
        Err(Error::NoConnection(connection))
    );
    talk.receive(&syn(10));
    assert_eq!(last(&mut talk).1.flags, RdpFlags::SYN | RdpFlags::ACK);
}

#[test]
fn ports_are_bound_once_and_not_where_the_node_answers() {
    let mut talk = talk();
    let options = SocketOptions::empty();
    let mut bind = |port| talk.command(Command::Bind { port, options });

    assert_eq!(bind(10), Ok(()));
    assert_eq!(bind(10), Err(Error::PortInUse(10)));
    assert_eq!(bind(1), Err(Error::PortInUse(1)));
    assert_eq!(bind(64), Err(Error::PortTooLarge(64)));
    assert_eq!(talk.command(Command::Unbind(10)), Ok(()));
    assert_eq!(talk.command(Command::Unbind(10)), Err(Error::NotBound(10)));
}

/// Bad input: dropped, counted by reason, and no state.
mod hostile {
    use super::*;

    fn dropped(packets: &[Vec<u8>], options: SocketOptions, count: fn(&Talk) -> u64) {
        let mut talk = talk();
        talk.command(Command::Bind { port: 10, options }).unwrap();
        for packet in packets {
            talk.receive(packet);
        }

        assert_eq!(count(&talk), packets.len() as u64);
        assert!(talk.sent.is_empty());
        assert!(talk.events.is_empty());
        let deadline = talk.drain();
        assert_eq!(deadline, None, "no state");
    }

    fn all(packets: &[Vec<u8>], count: fn(&Talk) -> u64) {
        dropped(packets, SocketOptions::empty(), count);
    }

    #[test]
    fn short_headers_are_dropped() {
        let short: Vec<Vec<u8>> = (0..6).map(|len| vec![0; len]).collect();
        all(&short, |talk| talk.node.stats().short_header);
    }

    #[test]
    fn a_wrong_crc32_is_dropped() {
        let mut wrong = packet(header(10, Flags::CRC32), b"data");
        wrong[7] ^= 1;
        let short = packet(header(10, Flags::CRC32), b"")[..8].to_vec();
        all(&[wrong, short], |talk| talk.node.stats().bad_crc32);
    }

    #[test]
    fn rdp_with_fewer_than_5_octets_is_dropped() {
        let short: Vec<Vec<u8>> = (0..5)
            .map(|len| packet(header(10, Flags::RDP), &[8, 0, 0, 0][..len.min(4)]))
            .collect();
        all(&short, |talk| talk.node.stats().short_rdp);
    }

    #[test]
    fn a_syn_with_fewer_than_24_octets_of_options_is_dropped() {
        let short: Vec<Vec<u8>> = (0..24)
            .map(|len| segment(10, rdp(RdpFlags::SYN, 1, 0), &vec![0; len]))
            .collect();
        all(&short, |talk| talk.node.stats().short_syn);
    }

    #[test]
    fn packets_for_others_and_for_closed_ports_are_dropped() {
        let other = Header {
            destination: 7,
            ..header(10, Flags::empty())
        };
        all(&[packet(other, b"x")], |talk| {
            talk.node.stats().other_address
        });
        let closed = [packet(header(11, Flags::empty()), b"x"), syn(12)];
        all(&closed, |talk| talk.node.stats().closed_port);
    }

    #[test]
    fn a_packet_from_all_nodes_is_dropped() {
        let from_all = Header {
            source: V2.broadcast(),
            ..header(1, Flags::CRC32)
        };
        all(&[packet(from_all, b"x")], |talk| {
            talk.node.stats().bad_source
        });
    }

    #[test]
    fn a_ping_from_the_port_of_the_ping_service_is_dropped() {
        let from_service = Header {
            source_port: 1,
            ..header(1, Flags::CRC32)
        };
        all(&[packet(from_service, b"x")], |talk| {
            talk.node.stats().forbidden
        });
    }

    #[test]
    fn hmac_without_a_key_is_dropped() {
        let hmac = packet(header(10, Flags::HMAC), b"12345678");
        all(&[hmac], |talk| talk.node.stats().unsupported_flags);
    }

    #[test]
    fn xtea_without_a_key_is_dropped_in_version_1_and_its_flag_ignored_in_version_2() {
        let mut talk = Talk::new(Config {
            version: Version::V1,
            ..Config::default()
        });
        bind(&mut talk, 10);
        let mut octets = Vec::new();
        header(10, Flags::XTEA).encode(Version::V1, &mut octets);
        talk.receive(&octets);
        assert_eq!(talk.node.stats().unsupported_flags, 1);
        assert!(talk.events.is_empty());

        let mut talk = super::talk();
        bind(&mut talk, 10);
        talk.receive(&packet(header(10, Flags::XTEA), b"data"));
        assert!(matches!(talk.take_events()[..], [Event::Datagram { .. }]));
    }

    #[test]
    fn fragments_that_follow_on_nothing_are_dropped() {
        let stray = [&b"data"[..], &[0, 0, 0, 4, 0, 0, 0, 9]].concat();
        let packets =
            [&stray[..], b"1234567", b"12345678"].map(|data| packet(header(10, Flags::FRAG), data));
        all(&packets, |talk| talk.node.stats().bad_fragment);
    }

    #[test]
    fn what_a_socket_forbids_is_dropped() {
        let count = |talk: &Talk| talk.node.stats().forbidden;
        let plain = packet(header(10, Flags::empty()), b"x");
        let with_crc32 = packet(header(10, Flags::CRC32), b"x");
        dropped(
            &[plain.clone(), with_crc32],
            SocketOptions::RDP_REQUIRED,
            count,
        );
        dropped(&[syn(10)], SocketOptions::RDP_PROHIBITED, count);
        dropped(&[plain, syn(10)], SocketOptions::CRC32_REQUIRED, count);
        let to_all = Header {
            destination: V2.broadcast(),
            ..header(10, Flags::RDP)
        };
        let mut data = SynOptions::default().encode().to_vec();
        data.extend(rdp(RdpFlags::SYN, 1, 0).encode());
        dropped(&[packet(to_all, &data)], SocketOptions::empty(), count);
    }

    #[test]
    fn a_syn_while_all_slots_are_taken_gets_no_answer() {
        let mut talk = Talk::new(Config {
            connections: 2,
            ..Config::default()
        });
        bind(&mut talk, 10);
        for source_port in 20..25 {
            let mut syn = syn(10);
            // The 6 bits above those of the flags.
            syn[4] = syn[4] & 0xF0 | source_port >> 2;
            syn[5] = syn[5] & 0x3F | source_port << 6;
            talk.receive(&syn);
        }

        assert_eq!(talk.take_sent().len(), 2);
        assert_eq!(talk.node.stats().no_slot, 3);
        // The peers never went on: their slots are free again after the connection timeout.
        talk.pass(Duration::from_secs(10));
        talk.take_sent();
        talk.receive(&syn(10));
        assert_eq!(talk.take_sent().len(), 1);
    }

    #[test]
    fn a_full_queue_of_datagrams_refuses_the_newest() {
        let mut talk = talk();
        bind(&mut talk, 10);
        for number in 0..20 {
            let octets = packet(header(10, Flags::empty()), &[number]);
            talk.node.receive(talk.now, HOP, &octets);
        }
        talk.drain();

        let first = talk
            .take_events()
            .iter()
            .map(|event| match event {
                Event::Datagram { data, .. } => data[0],
                other => panic!("{other:?}"),
            })
            .collect::<Vec<u8>>();
        assert_eq!(first, (0..16).collect::<Vec<u8>>());
        assert_eq!(talk.node.stats().queue_full, 4);
    }

    #[test]
    fn a_packet_longer_than_the_limit_is_dropped() {
        let mut talk = talk();
        bind(&mut talk, 10);
        talk.receive(&packet(header(10, Flags::empty()), &[0; 256]));
        talk.receive(&packet(header(10, Flags::empty()), &[0; 257]));

        assert_eq!(talk.take_events().len(), 1);
        assert_eq!(talk.node.stats().queue_full, 1);
        let initial = opened(&mut Talk::new(Config::default()));
        assert!(initial > 0);
    }

    #[test]
    fn options_of_a_syn_are_clamped() {
        let mut talk = talk();
        bind(&mut talk, 10);
        let hostile = SynOptions {
            window: u32::MAX,
            connection_timeout: u32::MAX,
            packet_timeout: 0,
            delayed_acks: u32::MAX,
            ack_timeout: u32::MAX,
            ack_delay_count: u32::MAX,
        };
        let syn = segment(10, rdp(RdpFlags::SYN, 700, 0), &hostile.encode());

        talk.receive(&syn);
        talk.pass(Duration::from_secs(10));

        let sent = talk.take_sent().len();
        assert_eq!(sent, 7, "at once, 10 ms after, 20 ms, .. 320 ms");
        assert_eq!(talk.drain(), None, "the slot is free again");
    }
}
