//! Machines in a world: typed handles outside, erased types inside.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::{self, Write as _};
use core::hash::{Hash, Hasher};
use core::iter;
use core::marker::PhantomData;
use core::mem;

use bytes::Bytes;

use super::{AnyAddr, SimAddr};
use crate::laws::{Checker, Violation};
use crate::{Ask, Instant, Limits, Link, Machine, Output, Transmit};

/// A typed handle of a host.
pub struct Host<M> {
    id: HostId,
    machine: PhantomData<fn() -> M>,
}

/// An untyped handle of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) u32);

/// A handle of a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub(super) u32);

/// A node of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A host.
    Host(HostId),
    /// A NAT.
    Nat(NatId),
}

impl<M> Host<M> {
    pub(super) const fn new(id: HostId) -> Self {
        Self {
            id,
            machine: PhantomData,
        }
    }

    /// Returns the untyped handle.
    #[must_use]
    pub const fn id(self) -> HostId {
        self.id
    }
}

impl<M> Clone for Host<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Host<M> {}

impl<M> fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.id.0).finish()
    }
}

impl<M> PartialEq for Host<M> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<M> Eq for Host<M> {}

impl<M> Hash for Host<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<M> From<Host<M>> for HostId {
    fn from(host: Host<M>) -> Self {
        host.id
    }
}

impl<M> From<Host<M>> for Node {
    fn from(host: Host<M>) -> Self {
        Self::Host(host.id)
    }
}

// Bound: a world of four billion nodes has no memory left for them.
impl HostId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl NatId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<HostId> for Node {
    fn from(id: HostId) -> Self {
        Self::Host(id)
    }
}

impl From<NatId> for Node {
    fn from(id: NatId) -> Self {
        Self::Nat(id)
    }
}

/// The output of one poll, without types.
pub(super) enum PollStep {
    Send(SendBatch),
    /// The label of the event.
    Event(String),
    Ask(Ask<AnyAddr>),
    Yield,
    Idle(Option<Instant>),
    Done,
}

/// The contents of one [`Transmit`].
pub(super) struct SendBatch {
    pub(super) to: AnyAddr,
    pub(super) is_stream: bool,
    pub(super) octets: Bytes,
    pub(super) segment_size: usize,
}

impl SendBatch {
    /// Splits the batch into datagrams. A single datagram is moved.
    pub(super) fn into_datagrams(self) -> impl Iterator<Item = Bytes> {
        let size = self.segment_size.max(1);
        let mut rest = self.octets;
        iter::from_fn(move || match rest.len() {
            0 => None,
            len if len <= size => Some(mem::take(&mut rest)),
            _ => Some(rest.split_to(size)),
        })
    }
}

/// A machine without its type.
pub(super) trait ErasedMachine: Any {
    fn receive(&mut self, now: Instant, from: AnyAddr, octets: &[u8]);
    fn link(&mut self, now: Instant, at: AnyAddr, state: Link);
    /// Polls the machine, with `memory` as the buffer of its transmit.
    fn poll(&mut self, now: Instant, memory: &mut Vec<u8>) -> Result<PollStep, Violation>;
    fn check_idle_laws(&mut self) -> Result<(), Violation>;
    fn wants(&mut self, from: AnyAddr) -> bool;
    fn limit(&mut self, limits: Limits);
}

/// A machine with the state that the world keeps for it.
pub(super) struct MachineCell<M: Machine> {
    /// State that few events need, boxed so that the rest fits into fewer cache lines.
    pub(super) extras: Box<MachineExtras<M>>,
    /// `None` stands for the default limits.
    limits: Option<Box<Limits>>,
    pub(super) machine: M,
}

/// State of a machine that few events need.
pub(super) struct MachineExtras<M: Machine> {
    pub(super) events: Vec<(Instant, M::Event)>,
    pub(super) refusals: Vec<(Instant, M::Error)>,
    pub(super) label_event: Option<EventLabeler<M::Event>>,
    pub(super) allow_unread: Option<UnreadAllowed<M::Addr>>,
    watch: Checker<M::Addr>,
}

pub(super) type EventLabeler<E> = Box<dyn Fn(&E) -> String>;
pub(super) type UnreadAllowed<A> = Box<dyn Fn(A) -> bool>;

impl<M: Machine> MachineCell<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            machine,
            limits: None,
            extras: Box::new(MachineExtras {
                events: Vec::new(),
                refusals: Vec::new(),
                label_event: None,
                allow_unread: None,
                watch: Checker::new(Limits::default()),
            }),
        }
    }

    pub(super) fn command(&mut self, now: Instant, command: M::Command) -> Result<(), M::Error> {
        if cfg!(debug_assertions) {
            self.extras.watch.command(now);
        }
        self.machine.command(now, command)
    }

    /// Lends the machine to a call of its own methods. The laws treat it as a command.
    pub(super) fn lend<R>(&mut self, now: Instant, call: impl FnOnce(&mut M, Instant) -> R) -> R {
        if cfg!(debug_assertions) {
            self.extras.watch.command(now);
        }
        call(&mut self.machine, now)
    }
}

impl<M> ErasedMachine for MachineCell<M>
where
    M: Machine<Addr: SimAddr, Event: fmt::Debug> + 'static,
{
    fn receive(&mut self, now: Instant, from: AnyAddr, octets: &[u8]) {
        let Some(from) = M::Addr::from_any(from) else {
            return;
        };
        if cfg!(debug_assertions) {
            self.extras.watch.receive(&self.machine, now, from);
        }
        self.machine.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: AnyAddr, state: Link) {
        let Some(at) = M::Addr::from_any(at) else {
            return;
        };
        if cfg!(debug_assertions) {
            self.extras.watch.link(now, at, state);
        }
        self.machine.link(now, at, state);
    }

    fn poll(&mut self, now: Instant, memory: &mut Vec<u8>) -> Result<PollStep, Violation> {
        let limits = self.limits.as_deref().copied().unwrap_or_default();
        let mut tx = Transmit::with_memory(limits, mem::take(memory));
        let output = self.machine.poll(now, &mut tx);
        if cfg!(debug_assertions) {
            self.extras.watch.polled(now, &output, &tx)?;
        }
        let sent = matches!(output, Output::Transmit).then(|| batch(&tx));
        *memory = tx.take_memory();
        Ok(match output {
            Output::Transmit => sent.map_or(PollStep::Idle(None), PollStep::Send),
            Output::Event(event) => {
                let name = match &self.extras.label_event {
                    Some(name) => name(&event),
                    None => variant(&event),
                };
                self.extras.events.push((now, event));
                PollStep::Event(name)
            }
            Output::Ask(ask) => PollStep::Ask(untyped(ask)),
            Output::Yield => PollStep::Yield,
            Output::Idle(deadline) => PollStep::Idle(deadline),
            Output::Done => PollStep::Done,
        })
    }

    fn check_idle_laws(&mut self) -> Result<(), Violation> {
        let allow_unread = self.extras.allow_unread.as_deref();
        self.extras.watch.settled(&self.machine, |at| {
            allow_unread.is_some_and(|allow_unread| allow_unread(at))
        })
    }

    fn wants(&mut self, from: AnyAddr) -> bool {
        let Some(from) = M::Addr::from_any(from) else {
            return false;
        };
        if cfg!(debug_assertions) {
            self.extras.watch.wants(&self.machine, from)
        } else {
            self.machine.wants(from)
        }
    }

    fn limit(&mut self, limits: Limits) {
        self.limits = Some(Box::new(limits));
        self.extras.watch = Checker::new(limits);
    }
}

fn batch<A: SimAddr>(tx: &Transmit<A>) -> SendBatch {
    SendBatch {
        // A machine that sends nothing breaks a law. In release builds, where laws are not checked, it is
        // ignored.
        to: tx.to().map_or(AnyAddr::Stream, A::to_any),
        is_stream: tx.is_stream(),
        octets: Bytes::copy_from_slice(tx.octets()),
        segment_size: tx.segment_size(),
    }
}

fn untyped<A: SimAddr>(ask: Ask<A>) -> Ask<AnyAddr> {
    match ask {
        Ask::Open { tag, path } => Ask::Open {
            tag,
            path: path.to_any(),
        },
        Ask::Cancel(tag) => Ask::Cancel(tag),
        Ask::Finish(path) => Ask::Finish(path.to_any()),
        Ask::Close(path) => Ask::Close(path.to_any()),
        Ask::Abort(path) => Ask::Abort(path.to_any()),
        Ask::Detach { tag, path, early } => Ask::Detach {
            tag,
            path: path.to_any(),
            early,
        },
    }
}

/// Returns the name of the variant. A whole event may be long.
fn variant(event: &impl fmt::Debug) -> String {
    let mut word = VariantName(String::new());
    // The writer ends the formatting with an error after the name.
    let _ = write!(word, "{event:?}");
    if word.0.is_empty() {
        return String::from("event");
    }
    word.0
}

struct VariantName(String);

impl fmt::Write for VariantName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if !letter.is_alphanumeric() && letter != '_' {
                return Err(fmt::Error);
            }
            self.0.push(letter);
        }
        Ok(())
    }
}
