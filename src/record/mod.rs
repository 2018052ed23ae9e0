//! Recordings that open in Wireshark and replay octet by octet.
//!
//! A [`Recorder`] is a machine around a machine. It takes the place of the inner machine under any driver and in
//! a simulation, and writes down every call: inputs, outputs and times. [`replay`] makes the same calls on
//! another machine and shows the first that has another result. [`redact`] removes seed and payloads from a
//! recording that is given to others. [`Capture`] and [`Flows`] read captures of other programs, and
//! [`CaptureReader`] those that are larger than memory.
//!
//! ```
//! # #[cfg(feature = "cotp")] {
//! use farlink::cotp::{Command, Config, Connection};
//! use farlink::record::{RecordOptions, Recorder, replay};
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
//!     Recorder::new(config, Seed::from(7), file.clone(), RecordOptions::default())?;
//! let mut tx = Transmit::new(Limits::default());
//! machine.link(Instant::ZERO, (), Link::Up);
//! while let Output::Transmit = machine.poll(Instant::ZERO, &mut tx) {
//!     // Send it.
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
//! # The file format
//!
//! Version [`FORMAT`] of the format is little-endian pcapng with nanoseconds. Each part of a recording is a
//! section, complete in itself. Wireshark shows interfaces 0 and 1 without settings.
//!
//! | interface | link type | packets |
//! |---|---|---|
//! | 0, network | `RAW` | octets of IP addresses after synthetic IP and UDP or TCP headers, and the segments with SYN, FIN and RST that link cues and asks stand for |
//! | 1, commands and events | `WIRESHARK_UPPER_PDU` | one JSON object each: a `command`, an `event`, an `ask`, a `link` cue and the address `at` which it is, or the `snapshot` of a restored machine |
//! | 2, payloads | `USER0` | payloads over 4 KiB, once each; the JSON has `{"$blob": digest}` in their place, with 128 bits of SHA-256 |
//! | 3 and up | `WIRESHARK_UPPER_PDU` | datagrams on ports by which no analyser knows the protocol; tags before each have its addresses, its ports and the port by which it is read |
//! | 3 and up | that of [`Interface::Bus`] | packets of the bus of that name, without headers |
//!
//! Blocks of type 0x80000bad, which pcapng leaves to local use, hold JSON. Since others may use that type too, they
//! begin with a magic number: `farlink\n` before JSON, `farcalls` before records without a packet.
//!
//! | block | when | fields |
//! |---|---|---|
//! | `head` | first in each section | `farlink` (version of the crate), `format`, `kind`, `seed`, `config`, `part`, `calls` (those of earlier parts), `epoch`; `restored` and `redacted` if so |
//! | `limits` | before the first poll with these limits | `datagram`, `batch`, `octets`; `receive_buffer` if known |
//! | `end` | last in each section | `finished`, `limit` or `continued`; `calls` |
//!
//! A reader refuses another format than its own, with both numbers in the error.
//!
//! # Records
//!
//! A call is a record of a few octets, in an option (0x8bad, for local use) of the packet that it belongs to. Records of polls
//! without a packet wait for the next packet. Every such option and block ends with the CRC-32 of the section
//! so far, so that every changed bit is found. A record does not repeat octets and JSON: they are the packets
//! before the end of its option, in the order of the calls.
//!
//! A record is an opcode, the time since the record before in nanoseconds (a zigzag varint), and its fields.
//! Numbers are varints (LEB128). Opcodes 0 to 3 have no time.
//!
//! | opcode | record | fields |
//! |---|---|---|
//! | 0 | padding | |
//! | 1 | an address is added to the table | length, JSON |
//! | 2 | the table of addresses is emptied | |
//! | 3 | a large payload | digest (16 octets), number of packets |
//! | 4 | `receive` | index of the address, number of packets |
//! | 5, 6 | `link`, `command` | |
//! | 7 | the command was accepted | |
//! | 8 | the command was refused | length, reason |
//! | 9, 10 | `poll` returned `Transmit`: datagrams, octets of a stream | index of the address, number of packets |
//! | 11 | `poll` returned `Transmit` with an empty buffer | |
//! | 12, 13 | `poll` returned `Event`, `Ask` | |
//! | 14, 15 | `poll` returned `Idle` without, with a deadline | deadline, as a difference to the time |
//! | 16 | `poll` returned `Done` | |
//! | 17 | `poll` did not return | |
//! | 18 | `poll` returned `Yield` | |
//! | 19 | the machine was restored from the snapshot in the packet; the first call | |
//!
//! # Secrets
//!
//! A seed determines all identifiers that a machine will draw, and commands hold what the application sent: keep
//! recordings as safe as the data in them.

mod address_table;
mod call;
mod call_writer;
mod capture;
mod capture_reader;
mod diff;
mod entry;
mod error;
mod flow;
mod frame;
mod fuzz;
mod head;
mod headers;
mod interface;
mod ip_reassembly;
mod json;
mod pcapng;
mod protocols;
mod recorder;
mod recording;
mod redact;
mod replay;
mod section_writer;
mod sink;
#[cfg(test)]
mod tests;
#[cfg(feature = "sim")]
mod trace_writer;

pub use capture::{Capture, CapturedPacket};
pub use capture_reader::CaptureReader;
pub use diff::Difference;
pub use entry::{Entry, EntryKind};
pub use error::ReadError;
pub use flow::{FlowEvent, FlowEventKind, Flows, Skipped};
pub use frame::{Frame, SkipReason, Transport};
pub use fuzz::read_in_all_ways;
pub use head::{Damage, Head, RecordingEnd};
pub use interface::{BUS_LINK_TYPE, Interface, RecordAddr};
pub use pcapng::PacketDirection;
pub use recorder::{NoSnapshot, RecordOptions, Recorded, Recorder};
pub use recording::{Calls, Recording};
pub use redact::redact;
pub use replay::{Outcome, ReplayError, replay};
pub use sink::{Files, Flush, Rotate, single_part};
#[cfg(feature = "sim")]
pub(crate) use trace_writer::{PacketInfo, SegmentFlags, SegmentNumbers, TraceWriter};

/// The version of this crate, as recordings contain it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The format of recordings that this version writes and reads.
pub const FORMAT: u32 = 3;
