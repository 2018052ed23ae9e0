//! Events: what the queue holds, and what is done at their time.

use alloc::boxed::Box;

use slab::Slab;

use super::ip::{DeniedSyn, TcpTimer};
use super::lines::DirectionId;
use super::pipe::{PipeEvent, PipeId};
use super::script::Repeating;
use super::traffic::{DatagramArrival, IpArrival};
use super::{AnyAddr, HostId, World};
use crate::{Instant, Tag};

/// An entry of the queue. It has 8 bytes, because a large queue is most of the memory that a large world
/// touches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Wake(HostId),
    /// The host sends its held datagrams.
    RetryHeld(HostId),
    Arrival(EventRef),
    IpArrival(EventRef),
    Pipe(EventRef),
    Tcp(EventRef),
    Rare(EventRef),
}

/// The key of an event's content in the [`EventStore`].
#[derive(Debug, Clone, Copy)]
pub(super) struct EventRef(u32);

/// The contents of events, by kind. The key that was freed last is used next, while its memory is in the
/// cache.
#[derive(Default)]
pub(super) struct EventStore {
    arrivals: Slab<DatagramArrival>,
    ip_arrivals: Slab<IpArrival>,
    pipes: Slab<(PipeId, PipeEvent)>,
    tcp: Slab<TcpTimer>,
    rare: Slab<RareEvent>,
}

pub(super) enum RareEvent {
    /// A carrier that was full has room, unless it was filled again.
    Free(HostId, AnyAddr),
    /// The answer to [`Ask::Open`](crate::Ask::Open), unless it was cancelled.
    Answer(HostId, Tag),
    /// A contact begins or ends. The number is the version of the line.
    Contact(DirectionId, u32),
    Refuse(Box<DeniedSyn>),
    Call(Box<dyn FnOnce(&mut World)>),
    Repeat(Box<Repeating>),
}

// Bound: a world with four billion events has no memory left for them.
impl EventRef {
    fn new(key: usize) -> Self {
        Self(u32::try_from(key).unwrap_or(u32::MAX))
    }

    fn key(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl World {
    pub(super) fn schedule_rare(&mut self, at: Instant, event: RareEvent) {
        let event = EventRef::new(self.event_store.rare.insert(event));
        self.event_queue.push(at, Event::Rare(event));
    }

    pub(super) fn schedule_arrival(&mut self, at: Instant, arrival: DatagramArrival) {
        let event = EventRef::new(self.event_store.arrivals.insert(arrival));
        self.event_queue.push(at, Event::Arrival(event));
    }

    pub(super) fn schedule_ip_arrival(&mut self, at: Instant, arrival: IpArrival) {
        let event = EventRef::new(self.event_store.ip_arrivals.insert(arrival));
        self.event_queue.push(at, Event::IpArrival(event));
    }

    pub(super) fn schedule_pipe(&mut self, at: Instant, pipe: PipeId, event: PipeEvent) {
        let event = EventRef::new(self.event_store.pipes.insert((pipe, event)));
        self.event_queue.push(at, Event::Pipe(event));
    }

    pub(super) fn schedule_tcp_timer(&mut self, at: Instant, timer: TcpTimer) {
        let event = EventRef::new(self.event_store.tcp.insert(timer));
        self.event_queue.push(at, Event::Tcp(event));
    }

    pub(super) fn handle(&mut self, event: Event) {
        let store = &mut self.event_store;
        match event {
            Event::Wake(id) => self.wake(id),
            Event::RetryHeld(id) => self.retry_held(id),
            Event::Arrival(event) => {
                if let Some(arrival) = store.arrivals.try_remove(event.key()) {
                    self.arrival(&arrival);
                }
            }
            Event::IpArrival(event) => {
                if let Some(arrival) = store.ip_arrivals.try_remove(event.key()) {
                    self.ip_arrival(arrival);
                }
            }
            Event::Pipe(event) => {
                if let Some((pipe, event)) = store.pipes.try_remove(event.key()) {
                    self.pipe_event(pipe, event);
                }
            }
            Event::Tcp(event) => {
                if let Some(timer) = store.tcp.try_remove(event.key()) {
                    self.tcp_timer(&timer);
                }
            }
            Event::Rare(event) => {
                if let Some(event) = store.rare.try_remove(event.key()) {
                    self.handle_rare(event);
                }
            }
        }
    }

    fn handle_rare(&mut self, event: RareEvent) {
        match event {
            RareEvent::Free(id, addr) => self.free(id, addr),
            RareEvent::Answer(id, tag) => self.answer_open(id, tag),
            RareEvent::Contact(direction, version) => self.contact_changes(direction, version),
            RareEvent::Refuse(denied) => self.refuse_denied(&denied),
            RareEvent::Call(call) => call(self),
            RareEvent::Repeat(repeating) => self.repeat(repeating),
        }
    }
}
