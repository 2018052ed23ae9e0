//! Stories: protocols in a simulated world, each with a seed, an outcome and a ladder.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod chaos;
mod cotp;
mod kept;
mod resets;
mod scene;
#[path = "../sink/mod.rs"]
mod sink;
