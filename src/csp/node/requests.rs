//! Pings and requests of this node to services, and their answers.

use alloc::vec::Vec;

use bytes::Bytes;

use super::carrier::{Carrier, PacketHead, Put};
use crate::csp::api::{Error, Event, SendOptions};
use crate::csp::config::Config;
use crate::csp::ring::PacketRing;
use crate::csp::services::{MAX_REQUEST, ServiceAnswer, ServiceRequest, port};
use crate::csp::wire::{Header, Packet};
use crate::{Instant, Tag};

/// Pings and requests that may be under way.
const MAX_REQUESTS: usize = 8;
/// Answers that may wait for the application.
const MAX_ANSWERS: usize = 16;
/// Octets of the longest ping.
pub(super) const MAX_PING: usize = 256;
/// The data of the longest ping.
static DATA: [u8; MAX_PING] = {
    let mut octets = [0; MAX_PING];
    let mut rest: &mut [u8] = &mut octets;
    let mut value: u8 = 0;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = value;
        value = value.wrapping_add(1);
        rest = others;
    }
    octets
};

#[derive(Debug)]
pub(super) struct Requests {
    outstanding: Vec<Outstanding>,
    answers: PacketRing<Answer>,
    /// The octets of the request that is written.
    scratch: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) tag: Tag,
    pub(super) port: u8,
    pub(super) destination: u16,
    pub(super) kind: Kind,
    pub(super) deadline: Instant,
    /// When it was sent; `None` before.
    pub(super) sent: Option<Instant>,
    pub(super) answers: u32,
    pub(super) has_ended: bool,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Kind {
    /// A ping of so many octets.
    Ping(u16),
    Service(ServiceRequest),
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerStep {
    Taken,
    /// It is none to what was asked.
    Unasked,
    /// Others wait for the application.
    Full,
}

/// An answer that waits for the application. Its request is known by the port until then.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    port: u8,
    from: u16,
    received: Instant,
}

impl Requests {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            outstanding: Vec::with_capacity(MAX_REQUESTS),
            answers: PacketRing::new(MAX_ANSWERS, config.max_data.into()),
            scratch: Vec::with_capacity(MAX_REQUEST),
        }
    }

    pub(super) fn footprint(config: &Config) -> usize {
        MAX_REQUESTS * size_of::<Outstanding>()
            + PacketRing::<Answer>::footprint(MAX_ANSWERS, config.max_data.into())
            + MAX_REQUEST
    }

    pub(super) fn check_room(&self) -> Result<(), Error> {
        let limit = MAX_REQUESTS;
        if self.outstanding.len() >= limit {
            return Err(Error::TooManyRequests { limit });
        }
        Ok(())
    }

    pub(super) fn start(&mut self, request: Outstanding) {
        self.outstanding.push(request);
    }

    pub(super) fn has_port(&self, port: u8) -> bool {
        self.outstanding.iter().any(|it| it.port == port)
    }

    /// Tells whether a packet to this port may be an answer, by the port that it comes from.
    pub(super) fn awaits(&self, header: Header) -> bool {
        let mut requests = self.outstanding.iter();
        requests
            .any(|it| it.port == header.destination_port && it.kind.port() == header.source_port)
    }

    /// Returns the octets of poked data, which the application allocated.
    pub(super) fn octets(&self) -> usize {
        let data = self.outstanding.iter().map(|it| match &it.kind {
            Kind::Service(request) => request.data().len(),
            Kind::Ping(_) => 0,
        });
        data.sum()
    }

    /// Writes the requests that were not sent. Returns false if the rest goes into the next transmit.
    pub(super) fn write(&mut self, now: Instant, carrier: &mut Carrier<'_, '_>) -> bool {
        let options = carrier.config.requests;
        for request in &mut self.outstanding {
            if request.sent.is_some() || request.has_ended {
                continue;
            }
            let head = request.head(options, carrier.config.address);
            let data = match &request.kind {
                Kind::Ping(octets) => data(*octets),
                Kind::Service(it) => {
                    it.encode(carrier.config.version, &mut self.scratch);
                    &self.scratch
                }
            };
            match carrier.put(head, [data, &[], &[]]) {
                Put::Done => {
                    request.sent = Some(now);
                    request.has_ended = !request.kind.is_answered();
                }
                Put::Later => return false,
                Put::Blocked => {}
            }
        }
        true
    }

    /// Takes an answer.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        packet: Packet<'_>,
        is_broadcast: impl Fn(u16) -> bool,
    ) -> AnswerStep {
        let Packet {
            header,
            data: received,
        } = packet;
        let mut requests = self.outstanding.iter_mut();
        let Some(request) = requests.find(|it| it.port == header.destination_port) else {
            return AnswerStep::Unasked;
        };
        let is_to_all = is_broadcast(request.destination);
        let is_asked = is_to_all || request.destination == header.source;
        let is_awaited = request.sent.is_some() && !request.has_ended;
        if !is_asked || !is_awaited || !request.kind.is_answer(received) {
            return AnswerStep::Unasked;
        }
        let answer = Answer {
            port: request.port,
            from: header.source,
            received: now,
        };
        let kept = match request.kind {
            Kind::Ping(_) => &[],
            Kind::Service(_) => received,
        };
        if !self.answers.push(answer, &[kept]) {
            return AnswerStep::Full;
        }
        request.answers += 1;
        // A list of processes takes several packets.
        let is_last = !matches!(request.kind, Kind::Service(ServiceRequest::Processes));
        request.has_ended = !is_to_all && is_last;
        AnswerStep::Taken
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outstanding.iter().map(|it| it.deadline).min()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        for request in &mut self.outstanding {
            request.has_ended |= request.deadline <= now;
        }
    }

    pub(super) fn has_event(&self) -> bool {
        !self.answers.is_empty() || self.outstanding.iter().any(|it| it.has_ended)
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        while let Some((answer, data)) = self.answers.pop() {
            let mut requests = self.outstanding.iter();
            let request = requests.find(|it| it.port == answer.port);
            if let Some(event) = request.and_then(|it| it.answered(answer, &data)) {
                return Some(event);
            }
        }
        let at = self.outstanding.iter().position(|it| it.has_ended)?;
        let Outstanding {
            tag, answers, kind, ..
        } = self.outstanding.swap_remove(at);
        Some(match kind {
            Kind::Ping(_) => Event::PingEnded { tag, answers },
            Kind::Service(_) => Event::RequestEnded { tag, answers },
        })
    }
}

impl Outstanding {
    /// Returns the header of the request. Where it leaves by no interface, it is from `own` address.
    fn head(&self, options: SendOptions, own: u16) -> PacketHead {
        let header = Header {
            priority: options.priority,
            source: own,
            destination: self.destination,
            destination_port: self.kind.port(),
            source_port: self.port,
            flags: options.flags(),
        };
        PacketHead::from_interface(header).with(options)
    }

    fn answered(&self, answer: Answer, data: &Bytes) -> Option<Event> {
        let (tag, from) = (self.tag, answer.from);
        let time = answer.received - self.sent?;
        match &self.kind {
            Kind::Ping(_) => Some(Event::Pong { tag, from, time }),
            Kind::Service(request) => {
                let keep = |part: &[u8]| data.slice_ref(part);
                let answer = ServiceAnswer::decode(request, data, &keep)?;
                Some(Event::Answered {
                    tag,
                    from,
                    time,
                    answer,
                })
            }
        }
    }
}

impl Kind {
    const fn port(&self) -> u8 {
        match self {
            Self::Ping(_) => port::PING,
            Self::Service(request) => request.port(),
        }
    }

    const fn is_answered(&self) -> bool {
        !matches!(
            self,
            Self::Service(ServiceRequest::Reboot | ServiceRequest::Shutdown)
        )
    }

    fn is_answer(&self, received: &[u8]) -> bool {
        match self {
            Self::Ping(octets) => received == data(*octets),
            Self::Service(request) => {
                ServiceAnswer::decode(request, received, &|_| Bytes::new()).is_some()
            }
        }
    }
}

fn data(octets: u16) -> &'static [u8] {
    DATA.get(..usize::from(octets)).unwrap_or(&DATA)
}
