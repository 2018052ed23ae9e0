//! The laws that every machine keeps, as code.

mod breach;
mod watch;

pub use breach::{Breach, Law};
pub use watch::Watch;
