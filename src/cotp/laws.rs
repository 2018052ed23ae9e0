//! The laws for a connection and for the wire format.

use alloc::vec::Vec;

use super::config::Config;
use super::connection::Connection;
use super::wire::Tpdu;
use crate::Seed;
use crate::laws::codec::Codec;
use crate::laws::{InputMemory, LawSubject};

/// Bytes of memory that no limit of the configuration covers: the configuration itself, CR or CC, DR or ER,
/// flushes, and the entries of short queues.
const FIXED_ALLOWANCE: usize = 1 << 14;

impl LawSubject for Connection {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    /// Queues and vectors double their capacity, so their memory may be twice their content.
    fn memory_limit(config: &Config) -> usize {
        // Messages that wait and one more; octets that are not decoded yet.
        let received = config.limits.receive_queue.saturating_mul(4);
        // The current message, and the capacity reserved after the size of the last one.
        let messages = config.limits.message_limit.saturating_mul(3);
        let sent = config.limits.send_queue.saturating_mul(2);
        // An incomplete packet, and variable part and user data of a CR in an event.
        let packets = usize::from(config.limits.packet_limit) * 4;
        [
            received,
            messages,
            sent,
            packets,
            config.memory_used(),
            FIXED_ALLOWANCE,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    fn memory_used(&self) -> usize {
        Self::memory_used(self)
    }

    fn is_stream(_: &Config, (): ()) -> bool {
        true
    }

    fn awaits(&self, (): ()) -> bool {
        self.awaits_decision()
    }

    /// Every peer is one until the application accepts it or sends something, unless this end called it.
    fn is_stranger(&self, (): ()) -> bool {
        Self::is_stranger(self)
    }

    fn memory_for_input(&self) -> InputMemory {
        InputMemory {
            octets: Self::memory_for_input(self),
            sessions: 1,
            continued: 1,
        }
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(config, u)
    }
}

/// The codec of [`Tpdu`], for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct TpduCodec;

impl Codec for TpduCodec {
    type Item<'a> = Tpdu<'a>;

    fn decode(octets: &[u8]) -> Option<Tpdu<'_>> {
        Tpdu::decode(octets).ok()
    }

    fn wire_len(item: &Tpdu<'_>) -> usize {
        item.wire_len()
    }

    fn encode(item: &Tpdu<'_>, out: &mut Vec<u8>) {
        item.encode(out);
    }

    fn equal(one: &Tpdu<'_>, other: &Tpdu<'_>) -> bool {
        one == other
    }
}
