//! The Data Transfer Protocol over CSP, as libdtp has it: payloads that are pulled in intervals of packets.

mod api;
mod client;
mod config;
#[cfg(feature = "arbitrary")]
mod generate;
mod holes;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod message;
mod node;
mod server;
mod wire;

pub use api::{Command, Error, Event, FailReason, GetOptions, Stats};
pub use config::{Config, ConfigError};

#[cfg(any(test, feature = "laws"))]
pub use laws::DataPacketCodec;
pub use node::Node;
pub use wire::{
    DATA_HEADER_LEN, DataPacket, Interval, Intervals, LONG_REQUEST_LEN, MAX_INTERVALS, REQUEST_LEN,
    Request, Response, TO_THE_END,
};
