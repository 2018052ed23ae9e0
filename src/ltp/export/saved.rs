//! Saving and restoring blocks that are being sent.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{ExportSession, Exports, Outcome, RepairState, Sending, Stage};
use crate::Tag;
use crate::kit::RangeSet;
use crate::ltp::auth::KeyHash;
use crate::ltp::context::{Cancel, Context, Core, SERIALS, Step};
use crate::ltp::peer::Role;
use crate::ltp::peers::Peers;
use crate::ltp::report_history::ReportHistory;
use crate::ltp::snapshot::{Age, Restored, require};

/// A session in which a block is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::ltp) struct SavedExport {
    number: u64,
    peer: u64,
    key_hash: Option<KeyHash>,
    state: SavedSending,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
enum SavedSending {
    Sending(Box<SavedBlock>),
    Cancelling(Cancel),
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedBlock {
    tag: Tag,
    client: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    block: Bytes,
    red: u64,
    next: u64,
    may_have_left: u64,
    notifies_sent: bool,
    /// 0 in snapshots of versions that did not write it.
    #[cfg_attr(feature = "serde", serde(default))]
    first_serial: u64,
    serial: u64,
    wants_checkpoint: bool,
    claimed: RangeSet,
    reports: RangeSet,
    #[cfg_attr(feature = "serde", serde(default))]
    is_whole: bool,
    lowest: Option<(u64, u64)>,
    problems: u32,
}

impl SavedExport {
    /// Returns the tag of a block that is being sent.
    pub(in crate::ltp) const fn tag(&self) -> Option<Tag> {
        match &self.state {
            SavedSending::Sending(block) => Some(block.tag),
            SavedSending::Cancelling(_) => None,
        }
    }
}

impl Sending {
    fn save(&self) -> SavedBlock {
        let repair = self.repair();
        SavedBlock {
            tag: self.tag,
            client: self.client,
            block: self.block.clone(),
            red: self.red,
            next: self.next,
            may_have_left: repair.may_have_left,
            notifies_sent: self.notifies_sent,
            first_serial: self.first_serial,
            serial: self.serial,
            wants_checkpoint: self.wants_checkpoint,
            claimed: repair.claimed.clone(),
            reports: repair.history.serials(),
            is_whole: repair.history.is_whole(),
            lowest: repair.lowest,
            problems: repair.problems,
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
        let has_serial = saved.serial > 0 && saved.first_serial <= saved.serial;
        require(has_serial, "exports.serial", at)?;
        let reached = saved.red.min(saved.next.max(saved.may_have_left));
        require(saved.claimed.end() <= reached, "exports.claimed", at)?;
        let history = ReportHistory::restore(&saved.reports, saved.is_whole);
        require(history.is_within_limit(), "exports.reports", at)?;
        let (may_have_left, serial) = match age {
            Age::Current => (saved.may_have_left, saved.serial),
            Age::Behind => (len, saved.serial.saturating_add(SERIALS)),
        };
        let repair = RepairState {
            may_have_left,
            checked: saved.next,
            claimed: saved.claimed,
            history,
            lowest: saved.lowest,
            problems: saved.problems,
            ..RepairState::NONE
        };
        Ok(Self {
            tag: saved.tag,
            client: saved.client,
            red: saved.red,
            block: saved.block,
            next: saved.next,
            notifies_sent: saved.notifies_sent,
            first_serial: saved.first_serial,
            serial,
            unchecked: 0,
            wants_checkpoint: saved.wants_checkpoint,
            checkpoints: SmallVec::new(),
            repair: Some(Box::new(repair)),
        })
    }

    /// Resumes a session with its first pass, and asks what is missing by a checkpoint of its own, unless the peer may bear
    /// none yet: those outstanding before may have been answered since.
    fn resume(&mut self, cx: &mut Context<'_>) -> Outcome {
        let in_flight = self.in_flight();
        if self.next >= self.red || self.repair().lowest.is_some() {
            self.probe(cx);
        }
        let octets = &mut cx.peer.in_flight.octets;
        *octets = octets.saturating_add(in_flight);
        if self.next < self.len() {
            cx.peer.fresh.push_back(cx.session.number);
        }
        let outcome = self.check_progress(cx);
        cx.peer.mark_ready(cx.node);
        outcome
    }
}

impl Exports {
    /// Returns the sessions: those on their first pass in order, then all others in ascending order.
    pub(in crate::ltp) fn save(&self, peers: &Peers) -> Vec<SavedExport> {
        let fresh = peers.iter().flat_map(|peer| peer.fresh.iter().copied());
        let mut numbers: Vec<u64> = fresh.collect();
        let fresh: BTreeSet<u64> = numbers.iter().copied().collect();
        let others: BTreeSet<u64> = self.table.iter().map(|(number, _)| *number).collect();
        numbers.extend(others.difference(&fresh));
        let save = |number: u64| {
            let export = self.table.get(&number)?;
            let state = match &export.stage {
                Stage::Sending(sending) => SavedSending::Sending(Box::new(sending.save())),
                Stage::Cancelling(cancel) => SavedSending::Cancelling(cancel.saved()),
            };
            Some(SavedExport {
                number,
                peer: peers.id(export.slot),
                key_hash: export.key_hash,
                state,
            })
        };
        numbers.into_iter().filter_map(save).collect()
    }

    pub(in crate::ltp) fn restore(
        &mut self,
        (at, saved): (usize, SavedExport),
        age: Age,
        core: &mut Core,
    ) -> Restored {
        let Core { node, peers } = core;
        let number = saved.number;
        let name = (Role::Sender, node.own_session(number));
        let is_known = number == 0 || self.table.contains(&number);
        let is_free = !is_known && node.closed.get(node.now, name).is_none();
        require(is_free, "exports.number", at)?;
        let slot = peers.restored_slot(saved.peer, "exports.peer", at)?;
        if let Some(peer) = peers.get_mut(slot) {
            peer.name(node);
        }
        let stage = match saved.state {
            SavedSending::Sending(sending) => {
                let sending = Sending::restore(*sending, at, age)?;
                require(self.place_of(sending.tag).is_err(), "exports.tag", at)?;
                let octets = &mut node.budget.exports;
                *octets = octets.saturating_add(sending.block.len());
                Stage::Sending(sending)
            }
            SavedSending::Cancelling(cancel) => Stage::Cancelling(cancel),
        };
        let export = ExportSession {
            slot,
            key_hash: saved.key_hash,
            stage,
        };
        let peer = peers.get_mut(slot);
        let place = peer.and_then(|peer| self.insert(number, export, peer));
        if let Some(place) = place {
            self.run(place, core, ExportSession::resume);
        }
        Ok(())
    }
}

impl ExportSession {
    fn resume(&mut self, cx: &mut Context<'_>) -> Step {
        match &mut self.stage {
            Stage::Sending(_) => self.sending(cx, Sending::resume),
            Stage::Cancelling(cancel) => cancel.send(Role::Sender, cx),
        }
    }
}
