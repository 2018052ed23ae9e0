//! Engines of LTP under hostile peers: memory, octets out, work and room are bounded by what came, and a legitimate
//! transfer beside an attack completes. Each attack is ten times as large as the one that was once seen to work.
//!
//! A stranger is named by no configuration, command or authentication. Memory is what the allocator counts in this
//! thread; work is counted in outputs, timers and octets allocated, never in time.
#![cfg(feature = "ltp")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking"
)]

#[path = "../support/ltp_alone.rs"]
mod ltp_alone;
mod memory;
mod octets_out;
mod room;
mod site;
mod work;
