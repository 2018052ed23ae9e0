//! The tool among strangers, modems that share an address, and forgers; and what it reads and writes.

use std::net::UdpSocket;
use std::time::Duration;

use super::ltp::receive;
use super::*;

/// A socket on this host of the loopback network, which hears answers.
fn socket(host: &str, to: &Server) -> UdpSocket {
    let socket = UdpSocket::bind((host, 0)).unwrap();
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).unwrap();
    socket.connect(&to.address).unwrap();
    socket
}

/// Octets from hex digits and spaces.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn say(socket: &UdpSocket, text: &str) {
    socket.send(&hex(text)).unwrap();
}

/// Whether a report comes in a session of an engine with a short ID, in time.
fn hears_report(socket: &UdpSocket, engine: u8, number: u8) -> bool {
    let mut octets = [0; 2000];
    while let Ok(len) = socket.recv(&mut octets) {
        if octets[..len].starts_with(&[8, engine, number]) {
            return true;
        }
    }
    false
}

/// An engine ID is identity, and the address is that of the link.
#[test]
fn two_engines_behind_one_socket_are_both_received() {
    let server = receive(&[]);
    let modem = socket("127.0.0.1", &server);

    say(&modem, "00 0b 01 00 04 00 05 4141414141");
    say(&modem, "00 0c 01 00 04 00 05 4242424242");
    say(&modem, "03 0b 01 00 04 05 05 09 00 4141414141");
    say(&modem, "03 0c 01 00 04 05 05 09 00 4242424242");

    assert!(hears_report(&modem, 12, 1));
    say(&modem, "03 0b 01 00 04 05 05 09 00 4141414141");
    assert!(hears_report(&modem, 11, 1));
}

#[test]
fn two_peers_can_be_named_at_one_address() {
    let server = receive(&["--peer", "11=127.0.0.1:9000", "--peer", "12=127.0.0.1:9000"]);

    assert!(!server.address.is_empty());
}

#[test]
fn a_datagram_under_another_id_from_the_socket_of_a_peer_ends_no_block() {
    let server = receive(&[]);
    let peer = socket("127.0.0.1", &server);
    say(&peer, "00 0b 01 00 04 00 05 4141414141");

    say(&peer, "00 8767 05 00 04 00 01 78");
    say(&peer, "03 0b 01 00 04 05 05 09 00 4141414141");

    let mut octets = [0; 2000];
    let len = peer.recv(&mut octets).unwrap();
    // The first answer is a report on all ten octets, and not on five.
    let (segment, _) = farlink::ltp::Segment::decode_first(&octets[..len]).unwrap();
    let farlink::ltp::Body::Report(report) = segment.body else {
        panic!("{segment:?}");
    };
    let claim = report.claims.iter().next().unwrap();
    assert_eq!((report.claims.count(), claim), (1, 0..10));
}

#[test]
fn a_thousand_strangers_that_said_one_thing_keep_no_newcomer_out() {
    let server = receive(&[]);
    let pacer = socket("127.0.0.1", &server);
    for at in 0..2100_u32 {
        let [_, _, high, low] = at.to_be_bytes();
        let id = [
            0x84 + (high >> 6),
            0x80 | (high << 1 | low >> 7),
            low & 0x7f,
        ];
        let mut octets = vec![0];
        octets.extend(id);
        octets.extend(hex("05 00 04 00 01 78"));
        socket("127.0.0.1", &server).send(&octets).unwrap();
        // Not faster than they are read.
        if at % 64 == 0 {
            let number = u8::try_from(1 + at / 64).unwrap();
            say(&pacer, &format!("03 0e {number:02x} 00 04 00 01 09 00 41"));
            assert!(hears_report(&pacer, 14, number), "after {at}");
        }
    }

    let newcomer = socket("127.0.0.1", &server);
    say(&newcomer, "03 0b 01 00 04 00 05 09 00 4141414141");

    assert!(hears_report(&newcomer, 11, 1));
}

/// An engine in two places is told of once in a while, and not with each datagram.
#[test]
fn an_engine_id_in_two_places_is_told_of_a_few_times_only() {
    let mut server = receive(&[]);
    let places = [socket("127.0.0.1", &server), socket("127.0.0.2", &server)];
    for number in 1..=50 {
        for place in &places {
            say(place, &format!("00 0d {number:02x} 00 04 00 01 78"));
        }
    }
    let last = socket("127.0.0.1", &server);
    say(&last, "03 0b 01 00 04 00 05 09 00 4141414141");
    assert!(hears_report(&last, 11, 1));
    let _ = server.process.kill();

    let lines = server.lines.by_ref().map_while(Result::ok);
    let moves = lines.filter(|line| line.contains("\"peer\"") && line.contains("13"));
    assert!(moves.count() <= 4);
}

#[test]
fn what_comes_from_another_host_in_the_name_of_a_peer_is_not_received() {
    let mut server = receive(&["--peer", "11=127.0.0.1:9999"]);
    let forger = socket("127.0.0.2", &server);
    let peer = socket("127.0.0.1", &server);

    say(&forger, "03 0b 01 00 04 00 05 09 00 4141414141");
    say(&peer, "03 0b 02 00 04 00 05 09 00 4242424242");

    let lines = server.lines.by_ref().map_while(Result::ok);
    let mut objects = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let received = objects.find(|object| object["event"] == "received");
    assert_eq!(received.unwrap()["session"], 2);
}

/// A hole in a file is a hole, and not zeros that were written.
#[cfg(unix)]
#[test]
fn an_octet_far_away_in_its_block_takes_no_room_on_the_disk() {
    use std::os::unix::fs::MetadataExt as _;

    let out = scratch("field_holes");
    let _ = fs::remove_dir_all(&out);
    let mut server = receive(&["--out", &out]);
    let stranger = socket("127.0.0.1", &server);
    for number in 1..=3 {
        // Green, at 2^28 - 1.
        say(
            &stranger,
            &format!("04 07 {number:02x} 00 04 ffffff7f 01 78"),
        );
    }

    // Behind which all of these are written.
    say(&stranger, "03 07 09 00 04 00 01 09 00 41");
    let mut lines = server.lines.by_ref().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("\"received\"")));

    let entries = fs::read_dir(&out).unwrap();
    let files: Vec<_> = entries
        .map(|entry| entry.unwrap().metadata().unwrap())
        .collect();
    let most: u64 = files.iter().map(|file| file.blocks() * 512).sum();
    assert!(files.iter().any(|file| file.len() == 1 << 28));
    assert!(most < 1 << 20, "{most} octets on the disk");
}

/// A stranger who reads hex of LTP need not say so.
#[test]
fn decode_finds_out_by_itself_that_octets_are_ltp() {
    let text = b"00 01 02 00 04 00 05 41 41 41 41 41";

    let named = farlink_on(text, &["decode", "--protocol", "ltp"]).well();
    let found = farlink_on(text, &["decode"]).well();

    assert_eq!(found.out, named.out);
}

/// As the engine takes them: a datagram with octets left over is dropped whole (RFC 7122 section 3.3).
#[test]
fn a_datagram_with_octets_left_over_is_shown_as_malformed_and_not_as_good() {
    let text = b"03 01 02 00 04 00 05 09 00 41 41 41 41 41 ff ff ff";

    let ran = farlink_on(text, &["decode", "--protocol", "ltp"]).badly(1, "");

    let good = ran.out.lines().filter(|line| !line.contains("malformed"));
    assert_eq!(good.count(), 0, "{}", ran.out);
}

/// The block types of pcapng with the highest bit set are there for local use; an enterprise number is somebody's.
#[test]
fn recordings_use_no_enterprise_number_that_is_reserved_for_documentation() {
    const CUSTOM: [u32; 2] = [0x0000_0BAD, 0x4000_0BAD];
    let file = fs::read(kept("messages.initiator")).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let mut at = 0;
    while at < file.len() {
        if CUSTOM.contains(&word(at)) {
            assert_ne!(word(at + 8), 32_473, "the block at octet {at}");
        }
        at += word(at + 4) as usize;
    }
}

/// A number below a limit is refused as one, not as an option that nobody knows.
#[test]
fn a_negative_number_is_refused_as_a_value() {
    for arguments in [
        &["stun", "query", "127.0.0.1", "--timeout", "-1"][..],
        &["sim", "link", "--loss", "-0.1"],
        &["cotp", "connect", "127.0.0.1:1", "--receive", "-2"],
        &["ltp", "ping", "--engine", "-1", "--to", "2=127.0.0.1:1"],
        &[
            "csp",
            "ping",
            "-1",
            "--node",
            "2",
            "--udp",
            "127.0.0.1,127.0.0.2",
        ],
    ] {
        farlink(arguments).badly(2, "invalid value '-");
    }
}

#[test]
fn a_failure_is_an_object_with_json_whatever_the_command() {
    let text = written("no_capture.txt", b"neither hex nor a capture");
    let empty = written("empty.bin", b"");
    for arguments in [
        &["decode", "no such file", "--json"][..],
        &["decode", &text, "--json"],
        &["decode", &empty, "--json"],
        &["replay", "no such file", "--json"],
        &["sim", "--json"],
        &[
            "sim",
            "cotp-hello",
            "--json",
            "--svg",
            "no such folder/file",
        ],
    ] {
        let ran = farlink(arguments);

        let object: Value = serde_json::from_str(ran.lines().last().unwrap()).unwrap();
        assert_eq!((ran.status, ran.err.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(object["event"], "error", "{arguments:?}");
        assert_ne!(object["reason"], "", "{arguments:?}");
    }
}
