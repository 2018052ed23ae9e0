//! Authentication of segments (RFC 5327 section 2.1).

use core::time::Duration;

use farlink::ltp::{Auth, ExtensionTag, Flow, Key, Peer, Red, Segment, Signer, Verifier};
use farlink::{Hop, Instant, Machine as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::line::{Line, hop, is_complete, pattern, received};

const OWLT: Duration = Duration::from_secs(1);

fn shared(id: &'static [u8], secret: &'static [u8]) -> Auth {
    Auth::hmac_sha1(key(id, secret))
}

fn key(id: &'static [u8], secret: &'static [u8]) -> Key {
    Key {
        id: id.into(),
        secret: secret.into(),
    }
}

fn authentic(auth: &Auth) -> Line {
    let auth = auth.clone();
    Line::with(1, OWLT, |_| {}, move |peer| peer.auth = auth.clone())
}

#[test]
fn both_suites_carry_a_block_within_the_segment_limit() {
    for auth in [
        Auth::null(),
        shared(b"", b"secret"),
        shared(b"$", b"secret"),
    ] {
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
    assert!(stats.unauthentic > 20 && stats.unknown_key > 0, "{stats:?}");
    assert_eq!(line.far().usage().sessions, (0, 0));
    line.deliver(2, &good);
    assert_eq!(line.far().usage().sessions, (0, 1));
}

#[test]
fn segments_without_a_value_or_by_another_key_or_key_id_are_dropped() {
    let right = shared(b"k", b"secret");
    for wrong in [
        Auth::OFF,
        Auth::null(),
        shared(b"k", b"other"),
        shared(b"j", b"secret"),
    ] {
        let mut line = authentic(&right);
        let peer = farlink::ltp::Peer {
            auth: wrong,
            ..farlink::ltp::Peer::at(Hop {
                interface: 0,
                via: 2,
            })
            .with_flow(Flow::Unlimited)
        };
        line.near().change_peer(Instant::ZERO, 2, peer).unwrap();
        line.send(1, &pattern(20), Red::All);
        line.run_for(OWLT * 2);

        assert_eq!(line.far().usage().sessions, (0, 0));
        let stats = line.far().stats();
        assert_eq!(stats.unauthentic + stats.unknown_key, 1);
    }
}

/// One end of a line whose key changes: how it signs, and what it accepts.
fn changing(send: &[&'static [u8]], accept: &[&'static [u8]]) -> Auth {
    Auth {
        send: send
            .iter()
            .map(|id| Signer::HmacSha1(key(id, id)))
            .collect(),
        accept: accept
            .iter()
            .map(|id| Verifier::HmacSha1(key(id, id)))
            .collect(),
    }
}

fn set(line: &mut Line, node: usize, auth: Auth) {
    let peer = Peer {
        auth,
        ..Peer::at(hop(2 - node as u64))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };
    let now = line.now;
    let engine = if node == 0 { line.near() } else { line.far() };
    engine.change_peer(now, 2 - node as u64, peer).unwrap();
}

#[test]
fn keys_are_changed_in_the_middle_of_a_session_without_a_segment_lost() {
    let mut line = authentic(&shared(b"old", b"old"));
    line.send(1, &pattern(200_000), Red::Octets(150_000));
    line.drain();
    for (send, accept) in [
        (&b"old"[..], [&b"old"[..], b"new"]),
        (b"new", [b"old", b"new"]),
        (b"new", [b"new", b"new"]),
    ] {
        set(&mut line, 1, changing(&[send], &accept));
        line.run_for(OWLT / 3);
        set(&mut line, 0, changing(&[send], &accept));
        line.run_for(OWLT);
    }
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(received(&line.events(2)).unwrap().len(), 150_000);
    let stats = line.far().stats();
    assert_eq!((stats.unauthentic, stats.unknown_key), (0, 0));
    assert_eq!(line.near().stats().octets_resent, 0);
}

#[test]
fn segments_with_two_values_suit_a_peer_with_either_key() {
    for theirs in [&b"old"[..], b"new"] {
        let mut line = authentic(&changing(&[theirs], &[theirs]));
        set(&mut line, 0, changing(&[b"old", b"new"], &[theirs]));

        line.send(1, &pattern(5000), Red::Octets(3000));
        line.run();

        assert!(is_complete(&line.events(1), 1));
        assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..3000]));
        assert!(line.log.iter().all(|(_, _, octets)| octets.len() <= 1400));
        assert_eq!(line.left(), (0, 0, 0));
    }
}

#[test]
fn what_is_accepted_need_not_be_what_is_sent() {
    let mut line = authentic(&Auth::OFF);
    set(&mut line, 0, changing(&[b"up"], &[b"down"]));
    set(&mut line, 1, changing(&[b"down"], &[b"up"]));

    line.send(1, &pattern(5000), Red::All);
    line.run();

    assert!(is_complete(&line.events(1), 1));
}

/// The same segment without its header extension, signed again.
fn without_header(octets: &[u8]) -> Vec<u8> {
    let segment = Segment::decode(octets).unwrap();
    let mut plain = Vec::new();
    Segment::new(segment.session, segment.body).encode(&mut plain);
    let counts = octets.iter().position(|octet| *octet == 0x11).unwrap();
    plain[counts] = 0x01;
    plain.extend_from_slice(&[0, 10]);
    let mut mac = Hmac::<Sha1>::new_from_slice(b"secret").unwrap();
    mac.update(&plain);
    plain.extend_from_slice(&mac.finalize().into_bytes()[..10]);
    plain
}

#[test]
fn the_header_extension_may_be_left_out_once_the_session_has_named_its_key() {
    let mut line = authentic(&shared(&[0x24], b"secret"));
    line.send(1, &pattern(4000), Red::All);
    line.drain();
    let sent: Vec<Vec<u8>> = line
        .log
        .iter()
        .map(|(_, _, octets)| octets.clone())
        .collect();

    line.deliver(2, &without_header(&sent[1]));
    assert_eq!(line.far().stats().unknown_key, 1, "no first segment came");
    line.deliver(2, &sent[0]);
    for octets in &sent[1..] {
        line.deliver(2, &without_header(octets));
    }
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&pattern(4000)[..]));
    let far = line.far().stats();
    assert_eq!((far.unauthentic, far.unknown_key), (0, 1));
}

#[test]
fn the_key_of_a_session_is_remembered_past_its_end_and_in_both_roles() {
    let mut line = authentic(&shared(&[0x24], b"secret"));
    line.send(1, &pattern(40), Red::All);
    line.run();
    let from = |line: &Line, engine: u64| {
        let mut log = line.log.iter().filter(|(_, from, _)| *from == engine);
        log.next().unwrap().2.clone()
    };
    let (data, report) = (from(&line, 1), from(&line, 2));
    let before = line.log.len();

    line.deliver(2, &without_header(&data));
    line.deliver(1, &without_header(&report));
    line.drain();

    assert_eq!(
        line.log.len(),
        before + 2,
        "a report and its acknowledgment"
    );
    assert_eq!(line.far().stats().unknown_key, 0);
    assert_eq!(line.near().stats().unknown_key, 0);
}

/// RSA-SHA256 in both directions, with 1024 or 2048 bits.
#[cfg(all(feature = "ltp-rsa", feature = "serde"))]
pub(crate) fn rsa(nth: usize) -> Auth {
    use farlink::ltp::{PrivateKey, PublicKey};
    let text = include_str!("../../vectors/ltp_auth/known_answers.toml");
    let field = |name: &str| {
        let line = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{name} = \"")))
            .nth(nth);
        let hex = line.unwrap().trim_end_matches('"');
        farlink::hex::decode(&format!("hex:{hex}")).unwrap()
    };
    Auth {
        send: vec![Signer::RsaSha256(PrivateKey {
            id: "a".into(),
            der: field("pkcs8").into(),
        })],
        accept: vec![Verifier::RsaSha256(PublicKey {
            id: "a".into(),
            der: field("spki").into(),
        })],
    }
}

#[cfg(all(feature = "ltp-rsa", feature = "serde"))]
#[test]
fn rsa_carries_a_block_both_ways_and_the_right_half_of_the_key_is_needed() {
    let mut line = authentic(&rsa(1));
    line.send(1, &pattern(5000), Red::Octets(3000));
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..3000]));
    let lens = line.bodies();
    let values = lens
        .iter()
        .map(|(_, segment)| segment.trailer.find(ExtensionTag::AUTHENTICATION));
    assert!(values.into_iter().all(|value| value.unwrap().len() == 256));

    set(&mut line, 1, rsa(0));
    line.send(2, &pattern(10), Red::All);
    line.run_for(OWLT * 2);
    assert!(line.far().stats().unauthentic + line.far().stats().unknown_key > 0);
    assert_eq!(line.far().usage().sessions, (0, 0));
}

#[test]
fn an_engine_without_authentication_ignores_the_extension() {
    let mut with = authentic(&Auth::null());
    with.send(1, &pattern(20), Red::All);
    with.drain();
    let octets = with.log[0].2.clone();
    let mut without = Line::new(1, OWLT);

    without.deliver(2, &octets);
    without.drain();

    assert_eq!(received(&without.events(2)), Some(&pattern(20)[..]));
}

/// Computed with the hmac module of Python: HMAC-SHA1 under the public key of suite 255, truncated to ten octets.
#[test]
fn values_are_those_of_another_implementation_and_one_of_two_is_enough() {
    for octets in [
        &NULL_SUITE[..],
        // The first of two values is zeros; the second covers all that precedes it.
        &TWO_VALUES,
    ] {
        let mut line = authentic(&Auth::null());

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

#[test]
fn a_forged_segment_lets_no_stranger_in_and_turns_none_out() {
    let auth = shared(b"k", b"secret");
    let mut line = authentic(&auth);
    let template = Peer {
        auth: auth.clone(),
        ..Peer::at(hop(1))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };
    let now = line.now;
    line.far().remove_peer(now, 1).unwrap();
    line.far()
        .accept_unknown_peers(now, Some(template), 1)
        .unwrap();
    line.send(1, &pattern(20), Red::All);
    line.run();
    assert!(
        is_complete(&line.events(1), 1),
        "an unknown peer with the key"
    );

    let mut forged = line.log[0].2.clone();
    forged[1] = 7;
    let from = hop(9);
    let now = line.now;
    line.far().receive(now, from, &forged);

    assert_eq!(line.far().stats().unauthentic, 1);
    let known = |line: &mut Line, id| {
        line.far()
            .contact(now, id, farlink::ltp::Cue::PeerTransmits)
            .is_ok()
    };
    assert!(!known(&mut line, 7));
    assert!(known(&mut line, 1));
}
