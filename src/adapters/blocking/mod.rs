//! Drivers of threads and blocking sockets; nothing beyond the standard library and socket options.
//!
//! [`stream`] drives a machine on one byte stream, [`udp`] one on a bound UDP socket.

mod carrier;
mod drive;
mod news;
mod shared;
pub mod stream;
mod threads;
pub mod udp;

pub use carrier::Carrier;
