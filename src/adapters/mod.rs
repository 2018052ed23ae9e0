//! Drivers: what connects a machine to sockets, clocks, threads and tasks.
//!
//! Each is one loop, written against [`Machine`](crate::Machine) alone: drain the machine, then wait for
//! octets, a command or the deadline.

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod cause;
mod clock;
#[cfg(all(feature = "cotp", any(feature = "blocking", feature = "tokio")))]
pub mod cotp;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod entropy;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod handle;
#[cfg(all(feature = "ltp", any(feature = "blocking", feature = "tokio")))]
pub mod ltp;
pub mod offload;
#[cfg(feature = "tokio")]
mod outbox;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use clock::Clock;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use entropy::seed;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use handle::{CommandError, Detached};
