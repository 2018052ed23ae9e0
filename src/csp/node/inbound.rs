//! Packets that the node receives.

use core::mem;
use core::time::Duration;

use super::requests::AnswerStep;
use super::slot::{Role, Slot};
use super::{DatagramAddress, Node};
use crate::csp::api::{Endpoint, SendOptions, SocketOptions};
use crate::csp::rdp::{DataKind, Received};
use crate::csp::routing::Seen;
use crate::csp::security::HmacFault;
use crate::csp::wire::{
    Flags, Header, Packet, RdpFlags, RdpHeader, SequenceNumber, SynOptions, Version, tail,
};
use crate::{Addr as _, Hop};

/// How long a connection that its peer has not confirmed keeps its slot from the SYN of another.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);

/// What a packet without connection is lent to first: it tells whether it has taken the packet.
pub(crate) type Lend<'a> = &'a mut dyn FnMut(&Packet<'_>) -> bool;

impl Node {
    /// Takes the packets that the node has sent to itself.
    pub(super) fn receive_loopback(&mut self, lend: Lend<'_>) {
        for _ in 0..self.loopback.len() {
            let Some(((), octets)) = self.loopback.pop() else {
                return;
            };
            self.stats.received += 1;
            if let Ok(packet) = Packet::decode(self.config.version, &octets) {
                self.receive_own(None, packet, lend);
            }
        }
    }

    /// Takes what came on an interface. Packets without connection are first lent, as by
    /// [`receive_packet`](Self::receive_packet).
    pub(crate) fn receive_octets(&mut self, from: Hop, mut octets: &[u8], lend: Lend<'_>) {
        let mut codecs = mem::take(&mut self.codecs);
        match codecs.get_mut(usize::from(from.interface)) {
            None => self.stats.unknown_interface += 1,
            // The stream of an interface is at the interface itself.
            Some(codec) if codec.is_stream() && from != from.carrier() => {}
            // A packet without a header, which is counted.
            Some(codec) if octets.is_empty() && !codec.is_stream() => {
                self.receive_packet(from, octets, lend);
            }
            Some(codec) => {
                while let Some(packet) = codec.next_packet(self.now, &mut octets) {
                    self.receive_packet(from, packet, lend);
                }
            }
        }
        self.codecs = codecs;
    }

    /// Takes a packet. One for this node without connection is first lent: `lend` tells whether it has taken it.
    fn receive_packet(&mut self, hop: Hop, octets: &[u8], lend: Lend<'_>) {
        let (version, interface) = (self.config.version, hop.interface);
        self.stats.received += 1;
        let Some(counters) = self.router.stats_mut(interface) else {
            self.stats.unknown_interface += 1;
            return;
        };
        let Ok(packet) = Packet::decode(version, octets) else {
            counters.frame_errors += 1;
            self.stats.short_header += 1;
            return;
        };
        counters.received += 1;
        counters.octets_received += packet.data.len() as u64;
        if !self.router.capture(Some(hop), &[octets]) {
            self.stats.promiscuous_full += 1;
        }
        if let Some(other) = self.bridged(interface) {
            return self.pass_bridge(hop, other, packet.header, octets);
        }
        if self.router.is_broadcast(packet.header.source) {
            self.stats.bad_source += 1;
            return;
        }
        let destination = packet.header.destination;
        let is_for_node =
            self.is_own(destination) || self.router.is_broadcast_on(interface, destination);
        if self.router.deduplicates(interface, is_for_node)
            && self.is_repeated(interface, is_for_node, octets)
        {
            return;
        }
        if is_for_node {
            self.receive_own(Some(interface), packet, lend);
        } else {
            self.forward(interface, packet);
        }
    }

    /// Returns the interface that all packets of this one are passed to.
    fn bridged(&self, interface: u8) -> Option<u8> {
        let (one, other) = self.config.bridge?;
        if interface == one {
            Some(other)
        } else {
            (interface == other).then_some(one)
        }
    }

    fn pass_bridge(&mut self, from: Hop, to: u8, header: Header, octets: &[u8]) {
        if self.is_repeated(from.interface, false, octets) {
            return;
        }
        let hop = Hop {
            interface: to,
            via: header.destination,
        };
        self.pass_on(hop, &[octets]);
    }

    /// Tells whether a packet is dropped since one like it came a short time ago, or might have come.
    fn is_repeated(&mut self, interface: u8, is_for_node: bool, octets: &[u8]) -> bool {
        match self.router.see(self.now, interface, octets) {
            Seen::First => return false,
            Seen::Again if !is_for_node => return false,
            // What is not passed on can be in no loop.
            Seen::Full if is_for_node => return false,
            Seen::Full => self.stats.unremembered += 1,
            Seen::Again | Seen::Repeated => self.stats.repeated += 1,
        }
        self.router.on_dropped(interface);
        true
    }

    /// Passes a packet for another node on. Nothing of it is changed but a broadcast to a subnet that it reaches.
    fn forward(&mut self, interface: u8, packet: Packet<'_>) {
        let Header {
            source,
            destination,
            ..
        } = packet.header;
        if self.is_own(source) {
            // It went round a loop.
            self.stats.repeated += 1;
            return self.router.on_dropped(interface);
        }
        let mut exits = 0;
        while self.config.forward {
            let Some(exit) = self.router.exits(destination, Some(interface)).nth(exits) else {
                break;
            };
            exits += 1;
            let header = Header {
                destination: exit.destination,
                ..packet.header
            };
            let word = header.word(self.config.version);
            self.pass_on(exit.hop, &[tail(&word, self.config.version), packet.data]);
        }
        if exits == 0 {
            let has_no_route = self.config.forward && !self.leads_to(destination);
            let count = if has_no_route {
                &mut self.stats.no_route
            } else {
                &mut self.stats.other_address
            };
            *count += 1;
            self.router.on_dropped(interface);
        }
    }

    fn pass_on(&mut self, hop: Hop, pieces: &[&[u8]]) {
        if self.router.enqueue(hop, pieces) {
            self.stats.forwarded += 1;
        } else {
            self.stats.interface_full += 1;
        }
    }

    /// Takes a packet for this node, by an interface or from the node itself.
    fn receive_own(&mut self, interface: Option<u8>, packet: Packet<'_>, lend: Lend<'_>) {
        let is_v1 = self.config.version == Version::V1;
        // Version 2 has no XTEA and ignores its flag.
        if !is_v1 || !packet.header.flags.contains(Flags::XTEA) {
            return self.receive_decrypted(interface, packet, lend);
        }
        if !self.security.has_xtea() {
            self.stats.unsupported_flags += 1;
            return self.count_authentication(interface);
        }
        let mut octets = mem::take(&mut self.decrypted);
        let fits = packet.data.len() <= usize::from(self.config.max_data);
        if fits && self.security.decrypt(packet.data, &mut octets) {
            // Answers keep the flags of what they answer, and are not encrypted.
            let flags = packet.header.flags.difference(Flags::XTEA);
            let header = Header {
                flags,
                ..packet.header
            };
            let data = &octets;
            self.receive_decrypted(interface, Packet { header, data }, lend);
        } else {
            self.stats.short_xtea += 1;
            self.count_authentication(interface);
        }
        self.decrypted = octets;
    }

    fn receive_decrypted(&mut self, interface: Option<u8>, packet: Packet<'_>, lend: Lend<'_>) {
        let Some(packet) = self.without_trailers(interface, packet) else {
            return;
        };
        let header = packet.header;
        if self.serves(header.destination_port) {
            self.receive_request(interface, packet);
        } else if self.requests.awaits(header) {
            self.receive_answer(interface, packet);
        } else if header.flags.contains(Flags::RDP) {
            self.receive_rdp(interface, packet);
        } else if header.flags.contains(Flags::FRAG) || !lend(&packet) {
            self.receive_datagram(interface, packet);
        }
    }

    /// Removes CRC32 and HMAC, if they are right.
    fn without_trailers<'a>(
        &mut self,
        interface: Option<u8>,
        packet: Packet<'a>,
    ) -> Option<Packet<'a>> {
        let mut packet = packet;
        let flags = packet.header.flags;
        if flags.contains(Flags::CRC32) {
            let Ok(rest) = packet.split_crc32(self.config.version) else {
                self.stats.bad_crc32 += 1;
                self.router.count(interface, |it| it.receive_errors += 1);
                return None;
            };
            packet = rest;
        }
        if !flags.contains(Flags::HMAC) {
            return Some(packet);
        }
        match self.security.split_hmac(packet) {
            Ok(packet) => return Some(packet),
            Err(HmacFault::NoKey) => self.stats.unsupported_flags += 1,
            Err(HmacFault::Wrong) => self.stats.bad_hmac += 1,
        }
        self.count_authentication(interface);
        None
    }

    fn count_authentication(&mut self, interface: Option<u8>) {
        self.router
            .count(interface, |it| it.authentication_errors += 1);
    }

    /// Tells whether a packet has the trailers that it needs, and counts it if not.
    pub(super) fn has_required(
        &mut self,
        interface: Option<u8>,
        header: Header,
        required: Flags,
    ) -> bool {
        let missing = required.difference(header.flags);
        if missing.is_empty() {
            return true;
        }
        self.stats.forbidden += 1;
        if missing.contains(Flags::HMAC) {
            self.count_authentication(interface);
        }
        false
    }

    fn receive_answer(&mut self, interface: Option<u8>, packet: Packet<'_>) {
        let required = self.config.requests.flags();
        if !self.has_required(interface, packet.header, required) {
            return;
        }
        let router = &self.router;
        let is_broadcast = |address| router.is_broadcast(address);
        match self.requests.on_answer(self.now, packet, is_broadcast) {
            AnswerStep::Taken => {}
            AnswerStep::Unasked => self.stats.unexpected += 1,
            AnswerStep::Full => self.stats.queue_full += 1,
        }
    }

    /// Returns what the socket bound to the port of a packet says, if it takes the packet.
    fn socket_of(&mut self, interface: Option<u8>, header: Header) -> Option<SocketOptions> {
        let port = usize::from(header.destination_port);
        let Some(options) = self.ports.get(port).copied().flatten() else {
            self.stats.closed_port += 1;
            return None;
        };
        let wrong = if header.flags.contains(Flags::RDP) {
            options.contains(SocketOptions::RDP_PROHIBITED)
        } else {
            options.contains(SocketOptions::RDP_REQUIRED)
        };
        if wrong {
            self.stats.forbidden += 1;
            return None;
        }
        let has_required = self.has_required(interface, header, options.required());
        has_required.then_some(options)
    }

    fn receive_datagram(&mut self, interface: Option<u8>, packet: Packet<'_>) {
        let Packet { header, data } = packet;
        if self.socket_of(interface, header).is_none() {
            return;
        }
        let about = DatagramAddress {
            port: header.destination_port,
            from: source(header),
            kind: kind_of(header),
        };
        if !self.datagrams.push(about, &[data]) {
            self.stats.queue_full += 1;
        }
    }

    fn receive_rdp(&mut self, interface: Option<u8>, packet: Packet<'_>) {
        let header = packet.header;
        let Ok((rdp, packet)) = packet.split_rdp() else {
            self.stats.short_rdp += 1;
            return;
        };
        if !self.is_own(header.destination) {
            self.stats.forbidden += 1;
            return;
        }
        let (port, peer) = (header.destination_port, source(header));
        let mut slots = self.slots.iter_mut();
        let Some(at) = slots.position(|slot| slot.connects(port, peer)) else {
            return self.receive_without_connection(interface, header, rdp, packet.data);
        };
        let options = self.slots.get(at).map(|slot| slot.options);
        let required = options.unwrap_or_default().flags();
        if !self.has_required(interface, header, required) {
            return;
        }
        let now = self.now;
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        match slot.rdp.receive(now, rdp, packet.data, kind_of(header)) {
            Received::Accepted => {}
            Received::Duplicate => self.stats.duplicates += 1,
            Received::BadSequence => self.stats.bad_sequence += 1,
            Received::BadAcknowledgement => self.stats.bad_acknowledgement += 1,
            Received::NoRoom => self.stats.queue_full += 1,
            Received::Unexpected => self.stats.unexpected += 1,
            Received::HalfOpen(sequence) => {
                self.stats.unexpected += 1;
                self.reset(header, sequence, SequenceNumber(0));
                self.connect_again(at);
            }
        }
    }

    /// Opens a connection from another port, since the peer holds an earlier one from the first.
    fn connect_again(&mut self, at: usize) {
        if !self.slots.get_mut(at).is_some_and(Slot::retry) {
            return;
        }
        let (initial, now) = (self.draw_initial(), self.now);
        let Some(port) = self.take_source_port() else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(at) {
            let old = mem::replace(&mut slot.port, port);
            slot.rdp.connect_again(now, initial);
            self.source_ports.rest(old, now, slot.rest());
        }
    }

    fn receive_without_connection(
        &mut self,
        interface: Option<u8>,
        header: Header,
        rdp: RdpHeader,
        data: &[u8],
    ) {
        let (port, peer) = (header.destination_port, source(header));
        let mut slots = self.slots.iter();
        let ended = slots.find(|slot| slot.has_connected(port, peer));
        let received = ended.map(|slot| slot.rdp.last_received());
        let has_socket = self.socket_of(interface, header).is_some();
        if received.is_none() && !has_socket {
            return;
        }
        if rdp.flags != RdpFlags::SYN {
            self.stats.no_connection += 1;
            // The peer's connection has ended here, or is older than this node. No answer to an RST, or two nodes
            // answer for ever.
            if rdp.flags.contains(RdpFlags::ACK) && !rdp.flags.contains(RdpFlags::RST) {
                let received = received.unwrap_or(SequenceNumber(0));
                self.reset(header, rdp.acknowledgement.plus(1), received);
            }
            return;
        }
        if !has_socket {
            return;
        }
        let Ok(options) = SynOptions::decode(data) else {
            self.stats.short_syn += 1;
            return;
        };
        let (initial, now) = (self.draw_initial(), self.now);
        let Some(at) = self.free_slot(HANDSHAKE_PATIENCE) else {
            self.stats.no_slot += 1;
            return;
        };
        let send_options = SendOptions {
            priority: header.priority,
            crc32: header.flags.contains(Flags::CRC32),
            hmac: header.flags.contains(Flags::HMAC),
            ..SendOptions::default()
        };
        let local = (header.destination, header.destination_port);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.take(Role::Accepting, local, peer, send_options);
            slot.rdp.accept(now, (rdp, options), initial);
        }
    }

    /// Returns a slot that is free, or whose peer has not confirmed the SYN+ACK within `patience`: the one of these that
    /// waits longest. Peers that prove nothing so shut nobody out.
    pub(super) fn free_slot(&mut self, patience: Duration) -> Option<usize> {
        if let Some(at) = self.slots.iter().position(Slot::is_free) {
            return Some(at);
        }
        let now = self.now;
        let half_open = self.slots.iter().enumerate();
        let half_open = half_open.filter_map(|(at, slot)| Some((slot.half_open_since()?, at)));
        let (_, at) = half_open
            .min()
            .filter(|(since, _)| *since + patience <= now)?;
        self.stats.no_slot += 1;
        Some(at)
    }

    /// Tells a peer that there is no such connection, by the sequence number that it expects next, and what was last
    /// received on it.
    fn reset(&mut self, header: Header, sequence: SequenceNumber, received: SequenceNumber) {
        let trailer = RdpHeader {
            flags: RdpFlags::RST,
            count: self.control_packets,
            sequence,
            acknowledgement: received,
        };
        self.control_packets = (self.control_packets + 1) & 0x0F;
        self.answer(header.reversed(), &trailer.encode());
    }
}

/// Returns what the data of a packet are.
const fn kind_of(header: Header) -> DataKind {
    if header.flags.contains(Flags::FRAG) {
        DataKind::Fragment
    } else {
        DataKind::Packet
    }
}

const fn source(header: Header) -> Endpoint {
    Endpoint {
        address: header.source,
        port: header.source_port,
    }
}
