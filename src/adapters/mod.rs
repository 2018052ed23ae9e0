//! Drivers: what connects a machine to sockets, clocks, threads and tasks.
//!
//! All are one loop, written against [`Machine`](crate::Machine) alone: drain the machine, then wait for
//! octets, a command or the deadline. The [map](crate::guide::map) says which file does what. A protocol adds a
//! `Port`, which routes its events, and handles, written once; tokio and threads are two runtimes of one trait.

#[cfg(any(feature = "blocking", feature = "tokio"))]
#[macro_use]
mod driver;

#[cfg(feature = "blocking")]
pub mod blocking;
mod clock;
#[cfg(all(feature = "cotp", any(feature = "blocking", feature = "tokio")))]
pub mod cotp;
#[cfg(all(feature = "csp", any(feature = "blocking", feature = "tokio")))]
pub mod csp;
#[cfg(all(
    feature = "csp-can",
    target_os = "linux",
    any(feature = "blocking", feature = "tokio")
))]
mod csp_can;
#[cfg(all(feature = "csp-serial", any(feature = "blocking", feature = "tokio")))]
mod csp_serial;
#[cfg(all(feature = "csp-zmq", any(feature = "blocking", feature = "tokio")))]
pub mod csp_zmq;
#[cfg(all(feature = "dtp", any(feature = "blocking", feature = "tokio")))]
pub mod dtp;
#[cfg(feature = "entropy")]
mod entropy;
#[cfg(all(feature = "ltp", any(feature = "blocking", feature = "tokio")))]
pub mod ltp;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "offload")]
pub mod udp;

pub use clock::Clock;
#[cfg(all(feature = "csp", any(feature = "blocking", feature = "tokio")))]
pub use driver::InterfaceNodeOptions;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub use driver::{
    Closed, CommandError, Detached, MachineFactory, StreamUpgrade, TcpOptions, interfaces, raw,
    runtime, sockets,
};
#[cfg(feature = "entropy")]
pub use entropy::seed;

/// Locks what is consistent even if a holder of the lock panicked: no operation on it can panic half-way.
#[cfg(feature = "offload")]
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
