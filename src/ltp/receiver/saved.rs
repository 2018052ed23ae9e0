//! Saving and restoring blocks that are being received.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Cancel, Reception, Reports, Stage};
use crate::kit::RangeSet;
use crate::ltp::api::Service;
use crate::ltp::buffer_pool::BufferPool;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
use crate::ltp::snapshot::{
    Age, Restored, SavedImport, SavedPiece, SavedReception, SavedStage, require, set_of,
};
use crate::ltp::wire::{Reason, SessionId};
use crate::{Addr, Instant};

impl Reception {
    fn save(&self) -> SavedReception {
        let pieces = self.held.within(0..u64::MAX).filter_map(|range| {
            let start = usize::try_from(range.start).ok()?;
            let octets = self.buffer.get(start..usize::try_from(range.end).ok()?)?;
            Some(SavedPiece {
                offset: range.start,
                data: Bytes::copy_from_slice(octets),
            })
        });
        SavedReception {
            client: self.client,
            pieces: pieces.collect(),
            red: self.red,
            ends_block: self.ends_block,
            green: self.green,
            is_green_over: self.is_green_over,
            is_delivered: self.is_delivered,
            streamed: self.streamed,
            serial: self.reports.next_serial(),
            checkpoints: self.reports.answered().within(0..u64::MAX).collect(),
            primary: self.reports.primary(),
            problems: self.reports.problems(),
        }
    }

    /// Reads a session, and refuses contradictions. The received octets are not stored yet.
    fn restore(
        saved: &SavedReception,
        service: Service,
        at: usize,
        now: Instant,
    ) -> Restored<Self> {
        let red = saved.red.unwrap_or(u64::MAX);
        require(saved.serial > 0, "imports.serial", at)?;
        require(red > 0, "imports.red", at)?;
        let mut held = RangeSet::new();
        for piece in &saved.pieces {
            // Bound: usize has at most 64 bits.
            let end = piece.offset.checked_add(piece.data.len() as u64);
            let end = end.filter(|end| *end <= red);
            let is_behind = held.is_empty() || piece.offset > held.end();
            let is_piece = is_behind && !piece.data.is_empty() && !saved.is_delivered;
            require(is_piece && end.is_some(), "imports.pieces", at)?;
            held.insert(piece.offset..end.unwrap_or(piece.offset));
        }
        let has_end = !saved.is_delivered || saved.red.is_some();
        require(has_end, "imports.is_delivered", at)?;
        let handed = if saved.is_delivered {
            red
        } else {
            held.run_from(0)
        };
        require(saved.streamed <= handed, "imports.streamed", at)?;
        let checkpoints = set_of(&saved.checkpoints, u64::MAX, "imports.checkpoints", at)?;
        let reports = Reports::restore(saved.serial, checkpoints, saved.primary, saved.problems);
        Ok(Self {
            client: saved.client,
            service,
            buffer: Vec::new(),
            held: RangeSet::new(),
            red: saved.red,
            ends_block: saved.ends_block,
            green: saved.green,
            is_green_over: saved.is_green_over,
            is_delivered: saved.is_delivered,
            streamed: saved.streamed,
            is_streaming: false,
            reports,
            active: now,
            guard: None,
            charge: 0,
            granted: 0,
            excess: 0,
        })
    }

    /// Stores the received octets. False without memory for them.
    fn refill(&mut self, pieces: &[SavedPiece], free: usize, limit: usize) -> bool {
        if let Some(red) = self.red.filter(|_| self.is_delivered) {
            self.held.insert(0..red);
            return true;
        }
        let mut pool = BufferPool::default();
        for piece in pieces {
            // Bound: the end was checked when the pieces were read.
            let range = piece.offset..piece.offset + piece.data.len() as u64;
            let is_short = usize::try_from(range.end).is_ok_and(|end| end <= limit);
            let left = free.checked_sub(self.weight());
            let Some(left) = left.filter(|_| is_short) else {
                return false;
            };
            let stored = self.store(&range, &piece.data, left, limit, &mut pool);
            if stored.is_none() {
                return false;
            }
        }
        self.weight() <= free
    }
}

impl<A: Addr> Engine<A> {
    /// Returns the sessions in ascending order.
    pub(in crate::ltp) fn save_imports(&self) -> Vec<SavedImport> {
        let sessions: BTreeSet<SessionId> = self.imports.iter().map(|(name, _)| *name).collect();
        let save = |session: SessionId| {
            let import = self.imports.get(&session)?;
            let stage = match &import.stage {
                Stage::Receiving(reception) => SavedStage::Receiving(reception.save()),
                Stage::Single(single) => SavedStage::Receiving(single.expand().save()),
                Stage::Cancelling(cancel) => SavedStage::Cancelling {
                    reason: cancel.reason,
                    tries: cancel.tries,
                },
            };
            Some(SavedImport {
                session,
                peer: self.peer_in(import.slot),
                key_hash: import.key_hash,
                stage,
            })
        };
        sessions.into_iter().filter_map(save).collect()
    }

    pub(in crate::ltp) fn restore_import(
        &mut self,
        at: usize,
        saved: SavedImport,
        age: Age,
    ) -> Restored {
        let session = saved.session;
        let is_free = session.number > 0
            && !self.imports.contains_key(&session)
            && self.closed.admit((Role::Receiver, session)).is_none();
        require(is_free, "imports.session", at)?;
        let slot = self.slot_of(saved.peer, "imports.peer", at)?;
        let stage = match &saved.stage {
            SavedStage::Cancelling { reason, tries } => Stage::Cancelling(Cancel {
                reason: *reason,
                tries: *tries,
                timer: None,
            }),
            SavedStage::Receiving(reception) => {
                let opened = self.services.get(&reception.client);
                // A delivered session may be for a service that was closed.
                let is_served = opened.is_some() || reception.is_delivered;
                require(is_served, "imports.client", at)?;
                let service = opened.map(|open| open.service).unwrap_or_default();
                let now = self.now;
                let reception = Reception::restore(reception, service, at, now)?;
                Stage::Receiving(Box::new(reception))
            }
        };
        self.admit(slot, session, stage);
        if let Some(import) = self.imports.get_mut(&session) {
            import.key_hash = saved.key_hash;
        }
        match saved.stage {
            SavedStage::Cancelling { tries, .. } => self.cancel_import_again(slot, session, tries),
            SavedStage::Receiving(reception) => {
                self.resume_import(slot, session, &reception.pieces, age);
            }
        }
        Ok(())
    }

    /// Resumes a session. Reports that were not acknowledged are forgotten, and so are the checkpoints they answered:
    /// these come again, and get new reports.
    fn resume_import(&mut self, slot: u32, session: SessionId, pieces: &[SavedPiece], age: Age) {
        let total = self.config.import_octets;
        let free = total.saturating_sub(self.import_octets + self.event_octets);
        let limit = self.peer(slot).map_or(0, |peer| peer.config.session_octets);
        let Some(reception) = self.reception(session) else {
            return;
        };
        let is_kept = reception.refill(pieces, free, limit);
        let is_delivered = reception.is_delivered;
        self.recharge(session);
        // Claims made since are not in the snapshot, and a peer never sends again what was claimed.
        let is_lost = !is_kept || (age == Age::Behind && !is_delivered);
        if is_lost {
            self.cancel_import(session, Reason::SYSTEM);
            return;
        }
        self.guard_import(slot, session);
        self.schedule_piece(session);
        let reception = self.reception(session);
        let whole = reception.and_then(|one| one.complete_red().filter(|_| !one.is_delivered));
        match whole {
            Some(red) => self.deliver_red(slot, session, red, false),
            None => self.close_if_over(session),
        }
    }
}
