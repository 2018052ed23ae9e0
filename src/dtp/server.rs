//! A transfer to a client.

use core::num::NonZeroU64;
use core::time::Duration;

use bytes::Bytes;

use super::message::Message;
use super::wire::{DataPacket, Request};
use crate::Instant;
use crate::csp::{ConnectionId, Flags, Header, Priority, Put};
use crate::kit::Pacer;

/// The port that a client receives data at.
pub(super) const DATA_PORT: u8 = 8;
/// How long the acknowledgement of a response is waited for. libdtp does not wait.
const RESPONSE_DELAY: Duration = Duration::from_millis(400);
/// Packets that may leave back to back.
const BURST: u32 = 4;

/// A slot for a client.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) connection: Option<ConnectionId>,
    pub(super) client: u16,
    pub(super) stage: Stage,
    /// Octets of a request that the application is to be told of, with its payload.
    pub(super) is_announced: bool,
    pub(super) message: Message,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// No request has come.
    AwaitingRequest {
        deadline: Instant,
    },
    /// The response is on its way: data that overtake it are lost on a client that is not ready.
    Responding {
        deadline: Instant,
        job: Job,
    },
    Sending(Job),
    /// All is sent, or the request was refused.
    Closing,
}

/// What a client has asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    payload: Bytes,
    pub(super) octets: u64,
    pacer: Pacer,
    /// The interval, and the next packet in it.
    interval: usize,
    next: u32,
}

/// What became of the packets of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The rate or the interface allows no more.
    Waits,
    /// The rest goes into the next transmit.
    Later,
    /// All is sent.
    Done,
}

impl Job {
    /// Makes a job of a request; `None` if an interval starts past the end of the payload.
    pub(super) fn new(
        request: Request,
        payload: Bytes,
        max_throughput: Option<u32>,
    ) -> Option<Self> {
        let throughput = max_throughput.map_or(request.throughput, |it| it.min(request.throughput));
        let burst = BURST.saturating_mul(request.chunk());
        let mut job = Self {
            request,
            payload,
            octets: 0,
            pacer: Pacer::new(NonZeroU64::new(u64::from(throughput)), burst),
            interval: 0,
            next: 0,
        };
        let packets = job.packets();
        let intervals = request.intervals.as_slice();
        if packets > 0 && intervals.iter().any(|it| it.start >= packets) {
            return None;
        }
        let chunk = u64::from(request.chunk());
        let octets = intervals.iter().map(|interval| {
            let start = u64::from(interval.start) * chunk;
            let end = (u64::from(interval.end) + 1) * chunk;
            end.min(job.payload.len() as u64).saturating_sub(start)
        });
        job.octets = octets.sum();
        job.next = intervals.first().map_or(0, |interval| interval.start);
        if packets == 0 {
            job.interval = intervals.len();
        }
        Some(job)
    }

    pub(super) fn size(&self) -> u32 {
        // Bound: no longer payload is served.
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
    }

    fn packets(&self) -> u32 {
        self.size().div_ceil(self.request.chunk())
    }

    /// Returns the next packet, if there is one.
    fn packet(&self) -> Option<DataPacket<'_>> {
        self.request.intervals.as_slice().get(self.interval)?;
        let offset = self.next.checked_mul(self.request.chunk())?;
        let rest = self.payload.get(usize::try_from(offset).ok()?..)?;
        let len = rest.len().min(usize::try_from(self.request.chunk()).ok()?);
        Some(DataPacket {
            offset,
            session: self.request.session,
            data: rest.get(..len)?,
        })
    }

    fn advance(&mut self) {
        let last = self.packets().saturating_sub(1);
        let intervals = self.request.intervals.as_slice();
        let end = intervals
            .get(self.interval)
            .map_or(0, |it| it.end.min(last));
        if self.next < end {
            self.next += 1;
            return;
        }
        self.interval += 1;
        self.next = intervals.get(self.interval).map_or(0, |it| it.start);
    }

    /// Writes packets by `put` as the rate allows it.
    fn write(
        &mut self,
        now: Instant,
        header: Header,
        mut put: impl FnMut(Header, [&[u8]; 2]) -> Put,
    ) -> (u64, Progress) {
        let mut count = 0;
        loop {
            let Some(packet) = self.packet() else {
                return (count, Progress::Done);
            };
            if self.pacer.blocked_until(now).is_some() {
                return (count, Progress::Waits);
            }
            let len = packet.data.len();
            match put(header, [&packet.header(), packet.data]) {
                Put::Done => {}
                Put::Later => return (count, Progress::Later),
                Put::Blocked => return (count, Progress::Waits),
            }
            count += 1;
            self.pacer.on_sent(now, len);
            self.advance();
        }
    }
}

impl Transfer {
    pub(super) fn free() -> Self {
        Self {
            connection: None,
            client: 0,
            stage: Stage::Closing,
            is_announced: true,
            message: Message::new(),
        }
    }

    /// Makes the slot free.
    pub(super) fn end(&mut self) {
        self.connection = None;
        self.stage = Stage::Closing;
        self.is_announced = true;
    }

    pub(super) fn begin(&mut self, connection: ConnectionId, client: u16, deadline: Instant) {
        self.connection = Some(connection);
        self.client = client;
        self.stage = Stage::AwaitingRequest { deadline };
        self.is_announced = true;
    }

    /// The response is on its way.
    pub(super) fn respond(&mut self, now: Instant, job: Job) {
        self.is_announced = false;
        self.stage = Stage::Responding {
            deadline: now + RESPONSE_DELAY,
            job,
        };
    }

    /// The response has arrived, or its time is over.
    pub(super) fn start(&mut self) {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Responding { job, .. } => Stage::Sending(job),
            other => other,
        };
    }

    pub(super) fn job(&self) -> Option<&Job> {
        match &self.stage {
            Stage::Responding { job, .. } | Stage::Sending(job) => Some(job),
            _ => None,
        }
    }

    /// Writes data packets by `put`, and returns how many.
    pub(super) fn write(
        &mut self,
        now: Instant,
        address: u16,
        put: impl FnMut(Header, [&[u8]; 2]) -> Put,
    ) -> (u64, Progress) {
        let header = Header {
            priority: Priority::Low,
            source: address,
            destination: self.client,
            destination_port: DATA_PORT,
            source_port: 0,
            flags: Flags::empty(),
        };
        match &mut self.stage {
            Stage::Sending(job) => job.write(now, header, put),
            _ => (0, Progress::Waits),
        }
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.connection?;
        match &self.stage {
            Stage::AwaitingRequest { deadline } | Stage::Responding { deadline, .. } => {
                Some(*deadline)
            }
            Stage::Sending(job) => job.pacer.blocked_until(now),
            Stage::Closing => None,
        }
    }
}
