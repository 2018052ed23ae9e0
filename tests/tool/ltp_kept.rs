//! `farlink ltp recv --out` acknowledges what is written, and nothing else.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::ltp::{RECV, event, files, folder, pattern, receive, send};
use super::*;

/// A free port that the next receiver has too.
fn address() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

fn receive_at(address: &str, out: &str) -> Server {
    let arguments = [
        "ltp", "recv", "--bind", address, "--engine", "2", "--client", "4", "--json", "--out", out,
    ];
    let mut process = tool(&arguments).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    Server {
        process,
        lines,
        address: address.into(),
    }
}

/// Whether a file has this name until its block is whole.
fn is_part(name: &str) -> bool {
    Path::new(name).extension() == Some("part".as_ref())
}

/// Waits until octets of a block are in a file, and returns how many.
fn wait_for_part(out: &str) -> usize {
    loop {
        let written = files(out).first().map_or(0, |(_, octets)| octets.len());
        if written > 0 {
            return written;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn sender(file: &str, address: &str, options: &[&str]) -> Child {
    let to = format!("2={address}");
    let arguments = [
        "ltp", "send", file, "--engine", "1", "--to", &to, "--client", "4", "--json",
    ];
    tool(&[&arguments[..], options].concat()).spawn().unwrap()
}

fn objects(out: &[u8]) -> Vec<Value> {
    let lines = core::str::from_utf8(out).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The kill comes between the writing of octets and the acknowledgment of the red part.
#[cfg(unix)]
#[test]
fn a_receiver_killed_while_it_writes_has_acknowledged_nothing_and_its_file_is_told_of_and_stays() {
    for options in [&["--checkpoint", "10"][..], &[]] {
        let out = folder("ltp_killed");
        let address = address();
        let file = written("ltp_killed.bin", &pattern(400_000));
        let mut node = receive_at(&address, &out);
        node.next_event("listening");
        let rate = ["--rate", "4000000", "--retries", "1"];
        let process = sender(&file, &address, &[&rate[..], options].concat());
        wait_for_part(&out);

        node.process.kill().unwrap();
        node.process.wait().unwrap();
        let (part, octets) = files(&out).remove(0);
        let mut again = receive_at(&address, &out);
        let told = again.next_event("unfinished");
        let output = process.wait_with_output().unwrap();

        assert!(is_part(&part) && octets.len() < 400_000, "{part}");
        assert_eq!(told["file"], format!("{out}/{part}"));
        assert!(
            files(&out)
                .iter()
                .any(|(name, kept)| *name == part && *kept == octets)
        );
        let is_whole =
            |(name, kept): &(String, Vec<u8>)| !is_part(name) && *kept == pattern(400_000);
        let is_kept = files(&out).iter().any(is_whole);
        let is_complete = output.status.success();
        assert!(is_kept || !is_complete, "{:?}", objects(&output.stdout));
    }
}

#[test]
fn a_durable_receiver_stores_blocks_longer_than_what_it_writes_between_two_synchronisations() {
    let out = folder("ltp_durable");
    let block = pattern(20 << 20);
    let file = written("ltp_durable.bin", &block);
    let mut node = receive(&["--durable", "--once", "--out", &out]);

    send(&file, &node.address, &["--rate", "400000000"]).well();

    node.next_event("peer");
    let kept = node.next_event("received");
    assert_eq!(
        (&kept["octets"], &kept["missing"]),
        (&json!(20 << 20), &json!([]))
    );
    assert!(node.process.wait().unwrap().success());
    let files = files(&out);
    assert_eq!(files.len(), 1);
    assert!(files[0].1 == block);
    farlink(&[&RECV[..], &["--durable"]].concat()).badly(2, "--out");
}

/// The sender hears it from the client service, and not that there is none.
#[cfg(unix)]
#[test]
fn what_has_come_of_a_block_stays_when_the_receiver_is_ended() {
    let out = folder("ltp_ended");
    let file = written("ltp_ended.bin", &pattern(400_000));
    let mut node = receive(&["--out", &out]);
    let process = sender(&file, &node.address, &["--rate", "4000000"]);
    wait_for_part(&out);

    signal(&node.process, "-TERM");

    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let failed = objects(&output.stdout);
    let failed = event(&failed, "failed");
    assert_eq!(
        (&failed["by"], &failed["code"], &failed["reason"]),
        (
            &json!("remote"),
            &json!(0),
            &json!("cancelled by the client service")
        )
    );
    node.next_event("peer");
    assert_eq!(node.next_event("failed")["cause"], "shutdown");
    let kept = node.next_event("received");
    assert_eq!(kept["ended"], false);
    assert!(node.process.wait().unwrap().success());
    let files = files(&out);
    assert_eq!(files.len(), 1);
    assert!(files[0].0.ends_with(".incomplete"), "{}", files[0].0);
    assert!(pattern(400_000).starts_with(&files[0].1));
    assert_eq!(kept["red"], files[0].1.len());
}

#[test]
fn a_block_that_its_sender_cancels_leaves_no_file() {
    let out = folder("ltp_given_up");
    let file = written("ltp_given_up.bin", &pattern(400_000));
    let mut node = receive(&["--out", &out]);
    let mut process = sender(&file, &node.address, &["--rate", "4000000"]);
    wait_for_part(&out);

    #[cfg(unix)]
    interrupt(&process);
    process.wait().unwrap();

    node.next_event("peer");
    let failed = node.next_event("failed");
    assert_eq!(
        (&failed["by"], &failed["cause"]),
        (&json!("remote"), &json!("cancelled"))
    );
    let second = written("ltp_given_up_2.bin", &pattern(10));
    send(&second, &node.address, &[]).well();
    let mut lines = node.lines.by_ref().map(|line| line.unwrap());
    assert!(lines.any(|line| line.contains("\"received\"")));
    assert_eq!(files(&out).len(), 1);
}

#[test]
fn files_of_several_senders_at_a_time_are_whole() {
    let out = folder("ltp_together");
    let mut node = receive(&["--out", &out]);
    let blocks: Vec<Vec<u8>> = (0..3).map(|by| pattern(300_000 + by)).collect();
    let senders: Vec<Child> = [1, 3, 4]
        .iter()
        .zip(&blocks)
        .map(|(engine, block)| {
            let file = written(&format!("ltp_together_{engine}.bin"), block);
            let (engine, to) = (engine.to_string(), format!("2={}", node.address));
            let arguments = [
                "ltp", "send", &file, "--engine", &engine, "--to", &to, "--client", "4", "--rate",
                "8000000",
            ];
            tool(&arguments).spawn().unwrap()
        })
        .collect();
    for process in senders {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let mut lines = node.lines.by_ref().map(|line| line.unwrap());
    for _ in 0..3 {
        assert!(lines.any(|line| line.contains("\"received\"")));
    }
    let mut kept: Vec<Vec<u8>> = files(&out).into_iter().map(|(_, octets)| octets).collect();
    kept.sort_by_key(Vec::len);
    assert!(kept == blocks);
}
