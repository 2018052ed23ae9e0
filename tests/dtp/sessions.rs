//! Session files of libdtp and of this crate.

use farlink::dtp::{GetOptions, Interval, Session, SessionError};

use crate::vector_octets::unhex;

/// The file that libdtp has written with packets 2, 3, 7, 11 to 13 and 20 of 26 missing.
fn sample() -> Vec<u8> {
    unhex(concat!(
        "020000000100d00005204e000001cefa0d90420e0000ba1300000500000000000000010000000400000006000000",
        "080000000a0000000e000000130000001500000019000000",
    ))
}

const RECEIVED: [(u32, u32); 5] = [(0, 1), (4, 6), (8, 10), (14, 19), (21, 25)];

/// A file of libdtp for 5050 octets in packets of 200.
fn meta(mtu: u16, ranges: &[(u32, u32)]) -> Vec<u8> {
    let mut octets = sample();
    octets[6..8].copy_from_slice(&mtu.to_le_bytes());
    octets.truncate(26);
    octets.extend(u32::try_from(ranges.len()).unwrap().to_le_bytes());
    for (start, end) in ranges {
        octets.extend(start.to_le_bytes());
        octets.extend(end.to_le_bytes());
    }
    octets
}

fn received(session: &Session) -> Vec<(u32, u32)> {
    let pairs = session.received.iter();
    pairs
        .map(|Interval { start, end }| (*start, *end))
        .collect()
}

#[test]
fn a_file_of_libdtp_is_read_and_written_octet_by_octet() {
    let session = Session::decode(&sample()).unwrap();

    assert_eq!((session.server, session.payload, session.mtu), (1, 1, 208));
    assert_eq!((session.throughput, session.idle_timeout), (20_000, 5));
    assert_eq!((session.id, session.size), (0x900D_FACE, 5050));
    assert_eq!(received(&session), RECEIVED);
    assert_eq!(session.received_octets(), 3650);
    assert_eq!(session.to_meta(), sample());
}

#[test]
fn ranges_of_libdtp_may_be_in_any_order_overlap_or_pass_the_end() {
    let read = |ranges: &[(u32, u32)]| received(&Session::decode(&meta(208, ranges)).unwrap());

    assert_eq!(read(&[(8, 9), (0, 3), (2, 5), (6, 6)]), [(0, 6), (8, 9)]);
    assert_eq!(read(&[(20, 90), (100, 200)]), [(20, 25)]);
    assert_eq!(read(&[]), []);
    let without_count = Session::decode(&sample()[..26]).unwrap();
    assert!(without_count.received.is_empty());
}

#[test]
fn a_lone_missing_last_packet_is_written_with_the_one_before() {
    let session = Session::decode(&meta(208, &[(0, 24)])).unwrap();
    assert_eq!(session.to_meta()[18..22], 4800_u32.to_le_bytes());
    let written = Session::decode(&session.to_meta()).unwrap();
    assert_eq!(received(&written), [(0, 23)]);

    let whole = meta(208, &[(0, 25)]);
    assert_eq!(
        Session::decode(&whole).unwrap().to_meta()[26..],
        whole[26..]
    );
}

#[test]
fn a_damaged_file_is_refused_with_the_field_and_its_value() {
    let refused = |octets: &[u8]| Session::decode(octets).unwrap_err().to_string();
    let mut version = sample();
    version[0] = 1;
    assert!(refused(&version).contains("format version 1"));
    assert_eq!(
        Session::decode(&meta(8, &[])),
        Err(SessionError::Mtu(8)),
        "no room for data"
    );
    assert!(
        refused(&sample()[..69]).contains("a count of 5 received ranges, which need 70 octets")
    );
    assert!(refused(&sample()[..25]).contains("25 octets is shorter than its fields, 26"));
    assert!(refused(&sample()[..28]).contains("28 octets is shorter than its fields, 30"));
    assert!(refused(&meta(208, &[(5, 4)])).contains("range 5 to 4"));

    let own = Session::decode(&sample()).unwrap().encode();
    for at in 8..own.len() {
        let mut damaged = own.clone();
        damaged[at] ^= 0x10;
        assert!(refused(&damaged).contains("check"), "octet {at}");
    }
    assert!(refused(&own[..40]).contains("40 octets is shorter"));
}

#[test]
fn octets_that_come_make_a_session_that_comes_back() {
    let mut session = Session::new((7, 3), GetOptions::default(), 99, 1000);
    session.add(400, &[1; 400]);
    session.add(0, &[1; 200]);
    session.add(800, &[1; 200]);

    assert_eq!(session.missing().collect::<Vec<_>>(), vec![200..400; 1]);
    assert!(session.has(&(450..1000)) && !session.has(&(150..201)));
    assert!(session.sum.is_some());
    assert_eq!(Session::decode(&session.encode()), Ok(session.clone()));
    session.add(0, &[1; 200]);
    assert_eq!(session.sum, None, "octets that came twice");
}
