//! Records what a machine sees and does, and replays it.
mod call;
mod capture;
mod diff;
mod entry;
mod error;
mod flow;
mod frame;
mod head;
mod json;
mod kinds;
mod lane;
mod pages;
mod pcapng;
mod recorder;
mod recording;
mod redact;
mod replay;
mod sink;
mod synth;
mod tape;
#[cfg(test)]
mod tests;
mod ways;

pub use capture::{Capture, Packet};
pub use diff::Difference;
pub use entry::{Act, Entry};
pub use error::ReadError;
pub use flow::{Arrival, Flows, Skipped, What};
pub use frame::{Frame, Skip, Transport};
pub use head::{Damage, End, Head};
pub use lane::{BUS_LINK_TYPE, Lane, Place};
pub use pcapng::Direction;
pub use recorder::{Options, Recorded, Recorder};
pub use recording::{Calls, Recording};
pub use redact::redact;
pub use replay::{Outcome, ReplayError, replay};
pub use sink::{Files, Flush, Rotate};

/// The version of this crate, as recordings name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The format of recordings that this version writes and reads.
pub const FORMAT: u32 = 1;
