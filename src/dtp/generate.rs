//! Arbitrary configurations, commands and packets. They use few values, so that they refer to each other.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::api::{Command, GetOptions, MemoryRequest, NeedId};
use super::config::Config;
use super::session::Session;
use super::vmem::{VmemMessage, VmemOperation};
use super::wire::{Interval, Intervals, Request};
use crate::laws::LawSubject;
use crate::{Tag, csp};

impl<'a> Arbitrary<'a> for Config {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut csp: csp::Config = u.arbitrary()?;
        csp.max_data = csp.max_data.max(89);
        let vmem_messages = u.int_in_range(0..=2)?;
        if vmem_messages > 0 {
            csp.max_data = csp.max_data.max(112);
        }
        Ok(Self {
            clients: u.int_in_range(0..=2)?,
            servers: u.int_in_range(0..=2)?,
            payloads: u.int_in_range(0..=2)?,
            max_holes: u.int_in_range(1..=4)?,
            data_events: u.int_in_range(1..=2)?,
            data_event_octets: u32::from(csp.max_data) + u.int_in_range(0..=200)?,
            max_throughput: u.arbitrary::<bool>()?.then_some(5000),
            vmem_messages,
            request_timeout: Duration::from_millis(u.int_in_range(0..=3000)?),
            hmac: csp.hmac_key.is_some() && u.arbitrary()?,
            csp,
        })
    }
}

impl<'a> Arbitrary<'a> for Command {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let tag = Tag(u.int_in_range(0..=2)?);
        let payload = u.int_in_range(0..=2)?;
        Ok(match u.int_in_range(0..=20)? {
            0..=2 | 14..=16 => Self::Get {
                tag,
                // Often the node itself, which serves what it asks for.
                server: u.int_in_range(1..=2)?,
                payload,
                options: get_options(u)?,
            },
            8 => Self::GetRest {
                tag,
                session: session(payload, u)?,
                options: get_options(u)?,
            },
            9 => Self::Pause(tag),
            10 => Self::Resume(tag),
            11 => Self::ServeOnDemand {
                payload,
                size: u.int_in_range(0..=1000)?,
                identity: u.arbitrary()?,
            },
            12 => Self::Feed {
                need: NeedId(u.int_in_range(0..=9)?),
                data: Bytes::from(vec![payload; u.int_in_range(0..=1000)?]),
            },
            13 if u.ratio(1, 8)? => Self::Shutdown,
            3 => Self::Cancel(tag),
            4 | 5 => Self::Serve {
                payload,
                data: Bytes::from(vec![payload; u.int_in_range(0..=1000)?]),
            },
            6 => Self::Withdraw(payload),
            17 => Self::ServeMemory {
                payload,
                address: u.int_in_range(0..=2)?,
            },
            18 | 19 => Self::GetMemory {
                tag,
                request: memory_request(u)?,
                session: u.arbitrary::<bool>()?.then(|| session(0, u)).transpose()?,
                options: get_options(u)?,
            },
            20 => Self::MemoryStatus {
                tag,
                server: u.int_in_range(1..=2)?,
                transport: u.arbitrary()?,
                timeout: Duration::from_millis(u.int_in_range(0..=3000)?),
            },
            _ => Self::Csp(u.arbitrary()?),
        })
    }
}

fn memory_request(u: &mut Unstructured<'_>) -> Result<MemoryRequest> {
    Ok(MemoryRequest {
        server: u.int_in_range(1..=2)?,
        address: u.int_in_range(0..=300)?,
        size: u.int_in_range(0..=1000)?,
        transport: u.arbitrary()?,
        version: u.arbitrary()?,
        keep_alive: Duration::from_millis(u.int_in_range(0..=300)?),
    })
}

fn get_options(u: &mut Unstructured<'_>) -> Result<GetOptions> {
    Ok(GetOptions {
        throughput: u.int_in_range(0..=100_000)?,
        follows_loss: u.arbitrary()?,
        mtu: u.int_in_range(8..=84)?,
        max_fruitless: u.int_in_range(0..=3)?,
        response_timeout: Duration::from_millis(u.int_in_range(0..=3000)?),
        max_rounds: u.int_in_range(0..=5)?,
        time_limit: u
            .arbitrary::<bool>()?
            .then_some(Duration::from_secs(u.int_in_range(0..=20)?)),
        first: *u.choose(&[0, 0, 0, 100])?,
        last: *u.choose(&[u32::MAX, u32::MAX, 300])?,
    })
}

fn session(payload: u8, u: &mut Unstructured<'_>) -> Result<Session> {
    let mut session = Session::new(
        (u.int_in_range(1..=2)?, payload),
        get_options(u)?,
        u.arbitrary()?,
        u.int_in_range(0..=1000)?,
    );
    session.identity = u.arbitrary()?;
    let chunk = session.chunk();
    for _ in 0..u.int_in_range(0..=3)? {
        session.add(u.int_in_range(0..=9)? * chunk, &[payload; 84]);
    }
    Ok(session)
}

/// Returns the octets of a packet: one of CSP, or a request or data in one.
pub(super) fn octets(config: &Config, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.arbitrary()? {
        return <csp::Node as LawSubject>::arbitrary_octets(&config.csp, u);
    }
    let count = u.int_in_range(1..=3)?;
    let intervals: Vec<Interval> = (0..count)
        .map(|_| {
            Ok(Interval {
                start: u.int_in_range(0..=9)?,
                end: u.int_in_range(0..=12)?,
            })
        })
        .collect::<Result<_>>()?;
    let request = Request {
        throughput: u.int_in_range(0..=50_000)?,
        payload: u.int_in_range(0..=2)?,
        session: u.arbitrary()?,
        mtu: u.int_in_range(7..=300)?,
        keep_alive: 0,
        intervals: Intervals::new(&intervals).unwrap_or(Intervals::ALL),
    };
    let header = csp::Header {
        source: u.int_in_range(1..=2)?,
        destination: config.csp.address,
        destination_port: *u.choose(&[7, 8, 8])?,
        ..csp::Header::default()
    };
    let mut octets = Vec::new();
    if u.ratio(1, 3)? {
        let (data, len) = message(request, u)?.encode();
        let header = csp::Header {
            destination_port: 14,
            flags: csp::Flags::CRC32,
            ..header
        };
        let data = data.get(..len).unwrap_or(&data);
        let packet = csp::Packet { header, data };
        let check = csp::crc32(&[data]).to_be_bytes();
        packet.encode(config.csp.version, &mut octets);
        octets.extend(check);
        return Ok(octets);
    }
    let data = &request.encode();
    csp::Packet { header, data }.encode(config.csp.version, &mut octets);
    Ok(octets)
}

fn message(request: Request, u: &mut Unstructured<'_>) -> Result<VmemMessage> {
    let operation = match u.int_in_range(0..=5)? {
        0 => VmemOperation::Stop {
            session: u.arbitrary()?,
        },
        1 => VmemOperation::Status,
        2 => VmemOperation::Alive,
        _ => VmemOperation::Start {
            address: u.int_in_range(0..=9)?,
            size: u.int_in_range(0..=1000)?,
            request,
        },
    };
    Ok(VmemMessage {
        version: 2,
        operation,
    })
}
