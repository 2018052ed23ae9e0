//! Drivers: what connects a machine to sockets, clocks, threads and tasks.
//!
//! Each is one loop, written against [`Machine`](crate::Machine) alone: drain the machine, then wait for
//! octets, a command or the deadline.

mod clock;

pub use clock::Clock;
