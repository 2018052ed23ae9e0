//! Recordings made over real sockets replay octet by octet.
#![cfg(all(
    feature = "record",
    feature = "cotp",
    any(feature = "blocking", feature = "tokio")
))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

use std::io;
use std::sync::{Arc, Mutex};

use farlink::Seed;
use farlink::cotp::{Config, Connection};
use farlink::record::{Options, Outcome, Recorder, replay};

#[cfg(feature = "blocking")]
mod blocking_stream;
#[cfg(feature = "tokio")]
mod tokio_stream;

/// A sink that the test keeps.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn recorder(&self, config: Config, seed: u64) -> Recorder<Connection> {
        Recorder::new(config, Seed::from(seed), self.clone(), Options::default()).unwrap()
    }

    /// Replays the recording, which must match.
    fn replay(&self) -> Outcome {
        let file = self.0.lock().unwrap();
        let outcome = replay::<Connection>(&file).unwrap();
        assert!(outcome.matches(), "{outcome}");
        outcome
    }
}
