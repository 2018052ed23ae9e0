//! Services of this node: what is asked of them, and who answers.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Node;
use crate::Instant;
use crate::csp::api::{Endpoint, Error, Event, RequestId};
use crate::csp::config::{Config, PingService};
use crate::csp::ring::{buffer, buffer_footprint, fill};
use crate::csp::services::{Question, ServiceAnswer, ServiceRequest, port};
use crate::csp::wire::{Flags, Header, Packet};

/// Requests that may wait for the application, and how long.
const MAX_PENDING: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests of one node that may wait for the application.
const MAX_PENDING_OF_NODE: usize = MAX_PENDING / 2;
/// Packets of the longest list of processes.
const MAX_LIST: usize = 8;
/// Octets of the longest list for a request without HMAC, whose sender anybody may be: with headers and trailers it
/// exceeds three times the octets of the request by less than 1 KiB.
const MAX_UNPROVED_LIST: usize = 1000;

/// Requests that the application is to answer.
#[derive(Debug)]
pub(super) struct PendingRequests {
    places: Vec<RequestSlot>,
    next_id: u32,
    max_data: usize,
    /// The octets of the reply that is written.
    reply: Vec<u8>,
}

/// A slot for a request.
#[derive(Debug)]
struct RequestSlot {
    buffer: BytesMut,
    request: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    id: RequestId,
    /// The header of the reply.
    header: Header,
    octets: Bytes,
    deadline: Instant,
    is_told: bool,
}

impl PendingRequests {
    pub(super) fn new(config: &Config) -> Self {
        let max_data = usize::from(config.max_data);
        let places = (0..places(config)).map(|_| RequestSlot {
            buffer: buffer(max_data),
            request: None,
        });
        Self {
            places: places.collect(),
            next_id: 0,
            max_data,
            reply: Vec::with_capacity(max_reply(config)),
        }
    }

    pub(super) fn footprint(config: &Config) -> usize {
        let place = size_of::<RequestSlot>() + buffer_footprint(config.max_data.into());
        places(config) * place + max_reply(config)
    }

    /// Keeps a request. Returns false if too many wait, of all nodes or of this one.
    ///
    /// One with HMAC takes the place of the oldest without, whose sender anybody may be.
    fn push(&mut self, now: Instant, header: Header, octets: &[u8]) -> bool {
        let of_node = self
            .pending()
            .filter(|it| it.header.destination == header.destination);
        if of_node.count() >= MAX_PENDING_OF_NODE {
            return false;
        }
        let is_proved = header.flags.contains(Flags::HMAC);
        // A free place comes first: it has no deadline.
        let age = |place: &RequestSlot| place.request.as_ref().map(|it| it.deadline);
        let can_give_way = |place: &&mut RequestSlot| match &place.request {
            None => true,
            Some(request) => is_proved && !request.header.flags.contains(Flags::HMAC),
        };
        let places = self.places.iter_mut().filter(can_give_way);
        let Some(place) = places.min_by_key(|place| age(place)) else {
            return false;
        };
        fill(&mut place.buffer, self.max_data, &[octets]);
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        place.request = Some(Pending {
            id,
            header,
            octets: place.buffer.split().freeze(),
            deadline: now + PATIENCE,
            is_told: false,
        });
        true
    }

    fn pending(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.places.iter_mut().filter_map(|it| it.request.as_mut())
    }

    fn get(&self, id: RequestId) -> Option<&Pending> {
        let mut pending = self.places.iter().filter_map(|it| it.request.as_ref());
        pending.find(|it| it.id == id)
    }

    fn remove(&mut self, id: RequestId) {
        let is_named =
            |place: &&mut RequestSlot| place.request.as_ref().is_some_and(|it| it.id == id);
        if let Some(place) = self.places.iter_mut().find(is_named) {
            place.request = None;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let pending = self.places.iter().filter_map(|it| it.request.as_ref());
        pending.map(|it| it.deadline).min()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        for place in &mut self.places {
            place.request.take_if(|it| it.deadline <= now);
        }
    }
}

fn places(config: &Config) -> usize {
    if config.services.by_application.is_empty() {
        0
    } else {
        MAX_PENDING
    }
}

/// Octets of the longest reply: an identity, or as many as a request.
fn max_reply(config: &Config) -> usize {
    usize::from(config.max_data).max(128)
}

impl Node {
    /// Tells whether a service of the node is at a port.
    pub(super) fn serves(&self, port: u8) -> bool {
        match port {
            port::PING => self.config.ping != PingService::Off,
            _ => self.config.services.has_port(port),
        }
    }

    /// Takes a request to a service, which came by an interface or from the node itself.
    pub(super) fn receive_request(&mut self, interface: Option<u8>, packet: Packet<'_>) {
        let header = packet.header;
        let mut required = self.config.services.required();
        if header.destination_port == port::PING {
            let needs_crc32 = self.config.ping == PingService::RequireCrc32;
            required.set(Flags::CRC32, needs_crc32);
        }
        // Two services would answer each other for ever.
        let is_from_service = header.source_port <= port::UPTIME;
        if is_from_service || header.flags.contains(Flags::RDP) {
            self.stats.forbidden += 1;
            return;
        }
        if !self.has_required(interface, header, required) {
            return;
        }
        let reply = Header {
            source: self.answering_address(interface, header.destination),
            ..header.reversed()
        };
        if header.destination_port == port::PING {
            return self.answer(reply, packet.data);
        }
        let version = self.config.version;
        let (port, octets) = (header.destination_port, packet.data);
        let Some(question) = Question::decode(port, octets, version, &|_| Bytes::new()) else {
            self.stats.bad_request += 1;
            return;
        };
        let service = question.request.service();
        let services = &self.config.services;
        if services.by_node.contains(service) {
            self.answer_by_node(reply, &question);
        } else if !services.by_application.contains(service) {
            self.stats.closed_port += 1;
        } else if !self.pending.push(self.now, reply, octets) {
            self.stats.requests_full += 1;
        }
    }

    /// Returns the address that a request is answered from: the one that was asked, or that on the interface.
    fn answering_address(&self, interface: Option<u8>, asked: u16) -> u16 {
        if self.is_own(asked) {
            return asked;
        }
        let address = interface.and_then(|number| self.router.address_on(number));
        address.unwrap_or(self.config.address)
    }

    fn answer_by_node(&mut self, reply: Header, question: &Question<'_>) {
        let answer = match &question.request {
            ServiceRequest::Ident => ServiceAnswer::Ident(self.config.services.ident),
            ServiceRequest::InterfaceStats(name) => {
                let Some((name, stats)) = self.router.named(name.as_str()) else {
                    // libcsp does not answer either.
                    self.stats.bad_request += 1;
                    return;
                };
                ServiceAnswer::InterfaceStats { name, stats }
            }
            ServiceRequest::FreeBuffers => {
                let free = self.datagrams.capacity() - self.datagrams.len();
                ServiceAnswer::FreeBuffers(u32::try_from(free).unwrap_or(u32::MAX))
            }
            _ => {
                let time = self.now - self.started.unwrap_or(self.now);
                ServiceAnswer::Uptime(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
            }
        };
        let mut octets = core::mem::take(&mut self.pending.reply);
        if answer.encode(question, &mut octets) {
            self.answer(reply, &octets);
        }
        self.pending.reply = octets;
    }

    /// Sends what the application answers.
    pub(super) fn answer_request(
        &mut self,
        id: RequestId,
        answer: Option<&ServiceAnswer>,
    ) -> Result<(), Error> {
        let pending = self.pending.get(id).ok_or(Error::NoRequest(id))?;
        let (reply, octets) = (pending.header, pending.octets.clone());
        let Some(answer) = answer else {
            self.pending.remove(id);
            return Ok(());
        };
        let version = self.config.version;
        let empty = |_: &[u8]| Bytes::new();
        let question = Question::decode(reply.source_port, &octets, version, &empty);
        let question = question.ok_or(Error::NoRequest(id))?;
        let list = (answer, &question.request);
        if let (ServiceAnswer::Processes(text), ServiceRequest::Processes) = list {
            self.answer_in_parts(reply, text)?;
        } else {
            let mut octets = core::mem::take(&mut self.pending.reply);
            let is_answer = answer.encode(&question, &mut octets);
            if is_answer {
                self.answer(reply, &octets);
            }
            self.pending.reply = octets;
            if !is_answer {
                return Err(Error::WrongAnswer(id));
            }
        }
        self.pending.remove(id);
        Ok(())
    }

    /// Sends text in as many packets as it needs.
    fn answer_in_parts(&mut self, reply: Header, text: &Bytes) -> Result<(), Error> {
        let part = self.config.data_limit(reply.flags);
        let mut limit = part * MAX_LIST;
        if !reply.flags.contains(Flags::HMAC) {
            limit = limit.min(MAX_UNPROVED_LIST);
        }
        let octets = text.len();
        if octets > limit {
            return Err(Error::TooMuchData { octets, limit });
        }
        for part in text.chunks(part.max(1)) {
            self.answer(reply, part);
        }
        Ok(())
    }

    /// Returns the next request that the application was not told of.
    pub(super) fn next_requested(&mut self) -> Option<Event> {
        let version = self.config.version;
        let pending = self.pending.pending().find(|it| !it.is_told)?;
        pending.is_told = true;
        let header = pending.header;
        let octets = &pending.octets;
        let keep = |part: &[u8]| octets.slice_ref(part);
        let question = Question::decode(header.source_port, octets, version, &keep)?;
        Some(Event::ServiceRequested {
            id: pending.id,
            from: Endpoint {
                address: header.destination,
                port: header.destination_port,
            },
            request: question.request,
        })
    }

    /// Sends a packet of the node itself, as soon as it can.
    pub(crate) fn answer(&mut self, header: Header, data: &[u8]) {
        let can_go = self.is_own(header.destination) || self.leads_to(header.destination);
        let limit = self.config.data_limit(header.flags);
        if !can_go || data.len() > limit || !self.answers.push(header, &[data]) {
            self.stats.answers_full += 1;
        }
    }
}
