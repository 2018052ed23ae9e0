//! The blocking drivers on real sockets, with machines that do what the test says.
#![cfg(feature = "blocking")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]

use std::time::Duration;

#[path = "../loopback/mod.rs"]
mod loopback;
#[cfg(feature = "ltp")]
mod ltp;
#[cfg(feature = "ltp")]
#[path = "../ltp_nodes/mod.rs"]
mod ltp_nodes;
#[cfg(feature = "ltp")]
mod ltp_restart;

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);
