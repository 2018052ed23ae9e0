//! Rounds with a server of this crate: all holes are asked for at once on one connection.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Download, Outcome, Stage};
use crate::Instant;
use crate::csp::{buffer, buffer_footprint, fill};
use crate::dtp::api::FailReason;
use crate::dtp::extension::{AskHeader, Done, Extension, MAX_INTERVAL_LEN, encode_interval};
use crate::dtp::wire::Interval;

/// Asks that a server has not acknowledged, at most.
const MAX_UNACKNOWLEDGED: u32 = 8;
/// Asks that a server has not answered, at most.
const MAX_OUTSTANDING: usize = 32;
/// How long the packets of an ask come at a rate that follows what arrives: two times what a connection takes, within
/// these bounds.
const FOLLOW_TIME: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
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
    /// The asks whose packets have not all come.
    outstanding: Vec<Outstanding>,
    /// When the first packet of the oldest of them came, and what was missing then.
    measured_from: Option<(Instant, u32)>,
    /// Whether all of the round is asked for.
    is_asked: bool,
    /// Whether all that was asked for has been sent, and is here but for what is late.
    is_over: bool,
}

/// An ask that is not answered.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    /// Its last packet, and how many there are.
    last: u32,
    packets: u32,
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
            outstanding: Vec::with_capacity(MAX_OUTSTANDING),
            measured_from: None,
            is_asked: false,
            is_over: false,
        }
    }

    /// Returns the bytes that asks allocate.
    pub(super) const fn footprint(max_len: usize) -> usize {
        MAX_UNACKNOWLEDGED as usize * (size_of::<BytesMut>() + buffer_footprint(max_len))
            + MAX_OUTSTANDING * size_of::<Outstanding>()
    }

    /// A request is on its way on another connection.
    pub(super) fn begin(&mut self) {
        self.server = None;
        self.unacknowledged = 1;
        self.begin_round();
    }

    fn begin_round(&mut self) {
        self.outstanding.clear();
        self.measured_from = None;
        self.is_asked = false;
        self.is_over = false;
    }

    /// The packets of the request up to `last` come at this throughput.
    pub(super) fn begin_measure(&mut self, last: u32, packets: u32, throughput: u32) {
        self.outstanding.push(Outstanding {
            last,
            packets,
            throughput,
        });
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
        let mut most_asks = usize::from(server.asks).min(MAX_OUTSTANDING);
        let mut left = u32::MAX;
        let chunk = u32::from(self.options.mtu).saturating_sub(8);
        if self.rate.follows() {
            // While the packets of one come, another waits.
            most_asks = most_asks.min(2);
            // What is lost beyond the limit is little, as long as it is looked for.
            let least = if self.rate.is_rising() {
                FOLLOW_TIME.0 / 4
            } else {
                FOLLOW_TIME.0
            };
            let time = (self.setup * 2).clamp(least, FOLLOW_TIME.1);
            left = self.rate.packets(chunk, time);
        }
        if !is_receiving
            || asks.is_asked
            || asks.unacknowledged >= MAX_UNACKNOWLEDGED
            || asks.outstanding.len() >= most_asks
        {
            return None;
        }
        let most = usize::from(server.ask_len).min(asks.max_len);
        let count = asks.buffers.len().max(1);
        let buffer = asks.buffers.get_mut(asks.turn)?;
        fill(buffer, asks.max_len, &[&[0; AskHeader::LEN]]);
        let (mut behind, mut packets, mut is_last) = (0, 0, true);
        for hole in self.holes.from(self.next) {
            if buffer.len() + MAX_INTERVAL_LEN > most || left == 0 {
                is_last = false;
                break;
            }
            let start = hole.start.max(self.next);
            let end = hole.end.min(start.saturating_add(left));
            let interval = Interval {
                start,
                end: end - 1,
            };
            encode_interval(interval, behind, buffer);
            behind = end;
            left -= end - start;
            packets += end - start;
            if end < hole.end {
                is_last = false;
                break;
            }
        }
        self.asked_packets += u64::from(packets);
        let throughput = self.rate.throughput();
        let head = AskHeader {
            session: self.session,
            throughput: if self.rate.follows() { throughput } else { 0 },
            round,
            is_last,
        };
        if let Some(place) = buffer.get_mut(..AskHeader::LEN) {
            place.copy_from_slice(&head.encode());
        }
        if behind > 0 {
            self.next = behind;
            self.last_asked = behind - 1;
        }
        asks.is_asked = is_last;
        asks.unacknowledged += 1;
        asks.turn = (asks.turn + 1) % count;
        let ask = buffer.split().freeze();
        if packets > 0 {
            asks.begin_measure(self.last_asked, packets, throughput);
        }
        Some(ask)
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
        let missing = self.holes.missing();
        let measured_from = *asks.measured_from.get_or_insert((now, missing));
        let answered = asks.outstanding.iter().take_while(|it| it.last < place);
        let (mut count, mut packets, mut throughput) = (0, 0_u32, u32::MAX);
        for ask in answered {
            count += 1;
            packets = packets.saturating_add(ask.packets);
            throughput = throughput.min(ask.throughput);
        }
        if count > 0 {
            asks.outstanding.drain(..count);
            asks.measured_from = Some((now, missing));
            let received = measured_from.1.saturating_sub(missing);
            self.follow(now - measured_from.0, (packets, received), throughput);
        }
        let asks = &mut self.asks;
        if asks.is_asked && place >= self.last_asked {
            self.round_is_over(now);
        }
    }

    /// Follows what has come of asks within a time.
    fn follow(&mut self, time: Duration, (asked, received): (u32, u32), throughput: u32) {
        let octets = u128::from(received) * u128::from(self.chunk());
        // Too short a time tells nothing.
        if time >= FOLLOW_TIME.0 / 8 {
            let delivered = octets * 1_000_000_000 / time.as_nanos().max(1);
            self.rate.follow(Outcome {
                asked,
                throughput,
                received,
                delivered: u32::try_from(delivered).unwrap_or(u32::MAX),
            });
        }
    }

    /// All was sent. Where packets have overtaken others, some may come still.
    fn round_is_over(&mut self, now: Instant) {
        self.asks.is_over = true;
        let late = if self.is_reordered {
            self.grace()
        } else {
            Duration::ZERO
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
