//! `farlink sim`: scenarios in the simulator.

mod link;
mod report;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use farlink::sim::{Drawing, Trace, World};

use crate::output::OutputFormat;
use crate::scenarios::{self, Scenario};
use crate::{Failure, input, output};

/// Plays a scenario in the simulator.
///
/// It prints the ladder, the traffic statistics and the outcome. Equal seeds give equal output. Exit status:
/// 0 the outcome is as expected, 1 it is not (the message says why), 2 there is no such scenario.
///
/// With --json each line is an object, in the order of events. `event` is its kind: `scenario` (`name`,
/// `shows`, `seed`), `packet` (`time_ns`, `from`, `to`, `octets`, `label`, `carrier` datagram, stream or tcp,
/// `flags`, `arrived_ns`, `lost_ns`, `reason`, `repeated`, `copy`, `corrupted`), `told` for an event of a
/// machine, `refused` for a refused command, `link` for a link cue, `note` for a note of the script (all with
/// `time_ns`, `at`, `text`), then `traffic` (`from`, `to`, `packets`, `octets`, `arrived`, `in_flight`,
/// `lost`, `repeated`, `copies`, `corrupted`), and last `outcome` (`ok`, `text`). Times are in nanoseconds
/// from the start. Absent values are null.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the names and summaries of all scenarios
    #[arg(long, conflicts_with_all = ["name", "seed", "svg", "pcap"])]
    list: bool,
    /// The scenario to play
    #[arg(value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
    /// The seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    files: TraceFiles,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Where the packets of a simulated world are written.
#[derive(Debug, clap::Args)]
struct TraceFiles {
    /// Write the ladder to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write all packets to this file, as pcapng; comments mark lost ones
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl TraceFiles {
    fn write(&self, trace: &Trace, title: String, port: u16) -> Result<(), Failure> {
        input::check_files_differ([], self.svg.iter().chain(&self.pcap))?;
        if let Some(path) = &self.svg {
            let drawing = Drawing {
                title,
                ..Drawing::default()
            };
            output::write_file(path, trace.svg(&drawing))?;
        }
        if let Some(path) = &self.pcap {
            output::write_file(path, trace.pcapng(port))?;
        }
        Ok(())
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    // Comments here would hide those of the arguments.
    Link(link::Arguments),
}

fn names() -> PossibleValuesParser {
    let scenarios = scenarios::all();
    let names = scenarios.map(|scenario| PossibleValue::new(scenario.name).help(scenario.summary));
    PossibleValuesParser::new(names)
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let _ = OutputFormat::of(arguments.json).with_failures();
    if let Some(Command::Link(arguments)) = &arguments.command {
        return link::run(arguments);
    }
    if arguments.list {
        list(arguments.json);
        return Ok(());
    }
    let name = arguments.name.as_deref().unwrap_or_default();
    let scenario = scenarios::find(name).ok_or_else(|| {
        Failure::Usage("no scenario given; `farlink sim --list` prints their names".into())
    })?;
    let mut world = World::new(arguments.seed);
    let outcome = (scenario.play)(&mut world);
    let title = format!("{name}: {}", scenario.summary);
    arguments.files.write(world.trace(), title, scenario.port)?;
    if arguments.json {
        report::as_json(&scenario, arguments.seed, world.trace(), &outcome);
    } else {
        report::as_text(&scenario, arguments.seed, world.trace(), &outcome);
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(_) if arguments.json => Err(Failure::Reported),
        Err(reason) => Err(Failure::Protocol(format!("{name}: {reason}"))),
    }
}

fn list(as_json: bool) {
    let width = scenarios::all().map(|scenario| scenario.name.len()).max();
    let width = width.unwrap_or_default();
    for scenario in scenarios::all() {
        if as_json {
            output::json(&report::scenario(&scenario, None));
        } else {
            let Scenario { name, summary, .. } = scenario;
            output::line(&format!("{name:width$}  {summary}"));
        }
    }
}
