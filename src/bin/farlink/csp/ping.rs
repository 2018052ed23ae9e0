//! `farlink csp ping`: asks whether a node answers.

use core::cell::Cell;
use core::time::Duration;

use farlink::adapters::tokio::csp::Error;
use farlink::csp::Config;
use serde_json::json;

use super::failure_of;
use crate::Failure;
use crate::csp_options::{NodeArguments, Role};
use crate::interrupt::{Interrupt, interrupted};
use crate::output::OutputFormat;

/// Octets of the longest ping.
const MAX_OCTETS: i64 = 256;

/// The time between an answer and the next question.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks whether a node answers, and how long its answers take. Pings carry CRC32.
///
/// Exit status 1: an answer did not come.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The CSP address of the node to ask
    destination: u16,
    #[command(flatten)]
    node: NodeArguments,
    /// How often to ask, at intervals of a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 4)]
    count: u32,
    /// Octets of each ping
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=MAX_OCTETS), default_value_t = 10)]
    size: u16,
    /// How long an answer is awaited, in seconds
    #[arg(long, value_name = "S", value_parser = crate::ltp::seconds, default_value = "3")]
    timeout: Duration,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    arguments.node.check_peer(arguments.destination)?;
    let mut interrupt = Interrupt::new().await;
    let mut config = Config::default();
    // Room for the octets, CRC32 and HMAC.
    config.max_data = config.max_data.max(arguments.size + 8);
    let (node, links) = super::start(&arguments.node, config, Role::End).await?;
    let (destination, octets) = (arguments.destination, arguments.size);
    let remote = links.remote();
    let has_answered = Cell::new(false);
    let asked = async {
        let mut is_silent = false;
        for number in 0..arguments.count {
            if number > 0 {
                tokio::time::sleep(INTERVAL).await;
            }
            let answer = node.ping(destination, octets, arguments.timeout);
            match answer.await {
                Ok(time) => {
                    has_answered.set(true);
                    let seconds = time.as_secs_f64();
                    format.report(
                        || format!("node {destination} at {remote} answers after {seconds:.6} s"),
                        || {
                            json!({
                                "event": "answered",
                                "node": destination,
                                "remote": remote,
                                "octets": octets,
                                "seconds": seconds,
                            })
                        },
                    );
                }
                Err(error @ Error::Silent { after, .. }) => {
                    is_silent = true;
                    format.report_failure(
                        || format!("{error} at {remote}"),
                        || {
                            json!({
                                "event": "silent",
                                "node": destination,
                                "remote": remote,
                                "seconds": after.as_secs_f64(),
                            })
                        },
                    );
                }
                Err(error) => return Err(failure_of(error)),
            }
        }
        if is_silent {
            return Err(Failure::Reported);
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = asked => outcome,
        () = interrupt.wait() => interrupted(has_answered.get()),
    };
    node.shutdown().await;
    outcome
}
