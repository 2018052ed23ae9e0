//! Ladders of what a capture holds.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use farlink::cotp::Labels;
use farlink::record::{Arrival, Capture, Flows, Recording, What};
use farlink::sim::{HostId, Seen, Trace};
use farlink::{Instant, Proto};

/// The port of COTP over TPKT.
pub(crate) const COTP: u16 = 102;

/// Makes a trace of the streams on `ports`, one lifeline for each socket, `names` first come first served.
pub(crate) fn of_capture(file: &[u8], ports: &[u16], names: &[&str]) -> Result<Trace, String> {
    let mut capture = Capture::open(file).map_err(|error| error.to_string())?;
    let mut sketch = Sketch {
        trace: Trace::of_elsewhere(),
        ports,
        names,
        hosts: BTreeMap::new(),
        labels: BTreeMap::new(),
        origin: Recording::open(file)
            .ok()
            .map(|recording| Instant::ZERO + Duration::from_secs(recording.head().epoch)),
    };
    let mut flows = Flows::new();
    let mut last = Instant::ZERO;
    while let Some(packet) = capture.next_packet().map_err(|error| error.to_string())? {
        last = packet.time;
        flows.packet(&packet, |arrival| sketch.add(&arrival));
    }
    flows.finish(last, |arrival| sketch.add(&arrival));
    Ok(sketch.trace)
}

struct Sketch<'a> {
    trace: Trace,
    ports: &'a [u16],
    names: &'a [&'a str],
    hosts: BTreeMap<SocketAddr, HostId>,
    /// By receiver and sender.
    labels: BTreeMap<(SocketAddr, SocketAddr), Labels>,
    /// What counts as the beginning of time: that of a recording, or the first packet.
    origin: Option<Instant>,
}

impl Sketch<'_> {
    fn add(&mut self, arrival: &Arrival<'_>) {
        let (to, from) = (arrival.path.local, arrival.path.remote);
        let is_ours = |address: SocketAddr| self.ports.contains(&address.port());
        let is_beginning = arrival.what == What::Began;
        if arrival.path.proto != Proto::Tcp || is_beginning || !(is_ours(to) || is_ours(from)) {
            return;
        }
        let origin = *self.origin.get_or_insert(arrival.time);
        let time = Instant::ZERO + (arrival.time - origin);
        // Who speaks first stands on the left; a recording of one end does not know who opened the stream.
        let (from_host, to_host) = (self.host(from), self.host(to));
        match arrival.what {
            What::Octets(octets) => {
                let label = self.labels.entry((to, from)).or_default().name(octets);
                let octets = Bytes::copy_from_slice(octets);
                self.trace.add_message(Seen {
                    time,
                    from: from_host,
                    to: to_host,
                    label,
                    octets,
                });
            }
            What::Gap(count) => {
                self.trace.add_note(
                    time,
                    to_host,
                    format!("{count} octets are not in the capture"),
                );
            }
            What::Ended => self
                .trace
                .add_note(time, from_host, "ends the stream (FIN)"),
            What::Reset => self
                .trace
                .add_note(time, from_host, "cuts the stream off (RST)"),
            _ => (),
        }
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
