//! `farlink stun query`: asks a server for the address that it sees.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;

use farlink::adapters::raw::{self, Commands, DriverOptions, Events, Notice};
use farlink::adapters::sockets::Sockets;
use farlink::adapters::{seed, tokio::runtime};
use farlink::stun::{BindingAnswer, Client, Command, Config, Event, Query, QueryFailure};
use farlink::{BoxedMachine, Cause, Path, Proto, Tag};
use serde_json::json;

use super::uri;
use crate::Failure;
use crate::address::Address;
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;
use crate::recording;

/// How long an answer to a request of RFC 3489 is awaited after the server has answered another one.
const CLASSIC_LIMIT: Duration = Duration::from_secs(3);

/// Asks a server for the address that it sees: that of this machine, or of the NAT before it.
///
/// Exit status 1: no answer came, or an error. 2: the server or --from is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server: HOST, HOST:PORT, [IPV6]:PORT or a URI, stun:HOST; port 3478 by default
    #[arg(value_name = "SERVER", value_parser = uri::parse)]
    server: Address,
    /// Ask over TCP
    #[arg(long)]
    tcp: bool,
    /// The address to ask from, and its port if it matters
    #[arg(long, value_name = "ADDR", value_parser = from)]
    from: Option<SocketAddr>,
    /// How long an answer is awaited, in seconds
    #[arg(long, value_name = "S", value_parser = crate::ltp::seconds, default_value = "10")]
    timeout: Duration,
    /// Record the client into this file, as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn from(text: &str) -> Result<SocketAddr, String> {
    Address::parse_local(text, 0)
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let mut interrupt = Interrupt::new().await;
    tokio::select! {
        outcome = ask(arguments, format) => outcome,
        () = interrupt.wait() => Err(Failure::Protocol(String::from("interrupted"))),
    }
}

async fn ask(arguments: &Arguments, format: OutputFormat) -> Result<(), Failure> {
    let to = path(arguments).await?;
    let mut asked = Asked::start(arguments)?;
    let outcome = queries(&mut asked, to, arguments.timeout).await;
    asked.close().await;
    let (answer, rfc3489) = outcome
        .map_err(|error| Failure::Protocol(format!("{} over {}: {error}", to.remote, proto(to))))?;
    report(format, to, &answer, rfc3489);
    Ok(())
}

/// Asks, and asks again by RFC 3489 where that is possible.
async fn queries(
    asked: &mut Asked,
    to: Path,
    timeout: Duration,
) -> Result<(BindingAnswer, Option<bool>), AskError> {
    let query = Query {
        limit: Some(timeout),
        ..Query::default()
    };
    let answer = asked.ask(to, query).await?;
    if to.proto == Proto::Tcp || to.remote.is_ipv6() {
        return Ok((answer, None));
    }
    let classic = Query {
        classic: true,
        limit: Some(timeout.min(CLASSIC_LIMIT)),
        ..Query::default()
    };
    // From the same port, so that a NAT has one mapping.
    let rfc3489 = asked.ask(answer.path, classic).await.is_ok();
    Ok((answer, Some(rfc3489)))
}

fn report(format: OutputFormat, to: Path, answer: &BindingAnswer, rfc3489: Option<bool>) {
    let local = answer.path.local;
    let seconds = answer.round_trip.as_secs_f64();
    format.report(
        || {
            let software = answer.software.as_deref().unwrap_or("not told");
            let nat = if answer.mapped == local {
                String::from("no NAT")
            } else {
                format!("{local} is translated")
            };
            let rfc5780 = answer.other.map_or(String::from("no"), |other| {
                format!("yes, its other address is {other}")
            });
            let rfc3489 = match rfc3489 {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not asked: it is for UDP over IPv4",
            };
            format!(
                "{} over {} answers after {seconds:.6} s, request {}\nmapped address: {}, {nat}\nsoftware: {software}\nRFC 5780: {rfc5780}\nRFC 3489: {rfc3489}",
                to.remote,
                proto(to),
                answer.sends,
                answer.mapped,
            )
        },
        || {
            json!({
                "event": "answered",
                "server": to.remote,
                "proto": proto(to),
                "local": local,
                "mapped": answer.mapped,
                "mapped_in_clear": answer.mapped_in_clear,
                "origin": answer.origin,
                "other": answer.other,
                "software": answer.software,
                "seconds": seconds,
                "sends": answer.sends,
                "rfc5780": answer.other.is_some(),
                "rfc3489": rfc3489,
            })
        },
    );
}

const fn proto(path: Path) -> &'static str {
    match path.proto {
        Proto::Udp => "udp",
        Proto::Tcp => "tcp",
    }
}

/// Finds the server, and from where to ask it.
async fn path(arguments: &Arguments) -> Result<Path, Failure> {
    let server = &arguments.server;
    let found = server.clone().lookup().await;
    let found = found.map_err(|error| Failure::Usage(error.to_string()))?;
    let fits = |remote: &&SocketAddr| {
        arguments
            .from
            .is_none_or(|from| from.is_ipv4() == remote.is_ipv4())
    };
    let Some(&remote) = found.iter().find(fits) else {
        let why = match arguments.from {
            Some(from) if from.is_ipv4() => {
                format!("{server} has no IPv4 address; --from {from} is one")
            }
            Some(from) => format!("{server} has no IPv6 address; --from {from} is one"),
            None => format!("{server} has no address"),
        };
        return Err(Failure::Usage(why));
    };
    let local = match arguments.from {
        Some(from) => from,
        None => address_towards(remote)
            .map_err(|error| Failure::Protocol(format!("{remote}: {error}")))?,
    };
    let proto = if arguments.tcp {
        Proto::Tcp
    } else {
        Proto::Udp
    };
    Ok(Path {
        proto,
        local,
        remote,
    })
}

/// Returns the address from which the system would send there, without sending anything.
fn address_towards(remote: SocketAddr) -> io::Result<SocketAddr> {
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(remote)?;
    let mut local = socket.local_addr()?;
    local.set_port(0);
    Ok(local)
}

/// A client and its only query.
struct Asked {
    commands: Commands<BoxedMachine<Client>>,
    events: Events<BoxedMachine<Client>>,
    next: u64,
}

impl Asked {
    fn start(arguments: &Arguments) -> Result<Self, Failure> {
        let seed = seed().map_err(Failure::protocol)?;
        let record = arguments.record.as_deref();
        let client = recording::machine::<Client>(record, Config::default(), seed)?;
        let options = DriverOptions {
            clock: recording::clock(),
            on_drop: Some(Command::Close),
            ..DriverOptions::default()
        };
        let (commands, events) =
            raw::sockets(&runtime(), client, Sockets::new(), options).map_err(Failure::protocol)?;
        Ok(Self {
            commands,
            events,
            next: 0,
        })
    }

    /// Closes the client, and waits until it is done.
    async fn close(mut self) {
        // Refused only if it is done.
        let _ = self.commands.command(Command::Close).await;
        while self.events.recv().await.is_some() {}
    }

    async fn ask(&mut self, to: Path, query: Query) -> Result<BindingAnswer, AskError> {
        let tag = Tag(self.next);
        self.next += 1;
        let command = Command::Query { tag, to, query };
        let refused = |error: &dyn core::fmt::Display| AskError::Other(error.to_string());
        let given = self.commands.command(command).await;
        given.map_err(|error| refused(&error))?;
        while let Some(notice) = self.events.recv().await {
            match notice {
                Notice::Event(Event::Answered { answer, .. }) => return Ok(answer),
                Notice::Event(Event::Failed { failure, .. }) => {
                    return Err(AskError::Failed(failure));
                }
                _ => {}
            }
        }
        Err(AskError::Other(String::from("the driver has ended")))
    }
}

/// Why there was no answer.
enum AskError {
    Failed(QueryFailure),
    Other(String),
}

impl core::fmt::Display for AskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Failed(QueryFailure::Unreachable(Cause::InUse)) => {
                f.write_str("the address to ask from is in use")
            }
            Self::Failed(failure) => failure.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}
