//! The Data Transfer Protocol over CSP, as libdtp has it: payloads that are pulled in packets until they are complete.
//!
//! A client asks a server for intervals of packets of a payload, by a request on a connection to port 7. The server
//! answers with the size of the payload, then sends the packets at the rate that was asked for, without connection, to
//! port 8. Nothing acknowledges them: the client asks again for those that are missing.
//!
//! A [`Node`] is server and client at once, and a node of CSP with ports and connections besides.
//!
//! ```text
//!  client                                            server
//!  get ->      |----- RDP: SYN, request ----------->|
//!  Started     |<---- RDP: response ----------------|  Serving
//!  Data        |<-- data -- data --x  data ---------|
//!              |<---- RDP: RST ---------------------|
//!              |----- RDP: SYN, request of holes -->|
//!              |<---- RDP: response ----------------|
//!  Data        |<------------------ data -----------|
//!  Complete    |<---- RDP: RST ---------------------|
//! ```
//!
//! Two nodes in memory:
//!
//! ```
//! use farlink::dtp::{Command, Config, Event, GetOptions, Node};
//! use farlink::{Hop, Instant, Limits, Machine as _, Output, Seed, Tag, Transmit};
//!
//! const NOW: Instant = Instant::ZERO;
//!
//! /// Carries the packets of one node to the other, and returns the events of the first.
//! fn carry(from: &mut Node, to: &mut Node) -> Vec<Event> {
//!     let mut tx = Transmit::new(Limits::default());
//!     let mut events = Vec::new();
//!     loop {
//!         match from.poll(NOW, &mut tx) {
//!             Output::Transmit => {
//!                 let hop = Hop { interface: 0, via: from.config().csp.address };
//!                 tx.datagrams().for_each(|packet| to.receive(NOW, hop, packet));
//!             }
//!             Output::Event(event) => events.push(event),
//!             _ => return events,
//!         }
//!     }
//! }
//!
//! let mut config = Config::default();
//! let mut server = Node::new(config.clone(), &Seed::from(1))?;
//! config.csp.address = 2;
//! let mut client = Node::new(config, &Seed::from(2))?;
//! server.command(NOW, Command::Serve { payload: 3, data: "hello".into() })?;
//! let options = GetOptions::default();
//! client.command(NOW, Command::Get { tag: Tag(7), server: 1, payload: 3, options })?;
//!
//! let mut events = Vec::new();
//! for _ in 0..6 {
//!     events.extend(carry(&mut client, &mut server));
//!     carry(&mut server, &mut client);
//! }
//! assert!(matches!(events[0], Event::Started { size: 5, .. }));
//! assert!(matches!(&events[1], Event::Data { offset: 0, data, .. } if data == "hello"));
//! assert!(matches!(events[2], Event::Complete { size: 5, requests: 1, .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Conformance
//!
//! There is no standard: libdtp is what peers run.
//!
//! | subject | implemented | where |
//! |---|---|---|
//! | classic dialect: request, response, data | yes, little-endian; requests of 80 octets, those of 84 are understood | `wire.rs` |
//! | server | yes, several clients at a time | `server.rs`, `node/servers.rs` |
//! | client | yes, several transfers at a time, until complete: in requests of up to 8 intervals; to this crate all holes of a round at once | `client.rs`, `node/clients.rs` |
//! | session files of libdtp, format version 2 | yes | `session/meta.rs`, [`Session`] |
//! | payloads that the application reads as they are needed | yes | `server/source.rs`, [`Event::Need`] |
//! | a rate that follows what arrives, a range of a payload | on option | `client/rate.rs`, [`GetOptions`] |
//! | HMAC of transfers | on option, which libdtp does not have | [`Config::hmac`] |
//! | VMEM dialect: memory of a server, by messages to port 14 with RDP or without | yes, both roles, where [`Config::vmem_messages`] allows it | `vmem.rs`, `node/memory.rs`, `node/messages.rs` |
//! | signs of life of a client | by messages of VMEM | [`MemoryRequest::keep_alive`] |
//!
#![doc = include_str!("delivery.md")]
//!
//! # Deviations from libdtp
//!
//! * Behind the fields of a response the server tells the CRC-32C and the generation of the payload, and that it takes
//!   more intervals on the same connection. To libdtp this is the old memory that it sends there itself.
//! * The client asks again by itself until nothing is missing; [`GetOptions::max_fruitless`] ends it. Holes that are near
//!   each other are asked for as one where that is cheaper.
//! * Each transfer has a random session id. Data of another source, session, offset or length are dropped.
//! * The server sends data once its response is acknowledged, or 0.4 s later, evenly at the rate and not in rounds.
//! * A start of VMEM for a session that is being sent takes its place, where libdtp lets it wait, and a stop is for the
//!   client's session alone. The keep-alive field tells the interval, where libdtp sends 0.
//! * A malformed request, an unknown payload and an interval that starts past the end are refused by an RST behind the
//!   handshake, as libdtp does for an unknown payload; it crashes on some of the others, or sends for ever.
//! * A connection without a request is closed after [`Config::request_timeout`]. A client that closes is sent no more.
//! * One client more than there are slots is told so by an RST behind its handshake; what comes beside it gets no answer.

mod api;
mod client;
mod config;
mod digest;
mod extension;
#[cfg(feature = "arbitrary")]
mod generate;
mod holes;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod message;
mod node;
mod server;
mod session;
mod vmem;
mod wire;

pub use api::{
    Command, Error, Event, FailReason, GetOptions, MemoryRequest, NeedId, PayloadNeed,
    ServedRequest, Stats, VmemTransport,
};
pub use config::{Config, ConfigError};
pub use digest::PayloadDigest;
pub use extension::PayloadIdentity;
#[cfg(any(test, feature = "laws"))]
pub use laws::DataPacketCodec;
pub use node::Node;
pub use session::{Session, SessionError};
pub use vmem::{VMEM_START_LEN, VMEM_STATUS_LEN, VmemMessage, VmemOperation, VmemStatus};
pub use wire::{
    DATA_HEADER_LEN, DataPacket, Interval, Intervals, LONG_REQUEST_LEN, MAX_INTERVALS, REQUEST_LEN,
    Request, Response, TO_THE_END,
};
