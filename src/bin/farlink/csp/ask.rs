//! `farlink csp ident` and `farlink csp uptime`: what a node says of itself.

use core::time::Duration;

use farlink::csp::{Config, Ident, ServiceAnswer, ServiceRequest};
use serde_json::{Value, json};

use super::failure_of;
use crate::Failure;
use crate::csp_options::{NodeArguments, Role};
use crate::interrupt::{Interrupt, interrupted};
use crate::output::OutputFormat;

/// Asks a node who it is: its name, model and revision.
///
/// Exit status 1: no answer came.
#[derive(Debug, clap::Args)]
pub(crate) struct IdentArguments {
    #[command(flatten)]
    question: Question,
}

/// Asks a node how long it has run.
///
/// Exit status 1: no answer came.
#[derive(Debug, clap::Args)]
pub(crate) struct UptimeArguments {
    #[command(flatten)]
    question: Question,
}

#[derive(Debug, clap::Args)]
struct Question {
    /// The CSP address of the node to ask; of the broadcast address all nodes that hear it answer
    destination: u16,
    #[command(flatten)]
    node: NodeArguments,
    /// How long answers are awaited, in seconds
    #[arg(long, value_name = "S", value_parser = crate::ltp::seconds, default_value = "3")]
    timeout: Duration,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

pub(super) async fn ident(arguments: &IdentArguments) -> Result<(), Failure> {
    arguments.question.ask(ServiceRequest::Ident).await
}

pub(super) async fn uptime(arguments: &UptimeArguments) -> Result<(), Failure> {
    arguments.question.ask(ServiceRequest::Uptime).await
}

impl Question {
    async fn ask(&self, request: ServiceRequest) -> Result<(), Failure> {
        let format = OutputFormat::of(self.json).with_failures();
        self.node.check_peer(self.destination)?;
        let mut interrupt = Interrupt::new().await;
        let (node, links) = super::start(&self.node, Config::default(), Role::End).await?;
        let remote = links.remote();
        let answers = tokio::select! {
            answers = node.request(self.destination, request, self.timeout) => Some(answers),
            () = interrupt.wait() => None,
        };
        node.shutdown().await;
        let Some(answers) = answers else {
            return interrupted(false);
        };
        let answers = answers.map_err(failure_of)?;
        for answer in &answers {
            let (from, seconds) = (answer.from, answer.time.as_secs_f64());
            let (text, said) = told(answer.answer.as_ref());
            let head = json!({ "node": from, "remote": remote, "seconds": seconds });
            let object = [said, head].into_iter().filter_map(|it| match it {
                Value::Object(fields) => Some(fields),
                _ => None,
            });
            let object = object.flatten().collect();
            format.report(|| format!("node {from} at {remote}: {text}"), || object);
        }
        if answers.is_empty() {
            let (destination, seconds) = (self.destination, self.timeout.as_secs_f64());
            format.report_failure(
                || format!("node {destination} does not answer within {seconds} s at {remote}"),
                || {
                    json!({
                        "event": "silent",
                        "node": destination,
                        "remote": remote,
                        "seconds": seconds,
                    })
                },
            );
            return Err(Failure::Reported);
        }
        Ok(())
    }
}

/// Returns an answer as text and as JSON.
fn told(answer: Option<&ServiceAnswer>) -> (String, Value) {
    match answer {
        Some(ServiceAnswer::Ident(Ident {
            hostname,
            model,
            revision,
            date,
            time,
        })) => (
            match (date.as_str(), time.as_str()) {
                ("", "") => format!("{hostname}, model {model}, revision {revision}"),
                _ => format!("{hostname}, model {model}, revision {revision} of {date} {time}"),
            },
            json!({
                "event": "ident",
                "hostname": hostname.as_str(),
                "model": model.as_str(),
                "revision": revision.as_str(),
                "date": date.as_str(),
                "time": time.as_str(),
            }),
        ),
        Some(ServiceAnswer::Uptime(uptime)) => (
            format!("up for {uptime} s"),
            json!({ "event": "uptime", "uptime": uptime }),
        ),
        // Nothing else was asked.
        other => (format!("{other:?}"), json!({ "event": "answered" })),
    }
}
