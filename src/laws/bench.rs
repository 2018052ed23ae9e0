//! One run of a script: a machine, the driver that the contract describes, and a watch around each call.

mod streams;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use streams::{Fin, Pipe};

use super::log::{Log, Manner, Pieces, Run, Seen};
use super::{Case, Checker, DrainInput, Law, LawSubject, Step, Violation};
use crate::{Ask, Cause, Instant, Link, Output, Rng, Seed, Tag, Transmit};

/// Where time begins: late enough to go back from.
const BEGINNING: Instant = Instant::from_nanos(3_600_000_000_000);
/// Where time ends: 292 years on, and as far from the end of what an [`Instant`] can say, so that the sums
/// of a machine do not saturate.
const END: Instant = Instant::from_nanos(u64::MAX / 2);
/// How often a finished script goes on to the next deadline, at most.
const MOST_WAKES: usize = 1024;

/// Reads how much memory is allocated, everywhere.
pub(super) type Meter<'m> = &'m mut dyn FnMut() -> usize;

pub(super) struct Bench<'b, 'm, M: LawSubject> {
    config: &'b M::Config,
    machine: M,
    watch: Checker<M::Addr>,
    tx: Transmit<M::Addr>,
    manner: Manner,
    ceiling: usize,
    clock: Instant,
    /// The latest time that the machine was told.
    told: Instant,
    pipes: BTreeMap<M::Addr, Pipe>,
    opens: Vec<(Tag, M::Addr)>,
    opened: Vec<M::Addr>,
    fed: DrainInput,
    datagram: usize,
    chance: Rng,
    meter: Option<Meter<'m>>,
    metered: usize,
    step: &'b Cell<usize>,
    log: Log<M::Addr, M::Event>,
}

enum Turn {
    More,
    Rest,
}

impl<'b, 'm, M: LawSubject> Bench<'b, 'm, M> {
    /// Makes the machine; `None` when the configuration is refused. `step` shows where the run has got to.
    pub(super) fn new(
        case: &'b Case<M>,
        manner: Manner,
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
            watch: Checker::new(case.limits),
            tx: warm(case),
            manner,
            ceiling: M::memory_limit(&case.config),
            clock: BEGINNING,
            told: Instant::ZERO,
            pipes: BTreeMap::new(),
            opens: Vec::new(),
            opened: Vec::new(),
            fed: DrainInput::default(),
            datagram: 0,
            chance: Seed::from(case.seed).child("pieces").rng(),
            meter,
            metered,
            step,
            log: Log {
                seen: Vec::new(),
                stalls: Vec::new(),
                has_read: false,
            },
        })
    }

    pub(super) fn run(
        mut self,
        script: &[Step<M::Addr, M::Command>],
    ) -> Result<Log<M::Addr, M::Event>, Violation> {
        self.go_through(script).map_err(|breach| Violation {
            step: self.step.get(),
            ..breach
        })?;
        Ok(self.log)
    }

    fn go_through(&mut self, script: &[Step<M::Addr, M::Command>]) -> Result<(), Violation> {
        self.weigh()?;
        for (index, step) in script.iter().enumerate() {
            self.step.set(index);
            if let Manner::Cut(pieces) = self.manner {
                let next = script.get(index + 1);
                self.settle_step(step, next, pieces)?;
            } else {
                self.apply(step)?;
                self.read_on(Pieces::Whole)?;
                self.ask_wants();
            }
        }
        self.step.set(script.len());
        if let Manner::Cut(_) = self.manner {
            return Ok(());
        }
        self.let_time_pass()
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

    /// Once the script is over, deadlines come until none is left: time alone must fall silent.
    fn let_time_pass(&mut self) -> Result<(), Violation> {
        self.settle(Pieces::Whole)?;
        let wakes = M::most_events(self.fed).saturating_add(1).min(MOST_WAKES);
        for _ in 0..wakes {
            if self.watch.deadline().is_none() {
                break;
            }
            self.wake()?;
            self.settle(Pieces::Whole)?;
        }
        Ok(())
    }

    // Time.

    /// Reads the clock for a call of the machine, and has it probed first if the run is one of probes.
    fn now(&mut self) -> Result<Instant, Violation> {
        let now = match self.manner {
            Manner::Clamped => self.clock.max(self.told),
            Manner::Plain | Manner::Probed | Manner::Cut(_) => self.clock,
        };
        if self.manner == Manner::Probed {
            self.probe_until(now)?;
        }
        self.told = self.told.max(now);
        Ok(now)
    }

    fn wake(&mut self) -> Result<(), Violation> {
        self.drain()?;
        match self.watch.deadline() {
            Some(deadline) if deadline <= END => {
                self.clock = deadline;
                self.drain()
            }
            _ => Ok(()),
        }
    }

    /// Polls half way to where something may come, and right before it. The watch judges the answers.
    fn probe_until(&mut self, now: Instant) -> Result<(), Violation> {
        if !self.watch.is_idle() {
            return Ok(());
        }
        let from = self.told;
        let ahead = self.watch.deadline().unwrap_or(now).min(now) - from;
        let Some(last) = ahead.checked_sub(Duration::from_nanos(1)) else {
            return Ok(());
        };
        self.probe(from + last / 2)?;
        self.probe(from + last)
    }

    fn probe(&mut self, at: Instant) -> Result<(), Violation> {
        let output = self.machine.poll(at, &mut self.tx);
        self.watch.polled(at, &output, &self.tx)
    }

    // Input.

    fn arrive(&mut self, from: M::Addr, octets: &[u8]) -> Result<(), Violation> {
        if !self.watch.is_alive(from) {
            return Ok(());
        }
        if !M::is_stream(self.config, from) {
            return self.feed(from, octets);
        }
        let pipe = self.pipes.entry(from).or_default();
        if pipe.fin == Fin::None {
            pipe.octets.extend_from_slice(octets);
        }
        Ok(())
    }

    fn feed(&mut self, from: M::Addr, octets: &[u8]) -> Result<(), Violation> {
        if M::is_stream(self.config, from) {
            if octets.is_empty() {
                // No read of a stream gives nothing, and ends nothing.
                return Ok(());
            }
            let pipe = self.pipes.entry(from).or_default();
            pipe.largest = pipe.largest.max(octets.len());
        } else {
            self.datagram = self.datagram.max(octets.len());
        }
        let now = self.now()?;
        self.count(octets.len());
        self.watch.receive(&self.machine, now, from);
        self.metered(|machine, _| machine.receive(now, from, octets));
        self.weigh()
    }

    fn cue(&mut self, at: M::Addr, state: Link) -> Result<(), Violation> {
        let opens = matches!(state, Link::Up | Link::Opened(_));
        if !opens && !self.watch.is_alive(at) {
            return Ok(());
        }
        if M::is_stream(self.config, at) {
            if opens && !self.watch.is_alive(at) {
                self.pipes.remove(&at);
            }
            let pipe = self.pipes.entry(at).or_default();
            match state {
                Link::Ended if pipe.fin == Fin::None => {
                    pipe.fin = Fin::Coming;
                    return Ok(());
                }
                Link::Ended => return Ok(()),
                Link::Down(_) => pipe.octets.clear(),
                _ => {}
            }
        }
        self.link(at, state)
    }

    fn link(&mut self, at: M::Addr, state: Link) -> Result<(), Violation> {
        let now = self.now()?;
        self.count(0);
        self.watch.link(now, at, state);
        self.metered(|machine, _| machine.link(now, at, state));
        self.weigh()
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
        self.watch.command(now);
        let refused = self.metered(|machine, _| machine.command(now, command.clone()).err());
        if let Some(error) = refused {
            self.note(Seen::Refused(format!("{error:?}")));
        }
        self.weigh()
    }

    fn count(&mut self, octets: usize) {
        if self.watch.is_idle() {
            self.fed = DrainInput::default();
        }
        self.fed.calls += 1;
        self.fed.octets += octets;
    }

    // Output.

    fn drain(&mut self) -> Result<(), Violation> {
        while let Turn::More = self.poll()? {}
        Ok(())
    }

    fn poll(&mut self) -> Result<Turn, Violation> {
        let now = self.now()?;
        let output = self.metered(|machine, tx| machine.poll(now, tx));
        self.watch.polled(now, &output, &self.tx)?;
        self.weigh()?;
        match output {
            Output::Transmit => self.sent(),
            Output::Event(event) => self.take(event),
            Output::Ask(ask) => self.asked(ask),
            Output::Yield => {}
            Output::Idle(deadline) => {
                self.note(Seen::Idle(deadline));
                if self.manner == Manner::Probed {
                    self.probe(now)?;
                }
                self.ask_wants();
                let machine = &self.machine;
                self.watch.settled(machine, |at| machine.awaits(at))?;
                return Ok(Turn::Rest);
            }
            Output::Done => {
                self.note(Seen::Done);
                return Ok(Turn::Rest);
            }
        }
        Ok(Turn::More)
    }

    fn sent(&mut self) {
        let Some(to) = self.tx.to() else {
            return;
        };
        let run = if self.tx.is_stream() {
            Run::Stream
        } else {
            let size = self.tx.segment_size();
            Run::Datagrams { size }
        };
        let octets = self.tx.octets().to_vec();
        self.note(Seen::Sent { to, run, octets });
    }

    /// A metered event is dropped under the meter: its payload was weighed when the machine made it.
    fn take(&mut self, event: M::Event) {
        if self.meter.is_some() {
            self.metered(|_, _| drop(event));
        } else {
            self.note(Seen::Event(event));
        }
    }

    fn asked(&mut self, ask: Ask<M::Addr>) {
        let ask = match ask {
            Ask::Open { tag, path } => {
                self.opens.push((tag, path));
                ask
            }
            Ask::Close(at) | Ask::Abort(at) => {
                self.pipes.remove(&at);
                ask
            }
            Ask::Detach { tag, path, early } => self.hand(tag, path, &early),
            Ask::Cancel(_) | Ask::Finish(_) => ask,
        };
        self.note(Seen::Ask(ask));
    }

    /// The application reads what the machine read too far and then what lies in the socket; only the two
    /// together do not depend on how the stream was cut.
    fn hand(&mut self, tag: Tag, path: M::Addr, early: &Bytes) -> Ask<M::Addr> {
        let mut all = BytesMut::from(early.as_ref());
        if let Some(pipe) = self.pipes.remove(&path) {
            all.extend_from_slice(&pipe.octets);
        }
        let early = all.freeze();
        Ask::Detach { tag, path, early }
    }

    fn note(&mut self, seen: Seen<M::Addr, M::Event>) {
        if self.meter.is_none() {
            self.log.seen.push((self.step.get(), seen));
        }
    }

    // Memory.

    /// Runs a call of the machine under the meter.
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

    /// Weighs the machine against its ceiling, and sets the bounds of the drain by what it holds.
    fn weigh(&mut self) -> Result<(), Violation> {
        let own = self.machine.memory_used();
        // What a driver or an application gave away and the machine freed makes the sum negative.
        let metered = isize::try_from(self.metered).map_or(0, isize::unsigned_abs);
        self.fed.held = self.fed.held.max(own);
        self.watch
            .allow(M::most_outputs(self.fed), M::most_events(self.fed));
        let chunks = self
            .pipes
            .iter()
            .filter(|(at, _)| self.watch.is_alive(**at))
            .map(|(_, pipe)| pipe.largest)
            .fold(self.datagram, usize::saturating_add);
        let bound = self.ceiling.saturating_add(chunks);
        let (held, by) = if metered > own {
            (metered, "by the meter")
        } else {
            (own, "by its own count")
        };
        if held <= bound {
            return Ok(());
        }
        let detail = format!(
            "{held} bytes held {by}, above the ceiling of {} and {chunks} for chunks",
            self.ceiling
        );
        Err(Violation::new(
            Law::MemoryIsBounded,
            self.step.get(),
            detail,
        ))
    }
}

/// Makes the buffer for sends and lets it grow, so that no meter takes its memory for the machine's.
fn warm<M: LawSubject>(case: &Case<M>) -> Transmit<M::Addr> {
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
