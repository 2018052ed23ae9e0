//! Packets that the node receives.

use core::mem;

use super::slot::{Role, Slot};
use super::{DatagramAddress, Node, carrier};
use crate::csp::api::{Endpoint, SendOptions, SocketOptions};
use crate::csp::config::PingService;
use crate::csp::rdp::Received;
use crate::csp::wire::{Flags, Header, Packet, RdpFlags, RdpHeader, SequenceNumber, SynOptions};
use crate::{Addr as _, Hop, Instant};

/// The port of the ping service.
pub(super) const PING_PORT: u8 = 1;

impl Node {
    /// Takes the packets that the node has sent to itself.
    pub(super) fn receive_loopback(&mut self, lend: &mut dyn FnMut(&Packet<'_>) -> bool) {
        for _ in 0..self.loopback.len() {
            if let Some(((), octets)) = self.loopback.pop() {
                self.receive_packet(&octets, lend);
            }
        }
    }

    /// Takes what came on an interface. Packets without connection are first lent, as by
    /// [`receive_packet`](Self::receive_packet).
    pub(crate) fn receive_octets(
        &mut self,
        now: Instant,
        from: Hop,
        mut octets: &[u8],
        lend: &mut dyn FnMut(&Packet<'_>) -> bool,
    ) {
        self.now = self.now.max(now);
        let mut codecs = mem::take(&mut self.codecs);
        match codecs.get_mut(usize::from(from.interface)) {
            None => self.receive_packet(octets, lend),
            // The stream of an interface is at the interface itself.
            Some(codec) if codec.is_stream() && from != from.carrier() => {}
            Some(codec) => {
                while let Some(packet) = codec.next_packet(self.now, &mut octets) {
                    self.receive_packet(packet, lend);
                }
            }
        }
        self.codecs = codecs;
    }

    /// Takes a packet. One without connection is first lent: `lend` tells whether it has taken it.
    fn receive_packet(&mut self, octets: &[u8], lend: &mut dyn FnMut(&Packet<'_>) -> bool) {
        let version = self.config.version;
        self.stats.received += 1;
        let Ok(mut packet) = Packet::decode(version, octets) else {
            self.stats.short_header += 1;
            return;
        };
        let header = packet.header;
        if header.destination != self.config.address && header.destination != version.broadcast() {
            self.stats.other_address += 1;
            return;
        }
        if header.source == version.broadcast() {
            self.stats.bad_source += 1;
            return;
        }
        if header
            .flags
            .intersects(Flags::HMAC | Flags::XTEA | Flags::FRAG)
        {
            self.stats.unsupported_flags += 1;
            return;
        }
        if header.flags.contains(Flags::CRC32) {
            let Ok(rest) = packet.split_crc32(version) else {
                self.stats.bad_crc32 += 1;
                return;
            };
            packet = rest;
        }
        if self.answers_pings_at(header.destination_port) {
            self.receive_ping(packet);
        } else if header.source_port == PING_PORT && self.pings.has_port(header.destination_port) {
            let broadcast = version.broadcast();
            self.pings.on_answer(self.now, packet, broadcast);
        } else if header.flags.contains(Flags::RDP) {
            self.receive_rdp(packet);
        } else if !lend(&packet) {
            self.receive_datagram(packet);
        }
    }

    /// Returns what the socket bound to the port of a packet says, if it takes the packet.
    fn socket_of(&mut self, header: Header) -> Option<SocketOptions> {
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
        let lacks_crc32 =
            options.contains(SocketOptions::CRC32_REQUIRED) && !header.flags.contains(Flags::CRC32);
        if wrong || lacks_crc32 {
            self.stats.forbidden += 1;
            return None;
        }
        Some(options)
    }

    fn receive_datagram(&mut self, packet: Packet<'_>) {
        let Packet { header, data } = packet;
        if self.socket_of(header).is_none() {
            return;
        }
        let about = DatagramAddress {
            port: header.destination_port,
            from: source(header),
        };
        if !self.datagrams.push(about, &[data]) {
            self.stats.queue_full += 1;
        }
    }

    pub(super) fn answers_pings_at(&self, port: u8) -> bool {
        port == PING_PORT && self.config.ping != PingService::Off
    }

    fn receive_ping(&mut self, packet: Packet<'_>) {
        let Packet { header, data } = packet;
        let requires_crc32 = self.config.ping == PingService::RequireCrc32;
        let lacks_crc32 = requires_crc32 && !header.flags.contains(Flags::CRC32);
        // Two services would answer each other for ever.
        let is_from_service = header.source_port == PING_PORT;
        if lacks_crc32 || is_from_service || header.flags.contains(Flags::RDP) {
            self.stats.forbidden += 1;
            return;
        }
        let answer = Header {
            source: self.config.address,
            ..header.reversed()
        };
        self.answer(answer, data);
    }

    /// Sends a packet of the node itself, as soon as it can.
    fn answer(&mut self, header: Header, data: &[u8]) {
        let can_go = header.destination == self.config.address
            || carrier::route(&self.config, header.destination).is_some();
        if !can_go || !self.answers.push(header, &[data]) {
            self.stats.answers_full += 1;
        }
    }

    fn receive_rdp(&mut self, packet: Packet<'_>) {
        let header = packet.header;
        let Ok((rdp, packet)) = packet.split_rdp() else {
            self.stats.short_rdp += 1;
            return;
        };
        if header.destination != self.config.address {
            self.stats.forbidden += 1;
            return;
        }
        let (port, peer) = (header.destination_port, source(header));
        let mut slots = self.slots.iter_mut();
        let Some(at) = slots.position(|slot| slot.connects(port, peer)) else {
            return self.receive_without_connection(header, rdp, packet.data);
        };
        let now = self.now;
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        match slot.rdp.receive(now, rdp, packet.data) {
            Received::Accepted => {}
            Received::Duplicate => self.stats.duplicates += 1,
            Received::BadSequence => self.stats.bad_sequence += 1,
            Received::BadAcknowledgement => self.stats.bad_acknowledgement += 1,
            Received::NoRoom => self.stats.queue_full += 1,
            Received::Unexpected => self.stats.unexpected += 1,
            Received::HalfOpen(sequence) => {
                self.stats.unexpected += 1;
                self.reset(header, sequence, rdp.sequence);
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

    fn receive_without_connection(&mut self, header: Header, rdp: RdpHeader, data: &[u8]) {
        if self.socket_of(header).is_none() {
            return;
        }
        if rdp.flags != RdpFlags::SYN {
            self.stats.no_connection += 1;
            // The peer's connection is older than this node. No answer to an RST, or two nodes answer for ever.
            if rdp.flags.contains(RdpFlags::ACK) && !rdp.flags.contains(RdpFlags::RST) {
                self.reset(header, rdp.acknowledgement.plus(1), rdp.sequence);
            }
            return;
        }
        let Ok(options) = SynOptions::decode(data) else {
            self.stats.short_syn += 1;
            return;
        };
        let (initial, now) = (self.draw_initial(), self.now);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_free()) else {
            self.stats.no_slot += 1;
            return;
        };
        let send_options = SendOptions {
            priority: header.priority,
            crc32: header.flags.contains(Flags::CRC32),
        };
        let port = header.destination_port;
        slot.take(Role::Accepting, port, source(header), send_options);
        slot.rdp.accept(now, (rdp, options), initial);
    }

    /// Tells a peer that there is no such connection, by the sequence number that it expects next.
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

const fn source(header: Header) -> Endpoint {
    Endpoint {
        address: header.source,
        port: header.source_port,
    }
}
