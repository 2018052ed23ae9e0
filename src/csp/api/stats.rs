//! The counters of a node.

/// Counters of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Packets received, whatever became of them.
    pub received: u64,
    /// Packets sent, those sent again included.
    pub sent: u64,
    /// Packets of connections sent again.
    pub resent: u64,
    /// Dropped: shorter than a header.
    pub short_header: u64,
    /// Dropped: for another address, and this node passes nothing on, or the packet came from there.
    pub other_address: u64,
    /// Dropped: from the address of all nodes, or of all in a subnet.
    pub bad_source: u64,
    /// Dropped: CRC32 wrong, or shorter than its trailer.
    pub bad_crc32: u64,
    /// Dropped: the RDP flag and fewer than 5 octets.
    pub short_rdp: u64,
    /// Dropped: a SYN with fewer than 24 octets of options.
    pub short_syn: u64,
    /// Dropped: HMAC wrong, or shorter than its trailer.
    pub bad_hmac: u64,
    /// Dropped: encrypted, and shorter than its trailer.
    pub short_xtea: u64,
    /// Dropped: HMAC or XTEA, for which this node has no key.
    pub unsupported_flags: u64,
    /// Dropped: from an interface that the configuration does not have.
    pub unknown_interface: u64,
    /// Dropped: equal to one of 0.1 s before, or one that this node sent to another and that came back.
    pub repeated: u64,
    /// Not passed on: too many of the last 0.1 s are remembered to tell whether it is a repetition.
    pub unremembered: u64,
    /// Passed on to another node.
    pub forwarded: u64,
    /// Dropped: its interface had too many to send, or was down. Copies of packets of this node are counted too.
    pub interface_full: u64,
    /// Dropped: a fragment without connection while others used up all places.
    pub fragments_full: u64,
    /// Dropped: a fragment that does not follow on those before it.
    pub bad_fragment: u64,
    /// Dropped: a request that no service understands, or with too few octets.
    pub bad_request: u64,
    /// Dropped: a request to the application while too many waited.
    pub requests_full: u64,
    /// Not told: a packet for [`Event::Promiscuous`](super::Event::Promiscuous) while too many waited.
    pub promiscuous_full: u64,
    /// Dropped: nothing is bound to the port.
    pub closed_port: u64,
    /// Dropped: the options of the socket forbid it.
    pub forbidden: u64,
    /// Dropped: no connection has these ports, and it is no SYN.
    pub no_connection: u64,
    /// Dropped: a SYN while all slots were taken, or one that its peer did not confirm and that gave way.
    pub no_slot: u64,
    /// Dropped: the sequence number is out of the window.
    pub bad_sequence: u64,
    /// Dropped: the acknowledgement number was not sent.
    pub bad_acknowledgement: u64,
    /// Dropped: it has no meaning in the state of the connection, or is an answer to nothing that was asked.
    pub unexpected: u64,
    /// Dropped: received before.
    pub duplicates: u64,
    /// Dropped: the application has not taken enough of those before.
    pub queue_full: u64,
    /// Not sent: an answer of the node, since too many waited.
    pub answers_full: u64,
    /// Not sent: longer than a datagram of the driver may be.
    pub too_long: u64,
    /// Dropped, or not sent since the route was removed: no route leads to its destination.
    pub no_route: u64,
}

impl Stats {
    /// Returns how many packets to be sent went nowhere.
    pub(in crate::csp) const fn lost(&self) -> u64 {
        self.too_long + self.no_route + self.interface_full
    }
}

/// Counters of an interface, as CMP tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InterfaceStats {
    /// Packets sent.
    pub sent: u64,
    /// Packets received.
    pub received: u64,
    /// Packets that could not be sent: too long for it.
    pub send_errors: u64,
    /// Packets received with a wrong CRC32.
    pub receive_errors: u64,
    /// Packets dropped: equal to another, without a route, or too many.
    pub dropped: u64,
    /// Packets received with a wrong HMAC, or without one where one is needed, or encrypted by another key.
    pub authentication_errors: u64,
    /// Frames received that are no packet.
    pub frame_errors: u64,
    /// Octets sent, without headers of packets.
    pub octets_sent: u64,
    /// Octets received, without headers of packets.
    pub octets_received: u64,
    /// Interrupts, in answers of nodes that count them.
    pub interrupts: u64,
}
