//! The machine of a node and its books, behind one lock.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Poll, Waker};
use core::time::Duration;

use alloc::vec::Vec;

use bytes::Bytes;

use super::desk::{Course, Desk};
use super::waiters::Ticket;
use super::{Error, NodeSnapshot, NodeStats, Received, Speaker};
use crate::ltp::{self, Block, Command, Event, LineEstimate, Progress, Service, SessionId};
use crate::{Instant, Limits, Link, Machine as _, Output, Path, Tag, Transmit};

/// Items of an access point that are taken from the engine ahead of whoever receives them.
const TAKEN_AHEAD: usize = 2;

/// How long a node that ends waits for the rates of its peers before it has told them so.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// The machine of a node and its books.
pub(super) struct Station {
    /// None once the node has come to its end.
    speaker: Option<Speaker>,
    /// Whether the driver has ended too.
    is_closed: bool,
    local: SocketAddr,
    phase: Phase,
    desk: Desk,
    /// What was counted when the speaker was let go.
    last: NodeStats,
}

/// How far a node is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing begins any more, and what is under way has until then.
    Closing(Instant),
    /// Cancellations leave, as far as the rates of the peers let them until then.
    Last(Instant),
}

impl Station {
    pub(super) fn new(speaker: Speaker, local: SocketAddr) -> Self {
        Self {
            speaker: Some(speaker),
            is_closed: false,
            local,
            phase: Phase::Open,
            desk: Desk::default(),
            last: NodeStats::default(),
        }
    }

    /// Takes over the books of an earlier life.
    pub(super) fn take_over(&mut self, now: Instant, desk: Desk) {
        self.desk = desk;
        let clients: Vec<u64> = self.desk.points.keys().copied().collect();
        for client in clients {
            self.take_ahead(now, client);
        }
    }

    // What the driver does.

    pub(super) fn receive_batch(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        train: &[u8],
        size: NonZeroUsize,
    ) {
        let from = Path::udp(self.local, remote);
        if let Some(speaker) = &mut self.speaker {
            speaker.receive_batch(now, from, train, size);
        }
    }

    pub(super) fn link(&mut self, now: Instant, at: Path, state: Link) {
        if let Some(speaker) = &mut self.speaker {
            speaker.link(now, at, state);
        }
    }

    /// Gives the next output; events are filed on the way.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Path>,
    ) -> Output<Path, Infallible> {
        if self.is_late(now) {
            tx.clear();
            return Output::Done;
        }
        loop {
            let Some(speaker) = &mut self.speaker else {
                tx.clear();
                return Output::Done;
            };
            match speaker.poll(now, tx) {
                Output::Transmit => return Output::Transmit,
                Output::Ask(ask) => return Output::Ask(ask),
                Output::Event(event) => {
                    let client = client_of(&event);
                    self.file(event);
                    if let Some(client) = client {
                        self.take_ahead(now, client);
                    }
                }
                Output::Yield => return Output::Yield,
                Output::Idle(deadline) => match self.rest(now, deadline) {
                    Rest::Until(deadline) => return Output::Idle(deadline),
                    Rest::More => {}
                    Rest::Over => return Output::Done,
                },
                Output::Done => return Output::Done,
            }
        }
    }

    pub(super) fn file(&mut self, event: Event) {
        self.desk.file(event);
    }

    /// Cancels what is left when the time of a node is over, however much it has to send, and tells whether
    /// the time for that is over too.
    fn is_late(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Closing(until) if now >= until => {
                self.begin_last(now);
                false
            }
            // Who comes late may still say it, but not for ever: a peer that floods draws more and more.
            Phase::Last(until) => now >= until + LAST_WORDS,
            Phase::Open | Phase::Closing(_) => false,
        }
    }

    fn begin_last(&mut self, now: Instant) {
        self.phase = Phase::Last(now + LAST_WORDS);
        self.cancel_all(now);
    }

    /// Looks, when the engine has nothing to say, whether the node is at its end.
    fn rest(&mut self, now: Instant, deadline: Option<Instant>) -> Rest {
        match self.phase {
            Phase::Open => Rest::Until(deadline),
            Phase::Closing(until) if now < until && !self.is_quiet() => {
                Rest::Until(Some(deadline.map_or(until, |deadline| deadline.min(until))))
            }
            Phase::Closing(_) => {
                self.begin_last(now);
                Rest::More
            }
            Phase::Last(until) if now < until && self.has_backlog() => {
                Rest::Until(Some(deadline.map_or(until, |deadline| deadline.min(until))))
            }
            Phase::Last(_) => Rest::Over,
        }
    }

    fn is_quiet(&self) -> bool {
        self.speaker
            .as_ref()
            .is_none_or(|speaker| speaker.engine().sessions() == (0, 0))
    }

    fn has_backlog(&self) -> bool {
        let speaker = self.speaker.as_ref();
        speaker.is_some_and(|speaker| speaker.engine().has_backlog())
    }

    fn cancel_all(&mut self, now: Instant) {
        let Some(speaker) = &mut self.speaker else {
            return;
        };
        // What the engine refuses is over already, and its event on the way.
        for (tag, course) in &self.desk.courses {
            if course.outcome.is_none() {
                let _ = speaker.command(now, Command::Cancel(*tag));
            }
        }
        for client in self.desk.points.keys() {
            let _ = speaker.command(now, Command::Close(*client));
        }
    }

    /// The driver has ended, or the machine has panicked: nothing more will come. What was received stays.
    pub(super) fn end(&mut self) {
        self.fall_silent();
        self.is_closed = true;
        let Desk { leavers, calls, .. } = &mut self.desk;
        leavers.call_all(calls);
    }

    fn fall_silent(&mut self) {
        if let Some(mut speaker) = self.speaker.take() {
            self.last.engine = speaker.engine().stats();
            (self.last.exports, self.last.imports) = speaker.engine().sessions();
            for client in self.desk.points.keys().copied().collect::<Vec<_>>() {
                self.take_all(&mut speaker, client);
            }
            self.desk.end();
        }
    }

    pub(super) fn take_calls(&mut self) -> Vec<Waker> {
        self.desk.take_calls()
    }

    // What handles do.

    pub(super) fn command(&mut self, now: Instant, command: Command<Path>) -> Result<(), Error> {
        let speaker = self.speaker.as_mut().ok_or(Error::Closed)?;
        Ok(speaker.command(now, command)?)
    }

    pub(super) fn remove_peer(&mut self, now: Instant, peer: u64) -> Result<(), Error> {
        self.command(now, Command::RemovePeer(peer))?;
        // No room will be told of.
        self.desk.call_rooms();
        Ok(())
    }

    /// Opens an access point, and returns its name.
    pub(super) fn open(
        &mut self,
        now: Instant,
        client: u64,
        service: Service,
    ) -> Result<u64, Error> {
        if self.phase != Phase::Open {
            return Err(Error::Closed);
        }
        self.command(now, Command::OpenOnDemand(client, service))?;
        let name = self.desk.open(client);
        self.take_ahead(now, client);
        Ok(name)
    }

    pub(super) fn is_open(&mut self, (client, name): (u64, u64)) -> bool {
        self.phase == Phase::Open
            && self.speaker.is_some()
            && self.desk.point(client, name).is_some()
    }

    pub(super) fn close_point(&mut self, now: Instant, (client, name): (u64, u64)) {
        if self.desk.close(client, name) {
            // Refused at the end only.
            let _ = self.command(now, Command::Close(client));
        }
    }

    pub(super) fn interrupt(&mut self, (client, name): (u64, u64)) {
        let points = &mut self.desk.points;
        let Some(point) = points.get_mut(&client).filter(|point| point.name == name) else {
            return;
        };
        if point.waiters.is_empty() {
            point.is_interrupted = true;
        } else {
            point.waiters.interrupt(&mut self.desk.calls);
        }
    }

    pub(super) fn poll_receive(
        &mut self,
        now: Instant,
        (client, name): (u64, u64),
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<Received, Error>> {
        let is_over = self.speaker.is_none();
        let Some(point) = self.desk.point(client, name) else {
            return Poll::Ready(Err(Error::Closed));
        };
        if point.waiters.is_interrupted(*ticket) {
            self.desk.stop_waiting(client, name, ticket);
            return Poll::Ready(Err(Error::Interrupted));
        }
        if let Some(received) = self.desk.take(client, name, ticket) {
            self.take_ahead(now, client);
            return Poll::Ready(Ok(received));
        }
        if is_over {
            return Poll::Ready(Err(Error::Closed));
        }
        let tickets = &mut self.desk.tickets;
        let points = &mut self.desk.points;
        let Some(point) = points.get_mut(&client) else {
            return Poll::Ready(Err(Error::Closed));
        };
        if point.is_interrupted {
            point.is_interrupted = false;
            return Poll::Ready(Err(Error::Interrupted));
        }
        point.waiters.wait(ticket, tickets, waker);
        Poll::Pending
    }

    /// Takes what is there, and waits for nothing: an interruption is left to those who do.
    pub(super) fn try_receive(
        &mut self,
        now: Instant,
        (client, name): (u64, u64),
    ) -> Result<Option<Received>, Error> {
        if self.desk.point(client, name).is_none() {
            return Err(Error::Closed);
        }
        if let Some(received) = self.desk.take(client, name, &mut None) {
            self.take_ahead(now, client);
            return Ok(Some(received));
        }
        match self.speaker {
            Some(_) => Ok(None),
            None => Err(Error::Closed),
        }
    }

    pub(super) fn stop_receiving(
        &mut self,
        (client, name): (u64, u64),
        ticket: &mut Option<Ticket>,
    ) {
        self.desk.stop_waiting(client, name, ticket);
    }

    /// Sends a block once there is room, behind those that wait for the same peer already.
    pub(super) fn poll_start(
        &mut self,
        now: Instant,
        point: (u64, u64),
        block: &mut Block,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<Tag, Error>> {
        let peer = block.to;
        if !self.is_open(point) {
            self.desk.leave_room(peer, ticket);
            return Poll::Ready(Err(Error::Closed));
        }
        let line = self.desk.rooms.get(&peer);
        let is_turn = line.is_none_or(|line| line.is_first(*ticket));
        if is_turn {
            block.tag = Tag(self.desk.draw_name());
            match self.command(now, Command::Send(block.clone())) {
                // A limit of 0 leaves room for nobody, ever.
                Err(Error::Refused(ltp::Error::Full { limit: 1.., .. })) => {}
                outcome => {
                    self.desk.leave_room(peer, ticket);
                    return Poll::Ready(outcome.map(|()| self.follow(block)));
                }
            }
        }
        let Desk { rooms, tickets, .. } = &mut self.desk;
        rooms.entry(peer).or_default().wait(ticket, tickets, waker);
        Poll::Pending
    }

    fn follow(&mut self, block: &Block) -> Tag {
        self.desk.courses.insert(block.tag, Course::new(block.to));
        block.tag
    }

    pub(super) fn stop_starting(&mut self, peer: u64, ticket: &mut Option<Ticket>) {
        self.desk.leave_room(peer, ticket);
    }

    pub(super) fn poll_outcome(
        &mut self,
        tag: Tag,
        waker: &Waker,
    ) -> Poll<Result<SessionId, Error>> {
        let Some(course) = self.desk.courses.get_mut(&tag) else {
            return Poll::Ready(Err(Error::Closed));
        };
        if let Some(result) = course.result() {
            return Poll::Ready(result);
        }
        match &mut course.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Nobody will ask what became of a block.
    pub(super) fn unwatch(&mut self, tag: Tag) {
        let Some(course) = self.desk.courses.get_mut(&tag) else {
            return;
        };
        course.is_watched = false;
        if course.outcome.is_some() {
            self.desk.courses.remove(&tag);
        }
    }

    pub(super) fn progress(&self, tag: Tag) -> Option<Progress> {
        self.speaker.as_ref()?.engine().progress(tag)
    }

    /// What only the socket knows is not in it.
    pub(super) fn stats(&self) -> NodeStats {
        let Some(speaker) = &self.speaker else {
            return NodeStats {
                waiting_octets: self.desk.waiting,
                ..self.last
            };
        };
        let engine = speaker.engine();
        let (exports, imports) = engine.sessions();
        NodeStats {
            engine: engine.stats(),
            exports,
            imports,
            waiting_octets: self.desk.waiting + engine.waiting_octets(),
            ..NodeStats::default()
        }
    }

    /// Returns all that the node knows.
    pub(super) fn save(&self, now: Instant) -> Result<NodeSnapshot, Error> {
        let speaker = self.speaker.as_ref().ok_or(Error::Closed)?;
        let engine = speaker.engine().snapshot(now);
        Ok(NodeSnapshot::new(engine, &self.desk, false))
    }

    /// Ends the node as it is, without a word to anybody, and returns all that it knew.
    pub(super) fn suspend(&mut self, now: Instant) -> Result<NodeSnapshot, Error> {
        let speaker = self.speaker.as_ref().ok_or(Error::Closed)?;
        let engine = speaker.engine().snapshot(now);
        let saved = NodeSnapshot::new(engine, &self.desk, true);
        self.fall_silent();
        Ok(saved)
    }

    /// Returns the client services and names of all access points, and the tags of all blocks.
    pub(super) fn kept(&self) -> (Vec<(u64, u64)>, Vec<Tag>) {
        let points = self.desk.points.iter();
        let points = points.map(|(client, point)| (*client, point.name));
        (
            points.collect(),
            self.desk.courses.keys().copied().collect(),
        )
    }

    /// Asks a peer whether it is there, together with others who do.
    pub(super) fn poll_ping(
        &mut self,
        now: Instant,
        peer: u64,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<Duration, Error>> {
        let answer = ticket.and_then(|ticket| self.desk.answers.remove(&ticket));
        if let Some(after) = answer {
            *ticket = None;
            return Poll::Ready(after.ok_or(Error::Silent { peer }));
        }
        if self.speaker.is_none() {
            return Poll::Ready(Err(Error::Closed));
        }
        if !self.desk.pings.contains_key(&peer) {
            self.command(now, Command::Ping(peer))?;
        }
        let Desk { pings, tickets, .. } = &mut self.desk;
        pings.entry(peer).or_default().wait(ticket, tickets, waker);
        Poll::Pending
    }

    pub(super) fn stop_asking(&mut self, peer: u64, ticket: &mut Option<Ticket>) {
        self.desk.stop_asking(peer, ticket);
    }

    pub(super) fn cookies(&self, session: SessionId) -> Vec<Bytes> {
        let speaker = self.speaker.iter();
        let cookies = speaker.flat_map(|speaker| speaker.engine().cookies(session));
        cookies.map(Bytes::copy_from_slice).collect()
    }

    pub(super) fn line(&self, peer: u64) -> Option<LineEstimate> {
        self.speaker.as_ref()?.engine().line(peer)
    }

    /// Begins nothing any more, and ends once all that is under way is over, or after `limit`.
    pub(super) fn close(&mut self, now: Instant, limit: Duration) {
        let until = now + limit;
        match &mut self.phase {
            Phase::Open => {
                self.phase = Phase::Closing(until);
                self.desk.call_rooms();
            }
            Phase::Closing(before) => *before = until.min(*before),
            Phase::Last(_) => {}
        }
    }

    pub(super) fn poll_end(&mut self, ticket: &mut Option<Ticket>, waker: &Waker) -> Poll<()> {
        let Desk {
            leavers, tickets, ..
        } = &mut self.desk;
        if self.is_closed {
            leavers.leave(ticket);
            return Poll::Ready(());
        }
        leavers.wait(ticket, tickets, waker);
        Poll::Pending
    }

    pub(super) fn stop_leaving(&mut self, ticket: &mut Option<Ticket>) {
        self.desk.leavers.leave(ticket);
    }

    /// Asks the engine for a few items of an access point, so that they are there when somebody receives.
    fn take_ahead(&mut self, now: Instant, client: u64) {
        let (Some(point), Some(speaker)) = (self.desk.points.get_mut(&client), &mut self.speaker)
        else {
            return;
        };
        while point.len() + point.asked < TAKEN_AHEAD
            && speaker.command(now, Command::Take(client)).is_ok()
        {
            point.asked += 1;
        }
    }

    /// Takes all that waits in the engine for an access point: the engine is at its end.
    fn take_all(&mut self, speaker: &mut Speaker, client: u64) {
        let mut tx = Transmit::new(Limits::default());
        while speaker.engine().waiting_octets() > 0
            && speaker
                .command(Instant::ZERO, Command::Take(client))
                .is_ok()
        {
            let before = speaker.engine().waiting_octets();
            while let Output::Event(event) = speaker.poll(Instant::ZERO, &mut tx) {
                self.file(event);
            }
            if speaker.engine().waiting_octets() == before {
                return;
            }
        }
    }
}

/// Returns the client service for which something was received.
const fn client_of(event: &Event) -> Option<u64> {
    match event {
        Event::Started { client, .. }
        | Event::Piece { client, .. }
        | Event::Received { client, .. }
        | Event::Green { client, .. }
        | Event::Cancelled { client, .. } => Some(*client),
        Event::Sent { .. }
        | Event::Complete { .. }
        | Event::Failed { .. }
        | Event::Room { .. }
        | Event::Answered { .. }
        | Event::Silent { .. }
        | Event::UnknownPeer { .. } => None,
    }
}

/// What is to be done when the engine rests.
enum Rest {
    Until(Option<Instant>),
    More,
    Over,
}
