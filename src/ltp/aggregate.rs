//! Service data aggregation (CCSDS 734.1-B-1): many small service data units in one block for client service 2.

use alloc::vec::Vec;
use core::error::Error as StdError;
use core::fmt;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::sdnv::{MAX_SDNV, put_sdnv, sdnv};
use crate::Instant;
use crate::wire::Cursor;

/// The client service ID of aggregated blocks (RFC 7116 section 3.1.3). They are red as a whole.
pub const AGGREGATION: u64 = 2;

/// Aggregates units into blocks, by size and by time.
///
/// There is one for each peer. A block is due when it has reached its size, or when its first unit has waited for a
/// given time. A single unit may exceed the size.
#[derive(Debug, Clone)]
pub struct Aggregator {
    size: usize,
    span: Duration,
    block: Vec<u8>,
    first: Instant,
}

impl Aggregator {
    /// Makes an aggregator for blocks of `size` octets, which are due at the latest `span` after their first unit.
    #[must_use]
    pub const fn new(size: usize, span: Duration) -> Self {
        Self {
            size,
            span,
            block: Vec::new(),
            first: Instant::ZERO,
        }
    }

    /// Adds a unit for the inner client service `client`. Returns the block if it has reached its size.
    pub fn push(&mut self, now: Instant, client: u64, unit: &[u8]) -> Option<Bytes> {
        if self.block.is_empty() {
            self.first = now;
        }
        self.block.reserve(MAX_SDNV + unit.len());
        put_sdnv(&mut self.block, client);
        self.block.extend_from_slice(unit);
        (self.block.len() >= self.size)
            .then(|| self.take())
            .flatten()
    }

    /// Returns when the block is due, if there is one.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (!self.block.is_empty()).then(|| self.first + self.span)
    }

    /// Returns the block if it is due at `now`.
    pub fn due(&mut self, now: Instant) -> Option<Bytes> {
        self.deadline().filter(|at| *at <= now)?;
        self.take()
    }

    /// Returns the block, due or not. `None` if it is empty.
    pub fn take(&mut self) -> Option<Bytes> {
        let block = mem::take(&mut self.block);
        (!block.is_empty()).then(|| block.into())
    }
}

/// A unit of an aggregated block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The inner client service ID.
    pub client: u64,
    /// The octets of the unit. They share the memory of the block.
    pub data: Bytes,
}

/// The rest of an aggregated block from an offset where no unit can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecodable {
    /// The offset in the block.
    pub offset: usize,
    /// The inner client service ID, if it could be read.
    pub client: Option<u64>,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => write!(
                f,
                "no end of a unit of client service {client} found at offset {}",
                self.offset
            ),
            None => write!(f, "no client service at offset {}", self.offset),
        }
    }
}

impl StdError for Undecodable {}

/// Splits an aggregated block into its units.
///
/// Units carry no length. `delimit` gets the inner client service ID and the rest of the block, and returns how many
/// octets the unit takes. Nothing follows an error, as the rest cannot be read.
///
/// ```
/// use bytes::Bytes;
/// use farlink::ltp::units;
///
/// let lines = |_client, rest: &[u8]| rest.iter().position(|octet| *octet == 0).map(|at| at + 1);
/// let block = Bytes::from_static(b"\x81\x07alpha\n\0\x81\x07beta\n\0");
/// let all: Vec<_> = units(block, lines).map(Result::unwrap).collect();
///
/// assert_eq!(all[0].client, 135);
/// assert_eq!(all[1].data, "beta\n\0");
/// ```
pub fn units(
    block: Bytes,
    mut delimit: impl FnMut(u64, &[u8]) -> Option<usize>,
) -> impl Iterator<Item = Result<Unit, Undecodable>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let rest = block.get(at..).filter(|rest| !rest.is_empty())?;
        let offset = at;
        // Nothing follows an error.
        at = block.len();
        let mut cursor = Cursor::new(rest);
        let Ok(client) = sdnv(&mut cursor, "client service ID") else {
            return Some(Err(Undecodable {
                offset,
                client: None,
            }));
        };
        let data = cursor.rest();
        let found = delimit(client, data).filter(|len| (1..=data.len()).contains(len));
        let Some(len) = found else {
            let client = Some(client);
            return Some(Err(Undecodable { offset, client }));
        };
        let start = offset + cursor.offset();
        at = start + len;
        Some(Ok(Unit {
            client,
            data: block.slice(start..at),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(_: u64, rest: &[u8]) -> Option<usize> {
        rest.iter().position(|octet| *octet == 0).map(|at| at + 1)
    }

    #[test]
    fn a_block_is_due_by_size_or_when_its_first_unit_has_waited() {
        let mut aggregator = Aggregator::new(10, Duration::from_secs(1));
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);

        assert_eq!(aggregator.push(at(5), 135, b"abc"), None);
        assert_eq!(aggregator.deadline(), Some(at(6)));
        assert_eq!(aggregator.due(at(5)), None);
        assert_eq!(
            aggregator.due(at(6)),
            Some(Bytes::from_static(b"\x81\x07abc"))
        );
        assert_eq!(aggregator.deadline(), None);
        assert_eq!(aggregator.push(at(7), 1, b"abcd"), None);
        assert_eq!(
            aggregator.push(at(7), 1, b"efgh"),
            Some(Bytes::from_static(b"\x01abcd\x01efgh"))
        );
    }

    #[test]
    fn what_cannot_be_delimited_ends_the_block() {
        let block = Bytes::from_static(b"\x05ab\0\x06cd");
        let mut all = units(block, lines);

        assert_eq!(all.next().unwrap().unwrap().data, "ab\0");
        let error = Undecodable {
            offset: 4,
            client: Some(6),
        };
        assert_eq!(all.next(), Some(Err(error)));
        assert_eq!(all.next(), None);
    }

    #[test]
    fn a_delimiter_that_lies_about_the_length_is_not_believed() {
        for len in [0, 4, usize::MAX] {
            let mut all = units(Bytes::from_static(b"\x05abc"), |_, _| Some(len));

            assert!(all.next().unwrap().is_err());
        }
    }
}
