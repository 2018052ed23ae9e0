//! How fast a command sends, and why: what is told when it changes.

use core::num::NonZeroU64;
use core::time::Duration;

use farlink::adapters::tokio::ltp::Node;
use farlink::ltp::FlowEstimate;
use indicatif::BinaryBytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::output::OutputFormat;

/// How long changes are not reported after the first one. Each further one doubles it, to at most a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Light times to a peer and back from which on the peer is a radio, which has a rate of its own.
const FAR: Duration = Duration::from_secs(2);

/// Reports the flow to a peer that was left to the engine.
pub(super) struct FlowReport {
    format: OutputFormat,
    peer: u64,
    last: FlowEstimate,
    /// No change is reported before, and then for so long.
    next: Instant,
    pause: Duration,
}

impl FlowReport {
    /// Reports how the flow starts.
    pub(super) fn begin(format: OutputFormat, node: &Node, peer: u64, light: Duration) -> Self {
        let last = estimate(node, peer);
        let advice = if light >= FAR {
            "; a radio needs its own: --rate"
        } else {
            ", then as fast as it bears; --rate sets it"
        };
        format.report(
            || format!("engine {peer} gets {} at first{advice}", level(&last)),
            || object(peer, &last),
        );
        Self {
            format,
            peer,
            last,
            next: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// Reports what has changed.
    pub(super) fn check(&mut self, node: &Node) {
        let (now, peer) = (Instant::now(), self.peer);
        let flow = estimate(node, peer);
        if flow == self.last || now < self.next {
            return;
        }
        self.next = now + self.pause;
        self.pause = (2 * self.pause).min(MAX_PAUSE);
        let last = core::mem::replace(&mut self.last, flow);
        let text = || {
            let level = level(&flow);
            if flow.reductions > last.reductions && flow.loss != last.loss {
                let percent = share(flow.loss) * 100.0;
                format!("{percent:.0} % of what was sent last to engine {peer} was lost: {level}")
            } else if flow.is_farlink && !last.is_farlink {
                format!("engine {peer} speaks farlink: {level}")
            } else {
                format!("engine {peer} gets {level}")
            }
        };
        self.format.report(text, || object(peer, &flow));
    }

    /// Returns the flow in force.
    pub(super) fn last(&self, node: &Node) -> FlowEstimate {
        estimate(node, self.peer)
    }
}

fn estimate(node: &Node, peer: u64) -> FlowEstimate {
    node.line(peer).map(|line| line.flow).unwrap_or_default()
}

/// Returns the share of which this is the number of parts per million.
fn share(parts: u32) -> f64 {
    f64::from(parts) / 1e6
}

/// Returns rate and window.
pub(super) fn level(flow: &FlowEstimate) -> String {
    match (flow.octets_per_second, flow.window) {
        (Some(rate), None) => bits(rate),
        (None, Some(window)) => format!("window {}", BinaryBytes(window.get())),
        (Some(rate), Some(window)) => {
            format!("{}, window {}", bits(rate), BinaryBytes(window.get()))
        }
        (None, None) => String::from("no limit"),
    }
}

fn bits(octets_per_second: NonZeroU64) -> String {
    let bits = u128::from(octets_per_second.get()) * 8;
    match bits {
        1_000_000.. => format!("{}.{} Mbit/s", bits / 1_000_000, bits / 100_000 % 10),
        _ => format!("{}.{} kbit/s", bits / 1000, bits / 100 % 10),
    }
}

fn object(peer: u64, flow: &FlowEstimate) -> Value {
    json!({
        "event": "flow",
        "peer": peer,
        "rate": flow.octets_per_second,
        "window": flow.window,
        "farlink": flow.is_farlink,
        "loss": (flow.reductions > 0).then(|| share(flow.loss)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_said_in_bits_per_second() {
        let said = |octets| bits(NonZeroU64::new(octets).unwrap());

        assert_eq!(said(12_500_000), "100.0 Mbit/s");
        assert_eq!(said(1_031_250), "8.2 Mbit/s");
        assert_eq!(said(12_500), "100.0 kbit/s");
    }
}
