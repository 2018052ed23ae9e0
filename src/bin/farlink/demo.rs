//! `farlink demo`: everything at work, on this machine alone.

mod cotp;
mod ltp;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use farlink::Seed;
use farlink::sim::Drawing;

use crate::decode::Protocol;
use crate::{Failure, ladder, output};

/// Shows what the crate does, on this machine alone.
///
/// A COTP server and clients over loopback TCP: a wrong selector is refused, a short conversation is
/// recorded and drawn, and a file goes both ways. Two LTP engines over loopback UDP: a block whose second
/// segment gets lost is repaired, recorded and drawn, a service that nobody has is refused, and a file goes
/// over. The recordings open in Wireshark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the recordings and the drawings
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    out: PathBuf,
    /// The size of the files that go over, in MiB
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    size: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.out)
        .map_err(|error| Failure::Usage(format!("{}: {error}", arguments.out.display())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Protocol(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        cotp::show(arguments).await?;
        output::line("");
        ltp::show(arguments).await
    })
}

/// Draws what was recorded so far; a recording is finished when its machine is gone, a moment later.
fn draw(recorded: &Path, protocol: Protocol, names: &[&str], title: &str) -> Result<(), Failure> {
    let fault = |path: &Path, error: &dyn core::fmt::Display| {
        Failure::Protocol(format!("{}: {error}", path.display()))
    };
    let drawing = recorded.with_extension("svg");
    let capture = fs::read(recorded).map_err(|error| fault(recorded, &error))?;
    let is_ours = |path: &farlink::Path| protocol.goes_over(path.proto).then_some(protocol);
    let trace =
        ladder::of_capture(&capture, is_ours, names).map_err(|error| fault(recorded, &error))?;
    output::line(&trace.ladder());
    let svg = trace.svg(&Drawing {
        title: title.into(),
        ..Drawing::default()
    });
    fs::write(&drawing, svg).map_err(|error| fault(&drawing, &error))?;
    output::line(&format!(
        "  recording, for Wireshark and farlink replay: {}",
        recorded.display()
    ));
    output::line(&format!(
        "  drawing, for a browser: {}\n",
        drawing.display()
    ));
    Ok(())
}

/// Octets that do not repeat, equal in each run.
fn noise(size: usize, seed: u64) -> Bytes {
    let mut octets = vec![0; size];
    Seed::from(seed).rng().fill(&mut octets);
    Bytes::from(octets)
}
