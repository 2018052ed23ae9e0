//! Authentication of segments (RFC 5327 section 2.1).

use core::time::Duration;

use farlink::ltp::{Auth, ExtensionTag, Key, Red, Segment};
use farlink::{Hop, Instant};

use crate::line::{Line, is_complete, pattern, received};

const OWLT: Duration = Duration::from_secs(1);

fn shared(id: &'static [u8], secret: &'static [u8]) -> Auth {
    Auth::HmacSha1(Key {
        id: id.into(),
        secret: secret.into(),
    })
}

fn authentic(auth: &Auth) -> Line {
    let auth = auth.clone();
    Line::with(1, OWLT, |_| {}, move |peer| peer.auth = auth.clone())
}

#[test]
fn both_suites_carry_a_block_within_the_segment_limit() {
    for auth in [Auth::Null, shared(b"", b"secret"), shared(b"$", b"secret")] {
        let mut line = authentic(&auth);
        line.send(1, &pattern(5000), Red::Octets(3000));
        line.run();

        assert!(is_complete(&line.events(1), 1));
        assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..3000]));
        for (_, _, octets) in &line.log {
            let segment = Segment::decode(octets).unwrap();
            assert!(octets.len() <= 1400);
            let value = segment.trailer.find(ExtensionTag::AUTHENTICATION).unwrap();
            assert_eq!(value.len(), 10);
        }
        assert_eq!(line.left(), (0, 0, 0));
    }
}

#[test]
fn the_header_extension_is_the_example_of_the_rfc() {
    let mut line = authentic(&shared(&[0x24], b"secret"));
    line.send(1, &pattern(10), Red::All);
    line.drain();

    let octets = &line.log[0].2;
    let segment = Segment::decode(octets).unwrap();
    assert_eq!(segment.header.octets(), [0, 2, 0, 0x24]);
    assert_eq!((segment.header.count(), segment.trailer.count()), (1, 1));
}

#[test]
fn any_changed_octet_makes_a_segment_unauthentic() {
    let mut line = authentic(&shared(b"k", b"secret"));
    line.send(1, &pattern(20), Red::All);
    line.drain();
    let good = line.log[0].2.clone();

    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        line.deliver(2, &bad);
    }

    let stats = line.far().stats();
    assert!(stats.unauthentic > 20, "{stats:?}");
    assert_eq!(line.far().sessions(), (0, 0));
    line.deliver(2, &good);
    assert_eq!(line.far().sessions(), (0, 1));
}

#[test]
fn segments_without_a_value_or_by_another_key_or_key_id_are_dropped() {
    let right = shared(b"k", b"secret");
    for wrong in [
        Auth::Off,
        Auth::Null,
        shared(b"k", b"other"),
        shared(b"j", b"secret"),
    ] {
        let mut line = authentic(&right);
        let peer = farlink::ltp::Peer {
            auth: wrong,
            ..farlink::ltp::Peer::new(Hop {
                interface: 0,
                via: 2,
            })
        };
        line.near().change_peer(Instant::ZERO, 2, peer).unwrap();
        line.send(1, &pattern(20), Red::All);
        line.run_for(OWLT * 2);

        assert_eq!(line.far().sessions(), (0, 0));
        assert_eq!(line.far().stats().unauthentic, 1);
    }
}

#[test]
fn an_engine_without_authentication_ignores_the_extension() {
    let mut with = authentic(&Auth::Null);
    with.send(1, &pattern(20), Red::All);
    with.drain();
    let octets = with.log[0].2.clone();
    let mut without = Line::new(1, OWLT);

    without.deliver(2, &octets);
    without.drain();

    assert_eq!(received(&without.events(2)), Some(&pattern(20)[..]));
}

/// Computed with Python's hmac: HMAC-SHA1 under the public key of suite 255, cut to ten octets.
#[test]
fn values_are_those_of_another_implementation_and_one_of_two_is_enough() {
    for octets in [
        &NULL_SUITE[..],
        // The first of two values is zeros; the second covers all that precedes it.
        &TWO_VALUES,
    ] {
        let mut line = authentic(&Auth::Null);

        line.deliver(2, octets);
        line.drain();

        assert_eq!(received(&line.events(2)), Some(&[0x41][..]));
    }
}

const NULL_SUITE: [u8; 25] = [
    0x03, 0x01, 0x02, 0x11, 0x00, 0x01, 0xff, 0x04, 0x00, 0x01, 0x05, 0x00, 0x41, 0x00, 0x0a, 0xd5,
    0x9f, 0x77, 0xe0, 0xf9, 0xa9, 0x02, 0x80, 0xbf, 0x72,
];
const TWO_VALUES: [u8; 37] = [
    0x03, 0x01, 0x02, 0x12, 0x00, 0x01, 0xff, 0x04, 0x00, 0x01, 0x05, 0x00, 0x41, 0x00, 0x0a, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0xee, 0xba, 0x9d, 0xfb, 0x7d,
    0xe1, 0xbe, 0x18, 0x0d, 0x59,
];
