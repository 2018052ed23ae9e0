//! Full disks, closed outputs, and files that would be overwritten.

use super::*;

/// A file that cannot be written, as on a full disk.
const FULL: &str = "/dev/full";

fn full() -> Stdio {
    fs::File::options().write(true).open(FULL).unwrap().into()
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let recording = kept("messages.initiator");
    for arguments in [
        &["decode", &recording][..],
        &["decode", "--json", &recording],
        &["decode", "--calls", &recording],
        &["replay", &recording],
        &["replay", "--json", &recording],
        &["sim", "cotp-hello"],
        &["sim", "--list"],
    ] {
        let output = tool(arguments).stdout(full()).output().unwrap();

        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            told.starts_with("farlink: standard output: "),
            "{arguments:?}: {told}"
        );
        assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
    }
}

#[test]
fn a_message_that_cannot_be_written_does_not_change_the_status() {
    let output = tool(&["replay", "no such file"]).stderr(full()).output();

    assert_eq!(output.unwrap().status.code(), Some(2));
}

/// As in `farlink replay FILE | true`: the status has the verdict.
#[test]
fn a_closed_standard_output_does_not_change_the_verdict() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let damaged = altered(&file, b"farlink 0", b"farlink 9");
    let damaged = written("unread.pcapng", &damaged);
    for (file, status) in [(kept("messages.initiator"), 0), (damaged, 1)] {
        let mut child = tool(&["replay", &file]).spawn().unwrap();
        drop(child.stdout.take());

        assert_eq!(child.wait().unwrap().code(), Some(status));
    }
}

#[test]
fn a_closed_standard_output_does_not_end_a_transfer() {
    let mut server = cotp::serve(&["--once", "--out", &scratch("unheard.bin")]);
    let data = vec![0x5A; 1_000_000];
    let file = written("unheard.sent.bin", &data);
    let arguments = [
        "cotp",
        "connect",
        &server.address,
        "--send",
        &file,
        "--json",
    ];
    let mut client = tool(&arguments).spawn().unwrap();
    drop(client.stdout.take());

    assert_eq!(client.wait().unwrap().code(), Some(0));
    assert!(server.process.wait().unwrap().success());
    assert_eq!(fs::read(scratch("unheard.bin")).unwrap(), data);
}

#[test]
fn a_recording_that_cannot_be_written_is_a_failure_and_the_transfer_completes() {
    let server = cotp::serve(&["--once"]);

    let ran = farlink(&["cotp", "connect", &server.address, "--record", FULL]);

    assert!(ran.out.contains("#1 closed"), "{ran:?}");
    ran.badly(1, "/dev/full: No space left on device");
}

#[test]
fn an_output_file_never_replaces_the_input() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written("read.pcapng", &file);

    for arguments in [
        &["decode", &path, "--ladder", &path][..],
        &["replay", &path, "--redact", &path],
        &[
            "cotp",
            "connect",
            "127.0.0.1:1",
            "--send",
            &path,
            "--record",
            &path,
        ],
    ] {
        farlink(arguments).badly(2, "is also the input");
    }

    assert_eq!(fs::read(&path).unwrap(), file);
}

/// Blocks of a recording are written when they are complete, so a kill loses none of them.
#[test]
fn a_killed_process_leaves_a_recording_of_all_it_had_received() {
    use farlink::adapters::blocking;
    use farlink::cotp::Config;

    let recording = scratch("killed.pcapng");
    let mut server = cotp::serve(&["--echo", "--record", &recording]);
    let connection = blocking::cotp::connect(&*server.address, Config::initiator(None, None));
    let mut connection = connection.unwrap();
    connection.send("the last words").unwrap();
    assert_eq!(connection.receive().unwrap().unwrap(), "the last words");

    server.process.kill().unwrap();
    server.process.wait().unwrap();

    let replayed = farlink(&["replay", &recording]).well();
    assert!(replayed.out.contains("no end mark"), "{}", replayed.out);
    let calls = farlink(&["decode", "--calls", &recording]).badly(1, "no end mark");
    let echoed = calls
        .lines()
        .iter()
        .filter(|line| line.contains("end of message"))
        .count();
    assert_eq!(echoed, 2, "{}", calls.out);
}

/// Not at the first block, which would have been acknowledged.
#[test]
fn a_directory_that_cannot_be_written_is_reported_before_a_block_is_received() {
    let arguments = "ltp recv --bind 127.0.0.1:0 --engine 3 --client 4 --out /proc";
    let arguments: Vec<&str> = arguments.split(' ').collect();

    farlink(&arguments).badly(2, "/proc: ");
}
