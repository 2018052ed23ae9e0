//! The server: one request after the other.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::Priority;

use super::request::{Pace, Request};
use super::{DATA_PORT, REQUEST_PORT};
use crate::libcsp::{App, Call, Handle, Told};

/// How long a connection may take to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The octets of a response, of which the first 8 mean something.
const RESPONSE_LEN: usize = 80;

#[derive(Debug)]
pub(crate) enum ServerCommand {
    /// The program begins, at first or after a restart.
    Start,
    Serve(u8, Bytes),
}

#[derive(Debug)]
enum Doing {
    Nothing,
    AwaitingRequest { handle: Handle, until: Instant },
    Sending(Job),
}

#[derive(Debug)]
pub(super) struct Job {
    handle: Option<Handle>,
    to: u16,
    pub(super) request: Request,
    payload: Bytes,
    pace: Pace,
    /// The intervals that are left, and the index of the next packet in the first.
    intervals: VecDeque<(u32, u32)>,
    next: u32,
    pub(super) round_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Server {
    /// The node that requests come from.
    client: u16,
    payloads: BTreeMap<u8, Bytes>,
    accepted: VecDeque<Handle>,
    read: VecDeque<(Handle, Bytes)>,
    ended: Vec<Handle>,
    doing: Doing,
}

impl Server {
    pub(crate) const fn new(client: u16) -> Self {
        Self {
            client,
            payloads: BTreeMap::new(),
            accepted: VecDeque::new(),
            read: VecDeque::new(),
            ended: Vec::new(),
            doing: Doing::Nothing,
        }
    }

    /// Goes on until it waits for something.
    fn go_on(&mut self, now: Instant, calls: &mut Vec<Call>) {
        loop {
            match &self.doing {
                Doing::Nothing => {
                    let Some(handle) = self.accepted.pop_front() else {
                        return;
                    };
                    let until = now + REQUEST_TIME;
                    self.doing = Doing::AwaitingRequest { handle, until };
                }
                Doing::AwaitingRequest { handle, until } => {
                    let handle = *handle;
                    let is_of = |(of, _): &(Handle, Bytes)| *of == handle;
                    if let Some(at) = self.read.iter().position(is_of) {
                        let (_, octets) = self.read.remove(at).unwrap();
                        self.answer(now, handle, &octets, calls);
                    } else if self.ended.contains(&handle) || *until <= now {
                        // It is never closed: its slot is lost.
                        self.doing = Doing::Nothing;
                    } else {
                        return;
                    }
                }
                Doing::Sending(_) => return,
            }
        }
    }

    fn answer(&mut self, now: Instant, handle: Handle, octets: &[u8], calls: &mut Vec<Call>) {
        let request = Request::decode(octets);
        let Some(payload) = self.payloads.get(&request.payload).cloned() else {
            calls.push(Call::Close(handle));
            self.doing = Doing::Nothing;
            return;
        };
        let size = u32::try_from(payload.len()).unwrap();
        let mut response = request.told_octets(size).to_le_bytes().to_vec();
        response.extend(size.to_le_bytes());
        response.resize(RESPONSE_LEN, 0);
        let data = response.into();
        calls.push(Call::Send { handle, data });
        self.doing = Doing::Sending(Job::new(now, (Some(handle), self.client), request, payload));
    }
}

impl Job {
    pub(super) fn new(
        now: Instant,
        (handle, to): (Option<Handle>, u16),
        request: Request,
        payload: Bytes,
    ) -> Self {
        let pace = Pace::of(&request);
        let intervals: VecDeque<(u32, u32)> = request.intervals.iter().copied().collect();
        Self {
            handle,
            to,
            next: intervals[0].0,
            intervals,
            payload,
            pace,
            round_at: now + pace.round,
            request,
        }
    }

    /// It begins later than it was asked for.
    pub(super) fn delay(&mut self, now: Instant) {
        self.round_at = now + self.pace.round;
    }

    /// Sends a round. Returns whether it was the last.
    pub(super) fn send_round(&mut self, calls: &mut Vec<Call>) -> bool {
        let chunk = u64::from(self.request.chunk());
        let size = u64::try_from(self.payload.len()).unwrap();
        let (_, last) = self.intervals[0];
        let end = ((u64::from(last) + 1) * chunk).min(size);
        for _ in 0..self.pace.packets {
            let start = u64::from(self.next) * chunk;
            if start >= end {
                break;
            }
            let range = [start, (start + chunk).min(end)].map(|it| usize::try_from(it).unwrap());
            let mut data = u32::try_from(start).unwrap().to_le_bytes().to_vec();
            data.extend(self.request.session.to_le_bytes());
            data.extend(&self.payload[range[0]..range[1]]);
            calls.push(Call::SendTo {
                from: 0,
                to: (self.to, DATA_PORT),
                priority: Priority::Low,
                crc32: false,
                data: data.into(),
            });
            self.next += 1;
        }
        self.round_at += self.pace.round;
        if u64::from(self.next) * chunk >= end {
            // An interval ends its round early.
            self.intervals.pop_front();
            match self.intervals.front() {
                Some((start, _)) => self.next = *start,
                None => return true,
            }
        }
        false
    }
}

impl App for Server {
    type Command = ServerCommand;
    type Event = ();

    fn command(&mut self, _: Instant, command: ServerCommand, calls: &mut Vec<Call>) {
        match command {
            ServerCommand::Start => calls.push(Call::Listen {
                port: REQUEST_PORT,
                crc32_required: false,
            }),
            ServerCommand::Serve(number, payload) => {
                self.payloads.insert(number, payload);
            }
        }
    }

    fn told(&mut self, now: Instant, told: Told, calls: &mut Vec<Call>) {
        match told {
            Told::Accepted { handle, .. } => self.accepted.push_back(handle),
            Told::Read { handle, data } => self.read.push_back((handle, data)),
            Told::Ended { handle } => self.ended.push(handle),
            _ => return,
        }
        self.go_on(now, calls);
    }

    fn on_time(&mut self, now: Instant, calls: &mut Vec<Call>) {
        if let Doing::Sending(job) = &mut self.doing
            && job.round_at <= now
            && job.send_round(calls)
        {
            calls.extend(job.handle.map(Call::Close));
            self.doing = Doing::Nothing;
        }
        self.go_on(now, calls);
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.doing {
            Doing::Nothing => None,
            Doing::AwaitingRequest { until, .. } => Some(*until),
            Doing::Sending(job) => Some(job.round_at),
        }
    }

    fn next_event(&mut self) -> Option<()> {
        None
    }

    fn restart(&mut self) {
        self.accepted.clear();
        self.read.clear();
        self.ended.clear();
        self.doing = Doing::Nothing;
    }
}
