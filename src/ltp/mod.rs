//! The Licklider Transmission Protocol: blocks over links with long delays, losses and pauses.
//!
//! A block goes to a peer in one session: its red part is repeated until all of it was received, its green
//! part is sent once. There is no handshake, and no answer is waited for: a session begins with its first
//! segment and costs one light time. Half of the protocol is timers, which stand still while a peer cannot
//! be reached.
//!
//! ```text
//!   sender                                       receiver
//!     |  red ------------------------------------> |
//!     |  red ----------------------x               |
//!     |  red, checkpoint, end of red part -------> |
//!     |  green ----------------------------------> |  Event::Green
//!     |  green, end of block --------------------> |  Event::Green
//!     | <---- report for the checkpoint: one gap   |
//!     |  report acknowledgment ------------------> |
//!     |  the gap, checkpoint for the report -----> |  Event::Received
//!     | <------ report for the checkpoint: all     |
//!     |  report acknowledgment ------------------> |  closed
//!     |  Event::Complete                           |
//! ```
//!
//! [`Engine`] is one node with any number of peers. Each is a span: an address, light times, margins, limits
//! ([`Peer`]). The application sends a [`Block`] under a tag of its own and hears [`Event::Complete`] or
//! [`Event::Failed`] of it, exactly once. It opens client services and hears [`Event::Received`] for each red
//! part, at most once, however often its segments come.
//!
//! ```
//! use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
//! use farlink::{Hop, Instant, Limits, Machine, Output, Seed, Tag, Transmit};
//!
//! let (earth_hop, mars_hop) = (Hop { interface: 0, via: 1 }, Hop { interface: 0, via: 2 });
//! let now = Instant::ZERO;
//! let mut earth = Engine::new(Config::engine(1), Seed::from(1))?;
//! let mut mars = Engine::new(Config::engine(2), Seed::from(2))?;
//! earth.add_peer(now, 2, Peer::new(mars_hop))?;
//! mars.add_peer(now, 1, Peer::new(earth_hop))?;
//! mars.open(now, 4, Service::Whole)?;
//! earth.send_block(now, Block::red(Tag(7), 2, 4, "hello".into()))?;
//!
//! let mut tx = Transmit::new(Limits::default());
//! let mut events = Vec::new();
//! for _ in 0..3 {
//!     exchange(&mut earth, &mut mars, earth_hop, &mut tx, &mut events);
//!     exchange(&mut mars, &mut earth, mars_hop, &mut tx, &mut events);
//! }
//! assert!(matches!(&events[0], Event::Received { data, .. } if data == "hello"));
//! assert!(matches!(events[1], Event::Complete { tag: Tag(7), .. }));
//!
//! fn exchange(
//!     from: &mut Engine<Hop>, to: &mut Engine<Hop>, hop: Hop,
//!     tx: &mut Transmit<Hop>, events: &mut Vec<Event>,
//! ) {
//!     loop {
//!         match from.poll(Instant::ZERO, tx) {
//!             Output::Transmit => tx.datagrams().for_each(|octets| to.receive(Instant::ZERO, hop, octets)),
//!             Output::Event(event) => events.push(event),
//!             Output::Ask(_) | Output::Done | Output::Idle(_) => return,
//!         }
//!     }
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What is done
//!
//! | RFC | what | done |
//! |---|---|---|
//! | 5326 3.1 to 3.3, 6256 | segments, extensions, SDNV of up to 64 bits | yes |
//! | 5326 4.1 | transmission request: red, green and mixed blocks | yes |
//! | 5326 4.2 | cancellation request, in both roles | yes |
//! | 5326 5 | one segment in a datagram; several in a frame are read by [`Segment::decode_first`] alone | in part |
//! | 5326 6, 6.1 to 6.22 | all internal procedures | yes |
//! | 5326 7.1 | session start: the answer to [`Engine::send_block`]; for streaming services [`Event::Arriving`] | yes |
//! | 5326 7.2 to 7.7 | all notices; 7.7 on demand | yes |
//! | 5326 4.2, 6.11, 6.21 | receive-only engines and beacons ([`Ways`]) | yes |
//! | 5326 9.1 | random session and serial numbers | yes |
//! | 5326 9.2 | closed sessions are remembered, and answered | yes |
//! | 5327 2.1 | authentication ([`Auth`]): HMAC-SHA1-80 and NULL; several keys for one peer, and two values in a segment, while keys change; header extensions in first segments alone | yes |
//! | 5327 2.1 | RSA-SHA256 | with the feature `ltp-rsa` |
//! | 5327 2.2 | cookies: shown by [`Engine::cookies`] if wanted, neither checked nor sent (CCSDS forbids them): a peer that insists on them drops what we send | in part |
//! | 7122 3.3, 3.4 | one segment per datagram; keep-alives are dropped, and sent on demand ([`Peer::keepalive`]) | yes |
//! | CCSDS 734.1-B-1 | number ranges, service data aggregation ([`Aggregator`], [`units`]) | yes |
//!
//! Beyond the RFCs: discretionary checkpoints every so many segments and on demand; reports that wait for
//! segments under way and repairs that wait for further reports; guards, so that no session hangs; pacing;
//! windows for near peers ([`Peer::window`]); contacts by [`Link`](crate::Link) or [`Cue`], with a checkpoint
//! before an end that is announced.
//!
//! A span learns its losses and round trips ([`Engine::line`]), and if wanted takes from them how many copies a
//! signal gets ([`Copies`]), how often repairs are sent in duplicate, and when an answer is late
//! ([`Margins`]); [`Peer::adaptive`] sets all of it, and [`delivery`] tells what it comes to. Peers are asked
//! whether they are there ([`Engine::ping`]), and those that were not added can be let in
//! ([`Engine::accept_unknown_peers`]).
//!
//! # After a crash
//!
//! [`Engine::snapshot`] gives what an engine knows as plain data, and [`Engine::restore`] makes an engine of it
//! that goes on. Which promises hold depends on how far the disk is behind:
//!
//! | | the snapshot is current ([`Age::Current`]) | it may be behind ([`Age::Behind`]) |
//! |---|---|---|
//! | blocks being sent | go on; one end is told of each | go on; an end told since is told again, by the same tag |
//! | blocks received in part | go on | cancelled with `SYS_CNCLD`; the sender hears of it |
//! | blocks received whole | told of once | told of again if that was since, under the same session |
//! | sessions begun since | there are none | cancelled when a checkpoint cites a report that was forgotten |
//! | session numbers | never one that is in use or remembered | numbers used since are not known: 2^32 are drawn from, and a new seed is needed |
//!
//! No block that its sender takes for delivered is lost either way, if the sender is this engine: a receiver
//! that forgot numbers its reports anew, and then what it does not claim again is sent again.
//!
//! The handles of the drivers do the same: `snapshot`, `suspend` and `restore` of their nodes.
//!
//! A peer forgets closed sessions after twice the time that all repetitions take. Who comes back later than
//! that may deliver a block twice, if its end was not in the snapshot.
//!
//! ```
//! # use farlink::ltp::{Age, Block, Config, Engine, Peer};
//! # use farlink::{Instant, Seed, Tag};
//! let (now, mut earth) = (Instant::ZERO, Engine::new(Config::engine(1), Seed::from(1))?);
//! earth.add_peer(now, 2, Peer::new(()))?;
//! earth.send_block(now, Block::red(Tag(7), 2, 4, "hello".into()))?;
//!
//! let saved = earth.snapshot(now);
//! drop(earth);
//!
//! let earth = Engine::restore(Config::engine(1), Seed::from(2), saved, Age::Current, now)?;
//! assert_eq!(earth.progress(Tag(7)).map(|progress| progress.len), Some(5));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # In Wireshark
//!
//! Recordings and captures on port 1113 dissect as LTP. Acknowledgments of a cancellation (CAS and CAR) do not, or
//! are called malformed: they have no content (RFC 5326 section 3.2.4), so nothing stands behind the octet that
//! counts their extensions, and Wireshark (4.0 at least) wants one octet more. Those of ION look the same to it.
//! In segments with trailer extensions it gives up behind the content.
//!
//! # Where the RFCs leave a choice
//!
//! | place | here |
//! |---|---|
//! | 5326 6.7 and 6.11: a checkpoint that was overtaken may not be reported on, and is repeated to the end | its report starts at 0; its sender drops it once its octets are claimed |
//! | 5326 6.7: every checkpoint is repeated until it is answered | with [`Copies::Auto`] not one that a later checkpoint overtook, as the report on that tells as much; the end of the red part always |
//! | 5326 6.11: a report reaches from the end of the one before to its checkpoint | with [`Copies::Auto`] from the first octet that is missing, as far as anything came: what RFC 5326 allows with lower bound 0, without saying again what is done |
//! | 5326 6.8: a repeated checkpoint repeats its reports | those not acknowledged, and not within a light time there and back |
//! | 5326 6.9: delivery waits for a checkpoint | any segment that completes the red part delivers it |
//! | 5326 6.11 b: no asynchronous report behind the end of the red part | one tells that all came when no checkpoint did |
//! | 5326 6.22: claims are binding, but a receiver may forget them in a restart | a report whose serial number jumps by more than 16,384 takes back all that was claimed before |
//! | 5326 6.14: each report is acknowledged for itself | the acknowledgment of one that claims all ends the others |
//! | 5326 6.14 and 8.2: when a receiver closes | delivered, every report acknowledged, and the green part over |
//! | 5326 6.21: miscolored by start offsets | by extents; two ends of the red part are miscolored too |
//! | 5326 8.2: a green end of block without red data closes | and late red data open the session again |
//! | 5325 3.2: repairs queue behind first passes | control first, then repairs, then first passes |
//! | 5326 3.1: session number 0 | dropped, as ION does |
//! | silence of the sender | the receiver cancels with `SYS_CNCLD`, nobody has asked for it; if only the end of a green part is missing, without a word to the sender, who waits for nothing |
//! | octets behind a segment | malformed, but for reports: ION leaves old memory behind those it splits |
//! | reports never acknowledged after delivery | the receiver closes without a word, as nobody has failed |

mod aggregate;
mod api;
mod auth;
mod closed;
mod config;
mod cookies;
mod redundancy;
#[doc = include_str!("delivery.md")]
pub mod delivery {}
mod buffer_pool;
mod display;
mod engine;
#[cfg(feature = "arbitrary")]
mod generate;
mod index;
#[cfg(any(test, feature = "laws"))]
mod label;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod line;
mod outgoing;
mod peer;
mod ping;
mod receiver;
mod report;
mod rto;
mod sdnv;
mod sender;
mod services;
mod snapshot;
mod table;
mod unknown_peers;
mod window;
mod wire;

pub use aggregate::{AGGREGATION, Aggregator, Undecodable, Unit, units};
pub use api::{Block, Command, Cue, Error, Event, Progress, Red, Service, Side, Stats};
pub use auth::{Auth, Key, Signer, Verifier};
#[cfg(feature = "ltp-rsa")]
pub use auth::{PrivateKey, PublicKey};
pub use config::{Config, ConfigError, Direction, MIN_SEGMENT, Numbers, Peer};
pub use engine::Engine;
#[cfg(any(test, feature = "laws"))]
pub use label::{SegmentLabel, SegmentLabels, event_label};
#[cfg(any(test, feature = "laws"))]
pub use laws::SegmentCodec;
pub use line::LineEstimate;
pub use redundancy::{AdaptiveRedundancy, Redundancy};
pub use rto::{RtoBounds, RtoPolicy};
pub use sdnv::{MAX_SDNV, put_sdnv, sdnv_len};
pub use snapshot::{Age, RestoreError, Snapshot};
pub use wire::{
    Body, Checkpoint, Claims, Color, Data, Extension, ExtensionTag, Extensions, MAX_EXTENSIONS,
    Mark, Range64, Reason, Report, Segment, SessionId,
};
