//! Messages are decoded, verified and written without an allocation.

use allocation_counter::measure;
use farlink::stun::{
    Attribute, Class, Integrity, IntegrityKey, Message, MessageWriter, Method, TransactionId,
};

use crate::stun_captures::{Rfc, read};
use crate::talk::addr;

#[test]
fn the_samples_of_rfc_5769_are_decoded_and_verified_without_an_allocation() {
    for sample in read::<Rfc>("rfc").messages {
        let octets = sample.octets.to_vec();
        let key = IntegrityKey::short_term(sample.password.as_bytes());

        let counted = measure(|| {
            let message = Message::decode(&octets).unwrap();
            for raw in message.attributes() {
                raw.decode().unwrap();
            }
            let is_signed = message.verify(&key).is_ok();
            assert_eq!(is_signed, sample.key.is_none());
            assert_ne!(message.check_fingerprint(), Some(false));
            assert!(message.unknown_attributes().is_empty());
        });

        assert_eq!(counted.count_total, 0, "{}", sample.name);
    }
}

#[test]
fn a_message_is_written_into_a_buffer_without_an_allocation() {
    let key = IntegrityKey::short_term(b"password");
    let mapped = addr("203.0.113.9:7");
    let mut octets = Vec::with_capacity(1500);

    let counted = measure(|| {
        let id = TransactionId::new([7; 12]);
        let mut writer = MessageWriter::new(&mut octets, Method::BINDING, Class::Success, id);
        writer.attribute(&Attribute::Software(b"farlink"));
        writer.attribute(&Attribute::XorMappedAddress(mapped));
        writer.integrity(&key, Integrity::Sha1);
        writer.integrity(&key, Integrity::Sha256);
        writer.fingerprint();
    });

    assert_eq!(counted.count_total, 0);
    let message = Message::decode(&octets).unwrap();
    assert_eq!(message.verify(&key), Ok(Integrity::Sha256));
}
