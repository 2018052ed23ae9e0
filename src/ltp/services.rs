//! Client services: how they are opened, and the items that wait in them to be taken.

use alloc::collections::VecDeque;

use super::api::{Error, Event, Service};
use super::engine::Engine;
use super::wire::{Reason, SessionId};
use crate::{Addr, Instant};

/// Entries that a queue keeps memory for while it is empty.
pub(super) const KEPT_ENTRIES: usize = 64;

/// How the items of a client service reach the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum Delivery {
    /// Unasked, at the next poll.
    Push,
    /// One for each [`Command::Take`](super::Command::Take).
    OnDemand,
}

/// A client service that is open.
#[derive(Debug)]
pub(super) struct ClientService {
    pub(super) service: Service,
    pub(super) delivery: Delivery,
    /// Items to be taken, each with the octets it counts for.
    queue: VecDeque<(Event, usize)>,
    /// Octets that the queue counts for.
    octets: usize,
    /// Sessions with octets for the next piece.
    streams: VecDeque<SessionId>,
    /// Entries of `streams` whose session has ended.
    ended_streams: usize,
    /// Takes that no item has answered.
    takes: u64,
    /// Whether the service is among those with an item and a take for it.
    is_answerable: bool,
}

impl ClientService {
    const fn new(service: Service, delivery: Delivery) -> Self {
        Self {
            service,
            delivery,
            queue: VecDeque::new(),
            octets: 0,
            streams: VecDeque::new(),
            ended_streams: 0,
            takes: 0,
            is_answerable: false,
        }
    }

    /// Returns the items that wait to be taken, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Event> {
        self.queue.iter().map(|(event, _)| event)
    }

    /// Returns the bytes of memory of the queues, payloads not counted.
    pub(super) fn memory_used(&self) -> usize {
        self.queue.capacity() * size_of::<(Event, usize)>()
            + self.streams.capacity() * size_of::<SessionId>()
    }

    fn has_answer(&self) -> bool {
        self.takes > 0 && !(self.queue.is_empty() && self.streams.is_empty())
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
    /// # Errors
    ///
    /// The service is open or reserved, or the limit of services is reached.
    pub fn open(&mut self, now: Instant, client: u64, service: Service) -> Result<(), Error> {
        self.open_service(now, client, service, Delivery::Push)
    }

    /// Opens a client service whose blocks wait in the engine until [`take`](Self::take) asks for them.
    ///
    /// What waits counts against [`Config::import_octets`](super::Config::import_octets). A service with more
    /// octets waiting than are free in all accepts no further data, which leaves room for the other services.
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
        self.open_service(now, client, service, Delivery::OnDemand)
    }

    pub(super) fn open_service(
        &mut self,
        now: Instant,
        client: u64,
        service: Service,
        delivery: Delivery,
    ) -> Result<(), Error> {
        self.advance(now);
        if client == 0 || self.services.contains_key(&client) {
            return Err(Error::Service(client));
        }
        let limit = self.config.max_services;
        if u32::try_from(self.services.len()).is_ok_and(|count| count >= limit) {
            return Err(Error::TooManyServices { limit });
        }
        let opened = ClientService::new(service, delivery);
        self.services.insert(client, opened);
        Ok(())
    }

    /// Closes a client service. Sessions for it are cancelled with UNREACH, except those whose red part was
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
        let opened = self.services.remove(&client);
        let opened = opened.ok_or(Error::NotOpen(client))?;
        self.event_octets -= opened.octets;
        self.waiting_octets -= opened.octets;
        if opened.is_answerable {
            self.answerable.retain(|other| *other != client);
        }
        for session in self.imports_where(|import| import.is_awaited_by(client)) {
            self.cancel_import(session, Reason::UNREACHABLE);
        }
        self.unblock_peers();
        Ok(())
    }

    /// Asks for the next item of a client service that was opened on demand.
    ///
    /// One take is answered by one event of the service: [`Event::Received`], [`Event::Green`],
    /// [`Event::Started`], [`Event::Piece`] or [`Event::Cancelled`]. It comes at the next poll if an item
    /// waits, and else as soon as there is one. Takes add up: after three of them, three items come.
    ///
    /// Takes are not part of a [snapshot](Self::snapshot); whoever receives asks again after a restart.
    ///
    /// # Errors
    ///
    /// The service is not open, or delivers unasked.
    pub fn take(&mut self, now: Instant, client: u64) -> Result<(), Error> {
        self.advance(now);
        let opened = self.on_demand(client)?;
        opened.takes = opened.takes.saturating_add(1);
        self.list_answerable(client);
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
        let opened = self.on_demand(client)?;
        let left = opened.takes.checked_sub(1);
        opened.takes = left.ok_or(Error::NotTaking(client))?;
        Ok(())
    }

    /// Returns the octets that wait to be taken in services opened on demand, with what it takes to hold them.
    #[must_use]
    pub const fn waiting_octets(&self) -> usize {
        self.waiting_octets
    }

    /// Tells whether a [`take`](Self::take) of a client service would be answered at once.
    #[must_use]
    pub fn has_waiting(&self, client: u64) -> bool {
        let opened = self.services.get(&client);
        opened.is_some_and(|opened| {
            let mut streams = opened.streams.iter();
            !opened.queue.is_empty() || streams.any(|session| self.imports.contains_key(session))
        })
    }

    fn on_demand(&mut self, client: u64) -> Result<&mut ClientService, Error> {
        let opened = self.services.get_mut(&client);
        let opened = opened.ok_or(Error::NotOpen(client))?;
        match opened.delivery {
            Delivery::OnDemand => Ok(opened),
            Delivery::Push => Err(Error::NotOnDemand(client)),
        }
    }

    /// Notes that a service has an item and a take for it.
    fn list_answerable(&mut self, client: u64) {
        if let Some(opened) = self.services.get_mut(&client)
            && !opened.is_answerable
            && opened.has_answer()
        {
            opened.is_answerable = true;
            self.answerable.push_back(client);
        }
    }

    /// Queues an event of a client service, which counts for `octets`.
    pub(super) fn push_service_event(&mut self, client: u64, event: Event, octets: usize) {
        let opened = self.services.get_mut(&client);
        let Some(opened) = opened.filter(|opened| opened.delivery == Delivery::OnDemand) else {
            self.push_event(event, octets);
            return;
        };
        opened.queue.push_back((event, octets));
        opened.octets += octets;
        self.waiting_octets += octets;
        self.event_octets += octets;
        self.list_answerable(client);
        self.shrink_pool();
    }

    /// Notes that a session has octets for a piece.
    pub(super) fn queue_stream(&mut self, client: u64, session: SessionId) {
        match self.services.get_mut(&client) {
            Some(opened) if opened.delivery == Delivery::OnDemand => {
                opened.streams.push_back(session);
                self.list_answerable(client);
            }
            _ => self.streams.push_back(session),
        }
    }

    /// Notes that a session which has octets for a piece ends.
    pub(super) fn end_stream(&mut self, client: u64) {
        let Some(opened) = self.services.get_mut(&client) else {
            return;
        };
        opened.ended_streams += 1;
        if opened.ended_streams > opened.streams.len() / 2 {
            let imports = &self.imports;
            opened
                .streams
                .retain(|session| imports.contains_key(session));
            opened.ended_streams = 0;
            trim(&mut opened.streams);
        }
    }

    /// Returns the next event that answers a take; services take turns.
    pub(super) fn next_taken(&mut self) -> Option<Event> {
        while let Some(client) = self.answerable.pop_front() {
            let opened = self.services.get_mut(&client)?;
            opened.is_answerable = false;
            if opened.takes == 0 {
                continue;
            }
            let event = match opened.queue.pop_front() {
                Some((event, octets)) => {
                    opened.octets -= octets;
                    self.waiting_octets -= octets;
                    self.event_octets -= octets;
                    trim(&mut opened.queue);
                    Some(event)
                }
                None => self.next_piece_of(client),
            };
            if event.is_some()
                && let Some(opened) = self.services.get_mut(&client)
            {
                opened.takes -= 1;
            }
            self.list_answerable(client);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn next_piece_of(&mut self, client: u64) -> Option<Event> {
        let opened = self.services.get_mut(&client)?;
        while let Some(session) = opened.streams.pop_front() {
            let import = self.imports.get_mut(&session);
            let Some(reception) = import.and_then(|import| import.stage.reception()) else {
                opened.ended_streams = opened.ended_streams.saturating_sub(1);
                continue;
            };
            let piece = reception.next_piece(session);
            if piece.is_some() {
                trim(&mut opened.streams);
                return piece;
            }
        }
        trim(&mut opened.streams);
        None
    }

    /// Tells whether more waits for a client service than is free.
    pub(super) fn is_over_share(&self, client: u64) -> bool {
        let opened = self.services.get(&client);
        self.waiting_octets > 0 && opened.is_some_and(|opened| opened.octets > self.free_octets())
    }

    /// Returns the octets that may yet be allocated for receiving, from all peers.
    pub(super) const fn free_octets(&self) -> usize {
        let held = self.import_octets + self.event_octets;
        self.config.import_octets.saturating_sub(held)
    }
}
