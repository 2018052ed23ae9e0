//! The protocols that can be decoded.

use clap::ValueEnum;
use farlink::cotp::Connection;
use farlink::ltp::{Engine, Segment};
use farlink::record::{Head, Recorded};
use farlink::{Path, Proto, csp, dtp};
use serde_json::Value;

use super::cotp::Cotp;
use super::csp::Csp;
use super::ltp::Ltp;
use super::printer::Printer;

/// The port of CSP over UDP in libcsp.
const CSP_PORT: u16 = 9600;

/// Decodes one direction between two ends: a stream in parts, or datagrams one by one.
pub(super) trait Dissector {
    /// Decodes the next octets of the stream, or one datagram.
    fn octets(&mut self, octets: &[u8], out: &mut Printer);

    /// Continues behind missing octets.
    fn gap(&mut self, octets: u64, out: &mut Printer);

    /// Reports an incomplete PDU at the end.
    fn end(&mut self, ending: StreamEnd, out: &mut Printer);
}

/// Where decoding begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first octet of a stream.
    Beginning,
    /// Within a stream.
    Middle,
    /// At the first octet of a stream, or of a frame with any number of PDUs.
    Frame,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The stream, after which no PDU may be incomplete.
    Whole,
    /// The capture, or the stream by a reset.
    Truncated,
}

/// A protocol. A further one is a variant here and an arm of [`entry`](Self::entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// TPKT packets with COTP TPDUs, as in a TCP stream
    Cotp,
    /// LTP segments, as in UDP datagrams
    Ltp,
    /// CSP packets of version 2, as in UDP datagrams
    Csp,
    /// CSP packets of version 1
    Csp1,
}

/// The properties of a protocol.
struct Entry {
    /// Its name in the output and in recordings.
    kind: &'static str,
    proto: Proto,
    port: u16,
    start: fn(Start) -> Box<dyn Dissector>,
}

impl Protocol {
    fn entry(self) -> Entry {
        match self {
            Self::Cotp => Entry {
                kind: Connection::KIND,
                proto: Proto::Tcp,
                port: Connection::PORT,
                start: |start| Box::new(Cotp::new(start)),
            },
            Self::Ltp => Entry {
                kind: <Engine<Path> as Recorded>::KIND,
                proto: Proto::Udp,
                port: <Engine<Path> as Recorded>::PORT,
                start: |start| Box::new(Ltp::new(start)),
            },
            Self::Csp => Entry {
                kind: csp::Node::KIND,
                proto: Proto::Udp,
                port: CSP_PORT,
                start: |_| Box::new(Csp::new(csp::Version::V2)),
            },
            Self::Csp1 => Entry {
                kind: "csp1",
                proto: Proto::Udp,
                port: CSP_PORT,
                start: |_| Box::new(Csp::new(csp::Version::V1)),
            },
        }
    }

    fn find(mut fits: impl FnMut(&Entry) -> bool) -> Option<Self> {
        let mut all = Self::value_variants().iter().copied();
        all.find(|protocol| fits(&protocol.entry()))
    }

    /// Returns the protocol that octets look like. A TPKT begins with 3 and 0, and a segment with a version of
    /// 0 in the upper half of an octet, and an engine ID, of which 0 is reserved.
    pub(super) const fn of_octets(octets: &[u8]) -> Self {
        match octets {
            [3, 0, ..] => Self::Cotp,
            [0..=0x0F, ..] => Self::Ltp,
            _ => Self::Cotp,
        }
    }

    /// Returns the protocol of a datagram on any port, if its content leaves no doubt.
    pub(super) fn of_datagram(octets: &[u8]) -> Option<Self> {
        Segment::decode(octets).is_ok().then_some(Self::Ltp)
    }

    /// Returns the protocol over this transport.
    pub(super) fn over(proto: Proto) -> Option<Self> {
        Self::find(|entry| entry.proto == proto)
    }

    /// Returns the protocol whose port is at either end.
    pub(crate) fn on(path: &Path) -> Option<Self> {
        let ports = [path.local.port(), path.remote.port()];
        Self::find(|entry| entry.proto == path.proto && ports.contains(&entry.port))
    }

    /// Returns the protocol of a recorded machine, if its octets are in a recording as they are in datagrams.
    pub(super) fn of_recording(head: &Head) -> Option<Self> {
        if head.kind == csp::Node::KIND || head.kind == dtp::Node::KIND {
            return Self::of_csp(head);
        }
        Self::find(|entry| entry.kind == head.kind)
    }

    /// Returns the version of a recorded node of CSP, if no interface has frames around its packets.
    fn of_csp(head: &Head) -> Option<Self> {
        let mut config: Value = serde_json::from_str(&head.config()).ok()?;
        if head.kind == dtp::Node::KIND {
            config = config.get_mut("csp")?.take();
        }
        let config: csp::Config = serde_json::from_value(config).ok()?;
        let is_packet = |it: &csp::InterfaceConfig| it.encapsulation == csp::Encapsulation::Packet;
        let protocol = match config.version {
            csp::Version::V1 => Self::Csp1,
            csp::Version::V2 => Self::Csp,
        };
        config.interfaces.iter().all(is_packet).then_some(protocol)
    }

    /// Tells whether recordings have it on buses.
    pub(super) const fn is_on_buses(self) -> bool {
        matches!(self, Self::Csp | Self::Csp1)
    }

    pub(super) fn kind(self) -> &'static str {
        self.entry().kind
    }

    /// Tells whether it runs over this transport.
    pub(crate) fn goes_over(self, proto: Proto) -> bool {
        self.entry().proto == proto
    }

    pub(super) fn start(self, start: Start) -> Box<dyn Dissector> {
        (self.entry().start)(start)
    }
}
