//! Captures of libcsp, with a node of this crate in the place of either end.
//!
//! Sequence numbers and source ports are drawn anew, so those in the captured packets of the other end are shifted by
//! the difference.

use core::time::Duration;

use bytes::Bytes;
use farlink::csp::{
    CloseReason, Command, Config, ConnectionId, Endpoint, Event, Flags, Header, Packet, RdpFlags,
    RdpHeader, SendOptions, SequenceNumber, SocketOptions, SynOptions, Version,
};
use farlink::{Instant, Tag};

use crate::csp_captures::{Capture, Side, arrivals, captures};
use crate::packets::{key, sealed, unsealed};
use crate::service_replays::{frames, payload};
use crate::talk::Talk;

const SERVER: u16 = 1;
const CLIENT: u16 = 2;

/// The captures of connections, one with HMAC and two with fragments of SFP.
fn connections() -> Vec<Capture> {
    let mut all = captures("csp", "rdp_");
    all.extend(captures("csp", "sfp_rdp_"));
    assert_eq!(all.len(), 20);
    all
}

fn decode(version: Version, octets: &[u8]) -> (Packet<'_>, RdpHeader) {
    let (rdp, packet) = unsealed(version, octets).split_rdp().unwrap();
    (packet, rdp)
}

/// What of a conversation is drawn anew.
#[derive(Clone, Copy)]
struct Shift {
    acknowledgement: u16,
    destination_port: Option<u8>,
}

fn shifted(version: Version, octets: &[u8], shift: Shift) -> Vec<u8> {
    let (mut packet, rdp) = decode(version, octets);
    let rdp = RdpHeader {
        acknowledgement: rdp.acknowledgement.plus(shift.acknowledgement),
        ..rdp
    };
    if let Some(port) = shift.destination_port {
        packet.header.destination_port = port;
    }
    let data = [packet.data, &rdp.encode()].concat();
    sealed(version, packet.header, &data)
}

/// The data of a connection in order, from one end: of fragments with their trailers.
fn data_of(capture: &Capture, side: Side) -> Vec<Vec<u8>> {
    let frames = capture.frames().filter(|frame| frame.from == Some(side));
    let packets: Vec<Vec<u8>> = frames.map(|frame| frame.octets.to_vec()).collect();
    data_in(&packets, capture.version())
}

/// The data of a connection in order, in the packets of one end.
fn data_in(packets: &[Vec<u8>], version: Version) -> Vec<Vec<u8>> {
    let mut initial = None;
    let mut all: Vec<(u16, Vec<u8>)> = Vec::new();
    for octets in packets {
        let (packet, rdp) = decode(version, octets);
        if rdp.flags.contains(RdpFlags::SYN) {
            initial = Some(rdp.sequence);
        } else if !packet.data.is_empty() && !rdp.flags.contains(RdpFlags::EAK) {
            let place = rdp.sequence.distance(initial.unwrap());
            all.push((place, packet.data.to_vec()));
        }
    }
    let mut packets = all;
    packets.sort();
    packets.dedup();
    packets.into_iter().map(|(_, data)| data).collect()
}

/// The initial number of the captured end, if it has sent one.
fn initial_of(capture: &Capture, side: Side) -> Option<SequenceNumber> {
    let version = capture.version();
    let mut frames = capture.frames().filter(|frame| frame.from == Some(side));
    let first = frames.next()?.octets.to_vec();
    Some(decode(version, &first).1.sequence)
}

/// Sends what the application of the captures sent by SFP, and closes.
fn send_payload(client: &mut Talk, connection: ConnectionId) {
    let fragments = Command::SendFragments {
        connection,
        mtu: 200,
        data: Bytes::from(payload()),
    };
    client.command(fragments).unwrap();
    client.command(Command::Close(connection)).unwrap();
}

fn is_sfp(capture: &Capture) -> bool {
    capture.name.starts_with("sfp")
}

fn ours(sent: &[Vec<u8>], version: Version) -> SequenceNumber {
    decode(version, &sent[0]).1.sequence
}

#[test]
fn captured_clients_deliver_all_they_sent_and_close() {
    for capture in connections() {
        let name = &capture.name;
        let version = capture.version();
        let arrivals = arrivals(&capture.phases[0].frames, Side::Client);
        let syn = capture.frames().next().unwrap().octets.to_vec();
        let port = decode(version, &syn).0.header.destination_port;
        let mut server = Talk::new(Config {
            address: SERVER,
            version,
            hmac_key: Some(key()),
            ..Config::default()
        });
        let options = match name.as_str() {
            "rdp_hmac" => SocketOptions::HMAC_REQUIRED,
            "rdp_crc_required" => SocketOptions::CRC32_REQUIRED,
            _ => SocketOptions::empty(),
        };
        if name != "rdp_refused" {
            server.command(Command::Bind { port, options }).unwrap();
        }
        let theirs = initial_of(&capture, Side::Server);
        let mut got = Vec::new();
        let mut closed = None;
        let mut accepted = 0;
        let (mut all_sent, mut initial) = (Vec::new(), None);

        for (time, octets) in &arrivals {
            server.pass_until(Instant::ZERO + *time);
            all_sent.extend(server.take_sent());
            let shift = match (initial, theirs) {
                (Some(ours), Some(theirs)) => SequenceNumber::distance(ours, theirs),
                _ => 0,
            };
            let shift = Shift {
                acknowledgement: shift,
                destination_port: None,
            };
            server.receive(&shifted(version, octets, shift));
            if initial.is_none() && !server.sent.is_empty() {
                initial = Some(decode(version, &server.sent[0].1).1.sequence);
            }
            for event in server.take_events() {
                match event {
                    Event::Accepted { from, .. } => {
                        assert_eq!(from.address, CLIENT);
                        accepted += 1;
                    }
                    Event::Received { connection, data } => {
                        got.push(data.to_vec());
                        if name == "rdp_echo" {
                            server.command(Command::Send { connection, data }).unwrap();
                        }
                    }
                    Event::Fragment { place, data, .. } => {
                        got.push([&data[..], &place.encode()].concat());
                    }
                    Event::Closed { reason, .. } => closed = Some(reason),
                    Event::Acknowledged { .. } => {}
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        server.pass(Duration::from_secs(1));
        all_sent.extend(server.take_sent());

        if ["rdp_refused", "rdp_crc_required"].contains(&name.as_str()) {
            assert!(all_sent.is_empty(), "{name}");
            let stats = server.node.stats();
            let dropped = stats.closed_port + stats.forbidden;
            assert_eq!(dropped, arrivals.len() as u64, "{name}");
            continue;
        }
        let data = data_of(&capture, Side::Client);
        let notice = capture.server_notices.last().unwrap();
        let octets: usize = data.iter().map(Vec::len).sum();
        let counts = if is_sfp(&capture) {
            String::from("done err=0")
        } else {
            format!("bytes={octets} packets={} ", data.len())
        };
        assert!(notice.contains(&counts), "{name}: {notice}");
        assert_eq!(got, data, "{name}");
        assert_eq!(
            (accepted, closed),
            (1, Some(CloseReason::PeerClosed)),
            "{name}"
        );
        let last = all_sent.last().unwrap();
        let (_, rdp) = decode(version, last);
        assert_eq!(rdp.flags, RdpFlags::RST | RdpFlags::ACK, "{name}");
        // The handshake is that of libcsp, but for the numbers drawn.
        let first = capture
            .frames()
            .find(|frame| frame.from == Some(Side::Server))
            .unwrap();
        assert_same_but_numbers(&first.octets.to_vec(), &all_sent[0], version);
    }
}

/// Compares header, flags and acknowledgement.
fn assert_same_but_numbers(theirs: &[u8], ours: &[u8], version: Version) {
    let ((theirs, their_rdp), (ours, our_rdp)) = (decode(version, theirs), decode(version, ours));
    assert_eq!(ours.header, theirs.header);
    assert_eq!(ours.data, theirs.data);
    assert_eq!(our_rdp.flags, their_rdp.flags);
    assert_eq!(our_rdp.acknowledgement, their_rdp.acknowledgement);
}

#[test]
fn captured_servers_acknowledge_all_that_is_sent() {
    for capture in connections() {
        let name = &capture.name;
        let version = capture.version();
        let syn = capture.frames().next().unwrap().octets.to_vec();
        let (syn_packet, _) = decode(version, &syn);
        let flags = syn_packet.header.flags;
        let mut client = Talk::new(Config {
            address: CLIENT,
            version,
            rdp: SynOptions::decode(syn_packet.data).unwrap(),
            send_queue: 64,
            hmac_key: Some(key()),
            ..Config::default()
        });
        let to = Endpoint {
            address: SERVER,
            port: syn_packet.header.destination_port,
        };
        let options = SendOptions {
            crc32: flags.contains(Flags::CRC32),
            hmac: flags.contains(Flags::HMAC),
            ..SendOptions::default()
        };
        let tag = Tag(7);
        client
            .command(Command::Connect { tag, to, options })
            .unwrap();
        let sent = client.take_sent();
        let (first, first_rdp) = decode(version, &sent[0]);
        assert_eq!(first.data, syn_packet.data, "{name}: the options");
        assert_eq!(sent[0].len(), syn.len(), "{name}: {flags:?}");
        let shift = Shift {
            acknowledgement: ours(&sent, version)
                .distance(initial_of(&capture, Side::Client).unwrap()),
            destination_port: Some(first.header.source_port),
        };
        assert_eq!(first_rdp.flags, RdpFlags::SYN);
        let data = data_of(&capture, Side::Client);
        let mut next = 0;
        let mut submit = |client: &mut Talk, connection: ConnectionId, count: usize| {
            if is_sfp(&capture) {
                return send_payload(client, connection);
            }
            for data in data.iter().skip(next).take(count) {
                let data = Bytes::from(data.clone());
                client.command(Command::Send { connection, data }).unwrap();
            }
            // The application of the capture closes once the last echo has come.
            if next + count > data.len() || count == data.len() {
                client.command(Command::Close(connection)).unwrap();
            }
            next += count;
        };
        let (mut acknowledged, mut echoed, mut end) = (0, Vec::new(), None);

        for (time, octets) in arrivals(&capture.phases[0].frames, Side::Server) {
            client.pass_until(Instant::ZERO + time);
            client.receive(&shifted(version, &octets, shift));
            for event in client.take_events() {
                match event {
                    Event::Connected { connection, .. } if name == "rdp_echo" => {
                        submit(&mut client, connection, 1);
                    }
                    Event::Connected { connection, .. } => {
                        submit(&mut client, connection, data.len());
                    }
                    Event::Received { connection, data } => {
                        echoed.push(data.to_vec());
                        submit(&mut client, connection, 1);
                    }
                    Event::Acknowledged { packets, .. } => acknowledged += packets,
                    Event::Closed { unacknowledged, .. } => end = Some(unacknowledged),
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        client.pass(Duration::from_secs(3));
        let all_sent = [sent.clone(), client.take_sent()].concat();

        if ["rdp_refused", "rdp_crc_required"].contains(&name.as_str()) {
            let reason = CloseReason::TimedOut;
            assert_eq!(client.take_events(), [Event::ConnectFailed { tag, reason }]);
            continue;
        }
        for event in client.take_events() {
            match event {
                Event::Acknowledged { packets, .. } => acknowledged += packets,
                Event::Closed { unacknowledged, .. } => end = Some(unacknowledged),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(acknowledged as usize, data.len(), "{name}");
        assert_eq!(end, Some(0), "{name}");
        assert_eq!(echoed, data_of(&capture, Side::Server), "{name}");
        assert_eq!(data_in(&all_sent, version), data, "{name}");
        let theirs = frames(&capture, Side::Client);
        let header = |packets: &[Vec<u8>]| header_of_data(packets, version);
        assert_eq!(header(&all_sent), header(&theirs), "{name}");
    }
}

/// Returns the header of the first packet with data, without the port that was drawn.
fn header_of_data(packets: &[Vec<u8>], version: Version) -> Option<Header> {
    let mut packets = packets.iter().map(|octets| decode(version, octets));
    let (packet, _) = packets.find(|(packet, rdp)| {
        let is_syn = rdp.flags.contains(RdpFlags::SYN);
        !packet.data.is_empty() && !is_syn
    })?;
    let source_port = 0;
    Some(Header {
        source_port,
        ..packet.header
    })
}

#[test]
fn captured_pings_are_answered_octet_by_octet() {
    for (start, count) in [
        ("ping_crc32", 2),
        ("ping_v", 2),
        ("ping_hmac", 4),
        ("ping_rdp", 4),
    ] {
        let captures = captures("csp", start);
        assert_eq!(captures.len(), count);
        for capture in captures {
            let mut server = Talk::new(Config {
                address: SERVER,
                version: capture.version(),
                ..Config::default()
            });
            for (_, octets) in arrivals(&capture.phases[0].frames, Side::Client) {
                server.receive(&octets);
            }

            let is_answered = start == "ping_crc32";
            let answers: Vec<Vec<u8>> = capture
                .frames()
                .filter(|frame| is_answered && frame.from == Some(Side::Server))
                .map(|frame| frame.octets.to_vec())
                .collect();
            assert_eq!(server.take_sent(), answers, "{}", capture.name);
        }
    }
}
