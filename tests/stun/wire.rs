//! Messages and attributes, and those of coturn.

use core::net::SocketAddr;

use farlink::Framing as _;
use farlink::laws::codec;
use farlink::stun::{
    Attribute, AttributeType, ChangeRequest, Class, ErrorCode, Message, MessageCodec,
    MessageFraming, MessageWriter, Method, PasswordAlgorithms, TransactionId, text,
};
use farlink::wire::Fault;

use crate::stun_captures::{CAPTURES, Capture, Malformed, Packet, Rfc, read};

const ID: TransactionId = TransactionId::from_octets([
    0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
]);

/// Returns a Binding request with these attributes.
fn message(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Request, ID);
    assert!(writer.is_empty());
    for attribute in attributes {
        assert!(writer.attribute(attribute));
    }
    octets
}

/// Returns a Binding request with one attribute of this type and value.
fn raw(kind: u16, value: &[u8]) -> Vec<u8> {
    message(&[Attribute::Unknown(AttributeType(kind), value)])
}

fn fault(octets: &[u8]) -> (&'static str, usize, Fault) {
    let error = Message::decode(octets).unwrap_err();
    (error.field, error.offset, error.fault)
}

fn value_fault(kind: u16, value: &[u8]) -> Option<Fault> {
    let octets = raw(kind, value);
    let message = Message::decode(&octets).unwrap();
    let first = message.attributes().next().unwrap();
    first.decode().err().map(|error| error.fault)
}

#[test]
fn the_bits_of_method_and_class_are_interleaved() {
    // RFC 8489 appendix A, RFC 8656 section 17.
    for (bits, method, class) in [
        (0x0001, 0x001, Class::Request),
        (0x0011, 0x001, Class::Indication),
        (0x0101, 0x001, Class::Success),
        (0x0111, 0x001, Class::Error),
        (0x0016, 0x006, Class::Indication),
        (0x0119, 0x009, Class::Error),
        (0x3EEF, 0xFFF, Class::Request),
        (0x3FFF, 0xFFF, Class::Error),
    ] {
        let mut octets = Vec::new();
        MessageWriter::new(&mut octets, Method::new(method), class, ID);

        assert_eq!(octets[..2], u16::to_be_bytes(bits));
        let message = Message::decode(&octets).unwrap();
        assert_eq!((message.method().bits(), message.class()), (method, class));
    }
}

#[test]
fn a_message_is_refused_whose_header_is_none_of_stun() {
    let good = raw(0x8022, b"abcd");
    assert_eq!(
        fault(&good[..19]),
        ("header", 0, Fault::Short { need: 20, left: 19 })
    );
    let with = |at: usize, octet: u8| {
        let mut octets = good.clone();
        octets[at] = octet;
        octets
    };
    assert_eq!(
        fault(&with(0, 0x40)),
        ("message type", 0, Fault::Value(0x4001))
    );
    assert_eq!(fault(&with(3, 7)), ("length", 2, Fault::Length(7)));
    assert_eq!(
        fault(&with(3, 12)),
        ("length", 2, Fault::Short { need: 12, left: 8 })
    );
    assert_eq!(fault(&with(3, 4)), ("length", 2, Fault::Trailing(4)));
}

#[test]
fn a_message_is_refused_whose_attributes_do_not_end_with_it() {
    let mut octets = raw(0x8022, b"abcd");
    octets[23] = 5;
    assert_eq!(
        fault(&octets),
        ("attribute", 20, Fault::Short { need: 9, left: 8 })
    );
    octets[23] = 2;
    assert!(
        Message::decode(&octets).is_ok(),
        "padding may be any octets"
    );
}

#[test]
fn nothing_follows_a_fingerprint() {
    let octets = message(&[Attribute::Fingerprint(7), Attribute::UseCandidate]);

    assert_eq!(fault(&octets), ("FINGERPRINT", 28, Fault::Trailing(4)));
}

#[test]
fn each_prefix_of_a_message_is_refused() {
    for sample in read::<Rfc>("rfc").messages {
        let octets = sample.octets.to_vec();
        for len in 0..octets.len() {
            assert!(
                Message::decode(&octets[..len]).is_err(),
                "{}: {len}",
                sample.name
            );
        }
    }
    for Malformed { name, octets } in read::<Rfc>("rfc").malformed {
        assert!(Message::decode(&octets.to_vec()).is_err(), "{name}");
    }
}

#[test]
fn what_stands_behind_an_integrity_attribute_does_not_count() {
    let (sha1, sha256) = ([1; 20], [2; 32]);
    let octets = message(&[
        Attribute::Priority(1),
        Attribute::MessageIntegrity(&sha1),
        Attribute::Unknown(AttributeType(0x7777), b""),
        Attribute::MessageIntegritySha256(&sha256),
        Attribute::MessageIntegrity(&sha1),
        Attribute::MessageIntegritySha256(&sha256),
        Attribute::Username(b"mallory"),
        Attribute::Fingerprint(3),
    ]);
    let message = Message::decode(&octets).unwrap();

    let counted: Vec<_> = message.attributes().map(|raw| raw.kind).collect();

    assert_eq!(
        counted,
        [
            AttributeType::PRIORITY,
            AttributeType::MESSAGE_INTEGRITY,
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            AttributeType::FINGERPRINT,
        ]
    );
    assert_eq!(message.unknown_attributes(), []);
    assert_eq!(message.find(AttributeType::USERNAME), None);
}

#[test]
fn the_first_attribute_of_a_type_counts() {
    let octets = message(&[Attribute::Software(b"a"), Attribute::Software(b"b")]);
    let message = Message::decode(&octets).unwrap();

    let software = message.find(AttributeType::SOFTWARE).unwrap();

    assert_eq!(software.decode(), Ok(Attribute::Software(b"a")));
}

#[test]
fn unknown_attributes_that_must_be_understood_are_named_once() {
    let unknown = |kind| Attribute::Unknown(AttributeType(kind), b"x");
    let octets = message(&[
        unknown(0x7777),
        unknown(0xF777),
        unknown(0x0010),
        unknown(0x7777),
        unknown(0x0021),
    ]);

    let message = Message::decode(&octets).unwrap();

    let named = [0x7777, 0x0010, 0x0021].map(AttributeType);
    assert_eq!(message.unknown_attributes(), named);
    assert_eq!(
        message.attributes().nth(1).unwrap().decode(),
        Ok(unknown(0xF777))
    );
}

#[test]
fn a_value_of_another_length_than_its_type_has_is_malformed() {
    for (kind, value) in [
        (0x0001, &[0, 1, 0, 1, 1, 2, 3][..]),
        (0x0001, &[0, 2, 0, 1, 1, 2, 3, 4]),
        (0x0020, &[0, 1]),
        (0x0003, &[0; 5]),
        (0x0008, &[0; 16]),
        (0x0009, &[0, 0, 4]),
        (0x000A, &[0; 3]),
        (0x000D, &[0; 8]),
        (0x0017, &[1]),
        (0x0018, &[]),
        (0x001A, &[0]),
        (0x001E, &[0; 31]),
        (0x0022, &[0; 7]),
        (0x8029, &[0; 4]),
        (0x0014, &[b'r'; 764]),
    ] {
        let found = value_fault(kind, value);
        assert_eq!(found, Some(Fault::Length(value.len())), "{kind:#x}");
    }
    assert_eq!(value_fault(0x0014, &[b'r'; 763]), None);
    for list in [&[0, 1, 0][..], &[0, 1, 0, 1], &[0, 2, 0, 0, 0]] {
        assert!(value_fault(0x8002, list).is_some(), "{list:?}");
    }
}

#[test]
fn a_family_or_a_code_that_does_not_exist_is_malformed() {
    let family = [0, 3, 0, 1, 1, 2, 3, 4];
    assert_eq!(value_fault(0x0001, &family), Some(Fault::Value(3)));
    assert_eq!(value_fault(0x0017, &[0; 4]), Some(Fault::Value(0)));
    assert_eq!(value_fault(0x0009, &[0, 0, 2, 0]), Some(Fault::Value(2)));
    assert_eq!(
        value_fault(0x0009, &[0, 0, 4, 100]),
        Some(Fault::Value(100))
    );
}

#[test]
fn reserved_bits_are_ignored() {
    let octets = raw(0x0009, &[0xFF, 0xFF, 0xFC, 20, b'x']);
    let message = Message::decode(&octets).unwrap();
    let code = message.attributes().next().unwrap().decode().unwrap();

    let expected = ErrorCode {
        code: 420,
        reason: b"x",
    };
    assert_eq!(code, Attribute::ErrorCode(expected));
}

#[test]
fn an_ipv6_address_is_hidden_by_the_transaction_too() {
    let address: SocketAddr = "[2001:db8::1]:3478".parse().unwrap();
    let octets = message(&[Attribute::XorPeerAddress(address)]);

    assert_eq!(octets[26..28], (3478_u16 ^ 0x2112).to_be_bytes());
    assert_eq!(octets[28..32], [0x01, 0x13, 0xA9, 0xFA]);
    assert_eq!(octets[32..44], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13]);
    codec::check_octets::<MessageCodec>(&octets);
}

#[test]
fn every_attribute_is_written_and_read_alike() {
    let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:2".parse().unwrap();
    let both = PasswordAlgorithms::from_octets(&[0, 2, 0, 0, 0, 1, 0, 0]).unwrap();
    let code = ErrorCode {
        code: 699,
        reason: b"why",
    };
    for kind in 0..=u16::MAX {
        let kind = AttributeType(kind);
        if !kind.is_known() {
            continue;
        }
        // One of these lengths is right for each.
        let values: [&[u8]; 9] = [
            &[],
            &[0x80],
            &[1, 0, 4, 20],
            &[0, 1, 0, 1, 192, 0, 2, 1],
            &[0, 1, 0, 1, 192, 0, 2, 1, 0, 0],
            &[0; 20],
            &[0; 32],
            &[0, 0, 4, 20, b'w', b'h', b'y'],
            &[0, 1, 0, 0],
        ];
        let known = values.iter().filter(|value| {
            let octets = raw(kind.0, value);
            codec::check_octets::<MessageCodec>(&octets);
            let message = Message::decode(&octets).unwrap();
            let decoded = message.attributes().next().unwrap().decode();
            decoded.is_ok_and(|attribute| {
                assert_eq!(attribute.kind(), kind);
                !matches!(attribute, Attribute::Unknown(..))
            })
        });
        assert!(known.count() > 0, "{kind}");
    }
    for attribute in [
        Attribute::MappedAddress(v4),
        Attribute::OtherAddress(v6),
        Attribute::XorMappedAddress(v6),
        Attribute::ErrorCode(code),
        Attribute::PasswordAlgorithms(both),
        Attribute::EvenPort { reserve: true },
        Attribute::ChangeRequest(ChangeRequest {
            ip: true,
            port: true,
        }),
    ] {
        let octets = message(&[attribute]);
        let message = Message::decode(&octets).unwrap();
        assert_eq!(octets.len(), 20 + attribute.wire_len());
        assert_eq!(message.attributes().next().unwrap().decode(), Ok(attribute));
    }
}

#[test]
fn a_message_grows_to_the_length_that_its_field_can_say() {
    let mut octets = vec![1, 2, 3];
    let mut writer = MessageWriter::new(&mut octets, Method::DATA, Class::Indication, ID);

    assert!(writer.attribute(&Attribute::Data(&[7; 65_528])));
    assert!(!writer.attribute(&Attribute::DontFragment));
    assert!(!writer.fingerprint());
    assert_eq!(writer.len(), 65_552);

    let message = Message::decode(&octets[3..]).unwrap();
    assert_eq!(message.attributes().count(), 1);
    let mut octets = Vec::new();
    let mut writer = MessageWriter::new(&mut octets, Method::DATA, Class::Indication, ID);
    assert!(!writer.attribute(&Attribute::Data(&[7; 65_529])));
    assert!(writer.is_empty());
}

/// What the server of a capture has told.
fn told(octets: &[u8]) -> Vec<String> {
    let message = Message::decode(octets).unwrap();
    assert_ne!(message.check_fingerprint(), Some(false));
    message
        .attributes()
        .map(|raw| match raw.decode().unwrap() {
            Attribute::Software(name) => text(name),
            Attribute::ErrorCode(ErrorCode { code, reason }) => format!("{code} {}", text(reason)),
            Attribute::Padding(octets) => format!("padding of {}", octets.len()),
            Attribute::Fingerprint(_) => String::from("fingerprint"),
            other => format!("{other:?}"),
        })
        .collect()
}

/// All that coturn sent decodes, and encodes to the same octets but for padding.
#[test]
fn the_messages_of_coturn_decode_and_encode() {
    let mut messages = 0;
    for name in CAPTURES {
        let capture: Capture = read(name);
        assert_eq!(capture.name, name);
        for Packet {
            from,
            proto,
            octets,
            note,
            ..
        } in capture.packets
        {
            let octets = octets.to_vec();
            if proto == "tcp" || octets.is_empty() {
                continue;
            }
            let is_sound = codec::try_octets::<MessageCodec>(&octets).unwrap();
            assert_eq!(is_sound, !note.contains("not a multiple of 4"), "{note}");
            let is_server = matches!(from.port(), 3478 | 3479);
            if is_server {
                assert!(told(&octets).len() >= 2, "{note}");
                messages += 1;
            }
        }
    }
    assert!(messages > 15, "{messages}");
}

#[test]
fn an_answer_of_coturn_tells_its_addresses_and_its_name() {
    let capture: Capture = read("01_binding_udp");
    let answer = capture.packets[1].octets.to_vec();

    assert_eq!(
        told(&answer),
        [
            "XorMappedAddress(127.0.0.1:36646)",
            "MappedAddress(127.0.0.1:36646)",
            "ResponseOrigin(127.0.0.1:3478)",
            "OtherAddress(127.0.0.2:3479)",
            "Coturn-4.6.1 'Gorst'",
            "fingerprint",
        ]
    );
    let classic: Capture = read("02_rfc3489_change_request");
    let answer = classic.packets[1].octets.to_vec();
    assert!(Message::decode(&answer).unwrap().id().is_classic());
    assert_eq!(told(&answer)[1], "SourceAddress(127.0.0.1:3478)");
}

#[test]
fn a_wrong_fingerprint_is_told() {
    let capture: Capture = read("04_errors");
    let mut packets = capture.packets.iter();
    let wrong = packets
        .find(|packet| packet.note == "wrong FINGERPRINT")
        .unwrap();
    let octets = wrong.octets.to_vec();

    assert_eq!(
        Message::decode(&octets).unwrap().check_fingerprint(),
        Some(false)
    );
}

#[test]
fn answers_in_a_stream_of_coturn_are_found_one_by_one() {
    let capture: Capture = read("05_binding_tcp");
    for server in [true, false] {
        let mut framing = MessageFraming::new(4096);
        let mut found = Vec::new();
        let packets = capture.packets.iter();
        for packet in packets.filter(|packet| (packet.from.port() == 3478) == server) {
            let octets = packet.octets.to_vec();
            let mut rest = &octets[..];
            while let Some(message) = framing.next(&mut rest).unwrap() {
                let message = Message::decode(message).unwrap();
                assert_ne!(message.check_fingerprint(), Some(false));
                found.push(message.class());
            }
        }
        let class = if server {
            Class::Success
        } else {
            Class::Request
        };
        assert_eq!(found, [class; 3]);
        assert!(framing.is_between());
    }
}

#[test]
fn any_octets_are_a_message_or_none() {
    let samples: Vec<Vec<u8>> = CAPTURES
        .iter()
        .flat_map(|name| read::<Capture>(name).packets)
        .map(|packet| packet.octets.to_vec())
        .filter(|octets| !octets.is_empty())
        .collect();
    crate::tries::tries(2000, 1..=1 << 7, |u| {
        let mut octets = u.choose(&samples)?.clone();
        for _ in 0..u.int_in_range(0..=4)? {
            let at = u.choose_index(octets.len())?;
            octets[at] = u.arbitrary()?;
        }
        crate::stun_bodies::wire(&octets);
        Ok(())
    });
}
