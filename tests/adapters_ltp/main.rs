//! LTP nodes on loopback: the same rules for tasks of tokio and for threads that block.
#![cfg(all(feature = "ltp", any(feature = "blocking", feature = "tokio")))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests link the standard library anyway"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails the test"
)]
#![allow(
    clippy::duplicate_mod,
    reason = "one body of rules for methods that are awaited and methods that block"
)]

use std::time::Duration;

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(all(feature = "blocking", feature = "tokio"))]
mod futures;
#[path = "../loopback/mod.rs"]
mod loopback;
mod support;

#[cfg(feature = "tokio")]
mod tokio;

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);
