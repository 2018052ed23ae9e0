//! Client services: how they are opened, and the items that wait in them to be taken.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::api::{Error, Event, Service};
use super::context::Node;
use super::end_cause::EndCause;
use super::engine::Engine;
use super::import::Imports;
use super::peer::Origin;
use super::wire::SessionId;
use crate::{Addr, Instant};

/// Entries that a queue keeps memory for while it is empty.
pub(super) const KEPT_ENTRIES: usize = 64;

/// How long blocks for client services are not answered before the first one is opened, from the first segment on.
const OPENING: Duration = Duration::from_secs(10);
/// Bytes that a session in a queue takes at most, in half-empty nodes of a tree.
const QUEUED: usize = 2 * size_of::<(u64, SessionId)>();

/// How the items of a client service reach the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum Delivery {
    /// Unasked, at the next poll.
    #[default]
    Push,
    /// One for each [`Command::Take`](super::Command::Take).
    OnDemand,
}

/// The client services of an engine.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) open: BTreeMap<u64, ClientService>,
    /// Sessions of services that deliver unasked which have an item.
    queued: Queue,
    /// The ticket of the session that was queued last.
    tickets: u64,
    /// Services with an item and a take for it.
    answerable: VecDeque<u64>,
    /// Whether one was ever opened, and when the first segment came before that.
    was_any_open: bool,
    first_early: Option<Instant>,
}

/// Sessions with an item, by their tickets, in the order in which they were queued.
type Queue = BTreeMap<u64, SessionId>;

/// The octets that items to be taken count for, and those that are from accepted peers among them.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    octets: usize,
    of_strangers: usize,
}

/// A client service that is open.
#[derive(Debug, Default)]
pub(super) struct ClientService {
    pub(super) service: Service,
    pub(super) delivery: Delivery,
    /// Items to be taken, each with what it counts for.
    queue: VecDeque<(Event, Share)>,
    /// What the queue counts for.
    held: Share,
    /// Octets of scattered red parts that were not taken. Their sessions count them.
    untaken: usize,
    /// Sessions with an item: octets for the next piece, or a run.
    queued: Queue,
    /// Takes that no item has answered.
    takes: u64,
    /// Whether the service is among those with an item and a take for it.
    is_answerable: bool,
}

impl ClientService {
    /// Returns the items that wait to be taken, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Event> {
        self.queue.iter().map(|(event, _)| event)
    }

    fn has_item(&self) -> bool {
        !(self.queue.is_empty() && self.queued.is_empty())
    }

    fn has_answer(&self) -> bool {
        self.takes > 0 && self.has_item()
    }
}

/// Gives back the memory of a queue that was much longer than it is.
fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > KEPT_ENTRIES && queue.len() < queue.capacity() / 4 {
        queue.shrink_to((2 * queue.len()).max(KEPT_ENTRIES / 2));
    }
}

impl<A: Addr> Engine<A> {
    /// Opens a client service whose blocks are delivered unasked.
    ///
    /// Blocks for a service that is not open are cancelled with `UNREACH`, but not before the first service of an engine is
    /// opened: for up to 10 s from the first segment on they are not answered, so that a node can be started while its
    /// peers send.
    ///
    /// # Errors
    ///
    /// The service is open or reserved, or the limit of services is reached.
    pub fn open(&mut self, now: Instant, client: u64, service: Service) -> Result<(), Error> {
        self.advance(now);
        self.core.node.open(client, service, Delivery::Push)
    }

    /// Opens a client service whose blocks wait in the engine until [`take`](Self::take) asks for them.
    ///
    /// The report that claims all of a red part waits for the take, so that its sender takes no block for delivered that
    /// nobody has. Until then the sender repeats its checkpoint, and gives up when its limits are reached.
    ///
    /// What waits counts against [`EngineLimits::import_octets`](super::EngineLimits::import_octets). A service with
    /// more octets waiting than are free in all accepts no further data, which leaves room for the other services. What
    /// waits of accepted unknown peers counts against
    /// [`EngineLimits::stranger_octets`](super::EngineLimits::stranger_octets) too; beyond half of that, nothing
    /// further is accepted from them for such services.
    ///
    /// # Errors
    ///
    /// The service is open or reserved, or the limit of services is reached.
    pub fn open_on_demand(
        &mut self,
        now: Instant,
        client: u64,
        service: Service,
    ) -> Result<(), Error> {
        self.advance(now);
        self.core.node.open(client, service, Delivery::OnDemand)
    }

    /// Closes a client service. Sessions for it are cancelled with `USR_CNCLD`, except those whose red part was
    /// delivered: their senders still wait for the report, and would take a cancellation for a failure.
    ///
    /// Items that wait to be taken are dropped, and takes are forgotten. Events of the sessions that end, such
    /// as [`Event::Cancelled`], are delivered unasked.
    ///
    /// # Errors
    ///
    /// The service is not open.
    pub fn close(&mut self, now: Instant, client: u64) -> Result<(), Error> {
        self.advance(now);
        self.core.node.close(client)?;
        let (core, imports) = (&mut self.core, &mut self.imports);
        for place in imports.places(|import| import.is_awaited_by(client)) {
            imports.run(place, core, |import, cx| {
                import.cancel(EndCause::Application, cx)
            });
        }
        self.exports.unblock(core);
        Ok(())
    }

    /// Asks for the next item of a client service that was opened on demand.
    ///
    /// One take is answered by one event of the service: [`Event::Received`], [`Event::Green`],
    /// [`Event::Started`], [`Event::Piece`], [`Event::Segment`], [`Event::RedPart`] or [`Event::Cancelled`]. It comes at the next poll if an item
    /// waits, and else as soon as there is one. Takes add up: after three of them, three items come.
    ///
    /// Takes are not part of a [snapshot](Self::snapshot); whoever receives asks again after a restart.
    ///
    /// # Errors
    ///
    /// The service is not open, or delivers unasked.
    pub fn take(&mut self, now: Instant, client: u64) -> Result<(), Error> {
        self.advance(now);
        let opened = self.core.node.services.on_demand(client)?;
        opened.takes = opened.takes.saturating_add(1);
        self.core.node.services.list_answerable(client);
        Ok(())
    }

    /// Withdraws one take that no event has answered.
    ///
    /// This is for a receiver that gives up. Nothing is lost: as long as no event was polled, the item stays in
    /// the engine for the next take. [`Error::NotTaking`] says that every take was answered. The item that
    /// answered the one to be withdrawn is then in the hands of whoever polled it, and belongs to the next
    /// receiver, who needs no take for it.
    ///
    /// # Errors
    ///
    /// The service is not open, or delivers unasked, or no take is outstanding.
    pub fn untake(&mut self, now: Instant, client: u64) -> Result<(), Error> {
        self.advance(now);
        let opened = self.core.node.services.on_demand(client)?;
        let left = opened.takes.checked_sub(1);
        opened.takes = left.ok_or(Error::NotTaking(client))?;
        Ok(())
    }

    /// Tells whether a [`take`](Self::take) of a client service would be answered at once.
    #[must_use]
    pub fn has_waiting(&self, client: u64) -> bool {
        let opened = self.core.node.services.open.get(&client);
        opened.is_some_and(ClientService::has_item)
    }
}

impl Services {
    /// Returns the service of a client, if it is open.
    pub(super) fn get(&self, client: u64) -> Option<Service> {
        self.open.get(&client).map(|open| open.service)
    }

    /// Whether the items of a service wait to be taken.
    pub(super) fn is_on_demand(&self, client: u64) -> bool {
        let opened = self.open.get(&client);
        opened.is_some_and(|opened| opened.delivery == Delivery::OnDemand)
    }

    /// Whether blocks for services that are not open are not answered yet: a node that starts has peers before it has
    /// services, and its peers need not wait for it.
    pub(super) fn is_opening(&mut self, now: Instant) -> bool {
        !self.was_any_open && now < *self.first_early.get_or_insert(now) + OPENING
    }

    fn on_demand(&mut self, client: u64) -> Result<&mut ClientService, Error> {
        let opened = self.open.get_mut(&client);
        let opened = opened.ok_or(Error::NotOpen(client))?;
        match opened.delivery {
            Delivery::OnDemand => Ok(opened),
            Delivery::Push => Err(Error::NotOnDemand(client)),
        }
    }

    /// Notes that a service has an item and a take for it.
    fn list_answerable(&mut self, client: u64) {
        if let Some(opened) = self.open.get_mut(&client)
            && !opened.is_answerable
            && opened.has_answer()
        {
            opened.is_answerable = true;
            self.answerable.push_back(client);
        }
    }

    /// Counts octets of a scattered red part that wait.
    pub(super) fn recount(&mut self, client: u64, before: usize, after: usize) {
        if before != after
            && let Some(opened) = self.open.get_mut(&client)
        {
            // One that was closed and opened again counts from 0.
            opened.untaken = (opened.untaken + after).saturating_sub(before);
        }
    }

    fn queue(&mut self, client: u64) -> &mut Queue {
        match self.open.get_mut(&client) {
            Some(opened) if opened.delivery == Delivery::OnDemand => &mut opened.queued,
            _ => &mut self.queued,
        }
    }

    /// Queues a session that has an item, and returns its ticket.
    pub(super) fn queue_session(&mut self, client: u64, session: SessionId) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.queue(client).insert(ticket, session);
        self.list_answerable(client);
        ticket
    }

    /// Takes a session that ends off its queue.
    pub(super) fn unqueue_session(&mut self, client: u64, ticket: u64) {
        self.queue(client).remove(&ticket);
    }

    /// Whether there may be something to take or an item.
    pub(super) fn is_pending(&self) -> bool {
        !(self.answerable.is_empty() && self.queued.is_empty())
    }

    /// Returns the next item of the sessions of a service that was opened on demand, or of the others.
    pub(super) fn next_item(
        &mut self,
        on_demand: Option<u64>,
        imports: &mut Imports,
    ) -> Option<Event> {
        loop {
            let queue = match on_demand {
                Some(client) => self.queue(client),
                None => &mut self.queued,
            };
            let (_, session) = queue.pop_first()?;
            let import = imports.table.find_mut(&session);
            let reception = import.and_then(|import| import.stage.open_mut());
            let item = reception.and_then(|reception| reception.next_item(session, self));
            if item.is_some() {
                return item;
            }
        }
    }

    /// Returns the bytes of memory of the queues, payloads not counted.
    pub(super) fn memory_used(&self) -> usize {
        let each = |opened: &ClientService| {
            size_of::<(u64, ClientService)>()
                + 64
                + opened.queue.capacity() * size_of::<(Event, Share)>()
                + opened.queued.len() * QUEUED
        };
        self.open.values().map(each).sum::<usize>()
            + self.queued.len() * QUEUED
            + self.answerable.capacity() * size_of::<u64>()
    }
}

impl Node {
    pub(super) fn open(
        &mut self,
        client: u64,
        service: Service,
        delivery: Delivery,
    ) -> Result<(), Error> {
        let open = &mut self.services.open;
        if client == 0 || open.contains_key(&client) {
            return Err(Error::Service(client));
        }
        let limit = self.config.limits.services;
        if u32::try_from(open.len()).is_ok_and(|count| count >= limit) {
            return Err(Error::TooManyServices { limit });
        }
        let opened = ClientService {
            service,
            delivery,
            ..ClientService::default()
        };
        open.insert(client, opened);
        self.services.was_any_open = true;
        Ok(())
    }

    fn close(&mut self, client: u64) -> Result<(), Error> {
        let opened = self.services.open.remove(&client);
        let opened = opened.ok_or(Error::NotOpen(client))?;
        self.give_back(opened.held);
        if opened.is_answerable {
            self.services.answerable.retain(|other| *other != client);
        }
        Ok(())
    }

    /// Queues an event of a client service, which counts for `octets`.
    pub(super) fn push_service_event(
        &mut self,
        (client, origin): (u64, Origin),
        event: Event,
        octets: usize,
    ) {
        let Ok(opened) = self.services.on_demand(client) else {
            self.push_event(event, octets);
            return;
        };
        let of_strangers = match origin {
            Origin::Accepted => octets,
            Origin::Added => 0,
        };
        let share = Share {
            octets,
            of_strangers,
        };
        opened.queue.push_back((event, share));
        opened.held.octets += octets;
        opened.held.of_strangers += of_strangers;
        self.budget.waiting += octets;
        self.budget.events += octets;
        self.budget.strangers_waiting += of_strangers;
        self.services.list_answerable(client);
    }

    fn give_back(&mut self, share: Share) {
        self.budget.waiting -= share.octets;
        self.budget.events -= share.octets;
        self.budget.strangers_waiting -= share.of_strangers;
    }

    /// Returns the next event that answers a take; services take turns.
    pub(super) fn next_taken(&mut self, imports: &mut Imports) -> Option<Event> {
        while let Some(client) = self.services.answerable.pop_front() {
            let opened = self.services.open.get_mut(&client)?;
            opened.is_answerable = false;
            if opened.takes == 0 {
                continue;
            }
            let event = if let Some((event, share)) = opened.queue.pop_front() {
                opened.held.octets -= share.octets;
                opened.held.of_strangers -= share.of_strangers;
                trim(&mut opened.queue);
                self.give_back(share);
                Some(event)
            } else {
                self.services.next_item(Some(client), imports)
            };
            if let Some(opened) = self.services.open.get_mut(&client) {
                opened.takes -= u64::from(event.is_some());
            }
            self.services.list_answerable(client);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// Tells whether more waits for a client service than is free, or more of accepted peers than theirs to hold.
    pub(super) fn is_over_share(&self, (client, origin): (u64, Origin)) -> bool {
        let Some(opened) = self.services.open.get(&client) else {
            return false;
        };
        let waiting = opened.held.octets + opened.untaken;
        let is_strangers = origin == Origin::Accepted && opened.delivery == Delivery::OnDemand;
        waiting > 0 && waiting > self.budget.free()
            || is_strangers && self.budget.has_much_waiting_of_strangers()
    }
}
