//! Records what a machine sees and does, and replays it.
mod call;
mod diff;
mod error;
mod json;
mod lane;
mod pages;
mod pcapng;
mod recorder;
mod recording;
mod replay;
mod sink;
mod synth;
mod tape;
mod ways;

pub use diff::Difference;
pub use lane::{BUS_LINK_TYPE, Lane, Place};
pub use pcapng::Direction;
pub use recorder::{Options, Recorded, Recorder};
pub use error::ReadError;
pub use recording::{Calls, Damage, End, Head, Recording};
pub use replay::{Outcome, ReplayError, replay};
pub use sink::{Files, Flush, Rotate};

/// The version of this crate, as recordings name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The format of recordings that this version writes and reads.
pub const FORMAT: u32 = 1;
