//! The adapters for threads that block.
//!
//! [`raw`] drives any machine.
//!
//! A thread that calls a handle sends by itself, and receives while it waits. One thread of the process does
//! what no caller does: it fires timers and receives for those that do not wait.

#[cfg(feature = "cotp")]
pub mod cotp;
#[cfg(feature = "csp")]
pub mod csp;
#[cfg(feature = "dtp")]
pub mod dtp;
#[cfg(feature = "ltp")]
pub mod ltp;
pub mod raw;
mod threaded_io;
pub(super) mod threads;

#[cfg(feature = "csp-serial")]
pub use super::csp_serial::threaded_serial as serial;
pub use threaded_io::ThreadedIo;
pub use threads::runtime;

/// A handle with methods that block the calling thread: those that are `async` on the handle inside.
///
/// It is made `From` any handle, whatever runtime drives that.
#[derive(Debug, Clone)]
pub struct Blocking<H>(pub(in crate::adapters) H);

impl<H> From<H> for Blocking<H> {
    fn from(handle: H) -> Self {
        Self(handle)
    }
}
