//! Recordings that open in Wireshark and replay octet by octet.
//!
//! A [`Recorder`] is a machine around a machine. It goes wherever the inner one would, under any driver or
//! in a simulation, and writes down every call: what came in, what came out, and when. [`replay`] makes the
//! same calls on a fresh machine and shows the first that goes another way. [`redact`] takes seed and
//! payloads out of a recording that is to be shown around. [`Capture`] and [`Flows`] read captures that
//! others made.
//!
//! ```
//! # #[cfg(feature = "cotp")] {
//! use farlink::cotp::{Command, Config, Connection};
//! use farlink::record::{Options, Recorder, replay};
//! use farlink::{Instant, Limits, Link, Machine, Output, Seed, Transmit};
//! # use std::{io, sync::{Arc, Mutex}};
//! # #[derive(Clone, Default)]
//! # struct File(Arc<Mutex<Vec<u8>>>);
//! # impl io::Write for File {
//! #     fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
//! #         self.0.lock().unwrap().extend_from_slice(octets);
//! #         Ok(octets.len())
//! #     }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # let file = File::default();
//!
//! let config = Config::default();
//! let mut machine: Recorder<Connection> =
//!     Recorder::new(config, Seed::from(7), file.clone(), Options::default())?;
//! let mut tx = Transmit::new(Limits::default());
//! machine.link(Instant::ZERO, (), Link::Up);
//! while let Output::Transmit = machine.poll(Instant::ZERO, &mut tx) {
//!     // To the socket with it.
//! }
//! machine.finish();
//!
//! let file = file.0.lock().unwrap();
//! let outcome = replay::<Connection>(&file)?;
//! assert_eq!(outcome.to_string(), "3 calls match");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The file
//!
//! Little-endian pcapng with nanoseconds, in sections: one for each part of a recording, each complete in
//! itself. Wireshark shows what the first two interfaces hold without being told how.
//!
//! | interface | link type | packets |
//! |---|---|---|
//! | 0, network | `RAW` | octets of IP addresses behind synthetic IP and UDP or TCP headers, with the SYN, FIN and RST that link cues and asks stand for |
//! | 1, commands and events | `WIRESHARK_UPPER_PDU` | one JSON object each: a `command`, an `event`, an `ask`, or a `link` cue and where it is `at` |
//! | 2, payloads | `USER0` | octets over 4 KiB, once each; the JSON has `{"$blob": digest}` in their place, 128 bits of SHA-256 |
//! | 3 and up | `WIRESHARK_UPPER_PDU` | datagrams on ports of which no analyser knows the protocol: addresses and ports, and the port to read them as, stand in tags before each |
//! | 3 and up | that of [`Lane::Bus`] | what went over a bus of that name, as it is |
//!
//! Custom blocks (the enterprise number 32473 is for documentation, so a magic follows it) hold JSON: the
//! head with version, kind, configuration and seed at the beginning of a section, the limits of the
//! transmit buffer before the first poll that has them, and at the end a mark that nothing is missing.
//!
//! The calls themselves are a few octets each, in a custom option of the packet that they belong to. Bare
//! polls wait for the next packet to carry them, so that they cost no packet of their own. With each goes a
//! CRC-32 of the section so far: no bit can change unseen. Octets and JSON are nowhere but in their
//! packets, in the order of the calls.
//!
//! A seed tells all ids that a machine will draw, and commands tell what the application said: keep
//! recordings as safe as what was recorded.

mod call;
mod capture;
#[cfg(feature = "sim")]
mod composer;
mod diff;
mod entry;
mod error;
mod flow;
mod frame;
mod fuzz;
mod head;
mod json;
mod kinds;
mod lane;
mod pages;
mod pcapng;
mod pieces;
mod recorder;
mod recording;
mod redact;
mod replay;
mod sink;
mod synth;
mod tape;
#[cfg(test)]
mod tests;
mod ways;

pub use capture::{Capture, Packet};
#[cfg(feature = "sim")]
pub(crate) use composer::{Composer, Numbers, Signals, Stamp};
pub use diff::Difference;
pub use entry::{Act, Entry};
pub use error::ReadError;
pub use flow::{Arrival, Flows, Skipped, What};
pub use frame::{Frame, Skip, Transport};
pub use fuzz::read_in_all_ways;
pub use head::{Damage, End, Head};
pub use lane::{BUS_LINK_TYPE, Lane, Place};
pub use pcapng::Direction;
pub use recorder::{NoSnapshot, Options, Recorded, Recorder};
pub use recording::{Calls, Recording};
pub use redact::redact;
pub use replay::{Outcome, ReplayError, replay};
pub use sink::{Files, Flush, Rotate, single_part};

/// The version of this crate, as recordings name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The format of recordings that this version writes and reads.
pub const FORMAT: u32 = 1;
