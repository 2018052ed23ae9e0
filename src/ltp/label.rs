//! Short labels for segments and events, for ladder diagrams.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use super::api::{Event, Side};
use super::wire::{Body, Segment, SessionId};
use crate::kit::RangeSet;

/// Labels the segments of all engines in a ladder diagram.
///
/// Sessions are numbered in the order of their first segment, whose label contains the session ID. A segment
/// is repeated if some of its octets, or its type and serial number, were labelled before.
///
/// ```
/// use farlink::ltp::SegmentLabels;
///
/// let mut labels = SegmentLabels::default();
/// let data = labels.name(&[3, 1, 9, 0, 4, 0, 2, 7, 0, b'h', b'i']);
/// let report = labels.name(&[8, 1, 9, 0, 5, 7, 2, 0, 1, 0, 2]);
/// let again = labels.name(&[3, 1, 9, 0, 4, 0, 2, 7, 0, b'h', b'i']);
///
/// assert_eq!(data.text, "red 0..2 CP 7 EORP EOB, s1 is 1:9");
/// assert_eq!(report.text, "RS 5 for CP 7: all of 2, s1");
/// assert_eq!((data.is_repeated, again.is_repeated), (false, true));
/// ```
#[derive(Debug, Clone, Default)]
pub struct SegmentLabels {
    sessions: BTreeMap<SessionId, Known>,
}

/// The label of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentLabel {
    /// The text.
    pub text: String,
    /// Whether its octets, or its type and serial number, were sent before.
    pub is_repeated: bool,
}

/// What was sent in a session.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Numbered from 1. 0 before its first segment.
    number: usize,
    octets: RangeSet,
    /// Segments without octets, by type and serial number.
    signals: BTreeSet<(u8, u64)>,
}

impl SegmentLabels {
    /// Returns the label of the next datagram.
    pub fn name(&mut self, datagram: &[u8]) -> SegmentLabel {
        if datagram == [0; 4] {
            return SegmentLabel::of("keep-alive");
        }
        // ION may send stale memory after a report.
        let Ok((segment, _)) = Segment::decode_first(datagram) else {
            return SegmentLabel::of("malformed segment");
        };
        // The first word is the kind of segment, by which ladders find runs.
        let mut text = format!("{:#}", segment.body);
        let count = self.sessions.len();
        let known = self.sessions.entry(segment.session).or_default();
        let is_new = known.number == 0;
        if is_new {
            known.number = count + 1;
        }
        // Writing to a string cannot fail.
        let _ = write!(text, ", s{}", known.number);
        if is_new {
            let _ = write!(text, " is {}", segment.session);
        }
        SegmentLabel {
            text,
            is_repeated: known.meets(&segment.body),
        }
    }
}

#[cfg(feature = "sim")]
impl From<SegmentLabel> for crate::sim::Label {
    fn from(label: SegmentLabel) -> Self {
        Self {
            text: label.text,
            is_repeated: Some(label.is_repeated),
        }
    }
}

/// Returns a short label for an event, for ladder diagrams and logs.
#[must_use]
pub fn event_label(event: &Event) -> String {
    match event {
        Event::Complete { .. } => "complete".into(),
        Event::Failed { by, reason, .. } => match by {
            Side::Local => format!("gave up: {reason}"),
            Side::Remote => format!("cancelled by the peer: {reason}"),
        },
        Event::Received { data, .. } => format!("received {} red octets", data.len()),
        Event::Segment { data, offset, .. } => {
            // Bound: no platform has more than 64 bits in a usize.
            format!("red {offset}..{}", offset + data.len() as u64)
        }
        Event::RedPart { len, .. } => format!("received all {len} red octets"),
        Event::Green { data, offset, .. } => {
            // Bound: no platform has more than 64 bits in a usize.
            format!("green {offset}..{}", offset + data.len() as u64)
        }
        Event::Cancelled { by, reason, .. } => match by {
            Side::Local => format!("reception cancelled: {reason}"),
            Side::Remote => format!("cancelled by the sender: {reason}"),
        },
        other => format!("{other:?}"),
    }
}

impl SegmentLabel {
    fn of(text: &str) -> Self {
        Self {
            text: text.into(),
            is_repeated: false,
        }
    }
}

impl Known {
    /// Adds a segment. Returns whether any of it was there before.
    fn meets(&mut self, body: &Body<'_>) -> bool {
        let serial = match body {
            Body::Data(data) if data.octets.is_empty() => data.offset,
            Body::Data(data) => {
                let range = data.range();
                let is_repeated = self.octets.intersects(range.clone());
                self.octets.insert(range);
                return is_repeated;
            }
            Body::Report(report) => report.serial,
            Body::ReportAck(serial) => *serial,
            _ => 0,
        };
        !self.signals.insert((body.code(), serial))
    }
}

#[cfg(test)]
mod tests {
    use core::ops::Range;

    use super::*;
    use crate::ltp::{Checkpoint, Claims, Color, Data, Mark, Reason, Report};

    const SESSION: SessionId = SessionId {
        originator: 1,
        number: 9,
    };

    fn labels(bodies: &[Body<'_>]) -> alloc::vec::Vec<SegmentLabel> {
        let mut labels = SegmentLabels::default();
        let name = |body: &Body<'_>| {
            let mut octets = alloc::vec::Vec::new();
            Segment::new(SESSION, *body).encode(&mut octets);
            labels.name(&octets)
        };
        bodies.iter().map(name).collect()
    }

    fn data(offset: u64, octets: &[u8], color: Color) -> Body<'_> {
        Body::Data(Data {
            client: 4,
            offset,
            color,
            octets,
        })
    }

    fn report(serial: u64, scope: Range<u64>, claims: &[Range<u64>]) -> Body<'_> {
        Body::Report(Report {
            serial,
            checkpoint: 0,
            scope: scope.into(),
            claims: Claims::new(claims),
        })
    }

    #[test]
    fn a_repair_is_recognised_by_its_octets_and_not_by_its_marks() {
        let checkpoint = Checkpoint {
            serial: 8,
            report: 3,
            mark: Mark::None,
        };

        let labels = labels(&[
            data(0, &[7; 20], Color::Red(None)),
            data(20, &[7; 20], Color::Red(None)),
            data(10, &[7; 5], Color::Red(Some(checkpoint))),
            data(40, &[7; 5], Color::Green { ends_block: true }),
        ]);

        let repeated: alloc::vec::Vec<bool> =
            labels.iter().map(|label| label.is_repeated).collect();
        assert_eq!(repeated, [false, false, true, false]);
        assert_eq!(labels[0].text, "red 0..20, s1 is 1:9");
        assert_eq!(labels[2].text, "red 10..15 CP 8 for RS 3, s1");
        assert_eq!(labels[3].text, "green 40..45 EOB, s1");
    }

    #[test]
    fn signals_are_repeated_when_type_and_serial_are() {
        let labels = labels(&[
            report(5, 0..100, &[0..10, 20..100]),
            Body::ReportAck(5),
            report(6, 0..100, core::slice::from_ref(&(0..100))),
            report(5, 0..100, &[0..10, 20..100]),
            Body::ReportAck(5),
            Body::CancelBySender(Reason::USER),
            Body::CancelAckToSender,
            Body::CancelBySender(Reason::USER),
        ]);

        let repeated: alloc::vec::Vec<bool> =
            labels.iter().map(|label| label.is_repeated).collect();
        assert_eq!(
            repeated,
            [false, false, false, true, true, false, false, true]
        );
        assert_eq!(labels[3].text, "RS 5: 0..10 20..100 of 100, s1");
        assert_eq!(labels[5].text, "CS cancelled by the client service, s1");
    }

    #[test]
    fn many_claims_are_counted_and_none_are_said_to_be() {
        let claims: alloc::vec::Vec<Range<u64>> = (0..9).map(|at| 10 * at..10 * at + 5).collect();

        let labels = labels(&[report(5, 0..100, &claims), report(6, 10..100, &[])]);

        assert_eq!(
            labels[0].text,
            "RS 5: 0..5 10..15 and 7 more of 100, s1 is 1:9"
        );
        assert_eq!(labels[1].text, "RS 6: nothing of 10..100, s1");
    }

    #[test]
    fn what_is_no_segment_is_called_so() {
        let mut labels = SegmentLabels::default();

        assert_eq!(labels.name(&[0; 4]).text, "keep-alive");
        assert_eq!(labels.name(&[5, 1, 9, 0]).text, "malformed segment");
        assert_eq!(labels.name(b"").text, "malformed segment");
    }
}
