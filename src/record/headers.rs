//! Synthetic IP, UDP and TCP headers of the octets that machines send and receive.
//!
//! No such packet was on a wire; there may not have been a wire. The headers tell every analyser from where to
//! where the octets went.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::pcapng::{take, take_slice};

/// The most octets of a stream in one synthetic segment; IPv4 has room for 65495.
pub(super) const SEGMENT: usize = 60 << 10;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const HOPS: u8 = 64;
/// The name of the JSON dissector in an exported PDU.
const JSON: &[u8; 4] = b"json";

/// Sequence number, acknowledgement and flags of one TCP segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
}

/// Writes the headers of a datagram into `header`, which is cleared first.
pub(super) fn udp(header: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let length = UDP_HEADER + payload.len();
    let sum = ip(header, from, to, UDP, length);
    let start = header.len();
    header.extend_from_slice(&from.port().to_be_bytes());
    header.extend_from_slice(&to.port().to_be_bytes());
    header.extend_from_slice(&length_field(length).to_be_bytes());
    header.extend_from_slice(&[0; 2]);
    let sum = checksum(sum + sum_of(tail(header, start)) + sum_of(payload));
    // RFC 768: a computed checksum of zero is sent as all ones, since zero means that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    put(header, start + 6, sum);
}

/// Writes the headers of a segment into `header`, which is cleared first.
pub(super) fn tcp(
    header: &mut Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
    segment: Segment,
    payload: &[u8],
) {
    let sum = ip(header, from, to, TCP, TCP_HEADER + payload.len());
    let start = header.len();
    header.extend_from_slice(&from.port().to_be_bytes());
    header.extend_from_slice(&to.port().to_be_bytes());
    header.extend_from_slice(&segment.sequence.to_be_bytes());
    header.extend_from_slice(&segment.acknowledged.to_be_bytes());
    // Five words of header, then the largest window.
    header.extend_from_slice(&[5 << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum(sum + sum_of(tail(header, start)) + sum_of(payload));
    put(header, start + 16, sum);
}

/// Writes the IP header and returns the sum of the pseudo header.
fn ip(header: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, proto: u8, length: usize) -> u64 {
    header.clear();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = length_field(IPV4_HEADER + length).to_be_bytes();
            header.extend_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0]);
            header.extend_from_slice(&[HOPS, proto, 0, 0]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
            let sum = checksum(sum_of(header));
            put(header, 10, sum);
            pseudo_sum(tail(header, IPV4_HEADER - 8), proto, length)
        }
        (from, to) => {
            let total = length_field(length).to_be_bytes();
            header.extend_from_slice(&[0x60, 0, 0, 0, total[0], total[1], proto, HOPS]);
            header.extend_from_slice(&as_v6(from).octets());
            header.extend_from_slice(&as_v6(to).octets());
            pseudo_sum(tail(header, IPV6_HEADER - 32), proto, length)
        }
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Returns the value of a length field; 0 for what it cannot hold, as in captures of offloaded sends.
fn length_field(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(0)
}

fn pseudo_sum(addresses: &[u8], proto: u8, length: usize) -> u64 {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    sum_of(addresses) + sum_of(&[0, proto]) + sum_of(&length.to_be_bytes())
}

/// Returns the sum of the octets in native words: the ones' complement sum is independent of the byte order
/// and of how many words are added at once (RFC 1071 section 2).
fn sum_of(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let sum: u64 = words
        .iter()
        .map(|&word| u64::from(u32::from_ne_bytes(word)))
        .sum();
    let mut last = [0; 4];
    for (to, octet) in last.iter_mut().zip(rest) {
        *to = *octet;
    }
    sum + u64::from(u32::from_ne_bytes(last))
}

/// Folds a sum into the checksum, in the byte order in which [`put`] writes it.
fn checksum(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    // The loop ends when 16 bits are left.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn put(header: &mut [u8], at: usize, sum: u16) {
    if let Some(field) = header.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_ne_bytes());
    }
}

fn tail(header: &[u8], start: usize) -> &[u8] {
    header.get(start..).unwrap_or_default()
}

/// Returns the payload after headers that [`udp`] or [`tcp`] wrote.
///
/// The lengths in the headers are ignored, since they may be zero; the payload ends with the packet.
pub(super) fn payload(packet: &[u8]) -> Option<&[u8]> {
    let (proto, start) = match packet.first()? >> 4 {
        4 => (packet.get(9)?, IPV4_HEADER),
        6 => (packet.get(6)?, IPV6_HEADER),
        _ => return None,
    };
    match *proto {
        UDP => packet.get(start + UDP_HEADER..),
        TCP => packet.get(start + TCP_HEADER..),
        _ => None,
    }
}

/// Returns the headers without the checksum over the payload, which would reveal two octets of it.
pub(super) fn headers(packet: &[u8]) -> Option<Vec<u8>> {
    let payload = payload(packet)?;
    let mut headers = packet.get(..packet.len() - payload.len())?.to_vec();
    // Last in UDP, last but two octets in TCP.
    let at = match headers.len()
        - if headers.first()? >> 4 == 4 {
            IPV4_HEADER
        } else {
            IPV6_HEADER
        } {
        UDP_HEADER => headers.len() - 2,
        _ => headers.len() - 4,
    };
    headers.get_mut(at..at + 2)?.fill(0);
    Some(headers)
}

/// Codes of the tags before an exported PDU (`LINKTYPE_WIRESHARK_UPPER_PDU`), after `exported_pdu.h` of
/// Wireshark.
pub(super) mod tag {
    pub(in super::super) const END: u16 = 0;
    /// The dissector table that has the dissector of the PDU, and the key in the table.
    pub(super) const TABLE: u16 = 14;
    pub(super) const TABLE_VALUE: u16 = 32;
    pub(in super::super) const IPV4_SOURCE: u16 = 20;
    pub(in super::super) const IPV4_DESTINATION: u16 = 21;
    pub(in super::super) const IPV6_SOURCE: u16 = 22;
    pub(in super::super) const IPV6_DESTINATION: u16 = 23;
    pub(in super::super) const PORT_TYPE: u16 = 24;
    pub(in super::super) const SOURCE_PORT: u16 = 25;
    pub(in super::super) const DESTINATION_PORT: u16 = 26;
    /// The type of the ports of UDP.
    pub(in super::super) const UDP: u32 = 3;
}

/// Writes the tags of a datagram that analysers read as one on `port` into `header`, which is cleared first.
pub(super) fn tags(header: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, port: u16) {
    header.clear();
    let mut write = |code: u16, value: &[u8]| {
        header.extend_from_slice(&code.to_be_bytes());
        header.extend_from_slice(&length_field(value.len()).to_be_bytes());
        // All lengths here are multiples of four, as the format requires.
        header.extend_from_slice(value);
    };
    write(tag::TABLE, b"udp.port");
    write(tag::TABLE_VALUE, &u32::from(port).to_be_bytes());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            write(tag::IPV4_SOURCE, &from.octets());
            write(tag::IPV4_DESTINATION, &to.octets());
        }
        (from, to) => {
            write(tag::IPV6_SOURCE, &as_v6(from).octets());
            write(tag::IPV6_DESTINATION, &as_v6(to).octets());
        }
    }
    write(tag::PORT_TYPE, &tag::UDP.to_be_bytes());
    write(tag::SOURCE_PORT, &u32::from(from.port()).to_be_bytes());
    write(tag::DESTINATION_PORT, &u32::from(to.port()).to_be_bytes());
    write(tag::END, &[]);
}

/// Takes the next tag from the front of an exported PDU.
pub(super) fn take_tag<'a>(pdu: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let [a, b, c, d] = take(pdu)?;
    let value = take_slice(pdu, usize::from(u16::from_be_bytes([c, d])))?;
    Some((u16::from_be_bytes([a, b]), value))
}

/// Splits an exported PDU after its tags.
pub(super) fn split_tags(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut pdu = packet;
    while take_tag(&mut pdu)?.0 != tag::END {}
    packet.split_at_checked(packet.len() - pdu.len())
}

/// The tags of an exported PDU for the JSON dissector.
pub(super) const JSON_TAGS: [u8; 12] = {
    let [j, s, o, n] = *JSON;
    [0, 12, 0, 4, j, s, o, n, 0, 0, 0, 0]
};

/// The sequence numbers of both directions of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    sent: u32,
    received: u32,
    sent_fin: bool,
    received_fin: bool,
}

impl Stream {
    /// `start` is the first sequence number of both directions; successive streams of one path differ in it.
    pub(super) const fn new(start: u32) -> Self {
        Self {
            sent: start,
            received: start,
            sent_fin: false,
            received_fin: false,
        }
    }

    /// Returns the numbers of a segment that this side sends. SYN and FIN count one each.
    pub(super) fn send(&mut self, flags: u8, length: usize) -> Segment {
        let segment = Segment {
            sequence: self.sent,
            acknowledged: if flags & ACK == 0 { 0 } else { self.received },
            flags,
        };
        self.sent = self.sent.wrapping_add(span(flags, length));
        self.sent_fin |= flags & FIN != 0;
        segment
    }

    /// Returns the numbers of a segment that the peer sends.
    pub(super) fn receive(&mut self, flags: u8, length: usize) -> Segment {
        let segment = Segment {
            sequence: self.received,
            acknowledged: if flags & ACK == 0 { 0 } else { self.sent },
            flags,
        };
        self.received = self.received.wrapping_add(span(flags, length));
        self.received_fin |= flags & FIN != 0;
        segment
    }

    pub(super) const fn sent_fin(&self) -> bool {
        self.sent_fin
    }

    pub(super) const fn received_fin(&self) -> bool {
        self.received_fin
    }
}

fn span(flags: u8, length: usize) -> u32 {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    length.wrapping_add(u32::from(flags & (SYN | FIN) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_datagram_has_the_checksums_that_a_stack_would_write() {
        let mut header = Vec::new();

        udp(
            &mut header,
            address("10.0.0.1:1113"),
            address("10.0.0.2:1113"),
            b"abc",
        );

        // Checksums computed independently by RFC 1071.
        let expected = [
            0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 17, 0x26, 0xcc, 10, 0, 0, 1, 10, 0, 0, 2, //
            4, 0x59, 4, 0x59, 0, 11, 0x1e, 0xc1,
        ];
        assert_eq!(header, expected);
    }

    #[test]
    fn mixed_families_become_mapped_addresses() {
        let mut header = Vec::new();

        udp(&mut header, address("[::]:5"), address("192.0.2.1:6"), b"");

        assert_eq!(header[0] >> 4, 6);
        assert!(header[24..40].ends_with(&[0xff, 0xff, 192, 0, 2, 1]));
    }

    #[test]
    fn an_exported_pdu_is_found_after_its_tags() {
        for (from, to) in [
            ("10.0.0.1:5000", "10.0.0.2:6000"),
            ("[fe80::1]:5000", "[fe80::2]:6000"),
        ] {
            let mut packet = Vec::new();
            tags(&mut packet, address(from), address(to), 1113);
            let header = packet.len();
            packet.extend_from_slice(b"abc");

            let (tags, pdu) = split_tags(&packet).unwrap();

            assert_eq!((tags.len(), pdu), (header, &b"abc"[..]));
            assert_eq!(header % 4, 0);
            assert!(split_tags(&packet[..header - 1]).is_none());
        }
    }

    #[test]
    fn sequence_numbers_count_octets_syn_and_fin() {
        let mut stream = Stream::new(100);

        assert_eq!(stream.send(SYN, 0).sequence, 100);
        assert_eq!(stream.receive(SYN | ACK, 0).acknowledged, 101);
        assert_eq!(stream.send(ACK | PSH, 10).sequence, 101);
        assert_eq!(stream.receive(ACK | FIN, 0).acknowledged, 111);
        let last = stream.send(ACK | FIN, 0);
        assert_eq!((last.sequence, last.acknowledged), (111, 102));
    }
}
