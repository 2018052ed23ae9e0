//! The adapters on tokio.
//!
//! [`runtime`] gives the [`Runtime`](super::runtime::Runtime) on which handles are made: those of
//! [`raw`](super::raw) for any machine, and those below.
//!
//! Each machine has a driver, a task that sends, receives and fires timers. Handles only lock it for as long
//! as a command takes; their futures work in any task and may be dropped at any time.

#[cfg(feature = "cotp")]
pub mod cotp;
#[cfg(feature = "csp")]
pub mod csp;
#[cfg(feature = "dtp")]
pub mod dtp;
#[cfg(feature = "ltp")]
pub mod ltp;
mod runtime;

#[cfg(feature = "csp-serial")]
pub use super::csp_serial::tokio_serial as serial;
pub use runtime::{TokioIo, runtime};
