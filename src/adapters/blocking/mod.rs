//! The adapters for threads that block.
//!
//! [`raw`] drives any machine.
#![cfg_attr(
    feature = "cotp",
    doc = "[`cotp`] holds connections that carry whole messages."
)]
#![cfg_attr(
    feature = "ltp",
    doc = "[`ltp`] holds nodes that send blocks and wait for their acknowledgment."
)]
//!
//! A thread that calls a handle sends by itself, and receives while it waits. One thread of the process does
//! what no caller does: it fires timers and receives for those that do not wait.

#[cfg(feature = "cotp")]
pub mod cotp;
#[cfg(feature = "ltp")]
pub mod ltp;
pub mod raw;

pub use super::threads::runtime;
