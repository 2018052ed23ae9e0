//! `farlink stun`: servers of STUN.

mod query;
mod uri;

use clap::Subcommand;

use crate::Failure;

/// The events of the commands.
const EVENTS: &str = "\
Events of query, with --json one object per line:

  event      fields
  answered   server, proto: udp or tcp, local, mapped: the address that the
             server saw, mapped_in_clear: the same as a NAT may have rewritten
             it, origin, other: the addresses of the server, software, seconds:
             until the answer, sends, rfc5780, rfc3489: whether it speaks them;
             null where it was not asked
  error      reason: why the command failed";

/// STUN: the address that a server sees.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EVENTS)]
pub(crate) enum Command {
    // Comments here would hide those of the arguments.
    Query(query::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Query(arguments) => crate::block_on(0, query::run(&arguments)),
    }
}
