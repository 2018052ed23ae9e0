//! The laws that hold of one run, checked call by call.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Law, Violation};
use crate::{Addr, Ask, Instant, Limits, Link, Machine, Output, Transmit};

/// Watches a live machine and tells when it breaks a law that a single run can show.
///
/// These are the laws 1, 2, 3, 4, 8 (the half about streams), 11 and 12. A driver or a simulator calls it
/// around each call of the machine, in debug builds: the inputs just before, [`polled`](Self::polled) just
/// after. It never calls the machine except for [`Machine::wants`], so watching changes nothing.
///
/// ```
/// # use farlink::laws::{Violation, Checker};
/// # use farlink::{Instant, Machine, Output, Transmit};
/// fn drain<M: Machine>(machine: &mut M, watch: &mut Checker<M::Addr>, now: Instant) -> Result<(), Violation> {
///     let mut tx = Transmit::new(watch.limits());
///     loop {
///         let output = machine.poll(now, &mut tx);
///         watch.polled(now, &output, &tx)?;
///         if matches!(output, Output::Idle(_) | Output::Done) {
///             return watch.settled(machine, |_| false);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Checker<A> {
    limits: Limits,
    most_outputs: usize,
    most_events: usize,
    calls: usize,
    latest: Instant,
    phase: Phase,
    outputs: usize,
    events_of_time: usize,
    places: BTreeMap<A, Place>,
    refused: BTreeSet<A>,
}

/// What the machine may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Input came since the last `Idle`.
    DrainInput,
    /// It said `Idle`, and only time has passed since.
    Idle(Option<Instant>),
    /// A deadline came, and no input since the last `Idle`.
    Woken,
    Done,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    life: Life,
    /// The carrier would block.
    full: bool,
    /// The peer sends nothing more.
    ended: bool,
    /// Octets came while none were wanted.
    flooded: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Life {
    /// Nobody said that it came up: a datagram path, or a stream whose driver is careless.
    #[default]
    Unknown,
    Up,
    /// The machine writes no more, and reads on.
    Finished,
    /// By which cue or ask.
    Gone(&'static str),
}

impl<A: Addr> Checker<A> {
    /// Outputs of one drain that nobody sets a [closer bound](Self::allow) for.
    pub const MOST_OUTPUTS: usize = 1 << 20;
    /// Events of time alone that nobody sets a [closer bound](Self::allow) for.
    pub const MOST_EVENTS: usize = 1 << 16;

    /// Begins to watch a fresh machine that will be polled with these limits.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            most_outputs: Self::MOST_OUTPUTS,
            most_events: Self::MOST_EVENTS,
            calls: 0,
            latest: Instant::ZERO,
            phase: Phase::DrainInput,
            outputs: 0,
            events_of_time: 0,
            places: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Returns the limits that sends are held to.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns how many calls of the machine were watched.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Tells whether octets and cues of `at` can come: no end of it was seen since it last came up.
    ///
    /// A driver gives every path one life, so nothing comes from a path that is gone.
    #[must_use]
    pub fn is_alive(&self, at: A) -> bool {
        self.known(at).all(Place::is_alive)
    }

    /// Tells whether the carrier at `at` takes no octets for the time being.
    #[must_use]
    pub fn is_full(&self, at: A) -> bool {
        self.known(at).any(|place| place.full)
    }

    /// What is known of an address, and of what carries its octets.
    fn known(&self, at: A) -> impl Iterator<Item = &Place> {
        let carrier = Some(at.carrier()).filter(|carrier| *carrier != at);
        let both = [Some(at), carrier].into_iter().flatten();
        both.filter_map(|at| self.places.get(&at))
    }

    /// Tells whether the machine said `Idle`, and no input and no deadline has come since.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle(_))
    }

    /// Returns the deadline that an idle machine gave.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(deadline) => deadline,
            Phase::DrainInput | Phase::Woken | Phase::Done => None,
        }
    }

    /// Sets how many outputs the drain under way may have, and how many events time alone may yield.
    pub const fn allow(&mut self, outputs: usize, events: usize) {
        self.most_outputs = outputs;
        self.most_events = events;
    }

    /// Asks the machine whether octets of `from` are welcome, and remembers a refusal for law 12.
    pub fn wants<M: Machine<Addr = A>>(&mut self, machine: &M, from: A) -> bool {
        let wants = machine.wants(from);
        if !wants {
            self.refused.insert(from);
        }
        wants
    }

    /// Notes that the machine is about to receive octets of `from`.
    pub fn receive<M: Machine<Addr = A>>(&mut self, machine: &M, now: Instant, from: A) {
        self.input(now);
        if !self.wants(machine, from)
            && let Some(place) = self.places.get_mut(&from)
        {
            place.flooded = true;
        }
    }

    /// Notes that the machine is about to hear of the link at `at`.
    pub fn link(&mut self, now: Instant, at: A, state: Link) {
        self.input(now);
        if matches!(state, Link::Failed(..)) {
            return;
        }
        if matches!(state, Link::Up | Link::Opened(_)) && !self.is_alive(at) {
            self.forget_carried(at);
        }
        let place = self.places.entry(at).or_default();
        match state {
            Link::Up | Link::Opened(_) => place.begin(),
            Link::Full => place.full = true,
            Link::Free => place.full = false,
            Link::Ended => place.ended = true,
            Link::Down(_) => place.end("Down"),
            Link::Failed(..) => {}
        }
    }

    /// A socket begins another life, and with it all ways from it.
    fn forget_carried(&mut self, socket: A) {
        let behind = self.places.range(socket..).map(|(at, _)| *at);
        let carried: Vec<A> = behind
            .take_while(|at| at.carrier() == socket)
            .filter(|at| *at != socket)
            .collect();
        for at in carried {
            self.places.remove(&at);
        }
    }

    /// Notes that the machine is about to take a command.
    pub fn command(&mut self, now: Instant) {
        self.input(now);
    }

    fn input(&mut self, now: Instant) {
        self.calls += 1;
        self.latest = self.latest.max(now);
        self.events_of_time = 0;
        if self.phase != Phase::Done {
            self.phase = Phase::DrainInput;
        }
    }

    /// Judges what the machine gave when it was polled at `now`.
    ///
    /// # Errors
    ///
    /// The law that the output breaks: 1, 2, 3, 4 or 11.
    pub fn polled<E>(
        &mut self,
        now: Instant,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) -> Result<(), Violation> {
        self.calls += 1;
        self.latest = self.latest.max(now);
        self.judge(output, tx)
            .map_err(|(law, detail)| Violation::new(law, self.calls - 1, detail))
    }

    fn judge<E>(&mut self, output: &Output<A, E>, tx: &Transmit<A>) -> Result<(), (Law, String)> {
        self.done_is_fused(output)?;
        self.idle_is_quiet(output)?;
        self.send_fits(output, tx)?;
        self.drain_ends(output)?;
        match output {
            Output::Transmit => self.silence(tx),
            Output::Ask(ask) => {
                self.asked(ask);
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

    fn idle_is_quiet<E>(&mut self, output: &Output<A, E>) -> Result<(), (Law, String)> {
        if let Output::Idle(Some(deadline)) = output
            && *deadline <= self.latest
        {
            let detail = format!("idle until {deadline}, polled at {}", self.latest);
            return Err((Law::IdleIsQuiet, detail));
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
            "it was {}, but polled again at {} without input it gave {}",
            idle(promised),
            self.latest,
            kind(output)
        );
        Err((Law::IdleIsQuiet, detail))
    }

    fn send_fits<E>(&self, output: &Output<A, E>, tx: &Transmit<A>) -> Result<(), (Law, String)> {
        let limits = self.limits;
        let octets = tx.octets().len();
        let count = tx.datagrams().len();
        let detail = match (output, tx.is_empty()) {
            _ if tx.limits() != limits && octets == 0 => {
                String::from("it exchanged the buffer that it was given")
            }
            (Output::Transmit, true) => String::from("it gave a send with nothing in `tx`"),
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
            (_, false) => format!("{octets} octets lie in `tx` under {}", kind(output)),
        };
        Err((Law::SendFits, detail))
    }

    fn drain_ends<E>(&mut self, output: &Output<A, E>) -> Result<(), (Law, String)> {
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
        if self.outputs > self.most_outputs {
            let detail = format!("more than {} outputs in one drain", self.most_outputs);
            return Err((Law::DrainEnds, detail));
        }
        if self.phase == Phase::Woken && matches!(output, Output::Event(_)) {
            self.events_of_time += 1;
        }
        if self.events_of_time > self.most_events {
            let detail = format!("more than {} events of time alone", self.most_events);
            return Err((Law::DrainEnds, detail));
        }
        Ok(())
    }

    fn silence(&self, tx: &Transmit<A>) -> Result<(), (Law, String)> {
        let Some(to) = tx.to() else {
            return Ok(());
        };
        let Some(after) = self.known(to).find_map(Place::silenced_by) else {
            return Ok(());
        };
        let octets = tx.octets().len();
        let detail = format!("{octets} octets were written to {to:?} after `{after}`");
        Err((Law::Silence, detail))
    }

    fn asked(&mut self, ask: &Ask<A>) {
        let (at, end) = match ask {
            Ask::Open { .. } | Ask::Cancel(_) => return,
            Ask::Finish(at) => return self.places.entry(*at).or_default().finish(),
            Ask::Close(at) => (*at, "Close"),
            Ask::Abort(at) => (*at, "Abort"),
            Ask::Detach { path, .. } => (*path, "Detach"),
        };
        self.places.entry(at).or_default().end(end);
    }

    /// Judges a machine that has just said `Idle` or `Done`, every event taken.
    ///
    /// `awaits` tells of which streams the machine reads nothing until somebody decides; law 12 waits with
    /// it. A machine is also excused while any carrier is full: what one stream brings may have to leave by
    /// another.
    ///
    /// # Errors
    ///
    /// Law 12 when a stream is refused for no reason, law 8 when one that was fed on while refused is
    /// wanted again, so that octets were lost or hoarded.
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
            .places
            .values()
            .any(|place| place.full && place.is_alive());
        for at in core::mem::take(&mut self.refused) {
            let place = self.places.get(&at).copied().unwrap_or_default();
            if place.ended || !matches!(place.life, Life::Up | Life::Finished) {
                continue;
            }
            match machine.wants(at) {
                true if place.flooded => {
                    let detail = format!("{at:?} was fed on while not wanted, and is read on");
                    return Err(Violation::new(Law::MemoryIsBounded, step, detail));
                }
                true => {}
                false if place.flooded || is_full || awaits(at) => {
                    self.refused.insert(at);
                }
                false => {
                    let detail = format!("{at:?} is not wanted, and nothing is left to wait for");
                    return Err(Violation::new(Law::WantedAgain, step, detail));
                }
            }
        }
        Ok(())
    }
}

impl Place {
    const fn is_alive(&self) -> bool {
        !matches!(self.life, Life::Gone(_))
    }

    /// After what nothing may be written there.
    const fn silenced_by(&self) -> Option<&'static str> {
        match self.life {
            Life::Gone(end) => Some(end),
            Life::Finished => Some("Finish"),
            Life::Unknown | Life::Up if self.full => Some("Full"),
            Life::Unknown | Life::Up => None,
        }
    }

    /// A path that is gone, or was never up, begins a life; one that is up goes on with the one it has.
    fn begin(&mut self) {
        match self.life {
            Life::Unknown => self.life = Life::Up,
            Life::Gone(_) => {
                *self = Self {
                    life: Life::Up,
                    ..Self::default()
                };
            }
            Life::Up | Life::Finished => {}
        }
    }

    const fn finish(&mut self) {
        if self.is_alive() {
            self.life = Life::Finished;
        }
    }

    /// The first end is the one to name.
    const fn end(&mut self, end: &'static str) {
        if self.is_alive() {
            self.life = Life::Gone(end);
        }
    }
}

const fn kind<A, E>(output: &Output<A, E>) -> &'static str {
    match output {
        Output::Transmit => "a send",
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
