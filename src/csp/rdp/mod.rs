//! Connections of the Reliable Data Protocol, as libcsp has it (after RFC 908 and RFC 1151).
//!
//! A connection owns no port, no route and no time. The node that has it passes in packets, and writes what
//! [`Connection::write`] gives.

mod connection;
mod parameters;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use connection::CloseReason;
pub(super) use connection::{Connection, Received, Segment, Written};
pub(super) use receive::DataKind;
