//! LTP through its public interface: rules of RFC 5326 one by one, losses, restarts, vectors of other
//! implementations, and the laws of every machine.
#![cfg(all(feature = "ltp", feature = "laws"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    clippy::single_range_in_vec_init,
    clippy::naive_bytecount,
    reason = "tests fail by panicking, on machines with an allocator"
)]

mod batches;
mod chaos;
#[cfg(feature = "serde")]
mod config_file;
mod cookies;
mod delivery;
mod explore;
#[cfg(feature = "sim")]
mod field;
#[cfg(all(feature = "arbitrary", feature = "laws"))]
mod laws;
mod licklider;
mod line;
mod losses;
#[cfg(feature = "sim")]
#[path = "../support/ltp_alone.rs"]
mod ltp_alone;
#[cfg(all(feature = "arbitrary", feature = "laws"))]
#[path = "../support/bodies/ltp.rs"]
mod ltp_bodies;
#[path = "../support/ltp_captures.rs"]
mod ltp_captures;
#[path = "../support/ltp_peers/mod.rs"]
mod ltp_peers;
mod restart;
mod rules;
mod secrets;
mod seeds;
#[path = "../tries/mod.rs"]
mod tries;
#[path = "../support/vector_octets.rs"]
mod vector_octets;
mod vectors;
