//! Rules of COTP, one test each, through the public interface of the machine.
#![cfg(all(feature = "cotp", feature = "laws"))]
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

mod close;
mod config;
#[cfg(feature = "serde")]
mod config_file;
mod confirm;
#[path = "../support/cotp_probe.rs"]
mod cotp_probe;
mod data;
mod detach;
mod expedited;
mod lenient;
mod messages;
mod pressure;
mod rdp;
mod request;
mod sizes;
mod states;
mod timers;
mod wire;
