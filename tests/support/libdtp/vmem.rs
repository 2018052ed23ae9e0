//! The VMEM dialect: its messages, what sends them, and the server.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::{Priority, SynOptions};

use super::VMEM_PORT;
use super::request::Request;
use super::server::{Job, ServerCommand};
use crate::libcsp::{App, Call, Connect, Handle, Told};

/// The tag of connections with messages.
const TAG: u64 = 14;
/// The port that messages without connection come from, as captured.
const PORT: u8 = 18;
const REQUEST_AT: usize = 19;
/// Starts that wait while another is sent.
const QUEUE: usize = 10;

/// Memory that is got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) address: u64,
    pub(crate) size: u32,
    pub(crate) is_rdp: bool,
    pub(crate) keep_alive: Option<Duration>,
    /// Whether the program asks for the status at the start and at the end.
    pub(crate) asks_status: bool,
}

/// The session id before the address is old memory.
pub(super) fn start(memory: &Memory, request: &Request) -> Vec<u8> {
    let mut out = vec![2, 0x80, 0, 0, 0, 0, 0];
    out.extend(memory.address.to_be_bytes());
    out.extend(memory.size.to_be_bytes());
    out.extend(request.encode_big_endian());
    out
}

pub(super) fn stop(session: u32) -> Vec<u8> {
    [&[2, 0x80, 1][..], &session.to_be_bytes()].concat()
}

pub(super) fn status() -> Vec<u8> {
    vec![2, 0x80, 2]
}

pub(super) fn alive() -> Vec<u8> {
    vec![0, 0x80, 3]
}

fn is_status(message: &[u8]) -> bool {
    message[2] == 2
}

/// Sends messages one after the other, as a program that waits for each.
#[derive(Debug)]
pub(super) struct Messenger {
    queue: VecDeque<(u16, Vec<u8>)>,
    is_connecting: bool,
    awaits_status_on: Option<Handle>,
    pub(super) statuses: Vec<Vec<u8>>,
}

impl Messenger {
    pub(super) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            is_connecting: false,
            awaits_status_on: None,
            statuses: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, to: u16, is_rdp: bool, message: Vec<u8>, calls: &mut Vec<Call>) {
        if !is_rdp {
            return calls.push(Call::SendTo {
                from: PORT,
                to: (to, VMEM_PORT),
                priority: Priority::Normal,
                crc32: true,
                data: message.into(),
            });
        }
        self.queue.push_back((to, message));
        self.begin(calls);
    }

    fn begin(&mut self, calls: &mut Vec<Call>) {
        let is_idle = !self.is_connecting && self.awaits_status_on.is_none();
        let Some((to, _)) = self.queue.front().filter(|_| is_idle) else {
            return;
        };
        self.is_connecting = true;
        calls.push(Call::Connect(Connect {
            tag: TAG,
            to: (*to, VMEM_PORT),
            options: SynOptions::default(),
            crc32: true,
            priority: Priority::Normal,
        }));
    }

    /// Tells whether it was told of its own.
    pub(super) fn told(&mut self, told: &Told, calls: &mut Vec<Call>) -> bool {
        match told {
            Told::Connected { tag: TAG, handle } => {
                self.is_connecting = false;
                let (_, message) = self.queue.pop_front().unwrap();
                let awaits = is_status(&message);
                let (handle, data) = (*handle, message.into());
                calls.push(Call::Send { handle, data });
                if awaits {
                    self.awaits_status_on = Some(handle);
                } else {
                    calls.push(Call::Close(handle));
                }
            }
            Told::ConnectFailed { tag: TAG } => {
                self.is_connecting = false;
                self.queue.pop_front();
            }
            Told::Read { handle, data } if self.awaits_status_on == Some(*handle) => {
                self.statuses.push(data.to_vec());
                self.awaits_status_on = None;
                calls.push(Call::Close(*handle));
            }
            Told::Ended { handle } if self.awaits_status_on == Some(*handle) => {
                self.awaits_status_on = None;
                calls.push(Call::Close(*handle));
            }
            _ => return false,
        }
        self.begin(calls);
        true
    }
}

/// The server of memory: one start after the other.
#[derive(Debug)]
pub(crate) struct VmemServer {
    client: u16,
    /// The address of the first octet, and the octets.
    memory: (u64, Bytes),
    queue: VecDeque<Job>,
    sending: Option<Job>,
    session: u32,
}

impl VmemServer {
    pub(crate) const fn new(client: u16, memory: (u64, Bytes)) -> Self {
        Self {
            client,
            memory,
            queue: VecDeque::new(),
            sending: None,
            session: 0,
        }
    }

    /// Does what a message says, and returns the answer to it.
    fn on_message(&mut self, now: Instant, message: &[u8]) -> Option<Bytes> {
        match message[2] {
            0 => {
                let address = u64::from_be_bytes(message[7..15].try_into().unwrap());
                let size = u32::from_be_bytes(message[15..19].try_into().unwrap());
                let request = Request::decode_big_endian(&message[REQUEST_AT..]);
                let start = usize::try_from(address - self.memory.0).unwrap();
                let end = start + usize::try_from(size).unwrap();
                let octets = self.memory.1.slice(start..end);
                if self.queue.len() < QUEUE {
                    let to = (None, self.client);
                    self.queue.push_back(Job::new(now, to, request, octets));
                }
                self.begin(now);
            }
            1 => {
                self.sending = None;
                self.session = 0;
                self.begin(now);
            }
            2 => {
                let busy = u32::from(self.sending.is_some());
                let status = [self.session.to_be_bytes(), busy.to_be_bytes()];
                return Some(Bytes::copy_from_slice(&status.concat()));
            }
            _ => {}
        }
        None
    }

    fn begin(&mut self, now: Instant) {
        if self.sending.is_none()
            && let Some(mut job) = self.queue.pop_front()
        {
            job.delay(now);
            self.session = job.request.session;
            self.sending = Some(job);
        }
    }
}

impl App for VmemServer {
    type Command = ServerCommand;
    type Event = ();

    fn command(&mut self, _: Instant, _: ServerCommand, calls: &mut Vec<Call>) {
        calls.push(Call::Listen {
            port: VMEM_PORT,
            crc32_required: true,
        });
    }

    fn told(&mut self, now: Instant, told: Told, calls: &mut Vec<Call>) {
        match told {
            Told::Read { handle, data } => {
                if let Some(data) = self.on_message(now, &data) {
                    calls.push(Call::Send { handle, data });
                }
                calls.push(Call::Close(handle));
            }
            Told::Ended { handle } => calls.push(Call::Close(handle)),
            Told::Datagram { source, data, .. } => {
                if let Some(data) = self.on_message(now, &data) {
                    calls.push(Call::SendTo {
                        from: VMEM_PORT,
                        to: source,
                        priority: Priority::Normal,
                        crc32: true,
                        data,
                    });
                }
            }
            _ => {}
        }
    }

    fn on_time(&mut self, now: Instant, calls: &mut Vec<Call>) {
        if let Some(job) = &mut self.sending
            && job.round_at <= now
            && job.send_round(calls)
        {
            self.sending = None;
            self.begin(now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.sending.as_ref().map(|job| job.round_at)
    }

    fn next_event(&mut self) -> Option<()> {
        None
    }

    fn restart(&mut self) {
        self.queue.clear();
        self.sending = None;
        self.session = 0;
    }
}
