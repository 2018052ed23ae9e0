//! The laws that every machine keeps, as code.
//!
//! A [`Machine`](crate::Machine) promises more than its signatures say. These are the promises. They are
//! checked by the tests and the fuzz targets of every protocol, and around each call of a machine in the
//! simulator's debug builds.
//!
//! | no. | law | [`Law`] | found by |
//! |---|---|---|---|
//! | 1 | Drains end within a bound given by the input, and time alone yields a bounded number of events. | `DrainEnds` | the watch; behind each script time passes until no deadline is left |
//! | 2 | `Idle(t)` means `t > now`, and polling at any earlier time gives the same answer and no output. | `IdleIsQuiet` | the watch; a second run that is polled at once, half way and a nanosecond before the next call or deadline |
//! | 3 | A send is not empty and within the limits, and `tx` holds nothing otherwise. | `SendFits` | the watch |
//! | 4 | `Done` is fused. | `DoneIsFused` | the watch |
//! | 5 | Equal seed, equal script and equal limits give equal octets, asks and events. | `Determined` | a second run |
//! | 6 | Time going backwards is standing still. | `TimeStandsStill` | a second run whose clock stands still where the script's goes back |
//! | 7 | No panic, ever. | `NoPanic` | every run; caught with the feature `std` |
//! | 8 | Memory stays under the bound of the config plus one chunk, and a stream fed on while not wanted is ended. | `MemoryIsBounded` | every run, by [`LawLawSubject::memory_used`] or a meter; the watch |
//! | 9 | The chunking of a stream never matters. | `ChunksVanish` | four runs: whole chunks, single octets, random pieces, random pieces with drains in between |
//! | 10 | `decode(encode(x)) == x`, and re-encoding what decodes is a fixed point. | `CodecAgrees` | [`codec`] |
//! | 11 | Nothing is written between `Full` and `Free`, nor after `Down`, `Detach`, `Finish`, `Close` or `Abort`, of the address or of its [carrier](crate::Addr::carrier). | `Silence` | the watch |
//! | 12 | A refused stream is wanted again once events are taken, `Free` comes, or it is closed. | `WantedAgain` | the watch |
//!
//! # In tests and fuzz targets
//!
//! A protocol implements [`LawSubject`] for its machine. A [`Case`] is a configuration, a seed, the limits of
//! `tx` and a script of [`Step`]s: written by hand, or with the feature `arbitrary` generated. [`check`]
//! runs it under every law, and a law that fails says which, and gives a small script that breaks it as an
//! expression to paste into a test:
//!
//! ```text
//! fuzz_target!(|case: Case<cotp::Connection>| laws::check(case));
//!
//! broken at step 2, law 4: `Done` is fused
//!   after `Done` it gave no deadline
//! by this script:
//! Case::<farlink::cotp::Connection> {
//!     config: Config { .. },
//!     seed: 0,
//!     limits: Limits::new(1472, 44, 65536),
//!     script: vec![
//!         Step::Command(Command::Close),
//!         Step::Drain,
//!     ],
//! }
//! ```
//!
//! # Around a live machine
//!
//! [`Checker`] checks what a single run can show, call by call, for whoever drives the machine.
//!
//! # What a script's driver does
//!
//! It keeps the contract. Octets of a stream lie in a socket until the machine wants them, and the end of
//! the stream lies behind them. Nothing comes from a path after `Down`, `Detach`, `Close` or `Abort`, until
//! `Up` or `Opened` begins another life. Only [`Step::Flood`] breaks these rules, and then the laws 8 and 9
//! ask less of the machine: to end the stream, and nothing about chunks.
//!
//! # Law 9 in full
//!
//! The octets of a stream that lie ready at one moment, between two other inputs, may be cut anywhere. For
//! this every step is settled: the machine is drained and the streams are read while wanted, in turns,
//! until nothing moves. Receives from one stream in a row count as one chunk. Equal have to be, at the end
//! of each step: the events in their order, the asks, the refusals, the octets to each stream one after
//! another, and the datagrams to each address. With drains between the pieces only the events have to be,
//! since a drain may part what is answered. Four things are allowed for:
//!
//! * A machine may want no more after some of the pieces, and have read too far with the whole. While
//!   such octets lie unread the runs cannot be compared, nor ever after once anything but `Free` comes.
//! * Where the machine [awaits](LawSubject::awaits) somebody's decision, what it read too far may make no
//!   difference until time passes or a cue comes; so commands are compared.
//! * What was to be sent to a stream that is aborted is lost, and one run may have sent more of it.
//! * A stream that is handed over is its early octets followed by those still in the socket.

mod bench;
mod breach;
mod check;
mod chunks;
pub mod codec;
#[cfg(feature = "arbitrary")]
mod generate;
mod log;
mod script;
mod shrink;
mod subject;
#[cfg(test)]
mod tests;
mod watch;

pub use breach::{Law, Violation};
pub use check::{Summary, check, check_metered, try_check, try_check_metered};
pub use script::{Case, Step};
pub use subject::{DrainInput, LawSubject};
pub use watch::Checker;
