//! `farlink dtp session`: what a session file tells.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use farlink::dtp::{PayloadIdentity, Session};
use serde_json::{Value, json};

use super::get::ranges_text;
use crate::output::OutputFormat;
use crate::{Failure, input};

/// Octets of the longest session file: of 8 Mi ranges.
const MAX_FILE: u64 = 64 << 20;

/// Shows a session file: of this tool, or of libdtp (`.meta`).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The session file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the session as a file of libdtp, which goes on with it. Such a file has neither the CRC-32C of the payload nor
    /// its generation
    #[arg(long, value_name = "FILE")]
    meta: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads a session file.
pub(super) fn read_session(path: &Path) -> Result<Session, Failure> {
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut octets))
        .map_err(|error| Failure::file(path, error))?;
    if octets.len() as u64 > MAX_FILE {
        let text = format!("session file of more than the limit of {MAX_FILE} octets");
        return Err(Failure::file(path, text));
    }
    Session::decode(&octets).map_err(|error| Failure::file(path, error))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    input::check_files_differ([&arguments.file], &arguments.meta)?;
    let session = read_session(&arguments.file)?;
    if let Some(meta) = &arguments.meta {
        let written = fs::write(meta, session.to_meta());
        written.map_err(|error| Failure::file(meta, error))?;
    }
    format.report(|| text(&session), || object(&session));
    Ok(())
}

fn text(session: &Session) -> String {
    let Session {
        server,
        payload,
        address,
        mtu,
        throughput,
        id,
        size,
        ..
    } = session;
    let received = session.received_octets();
    let identity = session.identity.map_or_else(String::new, |identity| {
        let generation = identity.generation;
        let crc = identity
            .crc32c
            .map_or_else(String::new, |crc| format!("CRC-32C {crc:#010x}, "));
        format!("\n{crc}generation {generation}")
    });
    let missing: Vec<_> = session.missing().collect();
    let missing = if missing.is_empty() {
        "nothing is missing".into()
    } else {
        let octets = u64::from(*size) - received;
        format!("{octets} octets are missing ({})", ranges_text(&missing))
    };
    let of = address.map_or_else(
        || format!("payload {payload}"),
        |address| format!("memory at {address:#x}"),
    );
    format!(
        "{of} of node {server}, {size} octets{identity}\nmtu {mtu}, {throughput} octets per second, session {id:#010x}\n{received} octets have come, {missing}"
    )
}

fn object(session: &Session) -> Value {
    let missing: Vec<[u64; 2]> = session.missing().map(|it| [it.start, it.end]).collect();
    json!({
        "event": "session",
        "server": session.server,
        "payload": session.payload,
        "memory": session.address,
        "octets": session.size,
        "mtu": session.mtu,
        "rate": session.throughput,
        "session": session.id,
        "crc32c": session.identity.and_then(|it| it.crc32c),
        "generation": session.identity.map(|PayloadIdentity { generation, .. }| generation),
        "received": session.received_octets(),
        "ranges": missing.len(),
        "missing": missing,
    })
}
