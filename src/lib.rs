//! Transports for hard links, each a pure state machine: octets, link cues, commands and time go in;
//! sends, events, asks for sockets and a deadline come out. No protocol touches a socket, a clock, a
//! thread or the randomness of the system, so it runs in any event loop, under a fuzzer and in a replay.
//!
//! The loop that drives every machine:
//!
//! ```no_run
//! # use std::{io, io::Write as _};
//! use farlink::{Instant, Machine, Output, Transmit};
//!
//! # struct Clock; impl Clock { fn now(&self) -> Instant { Instant::ZERO } }
//! # fn answer<A>(_: farlink::Ask<A>) {}
//! fn drain<M: Machine<Addr = ()>>(
//!     machine: &mut M, tx: &mut Transmit<()>, clock: &Clock,
//!     socket: &mut std::net::TcpStream, mut handle: impl FnMut(M::Event),
//! ) -> io::Result<Option<Instant>> {
//!     loop {
//!         match machine.poll(clock.now(), tx) {
//!             Output::Transmit => socket.write_all(tx.octets())?,
//!             Output::Event(event) => handle(event),
//!             Output::Ask(ask) => answer(ask),
//!             Output::Idle(deadline) => return Ok(deadline), // wait for input until then
//!             Output::Done => return Ok(None),
//!         }
//!     }
//! }
//! ```
//!
//! | protocol | standard | module |
//! |---|---|---|
//! | COTP class 0 over TPKT | ISO 8073 (RFC 905), RFC 1006, RFC 2126 | [`cotp`] |
//! | LTP | RFC 5326, RFC 5327, CCSDS 734.1-B-1 | [`ltp`] |
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | the standard library: `adapters::Clock`, panic capture in `laws` |
//! | `cotp` (default) | [`cotp`] |
//! | `ltp` (default) | [`ltp`] |
//! | `ltp-rsa` | signatures of LTP segments with RSA (`ltp::Signer`) |
//! | `blocking` | `adapters::blocking`: threads and sockets of the standard library |
//! | `tokio` | `adapters::tokio`: tasks on a tokio runtime |
//! | `offload` | `adapters::udp`: batches of datagrams in single system calls, large socket buffers |
//! | `entropy` | `adapters::seed`: a seed drawn from the operating system |
//! | `tracing` | reports of the adapters to `tracing` |
//! | `portable-atomic` | builds for cores without compare-and-swap |
//! | `laws` | `laws`: the rules of every machine as code |
//! | `arbitrary` | commands, configurations and scripts out of arbitrary octets |
//! | `serde` | commands, events, configurations and addresses as JSON or alike |
//! | `record` | `record`: recordings that open in Wireshark and replay octet by octet |
//! | `sim` | `sim`: a deterministic world of lines, NATs and faults in which machines meet |
//! | `cli` | the `farlink` tool |
//!
//! Without default features the crate is `no_std` and needs `alloc` alone.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(test)]
extern crate self as farlink;

#[cfg(feature = "std")]
pub mod adapters;
#[cfg(feature = "cotp")]
pub mod cotp;
mod framing;
pub mod guide;
#[cfg(feature = "serde")]
pub mod hex;
pub mod laws;
#[cfg(feature = "ltp")]
pub mod ltp;
mod machine;
mod path;
#[cfg(feature = "record")]
pub mod record;
mod seed;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "ltp")]
mod sync;
mod time;
mod transmit;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/tries/mod.rs"]
mod tries;
#[cfg(any(feature = "cotp", feature = "ltp"))]
pub mod wire;

pub use framing::{Broken, Framing};
pub use machine::{AsMachine, Ask, BoxedMachine, Cause, Link, Machine, Output};
pub use path::{Addr, Hop, Path, Proto, Tag};
pub use seed::{Rng, Seed};
pub use time::Instant;
pub use transmit::{Limits, Transmit};
