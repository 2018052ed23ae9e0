//! `farlink cotp`, over loopback.

use std::time::{Duration, SystemTime};

use super::*;

pub(super) fn serve(arguments: &[&str]) -> Server {
    let all = ["cotp", "listen", "--bind", "127.0.0.1:0", "--json"];
    Server::start(&[&all, arguments].concat())
}

#[test]
fn a_file_is_sent_kept_and_echoed() {
    let (kept, data) = (scratch("kept.bin"), vec![0xA5; 300_000]);
    let sent = written("sent.bin", &data);
    let mut server = serve(&["--echo", "--once", "--tsel", "0102", "--out", &kept]);
    let arguments = [
        "cotp",
        "connect",
        &server.address,
        "--local-tsel",
        "0100",
        "--remote-tsel",
        "0102",
    ];

    let ran = farlink(
        &[
            &arguments[..],
            &["--send", &sent, "--expect-echo", "--json"],
        ]
        .concat(),
    )
    .well();

    let objects = ran.objects();
    assert_eq!(
        (&objects[0]["calling"], &objects[0]["called"]),
        (&"0100".into(), &"0102".into())
    );
    assert_eq!(objects.last().unwrap()["event"], "closed");
    assert_eq!(objects.last().unwrap()["octets"], data.len());
    assert_eq!(server.next_event("connected")["connection"], 1);
    assert!(server.process.wait().unwrap().success());
    assert_eq!(fs::read(kept).unwrap(), data);
}

#[test]
fn a_wrong_selector_is_a_failure_with_its_reason() {
    let mut server = serve(&["--tsel", "0102"]);

    farlink(&["cotp", "connect", &server.address, "--remote-tsel", "0103"])
        .badly(1, "refused by the peer: selector unknown (3)");

    assert_eq!(
        server.next_event("failed")["reason"],
        "refused by this side: selector unknown (3)"
    );
}

#[test]
fn wrong_values_are_wrong_usage() {
    farlink(&["cotp", "connect", "127.0.0.1:1", "--remote-tsel", "0x1"]).badly(2, "odd number");
    farlink(&["cotp", "connect", "127.0.0.1:1", "--tpdu-size", "1000"]).badly(2, "power of two");
    farlink(&["cotp", "connect", "127.0.0.1:1", "--timeout", "0"]).badly(2, "above 0");
    farlink(&[
        "cotp",
        "connect",
        "127.0.0.1:1",
        "--send",
        "/nowhere/at/all",
    ])
    .badly(2, "nowhere");
}

#[test]
fn a_recording_can_be_replayed_and_drawn() {
    let server = serve(&["--once"]);
    let (recording, drawing) = (scratch("tool.pcapng"), scratch("tool.svg"));

    farlink(&["cotp", "connect", &server.address, "--record", &recording]).well();

    farlink(&["replay", &recording]).well();
    let decoded = farlink(&["decode", &recording, "--ladder", &drawing]).well();
    // The service is on another port, and shown on that by which analysers know the protocol.
    assert!(
        decoded.lines()[0].contains(" > 127.0.0.1:102  CR "),
        "{}",
        decoded.out
    );
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let by_port = farlink(&["decode", &recording, "--port", port]).well();
    assert_eq!(by_port.out, decoded.out, "the port that was connected to");
    let drawing = fs::read_to_string(drawing).unwrap();
    assert!(drawing.contains("CR"));
    assert!(drawing.contains("tool.pcapng"), "its title");
    assert!(!drawing.contains("seed"), "only worlds grow from one");
}

#[test]
fn a_recording_shows_the_time_of_day() {
    use farlink::record::Capture;

    // The clock of the system may be set while this runs.
    const SET: Duration = Duration::from_secs(24 * 3600);
    let day = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let recording = scratch("dated.pcapng");
    let mut server = serve(&["--once", "--record", &recording]);
    farlink(&["cotp", "connect", &server.address]).well();
    assert!(server.process.wait().unwrap().success());

    let file = fs::read(recording).unwrap();
    let mut capture = Capture::open(&file).unwrap();
    while let Some(packet) = capture.next_packet().unwrap() {
        let shown = packet.time - farlink::Instant::ZERO;
        assert!(shown.abs_diff(day) < SET, "{day:?} {shown:?}");
    }
}

#[test]
fn the_end_of_a_connection_has_the_same_fields_however_it_came() {
    let mut server = serve(&["--tsel", "0102"]);
    let connect = [
        "cotp",
        "connect",
        &server.address,
        "--json",
        "--remote-tsel",
    ];

    let refused = farlink(&[&connect[..], &["0103"]].concat());
    let closed = farlink(&[&connect[..], &["0102"]].concat()).well();

    let fields = |object: &Value| {
        let fields = object.as_object().unwrap();
        fields.keys().cloned().collect::<Vec<_>>()
    };
    let expected = fields(closed.objects().last().unwrap());
    assert_eq!(fields(refused.objects().last().unwrap()), expected);
    assert_eq!(fields(&server.next_event("failed")), expected);
    server.next_event("connected");
    assert_eq!(fields(&server.next_event("closed")), expected);
    let help = farlink(&["cotp", "--help"]).well().out;
    for field in expected {
        assert!(is_documented(&help, &field), "{field} in {help}");
    }
}

#[test]
fn the_help_of_both_ends_says_when_the_status_is_1() {
    for command in ["listen", "connect"] {
        let help = farlink(&["cotp", command, "--help"]).well().out;

        assert!(help.contains("Exit status 1: "), "{help}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_server_closes_its_connections_and_finishes_their_recordings() {
    use farlink::adapters::blocking;
    use farlink::cotp::Config;

    let recording = scratch("interrupted.pcapng");
    let mut server = serve(&["--record", &recording]);
    let connection = blocking::cotp::connect(&*server.address, Config::initiator(None, None));
    let mut connection = connection.unwrap();
    server.next_event("connected");

    interrupt(&server.process);

    assert_eq!(connection.receive().unwrap(), None);
    server.next_event("closed");
    assert!(server.process.wait().unwrap().success());
    let replayed = farlink(&["replay", "--json", &recording]).well();
    assert_eq!(replayed.objects()[0]["end"], "finished");
}

#[cfg(unix)]
#[test]
fn an_interrupted_server_that_was_to_serve_once_has_failed() {
    let mut server = serve(&["--once"]);

    interrupt(&server.process);

    assert_eq!(server.process.wait().unwrap().code(), Some(1));
}

#[cfg(unix)]
#[test]
fn an_interrupted_client_says_so() {
    use std::net::TcpListener;

    // It accepts the connection and sends nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let process = tool(&["cotp", "connect", &address]).spawn().unwrap();
    let _stream = listener.accept().unwrap();

    interrupt(&process);

    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, format!("farlink: {address}: interrupted\n"));
}

/// As a peer whose application hangs.
#[test]
fn a_peer_that_reads_nothing_is_given_up() {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut cr = [0; 14];
        stream.read_exact(&mut cr).unwrap();
        let cc = [3, 0, 0, 11, 6, 0xD0, cr[8], cr[9], 0, 1, 0];
        stream.write_all(&cc).unwrap();
        stream
    });
    let data = written("unread.bin", &vec![0xA5; 40_000_000]);

    let ran = farlink(&[
        "cotp",
        "connect",
        &address,
        "--send",
        &data,
        "--timeout",
        "1",
    ]);

    ran.badly(1, "the peer read nothing for 1s, ");
    drop(server.join().unwrap());
}

#[test]
fn a_selector_that_fits_no_request_is_wrong_usage() {
    let selector = "01".repeat(300);

    farlink(&["cotp", "connect", "127.0.0.1:1", "--remote-tsel", &selector])
        .badly(2, "exceeds the limit of 248");
}

/// The connection ends, since its messages would be lost; others go on.
#[test]
#[cfg(target_os = "linux")]
fn messages_that_cannot_be_written_are_a_failure_of_the_listener() {
    let mut server = serve(&["--out", "/dev/full"]);
    let data = written("full.bin", &[0xA5; 1000]);

    farlink(&["cotp", "connect", &server.address, "--send", &data]);
    farlink(&["cotp", "connect", &server.address]).well();
    interrupt(&server.process);

    assert_eq!(server.process.wait().unwrap().code(), Some(1));
}
