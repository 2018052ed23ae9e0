//! What happens, and when: the entries of the agenda and what they stand for.

use alloc::boxed::Box;

use slab::Slab;

use super::ip::{DeniedSyn, TcpTimer};
use super::lines::DirectionId;
use super::pipe::{PipeEvent, PipeId};
use super::script::Repeating;
use super::traffic::{DatagramArrival, IpArrival};
use super::{AnyAddr, HostId, World};
use crate::{Instant, Tag};

/// What the agenda holds: eight octets, for a large agenda is much of what a large world touches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Wake(HostId),
    /// The host tries its held datagrams again.
    RetryHeld(HostId),
    Arrival(EventRef),
    IpArrival(EventRef),
    Pipe(EventRef),
    Tcp(EventRef),
    Rare(EventRef),
}

/// Where the rest of an entry lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventRef(u32);

/// What lies outside of the agenda, each kind in a row of its own. A place that is left is the next to be
/// taken, while it is still in the cache.
#[derive(Default)]
pub(super) struct EventStore {
    pub(super) arrivals: Slab<DatagramArrival>,
    pub(super) ip_arrivals: Slab<IpArrival>,
    pub(super) lanes: Slab<(PipeId, PipeEvent)>,
    pub(super) tcp: Slab<TcpTimer>,
    rare: Slab<RareEvent>,
}

/// What happens seldom.
pub(super) enum RareEvent {
    /// An address that was full has room, unless it was filled again.
    Free(HostId, AnyAddr),
    /// The answer to [`Ask::Open`](crate::Ask::Open), unless it was cancelled.
    Answer(HostId, Tag),
    /// A contact plan of the way changes; the number is the way's version.
    Contact(DirectionId, u32),
    Refuse(Box<DeniedSyn>),
    Call(Box<dyn FnOnce(&mut World)>),
    Repeat(Box<Repeating>),
}

// Bound: a world with four billion things ahead has no memory left for them.
impl EventRef {
    fn new(key: usize) -> Self {
        Self(u32::try_from(key).unwrap_or(u32::MAX))
    }

    pub(super) fn key(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl World {
    pub(super) fn schedule_rare(&mut self, at: Instant, rare: RareEvent) {
        let schedule_rare = EventRef::new(self.event_store.rare.insert(rare));
        self.event_queue.enter(at, Event::Rare(schedule_rare));
    }

    pub(super) fn schedule_arrival(&mut self, at: Instant, arrival: DatagramArrival) {
        let schedule_rare = EventRef::new(self.event_store.arrivals.insert(arrival));
        self.event_queue.enter(at, Event::Arrival(schedule_rare));
    }

    pub(super) fn schedule_ip_arrival(&mut self, at: Instant, arrival: IpArrival) {
        let schedule_rare = EventRef::new(self.event_store.ip_arrivals.insert(arrival));
        self.event_queue.enter(at, Event::IpArrival(schedule_rare));
    }

    pub(super) fn schedule_pipe(&mut self, at: Instant, pipe: PipeId, event: PipeEvent) {
        let schedule_rare = EventRef::new(self.event_store.lanes.insert((pipe, event)));
        self.event_queue.enter(at, Event::Pipe(schedule_rare));
    }

    pub(super) fn schedule_tcp_timer(&mut self, at: Instant, wake: TcpTimer) {
        let schedule_rare = EventRef::new(self.event_store.tcp.insert(wake));
        self.event_queue.enter(at, Event::Tcp(schedule_rare));
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(id) => self.wake(id),
            Event::RetryHeld(id) => self.retry_held(id),
            Event::Arrival(schedule_rare) => {
                if let Some(arrival) = self.event_store.arrivals.try_remove(schedule_rare.key()) {
                    self.arrival(&arrival);
                }
            }
            Event::IpArrival(schedule_rare) => {
                if let Some(arrival) = self.event_store.ip_arrivals.try_remove(schedule_rare.key())
                {
                    self.ip_arrival(arrival);
                }
            }
            Event::Pipe(schedule_rare) => {
                if let Some((pipe, event)) = self.event_store.lanes.try_remove(schedule_rare.key())
                {
                    self.pipe_event(pipe, event);
                }
            }
            Event::Tcp(schedule_rare) => {
                if let Some(wake) = self.event_store.tcp.try_remove(schedule_rare.key()) {
                    self.tcp_timer(&wake);
                }
            }
            Event::Rare(schedule_rare) => {
                if let Some(rare) = self.event_store.rare.try_remove(schedule_rare.key()) {
                    self.handle_rare(rare);
                }
            }
        }
    }

    fn handle_rare(&mut self, rare: RareEvent) {
        match rare {
            RareEvent::Free(id, addr) => self.free(id, addr),
            RareEvent::Answer(id, tag) => self.answer_open(id, tag),
            RareEvent::Contact(direction, version) => self.contact_changes(direction, version),
            RareEvent::Refuse(denied) => self.refuse_denied(&denied),
            RareEvent::Call(call) => call(self),
            RareEvent::Repeat(repeat) => self.repeat(repeat),
        }
    }
}
