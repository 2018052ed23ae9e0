//! The laws that every machine keeps, as code.

mod bench;
mod breach;
mod check;
mod chunks;
pub mod codec;
#[cfg(feature = "arbitrary")]
mod generate;
mod log;
mod script;
mod subject;
#[cfg(test)]
mod tests;
mod watch;

pub use breach::{Breach, Law};
pub use check::{Summary, check, check_metered, try_check, try_check_metered};
pub use script::{Case, Step};
pub use subject::{Fed, Subject};
pub use watch::Watch;
