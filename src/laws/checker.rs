//! Checks the laws that a single run can violate, call by call.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Law, Violation};
use crate::{Addr, Ask, Instant, Limits, Link, Machine, Output, Tag, Transmit};

/// Checks a live machine against the laws that a single run can violate.
///
/// These are the laws 1, 2, 3, 4, 8 (its part about streams), 11 and 12. A driver or a simulator calls it
/// around each call of the machine: inputs just before, [`polled`](Self::polled) just after. It calls no
/// method of the machine but [`Machine::wants`], so it changes nothing.
///
/// ```
/// # use farlink::laws::{Violation, Checker};
/// # use farlink::{Instant, Machine, Output, Transmit};
/// fn drain<M: Machine>(machine: &mut M, checker: &mut Checker<M::Addr>, now: Instant) -> Result<(), Violation> {
///     let mut tx = Transmit::new(checker.limits());
///     loop {
///         let output = machine.poll(now, &mut tx);
///         checker.polled(now, &output, &tx)?;
///         if matches!(output, Output::Idle(_) | Output::Done) {
///             return checker.settled(machine, |_| false);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Checker<A> {
    limits: Limits,
    max_outputs: usize,
    max_events: usize,
    calls: usize,
    latest: Instant,
    phase: Phase,
    outputs: usize,
    events_of_time: usize,
    addresses: BTreeMap<A, AddrState>,
    /// The streams that the machine did not want when it was asked.
    refused: BTreeSet<A>,
    /// What each [`Ask::Open`] led to, until that is closed.
    opens: BTreeMap<Tag, Option<A>>,
}

/// Which outputs the machine may give next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Input came since the last `Idle`.
    Input,
    /// It gave `Idle`, and only time has passed since.
    Idle(Option<Instant>),
    /// A deadline came, and no input since the last `Idle`.
    Woken,
    Done,
}

/// The state of an address.
#[derive(Debug, Clone, Copy, Default)]
struct AddrState {
    phase: AddrPhase,
    /// Whether the carrier would block.
    is_full: bool,
    /// Whether the peer has ended its direction.
    is_ended: bool,
    /// Whether octets came while none were wanted.
    is_flooded: bool,
    /// The [`Ask::Open`] that led to it.
    opened_by: Option<Tag>,
}

#[derive(Debug, Clone, Copy, Default)]
enum AddrPhase {
    /// It was never said to be up, as with a datagram path.
    #[default]
    Unknown,
    Up,
    /// The machine writes no more, and still reads.
    Finished,
    /// Closed by the cue or the ask of this name.
    Closed(&'static str),
}

impl<A: Addr> Checker<A> {
    /// The bound of outputs of one drain, unless [`allow`](Self::allow) sets another.
    pub const MAX_OUTPUTS: usize = 1 << 20;
    /// The bound of events of time alone, unless [`allow`](Self::allow) sets another.
    pub const MAX_EVENTS: usize = 1 << 16;

    /// Makes the checker of a machine that was just made and will be polled with these limits.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            max_outputs: Self::MAX_OUTPUTS,
            max_events: Self::MAX_EVENTS,
            calls: 0,
            latest: Instant::ZERO,
            phase: Phase::Input,
            outputs: 0,
            events_of_time: 0,
            addresses: BTreeMap::new(),
            refused: BTreeSet::new(),
            opens: BTreeMap::new(),
        }
    }

    /// Returns the limits that sends have to keep.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the number of calls that were checked.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Tells whether octets and cues of `at` can come: it was not closed since it last came up.
    ///
    /// A driver gives every path one life, so nothing comes from a path that is closed.
    #[must_use]
    pub fn is_alive(&self, at: A) -> bool {
        self.states(at).all(AddrState::is_alive)
    }

    /// Tells whether the carrier of `at` takes no octets at present.
    #[must_use]
    pub fn is_full(&self, at: A) -> bool {
        self.states(at).any(|state| state.is_full)
    }

    /// Returns the state of an address and that of its carrier.
    fn states(&self, at: A) -> impl Iterator<Item = &AddrState> {
        let carrier = Some(at.carrier()).filter(|carrier| *carrier != at);
        let both = [Some(at), carrier].into_iter().flatten();
        both.filter_map(|at| self.addresses.get(&at))
    }

    /// Tells whether the machine gave `Idle`, and no input and no deadline has come since.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }

    /// Returns the deadline that an idle machine gave.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(deadline) => deadline,
            Phase::Input | Phase::Woken | Phase::Done => None,
        }
    }

    /// Sets the bound of outputs of the current drain, and of events that time alone yields.
    pub const fn allow(&mut self, outputs: usize, events: usize) {
        self.max_outputs = outputs;
        self.max_events = events;
    }

    /// Asks the machine whether it wants octets of `from`, and keeps a refusal for law 12.
    pub fn wants<M: Machine<Addr = A>>(&mut self, machine: &M, from: A) -> bool {
        let wants = machine.wants(from);
        if !wants {
            self.refused.insert(from);
        }
        wants
    }

    /// Registers that the machine is about to receive octets of `from`.
    pub fn receive<M: Machine<Addr = A>>(&mut self, machine: &M, now: Instant, from: A) {
        self.input(now);
        if !self.wants(machine, from)
            && let Some(state) = self.addresses.get_mut(&from)
        {
            state.is_flooded = true;
        }
    }

    /// Tells whether an [`Ask::Open`] with this tag was given and neither answered nor cancelled.
    ///
    /// A driver answers no other: after [`Ask::Cancel`] no `Opened` and no `Failed` follows.
    #[must_use]
    pub fn is_opening(&self, tag: Tag) -> bool {
        self.opens.get(&tag).is_some_and(Option::is_none)
    }

    /// Registers that the machine is about to take a cue about the link at `at`.
    pub fn link(&mut self, now: Instant, at: A, cue: Link) {
        self.input(now);
        if let Link::Failed(tag, _) = cue {
            self.opens.remove(&tag);
            return;
        }
        if matches!(cue, Link::Up | Link::Opened(_)) && !self.is_alive(at) {
            self.reset_carried(at);
        }
        let state = self.addresses.entry(at).or_default();
        match cue {
            Link::Up => state.begin(),
            Link::Opened(tag) => {
                state.begin();
                state.opened_by = Some(tag);
                self.opens.insert(tag, Some(at));
            }
            Link::Full => state.is_full = true,
            Link::Free => state.is_full = false,
            Link::Ended => state.is_ended = true,
            Link::Down(_) => self.close(at, "Down"),
            Link::Failed(..) => {}
        }
    }

    /// Resets the addresses that a socket carries, when it begins its next life.
    fn reset_carried(&mut self, socket: A) {
        let behind = self.addresses.range(socket..).map(|(at, _)| *at);
        let carried: Vec<A> = behind
            .take_while(|at| at.carrier() == socket)
            .filter(|at| *at != socket)
            .collect();
        for at in carried {
            self.addresses.remove(&at);
        }
    }

    /// Registers that the machine is about to take a command.
    pub fn command(&mut self, now: Instant) {
        self.input(now);
    }

    fn input(&mut self, now: Instant) {
        self.calls += 1;
        self.latest = self.latest.max(now);
        self.events_of_time = 0;
        if self.phase != Phase::Done {
            self.phase = Phase::Input;
        }
    }

    /// Checks the output that the machine gave when it was polled at `now`.
    ///
    /// # Errors
    ///
    /// The law that the output violates: 1, 2, 3, 4 or 11.
    pub fn polled<E>(
        &mut self,
        now: Instant,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) -> Result<(), Violation> {
        self.calls += 1;
        self.latest = self.latest.max(now);
        self.check_output(output, tx)
            .map_err(|(law, detail)| Violation::new(law, self.calls - 1, detail))
    }

    fn check_output<E>(
        &mut self,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) -> Result<(), (Law, String)> {
        self.done_is_fused(output)?;
        self.quiet_until_deadline(output)?;
        self.transmit_within_limits(output, tx)?;
        self.finite_drain(output)?;
        match output {
            Output::Transmit => self.no_write_when_closed(tx),
            Output::Ask(ask) => {
                self.ask(ask);
                Ok(())
            }
            Output::Event(_) | Output::Yield | Output::Idle(_) | Output::Done => Ok(()),
        }
    }

    fn done_is_fused<E>(&mut self, output: &Output<A, E>) -> Result<(), (Law, String)> {
        if self.phase == Phase::Done && !matches!(output, Output::Done) {
            let detail = format!("after `Done` it gave {}", kind(output));
            return Err((Law::DoneIsFused, detail));
        }
        Ok(())
    }

    fn quiet_until_deadline<E>(&mut self, output: &Output<A, E>) -> Result<(), (Law, String)> {
        if let Output::Idle(Some(deadline)) = output
            && *deadline <= self.latest
        {
            let detail = format!("idle until {deadline}, polled at {}", self.latest);
            return Err((Law::QuietUntilDeadline, detail));
        }
        let Phase::Idle(promised) = self.phase else {
            return Ok(());
        };
        if promised.is_some_and(|deadline| deadline <= self.latest) {
            self.phase = Phase::Woken;
            return Ok(());
        }
        if matches!(output, Output::Idle(again) if *again == promised) {
            return Ok(());
        }
        let detail = format!(
            "it was {}, but when polled again at {} without input it gave {}",
            idle(promised),
            self.latest,
            kind(output)
        );
        Err((Law::QuietUntilDeadline, detail))
    }

    fn transmit_within_limits<E>(
        &self,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) -> Result<(), (Law, String)> {
        let limits = self.limits;
        let octets = tx.octets().len();
        let count = tx.datagrams().len();
        let detail = match (output, tx.is_empty()) {
            _ if tx.limits() != limits && octets == 0 => {
                String::from("it replaced the buffer that it was given")
            }
            (Output::Transmit, true) => String::from("it gave `Transmit` with an empty `tx`"),
            (Output::Transmit, false) if octets > limits.octets.get() => {
                format!(
                    "a send of {octets} octets exceeds the limit of {}",
                    limits.octets
                )
            }
            (Output::Transmit, false) if tx.is_stream() => return Ok(()),
            (Output::Transmit, false) if tx.segment_size() > limits.datagram.get() => {
                let size = tx.segment_size();
                format!(
                    "a datagram of {size} octets exceeds the limit of {}",
                    limits.datagram
                )
            }
            (Output::Transmit, false) if count > limits.batch.get() => {
                format!(
                    "a batch of {count} datagrams exceeds the limit of {}",
                    limits.batch
                )
            }
            (Output::Transmit, false) | (_, true) => return Ok(()),
            (_, false) => format!("{octets} octets are in `tx` under {}", kind(output)),
        };
        Err((Law::TransmitWithinLimits, detail))
    }

    fn finite_drain<E>(&mut self, output: &Output<A, E>) -> Result<(), (Law, String)> {
        match output {
            Output::Idle(deadline) => {
                self.outputs = 0;
                self.phase = Phase::Idle(*deadline);
                return Ok(());
            }
            Output::Done => {
                self.outputs = 0;
                self.phase = Phase::Done;
                return Ok(());
            }
            Output::Transmit | Output::Event(_) | Output::Ask(_) | Output::Yield => {
                self.outputs += 1;
            }
        }
        if self.outputs > self.max_outputs {
            let detail = format!("more than {} outputs in one drain", self.max_outputs);
            return Err((Law::FiniteDrain, detail));
        }
        if self.phase == Phase::Woken && matches!(output, Output::Event(_)) {
            self.events_of_time += 1;
        }
        if self.events_of_time > self.max_events {
            let detail = format!("more than {} events of time alone", self.max_events);
            return Err((Law::FiniteDrain, detail));
        }
        Ok(())
    }

    fn no_write_when_closed(&self, tx: &Transmit<A>) -> Result<(), (Law, String)> {
        let Some(to) = tx.to() else {
            return Ok(());
        };
        let Some(after) = self.states(to).find_map(AddrState::closed_by) else {
            return Ok(());
        };
        let octets = tx.octets().len();
        let detail = format!("{octets} octets were written to {to:?} after `{after}`");
        Err((Law::NoWriteWhenClosed, detail))
    }

    fn ask(&mut self, ask: &Ask<A>) {
        match *ask {
            Ask::Open { tag, .. } => drop(self.opens.insert(tag, None)),
            Ask::Cancel(tag) => {
                if let Some(at) = self.opens.remove(&tag).flatten() {
                    self.close(at, "Cancel");
                }
            }
            Ask::Finish(at) => self.addresses.entry(at).or_default().finish(),
            Ask::Close(at) => self.close(at, "Close"),
            Ask::Abort(at) => self.close(at, "Abort"),
            Ask::Detach { path, .. } => self.close(path, "Detach"),
        }
    }

    fn close(&mut self, at: A, by: &'static str) {
        let opened_by = self.addresses.entry(at).or_default().close(by);
        if let Some(tag) = opened_by
            && self.opens.get(&tag) == Some(&Some(at))
        {
            self.opens.remove(&tag);
        }
    }

    /// Checks a machine that has just given `Idle` or `Done`, after every event was taken.
    ///
    /// `awaits` tells which streams the machine leaves unread until somebody decides; law 12 does not apply
    /// to them until then. Nor does it apply while any carrier is full, since octets of one stream may have to
    /// leave by another.
    ///
    /// # Errors
    ///
    /// Law 12 when a stream is refused without a reason. Law 8 when a stream is wanted again that was fed
    /// while it was not, so that its octets were lost or kept beyond the limit.
    pub fn settled<M: Machine<Addr = A>>(
        &mut self,
        machine: &M,
        awaits: impl Fn(A) -> bool,
    ) -> Result<(), Violation> {
        let step = self.calls.saturating_sub(1);
        if self.phase == Phase::Done || self.refused.is_empty() {
            self.refused.clear();
            return Ok(());
        }
        let is_full = self
            .addresses
            .values()
            .any(|state| state.is_full && state.is_alive());
        for at in core::mem::take(&mut self.refused) {
            let state = self.addresses.get(&at).copied().unwrap_or_default();
            if state.is_ended || !matches!(state.phase, AddrPhase::Up | AddrPhase::Finished) {
                continue;
            }
            match machine.wants(at) {
                true if state.is_flooded => {
                    let detail = format!("{at:?} was fed while not wanted, and is still read");
                    return Err(Violation::new(Law::BoundedMemory, step, detail));
                }
                true => {}
                false if state.is_flooded || is_full || awaits(at) => {
                    self.refused.insert(at);
                }
                false => {
                    let detail = format!("{at:?} is not wanted, and nothing is left to wait for");
                    return Err(Violation::new(Law::ReadResumes, step, detail));
                }
            }
        }
        Ok(())
    }
}

impl AddrState {
    const fn is_alive(&self) -> bool {
        !matches!(self.phase, AddrPhase::Closed(_))
    }

    /// Returns the name of the cue or ask after which nothing may be written there.
    const fn closed_by(&self) -> Option<&'static str> {
        match self.phase {
            AddrPhase::Closed(by) => Some(by),
            AddrPhase::Finished => Some("Finish"),
            AddrPhase::Unknown | AddrPhase::Up if self.is_full => Some("Full"),
            AddrPhase::Unknown | AddrPhase::Up => None,
        }
    }

    /// Begins a life, unless the path is up already.
    fn begin(&mut self) {
        match self.phase {
            AddrPhase::Unknown => self.phase = AddrPhase::Up,
            AddrPhase::Closed(_) => {
                *self = Self {
                    phase: AddrPhase::Up,
                    ..Self::default()
                };
            }
            AddrPhase::Up | AddrPhase::Finished => {}
        }
    }

    const fn finish(&mut self) {
        if self.is_alive() {
            self.phase = AddrPhase::Finished;
        }
    }

    /// Closes the path, and returns the tag by which it was opened. The first reason is kept.
    const fn close(&mut self, by: &'static str) -> Option<Tag> {
        if self.is_alive() {
            self.phase = AddrPhase::Closed(by);
        }
        self.opened_by.take()
    }
}

const fn kind<A, E>(output: &Output<A, E>) -> &'static str {
    match output {
        Output::Transmit => "`Transmit`",
        Output::Event(_) => "an event",
        Output::Ask(_) => "an ask",
        Output::Yield => "`Yield`",
        Output::Idle(Some(_)) => "another deadline",
        Output::Idle(None) => "no deadline",
        Output::Done => "`Done`",
    }
}

fn idle(deadline: Option<Instant>) -> String {
    deadline.map_or_else(
        || String::from("idle without a deadline"),
        |deadline| format!("idle until {deadline}"),
    )
}
