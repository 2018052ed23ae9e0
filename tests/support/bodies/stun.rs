//! The bodies of the fuzz targets of STUN, which tests run on the seeds.
#![allow(dead_code, reason = "each target uses one of them")]

use farlink::Framing as _;
use farlink::laws::codec;
use farlink::stun::{
    Integrity, IntegrityKey, Message, MessageCodec, MessageFraming, SecurityFeatures, text,
};

/// Checks law 10 for octets as a message, that all that counts of it lies within it, and that its stream is independent
/// of chunking.
pub(crate) fn wire(octets: &[u8]) {
    codec::check_octets::<MessageCodec>(octets);
    frames(octets);
    SecurityFeatures::of_nonce(octets).map(SecurityFeatures::cookie);
    let Ok(message) = Message::decode(octets) else {
        return;
    };
    assert_eq!(message.octets(), octets);
    assert_eq!(octets.len() % 4, 0);
    let mut end = 20;
    for raw in message.attributes() {
        assert!(raw.offset >= end, "{raw:?}");
        end = raw.offset + 4 + raw.value.len().next_multiple_of(4);
        assert!(end <= octets.len());
        assert!(text(raw.value).len() <= 3 * raw.value.len());
    }
    assert!(message.unknown_attributes().len() <= Message::MAX_UNKNOWN);
    let _: Option<bool> = message.check_fingerprint();
    let key = IntegrityKey::short_term(b"password");
    if let Ok(Integrity::Sha256) = message.verify_truncated(&key, 0) {
        let _: Result<_, _> = message.verify(&key);
    }
}

/// Messages of a stream are the same in one chunk and in single octets.
fn frames(octets: &[u8]) {
    let whole = read(octets, octets.len().max(1));
    assert_eq!(whole, read(octets, 1));
    assert_eq!(whole, read(octets, 7));
    let len: usize = whole.iter().map(Vec::len).sum();
    assert!(octets.starts_with(&whole.concat()) && len <= octets.len());
}

fn read(octets: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut framing = MessageFraming::new(4096);
    let mut frames = Vec::new();
    for chunk in octets.chunks(size) {
        let mut rest = chunk;
        while let Ok(Some(frame)) = framing.next(&mut rest) {
            frames.push(frame.to_vec());
        }
    }
    frames
}
