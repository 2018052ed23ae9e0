//! The adapters on real sockets.
#![cfg(all(feature = "cotp", feature = "blocking", feature = "tokio"))]
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

#[macro_use]
mod both;
mod clock;
mod cotp;
mod cotp_blocking;
mod cotp_crowd;
mod cotp_peers;
mod cotp_streams;
#[cfg(feature = "tls")]
mod cotp_tls;
mod cotp_waits;
#[cfg(feature = "csp")]
mod csp;
#[cfg(feature = "dtp")]
mod dtp;
mod face;
mod interfaces;
#[path = "../loopback/mod.rs"]
mod loopback;
mod on;
mod puppet;
mod sockets;
mod stream;
mod stream_blocking;
mod toy;
#[cfg(feature = "tracing")]
mod tracing;
mod udp;

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);
