//! `farlink sim`: named scenarios in the simulator.

mod cotp;
mod ltp;
mod report;

use std::path::{Path, PathBuf};

use farlink::sim::{Drawing, World};

use crate::Failure;
use crate::output;

/// Plays a scenario in the simulator.
///
/// It prints the ladder of what happened, the table of the traffic, and how it came out. Equal seeds give
/// equal output. Exit status: 0 the scenario came out as it should, 1 it did not (the message says why), 2
/// there is no such scenario.
///
/// With --json each line is an object, in the order in which things happened. `event` tells what it is:
/// `scenario` (`name`, `shows`, `seed`), `packet` (`time_ns`, `from`, `to`, `octets`, `label`, `carrier`
/// datagram, stream or tcp, `flags`, `arrived_ns`, `lost_ns`, `reason`, `repeated`, `copy`, `corrupted`),
/// what a machine `told` its application, `refused` to do, or heard of its `link`, or a `note` of the
/// script (`time_ns`, `at`, `text`), then `traffic` (`from`, `to`, `packets`, `octets`, `arrived`,
/// `in_flight`, `lost`, `repeated`, `copies`, `corrupted`), and last `outcome` (`ok`, `text`). Times are
/// nanoseconds from the beginning; what is absent is null.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the names of all scenarios and what they show
    #[arg(long, conflicts_with_all = ["name", "seed", "svg", "pcap"])]
    list: bool,
    /// The scenario to play
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Decides everything that is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Draw the ladder into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write what was sent into this file, as pcapng; comments mark what was lost
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A scenario that can be called by its name.
struct Scenario {
    name: &'static str,
    /// What it shows, in one line.
    shows: &'static str,
    /// The port by which analysers know its protocol.
    port: u16,
    /// Plays it, and tells what came out: as it should, or not.
    play: fn(&mut World) -> Result<String, String>,
}

/// All scenarios, protocol by protocol.
fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    cotp::SCENARIOS.iter().chain(ltp::SCENARIOS)
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Some(name) = arguments.name.as_deref().filter(|_| !arguments.list) else {
        list(arguments.json);
        return Ok(());
    };
    let scenario = scenarios()
        .find(|scenario| scenario.name == name)
        .ok_or_else(|| unknown(name))?;
    let mut world = World::new(arguments.seed);
    let outcome = (scenario.play)(&mut world);
    if let Some(path) = &arguments.svg {
        let drawing = Drawing {
            title: format!("{name}: {}", scenario.shows),
            ..Drawing::default()
        };
        write(path, world.trace().svg(&drawing).as_bytes())?;
    }
    if let Some(path) = &arguments.pcap {
        write(path, &world.trace().pcapng(scenario.port))?;
    }
    if arguments.json {
        report::as_json(scenario, arguments.seed, world.trace(), &outcome);
    } else {
        report::as_text(scenario, arguments.seed, world.trace(), &outcome);
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(_) if arguments.json => Err(Failure::Told),
        Err(reason) => Err(Failure::Protocol(format!("{name}: {reason}"))),
    }
}

fn list(as_json: bool) {
    let width = scenarios().map(|scenario| scenario.name.len()).max();
    let width = width.unwrap_or_default();
    for scenario in scenarios() {
        let Scenario { name, shows, .. } = scenario;
        if as_json {
            output::json(&report::scenario(scenario, None));
        } else {
            output::line(&format!("{name:width$}  {shows}"));
        }
    }
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = scenarios().map(|scenario| scenario.name).collect();
    Failure::Usage(format!(
        "no scenario is called {name:?}; there are {}",
        known.join(", ")
    ))
}

fn write(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, octets)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}
