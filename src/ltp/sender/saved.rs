//! Saving and restoring blocks that are being sent.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use super::{
    Cancel, Export, FIRST_SERIALS, MAX_SERIAL_RANGES, Repair, Retransmission, Sending, State,
};
use crate::Addr;
use crate::kit::RangeSet;
use crate::ltp::engine::Engine;
use crate::ltp::outgoing::DuplicateRepairs;
use crate::ltp::peer::Role;
use crate::ltp::snapshot::{
    Age, Restored, SavedBlock, SavedExport, SavedRetransmission, SavedSending, require, set_of,
};
use crate::ltp::wire::SessionId;

/// More serial numbers than one session uses between two snapshots. With 65,535 restarts they stay below 2^32, the
/// limit of ION.
const SERIALS: u64 = 1 << 16;

impl Sending {
    /// Returns the retransmissions that are due. What was sent again and not reported on is left out: its checkpoint is
    /// outstanding, and a new one is sent after a restart.
    fn save_retransmissions(&self) -> Vec<SavedRetransmission> {
        let queued = self.repairs.iter().filter_map(|repair| match repair {
            Repair::Retransmission(retransmission) => Some((
                retransmission.report,
                retransmission.cycle,
                retransmission.gaps.clone(),
            )),
            Repair::CheckpointRetry(_) | Repair::CheckpointCopies { .. } => None,
        });
        let delayed = self.delayed.iter().map(|pending| {
            let gaps = self.claimed.gaps(pending.scope.clone()).collect();
            (pending.report, pending.cycle, gaps)
        });
        let mut known = self.claimed.clone();
        for gap in self.checkpoints.iter().flat_map(|one| &one.retransmitted) {
            known.insert(gap.clone());
        }
        let mut retransmissions = Vec::new();
        for (report, cycle, wanted) in queued.chain(delayed) {
            let missing = wanted.into_iter();
            let gaps: Vec<Range<u64>> = missing.flat_map(|gap| known.gaps(gap)).collect();
            for gap in &gaps {
                known.insert(gap.clone());
            }
            if !gaps.is_empty() {
                retransmissions.push(SavedRetransmission {
                    report,
                    cycle,
                    gaps,
                });
            }
        }
        retransmissions
    }

    fn save(&self) -> SavedBlock {
        SavedBlock {
            tag: self.tag,
            client: self.client,
            block: self.block.clone(),
            red: self.red,
            next: self.next,
            may_have_left: self.may_have_left,
            notifies_sent: self.notifies_sent,
            serial: self.serial,
            wants_checkpoint: self.wants_checkpoint,
            claimed: self.claimed.within(0..u64::MAX).collect(),
            reports: self.reports.within(0..u64::MAX).collect(),
            lowest: self.lowest,
            retransmissions: self.save_retransmissions(),
            problems: self.problems,
        }
    }

    /// Reads a block, and refuses contradictions.
    fn restore(saved: SavedBlock, at: usize, age: Age) -> Restored<Self> {
        // Bound: usize has at most 64 bits.
        let len = saved.block.len() as u64;
        require(len > 0, "exports.block", at)?;
        require(saved.red <= len, "exports.red", at)?;
        require(saved.next <= len, "exports.next", at)?;
        require(saved.may_have_left <= len, "exports.may_have_left", at)?;
        require(saved.serial > 0, "exports.serial", at)?;
        let reached = saved.red.min(saved.next.max(saved.may_have_left));
        let reports = set_of(&saved.reports, u64::MAX, "exports.reports", at)?;
        let is_few = reports.count() <= MAX_SERIAL_RANGES;
        require(is_few, "exports.reports", at)?;
        let (may_have_left, serial) = match age {
            Age::Current => (saved.may_have_left, saved.serial),
            Age::Behind => (len, saved.serial.saturating_add(SERIALS)),
        };
        Ok(Self {
            tag: saved.tag,
            client: saved.client,
            len,
            red: saved.red,
            block: saved.block,
            next: saved.next,
            may_have_left,
            notifies_sent: saved.notifies_sent,
            serial,
            unchecked: 0,
            wants_checkpoint: saved.wants_checkpoint,
            claimed: set_of(&saved.claimed, reached, "exports.claimed", at)?,
            reports,
            lowest: saved.lowest,
            checkpoints: SmallVec::new(),
            repairs: restore_retransmissions(saved.retransmissions, reached, at)?,
            spare: DuplicateRepairs::default(),
            is_repairing: false,
            reported_up_to: 0,
            checked: saved.next,
            problems: saved.problems,
            guard: None,
            guard_tries: 0,
            delayed: Vec::new(),
            delay: None,
        })
    }
}

/// Reads retransmissions. They do not overlap, so together they are no more than the red part.
fn restore_retransmissions(
    retransmissions: Vec<SavedRetransmission>,
    end: u64,
    at: usize,
) -> Restored<VecDeque<Repair>> {
    let mut all = RangeSet::new();
    let mut repairs = VecDeque::new();
    for retransmission in retransmissions {
        let field = "exports.retransmissions";
        let gaps = set_of(&retransmission.gaps, end, field, at)?;
        let fresh: u64 = retransmission
            .gaps
            .iter()
            .map(|gap| all.insert(gap.clone()))
            .sum();
        require(fresh == gaps.len() && fresh > 0, field, at)?;
        repairs.push_back(Repair::Retransmission(Retransmission {
            report: retransmission.report,
            cycle: retransmission.cycle,
            from: retransmission.gaps.first().map_or(0, |gap| gap.start),
            gaps: retransmission.gaps,
            at: 0,
        }));
    }
    Ok(repairs)
}

impl<A: Addr> Engine<A> {
    /// Draws a first serial number from 1 to 16,383 (CCSDS 734.1-B-1) at random (RFC 5326 section 3.2.1).
    ///
    /// An engine that lost sessions starts beyond the numbers it may have used in them, as those sessions may come again.
    pub(in crate::ltp) fn first_serial(&mut self) -> u64 {
        let used = if self.is_forgetful {
            SERIALS * (self.incarnation % SERIALS)
        } else {
            0
        };
        used + 1 + self.rng.below(FIRST_SERIALS - 1)
    }

    /// Returns the sessions: those on their first pass in order, then all others in ascending order.
    pub(in crate::ltp) fn save_exports(&self) -> Vec<SavedExport> {
        let peers = self.peers.iter().flatten();
        let mut numbers: Vec<u64> = peers.flat_map(|peer| peer.fresh.iter().copied()).collect();
        let fresh: BTreeSet<u64> = numbers.iter().copied().collect();
        let others: BTreeSet<u64> = self.exports.iter().map(|(number, _)| *number).collect();
        numbers.extend(others.difference(&fresh));
        let save = |number: u64| {
            let export = self.exports.get(&number)?;
            let state = match &export.state {
                State::Sending(sending) => SavedSending::Sending(sending.save()),
                State::Single(single) => SavedSending::Sending(single.expand().save()),
                State::Cancelling(cancel) => SavedSending::Cancelling {
                    reason: cancel.reason,
                    tries: cancel.tries,
                },
            };
            Some(SavedExport {
                number,
                peer: self.peer_in(export.slot),
                key_hash: export.key_hash,
                state,
            })
        };
        numbers.into_iter().filter_map(save).collect()
    }

    pub(in crate::ltp) fn restore_export(
        &mut self,
        at: usize,
        saved: SavedExport,
        age: Age,
    ) -> Restored {
        let number = saved.number;
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let is_free = number > 0
            && !self.exports.contains_key(&number)
            && self.closed.admit((Role::Sender, session)).is_none();
        require(is_free, "exports.number", at)?;
        let slot = self.slot_of(saved.peer, "exports.peer", at)?;
        let state = match saved.state {
            SavedSending::Sending(sending) => {
                let sending = Sending::restore(sending, at, age)?;
                let tag = sending.tag;
                require(self.tagged(tag).is_none(), "exports.tag", at)?;
                self.export_octets = self.export_octets.saturating_add(sending.block.len());
                State::Sending(Box::new(sending))
            }
            SavedSending::Cancelling { reason, tries } => State::Cancelling(Cancel {
                reason,
                tries,
                timer: None,
            }),
        };
        let export = Export {
            slot,
            key_hash: saved.key_hash,
            state,
        };
        self.insert_export(number, export);
        if let Some(peer) = self.peer_mut(slot) {
            peer.exports += 1;
        }
        self.resume_export(slot, number);
        Ok(())
    }

    /// Resumes a session with its first pass, with the octets known to be missing, and with a new checkpoint on the
    /// whole red part. Checkpoints outstanding before may have been answered since.
    fn resume_export(&mut self, slot: u32, number: u64) {
        let Some((_, sending)) = self.sending(number) else {
            let tries = match self.exports.get(&number).map(|export| &export.state) {
                Some(State::Cancelling(cancel)) => cancel.tries,
                Some(State::Sending(_) | State::Single(_)) | None => 0,
            };
            self.cancel_export_again(slot, number, tries);
            return;
        };
        let is_fresh = sending.next < sending.len;
        let in_flight = sending.in_flight();
        let has_repairs = !sending.repairs.is_empty();
        if sending.next >= sending.red && !sending.is_claimed() {
            self.probe(number);
        } else if has_repairs {
            self.queue_repairs(number);
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.octets = peer.in_flight.octets.saturating_add(in_flight);
            if is_fresh {
                peer.fresh.push_back(number);
            }
        }
        self.check_progress(number);
        self.mark_ready(slot);
    }
}
