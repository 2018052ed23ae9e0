//! Law 9: what two runs gave that differ in how the streams were cut.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::mem::{Discriminant, discriminant};

use super::log::{Log, Pieces, Run, Seen, Stall};
use super::{Law, Step, Violation};
use crate::{Addr, Ask, Link};

/// Compares a run on whole chunks with one on pieces, and returns how many steps could be compared.
///
/// Both ran the same script, every step settled: after it the machine was drained, and streams were read
/// while wanted, in turns, until nothing moved. Within a step no other input comes between two pieces.
///
/// The machine may read less of pieces than of a chunk before it wants no more. What the rest brings then
/// comes later, so the runs say nothing about each other any longer once anything but `Free` happens.
/// Where it awaits a decision, it holds what it read too far untouched, so commands and more octets may
/// still come; but time and cues find one machine with the octets read and the other without.
pub(super) fn compare<A: Addr, C, E: Debug + PartialEq>(
    script: &[Step<A, C>],
    whole: &Log<A, E>,
    cut: &Log<A, E>,
    pieces: Pieces,
) -> Result<usize, Violation> {
    let mut one = Tale::new(whole);
    let mut other = Tale::new(cut);
    let mut before = Stall::None;
    let mut has_waited = false;
    let stalls = whole.stalls.iter().zip(&cut.stalls);
    for (index, (step, (whole, cut))) in script.iter().zip(stalls).enumerate() {
        if !is_comparable(step, before) {
            return Ok(index);
        }
        before = *whole.min(cut);
        one.tell(index);
        other.tell(index);
        has_waited |= before == Stall::Blocked;
        if matches!(before, Stall::None | Stall::Awaiting) {
            let order = if core::mem::take(&mut has_waited) {
                Order::OfEachKind
            } else {
                Order::Strict
            };
            one.match_with(&other, pieces, order)
                .map_err(|detail| Violation::new(Law::ChunksVanish, index, detail))?;
            one.forget();
            other.forget();
        }
    }
    Ok(script.len())
}

/// Tells whether both runs can be expected to do the same at `step`, after what was left unread.
const fn is_comparable<A, C>(step: &Step<A, C>, unread: Stall) -> bool {
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
        Stall::None | Stall::Joined => true,
        Stall::Awaiting => is_free || matches!(step, Step::Receive { .. } | Step::Command(_)),
        Stall::Blocked => is_free,
    }
}

/// Which order of the events has to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Strict,
    /// Octets waited for room. What a machine says of itself, that there is room again, comes before or
    /// behind what the octets say.
    OfEachKind,
}

/// What a run gave since it was last compared.
struct Tale<'l, A, E> {
    rest: core::slice::Iter<'l, (usize, Seen<A, E>)>,
    events: Vec<&'l E>,
    asks: Vec<&'l Ask<A>>,
    streams: BTreeMap<A, Vec<u8>>,
    datagrams: BTreeMap<A, Vec<&'l [u8]>>,
    refusals: Vec<&'l str>,
}

impl<'l, A: Addr, E: Debug + PartialEq> Tale<'l, A, E> {
    fn new(log: &'l Log<A, E>) -> Self {
        Self {
            rest: log.seen.iter(),
            events: Vec::new(),
            asks: Vec::new(),
            streams: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            refusals: Vec::new(),
        }
    }

    /// Adds what came at the step `index`.
    fn tell(&mut self, index: usize) {
        while let Some((step, seen)) = self.rest.as_slice().first() {
            if *step > index {
                break;
            }
            self.rest.next();
            self.add(seen);
        }
    }

    fn add(&mut self, seen: &'l Seen<A, E>) {
        match seen {
            Seen::Event(event) => self.events.push(event),
            Seen::Ask(ask) => self.asks.push(ask),
            Seen::Refused(error) => self.refusals.push(error),
            Seen::Sent {
                to,
                run: Run::Stream,
                octets,
            } => {
                self.streams
                    .entry(*to)
                    .or_default()
                    .extend_from_slice(octets);
            }
            Seen::Sent {
                to,
                run: Run::Datagrams { size },
                octets,
            } => {
                let datagrams = self.datagrams.entry(*to).or_default();
                datagrams.extend(octets.chunks((*size).max(1)));
            }
            Seen::Idle(_) | Seen::Done | Seen::Wants(..) => {}
        }
    }

    fn forget(&mut self) {
        self.events.clear();
        self.asks.clear();
        self.streams.clear();
        self.datagrams.clear();
        self.refusals.clear();
    }

    /// Says what differs. A drain between two pieces may part or join what is sent, so only the events of
    /// such a run count.
    fn match_with(&self, cut: &Self, pieces: Pieces, order: Order) -> Result<(), String> {
        let how = match pieces {
            Pieces::Whole => "whole",
            Pieces::Octets => "octet by octet",
            Pieces::Random => "in random pieces",
            Pieces::RandomDrained => "in random pieces with drains in between",
        };
        match order {
            Order::Strict => same("events", how, &self.events, &cut.events)?,
            Order::OfEachKind => {
                for event in self.events.iter().chain(&cut.events) {
                    let kind = discriminant(*event);
                    same(
                        "events",
                        how,
                        &of_kind(&self.events, kind),
                        &of_kind(&cut.events, kind),
                    )?;
                }
            }
        }
        if pieces == Pieces::RandomDrained {
            return Ok(());
        }
        same("asks", how, &self.asks, &cut.asks)?;
        self.match_streams(cut, how)?;
        same("datagrams", how, &self.datagrams, &cut.datagrams)?;
        same("refusals", how, &self.refusals, &cut.refusals)
    }

    /// An abort throws away what was not sent yet, so of two aborted streams one may have sent more.
    fn match_streams(&self, cut: &Self, how: &str) -> Result<(), String> {
        let none = Vec::new();
        for at in self.streams.keys().chain(cut.streams.keys()) {
            let one = self.streams.get(at).unwrap_or(&none);
            let other = cut.streams.get(at).unwrap_or(&none);
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

fn same<T: Debug + PartialEq>(what: &str, how: &str, whole: &T, cut: &T) -> Result<(), String> {
    if whole == cut {
        return Ok(());
    }
    Err(format!(
        "read whole the {what} were {whole:?}, read {how} they were {cut:?}"
    ))
}
