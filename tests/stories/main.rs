//! Stories: protocols in a simulated world, each with a seed, an outcome and a ladder.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod chaos;
mod cotp;
mod kept;
#[cfg(feature = "ltp")]
mod ltp;
#[cfg(feature = "ltp")]
mod ltp_scene;
mod resets;
mod scene;
#[path = "../sink/mod.rs"]
mod sink;
