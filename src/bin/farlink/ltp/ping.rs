//! `farlink ltp ping`: asks whether an engine answers.

use core::cell::Cell;
use core::time::Duration;

use farlink::adapters::tokio::ltp::Error;
use serde_json::json;

use super::target::{Target, is_port_closed};
use crate::Failure;
use crate::interrupt::{Interrupt, interrupted};
use crate::output::OutputFormat;

/// Asks whether an engine answers, and how long its answers take.
///
/// A session that never began is cancelled, which every engine acknowledges, with or without open client
/// services (RFC 5326 section 6.17). --retries says how often that is repeated without an answer.
///
/// Exit status 1: the engine did not answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How often to ask, at intervals of a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 4)]
    count: u32,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// The time between an answer and the next question.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let target = &arguments.target;
    let mut connected = target.connect(format, |peer| peer).await?;
    let (node, address) = (connected.node.clone(), connected.address);
    let mut interrupt = Interrupt::new().await;
    let has_answered = Cell::new(false);
    let asked = async {
        for number in 0..arguments.count {
            if number > 0 {
                tokio::time::sleep(INTERVAL).await;
            }
            let seconds = node.ping(target.to.engine).await?.as_secs_f64();
            has_answered.set(true);
            format.report(
                || {
                    let engine = target.to.engine;
                    format!("engine {engine} at {address} answers after {seconds:.6} s")
                },
                || {
                    json!({
                        "event": "answered",
                        "peer": target.to.engine,
                        "address": address.to_string(),
                        "seconds": seconds,
                    })
                },
            );
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = asked => outcome,
        () = interrupt.wait() => {
            node.shutdown(Duration::ZERO).await;
            return interrupted(has_answered.get());
        }
        () = connected.plan_over() => return Err(Failure::Protocol("the contact plan is over".into())),
    };
    node.shutdown(Duration::ZERO).await;
    match outcome {
        Err(error @ Error::Silent { .. }) => {
            let closed = is_port_closed(address).await;
            let hint = if closed {
                ", its host says that no program has the port"
            } else {
                ""
            };
            Err(Failure::Protocol(format!("{error} at {address}{hint}")))
        }
        other => other.map_err(super::failure_of),
    }
}
