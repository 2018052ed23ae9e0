//! `farlink csp scan`: which nodes answer pings.

use alloc::collections::BTreeSet;
use core::ops::RangeInclusive;
use core::time::Duration;

use farlink::adapters::tokio::csp::{Node, NodeAnswer};
use farlink::csp::Config;
use serde_json::json;
use tokio::task::JoinSet;

use super::failure_of;
use crate::Failure;
use crate::csp_options::{NodeArguments, Role};
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;

/// Octets of a ping.
const OCTETS: u16 = 4;
/// Nodes that are asked at a time: as many as a node of farlink has requests under way.
const AT_A_TIME: usize = 8;

/// Asks which nodes answer pings.
///
/// Exit status 1: none does.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The CSP addresses to ask: one, as 5, or those from one to another, as 1-30, eight at a time, without that of this node. Of the broadcast
    /// address, 31 in version 1 and 16383 in version 2, all nodes that hear it answer
    #[arg(value_parser = addresses, value_name = "DST")]
    destinations: RangeInclusive<u16>,
    #[command(flatten)]
    node: NodeArguments,
    /// How long an answer is awaited, in seconds
    #[arg(long, value_name = "S", value_parser = crate::ltp::seconds, default_value = "1")]
    timeout: Duration,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

fn addresses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("an address, or the first and the last one, A-B, each up to 16383".into()),
    }
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    if arguments.destinations.len() == 1 {
        arguments.node.check_peer(*arguments.destinations.start())?;
    }
    let mut interrupt = Interrupt::new().await;
    let (node, links) = super::start(&arguments.node, Config::default(), Role::End).await?;
    let remote = links.remote();
    let mut found = BTreeSet::new();
    let mut tell = |answer: &NodeAnswer| {
        let (from, seconds) = (answer.from, answer.time.as_secs_f64());
        if !found.insert(from) {
            return;
        }
        format.report(
            || format!("node {from} at {remote} answers after {seconds:.6} s"),
            || {
                json!({
                    "event": "answered",
                    "node": from,
                    "remote": remote,
                    "octets": OCTETS,
                    "seconds": seconds,
                })
            },
        );
    };
    let outcome = tokio::select! {
        outcome = arguments.scan(&node, &mut tell) => outcome,
        () = interrupt.wait() => Ok(()),
    };
    node.shutdown().await;
    outcome?;
    let (asked, answers) = (arguments.others().count(), found.len());
    format.report(
        || format!("nodes that have answered: {answers}"),
        || json!({ "event": "scanned", "asked": asked, "answers": answers }),
    );
    if found.is_empty() {
        return Err(Failure::Reported);
    }
    Ok(())
}

impl Arguments {
    /// The addresses to ask: a node would answer itself.
    fn others(&self) -> impl Iterator<Item = u16> {
        self.destinations.clone().filter(|it| *it != self.node.node)
    }

    /// Asks all, some at a time, and tells of each answer once it has come.
    async fn scan(&self, node: &Node, tell: &mut impl FnMut(&NodeAnswer)) -> Result<(), Failure> {
        let mut destinations = self.others();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_A_TIME
                && let Some(destination) = destinations.next()
            {
                let (node, timeout) = (node.clone(), self.timeout);
                asked.spawn(async move { node.ping_all(destination, OCTETS, timeout).await });
            }
            let Some(answers) = asked.join_next().await else {
                return Ok(());
            };
            let answers = answers.map_err(Failure::protocol)?.map_err(failure_of)?;
            answers.iter().for_each(&mut *tell);
        }
    }
}
