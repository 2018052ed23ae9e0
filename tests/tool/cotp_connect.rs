//! `farlink cotp connect` with services as they are in the field, and `listen` with their clients.

use std::io::Read as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::cotp::serve;
use super::*;

/// An empty message, as S7 controllers send one before each answer.
const EMPTY: [u8; 7] = [3, 0, 0, 7, 2, 0xF0, 0x80];
/// The ends of connections of python-snap7, of others with reason 128, and of plc4x.
const ORDERLY: [&[u8]; 3] = [
    &[3, 0, 0, 12, 6, 0x80, 0, 1, 0, 1, 0, 0],
    &[3, 0, 0, 11, 6, 0x80, 0, 1, 0, 1, 128],
    &[3, 0, 0, 11, 6, 0x80, 0, 0, 0, 1, 0],
];

fn message(octets: &[u8]) -> Vec<u8> {
    let len = u8::try_from(octets.len() + 7).unwrap();
    [&[3, 0, 0, len, 2, 0xF0, 0x80], octets].concat()
}

/// Accepts one connection without looking at its request, and goes on with it. Returns its request at the end.
fn service(
    answer: impl FnOnce(&mut TcpStream) + Send + 'static,
) -> (String, JoinHandle<(Vec<u8>, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut cr = vec![0; 4];
        stream.read_exact(&mut cr).unwrap();
        cr.resize(usize::from(cr[3]), 0);
        stream.read_exact(&mut cr[4..]).unwrap();
        // For reference 0.
        let cc = [3, 0, 0, 11, 6, 0xD0, 0, 0, 0, 1, 0];
        stream.write_all(&cc).unwrap();
        answer(&mut stream);
        (cr, stream)
    });
    (address, served)
}

fn connect(address: &str, arguments: &[&str]) -> Ran {
    let command = ["cotp", "connect", address];
    farlink(&[&command, arguments].concat())
}

#[test]
fn the_answer_of_a_service_is_printed() {
    let (address, served) = service(|stream| {
        let mut request = [0; 11];
        stream.read_exact(&mut request).unwrap();
        let answer = [&EMPTY[..], &message(&[0x32, 3, 0, 0])].concat();
        stream.write_all(&answer).unwrap();
    });
    let request = written("setup.bin", &[0x32, 1, 0, 0]);

    let ran = connect(&address, &["--send", &request, "--receive", "1"]).well();

    assert_eq!(
        ran.lines()[1..],
        [
            "#1 received 0 octets: ",
            "#1 received 4 octets: 32030000",
            "#1 closed, 2 messages with 4 octets received"
        ]
    );
    served.join().unwrap();
}

#[test]
fn the_messages_of_a_service_go_into_a_file() {
    let (address, served) = service(|stream| {
        stream.write_all(&message(b"abc")).unwrap();
        stream.write_all(&message(b"def")).unwrap();
    });
    let out = scratch("answers.bin");

    let ran = connect(&address, &["--receive", "2", "--out", &out]).well();

    assert_eq!(fs::read(out).unwrap(), b"abcdef");
    assert!(!ran.out.contains("received 3"), "{ran:?}");
    served.join().unwrap();
}

#[test]
fn a_dr_with_a_normal_reason_is_a_clean_end_for_both_commands() {
    for dr in ORDERLY {
        let (address, served) = service(|stream| {
            let end = [message(b"abc"), dr.to_vec()].concat();
            stream.write_all(&end).unwrap();
        });
        let mut listener = serve(&["--once"]);
        let mut client = TcpStream::connect(&listener.address).unwrap();
        client
            .write_all(&[3, 0, 0, 11, 6, 0xE0, 0, 0, 0, 1, 0])
            .unwrap();
        client.write_all(dr).unwrap();

        let ran = connect(&address, &["--until-close"]).well();

        assert_eq!(ran.lines()[1], "#1 received 3 octets: 616263");
        let said = "#1 closed, disconnected by the peer: ";
        assert!(ran.lines()[2].starts_with(said), "{ran:?}");
        listener.next_event("connected");
        let closed = listener.next_event("closed");
        let reason = closed["reason"].as_str().unwrap();
        assert!(reason.starts_with("disconnected by the peer: "), "{closed}");
        assert!(listener.process.wait().unwrap().success());
        served.join().unwrap();
    }
}

#[test]
fn a_client_that_says_nothing_is_closed_after_the_time_that_was_set() {
    let mut listener = serve(&["--once", "--idle-timeout", "0.1"]);
    let mut client = TcpStream::connect(&listener.address).unwrap();
    client
        .write_all(&[3, 0, 0, 11, 6, 0xE0, 0, 0, 0, 1, 0])
        .unwrap();

    listener.next_event("connected");
    let failed = listener.next_event("failed");

    assert_eq!(failed["reason"], "nothing arrived from the peer for 100ms");
    assert_eq!(listener.process.wait().unwrap().code(), Some(1));
}

#[test]
fn a_service_that_takes_its_time_to_close_is_no_failure() {
    let (address, served) = service(|stream| {
        let mut end = Vec::new();
        stream.read_to_end(&mut end).unwrap();
        pause(3000);
    });

    let ran = connect(&address, &[]).well();

    assert!(ran.out.contains("#1 closed"), "{ran:?}");
    served.join().unwrap();
}

#[test]
fn messages_are_printed_until_none_has_come_for_a_while() {
    let (address, served) = service(|stream| {
        for _ in 0..3 {
            pause(400);
            stream.write_all(&message(b"a")).unwrap();
        }
        let mut end = Vec::new();
        stream.read_to_end(&mut end).unwrap();
    });

    let ran = connect(&address, &["--wait", "1.5"]).well();

    assert!(ran.out.contains("3 messages with 3 octets"), "{ran:?}");
    served.join().unwrap();
}

#[test]
fn fewer_messages_than_were_waited_for_are_a_failure() {
    let (address, served) = service(|stream| {
        stream.write_all(&message(b"a")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });

    connect(&address, &["--receive", "2"])
        .badly(1, "#1 failed: closed by the peer, 1 of 2 messages came");

    served.join().unwrap();
}

#[test]
fn messages_without_octets_are_no_progress() {
    let (address, served) = service(|stream| {
        while stream.write_all(&EMPTY).is_ok() {
            pause(100);
        }
    });

    connect(&address, &["--receive", "1", "--timeout", "1"])
        .badly(1, "no message for 1s, 0 of 1 messages came");

    served.join().unwrap();
}

#[test]
fn what_is_waited_for_is_one_thing() {
    let arguments = ["--receive", "1", "--until-close"];

    connect("127.0.0.1:1", &arguments).badly(2, "cannot be used with");
}

/// As a token of a load balancer and a request for TLS, from a client of RDP.
#[test]
fn a_variable_part_of_ones_own_is_sent_and_that_of_the_peer_shown() {
    let token = b"tsv://MS Terminal Services Plugin.1.farm\r\n";
    let variable = [&token[..], &[1, 0, 8, 0, 3, 0, 0, 0]].concat();
    let digits = format!("{:x}", bytes::Bytes::from(variable.clone()));
    let mut listener = serve(&[]);
    let (address, served) = service(|_| ());

    let ran = connect(&address, &["--variable", &digits]).well();
    connect(&listener.address, &["--variable", &digits]).well();

    assert!(
        !ran.out.contains("variable part"),
        "the CC has none: {ran:?}"
    );
    let (cr, _) = served.join().unwrap();
    assert_eq!(cr[11..], variable);
    assert_eq!(listener.next_event("connected")["variable"], digits);
}

#[test]
fn a_failure_names_all_that_the_service_may_have_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
    });

    let ran = connect(&address, &["--local-tsel", "01", "--remote-tsel", "02"]);

    let ran = ran.badly(1, "closed by the peer before it confirmed");
    for cause in [
        "unknown selector",
        "selector '01' of this end",
        "'02' of the service",
        "TPDU size 2048",
        "parameter order",
        "no free connection",
    ] {
        assert!(ran.err.contains(cause), "{cause}: {ran:?}");
    }
    closing.join().unwrap();
}

/// Its length is not known, and it may never end.
#[test]
fn standard_input_is_not_read_before_the_connection_is_open() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let address = unused.unwrap().to_string();
    let mut child = tool(&["cotp", "connect", &address, "--send", "-"]);
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    let _open = child.stdin.take();

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_sent_as_a_stream() {
    const LEN: u64 = 200 << 20;
    let path = scratch("sparse.bin");
    fs::File::create(&path).unwrap().set_len(LEN).unwrap();
    let mut server = serve(&["--once"]);
    let client = tool(&["cotp", "connect", &server.address, "--send", &path])
        .args(["--message-size", "1000000"])
        .spawn()
        .unwrap();

    let (output, peak) = peak_memory(client);

    assert!(output.status.success());
    assert!((1..50_000).contains(&peak), "{peak} kB");
    fs::remove_file(path).unwrap();
    assert!(server.process.wait().unwrap().success());
}

/// As in `farlink cotp listen | head -1`: nobody gets the messages any more.
#[test]
fn a_listener_ends_when_nobody_reads_what_it_says() {
    let mut child = tool(&["cotp", "listen", "--bind", "127.0.0.1:0", "--json"]);
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    drop(lines);
    let address = first["address"].as_str().unwrap();
    let data = written("unread.message", b"abc");

    connect(address, &["--send", &data]);
    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nobody reads standard output"), "{told}");
}

/// As in `farlink cotp connect --until-close | head -1`.
#[test]
fn a_client_that_prints_ends_when_nobody_reads_what_it_says() {
    let (address, served) = service(|stream| {
        while stream.write_all(&message(b"abc")).is_ok() {
            pause(20);
        }
    });
    let arguments = ["cotp", "connect", &address, "--until-close"];
    let mut child = tool(&arguments).spawn().unwrap();

    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
    served.join().unwrap();
}
