//! Stories: protocols in a simulated world, each with a seed, an outcome and a ladder.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod chaos;
mod cotp;
mod resets;
mod scene;
