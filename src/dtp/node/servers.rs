//! Transfers to clients.

use bytes::Bytes;

use super::Node;
use crate::csp::{self, ConnectionId, Flags, Header, Priority, crc32};
use crate::dtp::api::{Error, Event, NeedId, PayloadNeed, ServedRequest};
use crate::dtp::extension::{AskHeader, Extension, PayloadIdentity};
use crate::dtp::server::{DATA_PORT, Job, Payload, Progress, Stage, Then, Transfer};
use crate::dtp::wire::{REQUEST_LEN, Request, Response};
use crate::{Hop, Transmit};

impl Node {
    pub(super) fn serve(&mut self, payload: u8, data: Bytes) -> Result<(), Error> {
        let octets = data.len() as u64;
        let size = u32::try_from(octets).map_err(|_| Error::PayloadTooLarge(octets))?;
        self.check_room(payload)?;
        let identity = PayloadIdentity {
            crc32c: Some(crc32(&[&data])),
            generation: 0,
        };
        self.put_payload(Payload {
            number: payload,
            size,
            identity,
            address: None,
            base: 0,
            octets: Some(data),
        });
        Ok(())
    }

    pub(super) fn serve_on_demand(
        &mut self,
        payload: u8,
        size: u64,
        identity: PayloadIdentity,
    ) -> Result<(), Error> {
        let octets = size;
        let size = u32::try_from(octets).map_err(|_| Error::PayloadTooLarge(octets))?;
        self.check_room(payload)?;
        self.put_payload(Payload {
            number: payload,
            size,
            identity,
            address: None,
            base: 0,
            octets: None,
        });
        Ok(())
    }

    fn check_room(&self, payload: u8) -> Result<(), Error> {
        if self.is_shut_down {
            return Err(Error::ShutDown);
        }
        let limit = self.config.payloads;
        let is_replaced = self.payloads.iter().any(|it| it.number == payload);
        if is_replaced || self.payloads.len() < usize::from(limit) {
            return Ok(());
        }
        Err(Error::TooManyPayloads { limit })
    }

    /// Puts a payload in place of one of the same number; there is room.
    fn put_payload(&mut self, payload: Payload) {
        // Whoever feeds it has another one from here on.
        self.end_fed(payload.number);
        let mut payloads = self.payloads.iter_mut();
        match payloads.find(|it| it.number == payload.number) {
            Some(place) => {
                let address = place.address;
                *place = Payload { address, ..payload };
            }
            None => self.payloads.push(payload),
        }
    }

    pub(super) fn withdraw(&mut self, payload: u8) -> Result<(), Error> {
        let mut payloads = self.payloads.iter();
        let place = payloads.position(|it| it.number == payload);
        let place = place.ok_or(Error::NoPayload(payload))?;
        self.payloads.swap_remove(place);
        self.end_fed(payload);
        Ok(())
    }

    /// Ends the transfers of a payload on demand.
    fn end_fed(&mut self, payload: u8) {
        for place in 0..self.transfers.len() {
            if self
                .transfers
                .get(place)
                .is_some_and(|it| it.is_fed(payload))
            {
                self.stop(place);
            }
        }
    }

    /// Ends all transfers.
    pub(super) fn end_transfers(&mut self) {
        for place in 0..self.transfers.len() {
            self.stop(place);
        }
    }

    /// Sends nothing more to a client, and tells it so.
    pub(super) fn stop(&mut self, place: usize) {
        let transfer = self.transfers.get_mut(place);
        let connection = transfer.and_then(|transfer| {
            transfer.stop();
            transfer.connection
        });
        if let Some(connection) = connection {
            self.close(connection);
        }
    }

    pub(super) fn feed(&mut self, need: NeedId, data: &Bytes) -> Result<(), Error> {
        let transfers = self.transfers.iter_mut().enumerate();
        let mut fed = transfers.filter_map(|(place, it)| Some((place, it.feed(need, data)?)));
        let (place, is_right) = fed.next().ok_or(Error::NotNeeded(need))?;
        drop(fed);
        if !is_right {
            self.stop(place);
        }
        Ok(())
    }

    pub(super) fn next_need(&mut self) -> Option<Event> {
        let need = self.needs;
        let mut transfers = self.transfers.iter_mut();
        let (payload, next) = transfers.find_map(|it| it.next_need(need))?;
        self.needs = NeedId(need.0.wrapping_add(1));
        Some(Event::Need(PayloadNeed {
            need,
            payload,
            offset: next.offset,
            len: next.len,
        }))
    }

    pub(super) fn on_accepted(&mut self, connection: ConnectionId, client: u16) {
        self.set_own(connection, Some(connection));
        let deadline = self.now + self.config.request_timeout;
        let mut transfers = self.transfers.iter_mut();
        let free = transfers.find(|it| it.is_free());
        if let Some(transfer) = free.filter(|_| !self.is_shut_down) {
            transfer.begin(connection, client, deadline);
        } else {
            // libcsp ignores an RST in answer to its SYN, so the handshake was finished.
            self.stats.no_slot += 1;
            self.close(connection);
        }
    }

    pub(super) fn transfer_place(&self, connection: ConnectionId) -> Option<usize> {
        let mut transfers = self.transfers.iter();
        transfers.position(|transfer| transfer.connection == Some(connection))
    }

    fn transfer_at(&mut self, connection: ConnectionId) -> Option<&mut Transfer> {
        let place = self.transfer_place(connection)?;
        self.transfers.get_mut(place)
    }

    /// Takes a packet of a client: its request, or an ask for more behind it.
    pub(super) fn on_packet_of_client(&mut self, connection: ConnectionId, data: &[u8]) {
        let Some(transfer) = self.transfer_at(connection) else {
            return;
        };
        match &transfer.stage {
            Stage::AwaitingRequest { .. } => self.on_request(connection, data),
            Stage::Closing => {}
            _ if AskHeader::decode(data).is_some() => self.on_ask(connection, data),
            // There is no other packet.
            _ => {}
        }
    }

    fn on_ask(&mut self, connection: ConnectionId, data: &[u8]) {
        let Some(transfer) = self.transfer_at(connection) else {
            return;
        };
        if transfer.on_ask(data) {
            self.stats.asks_received += 1;
            // It may have closed in the meantime.
            let _: Result<(), csp::Error> = self.csp.hold(connection);
        } else {
            self.refuse(connection);
        }
    }

    fn refuse(&mut self, connection: ConnectionId) {
        if let Some(transfer) = self.transfer_at(connection) {
            transfer.stop();
        }
        self.stats.requests_refused += 1;
        self.close(connection);
    }

    fn on_request(&mut self, connection: ConnectionId, data: &[u8]) {
        let now = self.now;
        let Some(job) = self.job_of(data) else {
            return self.refuse(connection);
        };
        let response = self.response_to(&job);
        let Some(transfer) = self.transfer_at(connection) else {
            return;
        };
        let message = transfer.put_message(&response);
        transfer.respond(now, job);
        if self.csp.send(connection, message).is_err() {
            self.refuse(connection);
        }
    }

    fn job_of(&self, data: &[u8]) -> Option<Job> {
        let max_mtu = self.config.max_mtu();
        let request = Request::decode(data).ok().filter(|it| it.mtu <= max_mtu)?;
        let mut payloads = self.payloads.iter();
        let payload = payloads.find(|it| it.number == request.payload)?;
        Job::new(request, payload.clone(), self.config.max_throughput)
    }

    fn response_to(&self, job: &Job) -> [u8; REQUEST_LEN] {
        let size = u32::try_from(job.octets).unwrap_or(u32::MAX);
        let payload_size = job.size();
        let mut response = Response { size, payload_size }.encode();
        let extension = Extension {
            identity: job.identity(),
            asks: u8::try_from(self.config.csp.receive_queue).unwrap_or(u8::MAX),
            // Bound: less than a packet holds.
            ask_len: u16::try_from(super::max_ask(&self.config)).unwrap_or(u16::MAX),
        };
        extension.encode(job.request.session, &mut response);
        response
    }

    /// The client has closed the connection, and wants no more.
    pub(super) fn on_client_closed(&mut self, connection: ConnectionId) {
        if let Some(transfer) = self.transfer_at(connection) {
            transfer.end();
        }
    }

    pub(super) fn transfers_on_time(&mut self) {
        let now = self.now;
        for place in 0..self.transfers.len() {
            let Some(transfer) = self.transfers.get_mut(place) else {
                continue;
            };
            match &transfer.stage {
                Stage::AwaitingRequest { deadline } if *deadline <= now => {
                    transfer.stage = Stage::Closing;
                    self.stats.no_request += 1;
                    if let Some(connection) = transfer.connection {
                        self.close(connection);
                    }
                }
                Stage::AwaitingAsk { deadline, .. } if *deadline <= now => self.stop(place),
                Stage::Responding { deadline, .. } if *deadline <= now => transfer.start(),
                Stage::Sending(_) if transfer.silent_at().is_some_and(|at| at <= now) => {
                    self.stop(place);
                }
                _ => self.send_done(place),
            }
        }
    }

    /// Tells a client that all packets of a round were sent.
    pub(super) fn send_done(&mut self, place: usize) {
        let Some(transfer) = self.transfers.get_mut(place) else {
            return;
        };
        let Some(connection) = transfer.connection else {
            return;
        };
        if let Some(done) = transfer.take_done() {
            // It may have closed in the meantime.
            let _: Result<(), csp::Error> = self.csp.send(connection, done);
        }
    }

    /// Writes data packets to one client. Clients take turns.
    pub(super) fn write_data(&mut self, tx: &mut Transmit<Hop>) {
        let now = self.now;
        let mut from = Header {
            priority: Priority::Low,
            source: self.config.csp.address,
            destination_port: DATA_PORT,
            ..Header::default()
        };
        from.flags.set(Flags::HMAC, self.config.hmac);
        let count = self.transfers.len();
        let sent = self.stats.data_sent;
        for turn in 0..count {
            let at = (self.next_to_send + turn) % count;
            let Some(transfer) = self.transfers.get_mut(at) else {
                continue;
            };
            let csp = &mut self.csp;
            let (packets, progress) =
                transfer.write(now, from, |header, data| csp.put_datagram(tx, header, data));
            self.stats.data_sent += packets;
            match progress {
                Progress::Waits => {}
                Progress::Later => {
                    self.next_to_send = at;
                    return;
                }
                Progress::Done => self.on_sent(at),
            }
        }
        // A poll that sends nothing changes nothing.
        if self.stats.data_sent != sent {
            self.next_to_send = (self.next_to_send + 1) % count.max(1);
        }
    }

    /// All is sent that a client has asked for so far.
    fn on_sent(&mut self, place: usize) {
        let deadline = self.now + self.config.request_timeout;
        let Some(transfer) = self.transfers.get_mut(place) else {
            return;
        };
        let Some(connection) = transfer.connection else {
            self.memory_session = transfer.job().map_or(0, |job| job.request.session);
            return transfer.end();
        };
        match transfer.on_sent(deadline) {
            Then::Close => self.close(connection),
            Then::Await => {
                // It may have closed in the meantime.
                let _: Result<(), csp::Error> = self.csp.release(connection);
                self.is_released = true;
            }
        }
    }

    pub(super) fn next_serving(&mut self) -> Option<Event> {
        let mut transfers = self.transfers.iter_mut();
        transfers.find_map(|transfer| {
            if transfer.is_announced {
                return None;
            }
            transfer.is_announced = true;
            let job = transfer.job()?;
            Some(Event::Serving(ServedRequest {
                client: transfer.client,
                payload: job.payload.number,
                octets: job.octets,
            }))
        })
    }
}
