//! Simulated scenarios, which `farlink sim` plays, the demo draws and the stories check.

mod cotp;
mod dtp;
pub(crate) mod ltp;

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use farlink::Machine;
use farlink::sim::{Host, SimAddr, World};

/// A scenario with a name.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it shows, in one line.
    pub(crate) summary: &'static str,
    /// The port by which analysers recognise its protocol.
    pub(crate) port: u16,
    pub(crate) play: Play,
}

/// Plays a scenario in an empty world. Returns what came of it, or what should not have.
type Play = fn(&mut World) -> Result<String, String>;

/// The name of a scenario, its summary, and how it is played.
type Row = (&'static str, &'static str, Play);

/// Returns all scenarios, protocol by protocol.
pub(crate) fn all() -> impl Iterator<Item = Scenario> {
    let of = |port, rows: &'static [Row]| {
        rows.iter().map(move |&(name, summary, play)| Scenario {
            name,
            summary,
            port,
            play,
        })
    };
    of(cotp::PORT, cotp::SCENARIOS)
        .chain(of(ltp::PORT, ltp::SCENARIOS))
        .chain(of(dtp::PORT, dtp::SCENARIOS))
}

/// Returns the scenario with this name.
pub(crate) fn find(name: &str) -> Option<Scenario> {
    all().find(|scenario| scenario.name == name)
}

/// Runs until `holds` returns true, which must be before `bound`.
fn until(
    world: &mut World,
    bound: Duration,
    what: &str,
    holds: impl Fn(&World) -> bool,
) -> Result<(), String> {
    if world.run_until_holds(bound, holds) {
        Ok(())
    } else {
        Err(format!("{what} did not come by {}", world.now()))
    }
}

pub(crate) fn command<M>(
    world: &mut World,
    host: Host<M>,
    command: M::Command,
) -> Result<(), String>
where
    M: Machine<Addr: SimAddr, Event: fmt::Debug> + 'static,
{
    world.command(host, command).map_err(|error| {
        let name = world.trace().name(host);
        format!("{name} refused a command: {error}")
    })
}

/// Returns octets that no analyser takes for an upper protocol.
pub(crate) fn pattern(len: usize) -> Bytes {
    let octets = core::iter::once(0xfe).chain((0..=u8::MAX).cycle());
    octets.take(len).collect()
}
