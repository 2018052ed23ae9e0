//! Transports for hard links, each a pure state machine.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(any(feature = "blocking", feature = "tokio"))]
pub mod adapters;
mod framing;
pub mod laws;
mod machine;
mod path;
mod seed;
#[cfg(feature = "sim")]
pub mod sim;
mod time;
mod transmit;

pub use framing::{Broken, Framing};
pub use machine::{Ask, Cause, Link, Machine, Output};
pub use path::{Addr, Hop, Path, Proto, Tag};
pub use seed::{Chance, Seed};
pub use time::Instant;
pub use transmit::{Limits, Transmit};
