//! Packets with their trailers.

use bytes::Bytes;
use farlink::csp::{Flags, Header, Packet, RdpHeader, Version, crc32};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

pub(super) struct Trailers<'a> {
    pub(super) rdp: Option<[u8; RdpHeader::LEN]>,
    pub(super) hmac: Option<&'a str>,
}

pub(super) struct Decoded {
    pub(super) header: Header,
    pub(super) rdp: Option<RdpHeader>,
    pub(super) data: Bytes,
}

/// The key is the first 16 octets of SHA-1 of the passphrase, and of the code the first 4 are sent.
fn hmac_of(passphrase: &str, data: &[u8]) -> [u8; 4] {
    let key = Sha1::digest(passphrase.as_bytes());
    let mut hmac = Hmac::<Sha1>::new_from_slice(&key[..16]).unwrap();
    hmac.update(data);
    hmac.finalize().into_bytes()[..4].try_into().unwrap()
}

pub(super) fn encode(
    version: Version,
    mut header: Header,
    data: &[u8],
    trailers: &Trailers<'_>,
) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Some(rdp) = trailers.rdp {
        header.flags |= Flags::RDP;
        data.extend(rdp);
    }
    if let Some(passphrase) = trailers.hmac {
        header.flags |= Flags::HMAC;
        data.extend(hmac_of(passphrase, &data));
    }
    if header.flags.contains(Flags::CRC32) {
        data.extend(crc32(&[&data]).to_be_bytes());
    }
    let mut octets = Vec::new();
    let data = &data;
    Packet { header, data }.encode(version, &mut octets);
    octets
}

/// Returns nothing for what libcsp drops.
pub(super) fn decode(version: Version, octets: &[u8], hmac: Option<&str>) -> Option<Decoded> {
    let mut packet = Packet::decode(version, octets).ok()?;
    let header = packet.header;
    if header.flags.contains(Flags::CRC32) {
        packet = packet.split_crc32(version).ok()?;
    }
    if header.flags.contains(Flags::HMAC) {
        let (data, code) = packet.data.split_last_chunk::<4>()?;
        if *code != hmac_of(hmac?, data) {
            return None;
        }
        packet.data = data;
    }
    let mut rdp = None;
    if header.flags.contains(Flags::RDP) {
        let (trailer, rest) = packet.split_rdp().ok()?;
        rdp = Some(trailer);
        packet = rest;
    }
    Some(Decoded {
        header,
        rdp,
        data: Bytes::copy_from_slice(packet.data),
    })
}
