//! Packets, field by field and trailer by trailer.

use farlink::csp::{
    Flags, Header, Packet, PacketV1Codec, PacketV2Codec, Priority, RdpFlags, RdpHeader,
    SequenceNumber, SynOptions, Version, crc32,
};
use farlink::laws::codec;
use farlink::wire::{DecodeError, Fault};

use crate::csp_bodies;
use crate::csp_captures::{Capture, captures};
use crate::tries::tries;
use crate::vector_octets::unhex;

fn all() -> Vec<Capture> {
    let all = captures("csp", "");
    assert!(all.len() > 40, "{} captures", all.len());
    all
}

#[test]
fn every_captured_packet_encodes_to_its_octets() {
    let mut count = 0;
    for capture in all() {
        let version = capture.version();
        for octets in capture.packets() {
            let packet = Packet::decode(version, &octets).unwrap();
            let mut again = Vec::new();
            packet.encode(version, &mut again);

            assert_eq!(again, octets, "{}", capture.name);
            csp_bodies::wire(&octets);
            count += 1;
        }
    }
    assert!(count > 350, "{count} packets");
}

#[test]
fn packets_handed_to_an_interface_have_the_fields_that_were_asked_for() {
    let mut count = 0;
    for capture in all() {
        for frame in capture.frames() {
            let Some(fields) = frame.packet.map(|at| &capture.packets[at]) else {
                continue;
            };
            let octets = frame.octets.to_vec();
            let Packet { header, data } = Packet::decode(capture.version(), &octets).unwrap();

            assert_eq!(header.priority as u8, fields.priority);
            assert_eq!(
                (header.source, header.destination),
                (fields.source, fields.destination)
            );
            assert_eq!(header.destination_port, fields.destination_port);
            assert_eq!(header.source_port, fields.source_port);
            assert_eq!(header.flags.bits(), fields.flags);
            assert_eq!(data, fields.data.to_vec());
            count += 1;
        }
    }
    assert!(count > 20, "{count} packets");
}

#[test]
fn every_captured_crc32_is_right_and_no_other_value_is() {
    let mut count = 0;
    for capture in all() {
        let version = capture.version();
        for octets in capture.packets() {
            let packet = Packet::decode(version, &octets).unwrap();
            if !packet.header.flags.contains(Flags::CRC32) {
                continue;
            }
            assert!(packet.split_crc32(version).is_ok(), "{}", capture.name);

            for bit in version.header_len() * 8..octets.len() * 8 {
                let mut damaged = octets.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let packet = Packet::decode(version, &damaged).unwrap();
                assert!(packet.split_crc32(version).is_err(), "{}", capture.name);
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count} packets");
}

#[test]
fn captured_control_packets_of_rdp_have_no_data_but_the_options() {
    let mut syns = 0;
    for capture in captures("csp", "rdp_") {
        let version = capture.version();
        for octets in capture.packets() {
            let packet = Packet::decode(version, &octets).unwrap();
            let has_trailers = Flags::CRC32 | Flags::HMAC;
            if packet.header.flags.intersects(has_trailers) {
                continue;
            }
            let (rdp, packet) = packet.split_rdp().unwrap();
            if rdp.flags == RdpFlags::SYN {
                let options = SynOptions::decode(packet.data).unwrap();
                assert_eq!(options.encode(), packet.data);
                assert_eq!(rdp.acknowledgement, SequenceNumber(0));
                syns += 1;
            } else if rdp.flags.contains(RdpFlags::SYN) || rdp.flags.contains(RdpFlags::RST) {
                assert!(packet.data.is_empty());
            }
        }
    }
    assert!(syns > 15, "{syns}");
}

#[test]
fn a_syn_of_libcsp_has_its_default_options() {
    let octets = unhex("40010008a4820000000400002710000003e800000001000000fa0000000208c30a0000");

    let packet = Packet::decode(Version::V2, &octets).unwrap();
    let (rdp, rest) = packet.split_rdp().unwrap();

    assert_eq!(
        packet.header,
        Header {
            priority: Priority::High,
            source: 2,
            destination: 1,
            destination_port: 10,
            source_port: 18,
            flags: Flags::RDP,
        }
    );
    assert_eq!(
        rdp,
        RdpHeader {
            flags: RdpFlags::SYN,
            count: 0,
            sequence: SequenceNumber(0xC30A),
            acknowledgement: SequenceNumber(0),
        }
    );
    assert_eq!(SynOptions::decode(rest.data), Ok(SynOptions::default()));
}

#[test]
fn crc32_may_cover_the_header_too() {
    for version in [Version::V1, Version::V2] {
        let header = Header {
            priority: Priority::Low,
            source: 3,
            destination: 17,
            destination_port: 1,
            source_port: 63,
            flags: Flags::CRC32,
        };
        let mut encoded = Vec::new();
        header.encode(version, &mut encoded);
        let sum = crc32(&[&encoded, b"data"]).to_be_bytes();

        let octets = [&encoded[..], b"data", &sum].concat();
        let packet = Packet::decode(version, &octets).unwrap();

        assert_eq!(packet.split_crc32(version).unwrap().data, b"data");
    }
}

#[test]
fn a_short_or_wrong_field_is_named_with_its_value() {
    let short = |field, need, left| {
        Err(DecodeError {
            field,
            offset: 0,
            fault: Fault::Short { need, left },
        })
    };
    let header = |len| Packet::decode(Version::V2, &[0; 6][..len]).map(|_| ());
    let empty = Packet::decode(Version::V2, &[0; 6]).unwrap();
    let four = Packet::decode(Version::V2, &[0; 10]).unwrap();

    assert_eq!(header(5), short("header", 6, 5));
    assert_eq!(
        empty.split_crc32(Version::V2).map(|_| ()),
        short("crc32", 4, 0)
    );
    assert_eq!(four.split_rdp().map(|_| ()), short("rdp trailer", 5, 4));
    assert_eq!(four.split_sfp().map(|_| ()), short("sfp trailer", 8, 4));
    assert_eq!(
        SynOptions::decode(&[0; 23]).map(|_| ()),
        short("syn options", 24, 23)
    );
    let wrong = Packet::decode(Version::V1, b"\0\0\0\0ab\0\0\x01\0").unwrap();
    assert_eq!(
        wrong.split_crc32(Version::V1).unwrap_err().to_string(),
        "crc32 at offset 2: value 256 (0x100) is not allowed"
    );
}

#[test]
fn sequence_numbers_wrap() {
    let last = SequenceNumber(u16::MAX);

    assert_eq!(last.plus(2), SequenceNumber(1));
    assert_eq!(SequenceNumber(1).minus(2), last);
    assert_eq!(SequenceNumber(1).distance(last), 2);
    assert!(SequenceNumber(1).is_within(last, 3));
    assert!(!SequenceNumber(2).is_within(last, 3));
    assert!(!last.minus(1).is_within(last, 3));
}

#[test]
fn any_octets_that_decode_encode_to_themselves() {
    tries(300, 0..=200, |u| {
        csp_bodies::wire(u.peek_bytes(u.len()).unwrap_or_default());
        Ok(())
    });
}

/// Among octets as likely as others no table of routes would be.
#[test]
fn any_table_of_routes_that_is_read_is_printed_as_the_same() {
    tries(2000, 1..=60, |u| {
        let mut text = String::new();
        while !u.is_empty() {
            text.push_str(u.choose(&[
                "0", "1", "5", "9", "14", "31", "16383", "/", " ", " ", " CAN", " 0", ",",
            ])?);
        }
        csp_bodies::wire(text.as_bytes());
        Ok(())
    });
}

/// Requests of all kinds with octets damaged, added or cut off.
#[test]
fn any_request_that_decodes_encodes_to_the_same() {
    tries(3000, 8..=250, |u| {
        let mut octets = vec![0, u.int_in_range(0..=10)?];
        octets.extend(u.bytes(u.len())?);
        farlink::csp::check_decoders(&octets);
        Ok(())
    });
}

#[test]
fn any_packet_that_fits_encodes_to_what_decodes_to_it() {
    tries(2000, 16..=64, |u| {
        for version in [Version::V1, Version::V2] {
            let header = Header {
                priority: u.arbitrary()?,
                source: u.int_in_range(0..=version.broadcast())?,
                destination: u.int_in_range(0..=version.broadcast())?,
                destination_port: u.int_in_range(0..=63)?,
                source_port: u.int_in_range(0..=63)?,
                flags: Flags::from_bits_retain(u.arbitrary()?) & version.flags(),
            };
            assert!(header.fits(version));
            let packet = Packet {
                header,
                data: u.arbitrary()?,
            };
            match version {
                Version::V1 => codec::check_item::<PacketV1Codec>(&packet),
                Version::V2 => codec::check_item::<PacketV2Codec>(&packet),
            }
        }
        Ok(())
    });
}
