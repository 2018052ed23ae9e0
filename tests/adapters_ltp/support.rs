//! What the tests of LTP nodes share: blocks, peers and outcomes, and an engine with a fault.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::ltp::Error as NodeError;
use farlink::ltp::{Command, Config, ConfigError, Engine, Error, Event, Peer, Reason, Side};
use farlink::{AsMachine, Instant, Link, Machine, Output, Path, Seed, Transmit};

/// The client service of most tests.
pub(crate) const CLIENT: u64 = 4;

/// A peer that soon counts as silent.
pub(crate) fn hasty(address: SocketAddr) -> Peer<SocketAddr> {
    let mut peer = Peer::at(address);
    peer.timers.own_delay = Duration::from_millis(20);
    peer.timers.remote_delay = Duration::from_millis(20);
    peer.limits.checkpoint_retries = 2;
    peer.limits.cancel_retries = 1;
    peer
}

/// Who gave a block up, and why.
pub(crate) fn failure(error: NodeError) -> (Side, Reason) {
    match error {
        NodeError::Failed { by, reason, .. } => (by, reason),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn block_of(len: u32) -> Bytes {
    (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// Blocks of several sizes, no two alike.
pub(crate) fn numbered(sender: u64, number: u64) -> Bytes {
    let mut block = format!("{sender}/{number}:").into_bytes();
    block.resize(block.len() + 300 * usize::try_from(number).unwrap(), b'.');
    block.into()
}

/// What [`Broken`] cannot bear.
pub(crate) const POISON: &[u8] = b"poison";

/// An engine with a fault.
pub(crate) struct Broken(Engine<Path>);

impl Broken {
    pub(crate) fn new(config: Config, seed: Seed) -> Result<Self, ConfigError> {
        Engine::new(config, seed).map(Self)
    }
}

impl AsMachine<Engine<Path>> for Broken {
    fn as_machine(&self) -> &Engine<Path> {
        &self.0
    }
}

impl Machine for Broken {
    type Addr = Path;
    type Command = Command<Path>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: Path, octets: &[u8]) {
        assert_ne!(octets, POISON, "a fault of the machine, which is meant");
        self.0.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: Path, state: Link) {
        self.0.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command<Path>) -> Result<(), Error> {
        self.0.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Path>) -> Output<Path, Event> {
        self.0.poll(now, tx)
    }
}
