//! Ladder diagrams of captures.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::record::{Capture, FlowEvent, FlowEventKind, Flows, Recording};
use farlink::sim::{ExternalMessage, HostId, Label, Trace};
use farlink::{Instant, Path, cotp, ltp};

use crate::decode::{Protocol, TruncatedDatagram};

/// Returns a trace of the paths that have a protocol. Each socket is a lifeline; `names` are given in the
/// order in which they appear.
pub(crate) fn of_capture(
    file: &[u8],
    protocol: impl Fn(&Path) -> Option<Protocol>,
    names: &[&str],
) -> Result<Trace, String> {
    let mut capture = Capture::open(file).map_err(|error| error.to_string())?;
    let mut builder = TraceBuilder {
        trace: Trace::external(),
        protocol,
        names,
        hosts: BTreeMap::new(),
        labels: Labels::default(),
        origin: Recording::open(file)
            .ok()
            .map(|recording| Instant::ZERO + Duration::from_secs(recording.head().epoch)),
    };
    let mut flows = Flows::new();
    let mut last = Instant::ZERO;
    // A damaged capture is drawn up to the damage.
    while let Ok(Some(packet)) = capture.next_packet() {
        last = packet.time;
        if let Some(datagram) = TruncatedDatagram::of(&packet) {
            builder.cut(packet.time, &datagram);
            continue;
        }
        flows.packet(&packet, |arrival| builder.add(&arrival));
    }
    flows.finish(last, |arrival| builder.add(&arrival));
    Ok(builder.trace)
}

/// The labels of messages by protocol.
#[derive(Default)]
struct Labels {
    /// By receiver and sender.
    cotp: BTreeMap<(SocketAddr, SocketAddr), cotp::TpduLabels>,
    ltp: ltp::SegmentLabels,
}

impl Labels {
    fn name(&mut self, protocol: Protocol, path: &Path, octets: &[u8]) -> Option<Label> {
        match protocol {
            Protocol::Cotp => {
                let labels = self.cotp.entry((path.local, path.remote)).or_default();
                labels.name(octets).map(Label::from)
            }
            Protocol::Ltp => Some(self.ltp.name(octets).into()),
            Protocol::Csp | Protocol::Csp1 => None,
        }
    }
}

struct TraceBuilder<'a, P> {
    trace: Trace,
    protocol: P,
    names: &'a [&'a str],
    hosts: BTreeMap<SocketAddr, HostId>,
    labels: Labels,
    /// The origin of times: that of a recording, or the first packet.
    origin: Option<Instant>,
}

impl<P: Fn(&Path) -> Option<Protocol>> TraceBuilder<'_, P> {
    fn add(&mut self, arrival: &FlowEvent<'_>) {
        let (to, from) = (arrival.path.local, arrival.path.remote);
        let Some(protocol) = (self.protocol)(&arrival.path) else {
            return;
        };
        if arrival.kind == FlowEventKind::Began {
            return;
        }
        let time = self.since_origin(arrival.time);
        // The first sender is on the left; a recording of one end does not have the one that opened the stream.
        let (from_host, to_host) = (self.host(from), self.host(to));
        match arrival.kind {
            FlowEventKind::Octets(octets) | FlowEventKind::Datagram(octets) => {
                let label = self.labels.name(protocol, &arrival.path, octets);
                self.trace.add_message(ExternalMessage {
                    time,
                    from: from_host,
                    to: to_host,
                    is_repeated: label.as_ref().and_then(|label| label.is_repeated) == Some(true),
                    label: label.map(|label| label.text),
                    octets: Bytes::copy_from_slice(octets),
                });
            }
            FlowEventKind::Gap(count) => {
                self.trace.add_note(
                    time,
                    to_host,
                    format!("{count} octets are not in the capture"),
                );
            }
            FlowEventKind::Ended => self
                .trace
                .add_note(time, from_host, "closes the stream (FIN)"),
            FlowEventKind::Reset => {
                self.trace
                    .add_note(time, from_host, "resets the stream (RST)");
            }
            _ => (),
        }
    }

    /// Adds a truncated datagram.
    fn cut(&mut self, time: Instant, datagram: &TruncatedDatagram) {
        if (self.protocol)(&datagram.path).is_none() {
            return;
        }
        let time = self.since_origin(time);
        let (from, to) = (
            self.host(datagram.path.remote),
            self.host(datagram.path.local),
        );
        self.trace.add_message(ExternalMessage {
            time,
            from,
            to,
            is_repeated: false,
            label: Some(format!("{} octets not captured", datagram.missing)),
            octets: Bytes::new(),
        });
    }

    fn since_origin(&mut self, time: Instant) -> Instant {
        let origin = *self.origin.get_or_insert(time);
        Instant::ZERO + (time - origin)
    }

    fn host(&mut self, address: SocketAddr) -> HostId {
        if let Some(&host) = self.hosts.get(&address) {
            return host;
        }
        let name = self
            .names
            .get(self.hosts.len())
            .map_or_else(|| address.to_string(), ToString::to_string);
        let host = self.trace.add_host(name);
        self.hosts.insert(address, host);
        host
    }
}
