//! Saving and restoring blocks that are being sent.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::{Continued, ExportSession, Exports, RepairState, Sending};
use crate::Tag;
use crate::ltp::auth::KeyHash;
use crate::ltp::context::{Context, Core, SERIALS, Step};
use crate::ltp::peer::Role;
use crate::ltp::peers::Peers;
use crate::ltp::snapshot::{Age, Restored, require};
use crate::ltp::stage::Stage;

/// A session in which a block is sent. What is under way is not kept, but asked about anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::ltp) struct SavedExport {
    number: u64,
    peer: u64,
    key_hash: Option<KeyHash>,
    stage: Stage<Box<Sending>>,
}

impl SavedExport {
    /// Returns the tag of a block that is being sent.
    pub(in crate::ltp) fn tag(&self) -> Option<Tag> {
        self.stage.open().map(|sending| sending.tag)
    }
}

impl Sending {
    fn saved(&self) -> Box<Self> {
        let repair = self.repair();
        let kept = RepairState {
            may_have_left: repair.may_have_left,
            claimed: repair.claimed.clone(),
            history: repair.history.saved(),
            lowest: repair.lowest,
            problems: repair.problems,
            ..RepairState::NONE
        };
        Box::new(Self {
            block: self.block.clone(),
            unchecked: 0,
            checkpoints: SmallVec::new(),
            repair: Some(Box::new(kept)),
            ..*self
        })
    }

    /// Refuses contradictions.
    fn restored(mut self, at: usize, age: Age) -> Restored<Self> {
        let (len, red, next) = (self.len(), self.red, self.next);
        require(len > 0, "exports.block", at)?;
        require(red <= len, "exports.red", at)?;
        require(next <= len, "exports.next", at)?;
        let has_serial = self.serial > 0 && self.first_serial <= self.serial;
        require(has_serial, "exports.serial", at)?;
        let repair = self.repair_mut();
        require(repair.may_have_left <= len, "exports.may_have_left", at)?;
        let reached = red.min(next.max(repair.may_have_left));
        require(repair.claimed.end() <= reached, "exports.claimed", at)?;
        let is_coherent = repair.history.is_within_limit();
        require(is_coherent, "exports.history", at)?;
        repair.history.resume();
        repair.checked = next;
        if age == Age::Behind {
            repair.may_have_left = len;
            self.serial = self.serial.saturating_add(SERIALS);
        }
        Ok(self)
    }

    /// Resumes a session with its first pass, and asks what is missing by a checkpoint of its own, unless the peer may bear
    /// none yet: those outstanding before may have been answered since.
    fn resume(&mut self, cx: &mut Context<'_>) -> Continued {
        let in_flight = self.in_flight();
        if self.next >= self.red || self.repair().lowest.is_some() {
            self.probe(cx);
        }
        let octets = &mut cx.peer.in_flight.octets;
        *octets = octets.saturating_add(in_flight);
        if self.next < self.len() {
            cx.peer.fresh.push_back(cx.session.number);
        }
        let continued = self.check_progress(cx);
        cx.peer.mark_ready(cx.node);
        continued
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
            Some(SavedExport {
                number,
                peer: peers.id(export.slot),
                key_hash: export.key_hash,
                stage: export.stage.saved(Sending::saved),
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
        let stage = match saved.stage {
            Stage::Open(sending) => {
                let sending = sending.restored(at, age)?;
                require(self.place_of(sending.tag).is_err(), "exports.tag", at)?;
                let octets = &mut node.budget.exports;
                *octets = octets.saturating_add(sending.block.len());
                Stage::Open(sending)
            }
            Stage::Cancelling(cancel) => Stage::Cancelling(cancel),
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
            Stage::Open(_) => self.sending(cx, Sending::resume),
            Stage::Cancelling(cancel) => cancel.send(Role::Sender, cx),
        }
    }
}
