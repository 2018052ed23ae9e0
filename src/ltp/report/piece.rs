//! The body of one report segment.

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use crate::kit::RangeSet;
use crate::ltp::sdnv::Head;
use crate::ltp::wire::{Body, Claims, Report, claim_len, report_head_len};

/// Octets of the claim count at most: a segment has no room for 2^21 claims.
const COUNT: usize = 3;

/// The body of a report. One claim fits without an allocation. It is empty for a report on all of a red part.
pub(super) type Octets = SmallVec<[u8; 32]>;

/// Encodes the beginning of a report in at most `room` octets, and returns it with the end of its scope.
///
/// The parts of a report tile its scope: each ends where the first claim of the next one starts, so a gap between two
/// belongs to the earlier one, as in ION. Each has at least one claim (RFC 5326 section 3.2.2).
pub(super) fn first_piece(
    held: &RangeSet,
    scope: &Range<u64>,
    room: usize,
    checkpoint: u64,
    serial: u64,
) -> Option<(Octets, u64)> {
    let mut claims: SmallVec<[Range<u64>; 4]> = SmallVec::new();
    let lower = scope.start;
    let mut end = scope.end;
    let mut len = report_head_len(serial, checkpoint, (lower..scope.end).into()) + COUNT;
    for claim in held.within(scope.clone()) {
        len += claim_len(&claim, lower);
        if len > room && !claims.is_empty() {
            end = claim.start;
            break;
        }
        claims.push(claim);
    }
    (!claims.is_empty()).then(|| (encode(serial, checkpoint, lower..end, &claims), end))
}

fn encode(serial: u64, checkpoint: u64, scope: Range<u64>, claims: &[Range<u64>]) -> Octets {
    let report = Report {
        serial,
        checkpoint,
        scope: scope.into(),
        claims: Claims::new(claims),
    };
    let body = Body::Report(report);
    if claims.len() == 1 {
        let mut head = Head::new();
        body.put_fields(&mut head);
        return SmallVec::from_slice(head.octets());
    }
    let mut octets = Vec::with_capacity(body.wire_len());
    body.encode(&mut octets);
    SmallVec::from_vec(octets)
}
