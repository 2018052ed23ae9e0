//! Answers of services.

use alloc::vec::Vec;

use bytes::Bytes;

use super::request::{CMP_REPLY, Question, code, len};
use super::{InterfaceName, ServiceRequest, Text};
use crate::csp::api::InterfaceStats;
use crate::preview::Preview;

/// Who a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Ident {
    /// Its name.
    pub hostname: Text<20>,
    /// What it is.
    pub model: Text<30>,
    /// The revision of its software.
    pub revision: Text<20>,
    /// The date that its software was built on.
    pub date: Text<12>,
    /// The time of that day.
    pub time: Text<9>,
}

impl Ident {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.hostname.octets());
        out.extend_from_slice(self.model.octets());
        out.extend_from_slice(self.revision.octets());
        out.extend_from_slice(self.date.octets());
        out.extend_from_slice(self.time.octets());
    }

    /// Decodes what is there; texts that are missing are empty.
    fn decode(octets: &[u8]) -> Self {
        let mut rest = octets;
        let mut next = |len: usize| {
            let (field, behind) = rest.split_at(len.min(rest.len()));
            rest = behind;
            field
        };
        Self {
            hostname: Text::decode(next(20)),
            model: Text::decode(next(30)),
            revision: Text::decode(next(20)),
            date: Text::decode(next(12)),
            time: Text::decode(next(9)),
        }
    }
}

/// A time of day: seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp {
    /// Seconds.
    pub seconds: u32,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

impl Timestamp {
    pub(super) fn encode(self) -> [u8; 8] {
        (u64::from(self.seconds) << 32 | u64::from(self.nanoseconds)).to_be_bytes()
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let (seconds, rest) = octets.split_first_chunk()?;
        Some(Self {
            seconds: u32::from_be_bytes(*seconds),
            nanoseconds: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// What a service answers.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ServiceAnswer {
    /// Who the node is.
    Ident(Ident),
    /// The counters of an interface, modulo 2^32.
    InterfaceStats {
        /// The name of the interface.
        name: InterfaceName,
        /// The counters.
        stats: InterfaceStats,
    },
    /// The time of day.
    Clock(Timestamp),
    /// The route is set.
    RouteSet,
    /// The memory read.
    Memory(
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(_0))]
        Bytes,
    ),
    /// The memory is written.
    Poked,
    /// The list of processes, or a part of it.
    Processes(
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(_0))]
        Bytes,
    ),
    /// The octets of free memory.
    FreeMemory(u32),
    /// The number of free buffers.
    FreeBuffers(u32),
    /// The seconds since the start.
    Uptime(u32),
}

impl ServiceAnswer {
    /// Writes the octets of a reply in place of those in `out`, and returns whether this is an answer to the question.
    /// A list of processes is written by the caller.
    pub(in crate::csp) fn encode(&self, question: &Question<'_>, out: &mut Vec<u8>) -> bool {
        out.clear();
        let request = &question.request;
        match (self, request) {
            (Self::Ident(ident), ServiceRequest::Ident) => {
                out.extend_from_slice(&[CMP_REPLY, code::IDENT]);
                ident.encode(out);
            }
            (Self::InterfaceStats { name, stats }, ServiceRequest::InterfaceStats(_)) => {
                out.extend_from_slice(&[CMP_REPLY, code::INTERFACE_STATS]);
                out.extend_from_slice(name.octets());
                encode_stats(stats, out);
            }
            (Self::Clock(time), ServiceRequest::Clock | ServiceRequest::SetClock(_)) => {
                repeat(question, out);
                overwrite(out, 2, &time.encode());
            }
            (Self::RouteSet, ServiceRequest::SetRoute { .. }) => {
                repeat(question, out);
                let len = match question.octets.get(1) {
                    Some(&code::ROUTE_SET) => len::ROUTE_SET,
                    _ => len::ROUTE_SET_V2,
                };
                out.resize(len, 0);
            }
            (Self::Memory(data), ServiceRequest::Peek { octets, .. }) => {
                if data.len() != usize::from(*octets) {
                    return false;
                }
                repeat(question, out);
                overwrite(out, question.memory_head(), data);
            }
            (Self::Poked, ServiceRequest::Poke { .. }) => repeat(question, out),
            (Self::FreeMemory(number), ServiceRequest::FreeMemory)
            | (Self::FreeBuffers(number), ServiceRequest::FreeBuffers)
            | (Self::Uptime(number), ServiceRequest::Uptime) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            _ => return false,
        }
        true
    }

    /// Decodes the reply to a request; `None` if it is none. What of the octets the answer keeps comes by `keep`.
    pub(in crate::csp) fn decode(
        request: &ServiceRequest,
        octets: &[u8],
        keep: &dyn Fn(&[u8]) -> Bytes,
    ) -> Option<Self> {
        let number = || Some(u32::from_be_bytes(*octets.first_chunk()?));
        match request {
            ServiceRequest::Processes => Some(Self::Processes(keep(octets))),
            ServiceRequest::FreeMemory => Some(Self::FreeMemory(number()?)),
            ServiceRequest::FreeBuffers => Some(Self::FreeBuffers(number()?)),
            ServiceRequest::Uptime => Some(Self::Uptime(number()?)),
            ServiceRequest::Reboot | ServiceRequest::Shutdown => None,
            _ => Self::decode_cmp(request, octets, keep),
        }
    }

    fn decode_cmp(
        request: &ServiceRequest,
        octets: &[u8],
        keep: &dyn Fn(&[u8]) -> Bytes,
    ) -> Option<Self> {
        let (&[kind, code], body) = octets.split_first_chunk::<2>()?;
        if kind != CMP_REPLY {
            return None;
        }
        match (request, code) {
            (ServiceRequest::Ident, code::IDENT) => Some(Self::Ident(Ident::decode(body))),
            (ServiceRequest::InterfaceStats(_), code::INTERFACE_STATS) => {
                let (name, counters) = body.split_first_chunk::<11>()?;
                let name = InterfaceName::decode(name);
                let stats = decode_stats(counters)?;
                Some(Self::InterfaceStats { name, stats })
            }
            (ServiceRequest::Clock | ServiceRequest::SetClock(_), code::CLOCK) => {
                Some(Self::Clock(Timestamp::decode(body)?))
            }
            (ServiceRequest::SetRoute { .. }, code::ROUTE_SET | code::ROUTE_SET_V2) => {
                Some(Self::RouteSet)
            }
            (ServiceRequest::Peek { octets: count, .. }, code::PEEK | code::PEEK_WIDE) => {
                let head = match code {
                    code::PEEK => len::PEEK_HEAD,
                    _ => len::PEEK_WIDE_HEAD,
                };
                let data = octets.get(head..)?.get(..usize::from(*count))?;
                Some(Self::Memory(keep(data)))
            }
            (ServiceRequest::Poke { .. }, code::POKE | code::POKE_WIDE) => Some(Self::Poked),
            _ => None,
        }
    }
}

/// Begins a reply with the octets of the request.
fn repeat(question: &Question<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(question.octets);
    overwrite(out, 0, &[CMP_REPLY]);
}

fn overwrite(out: &mut [u8], start: usize, octets: &[u8]) {
    let places = out.iter_mut().skip(start);
    for (place, octet) in places.zip(octets) {
        *place = *octet;
    }
}

/// Writes the counters modulo 2^32.
fn encode_stats(stats: &InterfaceStats, out: &mut Vec<u8>) {
    for counter in [
        stats.sent,
        stats.received,
        stats.send_errors,
        stats.receive_errors,
        stats.dropped,
        stats.authentication_errors,
        stats.frame_errors,
        stats.octets_sent,
        stats.octets_received,
        stats.interrupts,
    ] {
        let [.., a, b, c, d] = counter.to_be_bytes();
        out.extend_from_slice(&[a, b, c, d]);
    }
}

fn decode_stats(octets: &[u8]) -> Option<InterfaceStats> {
    let (words, _) = octets.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_be_bytes(*word).into());
    Some(InterfaceStats {
        sent: words.next()?,
        received: words.next()?,
        send_errors: words.next()?,
        receive_errors: words.next()?,
        dropped: words.next()?,
        authentication_errors: words.next()?,
        frame_errors: words.next()?,
        octets_sent: words.next()?,
        octets_received: words.next()?,
        interrupts: words.next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csp::wire::Version;

    fn exchange(request: &ServiceRequest, answer: &ServiceAnswer) -> (Vec<u8>, Vec<u8>) {
        let (mut asked, mut reply) = (Vec::new(), Vec::new());
        request.encode(Version::V2, &mut asked);
        let copy = |octets: &[u8]| Bytes::copy_from_slice(octets);
        let question = Question::decode(request.port(), &asked, Version::V2, &copy).unwrap();
        assert!(answer.encode(&question, &mut reply));
        let decoded = ServiceAnswer::decode(request, &reply, &copy);
        assert_eq!(decoded.as_ref(), Some(answer), "{request:?}");
        for len in 0..reply.len() {
            // Any shorter one is an answer or none.
            let _: Option<ServiceAnswer> = ServiceAnswer::decode(request, &reply[..len], &copy);
        }
        (asked, reply)
    }

    #[test]
    fn replies_of_cmp_have_the_lengths_of_libcsp() {
        let ident = Ident {
            hostname: Text::new("refhost").unwrap(),
            ..Ident::default()
        };
        let name = InterfaceName::new("UDP").unwrap();
        let stats = InterfaceStats {
            sent: 1,
            octets_received: 154,
            interrupts: 3,
            ..InterfaceStats::default()
        };
        let route = ServiceRequest::SetRoute {
            address: 8,
            prefix: 9,
            via: None,
            interface: name,
        };
        let counted = ServiceAnswer::InterfaceStats { name, stats };
        for (request, answer, len) in [
            (ServiceRequest::Ident, ServiceAnswer::Ident(ident), 93),
            (ServiceRequest::InterfaceStats(name), counted, 53),
            (route, ServiceAnswer::RouteSet, 20),
        ] {
            assert_eq!(exchange(&request, &answer).1.len(), len);
        }
    }

    #[test]
    fn replies_to_peek_poke_and_clock_keep_the_length_of_the_request() {
        let data = Bytes::from_static(b"abcd");
        let time = Timestamp {
            seconds: 5,
            nanoseconds: 6,
        };
        for address in [1, u64::MAX] {
            let peek = ServiceRequest::Peek { address, octets: 4 };
            let poke = ServiceRequest::Poke {
                address,
                data: data.clone(),
            };
            for (request, answer) in [
                (peek, ServiceAnswer::Memory(data.clone())),
                (poke, ServiceAnswer::Poked),
                (ServiceRequest::Clock, ServiceAnswer::Clock(time)),
                (ServiceRequest::SetClock(time), ServiceAnswer::Clock(time)),
            ] {
                let (asked, reply) = exchange(&request, &answer);
                assert_eq!(asked.len(), reply.len());
                assert_eq!(asked[1], reply[1]);
            }
        }
    }

    #[test]
    fn numbers_are_big_endian_octets() {
        for (request, answer) in [
            (ServiceRequest::Uptime, ServiceAnswer::Uptime(0x634)),
            (
                ServiceRequest::FreeBuffers,
                ServiceAnswer::FreeBuffers(0x634),
            ),
            (ServiceRequest::FreeMemory, ServiceAnswer::FreeMemory(0x634)),
        ] {
            assert_eq!(exchange(&request, &answer).1, [0, 0, 6, 0x34]);
        }
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let question = Question {
            request: ServiceRequest::Peek {
                address: 0,
                octets: 2,
            },
            octets: &[0; 12],
        };
        for answer in [
            ServiceAnswer::Uptime(1),
            ServiceAnswer::Poked,
            ServiceAnswer::Memory(Bytes::from_static(b"abc")),
        ] {
            assert!(!answer.encode(&question, &mut Vec::new()), "{answer:?}");
        }
    }
}
