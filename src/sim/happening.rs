//! What happens, and when: the entries of the agenda and what they stand for.

use alloc::boxed::Box;

use slab::Slab;

use super::ip::{Denied, TcpWake};
use super::links::WayId;
use super::pipe::{LaneId, News};
use super::script::Tick;
use super::traffic::{Arrival, IpArrival};
use super::{HostId, Place, World};
use crate::{Instant, Link, Tag};

/// What the agenda holds: eight octets, for a large agenda is much of what a large world touches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    Wake(HostId),
    /// The host tries its held datagrams again.
    Room(HostId),
    Arrive(Plan),
    ArriveOnIp(Plan),
    Lane(Plan),
    Tcp(Plan),
    Rare(Plan),
}

/// Where the rest of an entry lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan(u32);

/// What lies outside of the agenda, each kind in a row of its own. A place that is left is the next to be
/// taken, while it is still in the cache.
#[derive(Default)]
pub(super) struct Plans {
    pub(super) arrivals: Slab<Arrival>,
    pub(super) ip_arrivals: Slab<IpArrival>,
    pub(super) lanes: Slab<(LaneId, News)>,
    pub(super) tcp: Slab<TcpWake>,
    rare: Slab<Rare>,
}

/// What happens seldom.
pub(super) enum Rare {
    Cue(HostId, Place, Link),
    /// An address that was full has room, unless it was filled again.
    Free(HostId, Place),
    /// The answer to an ask for a socket.
    Opened(HostId, Tag),
    /// A contact plan of the way changes; the number is the way's version.
    Contact(WayId, u32),
    Refuse(Box<Denied>),
    Call(Box<dyn FnOnce(&mut World)>),
    Tick(Box<Tick>),
}

// Bound: a world with four billion things ahead has no memory left for them.
impl Plan {
    fn new(key: usize) -> Self {
        Self(u32::try_from(key).unwrap_or(u32::MAX))
    }

    pub(super) fn key(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl World {
    pub(super) fn plan(&mut self, at: Instant, rare: Rare) {
        let plan = Plan::new(self.plans.rare.insert(rare));
        self.agenda.enter(at, Happening::Rare(plan));
    }

    pub(super) fn plan_arrival(&mut self, at: Instant, arrival: Arrival) {
        let plan = Plan::new(self.plans.arrivals.insert(arrival));
        self.agenda.enter(at, Happening::Arrive(plan));
    }

    pub(super) fn plan_ip_arrival(&mut self, at: Instant, arrival: IpArrival) {
        let plan = Plan::new(self.plans.ip_arrivals.insert(arrival));
        self.agenda.enter(at, Happening::ArriveOnIp(plan));
    }

    pub(super) fn plan_lane(&mut self, at: Instant, lane: LaneId, news: News) {
        let plan = Plan::new(self.plans.lanes.insert((lane, news)));
        self.agenda.enter(at, Happening::Lane(plan));
    }

    pub(super) fn plan_tcp(&mut self, at: Instant, wake: TcpWake) {
        let plan = Plan::new(self.plans.tcp.insert(wake));
        self.agenda.enter(at, Happening::Tcp(plan));
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(id) => self.wake(id),
            Happening::Room(id) => self.make_room(id),
            Happening::Arrive(plan) => {
                if let Some(arrival) = self.plans.arrivals.try_remove(plan.key()) {
                    self.arrival(&arrival);
                }
            }
            Happening::ArriveOnIp(plan) => {
                if let Some(arrival) = self.plans.ip_arrivals.try_remove(plan.key()) {
                    self.ip_arrival(arrival);
                }
            }
            Happening::Lane(plan) => {
                if let Some((lane, news)) = self.plans.lanes.try_remove(plan.key()) {
                    self.lane_news(lane, news);
                }
            }
            Happening::Tcp(plan) => {
                if let Some(wake) = self.plans.tcp.try_remove(plan.key()) {
                    self.tcp_wake(&wake);
                }
            }
            Happening::Rare(plan) => {
                if let Some(rare) = self.plans.rare.try_remove(plan.key()) {
                    self.happen_rarely(rare);
                }
            }
        }
    }

    fn happen_rarely(&mut self, rare: Rare) {
        match rare {
            Rare::Cue(id, place, link) => self.cue(id, place, link),
            Rare::Free(id, place) => self.free(id, place),
            Rare::Opened(id, tag) => self.opened(id, tag),
            Rare::Contact(way, version) => self.contact_changes(way, version),
            Rare::Refuse(denied) => self.refuse_denied(&denied),
            Rare::Call(call) => call(self),
            Rare::Tick(tick) => self.tick(tick),
        }
    }
}
