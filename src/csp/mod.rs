//! The Cubesat Space Protocol: packets and reliable connections between numbered nodes, as libcsp has them.
//!
//! A [`Node`] is one machine on numbered interfaces, each a [`Hop`](crate::Hop) with the address of the next node. It
//! talks to nodes of libcsp 1.x and 2.x over any carrier that keeps packets whole, such as UDP.
//!
//! ```text
//!  node 1                                            node 2
//!                                                    bind 10
//!  connect ->  |------- SYN with options ---------->|
//!              |<------------ SYN+ACK --------------|
//!  Connected   |-------------- ACK ---------------->|  Accepted
//!  send ->     |------- data ---- data ------------>|  Received, Received
//! Acknowledged |<-------------- ACK ----------------|
//!  close ->    |------------ RST+ACK -------------->|  Closed: closed by the peer
//!  Closed      |<----------- RST+ACK ---------------|
//! ```
//!
//! Two nodes in memory:
//!
//! ```
//! use farlink::csp::{Command, Config, Endpoint, Event, Node, SendOptions, SocketOptions};
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
//!                 let hop = Hop { interface: 0, via: from.config().address };
//!                 tx.datagrams().for_each(|packet| to.receive(NOW, hop, packet));
//!             }
//!             Output::Event(event) => events.push(event),
//!             _ => return events,
//!         }
//!     }
//! }
//!
//! let mut client = Node::new(Config { address: 1, ..Config::default() }, &Seed::from(1))?;
//! let mut server = Node::new(Config { address: 2, ..Config::default() }, &Seed::from(2))?;
//! server.command(NOW, Command::Bind { port: 10, options: SocketOptions::empty() })?;
//! let to = Endpoint { address: 2, port: 10 };
//! client.command(NOW, Command::Connect { tag: Tag(7), to, options: SendOptions::default() })?;
//!
//! carry(&mut client, &mut server); // SYN
//! carry(&mut server, &mut client); // SYN+ACK
//! let events = carry(&mut client, &mut server); // ACK
//! let [Event::Connected { connection, .. }] = events[..] else { panic!("{events:?}") };
//! assert!(matches!(carry(&mut server, &mut client)[..], [Event::Accepted { port: 10, .. }]));
//!
//! client.command(NOW, Command::Send { connection, data: "hello".into() })?;
//! carry(&mut client, &mut server);
//! let events = carry(&mut server, &mut client);
//! assert!(matches!(&events[..], [Event::Received { data, .. }] if data == "hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Conformance
//!
//! There is no standard: libcsp is what peers run. Its RDP follows RFC 908 and RFC 1151 in outline.
//!
//! | subject | implemented | where |
//! |---|---|---|
//! | headers of version 1 and 2 | yes | `wire.rs`, [`Header`] |
//! | CRC32 | yes, over the data; accepted over header and data too | `wire.rs`, [`crc32`] |
//! | RDP, both roles | yes; EACK is sent and understood | `rdp/` |
//! | ports, packets without connection, loop-back | yes | `node/` |
//! | interfaces, subnets, routes, forwarding | yes | `routing/`, [`InterfaceConfig`], [`Route`] |
//! | ping and the other services, both roles | yes | `services/`, `node/services.rs`, `node/requests.rs`, [`Services`] |
//! | SFP, both ways | yes, with connection and without | `sfp.rs`, [`SfpTrailer`] |
//! | HMAC, XTEA | yes; XTEA is read in version 1 and never sent | `security.rs`, [`SharedKey`] |
//!
//! # Deviations from libcsp
//!
//! * Options of a SYN are clamped: the window to [`Config::max_window`], timeouts to 0.1 s to 10 min, and a peer has at
//!   most 10 s to confirm a SYN+ACK. Each half of a window is acknowledged at once.
//! * A packet is sent again by the measured round trip, at the latest after the packet timeout or two round trips, and
//!   at once where an EACK shows that it was lost. libcsp waits for the packet timeout.
//! * A packet that came before, or is out of the window, is acknowledged again; libcsp is silent.
//! * A connection on which nothing was sent for a fifth of the connection timeout sends an ACK.
//! * Close sends its RST once all packets are acknowledged, repeats it, and accepts one that overtook data.
//! * An RST or an ACK out of place in answer to a SYN is no silence of 10 s: the first refuses, and after the second the
//!   node tries another source port.
//! * A source port rests for the connection timeout after its last use.
//! * Replies on a connection are taken only from its peer.

mod api;
pub mod carriers;
mod config;
#[cfg(feature = "arbitrary")]
mod generate;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod node;
mod rdp;
mod ring;
mod routing;
mod security;
mod services;
mod sfp;
mod wire;

pub use api::{
    Command, ConnectionId, Endpoint, Error, Event, InterfaceStats, RequestId, SendOptions,
    SfpFault, SocketOptions, Stats,
};
pub use carriers::{Encapsulation, InterfaceCodec};
pub use config::{Config, ConfigError, PingService};
#[cfg(any(test, feature = "laws"))]
pub use laws::{PacketV1Codec, PacketV2Codec, check_decoders};
pub use node::Node;
#[cfg(feature = "dtp")]
pub(crate) use node::Put;
pub use rdp::CloseReason;
#[cfg(feature = "dtp")]
pub(crate) use ring::{buffer, buffer_footprint, fill};
pub use routing::{Deduplication, InterfaceConfig, Route, RouteError, RouteFault, RoutesText};
pub use security::SharedKey;
pub use services::{
    Ident, InterfaceName, ServiceAnswer, ServiceRequest, ServiceSet, Services, Text, Timestamp,
};
pub use wire::{
    CRC32_LEN, Flags, HMAC_LEN, Header, MAX_PORT, Packet, Priority, RdpFlags, RdpHeader, SFP_LEN,
    SequenceNumber, SfpTrailer, SynOptions, Version, XTEA_LEN, crc32, eack_numbers,
};
