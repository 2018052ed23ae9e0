//! What no RFC asks: measurements of the line and what follows from them, windows, pings, unknown peers, and header
//! prediction.

mod duplicates;
mod learn;
mod line;
mod ping;
mod prediction;
mod redundancy;
mod rto;
mod strangers;
mod unknown_peers;
mod window;

pub(super) use duplicates::DuplicateRepairs;
pub(super) use learn::segments;
pub(super) use line::Line;
pub use line::LineEstimate;
pub(super) use ping::Ping;
pub(super) use prediction::Prediction;
pub use redundancy::{AdaptiveRedundancy, Redundancy};
pub use rto::{RtoBounds, RtoPolicy};
pub(super) use strangers::{Accounts, Hosts, MAX_UNPROVED, MAX_WAITING, STRANGER_SERIALS};
pub(super) use unknown_peers::UnknownPeerPolicy;
pub(super) use window::InFlight;
