//! How packets leave: by interfaces, or back to the node itself.

use super::links::Links;
use crate::csp::api::{SendOptions, Stats};
use crate::csp::carriers::{InterfaceCodec, Pushed};
use crate::csp::config::Config;
use crate::csp::ring::PacketRing;
use crate::csp::routing::{Exit, Router};
use crate::csp::security::Security;
use crate::csp::wire::{CRC32_LEN, Flags, HMAC_LEN, Header, crc32, tail};
use crate::{Hop, Transmit};

/// What became of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was written, or never can be.
    Done,
    /// It fits into the next transmit.
    Later,
    /// Its interface takes none.
    Blocked,
}

/// The header of a packet of this node, and how it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketHead {
    pub(super) header: Header,
    source: Source,
    crc32_covers_header: bool,
}

/// The source of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// That of the header.
    Header,
    /// The address of the node on the interface that the packet leaves by.
    Interface,
}

impl PacketHead {
    /// A packet whose source is in the header.
    pub(super) const fn new(header: Header) -> Self {
        Self {
            header,
            source: Source::Header,
            crc32_covers_header: false,
        }
    }

    /// A packet from the address of the node on each interface that it leaves by.
    pub(super) const fn from_interface(header: Header) -> Self {
        Self {
            source: Source::Interface,
            ..Self::new(header)
        }
    }

    /// Takes what of the options is not in the header.
    pub(super) const fn with(self, options: SendOptions) -> Self {
        Self {
            crc32_covers_header: options.crc32_covers_header,
            ..self
        }
    }

    const fn leaving_by(self, exit: Exit) -> Self {
        let source = match self.source {
            Source::Header => self.header.source,
            Source::Interface => exit.source,
        };
        let header = Header {
            source,
            destination: exit.destination,
            ..self.header
        };
        Self { header, ..self }
    }
}

/// What stands before the data of a packet and behind them.
struct Sealed {
    header: [u8; 8],
    hmac: Option<[u8; HMAC_LEN]>,
    crc32: Option<[u8; CRC32_LEN]>,
}

/// Writes packets to where they go.
pub(super) struct Carrier<'a, 'b> {
    pub(super) config: &'a Config,
    pub(super) links: &'a Links,
    pub(super) security: &'a Security,
    pub(super) router: &'a mut Router,
    pub(super) codecs: &'a mut [InterfaceCodec],
    pub(super) loopback: &'a mut PacketRing<()>,
    pub(super) stats: &'a mut Stats,
    pub(super) tx: &'b mut Transmit<Hop>,
}

impl Carrier<'_, '_> {
    /// Writes a packet with data in pieces, and the trailers that the header asks for.
    pub(super) fn put(&mut self, head: PacketHead, data: [&[u8]; 3]) -> Put {
        let destination = head.header.destination;
        if self.config.has_address(destination) || self.router.has_address(destination) {
            return self.put_loopback(head, data);
        }
        let mut exits = self.router.exits(destination, None);
        let Some(first) = exits.next() else {
            // When it was to be sent there was one.
            self.stats.no_route += 1;
            return Put::Done;
        };
        let is_only = exits.next().is_none();
        drop(exits);
        if !is_only {
            return self.put_copies(head, data);
        }
        if !self.links.takes(first.hop) {
            return Put::Blocked;
        }
        let sealed = self.seal(head.leaving_by(first), data);
        let pieces = sealed.pieces(self.config, data);
        let put = self.send(first.hop, &pieces);
        if put == Put::Done {
            self.capture(&pieces);
        }
        put
    }

    fn put_loopback(&mut self, head: PacketHead, data: [&[u8]; 3]) -> Put {
        let sealed = self.seal(head, data);
        let pieces = sealed.pieces(self.config, data);
        if !self.loopback.push((), &pieces) {
            return Put::Blocked;
        }
        self.stats.sent += 1;
        self.capture(&pieces);
        Put::Done
    }

    /// Lets a copy wait for each interface that the packet leaves by.
    fn put_copies(&mut self, head: PacketHead, data: [&[u8]; 3]) -> Put {
        let destination = head.header.destination;
        let mut exits = self.router.exits(destination, None);
        if !exits.any(|exit| self.router.has_room(exit.hop)) {
            return Put::Blocked;
        }
        drop(exits);
        for place in 0.. {
            let Some(exit) = self.router.exits(destination, None).nth(place) else {
                break;
            };
            let sealed = self.seal(head.leaving_by(exit), data);
            let pieces = sealed.pieces(self.config, data);
            if place == 0 {
                self.capture(&pieces);
            }
            if !self.router.enqueue(exit.hop, &pieces) {
                self.stats.interface_full += 1;
            }
        }
        self.write_queues();
        Put::Done
    }

    fn seal(&self, head: PacketHead, data: [&[u8]; 3]) -> Sealed {
        let [first, second, third] = data;
        let flags = head.header.flags;
        let header = head.header.word(self.config.version);
        let hmac = flags
            .contains(Flags::HMAC)
            .then(|| self.security.hmac(&data));
        // Without a key, no command asks for HMAC.
        let hmac = hmac.flatten();
        let hmac_octets = hmac.as_ref().map_or(&[][..], |it| it);
        let covered = if head.crc32_covers_header {
            tail(&header, self.config.version)
        } else {
            &[]
        };
        let crc32 = flags
            .contains(Flags::CRC32)
            .then(|| crc32(&[covered, first, second, third, hmac_octets]).to_be_bytes());
        Sealed {
            header,
            hmac,
            crc32,
        }
    }

    /// Writes packets that wait for their interfaces, as many as fit.
    pub(super) fn write_queues(&mut self) {
        if !self.flush() {
            return;
        }
        let count = self.router.interfaces();
        let start = self.router.first_queue();
        for turn in 0..count {
            let interface = (start + turn) % count;
            if !self.write_queue(interface) {
                return;
            }
        }
    }

    /// Writes what is left of packets that were written in part. Returns false if the rest goes into the next transmit.
    fn flush(&mut self) -> bool {
        for codec in &mut *self.codecs {
            if codec.pending().is_some_and(|hop| self.links.takes(hop)) {
                match codec.flush(self.tx) {
                    Pushed::Done => {}
                    Pushed::TooLong => self.stats.too_long += 1,
                    Pushed::Later => return false,
                }
            }
        }
        true
    }

    /// Writes packets that wait for an interface. Returns false if the rest goes into the next transmit.
    fn write_queue(&mut self, interface: usize) -> bool {
        while let Some((hop, octets)) = self.router.front_queued(interface) {
            if self.links.is_down(hop) {
                self.stats.interface_full += 1;
                self.router.on_dropped(hop.interface);
                self.router.discard_queued(interface);
                continue;
            }
            if !self.links.takes(hop) {
                return true;
            }
            let (header, data) =
                octets.split_at(self.config.version.header_len().min(octets.len()));
            let octets = data.len();
            let pushed = write(self.codecs, self.tx, hop, &[header, data]);
            if pushed == Pushed::Later {
                return false;
            }
            self.router.discard_queued(interface);
            self.count(hop, pushed, octets);
        }
        true
    }

    /// Writes a packet to an interface.
    fn send(&mut self, hop: Hop, pieces: &[&[u8]]) -> Put {
        let pushed = write(self.codecs, self.tx, hop, pieces);
        let data = pieces.iter().skip(1).map(|piece| piece.len());
        self.count(hop, pushed, data.sum());
        match pushed {
            Pushed::Later => Put::Later,
            Pushed::Done | Pushed::TooLong => Put::Done,
        }
    }

    /// Counts a packet with so many octets of data.
    fn count(&mut self, hop: Hop, pushed: Pushed, octets: usize) {
        let Some(interface) = self.router.stats_mut(hop.interface) else {
            return;
        };
        match pushed {
            Pushed::Done => {
                self.stats.sent += 1;
                interface.sent += 1;
                interface.octets_sent += octets as u64;
            }
            Pushed::TooLong => {
                self.stats.too_long += 1;
                interface.send_errors += 1;
            }
            Pushed::Later => {}
        }
    }

    fn capture(&mut self, pieces: &[&[u8]]) {
        if !self.router.capture(None, pieces) {
            self.stats.promiscuous_full += 1;
        }
    }
}

impl Sealed {
    /// Returns the pieces of the packet in order.
    fn pieces<'a>(&'a self, config: &Config, data: [&'a [u8]; 3]) -> [&'a [u8]; 6] {
        let [first, second, third] = data;
        [
            tail(&self.header, config.version),
            first,
            second,
            third,
            self.hmac.as_ref().map_or(&[], |it| it),
            self.crc32.as_ref().map_or(&[], |it| it),
        ]
    }
}

/// Writes a packet for an interface: its header, and its data in pieces. No packet leaves by another way.
fn write(
    codecs: &mut [InterfaceCodec],
    tx: &mut Transmit<Hop>,
    hop: Hop,
    pieces: &[&[u8]],
) -> Pushed {
    let codec = codecs.get_mut(usize::from(hop.interface));
    match codec.zip(pieces.split_first()) {
        Some((codec, (header, data))) => codec.push(tx, hop, header, data),
        // Routes lead to interfaces alone.
        None => Pushed::TooLong,
    }
}
