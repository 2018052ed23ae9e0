//! `farlink dtp`: payloads between nodes of CSP.

mod get;
mod output_file;
mod serve;
mod session;
mod source;
mod vmem;

use clap::Subcommand;
use farlink::adapters::tokio::dtp::{DtpOptions, Error, Node};
use farlink::dtp::Config;

use crate::csp_options::{Links, NodeArguments, Role};
use crate::{Failure, recording};

/// The events of the commands.
const EVENTS: &str = "\
Events of serve, with --json one object per line:

  event      fields
  listening  address, remote, node
  payload    payload, octets, file: what is served
  serving    client, payload, octets: a request of a client is answered
  changed    payload, octets, file: the file has changed, which clients are told
  unread     payload, file, reason: the file cannot be read; its transfers end
  error      reason: why the command failed

Events of get:

  asking     server, payload, memory, address, remote, file, received: octets
             that an earlier run has got
  started    octets: the server has the payload
  progress   received, octets: every 10 s
  silent     server, seconds: nothing was heard for so long
  complete   octets, requests, rounds, asked_again, checked, seconds, file
  failed     cause, reason, received, octets, missing, ranges, rounds,
             asked_again, seconds, file, session
  error      as above

Event of session:

  session    server, payload, memory, octets, mtu, rate, session, crc32c,
             generation, received, missing, ranges

Event of status:

  status     server, session, busy

  octets     octets of the payload, or that will be sent; null if not known
  memory     the address in the memory of the server, by VMEM; null of a payload
  cause      interrupted, refused, no_answer, fruitless, payload_changed,
             damaged, too_many_rounds, bad_response, or not_written
  rounds     how often all that was missing was asked for
  asked_again  packets that were asked for more than once
  checked    whether the octets are known to be right, by the CRC-32C that the
             server has told
  missing    the first ranges that are missing, at most 64: pairs of the first
             octet and the one behind the last; null if the size is not known
  ranges     how many ranges are missing
  file       where the octets are; null if none have come
  session    of failed: the file with which --resume goes on, or null; of
             session: the session id in packets of data
  crc32c     of the payload; null, as generation, if the server did not tell";

/// The Data Transfer Protocol over CSP, as libdtp and libcsp have them.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Serve(serve::Arguments),
    Get(get::Arguments),
    Session(session::Arguments),
    Status(vmem::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    // Files are written in this thread, while a worker drives the node.
    match command {
        Command::Serve(arguments) => crate::block_on(1, serve::run(&arguments)),
        Command::Get(arguments) => crate::block_on(1, get::run(&arguments)),
        Command::Session(arguments) => session::run(&arguments),
        Command::Status(arguments) => crate::block_on(1, vmem::run(&arguments)),
    }
}

/// Octets of the trailer of HMAC.
const HMAC_LEN: u16 = 4;

/// Packets of a transfer are at most this long.
const MAX_MTU: u16 = 64_996;

/// A node on its interfaces.
pub(crate) struct Started {
    pub(crate) node: Node,
    pub(crate) links: Links,
}

impl NodeArguments {
    /// Starts the node with a configuration that lacks what these arguments say.
    pub(crate) async fn start(&self, mut config: Config) -> Result<Started, Failure> {
        let (interfaces, links) = self.attach(&mut config.csp, Role::End).await?;
        if config.csp.hmac_key.is_some() {
            config.hmac = true;
            // As much data as without.
            config.csp.max_data += HMAC_LEN;
        }
        let options = DtpOptions {
            clock: recording::clock(),
            factory: self.factory()?,
            ..config.into()
        };
        let node = Node::start(interfaces, options).map_err(failure_of)?;
        Ok(Started { node, links })
    }
}

/// Returns wrong usage for what a node refuses, and a failure for all else.
pub(crate) fn failure_of(error: Error) -> Failure {
    match error {
        Error::Refused(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        _ => Failure::protocol(error),
    }
}
