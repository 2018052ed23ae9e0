//! LTP segments.

use farlink::ltp::{Body, Color, Data, Extensions, Mark, Report, Segment};
use serde_json::{Value, json};

use super::dissector::{Dissector, Start, StreamEnd};
use super::printer::{OctetRange, Printer};
use crate::output::hex;

/// A keep-alive (RFC 7122 section 3.4).
const KEEPALIVE: [u8; 4] = [0; 4];

/// Datagrams of one segment, or a frame of several.
pub(super) struct Ltp {
    is_frame: bool,
    /// Octets before those that are decoded.
    position: u64,
}

impl Dissector for Ltp {
    fn octets(&mut self, octets: &[u8], out: &mut Printer) {
        let mut rest = octets;
        // What is not all segments is no frame, but a datagram with octets too many.
        let is_frame = self.is_frame && is_frame(octets);
        while is_frame && !rest.is_empty() {
            let used = match Segment::decode_first(rest) {
                Ok((segment, used)) if !matches!(segment.body, Body::Report(_)) => used,
                _ => rest.len(),
            };
            let (segment, behind) = rest.split_at(used);
            self.datagram(segment, out);
            rest = behind;
        }
        if !rest.is_empty() {
            self.datagram(rest, out);
        }
    }

    fn gap(&mut self, octets: u64, out: &mut Printer) {
        out.gap(octets);
    }

    fn end(&mut self, _: StreamEnd, _: &mut Printer) {}
}

impl Ltp {
    pub(super) fn new(start: Start) -> Self {
        Self {
            is_frame: start == Start::Frame,
            position: 0,
        }
    }

    /// Prints what an engine makes of a datagram.
    fn datagram(&mut self, octets: &[u8], out: &mut Printer) {
        let offset = self.position;
        self.position += count(octets.len());
        let span = |length| OctetRange { offset, length };
        if octets == KEEPALIVE {
            let fields = || json!({ "segment": "keep-alive" });
            return out.pdu(span(octets.len()), &"keep-alive", fields);
        }
        let (segment, behind) = match Segment::decode_first(octets) {
            // ION sends stale octets behind the reports that it splits.
            Ok((segment, used)) if matches!(segment.body, Body::Report(_)) => {
                (Ok(segment), octets.len() - used)
            }
            _ => (Segment::decode(octets), 0),
        };
        match segment {
            Ok(segment) => {
                let length = octets.len() - behind;
                out.pdu(span(length), &segment, || object(&segment, behind));
            }
            Err(error) => out.malformed(span(octets.len()), "segment", &error),
        }
        if behind > 0 {
            out.remark(&format_args!(
                "{behind} octets behind the report have no meaning"
            ));
        }
    }
}

/// Tells whether the octets are segments and nothing else.
fn is_frame(octets: &[u8]) -> bool {
    let mut rest = octets;
    while !rest.is_empty() {
        match Segment::decode_first(rest) {
            Ok((
                Segment {
                    body: Body::Report(_),
                    ..
                },
                _,
            )) => return true,
            Ok((_, used)) => rest = rest.get(used..).unwrap_or_default(),
            Err(_) => return rest == KEEPALIVE,
        }
    }
    true
}

fn count(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}

fn object(segment: &Segment<'_>, behind: usize) -> Value {
    let (name, mut object) = match &segment.body {
        Body::Data(data) => (color(data), data_object(data)),
        Body::Report(report) => ("RS", report_object(report, behind)),
        Body::ReportAck(serial) => ("RA", json!({ "report": serial })),
        Body::CancelBySender(reason) => ("CS", json!({ "reason": reason })),
        Body::CancelAckToSender => ("CAS", json!({})),
        Body::CancelByReceiver(reason) => ("CR", json!({ "reason": reason })),
        Body::CancelAckToReceiver => ("CAR", json!({})),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("segment".into(), name.into());
        fields.insert("type".into(), segment.body.code().into());
        fields.insert("originator".into(), segment.session.originator.into());
        fields.insert("session".into(), segment.session.number.into());
        fields.insert("header".into(), extensions(&segment.header));
        fields.insert("trailer".into(), extensions(&segment.trailer));
    }
    object
}

const fn color(data: &Data<'_>) -> &'static str {
    match data.color {
        Color::Red(_) => "red",
        Color::Green { .. } => "green",
    }
}

fn data_object(data: &Data<'_>) -> Value {
    let (checkpoint, ends) = match data.color {
        Color::Red(checkpoint) => {
            let ends = match checkpoint.map(|checkpoint| checkpoint.mark) {
                Some(Mark::Block) => (true, true),
                Some(Mark::RedPart) => (true, false),
                Some(Mark::None) | None => (false, false),
            };
            (checkpoint, ends)
        }
        Color::Green { ends_block } => (None, (false, ends_block)),
    };
    let range = data.range();
    json!({
        "client": data.client,
        "from_octet": range.start,
        "to_octet": range.end,
        "checkpoint": checkpoint.map(|checkpoint| checkpoint.serial),
        "report": checkpoint.map(|checkpoint| checkpoint.report),
        "ends_red_part": ends.0,
        "ends_block": ends.1,
        "data": hex(data.octets),
    })
}

fn report_object(report: &Report<'_>, behind: usize) -> Value {
    let claims: Vec<[u64; 2]> = report
        .claims
        .iter()
        .map(|claim| [claim.start, claim.end])
        .collect();
    json!({
        "report": report.serial,
        "checkpoint": report.checkpoint,
        "lower": report.scope.start,
        "upper": report.scope.end,
        "claims": claims,
        "behind": behind,
    })
}

fn extensions(list: &Extensions<'_>) -> Value {
    list.iter()
        .map(|extension| json!({ "tag": extension.tag.0, "value": hex(extension.value) }))
        .collect()
}
