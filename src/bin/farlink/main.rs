//! The `farlink` command-line tool.

extern crate alloc;

mod address;
mod contact_plan;
mod cotp;
mod csp;
mod csp_options;
mod decode;
mod demo;
mod dtp;
mod hexdump;
mod input;
mod interrupt;
mod ladder;
mod ltp;
mod output;
mod progress;
mod recording;
mod replay;
mod scenarios;
mod sim;
mod stun;

#[cfg(unix)]
use alloc::sync::Arc;
use core::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::Builder;

/// Transports for hard links, from the command line.
///
/// Exit status: 0 success, 1 a failure of the protocol or of writing output while it ran, 2 wrong usage, or
/// a file that cannot be read or created. With --json a failure is an object too: `event` error, and `reason`.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// Comments at a variant would hide those of its arguments, which document the JSON.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    #[command(subcommand)]
    Cotp(cotp::Command),
    #[command(subcommand)]
    Csp(csp::Command),
    #[command(subcommand)]
    Dtp(dtp::Command),
    #[command(subcommand)]
    Ltp(ltp::Command),
    Decode(decode::Arguments),
    Replay(replay::Arguments),
    Sim(sim::Arguments),
    #[command(subcommand)]
    Stun(stun::Command),
    /// Prints the completions of a shell, for a file that it reads at its start
    Completions {
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages of all commands into a folder
    Man {
        /// The folder, which exists
        folder: PathBuf,
    },
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// A failure of the protocol, the peer or the network: status 1.
    Protocol(String),
    /// Wrong usage: status 2.
    Usage(String),
    /// A failure that was reported before: status 1.
    Reported,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(text) | Self::Usage(text) => f.write_str(text),
            Self::Reported => Ok(()),
        }
    }
}

impl Failure {
    /// Returns the failure of the protocol, the peer or the network that an error tells of.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is what errors are mapped by"
    )]
    fn protocol(error: impl ToString) -> Self {
        Self::Protocol(error.to_string())
    }

    /// Returns wrong usage: a file that cannot be used.
    fn file(path: &Path, error: impl fmt::Display) -> Self {
        Self::Usage(format!("{}: {error}", path.display()))
    }
}

/// Runs a command on a runtime with worker threads, or in this thread alone.
fn block_on<F: Future<Output = Result<(), Failure>>>(
    workers: usize,
    run: F,
) -> Result<(), Failure> {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Protocol(format!("no runtime: {error}")))?;
    runtime.block_on(run)
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, env!("CARGO_BIN_NAME"), &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Lets every option take a negative number, so that it is refused with its limits, not as an unknown option.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let names: Vec<_> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    let command = command.mut_args(|it| {
        let takes_value = it.get_action().takes_values();
        if takes_value {
            it.allow_negative_numbers(true)
        } else {
            it
        }
    });
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, with_negative_numbers)
    })
}

/// Has a write beyond the limit of file sizes fail: by default the signal ends the process without a word.
#[cfg(unix)]
fn outlive_file_size_limit() {
    // Without it the process ends as any other does there.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

#[cfg(not(unix))]
const fn outlive_file_size_limit() {}

fn main() -> ExitCode {
    outlive_file_size_limit();
    let matches = with_negative_numbers(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Cotp(command) => cotp::run(command),
        Command::Csp(command) => csp::run(command),
        Command::Dtp(command) => dtp::run(command),
        Command::Ltp(command) => ltp::run(command),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Stun(command) => stun::run(command),
        Command::Completions { shell } => {
            output::line_of_many(completions(shell).trim_end());
            Ok(())
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), &folder)
            .map_err(|error| Failure::file(&folder, error)),
    };
    let (status, message) = match outcome.and_then(|()| output::write_outcome()) {
        Ok(()) => (0, None),
        Err(Failure::Reported) => (1, None),
        Err(Failure::Protocol(message)) => (1, Some(message)),
        Err(Failure::Usage(message)) => (2, Some(message)),
    };
    if let Some(message) = message {
        output::failure(&message);
    }
    ExitCode::from(status)
}
