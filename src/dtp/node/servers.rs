//! Transfers to clients.

use bytes::Bytes;

use super::Node;
use crate::csp::ConnectionId;
use crate::dtp::api::{Error, Event};
use crate::dtp::server::{Job, Progress, Stage, Transfer};
use crate::dtp::wire::{Request, Response};
use crate::{Hop, Transmit};

impl Node {
    pub(super) fn serve(&mut self, payload: u8, data: Bytes) -> Result<(), Error> {
        let octets = data.len() as u64;
        if octets > u64::from(u32::MAX) {
            return Err(Error::PayloadTooLarge(octets));
        }
        let mut payloads = self.payloads.iter_mut();
        if let Some((_, place)) = payloads.find(|(number, _)| *number == payload) {
            *place = data;
            return Ok(());
        }
        let limit = self.config.payloads;
        if self.payloads.len() >= usize::from(limit) {
            return Err(Error::TooManyPayloads { limit });
        }
        self.payloads.push((payload, data));
        Ok(())
    }

    pub(super) fn withdraw(&mut self, payload: u8) -> Result<(), Error> {
        let mut payloads = self.payloads.iter();
        let place = payloads.position(|(number, _)| *number == payload);
        let place = place.ok_or(Error::NoPayload(payload))?;
        self.payloads.swap_remove(place);
        Ok(())
    }

    pub(super) fn on_accepted(&mut self, connection: ConnectionId, client: u16) {
        self.set_own(connection, Some(connection));
        let deadline = self.now + self.config.request_timeout;
        let mut transfers = self.transfers.iter_mut();
        if let Some(transfer) = transfers.find(|it| it.connection.is_none()) {
            transfer.begin(connection, client, deadline);
        } else {
            // libcsp ignores an RST in answer to its SYN, so the handshake was finished.
            self.stats.no_slot += 1;
            self.close(connection);
        }
    }

    fn transfer_at(&mut self, connection: ConnectionId) -> Option<&mut Transfer> {
        let mut transfers = self.transfers.iter_mut();
        transfers.find(|transfer| transfer.connection == Some(connection))
    }

    /// Takes the first packet of a client; there is no other.
    pub(super) fn on_request(&mut self, connection: ConnectionId, data: &[u8]) {
        let (now, max_throughput) = (self.now, self.config.max_throughput);
        let max_mtu = self.config.csp.max_data;
        let transfer = self.transfer_at(connection);
        if !transfer.is_some_and(|it| matches!(it.stage, Stage::AwaitingRequest { .. })) {
            return;
        }
        let request = Request::decode(data).ok().filter(|it| it.mtu <= max_mtu);
        let job = request.and_then(|request| {
            let mut payloads = self.payloads.iter();
            let (_, payload) = payloads.find(|(number, _)| *number == request.payload)?;
            Job::new(request, payload.clone(), max_throughput)
        });
        let response = job.as_ref().map(|job| {
            let size = u32::try_from(job.octets).unwrap_or(u32::MAX);
            let payload_size = job.size();
            Response { size, payload_size }.encode()
        });
        let Some(transfer) = self.transfer_at(connection) else {
            return;
        };
        let message = response.map(|response| transfer.message.put(&response));
        let sent = message.is_some_and(|it| self.csp.send(connection, it).is_ok());
        let Some(transfer) = self.transfer_at(connection) else {
            return;
        };
        if let Some(job) = job.filter(|_| sent) {
            transfer.respond(now, job);
        } else {
            transfer.stage = Stage::Closing;
            self.stats.requests_refused += 1;
            self.close(connection);
        }
    }

    pub(super) fn on_response_acknowledged(&mut self, connection: ConnectionId) {
        if let Some(transfer) = self.transfer_at(connection) {
            transfer.start();
        }
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
                Stage::Responding { deadline, .. } if *deadline <= now => transfer.start(),
                _ => {}
            }
        }
    }

    /// Writes data packets to one client. Clients take turns.
    pub(super) fn write_data(&mut self, tx: &mut Transmit<Hop>) {
        let (now, address) = (self.now, self.config.csp.address);
        let count = self.transfers.len();
        let sent = self.stats.data_sent;
        for turn in 0..count {
            let at = (self.next_to_send + turn) % count;
            let Some(transfer) = self.transfers.get_mut(at) else {
                continue;
            };
            let csp = &mut self.csp;
            let (packets, progress) = transfer.write(now, address, |header, data| {
                csp.put_datagram(tx, header, data)
            });
            self.stats.data_sent += packets;
            match progress {
                Progress::Waits => {}
                Progress::Later => {
                    self.next_to_send = at;
                    return;
                }
                Progress::Done => {
                    transfer.stage = Stage::Closing;
                    if let Some(connection) = transfer.connection {
                        self.close(connection);
                    }
                }
            }
        }
        // A poll that sends nothing changes nothing.
        if self.stats.data_sent != sent {
            self.next_to_send = (self.next_to_send + 1) % count.max(1);
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
            Some(Event::Serving {
                client: transfer.client,
                payload: job.request.payload,
                octets: job.octets,
            })
        })
    }
}
