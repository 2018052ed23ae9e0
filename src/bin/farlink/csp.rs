//! `farlink csp`: nodes of the Cubesat Space Protocol.

mod ask;
mod node;
mod ping;
mod scan;

use clap::Subcommand;
use farlink::adapters::tokio::csp::{CspOptions, Error, Node};
use farlink::csp::Config;

use crate::csp_options::{Links, NodeArguments, Role};
use crate::{Failure, recording};

/// The events of the commands.
const EVENTS: &str = "\
Events of ping, ident, uptime and scan, with --json one object per line:

  event      fields
  answered   node, remote, octets, seconds
  ident      node, remote, hostname, model, revision, date, time, seconds
  uptime     node, remote, uptime: seconds, seconds
  silent     node, remote, seconds: no answer came within so long
  scanned    asked, answers: how many nodes have answered
  error      reason: why the command failed

Events of node:

  listening  address, remote, node
  interface  name, packets: counters of packets, frames: of frames that gave
             none; at the end
  counters   counters of the node, at the end
  error      as above

  seconds    from the question to the answer";

/// The Cubesat Space Protocol, as libcsp has it.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Ping(ping::Arguments),
    Ident(ask::IdentArguments),
    Uptime(ask::UptimeArguments),
    Scan(scan::Arguments),
    Node(node::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Ping(arguments) => crate::block_on(0, ping::run(&arguments)),
        Command::Ident(arguments) => crate::block_on(0, ask::ident(&arguments)),
        Command::Uptime(arguments) => crate::block_on(0, ask::uptime(&arguments)),
        Command::Scan(arguments) => crate::block_on(0, scan::run(&arguments)),
        Command::Node(arguments) => crate::block_on(0, node::run(&arguments)),
    }
}

/// Starts a node with a configuration that lacks what the arguments say.
async fn start(
    arguments: &NodeArguments,
    mut config: Config,
    role: Role,
) -> Result<(Node, Links), Failure> {
    let (interfaces, links) = arguments.attach(&mut config, role).await?;
    let options = CspOptions {
        clock: recording::clock(),
        factory: arguments.factory()?,
        ..config.into()
    };
    let node = Node::start(interfaces, options).map_err(failure_of)?;
    Ok((node, links))
}

/// Returns wrong usage for what a node refuses, and a failure for all else.
fn failure_of(error: Error) -> Failure {
    match error {
        Error::Refused(_) | Error::Config(_) => Failure::Usage(error.to_string()),
        _ => Failure::protocol(error),
    }
}
