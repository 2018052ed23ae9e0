//! Reading any file ends and never panics.

use alloc::vec::Vec;

use arbitrary::Unstructured;

use super::fix_checksums::try_fix_checksums;
use super::toy::{Toy, datagram_session, short_session};
use crate::Instant;
use crate::record::{CapturedPacket, Flows, read_in_all_ways};
use crate::tests::tries::tries;

fn read_all(file: &[u8]) {
    read_in_all_ways::<Toy<crate::Path>>(file);
    read_in_all_ways::<Toy<()>>(file);
}

/// Changes a few octets, or copies some elsewhere.
fn mutate(file: &mut Vec<u8>, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    for _ in 0..u.int_in_range(1..=4)? {
        let at = u.choose_index(file.len())?;
        match u.int_in_range(0..=3)? {
            0 => file[at] = u.arbitrary()?,
            1 => file[at] ^= 1 << u.int_in_range(0..=7)?,
            2 => file.truncate(at + 1),
            _ => {
                let end = at + u.int_in_range(0..=file.len() - at)?;
                let copied = file[at..end].to_vec();
                let to = u.choose_index(file.len())?;
                file.splice(to..to, copied);
            }
        }
    }
    Ok(())
}

#[test]
fn arbitrary_octets_are_read_without_a_panic() {
    let heads: [&[u8]; 4] = [
        &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a],
        &[0xd4, 0xc3, 0xb2, 0xa1],
        &[0xa1, 0xb2, 0x3c, 0x4d],
        &[],
    ];
    tries(200, 32..=65_536, |u| {
        let mut file = u.choose(&heads)?.to_vec();
        file.extend_from_slice(u.bytes(u.len())?);
        read_all(&file);
        Ok(())
    });
}

#[test]
fn changed_recordings_are_read_without_a_panic() {
    let files = [datagram_session(), short_session()];
    tries(200, 32..=65_536, |u| {
        let mut file = u.choose(&files)?.clone();
        mutate(&mut file, u)?;
        read_all(&file);
        Ok(())
    });
}

#[test]
fn changed_recordings_with_matching_checksums_are_read_without_a_panic() {
    let files = [datagram_session(), short_session()];
    tries(200, 32..=65_536, |u| {
        let mut file = u.choose(&files)?.clone();
        mutate(&mut file, u)?;
        read_all(&try_fix_checksums(file));
        Ok(())
    });
}

#[test]
fn arbitrary_packets_of_every_link_type_are_read_without_a_panic() {
    let heads: [&[u8]; 5] = [
        // IPv4 and IPv6, with fragments that look alike.
        &[
            0x45, 0, 0, 60, 0, 1, 0x20, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ],
        &[0x60, 0, 0, 0, 0, 40, 44, 64],
        // Tags of an exported PDU.
        &[
            0, 14, 0, 8, b'u', b'd', b'p', b'.', b'p', b'o', b'r', b't', 0, 24, 0, 4, 0, 0, 0, 3,
        ],
        &[
            0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ],
        &[],
    ];
    tries(2000, 32..=2048, |u| {
        let mut flows = Flows::new();
        for _ in 0..u.int_in_range(1..=6)? {
            let link_type = *u.choose(&[0, 1, 12, 101, 108, 113, 252, 276])?;
            let mut octets = u.choose(&heads)?.to_vec();
            let length = u.int_in_range(0..=80)?;
            octets.extend_from_slice(u.bytes(length.min(u.len()))?);
            let packet = CapturedPacket {
                at: 0,
                time: Instant::from_nanos(u.arbitrary()?),
                link_type,
                direction: None,
                octets: &octets,
                length: octets.len(),
            };
            flows.packet(&packet, |_| {});
        }
        flows.finish(Instant::MAX, |_| {});
        assert!(flows.skipped().fragments <= 6);
        Ok(())
    });
}
