//! `farlink demo`: the protocols at work on this machine alone.

mod cotp;
mod dtp;
mod ltp;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use farlink::Seed;
use farlink::sim::{Drawing, Trace, World};

use crate::decode::Protocol;
use crate::{Failure, ladder, output, scenarios};

/// Shows the protocols at work on this machine alone.
///
/// COTP over loopback TCP: a call for an unknown selector is refused, a conversation is recorded and drawn,
/// and a file is sent both ways. LTP over loopback UDP: a block whose second segment is lost is repaired,
/// recorded and drawn, a block for a closed client service is refused, and a file is sent. DTP over
/// CSP on loopback UDP: a payload is interrupted and resumed. LTP in the simulator: a file to Mars is drawn.
/// The recordings open in Wireshark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory for recordings and drawings
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    out: PathBuf,
    /// The size of the files that are sent, in MiB
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    size: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.out).map_err(|error| Failure::file(&arguments.out, error))?;
    crate::block_on(2, async {
        cotp::show(arguments).await?;
        output::line("");
        ltp::show(arguments).await?;
        output::line("");
        dtp::show(arguments).await
    })?;
    simulate("mars", &arguments.out)
}

/// Plays a scenario in the simulator, and draws it.
fn simulate(name: &str, out: &Path) -> Result<(), Failure> {
    let Some(scenario) = scenarios::find(name) else {
        return Err(Failure::Usage(format!("no scenario {name}")));
    };
    let mut world = World::new(1);
    let outcome = (scenario.play)(&mut world).map_err(Failure::Protocol)?;
    output::line(&format!("\nin the simulator, {}:\n", scenario.summary));
    output::line(&world.ladder());
    output::line(&format!("  {outcome}"));
    let drawing = Drawing {
        title: scenario.summary.into(),
        ..Drawing::default()
    };
    write_drawing(
        &out.join(name).with_extension("svg"),
        world.trace(),
        &drawing,
    )
}

fn write_drawing(path: &Path, trace: &Trace, drawing: &Drawing) -> Result<(), Failure> {
    fs::write(path, trace.svg(drawing))
        .map_err(|error| Failure::Protocol(format!("{}: {error}", path.display())))?;
    output::line(&format!("  drawing, for a browser: {}\n", path.display()));
    Ok(())
}

/// Draws a recording as far as it is written. Its machine, which is dropped later, finishes it.
fn draw(recorded: &Path, protocol: Protocol, names: &[&str], title: &str) -> Result<(), Failure> {
    let fault = |error: &dyn core::fmt::Display| {
        Failure::Protocol(format!("{}: {error}", recorded.display()))
    };
    let capture = fs::read(recorded).map_err(|error| fault(&error))?;
    let is_ours = |path: &farlink::Path| protocol.goes_over(path.proto).then_some(protocol);
    let trace = ladder::of_capture(&capture, is_ours, names).map_err(|error| fault(&error))?;
    output::line(&trace.ladder());
    output::line(&format!(
        "  recording, for Wireshark and farlink replay: {}",
        recorded.display()
    ));
    let drawing = Drawing {
        title: title.into(),
        ..Drawing::default()
    };
    write_drawing(&recorded.with_extension("svg"), &trace, &drawing)
}

/// Returns how long a file took, and how fast that is.
fn speed(size: usize, span: Duration) -> String {
    let millions = u32::try_from(size / 1_000_000).unwrap_or(u32::MAX);
    let rate = f64::from(millions) / span.as_secs_f64();
    format!("{span:.2?}, {rate:.0} MB/s")
}

/// Returns random octets, equal in each run.
fn random_octets(size: usize, seed: u64) -> Bytes {
    let mut octets = vec![0; size];
    Seed::from(seed).rng().fill(&mut octets);
    Bytes::from(octets)
}
