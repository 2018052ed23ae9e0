//! `farlink stun`, over loopback.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use farlink::stun::{
    Attribute, AttributeTypes, Class, ErrorCode, Message, MessageWriter, Method, TransactionId,
};
use serde_json::json;

use super::*;

/// Starts a server that sends what `answer` makes of each request, from the socket or from another one.
fn server(answer: impl Fn(&Message<'_>, SocketAddr) -> Vec<Vec<u8>> + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut octets = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut octets) {
            let request = Message::decode(&octets[..len]).unwrap();
            for octets in answer(&request, from) {
                socket.send_to(&octets, from).unwrap();
            }
        }
    });
    address
}

fn message(id: TransactionId, class: Class, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, class, id);
    for attribute in attributes {
        writer.attribute(attribute);
    }
    octets
}

fn refusal(id: TransactionId, code: u16, reason: &[u8]) -> Vec<u8> {
    let code = Attribute::ErrorCode(ErrorCode { code, reason });
    let unknown = Attribute::UnknownAttributes(AttributeTypes::from_octets(&[0, 0x26]));
    message(id, Class::Error, &[code, unknown])
}

fn query(server: &str, arguments: &[&str]) -> Ran {
    farlink(&[&["stun", "query", server][..], arguments].concat())
}

#[test]
fn a_query_tells_what_the_server_has_seen() {
    let server = server(|request, from| {
        if request.id().is_classic() {
            return Vec::new();
        }
        let software = Attribute::Software(b"a server");
        let attributes = [Attribute::XorMappedAddress(from), software];
        vec![message(request.id(), Class::Success, &attributes)]
    });

    let ran = query(&server, &["--timeout", "1"]).well();
    let lines = ran.lines();
    assert!(
        lines[0].starts_with(&format!("{server} over udp answers after ")),
        "{ran:?}"
    );
    assert!(lines[0].ends_with(" s, request 1"), "{ran:?}");
    assert!(lines[1].ends_with(", no NAT"), "{ran:?}");
    assert_eq!(
        lines[2..],
        ["software: a server", "RFC 5780: no", "RFC 3489: no"]
    );

    let ran = query(&format!("stun:{server}"), &["--timeout", "1", "--json"]).well();
    let [answer] = &ran.objects()[..] else {
        panic!("{ran:?}");
    };
    assert_eq!(answer["event"], "answered");
    assert_eq!(
        (&answer["server"], &answer["proto"]),
        (&json!(server), &json!("udp"))
    );
    assert_eq!(answer["mapped"], answer["local"]);
    assert_eq!(
        (&answer["rfc5780"], &answer["rfc3489"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        (&answer["other"], &answer["sends"]),
        (&json!(null), &json!(1))
    );
}

#[test]
fn the_addresses_to_ask_from_are_those_of_the_option() {
    let local = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let server = server(|request, from| {
        let mapped = Attribute::MappedAddress(from);
        vec![message(request.id(), Class::Success, &[mapped])]
    });

    let ran = query(&server, &["--from", &local, "--json"]).well();

    assert_eq!(ran.objects()[0]["mapped"], json!(local));
    assert_eq!(ran.objects()[0]["rfc3489"], json!(true));
}

#[test]
fn a_query_without_an_answer_says_how_often_and_how_long_it_asked() {
    let silent = server(|_, _| Vec::new());

    let ran = query(&silent, &["--timeout", "0.7"]);

    let text = format!("{silent} over udp: no answer to 2 requests within 0.7 s");
    ran.badly(1, &text);
    let ran = query(&silent, &["--timeout", "0.1", "--json"]);
    assert_eq!(ran.status, 1);
    assert_eq!(ran.objects()[0]["event"], "error");
}

#[test]
fn an_error_of_the_server_is_told() {
    let server = server(|request, _| vec![refusal(request.id(), 420, b"Unknown Attribute\0\0\0")]);

    let ran = query(&server, &[]);

    ran.badly(1, "the server refuses: 420 Unknown Attribute (PADDING)");
}

#[test]
fn an_answer_from_elsewhere_and_forged_ones_are_told() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let server = server(move |request, from| {
        let attributes = [Attribute::XorMappedAddress(from)];
        let answer = message(request.id(), Class::Success, &attributes);
        other.send_to(&answer, from).unwrap();
        let guessed = TransactionId::new([9; 12]);
        vec![message(guessed, Class::Success, &attributes)]
    });

    let ran = query(&server, &["--timeout", "0.3"]);

    let text = format!("an answer came from {address}, which was not asked; 1 forged or broken");
    ran.badly(1, &text);
}

#[test]
fn a_connection_that_is_refused_is_told() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };

    let ran = query(&format!("127.0.0.1:{port}"), &["--tcp"]);

    ran.badly(1, &format!("127.0.0.1:{port} over tcp: connection refused"));
}

#[test]
fn wrong_usage_names_the_part_that_is_wrong() {
    for (arguments, words) in [
        (
            &["stun:user@host"][..],
            "`user@` in `stun:user@host`: there is no user",
        ),
        (&["stun:127.0.0.1:0"], "port 0 in `stun:127.0.0.1:0`"),
        (&["stun:host?transport=udp"], "there is no query"),
        (&["turn:host"], "`turn:` in `turn:host` is not `stun:`"),
        (&["no-such-host.invalid"], "`no-such-host.invalid`"),
        (
            &["[::1]:3478", "--from", "127.0.0.1"],
            "[::1]:3478 has no IPv4 address; --from 127.0.0.1:0 is one",
        ),
    ] {
        let (server, rest) = arguments.split_first().unwrap();
        query(server, rest).badly(2, words);
    }
}

#[test]
fn the_fields_of_an_answer_are_documented() {
    let server = server(|request, from| {
        let mapped = Attribute::XorMappedAddress(from);
        vec![message(request.id(), Class::Success, &[mapped])]
    });
    let help = farlink(&["stun", "--help"]).well().out;

    let ran = query(&server, &["--json"]).well();

    for object in ran.objects() {
        for field in object.as_object().unwrap().keys() {
            assert!(help.contains(field.as_str()), "{field}");
        }
    }
}

#[test]
fn a_query_that_is_recorded_replays() {
    let server = server(|request, from| {
        let mapped = Attribute::MappedAddress(from);
        vec![message(request.id(), Class::Success, &[mapped])]
    });
    let file = scratch("stun_query.pcapng");

    query(&server, &["--record", &file]).well();

    farlink(&["replay", &file]).well();
}
