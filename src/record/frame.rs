//! Finds the payload of UDP or TCP in a captured packet.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::headers::{TCP, UDP, tag, take_tag};
use super::pcapng::{take, take_slice};

/// The payload of UDP or TCP in one packet, with its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The source address.
    pub source: SocketAddr,
    /// The destination address.
    pub destination: SocketAddr,
    /// The transport protocol.
    pub transport: Transport,
    /// The captured octets of the payload.
    pub payload: &'a [u8],
    /// Octets of the payload that were not captured.
    pub missing: usize,
}

/// The transport protocol of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp {
        /// The sequence number of the first octet, or of the SYN.
        sequence: u32,
        /// The flags: FIN, SYN, RST, PSH, ACK and so on from bit 0.
        flags: u8,
    },
}

/// Why a packet has no payload of UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// Its link type is unknown.
    LinkType(u16),
    /// It is neither UDP nor TCP on IP.
    Other,
    /// It is a fragment of an IP packet.
    Fragment,
    /// It is shorter than its headers, or they contradict each other.
    Malformed,
}

/// The most VLAN tags or IPv6 extension headers of a packet.
const MAX_HEADERS: usize = 8;

impl<'a> Frame<'a> {
    /// Finds the payload in a packet of this link type: Ethernet with or without VLAN tags, raw IP, BSD
    /// loopback, both versions of Linux cooked capture, or a datagram exported by Wireshark.
    ///
    /// # Errors
    ///
    /// [`SkipReason`], when the packet has no UDP or TCP.
    pub fn read(link_type: u16, packet: &'a [u8]) -> Result<Self, SkipReason> {
        if link_type == EXPORTED {
            return exported(packet);
        }
        match packet_of_ip(link_type, packet)? {
            Ip::Whole(next, carried) => transport(next, &carried),
            Ip::Fragment(_) => Err(SkipReason::Fragment),
        }
    }

    /// Finds the payload in the octets of a reassembled IP packet.
    pub(super) fn of_fragments(packet: PacketId, octets: &'a [u8]) -> Result<Self, SkipReason> {
        let carried = Carried {
            source: packet.source,
            destination: packet.destination,
            octets,
            missing: 0,
        };
        match extensions(packet.next, carried)? {
            Ip::Whole(next, carried) => transport(next, &carried),
            Ip::Fragment(_) => Err(SkipReason::Malformed),
        }
    }
}

/// `LINKTYPE_WIRESHARK_UPPER_PDU`.
const EXPORTED: u16 = 252;

/// An IP packet, or a fragment of one.
enum Ip<'a> {
    /// With the number of its protocol.
    Whole(u8, Carried<'a>),
    Fragment(Fragment<'a>),
}

/// A fragment of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) packet: PacketId,
    /// Its offset in the packet, in octets.
    pub(super) offset: usize,
    pub(super) is_last: bool,
    pub(super) octets: &'a [u8],
    /// Whether all of its octets were captured.
    pub(super) is_whole: bool,
}

/// Identifies the IP packet of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PacketId {
    source: IpAddr,
    destination: IpAddr,
    next: u8,
    identification: u32,
}

impl<'a> Fragment<'a> {
    /// Reads a packet for which [`Frame::read`] returns [`SkipReason::Fragment`].
    pub(super) fn read(link_type: u16, packet: &'a [u8]) -> Option<Self> {
        match packet_of_ip(link_type, packet) {
            Ok(Ip::Fragment(fragment)) => Some(fragment),
            _ => None,
        }
    }

    fn new(packet: PacketId, flags_and_offset: [u8; 2], unit: Unit, carried: &Carried<'a>) -> Self {
        let field = u16::from_be_bytes(flags_and_offset);
        let (offset, is_last) = match unit {
            Unit::V4 => (usize::from(field & 0x1fff) * 8, field & 0x2000 == 0),
            Unit::V6 => (usize::from(field & 0xfff8), field & 1 == 0),
        };
        Self {
            packet,
            offset,
            is_last,
            octets: carried.octets,
            is_whole: carried.missing == 0,
        }
    }
}

/// The layout of the field with the offset and the flag.
#[derive(Clone, Copy)]
enum Unit {
    V4,
    V6,
}

fn packet_of_ip(link_type: u16, packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    match link_type {
        0 | 108 => loopback(packet),
        1 => ethernet(packet),
        12 | 14 | 101 | 228 | 229 => ip(packet),
        113 => cooked(packet, 14, 16),
        276 => cooked(packet, 0, 20),
        other => Err(SkipReason::LinkType(other)),
    }
}

/// Reads an address family of four octets in either byte order, and the IP packet after it.
fn loopback(packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    let (family, packet) = packet
        .split_first_chunk::<4>()
        .ok_or(SkipReason::Malformed)?;
    // 2 everywhere; for IPv6 10 on Linux, 24, 28 and 30 on the BSDs.
    match family {
        [2 | 10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 2 | 10 | 24 | 28 | 30] => ip(packet),
        _ => Err(SkipReason::Other),
    }
}

/// Reads a PDU after tags with its protocol and its addresses.
fn exported(packet: &[u8]) -> Result<Frame<'_>, SkipReason> {
    let (mut rest, mut is_udp) = (packet, false);
    let (mut source, mut destination) = ((None, None), (None, None));
    loop {
        let (code, value) = take_tag(&mut rest).ok_or(SkipReason::Malformed)?;
        match code {
            tag::END => break,
            tag::IPV4_SOURCE | tag::IPV6_SOURCE => source.0 = ip_address(value),
            tag::IPV4_DESTINATION | tag::IPV6_DESTINATION => destination.0 = ip_address(value),
            tag::PORT_TYPE => is_udp = number(value) == Some(tag::UDP),
            tag::SOURCE_PORT => source.1 = number(value),
            tag::DESTINATION_PORT => destination.1 = number(value),
            _ => {}
        }
    }
    let socket = |(address, port): (Option<IpAddr>, Option<u32>)| {
        let port = port.and_then(|port| u16::try_from(port).ok());
        Some(SocketAddr::new(address?, port?))
    };
    match (socket(source), socket(destination)) {
        (Some(source), Some(destination)) if is_udp => Ok(Frame {
            source,
            destination,
            transport: Transport::Udp,
            payload: rest,
            missing: 0,
        }),
        _ => Err(SkipReason::Other),
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.try_into().map(u32::from_be_bytes).ok()
}

fn ethernet(packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    let mut rest = packet;
    take::<12>(&mut rest).ok_or(SkipReason::Malformed)?;
    ethertype(rest)
}

/// Reads a cooked capture with the `EtherType` at offset `at` and a header of `header` octets.
fn cooked(packet: &[u8], at: usize, header: usize) -> Result<Ip<'_>, SkipReason> {
    let kind = packet.get(at..at + 2).ok_or(SkipReason::Malformed)?;
    let rest = packet.get(header..).ok_or(SkipReason::Malformed)?;
    by_ethertype(kind, rest, 0)
}

fn ethertype(mut rest: &[u8]) -> Result<Ip<'_>, SkipReason> {
    let kind = take_slice(&mut rest, 2).ok_or(SkipReason::Malformed)?;
    by_ethertype(kind, rest, 0)
}

fn by_ethertype<'a>(kind: &[u8], mut rest: &'a [u8], depth: usize) -> Result<Ip<'a>, SkipReason> {
    match kind {
        [0x08, 0x00] | [0x86, 0xdd] => ip(rest),
        // VLAN tags (802.1Q, QinQ, 802.1ad): two octets, then another type.
        [0x81 | 0x91, 0x00] | [0x88, 0xa8] if depth < MAX_HEADERS => {
            take::<2>(&mut rest).ok_or(SkipReason::Malformed)?;
            let kind = take_slice(&mut rest, 2).ok_or(SkipReason::Malformed)?;
            by_ethertype(kind, rest, depth + 1)
        }
        _ => Err(SkipReason::Other),
    }
}

fn ip(packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    match packet.first().map(|first| first >> 4) {
        Some(4) => ipv4(packet),
        Some(6) => ipv6(packet),
        _ => Err(SkipReason::Malformed),
    }
}

/// The octets after an IP header, as far as they were captured.
struct Carried<'a> {
    source: IpAddr,
    destination: IpAddr,
    octets: &'a [u8],
    missing: usize,
}

impl<'a> Carried<'a> {
    /// Drops the padding of short Ethernet frames, and counts what was not captured.
    fn new(source: IpAddr, destination: IpAddr, octets: &'a [u8], length: usize) -> Self {
        Self {
            source,
            destination,
            octets: octets.get(..length).unwrap_or(octets),
            missing: length.saturating_sub(octets.len()),
        }
    }
}

fn ipv4(packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    let (header, _) = packet
        .split_first_chunk::<20>()
        .ok_or(SkipReason::Malformed)?;
    let header_length = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // Offloaded sends are captured before the length is filled in.
    let total = if total == 0 { packet.len() } else { total };
    let length = total
        .checked_sub(header_length)
        .ok_or(SkipReason::Malformed)?;
    let octets = packet.get(header_length..).ok_or(SkipReason::Malformed)?;
    if header_length < 20 {
        return Err(SkipReason::Malformed);
    }
    let mut addresses = header.get(12..).unwrap_or_default();
    let source = take::<4>(&mut addresses).ok_or(SkipReason::Malformed)?;
    let destination = take::<4>(&mut addresses).ok_or(SkipReason::Malformed)?;
    let source = Ipv4Addr::from(source).into();
    let destination = Ipv4Addr::from(destination).into();
    let carried = Carried::new(source, destination, octets, length);
    let fragment = [header[6], header[7]];
    // All but "don't fragment" and the reserved bit.
    if u16::from_be_bytes(fragment) & 0x3fff != 0 {
        let id = PacketId {
            source,
            destination,
            next: header[9],
            identification: u16::from_be_bytes([header[4], header[5]]).into(),
        };
        return Ok(Ip::Fragment(Fragment::new(
            id,
            fragment,
            Unit::V4,
            &carried,
        )));
    }
    Ok(Ip::Whole(header[9], carried))
}

fn ipv6(packet: &[u8]) -> Result<Ip<'_>, SkipReason> {
    let mut rest = packet;
    let [_, _, _, _, high, low, next, _] = take::<8>(&mut rest).ok_or(SkipReason::Malformed)?;
    let source = take::<16>(&mut rest).ok_or(SkipReason::Malformed)?;
    let destination = take::<16>(&mut rest).ok_or(SkipReason::Malformed)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let length = if length == 0 { rest.len() } else { length };
    let carried = Carried::new(
        Ipv6Addr::from(source).into(),
        Ipv6Addr::from(destination).into(),
        rest,
        length,
    );
    extensions(next, carried)
}

/// Skips the extension headers of IPv6.
fn extensions(mut next: u8, mut carried: Carried<'_>) -> Result<Ip<'_>, SkipReason> {
    for _ in 0..MAX_HEADERS {
        let mut rest = carried.octets;
        let [following, size] = match next {
            // Hop-by-hop, routing, destination options, authentication.
            0 | 43 | 60 | 51 => take::<2>(&mut rest).ok_or(SkipReason::Malformed)?,
            44 => {
                let [following, _, high, low] =
                    take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
                let identification = take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
                // All but the reserved bits: offset and "more".
                if u16::from_be_bytes([high, low]) & 0xfff9 != 0 {
                    carried.octets = rest;
                    let id = PacketId {
                        source: carried.source,
                        destination: carried.destination,
                        next: following,
                        identification: u32::from_be_bytes(identification),
                    };
                    let fragment = Fragment::new(id, [high, low], Unit::V6, &carried);
                    return Ok(Ip::Fragment(fragment));
                }
                [following, 0]
            }
            _ => return Ok(Ip::Whole(next, carried)),
        };
        // RFC 4302 counts words of four octets, less two; the others count eight, less one.
        let size = match next {
            51 => (usize::from(size) + 2) * 4,
            _ => (usize::from(size) + 1) * 8,
        };
        carried.octets = carried.octets.get(size..).ok_or(SkipReason::Malformed)?;
        next = following;
    }
    Err(SkipReason::Other)
}

fn transport<'a>(proto: u8, carried: &Carried<'a>) -> Result<Frame<'a>, SkipReason> {
    let mut rest = carried.octets;
    if !matches!(proto, UDP | TCP) {
        return Err(SkipReason::Other);
    }
    let [a, b, c, d] = take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
    let source = SocketAddr::new(carried.source, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(carried.destination, u16::from_be_bytes([c, d]));
    let (transport, payload, missing) = if proto == UDP {
        let (payload, missing) = udp(rest, carried.missing)?;
        (Transport::Udp, payload, missing)
    } else {
        let (transport, payload) = tcp(carried.octets, rest)?;
        (transport, payload, carried.missing)
    };
    Ok(Frame {
        source,
        destination,
        transport,
        payload,
        missing,
    })
}

fn udp(mut rest: &[u8], missing: usize) -> Result<(&[u8], usize), SkipReason> {
    let [high, low, _, _] = take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length == 0 {
        return Ok((rest, missing));
    }
    let length = length.checked_sub(8).ok_or(SkipReason::Malformed)?;
    let payload = rest.get(..length).unwrap_or(rest);
    let lost = length - payload.len();
    // IP has said how much was on the wire; UDP cannot have had more.
    if lost > missing {
        return Err(SkipReason::Malformed);
    }
    Ok((payload, lost))
}

fn tcp<'a>(segment: &'a [u8], mut rest: &'a [u8]) -> Result<(Transport, &'a [u8]), SkipReason> {
    let sequence = take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
    take::<4>(&mut rest).ok_or(SkipReason::Malformed)?;
    let [offset, flags] = take::<2>(&mut rest).ok_or(SkipReason::Malformed)?;
    let header = usize::from(offset >> 4) * 4;
    let payload = segment.get(header..).filter(|_| header >= 20);
    let transport = Transport::Tcp {
        sequence: u32::from_be_bytes(sequence),
        flags,
    };
    Ok((transport, payload.ok_or(SkipReason::Malformed)?))
}
