//! The client: one transfer at a time, which ends whether or not it is complete.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::{Priority, SynOptions};

use super::request::{Pace, Request, TO_THE_END, word};
use super::vmem::{Memory, Messenger, alive, start, status, stop};
use super::{DATA_PORT, REQUEST_PORT};
use crate::libcsp::{App, Call, Connect, Handle, Told};

/// How long it waits for a response.
const RESPONSE_TIME: Duration = Duration::from_secs(10);
const MOST_INTERVALS: usize = 8;
const DATA_HEADER: usize = 8;

const OK: u8 = 0;
const ERROR: u8 = 1;
/// Stopped, resumable or merely incomplete.
const CANCELLED: u8 = 2;
const CONNECTION_FAILED: u8 = 4;
const SESSION_EXHAUSTED: u8 = 7;

/// What libdtp keeps of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) server: u16,
    pub(crate) payload: u8,
    pub(crate) id: u32,
    pub(crate) mtu: u16,
    pub(crate) throughput: u32,
    /// Seconds.
    pub(crate) idle_timeout: u8,
    /// Octets received, copies too.
    pub(crate) octets: u32,
    pub(crate) size: u32,
    /// What it believes to have.
    pub(crate) ranges: Vec<(u32, u32)>,
}

impl Session {
    /// The file of the session.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = 2_u32.to_le_bytes().to_vec();
        out.extend(self.server.to_le_bytes());
        out.extend(self.mtu.to_le_bytes());
        out.push(self.idle_timeout);
        out.extend(self.throughput.to_le_bytes());
        out.push(self.payload);
        out.extend(self.id.to_le_bytes());
        out.extend(self.octets.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend(u32::try_from(self.ranges.len()).unwrap().to_le_bytes());
        for (start, end) in &self.ranges {
            out.extend(start.to_le_bytes());
            out.extend(end.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(octets: &[u8]) -> Self {
        let short = |at: usize| u16::from_le_bytes([octets[at], octets[at + 1]]);
        let count = usize::try_from(word(octets, 26)).unwrap();
        let range = |at: usize| (word(octets, 30 + 8 * at), word(octets, 34 + 8 * at));
        Self {
            server: short(4),
            mtu: short(6),
            idle_timeout: octets[8],
            throughput: word(octets, 9),
            payload: octets[13],
            id: word(octets, 14),
            octets: word(octets, 18),
            size: word(octets, 22),
            ranges: (0..count).map(range).collect(),
        }
    }

    /// What it asks for again. A last packet alone is not seen, nor is a session without any; where the size is a
    /// multiple of the chunk there seems to be a packet more.
    pub(crate) fn holes(&self) -> Vec<(u32, u32)> {
        let last = self.size / (u32::from(self.mtu) - 8);
        let mut holes = Vec::new();
        let mut next = 0;
        for (start, end) in &self.ranges {
            if *start > next {
                holes.push((next, start - 1));
            }
            next = end + 1;
        }
        if !self.ranges.is_empty() && next < last {
            holes.push((next, last));
        }
        holes.truncate(MOST_INTERVALS);
        holes
    }

    fn merge(&mut self, received: &[(u32, u32)]) {
        self.ranges.extend(received);
        self.ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (start, end) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some((_, last)) if start <= *last + 1 => *last = end.max(*last),
                _ => merged.push((start, end)),
            }
        }
        self.ranges = merged;
    }
}

#[derive(Debug, Clone)]
pub(crate) enum ClientCommand {
    Get(Session),
    /// The same of these intervals.
    GetIntervals(Session, Vec<(u32, u32)>),
    /// Memory of the server, by messages of VMEM.
    GetMemory(Session, Memory),
    /// Goes on with what is left of the last.
    Resume,
    /// Ends the transfer at the packet behind so many.
    StopAfter(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) result: u8,
    pub(crate) error: u8,
    pub(crate) packets: u32,
}

#[derive(Debug)]
enum Doing {
    Nothing,
    Connecting,
    AwaitingResponse { handle: Handle, until: Instant },
    Receiving(Transfer),
}

#[derive(Debug)]
struct Transfer {
    handle: Option<Handle>,
    /// When the server was last told that the client is there.
    alive: Instant,
    expected: u32,
    last: u32,
    pace: Pace,
    start: Instant,
    /// When it takes the transfer to have ended.
    end: Instant,
    /// When the present wait for a packet ends, and how long it waited for none.
    wait_until: Instant,
    idle: Duration,
    packets: u32,
    octets: u32,
    previous: Option<u32>,
    ranges: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub(crate) struct Client {
    doing: Doing,
    request: Option<Request>,
    pub(crate) session: Option<Session>,
    /// The output file.
    pub(crate) file: Vec<Option<u8>>,
    stop_after: u32,
    ended: VecDeque<Ended>,
    memory: Option<Memory>,
    messenger: Messenger,
}

impl Client {
    pub(crate) const fn new() -> Self {
        Self {
            doing: Doing::Nothing,
            request: None,
            session: None,
            file: Vec::new(),
            stop_after: u32::MAX,
            ended: VecDeque::new(),
            memory: None,
            messenger: Messenger::new(),
        }
    }

    /// What the server has answered to messages of status.
    pub(crate) fn statuses(&self) -> &[Vec<u8>] {
        &self.messenger.statuses
    }

    fn begin_memory(
        &mut self,
        now: Instant,
        (session, memory): (Session, Memory),
        intervals: Vec<(u32, u32)>,
        calls: &mut Vec<Call>,
    ) {
        let request = Request {
            throughput: session.throughput,
            payload: 0,
            session: session.id,
            mtu: session.mtu,
            intervals,
        };
        let to = session.server;
        self.messenger
            .send(to, memory.is_rdp, start(&memory, &request), calls);
        if memory.asks_status {
            self.messenger.send(to, memory.is_rdp, status(), calls);
        }
        self.memory = Some(memory);
        self.request = Some(request);
        self.session = Some(Session {
            size: memory.size,
            ..session
        });
        self.receive(now, None, calls);
    }

    fn begin(&mut self, session: Session, intervals: Vec<(u32, u32)>, calls: &mut Vec<Call>) {
        self.memory = None;
        calls.push(Call::Connect(Connect {
            tag: 0,
            to: (session.server, REQUEST_PORT),
            options: SynOptions::default(),
            crc32: false,
            priority: Priority::Normal,
        }));
        self.request = Some(Request {
            throughput: session.throughput,
            payload: session.payload,
            session: session.id,
            mtu: session.mtu,
            intervals,
        });
        self.session = Some(session);
        self.doing = Doing::Connecting;
    }

    fn end(&mut self, result: u8, error: u8, packets: u32) {
        self.doing = Doing::Nothing;
        self.ended.push_back(Ended {
            result,
            error,
            packets,
        });
    }

    fn awaits_response_on(&self, handle: Handle) -> bool {
        matches!(self.doing, Doing::AwaitingResponse { handle: of, .. } if of == handle)
    }

    fn on_response(&mut self, now: Instant, handle: Handle, data: &[u8], calls: &mut Vec<Call>) {
        self.session.as_mut().unwrap().size = word(data, 4);
        self.receive(now, Some(handle), calls);
    }

    fn receive(&mut self, now: Instant, handle: Option<Handle>, calls: &mut Vec<Call>) {
        let (session, request) = (
            self.session.as_ref().unwrap(),
            self.request.as_ref().unwrap(),
        );
        let expected = request.expected(session.size);
        let pace = Pace::of(request);
        let planned = pace.round * expected / pace.packets;
        calls.push(Call::BindDatagrams(DATA_PORT));
        self.doing = Doing::Receiving(Transfer {
            handle,
            alive: now,
            expected,
            last: request.last(session.size),
            pace,
            start: now,
            end: now + planned.max(Duration::from_secs(1)),
            wait_until: now + pace.round * 2,
            idle: Duration::ZERO,
            packets: 0,
            octets: 0,
            previous: None,
            ranges: Vec::new(),
        });
    }

    fn on_data(&mut self, now: Instant, data: &[u8], calls: &mut Vec<Call>) {
        let Doing::Receiving(receiving) = &mut self.doing else {
            return;
        };
        let chunk = self.request.as_ref().unwrap().chunk();
        let (offset, data) = (word(data, 0), &data[DATA_HEADER..]);
        let place = usize::try_from(offset).unwrap();
        receiving.wait_until = now + receiving.pace.round * 2;
        receiving.idle = Duration::ZERO;
        if let Some(memory) = self.memory
            && let Some(interval) = memory.keep_alive
            && now - receiving.alive >= interval
        {
            receiving.alive = now;
            let to = self.session.as_ref().unwrap().server;
            self.messenger.send(to, memory.is_rdp, alive(), calls);
        }
        if receiving.packets == self.stop_after {
            self.stop_after = u32::MAX;
            if let Some(memory) = self.memory {
                let session = self.session.as_ref().unwrap();
                let stop = stop(session.id);
                self.messenger
                    .send(session.server, memory.is_rdp, stop, calls);
            }
            return self.finish(false, calls);
        }
        if receiving.previous == Some(offset / chunk) {
            return;
        }
        self.file
            .resize(self.file.len().max(place + data.len()), None);
        for (octet, place) in data.iter().zip(&mut self.file[place..]) {
            *place = Some(*octet);
        }
        receiving.count(
            now,
            offset / chunk,
            u32::try_from(data.len()).unwrap(),
            chunk,
        );
        let is_last = receiving.previous >= Some(receiving.last);
        if is_last || receiving.packets == receiving.expected {
            self.finish(is_last, calls);
        }
    }

    fn finish(&mut self, is_last: bool, calls: &mut Vec<Call>) {
        let doing = core::mem::replace(&mut self.doing, Doing::Nothing);
        let (Doing::Receiving(receiving), Some(session)) = (doing, &mut self.session) else {
            return;
        };
        calls.extend(receiving.handle.map(Call::Close));
        if let Some(memory) = self.memory.filter(|it| it.asks_status) {
            self.messenger
                .send(session.server, memory.is_rdp, status(), calls);
        }
        calls.push(Call::Unbind(DATA_PORT));
        session.octets += receiving.octets;
        session.merge(&receiving.ranges);
        let is_complete = is_last && session.octets == session.size;
        let result = if is_complete { OK } else { CANCELLED };
        self.end(result, 0, receiving.packets);
    }
}

impl Transfer {
    fn count(&mut self, now: Instant, index: u32, octets: u32, chunk: u32) {
        self.previous = Some(index);
        self.packets += 1;
        self.octets += octets;
        match self.ranges.last_mut() {
            Some((_, end)) if index == *end + 1 => *end = index,
            Some((_, end)) if index <= *end => {}
            _ => self.ranges.push((index, index)),
        }
        let millis = (now - self.start).as_millis();
        let rate = u128::from(self.octets).checked_div(millis).unwrap_or(0);
        let whole = u128::from(chunk) * u128::from(self.expected);
        if let Some(millis) = whole.checked_div(rate) {
            self.end = self.start + Duration::from_millis(u64::try_from(millis).unwrap());
        }
    }
}

impl App for Client {
    type Command = ClientCommand;
    type Event = Ended;

    fn command(&mut self, now: Instant, command: ClientCommand, calls: &mut Vec<Call>) {
        match command {
            ClientCommand::Get(session) => {
                self.file.clear();
                self.begin(session, vec![(0, TO_THE_END)], calls);
            }
            ClientCommand::GetIntervals(session, intervals) => {
                self.file.clear();
                self.begin(session, intervals, calls);
            }
            ClientCommand::GetMemory(session, memory) => {
                self.file.clear();
                self.begin_memory(now, (session, memory), vec![(0, TO_THE_END)], calls);
            }
            ClientCommand::Resume => {
                let session = self.session.clone().unwrap();
                let holes = session.holes();
                if session.octets == session.size || holes.is_empty() {
                    return self.end(ERROR, SESSION_EXHAUSTED, 0);
                }
                match self.memory {
                    Some(memory) => self.begin_memory(now, (session, memory), holes, calls),
                    None => self.begin(session, holes, calls),
                }
            }
            ClientCommand::StopAfter(packets) => self.stop_after = packets,
        }
    }

    fn told(&mut self, now: Instant, told: Told, calls: &mut Vec<Call>) {
        if self.messenger.told(&told, calls) {
            return;
        }
        match told {
            Told::Connected { handle, .. } => {
                let data: Bytes = self.request.as_ref().unwrap().encode().into();
                calls.push(Call::Send { handle, data });
                let until = now + RESPONSE_TIME;
                self.doing = Doing::AwaitingResponse { handle, until };
            }
            Told::ConnectFailed { .. } => self.end(ERROR, CONNECTION_FAILED, 0),
            Told::Read { handle, data } if self.awaits_response_on(handle) => {
                self.on_response(now, handle, &data, calls);
            }
            Told::Ended { handle } if self.awaits_response_on(handle) => {
                calls.push(Call::Close(handle));
                self.end(ERROR, CONNECTION_FAILED, 0);
            }
            Told::Datagram { data, .. } => self.on_data(now, &data, calls),
            _ => {}
        }
    }

    fn on_time(&mut self, now: Instant, calls: &mut Vec<Call>) {
        match &mut self.doing {
            Doing::AwaitingResponse { handle, until } if *until <= now => {
                calls.push(Call::Close(*handle));
                self.end(ERROR, CONNECTION_FAILED, 0);
            }
            Doing::Receiving(receiving) if receiving.wait_until <= now => {
                receiving.wait_until = now + receiving.pace.round * 2;
                // Half of what it waited.
                receiving.idle += receiving.pace.round;
                let seconds = self.session.as_ref().unwrap().idle_timeout;
                let is_idle = receiving.idle >= Duration::from_secs(seconds.into());
                if is_idle || receiving.end <= now {
                    self.finish(false, calls);
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.doing {
            Doing::AwaitingResponse { until, .. } => Some(*until),
            Doing::Receiving(receiving) => Some(receiving.wait_until),
            Doing::Nothing | Doing::Connecting => None,
        }
    }

    fn next_event(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    fn restart(&mut self) {
        self.doing = Doing::Nothing;
        self.messenger = Messenger::new();
        self.ended.clear();
    }
}
