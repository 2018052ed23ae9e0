//! Prints a scenario, as text or as JSON.

use farlink::Instant;
use farlink::sim::{MarkKind, PacketKind, Trace, TraceEntry, TraceMark, TracePacket, Traffic};
use serde_json::{Value, json};

use crate::output;
use crate::scenarios::Scenario;

pub(super) fn as_text(
    scenario: &Scenario,
    seed: u64,
    trace: &Trace,
    outcome: &Result<String, String>,
) {
    let Scenario { name, summary, .. } = scenario;
    output::line(&format!("{name}, seed {seed}: {summary}\n"));
    output::line(&trace.ladder());
    output::line(&trace.statistics().to_string());
    // A failure is printed to standard error.
    if let Ok(text) = outcome {
        output::line(&format!("as it should be: {text}"));
    }
}

pub(super) fn as_json(of: &Scenario, seed: u64, trace: &Trace, outcome: &Result<String, String>) {
    output::json(&scenario(of, Some(seed)));
    for note in trace.entries() {
        output::json(&match note {
            TraceEntry::Packet(told) => packet(trace, told),
            TraceEntry::Mark(told) => mark(trace, told),
        });
    }
    for told in &trace.statistics().traffic {
        output::json(&traffic(told));
    }
    let (Ok(text) | Err(text)) = outcome;
    output::json(&json!({ "event": "outcome", "ok": outcome.is_ok(), "text": text }));
}

pub(super) fn scenario(scenario: &Scenario, seed: Option<u64>) -> Value {
    json!({
        "event": "scenario",
        "name": scenario.name,
        "shows": scenario.summary,
        "seed": seed,
    })
}

fn packet(trace: &Trace, packet: &TracePacket) -> Value {
    let (carrier, flags) = match packet.kind {
        PacketKind::Datagram => ("datagram", None),
        PacketKind::Stream => ("stream", None),
        PacketKind::Tcp(flags) => ("tcp", Some(flags.to_string())),
    };
    json!({
        "event": "packet",
        "time_ns": packet.time.as_nanos(),
        "from": trace.name(packet.from),
        "to": packet.to.map(|to| trace.name(to)),
        "octets": packet.len,
        "label": packet.label,
        "carrier": carrier,
        "flags": flags,
        "arrived_ns": packet.arrived().map(Instant::as_nanos),
        "lost_ns": packet.lost().map(|(at, _)| at.as_nanos()),
        "reason": packet.lost().map(|(_, why)| why.to_string()),
        "repeated": packet.is_repeated,
        "copy": packet.is_copy,
        "corrupted": packet.is_corrupted,
    })
}

fn mark(trace: &Trace, mark: &TraceMark) -> Value {
    let event = match mark.kind {
        MarkKind::Event => "told",
        MarkKind::Refusal => "refused",
        MarkKind::Link | MarkKind::Contact => "link",
        _ => "note",
    };
    json!({
        "event": event,
        "time_ns": mark.time.as_nanos(),
        "at": trace.name(mark.node),
        "text": mark.text,
    })
}

fn traffic(traffic: &Traffic) -> Value {
    json!({
        "event": "traffic",
        "from": traffic.from,
        "to": traffic.to,
        "packets": traffic.packets,
        "octets": traffic.octets,
        "arrived": traffic.arrived,
        "in_flight": traffic.in_flight,
        "lost": traffic.lost(),
        "repeated": traffic.repeated,
        "copies": traffic.copies,
        "corrupted": traffic.corrupted,
    })
}
