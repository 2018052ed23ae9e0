//! Integrity, fingerprints and keys, by the samples of RFC 5769 and RFC 8489.

use farlink::stun::{
    Attribute, AttributeType, Class, Integrity, IntegrityFault, IntegrityKey, KeyAlgorithm,
    Message, MessageWriter, Method, TransactionId, userhash,
};

use crate::stun_captures::{Rfc, Sample, read};

fn samples() -> Vec<Sample> {
    read::<Rfc>("rfc").messages
}

fn key_of(sample: &Sample) -> IntegrityKey {
    let password = sample.password.as_bytes();
    let algorithm = match sample.key.as_deref() {
        None => return IntegrityKey::short_term(password),
        Some("md5") => KeyAlgorithm::Md5,
        Some(_) => KeyAlgorithm::Sha256,
    };
    let username = sample.username.as_ref().or(sample.userhash_of.as_ref());
    let (username, realm) = (username.unwrap(), sample.realm.as_ref().unwrap());
    IntegrityKey::long_term(username.as_bytes(), realm.as_bytes(), password, algorithm)
}

fn kind_of(sample: &Sample) -> Integrity {
    match sample.integrity.as_str() {
        "sha1" => Integrity::Sha1,
        _ => Integrity::Sha256,
    }
}

#[test]
fn the_samples_of_the_rfcs_are_verified() {
    for sample in samples() {
        let octets = sample.octets.to_vec();
        let message = Message::decode(&octets).unwrap();
        let (name, kind) = (&sample.name, kind_of(&sample));

        assert_eq!(message.verify(&key_of(&sample)), Ok(kind), "{name}");
        let fingerprint = message.check_fingerprint();
        assert_eq!(
            fingerprint,
            sample.has_fingerprint.then_some(true),
            "{name}"
        );
        let find = |kind| message.find(kind).map(|raw| raw.decode().unwrap());
        if let Some(username) = &sample.username {
            let expected = Attribute::Username(username.as_bytes());
            assert_eq!(find(AttributeType::USERNAME), Some(expected));
        }
        if let Some(software) = &sample.software {
            let expected = Attribute::Software(software.as_bytes());
            assert_eq!(find(AttributeType::SOFTWARE), Some(expected));
        }
        if let Some(mapped) = sample.mapped {
            let expected = Attribute::XorMappedAddress(mapped);
            assert_eq!(find(AttributeType::XOR_MAPPED_ADDRESS), Some(expected));
        }
        if let Some(username) = &sample.userhash_of {
            let hash = userhash(username.as_bytes(), b"example.org");
            assert_eq!(
                find(AttributeType::USERHASH),
                Some(Attribute::Userhash(&hash))
            );
        }
    }
}

/// Written again they are the same, but for the padding, which the HMAC covers: the samples pad with spaces.
#[test]
fn the_samples_of_the_rfcs_are_written() {
    let mut same = 0;
    for sample in samples() {
        let octets = sample.octets.to_vec();
        let message = Message::decode(&octets).unwrap();
        let mut written = Vec::new();
        let mut writer = MessageWriter::new(
            &mut written,
            message.method(),
            message.class(),
            message.id(),
        );
        for raw in message.attributes() {
            match raw.decode().unwrap() {
                Attribute::MessageIntegrity(_) | Attribute::MessageIntegritySha256(_) => {
                    writer.integrity(&key_of(&sample), kind_of(&sample))
                }
                Attribute::Fingerprint(_) => writer.fingerprint(),
                attribute => writer.attribute(&attribute),
            };
        }
        let message = Message::decode(&written).unwrap();
        assert_eq!(message.verify(&key_of(&sample)), Ok(kind_of(&sample)));
        same += usize::from(written == octets);
    }
    assert_eq!(same, 2, "those whose padding is 0");
}

#[test]
fn each_changed_bit_breaks_a_fingerprint() {
    for sample in samples().iter().filter(|sample| sample.has_fingerprint) {
        let octets = sample.octets.to_vec();
        for bit in 0..octets.len() * 8 {
            let mut changed = octets.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let checked = Message::decode(&changed).map(|it| it.check_fingerprint());
            assert_ne!(checked, Ok(Some(true)), "bit {bit} of {}", sample.name);
        }
    }
}

#[test]
fn each_changed_bit_before_the_integrity_breaks_it() {
    for sample in samples() {
        let (octets, key) = (sample.octets.to_vec(), key_of(&sample));
        let message = Message::decode(&octets).unwrap();
        let integrity = message.find(kind_of(&sample).attribute_type()).unwrap();
        let bits = |range: core::ops::Range<usize>| range.start * 8..range.end * 8;
        for bit in bits(0..2).chain(bits(4..integrity.offset)) {
            let mut changed = octets.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = Message::decode(&changed) {
                let verified = message.verify(&key);
                assert!(verified.is_err(), "bit {bit} of {}", sample.name);
            }
        }
    }
}

#[test]
fn another_password_is_refused() {
    let sample = &samples()[0];
    let octets = sample.octets.to_vec();
    let key = IntegrityKey::short_term(b"VOkJxbRl1RmTxUk/WvJxBT");

    let verified = Message::decode(&octets).unwrap().verify(&key);

    assert_eq!(verified, Err(IntegrityFault::Wrong));
}

fn key() -> IntegrityKey {
    IntegrityKey::short_term(b"password")
}

/// Returns a message signed with HMAC-SHA256 of which this many octets are left.
fn truncated(len: usize) -> Vec<u8> {
    // With a longer value the length that is signed is another one, so the value is found by trying the right length.
    let mut octets = Vec::new();
    let id = TransactionId::new([3; 12]);
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Request, id);
    writer.attribute(&Attribute::UseCandidate);
    let value = sha256_over(&octets, 4 + len);
    let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Request, id);
    writer.attribute(&Attribute::UseCandidate);
    let value = [&value[..], &[0; 4]].concat();
    writer.attribute(&Attribute::MessageIntegritySha256(&value[..len]));
    octets[24..].to_vec()
}

/// HMAC-SHA256 over a message that an attribute of this many octets would end.
fn sha256_over(before: &[u8], attribute: usize) -> Vec<u8> {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut octets = before.to_vec();
    let length = u16::try_from(octets.len() - 20 + attribute).unwrap();
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"password").unwrap();
    mac.update(&octets);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn a_truncated_sha256_is_refused_unless_the_usage_allows_it() {
    for (len, strict, lax) in [
        (32, Ok(()), Ok(())),
        (28, Err(28), Ok(())),
        (16, Err(16), Ok(())),
        (12, Err(12), Err(12)),
        (30, Err(30), Err(30)),
        (36, Err(36), Err(36)),
    ] {
        let octets = truncated(len);
        let message = Message::decode(&octets).unwrap();
        let expected = |outcome: Result<(), usize>| {
            outcome
                .map(|()| Integrity::Sha256)
                .map_err(IntegrityFault::Length)
        };

        assert_eq!(message.verify(&key()), expected(strict), "{len}");
        let verified = message.verify_truncated(&key(), 16);
        assert_eq!(verified, expected(lax), "{len}");
        let verified = message.verify_truncated(&key(), 0);
        assert_eq!(verified, expected(lax), "{len}: 16 at least");
    }
}

#[test]
fn of_two_integrity_attributes_the_stronger_counts() {
    let id = TransactionId::new([3; 12]);
    let signed = |second: &IntegrityKey| {
        let mut octets = Vec::new();
        let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Request, id);
        writer.integrity(&key(), Integrity::Sha1);
        writer.integrity(second, Integrity::Sha256);
        writer.fingerprint();
        octets
    };
    let verify = |octets: &[u8]| Message::decode(octets).unwrap().verify(&key());

    assert_eq!(verify(&signed(&key())), Ok(Integrity::Sha256));
    let other = IntegrityKey::short_term(b"other");
    assert_eq!(verify(&signed(&other)), Err(IntegrityFault::Wrong));
}

#[test]
fn a_message_without_integrity_is_not_verified() {
    let mut octets = Vec::new();
    let id = TransactionId::new([3; 12]);
    MessageWriter::new(&mut octets, Method::BINDING, Class::Request, id).fingerprint();

    let verified = Message::decode(&octets).unwrap().verify(&key());

    assert_eq!(verified, Err(IntegrityFault::Missing));
}
