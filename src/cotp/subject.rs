//! A connection and its wire format on trial under the laws.

use alloc::vec::Vec;

use super::config::Config;
use super::connection::Connection;
use super::wire::Tpdu;
use crate::Seed;
use crate::laws::LawSubject;
use crate::laws::codec::Codec;

/// What every connection may hold beside what its configuration bounds: its boxed configuration, CR or CC
/// and farewell, flushes, and queues that have room for a few entries.
const SMALL_CHANGE: usize = 1 << 14;

impl LawSubject for Connection {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    /// Queues and vectors double, so their memory may be twice what is in them.
    fn memory_limit(config: &Config) -> usize {
        // Messages that wait and one more; octets that are held back.
        let received = config.receive_queue.saturating_mul(4);
        // The message under way, and the one that came last.
        let messages = config.message_limit.saturating_mul(3);
        let sent = config.send_queue.saturating_mul(2);
        // An unfinished packet, and what a CR may hand up: its variable part and its user data.
        let packets = usize::from(config.packet_limit) * 4;
        [
            received,
            messages,
            sent,
            packets,
            config.memory_used(),
            SMALL_CHANGE,
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

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        config: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        super::generate::octets(config, u)
    }
}

/// The codec of [`Tpdu`], for law 10.
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
