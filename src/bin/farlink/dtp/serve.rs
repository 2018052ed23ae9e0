//! `farlink dtp serve`: payloads for clients.

use core::time::Duration;
use std::path::PathBuf;

use farlink::dtp::Config;
use serde_json::json;
use tokio::time::interval;

use super::source::{Answer, Source};
use super::{MAX_MTU, Started, failure_of, vmem};
use crate::csp_options::NodeArguments;
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;
use crate::{Failure, input};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Serves files as payloads, until Ctrl-C.
///
/// Files are read once for their CRC-32C, and then as clients need their octets; standard input (`-`) and pipes are kept
/// in memory. Several clients are served at a time. A file that has changed is served anew, within two
/// seconds or when a client needs octets of it, who is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// A payload, 0 to 255, and its file; once for each payload
    #[arg(long = "payload", value_name = "N=FILE", value_parser = payload, required = true)]
    payloads: Vec<(u8, PathBuf)>,
    /// The address that a payload has in the memory that clients get by VMEM; once for each payload that has one
    #[arg(long = "vmem", value_name = "N=A", value_parser = vmem::place)]
    places: Vec<(u8, u64)>,
    /// Octets per second that a client is sent at most, whatever it asks for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Octets of the longest packet that a client may ask for; at least 108 with VMEM
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(96..=i64::from(MAX_MTU)), default_value_t = 2056)]
    mtu: u16,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

fn payload(text: &str) -> Result<(u8, PathBuf), String> {
    let Some((number, file)) = text.split_once('=') else {
        return Err("a payload and its file, N=FILE".into());
    };
    let number = number
        .parse()
        .map_err(|_| format!("payload `{number}` is not a number from 0 to 255"))?;
    if file.is_empty() {
        return Err("the file is missing".into());
    }
    Ok((number, file.into()))
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let mut sources = arguments.open()?;
    let mut interrupt = Interrupt::new().await;
    let started = arguments.node.start(arguments.config()).await?;
    for source in &sources {
        source.serve(&started.node)?;
    }
    for (payload, address) in &arguments.places {
        let served = started.node.serve_memory(*payload, *address);
        served.map_err(failure_of)?;
    }
    arguments.report_start(format, &started, &sources);
    let node = &started.node;
    let feeding = async {
        let mut looks = interval(LOOK);
        loop {
            let need = tokio::select! {
                need = node.next_need() => need.map_err(failure_of)?,
                _ = looks.tick() => {
                    for source in &mut sources {
                        if source.look(node)? {
                            report_payload(format, "changed", source);
                        }
                    }
                    continue;
                }
            };
            let mut sources = sources.iter_mut();
            if let Some(source) = sources.find(|it| it.number == need.payload) {
                let answer = source.answer(node, need)?;
                report_answer(format, source, &answer);
            }
        }
    };
    let serving = async {
        loop {
            let request = node.next_request().await.map_err(failure_of)?;
            let (client, payload, octets) = (request.client, request.payload, request.octets);
            format.report(
                || format!("node {client} gets {octets} octets of payload {payload}"),
                || {
                    json!({
                        "event": "serving",
                        "client": client,
                        "payload": payload,
                        "octets": octets,
                    })
                },
            );
        }
    };
    let outcome = tokio::select! {
        outcome = serving => outcome,
        outcome = feeding => outcome,
        () = interrupt.wait() => Ok(()),
    };
    node.shutdown().await;
    outcome
}

impl Arguments {
    fn config(&self) -> Config {
        let mut config = Config {
            clients: 0,
            // Bound: there are 256 numbers, and one is refused.
            payloads: u8::try_from(self.payloads.len()).unwrap_or(u8::MAX),
            max_throughput: self.rate,
            vmem_messages: if self.places.is_empty() {
                0
            } else {
                vmem::MESSAGES
            },
            ..Config::default()
        };
        config.csp.max_data = self.mtu;
        config
    }

    fn open(&self) -> Result<Vec<Source>, Failure> {
        let files = self.payloads.iter().map(|(_, file)| file);
        input::check_files_differ(files, &self.node.record)?;
        let mut sources: Vec<Source> = Vec::new();
        for (number, file) in &self.payloads {
            if sources.iter().any(|it| it.number == *number) {
                return Err(Failure::Usage(format!("payload {number} is given twice")));
            }
            sources.push(Source::open(*number, file)?);
        }
        Ok(sources)
    }

    fn report_start(&self, format: OutputFormat, started: &Started, sources: &[Source]) {
        let (links, node) = (&started.links, self.node.node);
        format.report(
            || format!("node {node} on {links}"),
            || {
                json!({
                    "event": "listening",
                    "address": links.local(),
                    "remote": links.remote(),
                    "node": node,
                })
            },
        );
        for source in sources {
            report_payload(format, "payload", source);
        }
    }
}

fn report_payload(format: OutputFormat, event: &str, source: &Source) {
    let (number, octets, file) = (
        source.number,
        source.octets,
        input::display_name(&source.path),
    );
    format.report(
        || {
            let changed = if event == "changed" {
                " has changed"
            } else {
                ""
            };
            format!("payload {number}{changed}: {file}, {octets} octets")
        },
        || json!({ "event": event, "payload": number, "octets": octets, "file": file }),
    );
}

fn report_answer(format: OutputFormat, source: &Source, answer: &Answer) {
    match answer {
        Answer::Fed => {}
        Answer::Changed => report_payload(format, "changed", source),
        Answer::Unread(reason) => {
            let (payload, file) = (source.number, input::display_name(&source.path));
            format.report_failure(
                || format!("payload {payload}: {file}: {reason}"),
                || json!({ "event": "unread", "payload": payload, "file": file, "reason": reason }),
            );
        }
    }
}
