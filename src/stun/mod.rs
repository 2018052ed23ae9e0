//! STUN messages.

mod attribute;
mod framing;
mod integrity;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod nonce;
mod wire;

pub use attribute::{
    AddressFamily, Attribute, AttributeType, AttributeTypes, ChangeRequest, ErrorCode,
    PasswordAlgorithm, PasswordAlgorithms, text,
};
pub use framing::MessageFraming;
pub use integrity::{Integrity, IntegrityFault, IntegrityKey, KeyAlgorithm, userhash};
#[cfg(any(test, feature = "laws"))]
pub use laws::{DecodedMessage, MessageCodec};
pub use nonce::SecurityFeatures;
pub use wire::{
    Attributes, Class, HEADER_LEN, MAGIC_COOKIE, Message, MessageWriter, Method, RawAttribute,
    TransactionId,
};
