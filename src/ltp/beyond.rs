//! What no RFC asks: measurements of the line and what follows from them, flows, windows, pings, unknown peers, and
//! header prediction.

mod accepted;
mod block_flow;
mod control;
mod delivery_rate;
mod duplicates;
mod flow;
mod hello;
mod learn;
mod level;
mod line;
mod ping;
mod prediction;
mod redundancy;
mod report_round;
mod rto;
mod strangers;
mod unknown_peers;
mod window;

pub(super) use accepted::{Newcomer, Standing};
pub(super) use block_flow::BlockFlow;
pub(super) use control::{FlowControl, HELLO_INTERVAL, Repairs};
pub(super) use duplicates::DuplicateRepairs;
pub use flow::{Flow, FlowEstimate};
pub(super) use hello::Hello;
pub(super) use learn::segments;
pub(super) use level::Round;
pub(super) use line::Line;
pub use line::LineEstimate;
pub(super) use ping::Ping;
pub(super) use prediction::Prediction;
pub use redundancy::{AdaptiveRedundancy, Redundancy};
pub(super) use report_round::ReportRound;
pub use rto::{RtoBounds, RtoPolicy};
pub(super) use strangers::{Accounts, Hosts, MAX_UNPROVED, MAX_WAITING, STRANGER_SERIALS};
pub(super) use unknown_peers::UnknownPeerPolicy;
pub(super) use window::InFlight;
