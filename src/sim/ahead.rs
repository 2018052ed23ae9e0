//! Looking ahead, for speed alone.
//!
//! In a world of thousands of hosts, nothing of a host is in the near caches when something happens to it.
//! But the agenda tells whom the next things happen to. So a little of what these will look at is read while
//! others happen, and the processor fetches it meanwhile. Nothing depends on what is read.

use core::hint::black_box;

use super::happening::Happening;
use super::pipe::{News, other_way};
use super::world::{Lodging, Slot};
use super::{HostId, Node, World};

/// With fewer hosts than this, all that is looked at stays in the cache.
const FEW: usize = 64;

/// What is read of a happening, first where it lies, then whom it concerns, at last what belongs to that one:
/// each tells where the next is. Beside it, how many others happen before.
const STAGES: [(usize, Stage); 3] = [
    (6, Stage::Record),
    (4, Stage::Owner),
    (2, Stage::Belongings),
];

#[derive(Debug, Clone, Copy)]
enum Stage {
    Record,
    Owner,
    Belongings,
}

impl World {
    /// Reads a little of what the next things that happen will look at.
    pub(super) fn look_ahead(&self) {
        if self.hosts.len() < FEW {
            return;
        }
        for (others, stage) in STAGES {
            match self.agenda.ahead(others) {
                Some(Happening::Lane(plan)) => self.look_at_lane(plan.key(), stage),
                Some(happening) => self.look_at(*happening, stage),
                None => return,
            }
        }
    }

    fn look_at(&self, happening: Happening, stage: Stage) {
        let node = match happening {
            Happening::Wake(id) | Happening::Room(id) => Some(Node::Host(id)),
            Happening::Arrive(plan) => {
                let arrival = self.plans.arrivals.get(plan.key());
                arrival.map(|arrival| {
                    if matches!(stage, Stage::Owner) {
                        look_at_octets(&arrival.octets);
                    }
                    Node::Host(arrival.to)
                })
            }
            Happening::ArriveOnIp(plan) => {
                let arrival = self.plans.ip_arrivals.get(plan.key());
                arrival.map(|arrival| {
                    if matches!(stage, Stage::Owner) {
                        look_at_octets(&arrival.octets);
                    }
                    arrival.to
                })
            }
            Happening::Tcp(plan) => {
                let wake = self.plans.tcp.get(plan.key());
                wake.map(|wake| Node::Host(wake.id))
            }
            Happening::Lane(_) | Happening::Rare(_) => None,
        };
        match (stage, black_box(node)) {
            (Stage::Record, _) | (_, None) => {}
            (Stage::Owner, Some(Node::Host(id))) => self.look_at_host(id),
            (Stage::Owner, Some(Node::Nat(nat))) => self.net.glance(nat),
            (Stage::Belongings, Some(node)) => self.look_at_belongings(node),
        }
    }

    fn look_at_host(&self, id: HostId) {
        if let Some(slot) = self.slot_of(id) {
            black_box((slot.is_done, slot.body.glance()));
        }
    }

    fn look_at_belongings(&self, node: Node) {
        let way = match node {
            Node::Nat(nat) => {
                self.net.glance_further(nat);
                None
            }
            Node::Host(id) => match self.slot_of(id).map(|slot| &slot.lodging) {
                Some(Lodging::Name(named)) => named.latest_way(),
                Some(Lodging::Ip(stack)) => stack.glance(),
                Some(Lodging::Stream(Some(out))) => {
                    self.lanes.glance(*out);
                    None
                }
                Some(Lodging::Stream(None) | Lodging::Link(_)) | None => None,
            },
        };
        black_box(self.links.glance(way));
    }

    fn look_at_lane(&self, plan: usize, stage: Stage) {
        let Some((lane, news)) = self.plans.lanes.get(plan) else {
            return;
        };
        match stage {
            Stage::Record => {
                black_box(*lane);
            }
            Stage::Owner => {
                black_box(self.lanes.glance(*lane));
                if let News::Octets { octets, .. } = news {
                    look_at_octets(octets);
                }
            }
            Stage::Belongings => {
                black_box(self.lanes.glance(other_way(*lane)));
                if let Some(id) = self.lanes.glance(*lane) {
                    self.look_at_host(id);
                }
            }
        }
    }

    fn slot_of(&self, id: HostId) -> Option<&Slot> {
        self.hosts.get(id.index()).map(|slot| &**slot)
    }
}

fn look_at_octets(octets: &[u8]) {
    black_box((octets.first(), octets.last()));
}
