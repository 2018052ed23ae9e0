//! The simulator through its public interface: faults, NATs, sockets, scripts and traces.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

extern crate alloc;

mod cancel;
#[cfg(feature = "record")]
mod captures;
mod drawings;
mod faults;
mod hops;
mod laws;
mod nats;
#[path = "../support/parcel_machine.rs"]
mod parcel_machine;
#[path = "../support/path_hosts.rs"]
mod path_hosts;
mod punching;
mod script;
#[path = "../support/scripted_machine.rs"]
mod scripted_machine;
mod sockets;
mod streams;
mod tcp_chaos;
mod tcp_nats;
