//! Pings of this node, and their answers.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::carrier::{Carrier, Put};
use super::inbound::PING_PORT;
use crate::csp::api::{Error, Event};
use crate::csp::wire::{Flags, Header, Packet, Priority};
use crate::{Instant, Tag};

/// Pings that may be under way.
const MAX_PINGS: usize = 8;
/// Answers that may wait for the application.
const MAX_PONGS: usize = 16;
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
pub(super) struct Pings {
    pings: Vec<Ping>,
    pongs: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy)]
struct Ping {
    tag: Tag,
    port: u8,
    destination: u16,
    octets: u16,
    deadline: Instant,
    /// When it was sent; `None` before.
    sent: Option<Instant>,
    answers: u32,
    has_ended: bool,
}

impl Pings {
    pub(super) fn new() -> Self {
        Self {
            pings: Vec::with_capacity(MAX_PINGS),
            pongs: VecDeque::with_capacity(MAX_PONGS),
        }
    }

    pub(super) const fn footprint() -> usize {
        MAX_PINGS * size_of::<Ping>() + MAX_PONGS * size_of::<Event>()
    }

    pub(super) fn check_room(&self) -> Result<(), Error> {
        if self.pings.len() >= MAX_PINGS {
            return Err(Error::TooManyPings { limit: MAX_PINGS });
        }
        Ok(())
    }

    pub(super) fn start(
        &mut self,
        tag: Tag,
        port: u8,
        destination: u16,
        octets: u16,
        deadline: Instant,
    ) {
        self.pings.push(Ping {
            tag,
            port,
            destination,
            octets,
            deadline,
            sent: None,
            answers: 0,
            has_ended: false,
        });
    }

    pub(super) fn has_port(&self, port: u8) -> bool {
        self.pings.iter().any(|ping| ping.port == port)
    }

    /// Writes the pings that were not sent. Returns false if the rest goes into the next transmit.
    pub(super) fn write(&mut self, now: Instant, carrier: &mut Carrier<'_, '_>) -> bool {
        for ping in &mut self.pings {
            if ping.sent.is_some() || ping.has_ended {
                continue;
            }
            let header = Header {
                priority: Priority::Normal,
                source: carrier.config.address,
                destination: ping.destination,
                destination_port: PING_PORT,
                source_port: ping.port,
                flags: Flags::CRC32,
            };
            let data = data(ping.octets);
            match carrier.put(header, [data, &[]]) {
                Put::Done => ping.sent = Some(now),
                Put::Later => return false,
                Put::Blocked => {}
            }
        }
        true
    }

    pub(super) fn on_answer(&mut self, now: Instant, packet: Packet<'_>, broadcast: u16) {
        let Packet {
            header,
            data: received,
        } = packet;
        let mut pings = self.pings.iter_mut();
        let Some(ping) = pings.find(|ping| ping.port == header.destination_port) else {
            return;
        };
        let is_to_all = ping.destination == broadcast;
        let is_asked = is_to_all || ping.destination == header.source;
        let Some(sent) = ping.sent.filter(|_| is_asked && !ping.has_ended) else {
            return;
        };
        if received != data(ping.octets) || self.pongs.len() >= MAX_PONGS {
            return;
        }
        ping.answers += 1;
        ping.has_ended = !is_to_all;
        self.pongs.push_back(Event::Pong {
            tag: ping.tag,
            from: header.source,
            time: now - sent,
        });
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pings.iter().map(|ping| ping.deadline).min()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        for ping in &mut self.pings {
            ping.has_ended |= ping.deadline <= now;
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        if let Some(pong) = self.pongs.pop_front() {
            return Some(pong);
        }
        let at = self.pings.iter().position(|ping| ping.has_ended)?;
        let ping = self.pings.swap_remove(at);
        Some(Event::PingEnded {
            tag: ping.tag,
            answers: ping.answers,
        })
    }
}

fn data(octets: u16) -> &'static [u8] {
    DATA.get(..usize::from(octets)).unwrap_or(&DATA)
}
