//! The world: its hosts, its clock and the event loop.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::event::{Event, EventStore, RareEvent};
use super::event_queue::EventQueue;
use super::host::{ErasedMachine, MachineCell, PollStep};
use super::ip::{Internet, IpStack};
use super::lines::{DirectionId, Links};
use super::pipe::{PipeId, Pipes, reverse};
use super::script::{Condition, DetachedStream, Label};
use super::trace::{PacketId, Trace};
use super::traffic::HeldDatagram;
use super::{
    AnyAddr, DropReason, Host, HostAddr, HostId, MarkKind, Node, SimAddr, Statistics, TraceDetail,
    misuse,
};
use crate::laws::Violation;
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Seed, Tag};

/// The most events at one instant. More are taken for an endless loop.
const MAX_EVENTS_AT_ONCE: u64 = 20_000_000;

/// The deadline of a machine that has none.
const NEVER: Instant = Instant::MAX;

/// The receive buffer of a host that does not read, in octets: that of a UDP socket on Linux.
const INBOX: usize = 212_992;

/// A simulated network of machines. The [module](super) has an overview.
pub struct World {
    pub(super) number: u64,
    pub(super) seed: Seed,
    pub(super) now: Instant,
    pub(super) event_queue: EventQueue<Event>,
    pub(super) event_store: EventStore,
    pub(super) repeating: usize,
    pub(super) hosts: Vec<Box<HostSlot>>,
    pub(super) numbers: BTreeMap<u64, HostId>,
    pub(super) links: Links,
    pub(super) pipes: Pipes,
    pub(super) net: Internet,
    pub(super) conditions: Vec<Condition>,
    pub(super) trace: Trace,
    pub(super) label: Option<PacketLabeler>,
    /// The buffer of all transmits. One for all machines stays in the cache.
    memory: Vec<u8>,
    at_once: u64,
    busy: Option<HostId>,
}

pub(super) type PacketLabeler = Box<dyn FnMut(&[u8]) -> Option<Label>>;

/// The state of a host that most events need, beside its machine in memory.
#[repr(align(64))]
pub(super) struct HostSlot<B: ?Sized = dyn ErasedMachine> {
    pub(super) address: AddressState,
    pub(super) is_done: bool,
    pub(super) is_reading: bool,
    /// Whether datagrams are held. The machine is not polled then.
    pub(super) is_held: bool,
    /// State of a host that few events need.
    pub(super) extras: Box<HostExtras>,
    /// [`NEVER`] if the machine has none.
    deadline: Instant,
    /// The time of the earliest [`Event::Wake`] in the queue, or [`NEVER`].
    scheduled: Instant,
    pub(super) body: B,
}

/// State of a host that few events need.
#[derive(Default)]
pub(super) struct HostExtras {
    pub(super) label: Option<PacketLabeler>,
    pub(super) detached: Vec<DetachedStream>,
    /// The routes to other hosts that it has used, sorted by number.
    routes: Vec<NumberRoute>,
    /// Datagrams that wait for room on a line.
    pub(super) held: VecDeque<HeldDatagram>,
    /// Answers to [`Ask::Open`] that are not yet given.
    pub(super) answers: BTreeMap<Tag, (AnyAddr, Link)>,
    /// Datagrams that wait for a host that does not read.
    pub(super) inbox: VecDeque<(AnyAddr, Bytes, Option<PacketId>)>,
}

/// What a host needs for its kind of address.
pub(super) enum AddressState {
    /// The pipe to its peer, once connected.
    Stream(Option<PipeId>),
    Number(NumberedHost),
    Link(u16),
    Ip(Box<IpStack>),
}

/// A host whose address is a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberedHost {
    pub(super) own: u64,
    /// The route that it used last.
    latest: Option<NumberRoute>,
}

/// The host with a number, and the line to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRoute {
    pub(super) name: u64,
    pub(super) to: HostId,
    pub(super) direction: DirectionId,
}

/// How polling a machine ended.
#[derive(Debug, Clone, Copy)]
enum Drained {
    Idle,
    Yielded,
}

impl<B: ?Sized> HostSlot<B> {
    /// Returns the route to the host with a number, if it was used before.
    pub(super) fn route(&mut self, name: u64) -> Option<NumberRoute> {
        let AddressState::Number(named) = &mut self.address else {
            return None;
        };
        if let Some(latest) = named.latest.filter(|latest| latest.name == name) {
            return Some(latest);
        }
        let routes = &self.extras.routes;
        let addr = routes.binary_search_by_key(&name, |route| route.name);
        let found = routes.get(addr.ok()?).copied();
        named.latest = found;
        found
    }

    pub(super) fn learn(&mut self, route: NumberRoute) {
        let routes = &mut self.extras.routes;
        if let Err(addr) = routes.binary_search_by_key(&route.name, |route| route.name) {
            routes.insert(addr, route);
        }
    }
}

impl World {
    /// Creates an empty world at [`Instant::ZERO`]. Equal seeds give equal runs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let number = seed;
        let seed = Seed::from(number);
        Self {
            number,
            now: Instant::ZERO,
            event_queue: EventQueue::new(),
            event_store: EventStore::default(),
            repeating: 0,
            hosts: Vec::new(),
            numbers: BTreeMap::new(),
            links: Links::new(),
            pipes: Pipes::new(),
            net: Internet::new(),
            conditions: Vec::new(),
            trace: Trace::new(number),
            label: None,
            memory: Vec::new(),
            at_once: 0,
            busy: None,
            seed,
        }
    }

    /// Returns the current time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Derives a seed for a machine, or for random numbers of a script.
    #[must_use]
    pub fn seed(&self, name: &str) -> Seed {
        self.seed.child("machine").child(name)
    }

    /// Adds a host with its address: `()`, a number, a link address, or IP addresses.
    ///
    /// Its machine is first polled when the world runs, or with its first input.
    pub fn host<M>(&mut self, site: <M::Addr as SimAddr>::HostAddr, machine: M) -> Host<M>
    where
        M: Machine<Addr: SimAddr, Event: fmt::Debug> + 'static,
    {
        let id = HostId::new(self.hosts.len());
        let (address, name) = self.register(id, M::Addr::host_addr(site));
        self.trace.add_name(Node::Host(id), name);
        self.hosts.push(Box::new(HostSlot {
            body: MachineCell::new(machine),
            address,
            is_done: false,
            is_reading: true,
            is_held: false,
            extras: Box::default(),
            deadline: self.now,
            scheduled: self.now,
        }));
        self.event_queue.push(self.now, Event::Wake(id));
        Host::new(id)
    }

    fn register(&mut self, id: HostId, site: HostAddr) -> (AddressState, String) {
        match site {
            HostAddr::Stream => (AddressState::Stream(None), format!("host {}", id.0)),
            HostAddr::Number(name) => {
                if self.numbers.insert(name, id).is_some() {
                    misuse(&format!("two hosts have the number {name}"));
                }
                let named = NumberedHost {
                    own: name,
                    latest: None,
                };
                (AddressState::Number(named), format!("{name}"))
            }
            HostAddr::Link(link) => (AddressState::Link(link), format!("{link}")),
            HostAddr::Ip(ip) => {
                let name = ip.first().map(|address| format!("{address}"));
                let stack = self.register_ip(id, ip);
                (AddressState::Ip(Box::new(stack)), name.unwrap_or_default())
            }
        }
    }

    /// Sets the name of a node in ladders.
    pub fn name(&mut self, node: impl Into<Node>, name: impl Into<String>) {
        self.trace.add_name(node.into(), name.into());
    }

    /// Sets the limits of the transmits of a machine. They must be set before it is polled.
    pub fn limits(&mut self, host: impl Into<HostId>, limits: Limits) {
        self.slot(host.into()).body.limit(limits);
    }

    /// Runs until `time`.
    pub fn run_until(&mut self, time: impl super::When) {
        let time = time.instant();
        while self
            .event_queue
            .next_time()
            .is_some_and(|next| next <= time)
        {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Runs for a time.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until nothing is in flight and no machine has a deadline, or until `bound`. Returns whether the
    /// world is idle.
    ///
    /// Calls of [`every`](Self::every) do not keep it busy. Periodic contact plans do.
    pub fn run_until_idle(&mut self, bound: impl super::When) -> bool {
        let bound = bound.instant();
        while self.event_queue.len() > self.repeating {
            if self.event_queue.next_time().is_none_or(|next| next > bound) {
                self.now = self.now.max(bound);
                return false;
            }
            self.step();
        }
        true
    }

    /// Runs until `holds` returns true, or until `bound`. Returns whether it holds.
    ///
    /// The condition is checked first, and again after each event. If it does not hold by then, the time is
    /// `bound`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use farlink::sim::World;
    ///
    /// let second = Duration::from_secs(1);
    /// let mut world = World::new(1);
    /// world.every(second, |_| core::ops::ControlFlow::Continue(()));
    ///
    /// assert!(world.run_until_holds(60 * second, |world| world.now().as_nanos() >= 5_000_000_000));
    /// assert!(!world.run_until_holds(60 * second, |_| false));
    /// assert_eq!(world.now().to_string(), "60.000000000s");
    /// ```
    pub fn run_until_holds(
        &mut self,
        bound: impl super::When,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> bool {
        let bound = bound.instant();
        loop {
            if holds(self) {
                return true;
            }
            if self.event_queue.next_time().is_none_or(|next| next > bound) {
                self.now = self.now.max(bound);
                return holds(self);
            }
            self.step();
        }
    }

    /// Handles the next event. Returns false if there is none.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.event_queue.pop() else {
            return false;
        };
        if at > self.now {
            self.now = at;
            self.at_once = 0;
        }
        self.at_once += 1;
        if self.at_once > MAX_EVENTS_AT_ONCE {
            misuse(&format!(
                "{MAX_EVENTS_AT_ONCE} events at {at}: the limit, taken for an endless loop"
            ));
        }
        self.handle(event);
        if !self.conditions.is_empty() {
            self.check_conditions();
        }
        true
    }

    pub(super) fn wake(&mut self, id: HostId) {
        let now = self.now;
        let slot = self.slot(id);
        if slot.scheduled != now {
            return;
        }
        slot.scheduled = NEVER;
        match slot.deadline {
            deadline if deadline <= now => self.poll_until_idle(id),
            deadline => self.schedule(id, deadline),
        }
    }

    fn schedule(&mut self, id: HostId, deadline: Instant) {
        let slot = self.slot(id);
        if deadline < slot.scheduled {
            slot.scheduled = deadline;
            self.event_queue.push(deadline, Event::Wake(id));
        }
    }

    /// Gives a machine a datagram.
    pub(super) fn deliver(
        &mut self,
        id: HostId,
        from: AnyAddr,
        octets: &Bytes,
        packet: Option<PacketId>,
    ) {
        let now = self.now;
        let slot = self.slot(id);
        if slot.is_done {
            return self.trace.lost(packet, now, DropReason::Closed);
        }
        if !slot.is_reading {
            let buffered: usize = slot
                .extras
                .inbox
                .iter()
                .map(|(_, octets, _)| octets.len())
                .sum();
            if buffered + octets.len() > INBOX {
                return self.trace.lost(packet, now, DropReason::QueueFull);
            }
            return slot.extras.inbox.push_back((from, octets.clone(), packet));
        }
        slot.body.receive(now, from, octets);
        self.trace.arrived(packet, now);
        self.poll_until_idle(id);
    }

    /// Gives a machine a cue, and polls it.
    pub(super) fn cue(&mut self, id: HostId, at: AnyAddr, link: Link) {
        if self.tell(id, at, link) {
            self.poll_until_idle(id);
        }
    }

    /// Gives a machine the cue of a contact plan, and polls it.
    pub(super) fn contact_cue(&mut self, id: HostId, at: AnyAddr, link: Link) {
        if self.tell_as(MarkKind::Contact, id, at, link) {
            self.poll_until_idle(id);
        }
    }

    /// Gives a machine a cue without polling it. Returns false if it is done.
    pub(super) fn tell(&mut self, id: HostId, at: AnyAddr, link: Link) -> bool {
        self.tell_as(MarkKind::Link, id, at, link)
    }

    fn tell_as(&mut self, kind: MarkKind, id: HostId, at: AnyAddr, link: Link) -> bool {
        let now = self.now;
        let slot = self.slot(id);
        if slot.is_done {
            return false;
        }
        slot.body.link(now, at, link);
        if self.trace.is_kept() {
            let text = match link {
                // The cause of a contact that is over is always the same.
                Link::Down(Cause::Unreachable) => "Down".into(),
                link => format!("{link:?}"),
            };
            self.trace.mark(now, Node::Host(id), kind, text);
        }
        true
    }

    /// Polls a machine until it is idle, and gives it what its streams hold.
    ///
    /// A machine that yields gets one more input, and is polled again after the others whose events are due
    /// at this time.
    pub(super) fn poll_until_idle(&mut self, id: HostId) {
        loop {
            let state = self.drain(id);
            let was_fed = self.feed(id);
            match state {
                Drained::Yielded => {
                    let now = self.now;
                    self.slot(id).deadline = now;
                    return self.schedule(id, now);
                }
                Drained::Idle if was_fed => {}
                Drained::Idle => return,
            }
        }
    }

    /// Polls a machine until it is idle or yields.
    fn drain(&mut self, id: HostId) -> Drained {
        let now = self.now;
        while let Some(slot) = self.hosts.get_mut(id.index())
            && !slot.is_held
            && !slot.is_done
        {
            self.busy = Some(id);
            let step = slot.body.poll(now, &mut self.memory);
            self.busy = None;
            match step.unwrap_or_else(|violation| self.law_broken(id, &violation)) {
                PollStep::Send(batch) => self.send(id, batch),
                PollStep::Event(name) => {
                    self.trace.mark(now, Node::Host(id), MarkKind::Event, name);
                }
                PollStep::Ask(ask) => self.answer(id, ask),
                PollStep::Yield => return Drained::Yielded,
                PollStep::Idle(deadline) => {
                    self.rest(id, deadline);
                    break;
                }
                PollStep::Done => {
                    self.machine_done(id);
                    break;
                }
            }
        }
        Drained::Idle
    }

    fn rest(&mut self, id: HostId, deadline: Option<Instant>) {
        // A machine that breaks the law about deadlines must not stop the clock.
        let soon = self.now + Duration::from_nanos(1);
        let deadline = deadline.map_or(NEVER, |at| at.max(soon));
        self.check_idle_laws(id);
        self.slot(id).deadline = deadline;
        self.schedule(id, deadline);
    }

    /// Checks the laws for a machine that is idle or done.
    fn check_idle_laws(&mut self, id: HostId) {
        if cfg!(debug_assertions)
            && let Err(violation) = self.slot(id).body.check_idle_laws()
        {
            self.law_broken(id, &violation);
        }
    }

    fn machine_done(&mut self, id: HostId) {
        self.check_idle_laws(id);
        let slot = self.slot(id);
        slot.is_done = true;
        slot.deadline = NEVER;
        slot.extras.inbox.clear();
        slot.extras.answers.clear();
        self.close_all(id);
    }

    fn law_broken(&self, id: HostId, violation: &Violation) -> ! {
        misuse(&format!(
            "{} broke a law at {} in the world of seed {}: {violation}",
            self.trace.name(id),
            self.now,
            self.number
        ))
    }

    pub(super) fn retry_held(&mut self, id: HostId) {
        self.release(id);
        self.poll_until_idle(id);
    }

    fn answer(&mut self, id: HostId, ask: Ask<AnyAddr>) {
        match self.slot(id).address {
            AddressState::Stream(_) => self.answer_stream(id, ask),
            AddressState::Ip(_) => self.answer_ip(id, ask),
            // Numbers and hops have no sockets.
            AddressState::Number(_) | AddressState::Link(_) => {
                self.answer_without_sockets(id, &ask);
            }
        }
    }

    /// Answers the asks of a machine without sockets: opening fails.
    pub(super) fn answer_without_sockets(&mut self, id: HostId, ask: &Ask<AnyAddr>) {
        match *ask {
            Ask::Open { tag, path } => {
                let failed = Link::Failed(tag, Cause::Unreachable);
                self.schedule_answer(id, tag, path, failed);
            }
            Ask::Cancel(tag) => drop(self.slot(id).extras.answers.remove(&tag)),
            _ => {}
        }
    }

    /// Schedules the answer to [`Ask::Open`], which can still be cancelled.
    pub(super) fn schedule_answer(&mut self, id: HostId, tag: Tag, at: AnyAddr, link: Link) {
        self.slot(id).extras.answers.insert(tag, (at, link));
        self.schedule_rare(self.now, RareEvent::Answer(id, tag));
    }

    /// Gives the answer to [`Ask::Open`], unless it was cancelled.
    pub(super) fn answer_open(&mut self, id: HostId, tag: Tag) {
        if let Some((at, link)) = self.slot(id).extras.answers.remove(&tag) {
            self.cue(id, at, link);
        }
    }

    /// Gives a machine the next chunk of a stream that it wants. Returns false if there is none.
    fn feed(&mut self, id: HostId) -> bool {
        let slot = self.slot(id);
        if slot.is_done || !slot.is_reading {
            return false;
        }
        match slot.address {
            AddressState::Stream(Some(out)) => self.feed_pipe(id, reverse(out)),
            AddressState::Ip(_) => self.feed_tcp(id),
            _ => false,
        }
    }

    fn close_all(&mut self, id: HostId) {
        match self.slot(id).address {
            AddressState::Stream(Some(out)) => self.close_machine_pipe(out, reverse(out)),
            AddressState::Ip(_) => self.close_sockets(id),
            _ => {}
        }
    }

    /// Sends what a machine wrote.
    fn send(&mut self, id: HostId, batch: super::host::SendBatch) {
        match batch.to {
            AnyAddr::Stream => self.write_pipe(id, batch.octets),
            AnyAddr::Path(path) if batch.is_stream => self.write_tcp(id, path, &batch.octets),
            AnyAddr::Number(_) | AnyAddr::Hop(_) | AnyAddr::Path(_) => {
                self.send_datagrams(id, batch);
            }
        }
    }

    /// Stops reading for a machine, as a busy application does. It still gets commands and time. Streams fill
    /// up, and datagrams beyond a receive buffer of 212,992 octets are dropped.
    pub fn stop_reading(&mut self, host: impl Into<HostId>) {
        self.slot(host.into()).is_reading = false;
    }

    /// Ends [`stop_reading`](Self::stop_reading). The machine gets what has been received.
    pub fn resume_reading(&mut self, host: impl Into<HostId>) {
        let id = host.into();
        self.slot(id).is_reading = true;
        while let Some((from, octets, packet)) = self.slot(id).extras.inbox.pop_front() {
            self.deliver(id, from, &octets, packet);
        }
        self.poll_until_idle(id);
    }

    /// Sets how much of each packet the trace keeps from now on.
    pub const fn trace_detail(&mut self, detail: TraceDetail) {
        self.trace.set_detail(detail);
    }

    /// Returns the trace of everything so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the ladder of everything so far, as text. See [`Trace::ladder`].
    #[must_use]
    pub fn ladder(&self) -> String {
        self.trace.ladder()
    }

    /// Returns the statistics of everything so far. See [`Trace::statistics`].
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.trace.statistics()
    }

    pub(super) fn slot(&mut self, id: HostId) -> &mut HostSlot {
        match self.hosts.get_mut(id.index()) {
            Some(slot) => slot,
            None => misuse("the host belongs to another world"),
        }
    }

    pub(super) fn cell<M: Machine + 'static>(&self, host: Host<M>) -> &MachineCell<M> {
        let body = self.hosts.get(host.id().index()).map(|slot| &slot.body);
        match body.and_then(|body| (body as &dyn Any).downcast_ref()) {
            Some(cell) => cell,
            None => misuse("the host belongs to another world"),
        }
    }

    pub(super) fn cell_mut<M: Machine + 'static>(&mut self, host: Host<M>) -> &mut MachineCell<M> {
        let body = self
            .hosts
            .get_mut(host.id().index())
            .map(|slot| &mut slot.body as &mut dyn Any);
        match body.and_then(|body| body.downcast_mut()) {
            Some(cell) => cell,
            None => misuse("the host belongs to another world"),
        }
    }
}

impl Drop for World {
    /// Prints the seed of a world in which a test fails, which reproduces the run.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let addr = self.busy.map_or_else(String::new, |id| {
                format!(", while polling {}", self.trace.name(id))
            });
            std::eprintln!(
                "the world of seed {} stood at {}{addr}",
                self.number,
                self.now
            );
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.number)
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}
