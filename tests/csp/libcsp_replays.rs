//! The model of libcsp proven by captures of libcsp: fed what one end sent, it sends what the other end did.
//!
//! A capture does not say when the router looked at its timers, nor how its program and the router took turns. So the
//! model runs with all phases of the timer and all turns until one gives the captured octets, in order and in time.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::{Flags, Packet, Priority, RdpFlags, RdpHeader, SynOptions, Version};

use crate::csp_captures::{Capture, Frame, Side, arrivals, captures};
use crate::libcsp::{App, Build, Call, Connect, Libcsp, Sender, Sink};

/// How far a timer of the model may be from that of the capture: a loaded computer fires late.
const SLACK: Duration = Duration::from_millis(5);
/// The most turns of program and router that are tried with one phase.
const MOST_RACES: u32 = 1 << 10;

/// What is not known of a captured process.
#[derive(Debug, Clone, Copy)]
struct Phase {
    /// What a tick takes.
    tick: Duration,
    /// From the first packet to the first tick.
    first_tick: Duration,
    /// From the last millisecond of its clock to the first packet.
    fraction: Duration,
}

fn phases() -> impl Iterator<Item = Phase> {
    let ticks = [100_150, 100_250, 100_350, 100_050].map(Duration::from_micros);
    let fractions = [500, 0, 250, 750].map(Duration::from_micros);
    (1..400).flat_map(move |first_tick| {
        let first_tick = Duration::from_micros(first_tick * 250);
        let of_tick = move |tick| {
            fractions.map(|fraction| Phase {
                tick,
                first_tick,
                fraction,
            })
        };
        ticks.into_iter().flat_map(of_tick)
    })
}

fn split(version: Version, octets: &[u8]) -> (Packet<'_>, Bytes, RdpHeader) {
    let mut packet = Packet::decode(version, octets).unwrap();
    if packet.header.flags.contains(Flags::CRC32) {
        packet = packet.split_crc32(version).unwrap();
    }
    if packet.header.flags.contains(Flags::HMAC) {
        packet.data = &packet.data[..packet.data.len() - 4];
    }
    let (rdp, packet) = packet.split_rdp().unwrap();
    (packet, Bytes::copy_from_slice(packet.data), rdp)
}

/// One end of a capture.
struct End<'a> {
    capture: &'a Capture,
    frames: &'a [Frame],
    side: Side,
}

impl End<'_> {
    fn sent(&self) -> Vec<&Frame> {
        let all = self.frames.iter();
        all.filter(|frame| frame.from == Some(self.side)).collect()
    }

    /// The initial number and the count of control packets that it began with.
    fn begin<A: App>(&self, node: &mut Libcsp<A>) {
        if let Some(first) = self.sent().first() {
            let octets = first.octets.to_vec();
            let (_, _, rdp) = split(self.capture.version(), &octets);
            node.initials = VecDeque::from([rdp.sequence.0]);
            node.control_packets = rdp.count;
        }
    }

    fn build(&self, phase: Phase) -> Build {
        Build {
            version: self.capture.version(),
            // That of the captures took a window of 20.
            queue: 64,
            tick: phase.tick,
            hmac_passphrase: self.capture.hmac_passphrase.clone(),
            ..Build::new(if self.side == Side::Client { 2 } else { 1 })
        }
    }

    /// Lets time pass, and compares what is sent. Returns whether it is what the capture has.
    fn run<A: App>(&self, node: &mut Libcsp<A>, start: Instant) -> bool {
        let sent = self.sent();
        let mut expected = sent.iter();
        let other = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let last = sent
            .last()
            .map_or(Duration::ZERO, |it| it.time(self.frames));
        let end = (start + last + SLACK, None);
        let arrivals = arrivals(self.frames, other).into_iter();
        let steps = arrivals.map(|(time, octets)| (start + time, Some(octets)));
        let mut now = start;
        for (time, octets) in steps.chain([end]) {
            loop {
                while let Some((_, octets)) = node.next_packet() {
                    let Some(frame) = expected.next() else {
                        return false;
                    };
                    let at = start + frame.time(self.frames);
                    let distance = if at > now { at - now } else { now - at };
                    if octets != frame.octets.to_vec() || distance > SLACK {
                        return false;
                    }
                }
                match node.deadline().filter(|deadline| *deadline < time) {
                    Some(deadline) => now = deadline,
                    None => break,
                }
                node.advance(now);
            }
            now = time;
            match octets {
                Some(octets) => node.receive(now, &octets),
                None => return node.next_packet().is_none() && expected.next().is_none(),
            }
        }
        false
    }
}

/// Tries all phases and turns until `play` gives what the capture has.
fn is_reproduced(play: impl Fn(Phase, Vec<bool>) -> (bool, Vec<bool>)) -> bool {
    phases().any(|phase| {
        let mut races = Vec::new();
        (0..MOST_RACES).any(|tried| {
            if tried > 0 && races.is_empty() {
                return false;
            }
            let (is_equal, asked) = play(phase, races.clone());
            // The next of all sequences: the last turn that was not taken is.
            races = asked;
            while races.pop_if(|it| *it).is_some() {}
            if let Some(last) = races.last_mut() {
                *last = true;
            }
            is_equal
        })
    })
}

fn is_server_reproduced(capture: &Capture) -> bool {
    let end = End {
        capture,
        frames: &capture.phases[0].frames,
        side: Side::Server,
    };
    is_reproduced(|phase, races| {
        let sink = Sink {
            echoes: capture.name == "rdp_echo",
            ..Sink::default()
        };
        let start = Instant::ZERO + phase.fraction;
        let mut node = Libcsp::new(end.build(phase), sink, &1.into()).with_races(races);
        end.begin(&mut node);
        node.tick_at = start + phase.first_tick;
        for port in [10, 11] {
            let crc32_required = capture.name == "rdp_crc_required";
            node.command(
                start,
                Call::Listen {
                    port,
                    crc32_required,
                },
            );
        }
        (end.run(&mut node, start), node.races())
    })
}

fn is_client_reproduced(capture: &Capture) -> bool {
    let end = End {
        capture,
        frames: &capture.phases[0].frames,
        side: Side::Client,
    };
    let version = capture.version();
    let sent: Vec<Vec<u8>> = end.sent().iter().map(|it| it.octets.to_vec()).collect();
    let (syn, options, _) = split(version, &sent[0]);
    let mut packets: Vec<(u16, Bytes)> = sent
        .iter()
        .filter_map(|octets| {
            let (_, data, rdp) = split(version, octets);
            let is_data = rdp.flags == RdpFlags::ACK && !data.is_empty();
            is_data.then_some((rdp.sequence.0, data))
        })
        .collect();
    packets.sort();
    packets.dedup();
    is_reproduced(|phase, races| {
        let sender = Sender {
            packets: packets.iter().map(|(_, data)| data.clone()).collect(),
            is_lockstep: capture.name == "rdp_echo",
            ..Sender::default()
        };
        let start = Instant::ZERO + phase.fraction;
        let mut node = Libcsp::new(end.build(phase), sender, &1.into()).with_races(races);
        end.begin(&mut node);
        node.tick_at = start + phase.first_tick;
        let connect = Connect {
            tag: 1,
            to: (1, syn.header.destination_port),
            options: SynOptions::decode(&options).unwrap(),
            crc32: syn.header.flags.contains(Flags::CRC32),
            priority: Priority::Normal,
        };
        node.first_source_port = syn.header.source_port;
        node.advance(start);
        node.command(start, connect);
        (end.run(&mut node, start), node.races())
    })
}

#[test]
fn fed_the_clients_of_the_captures_the_model_sends_what_their_servers_sent() {
    let captures = captures("csp", "rdp_");
    assert_eq!(captures.len(), 18);
    for capture in captures {
        assert!(is_server_reproduced(&capture), "{}", capture.name);
    }
}

#[test]
fn fed_the_servers_of_the_captures_the_model_sends_what_their_clients_sent() {
    for capture in captures("csp", "rdp_") {
        assert!(is_client_reproduced(&capture), "{}", capture.name);
    }
}
