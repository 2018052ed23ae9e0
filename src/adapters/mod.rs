//! Drivers: what connects a machine to sockets, clocks, threads and tasks.
//!
//! Each is one loop, written against [`Machine`](crate::Machine) alone: drain the machine, then wait for
//! octets, a command or the deadline.

#[cfg(feature = "blocking")]
pub mod blocking;
mod cause;
mod clock;
#[cfg(feature = "cotp")]
pub mod cotp;
mod entropy;
mod handle;
#[cfg(feature = "ltp")]
pub mod ltp;
#[cfg(feature = "tokio")]
mod outbox;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use clock::Clock;
pub use entropy::seed;
pub use handle::{CommandError, Handed};
