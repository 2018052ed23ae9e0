//! Interfaces, and which of them a packet leaves by.

mod dedup;
mod interface;
mod router;
mod table;

use dedup::Deduplicator;
pub(super) use dedup::Seen;
pub use interface::{Deduplication, InterfaceConfig};
pub(super) use router::{Exit, Router};
pub use table::{Route, RouteError, RouteFault, RoutesText};
