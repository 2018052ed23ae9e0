//! COTP class 0 over TPKT: whole messages between named services, over TCP.

mod api;
mod config;
mod connection;
mod display;
#[cfg(feature = "arbitrary")]
mod generate;
mod handshake;
mod label;
mod params;
mod segment;
mod subject;
#[cfg(test)]
mod tests;
mod tpkt;
mod wire;

pub use api::{
    Acceptance, Command, Connected, End, Error, Event, Indication, Reason, Refusal, Stats,
    Violation,
};
pub use config::{
    AbsentSize, AfterHandshake, Config, ConfigError, EmptyMessages, Farewell, Foreign, Parameter,
    ParameterOrder, Policy, Proposal, Role, Strict, VariablePart,
};
pub use connection::Connection;
pub use label::Labels;
pub use params::{MAX_TPDU, Parameters, Selector, TpduSize};
pub use subject::TpduCodec;
pub use tpkt::{HEADER, MAX_PACKET, MIN_PACKET, Tpkt, TpktFault, VERSION};
pub use wire::{
    Connect, DATA_HEADER, Data, DisconnectConfirm, DisconnectReason, DisconnectRequest,
    ErrorReport, Expedited, MAX_LI, MAX_VARIABLE, OtherClass, RejectCause, Tpdu,
};
