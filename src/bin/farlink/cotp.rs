//! `farlink cotp`: a server and a client on real sockets.

pub(crate) mod connect;
mod listen;

use core::net::SocketAddr;
use core::time::Duration;

use clap::Subcommand;
use farlink::adapters::cotp::{Error, Info};
use farlink::cotp::{Connection, Selector, TpduSize};
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
  connected  connection, local, remote, calling, called, tpdu_size
  received   connection, octets; data, in hex, of up to 256 octets
  closed     connection, reason, incomplete, unsent, messages, octets, remote
  failed     as closed

  connection   the number of the connection, from 1
  calling      the selector of the initiator, in hex
  called       the selector of the responder, in hex
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

/// Parses a TPDU size in octets.
fn tpdu_size(text: &str) -> Result<TpduSize, String> {
    text.parse()
        .ok()
        .and_then(TpduSize::from_octets)
        .ok_or_else(|| String::from("a power of two from 128 to 65536, or 65531"))
}

/// Parses a duration in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let span = crate::ltp::seconds(text).ok();
    span.filter(|span| !span.is_zero())
        .ok_or_else(|| String::from("seconds above 0, as in 2.5"))
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
    format.report(
        || {
            format!(
                "#{number} connected, {} to {}: calling {}, called {}, TPDU size {}",
                info.local,
                info.remote,
                show(&info.agreed.calling),
                show(&info.agreed.called),
                info.tpdu_size
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
            })
        },
    );
}

/// Reports a message in JSON. The text output has only the sum at the end.
fn received(format: OutputFormat, number: u64, message: &[u8]) {
    if format.is_json() {
        let data = (message.len() <= MAX_SHOWN).then(|| hex(message));
        output::json(&json!({
            "event": "received",
            "connection": number,
            "octets": message.len(),
            "data": data,
        }));
    }
}

/// Returns the event of the end of a connection. `lost` are octets of an incomplete message, and octets that
/// were not sent.
fn ended(
    event: &str,
    (number, remote): (u64, Option<SocketAddr>),
    reason: &str,
    lost: (usize, usize),
    counters: Counters,
) -> Value {
    json!({
        "event": event,
        "connection": number,
        "remote": remote.map(|remote| remote.to_string()),
        "reason": reason,
        "incomplete": lost.0,
        "unsent": lost.1,
        "messages": counters.messages,
        "octets": counters.octets,
    })
}

/// Returns the event of a connection that was never open.
fn failed(number: u64, remote: Option<SocketAddr>, reason: &str) -> Value {
    let nothing = Counters::default();
    ended("failed", (number, remote), reason, (0, 0), nothing)
}

/// Reports the end of an open connection, with its error if it has one.
fn closed(format: OutputFormat, number: u64, counters: Counters, error: Option<&Error>) {
    let Counters { messages, octets } = counters;
    let sum = format!("{messages} messages with {octets} octets received");
    let this = (number, None);
    let Some(error) = error else {
        let object = || ended("closed", this, "closed", (0, 0), counters);
        return format.report(|| format!("#{number} closed, {sum}"), object);
    };
    let lost = match error {
        Error::Ended(end) => (end.incomplete, end.unsent),
        _ => (0, 0),
    };
    let object = || ended("failed", this, &error.to_string(), lost, counters);
    format.report_failure(|| format!("#{number} failed: {error}; {sum}"), object);
}
