//! `farlink ltp send` of several files, with keys, by contact plans and to nobody; and `farlink ltp ping`.

use serde_json::json;

use super::ltp::{event, files, folder, pattern, receive, send, silence};
use super::*;

/// Sends files as engine 1 to engine 2 for client 4.
fn send_all(files: &[&str], address: &str, options: &[&str]) -> Ran {
    let to = format!("2={address}");
    let command = ["ltp", "send", "--engine", "1", "--client", "4", "--to", &to];
    farlink(&[&command[..], files, options].concat())
}

fn ping(address: &str, options: &[&str]) -> Ran {
    let to = format!("2={address}");
    farlink(&[&["ltp", "ping", "--engine", "1", "--to", &to][..], options].concat())
}

#[test]
fn each_of_several_files_is_a_block_of_its_own() {
    let out = folder("ltp_several");
    let mut node = receive(&["--out", &out]);
    let names = [
        "ltp_several_1.bin",
        "ltp_several_2.bin",
        "ltp_several_3.bin",
    ];
    let sent = names.map(|name| written(name, &pattern(10_000 + name.len())));
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();

    let ran = send_all(&sent, &node.address, &["--json"]).well();

    let objects = ran.objects();
    let complete = objects
        .iter()
        .filter(|object| object["event"] == "complete");
    let mut complete: Vec<&str> = complete
        .map(|object| object["file"].as_str().unwrap())
        .collect();
    complete.sort_unstable();
    assert_eq!(complete, sent);
    node.next_event("peer");
    for _ in names {
        node.next_event("received");
    }
    assert_eq!(files(&out).len(), 3);
}

#[test]
fn no_file_is_sent_if_one_of_them_cannot_be() {
    let (_socket, address) = silence();
    let good = written("ltp_good.bin", &pattern(10));
    let empty = written("ltp_bad.bin", b"");

    let ran = send_all(&[&good, &empty], &address, &[]).badly(2, "an empty block is not sent");

    assert_eq!(ran.out, "");
    send_all(&["-", "-"], &address, &[]).badly(2, "standard input can be sent only once");
}

#[test]
fn blocks_are_taken_from_engines_with_the_key_and_from_no_others() {
    let file = written("ltp_key.bin", &pattern(5000));
    let keys = written("ltp_keys", b"# ID and key\nmay 00112233445566778899\n");
    let others = written("ltp_other_keys", b"may ffffffffffffffffffff\n");
    let wrong = written("ltp_wrong_keys", b"\nmay\n");
    let mut node = receive(&["--key-file", &keys]);

    for options in [
        &["--retries", "0"][..],
        &["--retries", "0", "--key-file", &others],
    ] {
        send(&file, &node.address, options).badly(1, "engine 2 does not answer");
    }
    send(&file, &node.address, &["--key-file", &keys]).well();

    // That of others is said, and only once.
    let mut unauthentic = 0;
    loop {
        let line = node.lines.next().unwrap().unwrap();
        let object: Value = serde_json::from_str(&line).unwrap();
        if object["event"] == "received" {
            assert_eq!(object["octets"], 5000);
            break;
        }
        if object["event"] == "unauthentic" {
            assert_eq!(object["engine"], 1);
            unauthentic += 1;
            continue;
        }
        assert_eq!(object["event"], "peer", "{object}");
    }
    assert_eq!(unauthentic, 1);
    send(&file, &node.address, &["--key-file", &wrong])
        .badly(2, "ltp_wrong_keys: line 2: a line has an ID and a key");
}

#[test]
fn a_block_waits_for_its_contact_and_leaves_at_its_rate() {
    let file = written("ltp_contact.bin", &pattern(30_000));
    let plan = b"a contact +0 +600 2 1 10000\na contact +2 +600 1 2 30000\na range +0 +600 1 2 0\n";
    let plan = written("ltp_contacts", plan);
    let mut node = receive(&[]);

    let ran = send(&file, &node.address, &["--json", "--contacts", &plan]).well();

    let objects = ran.objects();
    let contacts: Vec<&Value> = objects
        .iter()
        .filter(|object| object["event"] == "contact")
        .collect();
    assert_eq!(
        (&contacts[0]["rate"], &contacts[0]["peer_transmits"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(contacts[1]["rate"], 30_000);
    let place = |name: &str| objects.iter().rposition(|object| object["event"] == name);
    assert!(place("complete") > place("contact"), "{objects:?}");
    let progress = objects
        .iter()
        .filter(|object| object["event"] == "progress");
    let before = objects.iter().take(place("contact").unwrap());
    assert!(before.clone().all(|object| object["event"] != "progress"));
    assert!(progress.count() > 1, "it takes a second");
    node.next_event("peer");
    assert_eq!(node.next_event("received")["octets"], 30_000);
}

#[test]
fn a_block_is_given_up_when_the_contact_plan_is_over() {
    let (_socket, address) = silence();
    let file = written("ltp_over.bin", &pattern(100));
    let plan = written(
        "ltp_over",
        b"a contact +0 +1 1 2 1000\na contact +0 +1 2 1 1000\n",
    );

    send(&file, &address, &["--contacts", &plan]).badly(1, "the contact plan is over");
    let objects = send(&file, &address, &["--json", "--contacts", &plan]).objects();

    assert_eq!(event(&objects, "failed")["cause"], "contact_plan_over");
}

#[test]
fn a_contact_plan_that_cannot_be_followed_is_wrong_usage_with_the_line() {
    let (_socket, address) = silence();
    let file = written("ltp_plan.bin", &pattern(100));
    for (text, expected) in [
        (
            "a contact +0 +1 1 2 1000",
            "no contact from engine 2 to engine 1",
        ),
        (
            "\na contact +0 +1 1 2",
            "ltp_plan: line 2: a contact has begin, end",
        ),
    ] {
        let plan = written("ltp_plan", text.as_bytes());

        send(&file, &address, &["--contacts", &plan]).badly(2, expected);
    }
    let plan = scratch("ltp_plan");
    let arguments = "ltp recv --bind 127.0.0.1:0 --engine 3 --client 4 --contacts";
    let arguments: Vec<&str> = arguments.split(' ').chain([plan.as_str()]).collect();
    farlink(&arguments).badly(2, "--contacts needs --peer");
}

/// The report comes to a socket that is connected, and that of a node is not.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_port_is_told_of_while_a_block_is_tried() {
    let (socket, address) = silence();
    drop(socket);
    let file = written("ltp_closed.bin", &pattern(100));

    let ran = send(&file, &address, &["--retries", "0"]).badly(1, "engine 2 does not answer");
    let objects = send(&file, &address, &["--retries", "0", "--json"]).objects();

    let expected =
        format!("farlink: nobody listens at {address}: its host says that no program has");
    assert!(ran.err.starts_with(&expected), "{}", ran.err);
    assert_eq!(event(&objects, "unreachable")["at"], address);
    let failed = event(&objects, "failed");
    assert_eq!(failed["cause"], "limit_exceeded");
    assert_eq!(failed["exceeded"], "checkpoint_retries");
}

#[test]
fn silence_is_told_of_before_a_block_is_given_up() {
    let (_socket, address) = silence();
    let file = written("ltp_silence.bin", &pattern(100));

    // Fourteen seconds.
    let ran = send(&file, &address, &["--retries", "6"]).badly(1, "engine 2 does not answer");

    let told = "farlink: nothing heard from engine 2 for 1";
    assert!(ran.err.contains(told), "{}", ran.err);
    let why = "; nothing was heard from engine 2 for 1";
    assert!(ran.err.contains(why), "{}", ran.err);
}

#[test]
fn a_ping_tells_how_long_an_answer_takes_or_that_there_is_none() {
    let node = receive(&[]);
    let (_socket, nobody) = silence();

    let ran = ping(&node.address, &["--count", "2"]).well();
    let objects = ping(&node.address, &["--count", "1", "--json"])
        .well()
        .objects();

    assert_eq!(ran.lines().len(), 2);
    let begin = format!("engine 2 at {} answers after 0.", node.address);
    assert!(
        ran.lines().iter().all(|line| line.starts_with(&begin)),
        "{}",
        ran.out
    );
    assert_eq!(event(&objects, "answered")["peer"], 2);
    let silent = format!("engine 2 does not answer at {nobody}");
    ping(&nobody, &["--retries", "0"]).badly(1, &silent);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_sender_that_waits_for_its_input() {
    let (_socket, address) = silence();
    let to = format!("2={address}");
    let plan = written(
        "ltp_waits",
        b"a contact +0 +99 1 2 1000\na contact +0 +99 2 1 1000\n",
    );
    let arguments = "ltp send - --engine 1 --client 4 --contacts";
    let arguments = arguments.split(' ').chain([&*plan, "--to", &*to]);
    let mut process = tool(&arguments.collect::<Vec<_>>())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let _stdin = process.stdin.take();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let told = lines.next().unwrap().unwrap();
    assert!(told.starts_with("contact with engine 2: "), "{told}");

    interrupt(&process);

    let output = process.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), &*told),
        (Some(1), "farlink: files that were not sent: 1\n")
    );
}
