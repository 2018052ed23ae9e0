//! Runs: like messages, or like marks, that ladders show as one when there are many.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Delivery, MarkKind, Node, TraceEntry, TraceMark, TracePacket};
use crate::Instant;

/// The fewest messages, or marks, that make a run.
const MIN_LEN: usize = 8;

/// A trace with fewer entries is shown whole.
const MANY_ENTRIES: usize = 80;

/// A pause of this many mean gaps ends a run.
const PAUSE: u32 = 8;

/// All runs of a trace, and the role of each entry by its number.
#[derive(Default)]
pub(super) struct Runs<'a> {
    packets: Vec<PacketRun<'a>>,
    marks: Vec<MarkRun<'a>>,
    roles: BTreeMap<usize, Role>,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    FirstPacket(usize),
    FirstMark(usize),
    LastPacket,
    Inside,
}

/// How an entry takes part in a run.
pub(super) enum RunRole<'r, 'a> {
    /// It is in no run.
    Alone,
    /// It is the first message of this run.
    FirstPacket(&'r PacketRun<'a>),
    /// It is the first mark of this run.
    FirstMark(&'r MarkRun<'a>),
    /// It is the last message of a run.
    LastPacket,
    /// It is in the middle of a run, or its last mark.
    Inside,
}

/// What a message looks like in a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    Plain,
    Repeated,
    Copy,
    Corrupted,
    InFlight,
    Lost,
}

impl Style {
    pub(super) fn of(packet: &TracePacket) -> Self {
        match packet.delivery {
            Delivery::Lost(..) => Self::Lost,
            _ if packet.is_corrupted => Self::Corrupted,
            _ if packet.is_copy => Self::Copy,
            _ if packet.is_repeated => Self::Repeated,
            Delivery::InFlight => Self::InFlight,
            Delivery::Arrived(_) => Self::Plain,
        }
    }
}

/// Messages of one direction, kind and style.
pub(super) struct PacketRun<'a> {
    pub(super) to: Node,
    pub(super) style: Style,
    /// Those that arrived, with their numbers. Never empty.
    pub(super) packets: Vec<(usize, &'a TracePacket)>,
    pub(super) lost: Vec<LostInRun<'a>>,
    /// The numbers of those that the line copied or corrupted, which are counted only.
    pub(super) faulty: Vec<(usize, Style)>,
}

/// A message that was lost amid a run.
pub(super) struct LostInRun<'a> {
    number: usize,
    /// How many messages of the run were sent before it and arrived.
    pub(super) after: usize,
    pub(super) packet: &'a TracePacket,
}

impl PacketRun<'_> {
    /// Counts the messages that the line copied or corrupted.
    pub(super) fn count(&self, style: Style) -> usize {
        let faulty = self.faulty.iter();
        faulty.filter(|(_, other)| *other == style).count()
    }
}

/// Marks of one kind and text at one node.
pub(super) struct MarkRun<'a> {
    /// With their numbers. Never empty.
    pub(super) marks: Vec<(usize, &'a TraceMark)>,
}

type PacketKey = (Node, Node, String, bool);
type MarkKey = (Node, MarkKind, String);

impl<'a> Runs<'a> {
    /// Finds the runs, unless the trace is short enough to be shown whole.
    pub(super) fn of_long(entries: &[TraceEntry<'a>]) -> Self {
        if entries.len() > MANY_ENTRIES {
            Self::of(entries)
        } else {
            Self::default()
        }
    }

    fn of(entries: &[TraceEntry<'a>]) -> Self {
        let mut packets: BTreeMap<PacketKey, PacketRun<'a>> = BTreeMap::new();
        let mut marks: BTreeMap<MarkKey, MarkRun<'a>> = BTreeMap::new();
        let mut all = Self::default();
        for (number, entry) in entries.iter().enumerate() {
            match *entry {
                TraceEntry::Packet(packet) => all.add_packet(&mut packets, number, packet),
                TraceEntry::Mark(mark) => all.add_mark(&mut marks, number, mark),
            }
        }
        for run in packets.into_values() {
            all.close_packets(run);
        }
        for run in marks.into_values() {
            all.close_marks(run);
        }
        all
    }

    fn add_packet(
        &mut self,
        open: &mut BTreeMap<PacketKey, PacketRun<'a>>,
        number: usize,
        packet: &'a TracePacket,
    ) {
        let style = Style::of(packet);
        let Some(to) = packet.to.filter(|_| style != Style::InFlight) else {
            return;
        };
        let key = (packet.from, to, kind(packet), packet.is_repeated);
        if open.get(&key).is_some_and(|run| is_over(run, packet))
            && let Some(run) = open.remove(&key)
        {
            self.close_packets(run);
        }
        match style {
            Style::Lost => {
                if let Some(run) = open.get_mut(&key) {
                    let after = run.packets.len();
                    run.lost.push(LostInRun {
                        number,
                        after,
                        packet,
                    });
                }
            }
            Style::Copy | Style::Corrupted => {
                if let Some(run) = open.get_mut(&key) {
                    run.faulty.push((number, style));
                }
            }
            Style::Plain | Style::Repeated | Style::InFlight => {
                let run = open.entry(key).or_insert_with(|| PacketRun {
                    to,
                    style,
                    packets: Vec::new(),
                    lost: Vec::new(),
                    faulty: Vec::new(),
                });
                run.packets.push((number, packet));
            }
        }
    }

    fn add_mark(
        &mut self,
        open: &mut BTreeMap<MarkKey, MarkRun<'a>>,
        number: usize,
        mark: &'a TraceMark,
    ) {
        let key = (mark.node, mark.kind, mark.text.clone());
        let is_over = open.get(&key).is_some_and(|run| {
            let times = run.marks.iter().map(|(_, mark)| mark.time);
            !goes_on(times, mark.time)
        });
        if is_over && let Some(run) = open.remove(&key) {
            self.close_marks(run);
        }
        let run = open
            .entry(key)
            .or_insert_with(|| MarkRun { marks: Vec::new() });
        run.marks.push((number, mark));
    }

    fn close_packets(&mut self, run: PacketRun<'a>) {
        let numbers = || run.packets.iter().map(|(number, _)| *number);
        if numbers().len() < MIN_LEN {
            return;
        }
        let dropped = run.lost.iter().map(|lost| lost.number);
        let faulty = run.faulty.iter().map(|(number, _)| *number);
        let inside = numbers().chain(dropped).chain(faulty);
        self.roles
            .extend(inside.map(|number| (number, Role::Inside)));
        let last = numbers().next_back().map(|last| (last, Role::LastPacket));
        let first = Role::FirstPacket(self.packets.len());
        let first = numbers().next().map(|number| (number, first));
        self.roles.extend(last.into_iter().chain(first));
        self.packets.push(run);
    }

    fn close_marks(&mut self, run: MarkRun<'a>) {
        let numbers = || run.marks.iter().map(|(number, _)| *number);
        if numbers().len() < MIN_LEN {
            return;
        }
        self.roles
            .extend(numbers().map(|number| (number, Role::Inside)));
        let first = Role::FirstMark(self.marks.len());
        self.roles
            .extend(numbers().next().map(|number| (number, first)));
        self.marks.push(run);
    }

    /// Returns the role of the entry with this number.
    pub(super) fn role(&self, number: usize) -> RunRole<'_, 'a> {
        let role = match self.roles.get(&number) {
            None => return RunRole::Alone,
            Some(role) => *role,
        };
        let role = match role {
            Role::FirstPacket(run) => self.packets.get(run).map(RunRole::FirstPacket),
            Role::FirstMark(run) => self.marks.get(run).map(RunRole::FirstMark),
            Role::LastPacket => Some(RunRole::LastPacket),
            Role::Inside => None,
        };
        role.unwrap_or(RunRole::Inside)
    }
}

/// Tells whether a run ended before `next`: by a pause that is long for it.
fn is_over(run: &PacketRun<'_>, next: &TracePacket) -> bool {
    let times = run.packets.iter().map(|(_, packet)| packet.time);
    // One message tells no gap, only that it arrived before the next was sent.
    let is_single = match run.packets.as_slice() {
        [(_, only)] => only
            .arrived()
            .is_some_and(|arrived| only.time < arrived && arrived < next.time),
        _ => false,
    };
    is_single || !goes_on(times, next.time)
}

/// Tells whether something at `next` follows the others without a pause.
fn goes_on(
    mut times: impl ExactSizeIterator<Item = Instant> + DoubleEndedIterator,
    next: Instant,
) -> bool {
    let steps = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let (Some(first), Some(last)) = (times.next(), times.next_back()) else {
        return true;
    };
    let mean_gap: Duration = (last - first) / steps.saturating_sub(1).max(1);
    next - last <= mean_gap * PAUSE
}

/// Returns the first word of a message's label; what follows differs from one message to the next.
fn kind(packet: &TracePacket) -> String {
    let label = packet.label.as_deref().unwrap_or("octets");
    label.split(' ').next().unwrap_or_default().to_string()
}
