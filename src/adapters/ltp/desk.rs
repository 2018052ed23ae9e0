//! The books of a node: what access points have received, what became of blocks, and who waits for it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;
use core::time::Duration;

use bytes::Bytes;

use super::waiters::{Ticket, Waiters};
use super::{Error, Kind, Received};
use crate::Tag;
use crate::ltp::{Event, Reason, SessionId, Side};

/// What an item in a queue weighs beside its octets.
const ENTRY: usize = size_of::<(Received, usize)>() + 32;

/// The books of a node.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) points: BTreeMap<u64, Point>,
    pub(super) courses: BTreeMap<Tag, Course>,
    /// By peer: who waits for room.
    pub(super) rooms: BTreeMap<u64, Waiters>,
    /// By peer: who waits for it to answer.
    pub(super) pings: BTreeMap<u64, Waiters>,
    /// What they are told: how long the answer took, if there was one.
    pub(super) answers: BTreeMap<Ticket, Option<Duration>>,
    /// Who waits for the end of the node.
    pub(super) leavers: Waiters,
    /// The last ticket that was drawn.
    pub(super) tickets: Ticket,
    /// The last name that was given to a block or an access point.
    names: u64,
    /// What waits in all access points.
    pub(super) waiting: usize,
    /// Whom to wake once the lock is free.
    pub(super) calls: Vec<Waker>,
}

/// An open access point.
#[derive(Debug)]
pub(super) struct Point {
    /// Tells it from one that had the same client service before.
    pub(super) name: u64,
    /// What was received, each with its weight.
    queue: VecDeque<(Received, usize)>,
    /// What all of it weighs.
    pub(super) weight: usize,
    /// Items that the engine was asked for and has not given.
    pub(super) asked: usize,
    pub(super) waiters: Waiters,
    /// An interruption that found nobody waiting.
    pub(super) is_interrupted: bool,
}

/// A block on its way to a peer, or what became of it.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) peer: u64,
    /// None while the block is under way.
    pub(super) outcome: Option<Outcome>,
    pub(super) waker: Option<Waker>,
    /// Whether anybody can still ask.
    pub(super) is_watched: bool,
}

/// What became of a block.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Complete(SessionId),
    Failed {
        session: SessionId,
        by: Side,
        reason: Reason,
        data: Bytes,
    },
    /// The node came to its end before it was known.
    Unknown,
}

impl Course {
    /// Follows a block to `peer`.
    pub(super) const fn new(peer: u64) -> Self {
        Self {
            peer,
            outcome: None,
            waker: None,
            is_watched: true,
        }
    }

    pub(super) fn result(&self) -> Option<Result<SessionId, Error>> {
        Some(match self.outcome.clone()? {
            Outcome::Complete(session) => Ok(session),
            Outcome::Failed {
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
            Outcome::Unknown => Err(Error::Closed),
        })
    }
}

impl Point {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns what waits to be taken, in order.
    pub(super) fn queue(&self) -> impl Iterator<Item = &Received> {
        self.queue.iter().map(|(received, _)| received)
    }
}

impl Desk {
    /// Empty books, whose names are behind `names`.
    pub(super) fn after(names: u64) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// Returns the last name that was given.
    pub(super) const fn names(&self) -> u64 {
        self.names
    }

    pub(super) const fn draw_name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    pub(super) fn open(&mut self, client: u64) -> u64 {
        let name = self.draw_name();
        let point = Point {
            name,
            queue: VecDeque::new(),
            weight: 0,
            asked: 0,
            waiters: Waiters::default(),
            is_interrupted: false,
        };
        self.points.insert(client, point);
        name
    }

    pub(super) fn point(&mut self, client: u64, name: u64) -> Option<&mut Point> {
        self.points
            .get_mut(&client)
            .filter(|point| point.name == name)
    }

    /// Drops an access point with all that waits in it, and tells whether it was there.
    pub(super) fn close(&mut self, client: u64, name: u64) -> bool {
        if self.point(client, name).is_none() {
            return false;
        }
        let Some(point) = self.points.remove(&client) else {
            return false;
        };
        self.waiting -= point.weight;
        point.waiters.call_all(&mut self.calls);
        self.call_rooms();
        true
    }

    /// Takes what was received first, and calls the next in the line if there is more.
    pub(super) fn take(
        &mut self,
        client: u64,
        name: u64,
        ticket: &mut Option<Ticket>,
    ) -> Option<Received> {
        let point = self
            .points
            .get_mut(&client)
            .filter(|point| point.name == name)?;
        let (received, weight) = point.queue.pop_front()?;
        point.waiters.leave(ticket);
        if !point.queue.is_empty() {
            point.waiters.call_first(&mut self.calls);
        }
        point.weight -= weight;
        self.waiting -= weight;
        Some(received)
    }

    /// Gives up a receive; what it may have been called for is for the next in the line.
    pub(super) fn stop_waiting(&mut self, client: u64, name: u64, ticket: &mut Option<Ticket>) {
        let point = self.points.get_mut(&client);
        let Some(point) = point.filter(|point| point.name == name) else {
            return;
        };
        point.waiters.leave(ticket);
        if !point.queue.is_empty() {
            point.waiters.call_first(&mut self.calls);
        }
    }

    /// Leaves the line for room at a peer, and calls the next.
    pub(super) fn leave_room(&mut self, peer: u64, ticket: &mut Option<Ticket>) {
        if ticket.is_none() {
            return;
        }
        let Some(line) = self.rooms.get_mut(&peer) else {
            return;
        };
        line.leave(ticket);
        line.call_first(&mut self.calls);
        if line.is_empty() {
            self.rooms.remove(&peer);
        }
    }

    /// Lets all that wait for room look again: for something has changed that is no room.
    pub(super) fn call_rooms(&mut self) {
        for line in self.rooms.values() {
            line.call_all(&mut self.calls);
        }
    }

    /// Files what the engine tells.
    pub(super) fn file(&mut self, event: Event) {
        match event {
            Event::Complete { tag, session } => self.settle(tag, Outcome::Complete(session)),
            Event::Failed {
                tag,
                session,
                by,
                reason,
                data,
            } => {
                let failed = Outcome::Failed {
                    session,
                    by,
                    reason,
                    data,
                };
                self.settle(tag, failed);
            }
            Event::Room { peer } => {
                if let Some(line) = self.rooms.get(&peer) {
                    line.call_first(&mut self.calls);
                }
            }
            Event::Started { session, client } => {
                self.lay((session, client), Kind::Arriving, Bytes::new());
            }
            Event::Piece {
                session,
                client,
                offset,
                data,
            } => self.lay((session, client), Kind::Piece { offset }, data),
            Event::Received {
                session,
                client,
                data,
                ends_block,
            } => self.lay((session, client), Kind::Whole { ends_block }, data),
            Event::Green {
                session,
                client,
                offset,
                data,
                ends_block,
            } => self.lay((session, client), Kind::Green { offset, ends_block }, data),
            Event::Cancelled {
                session,
                client,
                by,
                reason,
                after_delivery,
            } => {
                let cancelled = Kind::Cancelled {
                    by,
                    reason,
                    after_delivery,
                };
                self.lay((session, client), cancelled, Bytes::new());
            }
            Event::Answered { peer, after } => self.answer(peer, Some(after)),
            Event::Silent { peer } => self.answer(peer, None),
            // Whoever wants to know looks at the progress; and nobody asks for strangers.
            Event::Sent { .. } | Event::UnknownPeer { .. } => {}
        }
    }

    fn lay(&mut self, (session, client): (SessionId, u64), kind: Kind, data: Bytes) {
        // Closed since.
        let Some(point) = self.points.get_mut(&client) else {
            return;
        };
        let (data, allocated) = weighed(data);
        let weight = allocated + ENTRY;
        let received = Received {
            from: session.originator,
            session,
            client,
            kind,
            data,
        };
        point.asked = point.asked.saturating_sub(1);
        point.queue.push_back((received, weight));
        point.waiters.call_first(&mut self.calls);
        point.weight += weight;
        self.waiting += weight;
    }

    /// Tells all that have asked for a peer.
    fn answer(&mut self, peer: u64, after: Option<Duration>) {
        if let Some(line) = self.pings.remove(&peer) {
            line.call_all(&mut self.calls);
            self.answers
                .extend(line.tickets().map(|ticket| (ticket, after)));
        }
    }

    /// Asks no more for a peer.
    pub(super) fn stop_asking(&mut self, peer: u64, ticket: &mut Option<Ticket>) {
        if let Some(line) = self.pings.get_mut(&peer) {
            line.leave(&mut ticket.clone());
        }
        if let Some(ticket) = ticket.take() {
            self.answers.remove(&ticket);
        }
    }

    fn settle(&mut self, tag: Tag, outcome: Outcome) {
        let Some(course) = self.courses.get_mut(&tag) else {
            return;
        };
        if !course.is_watched {
            self.courses.remove(&tag);
            return;
        }
        course.outcome = Some(outcome);
        self.calls.extend(course.waker.take());
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.courses.retain(|_, course| course.is_watched);
        for course in self.courses.values_mut() {
            course.outcome.get_or_insert(Outcome::Unknown);
            self.calls.extend(course.waker.take());
        }
        for point in self.points.values() {
            point.waiters.call_all(&mut self.calls);
        }
        self.call_rooms();
        for line in self.pings.values() {
            line.call_all(&mut self.calls);
        }
    }

    /// Takes whom to wake.
    pub(super) fn take_calls(&mut self) -> Vec<Waker> {
        mem::take(&mut self.calls)
    }
}

/// Finds out how much memory octets hold: the engine's buffer may be twice as long as the block in it.
fn weighed(data: Bytes) -> (Bytes, usize) {
    match data.try_into_mut() {
        Ok(data) => {
            let allocated = data.capacity();
            (data.freeze(), allocated)
        }
        Err(data) => {
            let len = data.len();
            (data, len)
        }
    }
}
