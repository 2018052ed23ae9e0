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
#[cfg(feature = "ltp")]
mod scenario_outcomes;
#[cfg(feature = "ltp")]
#[path = "../../src/bin/farlink/scenarios/mod.rs"]
#[allow(dead_code, reason = "the tool uses more of it")]
mod scenarios;
mod scene;
#[path = "../support/sink.rs"]
mod sink;
