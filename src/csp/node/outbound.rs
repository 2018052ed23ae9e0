//! Packets that the node sends.

use super::Node;
use super::carrier::{Carrier, Put};
use super::slot::Slot;
use crate::csp::rdp::{Segment, Written};
use crate::csp::wire::{Flags, Header, Priority, RdpHeader};
use crate::{Hop, Instant, Transmit};

impl Node {
    /// Writes what is to be sent to one destination.
    pub(crate) fn write(&mut self, tx: &mut Transmit<Hop>) {
        let now = self.now;
        let mut carrier = Carrier {
            config: &self.config,
            links: &self.links,
            codecs: &mut self.codecs,
            loopback: &mut self.loopback,
            stats: &mut self.stats,
            tx,
        };
        if !carrier.flush() {
            return;
        }
        while let Some((header, data)) = self.answers.front() {
            match carrier.put(header, [data, &[]]) {
                Put::Done => {}
                Put::Later => return,
                // Nobody waits for an answer so long.
                Put::Blocked => carrier.stats.answers_full += 1,
            }
            self.answers.pop();
        }
        if !self.pings.write(now, &mut carrier) {
            return;
        }
        let mut place = 0;
        while let Some(packet) = self.outgoing.get(place) {
            match carrier.put(packet.header, [&packet.data, &[]]) {
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
    /// Writes a packet without connection at once.
    pub(crate) fn put_datagram(
        &mut self,
        tx: &mut Transmit<Hop>,
        header: Header,
        data: [&[u8]; 2],
    ) -> Put {
        let mut carrier = Carrier {
            config: &self.config,
            links: &self.links,
            codecs: &mut self.codecs,
            loopback: &mut self.loopback,
            stats: &mut self.stats,
            tx,
        };
        carrier.put(header, data)
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
    let header = slot.header(carrier.config.address);
    let mut outcome = Put::Done;
    loop {
        let written = slot.rdp.write(now, |segment| {
            outcome = put_segment(header, &segment, control_packets, carrier);
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
    header: Header,
    segment: &Segment<'_>,
    control_packets: &mut u8,
    carrier: &mut Carrier<'_, '_>,
) -> Put {
    let (count, priority) = if segment.is_data {
        (0, header.priority)
    } else {
        (*control_packets, header.priority.min(Priority::High))
    };
    let trailer = RdpHeader {
        flags: segment.flags,
        count,
        sequence: segment.sequence,
        acknowledgement: segment.acknowledgement,
    };
    let header = Header { priority, ..header };
    let put = carrier.put(header, [segment.data, &trailer.encode()]);
    if put == Put::Done && !segment.is_data {
        *control_packets = (*control_packets + 1) & 0x0F;
    }
    put
}

impl Slot {
    /// Returns the header of its packets.
    fn header(&self, address: u16) -> Header {
        Header {
            priority: self.options.priority,
            source: address,
            destination: self.peer.address,
            destination_port: self.peer.port,
            source_port: self.port,
            flags: Flags::RDP | self.options.flags(),
        }
    }
}
