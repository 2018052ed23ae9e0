//! An LTP engine with a fault.

use farlink::adapters::ltp::Around;
use farlink::ltp::{Command, Config, ConfigError, Engine, Error, Event};
use farlink::{Instant, Link, Machine, Output, Path, Seed, Transmit};

/// What it cannot bear.
pub(crate) const POISON: &[u8] = b"poison";

pub(crate) struct Broken(Engine<Path>);

impl Broken {
    pub(crate) fn new(config: Config, seed: Seed) -> Result<Self, ConfigError> {
        Engine::new(config, seed).map(Self)
    }
}

impl Around for Broken {
    fn engine(&self) -> &Engine<Path> {
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
