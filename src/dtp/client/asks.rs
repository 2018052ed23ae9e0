//! Rounds with a server of this crate: all holes are asked for at once on one connection.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{Download, Stage};
use crate::Instant;
use crate::csp::{buffer, buffer_footprint, fill};
use crate::dtp::api::FailReason;
use crate::dtp::extension::{AskHeader, Done, Extension, MAX_INTERVAL_LEN, encode_interval};
use crate::dtp::wire::Interval;

/// Asks that a server has not acknowledged, at most.
const MAX_UNACKNOWLEDGED: u32 = 8;
/// Asks that a server has not answered, at most.
const MAX_OUTSTANDING: usize = 32;
/// Rounds in a row of which all was lost before they count as a request that brought nothing.
const MAX_LOST_ROUNDS: u8 = 8;
/// Octets of the shortest limit of an ask.
const MIN_LEN: usize = AskHeader::LEN + MAX_INTERVAL_LEN;

/// The asks of a round.
#[derive(Debug)]
pub(super) struct Asks {
    /// What the server has told of itself; `None` for one of libdtp.
    server: Option<Extension>,
    /// Memory of asks, allocated once.
    buffers: Vec<BytesMut>,
    turn: usize,
    max_len: usize,
    /// Packets to the server that it has not acknowledged.
    unacknowledged: u32,
    /// The last packets of the asks whose packets have not come.
    last_packets: Vec<u32>,
    /// Whether all of the round is asked for.
    is_asked: bool,
    /// Whether all that was asked for has been sent, and is here but for what is late.
    is_over: bool,
    /// Octets per second that the next ask tells; 0 for no change.
    throughput: u32,
}

impl Asks {
    pub(super) fn new(max_len: usize) -> Self {
        Self {
            server: None,
            buffers: (0..MAX_UNACKNOWLEDGED).map(|_| buffer(max_len)).collect(),
            turn: 0,
            max_len,
            unacknowledged: 0,
            last_packets: Vec::with_capacity(MAX_OUTSTANDING),
            is_asked: false,
            is_over: false,
            throughput: 0,
        }
    }

    /// Returns the bytes that asks allocate.
    pub(super) const fn footprint(max_len: usize) -> usize {
        MAX_UNACKNOWLEDGED as usize * (size_of::<BytesMut>() + buffer_footprint(max_len))
            + MAX_OUTSTANDING * size_of::<u32>()
    }

    /// A request is on its way on another connection.
    pub(super) fn begin(&mut self) {
        self.server = None;
        self.unacknowledged = 1;
        self.begin_round();
    }

    fn begin_round(&mut self) {
        self.last_packets.clear();
        self.is_asked = false;
        self.is_over = false;
    }

    /// Takes what the server has told of itself. What it allows must have room for an interval.
    pub(super) fn set_server(&mut self, server: Option<Extension>) {
        self.server = server.filter(|it| it.asks > 0 && usize::from(it.ask_len) >= MIN_LEN);
    }

    pub(super) const fn is_of_this_crate(&self) -> bool {
        self.server.is_some()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Download {
    /// The server has acknowledged packets.
    pub(in crate::dtp) const fn on_acknowledged(&mut self, packets: u32) {
        self.asks.unacknowledged = self.asks.unacknowledged.saturating_sub(packets);
    }

    /// Returns the next ask of the round, if there is one to send.
    pub(in crate::dtp) fn next_ask(&mut self) -> Option<Bytes> {
        let round = self.round_number();
        let asks = &mut self.asks;
        let server = asks.server?;
        let is_receiving = matches!(self.stage, Stage::Receiving { .. });
        let outstanding = usize::from(server.asks).min(MAX_OUTSTANDING);
        if !is_receiving
            || asks.is_asked
            || asks.unacknowledged >= MAX_UNACKNOWLEDGED
            || asks.last_packets.len() >= outstanding
        {
            return None;
        }
        let most = usize::from(server.ask_len).min(asks.max_len);
        let count = asks.buffers.len().max(1);
        let buffer = asks.buffers.get_mut(asks.turn)?;
        fill(buffer, asks.max_len, &[&[0; AskHeader::LEN]]);
        let (mut behind, mut is_last) = (0, true);
        for hole in self.holes.from(self.next) {
            if buffer.len() + MAX_INTERVAL_LEN > most {
                is_last = false;
                break;
            }
            let interval = Interval {
                start: hole.start.max(self.next),
                end: hole.end - 1,
            };
            encode_interval(interval, behind, buffer);
            behind = hole.end;
            self.asked_packets += u64::from(hole.end - interval.start);
        }
        let head = AskHeader {
            session: self.session,
            throughput: asks.throughput,
            round,
            is_last,
        };
        if let Some(place) = buffer.get_mut(..AskHeader::LEN) {
            place.copy_from_slice(&head.encode());
        }
        if behind > 0 {
            self.next = behind;
            self.last_asked = behind - 1;
            asks.last_packets.push(behind - 1);
        }
        asks.throughput = 0;
        asks.is_asked = is_last;
        asks.unacknowledged += 1;
        asks.turn = (asks.turn + 1) % count;
        Some(buffer.split().freeze())
    }

    fn round_number(&self) -> u16 {
        // Bound: 16 bits, which is enough to tell a round from those before.
        (self.rounds & 0xFFFF) as u16
    }

    /// Takes what a server of this crate tells behind its response.
    pub(in crate::dtp) fn on_done(&mut self, now: Instant, octets: &[u8]) {
        let done = Done::decode(octets).filter(|done| done.session == self.session);
        if done.is_some_and(|done| done.round == self.round_number() && self.asks.is_asked) {
            self.round_is_over(now);
        }
    }

    /// A packet of the payload has come that was missing.
    pub(super) fn on_packet_of_round(&mut self, now: Instant, place: u32) {
        let asks = &mut self.asks;
        let answered = asks.last_packets.iter().take_while(|last| **last < place);
        let answered = answered.count();
        asks.last_packets.drain(..answered);
        if asks.is_asked && place >= self.last_asked {
            self.round_is_over(now);
        }
    }

    /// All was sent. Where packets have overtaken others, some may come still.
    fn round_is_over(&mut self, now: Instant) {
        self.asks.is_over = true;
        let late = if self.is_reordered {
            self.grace()
        } else {
            core::time::Duration::ZERO
        };
        if let Stage::Receiving { deadline, .. } = &mut self.stage {
            *deadline = (*deadline).min(now + late);
        }
    }

    /// Begins another round on the same connection.
    ///
    /// One that the server has answered, and of which all was lost, is no reason to leave it alone.
    pub(in crate::dtp) fn next_round(&mut self, now: Instant) {
        if self.holes.missing() < self.missing_before {
            self.fruitless = 0;
            self.lost_rounds = 0;
        } else if self.lost_rounds >= MAX_LOST_ROUNDS {
            self.lost_rounds = 0;
            return self.fail_request(now, FailReason::Fruitless);
        } else {
            self.lost_rounds += 1;
        }
        self.missing_before = self.holes.missing();
        self.highest = 0;
        self.next = 0;
        if !self.count_round() {
            return;
        }
        self.asks.begin_round();
        let silence = self.silence();
        if let Stage::Receiving { deadline, .. } = &mut self.stage {
            *deadline = now + silence;
        }
    }
}
