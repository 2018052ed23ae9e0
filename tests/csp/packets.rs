//! Packets made and read beside the library.

use farlink::csp::{
    Flags, Header, Packet, RdpFlags, RdpHeader, SequenceNumber, SharedKey, Version, crc32,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

/// The passphrase of the captures.
pub(crate) const PASSPHRASE: &[u8] = b"interop-key";

pub(crate) fn key() -> SharedKey {
    SharedKey::from_passphrase(PASSPHRASE)
}

/// Returns a trailer whose count of control packets is 0.
pub(crate) fn rdp(flags: RdpFlags, sequence: u16, acknowledgement: u16) -> RdpHeader {
    RdpHeader {
        flags,
        count: 0,
        sequence: SequenceNumber(sequence),
        acknowledgement: SequenceNumber(acknowledgement),
    }
}

fn hmac_of(data: &[u8]) -> [u8; 4] {
    let key = Sha1::digest(PASSPHRASE);
    let mut hmac = Hmac::<Sha1>::new_from_slice(&key[..16]).unwrap();
    hmac.update(data);
    hmac.finalize().into_bytes()[..4].try_into().unwrap()
}

/// Returns a packet with the HMAC and CRC32 that its flags say.
pub(crate) fn sealed(version: Version, header: Header, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if header.flags.contains(Flags::HMAC) {
        data.extend(hmac_of(&data));
    }
    if header.flags.contains(Flags::CRC32) {
        data.extend(crc32(&[&data]).to_be_bytes());
    }
    let mut octets = Vec::new();
    let data = &data;
    Packet { header, data }.encode(version, &mut octets);
    octets
}

/// Returns a packet without its HMAC and CRC32, which are right.
pub(crate) fn unsealed(version: Version, octets: &[u8]) -> Packet<'_> {
    let mut packet = Packet::decode(version, octets).unwrap();
    if packet.header.flags.contains(Flags::CRC32) {
        packet = packet.split_crc32(version).unwrap();
    }
    if packet.header.flags.contains(Flags::HMAC) {
        let (data, hmac) = packet.data.split_last_chunk::<4>().unwrap();
        assert_eq!(*hmac, hmac_of(data));
        packet.data = data;
    }
    packet
}
