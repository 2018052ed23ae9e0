//! Requests to services, asked and answered.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Error, Event, Flags, Header, Ident, InterfaceConfig, InterfaceName,
    InterfaceStats, Node, PingService, RequestId, Route, ServiceAnswer, ServiceRequest, ServiceSet,
    Services, SocketOptions, Text, Timestamp, Version,
};
use farlink::{Seed, Tag};

use crate::packets::{sealed, unsealed};
use crate::talk::{Talk, carry};

const V2: Version = Version::V2;
const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::new(text).unwrap()
}

fn ident() -> Ident {
    Ident {
        hostname: text("host"),
        model: text("model"),
        revision: text("1.2"),
        date: text("Nov 21 2026"),
        time: text("06:40:22"),
    }
}

/// A node with all services: those it can answer itself, and the rest for the application.
fn server(version: Version) -> Talk {
    let all = ServiceSet::all();
    Talk::new(Config {
        address: 2,
        version,
        interfaces: vec![InterfaceConfig {
            name: text("UDP"),
            ..InterfaceConfig::default()
        }],
        services: Services {
            by_node: ServiceSet::OF_NODE,
            by_application: all.difference(ServiceSet::OF_NODE),
            ident: ident(),
            ..Services::default()
        },
        ..Config::default()
    })
}

fn client(version: Version) -> Talk {
    Talk::new(Config {
        version,
        ..Config::default()
    })
}

fn ask(request: ServiceRequest) -> Command {
    Command::Request {
        tag: Tag(7),
        destination: 2,
        request,
        timeout: SECOND,
    }
}

/// Asks, lets the application answer, and returns what it was asked and what the client is told.
fn exchange(
    version: Version,
    request: &ServiceRequest,
    answer: Option<ServiceAnswer>,
) -> (Option<ServiceRequest>, Vec<Event>) {
    let (mut client, mut server) = (client(version), server(version));
    client.command(ask(request.clone())).unwrap();
    carry(&mut client, &mut server);
    let asked = server.take_events().pop().map(|event| {
        let Event::ServiceRequested { id, from, request } = event else {
            panic!("{event:?}");
        };
        assert_eq!(from.address, 1);
        server
            .command(Command::Answer {
                request: id,
                answer,
            })
            .unwrap();
        request
    });
    carry(&mut client, &mut server);
    (asked, client.take_events())
}

fn answered(answer: ServiceAnswer) -> Event {
    Event::Answered {
        tag: Tag(7),
        from: 2,
        time: Duration::ZERO,
        answer,
    }
}

const fn ended(answers: u32) -> Event {
    let tag = Tag(7);
    Event::RequestEnded { tag, answers }
}

#[test]
fn what_a_node_answers_by_itself_is_answered_at_once() {
    for version in [Version::V1, V2] {
        let stats = InterfaceStats {
            received: 1,
            // That of the request, with its CRC32.
            octets_received: 57,
            ..InterfaceStats::default()
        };
        let name = text("UDP");
        for (request, answer) in [
            (ServiceRequest::Ident, ServiceAnswer::Ident(ident())),
            (
                ServiceRequest::InterfaceStats(text("udp")),
                ServiceAnswer::InterfaceStats { name, stats },
            ),
            (ServiceRequest::FreeBuffers, ServiceAnswer::FreeBuffers(16)),
            (ServiceRequest::Uptime, ServiceAnswer::Uptime(0)),
        ] {
            let (asked, events) = exchange(version, &request, None);
            assert_eq!(asked, None, "{request:?}");
            assert_eq!(events, [answered(answer), ended(1)]);
        }
    }
}

#[test]
fn what_the_application_answers_is_asked_of_it() {
    for version in [Version::V1, V2] {
        let time = Timestamp {
            seconds: 9,
            nanoseconds: 8,
        };
        let address = 0x0102_0304_0506;
        let data = Bytes::from_static(b"memory");
        let poke = ServiceRequest::Poke {
            address,
            data: data.clone(),
        };
        for (request, answer) in [
            (ServiceRequest::Clock, ServiceAnswer::Clock(time)),
            (ServiceRequest::SetClock(time), ServiceAnswer::Clock(time)),
            (route(version), ServiceAnswer::RouteSet),
            (
                ServiceRequest::Peek { address, octets: 6 },
                ServiceAnswer::Memory(data),
            ),
            (poke, ServiceAnswer::Poked),
            (
                ServiceRequest::FreeMemory,
                ServiceAnswer::FreeMemory(u32::MAX),
            ),
        ] {
            let (asked, events) = exchange(version, &request, Some(answer.clone()));
            assert_eq!(asked, Some(request));
            assert_eq!(events, [answered(answer), ended(1)]);
        }
    }
}

fn route(version: Version) -> ServiceRequest {
    ServiceRequest::SetRoute {
        address: 8,
        prefix: version.address_bits(),
        via: Some(3),
        interface: text("UDP"),
    }
}

#[test]
fn a_list_of_processes_comes_in_several_packets_until_the_time_is_over() {
    let (mut client, mut server) = (client(V2), server(V2));
    client.command(ask(ServiceRequest::Processes)).unwrap();
    carry(&mut client, &mut server);
    let Some(Event::ServiceRequested { id, .. }) = server.take_events().pop() else {
        panic!("asked");
    };
    let list = Bytes::from(vec![b'p'; 600]);
    let answer = |list: Bytes| Command::Answer {
        request: id,
        answer: Some(ServiceAnswer::Processes(list)),
    };
    // Of a request without HMAC.
    let (octets, limit) = (1001, 1000);
    let long = answer(Bytes::from(vec![0; octets]));
    let refused = Err(Error::TooMuchData { octets, limit });
    assert_eq!(server.command(long), refused);
    server.command(answer(list.clone())).unwrap();
    carry(&mut client, &mut server);
    client.pass(SECOND);

    let (mut got, mut sizes) = (Vec::new(), Vec::new());
    let events = client.take_events();
    for event in &events {
        if let Event::Answered { answer, .. } = event {
            let ServiceAnswer::Processes(part) = answer else {
                panic!("{answer:?}");
            };
            got.extend_from_slice(part);
            sizes.push(part.len());
        }
    }
    assert_eq!((got, sizes), (list.to_vec(), vec![252, 252, 96]));
    assert_eq!(events.last(), Some(&ended(3)));
}

#[test]
fn a_node_answers_its_own_pings_and_requests() {
    let mut talk = server(V2);
    let ping = Command::Ping {
        tag: Tag(7),
        destination: 2,
        octets: 10,
        timeout: SECOND,
    };
    talk.command(ping).unwrap();
    let mut uptime = ask(ServiceRequest::Uptime);
    if let Command::Request { tag, .. } = &mut uptime {
        *tag = Tag(8);
    }
    talk.command(uptime).unwrap();

    let (tag, from, time) = (Tag(7), 2, Duration::ZERO);
    let events = talk.take_events();
    assert!(
        events.contains(&Event::Pong { tag, from, time }),
        "{events:?}"
    );
    let (tag, answer) = (Tag(8), ServiceAnswer::Uptime(0));
    let answered = Event::Answered {
        tag,
        from,
        time,
        answer,
    };
    assert!(events.contains(&answered), "{events:?}");
    assert!(talk.take_sent().is_empty());
}

#[test]
fn reboot_and_shutdown_are_told_and_end_without_an_answer() {
    for request in [ServiceRequest::Reboot, ServiceRequest::Shutdown] {
        let (asked, events) = exchange(V2, &request, None);
        assert_eq!(asked, Some(request));
        assert_eq!(events, [ended(0)]);
    }
}

#[test]
fn a_request_that_nobody_answers_ends_with_its_time() {
    for request in [
        ServiceRequest::Ident,
        ServiceRequest::InterfaceStats(text("UDP")),
        ServiceRequest::Clock,
        route(V2),
        ServiceRequest::Peek {
            address: 0,
            octets: 1,
        },
        ServiceRequest::Poke {
            address: 0,
            data: Bytes::from_static(b"x"),
        },
        ServiceRequest::Processes,
        ServiceRequest::FreeMemory,
        ServiceRequest::FreeBuffers,
        ServiceRequest::Uptime,
    ] {
        let mut client = client(V2);
        client.command(ask(request)).unwrap();
        client.pass(SECOND.saturating_sub(INSTANT));
        assert_eq!(client.take_events(), []);
        client.pass(INSTANT);
        assert_eq!(client.take_events(), [ended(0)]);
        assert_eq!(client.take_sent().len(), 1, "asked once");
    }
}

/// `None` of the application, and a service that the node does not have.
#[test]
fn what_is_refused_gets_no_answer() {
    let (asked, events) = exchange(V2, &ServiceRequest::Clock, None);
    assert_eq!((asked, events), (Some(ServiceRequest::Clock), Vec::new()));

    let mut server = client(V2);
    let mut client = client(V2);
    let stats = |server: &Talk| server.node.stats();
    client
        .command(Command::Request {
            tag: Tag(7),
            destination: 1,
            request: ServiceRequest::Uptime,
            timeout: SECOND,
        })
        .unwrap();
    client.pass(SECOND);
    assert_eq!(client.take_events(), [ended(0)], "to itself");
    for port in [0, 2, 3, 4, 5, 6] {
        let header = Header {
            source: 2,
            destination: 1,
            destination_port: port,
            source_port: 20,
            flags: Flags::CRC32,
            ..Header::default()
        };
        server.receive(&sealed(V2, header, &[0; 100]));
    }
    assert_eq!(stats(&server).closed_port, 6);
    assert!(server.take_sent().is_empty() && server.take_events().is_empty());
}

#[test]
fn an_interface_that_there_is_not_has_no_counters_to_tell() {
    let request = ServiceRequest::InterfaceStats(text("CAN"));
    let (asked, events) = exchange(V2, &request, None);
    assert_eq!((asked, events), (None, Vec::new()));
}

#[test]
fn an_answer_from_another_node_or_to_another_question_is_none() {
    let mut client = client(V2);
    client.command(ask(ServiceRequest::Uptime)).unwrap();
    let sent = client.take_sent();
    let reply = unsealed(V2, &sent[0]).header.reversed();
    let of = |header| sealed(V2, header, &[0, 0, 0, 5]);
    let other = Header { source: 3, ..reply };
    client.receive(&of(other));
    let source_port = 5;
    client.receive(&of(Header {
        source_port,
        ..reply
    }));
    client.receive(&sealed(V2, reply, &[0, 0, 5]));
    assert_eq!(client.take_events(), []);

    client.receive(&of(reply));
    let uptime = ServiceAnswer::Uptime(5);
    assert_eq!(client.take_events(), [answered(uptime), ended(1)]);
}

#[test]
fn answers_to_a_request_to_all_nodes_tell_their_sources() {
    for (destination, prefix) in [(V2.broadcast(), 0), (0x00FF, 6)] {
        let mut client = Talk::new(Config {
            interfaces: vec![InterfaceConfig {
                prefix,
                ..InterfaceConfig::default()
            }],
            ..Config::default()
        });
        client
            .command(Command::Request {
                tag: Tag(7),
                destination,
                request: ServiceRequest::Uptime,
                timeout: SECOND,
            })
            .unwrap();
        let sent = client.take_sent();
        let header = unsealed(V2, &sent[0]).header;
        assert_eq!(header.destination, V2.broadcast());
        for source in [5, 9] {
            let reply = Header {
                source,
                ..header.reversed()
            };
            client.receive(&sealed(V2, reply, &[0, 0, 0, 1]));
        }
        client.pass(SECOND);

        let events = client.take_events();
        let sources: Vec<u16> = events
            .iter()
            .filter_map(|event| match event {
                Event::Answered { from, .. } => Some(*from),
                _ => None,
            })
            .collect();
        assert_eq!(sources, [5, 9], "to {destination}");
        assert_eq!(events.last(), Some(&ended(2)));
    }
}

#[test]
fn a_request_to_all_nodes_is_answered_from_the_address_on_the_interface() {
    let mut server = Talk::new(Config {
        address: 2,
        interfaces: vec![InterfaceConfig {
            address: Some(77),
            ..InterfaceConfig::default()
        }],
        ..Config::default()
    });
    let header = Header {
        source: 5,
        destination: V2.broadcast(),
        destination_port: 1,
        source_port: 20,
        flags: Flags::CRC32,
        ..Header::default()
    };
    server.receive(&sealed(V2, header, b"x"));
    let answer = Header {
        source: 77,
        ..header.reversed()
    };
    assert_eq!(server.take_sent(), [sealed(V2, answer, b"x")]);
}

/// CMP in both forms: the node asks its application, which sets the route by a command.
#[test]
fn a_route_that_a_request_sets_leads_where_it_says() {
    for version in [Version::V1, V2] {
        let (mut client, mut server) = (client(version), server(version));
        client.command(ask(route(version))).unwrap();
        carry(&mut client, &mut server);
        let Some(Event::ServiceRequested { id, request, .. }) = server.take_events().pop() else {
            panic!("asked");
        };
        let ServiceRequest::SetRoute {
            address,
            prefix,
            via,
            interface,
        } = request
        else {
            panic!("{request:?}");
        };
        assert_eq!(interface.as_str(), "UDP");
        let route = Route {
            address,
            prefix,
            interface: 0,
            via,
        };
        server.command(Command::SetRoute(route)).unwrap();
        let answer = Some(ServiceAnswer::RouteSet);
        server
            .command(Command::Answer {
                request: id,
                answer,
            })
            .unwrap();
        carry(&mut client, &mut server);
        assert_eq!(
            client.take_events(),
            [answered(ServiceAnswer::RouteSet), ended(1)]
        );

        let to = Endpoint {
            address: 8,
            port: 10,
        };
        let send = Command::SendTo {
            from: 20,
            to,
            options: farlink::csp::SendOptions::default(),
            data: Bytes::from("x"),
        };
        server.command(send).unwrap();
        assert_eq!(server.sent[0].0.via, 3);
    }
}

#[test]
fn memory_is_read_and_written_by_the_application_alone_and_within_the_request() {
    let mut server = server(V2);
    let mut receive = |data: &[u8]| {
        let header = Header {
            source: 1,
            destination: 2,
            destination_port: 0,
            source_port: 20,
            flags: Flags::CRC32,
            ..Header::default()
        };
        server.receive(&sealed(V2, header, data));
        server.take_events().pop()
    };
    // Code 4, address 16, 3 octets, and the place for them.
    let peek = [0, 4, 0, 0, 0, 16, 3, 0, 0, 0];
    let Some(Event::ServiceRequested { id, request, .. }) = receive(&peek) else {
        panic!("asked");
    };
    let expected = ServiceRequest::Peek {
        address: 16,
        octets: 3,
    };
    assert_eq!(request, expected);
    // More octets than the request has place for, and more than any may have.
    assert_eq!(receive(&[0, 4, 0, 0, 0, 16, 4, 0, 0, 0]), None);
    let mut long = [0; 220];
    long[1..7].copy_from_slice(&[5, 0, 0, 0, 16, 201]);
    assert_eq!(receive(&long), None);
    assert_eq!(server.node.stats().bad_request, 2);
    let mut answer = |data: &'static [u8]| {
        server.command(Command::Answer {
            request: id,
            answer: Some(ServiceAnswer::Memory(Bytes::from_static(data))),
        })
    };
    assert_eq!(answer(b"abcd"), Err(Error::WrongAnswer(id)));
    assert_eq!(answer(b"abc"), Ok(()));
    assert_eq!(answer(b"abc"), Err(Error::NoRequest(id)));
    let sent = server.take_sent();
    let reply = unsealed(V2, &sent[0]).data;
    assert_eq!(reply, [0xFF, 4, 0, 0, 0, 16, 3, b'a', b'b', b'c']);

    for service in [ServiceSet::PEEK, ServiceSet::POKE] {
        let mut config = Config::default();
        config.services.by_node = service;
        assert!(Node::new(config, &Seed::from(1)).is_err());
    }
}

#[test]
fn a_request_that_the_application_leaves_is_forgotten_after_10_s() {
    let (mut client, mut server) = (client(V2), server(V2));
    client.command(ask(ServiceRequest::Clock)).unwrap();
    carry(&mut client, &mut server);
    let Some(Event::ServiceRequested { id, .. }) = server.take_events().pop() else {
        panic!("asked");
    };
    server.pass(10 * SECOND);
    let answer = Command::Answer {
        request: id,
        answer: None,
    };
    assert_eq!(server.command(answer), Err(Error::NoRequest(id)));
}

#[test]
fn no_more_than_8_requests_are_under_way() {
    let mut client = client(V2);
    for _ in 0..8 {
        client.command(ask(ServiceRequest::Uptime)).unwrap();
    }
    let refused = client.command(ask(ServiceRequest::Uptime));
    assert_eq!(refused, Err(Error::TooManyRequests { limit: 8 }));
    client.pass(SECOND);
    assert_eq!(client.take_events(), vec![ended(0); 8]);
    client.command(ask(ServiceRequest::Uptime)).unwrap();
}

#[test]
fn the_port_of_a_service_that_is_off_can_be_bound() {
    let mut talk = Talk::new(Config {
        ping: PingService::Off,
        services: Services {
            by_node: ServiceSet::UPTIME,
            ..Services::default()
        },
        ..Config::default()
    });
    let options = SocketOptions::empty();
    let mut bind = |port| talk.command(Command::Bind { port, options });
    for port in 0..6 {
        assert_eq!(bind(port), Ok(()));
    }
    assert_eq!(bind(6), Err(Error::PortInUse(6)));
}

/// What strangers can do to others.
mod strangers {
    use super::*;
    use crate::packets::key;

    fn request(source: u16, flags: Flags) -> Vec<u8> {
        let header = Header {
            source,
            destination: 2,
            destination_port: 0,
            source_port: 20,
            flags,
            ..Header::default()
        };
        sealed(V2, header, &[0, 6, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn requested(talk: &mut Talk) -> Vec<(u16, RequestId)> {
        let events = talk.take_events().into_iter();
        let requests = events.map(|event| match event {
            Event::ServiceRequested { id, from, .. } => (from.address, id),
            other => panic!("{other:?}"),
        });
        requests.collect()
    }

    #[test]
    fn one_node_has_at_most_half_of_the_requests_that_wait() {
        let mut server = server(V2);
        for _ in 0..20 {
            server.receive(&request(1, Flags::CRC32));
        }
        assert_eq!(requested(&mut server).len(), 4);
        assert_eq!(server.node.stats().requests_full, 16);

        server.receive(&request(3, Flags::CRC32));
        assert_eq!(requested(&mut server).len(), 1, "of another node");
    }

    #[test]
    fn a_request_with_hmac_takes_the_place_of_the_oldest_without() {
        let mut server = Talk::new(Config {
            hmac_key: Some(key()),
            ..server(V2).node.config().clone()
        });
        for source in 10..19 {
            server.receive(&request(source, Flags::CRC32));
            server.pass(Duration::from_millis(1));
        }
        let waiting = requested(&mut server);
        assert_eq!(waiting.len(), 8, "of 9");

        let with_hmac = Flags::CRC32 | Flags::HMAC;
        server.receive(&request(20, with_hmac));
        assert_eq!(requested(&mut server)[0].0, 20);
        let (answer, request) = (None, waiting[0].1);
        let refused = server.command(Command::Answer { request, answer });
        assert_eq!(refused, Err(Error::NoRequest(request)), "the oldest");
        let (answer, request) = (None, waiting[1].1);
        assert_eq!(server.command(Command::Answer { request, answer }), Ok(()));
    }

    /// libcsp answers an ident of 2 octets by 93.
    #[test]
    fn no_answer_of_the_node_itself_is_much_longer_than_its_request() {
        let mut longest = 0.0_f64;
        for port in 0..=6 {
            for code in 0..=9 {
                for len in 0..=220 {
                    let mut server = server(V2);
                    let header = Header {
                        source: 1,
                        destination: 2,
                        destination_port: port,
                        source_port: 20,
                        flags: Flags::CRC32,
                        ..Header::default()
                    };
                    let mut data = vec![0; len];
                    if let Some(place) = data.get_mut(1) {
                        *place = code;
                    }
                    let request = sealed(V2, header, &data);
                    server.receive(&request);
                    let sent: usize = server.take_sent().iter().map(Vec::len).sum();
                    #[expect(clippy::cast_precision_loss, reason = "they are short")]
                    let ratio = sent as f64 / request.len() as f64;
                    longest = longest.max(ratio);
                }
                if port > 0 {
                    break;
                }
            }
        }
        // A number of 4 octets to a request without any.
        assert!(longest <= 1.4, "{longest}");
    }

    #[test]
    fn names_in_requests_are_text_whatever_comes() {
        let mut data = vec![0xFF; 53];
        (data[0], data[1]) = (0, 3);
        let header = Header {
            source: 1,
            destination: 2,
            destination_port: 0,
            source_port: 20,
            flags: Flags::CRC32,
            ..Header::default()
        };
        let mut server = server(V2);
        server.receive(&sealed(V2, header, &data));
        assert_eq!(server.node.stats().bad_request, 1, "no such interface");
        assert_eq!(InterfaceName::default().as_str(), "");
    }
}
