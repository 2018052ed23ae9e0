//! `farlink cotp`: a server and a client on real sockets.

mod connect;
mod listen;
pub(crate) mod transfer;

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use clap::Subcommand;
use farlink::adapters::cotp::{Error, Info};
use farlink::cotp::{Connection, ConnectionEnd, EndReason, Selector, TpduSize};
use farlink::record::Recorded;
use serde_json::{Value, json};

use crate::Failure;
use crate::address::Address;
use crate::hexdump;
use crate::output::{self, OutputFormat, hex};

/// The events of both commands.
const EVENTS: &str = "\
Events, with --json one object per line:

  event      fields
  listening  address
  connected  connection, local, remote, calling, called, tpdu_size, variable
  received   connection, octets; data, in hex, of up to 256 octets
  closed     connection, reason, incomplete, unsent, messages, octets, remote
  failed     as closed
  error      reason: why the command failed

  connection   the number of the connection, from 1
  calling      the selector of the initiator, in hex
  called       the selector of the responder, in hex
  variable     the variable part of the peer's CR or CC, in hex
  reason       why it ended; of a clean end, closed, or what the peer said by a DR
  incomplete   octets of an unfinished message that were received and dropped
  unsent       octets that were queued and not sent
  messages     messages received, and octets in them
  remote       the address of the peer, if the connection was never open

A value that is absent is null.";

/// COTP class 0 over TPKT (ISO 8073, RFC 1006).
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Listen(listen::Arguments),
    Connect(connect::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Listen(arguments) => crate::block_on(0, listen::run(arguments)),
        Command::Connect(arguments) => crate::block_on(0, connect::run(arguments)),
    }
}

/// The port of TPKT (RFC 1006 section 3).
const PORT: u16 = <Connection as Recorded>::PORT;

/// Parses the address of a service.
fn address(text: &str) -> Result<Address, String> {
    Address::parse(text, PORT)
}

/// Parses the address of a socket to listen on.
fn local(text: &str) -> Result<SocketAddr, String> {
    Address::parse_local(text, PORT)
}

/// Parses a selector of hex digits.
fn selector(text: &str) -> Result<Selector, String> {
    hexdump::digits(text).map(Selector::new)
}

/// Parses octets of hex digits.
fn octets(text: &str) -> Result<Bytes, String> {
    hexdump::digits(text).map(Bytes::from)
}

/// Parses a TPDU size in octets.
fn tpdu_size(text: &str) -> Result<TpduSize, String> {
    text.parse()
        .ok()
        .and_then(TpduSize::from_octets)
        .ok_or_else(|| String::from("a power of two from 128 to 65536, or 65531"))
}

/// Parses a duration in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let span = crate::ltp::seconds(text)?;
    if span.is_zero() {
        return Err("seconds above 0, as in 2.5".into());
    }
    Ok(span)
}

/// The messages received on a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    messages: u64,
    octets: u64,
}

impl Counters {
    fn count(&mut self, message: &[u8]) {
        self.messages += 1;
        self.octets += message.len() as u64;
    }
}

/// Octets of the longest message that an event shows.
const MAX_SHOWN: usize = 256;

fn connected(format: OutputFormat, number: u64, info: &Info) {
    let show = |selector: &Option<Selector>| {
        selector
            .as_ref()
            .map_or_else(|| String::from("none"), |selector| format!("'{selector}'"))
    };
    let variable = &info.agreed.variable;
    format.report(
        || {
            // Parameters are shown as such.
            let is_list = variable.first().is_none_or(|&first| first >= 0x80);
            let shown = (!is_list).then(|| format!(", variable part {}", hex(variable)));
            format!(
                "#{number} connected, {} to {}: calling {}, called {}, TPDU size {}{}",
                info.local,
                info.remote,
                show(&info.agreed.calling),
                show(&info.agreed.called),
                info.tpdu_size,
                shown.unwrap_or_default()
            )
        },
        || {
            json!({
                "event": "connected",
                "connection": number,
                "local": info.local.to_string(),
                "remote": info.remote.to_string(),
                "calling": info.agreed.calling.as_ref().map(ToString::to_string),
                "called": info.agreed.called.as_ref().map(ToString::to_string),
                "tpdu_size": info.tpdu_size,
                "variable": hex(variable),
            })
        },
    );
}

/// Reports a message, in JSON or if `is_printed`. Otherwise the text output has only the sum at the end.
fn received(format: OutputFormat, number: u64, message: &[u8], is_printed: bool) {
    if !format.is_json() && !is_printed {
        return;
    }
    let len = message.len();
    let shown = message.get(..MAX_SHOWN);
    format.report(
        || {
            let (octets, more) = shown.map_or((message, ""), |shown| (shown, ".."));
            format!("#{number} received {len} octets: {}{more}", hex(octets))
        },
        || {
            let data = (len <= MAX_SHOWN).then(|| hex(message));
            json!({
                "event": "received",
                "connection": number,
                "octets": len,
                "data": data,
            })
        },
    );
}

/// The file that messages are written to, those of all connections one behind the other.
pub(crate) struct MessageFile {
    file: Mutex<File>,
    path: PathBuf,
}

impl MessageFile {
    /// Opens a file, which keeps what is in it until [`clear`](Self::clear).
    fn open(path: PathBuf) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(&path);
        let file = Mutex::new(file.map_err(|error| Failure::file(&path, error))?);
        Ok(Self { file, path })
    }

    /// Empties the file.
    fn clear(&self) -> Result<(), Failure> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let is_file = file.metadata().is_ok_and(|about| about.is_file());
        // Devices and pipes have nothing to lose.
        let cleared = if is_file { file.set_len(0) } else { Ok(()) };
        cleared.map_err(|error| Failure::file(&self.path, error))
    }

    /// Appends a message. A failure ends its connection, and is the exit status of the command.
    fn append(&self, message: &[u8]) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(message).inspect_err(|error| {
            let path = self.path.display();
            output::write_error(&format!("{path}: {error}; the connection is closed"));
        })
    }
}

/// Returns the event of the end of a connection. `lost` are octets of an incomplete message, and octets that
/// were not sent.
fn ended(
    event: &str,
    (number, remote): (u64, Option<String>),
    reason: &str,
    lost: (usize, usize),
    counters: Counters,
) -> Value {
    json!({
        "event": event,
        "connection": number,
        "remote": remote,
        "reason": reason,
        "incomplete": lost.0,
        "unsent": lost.1,
        "messages": counters.messages,
        "octets": counters.octets,
    })
}

/// Returns the event of a connection that was never open.
fn failed(number: u64, remote: &impl ToString, reason: &str) -> Value {
    let (nothing, remote) = (Counters::default(), remote.to_string());
    ended("failed", (number, Some(remote)), reason, (0, 0), nothing)
}

/// Returns what the peer said before it closed, if it said so by a DR.
fn goodbye(end: &ConnectionEnd) -> Option<String> {
    matches!(end.reason, EndReason::Disconnected(_)).then(|| end.to_string())
}

/// Reports the end of an open connection: what its peer said, or its error.
fn closed(
    format: OutputFormat,
    number: u64,
    counters: Counters,
    outcome: &Result<Option<String>, Error>,
) {
    let Counters { messages, octets } = counters;
    let sum = format!("{messages} messages with {octets} octets received");
    let this = (number, None);
    let error = match outcome {
        Ok(goodbye) => {
            let said = goodbye.as_deref().unwrap_or("closed");
            let object = || ended("closed", this, said, (0, 0), counters);
            let shown = goodbye.as_deref().map(|said| format!(", {said}"));
            let shown = shown.unwrap_or_default();
            return format.report(|| format!("#{number} closed{shown}, {sum}"), object);
        }
        Err(error) => error,
    };
    let lost = match error {
        Error::Ended(end) => (end.incomplete, end.unsent),
        _ => (0, 0),
    };
    let object = || ended("failed", this, &error.to_string(), lost, counters);
    format.report_failure(|| format!("#{number} failed: {error}; {sum}"), object);
}
