//! STUN through its public interface: rules one by one, messages of RFCs and of coturn, and the laws of every machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    reason = "tests fail by panicking, on machines with an allocator"
)]

extern crate alloc;

#[path = "alloc.rs"]
mod allocations;
mod client;
mod credentials;
mod integrity;
mod laws;
#[cfg(feature = "record")]
#[path = "../support/sink.rs"]
mod sink;
#[path = "../support/bodies/stun.rs"]
mod stun_bodies;
#[path = "../support/stun_captures.rs"]
mod stun_captures;
mod talk;
#[path = "../tries/mod.rs"]
mod tries;
#[path = "../support/vector_octets.rs"]
mod vector_octets;
mod wire;
#[cfg(feature = "record")]
mod world;
