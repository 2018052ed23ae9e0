//! The session file of this crate.
//!
//! | offset | field, integers little-endian |
//! |---|---|
//! | 0 | "FDTPses1" |
//! | 8 | address of the server |
//! | 10 | payload |
//! | 11 | 1 the payload is known, 2 its CRC-32C too, 4 the sum is known, 8 it is memory |
//! | 12 | MTU |
//! | 14 | idle timeout |
//! | 15 | 0 |
//! | 16 | throughput |
//! | 20 | session id |
//! | 24 | octets of the payload |
//! | 28 | CRC-32C of the payload |
//! | 32 | generation of the payload |
//! | 36 | sum of what was received |
//! | 40 | count of received ranges |
//! | 44 | ranges: first and last packet |
//! | behind them | of memory its address, 64 bits |
//! | end | CRC-32C of all before |

use alloc::vec::Vec;

use super::{Session, SessionError, encode_intervals, intervals, word};
use crate::csp::crc32;
use crate::dtp::extension::PayloadIdentity;

const MAGIC: [u8; 8] = *b"FDTPses1";
const FIELDS_LEN: usize = 44;
const CHECK_LEN: usize = 4;
const KNOWN: u8 = 1;
const CRC_KNOWN: u8 = 2;
const SUM_KNOWN: u8 = 4;
const IS_MEMORY: u8 = 8;
const ADDRESS_LEN: usize = 8;

/// Decodes a file; `None` if it is another format.
pub(super) fn decode(octets: &[u8]) -> Option<Result<Session, SessionError>> {
    octets.strip_prefix(&MAGIC)?;
    let needed = FIELDS_LEN + CHECK_LEN;
    let split = octets.split_last_chunk::<CHECK_LEN>();
    let Some((checked, check)) = split.filter(|_| octets.len() >= needed) else {
        let octets = octets.len();
        return Some(Err(SessionError::Short { octets, needed }));
    };
    let (check, crc32c) = (u32::from_le_bytes(*check), crc32(&[checked]));
    if check != crc32c {
        return Some(Err(SessionError::Check { check, crc32c }));
    }
    Some(decode_checked(checked))
}

fn decode_checked(octets: &[u8]) -> Result<Session, SessionError> {
    let (fields, ranges) = octets.split_at_checked(FIELDS_LEN).unwrap_or((octets, &[]));
    let (words, _) = fields.as_chunks::<4>();
    let mut words = words.iter();
    let [_, _] = [word(&mut words), word(&mut words)];
    let [s0, s1, payload, known] = word(&mut words).to_le_bytes();
    let [m0, m1, idle_timeout, _] = word(&mut words).to_le_bytes();
    let [throughput, id, size] = [(); 3].map(|()| word(&mut words));
    let [crc32c, generation, sum, count] = [(); 4].map(|()| word(&mut words));
    let (ranges, address) = match ranges.split_last_chunk::<ADDRESS_LEN>() {
        Some((ranges, address)) if known & IS_MEMORY != 0 => {
            (ranges, Some(u64::from_le_bytes(*address)))
        }
        _ => (ranges, None),
    };
    let needed = 8 * u64::from(count);
    if ranges.len() as u64 != needed || address.is_some() != (known & IS_MEMORY != 0) {
        return Err(SessionError::Count {
            count,
            octets: octets.len() + CHECK_LEN,
            needed: needed + (FIELDS_LEN + CHECK_LEN) as u64,
        });
    }
    let identity = PayloadIdentity {
        crc32c: (known & CRC_KNOWN != 0).then_some(crc32c),
        generation,
    };
    let session = Session {
        server: u16::from_le_bytes([s0, s1]),
        payload,
        address,
        mtu: u16::from_le_bytes([m0, m1]),
        throughput,
        idle_timeout,
        id,
        size,
        identity: (known & KNOWN != 0).then_some(identity),
        sum: (known & SUM_KNOWN != 0).then_some(sum),
        received: Vec::new(),
    };
    session.with_ranges(intervals(ranges))
}

pub(super) fn encode(session: &Session) -> Vec<u8> {
    let identity = session.identity.unwrap_or_default();
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    let known = flag(session.identity.is_some(), KNOWN)
        | flag(identity.crc32c.is_some(), CRC_KNOWN)
        | flag(session.sum.is_some(), SUM_KNOWN)
        | flag(session.address.is_some(), IS_MEMORY);
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&session.server.to_le_bytes());
    out.extend_from_slice(&[session.payload, known]);
    out.extend_from_slice(&session.mtu.to_le_bytes());
    out.extend_from_slice(&[session.idle_timeout, 0]);
    for word in [
        session.throughput,
        session.id,
        session.size,
        identity.crc32c.unwrap_or_default(),
        identity.generation,
        session.sum.unwrap_or_default(),
    ] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    encode_intervals(&session.received, &mut out);
    if let Some(address) = session.address {
        out.extend_from_slice(&address.to_le_bytes());
    }
    let check = crc32(&[&out]);
    out.extend_from_slice(&check.to_le_bytes());
    out
}
