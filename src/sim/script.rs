//! What a script does in a world: it gives commands, schedules calls, and reads the results.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::ControlFlow;
use core::time::Duration;

use bytes::Bytes;

use super::event::RareEvent;
use super::world::PacketLabeler;
use super::{AnyAddr, Host, HostId, MarkKind, Node, SimAddr, World, misuse};
use crate::preview::Preview;
use crate::{Instant, Machine, Tag};

/// A time: an [`Instant`], or a [`Duration`] since [`Instant::ZERO`].
pub trait When {
    /// Returns the instant.
    fn instant(self) -> Instant;
}

impl When for Instant {
    fn instant(self) -> Instant {
        self
    }
}

impl When for Duration {
    fn instant(self) -> Instant {
        Instant::ZERO + self
    }
}

/// A call that [`World::every`] repeats.
pub(super) struct Repeating {
    period: Duration,
    call: Box<RepeatedCall>,
}

type RepeatedCall = dyn FnMut(&mut World) -> ControlFlow<()>;

/// A call that [`World::when`] makes once its condition holds.
pub(super) struct Condition {
    holds: Box<dyn FnMut(&World) -> bool>,
    call: Box<dyn FnOnce(&mut World)>,
}

/// A stream that a machine detached for its application, which is the script.
#[derive(Clone)]
#[non_exhaustive]
pub struct DetachedStream {
    /// The tag under which it was detached.
    pub tag: Tag,
    /// The address of the stream.
    pub addr: AnyAddr,
    /// When it was detached.
    pub time: Instant,
    /// Octets that the machine had received but not used.
    pub early: Bytes,
    /// Octets received since.
    pub received: Vec<u8>,
    /// Whether the peer ended its direction, or reset the stream.
    pub is_ended: bool,
}

impl fmt::Debug for DetachedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedStream")
            .field("tag", &self.tag)
            .field("addr", &self.addr)
            .field("time", &self.time)
            .field("early", &Preview(&self.early))
            .field("received", &Preview(&self.received))
            .field("is_ended", &self.is_ended)
            .finish()
    }
}

/// A label of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The text.
    pub text: String,
    /// Whether the sender sent the same before. `None` lets the trace compare labels or octets. TCP segments
    /// are always marked by TCP itself.
    pub is_repeated: Option<bool>,
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self {
            text,
            is_repeated: None,
        }
    }
}

fn boxed<L: Into<Label>>(mut label: impl FnMut(&[u8]) -> Option<L> + 'static) -> PacketLabeler {
    Box::new(move |octets| label(octets).map(Into::into))
}

impl World {
    /// Gives a machine a command.
    ///
    /// # Errors
    ///
    /// The machine's error, if it refuses the command.
    pub fn command<M>(&mut self, host: Host<M>, command: M::Command) -> Result<(), M::Error>
    where
        M: Machine<Addr: SimAddr, Event: fmt::Debug> + 'static,
    {
        let now = self.now;
        let result = self.cell_mut(host).command(now, command);
        if let Err(error) = &result {
            let text = format!("{error}");
            self.trace.mark(now, host.into(), MarkKind::Refusal, text);
        }
        self.poll_until_idle(host.id());
        result
    }

    /// Schedules a command. If it is refused, the error is in [`refusals`](Self::refusals).
    pub fn command_at<M>(&mut self, time: impl When, host: Host<M>, command: M::Command)
    where
        M: Machine<Addr: SimAddr, Event: fmt::Debug, Command: 'static> + 'static,
    {
        self.at(time, move |world| {
            if let Err(error) = world.command(host, command) {
                let now = world.now;
                world.cell_mut(host).extras.refusals.push((now, error));
            }
        });
    }

    /// Returns the errors of refused scheduled commands, with their times.
    #[must_use]
    pub fn refusals<M: Machine + 'static>(
        &self,
        host: Host<M>,
    ) -> impl ExactSizeIterator<Item = (Instant, &M::Error)> {
        let refusals = self.cell(host).extras.refusals.iter();
        refusals.map(|(time, error)| (*time, error))
    }

    /// Returns the events of a machine, with their times.
    #[must_use]
    pub fn events<M: Machine + 'static>(
        &self,
        host: Host<M>,
    ) -> impl ExactSizeIterator<Item = (Instant, &M::Event)> + Clone {
        let events = self.cell(host).extras.events.iter();
        events.map(|(time, event)| (*time, event))
    }

    /// Removes and returns the events of a machine, with their times.
    pub fn take_events<M: Machine + 'static>(&mut self, host: Host<M>) -> Vec<(Instant, M::Event)> {
        mem::take(&mut self.cell_mut(host).extras.events)
    }

    /// Returns a reference to a machine.
    #[must_use]
    pub fn machine<M: Machine + 'static>(&self, host: Host<M>) -> &M {
        &self.cell(host).machine
    }

    /// Calls methods of a machine, and then polls it.
    pub fn with<M, R>(&mut self, host: Host<M>, call: impl FnOnce(&mut M, Instant) -> R) -> R
    where
        M: Machine<Addr: SimAddr, Event: fmt::Debug> + 'static,
    {
        let now = self.now;
        let result = self.cell_mut(host).lend(now, call);
        self.poll_until_idle(host.id());
        result
    }

    /// Tells whether a machine has returned [`Output::Done`](crate::Output::Done).
    #[must_use]
    pub fn is_done(&self, host: impl Into<HostId>) -> bool {
        match self.hosts.get(host.into().index()) {
            Some(slot) => slot.is_done,
            None => misuse("the host belongs to another world"),
        }
    }

    /// Schedules a call at `time`, or at once if that is past.
    ///
    /// ```
    /// use core::time::Duration;
    /// use farlink::sim::World;
    ///
    /// let hour = Duration::from_secs(3600);
    /// let mut world = World::new(1);
    /// world.at(hour, move |world| {
    ///     // A call may do anything, such as schedule another.
    ///     world.at(2 * hour, |_| {});
    /// });
    ///
    /// assert!(world.run_until_idle(10 * hour));
    /// assert_eq!(world.now().to_string(), "7200.000000000s");
    /// ```
    pub fn at(&mut self, time: impl When, call: impl FnOnce(&mut Self) + 'static) {
        let time = time.instant().max(self.now);
        self.schedule_rare(time, RareEvent::Call(Box::new(call)));
    }

    /// Schedules a call each `period` from now, until it breaks. A period of zero means a nanosecond.
    ///
    /// ```
    /// use core::ops::ControlFlow;
    /// use core::time::Duration;
    /// use farlink::sim::World;
    ///
    /// let mut world = World::new(1);
    /// let mut left = 3;
    /// world.every(Duration::from_secs(10), move |_| {
    ///     left -= 1;
    ///     if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    ///
    /// while world.step() {}
    /// assert_eq!(world.now().to_string(), "30.000000000s");
    /// ```
    pub fn every(
        &mut self,
        period: Duration,
        call: impl FnMut(&mut Self) -> ControlFlow<()> + 'static,
    ) {
        let repeat = Repeating {
            period: period.max(Duration::from_nanos(1)),
            call: Box::new(call),
        };
        self.schedule_repeating(Box::new(repeat));
    }

    fn schedule_repeating(&mut self, repeat: Box<Repeating>) {
        self.repeating += 1;
        self.schedule_rare(self.now + repeat.period, RareEvent::Repeat(repeat));
    }

    pub(super) fn repeat(&mut self, mut repeat: Box<Repeating>) {
        self.repeating -= 1;
        if (repeat.call)(self).is_continue() {
            self.schedule_repeating(repeat);
        }
    }

    /// Makes a call once, as soon as `holds` returns true. The condition is checked after each event.
    ///
    /// ```
    /// use core::time::Duration;
    /// use std::sync::mpsc::channel;
    /// use farlink::Instant;
    /// use farlink::sim::World;
    ///
    /// let mut world = World::new(1);
    /// let (sender, receiver) = channel();
    /// let noon = Instant::ZERO + Duration::from_secs(43_200);
    /// world.when(move |world| world.now() >= noon, move |world| sender.send(world.now()).unwrap());
    /// world.at(Duration::from_secs(40_000), |_| {});
    /// world.at(Duration::from_secs(50_000), |_| {});
    ///
    /// world.run_until(Duration::from_secs(60_000));
    /// assert_eq!(receiver.recv()?.to_string(), "50000.000000000s");
    /// # Ok::<(), std::sync::mpsc::RecvError>(())
    /// ```
    pub fn when(
        &mut self,
        holds: impl FnMut(&Self) -> bool + 'static,
        call: impl FnOnce(&mut Self) + 'static,
    ) {
        self.conditions.push(Condition {
            holds: Box::new(holds),
            call: Box::new(call),
        });
        self.check_conditions();
    }

    pub(super) fn check_conditions(&mut self) {
        if self.conditions.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for mut when in mem::take(&mut self.conditions) {
            if (when.holds)(self) {
                (when.call)(self);
            } else {
                waiting.push(when);
            }
        }
        // Calls that were registered meanwhile come last.
        waiting.append(&mut self.conditions);
        self.conditions = waiting;
    }

    /// Adds a note to the trace, at a host.
    pub fn note(&mut self, host: impl Into<HostId>, text: impl Into<String>) {
        let node = Node::Host(host.into());
        self.trace.mark(self.now, node, MarkKind::Note, text.into());
    }

    /// Sets the labels of packets from hosts without labels of their own.
    ///
    /// The function gets the octets of a datagram, or of one write to a stream. [`Label::is_repeated`] tells
    /// whether it was sent before; if that is `None`, two datagrams from one host to one address are the same
    /// if their labels are equal, or without labels if their octets are.
    pub fn label<L: Into<Label>>(&mut self, label: impl FnMut(&[u8]) -> Option<L> + 'static) {
        self.label = Some(boxed(label));
    }

    /// Sets the labels of packets that `host` sends.
    pub fn label_host<L: Into<Label>>(
        &mut self,
        host: impl Into<HostId>,
        label: impl FnMut(&[u8]) -> Option<L> + 'static,
    ) {
        self.slot(host.into()).extras.label = Some(boxed(label));
    }

    /// Sets the labels of a machine's events. By default, they are the names of the variants.
    pub fn label_events<M: Machine + 'static>(
        &mut self,
        host: Host<M>,
        label: impl Fn(&M::Event) -> String + 'static,
    ) {
        self.cell_mut(host).extras.label_event = Some(Box::new(label));
    }

    /// Sets for which streams a machine may refuse to read without a limit of time.
    ///
    /// The laws demand that a machine wants to read a stream again once its events are taken. A machine that
    /// waits for a decision of its application is exempt.
    pub fn allow_unread<M: Machine + 'static>(
        &mut self,
        host: Host<M>,
        allow_unread: impl Fn(M::Addr) -> bool + 'static,
    ) {
        self.cell_mut(host).extras.allow_unread = Some(Box::new(allow_unread));
    }

    /// Returns the streams that the machine of `host` has detached.
    #[must_use]
    pub fn detached(&self, host: impl Into<HostId>) -> &[DetachedStream] {
        match self.hosts.get(host.into().index()) {
            Some(slot) => &slot.extras.detached,
            None => misuse("the host belongs to another world"),
        }
    }
}

/// Runs a randomised test for each seed, and prints the seed if the test fails.
///
/// If the environment variable `FARLINK_SEED` is set, the test runs with that seed only.
pub fn for_each_seed(seeds: impl IntoIterator<Item = u64>, test: impl Fn(u64)) {
    let only = std::env::var("FARLINK_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    if let Some(seed) = only {
        return SeedGuard(seed).run(test);
    }
    for seed in seeds {
        SeedGuard(seed).run(&test);
    }
}

/// Prints its seed when it is dropped in a panic.
struct SeedGuard(u64);

impl SeedGuard {
    fn run(self, test: impl Fn(u64)) {
        test(self.0);
    }
}

impl Drop for SeedGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!(
                "failed with seed {}: run with FARLINK_SEED={}",
                self.0,
                self.0
            );
        }
    }
}
