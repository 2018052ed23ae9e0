//! Puts the pieces of fragmented IP packets together.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::frame::{Piece, Whose};
use crate::Instant;

/// Packets of which pieces may wait; beyond it, the one that waits longest is given up.
const PACKETS: usize = 64;
/// How long a packet waits for its pieces (RFC 8200 section 4.5): its number may be another's then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets that an IP packet can carry.
const LONGEST: usize = u16::MAX as usize;

/// Pieces that wait for others.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    packets: BTreeMap<Whose, Waiting>,
    /// Counts packets, to know which one waits longest.
    begun: u64,
    /// Pieces that came to nothing.
    lost: u64,
}

#[derive(Debug, Clone, Default)]
struct Waiting {
    number: u64,
    begun: Instant,
    pieces: BTreeMap<usize, Vec<u8>>,
    octets: usize,
    count: u64,
    /// Where the packet ends, once its last piece is there.
    end: Option<usize>,
}

impl Pieces {
    /// Takes a piece; gives what the packet carried, if nothing is missing any more.
    pub(super) fn take(&mut self, time: Instant, piece: &Piece<'_>) -> Option<Vec<u8>> {
        let end = piece.offset + piece.octets.len();
        if !piece.is_whole || end > LONGEST {
            self.lost += 1;
            return None;
        }
        let is_late = |waiting: &Waiting| time - waiting.begun > PATIENCE;
        if self.packets.get(&piece.of).is_some_and(is_late) {
            self.give_up(piece.of);
        }
        if !self.packets.contains_key(&piece.of) {
            self.make_room();
            self.begun += 1;
        }
        let number = self.begun;
        let waiting = self.packets.entry(piece.of).or_insert_with(|| Waiting {
            number,
            begun: time,
            ..Waiting::default()
        });
        waiting.add(piece, end);
        // More than a packet has room for: its pieces contradict each other.
        if waiting.octets > LONGEST {
            self.give_up(piece.of);
            return None;
        }
        let whole = waiting.join()?;
        self.packets.remove(&piece.of);
        Some(whole)
    }

    /// Returns how many pieces came to nothing, or wait still.
    pub(super) fn lost(&self) -> u64 {
        let waiting: u64 = self.packets.values().map(|waiting| waiting.count).sum();
        self.lost + waiting
    }

    fn make_room(&mut self) {
        if self.packets.len() < PACKETS {
            return;
        }
        let oldest = self
            .packets
            .iter()
            .min_by_key(|(_, waiting)| waiting.number);
        if let Some(of) = oldest.map(|(of, _)| *of) {
            self.give_up(of);
        }
    }

    fn give_up(&mut self, of: Whose) {
        let waiting = self.packets.remove(&of);
        self.lost += waiting.map_or(0, |waiting| waiting.count);
    }
}

impl Waiting {
    fn add(&mut self, piece: &Piece<'_>, end: usize) {
        self.count += 1;
        if piece.is_last {
            self.end = Some(end);
        }
        let held = self.pieces.entry(piece.offset).or_default();
        if held.len() < piece.octets.len() {
            self.octets += piece.octets.len() - held.len();
            *held = piece.octets.to_vec();
        }
    }

    /// Joins the pieces, if none is missing. Of what is there twice, the first counts.
    fn join(&self) -> Option<Vec<u8>> {
        let end = self.end?;
        if self.octets < end {
            return None;
        }
        let mut whole = Vec::with_capacity(end);
        for (offset, octets) in &self.pieces {
            let known = whole.len().checked_sub(*offset)?;
            whole.extend_from_slice(octets.get(known..).unwrap_or_default());
        }
        whole.truncate(end);
        (whole.len() == end).then_some(whole)
    }
}
