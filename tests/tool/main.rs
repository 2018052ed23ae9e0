//! The command-line tool: output, messages, exit status.
#![cfg(feature = "cli")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

mod address;
mod calls;
mod capture;
mod cotp;
mod cotp_connect;
mod csp;
mod decode;
mod demo;
mod dtp;
#[path = "../support/ethernet.rs"]
mod ethernet;
mod field;
#[path = "../loopback/mod.rs"]
mod loopback;
mod ltp;
mod ltp_files;
mod ltp_flow;
mod ltp_kept;
mod ltp_recv;
mod ltp_send;
mod pasted;
mod replay;
#[path = "../support/sink.rs"]
mod sink;
mod stun;
#[cfg(target_os = "linux")]
mod trouble;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The result of a run.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    fn objects(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Checks for success, with nothing on standard error.
    fn well(self) -> Self {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self
    }

    /// Checks for that status, and for `words` on standard error.
    fn badly(self, status: i32, words: &str) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.err.contains(words), "{self:?}");
        self
    }
}

/// Tells whether the table behind the options of a command has this word.
fn is_documented(help: &str, field: &str) -> bool {
    let (_, table) = help.split_once("Print version").expect("a table");
    table
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .any(|word| word == field)
}

/// Runs the tool with empty standard input.
fn farlink(arguments: &[&str]) -> Ran {
    farlink_on(b"", arguments)
}

/// Runs the tool with this standard input.
fn farlink_on(input: &[u8], arguments: &[&str]) -> Ran {
    let mut child = tool(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The tool may exit before it has read all input.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        status: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farlink"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server whose first event has its address.
struct Server {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = tool(arguments).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self {
            process,
            lines,
            address: String::new(),
        };
        let address = server.next_event("listening")["address"].clone();
        server.address = address.as_str().unwrap().into();
        server
    }

    fn next_event(&mut self, event: &str) -> Value {
        let line = self.lines.next().unwrap().unwrap();
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["event"], event, "{object}");
        object
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends SIGINT, as Ctrl-C does.
#[cfg(unix)]
fn interrupt(process: &Child) {
    signal(process, "-INT");
}

#[cfg(unix)]
fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    let status = Command::new("kill").args([name, &id]).status().unwrap();
    assert!(status.success());
}

/// Returns the path of a recording in `vectors`.
fn kept(name: &str) -> String {
    format!(
        "{}/vectors/recordings/{name}.pcapng",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Returns the path of a file for a test to write.
fn scratch(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    path.into_os_string().into_string().unwrap()
}

/// Writes a file for the tool to read.
fn written(name: &str, octets: &[u8]) -> String {
    let path = scratch(name);
    fs::write(&path, octets).unwrap();
    path
}

/// Replaces the first `old` by `new` of equal length.
fn altered(file: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut places = file.windows(old.len());
    let at = places
        .position(|window| window == old)
        .expect("it is there");
    let mut file = file.to_vec();
    file[at..at + new.len()].copy_from_slice(new);
    file
}

#[test]
fn wrong_usage_and_bad_input_have_different_statuses() {
    farlink(&["decode", "--nonsense"]).badly(2, "--nonsense");
    farlink(&["frobnicate"]).badly(2, "frobnicate");
    farlink(&["decode", "no such file"]).badly(2, "no such file: ");
    farlink(&["replay"]).badly(2, "<FILE>");
    farlink(&["replay", "no such file"]).badly(2, "no such file: ");
}

#[test]
fn the_help_of_a_command_names_the_fields_of_its_objects() {
    for (command, field) in [
        ("cotp", "incomplete"),
        ("csp", "answered"),
        ("dtp", "requests"),
        ("ltp", "claimed"),
        ("decode", "field_offset"),
        ("replay", "made_by"),
        ("sim", "`arrived_ns`"),
    ] {
        let help = farlink(&[command, "--help"]).well();

        assert!(help.out.contains(field), "{command}: {}", help.out);
    }
}

/// As in `farlink decode FILE | head -1`.
#[test]
fn a_closed_standard_output_ends_the_tool_quietly() {
    let packet = [3, 0, 0, 8, 2, 0xF0, 0x80, 7];
    let file = written("many.bin", &packet.repeat(100_000));
    for arguments in [&["decode", &file][..], &["decode", "--json", &file]] {
        let mut child = tool(arguments).spawn().unwrap();
        drop(child.stdout.take());

        let output = child.wait_with_output().unwrap();

        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}
