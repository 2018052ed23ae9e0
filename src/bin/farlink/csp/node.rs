//! `farlink csp node`: a router that answers for itself.

use clap::ValueEnum;
use farlink::Instant;
use farlink::adapters::Clock;
use farlink::adapters::tokio::csp::{AskedService, Node};
use farlink::csp::{Config, Ident, PingService, Route, ServiceAnswer, ServiceRequest, ServiceSet};
use farlink::csp::{Text, Timestamp};
use serde_json::{Value, json};

use super::failure_of;
use crate::Failure;
use crate::csp_options::{Links, NodeArguments, Role};
use crate::interrupt::Interrupt;
use crate::output::OutputFormat;

/// Runs a node until Ctrl-C, which passes packets on between its interfaces and answers for itself.
///
/// At the end its counters are printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// The services that the node has, with commas between
    #[arg(
        long,
        value_name = "NAMES",
        value_enum,
        value_delimiter = ',',
        default_value = "ping"
    )]
    services: Vec<Service>,
    /// The name that the node gives itself
    #[arg(long, value_name = "TEXT", value_parser = name, default_value = "farlink")]
    name: Text<20>,
    /// Octets of data in the longest packet, with all trailers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(33..=65_000), default_value_t = 256)]
    mtu: u16,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// What a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    /// None
    None,
    /// Pings, port 1
    Ping,
    /// Who it is (CMP)
    Ident,
    /// The counters of its interfaces (CMP)
    Stats,
    /// The time of day of this machine (CMP)
    Clock,
    /// Routes are set by anybody who asks (CMP)
    Route,
    /// The number of free buffers, port 5
    Buffers,
    /// The seconds since its start, port 6
    Uptime,
}

fn name(text: &str) -> Result<Text<20>, String> {
    Text::new(text).ok_or_else(|| "at most 19 printable characters of ASCII".into())
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let format = OutputFormat::of(arguments.json).with_failures();
    let mut interrupt = Interrupt::new().await;
    let config = arguments.config();
    let (node, links) = super::start(&arguments.node, config, Role::Router).await?;
    let address = arguments.node.node;
    format.report(
        || format!("node {address} on {links}"),
        || {
            json!({
                "event": "listening",
                "address": links.local(),
                "remote": links.remote(),
                "node": address,
            })
        },
    );
    let outcome = tokio::select! {
        outcome = answer(&node, &links) => outcome,
        () = interrupt.wait() => Ok(()),
    };
    report_counters(format, &node, &links);
    node.shutdown().await;
    outcome
}

impl Arguments {
    fn config(&self) -> Config {
        let mut config = Config {
            ping: PingService::Off,
            max_data: self.mtu,
            ..Config::default()
        };
        config.services.ident = Ident {
            hostname: self.name,
            model: Text::new("farlink").unwrap_or_default(),
            revision: Text::new(env!("CARGO_PKG_VERSION")).unwrap_or_default(),
            ..Ident::default()
        };
        for service in &self.services {
            let (by_node, by_application) = match service {
                Service::None => continue,
                Service::Ping => {
                    config.ping = PingService::RequireCrc32;
                    continue;
                }
                Service::Ident => (ServiceSet::IDENT, ServiceSet::empty()),
                Service::Stats => (ServiceSet::INTERFACE_STATS, ServiceSet::empty()),
                Service::Buffers => (ServiceSet::FREE_BUFFERS, ServiceSet::empty()),
                Service::Uptime => (ServiceSet::UPTIME, ServiceSet::empty()),
                Service::Clock => (ServiceSet::empty(), ServiceSet::CLOCK),
                Service::Route => (ServiceSet::empty(), ServiceSet::ROUTE_SET),
            };
            config.services.by_node |= by_node;
            config.services.by_application |= by_application;
        }
        config
    }
}

/// Answers what the node leaves to the application.
async fn answer(node: &Node, links: &Links) -> Result<(), Failure> {
    loop {
        let AskedService { id, request, .. } = node.next_asked().await.map_err(failure_of)?;
        let answer = match request {
            ServiceRequest::Clock => Some(ServiceAnswer::Clock(time_of_day())),
            ServiceRequest::SetRoute {
                address,
                prefix,
                via,
                interface,
            } => {
                let mut names = links.names();
                let interface = names.find(|(_, it)| it.eq_ignore_ascii_case(interface.as_str()));
                let set = interface.is_some_and(|(interface, _)| {
                    let route = Route {
                        address,
                        prefix,
                        interface,
                        via,
                    };
                    node.set_route(route).is_ok()
                });
                set.then_some(ServiceAnswer::RouteSet)
            }
            _ => None,
        };
        // Whoever asked may have waited too long.
        let _ = node.answer(id, answer);
    }
}

fn time_of_day() -> Timestamp {
    let (clock, begun) = Clock::since_epoch();
    let since = clock.now().saturating_duration_since(Instant::ZERO);
    Timestamp {
        // Bound: until 2106.
        seconds: u32::try_from(begun + since.as_secs()).unwrap_or(u32::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

fn report_counters(format: OutputFormat, node: &Node, links: &Links) {
    for (number, name) in links.names() {
        let Some((packets, frames)) = node.interface_stats(number) else {
            continue;
        };
        let (packets, frames) = (counters(&packets), counters(&frames));
        format.report(
            || format!("{name}: {}", text([&packets, &frames])),
            || json!({ "event": "interface", "name": name, "packets": packets, "frames": frames }),
        );
    }
    let counters = counters(&node.stats().csp);
    format.report(
        || format!("node: {}", text([&counters])),
        || json!({ "event": "counters", "counters": counters }),
    );
}

fn counters(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Returns the counters that are not 0.
fn text<const N: usize>(all: [&Value; N]) -> String {
    let each = all.into_iter().filter_map(Value::as_object).flatten();
    let each = each.filter(|(_, count)| count.as_u64() != Some(0));
    let each = each.map(|(name, count)| format!("{count} {}", name.replace('_', " ")));
    let each: Vec<String> = each.collect();
    match each.len() {
        0 => "nothing was counted".into(),
        _ => each.join(", "),
    }
}
