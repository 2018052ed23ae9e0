//! The laws for a node and for the wire format.

use alloc::vec::Vec;

use bytes::Bytes;

use super::api::Event;
use super::config::Config;
use super::node::Node;
use super::services::{Question, ServiceAnswer, ServiceRequest, port};
use super::sfp::{Reassembly, Step};
use super::wire::{Packet, SFP_LEN, SfpTrailer, Version};
use crate::laws::LawSubject;
use crate::laws::codec::Codec;
use crate::{Hop, Seed, Tag};

/// Octets of data in requests under way: 8 pokes.
const MAX_REQUESTS_OCTETS: usize = 8 * 200;

impl LawSubject for Node {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Self::new(config.clone(), &seed).ok()
    }

    /// What is allocated at the start, and the packets that came with commands.
    fn memory_limit(config: &Config) -> usize {
        let (max_data, max_sfp) = (usize::from(config.max_data), config.max_sfp as usize);
        let packets = usize::from(config.send_queue) * max_data;
        let connections = usize::from(config.connections) * (packets + max_sfp);
        let datagrams = usize::from(config.datagram_queue) * max_data.max(max_sfp);
        config.footprint() + connections + datagrams + MAX_REQUESTS_OCTETS
    }

    fn memory_used(&self) -> usize {
        Self::memory_used(self)
    }

    /// The stream of an interface with KISS is at the interface itself.
    fn is_stream(config: &Config, at: Hop) -> bool {
        let interface = config.interfaces.get(usize::from(at.interface));
        at.via == 0 && interface.is_some_and(|it| it.encapsulation.is_stream())
    }

    /// Connections, ports, answers, services and the tap have queues of their own.
    fn series(event: &Event) -> u64 {
        const KINDS: u32 = 56;
        let of = |tag: &Tag| tag.0 % (1 << KINDS);
        match event {
            Event::Connected { connection, .. }
            | Event::Accepted { connection, .. }
            | Event::Received { connection, .. }
            | Event::Acknowledged { connection, .. }
            | Event::Room(connection)
            | Event::Closed { connection, .. }
            | Event::Fragment { connection, .. }
            | Event::FragmentsFailed { connection, .. } => (1 << KINDS) | connection.slot() as u64,
            Event::ConnectFailed { tag, .. } => (2 << KINDS) | of(tag),
            Event::Datagram { port, .. }
            | Event::FragmentDatagram { port, .. }
            | Event::FragmentDatagramsFailed { port, .. } => (3 << KINDS) | u64::from(*port),
            Event::Pong { tag, .. }
            | Event::PingEnded { tag, .. }
            | Event::Answered { tag, .. }
            | Event::RequestEnded { tag, .. } => (4 << KINDS) | of(tag),
            Event::ServiceRequested { .. } => 5 << KINDS,
            Event::Promiscuous { .. } => 6 << KINDS,
        }
    }

    /// Two neighbours on each of two interfaces, and the interfaces themselves.
    fn route(at: Hop, _: &[Hop]) -> Hop {
        Hop {
            interface: at.interface % 2,
            via: at.via % 4,
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

/// Checks that any octets are a request, an answer or fragments that keep what they say, or none.
///
/// # Panics
///
/// When they do not.
pub fn check_decoders(octets: &[u8]) {
    for version in [Version::V1, Version::V2] {
        for port in port::CMP..=port::UPTIME {
            if let Some(question) = Question::decode(port, octets, version, &copy) {
                check_request(&question, version);
                check_answer(&question);
            }
        }
    }
    check_fragments(octets);
}

fn copy(octets: &[u8]) -> Bytes {
    Bytes::copy_from_slice(octets)
}

fn check_request(question: &Question<'_>, version: Version) {
    let request = &question.request;
    let (octets, limit) = request.data_and_limit();
    assert!(octets <= limit && octets <= question.octets.len());
    if let ServiceRequest::SetRoute { address, via, .. } = request {
        let fields = [Some(*address), *via];
        if fields.iter().flatten().any(|it| *it > version.broadcast()) {
            return;
        }
    }
    let mut again = Vec::new();
    request.encode(version, &mut again);
    assert_eq!(again.len(), request.len(version));
    let decoded = Question::decode(request.port(), &again, version, &copy).map(|it| it.request);
    match (request, decoded) {
        // Those of version 1 have no prefix.
        (
            ServiceRequest::SetRoute { address, .. },
            Some(ServiceRequest::SetRoute { address: same, .. }),
        ) => {
            assert_eq!(*address, same);
        }
        (_, decoded) => assert_eq!(decoded.as_ref(), Some(request)),
    }
}

/// The octets of the request as those of a reply to it.
fn check_answer(question: &Question<'_>) {
    let mut reply = question.octets.to_vec();
    if question.request.port() == port::CMP
        && let Some(kind) = reply.first_mut()
    {
        *kind = 0xFF;
    }
    let Some(answer) = ServiceAnswer::decode(&question.request, &reply, &copy) else {
        return;
    };
    let mut again = Vec::new();
    if answer.encode(question, &mut again) {
        let same = ServiceAnswer::decode(&question.request, &again, &copy);
        assert_eq!(same, Some(answer));
    }
}

/// Each dozen of the octets as a fragment: what is taken is a run from the first on, within the limit.
fn check_fragments(octets: &[u8]) {
    const LIMIT: u32 = 1 << 16;
    let mut state = Reassembly::default();
    let mut end = 0;
    for fragment in octets.chunks(12) {
        let mut step = state.step(fragment, LIMIT);
        if let Step::FailedBefore(_) = step {
            assert!(!state.is_underway());
            step = state.step(fragment, LIMIT);
            assert!(!matches!(step, Step::FailedBefore(_)), "once");
        }
        let Step::Next(SfpTrailer { offset, total }) = step else {
            assert!(!state.is_underway());
            continue;
        };
        assert!(offset == 0 || offset == end);
        end = offset + u32::try_from(fragment.len() - SFP_LEN).unwrap_or(u32::MAX);
        assert!(end <= total && total <= LIMIT);
        assert_eq!(state.is_underway(), end < total);
    }
}

/// The codec of [`Packet`] in header version 1, for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct PacketV1Codec;

/// The codec of [`Packet`] in header version 2, for the law that decoding and encoding are inverse.
#[derive(Debug, Clone, Copy)]
pub struct PacketV2Codec;

macro_rules! packet_codec {
    ($codec:ty, $version:expr) => {
        impl Codec for $codec {
            type Item<'a> = Packet<'a>;

            fn decode(octets: &[u8]) -> Option<Packet<'_>> {
                Packet::decode($version, octets).ok()
            }

            fn wire_len(item: &Packet<'_>) -> usize {
                item.wire_len($version)
            }

            fn encode(item: &Packet<'_>, out: &mut Vec<u8>) {
                item.encode($version, out);
            }

            fn equal(one: &Packet<'_>, other: &Packet<'_>) -> bool {
                one == other
            }
        }
    };
}

packet_codec!(PacketV1Codec, Version::V1);
packet_codec!(PacketV2Codec, Version::V2);
