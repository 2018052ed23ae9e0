//! Saving and restoring blocks that are being received.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::{Awaited, ImportSession, Imports, Parts, Reception};
use crate::Instant;
use crate::kit::RangeSet;
use crate::ltp::api::Service;
use crate::ltp::auth::KeyHash;
use crate::ltp::buffer_pool::BufferPool;
use crate::ltp::context::{Context, Core, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::fingerprint::Fingerprint;
use crate::ltp::peer::Role;
use crate::ltp::peers::Peers;
use crate::ltp::reassembly::{Reassembly, Room};
use crate::ltp::report::Reports;
use crate::ltp::snapshot::{Age, Restored, require};
use crate::ltp::stage::Stage;
use crate::ltp::wire::SessionId;

/// A session in which a block is received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::ltp) struct SavedImport {
    session: SessionId,
    peer: u64,
    key_hash: Option<KeyHash>,
    fingerprint: Fingerprint,
    stage: Stage<Box<SavedReception>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedReception {
    client: u64,
    pieces: Vec<SavedPiece>,
    red: Option<u64>,
    ends_block: bool,
    green: Option<u64>,
    green_end: Option<u64>,
    is_delivered: bool,
    /// What was received of a scattered red part, in pieces or not.
    held: RangeSet,
    /// Whether a scattered red part waits to be stored.
    is_to_be_stored: bool,
    streamed: u64,
    serial: u64,
    checkpoints: RangeSet,
    primary: u64,
    problems: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedPiece {
    offset: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    data: Bytes,
}

impl SavedPiece {
    /// Returns the range of a piece, which was checked.
    const fn range(&self) -> Range<u64> {
        // Bound: usize has at most 64 bits.
        self.offset..self.offset.saturating_add(self.data.len() as u64)
    }
}

impl Reception {
    fn save(&self) -> SavedReception {
        let whole;
        let parts = if let Some(parts) = &self.parts {
            &**parts
        } else {
            whole = self.whole_parts();
            &whole
        };
        let piece = |(offset, octets): (u64, &[u8])| SavedPiece {
            offset,
            data: Bytes::copy_from_slice(octets),
        };
        let held = match self.service {
            Service::Scattered => parts.red.held.clone(),
            Service::Whole | Service::Streaming => RangeSet::new(),
        };
        let mut pieces: Vec<SavedPiece> = parts.red.runs().map(piece).collect();
        pieces.sort_unstable_by_key(|piece| piece.offset);
        SavedReception {
            client: self.client,
            pieces,
            held,
            is_to_be_stored: self.is_to_be_stored(),
            red: self.red,
            ends_block: self.ends_block,
            green: parts.green,
            green_end: parts.green_end,
            is_delivered: self.is_delivered,
            streamed: parts.streamed,
            serial: self.serial,
            checkpoints: parts.reports.answered(&self.pending),
            primary: parts.reports.primary,
            problems: parts.reports.problems,
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
            let is_within = end.is_some_and(|end| end <= red);
            let is_behind = held.is_empty() || piece.offset >= held.end();
            let may_wait = !saved.is_delivered || saved.is_to_be_stored;
            let is_piece = is_behind && !piece.data.is_empty() && may_wait;
            require(is_piece && is_within, "imports.pieces", at)?;
            held.insert(piece.range());
        }
        let has_end = !saved.is_delivered || saved.red.is_some();
        require(has_end, "imports.is_delivered", at)?;
        let is_scattered = service == Service::Scattered;
        let is_known = held.within(0..red).all(|range| saved.held.covers(&range));
        let is_scatter = is_known && saved.held.end() <= red;
        let is_empty = saved.held.is_empty() || saved.is_delivered;
        require(
            if is_scattered { is_scatter } else { is_empty },
            "imports.held",
            at,
        )?;
        let may_be_stored = is_scattered && saved.is_delivered && saved.held.len() == red;
        let is_consistent = may_be_stored || !saved.is_to_be_stored;
        require(is_consistent, "imports.is_to_be_stored", at)?;
        let contiguous = if saved.is_delivered {
            red
        } else {
            held.run_from(0)
        };
        require(saved.streamed <= contiguous, "imports.streamed", at)?;
        let reports = Reports::restore(saved.checkpoints.clone(), saved.primary, saved.problems);
        let parts = Parts {
            green: saved.green,
            green_end: saved.green_end,
            streamed: saved.streamed,
            ..Parts::new(service, None, reports)
        };
        Ok(Self {
            red: saved.red,
            ends_block: saved.ends_block,
            is_delivered: saved.is_delivered,
            awaits: saved.is_to_be_stored.then_some(Awaited::Delivery),
            parts: Some(Box::new(parts)),
            ..Self::new(saved.client, service, saved.serial, now)
        })
    }

    /// Stores the received octets. False without memory for them.
    fn refill(&mut self, saved: &SavedReception, free: usize, limit: usize) -> bool {
        let red = self.red;
        let is_scattered = self.service == Service::Scattered;
        if let Some(red) = red.filter(|_| self.is_delivered && !is_scattered) {
            self.parts().red = Reassembly::delivered(red);
            return true;
        }
        let mut pool = BufferPool::default();
        for piece in &saved.pieces {
            self.parts().hear(1, piece.data.len());
            let range = piece.range();
            let is_short = usize::try_from(range.end).is_ok_and(|end| end <= limit);
            let free = free.checked_sub(self.weight());
            let Some(free) = free.filter(|_| is_short) else {
                return false;
            };
            let room = Room {
                free,
                spare: free,
                limit,
                red,
            };
            let (_, is_stored) = self.parts().red.store(&range, &piece.data, room, &mut pool);
            if !is_stored {
                return false;
            }
        }
        // What was given to the application is not kept.
        for range in saved.held.within(0..u64::MAX) {
            let octets = usize::try_from(range.end - range.start);
            self.parts().hear(1, octets.unwrap_or(usize::MAX));
            self.parts().red.held.insert(range);
        }
        self.weight() <= free
    }

    /// Resumes a session. Reports that were not acknowledged are forgotten, and so are the checkpoints they answered:
    /// these come again, and get new reports.
    fn resume(
        &mut self,
        saved: &SavedReception,
        age: Age,
        cx: &mut Context<'_>,
    ) -> Result<Step, EndCause> {
        let (free, limit) = (cx.node.budget.free(), cx.peer.config.limits.session_octets);
        let is_kept = self.refill(saved, free, limit);
        self.recharge(cx);
        // Claims made since are not in the snapshot, and a peer never sends again what was claimed.
        if !is_kept || (age == Age::Behind && !self.is_delivered) {
            return Err(EndCause::StateLost);
        }
        self.guard(cx);
        self.queue_item(cx.session, &mut cx.node.services);
        if let Some(red) = self.complete_red().filter(|_| !self.is_delivered) {
            return self.deliver_red(red, false, cx);
        }
        if let Some(red) = self.red.filter(|_| self.is_delivered) {
            // The reports that said so were not acknowledged, and a sender that was restored too asks under numbers that
            // memory could not tell from those of another session.
            self.report(0, 0..red, cx)?;
            self.recharge(cx);
        }
        Ok(self.close_if_over())
    }
}

impl Imports {
    /// Returns the sessions in ascending order.
    pub(in crate::ltp) fn save(&self, peers: &Peers) -> Vec<SavedImport> {
        let sessions: BTreeSet<SessionId> = self.table.iter().map(|(name, _)| *name).collect();
        let save = |session: SessionId| {
            let import = self.table.get(&session)?;
            Some(SavedImport {
                session,
                peer: peers.id(import.slot),
                key_hash: import.key_hash,
                fingerprint: import.fingerprint,
                stage: import.stage.saved(|reception| Box::new(reception.save())),
            })
        };
        sessions.into_iter().filter_map(save).collect()
    }

    pub(in crate::ltp) fn restore(
        &mut self,
        (at, saved): (usize, SavedImport),
        age: Age,
        core: &mut Core,
    ) -> Restored {
        let session = saved.session;
        let is_known = session.number == 0 || self.table.contains(&session);
        let name = (Role::Receiver, session);
        let node = &core.node;
        let is_free = !is_known && node.closed.get(node.now, name).is_none();
        require(is_free, "imports.session", at)?;
        let slot = core.peers.restored_slot(saved.peer, "imports.peer", at)?;
        let stage = match &saved.stage {
            Stage::Cancelling(cancel) => Stage::Cancelling(cancel.clone()),
            Stage::Open(reception) => {
                let service = core.node.services.get(reception.client);
                // A delivered session may be for a service that was closed.
                let is_served = service.is_some() || reception.is_delivered;
                require(is_served, "imports.client", at)?;
                let service = service.unwrap_or_default();
                Stage::Open(Reception::restore(reception, service, at, core.node.now)?)
            }
        };
        let import = ImportSession {
            slot,
            key_hash: saved.key_hash,
            lifetime: None,
            fingerprint: saved.fingerprint,
            stage,
        };
        if let Some(peer) = core.peers.get_mut(slot) {
            peer.imports += 1;
        }
        if let Some(place) = self.table.insert(session, import, slot) {
            self.run(place, core, |import, cx| {
                import.lifetime = cx.limit_lifetime();
                match (&mut import.stage, &saved.stage) {
                    (Stage::Cancelling(cancel), _) => cancel.send(Role::Receiver, cx),
                    (_, Stage::Cancelling(_)) => Step::Continues,
                    (_, Stage::Open(saved)) => {
                        import.receive(cx, |reception, cx| reception.resume(saved, age, cx))
                    }
                }
            });
        }
        Ok(())
    }
}
