//! Who gets which event of an engine, and who waits for what.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::{EngineMachine, Error, NodeSnapshot, NodeStats, Received};
use crate::adapters::driver::{ClosePort, Core, Port, Rest, WaitStatus};
use crate::ltp::{self, Age, Block, Command, Event, SessionId, Snapshot};
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
    id: u64,
}

/// The state that the handles of a node share, beside the engine. It is part of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NodePort {
    /// By client service.
    pub(super) services: BTreeMap<u64, OpenService>,
    pub(super) blocks: BTreeMap<Tag, SendState>,
    /// The last answers of peers to pings, each with an ID: the round-trip time, unless the peer was silent.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) answers: BTreeMap<u64, (u64, Option<Duration>)>,
    /// The last ID that was given to a block, an access point or an answer.
    ids: u64,
    /// Nothing begins any more, and what is under way has until then.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) closing: Option<Instant>,
    /// All was cancelled, and the cancellations leave as far as the rates of the peers let them until then.
    #[cfg_attr(feature = "serde", serde(skip))]
    is_cancelling: bool,
}

/// Items of an access point, and octets of the node, up to which one more is taken ahead.
const AHEAD: usize = 16;
const AHEAD_OCTETS: usize = 1 << 16;

/// An open access point. What it receives waits in the engine, apart from a little.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct OpenService {
    id: u64,
    /// What the engine gave and nobody has taken yet: what is taken just now, and at the end of the node all.
    items: VecDeque<Received>,
    /// An interruption that found nobody waiting.
    pub(super) is_interrupted: bool,
}

/// A block on its way to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct SendState {
    peer: u64,
    /// How it ended: [`Event::Complete`] or [`Event::Failed`].
    end: Option<Event>,
    /// There is no handle that can ask.
    is_unwatched: bool,
    /// The handle was told how it ended, so a snapshot has nothing of it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) is_told: bool,
}

impl Port for NodePort {
    type Machine = EngineMachine;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: Event) {
        match event {
            Event::Complete { tag, .. } | Event::Failed { tag, .. } => core.settle(tag, event),
            Event::Room { peer } => core.wakes.first(Line::Room(peer)),
            Event::Answered { peer, after } => core.answer(peer, Some(after)),
            Event::Silent { peer } => core.answer(peer, None),
            event => {
                if let Ok(item) = Received::from_event(event) {
                    core.queue(item);
                }
            }
        }
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        if core.fetch_ahead() {
            return Rest::Again;
        }
        let Some(until) = core.port.closing else {
            return Rest::Until(None);
        };
        let is_under_way = if core.port.is_cancelling {
            // A peer that floods draws more and more: the engine need not become idle.
            core.peek().has_backlog()
        } else {
            core.peek().usage().sessions != (0, 0)
        };
        if core.now < until && (!is_idle || is_under_way) {
            return Rest::Until(Some(until));
        }
        if core.port.is_cancelling {
            return Rest::Over;
        }
        core.cancel_all();
        Rest::Again
    }

    fn end(&mut self, machine: &mut EngineMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl ClosePort for NodePort {
    type Error = Error;
    const END: Line = Line::End;

    fn close(core: &mut Core<Self>) {
        core.close(Duration::ZERO);
    }
}

impl NodePort {
    const fn draw_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Forgets what becomes of a block: its handle is gone.
    pub(super) fn unwatch(&mut self, tag: Tag) {
        if let Some(block) = self.blocks.get_mut(&tag) {
            block.is_unwatched = true;
            if block.end.is_some() {
                self.blocks.remove(&tag);
            }
        }
    }

    /// Adds an access point for a client service that is open at the engine.
    pub(super) fn add_service(&mut self, client: u64) -> ServiceRef {
        let id = self.draw_id();
        self.services.entry(client).or_default().id = id;
        ServiceRef { client, id }
    }

    /// Goes on beside an engine that was restored from `engine`, and follows all its blocks.
    pub(super) fn resume<A>(&mut self, engine: &Snapshot<A>) {
        (self.closing, self.is_cancelling) = (None, false);
        // A damaged snapshot may name others, which nobody will hear of.
        let tags: Vec<Tag> = engine.tags().collect();
        self.blocks.retain(|tag, block| {
            block.is_unwatched = false;
            match &block.end {
                None => tags.contains(tag),
                Some(end) => matches!(end, Event::Complete { .. } | Event::Failed { .. }),
            }
        });
        let clients: BTreeSet<u64> = engine.services().map(|(client, _)| client).collect();
        self.services.retain(|client, _| clients.contains(client));
        for client in clients {
            self.add_service(client);
        }
    }

    pub(super) fn services(&self) -> impl Iterator<Item = ServiceRef> {
        let services = self.services.iter();
        services.map(|(&client, &OpenService { id, .. })| ServiceRef { client, id })
    }

    pub(super) fn service(&mut self, service: ServiceRef) -> Result<&mut OpenService, Error> {
        let open = self.services.get_mut(&service.client);
        open.filter(|open| open.id == service.id)
            .ok_or(Error::Closed)
    }

    /// Whether one more item of a client service is taken ahead: the first always, so that none waits for others.
    fn may_fetch(&self, client: u64) -> bool {
        let Some(open) = self.services.get(&client) else {
            return false;
        };
        let items = self.services.values().flat_map(|open| &open.items);
        let octets = || items.map(|item| item.data.len()).sum::<usize>();
        open.items.is_empty() || open.items.len() < AHEAD && octets() < AHEAD_OCTETS
    }
}

/// What handles wait for.
type Polled<T> = Poll<Result<T, Error>>;

/// What handles do under the lock. What only looks at the machine does not count as a change of it.
impl Core<NodePort> {
    fn settle(&mut self, tag: Tag, end: Event) {
        if let Some(block) = self.port.blocks.get_mut(&tag) {
            block.end = Some(end);
            if block.is_unwatched {
                self.port.blocks.remove(&tag);
            }
            self.wakes.all(Line::Block(tag));
        }
    }

    /// Keeps the answer to a ping for all that wait for it.
    fn answer(&mut self, peer: u64, answer: Option<Duration>) {
        let id = self.port.draw_id();
        self.port.answers.insert(peer, (id, answer));
        self.wakes.all(Line::Ping(peer));
    }

    fn queue(&mut self, item: Received) {
        let client = item.client;
        // Nobody has it where the service was closed since.
        if let Some(OpenService { id, items, .. }) = self.port.services.get_mut(&client) {
            items.push_back(item);
            self.wakes
                .first(Line::Receive(ServiceRef { client, id: *id }));
        }
    }

    /// Has the engine give the next item that waits in it for a client service, and tells whether there was one.
    fn pull(&mut self, client: u64) -> bool {
        if !self.peek().has_waiting(client) || self.give(Command::Take(client)).is_err() {
            return false;
        }
        let (now, mut tx) = (self.now, Transmit::new(Limits::default()));
        let count = |port: &NodePort| port.services.get(&client).map(|open| open.items.len());
        let before = count(&self.port);
        // The engine answers at its next polls, and before anything else that is not an event.
        while count(&self.port) == before {
            match self.machine().poll(now, &mut tx) {
                Output::Event(event) => NodePort::deliver(self, event),
                Output::Yield => {}
                _ => {
                    let _ = self.give(Command::Untake(client));
                    return false;
                }
            }
        }
        true
    }

    /// Takes some items ahead for each access point, so that the sender of a block hears that it arrived when the node has
    /// it, and not when the application asks for it. Tells whether there was one.
    fn fetch_ahead(&mut self) -> bool {
        let clients: Vec<u64> = self.port.services.keys().copied().collect();
        let mut any = false;
        for client in clients {
            while self.port.may_fetch(client) && self.pull(client) {
                any = true;
            }
        }
        any
    }

    /// Cancels all blocks, in both directions. What was received stays.
    fn cancel_all(&mut self) {
        (self.port.closing, self.port.is_cancelling) = (Some(self.now + CANCEL_LIMIT), true);
        let tags: Vec<Tag> = self.port.blocks.keys().copied().collect();
        let clients: Vec<u64> = self.port.services.keys().copied().collect();
        // What the engine refuses is over already, and its event on the way.
        for tag in tags {
            let _ = self.give(Command::Cancel(tag));
        }
        for client in clients {
            while self.pull(client) {}
            let _ = self.give(Command::Close(client));
        }
    }

    /// Tells whether blocks can be sent and received.
    pub(super) fn is_open(&mut self, service: ServiceRef) -> bool {
        self.port.service(service).is_ok() && self.port.closing.is_none() && !self.is_over()
    }

    /// Gives a block to the engine, once those before it were taken and there is room.
    pub(super) fn send(
        &mut self,
        service: ServiceRef,
        place: WaitStatus,
        block: &mut Block,
    ) -> Polled<Tag> {
        if !self.is_open(service) {
            return Poll::Ready(Err(Error::Closed));
        }
        if !place.is_first {
            return Poll::Pending;
        }
        block.tag = Tag(self.port.draw_id());
        match self.give(Command::Send(block.clone())) {
            // A limit of 0 leaves room for nobody, ever.
            Err(ltp::Error::Full { limit: 1.., .. }) => return Poll::Pending,
            sent => sent?,
        }
        self.port.blocks.entry(block.tag).or_default().peer = block.to;
        Poll::Ready(Ok(block.tag))
    }

    /// Returns what became of a block.
    pub(super) fn outcome(&mut self, tag: Tag) -> Polled<SessionId> {
        let Some(block) = self.port.blocks.get_mut(&tag) else {
            return Poll::Ready(Err(Error::Closed));
        };
        block.is_told = block.end.is_some();
        match block.end.clone() {
            Some(Event::Complete { session, .. }) => Poll::Ready(Ok(session)),
            Some(Event::Failed {
                session,
                by,
                reason,
                cause,
                data,
                ..
            }) => Poll::Ready(Err(Error::Failed {
                peer: block.peer,
                session,
                by,
                reason,
                cause,
                data,
            })),
            _ if self.is_over() => Poll::Ready(Err(Error::Closed)),
            _ => Poll::Pending,
        }
    }

    /// Takes what was received next. Whoever waits is woken while something waits in the engine.
    pub(super) fn receive(&mut self, service: ServiceRef, place: WaitStatus) -> Polled<Received> {
        if place.is_interrupted {
            return Poll::Ready(Err(Error::Interrupted));
        }
        if let Some(received) = self.try_receive(service)? {
            return Poll::Ready(Ok(received));
        }
        if mem::take(&mut self.port.service(service)?.is_interrupted) {
            return Poll::Ready(Err(Error::Interrupted));
        }
        Poll::Pending
    }

    /// Takes what was received next, if anything. An interruption is left to those who wait.
    pub(super) fn try_receive(&mut self, service: ServiceRef) -> Result<Option<Received>, Error> {
        if self.peek().has_waiting(service.client) {
            self.fetch_ahead();
        }
        match self.port.service(service)?.items.pop_front() {
            None if self.is_over() => Err(Error::Closed),
            item => Ok(item),
        }
    }

    /// Has the engine ask a peer at the first call, and returns the answer. `asked` is an ID older than that.
    pub(super) fn ping(&mut self, peer: u64, asked: &mut Option<u64>) -> Polled<Duration> {
        let Some(asked) = *asked else {
            *asked = Some(self.port.ids);
            return match self.command(Command::Ping(peer)) {
                Ok(()) | Err(Error::Refused(ltp::Error::PingPending(_))) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            };
        };
        match self.port.answers.get(&peer) {
            Some((id, answer)) if *id > asked => Poll::Ready(answer.ok_or(Error::Silent { peer })),
            _ => self.found(None),
        }
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(&mut self, limit: Duration) {
        if self.port.is_cancelling || self.is_over() {
            return;
        }
        let until = [self.port.closing, Some(self.now + limit)];
        let until = until.into_iter().flatten().min();
        self.port.closing = until;
        self.touch();
        if until.is_some_and(|until| self.now >= until) {
            self.cancel_all();
        }
        // Whoever waits to send.
        self.wakes.everybody();
    }

    /// Returns all that the node knows.
    pub(super) fn save(&self, age: Age) -> Result<NodeSnapshot, Error> {
        if self.is_over() {
            return Err(Error::Closed);
        }
        let engine = self.peek().snapshot(self.now);
        Ok(NodeSnapshot::new(engine, self.port.clone(), age))
    }

    pub(super) fn stats(&self) -> NodeStats {
        let (exports, imports) = self.peek().usage().sessions;
        let services = self.port.services.values();
        let items = services.flat_map(|service| &service.items);
        NodeStats {
            engine: self.peek().stats(),
            exports,
            imports,
            waiting_octets: self.peek().usage().octets_waiting
                + items.map(Received::memory_used).sum::<usize>(),
            ..NodeStats::default()
        }
    }
}
