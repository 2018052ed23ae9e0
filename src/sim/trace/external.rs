//! Traces of messages that were not sent in a world, but captured or recorded.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use super::{Delivery, MarkKind, PacketKind, Trace, TracePacket};
use crate::Instant;
use crate::preview::Preview;
use crate::sim::{AnyAddr, HostId, Node};

/// A message for a [`Trace::external`].
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalMessage {
    /// The time. Where only one end was captured, it is taken for the time of sending and of receiving.
    pub time: Instant,
    /// The sender.
    pub from: HostId,
    /// The receiver.
    pub to: HostId,
    /// The label.
    pub label: Option<String>,
    /// The octets.
    pub octets: Bytes,
    /// Whether the sender sent the same before.
    pub is_repeated: bool,
}

impl fmt::Debug for ExternalMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalMessage")
            .field("time", &self.time)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("label", &self.label)
            .field("octets", &Preview(&self.octets))
            .field("is_repeated", &self.is_repeated)
            .finish()
    }
}

impl Trace {
    /// Creates an empty trace, to which messages are added.
    #[must_use]
    pub fn external() -> Self {
        Self::default()
    }

    /// Adds a host with its name.
    pub fn add_host(&mut self, name: impl Into<String>) -> HostId {
        let host = HostId::new(self.hosts.len());
        self.add_name(Node::Host(host), name.into());
        host
    }

    /// Adds a message.
    pub fn add_message(&mut self, external: ExternalMessage) {
        self.sent(TracePacket {
            from: Node::Host(external.from),
            to: Some(Node::Host(external.to)),
            addr: AnyAddr::Stream,
            time: external.time,
            kind: PacketKind::Stream,
            numbers: None,
            len: external.octets.len(),
            octets: external.octets,
            label: external.label,
            is_repeated: external.is_repeated,
            is_copy: false,
            is_corrupted: false,
            delivery: Delivery::Arrived(external.time),
        });
    }

    /// Adds a note at a host.
    pub fn add_note(&mut self, time: Instant, host: HostId, text: impl Into<String>) {
        self.mark(time, Node::Host(host), MarkKind::Note, text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_elsewhere_is_drawn_like_a_world() {
        let mut trace = Trace::external();
        let (client, server) = (trace.add_host("client"), trace.add_host("server"));

        trace.add_message(ExternalMessage {
            time: Instant::from_nanos(1_000_000),
            from: client,
            to: server,
            label: Some("CR".into()),
            octets: Bytes::from_static(b"12345"),
            is_repeated: false,
        });
        trace.add_note(Instant::from_nanos(2_000_000), server, "refused");

        let ladder = trace.ladder();
        assert!(
            ladder.contains("client") && ladder.contains("server"),
            "{ladder}"
        );
        assert!(
            ladder.contains("CR") && ladder.contains("# refused"),
            "{ladder}"
        );
    }
}
