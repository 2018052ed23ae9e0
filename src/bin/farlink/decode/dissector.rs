//! The protocols that octets can be read as.

use clap::ValueEnum;
use farlink::cotp::Connection;
use farlink::ltp::Engine;
use farlink::record::Recorded;
use farlink::{Path, Proto};

use super::cotp::Cotp;
use super::ltp::Ltp;
use super::printer::Printer;

/// Reads what came in one direction between two ends: a stream piece by piece, or datagrams one by one.
pub(super) trait Dissector {
    /// Reads the next octets of the stream, or one datagram.
    fn octets(&mut self, octets: &[u8], out: &mut Printer);

    /// Goes on behind octets that are missing.
    fn gap(&mut self, octets: u64, out: &mut Printer);

    /// Says what is unfinished at the end.
    fn end(&mut self, ending: StreamEnd, out: &mut Printer);
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first octet of a stream.
    Beginning,
    /// Somewhere in it.
    Middle,
}

/// What is at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The stream: nothing may be unfinished.
    Whole,
    /// The view of it: it was reset, or the capture ends.
    Truncated,
}

/// How octets are read. A further protocol is a variant here and an arm of [`entry`](Self::entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// TPKT packets with COTP TPDUs, as in a TCP stream
    Cotp,
    /// LTP segments, as in UDP datagrams
    Ltp,
}

/// What there is to know of a protocol.
struct Entry {
    /// Names it in lines, and its recordings.
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
                start: |_| Box::new(Ltp::default()),
            },
        }
    }

    fn find(mut fits: impl FnMut(&Entry) -> bool) -> Option<Self> {
        let mut all = Self::value_variants().iter().copied();
        all.find(|protocol| fits(&protocol.entry()))
    }

    /// Returns the protocol that has its port at either end.
    pub(crate) fn on(path: &Path) -> Option<Self> {
        let ports = [path.local.port(), path.remote.port()];
        Self::find(|entry| entry.proto == path.proto && ports.contains(&entry.port))
    }

    /// Returns the protocol of a recorded machine.
    pub(super) fn of_kind(kind: &str) -> Option<Self> {
        Self::find(|entry| entry.kind == kind)
    }

    pub(super) fn kind(self) -> &'static str {
        self.entry().kind
    }

    /// Tells whether it goes over this transport.
    pub(crate) fn goes_over(self, proto: Proto) -> bool {
        self.entry().proto == proto
    }

    pub(super) fn start(self, start: Start) -> Box<dyn Dissector> {
        (self.entry().start)(start)
    }
}
