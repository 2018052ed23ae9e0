//! Records: the compact form of calls in the options of packets.
//!
//! A record is an opcode, the time since the record before (a zigzag varint), and its fields. Octets and
//! JSON are not in it: they are the packets before its end, in their order.

use alloc::vec::Vec;

use super::json::{DIGEST, Digest};
use super::pcapng::{take, take_slice};
use crate::Instant;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Record<'a> {
    /// Adds an address to the table, as JSON.
    Address(&'a [u8]),
    /// Empties the table of addresses.
    Forget,
    /// The packets before are the content of this blob.
    Blob { digest: Digest, packets: u64 },
    /// A call or its result, with its time.
    Call(Instant, Op<'a>),
}

/// A call, or its result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op<'a> {
    /// The machine was restored; the JSON packet holds the snapshot.
    Restore,
    /// `receive`, with the octets of that many packets as one chunk.
    Receive { from: u32, packets: u64 },
    /// `link`; the JSON packet holds it.
    Link,
    /// `command`; the JSON packet holds it.
    Command,
    /// The command before was accepted.
    Accepted,
    /// The command before was refused.
    Refused(&'a [u8]),
    /// `poll` returned datagrams, one in each packet.
    Datagrams { to: u32, packets: u64 },
    /// `poll` returned octets of a stream.
    Stream { to: u32, packets: u64 },
    /// `poll` returned an empty transmit, in violation of the contract.
    EmptyTransmit,
    /// `poll` returned an event; the JSON packet holds it.
    Event,
    /// `poll` returned an ask; the JSON packet holds it.
    Ask,
    /// `poll` returned `Yield`.
    Yield,
    /// `poll` returned `Idle`.
    Idle(Option<Instant>),
    /// `poll` returned `Done`.
    Done,
    /// `poll` was called and did not return: the machine panicked.
    NoReturn,
}

const FILL: u8 = 0;
const ADDRESS: u8 = 1;
const FORGET: u8 = 2;
const BLOB: u8 = 3;
const RECEIVE: u8 = 4;
const LINK: u8 = 5;
const COMMAND: u8 = 6;
const ACCEPTED: u8 = 7;
const REFUSED: u8 = 8;
const DATAGRAMS: u8 = 9;
const STREAM: u8 = 10;
const EMPTY_TRANSMIT: u8 = 11;
const EVENT: u8 = 12;
const ASK: u8 = 13;
const IDLE: u8 = 14;
const IDLE_UNTIL: u8 = 15;
const DONE: u8 = 16;
const NO_RETURN: u8 = 17;
const YIELD: u8 = 18;
const RESTORE: u8 = 19;

/// The time of the record before, from which the next one counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimeBase(u64);

impl Record<'_> {
    /// Appends the record.
    pub(super) fn encode(&self, base: &mut TimeBase, out: &mut Vec<u8>) {
        match *self {
            Self::Address(json) => {
                out.push(ADDRESS);
                write_octets(out, json);
            }
            Self::Forget => out.push(FORGET),
            Self::Blob { digest, packets } => {
                out.push(BLOB);
                out.extend_from_slice(&digest);
                write_varint(out, packets);
            }
            Self::Call(time, op) => encode_call(time, op, base, out),
        }
    }
}

fn encode_call(time: Instant, op: Op<'_>, base: &mut TimeBase, out: &mut Vec<u8>) {
    out.push(match op {
        Op::Restore => RESTORE,
        Op::Receive { .. } => RECEIVE,
        Op::Link => LINK,
        Op::Command => COMMAND,
        Op::Accepted => ACCEPTED,
        Op::Refused(_) => REFUSED,
        Op::Datagrams { .. } => DATAGRAMS,
        Op::Stream { .. } => STREAM,
        Op::EmptyTransmit => EMPTY_TRANSMIT,
        Op::Event => EVENT,
        Op::Ask => ASK,
        Op::Yield => YIELD,
        Op::Idle(None) => IDLE,
        Op::Idle(Some(_)) => IDLE_UNTIL,
        Op::Done => DONE,
        Op::NoReturn => NO_RETURN,
    });
    write_span(out, base.0, time.as_nanos());
    base.0 = time.as_nanos();
    match op {
        Op::Receive { from: at, packets }
        | Op::Datagrams { to: at, packets }
        | Op::Stream { to: at, packets } => {
            write_varint(out, u64::from(at));
            write_varint(out, packets);
        }
        Op::Refused(reason) => write_octets(out, reason),
        Op::Idle(Some(until)) => write_span(out, time.as_nanos(), until.as_nanos()),
        _ => {}
    }
}

/// Takes the next record from the front of `records`: `Ok(None)` at their end, `Err` if it is invalid.
pub(super) fn decode<'a>(
    records: &mut &'a [u8],
    base: &mut TimeBase,
) -> Result<Option<Record<'a>>, InvalidRecord> {
    loop {
        let Some([opcode]) = take(records) else {
            return Ok(None);
        };
        if opcode != FILL {
            return decode_one(opcode, records, base)
                .map(Some)
                .ok_or(InvalidRecord);
        }
    }
}

/// An octet sequence that is no record.
#[derive(Debug, Clone, Copy)]
pub(super) struct InvalidRecord;

fn decode_one<'a>(opcode: u8, records: &mut &'a [u8], base: &mut TimeBase) -> Option<Record<'a>> {
    match opcode {
        ADDRESS => return Some(Record::Address(read_octets(records)?)),
        FORGET => return Some(Record::Forget),
        BLOB => {
            let digest = take::<DIGEST>(records)?;
            let packets = read_varint(records)?;
            return Some(Record::Blob { digest, packets });
        }
        _ => {}
    }
    let time = read_span(records, base.0)?;
    base.0 = time;
    let op = match opcode {
        RECEIVE => {
            let (from, packets) = read_address(records)?;
            Op::Receive { from, packets }
        }
        DATAGRAMS => {
            let (to, packets) = read_address(records)?;
            Op::Datagrams { to, packets }
        }
        STREAM => {
            let (to, packets) = read_address(records)?;
            Op::Stream { to, packets }
        }
        RESTORE => Op::Restore,
        LINK => Op::Link,
        COMMAND => Op::Command,
        ACCEPTED => Op::Accepted,
        REFUSED => Op::Refused(read_octets(records)?),
        EMPTY_TRANSMIT => Op::EmptyTransmit,
        EVENT => Op::Event,
        ASK => Op::Ask,
        YIELD => Op::Yield,
        IDLE => Op::Idle(None),
        IDLE_UNTIL => Op::Idle(Some(Instant::from_nanos(read_span(records, time)?))),
        DONE => Op::Done,
        NO_RETURN => Op::NoReturn,
        _ => return None,
    };
    Some(Record::Call(Instant::from_nanos(time), op))
}

fn read_address(records: &mut &[u8]) -> Option<(u32, u64)> {
    let at = u32::try_from(read_varint(records)?).ok()?;
    Some((at, read_varint(records)?))
}

fn write_octets(out: &mut Vec<u8>, octets: &[u8]) {
    write_varint(out, u64::try_from(octets.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(octets);
}

fn read_octets<'a>(records: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(records)?;
    take_slice(records, length)
}

fn read_length(records: &mut &[u8]) -> Option<usize> {
    usize::try_from(read_varint(records)?).ok()
}

/// Writes the difference of two times; it wraps, so that any two times can follow each other.
fn write_span(out: &mut Vec<u8>, from: u64, to: u64) {
    let span = to.wrapping_sub(from).cast_signed();
    // Zigzag: small spans stay short in both directions.
    write_varint(out, (span << 1 ^ span >> 63).cast_unsigned());
}

fn read_span(records: &mut &[u8], from: u64) -> Option<u64> {
    let zigzag = read_varint(records)?;
    let span = zigzag >> 1 ^ (zigzag & 1).wrapping_neg();
    Some(from.wrapping_add(span))
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn read_varint(records: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let [octet] = take(records)?;
        let bits = u64::from(octet & 0x7f);
        // The tenth octet has room for one bit.
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_as_written() {
        let at = Instant::from_nanos;
        let records = [
            Record::Address(b"{\"via\":1}"),
            Record::Call(
                at(5),
                Op::Receive {
                    from: 0,
                    packets: 1,
                },
            ),
            Record::Call(at(5), Op::Restore),
            Record::Call(at(5), Op::Link),
            Record::Call(at(u64::MAX), Op::Command),
            Record::Call(at(0), Op::Accepted),
            Record::Call(at(1 << 63), Op::Refused(b"no")),
            Record::Call(
                at(7),
                Op::Datagrams {
                    to: u32::MAX,
                    packets: u64::MAX,
                },
            ),
            Record::Call(
                at(7),
                Op::Stream {
                    to: 1,
                    packets: 300,
                },
            ),
            Record::Call(at(8), Op::EmptyTransmit),
            Record::Call(at(8), Op::Event),
            Record::Call(at(8), Op::Ask),
            Record::Call(at(8), Op::Yield),
            Record::Call(at(8), Op::Idle(None)),
            Record::Call(at(8), Op::Idle(Some(at(3)))),
            Record::Call(at(8), Op::Idle(Some(Instant::MAX))),
            Record::Call(at(9), Op::Done),
            Record::Call(at(9), Op::NoReturn),
            Record::Blob {
                digest: [7; DIGEST],
                packets: 2,
            },
            Record::Forget,
        ];
        let mut octets = Vec::new();
        let mut base = TimeBase::default();
        for record in &records {
            record.encode(&mut base, &mut octets);
            octets.push(FILL);
        }

        let (mut rest, mut base) = (octets.as_slice(), TimeBase::default());
        for record in &records {
            assert_eq!(decode(&mut rest, &mut base).unwrap(), Some(*record));
        }
        assert_eq!(decode(&mut rest, &mut base).unwrap(), None);
    }

    #[test]
    fn a_bare_poll_takes_few_octets() {
        let mut octets = Vec::new();
        let mut base = TimeBase(1_000_000_000);
        let now = Instant::from_nanos(1_000_050_000);

        Record::Call(now, Op::Idle(None)).encode(&mut base, &mut octets);

        assert!(octets.len() <= 4, "{octets:?}");
    }
}
