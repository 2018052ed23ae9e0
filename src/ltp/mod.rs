//! The Licklider Transmission Protocol (LTP): blocks over links with long delays, losses and interruptions.
//!
//! A block is sent to a peer in one session. Its red part is repeated until all of it was received; its green
//! part is sent once. There is no handshake: a session starts with its first data segment and takes one light
//! time. Most procedures of the protocol are timers, which are suspended while a peer cannot be reached.
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
//! [`Engine`] is the machine of one node, with any number of peers. A [`Peer`] has an address, light times,
//! delays and limits. The application sends a [`Block`] under a tag of its own, and gets exactly one
//! [`Event::Complete`] or [`Event::Failed`] for it. It opens client services, and gets [`Event::Received`] for
//! each red part, at most once however often its segments arrive. A service delivers unasked
//! ([`Engine::open`]), or one item for each take ([`Engine::open_on_demand`], [`Engine::take`]). A
//! [scattered](Service::Scattered) one gives octets as they come, for files that are longer than memory, and is
//! acknowledged when the application has stored them ([`Engine::stored`]).
//!
//! ```
//! use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
//! use farlink::{Hop, Instant, Limits, Machine, Output, Seed, Tag, Transmit};
//!
//! let (earth_hop, mars_hop) = (Hop { interface: 0, via: 1 }, Hop { interface: 0, via: 2 });
//! let now = Instant::ZERO;
//! let mut earth = Engine::new(Config::engine(1), Seed::from(1))?;
//! let mut mars = Engine::new(Config::engine(2), Seed::from(2))?;
//! earth.add_peer(now, 2, Peer::at(mars_hop))?;
//! mars.add_peer(now, 1, Peer::at(earth_hop))?;
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
//!             Output::Yield => {}
//!             Output::Ask(_) | Output::Done | Output::Idle(_) => return,
//!         }
//!     }
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! | question | file in `src/ltp` |
//! |---|---|
//! | what can be asked, and what is reported | `api.rs`, `config.rs` |
//! | how a segment is encoded and decoded, reports included | `wire.rs`, `sdnv.rs` |
//! | how an input finds its peer and its session | `engine.rs`, `peers.rs` (`sender_of`) |
//! | what happens when a data segment arrives | `import.rs` (`on_data`) |
//! | what is kept of a red part, and in how much memory | `reassembly.rs`, `budget.rs` |
//! | how a report is made, repeated and acknowledged | `report.rs` |
//! | what happens when a report arrives | `export.rs` (`on_report`) |
//! | what is sent next | `output.rs` for a peer, `export/write.rs` for a session |
//! | how a session ends, and what is remembered of it | `export/ends.rs`, `import/ends.rs`, `closed.rs` |
//! | how a session is run, and what it works with | `export/table.rs`, `import/table.rs`, `context.rs` |
//! | what is kept for each peer | `peer.rs` |
//! | what waits to be taken by the application | `services.rs` |
//! | how sessions are saved and restored | `snapshot.rs`, `export/saved.rs`, `import/saved.rs` |
//! | what no RFC asks: measurements, copies, windows, pings, unknown peers | `beyond/` |
//! | timers, sets of ranges, pacing | [`kit`](crate::kit) |
//!
//! # What is implemented
//!
//! | RFC | what | done | where |
//! |---|---|---|---|
//! | 5326 3.1 to 3.3, 6256 | segments, extensions, SDNV of up to 64 bits | yes | `wire.rs`, `sdnv.rs` |
//! | 5326 4.1 | transmission request: red, green and mixed blocks | yes | `export.rs` |
//! | 5326 4.2 | cancellation request, in both roles | yes | `export/ends.rs`, `import/ends.rs` |
//! | 5326 5 | one segment in a datagram; several in a frame only by [`Segment::decode_first`] | in part | `wire.rs` |
//! | 5326 6.1 to 6.6 | link state cues, starting, suspending and resuming timers | yes | `peers.rs`, [`kit::Timers`](crate::kit::Timers) |
//! | 5326 6.7 | retransmission of checkpoints | yes | `export.rs` |
//! | 5326 6.8, 6.11, 6.14 | reports, their retransmission and acknowledgment | yes | `report.rs` |
//! | 5326 6.9, 6.10 | delivery of red parts and green segments | yes | `import.rs` |
//! | 5326 6.12, 6.13 | completion, retransmission of data | yes | `export.rs`, `export/write.rs` |
//! | 5326 6.15 to 6.20 | cancellation and closing | yes | `export/ends.rs`, `import/ends.rs` |
//! | 5326 6.21, 6.22 | errors: miscolored segments, system errors, cycle limits | yes | `import.rs`, `export.rs` |
//! | 5326 7.1 | session start: returned by [`Engine::send_block`]; [`Event::Started`] for streaming services | yes | `import.rs` |
//! | 5326 7.2 to 7.7 | all other notices; 7.7 with [`Config::notify_sent`] | yes | `api.rs` |
//! | 5326 4.2, 6.11, 6.21 | receive-only engines and beacons ([`Direction`]) | yes | `peer.rs` |
//! | 5326 9.1 | random session and serial numbers | yes | `context.rs` |
//! | 5326 9.2 | closed sessions are remembered, and answered | yes | `closed.rs` |
//! | 5327 2.1 | authentication ([`Auth`]) by HMAC-SHA1-80 and NULL; several keys for one peer, and two values in a segment, while keys change | yes | `auth/` |
//! | 5327 2.1 | RSA-SHA256 | with the feature `ltp-rsa` | `auth/rsa.rs` |
//! | 5327 2.2 | cookies are shown by [`Engine::cookies`], neither checked nor sent (CCSDS 734.1-B-1 forbids them): a peer that insists on them drops the segments of this engine | in part | `auth/cookies.rs` |
//! | 7122 3.3, 3.4 | one segment per datagram; keep-alives are dropped, and sent with [`PeerTimers::keepalive`] | yes | `beyond/ping.rs` |
//! | CCSDS 734.1-B-1 | number ranges, service data aggregation ([`Aggregator`], [`units`]) | yes | `aggregate.rs` |
//!
//! Beyond the RFCs: discretionary checkpoints at a fixed interval and on demand; delayed reports and delayed
//! retransmissions; guard timers, so that no session stays for ever; pacing; windows for near peers
//! ([`Flow::Window`]); contacts by [`Link`](crate::Link) or [`Cue`], with a checkpoint before an announced end.
//!
//! An engine measures losses and round trips to each peer ([`Engine::line`]). They can decide how many copies a
//! signal gets and how often repairs are duplicated ([`Redundancy`]), and when an answer is late
//! ([`RtoPolicy`]). [`Peer::adaptive`] enables all of it; [`delivery`] has the results. [`Engine::ping`] asks a
//! peer for a sign of life. [`Engine::accept_unknown_peers`] accepts peers that were not added.
//!
//! # After a crash
//!
//! [`Engine::snapshot`] returns the state of an engine as plain data, and [`Engine::restore`] resumes it. What is
//! guaranteed depends on how far the snapshot is behind:
//!
//! | | current ([`Age::Current`]) | possibly behind ([`Age::Behind`]) |
//! |---|---|---|
//! | blocks being sent | resumed; one end is reported for each | resumed; an end reported since is reported again, with the same tag |
//! | blocks being received | resumed | cancelled with `SYS_CNCLD`; the sender hears of it |
//! | blocks received whole | reported once | reported again if that was since, with the same session |
//! | sessions started since | there are none | cancelled when a checkpoint cites a report that was lost |
//! | session numbers | none is in use or remembered | numbers used since are not known: they are drawn from 2^32, with a new seed |
//!
//! No block that its sender takes for delivered is lost in either case, if the sender is this engine. A receiver
//! that lost its state starts its report serial numbers anew, and what it does not claim again is sent again.
//!
//! Handles of nodes have `snapshot`, `suspend` and `restore`, which do the same.
//!
//! A peer forgets closed sessions after [`PeerTimers::silence`] and twice the time that all repetitions take. An engine
//! restored later than that may cause a block to be delivered twice, if the end of the block was not in the snapshot.
//!
//! ```
//! # use farlink::ltp::{Age, Block, Config, Engine, Peer};
//! # use farlink::{Instant, Seed, Tag};
//! let (now, mut earth) = (Instant::ZERO, Engine::new(Config::engine(1), Seed::from(1))?);
//! earth.add_peer(now, 2, Peer::at(()))?;
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
//! Recordings, and captures on port 1113, dissect as LTP. Acknowledgments of a cancellation (CAS and CAR) do not, or
//! are shown as malformed: they have no content (RFC 5326 section 3.2.4), so nothing follows the octet with the
//! numbers of extensions, and Wireshark (4.0 at least) expects one octet more. It shows those of ION the same way.
//! In segments with trailer extensions it stops behind the content.
//!
//! # Where the RFCs leave a choice
//!
//! | RFC | this engine |
//! |---|---|
//! | 5326 6.7 and 6.11: an overtaken checkpoint may not be reported on, and is repeated until it fails | its report starts at 0; its sender drops it once its octets are claimed |
//! | 5326 6.7: every checkpoint is repeated until it is answered | with [`Redundancy::Adaptive`] not one that a later checkpoint overtook, as the report on that one says as much; the end of the red part always |
//! | 5326 6.11: a report covers what is between the end of the previous one and its checkpoint | with [`Redundancy::Adaptive`] from the first missing octet up to everything received: RFC 5326 allows it with lower bound 0, which would repeat more |
//! | 5326 6.8: a repeated checkpoint repeats its reports | those not acknowledged, and not within a round trip of the light |
//! | 5326 6.9: delivery waits for a checkpoint | any segment that completes the red part delivers it |
//! | 5326 6.11 b: no asynchronous report behind the end of the red part | one claims everything if no checkpoint caused a report |
//! | 5326 6.22: claims are binding, but a receiver may lose them in a restart | a report that denies an earlier claim, or whose serial number no report of the session can have, revokes all claims before; claims of several reports complete a block only if no serial number between them is missing |
//! | 5326 6.13: a report may cite any checkpoint | one that cites a checkpoint which was never sent is acknowledged and counted, and its claims are not used |
//! | 5326 6.11: an unknown report may be cited | the session is cancelled: its sender was told of octets that are nowhere any more |
//! | 5326 9.2: a closed session is answered from memory | only a checkpoint that repeats the last one to the octet; what shows other numbers, another length or other octets starts a session, and anything else is met with silence |
//! | 5326 6.7 and 6.8: every expiry counts | while the peer is heard; a silent one gets one signal at doubled intervals until [`PeerTimers::silence`] is over |
//! | 5326 6.14: each report is acknowledged for itself | the acknowledgment of one that claims everything ends the others |
//! | 5326 6.14 and 8.2: when a receiver closes | delivered, every report acknowledged, and the green part ended |
//! | 5326 6.21: miscolored by where segments start | by their extents; two ends of the red part are miscolored too |
//! | 5326 8.2: a green end of block without red data closes | and late red data open the session again |
//! | 5325 3.2: retransmissions queue behind first passes | control segments first, then retransmissions, which take turns with a first pass that has begun, then first passes |
//! | 5326 3.1: session number 0 | dropped, as ION does |
//! | the sender falls silent for [`PeerTimers::silence`] | the receiver cancels with `SYS_CNCLD`, since no application asked for it; if only the end of a green part is missing the sender is not told, as it waits for nothing |
//! | octets behind a segment | malformed, except behind reports: ION leaves old memory behind the parts of split ones |
//! | reports never acknowledged after delivery | the receiver closes without a cancellation, as nothing has failed |

mod aggregate;
mod api;
mod auth;
mod beyond;
mod budget;
mod buffer_pool;
mod closed;
mod config;
mod context;
#[doc = include_str!("delivery.md")]
pub mod delivery {}
mod display;
mod end_cause;
mod engine;
mod export;
mod fingerprint;
#[cfg(feature = "arbitrary")]
mod generate;
mod import;
#[cfg(any(test, feature = "laws"))]
mod label;
#[cfg(any(test, feature = "laws"))]
mod laws;
mod output;
mod peer;
mod peers;
mod reassembly;
mod report;
mod report_history;
mod sdnv;
mod services;
mod silence;
mod snapshot;
mod stage;
mod table;
mod wire;

pub use aggregate::{AGGREGATION, Aggregator, Undecodable, Unit, units};
pub use api::{Block, Command, Cue, Error, Event, Progress, Red, Service, Side, Stats, Usage};
pub use auth::{Auth, Key, Signer, Verifier};
#[cfg(feature = "ltp-rsa")]
pub use auth::{PrivateKey, PublicKey};
pub use beyond::{
    AdaptiveRedundancy, Flow, FlowEstimate, LineEstimate, Redundancy, RtoBounds, RtoPolicy,
};
pub use config::{
    Config, ConfigError, Direction, EngineLimits, MIN_SEGMENT, Numbers, Peer, PeerLimits,
    PeerTimers,
};
pub use end_cause::{EndCause, Limit};
pub use engine::Engine;
#[cfg(any(test, feature = "laws"))]
pub use label::{SegmentLabel, SegmentLabels, event_label};
#[cfg(any(test, feature = "laws"))]
pub use laws::SegmentCodec;
pub use sdnv::{MAX_SDNV, put_sdnv, sdnv_len};
pub use snapshot::{Age, RestoreError, Snapshot};
pub use wire::{
    Body, Checkpoint, Claims, Color, Data, Extension, ExtensionTag, Extensions, MAX_EXTENSIONS,
    Mark, Range64, Reason, Report, Segment, SessionId,
};
