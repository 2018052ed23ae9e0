//! Packets of CSP, with the trailers of RDP and SFP.

use core::fmt::{self, Write as _};

use farlink::csp::{Flags, Packet, RdpFlags, RdpHeader, SfpTrailer, Version, XTEA_LEN};
use farlink::wire::DecodeError;
use serde_json::{Value, json};

use super::dissector::{Dissector, StreamEnd};
use super::dtp::Message;
use super::printer::{OctetRange, Printer};
use crate::output::hex;

/// Datagrams of one packet.
pub(super) struct Csp {
    version: Version,
    /// Octets before those that are decoded.
    position: u64,
}

impl Csp {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            version,
            position: 0,
        }
    }
}

impl Dissector for Csp {
    fn octets(&mut self, octets: &[u8], out: &mut Printer) {
        let (offset, length) = (self.position, octets.len());
        self.position += u64::try_from(length).unwrap_or(u64::MAX);
        let span = OctetRange { offset, length };
        match Opened::decode(self.version, octets) {
            Ok(packet) => out.pdu(span, &packet, || packet.object()),
            Err(error) => out.malformed(span, "packet", &error),
        }
    }

    fn gap(&mut self, octets: u64, out: &mut Printer) {
        out.gap(octets);
    }

    fn end(&mut self, _: StreamEnd, _: &mut Printer) {}
}

/// A packet without its trailers.
struct Opened<'a> {
    packet: Packet<'a>,
    is_crc32_right: Option<bool>,
    rdp: Option<RdpHeader>,
    fragment: Option<SfpTrailer>,
}

impl<'a> Opened<'a> {
    /// Takes the trailers off that can be read without a key.
    fn decode(version: Version, octets: &'a [u8]) -> Result<Self, DecodeError> {
        let packet = Packet::decode(version, octets)?;
        let mut opened = Self {
            packet,
            is_crc32_right: None,
            rdp: None,
            fragment: None,
        };
        let flags = packet.header.flags;
        if flags.contains(Flags::XTEA) && version == Version::V1 && packet.data.len() >= XTEA_LEN {
            return Ok(opened);
        }
        if flags.contains(Flags::CRC32) {
            let split = packet.split_crc32(version);
            opened.is_crc32_right = Some(split.is_ok());
            let behind = packet.data.len().saturating_sub(farlink::csp::CRC32_LEN);
            opened.packet.data = packet.data.get(..behind).unwrap_or_default();
        }
        if flags.contains(Flags::HMAC) {
            let behind = opened.packet.data.len();
            let behind = behind.saturating_sub(farlink::csp::HMAC_LEN);
            opened.packet.data = opened.packet.data.get(..behind).unwrap_or_default();
        }
        if flags.contains(Flags::RDP) {
            let (rdp, packet) = opened.packet.split_rdp()?;
            (opened.rdp, opened.packet) = (Some(rdp), packet);
        }
        if flags.contains(Flags::FRAG) {
            let (place, packet) = opened.packet.split_sfp()?;
            (opened.fragment, opened.packet) = (Some(place), packet);
        }
        Ok(opened)
    }

    fn message(&self) -> Option<Message<'a>> {
        Message::find(&self.packet, self.rdp)
    }

    fn object(&self) -> Value {
        let Packet { header, data } = self.packet;
        json!({
            "priority": header.priority,
            "source": header.source,
            "source_port": header.source_port,
            "destination": header.destination,
            "destination_port": header.destination_port,
            "flags": names(header.flags.iter_names()),
            "crc32_is_right": self.is_crc32_right,
            "rdp": self.rdp.map(|rdp| json!({
                "flags": names(rdp.flags.iter_names()),
                "sequence": rdp.sequence.0,
                "acknowledgement": rdp.acknowledgement.0,
            })),
            "fragment": self.fragment.map(|it| json!({
                "offset": it.offset,
                "total": it.total,
            })),
            "dtp": self.message().map(|it| it.object()),
            "data": hex(data),
        })
    }
}

fn names<T>(flags: impl Iterator<Item = (&'static str, T)>) -> Vec<&'static str> {
    flags.map(|(name, _)| name).collect()
}

impl fmt::Display for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { header, data } = self.packet;
        let (from, to) = (header.source, header.destination);
        let ports = (header.source_port, header.destination_port);
        write!(f, "{from}:{} to {to}:{}", ports.0, ports.1)?;
        if let Some(rdp) = self.rdp {
            let flags = names((rdp.flags & RdpFlags::all()).iter_names()).join("+");
            let numbers = (rdp.sequence.0, rdp.acknowledgement.0);
            write!(f, ", RDP {flags} {} ack {}", numbers.0, numbers.1)?;
        }
        if let Some(SfpTrailer { offset, total }) = self.fragment {
            write!(f, ", fragment from {offset} of {total}")?;
        }
        for (name, flag) in [("HMAC", Flags::HMAC), ("XTEA", Flags::XTEA)] {
            if header.flags.contains(flag) {
                write!(f, ", {name}")?;
            }
        }
        match self.is_crc32_right {
            Some(true) => f.write_str(", CRC32")?,
            Some(false) => f.write_str(", wrong CRC32")?,
            None => {}
        }
        f.write_char(',')?;
        write!(f, " {} octets", data.len())?;
        match self.message() {
            Some(message) => write!(f, ", {message}"),
            None => Ok(()),
        }
    }
}
