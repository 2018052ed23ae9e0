//! `farlink dtp serve`: payloads for clients.

use std::path::PathBuf;

use farlink::dtp::Config;
use serde_json::json;

use super::{MAX_MTU, Started, failure_of};
use crate::csp_options::NodeArguments;
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;
use crate::{Failure, input};

/// Serves files as payloads, until Ctrl-C.
///
/// The files are read once, when the command begins. Several clients are served at a time.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// A payload, 0 to 255, and its file; once for each payload
    #[arg(long = "payload", value_name = "N=FILE", value_parser = payload, required = true)]
    payloads: Vec<(u8, PathBuf)>,
    /// Octets per second that a client is sent at most, whatever it asks for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Octets of the longest packet that a client may ask for
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
    let payloads = arguments.read()?;
    let mut interrupt = Interrupt::new().await;
    let started = arguments.node.start(arguments.config()).await?;
    for (payload, octets) in &payloads {
        let served = started.node.serve(*payload, octets.clone());
        served.map_err(failure_of)?;
    }
    arguments.report_start(format, &started, &payloads);
    let node = &started.node;
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
            ..Config::default()
        };
        config.csp.max_data = self.mtu;
        config
    }

    fn read(&self) -> Result<Vec<(u8, bytes::Bytes)>, Failure> {
        let mut payloads: Vec<(u8, bytes::Bytes)> = Vec::new();
        for (number, file) in &self.payloads {
            if payloads.iter().any(|(taken, _)| taken == number) {
                return Err(Failure::Usage(format!("payload {number} is given twice")));
            }
            // Before so much is read.
            let len = std::fs::metadata(file).map_or(0, |file| file.len());
            if len > u32::MAX.into() {
                let limit = u32::MAX;
                let text = format!("{len} octets exceed the limit of a payload, {limit}");
                return Err(Failure::file(file, text));
            }
            payloads.push((*number, input::read(file)?.into()));
        }
        Ok(payloads)
    }

    fn report_start(
        &self,
        format: OutputFormat,
        started: &Started,
        payloads: &[(u8, bytes::Bytes)],
    ) {
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
        for ((number, octets), (_, file)) in payloads.iter().zip(&self.payloads) {
            let (octets, file) = (octets.len(), input::display_name(file));
            format.report(
                || format!("payload {number}: {file}, {octets} octets"),
                || json!({ "event": "payload", "payload": number, "octets": octets, "file": file }),
            );
        }
    }
}
