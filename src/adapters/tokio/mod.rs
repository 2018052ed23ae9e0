//! Drivers on a tokio runtime.
//!
//! [`stream`] drives a machine over one byte stream, [`sockets`] over UDP sockets, listeners and streams,
//! some of which it opens when the machine asks. On top stand handles that speak of connections and blocks
//! and not of machines: `cotp` and `ltp`. A driver and what the application holds of it come from one call:
//!
//! - the driver is a future, or a task when spawned. It owns the machine and the sockets;
//! - the [`Handle`] takes commands, gives back what the machine refused, and gives events.
//!
//! A driver never waits while it sends to a stream: what would block goes to an outbox, and the machine
//! hears `Full` and later `Free`. While events wait for a slow application it takes no commands and reads
//! nothing, but sends, fires timers and answers what the machine asks for.

mod bells;
mod channel;
#[cfg(feature = "cotp")]
pub mod cotp;
mod driver;
mod handle;
mod line;
#[cfg(feature = "ltp")]
pub mod ltp;
mod open;
mod runtime;
mod scratch;
pub mod sockets;
pub mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use handle::{Answer, Commands, Events, Gone, Handle, Notice, Options};
pub use line::ByteStream;
pub use runtime::{TokioIo, runtime};
