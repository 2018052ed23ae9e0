//! One turn of the loop that drives a machine: drain the machine, then look at the inputs once.
//!
//! It knows neither the protocol nor the sockets: a [`Port`] receives the events, a [`Carrier`] carries the
//! octets. Who takes the turns, and what is done between them, is the business of
//! [`Shared`](super::shared::Shared).

use core::task::{Context, Waker};
use std::io;

use super::handle::DetachedStream;
use super::scratch;
use super::waiters::Wakes;
use crate::{Ask, Instant, Limits, Link, Machine, Output, Transmit};

/// Sends of one turn, after which the inputs are looked at and the lock is released.
const SENDS: usize = 64;

/// Octets sent in one turn, after which the inputs are looked at and the lock is released.
const OCTETS: usize = 1 << 20;

/// What a machine tells its application.
pub(crate) type EventOf<P> = <<P as Port>::Machine as Machine>::Event;

/// What a machine is told by its application.
pub(crate) type CommandOf<P> = <<P as Port>::Machine as Machine>::Command;

/// Why a machine refuses a command.
pub(crate) type ErrorOf<P> = <<P as Port>::Machine as Machine>::Error;

/// What a machine calls its peers, streams or interfaces.
pub(crate) type AddrOf<P> = <<P as Port>::Machine as Machine>::Addr;

/// What a protocol adds to the core: who gets which event, and who waits for what.
///
/// All methods run under the lock. They do no I/O, and neither make nor drop a handle.
pub(crate) trait Port: Send + Sized + 'static {
    /// The machine that is driven.
    type Machine: Machine<Event: Send, Command: Send> + Send;
    /// What can be waited for. The lines are woken through [`Wakes`].
    type Line: Copy + Ord + Send + Sync;

    /// Keeps an event for whoever it concerns, and wakes them. It must not refuse: asks and sends follow.
    fn deliver(core: &mut Core<Self>, event: EventOf<Self>);

    /// Tells whether events are few enough that octets may be read; false is back-pressure.
    fn has_room(&self) -> bool {
        true
    }

    /// Hears, once a turn, that all the machine has sent so far is with the system.
    fn flushed(core: &mut Core<Self>) {
        let _ = core;
    }

    /// Receives a stream that the machine gave away.
    fn detached(core: &mut Core<Self>, stream: DetachedStream) {
        let _ = (core, stream);
    }

    /// Looks after deadlines of the port's own at the end of each turn: closing in time, for example.
    ///
    /// `is_idle`: the machine has nothing more to say before its deadline.
    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        let _ = (core, is_idle);
        Rest::Until(None)
    }

    /// Tells whether nobody can give a command any more. The loop then ends as soon as nothing else can
    /// reach the machine.
    fn is_abandoned(&self) -> bool {
        false
    }

    /// Hears that the machine is not driven any more, and what broke its carrier. Everybody is woken.
    fn end(&mut self, machine: &mut Self::Machine, outcome: io::Result<()>);
}

/// What [`Port::tend`] wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing before this time.
    Until(Option<Instant>),
    /// The machine was given something: take another turn at once.
    Again,
    /// End the loop as if the machine were done.
    Over,
}

/// What carries the octets: one stream, one UDP socket, or sockets by their addresses.
///
/// All polls use the waker of the driver, whoever takes the turn.
pub(crate) trait Carrier<M: Machine>: Send {
    /// Tells the machine what it has from the start (`Link::Up`), before anything else reaches it.
    fn begin(&mut self, now: Instant, machine: &mut M);

    /// Sends what is in `tx` and never waits. Returns the address that would block (`Link::Full`); what was
    /// not sent is kept, and `Link::Free` follows.
    fn send(&mut self, waker: &Waker, tx: &mut Transmit<M::Addr>) -> Option<M::Addr>;

    /// Takes what the machine asks for. It is carried out, and answered, by [`inputs`](Self::inputs).
    fn answer(&mut self, now: Instant, ask: Ask<M::Addr>);

    /// Looks at every input once, gives what there is to the machine, and tells whether there was any.
    /// Without input the waker is registered, or will be called for another reason.
    fn inputs(&mut self, turn: &mut Turn<'_, M>) -> bool;

    /// Returns the octets of the smallest receive buffer of its UDP sockets; 0 if it knows none.
    fn receive_buffer(&self) -> usize {
        0
    }

    /// Tells whether all that was sent is with the system.
    fn is_flushed(&self) -> bool;

    /// Returns a stream that the machine gave away.
    fn detached(&mut self) -> Option<DetachedStream> {
        None
    }

    /// Tells what can still come of it.
    fn liveness(&self) -> Liveness;

    /// Begins to close everything in good order: FIN behind what was written, then a linger.
    /// [`inputs`](Self::inputs) goes on with it until it is [`Gone`](Liveness::Gone); the application hears of
    /// the end as soon as [`is_flushed`](Self::is_flushed).
    fn finish(&mut self, now: Instant);

    /// Returns what broke it, once.
    fn take_error(&mut self) -> Option<io::Error> {
        None
    }

    /// Returns when `inputs` is to be called at the latest.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// A look at the inputs, and what they are given to.
pub(crate) struct Turn<'a, M> {
    pub(crate) waker: &'a Waker,
    pub(crate) now: Instant,
    pub(crate) machine: &'a mut M,
    /// Unless set, octets, ends and connections of peers are left where they are.
    pub(crate) may_read: bool,
}

impl<'a, M> Turn<'a, M> {
    pub(crate) const fn cx(&self) -> Context<'a> {
        Context::from_waker(self.waker)
    }
}

/// What can still come of a [`Carrier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Inputs.
    Alive,
    /// Nothing, unless the machine asks for it; sockets may linger.
    Empty,
    /// Nothing, unless the machine asks for it.
    Gone,
    /// Nothing: the only stream was given away.
    Detached,
}

/// How far a connection or node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The machine is not polled any more; what it sent is on its way.
    Finishing,
    /// The application knows of the end; sockets may linger.
    Told,
    Gone,
}

/// How a drain ended.
enum Drained {
    /// The machine has nothing to say before this time.
    Idle(Option<Instant>),
    /// It has more to say, but the inputs come first.
    Paused,
    Done,
}

/// A machine with all it needs but its carrier. All access is through the lock of
/// [`Shared`](super::shared::Shared).
pub(crate) struct Core<P: Port> {
    /// The protocol's own state.
    pub(crate) port: P,
    /// Whom to wake once the lock is released.
    pub(crate) wakes: Wakes<P::Line>,
    /// When the lock was taken: machine, port and handles see the same time.
    pub(crate) now: Instant,
    machine: P::Machine,
    limits: Limits,
    pub(super) phase: Phase,
    /// The machine was given something since it was last drained.
    pub(super) is_dirty: bool,
    /// A turn is due although no input will call for it: an ask, or a drain that was cut short.
    pub(super) is_busy: bool,
    /// All that was sent is with the system.
    is_flushed: bool,
    /// When the next turn is due without input.
    pub(super) deadline: Option<Instant>,
}

/// The carrier of a port's machine.
pub(super) type CarrierOf<P> = dyn Carrier<<P as Port>::Machine>;

/// What a turn is taken with.
pub(super) struct Io<'a, P: Port> {
    pub(super) carrier: &'a mut CarrierOf<P>,
    pub(super) waker: &'a Waker,
}

impl<P: Port> Core<P> {
    pub(crate) fn new(port: P, machine: P::Machine, limits: Limits) -> Self {
        Self {
            port,
            wakes: Wakes::new(),
            now: Instant::ZERO,
            machine,
            limits,
            phase: Phase::Running,
            is_dirty: false,
            is_busy: true,
            is_flushed: false,
            deadline: None,
        }
    }

    /// Gives the machine a command; it is drained before the lock is released, or soon after.
    pub(crate) fn give(&mut self, command: CommandOf<P>) -> Result<(), ErrorOf<P>> {
        self.is_dirty = true;
        self.machine.command(self.now, command)
    }

    /// Returns the machine, to be given something; it is drained before the lock is released, or soon after.
    pub(crate) const fn machine(&mut self) -> &mut P::Machine {
        self.is_dirty = true;
        &mut self.machine
    }

    /// Returns the machine without giving it anything.
    pub(crate) const fn peek(&self) -> &P::Machine {
        &self.machine
    }

    /// Tells whether the machine is not driven any more, or about to be so.
    pub(crate) fn is_over(&self) -> bool {
        self.phase != Phase::Running
    }

    /// Tells whether the end was told: what the machine had to say is with the system, or lost.
    pub(crate) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Told | Phase::Gone)
    }

    /// Tells whether all that the machine has to say so far is with the system.
    pub(crate) const fn is_flushed(&self) -> bool {
        !self.is_dirty && !self.is_busy && self.is_flushed
    }

    /// Asks for a turn although the machine was given nothing: the carrier has to look at something.
    pub(crate) const fn touch(&mut self) {
        self.is_dirty = true;
    }

    /// Drains the machine and, if the turn `looks`, looks at the inputs. If it [`is_busy`](Self::is_busy) then,
    /// another turn is due at once.
    pub(super) fn turn(&mut self, io: &mut Io<'_, P>, looks: bool) {
        if self.phase != Phase::Running {
            return self.finish(io);
        }
        let drained = self.drain(io);
        if self.ends_by(io, &drained) {
            return;
        }
        if looks {
            // The inputs answer what was asked.
            self.is_busy = self.read_inputs(io, self.port.has_room());
            if io.carrier.is_flushed() {
                P::flushed(self);
            }
        }
        self.rest(io, &drained);
    }

    /// Tells whether this drain was the last one.
    fn ends_by(&mut self, io: &mut Io<'_, P>, drained: &Drained) -> bool {
        self.take_detached(io);
        let is_over = match (drained, io.carrier.liveness()) {
            (Drained::Done, _) | (Drained::Idle(_), Liveness::Detached) => true,
            (Drained::Idle(None), Liveness::Empty | Liveness::Gone) => self.port.is_abandoned(),
            (Drained::Idle(_) | Drained::Paused, _) => false,
        };
        if is_over {
            self.over();
        }
        is_over
    }

    /// Works out when the next turn is due.
    fn rest(&mut self, io: &mut Io<'_, P>, drained: &Drained) {
        self.take_detached(io);
        self.is_flushed = io.carrier.is_flushed();
        let (is_idle, idle) = match drained {
            Drained::Idle(deadline) => (true, *deadline),
            Drained::Paused | Drained::Done => (false, None),
        };
        self.is_busy |= !is_idle;
        match P::tend(self, is_idle) {
            Rest::Until(own) => {
                let due = [idle, own, io.carrier.deadline()];
                self.deadline = due.into_iter().flatten().min();
            }
            Rest::Again => self.is_busy = true,
            Rest::Over => self.over(),
        }
    }

    /// Ends the loop: the machine is not polled again.
    pub(crate) const fn over(&mut self) {
        self.phase = Phase::Finishing;
        self.is_busy = true;
        self.deadline = None;
    }

    fn finish(&mut self, io: &mut Io<'_, P>) {
        io.carrier.finish(self.now);
        self.is_busy = self.read_inputs(io, false);
        self.take_detached(io);
        self.is_flushed = io.carrier.is_flushed();
        self.deadline = io.carrier.deadline();
        let is_gone = matches!(io.carrier.liveness(), Liveness::Gone | Liveness::Detached);
        if is_gone || self.is_flushed {
            self.tell_end(io.carrier);
        }
        if is_gone {
            self.phase = Phase::Gone;
            // A driver that sleeps has to hear of an end that a caller saw.
            self.is_busy = true;
        }
    }

    fn read_inputs(&mut self, io: &mut Io<'_, P>, may_read: bool) -> bool {
        io.carrier.inputs(&mut Turn {
            waker: io.waker,
            now: self.now,
            machine: &mut self.machine,
            may_read,
        })
    }

    /// Ends the loop where it stands: the driver was stopped, or the machine panicked.
    pub(super) fn stop(&mut self, carrier: &mut CarrierOf<P>) {
        self.tell_end(carrier);
        self.phase = Phase::Gone;
    }

    fn tell_end(&mut self, carrier: &mut CarrierOf<P>) {
        if self.is_ended() {
            return;
        }
        self.phase = Phase::Told;
        let error = carrier.take_error();
        report!(debug, ?error, "driver ends");
        self.port.end(&mut self.machine, error.map_or(Ok(()), Err));
        self.wakes.everybody();
    }

    fn take_detached(&mut self, io: &mut Io<'_, P>) {
        while let Some(stream) = io.carrier.detached() {
            P::detached(self, stream);
        }
    }

    /// Lets the machine say what it has to say, up to a number of sends and octets.
    fn drain(&mut self, io: &mut Io<'_, P>) -> Drained {
        self.is_dirty = false;
        let mut tx = Transmit::with_memory(self.limits, scratch::take());
        let drained = self.drain_into(io, &mut tx);
        scratch::give(tx.take_memory());
        drained
    }

    fn drain_into(&mut self, io: &mut Io<'_, P>, tx: &mut Transmit<AddrOf<P>>) -> Drained {
        let (mut sends, mut octets) = (0, 0);
        while sends < SENDS && octets < OCTETS {
            match self.machine.poll(self.now, tx) {
                Output::Transmit => {
                    sends += 1;
                    octets += tx.octets().len();
                    if let Some(full) = io.carrier.send(io.waker, tx) {
                        self.machine.link(self.now, full, Link::Full);
                    }
                }
                Output::Event(event) => P::deliver(self, event),
                Output::Ask(ask) => {
                    io.carrier.answer(self.now, ask);
                    self.is_busy = true;
                }
                Output::Yield => return Drained::Paused,
                Output::Idle(deadline) => return Drained::Idle(deadline),
                Output::Done => return Drained::Done,
            }
        }
        Drained::Paused
    }
}
