//! A model as the sender of blocks.

use core::ops::Range;
use core::slice;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use farlink::Instant;
use farlink::kit::RangeSet;
use farlink::ltp::{Body, Checkpoint, Color, Data, Mark, Reason, Report, SessionId, sdnv_len};

use super::{Cut, Model, Notice, Numbers, Pending, Queued, Send, Timed, encode};

/// A block that is sent.
#[derive(Debug)]
pub(super) struct Export {
    client: u64,
    data: Bytes,
    red: u64,
    claimed: RangeSet,
    next_serial: u64,
    /// The checkpoints that may still be made. `None`: any number.
    budget: Option<u32>,
    pub(super) checkpoints: BTreeMap<u64, Pending>,
    issued: BTreeSet<u64>,
    /// Serial numbers of reports that came.
    reports: BTreeSet<u64>,
    /// Reports that wait for others: their scopes and serial numbers.
    gathered: Vec<(Range<u64>, u64)>,
    pub(super) gather_due: Option<Instant>,
    pub(super) cancel: Option<Pending>,
}

impl Model {
    pub(super) fn start(&mut self, send: &Send) {
        let drawn = match self.habits.numbers {
            Numbers::Counted => self.next_session,
            Numbers::Random => 1 + self.rng.below((1 << 31) - 1),
        };
        let number = self.fixed_number.take().unwrap_or(drawn);
        self.next_session = number + 1;
        let export = Export {
            client: send.client,
            data: send.data.clone(),
            red: send.red as u64,
            claimed: RangeSet::new(),
            next_serial: self.first_serial(),
            budget: self.habits.limit(send.red),
            checkpoints: BTreeMap::new(),
            issued: BTreeSet::new(),
            reports: BTreeSet::new(),
            gathered: Vec::new(),
            gather_due: None,
            cancel: None,
        };
        let (red, len) = (export.red, send.data.len() as u64);
        self.exports.insert(number, export);
        if red > 0 {
            let mark = if red == len {
                Mark::Block
            } else {
                Mark::RedPart
            };
            self.cut(number, slice::from_ref(&(0..red)), 0, mark);
        }
        if red < len {
            self.cut_green(number, red..len);
        }
        if red == 0 {
            self.exports.remove(&number);
            self.notices.push_back(Notice::Complete { number });
        }
    }

    /// How many octets fit into a segment without a checkpoint.
    fn room(&self, number: u64, offset: u64) -> u64 {
        let client = self.exports[&number].client;
        match self.habits.cut {
            Cut::Data(len) => len as u64,
            Cut::Segment(len) => {
                let head = 2 + [self.id, number, client, offset, len as u64]
                    .map(sdnv_len)
                    .iter()
                    .sum::<usize>();
                (len - head) as u64
            }
        }
    }

    /// Queues a run of red segments, the last of which is a checkpoint with `mark` that cites `report`.
    fn cut(&mut self, number: u64, ranges: &[Range<u64>], report: u64, mark: Mark) {
        let mut count = 0;
        for (at, range) in ranges.iter().enumerate() {
            let is_last = at + 1 == ranges.len();
            let mut start = range.start;
            while start < range.end {
                count += 1;
                let left = range.end - start;
                let room = self.room(number, start);
                let serials = match self.habits.cut {
                    Cut::Segment(_) => {
                        let serial = self.exports[&number].next_serial;
                        (sdnv_len(serial) + sdnv_len(report)) as u64
                    }
                    Cut::Data(_) => 0,
                };
                let (len, is_checkpoint) = if is_last && left + serials <= room {
                    (left, true)
                } else if is_last && left <= room {
                    (left - 1, false)
                } else {
                    (left.min(room), false)
                };
                let is_early =
                    report == 0 && self.habits.every.is_some_and(|every| count % every == 0);
                let mark = match (is_checkpoint, is_early) {
                    (true, _) => Some(mark),
                    (false, true) => Some(Mark::None),
                    (false, false) => None,
                };
                self.queue_red(number, start..start + len, report, mark);
                start += len;
            }
        }
    }

    fn queue_red(&mut self, number: u64, range: Range<u64>, report: u64, mark: Option<Mark>) {
        let Some(export) = self.exports.get_mut(&number) else {
            return;
        };
        let checkpoint = mark.map(|mark| {
            let serial = export.next_serial;
            export.next_serial += 1;
            Checkpoint {
                serial,
                report,
                mark,
            }
        });
        let octets = segment(self.id, number, export, range, Color::Red(checkpoint));
        let timed = checkpoint.map_or(Timed::No, |one| Timed::Checkpoint {
            number,
            serial: one.serial,
        });
        if let Some(checkpoint) = checkpoint {
            if let Some(budget) = &mut export.budget {
                *budget = budget.saturating_sub(1);
            }
            export.issued.insert(checkpoint.serial);
            let pending = Pending::new(octets.clone());
            export.checkpoints.insert(checkpoint.serial, pending);
        }
        self.data.push_back(Queued {
            octets,
            timed,
            number: Some(number),
        });
    }

    fn cut_green(&mut self, number: u64, range: Range<u64>) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + self.room(number, start));
            let color = Color::Green {
                ends_block: end == range.end,
            };
            let export = &self.exports[&number];
            let octets = segment(self.id, number, export, start..end, color);
            self.data.push_back(Queued {
                octets,
                timed: Timed::No,
                number: None,
            });
            start = end;
        }
    }

    pub(super) fn on_report(&mut self, session: SessionId, report: &Report<'_>) {
        let (now, number) = (self.now, session.number);
        let is_open = |export: &Export| export.cancel.is_none();
        let is_live = self.exports.get(&number).is_some_and(is_open);
        if is_live || self.habits.answers_unknown {
            self.queue(session, Body::ReportAck(report.serial), Timed::No);
        }
        let Some(export) = self.exports.get_mut(&number).filter(|_| is_live) else {
            return;
        };
        let is_known = report.checkpoint == 0 || export.issued.contains(&report.checkpoint);
        if !export.reports.insert(report.serial) || !is_known {
            return;
        }
        export.checkpoints.remove(&report.checkpoint);
        for claim in report.claims.iter() {
            export.claimed.insert(claim);
        }
        if export.claimed.covers(&(0..export.red)) {
            self.exports.remove(&number);
            self.data.retain(|queued| queued.number != Some(number));
            return self.notices.push_back(Notice::Complete { number });
        }
        let scope = Range::from(report.scope);
        export.gathered.push((scope, report.serial));
        let due = now + self.habits.repair_delay;
        export.gather_due.get_or_insert(due);
        self.gathered_due();
    }

    /// Answers gathered reports with retransmissions, each with a checkpoint.
    pub(super) fn gathered_due(&mut self) {
        let now = self.now;
        let is_due = |export: &Export| export.gather_due.is_some_and(|due| due <= now);
        let due = self.exports.iter().filter(|(_, export)| is_due(export));
        let due: Vec<u64> = due.map(|(number, _)| *number).collect();
        for number in due {
            let Some(export) = self.exports.get_mut(&number) else {
                continue;
            };
            export.gather_due = None;
            let mut gathered = core::mem::take(&mut export.gathered);
            gathered.sort_by_key(|(scope, _)| scope.start);
            let mut known = export.claimed.clone();
            let mut runs = Vec::new();
            for (scope, serial) in gathered {
                let run: Vec<Range<u64>> = known.gaps(scope).collect();
                for range in &run {
                    known.insert(range.clone());
                }
                if !run.is_empty() {
                    runs.push((run, serial));
                }
            }
            for (run, serial) in runs {
                if self.exports[&number].budget == Some(0) {
                    self.cancel_export(number, Reason::RETRANSMISSION_LIMIT);
                    break;
                }
                self.cut(number, &run, serial, Mark::None);
            }
        }
    }

    pub(super) fn on_cancel_by_receiver(&mut self, session: SessionId, reason: Reason) {
        let number = session.number;
        let export = self.exports.remove(&number);
        if export.is_some() || self.habits.answers_unknown {
            self.queue(session, Body::CancelAckToReceiver, Timed::No);
        }
        self.data.retain(|queued| queued.number != Some(number));
        if export.is_some_and(|export| export.cancel.is_none()) {
            self.notices.push_back(Notice::Failed { number, reason });
        }
    }

    pub(super) fn cancel_export(&mut self, number: u64, reason: Reason) {
        let Some(export) = self.exports.get_mut(&number) else {
            return;
        };
        let session = SessionId {
            originator: self.id,
            number,
        };
        let body = Body::CancelBySender(reason);
        export.cancel = Some(Pending::new(encode(session, body)));
        export.checkpoints.clear();
        export.gather_due = None;
        self.data.retain(|queued| queued.number != Some(number));
        self.notices.push_back(Notice::Failed { number, reason });
        self.queue(session, body, Timed::CancelBySender(number));
    }
}

fn segment(id: u64, number: u64, export: &Export, range: Range<u64>, color: Color) -> Vec<u8> {
    let session = SessionId {
        originator: id,
        number,
    };
    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
    let body = Body::Data(Data {
        client: export.client,
        offset: range.start,
        color,
        octets: &export.data[start..end],
    });
    encode(session, body)
}
