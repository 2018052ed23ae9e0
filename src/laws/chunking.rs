//! Law 9: compares two runs that differ in the chunking of their streams.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::mem::{Discriminant, discriminant};

use super::log::{Chunking, Log, Observed, SendKind, Unread};
use super::{Law, Step, Violation};
use crate::{Addr, Ask, Link};

/// Compares a run on whole chunks with one on smaller ones, and returns how many steps could be compared.
///
/// Both ran the same script and settled every step. Within a step no other input comes between two chunks.
///
/// The machine may stop wanting octets earlier when it is given smaller chunks. What the rest leads to then
/// comes later, so the runs cannot be compared any longer once anything but `Free` happens. Where the machine
/// awaits a decision it keeps what it read too early untouched, so commands and more octets may still come;
/// but at the next time or cue one run has read the octets and the other has not.
pub(super) fn compare<A: Addr, C, E: Debug + PartialEq>(
    script: &[Step<A, C>],
    whole: &Log<A, E>,
    chunked: &Log<A, E>,
    chunking: Chunking,
    series: fn(&E) -> u64,
) -> Result<usize, Violation> {
    let mut one = Transcript::new(whole, series);
    let mut other = Transcript::new(chunked, series);
    let mut before = Unread::None;
    let mut has_waited = false;
    let unread = whole.unread.iter().zip(&chunked.unread);
    for (index, (step, (whole, chunked))) in script.iter().zip(unread).enumerate() {
        if !is_comparable(step, before) {
            return Ok(index);
        }
        before = *whole.min(chunked);
        one.read_to(index);
        other.read_to(index);
        has_waited |= before == Unread::NoRoom;
        if matches!(before, Unread::None | Unread::Awaiting) {
            let order = if core::mem::take(&mut has_waited) {
                Order::OfEachKind
            } else {
                Order::Strict
            };
            one.compare(&other, chunking, order)
                .map_err(|detail| Violation::new(Law::ChunkingIndependent, index, detail))?;
            one.clear();
            other.clear();
        }
    }
    Ok(script.len())
}

/// Tells whether both runs have to do the same at `step`, given what was left unread before it.
const fn is_comparable<A, C>(step: &Step<A, C>, unread: Unread) -> bool {
    let is_free = matches!(
        step,
        Step::Poll
            | Step::Drain
            | Step::Flood { .. }
            | Step::Link {
                state: Link::Free,
                ..
            }
    );
    match unread {
        Unread::None | Unread::MoreFollows => true,
        Unread::Awaiting => is_free || matches!(step, Step::Receive { .. } | Step::Command(_)),
        Unread::NoRoom => is_free,
    }
}

/// Which order of the events has to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Strict,
    /// Octets waited for room. The event that there is room again comes before or after those of the octets.
    OfEachKind,
}

/// The outputs of a run since they were last compared.
struct Transcript<'l, A, E> {
    rest: core::slice::Iter<'l, (usize, Observed<A, E>)>,
    /// The events of each series.
    events: BTreeMap<u64, Vec<&'l E>>,
    series: fn(&E) -> u64,
    asks: Vec<&'l Ask<A>>,
    streams: BTreeMap<A, Vec<u8>>,
    datagrams: BTreeMap<A, Vec<&'l [u8]>>,
    refusals: Vec<&'l str>,
}

impl<'l, A: Addr, E: Debug + PartialEq> Transcript<'l, A, E> {
    fn new(log: &'l Log<A, E>, series: fn(&E) -> u64) -> Self {
        Self {
            rest: log.entries.iter(),
            events: BTreeMap::new(),
            series,
            asks: Vec::new(),
            streams: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            refusals: Vec::new(),
        }
    }

    /// Adds the outputs up to the step `index`.
    fn read_to(&mut self, index: usize) {
        while let Some((step, seen)) = self.rest.as_slice().first() {
            if *step > index {
                break;
            }
            self.rest.next();
            self.add(seen);
        }
    }

    fn add(&mut self, seen: &'l Observed<A, E>) {
        match seen {
            Observed::Event(event) => {
                let series = (self.series)(event);
                self.events.entry(series).or_default().push(event);
            }
            Observed::Ask(ask) => self.asks.push(ask),
            Observed::Refused(error) => self.refusals.push(error),
            Observed::Sent {
                to,
                kind: SendKind::Stream,
                octets,
            } => {
                self.streams
                    .entry(*to)
                    .or_default()
                    .extend_from_slice(octets);
            }
            Observed::Sent {
                to,
                kind: SendKind::Datagrams { size },
                octets,
            } => {
                let datagrams = self.datagrams.entry(*to).or_default();
                datagrams.extend(octets.chunks((*size).max(1)));
            }
            Observed::Idle(_) | Observed::Done | Observed::Wants(..) => {}
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.asks.clear();
        self.streams.clear();
        self.datagrams.clear();
        self.refusals.clear();
    }

    /// Returns a description of the first difference. A drain between two chunks may split or join what is
    /// sent, so of such a run only the events are compared.
    fn compare(&self, chunked: &Self, chunking: Chunking, order: Order) -> Result<(), String> {
        let how = match chunking {
            Chunking::Whole => "whole",
            Chunking::SingleOctets => "octet by octet",
            Chunking::Random => "in random chunks",
            Chunking::RandomDrained => "in random chunks with drains in between",
        };
        let none = Vec::new();
        for series in self.events.keys().chain(chunked.events.keys()) {
            let one = self.events.get(series).unwrap_or(&none);
            let other = chunked.events.get(series).unwrap_or(&none);
            if order == Order::Strict {
                same("events", how, one, other)?;
                continue;
            }
            for event in one.iter().chain(other) {
                let kind = discriminant(*event);
                same("events", how, &of_kind(one, kind), &of_kind(other, kind))?;
            }
        }
        if chunking == Chunking::RandomDrained {
            return Ok(());
        }
        same("asks", how, &self.asks, &chunked.asks)?;
        self.match_streams(chunked, how)?;
        same("datagrams", how, &self.datagrams, &chunked.datagrams)?;
        same("refusals", how, &self.refusals, &chunked.refusals)
    }

    /// An abort discards unsent octets, so one of two aborted streams may have sent more.
    fn match_streams(&self, chunked: &Self, how: &str) -> Result<(), String> {
        let none = Vec::new();
        for at in self.streams.keys().chain(chunked.streams.keys()) {
            let one = self.streams.get(at).unwrap_or(&none);
            let other = chunked.streams.get(at).unwrap_or(&none);
            let is_aborted = self.asks.contains(&&Ask::Abort(*at));
            if !is_aborted || !(one.starts_with(other) || other.starts_with(one)) {
                same("octets", how, one, other)?;
            }
        }
        Ok(())
    }
}

fn of_kind<'l, E>(events: &[&'l E], kind: Discriminant<E>) -> Vec<&'l E> {
    let is_kind = |event: &&&E| discriminant(**event) == kind;
    events.iter().filter(is_kind).copied().collect()
}

fn same<T: Debug + PartialEq>(what: &str, how: &str, whole: &T, chunked: &T) -> Result<(), String> {
    if whole == chunked {
        return Ok(());
    }
    Err(format!(
        "read whole the {what} were {whole:?}, read {how} they were {chunked:?}"
    ))
}
