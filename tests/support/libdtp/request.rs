//! Requests, and the pace that both ends take from one.

use core::time::Duration;

use super::DATA_HEADER;

/// The end of an interval that has none.
pub(super) const TO_THE_END: u32 = u32::MAX;
const MOST_INTERVALS: usize = 8;
const LEN: usize = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) throughput: u32,
    pub(crate) payload: u8,
    pub(crate) session: u32,
    pub(crate) mtu: u16,
    /// The first and the last index of packets.
    pub(crate) intervals: Vec<(u32, u32)>,
}

pub(super) fn word(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.extend(self.throughput.to_le_bytes());
        out.push(u8::try_from(self.intervals.len()).unwrap());
        out.push(self.payload);
        out.extend([0; 2]);
        out.extend(self.session.to_le_bytes());
        out.extend(self.mtu.to_le_bytes());
        // The keep-alive interval, which a swap of 32 bits leaves at 0.
        out.extend([0; 2]);
        for (start, end) in &self.intervals {
            out.extend(start.to_le_bytes());
            out.extend(end.to_le_bytes());
        }
        out.resize(LEN, 0);
        out
    }

    /// The form of it in a message of VMEM.
    pub(super) fn encode_big_endian(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.extend(self.throughput.to_be_bytes());
        out.extend([u8::try_from(self.intervals.len()).unwrap(), 0, 0, 0]);
        out.extend(self.session.to_be_bytes());
        out.extend(self.mtu.to_be_bytes());
        out.extend([0; 2]);
        for (start, end) in &self.intervals {
            out.extend(start.to_be_bytes());
            out.extend(end.to_be_bytes());
        }
        out.resize(LEN, 0);
        out
    }

    pub(super) fn decode_big_endian(octets: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes(octets[at..at + 4].try_into().unwrap());
        let count = usize::from(octets[4]).min(MOST_INTERVALS);
        let interval = |at: usize| (word(16 + 8 * at), word(20 + 8 * at));
        Self {
            throughput: word(0),
            payload: 0,
            session: word(8),
            mtu: u16::from_be_bytes([octets[12], octets[13]]),
            intervals: (0..count).map(interval).collect(),
        }
    }

    /// Nothing in it is checked.
    pub(crate) fn decode(octets: &[u8]) -> Self {
        let count = usize::from(octets[4]).min(MOST_INTERVALS);
        let interval = |at: usize| (word(octets, 16 + 8 * at), word(octets, 20 + 8 * at));
        Self {
            throughput: word(octets, 0),
            payload: octets[5],
            session: word(octets, 8),
            mtu: u16::from_le_bytes([octets[12], octets[13]]),
            intervals: (0..count).map(interval).collect(),
        }
    }

    /// Octets of the payload in a packet.
    pub(crate) fn chunk(&self) -> u32 {
        u32::from(self.mtu) - DATA_HEADER
    }

    /// How many packets the client expects, of a payload of so many octets. Where these are a multiple of the chunk
    /// it is one too many.
    pub(crate) fn expected(&self, size: u32) -> u32 {
        let count = |(start, end): &(u32, u32)| self.last_of(*end, size) - start + 1;
        self.intervals.iter().map(count).sum()
    }

    /// The index with which the client is done.
    pub(crate) fn last(&self, size: u32) -> u32 {
        let (_, end) = self.intervals.last().unwrap();
        self.last_of(*end, size)
    }

    fn last_of(&self, end: u32, size: u32) -> u32 {
        if end == TO_THE_END {
            size / self.chunk()
        } else {
            end
        }
    }

    /// What the server says that it is about to send: of each interval with an end one packet too few.
    pub(crate) fn told_octets(&self, size: u32) -> u32 {
        let octets = |(start, end): &(u32, u32)| {
            let start = start * self.chunk();
            if *end == TO_THE_END {
                size - start
            } else {
                end * self.chunk() - start
            }
        };
        self.intervals.iter().map(octets).sum()
    }
}

/// Rounds of `packets` every `round`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) round: Duration,
    pub(crate) packets: u32,
}

impl Pace {
    /// In integers, as libdtp reckons. A throughput of 0 ends it.
    pub(crate) fn of(request: &Request) -> Self {
        let (chunk, rate) = (request.chunk(), request.throughput);
        let (packets, seconds) = (rate / chunk, chunk / rate);
        let (mut millis, mut count) = if seconds > packets {
            (seconds * 1000, 1)
        } else {
            (1000, packets)
        };
        let (whole, all) = (millis, count);
        let mut factor = 10;
        while whole / factor >= 10 {
            let part = u64::from(all / factor * chunk) * 1000 / u64::from(whole / factor);
            if part.abs_diff(rate.into()) * 20 >= u64::from(rate) {
                break;
            }
            (millis, count) = (whole / factor, all / factor);
            factor *= 10;
        }
        Self {
            round: Duration::from_millis(millis.into()),
            packets: count,
        }
    }
}
