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

use farlink::cotp::Connection;
use farlink::record::{Outcome, replay};

#[path = "../support/sink.rs"]
mod sink;

#[cfg(feature = "blocking")]
mod blocking_stream;
#[cfg(feature = "ltp")]
mod ltp_nodes;
#[cfg(feature = "tokio")]
mod tokio_stream;

/// Replays a recording, which must match.
fn replayed(file: &sink::Sink) -> Outcome {
    let outcome = replay::<Connection>(&file.octets()).unwrap();
    assert!(outcome.matches(), "{outcome}");
    outcome
}
