//! Who gets which event of an engine, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::{EngineMachine, Error, NodeSnapshot, NodeStats, Received};
use crate::adapters::event_loop::{Core, Port, Rest};
use crate::adapters::waiters::{WaitStatus, Wakes};
use crate::ltp::{self, Age, Block, Command, Event, Service, SessionId};
use crate::{Instant, Limits, Machine as _, Output, Path, Tag, Transmit};

/// How long a node that ends waits for the rates of its peers before cancellations are dropped.
pub(super) const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// What the handles of a node wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// Room for another block to a peer.
    Room(u64),
    /// What is received at an access point.
    Receive(ServiceRef),
    /// The end of a block.
    Block(Tag),
    /// The answer of a peer to a ping.
    Ping(u64),
    /// The end of the node.
    End,
}

/// An access point: the ID tells it from one that had the same client service before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceRef {
    pub(super) client: u64,
    id: u64,
}

/// The state that the handles of a node share, beside the engine.
#[derive(Debug, Default)]
pub(crate) struct NodePort {
    /// By client service.
    services: BTreeMap<u64, ServiceQueue>,
    pub(super) blocks: BTreeMap<Tag, SendState>,
    pings: BTreeMap<u64, PingState>,
    /// The last ID that was given to a block or an access point.
    pub(super) ids: u64,
    phase: Phase,
}

/// An open access point.
#[derive(Debug, Default)]
struct ServiceQueue {
    id: u64,
    /// What the engine gave and nobody has taken yet.
    items: VecDeque<Received>,
    /// The engine has not answered the last take: it gives the next item as soon as there is one.
    is_asked: bool,
    /// An interruption that found nobody waiting.
    is_interrupted: bool,
}

/// A block on its way to a peer.
#[derive(Debug)]
pub(super) struct SendState {
    pub(super) peer: u64,
    /// How it ended: [`Event::Complete`] or [`Event::Failed`].
    pub(super) end: Option<Event>,
    /// There is a handle that can ask.
    pub(super) is_watched: bool,
    /// The handle was told how it ended.
    pub(super) is_told: bool,
}

/// The pings of one peer. All that ask at a time share the answer.
#[derive(Debug, Default)]
struct PingState {
    /// Counts the answers.
    round: u64,
    is_asking: bool,
    /// The round-trip time, unless the peer was silent.
    answer: Option<Duration>,
}

/// How far a node is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    /// Nothing begins any more, and what is under way has until then.
    Closing(Instant),
    /// Cancellations leave, as far as the rates of the peers let them until then.
    Cancelling(Instant),
    /// The engine is not driven any more, but the socket may be open.
    Suspended,
    /// The socket is closed.
    Over,
}

/// What a port acts on.
pub(super) struct Cx<'a> {
    pub(super) machine: &'a mut EngineMachine,
    pub(super) wakes: &'a mut Wakes<Line>,
    pub(super) now: Instant,
    is_dirty: bool,
}

impl<'a> Cx<'a> {
    pub(super) const fn new(
        machine: &'a mut EngineMachine,
        wakes: &'a mut Wakes<Line>,
        now: Instant,
    ) -> Self {
        Self {
            machine,
            wakes,
            now,
            is_dirty: false,
        }
    }

    pub(super) fn command(&mut self, command: Command<Path>) -> Result<(), ltp::Error> {
        self.is_dirty = true;
        self.machine.command(self.now, command)
    }
}

/// Acts on a port under its lock.
pub(super) fn act<T>(
    core: &mut Core<NodePort>,
    now: Instant,
    act: impl FnOnce(&mut NodePort, &mut Cx<'_>) -> T,
) -> T {
    let (port, machine, wakes) = core.untouched_parts();
    let mut cx = Cx::new(machine, wakes, now);
    let result = act(port, &mut cx);
    if cx.is_dirty {
        core.touch();
    }
    result
}

impl Port for NodePort {
    type Machine = EngineMachine;
    type Line = Line;

    fn deliver(&mut self, event: Event, wakes: &mut Wakes<Line>) {
        match event {
            Event::Complete { tag, .. } | Event::Failed { tag, .. } => {
                self.settle(tag, event, wakes);
            }
            Event::Room { peer } => wakes.first(Line::Room(peer)),
            Event::Answered { peer, after } => self.answer(peer, Some(after), wakes),
            Event::Silent { peer } => self.answer(peer, None, wakes),
            event => {
                if let Some(received) = Received::from_event(event) {
                    self.queue(received, wakes);
                }
            }
        }
    }

    fn tend(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        is_idle: bool,
        wakes: &mut Wakes<Line>,
    ) -> Rest {
        match self.phase {
            Phase::Open => Rest::Until(None),
            Phase::Closing(until) if now < until && (!is_idle || machine.sessions() != (0, 0)) => {
                Rest::Until(Some(until))
            }
            Phase::Closing(_) => {
                self.cancel_all(&mut Cx::new(machine, wakes, now));
                Rest::Again
            }
            // A peer that floods draws more and more: the engine need not become idle.
            Phase::Cancelling(until) if now < until && (!is_idle || machine.has_backlog()) => {
                Rest::Until(Some(until))
            }
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => Rest::Over,
        }
    }

    fn end(&mut self, machine: &mut EngineMachine, _: io::Result<()>) {
        machine.finish();
        self.phase = Phase::Over;
    }
}

impl NodePort {
    /// Gives the engine a command, as long as it is driven.
    pub(super) fn command(&self, cx: &mut Cx<'_>, command: Command<Path>) -> Result<(), Error> {
        if self.is_ended() {
            return Err(Error::Closed);
        }
        Ok(cx.command(command)?)
    }
}

// Blocks to peers.
impl NodePort {
    /// Gives a block to the engine; pending without room for it.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        service: ServiceRef,
        block: &mut Block,
    ) -> Poll<Result<Tag, Error>> {
        if !self.is_open(service) {
            return Poll::Ready(Err(Error::Closed));
        }
        block.tag = Tag(self.draw_id());
        match cx.command(Command::Send(block.clone())) {
            // A limit of 0 leaves room for nobody, ever.
            Err(ltp::Error::Full { limit: 1.., .. }) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
            Ok(()) => {
                self.follow(block.tag, block.to);
                Poll::Ready(Ok(block.tag))
            }
        }
    }

    pub(super) fn follow(&mut self, tag: Tag, peer: u64) {
        let block = SendState {
            peer,
            end: None,
            is_watched: true,
            is_told: false,
        };
        self.blocks.insert(tag, block);
    }

    /// Returns what became of a block; `None` while it is under way.
    pub(super) fn outcome(&mut self, tag: Tag) -> Option<Result<SessionId, Error>> {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.is_told = block.end.is_some();
        }
        let block = self.blocks.get(&tag);
        match block.and_then(|block| block.end.clone()) {
            Some(Event::Complete { session, .. }) => Some(Ok(session)),
            Some(Event::Failed {
                session,
                by,
                reason,
                data,
                ..
            }) => Some(Err(Error::Failed {
                peer: block.map_or(0, |block| block.peer),
                session,
                by,
                reason,
                data,
            })),
            _ if block.is_none() || self.is_ended() => Some(Err(Error::Closed)),
            _ => None,
        }
    }

    /// Forgets what becomes of a block: its handle is gone.
    pub(super) fn unwatch(&mut self, tag: Tag) {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.is_watched = false;
            if block.end.is_some() {
                self.blocks.remove(&tag);
            }
        }
    }

    fn settle(&mut self, tag: Tag, end: Event, wakes: &mut Wakes<Line>) {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.end = Some(end);
            if !block.is_watched {
                self.blocks.remove(&tag);
            }
            wakes.all(Line::Block(tag));
        }
    }

    const fn draw_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }
}

// Access points.
impl NodePort {
    /// Opens a client service.
    pub(super) fn open(
        &mut self,
        cx: &mut Cx<'_>,
        client: u64,
        service: Service,
    ) -> Result<ServiceRef, Error> {
        if self.phase != Phase::Open {
            return Err(Error::Closed);
        }
        cx.command(Command::OpenOnDemand(client, service))?;
        let opened = self.add_service(client);
        // One item is fetched ahead: the sender of a block hears that it arrived when the node has it.
        self.ask(cx, client);
        Ok(opened)
    }

    /// Adds an access point for a client service that is open at the engine.
    pub(super) fn add_service(&mut self, client: u64) -> ServiceRef {
        let id = self.draw_id();
        let queue = ServiceQueue {
            id,
            ..ServiceQueue::default()
        };
        self.services.insert(client, queue);
        ServiceRef { client, id }
    }

    pub(super) fn services(&self) -> impl Iterator<Item = ServiceRef> {
        let services = self.services.iter();
        services.map(|(&client, &ServiceQueue { id, .. })| ServiceRef { client, id })
    }

    fn service(&mut self, service: ServiceRef) -> Result<&mut ServiceQueue, Error> {
        let queue = self.services.get_mut(&service.client);
        let queue = queue.filter(|queue| queue.id == service.id);
        queue.ok_or(Error::Closed)
    }

    /// Tells whether blocks can be sent and received.
    pub(super) fn is_open(&self, service: ServiceRef) -> bool {
        let queue = self.services.get(&service.client);
        self.phase == Phase::Open && queue.is_some_and(|queue| queue.id == service.id)
    }

    /// Drops an access point with all that was received and not taken.
    pub(super) fn close_service(&mut self, cx: &mut Cx<'_>, service: ServiceRef) {
        if self.service(service).is_ok() {
            self.services.remove(&service.client);
            // Refused at the end only.
            let _ = cx.command(Command::Close(service.client));
            // Those that wait to send from it, too: their line is that of the peer.
            cx.wakes.everybody();
        }
    }

    pub(super) fn interrupt(&mut self, cx: &mut Cx<'_>, service: ServiceRef) {
        let line = Line::Receive(service);
        if !cx.wakes.is_empty(line) {
            cx.wakes.interrupt(line);
        } else if let Ok(queue) = self.service(service) {
            queue.is_interrupted = true;
        }
    }

    /// Takes what was received next, or has the engine give it once there is something.
    pub(super) fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        service: ServiceRef,
        place: WaitStatus,
    ) -> Poll<Result<Received, Error>> {
        if place.is_interrupted {
            return Poll::Ready(Err(Error::Interrupted));
        }
        if let Some(received) = self.try_receive(cx, service)? {
            return Poll::Ready(Ok(received));
        }
        if mem::take(&mut self.service(service)?.is_interrupted) {
            return Poll::Ready(Err(Error::Interrupted));
        }
        self.ask(cx, service.client);
        Poll::Pending
    }

    /// Takes what was received next, if anything. An interruption is left to those who wait.
    pub(super) fn try_receive(
        &mut self,
        cx: &mut Cx<'_>,
        service: ServiceRef,
    ) -> Result<Option<Received>, Error> {
        if self.service(service)?.items.is_empty() {
            self.pull(cx, service.client);
        }
        let item = self.service(service)?.items.pop_front();
        if self.service(service)?.items.is_empty() {
            self.ask(cx, service.client);
        }
        match item {
            None if self.is_ended() => Err(Error::Closed),
            item => Ok(item),
        }
    }

    /// Asks the engine for the next item of a client service, unless it was asked already, and tells whether
    /// it will answer.
    fn ask(&mut self, cx: &mut Cx<'_>, client: u64) -> bool {
        let Some(queue) = self.services.get_mut(&client) else {
            return false;
        };
        if !queue.is_asked {
            // Refused once the service was closed at the engine.
            queue.is_asked = cx.command(Command::Take(client)).is_ok();
        }
        queue.is_asked
    }

    /// Takes the next item that waits in the engine for a client service, and tells whether there was one.
    ///
    /// The engine answers at its next polls, and before anything else that is not an event.
    fn pull(&mut self, cx: &mut Cx<'_>, client: u64) -> bool {
        if !cx.machine.has_waiting(client) || !self.ask(cx, client) {
            return false;
        }
        let mut tx = Transmit::new(Limits::default());
        let is_asked = |port: &Self| {
            port.services
                .get(&client)
                .is_some_and(|queue| queue.is_asked)
        };
        while is_asked(self) {
            match cx.machine.poll(cx.now, &mut tx) {
                Output::Event(event) => self.deliver(event, cx.wakes),
                Output::Yield => {}
                _ => return false,
            }
        }
        true
    }

    pub(super) fn queue(&mut self, item: Received, wakes: &mut Wakes<Line>) {
        let client = item.client;
        // Nobody has it where the service was closed since.
        if let Some(queue) = self.services.get_mut(&client) {
            queue.is_asked = false;
            queue.items.push_back(item);
            let id = queue.id;
            wakes.first(Line::Receive(ServiceRef { client, id }));
        }
    }

    /// Returns what was received and not taken.
    pub(super) fn items(&self) -> impl Iterator<Item = &Received> {
        self.services.values().flat_map(|queue| &queue.items)
    }
}

// Pings.
impl NodePort {
    /// Returns the answer to a ping, or has the engine ask. `round` is set at the first call.
    pub(super) fn ping(
        &mut self,
        cx: &mut Cx<'_>,
        peer: u64,
        round: &mut Option<u64>,
    ) -> Poll<Result<Duration, Error>> {
        let is_ended = self.is_ended();
        match (*round, self.pings.get(&peer)) {
            (Some(round), Some(ping)) if ping.round > round => {
                return Poll::Ready(ping.answer.ok_or(Error::Silent { peer }));
            }
            (Some(_), None) => return Poll::Ready(Err(Error::Silent { peer })),
            _ if is_ended => return Poll::Ready(Err(Error::Closed)),
            (_, Some(ping)) if ping.is_asking => {}
            _ => cx.command(Command::Ping(peer))?,
        }
        let ping = self.pings.entry(peer).or_default();
        ping.is_asking = true;
        round.get_or_insert(ping.round);
        Poll::Pending
    }

    fn answer(&mut self, peer: u64, answer: Option<Duration>, wakes: &mut Wakes<Line>) {
        if let Some(ping) = self.pings.get_mut(&peer) {
            ping.round += 1;
            ping.is_asking = false;
            ping.answer = answer;
        }
        wakes.all(Line::Ping(peer));
    }

    /// Removes a peer. No room will be told of; to those that ping it the engine says that it is silent.
    pub(super) fn remove_peer(&mut self, cx: &mut Cx<'_>, peer: u64) -> Result<(), Error> {
        self.command(cx, Command::RemovePeer(peer))?;
        self.pings.retain(|id, ping| *id != peer || ping.is_asking);
        cx.wakes.all(Line::Room(peer));
        Ok(())
    }
}

// The end.
impl NodePort {
    /// Tells whether the socket is closed.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Tells whether the engine is not driven any more.
    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Suspended | Phase::Over)
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, limit: Duration) {
        let until = match self.phase {
            Phase::Open => cx.now + limit,
            Phase::Closing(before) => before.min(cx.now + limit),
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => return,
        };
        self.phase = Phase::Closing(until);
        if cx.now >= until {
            self.cancel_all(cx);
        }
        cx.is_dirty = true;
        // Whoever waits to send.
        cx.wakes.everybody();
    }

    /// Cancels all blocks, in both directions. What was received stays.
    fn cancel_all(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Cancelling(cx.now + CANCEL_LIMIT);
        // What the engine refuses is over already, and its event on the way.
        for tag in self.blocks.keys() {
            let _ = cx.command(Command::Cancel(*tag));
        }
        let clients: Vec<u64> = self.services.keys().copied().collect();
        for client in clients {
            while self.pull(cx, client) {}
            let _ = cx.command(Command::Close(client));
        }
    }

    /// Returns all that the node knows.
    pub(super) fn save(&self, cx: &Cx<'_>, age: Age) -> Result<NodeSnapshot, Error> {
        if self.is_ended() {
            return Err(Error::Closed);
        }
        Ok(NodeSnapshot::new(cx.machine.snapshot(cx.now), self, age))
    }

    /// Ends the node as it is; the engine is not polled again.
    pub(super) fn suspend(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Suspended;
        // What was not taken is in the snapshot, and comes again.
        self.services.clear();
        cx.wakes.everybody();
    }

    pub(super) fn stats(&self, machine: &EngineMachine) -> NodeStats {
        let (exports, imports) = machine.sessions();
        let waiting: usize = self.items().map(Received::memory_used).sum();
        NodeStats {
            engine: machine.stats(),
            exports,
            imports,
            waiting_octets: machine.waiting_octets() + waiting,
            ..NodeStats::default()
        }
    }
}
