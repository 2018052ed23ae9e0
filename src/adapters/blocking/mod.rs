//! Drivers of threads and blocking sockets; nothing beyond the standard library and socket options.
//!
//! [`stream`] drives a machine on one byte stream, [`udp`] one on a bound UDP socket.
#![cfg_attr(
    feature = "cotp",
    doc = "[`cotp`] holds connections that carry whole messages."
)]
#![cfg_attr(
    feature = "ltp",
    doc = "[`ltp`] holds nodes that send blocks and wait for their acknowledgment."
)]

mod carrier;
#[cfg(feature = "cotp")]
pub mod cotp;
mod drive;
#[cfg(feature = "ltp")]
pub mod ltp;
mod news;
pub mod raw;
mod shared;
pub mod stream;
mod threads;
pub mod udp;

pub use super::threads::runtime;
pub use carrier::Carrier;
