//! Captures of pings, services and fragments without connection, with a node of this crate in the place of libcsp.

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Event, Flags, Ident, InterfaceConfig, Packet, PingService,
    SendOptions, ServiceAnswer, ServiceSet, Services, SocketOptions, Text,
};

use crate::csp_captures::{Capture, Side, captures};
use crate::packets::{key, sealed, unsealed};
use crate::talk::Talk;

pub(crate) fn frames(capture: &Capture, side: Side) -> Vec<Vec<u8>> {
    let frames = capture.frames().filter(|frame| frame.from == Some(side));
    frames.map(|frame| frame.octets.to_vec()).collect()
}

#[test]
fn captured_pings_with_hmac_are_answered_octet_by_octet_where_they_have_crc32_too() {
    let captures = captures("csp", "ping_hmac");
    assert_eq!(captures.len(), 4);
    for capture in captures {
        let mut server = Talk::new(Config {
            version: capture.version(),
            hmac_key: Some(key()),
            ..Config::default()
        });
        for octets in frames(&capture, Side::Client) {
            server.receive(&octets);
        }
        let is_answered = capture.name.contains("crc32");
        let answers = server.take_sent();
        assert_eq!(answers, frames(&capture, Side::Server), "{}", capture.name);
        assert_eq!(answers.len(), usize::from(is_answered));
        assert_eq!(server.node.stats().forbidden, u64::from(!is_answered));
    }
}

/// libcsp 1.x answers pings without CRC32 too. The HMAC is over the data alone, so the answer has that of the request.
#[test]
fn captured_pings_with_hmac_alone_are_answered_where_the_configuration_says_so() {
    for version in ["v1", "v2"] {
        let capture = &captures("csp", &format!("ping_hmac_{version}"))[0];
        let ping = &frames(capture, Side::Client)[0];
        let mut server = Talk::new(Config {
            version: capture.version(),
            hmac_key: Some(key()),
            ping: PingService::Any,
            ..Config::default()
        });
        server.receive(ping);

        let asked = unsealed(capture.version(), ping);
        let answer = sealed(capture.version(), asked.header.reversed(), asked.data);
        assert_eq!(server.take_sent(), [answer]);
    }
}

#[test]
fn captured_requests_to_services_are_answered_octet_by_octet() {
    let captures = captures("csp", "services_");
    assert_eq!(captures.len(), 2);
    for capture in captures {
        let expected = frames(&capture, Side::Server);
        let version = capture.version();
        let data = |at: usize| {
            let packet = Packet::decode(version, &expected[at]).unwrap();
            packet.split_crc32(version).unwrap().data.to_vec()
        };
        let word = |at: usize, from: usize| {
            u32::from_be_bytes(data(at)[from..from + 4].try_into().unwrap())
        };
        let mut server = Talk::new(Config {
            version,
            interfaces: vec![InterfaceConfig {
                name: Text::new("UDP").unwrap(),
                ..InterfaceConfig::default()
            }],
            services: Services {
                by_node: ServiceSet::IDENT | ServiceSet::INTERFACE_STATS,
                by_application: ServiceSet::CLOCK
                    | ServiceSet::UPTIME
                    | ServiceSet::FREE_BUFFERS
                    | ServiceSet::FREE_MEMORY,
                ident: Ident {
                    hostname: Text::new("refhost").unwrap(),
                    model: Text::new("refmodel").unwrap(),
                    revision: Text::new("1.0").unwrap(),
                    date: Text::new("Nov 21 2026").unwrap(),
                    time: Text::new("06:40:22").unwrap(),
                },
                ..Services::default()
            },
            ..Config::default()
        });
        let answers = [
            ServiceAnswer::Clock(farlink::csp::Timestamp {
                seconds: word(2, 2),
                nanoseconds: word(2, 6),
            }),
            ServiceAnswer::Uptime(word(3, 0)),
            ServiceAnswer::FreeBuffers(word(4, 0)),
            ServiceAnswer::FreeMemory(word(5, 0)),
        ];
        let mut answers = answers.into_iter();
        for octets in frames(&capture, Side::Client) {
            server.receive(&octets);
            for event in server.take_events() {
                let Event::ServiceRequested { id, .. } = event else {
                    panic!("{event:?}");
                };
                let answer = answers.next();
                server
                    .command(Command::Answer {
                        request: id,
                        answer,
                    })
                    .unwrap();
            }
        }
        assert_eq!(server.take_sent(), expected, "{}", capture.name);
    }
}

/// The payload of the captures.
pub(crate) fn payload() -> Vec<u8> {
    let octet = |offset: usize| u8::try_from((offset * 7 + (offset >> 8) * 13 + 3) % 256).unwrap();
    (0..1003).map(octet).collect()
}

#[test]
fn captured_fragments_without_connection_are_taken_and_sent_octet_by_octet() {
    for capture in captures("csp", "sfp_") {
        if capture.name.contains("rdp") {
            continue;
        }
        let version = capture.version();
        let (sent, name) = (frames(&capture, Side::Client), &capture.name);
        let mut server = Talk::new(Config {
            version,
            ..Config::default()
        });
        let options = SocketOptions::empty();
        server.command(Command::Bind { port: 12, options }).unwrap();
        let mut got = Vec::new();
        for octets in &sent {
            server.receive(octets);
            for event in server.take_events() {
                let Event::FragmentDatagram { place, data, .. } = event else {
                    panic!("{name}: {event:?}");
                };
                assert_eq!((place.offset as usize, place.total), (got.len(), 1003));
                got.extend_from_slice(&data);
            }
        }
        assert_eq!(got, payload(), "{name}");

        let header = Packet::decode(version, &sent[0]).unwrap().header;
        let mut client = Talk::new(Config {
            address: 2,
            version,
            ..Config::default()
        });
        client
            .command(Command::SendFragmentsTo {
                from: header.source_port,
                to: Endpoint {
                    address: 1,
                    port: 12,
                },
                options: SendOptions {
                    crc32: header.flags.contains(Flags::CRC32),
                    ..SendOptions::default()
                },
                mtu: 200,
                data: Bytes::from(payload()),
            })
            .unwrap();
        assert_eq!(client.take_sent(), sent, "{name}");
    }
}
