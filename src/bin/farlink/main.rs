//! The `farlink` command-line tool.

extern crate alloc;

mod cotp;
mod decode;
mod demo;
mod input;
mod ladder;
mod ltp;
mod output;
mod progress;
mod recording;
mod replay;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Transports for hard links, from the command line.
///
/// Exit status: 0 done, 1 the protocol failed (the message says what the peer did), 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// Words at a variant would hide those at its arguments, which document the JSON.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    #[command(subcommand)]
    Cotp(cotp::Command),
    #[command(subcommand)]
    Ltp(ltp::Command),
    Decode(decode::Arguments),
    Replay(replay::Arguments),
    Sim(sim::Arguments),
}

/// Why a command ended without success.
#[derive(Debug)]
enum Failure {
    /// The protocol, the peer or the network: status 1.
    Protocol(String),
    /// What was asked for makes no sense: status 2.
    Usage(String),
    /// Everything was said already: status 1.
    Told,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Cotp(command) => cotp::run(command),
        Command::Ltp(command) => ltp::run(command),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::from(1),
        Err(Failure::Protocol(message)) => {
            eprintln!("farlink: {message}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            eprintln!("farlink: {message}");
            ExitCode::from(2)
        }
    }
}
