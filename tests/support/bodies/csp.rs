//! The bodies of the fuzz targets of CSP, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use farlink::csp::{
    Packet, PacketV1Codec, PacketV2Codec, RdpHeader, SfpTrailer, SynOptions, Version, eack_numbers,
};
use farlink::laws::codec;

/// Checks law 10 for octets as a packet of both versions, and that its trailers come back.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<PacketV1Codec>(octets);
    codec::check_octets::<PacketV2Codec>(octets);
    for version in [Version::V1, Version::V2] {
        let Ok(packet) = Packet::decode(version, octets) else {
            continue;
        };
        assert!(packet.header.fits(version), "{packet:?}");
        let packet = packet.split_crc32(version).unwrap_or(packet);
        if let Ok((sfp, rest)) = packet.split_sfp() {
            assert_eq!(SfpTrailer::decode(sfp.encode()), sfp);
            assert_eq!([rest.data, &sfp.encode()].concat(), packet.data);
        }
        if let Ok((rdp, rest)) = packet.split_rdp() {
            assert_eq!(RdpHeader::decode(rdp.encode()), rdp);
            assert_eq!([rest.data, &rdp.encode()].concat(), packet.data);
            assert_eq!(eack_numbers(rest.data).count(), rest.data.len() / 2);
            if let Ok(options) = SynOptions::decode(rest.data) {
                assert_eq!(options.encode(), rest.data[..SynOptions::LEN]);
            }
        }
    }
}
