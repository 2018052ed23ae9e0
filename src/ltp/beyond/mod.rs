//! What no RFC asks for: how fast segments leave, and what engines of this crate tell each other.

mod block_flow;
mod control;
mod flow;
mod hello;
mod level;
mod report_round;

pub use flow::{Flow, FlowEstimate};

pub(super) use block_flow::BlockFlow;
pub(super) use control::{FlowControl, HELLO_INTERVAL, Repairs};
pub(super) use hello::Hello;
pub(super) use level::Round;
pub(super) use report_round::{ReportRound, SentPart};
