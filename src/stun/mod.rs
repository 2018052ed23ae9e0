//! STUN: a server tells from where it was asked, which is the address that a NAT gives (RFC 8489).
//!
//! A [`Client`] is one machine on sockets, each a [`Path`](crate::Path), that asks any number of servers. Servers of
//! RFC 5780 and of RFC 3489 answer it too. [`Message`], [`MessageWriter`] and [`Attribute`] are the wire format, and
//! stand alone.
//!
//! ```text
//!  client                            NAT                 server
//!  query ->    |--- Binding request --|-------------------->|
//!              |                      |   (after 500 ms)    |
//!              |--- the same again ---|-------------------->|
//!              |<---------------------|-- Binding success --|
//!  Answered: mapped address, round trip, software, other address
//! ```
//!
//! A client in memory:
//!
//! ```
//! use farlink::stun::{
//!     Attribute, Class, Client, Command, Config, Event, Message, MessageWriter, Method, Query,
//! };
//! use farlink::{Ask, Instant, Limits, Link, Machine as _, Output, Path, Seed, Tag, Transmit};
//!
//! const NOW: Instant = Instant::ZERO;
//!
//! let mut client = Client::new(Config::default(), &Seed::from(1))?;
//! let to = Path::udp("10.0.0.1:0".parse()?, "192.0.2.1:3478".parse()?);
//! client.command(NOW, Command::Query { tag: Tag(7), to, query: Query::default() })?;
//!
//! let mut tx = Transmit::new(Limits::default());
//! // The client asks for a socket; the driver binds one, to port 50000.
//! let Output::Ask(Ask::Open { tag, mut path }) = client.poll(NOW, &mut tx) else { panic!() };
//! path.local.set_port(50_000);
//! client.link(NOW, path, Link::Opened(tag));
//!
//! let Output::Transmit = client.poll(NOW, &mut tx) else { panic!() };
//! let request = Message::decode(tx.octets())?;
//! let mut answer = Vec::new();
//! let mut writer = MessageWriter::new(&mut answer, Method::BINDING, Class::Success, request.id());
//! writer.attribute(&Attribute::XorMappedAddress("203.0.113.9:7".parse()?));
//! client.receive(NOW, Path::udp(path.local, to.remote), &answer);
//!
//! let Output::Event(Event::Answered { answer, .. }) = client.poll(NOW, &mut tx) else { panic!() };
//! assert_eq!(answer.mapped, "203.0.113.9:7".parse()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Conformance
//!
//! | subject | implemented | where |
//! |---|---|---|
//! | RFC 8489 sections 5 and 14, RFC 8656 section 18, RFC 5780 section 7, RFC 6062, RFC 8445, RFC 7635: messages and attributes | all of them; unknown ones are kept | `wire.rs`, `attribute.rs`, [`Message`] |
//! | RFC 8489 section 6.2.1, 6.2.2: retransmission over UDP, timer over TCP | yes | `client/transaction.rs` |
//! | RFC 8489 section 6.2.3: TLS and DTLS | no | |
//! | RFC 8489 section 6.3: answers, matched by id and source | yes | `client/receive.rs`, `client/answer.rs` |
//! | RFC 8489 sections 9.1 and 9.2: short-term and long-term credentials, anonymity, algorithms, bid-down | the client; user names and passwords of ASCII alone | `client/challenge.rs`, [`Credentials`] |
//! | RFC 8489 section 10: alternate servers | yes, where the answer is signed | `client/answer.rs` |
//! | RFC 8489 section 14.5 to 14.7: integrity and fingerprint | yes | `integrity.rs`, [`IntegrityKey`] |
//! | RFC 5780: CHANGE-REQUEST, RESPONSE-PORT, PADDING, OTHER-ADDRESS | the client asks and tells | [`Query`], [`BindingAnswer`] |
//! | RFC 3489: requests without the magic cookie, its timers | the client, without shared secrets | [`Query::classic`] |
//! | servers | no | |
//!
//! An ICMP error ends nothing: anybody can forge one. Over UDP a transaction ends by an answer or by time.

mod api;
mod attribute;
mod client;
mod config;
mod framing;
#[cfg(feature = "arbitrary")]
mod generate;
mod integrity;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod nonce;
mod value;
mod wire;

pub use api::{
    BindingAnswer, Command, CredentialKind, Credentials, Error, Event, MAX_PADDING, Query,
    QueryFailure, Silence, Stats,
};
pub use attribute::{
    AddressFamily, Attribute, AttributeType, AttributeTypes, ChangeRequest, ErrorCode,
    PasswordAlgorithm, PasswordAlgorithms, text,
};
pub use client::Client;
pub use config::{Config, ConfigError};
pub use framing::MessageFraming;
#[cfg(feature = "arbitrary")]
pub use generate::answer as arbitrary_answer;
pub use integrity::{Integrity, IntegrityFault, IntegrityKey, KeyAlgorithm, userhash};
#[cfg(any(test, feature = "laws"))]
pub use laws::{DecodedMessage, MessageCodec};
pub use nonce::SecurityFeatures;
pub use wire::{
    Attributes, Class, HEADER_LEN, MAGIC_COOKIE, Message, MessageWriter, Method, RawAttribute,
    TransactionId,
};
