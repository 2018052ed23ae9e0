//! The engine as a subject of the laws: its memory, its limits, and its inputs.

use alloc::vec::Vec;

use super::api::Event;
use super::auth::{Cookies, Keys};
use super::beyond::Line;
use super::closed::Closed;
use super::config::Config;
use super::context::{Core, EVENT_OVERHEAD, Key, Node};
use super::engine::Engine;
use super::export::{ExportSession, RepairState};
use super::import::{ImportSession, Reception};
use super::peer::{Control, LinkState, PeerState};
use super::peers::index;
use super::services::{ClientService, KEPT_ENTRIES};
use super::snapshot::item_of;
use super::table::{Sessions, memory_per_position};
use super::wire::{Segment, SessionId};
use crate::kit::Timers;
use crate::laws::codec::Codec;
use crate::laws::{InputMemory, LawSubject};
use crate::{Addr, Hop, Seed};

/// Bytes that an entry of a tree takes at most beside its key and value, in half-empty nodes.
const TREE: usize = 64;
/// Bytes that an octet of a block being sent takes at most beside itself: every other octet claimed, and a checkpoint
/// with a timer for each.
const PER_OCTET: usize = 512;

impl<A: Addr> Engine<A> {
    /// Returns the bytes of memory held, counted as the limits of [`Config`] count them.
    #[must_use]
    pub fn memory(&self) -> usize {
        let Core { node, peers } = &self.core;
        let (exports, imports) = (&self.exports, &self.imports);
        let sent = exports.table.iter();
        let sent = sent.filter_map(|(_, export)| export.stage.open());
        let sent = sent.map(|sending| sending.memory_used() + sending.block.len());
        let received = imports.table.iter();
        let received = received.filter_map(|(_, import)| import.stage.open());
        let received = received.map(Reception::memory_used);
        let returned = node.events.iter().map(|(event, _)| match event {
            Event::Failed { data, .. } => data.len(),
            _ => 0,
        });
        size_of::<Self>()
            + sent.chain(received).chain(returned).sum::<usize>()
            + exports.memory_used()
            + imports.table.memory_used()
            + peers.memory_used()
            + self.addresses.memory_used()
            + node.memory_used()
    }
}

impl Node {
    fn memory_used(&self) -> usize {
        self.budget.events
            + self.budget.pool.octets()
            + self.services.memory_used()
            + self.events.capacity() * size_of::<(Event, usize)>()
            + self.first_pass_done.capacity() * size_of::<u64>()
            + self.asked.capacity() * size_of::<u32>()
            + self.ready.capacity() * size_of::<u32>()
            + self.timers.memory_used()
            + self.closed.memory_used()
            + self.cookies.memory_used()
            + self.strangers.memory_used()
    }
}

impl LawSubject for Engine<Hop> {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), seed).ok()
    }

    fn memory_limit(config: &Config) -> usize {
        let limits = &config.limits;
        let (peers, exports, imports) = (
            index(limits.peers),
            index(limits.exports),
            index(limits.imports),
        );
        let per_event = 2 * size_of::<(Event, usize)>() + EVENT_OVERHEAD;
        // A table keeps an eighth free and doubles, and a vector doubles. Some entries are always allocated.
        let timers = 4 * Timers::<Key>::memory_per_timer();
        let per_export = memory_per_position::<crate::Tag>()
            + Sessions::<u64, ExportSession>::memory_per_entry()
            + 4 * size_of::<(u64, u64)>()
            + size_of::<RepairState>()
            + timers
            + 1024;
        let per_import = Sessions::<SessionId, ImportSession>::memory_per_entry()
            + timers
            + 8 * size_of::<SessionId>()
            + 512;
        let per_peer = size_of::<PeerState>()
            + Keys::MOST
            + 8 * TREE
            + 2 * size_of::<(Hop, LinkState)>()
            + timers
            + Line::memory_per_entry()
            + 512;
        let per_service = size_of::<(u64, ClientService)>()
            + TREE
            + 4 * size_of::<u64>()
            + KEPT_ENTRIES * size_of::<(Event, usize, SessionId)>();
        let control = index(limits.control_segments).saturating_mul(2 * size_of::<Control>());
        [
            (1, size_of::<Self>() + 16_384 + Closed::memory_per_entry()),
            (peers, per_peer + per_event),
            (peers, control),
            (exports, per_export + 4 * per_event),
            (imports, per_import + 4 * per_event),
            (index(limits.events), per_event),
            (index(limits.services), per_service),
            (index(limits.closed_sessions), Closed::memory_per_entry()),
            (index(limits.cookies), Cookies::memory_per_entry()),
            (limits.export_octets, PER_OCTET),
            // Reports have timers, and are larger than these. The queue of a service is up to four times as long
            // as what is in it, and an entry is smaller than what it counts for.
            (limits.import_octets, 4),
        ]
        .into_iter()
        .fold(0, |sum: usize, (count, each)| {
            sum.saturating_add(count.saturating_mul(each))
        })
    }

    fn memory_used(&self) -> usize {
        self.memory()
    }

    fn is_stream(_: &Config, _: Hop) -> bool {
        false
    }

    fn is_stranger(&self, at: Hop) -> bool {
        self.addresses.is_stranger(at, &self.core)
    }

    /// Events that were received and not polled count, and closed sessions count as sessions.
    fn memory_for_input(&self) -> InputMemory {
        let Core { node, .. } = &self.core;
        let events = node.events.iter();
        let events = events.filter(|(event, _)| item_of(event).is_some());
        let continued = self
            .imports
            .table
            .iter()
            .filter(|(_, import)| import.stage.open().is_some_and(Reception::is_continued));
        InputMemory {
            octets: node.budget.imports()
                + node.budget.waiting
                + events.clone().map(|(_, octets)| octets).sum::<usize>(),
            // A closed session may be forgotten before its event is polled or taken.
            sessions: self.imports.table.len()
                + node.closed.len()
                + events.count()
                + node.budget.waiting / EVENT_OVERHEAD,
            continued: continued.count(),
        }
    }

    fn route(at: Hop, _: &[Hop]) -> Hop {
        Hop {
            interface: 0,
            via: at.via % 3,
        }
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        _: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(u)
    }
}

/// The codec of [`Segment`], for law 10.
#[derive(Debug, Clone, Copy)]
pub struct SegmentCodec;

impl Codec for SegmentCodec {
    type Item<'a> = Segment<'a>;

    fn decode(octets: &[u8]) -> Option<Segment<'_>> {
        Segment::decode(octets).ok()
    }

    fn wire_len(item: &Segment<'_>) -> usize {
        item.wire_len()
    }

    fn encode(item: &Segment<'_>, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &Segment<'_>, other: &Segment<'_>) -> bool {
        one == other
    }
}
