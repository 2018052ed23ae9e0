//! The laws for a node and for the wire format.

use alloc::vec::Vec;

use super::api::Event;
use super::config::Config;
use super::node::Node;
use super::wire::DataPacket;
use crate::laws::LawSubject;
use crate::laws::codec::Codec;
use crate::{Hop, Seed, csp};

impl LawSubject for Node {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    /// What is allocated at the start, the packets that came with commands, and the octets of payloads on demand.
    fn memory_limit(config: &Config) -> usize {
        let Ok(carrier) = config.carrier() else {
            return 0;
        };
        let packets = csp::Node::memory_limit(&carrier) - carrier.footprint();
        config.footprint() + packets + super::node::max_fed(config)
    }

    fn memory_used(&self) -> usize {
        Self::memory_used(self)
    }

    fn is_stream(config: &Config, at: Hop) -> bool {
        csp::Node::is_stream(&config.csp, at)
    }

    /// Each transfer is a series, as is what CSP has.
    fn series(event: &Event) -> u64 {
        const KINDS: u32 = 56;
        match event {
            Event::Csp(event) => csp::Node::series(event),
            Event::Started { tag, .. }
            | Event::Data { tag, .. }
            | Event::Complete { tag, .. }
            | Event::Failed { tag, .. } => (7 << KINDS) | (tag.0 % (1 << KINDS)),
            Event::MemoryStatus { tag, .. } => (10 << KINDS) | (tag.0 % (1 << KINDS)),
            Event::Serving(_) => 8 << KINDS,
            Event::Need(_) => 9 << KINDS,
        }
    }

    fn route(at: Hop, opened: &[Hop]) -> Hop {
        csp::Node::route(at, opened)
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(config, u)
    }
}

/// The codec of [`DataPacket`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct DataPacketCodec;

impl Codec for DataPacketCodec {
    type Item<'a> = DataPacket<'a>;

    fn decode(octets: &[u8]) -> Option<DataPacket<'_>> {
        DataPacket::decode(octets).ok()
    }

    fn wire_len(item: &DataPacket<'_>) -> usize {
        item.wire_len()
    }

    fn encode(item: &DataPacket<'_>, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &DataPacket<'_>, other: &DataPacket<'_>) -> bool {
        one == other
    }
}
