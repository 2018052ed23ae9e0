//! `farlink ltp`: blocks between nodes on real sockets.

mod block_store;
mod peer_addr;
mod peer_filter;
mod recv;
mod send;

use core::time::Duration;

use clap::Subcommand;
use farlink::adapters::tokio::ltp::{EngineFactory, EngineMachine, Error, Node, NodeOptions};
use farlink::ltp::{Config, Peer};

use crate::output::OutputFormat;
use crate::recording::EngineRecorder;
use crate::{Failure, interrupt, recording};
use peer_filter::PeerFilter;

/// The Licklider Transmission Protocol over UDP (RFC 5326, RFC 7122).
///
/// With --json every event is one object per line, and `event` tells what it is.
///
/// Of recv: `listening` (`address`, `engine`, `client`); `peer` (`engine`, `address`), somebody new;
/// `stranger` (`engine`, `address`), whose segments are dropped; `received` (`session`, `from`, `client`,
/// `octets`, `red`, `green`, `missing` as pairs of the first octet and the one behind the last, `ended`
/// whether the end of the block is there, `file`); `failed` (`session`, `by` local or remote, `code`,
/// `reason`), a reception that was cancelled.
///
/// Of send: `sending` (`address`, `to`, `at`, `client`, `octets`, `red`, `green`); `progress` (`sent`,
/// `claimed`, `red`, `octets`); `complete` (`session`, `octets`, `seconds`, octets `resent`), or `failed` as
/// above.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // Words here would hide those at the arguments.
    Recv(recv::Arguments),
    Send(send::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    // Files are written in this thread, while a worker drives the node.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Protocol(format!("no runtime: {error}")))?;
    match command {
        Command::Recv(arguments) => runtime.block_on(recv::run(&arguments)),
        Command::Send(arguments) => runtime.block_on(send::run(&arguments)),
    }
}

/// Octets of the longest block, unless something else is asked for: 1 GiB.
const DEFAULT_LIMIT: usize = 1 << 30;

/// What both commands say of peers.
#[derive(Debug, clap::Args)]
struct PeerOptions {
    /// One-way light time to the peer, in seconds
    #[arg(long, value_name = "S", value_parser = seconds, default_value = "0")]
    owlt: Duration,
    /// How often a signal that nobody answers is repeated
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u8,
}

impl PeerOptions {
    /// Describes a peer at `address`.
    fn peer<A>(&self, address: A) -> Peer<A> {
        Peer {
            checkpoint_retries: self.retries,
            report_retries: self.retries,
            cancel_retries: self.retries,
            ..Peer::new(address).at_distance(self.owlt)
        }
    }

    /// How long an answer takes at most.
    fn round_trip(&self) -> Duration {
        let peer = self.peer(());
        peer.owlt_out + peer.owlt_in + peer.remote_delay + peer.own_delay
    }
}

/// Reads a span in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| String::from("seconds, as in 1.3"))
}

/// Reads the ID of an engine or of a client service.
fn id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("ID 0 is reserved".into()),
        Ok(id) => Ok(id),
        Err(_) => Err(format!("an ID from 1 to {}", u64::MAX)),
    }
}

/// Makes the machine of the node: an engine behind a filter of peers, recorded if that is asked for.
fn factory(
    record: Option<&std::path::Path>,
    template: Option<Peer<()>>,
    format: OutputFormat,
) -> Result<EngineFactory, Failure> {
    let recorder = EngineRecorder::new(record)?;
    Ok(EngineFactory::new(move |setup| {
        let filter = PeerFilter::new(recorder.engine(setup)?, template.clone(), format);
        Ok(EngineMachine::new(filter))
    }))
}

fn bind(
    address: core::net::SocketAddr,
    config: Config,
    factory: EngineFactory,
) -> Result<Node, Failure> {
    let options = NodeOptions {
        clock: recording::clock(),
        factory,
        ..NodeOptions::from(config)
    };
    Node::bind(address, options).map_err(|error| match error {
        Error::Io(error) => Failure::Protocol(format!("{address}: {error}")),
        error => failure_of(&error),
    })
}

/// What an engine refuses was asked for wrongly.
fn failure_of(error: &Error) -> Failure {
    match error {
        Error::Refused(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        _ => Failure::Protocol(error.to_string()),
    }
}
