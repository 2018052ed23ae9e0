//! `farlink csp`: nodes of the Cubesat Space Protocol.

mod ping;

use clap::Subcommand;

use crate::Failure;

/// The events of the commands.
const EVENTS: &str = "\
Events of ping, with --json one object per line:

  event      fields
  answered   node, remote, octets, seconds
  silent     node, remote, seconds: no answer came within so long
  error      reason: why the command failed";

/// The Cubesat Space Protocol, as libcsp has it.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Ping(ping::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Ping(arguments) => crate::block_on(0, ping::run(&arguments)),
    }
}
