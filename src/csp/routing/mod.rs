//! Interfaces, and which of them a packet leaves by.

mod dedup;
mod interface;
mod router;
mod table;

pub(super) use dedup::Deduplicator;
pub use interface::{Deduplication, InterfaceConfig};
pub(super) use router::{Exit, Queued, Router};
pub use table::{Route, RouteError, RouteFault, RoutesText};
