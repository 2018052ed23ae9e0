//! The core of all adapters: the loop around a machine, the lock around the loop, and the sockets below it.
//!
//! A protocol builds on what is exported here: a [`Port`] for its events, and handles around [`Shared`] whose
//! methods stand in `faces!`.

#![cfg_attr(
    not(all(feature = "cotp", feature = "dtp", feature = "ltp")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "some of it serves the ports of protocols alone"
    )
)]

/// Reports to `tracing`, if that feature is on.
macro_rules! report {
    ($level:ident, $($event:tt)+) => {
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "farlink::adapters", $($event)+);
    };
}

#[macro_use]
mod faces;

mod cause;
mod event_loop;
mod factory;
mod handle;
#[cfg(feature = "csp")]
mod interface_node;
pub mod interfaces;
#[cfg(any(feature = "csp", feature = "ltp"))]
mod node;
pub mod raw;
mod receive_queue;
pub mod runtime;
mod scratch;
mod shared;
mod socket;
pub mod sockets;
mod stream;
mod table;
mod tcp;
mod upgrade;
mod waiters;

pub use factory::MachineFactory;
pub use handle::{CommandError, Detached};
#[cfg(feature = "csp")]
pub use interface_node::InterfaceNodeOptions;
pub use shared::Closed;
pub use tcp::TcpOptions;
pub use upgrade::StreamUpgrade;

pub(super) use event_loop::{Core, Port, Rest};
pub(super) use handle::DetachedStream;
#[cfg(any(feature = "csp", feature = "ltp"))]
pub(super) use node::{ClosePort, NODE_LIMITS, NodeRef, OnDrop};
pub(super) use receive_queue::ReceiveQueue;
pub(super) use shared::Shared;
pub(super) use socket::{ACCEPT_PAUSE, is_of_one_connection};
pub(super) use sockets::{BACKLOG, new_socket};
pub(super) use stream::OneStream;
pub(super) use waiters::WaitStatus;
