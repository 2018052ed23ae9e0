//! PDUs in the streams and datagrams of a capture.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::Read;

use farlink::record::{
    Capture, CaptureReader, CapturedPacket, FlowEvent, FlowEventKind, Flows, Frame, Recording,
    SkipReason, Skipped, Transport,
};
use farlink::{Instant, Path, Proto};

use super::dissector::{Dissector, Protocol, Start, StreamEnd};
use super::printer::{Context, Printer};
use crate::{Failure, output};

/// `LINKTYPE_USER0`: payloads of a recording.
const PAYLOADS: u16 = 147;
/// `LINKTYPE_WIRESHARK_UPPER_PDU`: JSON of a recording, or datagrams.
const EXPORTED: u16 = 252;

/// The protocol of each packet.
#[derive(Debug)]
pub(super) struct Scope {
    protocol: Option<Protocol>,
    ports: Vec<u16>,
    /// The origin of the times of a recording.
    epoch: Option<Instant>,
    /// What the machine of a recording spoke, whatever its ports were.
    recorded: Option<Protocol>,
    /// What the first datagram between two sockets looks like, in both directions.
    by_content: BTreeMap<(SocketAddr, SocketAddr), Option<Protocol>>,
}

impl Scope {
    /// Decodes `ports` as `protocol`. Without any, a recording is decoded as its own protocol, and other
    /// captures as all protocols on their ports, and by content on other ports.
    ///
    /// `head` begins the file.
    pub(super) fn new(head: &[u8], protocol: Option<Protocol>, ports: &[u16]) -> Self {
        let recording = Recording::open(head).ok();
        let recorded = recording.as_ref().map(Recording::head);
        Self {
            protocol,
            ports: ports.to_vec(),
            epoch: recorded.map(|head| Instant::ZERO + Duration::from_secs(head.epoch)),
            recorded: recorded.and_then(Protocol::of_recording),
            by_content: BTreeMap::new(),
        }
    }

    /// Looks at the first whole datagram between any two sockets.
    fn learn(&mut self, packet: &CapturedPacket<'_>) {
        let Ok(frame) = Frame::read(packet.link_type, packet.octets) else {
            return;
        };
        if frame.transport == Transport::Udp && TruncatedDatagram::of(packet).is_none() {
            let path = Path::udp(frame.destination, frame.source);
            self.learn_datagram(&path, frame.payload);
        }
    }

    fn learn_datagram(&mut self, path: &Path, octets: &[u8]) {
        if self.ports.is_empty() && self.epoch.is_none() {
            self.by_content
                .entry(ends(path))
                .or_insert_with(|| Protocol::of_datagram(octets));
        }
    }

    /// Looks at all datagrams of a file.
    pub(super) fn learn_all(&mut self, file: &[u8]) {
        let Ok(mut capture) = Capture::open(file) else {
            return;
        };
        // What follows damage is not decoded either.
        while let Ok(Some(packet)) = capture.next_packet() {
            self.learn(&packet);
        }
    }

    pub(super) fn protocol(&self, path: &Path) -> Option<Protocol> {
        if self.ports.is_empty() {
            let recorded = self.recorded;
            return recorded
                .filter(|protocol| protocol.goes_over(path.proto))
                .or_else(|| Protocol::on(path))
                .or_else(|| {
                    let found = self.by_content.get(&ends(path)).copied().flatten();
                    found.filter(|protocol| protocol.goes_over(path.proto))
                });
        }
        let is_ours = |port| self.ports.contains(&port);
        let fits = is_ours(path.local.port()) || is_ours(path.remote.port());
        let protocol = self.protocol.or_else(|| Protocol::over(path.proto));
        protocol.filter(|protocol| fits && protocol.goes_over(path.proto))
    }
}

/// Returns both ends of a path, the same for either direction.
fn ends(path: &Path) -> (SocketAddr, SocketAddr) {
    let (one, other) = (path.local, path.remote);
    (one.min(other), one.max(other))
}

pub(super) fn run(file: impl Read, scope: &mut Scope, printer: Printer) -> Result<(), Failure> {
    let mut capture = CaptureReader::new(file).map_err(Failure::protocol)?;
    let mut flows = Flows::new();
    let epoch = scope.epoch;
    let mut reader = Reader {
        scope,
        printer,
        directions: BTreeMap::new(),
    };
    let mut other_ports = 0_u64;
    let mut link_type = None;
    // Time and offset of the last packet.
    let mut last: Option<(Instant, usize)> = None;
    let mut is_empty = true;
    let error = loop {
        let mut packet = match capture.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        };
        is_empty = false;
        if epoch.is_some() && !is_of_the_network(&packet) {
            continue;
        }
        match epoch {
            // Times of a recording count from its origin.
            Some(epoch) => packet.time = Instant::ZERO + (packet.time - epoch),
            None if last.is_none() => reader.printer.set_origin(packet.time),
            None => {}
        }
        last = Some((packet.time, packet.at));
        if let Err(SkipReason::LinkType(unknown)) = Frame::read(packet.link_type, packet.octets) {
            link_type = Some(unknown);
        }
        reader.scope.learn(&packet);
        if reader.is_on_another_port(&packet) {
            other_ports += 1;
            continue;
        }
        if let Some(datagram) = TruncatedDatagram::of(&packet) {
            reader.cut(packet.time, &datagram);
            continue;
        }
        flows.packet(&packet, |arrival| reader.arrival(&arrival));
    };
    let time = last.map_or(Instant::ZERO, |(time, _)| time);
    flows.finish(time, |arrival| reader.arrival(&arrival));
    reader.end(time);
    report_skipped(&flows.skipped(), other_ports, link_type);
    match error {
        Some(error) => Err(Failure::Protocol(error)),
        None if capture.is_cut() => Err(Failure::Protocol(last.map_or_else(
            || "the capture breaks off before its first packet".into(),
            |(_, at)| format!("the capture breaks off behind the packet at octet {at}"),
        ))),
        None if is_empty => Err(Failure::Protocol("no packets in the capture".into())),
        None => reader.printer.finish(),
    }
}

/// Tells whether a packet of a recording has octets of the network.
fn is_of_the_network(packet: &CapturedPacket<'_>) -> bool {
    match packet.link_type {
        PAYLOADS => false,
        EXPORTED => Frame::read(EXPORTED, packet.octets).is_ok(),
        _ => true,
    }
}

/// A datagram of which the capture has only the beginning.
pub(crate) struct TruncatedDatagram {
    pub(crate) path: Path,
    /// Octets that are not in the capture.
    pub(crate) missing: u64,
}

impl TruncatedDatagram {
    /// Returns the datagram of the packet, if it is truncated.
    pub(crate) fn of(packet: &CapturedPacket<'_>) -> Option<Self> {
        let frame = Frame::read(packet.link_type, packet.octets).ok()?;
        if frame.transport != Transport::Udp {
            return None;
        }
        // IP has the length of its packets, the tags of exported PDUs do not.
        let missing = match packet.link_type {
            EXPORTED => packet.length.saturating_sub(packet.octets.len()),
            _ => frame.missing,
        };
        let missing = u64::try_from(missing).ok().filter(|&count| count > 0)?;
        let path = Path::udp(frame.destination, frame.source);
        Some(Self { path, missing })
    }
}

struct Reader<'s> {
    scope: &'s mut Scope,
    printer: Printer,
    /// Decoders, by the path as the receiver has it.
    directions: BTreeMap<Path, Direction>,
}

struct Direction {
    protocol: Protocol,
    dissector: Box<dyn Dissector>,
}

impl Reader<'_> {
    /// Tells whether no protocol has the packet, so that it need not be reassembled.
    fn is_on_another_port(&self, packet: &CapturedPacket<'_>) -> bool {
        let Ok(frame) = Frame::read(packet.link_type, packet.octets) else {
            return false;
        };
        let proto = match frame.transport {
            Transport::Udp => Proto::Udp,
            Transport::Tcp { .. } => Proto::Tcp,
        };
        let path = Path {
            proto,
            local: frame.destination,
            remote: frame.source,
        };
        self.scope.protocol(&path).is_none()
    }

    /// Prints a truncated datagram. It is not decoded, since its end is unknown.
    fn cut(&mut self, time: Instant, datagram: &TruncatedDatagram) {
        if let Some(protocol) = self.scope.protocol(&datagram.path) {
            self.set_context(time, &datagram.path, protocol);
            self.printer.gap(datagram.missing);
        }
    }

    fn arrival(&mut self, arrival: &FlowEvent<'_>) {
        let path = arrival.path;
        if let FlowEventKind::Datagram(octets) = arrival.kind {
            self.scope.learn_datagram(&path, octets);
        }
        let Some(protocol) = self.scope.protocol(&path) else {
            return;
        };
        self.set_context(arrival.time, &path, protocol);
        match arrival.kind {
            FlowEventKind::Datagram(octets) => {
                let mut dissector = protocol.start(Start::Beginning);
                dissector.octets(octets, &mut self.printer);
                dissector.end(StreamEnd::Whole, &mut self.printer);
            }
            FlowEventKind::Began => {
                self.close(path, StreamEnd::Truncated);
                self.directions
                    .insert(path, Direction::new(protocol, Start::Beginning));
            }
            FlowEventKind::Octets(octets) => {
                let (dissector, printer) = self.direction(path, protocol);
                dissector.octets(octets, printer);
            }
            FlowEventKind::Gap(octets) => {
                let (dissector, printer) = self.direction(path, protocol);
                dissector.gap(octets, printer);
            }
            FlowEventKind::Ended => self.close(path, StreamEnd::Whole),
            FlowEventKind::Reset => {
                self.close(path, StreamEnd::Truncated);
                self.close(Path::tcp(path.remote, path.local), StreamEnd::Truncated);
            }
            _ => {}
        }
    }

    /// Returns the decoder of a direction. A stream without its beginning is decoded from the middle.
    fn direction(&mut self, path: Path, protocol: Protocol) -> (&mut dyn Dissector, &mut Printer) {
        let direction = self
            .directions
            .entry(path)
            .or_insert_with(|| Direction::new(protocol, Start::Middle));
        (direction.dissector.as_mut(), &mut self.printer)
    }

    fn set_context(&mut self, time: Instant, path: &Path, protocol: Protocol) {
        let context = Context::Packet {
            time,
            from: path.remote,
            to: path.local,
        };
        self.printer.set_context(context, protocol.kind());
    }

    fn close(&mut self, path: Path, ending: StreamEnd) {
        if let Some(mut direction) = self.directions.remove(&path) {
            direction.dissector.end(ending, &mut self.printer);
        }
    }

    fn end(&mut self, time: Instant) {
        while let Some((path, mut direction)) = self.directions.pop_first() {
            self.set_context(time, &path, direction.protocol);
            direction
                .dissector
                .end(StreamEnd::Truncated, &mut self.printer);
        }
    }
}

impl Direction {
    fn new(protocol: Protocol, start: Start) -> Self {
        let dissector = protocol.start(start);
        Self {
            protocol,
            dissector,
        }
    }
}

/// Reports skipped packets on standard error.
fn report_skipped(skipped: &Skipped, other_ports: u64, link_type: Option<u16>) {
    let unknown = format!(
        "of an unknown link type such as {}",
        link_type.unwrap_or_default()
    );
    let kinds = [
        (other_ports, "on other ports"),
        (skipped.other, "neither UDP nor TCP"),
        (skipped.link_type, &*unknown),
        (
            skipped.fragments,
            "fragments of IP packets that are not whole",
        ),
        (skipped.malformed, "shorter than their headers"),
    ];
    let counts: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !counts.is_empty() {
        let packets: u64 = kinds.iter().map(|(count, _)| count).sum();
        let plural = if packets == 1 { "" } else { "s" };
        output::stderr_line(&format!(
            "farlink: skipped {packets} packet{plural}: {}",
            counts.join(", ")
        ));
    }
    let forgotten = skipped.flows;
    if forgotten > 0 {
        output::stderr_line(&format!(
            "farlink: {forgotten} streams were forgotten to make room for others"
        ));
    }
}
