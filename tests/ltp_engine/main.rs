//! Two engines with a line between them: the rules of LTP one by one, and what losses do to whole sessions.
#![cfg(feature = "ltp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod chaos;
mod line;
mod losses;
mod rules;
mod secrets;
