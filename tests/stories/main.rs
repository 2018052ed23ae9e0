//! Protocols in the simulator: each test has a seed, an outcome, and often a ladder as snapshot.
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
#[path = "../support/cotp_scene.rs"]
mod cotp_scene;
#[cfg(feature = "ltp")]
mod ltp;
#[cfg(feature = "ltp")]
#[path = "../support/ltp_scene.rs"]
mod ltp_scene;
mod recordings;
mod resets;
#[cfg(feature = "ltp")]
mod scenario_outcomes;
#[cfg(feature = "ltp")]
#[path = "../../src/bin/farlink/scenarios/mod.rs"]
#[allow(dead_code, reason = "the tool uses more of it")]
mod scenarios;
#[path = "../support/sink.rs"]
mod sink;
