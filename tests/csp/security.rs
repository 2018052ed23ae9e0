//! CRC32 over the header, HMAC, and what sockets, connections and services require.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    Command, Config, Endpoint, Error, Event, Flags, Header, Node, Packet, PingService, RdpFlags,
    RdpHeader, SendOptions, SequenceNumber, ServiceRequest, ServiceSet, Services, SocketOptions,
    SynOptions, Version, crc32,
};
use farlink::{Seed, Tag};

use crate::packets::{key, sealed, unsealed};
use crate::talk::{HOP, Talk};
use crate::vector_octets::unhex;

const V2: Version = Version::V2;
const TO: Endpoint = Endpoint {
    address: 2,
    port: 10,
};

fn with_key() -> Config {
    Config {
        hmac_key: Some(key()),
        ..Config::default()
    }
}

fn header(destination_port: u8, flags: Flags) -> Header {
    Header {
        source: 2,
        destination: 1,
        destination_port,
        source_port: 20,
        flags,
        ..Header::default()
    }
}

fn bound(config: Config, options: SocketOptions) -> Talk {
    let mut talk = Talk::new(config);
    talk.command(Command::Bind { port: 10, options }).unwrap();
    talk
}

#[test]
fn crc32_covers_the_header_where_the_options_say_so() {
    for version in [Version::V1, V2] {
        for crc32_covers_header in [false, true] {
            let mut talk = Talk::new(Config {
                version,
                ..Config::default()
            });
            let options = SendOptions {
                crc32: true,
                crc32_covers_header,
                ..SendOptions::default()
            };
            talk.command(Command::SendTo {
                from: 20,
                to: TO,
                options,
                data: Bytes::from("data"),
            })
            .unwrap();

            let sent = talk.take_sent();
            let (packet, sum) = sent[0].split_last_chunk::<4>().unwrap();
            let header = if crc32_covers_header {
                version.header_len()
            } else {
                0
            };
            let covered = &packet[version.header_len() - header..];
            assert_eq!(*sum, crc32(&[covered]).to_be_bytes());

            let mut receiver = bound(
                Config {
                    address: 2,
                    version,
                    ..Config::default()
                },
                SocketOptions::CRC32_REQUIRED,
            );
            receiver.receive(&sent[0]);
            assert_eq!(receiver.take_events().len(), 1, "{version:?}");
        }
    }
}

#[test]
fn a_connection_whose_crc32_covers_the_header_is_opened_and_carries_data() {
    let mut talk = bound(Config::default(), SocketOptions::CRC32_REQUIRED);
    let to = Endpoint {
        address: 1,
        port: 10,
    };
    let options = SendOptions {
        crc32: true,
        crc32_covers_header: true,
        ..SendOptions::default()
    };
    let tag = Tag(1);
    talk.command(Command::Connect { tag, to, options }).unwrap();
    let opened = |event: &Event| match event {
        Event::Connected { connection, .. } => Some(*connection),
        _ => None,
    };
    let connection = talk.take_events().iter().find_map(opened).unwrap();
    let data = Bytes::from("x");
    talk.command(Command::Send { connection, data }).unwrap();

    let events = talk.take_events();
    let received = |event: &Event| matches!(event, Event::Received { .. });
    assert!(events.iter().any(received), "{events:?}");
}

#[test]
fn a_wrong_hmac_is_dropped_and_counted_at_node_and_interface() {
    let mut talk = bound(with_key(), SocketOptions::empty());
    let mut wrong = sealed(V2, header(10, Flags::HMAC), b"data");
    *wrong.last_mut().unwrap() ^= 1;
    let short = sealed(V2, header(10, Flags::empty()), b"abc");
    let mut short_of_hmac = Vec::new();
    header(10, Flags::HMAC).encode(V2, &mut short_of_hmac);
    short_of_hmac.extend(&short[6..]);
    let no_key = sealed(V2, header(10, Flags::HMAC), b"data");

    talk.receive(&wrong);
    talk.receive(&short_of_hmac);
    assert_eq!(talk.node.stats().bad_hmac, 2);
    let counters = talk.node.interface_stats(HOP.interface).unwrap();
    assert_eq!(counters.authentication_errors, 2);
    assert!(talk.events.is_empty() && talk.sent.is_empty());

    talk.receive(&no_key);
    assert_eq!(talk.take_events().len(), 1, "the right one");
    let mut without = bound(Config::default(), SocketOptions::empty());
    without.receive(&no_key);
    assert_eq!(without.node.stats().unsupported_flags, 1);
    let counters = without.node.interface_stats(HOP.interface).unwrap();
    assert_eq!(counters.authentication_errors, 1);
}

#[test]
fn a_wrong_crc32_is_counted_at_its_interface() {
    let mut talk = bound(Config::default(), SocketOptions::empty());
    let mut wrong = sealed(V2, header(10, Flags::CRC32), b"data");
    *wrong.last_mut().unwrap() ^= 1;
    talk.receive(&wrong);

    assert_eq!(talk.node.stats().bad_crc32, 1);
    assert_eq!(talk.node.interface_stats(0).unwrap().receive_errors, 1);
}

/// Each trailer that is required, by each that a packet has.
#[test]
fn a_socket_takes_only_packets_with_the_trailers_that_it_requires() {
    let all = [
        Flags::empty(),
        Flags::CRC32,
        Flags::HMAC,
        Flags::CRC32 | Flags::HMAC,
    ];
    let required = [
        (SocketOptions::empty(), Flags::empty()),
        (SocketOptions::CRC32_REQUIRED, Flags::CRC32),
        (SocketOptions::HMAC_REQUIRED, Flags::HMAC),
        (
            SocketOptions::CRC32_REQUIRED | SocketOptions::HMAC_REQUIRED,
            Flags::CRC32 | Flags::HMAC,
        ),
    ];
    for (options, required) in required {
        for flags in all {
            let mut talk = bound(with_key(), options);
            talk.receive(&sealed(V2, header(10, flags), b"x"));
            let is_taken = flags.contains(required);
            assert_eq!(talk.take_events().len(), usize::from(is_taken));
            assert_eq!(talk.node.stats().forbidden, u64::from(!is_taken));

            let mut syn = SynOptions::default().encode().to_vec();
            syn.extend(rdp(RdpFlags::SYN, 7, 0).encode());
            talk.receive(&sealed(V2, header(10, Flags::RDP | flags), &syn));
            let sent = talk.take_sent();
            assert_eq!(sent.len(), usize::from(is_taken), "{options:?} {flags:?}");
            if is_taken {
                let answer = unsealed(V2, &sent[0]).header;
                assert_eq!(answer.flags, Flags::RDP | flags, "as the SYN");
            }
            let has_hmac = !required.difference(flags).contains(Flags::HMAC);
            let counters = talk.node.interface_stats(0).unwrap();
            let expected = if has_hmac { 0 } else { 2 };
            assert_eq!(counters.authentication_errors, expected);
        }
    }
}

fn rdp(flags: RdpFlags, sequence: u16, acknowledgement: u16) -> RdpHeader {
    RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(sequence),
        acknowledgement: SequenceNumber(acknowledgement),
    }
}

/// Or anybody who sees the numbers could close it.
#[test]
fn packets_of_a_connection_are_taken_only_with_the_trailers_that_its_own_have() {
    let mut talk = bound(with_key(), SocketOptions::empty());
    let mut syn = SynOptions::default().encode().to_vec();
    syn.extend(rdp(RdpFlags::SYN, 7, 0).encode());
    let with_hmac = header(10, Flags::RDP | Flags::HMAC);
    talk.receive(&sealed(V2, with_hmac, &syn));
    let sent = talk.take_sent();
    let (answer, _) = unsealed(V2, &sent[0]).split_rdp().unwrap();
    let ack = rdp(RdpFlags::ACK, 8, answer.sequence.0).encode();
    talk.receive(&sealed(V2, with_hmac, &ack));
    assert!(matches!(talk.take_events()[..], [Event::Accepted { .. }]));

    let reset = rdp(RdpFlags::RST | RdpFlags::ACK, 8, answer.sequence.0).encode();
    talk.receive(&sealed(V2, header(10, Flags::RDP), &reset));
    assert!(talk.take_events().is_empty());
    assert_eq!(talk.node.stats().forbidden, 1);

    talk.receive(&sealed(V2, with_hmac, &reset));
    assert!(matches!(talk.take_events()[..], [Event::Closed { .. }]));
}

#[test]
fn services_answer_only_requests_with_the_trailers_that_they_require() {
    for require_hmac in [false, true] {
        for require_crc32 in [false, true] {
            let ping = if require_crc32 {
                PingService::RequireCrc32
            } else {
                PingService::Any
            };
            let mut talk = Talk::new(Config {
                ping,
                services: Services {
                    by_node: ServiceSet::UPTIME,
                    require_crc32,
                    require_hmac,
                    ..Services::default()
                },
                ..with_key()
            });
            for flags in [
                Flags::empty(),
                Flags::CRC32,
                Flags::HMAC,
                Flags::CRC32 | Flags::HMAC,
            ] {
                for port in [1, 6] {
                    talk.receive(&sealed(V2, header(port, flags), b""));
                    let is_answered = (!require_crc32 || flags.contains(Flags::CRC32))
                        && (!require_hmac || flags.contains(Flags::HMAC));
                    let sent = talk.take_sent();
                    assert_eq!(sent.len(), usize::from(is_answered), "{port} {flags:?}");
                    for answer in sent {
                        assert_eq!(unsealed(V2, &answer).header.flags, flags);
                    }
                }
            }
        }
    }
}

#[test]
fn an_answer_is_taken_only_with_the_trailers_of_the_request() {
    let mut talk = Talk::new(Config {
        requests: SendOptions {
            crc32: true,
            hmac: true,
            ..SendOptions::default()
        },
        ..with_key()
    });
    let ping = Command::Ping {
        tag: Tag(1),
        destination: 2,
        octets: 4,
        timeout: Duration::from_secs(1),
    };
    talk.command(ping).unwrap();
    let sent = talk.take_sent();
    let asked = unsealed(V2, &sent[0]);
    assert_eq!(asked.header.flags, Flags::CRC32 | Flags::HMAC);
    let answer = asked.header.reversed();
    let flags = Flags::CRC32;
    talk.receive(&sealed(V2, Header { flags, ..answer }, asked.data));
    assert!(talk.take_events().is_empty());

    talk.receive(&sealed(V2, answer, asked.data));
    assert_eq!(talk.take_events().len(), 2);
}

#[test]
fn hmac_without_a_key_is_refused_where_it_is_asked_for() {
    let mut talk = Talk::new(Config::default());
    let hmac = SendOptions {
        hmac: true,
        ..SendOptions::default()
    };
    let refused = Err(Error::NoHmacKey);
    let (tag, to, options) = (Tag(1), TO, hmac);
    assert_eq!(talk.command(Command::Connect { tag, to, options }), refused);
    let (from, data) = (20, Bytes::from("x"));
    let send = Command::SendTo {
        from,
        to,
        options,
        data: data.clone(),
    };
    assert_eq!(talk.command(send), refused);
    let mtu = 100;
    let fragments = Command::SendFragmentsTo {
        from,
        to,
        options,
        mtu,
        data,
    };
    assert_eq!(talk.command(fragments), refused);
    let options = SocketOptions::HMAC_REQUIRED;
    assert_eq!(talk.command(Command::Bind { port: 10, options }), refused);
    let config = Config {
        requests: hmac,
        ..Config::default()
    };
    let error = Node::new(config, &Seed::from(1)).unwrap_err();
    assert_eq!(error.to_string(), "requests: HMAC without a key");
}

#[test]
fn a_packet_too_long_is_refused_with_the_limit_for_its_options() {
    let mut talk = Talk::new(with_key());
    for (crc32, hmac, limit) in [
        (false, false, 256),
        (true, false, 252),
        (false, true, 252),
        (true, true, 248),
    ] {
        let options = SendOptions {
            crc32,
            hmac,
            ..SendOptions::default()
        };
        let mut send = |octets: usize| {
            talk.command(Command::SendTo {
                from: 20,
                to: TO,
                options,
                data: Bytes::from(vec![1; octets]),
            })
        };
        assert_eq!(send(limit), Ok(()));
        let octets = limit + 1;
        assert_eq!(send(octets), Err(Error::TooLong { octets, limit }));

        let fragments = |mtu| Command::SendFragmentsTo {
            from: 20,
            to: TO,
            options,
            mtu,
            data: Bytes::from_static(b"x"),
        };
        let limit = limit - 8;
        let mtu = u16::try_from(limit).unwrap();
        assert_eq!(talk.command(fragments(mtu)), Ok(()));
        let mtu = mtu + 1;
        assert_eq!(talk.command(fragments(mtu)), Err(Error::Mtu { mtu, limit }));
    }
}

#[test]
fn a_request_too_long_for_the_trailers_of_requests_is_refused() {
    let mut talk = Talk::new(Config {
        max_data: 100,
        requests: SendOptions {
            crc32: true,
            hmac: true,
            ..SendOptions::default()
        },
        ..with_key()
    });
    let timeout = Duration::from_secs(1);
    let mut ask = |octets| {
        talk.command(Command::Request {
            tag: Tag(1),
            destination: 2,
            request: ServiceRequest::Peek { address: 0, octets },
            timeout,
        })
    };
    assert_eq!(ask(82), Ok(()));
    let (octets, limit) = (93, 92);
    assert_eq!(ask(83), Err(Error::TooLong { octets, limit }));
    let (octets, limit) = (201, 200);
    assert_eq!(ask(201), Err(Error::TooMuchData { octets, limit }));
    let ping = Command::Ping {
        tag: Tag(1),
        destination: 2,
        octets: 93,
        timeout,
    };
    let (octets, limit) = (93, 92);
    assert_eq!(talk.command(ping), Err(Error::TooLong { octets, limit }));
}

/// A time cannot be asserted, the one place that compares can: it leaves the comparison to `hmac`, which is constant
/// in time.
#[test]
fn hmac_is_compared_in_constant_time() {
    let source = include_str!("../../src/csp/security.rs");
    let start = source.find("fn split_hmac").unwrap();
    let end = start + source[start..].find("\n    }\n").unwrap();
    let body = &source[start..end];

    assert!(body.contains("verify_truncated_left"), "{body}");
    assert!(!body.contains("==") && !body.contains("!="), "{body}");
    let rest = [&source[..start], &source[end..]].concat();
    let library = rest.split("#[cfg(test)]").next().unwrap();
    assert!(!library.contains("split_last_chunk"), "no other place");
}

/// `data`, and a text of more than two blocks, each with its CRC32: encrypted by `csp_xtea.c` of libcsp 1.6, compiled
/// alone, with the passphrase of the captures and the nonce 0x01020304 in place of a random one.
const ENCRYPTED: [(&str, &str); 2] = [
    ("1a27aef8f931956301020304", "data"),
    (
        "0a2ebfb934869ddc0a23a8b9388fc8c6c0f17bfe4e7e81d59100358128013ae7\
         440ad0b7b7602292731f4194e8f8682acf76d001020304",
        "the counter of the first two blocks is the same",
    ),
];

#[test]
fn packets_that_libcsp_1_encrypted_are_read_and_damaged_ones_are_not() {
    for (encrypted, text) in ENCRYPTED {
        let config = Config {
            version: Version::V1,
            xtea_key: Some(key()),
            ..Config::default()
        };
        let mut talk = bound(config, SocketOptions::CRC32_REQUIRED);
        let mut octets = Vec::new();
        let header = header(10, Flags::XTEA | Flags::CRC32);
        let data = &unhex(encrypted);
        Packet { header, data }.encode(Version::V1, &mut octets);
        talk.receive(&octets);
        let events = talk.take_events();
        let [Event::Datagram { data, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(data, text);

        octets[5] ^= 1;
        talk.receive(&octets);
        assert!(talk.take_events().is_empty());
        assert_eq!(talk.node.stats().bad_crc32, 1);
        talk.receive(&octets[..7]);
        assert_eq!(talk.node.stats().short_xtea, 1, "shorter than a nonce");
    }
}

#[test]
fn nothing_is_sent_encrypted() {
    let config = Config {
        version: Version::V1,
        xtea_key: Some(key()),
        ..Config::default()
    };
    let mut talk = Talk::new(config);
    let mut octets = Vec::new();
    let header = header(1, Flags::XTEA | Flags::CRC32);
    let data = &unhex(ENCRYPTED[0].0);
    Packet { header, data }.encode(Version::V1, &mut octets);
    talk.receive(&octets);

    let answer = &talk.take_sent()[0];
    let answer = unsealed(Version::V1, answer);
    assert_eq!(answer.header.flags, Flags::CRC32);
    assert_eq!(answer.data, b"data");
}
