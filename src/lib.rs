//! Transport protocols for difficult links, each a pure state machine: octets, link cues, commands and the time go
//! in; events, asks for sockets, octets to send and a deadline come out. No protocol touches a socket, a clock,
//! a thread or the random generator of the system, so each runs in any event loop, under a fuzzer and in a
//! replay.
//!
//! Every machine is driven by one loop:
//!
//! ```no_run
//! # use std::{io, io::Write as _};
//! use farlink::{Instant, Machine, Output, Transmit};
//!
//! # struct Clock; impl Clock { fn now(&self) -> Instant { Instant::ZERO } }
//! # fn answer<A>(_: farlink::Ask<A>) {}
//! # fn read_ready() {}
//! fn drain<M: Machine<Addr = ()>>(
//!     machine: &mut M, tx: &mut Transmit<()>, clock: &Clock,
//!     socket: &mut std::net::TcpStream, mut handle: impl FnMut(M::Event),
//! ) -> io::Result<Option<Instant>> {
//!     loop {
//!         match machine.poll(clock.now(), tx) {
//!             Output::Transmit => socket.write_all(tx.octets())?,
//!             Output::Event(event) => handle(event),
//!             Output::Ask(ask) => answer(ask),
//!             Output::Yield => read_ready(), // without waiting
//!             Output::Idle(deadline) => return Ok(deadline), // wait for input until then
//!             Output::Done => return Ok(None), // close the socket
//!         }
//!     }
//! }
//! ```
//!
//! The rules of this loop are on the page of [`Machine`]. The [`guide`] has complete drivers in numbered steps,
//! and the map of the crate.
//!
//! | module | what it is for |
//! |---|---|
//! | this one | the contract: [`Machine`] and its [`Output`], [`Ask`], [`Link`], [`Transmit`], [`Framing`], [`Path`], [`Hop`], [`Instant`], [`Seed`] |
//! | [`cotp`] | COTP class 0 over TPKT: ISO 8073 (RFC 905), RFC 1006, RFC 2126 |
//! | `csp` | the Cubesat Space Protocol of libcsp 1.x and 2.x |
//! | `dtp` | the Data Transfer Protocol of libdtp, over CSP |
//! | [`ltp`] | LTP: RFC 5326, RFC 5327, CCSDS 734.1-B-1 |
//! | `stun` | STUN: RFC 8489, RFC 5780, RFC 3489 |
//! | `adapters` | run machines on sockets, by threads, by tasks of tokio or by a runtime of your own |
//! | `sim` | run machines in simulated time, over lines with delay, loss, NATs and contact windows |
//! | `record` | record the calls of a machine in a file for Wireshark, and replay them octet by octet |
//! | `laws` | check the rules of the contract, around each call or by generated scripts |
//! | [`kit`] | timers, sets of ranges, pacing and round-trip times, for machines |
//! | `wire` | a cursor over octets, and the error of a decoder |
//! | `hex` | octets in JSON |
//! | [`guide`] | how to write a driver and a machine, how to record and replay |
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | the standard library: `adapters::Clock`, the capture of panics in `laws` |
//! | `cotp` (default) | [`cotp`] |
//! | `csp` | `csp` |
//! | `csp-can`, `csp-serial`, `csp-zmq` | interfaces of CSP on a CAN bus of Linux, a serial line, a hub of ZMQ |
//! | `dtp` | `dtp` |
//! | `ltp` (default) | [`ltp`] |
//! | `ltp-rsa` | signatures of LTP segments with RSA: `ltp::Signer` |
//! | `stun` | `stun` |
//! | `blocking` | `adapters::blocking`: threads and sockets of the standard library |
//! | `tokio` | `adapters::tokio`: tasks on a tokio runtime |
//! | `offload` | `adapters::udp`: UDP sockets that move batches of datagrams in one system call; every driver has them |
//! | `tls` | `adapters::tls`: TLS below the streams of the adapters, by rustls, on either runtime |
//! | `entropy` | `adapters::seed`: a seed from the random generator of the operating system |
//! | `tracing` | reports of the adapters to `tracing` |
//! | `portable-atomic` | builds for cores without compare-and-swap |
//! | `laws` | `laws`, with what machines implement for it, and labels of PDUs for drawings |
//! | `arbitrary` | commands, configurations and scripts generated from arbitrary octets |
//! | `serde` | serialisation of commands, events, configurations and addresses |
//! | `record` | `record` |
//! | `sim` | `sim` |
//! | `cli` | the command-line tool `farlink` |
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
#[cfg_attr(
    not(any(test, feature = "laws")),
    allow(dead_code, reason = "what only the laws measure")
)]
pub mod cotp;
#[cfg(feature = "csp")]
pub mod csp;
#[cfg(feature = "dtp")]
pub mod dtp;
mod framing;
pub mod guide;
#[cfg(feature = "serde")]
pub mod hex;
pub mod kit;
#[cfg(any(test, feature = "laws"))]
pub mod laws;
#[cfg(feature = "ltp")]
#[cfg_attr(
    not(any(test, feature = "laws")),
    allow(dead_code, reason = "what only the laws measure")
)]
pub mod ltp;
mod machine;
mod path;
#[cfg(any(feature = "cotp", feature = "csp", feature = "ltp", feature = "sim"))]
#[cfg_attr(
    not(any(feature = "cotp", feature = "dtp", feature = "ltp", feature = "sim")),
    allow(dead_code, reason = "what only derived `Debug` uses counts as unused")
)]
mod preview;
#[cfg(feature = "record")]
pub mod record;
mod seed;
#[cfg(all(
    feature = "serde",
    any(feature = "cotp", feature = "dtp", feature = "ltp", feature = "stun")
))]
#[cfg_attr(
    not(any(feature = "cotp", feature = "ltp")),
    allow(dead_code, reason = "optional durations of other protocols")
)]
mod serde_duration;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "stun")]
#[cfg_attr(
    not(any(test, feature = "laws")),
    allow(dead_code, reason = "what only the laws measure")
)]
pub mod stun;
#[cfg(feature = "ltp")]
mod sync;
#[cfg(all(test, feature = "arbitrary"))]
mod tests;
mod time;
mod transmit;
#[cfg(any(feature = "cotp", feature = "csp", feature = "ltp", feature = "stun"))]
pub mod wire;

pub use framing::{Broken, Framing};
pub use machine::{AsMachine, Ask, BoxedMachine, Cause, Link, Machine, Output};
pub use path::{Addr, Hop, Path, Proto, Tag};
pub use seed::{Rng, Seed};
pub use time::Instant;
pub use transmit::{Limits, Transmit};

/// The blocks of the README, compiled as tests.
#[cfg(all(
    doctest,
    feature = "blocking",
    feature = "cotp",
    feature = "ltp",
    feature = "record",
    feature = "tokio"
))]
#[doc = include_str!("../README.md")]
mod readme {}
