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
    // It is told when it happens, and again at the end.
    assert_eq!(
        ran.err
            .matches("/dev/full: No space left on device")
            .count(),
        2
    );
    assert_eq!(ran.status, 1);
}

#[test]
fn an_output_file_never_replaces_an_input_or_another_output() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written("read.pcapng", &file);
    let absent = scratch("absent.pcapng");
    let again = format!("{}/./absent.pcapng", env!("CARGO_TARGET_TMPDIR"));
    let _ = fs::remove_file(&absent);
    let payload = format!("3={path}");
    let udp = ["--node", "1", "--udp", "127.0.0.1:0,127.0.0.1:1"];
    let serve = ["dtp", "serve", "--payload", &payload, "--record", &path];
    let get = ["dtp", "get", "2", "--payload", "3", "--out", &absent];
    let part = format!("{absent}.part");
    let connect = ["cotp", "connect", "127.0.0.1:1"];
    let listen = ["cotp", "listen", "--bind", "127.0.0.1:0"];
    let send = ["ltp", "send", "--engine", "1", "--client", "4"];
    let to = ["--to", "2=127.0.0.1:1", &path, "--record", &path];

    let input = "is also the input";
    let output = "is also another output";
    let get = [&get[..], &udp].concat();
    for (arguments, words) in [
        (["decode", &path, "--ladder", &path].to_vec(), input),
        (["replay", &path, "--redact", &path].to_vec(), input),
        (
            [&connect[..], &["--send", &path, "--record", &path]].concat(),
            input,
        ),
        (
            [
                &connect[..],
                &["--send", &path, "--receive", "1", "--out", &path],
            ]
            .concat(),
            input,
        ),
        (
            [
                &connect[..],
                &["--receive", "1", "--out", &absent, "--record", &again],
            ]
            .concat(),
            output,
        ),
        (
            [&listen[..], &["--out", &absent, "--record", &again]].concat(),
            output,
        ),
        ([&send[..], &to].concat(), input),
        ([&serve[..], &udp].concat(), input),
        ([&get[..], &["--record", &again]].concat(), output),
        ([&get[..], &["--record", &part]].concat(), output),
        (
            ["sim", "mars", "--svg", &absent, "--pcap", &again].to_vec(),
            output,
        ),
    ] {
        farlink(&arguments).badly(2, words);
    }

    assert_eq!(fs::read(&path).unwrap(), file);
    assert!(!fs::exists(&absent).unwrap());
}

#[test]
fn an_output_keeps_what_is_in_it_until_there_is_a_connection() {
    let out = written("kept_output.txt", b"from before");
    let nobody = ["cotp", "connect", "127.0.0.1:1", "--json"];
    let awaited = ["--receive", "1", "--out", &out];

    let ran = farlink(&[&nobody[..], &awaited].concat());

    let failed = &ran.objects()[0];
    assert_eq!(
        (&failed["event"], &failed["remote"]),
        (&"failed".into(), &"127.0.0.1:1".into())
    );
    assert_eq!(fs::read(&out).unwrap(), b"from before");
    let server = cotp::serve(&["--once", "--echo"]);
    let sent = written("kept_output_sent.txt", b"hello");
    let connect = ["cotp", "connect", &server.address, "--send", &sent];
    farlink(&[&connect[..], &awaited].concat()).well();
    assert_eq!(fs::read(&out).unwrap(), b"hello");
}

/// The system ends a process by a signal that writes beyond its limit of file sizes, unless the process says otherwise.
#[test]
fn a_limit_of_file_sizes_is_a_full_disk() {
    let text = "ulimit -f 1; exec \"$@\"";
    let sent = written("unlimited.bin", &vec![0x5A; 100_000]);
    let mut server = cotp::serve(&["--once", "--echo"]);
    let recording = scratch("limited.pcapng");
    let connect = [
        "cotp",
        "connect",
        &server.address,
        "--send",
        &sent,
        "--json",
    ];
    let shell = ["-c", text, "sh", env!("CARGO_BIN_EXE_farlink")];
    let output = Command::new("sh")
        .args(shell)
        .args(connect)
        .args(["--record", &recording])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "error");
    let reason = last["reason"].as_str().unwrap();
    assert!(
        reason.contains("limited.pcapng: File too large"),
        "{reason}"
    );
    server.process.wait().unwrap();
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
