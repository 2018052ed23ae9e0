//! Stories: protocols in a simulated world, each with a seed, an outcome and a ladder.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

extern crate alloc;

mod chaos;
mod cotp;
#[cfg(feature = "ltp")]
mod ltp;
#[cfg(feature = "ltp")]
mod ltp_scene;
mod resets;
mod scene;
