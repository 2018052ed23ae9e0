//! Requests to services.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{InterfaceName, ServiceSet, Timestamp, port};
use crate::csp::wire::Version;
use crate::preview::Preview;

/// Octets of the longest request: a poke with addresses of 64 bits.
pub(in crate::csp) const MAX_REQUEST: usize = 14 + MAX_POKE_WIDE;
/// Octets that a peek or a poke may have: with addresses of 32 bits, and of 64.
const MAX_POKE: usize = 200;
const MAX_POKE_WIDE: usize = 196;

/// The first octet of a request of CMP, and of a reply.
pub(super) const CMP_REQUEST: u8 = 0x00;
pub(super) const CMP_REPLY: u8 = 0xFF;

/// Codes of CMP: its second octet.
pub(super) mod code {
    pub(in crate::csp::services) const IDENT: u8 = 1;
    pub(in crate::csp::services) const ROUTE_SET: u8 = 2;
    pub(in crate::csp::services) const INTERFACE_STATS: u8 = 3;
    pub(in crate::csp::services) const PEEK: u8 = 4;
    pub(in crate::csp::services) const POKE: u8 = 5;
    pub(in crate::csp::services) const CLOCK: u8 = 6;
    pub(in crate::csp::services) const ROUTE_SET_V2: u8 = 7;
    pub(in crate::csp::services) const PEEK_WIDE: u8 = 8;
    pub(in crate::csp::services) const POKE_WIDE: u8 = 9;
}

/// Lengths of messages of CMP.
pub(super) mod len {
    pub(in crate::csp::services) const IDENT: usize = 93;
    pub(in crate::csp::services) const ROUTE_SET: usize = 15;
    pub(in crate::csp::services) const ROUTE_SET_V2: usize = 20;
    pub(in crate::csp::services) const INTERFACE_STATS: usize = 53;
    pub(in crate::csp::services) const CLOCK: usize = 10;
    /// Octets before the data of a peek or poke, and those that libcsp sends beside the data.
    pub(in crate::csp::services) const PEEK_HEAD: usize = 7;
    pub(in crate::csp::services) const PEEK: usize = 10;
    pub(in crate::csp::services) const PEEK_WIDE_HEAD: usize = 11;
    pub(in crate::csp::services) const PEEK_WIDE: usize = 14;
}

const REBOOT: u32 = 0x8007_8007;
const SHUTDOWN: u32 = 0xD1E5_529A;
/// What libcsp sends to ask for the list of processes.
const LIST_PROCESSES: u8 = 0x55;
/// `CSP_NO_VIA_ADDRESS`, in the octet of version 1 and in the two of version 2.
const NO_VIA: u16 = 0xFFFF;
const NO_VIA_V1: u8 = 0xFF;

/// What a service is asked for.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ServiceRequest {
    /// Who the node is.
    Ident,
    /// The counters of an interface.
    InterfaceStats(InterfaceName),
    /// The time of day.
    Clock,
    /// Set the time of day. Its seconds are not 0.
    SetClock(Timestamp),
    /// Set a route.
    SetRoute {
        /// The address.
        address: u16,
        /// How many of its first bits count. Networks of version 1 have routes to one node alone: 5.
        prefix: u8,
        /// The next node; `None` is the destination itself.
        via: Option<u16>,
        /// The interface.
        interface: InterfaceName,
    },
    /// Read memory.
    Peek {
        /// Where. Beyond 32 bits only nodes of the 2.2 line of libcsp understand it.
        address: u64,
        /// Octets, at most 200, or 196 beyond 32 bits.
        octets: u8,
    },
    /// Write memory.
    Poke {
        /// Where. Beyond 32 bits only nodes of the 2.2 line of libcsp understand it.
        address: u64,
        /// The octets, at most 200, or 196 beyond 32 bits.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// The list of processes.
    Processes,
    /// The octets of free memory.
    FreeMemory,
    /// Start anew. No answer comes.
    Reboot,
    /// Power off. No answer comes.
    Shutdown,
    /// The number of free buffers.
    FreeBuffers,
    /// The seconds since the start.
    Uptime,
}

impl ServiceRequest {
    /// Returns the port that it goes to.
    pub(in crate::csp) const fn port(&self) -> u8 {
        self.service().port()
    }

    /// Returns the service that answers it.
    pub(in crate::csp) const fn service(&self) -> ServiceSet {
        match self {
            Self::Ident => ServiceSet::IDENT,
            Self::InterfaceStats(_) => ServiceSet::INTERFACE_STATS,
            Self::Clock | Self::SetClock(_) => ServiceSet::CLOCK,
            Self::SetRoute { .. } => ServiceSet::ROUTE_SET,
            Self::Peek { .. } => ServiceSet::PEEK,
            Self::Poke { .. } => ServiceSet::POKE,
            Self::Processes => ServiceSet::PROCESSES,
            Self::FreeMemory => ServiceSet::FREE_MEMORY,
            Self::Reboot | Self::Shutdown => ServiceSet::REBOOT,
            Self::FreeBuffers => ServiceSet::FREE_BUFFERS,
            Self::Uptime => ServiceSet::UPTIME,
        }
    }

    /// Returns the data of a poke.
    pub(in crate::csp) fn data(&self) -> &[u8] {
        match self {
            Self::Poke { data, .. } => data,
            _ => &[],
        }
    }

    /// Returns the octets of the encoded request.
    pub(in crate::csp) fn len(&self, version: Version) -> usize {
        match self {
            Self::Ident => len::IDENT,
            Self::InterfaceStats(_) => len::INTERFACE_STATS,
            Self::Clock | Self::SetClock(_) => len::CLOCK,
            Self::SetRoute { .. } if version == Version::V1 => len::ROUTE_SET,
            Self::SetRoute { .. } => len::ROUTE_SET_V2,
            Self::Peek { address, .. } | Self::Poke { address, .. } => {
                let rest = if is_wide(*address) {
                    len::PEEK_WIDE
                } else {
                    len::PEEK
                };
                rest + self.data_and_limit().0
            }
            Self::Processes => 1,
            Self::Reboot | Self::Shutdown => 4,
            Self::FreeMemory | Self::FreeBuffers | Self::Uptime => 0,
        }
    }

    /// Returns the octets of data in it, and the largest number.
    pub(in crate::csp) fn data_and_limit(&self) -> (usize, usize) {
        match self {
            Self::Peek { address, octets } => ((*octets).into(), max_memory(*address)),
            Self::Poke { address, data } => (data.len(), max_memory(*address)),
            _ => (0, 0),
        }
    }

    /// Writes the octets of the request in place of those in `out`, which has room for [`MAX_REQUEST`].
    pub(in crate::csp) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Ident => cmp(out, code::IDENT, len::IDENT),
            Self::InterfaceStats(name) => {
                put(out, &[&[CMP_REQUEST, code::INTERFACE_STATS], name.octets()]);
                out.resize(len::INTERFACE_STATS, 0);
            }
            Self::Clock => cmp(out, code::CLOCK, len::CLOCK),
            Self::SetClock(time) => {
                put(out, &[&[CMP_REQUEST, code::CLOCK], &time.encode()]);
            }
            Self::SetRoute { .. } => self.encode_route(version, out),
            Self::Peek { address, octets } => {
                memory(out, [code::PEEK, code::PEEK_WIDE], *address, *octets, &[]);
            }
            Self::Poke { address, data } => {
                // Bound: a command with more was refused.
                let octets = u8::try_from(data.len()).unwrap_or(u8::MAX);
                memory(out, [code::POKE, code::POKE_WIDE], *address, octets, data);
            }
            Self::Processes => out.push(LIST_PROCESSES),
            Self::Reboot => put(out, &[&REBOOT.to_be_bytes()]),
            Self::Shutdown => put(out, &[&SHUTDOWN.to_be_bytes()]),
            Self::FreeMemory | Self::FreeBuffers | Self::Uptime => {}
        }
    }

    fn encode_route(&self, version: Version, out: &mut Vec<u8>) {
        let Self::SetRoute {
            address,
            prefix,
            via,
            interface,
        } = self
        else {
            return;
        };
        match version {
            Version::V1 => {
                // Bound: addresses have 5 bits.
                let short = |address: u16| u8::try_from(address).unwrap_or(NO_VIA_V1);
                let via = via.map_or(NO_VIA_V1, short);
                let head = [CMP_REQUEST, code::ROUTE_SET, short(*address), via];
                put(out, &[&head, interface.octets()]);
            }
            Version::V2 => {
                put(out, &[&[CMP_REQUEST, code::ROUTE_SET_V2]]);
                for field in [*address, via.unwrap_or(NO_VIA), (*prefix).into()] {
                    out.extend_from_slice(&field.to_be_bytes());
                }
                out.extend_from_slice(interface.octets());
                out.resize(len::ROUTE_SET_V2, 0);
            }
        }
    }
}

const fn is_wide(address: u64) -> bool {
    address > u32::MAX as u64
}

const fn max_memory(address: u64) -> usize {
    if is_wide(address) {
        MAX_POKE_WIDE
    } else {
        MAX_POKE
    }
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn cmp(out: &mut Vec<u8>, code: u8, len: usize) {
    out.extend_from_slice(&[CMP_REQUEST, code]);
    out.resize(len, 0);
}

/// Writes a peek or a poke.
fn memory(out: &mut Vec<u8>, codes: [u8; 2], address: u64, octets: u8, data: &[u8]) {
    let [narrow, wide] = codes;
    let (code, total) = if is_wide(address) {
        (wide, len::PEEK_WIDE)
    } else {
        (narrow, len::PEEK)
    };
    put(out, &[&[CMP_REQUEST, code]]);
    match u32::try_from(address) {
        Ok(address) => put(out, &[&address.to_be_bytes()]),
        Err(_) => put(out, &[&address.to_be_bytes()]),
    }
    put(out, &[&[octets], data]);
    out.resize(total + usize::from(octets), 0);
}

/// A request that came, with the octets that its reply repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::csp) struct Question<'a> {
    pub(in crate::csp) request: ServiceRequest,
    pub(in crate::csp) octets: &'a [u8],
}

impl<'a> Question<'a> {
    /// Decodes a request to a port; `None` if no service understands it, or octets are missing. What of them the request
    /// keeps comes by `keep`.
    pub(in crate::csp) fn decode(
        port: u8,
        octets: &'a [u8],
        version: Version,
        keep: &dyn Fn(&[u8]) -> Bytes,
    ) -> Option<Self> {
        let request = match port {
            port::CMP => decode_cmp(octets, version, keep)?,
            port::PROCESSES => ServiceRequest::Processes,
            port::FREE_MEMORY => ServiceRequest::FreeMemory,
            port::REBOOT => match u32::from_be_bytes(*octets.first_chunk()?) {
                REBOOT => ServiceRequest::Reboot,
                SHUTDOWN => ServiceRequest::Shutdown,
                _ => return None,
            },
            port::FREE_BUFFERS => ServiceRequest::FreeBuffers,
            port::UPTIME => ServiceRequest::Uptime,
            _ => return None,
        };
        Some(Self { request, octets })
    }

    /// Returns where the data of a peek or poke begin.
    pub(super) fn memory_head(&self) -> usize {
        match self.octets.get(1) {
            Some(&(code::PEEK_WIDE | code::POKE_WIDE)) => len::PEEK_WIDE_HEAD,
            _ => len::PEEK_HEAD,
        }
    }
}

fn decode_cmp(
    octets: &[u8],
    version: Version,
    keep: &dyn Fn(&[u8]) -> Bytes,
) -> Option<ServiceRequest> {
    let (&[kind, code], body) = octets.split_first_chunk::<2>()?;
    if kind != CMP_REQUEST {
        return None;
    }
    match code {
        // libcsp answers shorter ones too. Here no reply is longer than its request, so that none amplifies.
        code::IDENT if octets.len() >= len::IDENT => Some(ServiceRequest::Ident),
        code::INTERFACE_STATS if octets.len() >= len::INTERFACE_STATS => {
            Some(ServiceRequest::InterfaceStats(InterfaceName::decode(body)))
        }
        code::CLOCK => {
            let time = Timestamp::decode(body)?;
            Some(if time.seconds == 0 {
                ServiceRequest::Clock
            } else {
                ServiceRequest::SetClock(time)
            })
        }
        code::ROUTE_SET => {
            let (&[address, via], name) = body.split_first_chunk::<2>()?;
            Some(ServiceRequest::SetRoute {
                address: address.into(),
                prefix: version.address_bits(),
                via: (via != NO_VIA_V1).then_some(via.into()),
                interface: InterfaceName::decode(name),
            })
        }
        code::ROUTE_SET_V2 => {
            let (fields, name) = body.split_first_chunk::<6>()?;
            let (fields, _) = fields.as_chunks::<2>();
            let &[address, via, prefix] = fields.first_chunk()?;
            let [address, via, prefix] = [address, via, prefix].map(u16::from_be_bytes);
            Some(ServiceRequest::SetRoute {
                address,
                prefix: u8::try_from(prefix).ok()?,
                via: (via != NO_VIA).then_some(via),
                interface: InterfaceName::decode(name),
            })
        }
        code::PEEK | code::POKE => {
            let (address, rest) = body.split_first_chunk::<4>()?;
            let address = u32::from_be_bytes(*address).into();
            let data = memory_of(rest, MAX_POKE)?;
            Some(memory_request(code == code::POKE, address, data, keep))
        }
        code::PEEK_WIDE | code::POKE_WIDE => {
            let (address, rest) = body.split_first_chunk::<8>()?;
            let address = u64::from_be_bytes(*address);
            let data = memory_of(rest, MAX_POKE_WIDE)?;
            Some(memory_request(code == code::POKE_WIDE, address, data, keep))
        }
        _ => None,
    }
}

/// Returns the data of a peek or a poke behind their number. Those of a peek are the place for the reply.
fn memory_of(octets: &[u8], limit: usize) -> Option<&[u8]> {
    let (&count, data) = octets.split_first()?;
    let data = data.get(..usize::from(count))?;
    (data.len() <= limit).then_some(data)
}

fn memory_request(
    is_poke: bool,
    address: u64,
    data: &[u8],
    keep: &dyn Fn(&[u8]) -> Bytes,
) -> ServiceRequest {
    if is_poke {
        let data = keep(data);
        return ServiceRequest::Poke { address, data };
    }
    ServiceRequest::Peek {
        address,
        // Bound: the octet that counts them.
        octets: u8::try_from(data.len()).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(request: &ServiceRequest, version: Version) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_REQUEST);
        request.encode(version, &mut out);
        assert_eq!(out.capacity(), MAX_REQUEST, "nothing is allocated");
        assert_eq!(out.len(), request.len(version));
        out
    }

    fn decoded(port: u8, octets: &[u8], version: Version) -> Option<ServiceRequest> {
        let question = Question::decode(port, octets, version, &Bytes::copy_from_slice)?;
        Some(question.request)
    }

    fn all(version: Version) -> Vec<ServiceRequest> {
        let wide = u64::from(u32::MAX) + 1;
        [
            ServiceRequest::Ident,
            ServiceRequest::InterfaceStats(InterfaceName::new("CAN0").unwrap()),
            ServiceRequest::Clock,
            ServiceRequest::SetClock(Timestamp {
                seconds: 1,
                nanoseconds: 2,
            }),
            ServiceRequest::SetRoute {
                address: 9,
                prefix: version.address_bits(),
                via: Some(3),
                interface: InterfaceName::new("KISS").unwrap(),
            },
            ServiceRequest::Peek {
                address: 0x1234,
                octets: 200,
            },
            ServiceRequest::Poke {
                address: wide,
                data: Bytes::from_static(&[7; 196]),
            },
            ServiceRequest::Processes,
            ServiceRequest::FreeMemory,
            ServiceRequest::Reboot,
            ServiceRequest::Shutdown,
            ServiceRequest::FreeBuffers,
            ServiceRequest::Uptime,
        ]
        .to_vec()
    }

    #[test]
    fn requests_decode_from_their_octets() {
        for version in [Version::V1, Version::V2] {
            for request in all(version) {
                let octets = encoded(&request, version);
                assert_eq!(decoded(request.port(), &octets, version), Some(request));
            }
        }
    }

    #[test]
    fn messages_of_cmp_have_the_lengths_of_libcsp() {
        let lengths = |version| {
            let cmp = all(version).into_iter().filter(|it| it.port() == port::CMP);
            cmp.map(|it| encoded(&it, version).len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(Version::V1), [93, 53, 10, 10, 15, 210, 210]);
        assert_eq!(lengths(Version::V2), [93, 53, 10, 10, 20, 210, 210]);
    }

    #[test]
    fn data_of_a_poke_begin_at_octet_7_or_11() {
        let poke = |address| ServiceRequest::Poke {
            address,
            data: Bytes::from_static(b"abc"),
        };
        let narrow = encoded(&poke(0x0102_0304), Version::V2);
        assert_eq!(narrow, b"\x00\x05\x01\x02\x03\x04\x03abc\0\0\0");
        let wide = encoded(&poke(0x01_0203_0405), Version::V2);
        assert_eq!(wide, b"\x00\x09\0\0\0\x01\x02\x03\x04\x05\x03abc\0\0\0");
    }

    #[test]
    fn requests_with_missing_octets_are_refused() {
        for version in [Version::V1, Version::V2] {
            for request in all(version) {
                let octets = encoded(&request, version);
                let least = match request {
                    ServiceRequest::SetRoute { .. } if version == Version::V1 => 4,
                    ServiceRequest::SetRoute { .. } => 8,
                    ServiceRequest::Peek { .. } | ServiceRequest::Poke { .. } => 207,
                    _ if [port::CMP, port::REBOOT].contains(&request.port()) => octets.len(),
                    _ => 0,
                };
                for len in 0..octets.len() {
                    let is_some = decoded(request.port(), &octets[..len], version).is_some();
                    assert_eq!(is_some, len >= least, "{request:?} of {len} octets");
                }
            }
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let refused = |port, octets: &[u8]| {
            assert_eq!(decoded(port, octets, Version::V2), None);
        };
        refused(port::CMP, &[0xFF, code::IDENT]);
        refused(port::CMP, &[0, 10]);
        refused(port::CMP, &[0, 0]);
        refused(port::REBOOT, &[0x80, 7, 0x80, 8]);
        refused(port::PING, b"");
        refused(7, b"");
        let mut long = encoded(
            &ServiceRequest::Peek {
                address: 0,
                octets: 200,
            },
            Version::V2,
        );
        long.resize(300, 0);
        long[6] = 201;
        refused(port::CMP, &long);
    }
}
