//! The laws for a client and for the wire format.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use super::attribute::Attribute;
use super::client::Client;
use super::config::Config;
use super::wire::{Class, Message, MessageWriter, Method, TransactionId};
use crate::laws::codec::Codec;
use crate::laws::{InputMemory, LawSubject};
use crate::{Path, Proto, Seed};

/// Bytes of a query: its request with padding, of which the vector may be twice as large, and its credentials.
const QUERY_ALLOWANCE: usize = 1 << 18;
/// Bytes of what is known of a server and told of a query: texts of 763 octets at most.
const TEXTS_ALLOWANCE: usize = 1 << 13;
/// Ports of sockets that the driver opens.
const FIRST_PORT: u16 = 50_000;

impl LawSubject for Client {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    fn memory_limit(config: &Config) -> usize {
        let queries = usize::from(config.queries);
        let sockets = usize::from(config.sockets);
        let message = usize::try_from(config.max_message).unwrap_or(usize::MAX);
        queries * (QUERY_ALLOWANCE + TEXTS_ALLOWANCE) + sockets * (QUERY_ALLOWANCE + 2 * message)
    }

    fn memory_used(&self) -> usize {
        Self::memory_used(self)
    }

    fn is_stream(_: &Config, at: Path) -> bool {
        at.proto == Proto::Tcp
    }

    fn memory_for_input(&self) -> InputMemory {
        InputMemory {
            octets: Self::memory_for_input(self),
            sessions: self.exchanges(),
            continued: 0,
        }
    }

    fn bound(path: Path, nth: usize) -> Path {
        let mut local = path.local;
        if local.port() == 0 {
            local.set_port(FIRST_PORT + u16::try_from(nth % 1000).unwrap_or_default());
        }
        Path { local, ..path }
    }

    /// A socket of the configuration, its peers, or those of what was opened.
    fn route(at: Path, opened: &[Path]) -> Path {
        let nth = usize::from(at.local.port());
        let base = opened.get(nth % opened.len().max(1)).copied();
        let base = base.unwrap_or_else(|| {
            Path::socket(Proto::Udp, SocketAddr::from((Ipv4Addr::LOCALHOST, 1000)))
        });
        if base.proto == Proto::Tcp || at.remote.port().is_multiple_of(4) {
            return base;
        }
        let host = Ipv4Addr::new(192, 0, 2, 1);
        Path::udp(base.local, (host, at.remote.port() % 3 + 3477).into())
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        _: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(u)
    }
}

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
