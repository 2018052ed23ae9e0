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

#[path = "../captures/mod.rs"]
mod captures;
mod conversations;
mod kept;
#[path = "../sink/mod.rs"]
mod sink;
mod stories;
#[path = "../talk/mod.rs"]
mod talk;
#[path = "../vector_octets/mod.rs"]
mod vector_octets;
mod world;
