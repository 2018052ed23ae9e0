//! The suites, with segments that another implementation made.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::Deserialize;

use super::keys::{Keys, Verification};
use super::{Auth, Key, KeyHash, Signer, Verifier};
use crate::ltp::config::ConfigError;
use crate::ltp::wire::{Body, Segment};

#[derive(Deserialize)]
struct File {
    key: Vec<Given>,
    segment: Vec<Made>,
    later: Vec<Made>,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    suite: u8,
    id: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    #[cfg_attr(not(feature = "ltp-rsa"), expect(dead_code, reason = "RSA alone"))]
    pkcs8: String,
    #[serde(default)]
    #[cfg_attr(not(feature = "ltp-rsa"), expect(dead_code, reason = "RSA alone"))]
    pkcs1: String,
    #[serde(default)]
    #[cfg_attr(not(feature = "ltp-rsa"), expect(dead_code, reason = "RSA alone"))]
    spki: String,
    #[serde(default)]
    #[cfg_attr(not(feature = "ltp-rsa"), expect(dead_code, reason = "RSA alone"))]
    public_pkcs1: String,
}

#[derive(Deserialize)]
struct Made {
    name: String,
    key: String,
    octets: String,
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn file() -> File {
    toml::from_str(include_str!("../../../vectors/ltp_auth/known_answers.toml")).unwrap()
}

impl Given {
    /// The signer and the verifier of a key, in every encoding.
    fn auths(&self) -> Vec<Auth> {
        let id = octets(&self.id);
        let key = || Key {
            id: id.clone().into(),
            secret: octets(&self.secret).into(),
        };
        match self.suite {
            0 => vec![Auth::hmac_sha1(key())],
            255 => vec![Auth::null()],
            #[cfg(feature = "ltp-rsa")]
            1 => [(&self.pkcs8, &self.spki), (&self.pkcs1, &self.public_pkcs1)]
                .map(|(private, public)| Auth {
                    send: vec![Signer::RsaSha256(super::PrivateKey {
                        id: id.clone().into(),
                        der: octets(private).into(),
                    })],
                    accept: vec![Verifier::RsaSha256(super::PublicKey {
                        id: id.clone().into(),
                        der: octets(public).into(),
                    })],
                })
                .to_vec(),
            _ => Vec::new(),
        }
    }

    fn made<'a>(&self, all: &'a [Made]) -> impl Iterator<Item = &'a Made> {
        all.iter().filter(move |made| made.key == self.name)
    }
}

fn verify(keys: &Keys, octets: &[u8], known: Option<KeyHash>) -> Option<Verification> {
    let segment = Segment::decode(octets).ok()?;
    Some(keys.verify(octets, &segment, || known))
}

fn name_of(proof: Option<Verification>) -> Option<KeyHash> {
    match proof {
        Some(Verification::Valid(name)) => name,
        _ => None,
    }
}

#[test]
fn every_segment_that_another_implementation_signed_is_accepted() {
    let file = file();
    for given in &file.key {
        for auth in given.auths() {
            let keys = Keys::new(&auth).unwrap();
            for made in given.made(&file.segment) {
                let octets = octets(&made.octets);
                assert!(
                    name_of(verify(&keys, &octets, None)).is_some(),
                    "{}",
                    made.name
                );
            }
        }
    }
}

#[test]
fn what_is_sent_is_octet_for_octet_what_another_implementation_sends() {
    let file = file();
    for given in &file.key {
        for auth in given.auths() {
            let keys = Keys::new(&auth).unwrap();
            for made in given.made(&file.segment).take(2) {
                let octets = octets(&made.octets);
                let segment = Segment::decode(&octets).unwrap();

                let mut out = vec![0xEE; 3];
                encode(&mut out, &segment, &keys);

                assert_eq!(out[3..], octets, "{}", made.name);
                let plain = Segment::new(segment.session, segment.body).wire_len();
                assert_eq!(octets.len(), plain + keys.overhead());
            }
        }
    }
}

fn encode(out: &mut Vec<u8>, segment: &Segment<'_>, keys: &Keys) {
    let start = out.len();
    let body: Body<'_> = segment.body;
    let mut plain = Vec::new();
    Segment::new(segment.session, body).encode(&mut plain);
    let head = plain.len() - body.wire_len();
    out.extend_from_slice(&plain[..head - 1]);
    out.push(keys.counts());
    keys.put_header(out);
    out.extend_from_slice(&plain[head..]);
    keys.put_trailer(out, start);
}

#[test]
fn a_segment_without_header_extension_is_good_by_the_key_of_its_session_alone() {
    let file = file();
    for given in &file.key {
        for auth in given.auths() {
            let keys = Keys::new(&auth).unwrap();
            let first = octets(&given.made(&file.segment).next().unwrap().octets);
            let name = name_of(verify(&keys, &first, None));
            let later = octets(&given.made(&file.later).next().unwrap().octets);

            let other = Some(KeyHash::of(17, b"another"));
            assert_eq!(verify(&keys, &later, name), Some(Verification::Valid(name)));
            assert_eq!(verify(&keys, &later, None), Some(Verification::UnknownKey));
            assert_eq!(verify(&keys, &later, other), Some(Verification::UnknownKey));
        }
    }
}

#[test]
fn every_changed_bit_and_every_cut_makes_a_segment_bad() {
    let file = file();
    for given in &file.key {
        for auth in given.auths().iter().take(1) {
            let keys = Keys::new(auth).unwrap();
            let made = given.made(&file.segment).next().unwrap();
            let good = octets(&made.octets);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(name_of(verify(&keys, &bad, None)), None, "bit {bit}");
            }
            for len in 0..good.len() {
                assert_eq!(name_of(verify(&keys, &good[..len], None)), None, "{len}");
                let mut cut = good.clone();
                cut.remove(len);
                assert_eq!(name_of(verify(&keys, &cut, None)), None, "without {len}");
            }
        }
    }
}

#[test]
fn no_key_accepts_what_another_signed() {
    let file = file();
    for given in &file.key {
        for auth in given.auths() {
            let keys = Keys::new(&auth).unwrap();
            for made in file.segment.iter().filter(|made| made.key != given.name) {
                if made.name.ends_with("of two") {
                    continue;
                }
                let proof = verify(&keys, &octets(&made.octets), None);
                assert_eq!(proof, Some(Verification::UnknownKey), "{}", made.name);
            }
        }
    }
}

#[test]
fn the_right_key_id_with_another_secret_is_bad() {
    let file = file();
    let made = file
        .segment
        .iter()
        .find(|made| made.key == "shared")
        .unwrap();
    let wrong = Key {
        id: vec![0x24].into(),
        secret: "another secret".into(),
    };
    let keys = Keys::new(&Auth::hmac_sha1(wrong)).unwrap();

    let proof = verify(&keys, &octets(&made.octets), None);

    assert_eq!(proof, Some(Verification::Invalid));
}

#[test]
fn a_value_of_another_length_is_bad_even_if_it_begins_well() {
    let keys = Keys::new(&Auth::null()).unwrap();
    let file = file();
    let made = file.segment.iter().find(|made| made.key == "null").unwrap();
    let good = octets(&made.octets);
    let value = good.len() - 10;

    for len in [1, 9] {
        let mut short = good[..value + len].to_vec();
        short[value - 1] = u8::try_from(len).unwrap();
        assert_eq!(verify(&keys, &short, None), Some(Verification::Invalid));
    }
}

#[test]
fn keys_beyond_the_limits_are_refused() {
    let key = |id: usize, secret: usize| Key {
        id: vec![1; id].into(),
        secret: vec![2; secret].into(),
    };
    let refused = |auth: Auth| Keys::new(&auth).err();
    let bad_len = |len| Some(ConfigError::Key { len, limit: 256 });

    assert_eq!(refused(Auth::hmac_sha1(key(0, 1))), None);
    assert_eq!(refused(Auth::hmac_sha1(key(256, 256))), None);
    assert_eq!(refused(Auth::hmac_sha1(key(257, 5))), bad_len(257));
    assert_eq!(refused(Auth::hmac_sha1(key(0, 0))), bad_len(0));
    assert_eq!(refused(Auth::hmac_sha1(key(0, 257))), bad_len(257));
    let many = Auth {
        send: vec![Signer::Null; 3],
        accept: Vec::new(),
    };
    assert_eq!(
        refused(many),
        Some(ConfigError::Keys { count: 3, limit: 2 })
    );
    let many = Auth {
        send: Vec::new(),
        accept: vec![Verifier::Null; 9],
    };
    assert_eq!(
        refused(many),
        Some(ConfigError::Keys { count: 9, limit: 8 })
    );
}

#[cfg(feature = "ltp-rsa")]
#[test]
fn what_is_no_rsa_key_is_refused_whatever_octet_of_it_is_wrong() {
    let file = file();
    let given = file.key.iter().find(|key| key.name == "rsa 1024").unwrap();
    let der = octets(&given.pkcs8);
    let read = |der: Vec<u8>| {
        Keys::new(&Auth {
            send: vec![Signer::RsaSha256(super::PrivateKey {
                id: bytes::Bytes::new(),
                der: der.into(),
            })],
            accept: Vec::new(),
        })
    };

    assert!(read(der.clone()).is_ok());
    assert!(read(Vec::new()).is_err());
    assert!(read(octets(&given.spki)).is_err());
    assert!(read(vec![0x30; 5000]).is_err());
    for at in (0..der.len()).step_by(5) {
        let mut bad = der.clone();
        bad[at] ^= 0x10;
        // Some octets do not matter, since they follow from others. None may panic.
        if let Ok(keys) = read(bad) {
            let mut out = vec![1, 2, 3];
            keys.put_trailer(&mut out, 0);
            assert_eq!(out.len(), 3 + 3 + 128);
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    for given in &file().key {
        for auth in given.auths() {
            let shown = alloc::format!("{auth:?} {:?}", Keys::new(&auth).unwrap());
            assert!(!shown.contains("secret"), "{shown}");
            assert!(shown.len() < 200, "{shown}");
        }
    }
}
