//! The laws for the wire format.

use alloc::vec::Vec;

use super::attribute::Attribute;
use super::wire::{Class, Message, MessageWriter, Method, TransactionId};
use crate::laws::codec::Codec;

/// The codec of [`Message`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct MessageCodec;

/// A message with its values: what a sender writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedMessage<'a> {
    method: Method,
    class: Class,
    id: TransactionId,
    attributes: Vec<Attribute<'a>>,
}

impl Codec for MessageCodec {
    type Item<'a> = DecodedMessage<'a>;

    fn decode(octets: &[u8]) -> Option<DecodedMessage<'_>> {
        let message = Message::decode(octets).ok()?;
        let attributes = message.attributes().map(|raw| raw.decode().ok());
        Some(DecodedMessage {
            method: message.method(),
            class: message.class(),
            id: message.id(),
            attributes: attributes.collect::<Option<_>>()?,
        })
    }

    fn wire_len(item: &DecodedMessage<'_>) -> usize {
        let lens = item.attributes.iter().map(Attribute::wire_len);
        super::HEADER_LEN + lens.sum::<usize>()
    }

    fn encode(item: &DecodedMessage<'_>, out: &mut Vec<u8>) {
        let mut writer = MessageWriter::new(out, item.method, item.class, item.id);
        for attribute in &item.attributes {
            writer.attribute(attribute);
        }
    }

    fn equal(one: &DecodedMessage<'_>, other: &DecodedMessage<'_>) -> bool {
        one == other
    }
}
