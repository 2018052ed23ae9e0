//! A transfer to a client.

mod job;
mod source;

use core::time::Duration;

use alloc::vec::Vec;
use bytes::Bytes;

use super::api::NeedId;
use super::extension::{AskHeader, Done, IntervalReader};
use super::message::Message;
use super::wire::{Interval, REQUEST_LEN};
use crate::Instant;
use crate::csp::{ConnectionId, Header, Put};

pub(super) use job::{Job, Progress};
pub(super) use source::{Blocks, Need, Payload};

/// The port that a client receives data at.
pub(super) const DATA_PORT: u8 = 8;
/// How long the acknowledgement of a response is waited for. libdtp does not wait.
const RESPONSE_DELAY: Duration = Duration::from_millis(400);
/// How long a client may be silent beyond two times the interval of its signs of life.
const SILENCE: Duration = Duration::from_millis(500);

/// A slot for a client.
#[derive(Debug)]
pub(super) struct Transfer {
    /// `None` if the slot is free, or what is sent was asked for by a message of VMEM.
    pub(super) connection: Option<ConnectionId>,
    pub(super) client: u16,
    /// When the client was last heard, by messages of VMEM.
    heard_at: Instant,
    pub(super) stage: Stage,
    /// Octets of a request that the application is to be told of, with its payload.
    pub(super) is_announced: bool,
    message: Message<REQUEST_LEN>,
    /// Packets to the client that it has not acknowledged.
    unacknowledged: u32,
    ask: Ask,
    /// A round that the client is to be told the end of.
    done: Option<u16>,
    pub(super) blocks: Blocks,
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
    /// All is sent to a client that may ask for more on the same connection.
    AwaitingAsk {
        deadline: Instant,
        job: Job,
    },
    /// All is sent, or the request was refused.
    Closing,
}

/// The ask of a client of this crate that is sent next. Those behind it wait in the connection.
#[derive(Debug)]
struct Ask {
    /// Its intervals, in memory allocated once.
    intervals: Vec<u8>,
    reader: IntervalReader,
    round: u16,
    is_last: bool,
    is_pending: bool,
    /// Whether the client has ever sent one.
    was_sent: bool,
}

/// What to do once all is sent that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    /// Take the next ask of the connection.
    Await,
}

impl Ask {
    /// Takes the next interval of the request, and behind them those of the ask.
    fn next_interval(&mut self, job: &mut Job) -> Option<Interval> {
        let of_request = job.next_interval();
        of_request.or_else(|| {
            let is_pending = self.is_pending;
            is_pending.then(|| self.reader.next(&self.intervals))?
        })
    }
}

impl Transfer {
    pub(super) fn free(max_ask: usize) -> Self {
        Self {
            connection: None,
            client: 0,
            heard_at: Instant::ZERO,
            stage: Stage::Closing,
            is_announced: true,
            message: Message::new(),
            unacknowledged: 0,
            ask: Ask {
                intervals: Vec::with_capacity(max_ask),
                reader: IntervalReader::default(),
                round: 0,
                is_last: false,
                is_pending: false,
                was_sent: false,
            },
            done: None,
            blocks: Blocks::new(),
        }
    }

    /// Returns the bytes that a slot allocates.
    pub(super) const fn footprint(max_ask: usize) -> usize {
        Message::<REQUEST_LEN>::footprint() + max_ask
    }

    pub(super) const fn is_free(&self) -> bool {
        self.connection.is_none() && !matches!(self.stage, Stage::Sending(_))
    }

    /// Sends what a message of VMEM asks for.
    pub(super) fn begin_memory(&mut self, now: Instant, client: u16, job: Job) {
        self.end();
        self.client = client;
        self.heard_at = now;
        self.ask.is_pending = false;
        self.ask.was_sent = false;
        self.done = None;
        self.is_announced = false;
        self.stage = Stage::Sending(job);
    }

    /// Returns the session that a client is sent, if it asked for it by a message of VMEM.
    pub(super) fn memory_session(&self, client: u16) -> Option<u32> {
        let is_of = self.connection.is_none() && !self.is_free() && self.client == client;
        is_of.then(|| self.job())?.map(|job| job.request.session)
    }

    /// The client is there still.
    pub(super) const fn on_alive(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Returns when a client that was to be heard regularly has been silent for too long, as libdtp reckons.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let Stage::Sending(job) = &self.stage else {
            return None;
        };
        let interval = u64::from(job.request.keep_alive);
        let limit = Duration::from_millis(2 * interval) + SILENCE;
        let is_to_be_heard = self.connection.is_none() && interval > 0;
        is_to_be_heard.then(|| self.heard_at + limit)
    }

    /// Makes the slot free.
    pub(super) fn end(&mut self) {
        self.connection = None;
        self.stage = Stage::Closing;
        self.is_announced = true;
        self.blocks.clear();
    }

    /// Sends nothing more.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Closing;
        self.done = None;
        self.blocks.clear();
    }

    pub(super) fn begin(&mut self, connection: ConnectionId, client: u16, deadline: Instant) {
        self.connection = Some(connection);
        self.client = client;
        self.stage = Stage::AwaitingRequest { deadline };
        self.is_announced = true;
        self.unacknowledged = 0;
        self.ask.is_pending = false;
        self.ask.was_sent = false;
        self.done = None;
        self.blocks.clear();
    }

    /// Puts a packet to the client into memory of the slot, and lends it out.
    pub(super) fn put_message(&mut self, octets: &[u8]) -> Bytes {
        self.unacknowledged += 1;
        self.message.put(octets)
    }

    /// The response is on its way.
    pub(super) fn respond(&mut self, now: Instant, job: Job) {
        self.is_announced = false;
        self.stage = Stage::Responding {
            deadline: now + RESPONSE_DELAY,
            job,
        };
    }

    /// The client has acknowledged packets.
    pub(super) fn on_acknowledged(&mut self, packets: u32) {
        self.unacknowledged = self.unacknowledged.saturating_sub(packets);
        self.start();
    }

    /// The response has arrived, or its time is over.
    pub(super) fn start(&mut self) {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Responding { job, .. } => Stage::Sending(job),
            other => other,
        };
    }

    /// Takes an ask. Returns false if it is none.
    pub(super) fn on_ask(&mut self, octets: &[u8]) -> bool {
        let Some((head, intervals)) = AskHeader::decode(octets) else {
            return false;
        };
        let Some(job) = self.job_mut() else {
            return false;
        };
        if head.session != job.request.session
            || !IntervalReader::is_valid(intervals, job.packets())
        {
            return false;
        }
        if head.throughput > 0 {
            job.set_throughput(head.throughput);
        }
        // It waits in the connection while there is another, unless the connection has ended.
        if self.ask.is_pending || intervals.len() > self.ask.intervals.capacity() {
            return true;
        }
        self.ask.was_sent = true;
        self.ask.is_pending = true;
        self.ask.round = head.round;
        self.ask.is_last = head.is_last;
        self.ask.reader = IntervalReader::default();
        self.ask.intervals.clear();
        self.ask.intervals.extend_from_slice(intervals);
        self.stage = match core::mem::replace(&mut self.stage, Stage::Closing) {
            // The client has the response.
            Stage::Responding { job, .. } | Stage::AwaitingAsk { job, .. } => Stage::Sending(job),
            other => other,
        };
        true
    }

    /// All is sent that was asked for.
    pub(super) fn on_sent(&mut self, deadline: Instant) -> Then {
        if self.ask.is_pending && self.ask.is_last {
            self.done = Some(self.ask.round);
        }
        self.ask.is_pending = false;
        // A client of this crate asks with its acknowledgement of the response at the earliest.
        if !self.ask.was_sent && self.unacknowledged == 0 {
            self.stop();
            return Then::Close;
        }
        self.stage = match core::mem::replace(&mut self.stage, Stage::Closing) {
            Stage::Sending(job) => Stage::AwaitingAsk { deadline, job },
            other => other,
        };
        Then::Await
    }

    /// Tells whether a client has all that it asked for, and the response, and asks for no more.
    pub(super) const fn is_over(&self) -> bool {
        let is_sent = matches!(self.stage, Stage::AwaitingAsk { .. });
        is_sent && !self.ask.was_sent && self.unacknowledged == 0
    }

    /// Returns the end of a round that the client is to be told, once it has what it was told before.
    pub(super) fn take_done(&mut self) -> Option<Bytes> {
        let session = self.job()?.request.session;
        if self.unacknowledged > 0 {
            return None;
        }
        let round = self.done.take()?;
        Some(self.put_message(&Done { session, round }.encode()))
    }

    pub(super) const fn job(&self) -> Option<&Job> {
        match &self.stage {
            Stage::Responding { job, .. }
            | Stage::Sending(job)
            | Stage::AwaitingAsk { job, .. } => Some(job),
            _ => None,
        }
    }

    const fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.stage {
            Stage::Responding { job, .. }
            | Stage::Sending(job)
            | Stage::AwaitingAsk { job, .. } => Some(job),
            _ => None,
        }
    }

    /// Tells whether the transfer is of a payload that the application feeds.
    pub(super) fn is_fed(&self, payload: u8) -> bool {
        self.job()
            .is_some_and(|job| job.payload.octets.is_none() && job.payload.number == payload)
    }

    /// Returns octets that the application is to feed.
    pub(super) fn next_need(&mut self, id: NeedId) -> Option<(u8, Need)> {
        let (Stage::Responding { job, .. } | Stage::Sending(job)) = &mut self.stage else {
            return None;
        };
        if job.is_idle()
            && let Some(next) = self.ask.next_interval(job)
        {
            job.begin(next);
        }
        job.want(&mut self.blocks);
        let (chunk, size) = (job.request.chunk(), job.size());
        let need = self.blocks.next_need(chunk, size, id)?;
        // Bound: the payload has no more.
        let offset = job.payload.base.saturating_add(need.offset);
        Some((job.payload.number, Need { offset, ..need }))
    }

    /// Takes octets that the application feeds. `None` if they are not needed; otherwise whether they are what was
    /// needed.
    pub(super) fn feed(&mut self, id: NeedId, octets: &Bytes) -> Option<bool> {
        let job = self.job()?;
        let about = (job.request.chunk(), job.size());
        self.blocks.feed(about, id, octets)
    }

    /// Writes data packets by `put`, and returns how many.
    pub(super) fn write(
        &mut self,
        now: Instant,
        from: Header,
        mut put: impl FnMut(Header, [&[u8]; 2]) -> Put,
    ) -> (u64, Progress) {
        let header = Header {
            destination: self.client,
            ..from
        };
        let Stage::Sending(job) = &mut self.stage else {
            return (0, Progress::Waits);
        };
        let mut count = 0;
        loop {
            let (packets, progress) = job.write(now, header, &self.blocks, &mut put);
            count += packets;
            if progress != Progress::Done {
                return (count, progress);
            }
            let Some(next) = self.ask.next_interval(job) else {
                return (count, Progress::Done);
            };
            job.begin(next);
        }
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_free() {
            return None;
        }
        let rest = match &self.stage {
            Stage::AwaitingRequest { deadline }
            | Stage::Responding { deadline, .. }
            | Stage::AwaitingAsk { deadline, .. } => Some(*deadline),
            Stage::Sending(job) if job.is_starved(&self.blocks) => None,
            Stage::Sending(job) => job.blocked_until(now),
            Stage::Closing => None,
        };
        rest.into_iter().chain(self.silent_at()).min()
    }
}
