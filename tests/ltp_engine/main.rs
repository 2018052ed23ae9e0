//! Two engines with a line between them: the rules of LTP one by one, and what losses do to whole sessions.
#![cfg(all(feature = "ltp", feature = "laws"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::single_range_in_vec_init,
    clippy::naive_bytecount,
    reason = "tests fail by panicking, on machines with an allocator"
)]

mod chaos;
mod cookies;
mod explore;
mod line;
mod losses;
mod restart;
mod rules;
mod secrets;
mod seeds;
mod trains;
#[path = "../tries/mod.rs"]
mod tries;
