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
    services: BTreeMap<u64, OpenService>,
    pub(super) blocks: BTreeMap<Tag, SendState>,
    /// The last answers of peers that are waited for, each with an ID: the round-trip time, unless the peer was
    /// silent.
    answers: BTreeMap<u64, (u64, Option<Duration>)>,
    /// The last ID that was given to a block, an access point or an answer.
    pub(super) ids: u64,
    phase: Phase,
}

/// An open access point. What it receives waits in the engine.
#[derive(Debug, Default)]
struct OpenService {
    id: u64,
    /// What the engine gave and nobody has taken yet: what is taken just now, and at the end of the node all.
    items: VecDeque<Received>,
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
        for service in self.services() {
            if machine.has_waiting(service.client) {
                wakes.first(Line::Receive(service));
            }
        }
        match self.phase {
            Phase::Open => Rest::Until(None),
            Phase::Closing(until) if now < until && (!is_idle || machine.sessions() != (0, 0)) => {
                Rest::Until(Some(until))
            }
            Phase::Closing(_) => {
                self.cancel_all(machine, now, wakes);
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
    const fn draw_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Tells whether the socket is closed.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Tells whether the engine is not driven any more.
    const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Suspended | Phase::Over)
    }

    pub(super) fn follow(&mut self, tag: Tag, peer: u64) {
        let block = SendState {
            peer,
            end: None,
            is_watched: true,
        };
        self.blocks.insert(tag, block);
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

    /// Forgets what becomes of a block: its handle is gone.
    pub(super) fn unwatch(&mut self, tag: Tag) {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.is_watched = false;
            if block.end.is_some() {
                self.blocks.remove(&tag);
            }
        }
    }

    /// Returns what became of a block.
    pub(super) fn outcome(&self, tag: Tag) -> Poll<Result<SessionId, Error>> {
        let Some(block) = self.blocks.get(&tag) else {
            return Poll::Ready(Err(Error::Closed));
        };
        match block.end.clone() {
            Some(Event::Complete { session, .. }) => Poll::Ready(Ok(session)),
            Some(Event::Failed {
                session,
                by,
                reason,
                data,
                ..
            }) => Poll::Ready(Err(Error::Failed {
                peer: block.peer,
                session,
                by,
                reason,
                data,
            })),
            _ if self.is_ended() => Poll::Ready(Err(Error::Closed)),
            _ => Poll::Pending,
        }
    }

    /// Keeps the answer to a ping for all that wait for it.
    fn answer(&mut self, peer: u64, answer: Option<Duration>, wakes: &mut Wakes<Line>) {
        let id = self.draw_id();
        self.answers.insert(peer, (id, answer));
        self.answers
            .retain(|peer, _| !wakes.is_empty(Line::Ping(*peer)));
        wakes.all(Line::Ping(peer));
    }

    /// Adds an access point for a client service that is open at the engine.
    pub(super) fn add_service(&mut self, client: u64) -> ServiceRef {
        let id = self.draw_id();
        let service = OpenService {
            id,
            ..OpenService::default()
        };
        self.services.insert(client, service);
        ServiceRef { client, id }
    }

    pub(super) fn services(&self) -> impl Iterator<Item = ServiceRef> {
        let services = self.services.iter();
        services.map(|(&client, &OpenService { id, .. })| ServiceRef { client, id })
    }

    fn service(&mut self, service: ServiceRef) -> Result<&mut OpenService, Error> {
        let open = self.services.get_mut(&service.client);
        open.filter(|open| open.id == service.id)
            .ok_or(Error::Closed)
    }

    /// Tells whether blocks can be sent and received.
    pub(super) fn is_open(&self, service: ServiceRef) -> bool {
        let open = self.services.get(&service.client);
        self.phase == Phase::Open && open.is_some_and(|open| open.id == service.id)
    }

    pub(super) fn queue(&mut self, item: Received, wakes: &mut Wakes<Line>) {
        let client = item.client;
        // Nobody has it where the service was closed since.
        if let Some(OpenService { id, items, .. }) = self.services.get_mut(&client) {
            items.push_back(item);
            wakes.first(Line::Receive(ServiceRef { client, id: *id }));
        }
    }

    /// Returns what the engine gave and nobody has taken.
    pub(super) fn items(&self) -> impl Iterator<Item = &Received> {
        self.services.values().flat_map(|service| &service.items)
    }

    /// Has the engine give the next item that waits in it for a client service, and tells whether there was one.
    fn pull(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        wakes: &mut Wakes<Line>,
        client: u64,
    ) -> bool {
        let count = |port: &Self| Some(port.services.get(&client)?.items.len());
        let before = count(self);
        if !machine.has_waiting(client) || machine.command(now, Command::Take(client)).is_err() {
            return false;
        }
        let mut tx = Transmit::new(Limits::default());
        // The engine answers at its next polls, and before anything else that is not an event.
        while count(self) == before {
            match machine.poll(now, &mut tx) {
                Output::Event(event) => self.deliver(event, wakes),
                Output::Yield => {}
                _ => {
                    let _ = machine.command(now, Command::Untake(client));
                    return false;
                }
            }
        }
        true
    }

    /// Cancels all blocks, in both directions. What was received stays.
    fn cancel_all(&mut self, machine: &mut EngineMachine, now: Instant, wakes: &mut Wakes<Line>) {
        self.phase = Phase::Cancelling(now + CANCEL_LIMIT);
        // What the engine refuses is over already, and its event on the way.
        for tag in self.blocks.keys() {
            let _ = machine.command(now, Command::Cancel(*tag));
        }
        let services: Vec<ServiceRef> = self.services().collect();
        for service in services {
            while self.pull(machine, now, wakes, service.client) {}
            let _ = machine.command(now, Command::Close(service.client));
        }
    }
}

/// What handles do under the lock. What only looks at the machine does not count as a change of it.
impl Core<NodePort> {
    /// Gives the engine a command, as long as it is driven.
    pub(super) fn command(&mut self, now: Instant, command: Command<Path>) -> Result<(), Error> {
        if self.port.is_ended() {
            return Err(Error::Closed);
        }
        Ok(self.machine().command(now, command)?)
    }

    /// Gives a block to the engine; pending without room for it.
    pub(super) fn send(
        &mut self,
        now: Instant,
        service: ServiceRef,
        block: &mut Block,
    ) -> Poll<Result<Tag, Error>> {
        if !self.port.is_open(service) {
            return Poll::Ready(Err(Error::Closed));
        }
        block.tag = Tag(self.port.draw_id());
        match self.machine().command(now, Command::Send(block.clone())) {
            // A limit of 0 leaves room for nobody, ever.
            Err(ltp::Error::Full { limit: 1.., .. }) => return Poll::Pending,
            sent => sent?,
        }
        self.port.follow(block.tag, block.to);
        Poll::Ready(Ok(block.tag))
    }

    /// Opens a client service.
    pub(super) fn open(
        &mut self,
        now: Instant,
        client: u64,
        service: Service,
    ) -> Result<ServiceRef, Error> {
        if self.port.phase != Phase::Open {
            return Err(Error::Closed);
        }
        self.command(now, Command::OpenOnDemand(client, service))?;
        Ok(self.port.add_service(client))
    }

    /// Drops an access point with all that was received and not taken.
    pub(super) fn close_service(&mut self, now: Instant, service: ServiceRef) {
        if self.port.service(service).is_ok() {
            self.port.services.remove(&service.client);
            // Refused at the end only.
            let _ = self.command(now, Command::Close(service.client));
            // Those that wait to send from it, too: their line is that of the peer.
            self.wakes.everybody();
        }
    }

    pub(super) fn interrupt(&mut self, service: ServiceRef) {
        let line = Line::Receive(service);
        if !self.wakes.is_empty(line) {
            self.wakes.interrupt(line);
        } else if let Ok(open) = self.port.service(service) {
            open.is_interrupted = true;
        }
    }

    /// Takes what was received next. Whoever waits is woken while something waits in the engine.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        service: ServiceRef,
        place: WaitStatus,
    ) -> Poll<Result<Received, Error>> {
        if place.is_interrupted {
            return Poll::Ready(Err(Error::Interrupted));
        }
        if let Some(received) = self.try_receive(now, service)? {
            return Poll::Ready(Ok(received));
        }
        if mem::take(&mut self.port.service(service)?.is_interrupted) {
            return Poll::Ready(Err(Error::Interrupted));
        }
        Poll::Pending
    }

    /// Takes what was received next, if anything. An interruption is left to those who wait.
    pub(super) fn try_receive(
        &mut self,
        now: Instant,
        service: ServiceRef,
    ) -> Result<Option<Received>, Error> {
        let is_empty = self.port.service(service)?.items.is_empty();
        if is_empty && self.peek().has_waiting(service.client) {
            let (port, machine, wakes) = self.parts();
            port.pull(machine, now, wakes, service.client);
        }
        match self.port.service(service)?.items.pop_front() {
            None if self.port.is_ended() => Err(Error::Closed),
            item => Ok(item),
        }
    }

    /// Has the engine ask a peer at the first call, and returns the answer. `asked` is an ID older than that.
    pub(super) fn ping(
        &mut self,
        now: Instant,
        peer: u64,
        asked: &mut Option<u64>,
    ) -> Poll<Result<Duration, Error>> {
        let Some(asked) = *asked else {
            match self.command(now, Command::Ping(peer)) {
                Ok(()) | Err(Error::Refused(ltp::Error::PingPending(_))) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            *asked = Some(self.port.ids);
            return Poll::Pending;
        };
        match self.port.answers.get(&peer) {
            Some((id, answer)) if *id > asked => Poll::Ready(answer.ok_or(Error::Silent { peer })),
            _ if self.port.is_ended() => Poll::Ready(Err(Error::Closed)),
            _ => Poll::Pending,
        }
    }

    /// Removes a peer. No room will be told of; to those that ping it the engine says that it is silent.
    pub(super) fn remove_peer(&mut self, now: Instant, peer: u64) -> Result<(), Error> {
        self.command(now, Command::RemovePeer(peer))?;
        self.wakes.all(Line::Room(peer));
        Ok(())
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(&mut self, now: Instant, limit: Duration) {
        let until = match self.port.phase {
            Phase::Open => now + limit,
            Phase::Closing(before) => before.min(now + limit),
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => return,
        };
        let (port, machine, wakes) = self.parts();
        port.phase = Phase::Closing(until);
        if now >= until {
            port.cancel_all(machine, now, wakes);
        }
        // Whoever waits to send.
        wakes.everybody();
    }

    /// Returns all that the node knows.
    pub(super) fn save(&self, now: Instant, age: Age) -> Result<NodeSnapshot, Error> {
        if self.port.is_ended() {
            return Err(Error::Closed);
        }
        Ok(NodeSnapshot::new(
            self.peek().snapshot(now),
            &self.port,
            age,
        ))
    }

    /// Ends the node as it is, and returns all that it knows; the engine is not polled again.
    pub(super) fn suspend(&mut self, now: Instant) -> Result<NodeSnapshot, Error> {
        let saved = self.save(now, Age::Current)?;
        self.port.phase = Phase::Suspended;
        // What was not taken is in the snapshot, and comes again.
        self.port.services.clear();
        self.wakes.everybody();
        self.over();
        Ok(saved)
    }

    pub(super) fn stats(&self) -> NodeStats {
        let (exports, imports) = self.peek().sessions();
        let items = self.port.items().map(Received::memory_used);
        NodeStats {
            engine: self.peek().stats(),
            exports,
            imports,
            waiting_octets: self.peek().waiting_octets() + items.sum::<usize>(),
            ..NodeStats::default()
        }
    }
}
