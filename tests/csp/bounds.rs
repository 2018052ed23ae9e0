//! What strangers cost: slots, octets and steps.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Event, Flags, Header, RdpFlags, RdpHeader, SendOptions,
    SequenceNumber, ServiceAnswer, ServiceSet, Services, SocketOptions, SynOptions, Version,
};
use farlink::{Hop, Instant, Limits, Machine as _, Output, Tag, Transmit};

use crate::packets::{rdp, sealed, unsealed};
use crate::talk::{HOP, Talk};

const V2: Version = Version::V2;

fn bound(connections: u8) -> Talk {
    let mut talk = Talk::new(Config {
        connections,
        ..Config::default()
    });
    let options = SocketOptions::empty();
    talk.command(Command::Bind { port: 10, options }).unwrap();
    talk
}

fn segment(source: u16, rdp: RdpHeader, data: &[u8]) -> Vec<u8> {
    let header = Header {
        source,
        destination: 1,
        destination_port: 10,
        source_port: 20,
        flags: Flags::RDP,
        ..Header::default()
    };
    sealed(V2, header, &[data, &rdp.encode()].concat())
}

fn syn(source: u16) -> Vec<u8> {
    let options = SynOptions::default().encode();
    segment(source, rdp(RdpFlags::SYN, 7, 0), &options)
}

/// Confirms the SYN+ACK that was sent last.
fn confirm(talk: &mut Talk) -> bool {
    let sent = talk.take_sent();
    let (answer, packet) = unsealed(V2, sent.last().unwrap()).split_rdp().unwrap();
    let ack = rdp(RdpFlags::ACK, 8, answer.sequence.0);
    talk.receive(&segment(packet.header.destination, ack, &[]));
    let events = talk.take_events();
    matches!(events[..], [Event::Accepted { .. }])
}

#[test]
fn syns_that_nobody_confirms_keep_their_slots_for_a_second_from_others() {
    let mut talk = bound(2);
    for source in [30, 31, 32] {
        talk.receive(&syn(source));
    }
    assert_eq!(talk.node.stats().no_slot, 1);
    talk.pass(Duration::from_secs(1));
    talk.take_sent();
    talk.receive(&syn(2));
    assert_eq!(talk.node.stats().no_slot, 2, "the first gave way");
    assert!(confirm(&mut talk));

    talk.receive(&syn(33));
    let sent = talk.take_sent();
    assert_eq!(unsealed(V2, &sent[0]).header.destination, 33);
    talk.receive(&syn(34));
    assert!(talk.take_sent().is_empty(), "one open, one just begun");
}

#[test]
fn an_open_connection_never_gives_way() {
    let mut talk = bound(1);
    talk.receive(&syn(2));
    assert!(confirm(&mut talk));
    for source in 30..40 {
        talk.pass(Duration::from_millis(900));
        talk.take_sent();
        talk.receive(&syn(source));
        assert!(talk.take_sent().is_empty());
    }
    assert_eq!(talk.node.stats().no_slot, 10);
}

#[test]
fn syns_that_nobody_confirms_keep_no_slot_from_the_node_itself() {
    let mut talk = bound(2);
    talk.receive(&syn(30));
    talk.receive(&syn(31));
    talk.take_sent();
    let to = Endpoint {
        address: 5,
        port: 10,
    };
    let connect = |tag| Command::Connect {
        tag: Tag(tag),
        to,
        options: SendOptions::default(),
    };
    talk.command(connect(1)).unwrap();
    talk.command(connect(2)).unwrap();
    let sent = talk.take_sent();
    let destination = |octets: &Vec<u8>| unsealed(V2, octets).header.destination;
    assert_eq!(sent.iter().map(destination).collect::<Vec<_>>(), [5, 5]);
    let refused = talk.command(connect(3)).unwrap_err();
    assert_eq!(refused.to_string(), "limit of 2 connections reached");
}

/// Whatever one datagram is, what goes out for it in all time is bounded by its octets.
#[test]
fn a_stranger_gets_at_most_three_times_what_it_sent_and_1_kib() {
    let every = [
        RdpFlags::SYN,
        RdpFlags::SYN | RdpFlags::ACK,
        RdpFlags::ACK,
        RdpFlags::ACK | RdpFlags::EAK,
        RdpFlags::RST,
        RdpFlags::RST | RdpFlags::ACK,
    ];
    for destination in [1, V2.broadcast()] {
        for port in 0..64 {
            let header = Header {
                source: 30,
                destination,
                destination_port: port,
                source_port: 20,
                flags: Flags::CRC32,
                ..Header::default()
            };
            let of_rdp = |flags| {
                let options = SynOptions::default().encode();
                let data = [&options[..], &rdp(flags, 7, 0).encode()].concat();
                let flags = Flags::CRC32 | Flags::RDP;
                sealed(V2, Header { flags, ..header }, &data)
            };
            let packets = every.into_iter().map(of_rdp);
            for packet in packets.chain([sealed(V2, header, b"")]) {
                let mut talk = bound(8);
                talk.receive(&packet);
                talk.pass(Duration::from_secs(60));
                let sent: usize = talk.take_sent().iter().map(Vec::len).sum();
                assert!(sent <= 3 * packet.len() + 1024, "{sent} to port {port}");
                assert!(sent <= 3 * packet.len(), "{sent} to port {port}");
            }
        }
    }
}

/// So it is of all services, the node's and the application's.
#[test]
fn a_stranger_gets_no_more_of_any_service() {
    for service in 0..7 {
        for code in 0..=9 {
            for len in [0, 1, 2, 15, 53, 93, 200] {
                let header = Header {
                    source: 30,
                    destination: 1,
                    destination_port: service,
                    source_port: 20,
                    flags: Flags::CRC32,
                    ..Header::default()
                };
                let mut data = vec![0; len];
                data.iter_mut().skip(1).take(1).for_each(|it| *it = code);
                let packet = sealed(V2, header, &data);
                let mut talk = Talk::new(Config {
                    services: Services {
                        by_node: ServiceSet::OF_NODE,
                        by_application: ServiceSet::all().difference(ServiceSet::OF_NODE),
                        ..Services::default()
                    },
                    ..Config::default()
                });
                talk.receive(&packet);
                for event in talk.take_events() {
                    let Event::ServiceRequested { id, .. } = event else {
                        panic!("{event:?}");
                    };
                    for octets in [3000, 2016, 1000, 248] {
                        let list = Bytes::from(vec![b'p'; octets]);
                        let answer = Some(ServiceAnswer::Processes(list));
                        let request = id;
                        // The others are no answer to it, or answered already.
                        let _ = talk.command(Command::Answer { request, answer });
                    }
                }
                let sent: usize = talk.take_sent().iter().map(Vec::len).sum();
                let name = format!("code {code} of {len} octets to port {service}");
                assert!(sent <= 3 * packet.len() + 1024, "{name}: {sent}");
                assert_eq!(service == 2, sent > 1000, "{name}: {sent}");
            }
        }
    }
}

/// Each of them would be an answer to an answer.
#[test]
fn packets_that_name_the_node_as_their_source_go_round_no_loop() {
    for (destination_port, source_port) in [(1, 1), (1, 10), (10, 1), (1, 20), (10, 10)] {
        let mut talk = bound(8);
        let header = Header {
            source: 1,
            destination: 1,
            destination_port,
            source_port,
            flags: Flags::CRC32,
            ..Header::default()
        };
        let mut tx = Transmit::new(Limits::default());
        talk.node.receive(talk.now, HOP, &sealed(V2, header, b"x"));
        let mut polls = 0;
        while !matches!(talk.node.poll(talk.now, &mut tx), Output::Idle(_)) {
            polls += 1;
            assert!(polls < 10, "{destination_port} {source_port}");
        }
    }
}

/// As long as it is not due again, a poll fires each timer once.
#[test]
fn a_node_with_all_its_timers_due_at_once_is_idle_after_a_bounded_number_of_polls() {
    let mut talk = bound(255);
    for number in 0..255 {
        let octets = syn(100 + number);
        talk.node.receive(talk.now, HOP, &octets);
    }
    talk.drain();
    let mut tx = Transmit::new(Limits::default());
    let later = Instant::ZERO + Duration::from_secs(3600);
    let mut polls = 0;
    while !matches!(talk.node.poll(later, &mut tx), Output::Idle(_)) {
        polls += 1;
        assert!(polls < 300, "{polls}");
    }
}

#[test]
fn a_hop_that_is_down_takes_no_memory_of_what_is_to_be_sent_over_it() {
    let mut talk = bound(8);
    let before = talk.node.memory_used();
    for number in 0..1000 {
        let hop = Hop {
            interface: 0,
            via: number,
        };
        talk.node
            .link(talk.now, hop, farlink::Link::Down(farlink::Cause::Closed));
    }
    assert_eq!(talk.node.memory_used(), before);
    assert!(talk.take_events().is_empty());
}

/// Full slots, queues and pools: the newest is refused or dropped, counted, and told.
mod full {
    use farlink::csp::{CloseReason, Error, ServiceRequest};
    use farlink::{Cause, Link};

    use super::*;

    const TO: Endpoint = Endpoint {
        address: 5,
        port: 10,
    };

    fn send() -> Command {
        Command::SendTo {
            from: 20,
            to: TO,
            options: SendOptions::default(),
            data: Bytes::from("x"),
        }
    }

    fn header(destination_port: u8) -> Header {
        Header {
            source: 30,
            destination: 1,
            destination_port,
            source_port: 20,
            flags: Flags::CRC32,
            ..Header::default()
        }
    }

    #[test]
    fn packets_that_wait_for_an_interface_are_refused_beyond_the_queue() {
        let mut talk = bound(1);
        let carrier = Hop {
            interface: 0,
            via: 0,
        };
        talk.node.link(talk.now, carrier, Link::Full);
        for _ in 0..16 {
            talk.command(send()).unwrap();
        }
        assert_eq!(talk.command(send()), Err(Error::Full { limit: 16 }));
        talk.node.link(talk.now, carrier, Link::Free);
        talk.drain();
        assert_eq!(talk.take_sent().len(), 16);
    }

    #[test]
    fn answers_beyond_16_that_wait_are_not_sent() {
        let mut talk = bound(1);
        for number in 0..20 {
            let ping = sealed(V2, header(1), &[number]);
            talk.node.receive(talk.now, HOP, &ping);
        }
        talk.drain();

        let answers = talk.take_sent();
        let first: Vec<u8> = answers.iter().map(|it| unsealed(V2, it).data[0]).collect();
        assert_eq!(first, (0..16).collect::<Vec<u8>>());
        assert_eq!(talk.node.stats().answers_full, 4);
    }

    #[test]
    fn answers_to_a_hop_that_takes_none_do_not_wait() {
        let mut talk = bound(1);
        let peer = Hop {
            interface: 0,
            via: 30,
        };
        let down = Link::Down(Cause::Closed);
        talk.node.link(talk.now, peer, down);
        talk.receive(&sealed(V2, header(1), b"x"));
        assert_eq!(talk.node.stats().answers_full, 1);
        talk.node.link(talk.now, peer, Link::Up);
        talk.drain();
        assert!(talk.take_sent().is_empty());
    }

    #[test]
    fn answers_to_a_request_beyond_16_that_wait_are_dropped_and_counted() {
        let mut talk = bound(1);
        let ask = Command::Request {
            tag: Tag(1),
            destination: V2.broadcast(),
            request: ServiceRequest::Uptime,
            timeout: Duration::from_secs(1),
        };
        talk.command(ask).unwrap();
        let sent = talk.take_sent();
        let asked = unsealed(V2, &sent[0]).header;
        for source in 30..50 {
            let reply = Header {
                source,
                destination: 1,
                ..asked.reversed()
            };
            let octets = sealed(V2, reply, &[0, 0, 0, 9]);
            talk.node.receive(talk.now, HOP, &octets);
        }
        talk.drain();

        let events = talk.take_events();
        let answered = |event: &&Event| {
            let uptime = ServiceAnswer::Uptime(9);
            matches!(event, Event::Answered { answer, .. } if *answer == uptime)
        };
        assert_eq!(events.iter().filter(answered).count(), 16);
        assert_eq!(talk.node.stats().queue_full, 4);
        let reply = Header {
            destination: 1,
            source: 30,
            ..asked.reversed()
        };
        talk.receive(&sealed(V2, reply, &[0, 9]));
        assert_eq!(talk.node.stats().unexpected, 1, "no answer at all");
    }

    #[test]
    fn packets_of_a_connection_beyond_its_queue_are_dropped_and_not_acknowledged() {
        let mut talk = Talk::new(Config {
            max_window: 4,
            receive_queue: 4,
            rdp: SynOptions {
                window: 4,
                ..SynOptions::default()
            },
            ..Config::default()
        });
        let options = SocketOptions::empty();
        talk.command(Command::Bind { port: 10, options }).unwrap();
        talk.receive(&syn(2));
        let sent = talk.take_sent();
        let (answer, _) = unsealed(V2, &sent[0]).split_rdp().unwrap();
        // Nothing is taken from the node while they come.
        for number in 0..6 {
            let data = rdp(RdpFlags::ACK, 8 + number, answer.sequence.0);
            let octets = segment(2, data, b"x");
            talk.node.receive(talk.now, HOP, &octets);
        }
        assert_eq!(talk.node.stats().queue_full, 2);
        talk.drain();
        let received = |event: &Event| matches!(event, Event::Received { .. });
        let events = talk.take_events();
        assert_eq!(events.iter().filter(|it| received(it)).count(), 4);
        let sent = talk.take_sent();
        let (last, _) = unsealed(V2, sent.last().unwrap()).split_rdp().unwrap();
        assert_eq!(last.acknowledgement, SequenceNumber(11));
    }

    #[test]
    fn a_connection_is_refused_while_all_source_ports_rest() {
        let mut talk = bound(1);
        let connect = |number: u8| Command::Connect {
            tag: Tag(number.into()),
            to: TO,
            options: SendOptions::default(),
        };
        for number in 0..47 {
            talk.command(connect(number)).unwrap();
            let sent = talk.take_sent();
            let (syn, packet) = unsealed(V2, &sent[0]).split_rdp().unwrap();
            let reset = rdp(RdpFlags::RST | RdpFlags::ACK, 0, syn.sequence.0);
            let refusal = sealed(V2, packet.header.reversed(), &reset.encode());
            talk.receive(&refusal);
            let (tag, reason) = (Tag(number.into()), CloseReason::Refused);
            assert_eq!(talk.take_events(), [Event::ConnectFailed { tag, reason }]);
        }
        assert_eq!(talk.command(connect(47)), Err(Error::NoSourcePort));
        talk.pass(Duration::from_secs(10));
        assert_eq!(talk.command(connect(47)), Ok(()));
    }
}
