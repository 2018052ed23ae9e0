//! Packets that the node sends.

use super::carrier::{Carrier, PacketHead, Put};
use super::slot::Slot;
use super::{Node, OutgoingData, OutgoingDatagram};
use crate::csp::rdp::{Segment, Written};
use crate::csp::wire::{Flags, Header, Priority, RdpHeader, SfpTrailer};
use crate::{Hop, Instant, Transmit};

/// Borrows what of a node writes packets, and leaves what they are written from.
macro_rules! carrier {
    ($node:expr, $tx:expr) => {
        Carrier {
            config: &$node.config,
            links: &$node.links,
            security: &$node.security,
            router: &mut $node.router,
            codecs: &mut $node.codecs,
            loopback: &mut $node.loopback,
            stats: &mut $node.stats,
            tx: $tx,
        }
    };
}

impl Node {
    /// Writes what is to be sent to one destination.
    pub(crate) fn write(&mut self, tx: &mut Transmit<Hop>) {
        let lost = self.stats.lost();
        self.write_all(tx);
        self.has_lost = self.stats.lost() > lost;
    }

    fn write_all(&mut self, tx: &mut Transmit<Hop>) {
        let now = self.now;
        let mut carrier = carrier!(self, tx);
        carrier.write_queues();
        while let Some((header, data)) = self.answers.front() {
            match carrier.put(PacketHead::new(header), [data, &[], &[]]) {
                Put::Done => {}
                Put::Later => return,
                // Nobody waits for an answer so long.
                Put::Blocked => carrier.stats.answers_full += 1,
            }
            self.answers.discard();
        }
        if !self.requests.write(now, &mut carrier) {
            return;
        }
        let mut place = 0;
        while let Some(packet) = self.outgoing.get_mut(place) {
            match packet.write(&mut carrier) {
                Put::Done => drop(self.outgoing.remove(place)),
                Put::Later => return,
                Put::Blocked => place += 1,
            }
        }
        let count = self.slots.len();
        for place in 0..count {
            let at = (self.next_to_send + place) % count;
            let Some(slot) = self.slots.get_mut(at) else {
                continue;
            };
            if !write_connection(slot, now, &mut self.control_packets, &mut carrier) {
                self.next_to_send = at;
                return;
            }
        }
    }
}

#[cfg(feature = "dtp")]
impl Node {
    /// Writes a packet without connection at once, if the pace of its interface allows it.
    pub(crate) fn put_datagram(
        &mut self,
        tx: &mut Transmit<Hop>,
        header: Header,
        data: [&[u8]; 2],
    ) -> Put {
        let [first, second] = data;
        let mut exits = self.router.exits(header.destination, None);
        let hop = exits.next().map(|exit| exit.hop);
        drop(exits);
        let pacer = hop.and_then(|hop| self.links.paced(hop));
        if pacer.is_some_and(|it| it.blocked_until(self.now).is_some()) {
            return Put::Blocked;
        }
        let mut carrier = carrier!(self, tx);
        let put = carrier.put(PacketHead::new(header), [first, second, &[]]);
        if put == Put::Done
            && let Some(pacer) = hop.and_then(|hop| self.links.paced(hop))
        {
            pacer.on_sent(self.now, first.len() + second.len());
        }
        put
    }
}

/// Writes all that a connection may send. Returns false if the rest goes into the next transmit.
fn write_connection(
    slot: &mut Slot,
    now: Instant,
    control_packets: &mut u8,
    carrier: &mut Carrier<'_, '_>,
) -> bool {
    if slot.is_free() {
        return true;
    }
    let head = slot.head();
    let mut outcome = Put::Done;
    loop {
        let written = slot.rdp.write(now, |segment| {
            outcome = put_segment(head, &segment, control_packets, carrier);
            outcome == Put::Done
        });
        match written {
            Written::Segment => {}
            Written::Repetition => carrier.stats.resent += 1,
            Written::Nothing | Written::Blocked => return outcome != Put::Later,
        }
    }
}

fn put_segment(
    head: PacketHead,
    segment: &Segment<'_>,
    control_packets: &mut u8,
    carrier: &mut Carrier<'_, '_>,
) -> Put {
    let mut head = head;
    let count = if segment.is_data {
        0
    } else {
        head.header.priority = head.header.priority.min(Priority::High);
        *control_packets
    };
    let fragment = segment.fragment.map(SfpTrailer::encode);
    head.header.flags.set(Flags::FRAG, fragment.is_some());
    let fragment = fragment.as_ref().map_or(&[][..], |it| it);
    let trailer = RdpHeader {
        flags: segment.flags,
        count,
        sequence: segment.sequence,
        acknowledgement: segment.acknowledgement,
    };
    let put = carrier.put(head, [segment.data, fragment, &trailer.encode()]);
    if put == Put::Done && !segment.is_data {
        *control_packets = (*control_packets + 1) & 0x0F;
    }
    put
}

impl OutgoingDatagram {
    /// Writes the packet, or all its fragments.
    fn write(&mut self, carrier: &mut Carrier<'_, '_>) -> Put {
        let head = self.head;
        match &mut self.data {
            OutgoingData::Packet(data) => carrier.put(head, [data, &[], &[]]),
            OutgoingData::Fragments(fragments) => {
                while let Some((place, data)) = fragments.front() {
                    let put = carrier.put(head, [data, &place.encode(), &[]]);
                    if put != Put::Done {
                        return put;
                    }
                    fragments.pass();
                }
                Put::Done
            }
        }
    }
}

impl Slot {
    /// Returns the header of its packets.
    const fn head(&self) -> PacketHead {
        let header = Header {
            priority: self.options.priority,
            source: self.local,
            destination: self.peer.address,
            destination_port: self.peer.port,
            source_port: self.port,
            flags: Flags::RDP.union(self.options.flags()),
        };
        PacketHead::new(header).with(self.options)
    }
}
