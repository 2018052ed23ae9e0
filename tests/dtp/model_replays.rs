//! The model of libdtp proven by captures of libdtp: fed what one end sent, it sends what the other end did, and its
//! client ends as libdtp's did.
//!
//! Acknowledgements without data follow the timers of libcsp, by which captures of RDP prove its model; they and
//! copies of a reset are left out here.

use core::time::Duration;

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::{Flags, Packet, RdpFlags, Version};

use crate::csp_captures::{Capture, Frame, Phase, Side, arrivals, captures};
use crate::libcsp::{App, Build, Libcsp};
use crate::libdtp::{Client, ClientCommand, Ended, Request, Server, ServerCommand, Session};

/// How far the capture's packets of data are from the model's: half a round, and 1 % for a loaded computer.
const SLACK: Duration = Duration::from_millis(20);

fn classic() -> Vec<Capture> {
    let mut all = captures("dtp", "");
    all.retain(|capture| !capture.name.starts_with("vmem"));
    assert_eq!(all.len(), 19);
    all
}

fn payload(number: u8, octets: u32) -> Bytes {
    let octet = |at: u32| u8::try_from((at * 7 + (at >> 8) * 13 + u32::from(number)) % 256);
    (0..octets).map(|at| octet(at).unwrap()).collect()
}

/// A packet without its CRC32, if it has one.
fn without_crc32(version: Version, octets: &[u8]) -> (&[u8], Packet<'_>) {
    let packet = Packet::decode(version, octets).unwrap();
    if !packet.header.flags.contains(Flags::CRC32) {
        return (octets, packet);
    }
    let packet = packet.split_crc32(version).unwrap();
    (&octets[..octets.len() - 4], packet)
}

/// What is compared of a packet of RDP: its octets without the count of control packets, and CRC32.
fn rdp(version: Version, octets: &[u8]) -> Option<(RdpFlags, Vec<u8>, Bytes)> {
    let (octets, packet) = without_crc32(version, octets);
    if !packet.header.flags.contains(Flags::RDP) {
        return None;
    }
    let (trailer, packet) = packet.split_rdp().unwrap();
    let mut octets = octets.to_vec();
    let flags = octets.len() - 5;
    octets[flags] &= 0x0F;
    Some((trailer.flags, octets, Bytes::copy_from_slice(packet.data)))
}

/// What one end sent: packets of connections without bare acknowledgements and copies of resets, and data by time.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) rdp: Vec<Vec<u8>>,
    pub(crate) data: Vec<(Duration, Vec<u8>)>,
}

impl Sent {
    fn push(&mut self, version: Version, time: Duration, octets: &[u8]) {
        let Some((flags, octets, data)) = rdp(version, octets) else {
            return self.data.push((time, octets.to_vec()));
        };
        let is_bare = flags == RdpFlags::ACK && data.is_empty();
        if !is_bare && self.rdp.last() != Some(&octets) {
            self.rdp.push(octets);
        }
    }

    pub(crate) fn of(version: Version, frames: &[Frame], side: Side) -> Self {
        let mut sent = Self::default();
        for frame in frames.iter().filter(|frame| frame.from == Some(side)) {
            sent.push(version, frame.time(frames), &frame.octets.to_vec());
        }
        sent
    }

    pub(crate) fn is(&self, captured: &Self) -> bool {
        let is_near = |(time, of): (&Duration, &Duration)| time.abs_diff(*of) <= SLACK + *of / 100;
        let mut data = self.data.iter().zip(&captured.data);
        self.rdp == captured.rdp
            && self.data.len() == captured.data.len()
            && data.all(|(it, of)| it.1 == of.1 && is_near((&it.0, &of.0)))
    }
}

/// A node with the numbers that an end of a capture drew.
pub(crate) fn node<A: App>(
    capture: &Capture,
    frames: &[Frame],
    side: Side,
    races: Vec<bool>,
    app: A,
) -> Libcsp<A> {
    let address = if side == Side::Client { 2 } else { 1 };
    let build = Build {
        version: capture.version(),
        ..Build::new(address)
    };
    let mut node = Libcsp::new(build, app, &1.into()).with_races(races);
    let mut last = None;
    for frame in frames.iter().filter(|frame| frame.from == Some(side)) {
        let octets = frame.octets.to_vec();
        let (_, packet) = without_crc32(capture.version(), &octets);
        if !packet.header.flags.contains(Flags::RDP) {
            continue;
        }
        let (trailer, packet) = packet.split_rdp().unwrap();
        if trailer.flags.contains(RdpFlags::SYN)
            && last.replace((trailer.sequence, packet.header))
                != Some((trailer.sequence, packet.header))
        {
            if node.initials.is_empty() {
                node.first_source_port = packet.header.source_port;
            }
            node.initials.push_back(trailer.sequence.0);
        }
    }
    node
}

/// Feeds what the other end sent, and lets time pass until `end`. Returns what was sent.
pub(crate) fn feed<A: App>(
    node: &mut Libcsp<A>,
    version: Version,
    arrivals: Vec<(Duration, Vec<u8>)>,
    end: Duration,
) -> Sent {
    let start = Instant::ZERO;
    let mut sent = Sent::default();
    let mut now = start;
    let steps = arrivals.into_iter().map(|(at, octets)| (at, Some(octets)));
    for (time, octets) in steps.chain([(end, None)]) {
        loop {
            while let Some((_, octets)) = node.next_packet() {
                sent.push(version, now - start, &octets);
            }
            match node.deadline().filter(|it| *it < start + time) {
                Some(deadline) => now = now.max(deadline),
                None => break,
            }
            node.advance(now);
        }
        now = start + time;
        if let Some(octets) = octets {
            node.receive(now, &octets);
        }
    }
    sent
}

/// The requests that a client sent.
fn requests(version: Version, frames: &[Frame]) -> Vec<Request> {
    let of_client = frames.iter().filter(|it| it.from == Some(Side::Client));
    let data = of_client.filter_map(|frame| Some(rdp(version, &frame.octets.to_vec())?.2));
    data.filter(|data| data.len() == 80)
        .map(|data| Request::decode(&data))
        .collect()
}

/// When the router of libcsp first looks at its timers, which a capture does not say.
/// And whether its program runs before the router is done with the first packet.
pub(crate) fn phases() -> impl Iterator<Item = (Duration, bool)> {
    let first_ticks = (1..400).map(|it| Duration::from_micros(it * 250));
    first_ticks.flat_map(|it| [(it, false), (it, true)])
}

#[test]
fn fed_the_clients_of_the_captures_the_model_sends_what_their_servers_sent() {
    for mut capture in classic() {
        let (name, version) = (capture.name.clone(), capture.version());
        if name == "interrupted_resumed" {
            // One server, which is not done with the first request when the second comes. The capture began its clock
            // anew between two of the rounds of 100 ms.
            let mut second: Vec<Frame> = capture.phases.remove(1).frames;
            let frames = &mut capture.phases[0].frames;
            let shift = frames.last().unwrap().t_us + 100_000 - second[0].t_us;
            for frame in &mut second {
                frame.t_us += shift;
            }
            frames.extend(second);
        }
        for phase in capture.phases.iter().filter(|it| !it.frames.is_empty()) {
            let frames = &phase.frames;
            let captured = Sent::of(version, frames, Side::Server);
            let asked = requests(version, frames).remove(0);
            // A server that was killed has sent no more.
            let last = frames
                .iter()
                .rfind(|frame| frame.from == Some(Side::Server));
            let is_killed = name == "server_restart" && phase.is_first(&capture);
            let more = Duration::from_millis(if is_killed { 5 } else { 200 });
            let end = last.unwrap().time(frames) + more;
            let mut arrivals = arrivals(frames, Side::Client);
            arrivals.retain(|(at, _)| *at < end);
            let play = |(first_tick, is_eager)| {
                let mut server = node(
                    &capture,
                    frames,
                    Side::Server,
                    vec![is_eager],
                    Server::new(2),
                );
                server.tick_at = Instant::ZERO + first_tick;
                server.command(Instant::ZERO, ServerCommand::Start);
                if let Some(size) = capture.payload_size {
                    let serve = ServerCommand::Serve(asked.payload, payload(asked.payload, size));
                    server.command(Instant::ZERO, serve);
                }
                feed(&mut server, version, arrivals.clone(), end)
            };

            assert!(
                phases().any(|it| play(it).is(&captured)),
                "{name}: {:02x?} {:02x?}",
                play((Duration::ZERO, false)).rdp,
                captured.rdp
            );
        }
    }
}

/// The session and the intervals that a client began with.
fn first_session(version: Version, phase: &Phase) -> (Session, Vec<(u32, u32)>) {
    let asked = requests(version, &phase.frames).remove(0);
    let file = phase.session_file.as_ref();
    let session = Session {
        server: 1,
        payload: asked.payload,
        id: asked.session,
        mtu: asked.mtu,
        throughput: asked.throughput,
        idle_timeout: file.map_or(3, |file| file.to_vec()[8]),
        octets: 0,
        size: 0,
        ranges: Vec::new(),
    };
    (session, asked.intervals)
}

impl Phase {
    fn is_first(&self, capture: &Capture) -> bool {
        core::ptr::eq(self, &raw const capture.phases[0])
    }

    /// The result, the error, the octets and the packets of the client, as its program printed them.
    pub(crate) fn ended(&self) -> (Ended, String) {
        let outcome = self.outcome.as_ref().unwrap();
        let field = |name: &str| {
            let start = outcome.find(&format!("{name}=")).unwrap() + name.len() + 1;
            outcome[start..].split(' ').next().unwrap()
        };
        let ended = Ended {
            result: field("result").parse().unwrap(),
            error: field("errno").parse().unwrap(),
            packets: field("pk").parse().unwrap(),
        };
        (ended, field("bytes").to_owned())
    }
}

#[test]
fn fed_the_servers_of_the_captures_the_model_sends_and_keeps_what_their_clients_did() {
    for capture in classic() {
        let (name, version) = (&capture.name, capture.version());
        let mut file = Vec::new();
        for (number, phase) in capture.phases.iter().enumerate() {
            let frames = &phase.frames;
            let before = number.checked_sub(1).map(|it| &capture.phases[it]);
            let is_of_client = |frame: &&Frame| frame.from == Some(Side::Client);
            let start = frames.iter().find(is_of_client).map(|it| it.time(frames));
            let start = start.unwrap_or_default();
            let mut arrivals = arrivals(frames, Side::Server);
            arrivals.retain(|(at, _)| *at >= start);
            let end = frames.last().map_or(start, |it| it.time(frames));
            let end = end + Duration::from_millis(100);
            let captured = Sent::of(version, frames, Side::Client);
            let play = |(first_tick, is_eager)| {
                let mut client = node(
                    &capture,
                    frames,
                    Side::Client,
                    vec![is_eager],
                    Client::new(),
                );
                let now = Instant::ZERO + start;
                client.advance(now);
                client.tick_at = now + first_tick;
                if let Some(session) = before.and_then(|it| it.session_file.as_ref()) {
                    client.app.session = Some(Session::decode(&session.to_vec()));
                    client.app.file.clone_from(&file);
                    client.command(now, ClientCommand::Resume);
                } else {
                    if name == "interrupted_resumed" {
                        client.command(now, ClientCommand::StopAfter(9));
                    }
                    let (session, intervals) = first_session(version, phase);
                    client.command(now, ClientCommand::GetIntervals(session, intervals));
                }
                let sent = feed(&mut client, version, arrivals.clone(), end);
                (client, sent)
            };

            let played = phases().map(play).find(|(_, sent)| sent.is(&captured));
            let Some((mut client, _)) = played else {
                panic!(
                    "{name} {number}: {:02x?} {:02x?}",
                    play((Duration::ZERO, false)).1.rdp,
                    captured.rdp
                );
            };
            let ended = client.app.next_event();
            let session = client.app.session.clone().unwrap();
            if phase.outcome.is_none() {
                assert_eq!(ended.unwrap().error, 7, "{name}: nothing to resume");
            } else {
                let (expected, octets) = phase.ended();
                assert_eq!(ended, Some(expected), "{name} {number}");
                assert_eq!(
                    format!("{}/{}", session.octets, session.size),
                    octets,
                    "{name}"
                );
            }
            if let Some(file) = &phase.session_file {
                assert_eq!(session.encode(), file.to_vec(), "{name} {number}");
            }
            file = core::mem::take(&mut client.app.file);
            let expected = payload(session.payload, session.size);
            for (octet, expected) in file.iter().zip(&expected) {
                assert!(octet.is_none_or(|it| it == *expected), "{name}");
            }
        }
    }
}
