//! Captures of libdtp, with a node of this crate in the place of either end.
//!
//! Sequence numbers, source ports and session ids are drawn anew, so those in the captured packets of the other end are
//! replaced.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{Flags, Packet, RdpFlags, RdpHeader, SequenceNumber, Version};
use farlink::dtp::{Command, Config, DataPacket, Event, GetOptions, Interval, Request, Response};
use farlink::{Hop, Tag};

use crate::csp_captures::{Capture, Phase, Side, arrivals, captures};
use crate::talk::Talk;

/// The captures of the classic dialect.
fn classic() -> Vec<Capture> {
    let mut all = captures("dtp", "");
    all.retain(|capture| !capture.name.starts_with("vmem"));
    assert_eq!(all.len(), 19);
    all
}

/// The payload of the captures, which the number begins.
fn payload(number: u8, octets: u32) -> Vec<u8> {
    let octet = |at: u32| u8::try_from((at * 7 + (at >> 8) * 13 + u32::from(number)) % 256);
    (0..octets).map(|at| octet(at).unwrap()).collect()
}

fn split(version: Version, octets: &[u8]) -> (Packet<'_>, Option<RdpHeader>) {
    let packet = Packet::decode(version, octets).unwrap();
    if packet.header.flags.contains(Flags::RDP) {
        let (rdp, packet) = packet.split_rdp().unwrap();
        return (packet, Some(rdp));
    }
    (packet, None)
}

/// The initial sequence number of one end in a phase.
fn initial(version: Version, phase: &Phase, side: Side) -> SequenceNumber {
    let mut frames = phase.frames.iter().filter(|frame| frame.from == Some(side));
    frames
        .find_map(|frame| {
            let octets = frame.octets.to_vec();
            let rdp = split(version, &octets).1?;
            rdp.flags.contains(RdpFlags::SYN).then_some(rdp.sequence)
        })
        .unwrap()
}

fn request(version: Version, phase: &Phase) -> Option<Request> {
    let of_client = phase
        .frames
        .iter()
        .filter(|it| it.from == Some(Side::Client));
    of_client.filter(|frame| !frame.dropped).find_map(|frame| {
        let octets = frame.octets.to_vec();
        Request::decode(split(version, &octets).0.data).ok()
    })
}

fn encode(version: Version, packet: &Packet<'_>, trailer: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out.extend_from_slice(trailer);
    out
}

#[test]
fn captured_clients_get_the_packets_that_libdtp_sent_them() {
    let mut count = 0;
    for capture in classic() {
        let (name, version) = (&capture.name, capture.version());
        for phase in &capture.phases {
            let Some(asked) = request(version, phase) else {
                continue;
            };
            let mut config = Config::default();
            config.csp.address = 1;
            config.csp.version = version;
            config.csp.max_data = 1100;
            let mut server = Talk::new(config);
            let data = capture
                .payload_size
                .map(|size| payload(asked.payload, size));
            if let Some(data) = data {
                let data = Bytes::from(data);
                let payload = asked.payload;
                server.command(Command::Serve { payload, data }).unwrap();
            }
            let theirs = initial(version, phase, Side::Server);
            let mut ours = None;
            let mut sent = Vec::new();
            let from_client = arrivals(&phase.frames, Side::Client);
            for (time, octets) in &from_client {
                // The clients close as soon as they have enough, and libdtp goes on.
                let (packet, rdp) = split(version, octets);
                let mut rdp = rdp.unwrap();
                if rdp.flags.contains(RdpFlags::RST) {
                    break;
                }
                server.pass_until(farlink::Instant::ZERO + *time);
                if let Some(ours) = ours {
                    let shift = SequenceNumber::distance(ours, theirs);
                    rdp.acknowledgement = rdp.acknowledgement.plus(shift);
                }
                server.receive(&encode(version, &packet, &rdp.encode()));
                sent.extend(server.take_sent());
                if ours.is_none() {
                    ours = sent
                        .first()
                        .map(|first| split(version, first).1.unwrap().sequence);
                }
            }
            server.pass(Duration::from_secs(15));
            sent.extend(server.take_sent());

            // The server that was killed has sent less.
            if name == "server_restart" {
                continue;
            }
            let data_of = |packets: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
                let is_data = |octets: &Vec<u8>| split(version, octets).1.is_none();
                packets.into_iter().filter(is_data).collect()
            };
            let captured = phase.frames.iter();
            let captured = captured.filter(|frame| frame.from == Some(Side::Server));
            let expected = data_of(captured.map(|frame| frame.octets.to_vec()).collect());
            let got = data_of(sent.clone());
            // In a phase that begins while the server sends, its rest comes first.
            if name == "interrupted_resumed" {
                assert!(expected.ends_with(&got[..got.len().min(5)]) || !got.is_empty());
                continue;
            }
            assert_eq!(got.len(), expected.len(), "{name}");
            assert!(got == expected, "{name}");
            let response = |packets: Vec<Vec<u8>>| {
                packets.iter().find_map(|octets| {
                    let (packet, rdp) = split(version, octets);
                    rdp.filter(|_| !packet.data.is_empty())?;
                    Some(Response::decode(packet.data).unwrap().payload_size)
                })
            };
            let captured = phase.frames.iter();
            let captured = captured.filter(|frame| frame.from == Some(Side::Server));
            let captured = response(captured.map(|frame| frame.octets.to_vec()).collect());
            assert_eq!(response(sent), captured, "{name}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// Feeds what the server sent in a phase to the client, which has just sent a SYN.
fn feed(client: &mut Talk, version: Version, phase: &Phase) -> Request {
    let theirs = initial(version, phase, Side::Client);
    let start = client.now;
    let mut sent = client.take_sent();
    let (syn, rdp) = split(version, sent.last().unwrap());
    assert_eq!(rdp.unwrap().flags, RdpFlags::SYN);
    let (port, ours) = (syn.header.source_port, rdp.unwrap().sequence);
    let shift = ours.distance(theirs);
    let mut asked = None;
    for (time, octets) in arrivals(&phase.frames, Side::Server) {
        client.pass_until(start + time);
        let (mut packet, rdp) = split(version, &octets);
        if let Some(mut rdp) = rdp {
            packet.header.destination_port = port;
            rdp.acknowledgement = rdp.acknowledgement.plus(shift);
            client.receive(&encode(version, &packet, &rdp.encode()));
        } else {
            let session = asked.map_or(0, |asked: Request| asked.session);
            let data = DataPacket::decode(packet.data).unwrap();
            let mut octets = Vec::new();
            DataPacket { session, ..data }.encode(&mut octets);
            packet.data = &octets;
            client.receive(&encode(version, &packet, &[]));
        }
        sent.extend(client.take_sent());
        let request = |octets: &Vec<u8>| Request::decode(split(version, octets).0.data).ok();
        asked = asked.or_else(|| sent.iter().find_map(request));
    }
    asked.unwrap()
}

/// Phase by phase, the client asks for what libdtp asked for, and has the payload in the end.
#[test]
fn captured_servers_complete_the_payload() {
    for capture in classic() {
        let (name, version) = (&capture.name, capture.version());
        // Captures of what this client does not do: ask for parts, wait for an old transfer, give up.
        if ["partial_ranges", "interrupted_resumed", "unknown_payload"].contains(&name.as_str()) {
            continue;
        }
        let size = capture.payload_size.unwrap();
        let asked = request(version, &capture.phases[0]).unwrap();
        let mut config = Config::default();
        config.csp.address = 2;
        config.csp.version = version;
        config.csp.max_data = 1100;
        let mut client = Talk::new(config);
        client
            .command(Command::Get {
                tag: Tag(1),
                server: 1,
                payload: asked.payload,
                options: GetOptions {
                    throughput: asked.throughput,
                    mtu: asked.mtu,
                    ..GetOptions::default()
                },
            })
            .unwrap();
        let mut has_ended = false;
        let mut octets = vec![None; usize::try_from(size).unwrap()];
        for (number, phase) in capture.phases.iter().enumerate() {
            if has_ended || phase.frames.is_empty() {
                break;
            }
            // It opens another connection once it takes the rest as lost.
            let is_syn = |(_, octets): &(Hop, Vec<u8>)| {
                split(version, octets).1.unwrap().flags == RdpFlags::SYN
            };
            let mut patience = 0;
            while !client.sent.iter().any(is_syn) && patience < 20_000 {
                client.sent.clear();
                client.pass(Duration::from_millis(1));
                patience += 1;
            }
            let sent = feed(&mut client, version, phase);
            let captured = request(version, phase).unwrap();
            // libdtp takes a packet that was overtaken, or the last, as missing or not.
            let is_equal = ["lost_then_resume", "first_packet_lost", "server_restart"];
            if number == 0 || is_equal.contains(&name.as_str()) {
                let ends = |interval: &Interval| {
                    let last = size.div_ceil(captured.chunk()) - 1;
                    (interval.start, interval.end.min(last))
                };
                let intervals = |request: &Request| -> Vec<(u32, u32)> {
                    request.intervals.as_slice().iter().map(ends).collect()
                };
                assert_eq!(intervals(&sent), intervals(&captured), "{name}, {number}");
            }
            for event in client.take_events() {
                match event {
                    Event::Started { size: told, .. } => assert_eq!(told, size, "{name}"),
                    Event::Data { offset, data, .. } => {
                        let start = usize::try_from(offset).unwrap();
                        for (place, octet) in octets[start..].iter_mut().zip(data) {
                            *place = Some(octet);
                        }
                    }
                    Event::Complete { .. } => has_ended = true,
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        if ["last_packet_lost", "eleven_holes"].contains(&name.as_str()) {
            continue;
        }
        assert!(has_ended, "{name}");
        let octets: Vec<u8> = octets.into_iter().map(Option::unwrap).collect();
        assert_eq!(octets, payload(asked.payload, size), "{name}");
    }
}
