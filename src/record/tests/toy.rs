//! A small machine for any address, and a sink that a test can read.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Write};
use std::sync::Mutex;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::{RecordAddr, RecordOptions, Recorded, Recorder};
use crate::{Ask, Instant, Limits, Link, Machine, Output, Path, Rng, Seed, Tag, Transmit};

/// Sends back what it receives, after a delay and after a random octet, and carries out commands.
#[derive(Debug)]
pub(super) struct Toy<A> {
    config: ToyConfig,
    rng: Rng,
    events: VecDeque<ToyEvent<A>>,
    asks: VecDeque<Ask<A>>,
    echoes: VecDeque<(Instant, A, Vec<u8>)>,
    sends: VecDeque<(A, Vec<u8>)>,
    yields: u32,
    quitting: bool,
    broken: bool,
}

impl<A> Toy<A> {
    pub(super) fn delay(&self) -> u64 {
        self.config.delay
    }
}

impl<A: RecordAddr> From<ToyConfig> for Toy<A> {
    fn from(config: ToyConfig) -> Self {
        let Ok(toy) = Self::make(config, Seed::from(7));
        toy
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct ToyConfig {
    pub(super) stream: bool,
    /// Nanoseconds until an echo.
    pub(super) delay: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToyCommand<A> {
    Send {
        to: A,
        #[serde(with = "crate::hex")]
        payload: Bytes,
    },
    Open(Tag, A),
    Close(A),
    Abort(A),
    Detach(A),
    Yield,
    Quit,
    Break,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToyEvent<A> {
    Got {
        from: A,
        #[serde(with = "crate::hex")]
        payload: Bytes,
    },
    Cue(A, Link),
}

/// A payload that is left to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ToySnapshot<A> {
    pub(super) to: A,
    #[serde(with = "crate::hex")]
    pub(super) payload: Bytes,
}

#[derive(Debug)]
pub(super) struct Quitting;

impl fmt::Display for Quitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the toy is put away")
    }
}

impl core::error::Error for Quitting {}

impl<A: RecordAddr> Recorded for Toy<A> {
    const KIND: &'static str = "toy";
    const PORT: u16 = 7;
    type Config = ToyConfig;
    type ConfigError = Infallible;
    type Snapshot = ToySnapshot<A>;
    type RestoreError = Quitting;

    fn make(config: ToyConfig, seed: Seed) -> Result<Self, Infallible> {
        Ok(Self {
            config,
            rng: seed.rng(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            echoes: VecDeque::new(),
            sends: VecDeque::new(),
            yields: 0,
            quitting: false,
            broken: false,
        })
    }

    fn restore(
        config: ToyConfig,
        seed: Seed,
        ToySnapshot { to, payload }: ToySnapshot<A>,
        now: Instant,
    ) -> Result<Self, Quitting> {
        if payload == b"\0"[..] {
            return Err(Quitting);
        }
        let Ok(mut toy) = Self::make(config, seed);
        toy.echoes.push_back((now, to, payload.to_vec()));
        Ok(toy)
    }
}

impl<A: RecordAddr> Machine for Toy<A> {
    type Addr = A;
    type Command = ToyCommand<A>;
    type Event = ToyEvent<A>;
    type Error = Quitting;

    fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        let payload = Bytes::copy_from_slice(octets);
        self.events.push_back(ToyEvent::Got { from, payload });
        let [rng, ..] = self.rng.next_u64().to_le_bytes();
        let mut echo = alloc::vec![rng];
        echo.extend_from_slice(octets);
        let due = now + Duration::from_nanos(self.config.delay);
        self.echoes.push_back((due, from, echo));
    }

    fn link(&mut self, _: Instant, at: A, state: Link) {
        self.events.push_back(ToyEvent::Cue(at, state));
    }

    fn command(&mut self, _: Instant, command: ToyCommand<A>) -> Result<(), Quitting> {
        if self.quitting {
            return Err(Quitting);
        }
        match command {
            ToyCommand::Send { to, payload } => self.sends.push_back((to, payload.to_vec())),
            ToyCommand::Open(tag, path) => self.asks.push_back(Ask::Open { tag, path }),
            ToyCommand::Close(at) => self.asks.push_back(Ask::Close(at)),
            ToyCommand::Abort(at) => self.asks.push_back(Ask::Abort(at)),
            ToyCommand::Detach(path) => self.asks.push_back(Ask::Detach {
                tag: Tag(9),
                path,
                early: Bytes::from_static(b"early"),
            }),
            ToyCommand::Yield => self.yields += 1,
            ToyCommand::Quit => self.quitting = true,
            ToyCommand::Break => self.broken = true,
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<A>) -> Output<A, ToyEvent<A>> {
        tx.clear();
        assert!(!self.broken, "broken on purpose");
        while self.echoes.front().is_some_and(|(due, ..)| *due <= now) {
            self.sends
                .extend(self.echoes.pop_front().map(|(_, to, echo)| (to, echo)));
        }
        if let Some(left) = self.yields.checked_sub(1) {
            self.yields = left;
            return Output::Yield;
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(ask) = self.asks.pop_front() {
            return Output::Ask(ask);
        }
        while let Some((to, octets)) = self.sends.front() {
            let taken = if self.config.stream {
                tx.append(*to, octets.len(), |out| out.extend_from_slice(octets))
            } else {
                tx.push(*to, octets.len(), |out| out.extend_from_slice(octets))
            };
            if !taken {
                break;
            }
            self.sends.pop_front();
        }
        if !tx.is_empty() {
            return Output::Transmit;
        }
        match self.echoes.front() {
            Some((due, ..)) => Output::Idle(Some(*due)),
            None if self.quitting => Output::Done,
            None => Output::Idle(None),
        }
    }
}

/// A sink that is shared with the test.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn octets(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn boxed(&self) -> Box<dyn Write + Send> {
        Box::new(self.clone())
    }
}

impl Write for Shared {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) const DATAGRAMS: ToyConfig = ToyConfig {
    stream: false,
    delay: 1000,
};
pub(super) const STREAM: ToyConfig = ToyConfig {
    stream: true,
    delay: 1000,
};

pub(super) fn recorder<A: RecordAddr>(config: ToyConfig, sink: &Shared) -> Recorder<Toy<A>> {
    let seed = Seed::from(7);
    Recorder::new(config, seed, sink.clone(), RecordOptions::default()).unwrap()
}

pub(super) fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn udp(local: &str, remote: &str) -> Path {
    Path::udp(socket(local), socket(remote))
}

pub(super) fn tcp(local: &str, remote: &str) -> Path {
    Path::tcp(socket(local), socket(remote))
}

pub(super) fn send<A>(to: A, payload: impl Into<Bytes>) -> ToyCommand<A> {
    let payload = payload.into();
    ToyCommand::Send { to, payload }
}

/// Drains the machine and returns what it sent.
pub(super) fn drain<M: Machine>(machine: &mut M, now: Instant) -> Vec<Vec<u8>> {
    let mut tx = Transmit::new(Limits::new(9000, 8, 1 << 16));
    let mut sent = Vec::new();
    loop {
        match machine.poll(now, &mut tx) {
            Output::Transmit => sent.extend(tx.datagrams().map(<[u8]>::to_vec)),
            Output::Event(_) | Output::Ask(_) | Output::Yield => {}
            Output::Idle(_) | Output::Done => return sent,
        }
    }
}

/// Records the shortest session that has everything: octets in both directions, a cue, a command, an event.
pub(super) fn short_session() -> Vec<u8> {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.link(at(0), (), Link::Up);
    toy.receive(at(1), (), b"in");
    toy.command(at(2), send((), &b"out"[..])).unwrap();
    drain(&mut toy, at(3));
    drain(&mut toy, at(2000));
    drop(toy);
    sink.octets()
}

/// Records a session between the toy and two peers on UDP.
pub(super) fn datagram_session() -> Vec<u8> {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(DATAGRAMS, &sink);
    // One on the port of the toy, one on another.
    let peer = udp("10.0.0.1:7", "10.0.0.2:7000");
    let other = udp("[2001:db8::1]:7000", "[2001:db8::2]:7000");
    toy.link(at(0), peer, Link::Up);
    drain(&mut toy, at(0));
    toy.receive(at(10), peer, b"hello");
    toy.receive(at(20), other, b"world");
    toy.receive(at(20), peer, b"");
    drain(&mut toy, at(30));
    drain(&mut toy, at(1020));
    for size in [40, 40, 12] {
        let payload = alloc::vec![0xa5; size];
        toy.command(at(1020), send(peer, payload)).unwrap();
    }
    toy.command(at(1020), send(other, alloc::vec![0x5a; 5000]))
        .unwrap();
    drain(&mut toy, at(1030));
    toy.command(at(1040), ToyCommand::Quit).unwrap();
    toy.command(at(1040), ToyCommand::Quit).unwrap_err();
    drain(&mut toy, at(5000));
    drop(toy);
    sink.octets()
}
