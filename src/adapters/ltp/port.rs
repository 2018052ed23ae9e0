//! Who gets which event of an engine, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::snapshot::NodeSnapshot;
use super::{EngineMachine, Error, NodeStats, Received};
use crate::adapters::event_loop::{Core, Port, Rest};
use crate::adapters::waiters::{WaitStatus, Wakes};
use crate::ltp::{self, Age, Block, Command, Event, Reason, Service, SessionId, Side};
use crate::{Instant, Limits, Machine as _, Output, Tag, Transmit};

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
    pub(super) id: u64,
}

/// The state that the handles of a node share, beside the engine.
#[derive(Debug, Default)]
pub(crate) struct NodePort {
    /// By client service.
    pub(super) services: BTreeMap<u64, ServiceQueue>,
    pub(super) blocks: BTreeMap<Tag, SendState>,
    pings: BTreeMap<u64, PingState>,
    /// The last ID that was given to a block or an access point.
    pub(super) ids: u64,
    phase: Phase,
}

/// An open access point.
#[derive(Debug, Default)]
pub(super) struct ServiceQueue {
    id: u64,
    /// What the engine gave and nobody has taken yet.
    pub(super) received: VecDeque<Received>,
    /// The engine has not answered the last take: it gives the next item as soon as there is one.
    is_asked: bool,
    /// An interruption that found nobody waiting.
    is_interrupted: bool,
}

/// A block on its way to a peer, or what became of it.
#[derive(Debug)]
pub(super) struct SendState {
    pub(super) peer: u64,
    /// None while the block is under way.
    pub(super) outcome: Option<SendOutcome>,
    /// There is a handle that can ask.
    is_watched: bool,
}

/// What became of a block.
#[derive(Debug, Clone)]
pub(super) enum SendOutcome {
    Complete(SessionId),
    Failed {
        session: SessionId,
        by: Side,
        reason: Reason,
        data: Bytes,
    },
    /// The node ended before.
    Unknown,
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

impl ServiceQueue {
    pub(super) const fn reference(&self, client: u64) -> ServiceRef {
        let id = self.id;
        ServiceRef { client, id }
    }
}

impl SendState {
    pub(super) const fn new(peer: u64) -> Self {
        Self {
            peer,
            outcome: None,
            is_watched: true,
        }
    }

    fn result(&self) -> Option<Result<SessionId, Error>> {
        Some(match self.outcome.clone()? {
            SendOutcome::Complete(session) => Ok(session),
            SendOutcome::Failed {
                session,
                by,
                reason,
                data,
            } => Err(Error::Failed {
                peer: self.peer,
                session,
                by,
                reason,
                data,
            }),
            SendOutcome::Unknown => Err(Error::Closed),
        })
    }
}

impl Port for NodePort {
    type Machine = EngineMachine;
    type Line = Line;

    fn deliver(&mut self, event: Event, wakes: &mut Wakes<Line>) {
        match event {
            Event::Complete { tag, session } => {
                self.settle(tag, SendOutcome::Complete(session), wakes);
            }
            Event::Failed {
                tag,
                session,
                by,
                reason,
                data,
            } => {
                let failed = SendOutcome::Failed {
                    session,
                    by,
                    reason,
                    data,
                };
                self.settle(tag, failed, wakes);
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
            Phase::Closing(until) if now < until && !(is_idle && is_quiet(machine)) => {
                Rest::Until(Some(until))
            }
            Phase::Closing(_) => {
                self.cancel_all(machine, now, wakes);
                Rest::Again
            }
            // A peer that floods draws more and more: the engine need not become idle.
            Phase::Cancelling(until) if now < until && !(is_idle && !machine.has_backlog()) => {
                Rest::Until(Some(until))
            }
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => Rest::Over,
        }
    }

    fn end(&mut self, machine: &mut EngineMachine, _: io::Result<()>) {
        machine.finish();
        self.settle_all();
        self.phase = Phase::Over;
    }
}

/// Tells whether no block is under way.
fn is_quiet(machine: &EngineMachine) -> bool {
    machine.sessions() == (0, 0)
}

impl NodePort {
    /// Returns a port whose next ID is behind `ids`.
    pub(super) fn after(ids: u64) -> Self {
        Self {
            ids,
            ..Self::default()
        }
    }

    pub(super) const fn draw_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    // Blocks to peers.

    /// Gives a block to the engine, if there is room for it.
    pub(super) fn send(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        service: ServiceRef,
        block: &mut Block,
    ) -> Poll<Result<Tag, Error>> {
        if !self.is_open(service) {
            return Poll::Ready(Err(Error::Closed));
        }
        block.tag = Tag(self.draw_id());
        match machine.command(now, Command::Send(block.clone())) {
            // A limit of 0 leaves room for nobody, ever.
            Err(ltp::Error::Full { limit: 1.., .. }) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
            Ok(()) => {
                self.blocks.insert(block.tag, SendState::new(block.to));
                Poll::Ready(Ok(block.tag))
            }
        }
    }

    /// Returns what became of a block; `None` while it is under way.
    pub(super) fn outcome(&self, tag: Tag) -> Option<Result<SessionId, Error>> {
        let block = self.blocks.get(&tag);
        block.map_or(Some(Err(Error::Closed)), SendState::result)
    }

    /// Forgets what becomes of a block: its handle is gone.
    pub(super) fn unwatch(&mut self, tag: Tag) {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.is_watched = false;
            if block.outcome.is_some() {
                self.blocks.remove(&tag);
            }
        }
    }

    fn settle(&mut self, tag: Tag, outcome: SendOutcome, wakes: &mut Wakes<Line>) {
        match self.blocks.get_mut(&tag) {
            Some(block) if block.is_watched => {
                block.outcome = Some(outcome);
                wakes.all(Line::Block(tag));
            }
            Some(_) => drop(self.blocks.remove(&tag)),
            None => {}
        }
    }

    // Access points.

    /// Opens a client service.
    pub(super) fn open(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        client: u64,
        service: Service,
    ) -> Result<ServiceRef, Error> {
        if self.phase != Phase::Open {
            return Err(Error::Closed);
        }
        machine.command(now, Command::OpenOnDemand(client, service))?;
        Ok(self.add_service(client))
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

    fn service(&mut self, service: ServiceRef) -> Option<&mut ServiceQueue> {
        let queue = self.services.get_mut(&service.client)?;
        (queue.id == service.id).then_some(queue)
    }

    /// Tells whether blocks can be sent and received.
    pub(super) fn is_open(&self, service: ServiceRef) -> bool {
        let queue = self.services.get(&service.client);
        self.phase == Phase::Open && queue.is_some_and(|queue| queue.id == service.id)
    }

    /// Drops an access point with all that was received and not taken.
    pub(super) fn close_service(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        service: ServiceRef,
        wakes: &mut Wakes<Line>,
    ) {
        if self.service(service).is_none() {
            return;
        }
        self.services.remove(&service.client);
        // Refused at the end only.
        let _ = machine.command(now, Command::Close(service.client));
        // Those that wait to send from it, too: their line is that of the peer.
        wakes.everybody();
    }

    pub(super) fn interrupt(&mut self, service: ServiceRef, wakes: &mut Wakes<Line>) {
        let line = Line::Receive(service);
        if !wakes.is_empty(line) {
            wakes.interrupt(line);
        } else if let Some(queue) = self.service(service) {
            queue.is_interrupted = true;
        }
    }

    /// Takes what was received next, if anything.
    pub(super) fn take(&mut self, service: ServiceRef) -> Result<Option<Received>, Error> {
        let queue = self.service(service).ok_or(Error::Closed)?;
        Ok(queue.received.pop_front())
    }

    /// Takes the next item that waits in the engine for a client service, and tells whether there was one.
    ///
    /// The engine answers at its next polls, and before anything else that is not an event.
    fn pull(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        client: u64,
        wakes: &mut Wakes<Line>,
    ) -> bool {
        if !machine.has_waiting(client) || !self.ask(machine, now, client) {
            return false;
        }
        let mut tx = Transmit::new(Limits::default());
        loop {
            match machine.poll(now, &mut tx) {
                Output::Event(event) => {
                    let is_item = client_of(&event) == Some(client);
                    self.deliver(event, wakes);
                    if is_item {
                        return true;
                    }
                }
                Output::Yield => {}
                _ => return false,
            }
        }
    }

    /// Asks the engine for the next item of a client service, unless it was asked already, and tells whether
    /// it will answer.
    fn ask(&mut self, machine: &mut EngineMachine, now: Instant, client: u64) -> bool {
        let Some(queue) = self.services.get_mut(&client) else {
            return false;
        };
        if !queue.is_asked {
            // Refused once the service was closed at the engine.
            queue.is_asked = machine.command(now, Command::Take(client)).is_ok();
        }
        queue.is_asked
    }

    fn queue(&mut self, received: Received, wakes: &mut Wakes<Line>) {
        let client = received.client;
        // Nobody has it where the service was closed since.
        if let Some(queue) = self.services.get_mut(&client) {
            queue.is_asked = false;
            queue.received.push_back(received);
            wakes.first(Line::Receive(queue.reference(client)));
        }
    }

    fn answer(&mut self, peer: u64, answer: Option<Duration>, wakes: &mut Wakes<Line>) {
        if wakes.is_empty(Line::Ping(peer)) {
            self.pings.remove(&peer);
        } else if let Some(ping) = self.pings.get_mut(&peer) {
            ping.round += 1;
            ping.is_asking = false;
            ping.answer = answer;
            wakes.all(Line::Ping(peer));
        }
    }

    // The end.

    /// Tells whether the socket is closed.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(
        &mut self,
        machine: &mut EngineMachine,
        now: Instant,
        limit: Duration,
        wakes: &mut Wakes<Line>,
    ) {
        let until = match self.phase {
            Phase::Open => now + limit,
            Phase::Closing(before) => before.min(now + limit),
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => return,
        };
        self.phase = Phase::Closing(until);
        if now >= until {
            self.cancel_all(machine, now, wakes);
        }
        // Whoever waits to send.
        wakes.everybody();
    }

    /// Cancels all blocks, in both directions. What was received stays.
    fn cancel_all(&mut self, machine: &mut EngineMachine, now: Instant, wakes: &mut Wakes<Line>) {
        self.phase = Phase::Cancelling(now + CANCEL_LIMIT);
        // What the engine refuses is over already, and its event on the way.
        for (tag, block) in &self.blocks {
            if block.outcome.is_none() {
                let _ = machine.command(now, Command::Cancel(*tag));
            }
        }
        let clients: Vec<u64> = self.services.keys().copied().collect();
        for client in clients {
            while self.pull(machine, now, client, wakes) {}
            let _ = machine.command(now, Command::Close(client));
        }
    }

    /// Tells whether the engine is not driven any more.
    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Suspended | Phase::Over)
    }

    /// Returns all that the node knows.
    pub(super) fn save(
        &self,
        machine: &EngineMachine,
        now: Instant,
        age: Age,
    ) -> Result<NodeSnapshot, Error> {
        if self.is_ended() {
            return Err(Error::Closed);
        }
        let engine = machine.snapshot(now);
        Ok(NodeSnapshot::new(engine, self, age))
    }

    /// Ends the node as it is; the engine is not polled again.
    pub(super) fn suspend(&mut self, wakes: &mut Wakes<Line>) {
        self.phase = Phase::Suspended;
        // What was not taken is in the snapshot, and comes again.
        self.services.clear();
        self.settle_all();
        wakes.everybody();
    }

    pub(super) fn stats(&self, machine: &EngineMachine) -> NodeStats {
        let (exports, imports) = machine.sessions();
        let received = self.services.values().flat_map(|queue| &queue.received);
        NodeStats {
            engine: machine.stats(),
            exports,
            imports,
            waiting_octets: machine.waiting_octets()
                + received.map(Received::memory_used).sum::<usize>(),
            ..NodeStats::default()
        }
    }

    /// No block will come to another end.
    fn settle_all(&mut self) {
        self.blocks.retain(|_, block| block.is_watched);
        for block in self.blocks.values_mut() {
            block.outcome.get_or_insert(SendOutcome::Unknown);
        }
    }
}

/// Returns the client service that an event concerns.
const fn client_of(event: &Event) -> Option<u64> {
    match event {
        Event::Started { client, .. }
        | Event::Piece { client, .. }
        | Event::Received { client, .. }
        | Event::Green { client, .. }
        | Event::Cancelled { client, .. } => Some(*client),
        _ => None,
    }
}

/// Takes what was received next at an access point, or has the engine give it once there is something.
pub(super) fn poll_receive(
    core: &mut Core<NodePort>,
    now: Instant,
    service: ServiceRef,
    place: WaitStatus,
) -> Poll<Result<Received, Error>> {
    if place.is_interrupted {
        return Poll::Ready(Err(Error::Interrupted));
    }
    if let Some(outcome) = try_receive(core, now, service).transpose() {
        return Poll::Ready(outcome);
    }
    if let Some(queue) = core.port.service(service) {
        if core::mem::take(&mut queue.is_interrupted) {
            return Poll::Ready(Err(Error::Interrupted));
        }
        if !queue.is_asked {
            let (port, machine, _) = core.parts();
            port.ask(machine, now, service.client);
        }
    }
    Poll::Pending
}

/// Takes what was received next at an access point, if anything. An interruption is left to those who wait.
pub(super) fn try_receive(
    core: &mut Core<NodePort>,
    now: Instant,
    service: ServiceRef,
) -> Result<Option<Received>, Error> {
    if let Some(received) = core.port.take(service)? {
        return Ok(Some(received));
    }
    if core.peek().has_waiting(service.client) {
        let (port, machine, wakes) = core.parts();
        port.pull(machine, now, service.client, wakes);
    }
    match core.port.take(service)? {
        None if core.port.is_ended() => Err(Error::Closed),
        received => Ok(received),
    }
}

/// Returns the answer to a ping, or has the engine ask. `round` is set at the first call.
pub(super) fn poll_ping(
    core: &mut Core<NodePort>,
    now: Instant,
    peer: u64,
    round: &mut Option<u64>,
) -> Poll<Result<Duration, Error>> {
    let ping = core.port.pings.get(&peer);
    match (*round, ping) {
        (Some(round), Some(ping)) if ping.round > round => {
            return Poll::Ready(ping.answer.ok_or(Error::Silent { peer }));
        }
        (Some(_), None) => return Poll::Ready(Err(Error::Silent { peer })),
        _ => {}
    }
    if core.port.is_ended() {
        return Poll::Ready(Err(Error::Closed));
    }
    if ping.is_none_or(|ping| !ping.is_asking) {
        core.machine().command(now, Command::Ping(peer))?;
    }
    let ping = core.port.pings.entry(peer).or_default();
    ping.is_asking = true;
    round.get_or_insert(ping.round);
    Poll::Pending
}
