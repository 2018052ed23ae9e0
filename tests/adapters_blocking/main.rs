//! The blocking drivers, proven on loopback with machines made for the purpose.

#![cfg(feature = "blocking")]

use std::time::Duration;

mod stream;
mod toy;
mod udp;

/// How long a test waits for what must come before it fails.
const AT_LAST: Duration = Duration::from_secs(60);
