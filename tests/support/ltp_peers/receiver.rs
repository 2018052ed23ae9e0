//! A model as the receiver of blocks.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use farlink::Instant;
use farlink::kit::RangeSet;
use farlink::ltp::{Body, Checkpoint, Claims, Color, Data, Mark, Reason, Report, SessionId};

use super::{Habits, Model, Notice, Pending, Refusal, Scope, Timed};

/// A report with gaps that waits for segments under way.
#[derive(Debug)]
pub(super) struct Delayed {
    checkpoint: u64,
    scope: Range<u64>,
    pub(super) due: Instant,
}

/// A block that is received.
#[derive(Debug)]
pub(super) struct Import {
    held: RangeSet,
    octets: Vec<u8>,
    /// The length of the red part, once known.
    red: Option<u64>,
    /// The reports with gaps that may be sent. `None`: any number.
    budget: Option<u32>,
    is_delivered: bool,
    /// Whether the report on the whole red part was made.
    is_reported: bool,
    /// The upper bound of the latest primary report.
    primary: u64,
    seen: BTreeSet<u64>,
    next_serial: u64,
    /// The lower bounds of all reports.
    lowers: BTreeMap<u64, u64>,
    pub(super) reports: BTreeMap<u64, Pending>,
    pub(super) delayed: Vec<Delayed>,
    pub(super) cancel: Option<Pending>,
    /// When a segment of the session came last.
    latest: Instant,
}

impl Import {
    fn new(habits: &Habits, first_serial: u64, now: Instant) -> Self {
        Self {
            held: RangeSet::new(),
            octets: Vec::new(),
            red: None,
            budget: habits.bit_errors.map(|_| 0),
            is_delivered: false,
            is_reported: false,
            primary: 0,
            seen: BTreeSet::new(),
            next_serial: first_serial,
            lowers: BTreeMap::new(),
            reports: BTreeMap::new(),
            delayed: Vec::new(),
            cancel: None,
            latest: now,
        }
    }

    fn is_whole(&self) -> bool {
        self.red.is_some_and(|red| self.held.covers(&(0..red)))
    }

    /// When the reception is given up if nothing more comes.
    pub(super) fn guard(&self, habits: &Habits) -> Option<Instant> {
        let is_open = !self.is_delivered && self.cancel.is_none();
        habits
            .guard
            .filter(|_| is_open)
            .map(|span| self.latest + span)
    }

    /// Keeps the octets of a red segment. Returns whether they are within the red part.
    fn store(&mut self, data: &Data<'_>, drops_overlap: bool) -> bool {
        let range = data.range();
        if self.red.is_some_and(|red| range.end > red) {
            return false;
        }
        if drops_overlap && self.held.intersects(range.clone()) {
            return true;
        }
        self.held.insert(range.clone());
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        self.octets[start..end].copy_from_slice(data.octets);
        true
    }
}

impl Model {
    pub(super) fn on_data(&mut self, session: SessionId, data: &Data<'_>) {
        if self.closed.contains_key(&session) {
            return;
        }
        if !self.habits.clients.contains(&data.client) {
            if self.refused.insert(session) || self.habits.refusal == Refusal::EachSegment {
                let body = Body::CancelByReceiver(Reason::UNREACHABLE);
                self.queue(session, body, Timed::No);
            }
            return;
        }
        let Color::Red(checkpoint) = data.color else {
            return self.notices.push_back(Notice::Green {
                session,
                offset: data.offset,
                data: Bytes::copy_from_slice(data.octets),
            });
        };
        let now = self.now;
        if !self.imports.contains_key(&session) {
            let serial = self.first_serial();
            let import = Import::new(&self.habits, serial, now);
            self.imports.insert(session, import);
        }
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        if import.cancel.is_some() || !import.store(data, self.habits.drops_overlap) {
            return;
        }
        import.latest = now;
        if checkpoint.is_some_and(|one| one.mark != Mark::None) && import.red.is_none() {
            let red = data.range().end;
            import.red = Some(red);
            import.budget = self.habits.limit(usize::try_from(red).unwrap());
        }
        let completes = import.is_whole() && !import.is_delivered;
        if completes {
            import.is_delivered = true;
            let data = Bytes::copy_from_slice(&import.octets);
            self.notices.push_back(Notice::Received { session, data });
        }
        self.hasten(session, &data.range());
        match checkpoint {
            Some(checkpoint) => self.on_checkpoint(session, checkpoint, data.range().end),
            None if completes => self.report_whole(session, 0),
            None => {}
        }
    }

    /// Starts the delay of a report again when a gap in its scope is filled, or ends it when no gap is left.
    fn hasten(&mut self, session: SessionId, filled: &Range<u64>) {
        let (now, delay) = (self.now, self.habits.report_delay);
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        for delayed in &mut import.delayed {
            let scope = &delayed.scope;
            if import.held.covers(scope) {
                delayed.due = now;
            } else if filled.start < scope.end && filled.end > scope.start {
                delayed.due = now + delay;
            }
        }
    }

    fn on_checkpoint(&mut self, session: SessionId, checkpoint: Checkpoint, upper: u64) {
        let (now, habits) = (self.now, &self.habits);
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        let is_copy = !import.seen.insert(checkpoint.serial);
        if import.is_reported || (is_copy && !habits.answers_copies) {
            return;
        }
        let from_zero = habits.scope == Scope::FromZero;
        if from_zero && import.is_whole() {
            return self.report_whole(session, checkpoint.serial);
        }
        match &mut import.budget {
            Some(0) => return self.cancel_import(session, Reason::RETRANSMISSION_LIMIT),
            Some(left) => *left -= 1,
            None => {}
        }
        let lower = match checkpoint.report {
            0 if from_zero => 0,
            0 => import.primary,
            report => import.lowers.get(&report).copied().unwrap_or(0),
        };
        if checkpoint.report == 0 {
            import.primary = import.primary.max(upper);
        }
        if lower >= upper {
            return;
        }
        let (scope, serial) = (lower..upper, checkpoint.serial);
        let delay = self.habits.report_delay;
        if delay.is_zero() || import.held.covers(&scope) {
            self.report(session, serial, scope);
        } else {
            import.delayed.push(Delayed {
                checkpoint: serial,
                scope,
                due: now + delay,
            });
        }
    }

    fn report_whole(&mut self, session: SessionId, checkpoint: u64) {
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        let red = import.red.unwrap_or_default();
        // One that waits for the same segments says as much.
        if checkpoint == 0 && import.delayed.iter().any(|one| one.scope == (0..red)) {
            return;
        }
        import.is_reported = self.habits.scope == Scope::FromZero;
        self.report(session, checkpoint, 0..red);
    }

    /// Reports on a scope, in as many parts as the claims need.
    fn report(&mut self, session: SessionId, checkpoint: u64, scope: Range<u64>) {
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        let claims: Vec<Range<u64>> = import.held.within(scope.clone()).collect();
        let parts: Vec<&[Range<u64>]> = claims.chunks(self.habits.claims).collect();
        let mut lower = scope.start;
        let mut made = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let upper = match (parts.get(at + 1), self.habits.scope) {
                (None, _) => scope.end,
                (Some(next), Scope::FromZero) => next[0].start,
                (Some(_), Scope::Abutting) => part[part.len() - 1].end,
            };
            let serial = import.next_serial;
            import.next_serial += 1;
            import.lowers.insert(serial, lower);
            let body = Body::Report(Report {
                serial,
                checkpoint,
                scope: (lower..upper).into(),
                claims: Claims::new(part),
            });
            let octets = super::encode(session, body);
            import.reports.insert(serial, Pending::new(octets));
            made.push((serial, body));
            lower = upper;
        }
        for (serial, body) in made {
            self.queue(session, body, Timed::Report { session, serial });
        }
    }

    pub(super) fn delayed_due(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (session, import) in &mut self.imports {
            let is_due = |one: &mut Delayed| one.due <= now;
            due.extend(
                import
                    .delayed
                    .extract_if(.., is_due)
                    .map(|one| (*session, one)),
            );
        }
        for (session, one) in due {
            self.report(session, one.checkpoint, one.scope);
        }
    }

    pub(super) fn guards_due(&mut self) {
        let due = |import: &Import| import.guard(&self.habits).is_some_and(|at| at <= self.now);
        let due: Vec<SessionId> = self
            .imports
            .iter()
            .filter(|(_, import)| due(import))
            .map(|(session, _)| *session)
            .collect();
        for session in due {
            self.cancel_import(session, Reason::USER);
        }
    }

    pub(super) fn on_report_ack(&mut self, session: SessionId, serial: u64) {
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        import.reports.remove(&serial);
        if import.is_delivered
            && import.reports.is_empty()
            && import.delayed.is_empty()
            && import.cancel.is_none()
        {
            self.close_import(session);
        }
    }

    pub(super) fn on_cancel_by_sender(&mut self, session: SessionId, reason: Reason) {
        self.queue(session, Body::CancelAckToSender, Timed::No);
        if let Some(import) = self.imports.get(&session) {
            if import.cancel.is_none() {
                self.notices
                    .push_back(Notice::Cancelled { session, reason });
            }
            self.close_import(session);
        }
    }

    pub(super) fn on_cancel_ack_to_receiver(&mut self, session: SessionId) {
        let is_cancelled = |import: &Import| import.cancel.is_some();
        if self.imports.get(&session).is_some_and(is_cancelled) {
            self.close_import(session);
        }
    }

    pub(super) fn cancel_import(&mut self, session: SessionId, reason: Reason) {
        let Some(import) = self.imports.get_mut(&session) else {
            return;
        };
        let body = Body::CancelByReceiver(reason);
        import.cancel = Some(Pending::new(super::encode(session, body)));
        import.reports.clear();
        import.delayed.clear();
        self.notices
            .push_back(Notice::Cancelled { session, reason });
        self.queue(session, body, Timed::CancelByReceiver(session));
    }

    pub(super) fn close_import(&mut self, session: SessionId) {
        self.imports.remove(&session);
        if let Some(span) = self.habits.remembers {
            self.closed.insert(session, self.now + span);
        }
    }
}
