//! Programs: one that does what a test says, one that takes all that comes, and one that sends and closes.

use std::collections::VecDeque;

use bytes::Bytes;
use farlink::Instant;

use super::{App, Call, Connect, Told};

/// A program that a test is: it calls what it is told, and tells what comes back.
#[derive(Debug, Default)]
pub(crate) struct Passive {
    told: VecDeque<Told>,
}

impl App for Passive {
    type Command = Call;
    type Event = Told;

    fn command(&mut self, _: Instant, call: Call, calls: &mut Vec<Call>) {
        calls.push(call);
    }

    fn told(&mut self, _: Instant, told: Told, _: &mut Vec<Call>) {
        self.told.push_back(told);
    }

    fn next_event(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    fn restart(&mut self) {
        self.told.clear();
    }
}

/// A server that reads all, may send it back, and closes when its peer has.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) echoes: bool,
    pub(crate) read: Vec<Bytes>,
    pub(crate) ended: u32,
}

impl App for Sink {
    type Command = Call;
    type Event = ();

    fn command(&mut self, _: Instant, call: Call, calls: &mut Vec<Call>) {
        calls.push(call);
    }

    fn told(&mut self, _: Instant, told: Told, calls: &mut Vec<Call>) {
        match told {
            Told::Read { handle, data } => {
                self.read.push(data.clone());
                if self.echoes {
                    calls.push(Call::Send { handle, data });
                }
            }
            Told::Ended { handle } => {
                self.ended += 1;
                calls.push(Call::Close(handle));
            }
            _ => {}
        }
    }

    fn next_event(&mut self) -> Option<()> {
        None
    }

    fn restart(&mut self) {}
}

/// A client that connects, sends packets and closes. In lockstep it waits for the echo of each.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    pub(crate) packets: VecDeque<Bytes>,
    pub(crate) is_lockstep: bool,
    pub(crate) read: Vec<Bytes>,
    pub(crate) has_failed: bool,
}

impl App for Sender {
    type Command = Connect;
    type Event = ();

    fn command(&mut self, _: Instant, connect: Connect, calls: &mut Vec<Call>) {
        calls.push(Call::Connect(connect));
    }

    fn told(&mut self, _: Instant, told: Told, calls: &mut Vec<Call>) {
        match told {
            Told::Connected { handle, .. } => {
                let count = if self.is_lockstep {
                    1
                } else {
                    self.packets.len()
                };
                let packets = self.packets.drain(..count);
                calls.extend(packets.map(|data| Call::Send { handle, data }));
                if !self.is_lockstep {
                    calls.push(Call::Close(handle));
                }
            }
            Told::Read { handle, data } => {
                self.read.push(data);
                calls.push(match self.packets.pop_front() {
                    Some(data) => Call::Send { handle, data },
                    None => Call::Close(handle),
                });
            }
            Told::Ended { handle } => calls.push(Call::Close(handle)),
            Told::ConnectFailed { .. } | Told::SendFailed { .. } => self.has_failed = true,
            _ => {}
        }
    }

    fn next_event(&mut self) -> Option<()> {
        None
    }

    fn restart(&mut self) {}
}
