//! Reassembles fragmented IP packets.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::frame::{Fragment, PacketId};
use crate::Instant;

/// The most packets of which fragments wait; beyond it, the oldest is dropped.
const MAX_PACKETS: usize = 64;
/// How long a packet waits for its fragments (RFC 8200 section 4.5). Later its identification may be reused.
const REASSEMBLY_TIMEOUT: Duration = Duration::from_secs(60);
/// The most octets of an IP packet.
const MAX_PACKET: usize = u16::MAX as usize;

/// Reassembly that wait for others.
#[derive(Debug, Clone, Default)]
pub(super) struct Reassembly {
    packets: BTreeMap<PacketId, PartialPacket>,
    /// The number of packets so far, by which the oldest is found.
    begun: u64,
    /// Reassembly that came to nothing.
    lost: u64,
}

#[derive(Debug, Clone, Default)]
struct PartialPacket {
    number: u64,
    begun: Instant,
    fragments: BTreeMap<usize, Vec<u8>>,
    octets: usize,
    count: u64,
    /// The length of the packet, once its last fragment is there.
    end: Option<usize>,
}

impl Reassembly {
    /// Takes a fragment, and returns the octets of its packet if it is complete.
    pub(super) fn take(&mut self, time: Instant, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let end = fragment.offset + fragment.octets.len();
        if !fragment.is_whole || end > MAX_PACKET {
            self.lost += 1;
            return None;
        }
        let is_late = |waiting: &PartialPacket| time - waiting.begun > REASSEMBLY_TIMEOUT;
        if self.packets.get(&fragment.packet).is_some_and(is_late) {
            self.drop_packet(fragment.packet);
        }
        if !self.packets.contains_key(&fragment.packet) {
            self.make_room();
            self.begun += 1;
        }
        let number = self.begun;
        let waiting = self
            .packets
            .entry(fragment.packet)
            .or_insert_with(|| PartialPacket {
                number,
                begun: time,
                ..PartialPacket::default()
            });
        waiting.add(fragment, end);
        // Its fragments contradict each other.
        if waiting.octets > MAX_PACKET {
            self.drop_packet(fragment.packet);
            return None;
        }
        let whole = waiting.join()?;
        self.packets.remove(&fragment.packet);
        Some(whole)
    }

    /// Returns the number of fragments that were dropped or still wait.
    pub(super) fn lost(&self) -> u64 {
        let waiting: u64 = self.packets.values().map(|waiting| waiting.count).sum();
        self.lost + waiting
    }

    fn make_room(&mut self) {
        if self.packets.len() < MAX_PACKETS {
            return;
        }
        let oldest = self
            .packets
            .iter()
            .min_by_key(|(_, waiting)| waiting.number);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.drop_packet(id);
        }
    }

    fn drop_packet(&mut self, id: PacketId) {
        let waiting = self.packets.remove(&id);
        self.lost += waiting.map_or(0, |waiting| waiting.count);
    }
}

impl PartialPacket {
    fn add(&mut self, fragment: &Fragment<'_>, end: usize) {
        self.count += 1;
        if fragment.is_last {
            self.end = Some(end);
        }
        let kept = self.fragments.entry(fragment.offset).or_default();
        if kept.len() < fragment.octets.len() {
            self.octets += fragment.octets.len() - kept.len();
            *kept = fragment.octets.to_vec();
        }
    }

    /// Joins the fragments, if none is missing. Of octets that are there twice, the first count.
    fn join(&self) -> Option<Vec<u8>> {
        let end = self.end?;
        if self.octets < end {
            return None;
        }
        let mut whole = Vec::with_capacity(end);
        for (offset, octets) in &self.fragments {
            let have = whole.len().checked_sub(*offset)?;
            whole.extend_from_slice(octets.get(have..).unwrap_or_default());
        }
        whole.truncate(end);
        (whole.len() == end).then_some(whole)
    }
}
