//! Recordings replay octet by octet: those in `vectors`, and those of captured conversations.
#![cfg(all(feature = "record", feature = "cotp"))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

mod conversations;
#[path = "../support/cotp_captures.rs"]
mod cotp_captures;
#[path = "../support/cotp_talk.rs"]
mod cotp_talk;
mod kept;
#[path = "../support/sink.rs"]
mod sink;
mod stories;
#[path = "../support/vector_octets.rs"]
mod vector_octets;
mod world;
