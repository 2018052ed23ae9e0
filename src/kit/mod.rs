//! Parts that several protocols are made of: timers, sets of ranges, pacing, round-trip times.
//!
//! Nothing here knows a protocol, a socket or a clock. Time is an [`Instant`](crate::Instant) that the caller
//! passes in, so everything behaves the same in every run. The parts are public for embedders: a program
//! with ten thousand connections keeps their deadlines in one [`Timers`].
//!
//! | part | what it is |
//! |---|---|
//! | [`Timers`] | a table of deadlines, earliest first, that can be frozen and thawed by group |
//! | [`RangeSet`] | a set of `u64` numbers, kept as ranges: octets received, octets acknowledged |
//! | [`Pacer`] | a token bucket: when the next octets may leave under a rate |
//! | [`Rtt`] | smoothed round-trip time and timeout (RFC 6298) |

mod pacer;
mod range_set;
mod rtt;
mod timers;

pub use pacer::Pacer;
pub use range_set::RangeSet;
pub use rtt::Rtt;
pub use timers::{Due, TimerId, Timers};
