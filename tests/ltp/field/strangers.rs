//! Honest strangers: the bounds that hold an enemy are never met by a peer that keeps the rules.

use core::time::Duration;

use farlink::Instant;
use farlink::ltp::{Config, Flow, Peer, Service};

use super::PEER;
use crate::ltp_alone::{Alone, session};
use crate::ltp_captures::{Capture, captures};

/// The types and times of what an engine in the place of a capture's receiver sends.
fn answers(capture: &Capture, is_named: bool) -> Vec<(Instant, u8)> {
    let mut alone = Alone::new(Config::engine(2), 2);
    let peer = Peer::at(PEER).with_flow(Flow::Unlimited);
    if is_named {
        alone.engine.add_peer(alone.now, 1, peer).unwrap();
    } else {
        alone
            .engine
            .accept_unknown_peers(alone.now, Some(peer), 16)
            .unwrap();
    }
    let service = capture.service();
    alone
        .engine
        .open(alone.now, service, Service::Whole)
        .unwrap();
    for record in &capture.segments {
        if record.from == 1 && !record.dropped {
            let at = Instant::from_nanos(record.t_us * 1000);
            alone.run_for(at.saturating_duration_since(alone.now));
            let octets = with_serial_of(&record.octets.to_vec(), &alone);
            alone.receive(PEER, &octets);
        }
    }
    alone.run_for(Duration::from_millis(100));
    let sent = alone.sent.iter();
    sent.map(|sent| (sent.at, sent.segment().body.code()))
        .collect()
}

/// An acknowledgment, for the latest report that this engine sent in the place of the one in the capture.
fn with_serial_of(octets: &[u8], alone: &Alone<u64>) -> Vec<u8> {
    use farlink::ltp::{Body, Segment};
    let (mut segment, _) = Segment::decode_first(octets).unwrap();
    if let Body::ReportAck(_) = segment.body
        && let Some(serial) = alone.reports(segment.session).last()
    {
        segment.body = Body::ReportAck(*serial);
    }
    let mut again = Vec::new();
    segment.encode(&mut again);
    again
}

#[test]
fn honest_strangers_are_answered_as_named_peers_are() {
    for capture in captures() {
        let [named, unnamed] = [true, false].map(|is_named| answers(&capture, is_named));

        assert_eq!(named, unnamed, "{}", capture.name);
    }
}

/// An answer that gives way to newer ones is sent once the stranger has proved that it hears, and no session waits for
/// ever for the acknowledgment of a report that was never sent.
#[test]
fn a_report_that_was_dropped_over_the_budget_leaves_behind_the_proof() {
    let mut alone = Alone::new(Config::engine(2), 2);
    // Signals are repeated at equal intervals.
    let template = Peer::at(PEER).with_flow(Flow::rate(1_000_000));
    let now = alone.now;
    alone
        .engine
        .accept_unknown_peers(now, Some(template), 16)
        .unwrap();
    alone.engine.open(now, 4, Service::Whole).unwrap();
    for number in 1..=200 {
        let client = if number % 2 == 0 { "04" } else { "63" };
        let text = format!("03 07 @{number} 00 {client} 00 01 05 00 78");
        alone.hear(PEER, &text);
    }
    let proof = alone.reports(session(7, 2))[0];
    // Repeats of all of them exceed the budget.
    for _ in 0..15 {
        alone.run_for(Duration::from_millis(500));
        alone.hear(PEER, "0f 07 @1000 00");
    }
    assert!(alone.engine.stats().no_room > 0);
    let before = alone.sent.len();

    alone.hear(PEER, &format!("09 07 02 00 @{proof}"));
    alone.run_for(Duration::from_secs(40));

    let late = alone.sent[before..]
        .iter()
        .map(|sent| sent.segment().session);
    let late: std::collections::BTreeSet<_> = late.collect();
    assert_eq!(late.len(), 199, "each is repeated once more");
    alone.run();
    assert_eq!(alone.engine.usage().sessions, (0, 0));
}
