//! Which messages and remarks are drawn together when there are many.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use super::super::{Mark, MarkKind, Node, Noted, Packet, Trace};
use super::count;
use super::parts::{Band, Bracket, LostOne, Style};
use crate::Instant;

/// The fewest messages that make a band, or remarks that make a bracket.
const BAND: usize = 8;

/// The runs of a trace, and of each message or remark by its number the part that it has in one.
#[derive(Default)]
pub(super) struct Runs<'a> {
    messages: Vec<Run<'a>>,
    marks: Vec<MarkRun<'a>>,
    roles: BTreeMap<usize, Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    FirstMessage(usize),
    FirstMark(usize),
    Inside,
}

pub(super) enum Role<'r, 'a> {
    Alone,
    /// The first message of a run, which stands for it.
    Messages(&'r Run<'a>),
    /// The first remark of a run, which stands for it.
    Marks(&'r MarkRun<'a>),
    Inside,
}

/// Messages of one direction, kind and style.
pub(super) struct Run<'a> {
    first: &'a Packet,
    to: Node,
    style: Style,
    packets: Vec<(usize, &'a Packet)>,
    /// Those that were lost, each with how many of `packets` were sent before.
    lost: Vec<(usize, usize, &'a Packet)>,
    /// Those that the line copied or corrupted, which are only counted.
    odd: Vec<(usize, Style)>,
}

/// Remarks of one kind at one node.
pub(super) struct MarkRun<'a> {
    marks: Vec<(usize, &'a Mark)>,
}

type MessageKey = (Node, Node, String, bool);
type MarkKey = (Node, MarkKind, String);

impl<'a> Runs<'a> {
    /// Gathers what is alike. A run ends when it is silent for much longer than between those before.
    pub(super) fn of(trace: &'a Trace) -> Self {
        let mut messages: BTreeMap<MessageKey, Run<'a>> = BTreeMap::new();
        let mut marks: BTreeMap<MarkKey, MarkRun<'a>> = BTreeMap::new();
        let mut all = Self::default();
        for (number, moment) in trace.notes().enumerate() {
            match moment {
                Noted::Packet(packet) => all.add_packet(&mut messages, number, packet),
                Noted::Mark(mark) => all.add_mark(&mut marks, number, mark),
            }
        }
        for run in messages.into_values() {
            all.close(run);
        }
        for run in marks.into_values() {
            all.close_marks(run);
        }
        all
    }

    fn add_packet(
        &mut self,
        open: &mut BTreeMap<MessageKey, Run<'a>>,
        number: usize,
        packet: &'a Packet,
    ) {
        let style = Style::of(packet);
        let Some(to) = packet.to.filter(|_| style.runs()) else {
            return;
        };
        let key = (packet.from, to, kind(packet), packet.is_repeated);
        let is_over = open.get(&key).is_some_and(|run| {
            let times = run.packets.iter().map(|(_, packet)| packet.time);
            // With one nothing is known of the pace, but that it is there before the next.
            let is_gone = run.packets.len() == 1
                && run
                    .first
                    .arrived()
                    .is_some_and(|arrived| arrived < packet.time && run.first.time < arrived);
            is_gone || !goes_on(times, packet.time)
        });
        if is_over && let Some(run) = open.remove(&key) {
            self.close(run);
        }
        if style == Style::Lost {
            if let Some(run) = open.get_mut(&key) {
                run.lost.push((number, run.packets.len(), packet));
            }
            return;
        }
        if matches!(style, Style::Copy | Style::Corrupted) {
            if let Some(run) = open.get_mut(&key) {
                run.odd.push((number, style));
            }
            return;
        }
        let run = open.entry(key).or_insert_with(|| Run {
            first: packet,
            to,
            style,
            packets: Vec::new(),
            lost: Vec::new(),
            odd: Vec::new(),
        });
        run.packets.push((number, packet));
    }

    fn add_mark(
        &mut self,
        open: &mut BTreeMap<MarkKey, MarkRun<'a>>,
        number: usize,
        mark: &'a Mark,
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

    fn close(&mut self, run: Run<'a>) {
        if run.packets.len() < BAND {
            return;
        }
        let numbers = run.packets.iter().map(|(number, _)| *number);
        let lost = run.lost.iter().map(|(number, ..)| *number);
        let odd = run.odd.iter().map(|(number, _)| *number);
        let inside = numbers.chain(lost).chain(odd);
        self.roles
            .extend(inside.map(|number| (number, Place::Inside)));
        if let Some((first, _)) = run.packets.first() {
            self.roles
                .insert(*first, Place::FirstMessage(self.messages.len()));
        }
        self.messages.push(run);
    }

    fn close_marks(&mut self, run: MarkRun<'a>) {
        if run.marks.len() < BAND {
            return;
        }
        let numbers = run.marks.iter().map(|(number, _)| *number);
        self.roles
            .extend(numbers.map(|number| (number, Place::Inside)));
        if let Some((first, _)) = run.marks.first() {
            self.roles
                .insert(*first, Place::FirstMark(self.marks.len()));
        }
        self.marks.push(run);
    }

    pub(super) fn role(&self, number: usize) -> Role<'_, 'a> {
        match self.roles.get(&number) {
            None => Role::Alone,
            Some(Place::Inside) => Role::Inside,
            Some(Place::FirstMessage(run)) => {
                self.messages.get(*run).map_or(Role::Inside, Role::Messages)
            }
            Some(Place::FirstMark(run)) => self.marks.get(*run).map_or(Role::Inside, Role::Marks),
        }
    }
}

/// Tells whether what comes at `next` belongs to those before.
fn goes_on(
    mut times: impl ExactSizeIterator<Item = Instant> + DoubleEndedIterator,
    next: Instant,
) -> bool {
    let steps = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let (Some(first), Some(last)) = (times.next(), times.next_back()) else {
        // With one nothing is known of the pace yet.
        return true;
    };
    let pace: Duration = (last - first) / steps.saturating_sub(1).max(1);
    next - last <= pace * 8
}

impl<'a> Run<'a> {
    pub(super) fn band(&self) -> Band<'a> {
        let all = count(self.packets.len() + self.lost.len());
        let lost = self.lost.iter().enumerate();
        let lost = lost.map(|(before, (_, sent, packet))| LostOne {
            packet,
            part: (count(before + sent) / (all - 1.0).max(1.0)).min(1.0),
        });
        let counted = |style| self.odd.iter().filter(|(_, odd)| *odd == style).count();
        Band {
            from: self.first.from,
            to: self.to,
            style: self.style,
            packets: self.packets.iter().map(|(_, packet)| *packet).collect(),
            lost: lost.collect(),
            copies: counted(Style::Copy),
            corrupted: counted(Style::Corrupted),
            starts: <(Cell<f64>, Cell<f64>)>::default(),
            ends: <(Cell<f64>, Cell<f64>)>::default(),
        }
    }
}

impl<'a> MarkRun<'a> {
    pub(super) fn bracket(&self) -> Option<Bracket<'a>> {
        Some(Bracket {
            first: self.marks.first()?.1,
            last: self.marks.last()?.1,
            count: self.marks.len(),
            ends: <(Cell<f64>, Cell<f64>)>::default(),
        })
    }
}

/// The first word of what a message is called: numbers behind it differ from one to the next.
fn kind(packet: &Packet) -> String {
    let title = match &packet.label {
        Some(label) => label.clone(),
        None => String::from("octets"),
    };
    title.split(' ').next().unwrap_or_default().to_string()
}
