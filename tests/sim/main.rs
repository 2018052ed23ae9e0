//! The simulator: every fault, every kind of NAT and every call of the script does what it says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

extern crate alloc;

#[cfg(feature = "record")]
mod captures;
mod courier;
mod drawings;
mod faults;
mod hops;
mod laws;
mod nats;
mod punching;
mod puppet;
mod script;
mod sockets;
mod streams;
mod tcp_chaos;
mod tcp_nats;
