//! The world: its hosts, its clock and the loop.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::agenda::Agenda;
use super::happening::{Happening, Plans, Rare};
use super::host::{Body, Cell, Step};
use super::ip::{Internet, Stack};
use super::links::{Links, WayId};
use super::pipe::{LaneId, Lanes, other_way};
use super::script::{Detached, Label, When};
use super::trace::{PacketId, Trace};
use super::traffic::Held;
use super::{Host, HostId, Keep, MarkKind, Node, Place, Placed, Site, Statistics, Why, misuse};
use crate::laws::Violation;
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Seed};

/// Happenings at one instant before the world is said to stand still.
const MOST_AT_ONCE: u64 = 20_000_000;

/// The deadline of a machine that has none.
const NEVER: Instant = Instant::MAX;

/// What a host keeps for its machine while nobody reads, in octets: the usual buffer of a UDP socket.
const INBOX: usize = 212_992;

/// A simulated world in which machines meet. See the [module](super) for a tour.
pub struct World {
    pub(super) number: u64,
    pub(super) seed: Seed,
    pub(super) now: Instant,
    pub(super) agenda: Agenda<Happening>,
    pub(super) plans: Plans,
    pub(super) ticks: usize,
    pub(super) hosts: Vec<Box<Slot>>,
    pub(super) names: BTreeMap<u64, HostId>,
    pub(super) links: Links,
    pub(super) lanes: Lanes,
    pub(super) net: Internet,
    pub(super) whens: Vec<When>,
    pub(super) trace: Trace,
    pub(super) label: Option<Labels>,
    /// In which each machine writes what it sends: one for all stays in the cache.
    memory: Vec<u8>,
    at_once: u64,
    busy: Option<HostId>,
}

pub(super) type Labels = Box<dyn FnMut(&[u8]) -> Option<Label>>;

/// A host as the world sees it: what every happening looks at, in one place with the machine.
#[repr(align(64))]
pub(super) struct Slot<B: ?Sized = dyn Body> {
    pub(super) lodging: Lodging,
    pub(super) is_done: bool,
    pub(super) is_reading: bool,
    /// Whether datagrams are held; while they are, the machine is not polled.
    pub(super) is_held: bool,
    /// What most hosts never use, out of the way of what every happening looks at.
    pub(super) spare: Box<Spare>,
    /// `NEVER` if the machine has none.
    deadline: Instant,
    /// The earliest entry in the agenda that will look at the deadline, or `NEVER`.
    scheduled: Instant,
    pub(super) body: B,
}

/// The less used part of a host.
#[derive(Default)]
pub(super) struct Spare {
    pub(super) label: Option<Labels>,
    pub(super) handed: Vec<Detached>,
    /// The ways to others that it used, by number.
    routes: Vec<Route>,
    /// Datagrams that wait for room on a line.
    pub(super) held: VecDeque<Held>,
    /// Datagrams that wait for a host that does not read.
    inbox: VecDeque<(Place, Bytes, Option<PacketId>)>,
}

/// What a host has beside its machine, by its kind of address.
pub(super) enum Lodging {
    /// The lane to its peer, once connected.
    Stream(Option<LaneId>),
    Name(Named),
    Link(u16),
    Ip(Box<Stack>),
}

/// A host that goes by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) own: u64,
    /// The way that it used last.
    latest: Option<Route>,
}

/// The host that a number names, and the way to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) name: u64,
    pub(super) to: HostId,
    pub(super) way: WayId,
}

impl Named {
    pub(super) fn latest_way(&self) -> Option<WayId> {
        self.latest.map(|route| route.way)
    }
}

impl<B: ?Sized> Slot<B> {
    /// Returns the way to the host that goes by `name`, if it was used before.
    pub(super) fn route(&mut self, name: u64) -> Option<Route> {
        let Lodging::Name(named) = &mut self.lodging else {
            return None;
        };
        if let Some(latest) = named.latest.filter(|latest| latest.name == name) {
            return Some(latest);
        }
        let routes = &self.spare.routes;
        let place = routes.binary_search_by_key(&name, |route| route.name);
        let found = routes.get(place.ok()?).copied();
        named.latest = found;
        found
    }

    pub(super) fn learn(&mut self, route: Route) {
        let routes = &mut self.spare.routes;
        if let Err(place) = routes.binary_search_by_key(&route.name, |route| route.name) {
            routes.insert(place, route);
        }
    }
}

impl World {
    /// Makes an empty world at [`Instant::ZERO`]. The seed decides everything.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let number = seed;
        let seed = Seed::from(number);
        Self {
            number,
            now: Instant::ZERO,
            agenda: Agenda::new(),
            plans: Plans::default(),
            ticks: 0,
            hosts: Vec::new(),
            names: BTreeMap::new(),
            links: Links::new(),
            lanes: Lanes::new(),
            net: Internet::new(),
            whens: Vec::new(),
            trace: Trace::new(number),
            label: None,
            memory: Vec::new(),
            at_once: 0,
            busy: None,
            seed,
        }
    }

    /// Returns the time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Derives a seed for a machine, or for chance in a script, from the seed of the world.
    #[must_use]
    pub fn seed(&self, name: &str) -> Seed {
        self.seed.child("machine").child(name)
    }

    /// Gives a machine a place: nothing for `()`, its own number, its link address, or its IP addresses.
    ///
    /// It is first polled when the world next runs, or with its first input.
    pub fn host<M>(&mut self, site: <M::Addr as Placed>::Site, machine: M) -> Host<M>
    where
        M: Machine<Addr: Placed, Event: fmt::Debug> + 'static,
    {
        let id = HostId::new(self.hosts.len());
        let (lodging, name) = self.lodge(id, M::Addr::site(site));
        self.trace.add_name(Node::Host(id), name);
        self.hosts.push(Box::new(Slot {
            body: Cell::new(machine),
            lodging,
            is_done: false,
            is_reading: true,
            is_held: false,
            spare: Box::default(),
            deadline: self.now,
            scheduled: self.now,
        }));
        self.agenda.enter(self.now, Happening::Wake(id));
        Host::new(id)
    }

    fn lodge(&mut self, id: HostId, site: Site) -> (Lodging, String) {
        match site {
            Site::Stream => (Lodging::Stream(None), format!("host {}", id.0)),
            Site::Name(name) => {
                if self.names.insert(name, id).is_some() {
                    misuse(&format!("two hosts have the number {name}"));
                }
                let named = Named {
                    own: name,
                    latest: None,
                };
                (Lodging::Name(named), format!("{name}"))
            }
            Site::Link(link) => (Lodging::Link(link), format!("{link}")),
            Site::Ip(ip) => {
                let name = ip.first().map(|address| format!("{address}"));
                let stack = self.settle_in(id, ip);
                (Lodging::Ip(Box::new(stack)), name.unwrap_or_default())
            }
        }
    }

    /// Sets what the ladders call a node.
    pub fn name(&mut self, node: impl Into<Node>, name: impl Into<String>) {
        self.trace.add_name(node.into(), name.into());
    }

    /// Sets the limits with which a machine is polled. Call it before the machine is used.
    pub fn limits(&mut self, host: impl Into<HostId>, limits: Limits) {
        self.slot(host.into()).body.limit(limits);
    }

    /// Runs until `time`, which is then the time.
    pub fn run_until(&mut self, time: impl super::Moment) {
        let time = time.instant();
        while self.agenda.next_time().is_some_and(|next| next <= time) {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Runs for `span`.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until nothing is in flight and no machine has a deadline, or until `bound`.
    ///
    /// Tells whether the world came to rest. What [`every`](Self::every) repeats does not count; periodic
    /// contact plans do.
    pub fn run_until_idle(&mut self, bound: impl super::Moment) -> bool {
        let bound = bound.instant();
        while self.agenda.len() > self.ticks {
            if self.agenda.next_time().is_none_or(|next| next > bound) {
                self.now = self.now.max(bound);
                return false;
            }
            self.step();
        }
        true
    }

    /// Lets the next thing happen, and tells whether there was one.
    pub fn step(&mut self) -> bool {
        let Some((at, happening)) = self.agenda.take() else {
            return false;
        };
        self.look_ahead();
        if at > self.now {
            self.now = at;
            self.at_once = 0;
        }
        self.at_once += 1;
        if self.at_once > MOST_AT_ONCE {
            misuse(&format!("the world does not get past {at}"));
        }
        self.happen(happening);
        if !self.whens.is_empty() {
            self.look_whether();
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
            deadline if deadline <= now => self.settle(id),
            deadline => self.schedule(id, deadline),
        }
    }

    fn schedule(&mut self, id: HostId, deadline: Instant) {
        let slot = self.slot(id);
        if deadline < slot.scheduled {
            slot.scheduled = deadline;
            self.agenda.enter(deadline, Happening::Wake(id));
        }
    }

    /// Gives a machine a datagram.
    pub(super) fn deliver(
        &mut self,
        id: HostId,
        from: Place,
        octets: &Bytes,
        packet: Option<PacketId>,
    ) {
        let now = self.now;
        let slot = self.slot(id);
        if slot.is_done {
            return self.trace.lost(packet, now, Why::Gone);
        }
        if !slot.is_reading {
            let waits: usize = slot
                .spare
                .inbox
                .iter()
                .map(|(_, octets, _)| octets.len())
                .sum();
            if waits + octets.len() > INBOX {
                return self.trace.lost(packet, now, Why::QueueFull);
            }
            return slot.spare.inbox.push_back((from, octets.clone(), packet));
        }
        slot.body.receive(now, from, octets);
        self.trace.arrived(packet, now);
        self.settle(id);
    }

    /// Tells a machine about a link.
    pub(super) fn cue(&mut self, id: HostId, at: Place, link: Link) {
        if self.tell(id, at, link) {
            self.settle(id);
        }
    }

    /// Tells a machine about a link without polling it; false when it is done and hears nothing.
    pub(super) fn tell(&mut self, id: HostId, at: Place, link: Link) -> bool {
        let now = self.now;
        let slot = self.slot(id);
        if slot.is_done {
            return false;
        }
        slot.body.link(now, at, link);
        if self.trace.is_kept() {
            let text = match link {
                // Nothing else is down without more words.
                Link::Down(Cause::Unreachable) => "Down".into(),
                link => format!("{link:?}"),
            };
            self.trace.mark(now, Node::Host(id), MarkKind::Link, text);
        }
        true
    }

    /// Polls a machine until it is idle, and feeds it what waits in its streams.
    pub(super) fn settle(&mut self, id: HostId) {
        loop {
            let has_work = self.drain(id);
            if !self.feed(id) && !has_work {
                return;
            }
        }
    }

    /// Polls a machine until it is idle, or until it yields: then work is left.
    fn drain(&mut self, id: HostId) -> bool {
        let now = self.now;
        while let Some(slot) = self.hosts.get_mut(id.index())
            && !slot.is_held
            && !slot.is_done
        {
            self.busy = Some(id);
            let step = slot.body.poll(now, &mut self.memory);
            self.busy = None;
            match step.unwrap_or_else(|breach| self.broken(id, &breach)) {
                Step::Send(sending) => self.send(id, sending),
                Step::Event(name) => self.trace.mark(now, Node::Host(id), MarkKind::Event, name),
                Step::Ask(ask) => self.answer(id, ask),
                Step::Yield => return true,
                Step::Idle(deadline) => {
                    self.rest(id, deadline);
                    return false;
                }
                Step::Done => {
                    self.wind_up(id);
                    return false;
                }
            }
        }
        false
    }

    fn rest(&mut self, id: HostId, deadline: Option<Instant>) {
        // Only a machine that breaks law 2 names a time that has come; the world must get on even so.
        let soon = self.now + Duration::from_nanos(1);
        let deadline = deadline.map_or(NEVER, |at| at.max(soon));
        self.settled(id);
        self.slot(id).deadline = deadline;
        self.schedule(id, deadline);
    }

    /// Asserts the laws about a machine that has nothing more to do.
    fn settled(&mut self, id: HostId) {
        if cfg!(debug_assertions)
            && let Err(breach) = self.slot(id).body.settled()
        {
            self.broken(id, &breach);
        }
    }

    fn wind_up(&mut self, id: HostId) {
        self.settled(id);
        let slot = self.slot(id);
        slot.is_done = true;
        slot.deadline = NEVER;
        slot.spare.inbox.clear();
        self.close_all(id);
    }

    fn broken(&self, id: HostId, breach: &Violation) -> ! {
        misuse(&format!(
            "{} broke a law at {} in the world of seed {}: {breach}",
            self.trace.name(id),
            self.now,
            self.number
        ))
    }

    pub(super) fn make_room(&mut self, id: HostId) {
        self.release(id);
        self.settle(id);
    }

    fn answer(&mut self, id: HostId, ask: Ask<Place>) {
        match self.slot(id).lodging {
            Lodging::Stream(_) => self.answer_stream(id, ask),
            Lodging::Ip(_) => self.answer_ip(id, ask),
            // Numbers and hops have no sockets.
            Lodging::Name(_) | Lodging::Link(_) => {
                if let Ask::Open { tag, path } = ask {
                    let failed = Link::Failed(tag, Cause::Unreachable);
                    self.plan(self.now, Rare::Cue(id, path, failed));
                }
            }
        }
    }

    /// Gives a machine the next chunk of a stream that waits for it; false when there is none it wants.
    fn feed(&mut self, id: HostId) -> bool {
        let slot = self.slot(id);
        if slot.is_done || !slot.is_reading {
            return false;
        }
        match slot.lodging {
            Lodging::Stream(Some(out)) => self.feed_lane(id, other_way(out)),
            Lodging::Ip(_) => self.feed_tcp(id),
            _ => false,
        }
    }

    fn close_all(&mut self, id: HostId) {
        match self.slot(id).lodging {
            Lodging::Stream(Some(out)) => self.close_machine_lane(out, other_way(out)),
            Lodging::Ip(_) => self.close_sockets(id),
            _ => {}
        }
    }

    /// Takes octets that a machine wrote.
    fn send(&mut self, id: HostId, sending: super::host::Sending) {
        match sending.to {
            Place::Stream => self.write_lane(id, sending.octets),
            Place::Path(path) if sending.is_stream => self.write_tcp(id, path, &sending.octets),
            Place::Name(_) | Place::Hop(_) | Place::Path(_) => self.send_datagrams(id, sending),
        }
    }

    /// Lets an application go deaf: its machine takes commands and time, but nothing is read for it, so
    /// streams fill up behind it and datagrams beyond a socket's buffer are dropped.
    pub fn stop_reading(&mut self, host: impl Into<HostId>) {
        self.slot(host.into()).is_reading = false;
    }

    /// Ends [`stop_reading`](Self::stop_reading).
    pub fn resume_reading(&mut self, host: impl Into<HostId>) {
        let id = host.into();
        self.slot(id).is_reading = true;
        while let Some((from, octets, packet)) = self.slot(id).spare.inbox.pop_front() {
            self.deliver(id, from, &octets, packet);
        }
        self.settle(id);
    }

    /// Says how much of each packet the trace keeps from here on.
    pub const fn keep(&mut self, keep: Keep) {
        self.trace.keep(keep);
    }

    /// Returns everything that happened so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the text ladder of everything so far; see [`Trace::ladder`].
    #[must_use]
    pub fn ladder(&self) -> String {
        self.trace.ladder()
    }

    /// Returns the table of everything so far; see [`Trace::statistics`].
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.trace.statistics()
    }

    pub(super) fn slot(&mut self, id: HostId) -> &mut Slot {
        match self.hosts.get_mut(id.index()) {
            Some(slot) => slot,
            None => misuse("the host belongs to another world"),
        }
    }

    pub(super) fn cell<M: Machine + 'static>(&self, host: Host<M>) -> &Cell<M> {
        let body = self.hosts.get(host.id().index()).map(|slot| &slot.body);
        match body.and_then(|body| (body as &dyn Any).downcast_ref()) {
            Some(cell) => cell,
            None => misuse("the host belongs to another world"),
        }
    }

    pub(super) fn cell_mut<M: Machine + 'static>(&mut self, host: Host<M>) -> &mut Cell<M> {
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
    /// Names the seed of a world in which a test fails, so that the seed alone reproduces it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let place = self.busy.map_or_else(String::new, |id| {
                format!(", while polling {}", self.trace.name(id))
            });
            std::eprintln!(
                "the world of seed {} stood at {}{place}",
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
