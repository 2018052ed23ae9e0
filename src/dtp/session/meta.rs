//! The session file of libdtp, `<output>.meta`, of its format version 2.

use alloc::vec::Vec;

use super::{Session, SessionError, encode_intervals, intervals};
use crate::dtp::wire::Interval;

const VERSION: u32 = 2;
/// Octets before the count of ranges.
const FIELDS_LEN: usize = 26;
const COUNT_LEN: usize = 4;
const INTERVAL_LEN: u64 = 8;

/// Decodes a file. How many octets were received is told by its ranges alone: libdtp counts some twice.
pub(super) fn decode(octets: &[u8]) -> Result<Session, SessionError> {
    let Some((fields, rest)) = octets.split_first_chunk::<FIELDS_LEN>() else {
        return Err(SessionError::Short {
            octets: octets.len(),
            needed: FIELDS_LEN,
        });
    };
    let [
        v0,
        v1,
        v2,
        v3,
        n0,
        n1,
        m0,
        m1,
        idle_timeout,
        t0,
        t1,
        t2,
        t3,
        payload,
        s0,
        s1,
        s2,
        s3,
        _,
        _,
        _,
        _,
        p0,
        p1,
        p2,
        p3,
    ] = *fields;
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if version != VERSION {
        return Err(SessionError::Version(version));
    }
    // A file that ends here has no ranges.
    let (count, ranges) = match rest.split_first_chunk::<COUNT_LEN>() {
        Some((count, ranges)) => (u32::from_le_bytes(*count), ranges),
        None if rest.is_empty() => (0, rest),
        None => {
            return Err(SessionError::Short {
                octets: octets.len(),
                needed: FIELDS_LEN + COUNT_LEN,
            });
        }
    };
    let needed = INTERVAL_LEN * u64::from(count);
    if ranges.len() as u64 != needed {
        return Err(SessionError::Count {
            count,
            octets: octets.len(),
            needed: needed + (FIELDS_LEN + COUNT_LEN) as u64,
        });
    }
    let session = Session {
        server: u16::from_le_bytes([n0, n1]),
        payload,
        address: None,
        mtu: u16::from_le_bytes([m0, m1]),
        throughput: u32::from_le_bytes([t0, t1, t2, t3]),
        idle_timeout,
        id: u32::from_le_bytes([s0, s1, s2, s3]),
        size: u32::from_le_bytes([p0, p1, p2, p3]),
        identity: None,
        sum: None,
        received: Vec::new(),
    };
    session.with_ranges(intervals(ranges))
}

pub(super) fn encode(session: &Session) -> Vec<u8> {
    let mut received = session.received.clone();
    let last = session.packets().saturating_sub(1);
    let lacks_last_alone = matches!(
        received[..],
        [Interval { start: 0, end }] if end.checked_add(1) == Some(last)
    );
    if lacks_last_alone {
        received = match last.checked_sub(2) {
            Some(end) => alloc::vec![Interval { start: 0, end }],
            None => Vec::new(),
        };
    }
    let octets = received.iter().map(|it| session.octets_of(*it));
    let octets: u64 = octets.map(|it| it.end - it.start).sum();
    // Bound: at most the size.
    let octets = u32::try_from(octets).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&session.server.to_le_bytes());
    out.extend_from_slice(&session.mtu.to_le_bytes());
    out.push(session.idle_timeout);
    out.extend_from_slice(&session.throughput.to_le_bytes());
    out.push(session.payload);
    for word in [session.id, octets, session.size] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    encode_intervals(&received, &mut out);
    out
}
