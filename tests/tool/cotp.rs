//! `farlink cotp`, over loopback.

use super::*;

fn serve(arguments: &[&str]) -> Server {
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
    assert_eq!(server.told("connected")["connection"], 1);
    assert!(server.process.wait().unwrap().success());
    assert_eq!(fs::read(kept).unwrap(), data);
}

#[test]
fn a_wrong_selector_is_a_failure_with_its_reason() {
    let mut server = serve(&["--tsel", "0102"]);

    farlink(&["cotp", "connect", &server.address, "--remote-tsel", "0103"])
        .badly(1, "refused by the peer: selector unknown (3)");

    assert_eq!(
        server.told("failed")["reason"],
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
fn what_is_recorded_replays_and_draws() {
    let server = serve(&["--once"]);
    let (recording, drawing) = (scratch("tool.pcapng"), scratch("tool.svg"));

    farlink(&["cotp", "connect", &server.address, "--record", &recording]).well();

    farlink(&["replay", &recording]).well();
    farlink(&["decode", &recording, "--ladder", &drawing]).well();
    assert!(fs::read_to_string(drawing).unwrap().contains("CR"));
}
