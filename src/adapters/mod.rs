//! Drivers: what connects a machine to sockets, clocks, threads and tasks.
//!
//! All are one loop, written against [`Machine`](crate::Machine) alone: drain the machine, then wait for
//! octets, a command or the deadline. The [map](crate::guide::map) says which file does what. A protocol adds a
//! `Port`, which routes its events, and handles, written once; tokio and threads are two runtimes of one trait.

#![cfg_attr(
    not(all(feature = "cotp", feature = "ltp")),
    allow(dead_code, reason = "some of it serves the ports of protocols alone")
)]

/// Reports to `tracing`, if that feature is on.
#[cfg(any(feature = "blocking", feature = "tokio"))]
macro_rules! report {
    ($level:ident, $($event:tt)+) => {
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "farlink::adapters", $($event)+);
    };
}

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod cause;
mod clock;
#[cfg(all(feature = "cotp", any(feature = "blocking", feature = "tokio")))]
pub mod cotp;
#[cfg(feature = "entropy")]
mod entropy;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod event_loop;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod faces;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod factory;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod handle;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub mod interfaces;
#[cfg(all(feature = "ltp", any(feature = "blocking", feature = "tokio")))]
pub mod ltp;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub mod raw;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub mod runtime;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod scratch;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod shared;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod socket;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod socket_set;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub mod sockets;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod stream;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod table;
#[cfg(feature = "blocking")]
mod threads;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "offload")]
pub mod udp;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod waiters;

pub use clock::Clock;
#[cfg(feature = "entropy")]
pub use entropy::seed;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use factory::MachineFactory;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use handle::{CommandError, Detached};
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use shared::Closed;
