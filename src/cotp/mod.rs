//! COTP class 0 over TPKT: messages between services that are identified by selectors, over TCP.
//!
//! COTP (ISO 8073 = X.224, class 0) in TPKT packets (RFC 1006, RFC 2126) carries messages of any length on
//! a TCP connection, and identifies the service at each end by a [`Selector`]. IEC 61850 MMS, ICCP, S7comm,
//! X.400, X.500, T.120 and RDP run on it.
//!
//! A [`Connection`] is one end of one transport connection on one byte stream, which a driver connects or
//! accepts.
//!
//! ```text
//!  initiator                                        responder
//!  Link::Up   |--------------- CR ---------------->|  Link::Up
//!             |                                    |  Indication, under Policy::Ask
//!             |                                    |  <- accept, or refuse: DR
//!  Connected  |<-------------- CC -----------------|  Connected
//!  send ->    |---- DT ---- DT ---- DT with EOT -->|  Received
//!  Received   |<----------- DT with EOT -----------|  <- send
//!  close ->   |--------------- FIN --------------->|  Closed: closed by the peer
//!  Closed     |<-------------- FIN ----------------|
//! ```
//!
//! An initiator and a responder in memory:
//!
//! ```
//! use farlink::cotp::{Config, Connection, Event, Policy, Selector};
//! use farlink::{Instant, Limits, Link, Machine as _, Output, Seed, Transmit};
//!
//! const NOW: Instant = Instant::ZERO;
//!
//! /// Carries the octets of one end to the other, and returns the events of the first.
//! fn carry(from: &mut Connection, to: &mut Connection) -> Vec<Event> {
//!     let mut tx = Transmit::new(Limits::default());
//!     let mut events = Vec::new();
//!     loop {
//!         match from.poll(NOW, &mut tx) {
//!             Output::Transmit => to.receive(NOW, (), tx.octets()),
//!             Output::Event(event) => events.push(event),
//!             _ => return events,
//!         }
//!     }
//! }
//!
//! let service = Selector::from(1);
//! let caller = Config::initiator(None, Some(service.clone()));
//! let callee = Config::responder(Policy::Selectors(vec![service]));
//! let mut client = Connection::new(caller, &Seed::from(1))?;
//! let mut server = Connection::new(callee, &Seed::from(2))?;
//! client.link(NOW, (), Link::Up);
//! server.link(NOW, (), Link::Up);
//!
//! assert_eq!(carry(&mut client, &mut server), []); // CR
//! assert!(matches!(carry(&mut server, &mut client)[..], [Event::Connected(_)])); // CC
//! assert!(matches!(carry(&mut client, &mut server)[..], [Event::Connected(_)]));
//!
//! client.send(NOW, "hello".into())?;
//! carry(&mut client, &mut server); // DT
//! assert_eq!(carry(&mut server, &mut client), [Event::Received("hello".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Configuration by upper protocol
//!
//! | upper protocol | settings |
//! |---|---|
//! | IEC 61850 MMS, ICCP | [`Config::mms`]; [`Config::initiator`] with other selectors |
//! | hat-drivers | [`Config::hat`]; [`Selector::to_number`] for any width; its [page](crate::guide) |
//! | S7comm | [`Config::s7`] with rack and slot, [`Config::logo`] with TSAPs; [`Proposal::extra`] for routing; LOGO! requires the default [`Compat::order`] |
//! | RDP | [`Config::rdp`], [`Acceptance::variable`]; then [`Command::Detach`] for TLS, or [`NonTpkt::Offer`] for fast-path packets |
//!
//! What most set is in [`Config`] itself; [`ConnectionLimits`], [`ConnectionTimers`] and [`Compat`] have the rest.
//!
//! # Conformance
//!
//! Sections of ISO 8073 are those of RFC 905, which has the same text.
//!
//! | section | subject | implemented | where |
//! |---|---|---|---|
//! | RFC 1006 6, RFC 2126 4.3 | TPKT | yes | `tpkt.rs`, [`Tpkt`] |
//! | ISO 8073 13.1 to 13.5, 13.7, 13.12 | encoding of CR, CC, DR, DT, ER | yes | `wire.rs`, [`Tpdu`] |
//! | ISO 8073 13.6, 13.8 to 13.11 | DC, ED, EA, AK, RJ | DC; the others are recognised | `wire.rs` |
//! | ISO 8073 13.2.3, 13.3.4 | parameters | those of class 0; others are ignored | `params.rs` |
//! | ISO 8073 6.5, table 3 | connection establishment, classes 1 to 4 with class 0 as an alternative | yes | `handshake.rs` |
//! | ISO 8073 6.5.4 j, RFC 1006 5, RFC 2126 6.4 | TPDU size | yes | `handshake.rs` |
//! | X.224 6.5.4 k | preferred maximum TPDU size (0xF0) | yes | `handshake.rs` |
//! | ISO 8073 6.6 | refusal by DR or ER | yes | `handshake.rs`, `connection/inbound.rs` |
//! | ISO 8073 6.3 | segmentation and reassembly | yes | `segment.rs` |
//! | ISO 8073 6.7.4, 6.8, RFC 1006 5 | release with the stream | yes | `connection/ending.rs` |
//! | ISO 8073 6.9.4, 6.22 | TPDUs out of place, protocol errors | yes | `connection/inbound.rs` |
//! | RFC 1006 5 and 6, RFC 2126 4.1.2 | expedited data | yes, when [`Compat::expedited`] is set | `connection/inbound.rs`, `segment.rs` |
//! | RFC 2126 4.2 | class 2 | no | |
//! | RFC 2126 6.1, 6.2 | keep-alive, no delay | by the driver | |
//!
//! # Deviations
//!
//! Where the standards leave a choice, or deployed peers do not follow them, the behaviour is that of the
//! peers:
//!
//! * Deviations of a peer that decide nothing are tolerated. [`Strict`] has the table of them, and makes each of
//!   them an error.
//! * TPDU size codes 12 to 16 are accepted, though class 0 ends at 11 and ISO 8073 at 13; 16 is 65,531
//!   octets. Codes below 7 and above 16 count as absent (13.2.3): 0 and 1 leave no room for user data.
//! * A size in the CC that exceeds the proposal is reduced to the proposal, as is one in 0xF0 (6.5.4 j has an
//!   error). A CC without a size selects the proposal (RFC 2126 section 6.4).
//! * References are not checked, as each connection has a stream of its own. A DR or ER ends the connection
//!   whatever its references are (6.9.4.2 a answers with a DC, which class 0 does not have).
//! * A variable part that begins with an octet below 0x80 is no list of parameters: no code is below 0x40
//!   (13.2.3), and none below 0x80 is in use. It is a cookie, token or negotiation of RDP (MS-RDPBCGR 2.2.1.1),
//!   which [`Indication::variable`] and [`Connected::variable`] show as received.
//! * A packet holds up to 65,528 octets of user data. The 65,524 in RFC 1006 section 6 subtract the header
//!   twice.
//! * A received CR may have any length. A sent CR has up to 128 octets (13.3), unless
//!   [`Proposal::long_request`] is set. Selectors have no limit of their own.
//! * A protocol error on an open connection closes it, after an ER if
//!   [`SendDisconnect::PROTOCOL_ERROR`] is set (6.22.3 has four choices). No TPDU is ignored, as both ends
//!   could then disagree on where a message ends.
//! * The CC repeats both selectors, which 13.3.4 a leaves open; clients of the snap7 family require it.
//! * Octets behind a CR are not decoded before the application answers it. A closing connection decodes
//!   only a DC that answers its DR, and a timer ends it.

mod api;
mod config;
mod connection;
mod display;
#[cfg(feature = "arbitrary")]
mod generate;
mod handshake;
#[cfg(any(test, feature = "laws"))]
mod label;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod params;
mod segment;
mod tpkt;
mod wire;

pub use api::{
    Acceptance, Command, Connected, ConnectionEnd, Disconnect, EndReason, Error, Event, Indication,
    ProtocolError, Refusal, Stats,
};
pub use config::{
    AfterHandshake, Compat, Config, ConfigError, ConnectionLimits, ConnectionTimers, EmptyMessages,
    NonTpkt, Parameter, ParameterOrder, Policy, Proposal, Role, SendDisconnect, Strict,
};
pub use connection::Connection;
#[cfg(any(test, feature = "laws"))]
pub use label::{TpduLabels, event_label};
#[cfg(any(test, feature = "laws"))]
pub use laws::TpduCodec;
pub use params::{MAX_TPDU, Parameters, Selector, TpduSize};
pub use tpkt::{HEADER, MAX_PACKET, MIN_PACKET, Tpkt, TpktFault, VERSION};
pub use wire::{
    Connect, DATA_HEADER, DataTpdu, DisconnectConfirm, DisconnectReason, DisconnectRequest,
    ErrorReport, Expedited, MAX_LI, MAX_VARIABLE, OtherClass, RejectCause, Tpdu,
};
