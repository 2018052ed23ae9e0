//! Two ends of a connection on a line with delay, loss, duplicates and reordering.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::parameters::Parameters;
use super::{CloseReason, Connection, DataKind, Received, Written};
use crate::csp::wire::{RdpFlags, RdpHeader, SequenceNumber, SynOptions};
use crate::{Instant, Rng, Seed};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const WINDOW: u16 = 10;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct Flying {
    at: Instant,
    order: u64,
    to: usize,
    header: RdpHeader,
    data: Vec<u8>,
}

/// What a line does to a packet, by its number.
enum PacketOutcome {
    Delivered,
    Lost,
    Repeated,
    Late,
}

impl Connection {
    fn receive_packet(&mut self, now: Instant, header: RdpHeader, data: &[u8]) -> Received {
        self.receive(now, header, data, DataKind::Packet)
    }
}

struct Pair {
    ends: [Connection; 2],
    now: Instant,
    delay: Duration,
    flying: Vec<Flying>,
    order: u64,
    outcome: Box<dyn FnMut(u64) -> PacketOutcome>,
    opened: [u32; 2],
    got: [Vec<Bytes>; 2],
    closed: [Option<CloseReason>; 2],
    acknowledged: [u32; 2],
    repetitions: u32,
    sent: Vec<(usize, RdpHeader)>,
}

fn options() -> SynOptions {
    SynOptions {
        window: u32::from(WINDOW),
        ..SynOptions::default()
    }
}

impl Pair {
    fn new(
        delay: Duration,
        options: SynOptions,
        outcome: impl FnMut(u64) -> PacketOutcome + 'static,
    ) -> Self {
        let end = || Connection::new(WINDOW, (40, WINDOW + 6), 200);
        let mut pair = Self {
            ends: [end(), end()],
            now: Instant::ZERO,
            delay,
            flying: Vec::new(),
            order: 0,
            outcome: Box::new(outcome),
            opened: [0; 2],
            got: [Vec::new(), Vec::new()],
            closed: [None; 2],
            acknowledged: [0; 2],
            repetitions: 0,
            sent: Vec::new(),
        };
        pair.ends[CLIENT].connect(pair.now, options, SequenceNumber(u16::MAX - 3));
        pair
    }

    fn clean(delay: Duration) -> Self {
        Self::new(delay, options(), |_| PacketOutcome::Delivered)
    }

    fn deliver(&mut self, flying: &Flying) {
        let Flying {
            to, header, data, ..
        } = flying;
        if *to == SERVER && header.flags == RdpFlags::SYN && self.opened == [0, 0] {
            let end = &mut self.ends[SERVER];
            if end.closed().is_some() && self.closed[SERVER].is_none() {
                let options = SynOptions::decode(data).unwrap();
                return end.accept(self.now, (*header, options), SequenceNumber(7));
            }
        }
        let end = &mut self.ends[*to];
        let is_ended = self.closed[*to].is_some() && !header.flags.contains(RdpFlags::RST);
        if is_ended && header.flags.contains(RdpFlags::ACK) {
            // As a node answers to what comes of a connection that has ended.
            let reset = RdpHeader {
                flags: RdpFlags::RST,
                count: 0,
                sequence: header.acknowledgement.plus(1),
                acknowledgement: end.last_received(),
            };
            return self.fly(*to, reset, &[]);
        }
        end.receive_packet(self.now, *header, data);
    }

    fn drain(&mut self) {
        for from in [CLIENT, SERVER] {
            let end = &mut self.ends[from];
            end.on_time(self.now);
            self.opened[from] += u32::from(end.take_opened());
            while let Some((data, _)) = end.take() {
                self.got[from].push(data);
            }
            self.acknowledged[from] += end.take_acknowledged();
            loop {
                let mut put = None;
                let written = self.ends[from].write(self.now, |segment| {
                    let header = RdpHeader {
                        flags: segment.flags,
                        count: 0,
                        sequence: segment.sequence,
                        acknowledgement: segment.acknowledgement,
                    };
                    put = Some((header, segment.data.to_vec()));
                    true
                });
                self.repetitions += u32::from(written == Written::Repetition);
                let Some((header, data)) = put else { break };
                self.fly(from, header, &data);
            }
            let end = &self.ends[from];
            if self.opened[from] > 0 || from == CLIENT {
                self.closed[from] = self.closed[from].or(end.closed());
            }
            if let Some(deadline) = end.deadline() {
                assert!(deadline > self.now, "{end:?} at {}", self.now);
            }
        }
    }

    /// Puts a packet on the line.
    fn fly(&mut self, from: usize, header: RdpHeader, data: &[u8]) {
        self.sent.push((from, header));
        self.order += 1;
        let outcome = (self.outcome)(self.order);
        let copies = match outcome {
            PacketOutcome::Lost => 0,
            PacketOutcome::Repeated => 2,
            PacketOutcome::Delivered | PacketOutcome::Late => 1,
        };
        let extra = match outcome {
            PacketOutcome::Late => self.delay,
            _ => Duration::ZERO,
        };
        for copy in 0..copies {
            self.flying.push(Flying {
                at: self.now + self.delay + extra,
                order: self.order * 2 + copy,
                to: 1 - from,
                header,
                data: data.to_vec(),
            });
        }
    }

    /// Lets so much time pass, event by event.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let flying = self.flying.iter().map(|it| it.at).min();
            let deadlines = self.ends.iter().filter_map(Connection::deadline);
            let Some(next) = deadlines.chain(flying).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = next;
            self.flying.sort_by_key(|it| (it.at, it.order));
            while self.flying.first().is_some_and(|it| it.at <= next) {
                let flying = self.flying.remove(0);
                self.deliver(&flying);
            }
        }
    }

    /// Sends packets with the numbers from 0 on as soon as there is room, then closes.
    fn transfer(&mut self, from: usize, packets: u32, limit: Duration) {
        let end = self.now + limit;
        let mut next = 0;
        let mut is_closing = false;
        while self.now < end && self.closed[from].is_none() {
            while next < packets && self.ends[from].is_open() && self.ends[from].has_room() {
                let data = Bytes::from(next.to_be_bytes().to_vec());
                assert!(self.ends[from].send(data));
                next += 1;
            }
            if next == packets && !is_closing {
                self.ends[from].close(self.now);
                is_closing = true;
            }
            self.run(ms(1));
        }
    }

    fn numbers(&self, at: usize) -> Vec<u32> {
        let number = |data: &Bytes| u32::from_be_bytes(data[..].try_into().unwrap());
        self.got[at].iter().map(number).collect()
    }

    fn open(mut self) -> Self {
        self.run(ms(2000));
        assert_eq!(self.opened, [1, 1]);
        self
    }

    fn send(&mut self, from: usize, data: &'static str) {
        assert!(self.ends[from].send(data.into()));
    }

    /// The flags of what one end sent.
    fn flags(&self, from: usize) -> Vec<String> {
        let sent = self.sent.iter().filter(|(it, _)| *it == from);
        sent.map(|(_, header)| format!("{:?}", header.flags))
            .collect()
    }
}

fn chances(seed: u64, loss: u64, repeated: u64, late: u64) -> impl FnMut(u64) -> PacketOutcome {
    let mut rng: Rng = Seed::from(seed).rng();
    move |_| match rng.below(100) {
        it if it < loss => PacketOutcome::Lost,
        it if it < loss + repeated => PacketOutcome::Repeated,
        it if it < loss + repeated + late => PacketOutcome::Late,
        _ => PacketOutcome::Delivered,
    }
}

#[test]
fn both_ends_open_by_three_packets_and_close_by_two() {
    let mut pair = Pair::clean(ms(5)).open();

    pair.ends[CLIENT].close(pair.now);
    pair.run(ms(100));

    assert_eq!(pair.flags(CLIENT)[..2], ["RdpFlags(SYN)", "RdpFlags(ACK)"]);
    assert_eq!(pair.flags(SERVER)[0], "RdpFlags(SYN | ACK)");
    assert_eq!(pair.flags(CLIENT).last().unwrap(), "RdpFlags(ACK | RST)");
    assert_eq!(pair.flags(SERVER).last().unwrap(), "RdpFlags(ACK | RST)");
    assert_eq!(
        pair.closed,
        [Some(CloseReason::Closed), Some(CloseReason::PeerClosed)]
    );
}

#[test]
fn packets_arrive_in_order_both_ways_and_are_acknowledged() {
    let mut pair = Pair::clean(ms(5)).open();

    for data in ["a", "b", "c"] {
        pair.send(CLIENT, data);
        pair.send(SERVER, data);
    }
    pair.run(ms(500));

    assert_eq!(pair.got, [["a", "b", "c"], ["a", "b", "c"]]);
    assert_eq!(pair.acknowledged, [3, 3]);
    assert_eq!(pair.repetitions, 0);
}

#[test]
fn close_delivers_all_before_rst_over_any_line() {
    for seed in 0..300 {
        let (loss, repeated, late) = (seed % 4 * 7, seed % 3 * 10, seed % 5 * 5);
        let options = SynOptions {
            window: u32::try_from(seed % 12 + 1).unwrap(),
            delayed_acks: u32::from(seed % 2 == 0),
            ..options()
        };
        let mut pair = Pair::new(
            ms(1 + seed % 50),
            options,
            chances(seed, loss, repeated, late),
        );
        while pair.opened[CLIENT] == 0 {
            assert_eq!(pair.closed[CLIENT], None, "seed {seed}");
            pair.run(ms(1));
        }

        pair.transfer(CLIENT, 60, ms(200_000));
        pair.run(ms(30_000));

        let all: Vec<u32> = (0..60).collect();
        assert_eq!(pair.numbers(SERVER), all, "seed {seed}");
        assert_eq!(
            pair.closed[CLIENT],
            Some(CloseReason::Closed),
            "seed {seed}"
        );
        assert!(pair.closed[SERVER].is_some(), "seed {seed}");
        assert_eq!(pair.acknowledged[CLIENT], 60, "seed {seed}");
    }
}

#[test]
fn any_one_packet_may_be_lost() {
    for lost in 1..40 {
        let outcome = move |order| {
            if order == lost {
                PacketOutcome::Lost
            } else {
                PacketOutcome::Delivered
            }
        };
        let mut pair = Pair::new(ms(5), options(), outcome);
        pair.run(ms(1500));
        assert_eq!(pair.opened, [1, 1], "without packet {lost}");

        pair.transfer(CLIENT, 30, ms(10_000));
        pair.run(ms(20_000));

        let all: Vec<u32> = (0..30).collect();
        assert_eq!(pair.numbers(SERVER), all, "without packet {lost}");
        let closed = [Some(CloseReason::Closed), Some(CloseReason::PeerClosed)];
        assert_eq!(pair.closed, closed, "without packet {lost}");
    }
}

#[test]
fn a_gap_is_repaired_within_a_round_trip_by_eack() {
    // Behind the three packets of the handshake and the keepalives.
    let mut pair = Pair::clean(ms(50)).open();
    let start = pair.order;
    pair.outcome = Box::new(move |order| {
        if order == start + 2 {
            PacketOutcome::Lost
        } else {
            PacketOutcome::Delivered
        }
    });

    for data in ["a", "b", "c", "d", "e"] {
        pair.send(CLIENT, data);
    }
    pair.run(ms(151));

    assert_eq!(pair.got[SERVER], ["a", "b", "c", "d", "e"]);
    assert_eq!(pair.repetitions, 1);
}

#[test]
fn the_timer_follows_the_round_trip() {
    for (delay, most) in [(ms(3), ms(450)), (ms(1000), ms(4500))] {
        let mut pair = Pair::clean(delay);
        pair.run(ms(5000));
        assert_eq!(pair.opened, [1, 1]);
        // Samples.
        for _ in 0..8 {
            pair.send(CLIENT, "x");
            pair.run(delay * 2 + ms(400));
        }
        let (before, start) = (pair.repetitions, pair.order);
        assert!(before <= 3, "{before} repetitions at {delay:?}");
        pair.outcome = Box::new(move |order| {
            if order == start + 1 {
                PacketOutcome::Lost
            } else {
                PacketOutcome::Delivered
            }
        });

        pair.send(CLIENT, "lost");
        pair.run(most);

        assert_eq!(pair.got[SERVER].last().unwrap(), "lost", "at {delay:?}");
        assert_eq!(pair.repetitions, before + 1, "at {delay:?}");
    }
}

#[test]
fn the_sender_learns_that_the_peer_died_and_what_was_not_acknowledged() {
    let mut pair = Pair::clean(ms(5)).open();
    pair.outcome = Box::new(|_| PacketOutcome::Lost);

    pair.send(CLIENT, "a");
    pair.send(CLIENT, "b");
    // The server was heard last 10 ms after the start, 2 s ago.
    pair.run(ms(8009));
    assert_eq!(pair.closed[CLIENT], None);
    pair.run(ms(1));

    assert_eq!(pair.closed[CLIENT], Some(CloseReason::TimedOut));
    assert_eq!(pair.ends[CLIENT].unacknowledged(), 2);
}

#[test]
fn an_idle_connection_stays_open() {
    for delayed_acks in [0, 1] {
        let options = SynOptions {
            delayed_acks,
            ..options()
        };
        let mut pair = Pair::new(ms(5), options, |_| PacketOutcome::Delivered).open();
        let before = pair.sent.len();

        pair.run(ms(100_000));

        assert_eq!(pair.closed, [None, None]);
        let sent = pair.sent.len() - before;
        assert!((95..110).contains(&sent), "one each 2 s and end: {sent}");
    }
}

#[test]
fn nobody_answers_a_syn() {
    let mut pair = Pair::new(ms(5), options(), |_| PacketOutcome::Lost);

    pair.run(ms(9999));
    assert_eq!(pair.closed[CLIENT], None);
    pair.run(ms(1));

    assert_eq!(pair.closed[CLIENT], Some(CloseReason::TimedOut));
    assert_eq!(
        pair.flags(CLIENT),
        ["RdpFlags(SYN)"; 5],
        "at 0, 1, 3, 5.5, 8 s"
    );
}

#[test]
fn an_rst_that_overtakes_data_closes_behind_them() {
    let mut pair = Pair::clean(ms(5)).open();
    let server = &mut pair.ends[SERVER];
    let header = |flags, sequence| RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(u16::MAX - 3).plus(sequence),
        acknowledgement: SequenceNumber(7),
    };
    let reset = header(RdpFlags::RST | RdpFlags::ACK, 3);

    assert_eq!(
        server.receive_packet(pair.now, reset, &[]),
        Received::Accepted
    );
    assert_eq!(server.closed(), None);
    for sequence in [2, 1] {
        let data = header(RdpFlags::ACK, sequence);
        server.receive_packet(pair.now, data, &[b'0' + u8::try_from(sequence).unwrap()]);
    }
    pair.drain();
    pair.drain();

    assert_eq!(pair.got[SERVER], ["1", "2"]);
    assert_eq!(pair.closed[SERVER], Some(CloseReason::PeerClosed));
}

/// libcsp answers each packet with an RST while it closes.
#[test]
fn copies_of_an_rst_that_overtook_data_are_not_answered() {
    let mut pair = Pair::clean(ms(5)).open();
    let server = &mut pair.ends[SERVER];
    let reset = RdpHeader {
        flags: RdpFlags::RST | RdpFlags::ACK,
        count: 0,
        sequence: SequenceNumber(u16::MAX - 3).plus(3),
        acknowledgement: SequenceNumber(7),
    };
    let mut answers = 0;
    for _ in 0..5 {
        server.receive(pair.now, reset, &[], DataKind::Packet);
        while server.write(pair.now, |_| true) != Written::Nothing {
            answers += 1;
        }
    }

    assert_eq!(answers, 1);
    assert_eq!(server.closed(), None);
}

#[test]
fn a_close_waits_until_the_application_has_taken_what_came_before() {
    let mut server = Connection::new(2, (2, 2), 10);
    let now = Instant::ZERO;
    let header = |flags, sequence| RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(sequence),
        acknowledgement: SequenceNumber(50),
    };
    let write = |server: &mut Connection| server.write(now, |_| true);
    let syn = header(RdpFlags::SYN, 9);
    server.accept(now, (syn, SynOptions::default()), SequenceNumber(50));
    assert_eq!(write(&mut server), Written::Segment);
    server.receive_packet(now, header(RdpFlags::ACK, 10), b"a");
    server.receive_packet(now, header(RdpFlags::ACK, 11), b"b");
    let full = server.receive_packet(now, header(RdpFlags::ACK, 12), b"c");
    assert_eq!(full, Received::NoRoom);

    server.receive_packet(now, header(RdpFlags::ACK | RdpFlags::RST, 12), &[]);
    while write(&mut server) == Written::Segment {}

    assert_eq!(server.closed(), None, "two packets wait");
    assert_eq!(
        (server.take().unwrap().0, server.take().unwrap().0),
        ("a".into(), "b".into())
    );
    assert_eq!(server.closed(), Some(CloseReason::PeerClosed));
}

#[test]
fn a_peer_that_restarted_is_told_and_its_connection_ends() {
    let mut pair = Pair::clean(ms(5)).open();
    let syn = RdpHeader {
        flags: RdpFlags::SYN,
        count: 0,
        sequence: SequenceNumber(999),
        acknowledgement: SequenceNumber(0),
    };

    pair.ends[SERVER].receive_packet(pair.now, syn, &options().encode());
    pair.drain();
    pair.drain();

    assert_eq!(pair.closed[SERVER], Some(CloseReason::PeerRestarted));
    assert_eq!(pair.flags(SERVER).last().unwrap(), "RdpFlags(ACK | RST)");
}

#[test]
fn a_stale_acknowledgement_of_a_syn_is_reset_where_the_peer_expects_it() {
    let mut client = Connection::new(4, (4, 4), 10);
    client.connect(Instant::ZERO, options(), SequenceNumber(5));
    let header = |flags, acknowledgement| RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(700),
        acknowledgement: SequenceNumber(acknowledgement),
    };

    let stale = client.receive_packet(Instant::ZERO, header(RdpFlags::ACK, 300), &[]);
    let other = header(RdpFlags::RST | RdpFlags::ACK, 300);
    let old = client.receive_packet(Instant::ZERO, other, &[]);
    let reset = header(RdpFlags::RST | RdpFlags::ACK, 5);
    let refused = client.receive_packet(Instant::ZERO, reset, &[]);

    assert_eq!(stale, Received::HalfOpen(SequenceNumber(301)));
    assert_eq!(old, Received::Unexpected, "of an earlier connection");
    assert_eq!(refused, Received::Accepted);
    assert_eq!(client.closed(), Some(CloseReason::Refused));
}

/// Whatever a peer sends, the end answers at most one packet for one, and comes to an end in time.
#[test]
fn any_packets_are_survived() {
    for seed in 0..400 {
        let mut rng = Seed::from(seed).rng();
        let mut pair = Pair::clean(ms(1)).open();
        let mut answers = 0;
        for _ in 0..300 {
            let near = |rng: &mut Rng, base: u16| {
                base.wrapping_add(u16::try_from(rng.below(40)).unwrap())
                    .wrapping_sub(20)
            };
            let header = RdpHeader {
                flags: RdpFlags::from_bits_truncate(u8::try_from(rng.below(16)).unwrap()),
                count: 0,
                sequence: SequenceNumber(near(&mut rng, u16::MAX)),
                acknowledgement: SequenceNumber(near(&mut rng, 8)),
            };
            let data = vec![1; usize::try_from(rng.below(30)).unwrap()];
            let server = &mut pair.ends[SERVER];
            server.receive_packet(pair.now, header, &data);
            let mut written = 0;
            while server.write(pair.now, |_| true) != Written::Nothing {
                written += 1;
            }
            assert!(written <= 2, "seed {seed}");
            answers += written;
            while server.take().is_some() {}
        }
        assert!(answers <= 301, "seed {seed}: {answers}");
        pair.outcome = Box::new(|_| PacketOutcome::Lost);
        pair.run(ms(60_000));
        assert!(pair.ends[SERVER].closed().is_some(), "seed {seed}");
    }
}

#[test]
fn the_window_of_a_peer_may_be_larger_than_that_of_this_end() {
    let options = SynOptions {
        window: 200,
        ..SynOptions::default()
    };
    assert_eq!(Parameters::new(&options, WINDOW).window, WINDOW);
    let mut pair = Pair::new(ms(5), options, |_| PacketOutcome::Delivered).open();

    pair.transfer(CLIENT, 100, ms(10_000));

    assert_eq!(pair.numbers(SERVER).len(), 100);
    assert_eq!(pair.repetitions, 0);
}
