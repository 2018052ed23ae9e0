//! The server of VMEM: messages of clients, and what becomes of them.

use super::{Node, VMEM_PORT};
use crate::Instant;
use crate::csp::{self, ConnectionId, Endpoint, Flags, Header};
use crate::dtp::api::Error;
use crate::dtp::message::Message;
use crate::dtp::server::{Job, Stage, Transfer};
use crate::dtp::vmem::{VMEM_STATUS_LEN, VmemMessage, VmemOperation, VmemStatus};

/// A connection that brings a message, or none.
#[derive(Debug)]
pub(super) struct MessageSlot {
    connection: Option<ConnectionId>,
    client: u16,
    /// When it is closed, unless a message has come.
    deadline: Option<Instant>,
    answer: Message<VMEM_STATUS_LEN>,
}

impl MessageSlot {
    pub(super) fn free() -> Self {
        Self {
            connection: None,
            client: 0,
            deadline: None,
            answer: Message::new(),
        }
    }

    /// Returns the bytes that a slot allocates.
    pub(super) const fn footprint() -> usize {
        size_of::<Self>() + Message::<VMEM_STATUS_LEN>::footprint()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connection?;
        self.deadline
    }
}

impl Node {
    pub(super) fn serve_memory(&mut self, payload: u8, address: u64) -> Result<(), Error> {
        if self.messages.is_empty() {
            return Err(Error::VmemOff);
        }
        let mut payloads = self.payloads.iter_mut();
        let place = payloads.find(|it| it.number == payload);
        place.ok_or(Error::NoPayload(payload))?.address = Some(address);
        Ok(())
    }

    /// A client has opened a connection for a message.
    pub(super) fn on_messenger(&mut self, connection: ConnectionId, client: u16) {
        self.set_own(connection, Some(connection));
        let deadline = self.now + self.config.request_timeout;
        let mut slots = self.messages.iter_mut();
        let free = slots.find(|slot| slot.connection.is_none());
        if let Some(slot) = free.filter(|_| !self.is_shut_down) {
            slot.connection = Some(connection);
            slot.client = client;
            slot.deadline = Some(deadline);
        } else {
            self.stats.no_slot += 1;
            self.close(connection);
        }
    }

    fn message_slot(&mut self, connection: ConnectionId) -> Option<&mut MessageSlot> {
        let mut slots = self.messages.iter_mut();
        slots.find(|slot| slot.connection == Some(connection))
    }

    /// Takes a message that came on a connection, which has no other.
    pub(super) fn on_packet_of_messenger(&mut self, connection: ConnectionId, data: &[u8]) {
        let slot = self.message_slot(connection);
        let Some(slot) = slot.filter(|slot| slot.deadline.is_some()) else {
            return;
        };
        slot.deadline = None;
        let client = slot.client;
        if let Some(status) = self.on_message(client, data)
            && let Some(slot) = self.message_slot(connection)
        {
            let answer = slot.answer.put(&status.encode());
            // It may have closed in the meantime.
            let _: Result<(), csp::Error> = self.csp.send(connection, answer);
        }
        self.close(connection);
    }

    pub(super) fn on_messenger_closed(&mut self, connection: ConnectionId) {
        if let Some(slot) = self.message_slot(connection) {
            slot.connection = None;
        }
    }

    pub(super) fn messengers_on_time(&mut self) {
        let now = self.now;
        for place in 0..self.messages.len() {
            let Some(slot) = self.messages.get_mut(place) else {
                continue;
            };
            if slot.deadline.is_some_and(|deadline| deadline <= now)
                && let Some(connection) = slot.connection
            {
                slot.deadline = None;
                self.stats.no_request += 1;
                self.close(connection);
            }
        }
    }

    /// Takes a message that came without connection.
    pub(super) fn on_datagram_of_client(&mut self, from: Endpoint, data: &[u8]) {
        let Some(status) = self.on_message(from.address, data) else {
            return;
        };
        let mut flags = Flags::CRC32;
        flags.set(Flags::HMAC, self.config.hmac);
        let header = Header {
            source: self.config.csp.address,
            source_port: VMEM_PORT,
            destination: from.address,
            destination_port: from.port,
            flags,
            ..Header::default()
        };
        self.csp.answer(header, &status.encode());
    }

    /// Does what a message says, and returns the answer to one that has one.
    fn on_message(&mut self, client: u16, data: &[u8]) -> Option<VmemStatus> {
        let Ok(message) = VmemMessage::decode(data) else {
            self.stats.requests_refused += 1;
            return None;
        };
        self.stats.vmem_received += 1;
        match message.operation {
            VmemOperation::Start {
                address,
                size,
                request,
            } => {
                let max_mtu = self.config.max_mtu();
                let mut payloads = self.payloads.iter();
                let part = payloads.find_map(|payload| payload.part(address, size));
                let limit = self.config.max_throughput;
                let job = part
                    .filter(|_| request.mtu <= max_mtu && !self.is_shut_down)
                    .and_then(|part| Job::new(request, part, limit));
                match job {
                    Some(job) => self.send_memory(client, job),
                    None => self.stats.requests_refused += 1,
                }
                None
            }
            VmemOperation::Stop { session } => {
                if let Some(place) = self.memory_place(client, session) {
                    self.stop(place);
                    self.memory_session = 0;
                }
                None
            }
            VmemOperation::Status => Some(self.memory_status(client)),
            VmemOperation::Alive => {
                let now = self.now;
                let transfers = self.transfers.iter_mut();
                let of_client = transfers.filter(|it| it.memory_session(client).is_some());
                of_client.for_each(|transfer| transfer.on_alive(now));
                None
            }
        }
    }

    fn memory_place(&self, client: u16, session: u32) -> Option<usize> {
        let mut transfers = self.transfers.iter();
        transfers.position(|it| it.memory_session(client) == Some(session))
    }

    /// Sends memory to a client, in place of what it asked for before by the same session.
    fn send_memory(&mut self, client: u16, job: Job) {
        let same = self.memory_place(client, job.request.session);
        let place = same.or_else(|| self.transfers.iter().position(Transfer::is_free));
        let now = self.now;
        match place.and_then(|place| self.transfers.get_mut(place)) {
            Some(transfer) => transfer.begin_memory(now, client, job),
            None => self.stats.no_slot += 1,
        }
    }

    /// Returns what is sent to a client, to others, or was sent last.
    fn memory_status(&self, client: u16) -> VmemStatus {
        let sent = |it: &Transfer| {
            let is_memory = it.connection.is_none() && matches!(it.stage, Stage::Sending(_));
            is_memory.then(|| it.job())?.map(|job| job.request.session)
        };
        let mut transfers = self.transfers.iter();
        let of_client = transfers.find_map(|it| it.memory_session(client));
        let session = of_client.or_else(|| self.transfers.iter().find_map(sent));
        VmemStatus {
            session: session.unwrap_or(self.memory_session),
            is_busy: session.is_some(),
        }
    }
}
