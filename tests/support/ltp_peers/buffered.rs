//! A machine behind the receive buffer of a UDP socket.

use core::time::Duration;
use std::collections::VecDeque;

use farlink::{Instant, Link, Machine, Output, Transmit};

/// The receive buffer of a socket on Linux by default, in octets.
const BUFFER: usize = 212_992;
/// Nanoseconds that the reader takes for an octet: 1 Gbit/s.
const NANOS: u64 = 8;

/// Datagrams wait in the buffer until the machine has taken those before them, and are lost when it is full.
///
/// The kernel counts its own memory, too: the buffer holds 92 datagrams of 1400 octets. The reader takes them at 1
/// Gbit/s, as ION was seen to do; it is never preempted, which a real one is.
#[derive(Debug)]
pub(crate) struct Buffered<M: Machine> {
    pub(crate) machine: M,
    queue: VecDeque<(M::Addr, Vec<u8>)>,
    held: usize,
    /// When the first datagram has been read.
    ready: Instant,
    /// Datagrams that found no room.
    pub(crate) lost: u64,
}

/// What a datagram takes of the buffer.
const fn charge(len: usize) -> usize {
    len.next_multiple_of(512) + 768
}

fn reading(octets: &[u8]) -> Duration {
    Duration::from_nanos(octets.len() as u64 * NANOS)
}

impl<M: Machine> Buffered<M> {
    pub(crate) const fn new(machine: M) -> Self {
        Self {
            machine,
            queue: VecDeque::new(),
            held: 0,
            ready: Instant::ZERO,
            lost: 0,
        }
    }

    /// Gives the machine what has been read by now.
    fn read(&mut self, now: Instant) {
        while self.ready <= now
            && let Some((from, octets)) = self.queue.pop_front()
        {
            self.held -= charge(octets.len());
            self.machine.receive(self.ready, from, &octets);
            if let Some((_, next)) = self.queue.front() {
                self.ready += reading(next);
            }
        }
    }
}

impl<M: Machine> Machine for Buffered<M> {
    type Addr = M::Addr;
    type Command = M::Command;
    type Event = M::Event;
    type Error = M::Error;

    fn receive(&mut self, now: Instant, from: M::Addr, octets: &[u8]) {
        self.read(now);
        if self.held + charge(octets.len()) > BUFFER {
            self.lost += 1;
            return;
        }
        if self.queue.is_empty() {
            self.ready = now + reading(octets);
        }
        self.held += charge(octets.len());
        self.queue.push_back((from, octets.to_vec()));
    }

    fn link(&mut self, now: Instant, at: M::Addr, state: Link) {
        self.machine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: M::Command) -> Result<(), M::Error> {
        self.machine.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<M::Addr>) -> Output<M::Addr, M::Event> {
        self.read(now);
        match self.machine.poll(now, tx) {
            Output::Idle(deadline) => {
                let ready = (!self.queue.is_empty()).then_some(self.ready);
                Output::Idle(deadline.into_iter().chain(ready).min())
            }
            output => output,
        }
    }
}
