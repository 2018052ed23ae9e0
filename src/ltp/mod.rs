//! The Licklider Transmission Protocol.

mod aggregate;
mod api;
mod auth;
mod closed;
mod config;
mod engine;
#[cfg(feature = "arbitrary")]
mod generate;
mod outgoing;
mod ranges;
mod receiver;
mod report;
mod sdnv;
mod sender;
mod span;
mod subject;
mod table;
mod timers;
mod wire;

pub use aggregate::{AGGREGATION, Aggregator, Undecodable, Unit, units};
pub use api::{Block, Command, Cue, Error, Event, Progress, Red, Service, Side, Stats};
pub use auth::{Auth, Key};
pub use config::{Config, ConfigError, MIN_SEGMENT, Numbers, Peer};
pub use engine::Engine;
pub use ranges::RangeSet;
pub use sdnv::{MAX_SDNV, put_sdnv, sdnv_len};
pub use wire::{
    Body, Checkpoint, Claims, Color, Data, Extension, ExtensionTag, Extensions, MAX_EXTENSIONS,
    Mark, Range64, Reason, Report, Segment, SessionId,
};
