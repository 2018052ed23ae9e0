//! A machine on strings: it does what it is told and tells what it hears.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use farlink::{Addr, Ask, Instant, Link, Machine, Output, Transmit};

/// Octets that may wait for one stream before further ones are refused.
pub(crate) const QUEUE: usize = 1 << 18;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Do<A> {
    /// Ask the driver.
    Ask(Ask<A>),
    /// Ask the driver two things at once.
    Asks([Ask<A>; 2]),
    /// Write to a stream.
    Write(A, Bytes),
    /// Send a datagram.
    Datagram(A, Bytes),
    /// Tell `Woken` after a while, so many times.
    Wake(Duration, u32),
    /// Write one octet there after a while, so many times, and tell `Woken` each time.
    Beat(A, Duration, u32),
    /// Ask the driver after a while.
    AskLater(Duration, Ask<A>),
    /// Leave the stream unread, or read it again.
    Want(A, bool),
    /// Be done.
    Done,
    /// Be refused.
    Fail,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard<A> {
    Link(A, Link),
    Octets(A, Bytes),
    Woken(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Told,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too much waits",
            Self::Told => "told to refuse",
        })
    }
}

impl Error for Refusal {}

#[derive(Debug)]
struct PuppetTimer<A> {
    at: Instant,
    every: Duration,
    left: u32,
    beats: Option<A>,
    asks: Option<Ask<A>>,
}

#[derive(Debug)]
pub(crate) struct Puppet<A> {
    heard: VecDeque<Heard<A>>,
    asks: VecDeque<Ask<A>>,
    writes: BTreeMap<A, VecDeque<Bytes>>,
    datagrams: VecDeque<(A, Bytes)>,
    full: Vec<A>,
    unwanted: Vec<A>,
    timer: Option<PuppetTimer<A>>,
    is_done: bool,
    /// Lives as long as the machine.
    probe: Arc<()>,
}

impl<A: Addr> Puppet<A> {
    pub(crate) fn new() -> Self {
        Self {
            heard: VecDeque::new(),
            asks: VecDeque::new(),
            writes: BTreeMap::new(),
            datagrams: VecDeque::new(),
            full: Vec::new(),
            unwanted: Vec::new(),
            timer: None,
            is_done: false,
            probe: Arc::default(),
        }
    }

    /// Returns what tells whether the machine was dropped.
    pub(crate) fn probe(&self) -> Weak<()> {
        Arc::downgrade(&self.probe)
    }

    fn set_timer(
        &mut self,
        now: Instant,
        every: Duration,
        left: u32,
        beats: Option<A>,
        asks: Option<Ask<A>>,
    ) {
        self.timer = Some(PuppetTimer {
            at: now + every,
            every,
            left,
            beats,
            asks,
        });
    }

    fn fire(&mut self, now: Instant) {
        let Some(timer) = &mut self.timer else {
            return;
        };
        if timer.at > now {
            return;
        }
        timer.left -= 1;
        timer.at = now + timer.every;
        let left = timer.left;
        self.asks.extend(timer.asks.take());
        if let Some(at) = timer.beats {
            let beat = Bytes::from_static(b".");
            self.writes.entry(at).or_default().push_back(beat);
        }
        if left == 0 {
            self.timer = None;
        }
        self.heard.push_back(Heard::Woken(left));
    }

    fn write(&mut self, tx: &mut Transmit<A>) -> bool {
        for (&at, queue) in &mut self.writes {
            if self.full.contains(&at.carrier()) {
                continue;
            }
            while let Some(next) = queue.front_mut() {
                let count = next.len().min(tx.room_in_stream(at));
                if count == 0 {
                    break;
                }
                let part = next.split_to(count);
                assert!(tx.append(at, count, |out| out.extend_from_slice(&part)));
                if next.is_empty() {
                    queue.pop_front();
                }
            }
            if !tx.is_empty() {
                return true;
            }
        }
        let full = &self.full;
        let is_full = |to: A| full.contains(&to.carrier());
        let next = self.datagrams.front().filter(|(to, _)| !is_full(*to));
        let Some((to, datagram)) = next.cloned() else {
            return false;
        };
        self.datagrams.pop_front();
        tx.push(to, datagram.len(), |out| out.extend_from_slice(&datagram))
    }

    /// Asks come only once nothing waits to be written at that address: they act behind the writes.
    fn next_ask(&mut self) -> Option<Ask<A>> {
        let at = match self.asks.front()? {
            Ask::Finish(at) | Ask::Close(at) | Ask::Detach { path: at, .. } => *at,
            Ask::Open { .. } | Ask::Cancel(_) | Ask::Abort(_) => return self.asks.pop_front(),
        };
        if self.writes.get(&at).is_some_and(|queue| !queue.is_empty()) {
            return None;
        }
        self.asks.pop_front()
    }
}

impl<A: Addr> Machine for Puppet<A> {
    type Addr = A;
    type Command = Do<A>;
    type Event = Heard<A>;
    type Error = Refusal;

    fn receive(&mut self, _: Instant, from: A, octets: &[u8]) {
        self.heard
            .push_back(Heard::Octets(from, Bytes::copy_from_slice(octets)));
    }

    fn link(&mut self, _: Instant, at: A, state: Link) {
        match state {
            Link::Full => self.full.push(at.carrier()),
            Link::Free => self.full.retain(|full| *full != at.carrier()),
            Link::Down(_) => {
                self.writes.remove(&at);
            }
            Link::Up | Link::Opened(_) | Link::Failed(..) | Link::Ended => {}
        }
        self.heard.push_back(Heard::Link(at, state));
    }

    fn command(&mut self, now: Instant, command: Do<A>) -> Result<(), Refusal> {
        match command {
            Do::Ask(ask) => self.asks.push_back(ask),
            Do::Asks(asks) => self.asks.extend(asks),
            Do::Write(at, octets) => {
                let queue = self.writes.entry(at).or_default();
                if queue.iter().map(Bytes::len).sum::<usize>() >= QUEUE {
                    return Err(Refusal::Full);
                }
                queue.push_back(octets);
            }
            Do::Datagram(to, octets) => self.datagrams.push_back((to, octets)),
            Do::Wake(every, left) => self.set_timer(now, every, left, None, None),
            Do::Beat(at, every, left) => self.set_timer(now, every, left, Some(at), None),
            Do::AskLater(after, ask) => self.set_timer(now, after, 1, None, Some(ask)),
            Do::Want(at, true) => self.unwanted.retain(|unwanted| *unwanted != at),
            Do::Want(at, false) => self.unwanted.push(at),
            Do::Done => self.is_done = true,
            Do::Fail => return Err(Refusal::Told),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<A>) -> Output<A, Heard<A>> {
        tx.clear();
        self.fire(now);
        if let Some(heard) = self.heard.pop_front() {
            return Output::Event(heard);
        }
        if let Some(ask) = self.next_ask() {
            return Output::Ask(ask);
        }
        if self.write(tx) {
            return Output::Transmit;
        }
        let is_sent = self.writes.values().all(VecDeque::is_empty);
        if self.is_done && is_sent && self.asks.is_empty() {
            return Output::Done;
        }
        if let Some(ask) = self.next_ask() {
            return Output::Ask(ask);
        }
        Output::Idle(self.timer.as_ref().map(|timer| timer.at))
    }

    fn wants(&self, from: A) -> bool {
        !self.unwanted.contains(&from)
    }
}
