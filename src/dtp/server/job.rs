//! What a client has asked for, and what is sent of it.

use core::num::NonZeroU64;

use super::source::{Blocks, Payload};
use crate::Instant;
use crate::csp::{Header, Put};
use crate::dtp::extension::PayloadIdentity;
use crate::dtp::wire::{DataPacket, Interval, Request};
use crate::kit::Pacer;

/// Packets that may leave back to back: at least these, and at most those.
const BURST: (u32, u32) = (4, 160);
/// Timers of drivers fire so many times a second at least. What the rate allows in between leaves back to back.
const TIMER_RATE: u32 = 250;

/// What a client has asked for.
#[derive(Debug)]
pub(in crate::dtp) struct Job {
    pub(in crate::dtp) request: Request,
    pub(in crate::dtp) payload: Payload,
    pub(in crate::dtp) octets: u64,
    pacer: Pacer,
    max_throughput: Option<u32>,
    /// The interval of the request that is next.
    interval: usize,
    /// Packets that are being sent: the next one and the last one.
    current: Option<Interval>,
}

/// What became of the packets of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dtp) enum Progress {
    /// The rate, the interface, or the application that feeds the payload allows no more.
    Waits,
    /// The rest goes into the next transmit.
    Later,
    /// All is sent.
    Done,
}

impl Job {
    /// Makes a job of a request; `None` if an interval starts past the end of the payload.
    pub(in crate::dtp) fn new(
        request: Request,
        payload: Payload,
        max_throughput: Option<u32>,
    ) -> Option<Self> {
        let mut job = Self {
            request,
            payload,
            octets: 0,
            pacer: Pacer::default(),
            max_throughput,
            interval: 0,
            current: None,
        };
        job.set_throughput(request.throughput);
        let packets = job.packets();
        let intervals = request.intervals.as_slice();
        if packets > 0 && intervals.iter().any(|it| it.start >= packets) {
            return None;
        }
        let chunk = u64::from(request.chunk());
        let octets = intervals.iter().map(|interval| {
            let start = u64::from(interval.start) * chunk;
            let end = (u64::from(interval.end) + 1) * chunk;
            end.min(job.payload.size.into()).saturating_sub(start)
        });
        job.octets = octets.sum();
        if packets == 0 {
            job.interval = intervals.len();
        }
        job.current = job.next_interval();
        Some(job)
    }

    pub(super) fn set_throughput(&mut self, asked: u32) {
        let throughput = self.max_throughput.map_or(asked, |it| it.min(asked));
        let [least, most] = [BURST.0, BURST.1].map(|it| self.request.chunk().saturating_mul(it));
        let burst = (throughput / TIMER_RATE).clamp(least, most);
        let rate = NonZeroU64::new(u64::from(throughput));
        self.pacer.set_rate(rate, burst);
    }

    pub(in crate::dtp) const fn size(&self) -> u32 {
        self.payload.size
    }

    pub(in crate::dtp) const fn identity(&self) -> PayloadIdentity {
        self.payload.identity
    }

    pub(super) fn packets(&self) -> u32 {
        self.payload.size.div_ceil(self.request.chunk())
    }

    /// Takes the next interval of the request.
    pub(super) fn next_interval(&mut self) -> Option<Interval> {
        let last = self.packets().saturating_sub(1);
        let interval = self.request.intervals.as_slice().get(self.interval)?;
        self.interval += 1;
        Some(Interval {
            start: interval.start,
            end: interval.end.min(last),
        })
    }

    /// Tells whether no packets of an interval are left.
    pub(super) const fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// Sends these packets next.
    pub(super) const fn begin(&mut self, interval: Interval) {
        self.current = Some(interval);
    }

    /// Returns the next packet of the interval as its offset and length.
    fn next_packet(&self) -> Option<(u32, usize)> {
        let offset = self.current?.start.checked_mul(self.request.chunk())?;
        let rest = self.payload.size.checked_sub(offset)?;
        let len = usize::try_from(rest.min(self.request.chunk())).ok()?;
        Some((offset, len))
    }

    fn advance(&mut self) {
        self.current = self.current.and_then(|it| {
            let start = it.start.checked_add(1).filter(|start| *start <= it.end)?;
            Some(Interval { start, ..it })
        });
    }

    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.pacer.blocked_until(now)
    }

    /// Tells whether the application is to feed octets before anything can be sent.
    pub(super) fn is_starved(&self, blocks: &Blocks) -> bool {
        self.payload.octets.is_none()
            && self.next_packet().is_some_and(|(offset, len)| {
                blocks.get(self.request.chunk(), offset, len).is_none()
            })
    }

    /// Wants the blocks of the packets that are next, of a payload that the application feeds.
    pub(super) fn want(&self, blocks: &mut Blocks) {
        let chunk = self.request.chunk();
        if let (None, Some((offset, _)), Some(current)) =
            (&self.payload.octets, self.next_packet(), self.current)
        {
            let end = current.end.saturating_add(1).saturating_mul(chunk);
            blocks.want(chunk, offset, end.min(self.payload.size));
        }
    }

    /// Writes packets of the interval by `put` as the rate allows it.
    pub(super) fn write(
        &mut self,
        now: Instant,
        header: Header,
        blocks: &Blocks,
        mut put: impl FnMut(Header, [&[u8]; 2]) -> Put,
    ) -> (u64, Progress) {
        let mut count = 0;
        loop {
            let Some((offset, len)) = self.next_packet() else {
                return (count, Progress::Done);
            };
            if self.pacer.blocked_until(now).is_some() {
                return (count, Progress::Waits);
            }
            let data = match &self.payload.octets {
                Some(octets) => usize::try_from(offset)
                    .ok()
                    .and_then(|start| octets.get(start..start.checked_add(len)?)),
                None => blocks.get(self.request.chunk(), offset, len),
            };
            let Some(data) = data else {
                return (count, Progress::Waits);
            };
            let packet = DataPacket {
                offset,
                session: self.request.session,
                data,
            };
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
