//! Who gets which event of an engine, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::snapshot::NodeSnapshot;
use super::{Error, NodeMachine, NodeStats, Received, ReceivedKind, engine};
use crate::adapters::event_loop::{Port, Rest};
use crate::adapters::waiters::{Place, Wakes};
use crate::ltp::{self, Block, Command, Event, Reason, SessionId, Side};
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
    /// The engine gives the next block unasked, because somebody waits for it.
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
    type Machine = NodeMachine;
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
        machine: &mut NodeMachine,
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
            Phase::Cancelling(until)
                if now < until && !(is_idle && !engine(machine).has_backlog()) =>
            {
                Rest::Until(Some(until))
            }
            Phase::Cancelling(_) | Phase::Suspended | Phase::Over => Rest::Over,
        }
    }

    fn end(&mut self, _: io::Result<()>) {
        self.settle_all();
        self.phase = Phase::Over;
    }
}

/// Tells whether no block is under way.
fn is_quiet(machine: &NodeMachine) -> bool {
    engine(machine).sessions() == (0, 0)
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
        machine: &mut NodeMachine,
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

    pub(super) fn open(&mut self, client: u64) -> ServiceRef {
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
        self.may_begin() && queue.is_some_and(|queue| queue.id == service.id)
    }

    /// Drops an access point with all that was received and not taken.
    pub(super) fn close_service(
        &mut self,
        machine: &mut NodeMachine,
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

    /// Takes what was received next, or has the engine give it once there is something.
    pub(super) fn receive(
        &mut self,
        machine: &mut NodeMachine,
        now: Instant,
        service: ServiceRef,
        place: Place,
        wakes: &mut Wakes<Line>,
    ) -> Poll<Result<Received, Error>> {
        if place.is_interrupted {
            return Poll::Ready(Err(Error::Interrupted));
        }
        match self.try_receive(machine, now, service, wakes) {
            Ok(None) => {}
            Ok(Some(received)) => return Poll::Ready(Ok(received)),
            Err(error) => return Poll::Ready(Err(error)),
        }
        if let Some(queue) = self.service(service) {
            if core::mem::take(&mut queue.is_interrupted) {
                return Poll::Ready(Err(Error::Interrupted));
            }
            if !queue.is_asked {
                queue.is_asked = machine.command(now, Command::Take(service.client)).is_ok();
            }
        }
        Poll::Pending
    }

    /// Takes what was received next, if anything. An interruption is left to those who wait.
    pub(super) fn try_receive(
        &mut self,
        machine: &mut NodeMachine,
        now: Instant,
        service: ServiceRef,
        wakes: &mut Wakes<Line>,
    ) -> Result<Option<Received>, Error> {
        let is_suspended = self.phase == Phase::Suspended;
        let Some(queue) = self.service(service).filter(|_| !is_suspended) else {
            return Err(Error::Closed);
        };
        if queue.received.is_empty() {
            self.pull(machine, now, service.client, wakes);
        }
        let next = self.service(service).and_then(|queue| queue.received.pop_front());
        match next {
            None if self.phase == Phase::Over => Err(Error::Closed),
            next => Ok(next),
        }
    }

    fn queue(&mut self, received: Received, wakes: &mut Wakes<Line>) {
        let client = received.client;
        // Nobody has it where the service was closed since.
        if let Some(queue) = self.services.get_mut(&client) {
            queue.is_asked = false;
            queue.received.push_back(received);
            wakes.first(Line::Receive(ServiceRef {
                client,
                id: queue.id,
            }));
        }
    }

    // Pings.

    /// Returns the answer to the ping of a round, or has the engine ask. `round` is set at the first call.
    pub(super) fn ping(
        &mut self,
        machine: &mut NodeMachine,
        now: Instant,
        peer: u64,
        round: &mut Option<u64>,
    ) -> Poll<Result<Duration, Error>> {
        let ping = self.pings.get(&peer);
        if let Some(round) = *round {
            match ping {
                Some(ping) if ping.round > round => {
                    return Poll::Ready(ping.answer.ok_or(Error::Silent { peer }));
                }
                Some(_) => {}
                None => return Poll::Ready(Err(Error::Silent { peer })),
            }
        }
        if matches!(self.phase, Phase::Suspended | Phase::Over) {
            return Poll::Ready(Err(Error::Closed));
        }
        if ping.is_none_or(|ping| !ping.is_asking) {
            machine.command(now, Command::Ping(peer))?;
        }
        let ping = self.pings.entry(peer).or_default();
        ping.is_asking = true;
        round.get_or_insert(ping.round);
        Poll::Pending
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

    /// Tells whether blocks can be sent and access points opened.
    pub(super) fn may_begin(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Tells whether the socket is closed.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(
        &mut self,
        machine: &mut NodeMachine,
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
    fn cancel_all(&mut self, machine: &mut NodeMachine, now: Instant, wakes: &mut Wakes<Line>) {
        self.phase = Phase::Cancelling(now + CANCEL_LIMIT);
        // What the engine refuses is over already, and its event on the way.
        for (tag, block) in &self.blocks {
            if block.outcome.is_none() {
                let _ = machine.command(now, Command::Cancel(*tag));
            }
        }
        let clients: Vec<u64> = self.services.keys().copied().collect();
        for client in clients {
            self.pull(machine, now, client, wakes);
            let _ = machine.command(now, Command::Close(client));
        }
    }

    /// Ends the node as it is, without a word to anybody, and returns all that it knew.
    pub(super) fn suspend(
        &mut self,
        machine: &NodeMachine,
        now: Instant,
        wakes: &mut Wakes<Line>,
    ) -> Result<NodeSnapshot, Error> {
        let saved = self.save(machine, now, true)?;
        self.phase = Phase::Suspended;
        self.settle_all();
        wakes.everybody();
        Ok(saved)
    }

    /// Returns all that the node knows; `is_current` if it will do nothing more.
    pub(super) fn save(
        &self,
        machine: &NodeMachine,
        now: Instant,
        is_current: bool,
    ) -> Result<NodeSnapshot, Error> {
        if matches!(self.phase, Phase::Suspended | Phase::Over) {
            return Err(Error::Closed);
        }
        let engine = engine(machine).snapshot(now);
        Ok(NodeSnapshot::new(engine, self, is_current))
    }

    /// Nothing more will become of the blocks.
    fn settle_all(&mut self) {
        self.blocks.retain(|_, block| block.is_watched);
        for block in self.blocks.values_mut() {
            block.outcome.get_or_insert(SendOutcome::Unknown);
        }
    }
}
