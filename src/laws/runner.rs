//! One run of a script: a machine, a driver that keeps the contract, and a checker around each call.

mod streams;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use streams::{Fin, StreamSocket};

use super::accounts::Accounts;
use super::log::{Chunking, Log, Mode, Observed, SendKind};
use super::{Case, Checker, DrainInput, Law, LawSubject, Step, Violation};
use crate::{Ask, Cause, Instant, Link, Output, Rng, Seed, Tag, Transmit};

/// The time at which a script begins. It is not 0, so that the clock can go back.
const START: Instant = Instant::from_nanos(3_600_000_000_000);
/// The time at which the clock stops: 292 years on, and as far from the largest [`Instant`], so that the sums
/// of a machine do not saturate.
const END: Instant = Instant::from_nanos(u64::MAX / 2);
/// The largest number of deadlines that are reached after the script.
const MAX_WAKES: usize = 1024;

/// Returns how many bytes are allocated.
pub(super) type Meter<'m> = &'m mut dyn FnMut() -> usize;

pub(super) struct Runner<'b, 'm, M: LawSubject> {
    config: &'b M::Config,
    machine: M,
    checker: Checker<M::Addr>,
    tx: Transmit<M::Addr>,
    mode: Mode,
    memory_limit: usize,
    clock: Instant,
    /// The latest time that the machine was given.
    latest: Instant,
    sockets: BTreeMap<M::Addr, StreamSocket>,
    opens: Vec<(Tag, M::Addr)>,
    opened: Vec<M::Addr>,
    input: DrainInput,
    datagram: usize,
    accounts: Accounts<M::Addr>,
    rng: Rng,
    meter: Option<Meter<'m>>,
    metered: usize,
    step: &'b Cell<usize>,
    log: Log<M::Addr, M::Event>,
}

enum Drain {
    Continues,
    Ends,
}

impl<'b, 'm, M: LawSubject> Runner<'b, 'm, M> {
    /// Makes the machine, or `None` when the configuration is refused. `step` is set to the current step.
    pub(super) fn new(
        case: &'b Case<M>,
        mode: Mode,
        mut meter: Option<Meter<'m>>,
        step: &'b Cell<usize>,
    ) -> Option<Self> {
        let before = meter.as_mut().map_or(0, |meter| meter());
        let machine = M::make(&case.config, Seed::from(case.seed))?;
        let metered = meter
            .as_mut()
            .map_or(0, |meter| meter().wrapping_sub(before));
        Some(Self {
            config: &case.config,
            machine,
            checker: Checker::new(case.limits),
            tx: preallocated(case),
            mode,
            memory_limit: M::memory_limit(&case.config),
            clock: START,
            latest: Instant::ZERO,
            sockets: BTreeMap::new(),
            opens: Vec::new(),
            opened: Vec::new(),
            input: DrainInput::default(),
            datagram: 0,
            accounts: Accounts::new(),
            rng: Seed::from(case.seed).child("chunking").rng(),
            meter,
            metered,
            step,
            log: Log {
                entries: Vec::new(),
                unread: Vec::new(),
                has_read_streams: false,
            },
        })
    }

    pub(super) fn run(
        mut self,
        script: &[Step<M::Addr, M::Command>],
    ) -> Result<Log<M::Addr, M::Event>, Violation> {
        self.run_script(script).map_err(|violation| Violation {
            step: self.step.get(),
            ..violation
        })?;
        Ok(self.log)
    }

    fn run_script(&mut self, script: &[Step<M::Addr, M::Command>]) -> Result<(), Violation> {
        self.check_memory()?;
        for (index, step) in script.iter().enumerate() {
            self.step.set(index);
            if let Mode::Chunked(chunking) = self.mode {
                let next = script.get(index + 1);
                self.settle_step(step, next, chunking)?;
            } else {
                self.apply(step)?;
                self.read_streams(Chunking::Whole)?;
                self.log_wants();
            }
        }
        self.step.set(script.len());
        if let Mode::Chunked(_) = self.mode {
            return Ok(());
        }
        self.run_timers()
    }

    fn apply(&mut self, step: &Step<M::Addr, M::Command>) -> Result<(), Violation> {
        match step {
            Step::Receive { from, octets } => self.arrive(M::route(*from, &self.opened), octets),
            Step::Flood { from, octets } => self.feed(M::route(*from, &self.opened), octets),
            Step::Link { at, state } => self.cue(M::route(*at, &self.opened), *state),
            Step::Answer { open, failed } => self.answer(*open, *failed),
            Step::Command(command) => self.command(command),
            Step::Wait(span) => {
                self.clock = (self.clock + *span).min(END);
                Ok(())
            }
            Step::Wake => self.wake(),
            Step::Back(span) => {
                self.clock = Instant::ZERO + (self.clock - (Instant::ZERO + *span));
                Ok(())
            }
            Step::Poll => self.poll().map(|_| ()),
            Step::Drain => self.drain(),
        }
    }

    /// Reaches deadline after deadline until none is left: events of time alone have to end.
    fn run_timers(&mut self) -> Result<(), Violation> {
        self.settle(Chunking::Whole)?;
        let wakes = M::max_events(self.input).saturating_add(1).min(MAX_WAKES);
        for _ in 0..wakes {
            if self.checker.deadline().is_none() {
                break;
            }
            self.wake()?;
            self.settle(Chunking::Whole)?;
        }
        Ok(())
    }

    // Time.

    /// Returns the time of a call of the machine, which is probed up to then in a probed run.
    fn now(&mut self) -> Result<Instant, Violation> {
        let now = match self.mode {
            Mode::Clamped => self.clock.max(self.latest),
            Mode::Plain | Mode::Probed | Mode::Chunked(_) => self.clock,
        };
        if self.mode == Mode::Probed {
            self.probe_until(now)?;
        }
        self.latest = self.latest.max(now);
        Ok(now)
    }

    fn wake(&mut self) -> Result<(), Violation> {
        self.drain()?;
        match self.checker.deadline() {
            Some(deadline) if deadline <= END => {
                self.clock = deadline;
                self.drain()
            }
            _ => Ok(()),
        }
    }

    /// Polls half way to the next call or deadline, and a nanosecond before it. The checker checks the answers.
    fn probe_until(&mut self, now: Instant) -> Result<(), Violation> {
        if !self.checker.is_idle() {
            return Ok(());
        }
        let from = self.latest;
        let ahead = self.checker.deadline().unwrap_or(now).min(now) - from;
        let Some(last) = ahead.checked_sub(Duration::from_nanos(1)) else {
            return Ok(());
        };
        self.probe(from + last / 2)?;
        self.probe(from + last)
    }

    fn probe(&mut self, at: Instant) -> Result<(), Violation> {
        let output = self.machine.poll(at, &mut self.tx);
        self.checker.polled(at, &output, &self.tx)
    }

    // Input.

    fn arrive(&mut self, from: M::Addr, octets: &[u8]) -> Result<(), Violation> {
        if !self.checker.is_alive(from) {
            return Ok(());
        }
        if !M::is_stream(self.config, from) {
            return self.feed(from, octets);
        }
        let socket = self.sockets.entry(from).or_default();
        if socket.fin == Fin::None {
            socket.octets.extend_from_slice(octets);
        }
        Ok(())
    }

    fn feed(&mut self, from: M::Addr, octets: &[u8]) -> Result<(), Violation> {
        let is_stream = M::is_stream(self.config, from);
        if is_stream {
            if octets.is_empty() {
                // A read of a stream returns no octets only at its end, which is a cue.
                return Ok(());
            }
            let socket = self.sockets.entry(from).or_default();
            socket.largest = socket.largest.max(octets.len());
        } else {
            self.datagram = self.datagram.max(octets.len());
        }
        let now = self.now()?;
        self.count(octets.len());
        self.accounts.receive(from, octets.len(), is_stream);
        self.checker.receive(&self.machine, now, from);
        self.metered(|machine, _| machine.receive(now, from, octets));
        self.check_memory()
    }

    fn cue(&mut self, at: M::Addr, state: Link) -> Result<(), Violation> {
        let opens = matches!(state, Link::Up | Link::Opened(_));
        if !opens && !self.checker.is_alive(at) {
            return Ok(());
        }
        if M::is_stream(self.config, at) {
            if opens && !self.checker.is_alive(at) {
                self.sockets.remove(&at);
            }
            let socket = self.sockets.entry(at).or_default();
            match state {
                Link::Ended if socket.fin == Fin::None => {
                    socket.fin = Fin::Pending;
                    return Ok(());
                }
                Link::Ended => return Ok(()),
                Link::Down(_) => socket.octets.clear(),
                _ => {}
            }
        }
        self.link(at, state)
    }

    fn link(&mut self, at: M::Addr, state: Link) -> Result<(), Violation> {
        let now = self.now()?;
        self.count(0);
        self.checker.link(now, at, state);
        self.metered(|machine, _| machine.link(now, at, state));
        self.check_memory()
    }

    fn answer(&mut self, open: u8, failed: Option<Cause>) -> Result<(), Violation> {
        let Some(nth) = usize::from(open).checked_rem(self.opens.len()) else {
            return Ok(());
        };
        let (tag, path) = self.opens.remove(nth);
        if let Some(cause) = failed {
            return self.link(path, Link::Failed(tag, cause));
        }
        let path = M::bound(path, self.opened.len());
        self.opened.push(path);
        self.cue(path, Link::Opened(tag))
    }

    fn command(&mut self, command: &M::Command) -> Result<(), Violation> {
        let now = self.now()?;
        self.count(0);
        self.checker.command(now);
        let refused = self.metered(|machine, _| machine.command(now, command.clone()).err());
        if let Some(error) = refused {
            self.note(Observed::Refused(format!("{error:?}")));
        }
        self.check_memory()
    }

    fn count(&mut self, octets: usize) {
        if self.checker.is_idle() {
            self.input = DrainInput::default();
        }
        self.input.calls += 1;
        self.input.octets += octets;
    }

    // Output.

    fn drain(&mut self) -> Result<(), Violation> {
        while let Drain::Continues = self.poll()? {}
        Ok(())
    }

    fn poll(&mut self) -> Result<Drain, Violation> {
        let now = self.now()?;
        let output = self.metered(|machine, tx| machine.poll(now, tx));
        self.checker.polled(now, &output, &self.tx)?;
        self.check_memory()?;
        match output {
            Output::Transmit => self.sent()?,
            Output::Event(event) => self.take(event),
            Output::Ask(ask) => self.carry_out(ask),
            Output::Yield => {}
            Output::Idle(deadline) => {
                self.note(Observed::Idle(deadline));
                if self.mode == Mode::Probed {
                    self.probe(now)?;
                }
                self.log_wants();
                let machine = &self.machine;
                self.checker.settled(machine, |at| machine.awaits(at))?;
                return Ok(Drain::Ends);
            }
            Output::Done => {
                self.note(Observed::Done);
                return Ok(Drain::Ends);
            }
        }
        Ok(Drain::Continues)
    }

    fn sent(&mut self) -> Result<(), Violation> {
        let Some(to) = self.tx.to() else {
            return Ok(());
        };
        if self.machine.is_stranger(to) {
            self.accounts.send(to, self.tx.octets().len())?;
        }
        let kind = if self.tx.is_stream() {
            SendKind::Stream
        } else {
            let size = self.tx.segment_size();
            SendKind::Datagrams { size }
        };
        let octets = self.tx.octets().to_vec();
        self.note(Observed::Sent { to, kind, octets });
        Ok(())
    }

    /// An event is dropped under the meter, which counted its payload when the machine made it.
    fn take(&mut self, event: M::Event) {
        if self.meter.is_some() {
            self.metered(|_, _| drop(event));
        } else {
            self.note(Observed::Event(event));
        }
    }

    fn carry_out(&mut self, ask: Ask<M::Addr>) {
        let ask = match ask {
            Ask::Open { tag, path } => {
                self.opens.push((tag, path));
                ask
            }
            Ask::Cancel(tag) => {
                self.opens.retain(|(open, _)| *open != tag);
                let checker = &self.checker;
                self.sockets.retain(|at, _| checker.is_alive(*at));
                ask
            }
            Ask::Close(at) | Ask::Abort(at) => {
                self.sockets.remove(&at);
                ask
            }
            Ask::Detach { tag, path, early } => self.detach(tag, path, &early),
            Ask::Finish(_) => ask,
        };
        self.note(Observed::Ask(ask));
    }

    /// The application reads what the machine read too early and then what is in the socket; only the two
    /// together are independent of the chunking.
    fn detach(&mut self, tag: Tag, path: M::Addr, early: &Bytes) -> Ask<M::Addr> {
        let mut all = BytesMut::from(early.as_ref());
        if let Some(socket) = self.sockets.remove(&path) {
            all.extend_from_slice(&socket.octets);
        }
        let early = all.freeze();
        Ask::Detach { tag, path, early }
    }

    fn note(&mut self, seen: Observed<M::Addr, M::Event>) {
        if self.meter.is_none() {
            self.log.entries.push((self.step.get(), seen));
        }
    }

    // Memory.

    /// Runs a call of the machine, and measures what it allocates.
    fn metered<T>(&mut self, call: impl FnOnce(&mut M, &mut Transmit<M::Addr>) -> T) -> T {
        let Some(meter) = &mut self.meter else {
            return call(&mut self.machine, &mut self.tx);
        };
        let before = meter();
        let result = call(&mut self.machine, &mut self.tx);
        // Wrapping: a call may free more than it allocates.
        let grown = meter().wrapping_sub(before);
        self.metered = self.metered.wrapping_add(grown);
        result
    }

    /// Checks the memory of the machine against its limit, and sets the bounds of the drain accordingly.
    fn check_memory(&mut self) -> Result<(), Violation> {
        let own = self.machine.memory_used();
        // The sum is negative when the machine freed memory that came with its inputs.
        let metered = isize::try_from(self.metered).map_or(0, isize::unsigned_abs);
        self.input.memory = self.input.memory.max(own);
        self.checker
            .allow(M::max_outputs(self.input), M::max_events(self.input));
        let chunks = self
            .sockets
            .iter()
            .filter(|(at, _)| self.checker.is_alive(**at))
            .map(|(_, socket)| socket.largest)
            .fold(self.datagram, usize::saturating_add);
        let bound = self.memory_limit.saturating_add(chunks);
        let (used, by) = if metered > own {
            (metered, "by the allocator")
        } else {
            (own, "by its own count")
        };
        if used <= bound {
            return self.accounts.check_memory(self.machine.memory_for_input());
        }
        let detail = format!(
            "{used} bytes used {by}, above the limit of {} and {chunks} for chunks",
            self.memory_limit
        );
        Err(Violation::new(Law::BoundedMemory, self.step.get(), detail))
    }
}

/// Makes the buffer for sends with its memory allocated, so that no meter counts it as the machine's.
fn preallocated<M: LawSubject>(case: &Case<M>) -> Transmit<M::Addr> {
    let mut tx = Transmit::new(case.limits);
    let address = case.script.iter().find_map(|step| match step {
        Step::Receive { from: at, .. } | Step::Flood { from: at, .. } | Step::Link { at, .. } => {
            Some(*at)
        }
        _ => None,
    });
    if let Some(at) = address {
        let all = case.limits.octets.get();
        tx.append(at, all, |out| out.resize(all, 0));
        tx.clear();
    }
    tx
}
