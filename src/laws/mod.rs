//! The rules that every machine keeps, as code.
//!
//! A [`Machine`](crate::Machine) promises more than its signatures say; the pages of the contract state it
//! in words, and these laws check it. The tests and fuzz targets of every protocol run them, and the
//! simulator checks them around each call of a machine in debug builds.
//!
//! | no. | law | [`Law`] | checked by |
//! |---|---|---|---|
//! | 1 | Drains end within a bound given by the input, and time alone yields a bounded number of events. `Yield` counts as an output. | `FiniteDrain` | the checker; after each script, time passes until no deadline is left |
//! | 2 | `Idle(t)` means `t > now`, and polling at any earlier time gives the same answer and no output. | `QuietUntilDeadline` | the checker; a second run that is polled at once, half way and a nanosecond before the next call or deadline |
//! | 3 | A transmit is not empty and within the limits, and `tx` is empty under every other output. | `TransmitWithinLimits` | the checker |
//! | 4 | `Done` is fused. | `DoneIsFused` | the checker |
//! | 5 | Equal seed, equal script and equal limits give equal octets, asks and events. | `Deterministic` | a second run |
//! | 6 | Time that goes backwards counts as time that stands still. | `MonotonicTime` | a second run whose clock stands still where the script's goes back |
//! | 7 | The machine never panics. | `NoPanic` | every run; caught with the feature `std` |
//! | 8 | Memory stays under the limit of the configuration plus one chunk, and a stream that is fed while not wanted is ended. | `BoundedMemory` | every run, by [`LawSubject::memory_used`] or by an allocator that counts; the checker |
//! | 9 | The chunking of a stream never matters. | `ChunkingIndependent` | four runs: whole chunks, single octets, random chunks, random chunks with drains in between |
//! | 10 | `decode(encode(x)) == x`, and re-encoding what decodes is a fixed point. | `CodecRoundTrip` | [`codec`] |
//! | 11 | Nothing is written between `Full` and `Free`, nor after `Down`, `Detach`, `Finish`, `Close`, `Abort` or `Cancel`, of the address or of its [carrier](crate::Addr::carrier). | `NoWriteWhenClosed` | the checker |
//! | 12 | A refused stream is wanted again once events are taken, `Free` comes, or it is closed. | `ReadResumes` | the checker |
//! | 13 | The host of a [stranger](LawSubject::is_stranger) is sent at most three times the octets that came from it, and 1 KiB. Hosts of one [prefix](crate::Addr::prefix) count as one. | `NoAmplification` | every run |
//! | 14 | What is [held](LawSubject::memory_for_input) for octets received is at most twice as much, and 2 KiB for each session, 66 KiB once it has a second segment. | `MemoryFollowsInput` | every run |
//!
//! # In tests and fuzz targets
//!
//! A protocol implements [`LawSubject`] for its machine. A [`Case`] is a configuration, a seed, the limits of
//! `tx` and a script of [`Step`]s, written by hand or, with the feature `arbitrary`, generated. [`check`] runs
//! it under every law. A violation names the law and carries a short script that reproduces it, printed as an
//! expression to paste into a test:
//!
//! ```text
//! fuzz_target!(|case: Case<cotp::Connection>| laws::check(case));
//!
//! violated at step 2, law 4: `Done` is fused
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
//! A [`Checker`] checks, call by call, the laws that a single run can break.
//!
//! # The driver of a script
//!
//! It keeps the contract. Octets of a stream wait in a socket until the machine wants them, and the end of
//! the stream follows them. Nothing comes from a path after `Down`, `Detach`, `Close`, `Abort` or `Cancel`
//! until `Up` or `Opened` begins its next life, and an `Open` that was cancelled is not answered. Only
//! [`Step::Flood`] breaks these rules. Laws 8 and 9 then require only that the machine ends the stream, and
//! nothing about chunking.
//!
//! # Law 9 in full
//!
//! The octets of a stream that are ready at one moment, between two other inputs, may be chunked anyhow. For
//! this every step is settled: the machine is drained and the streams are read while wanted, in turns,
//! until neither does anything. Successive receives from one stream count as one chunk. Equal at the end of
//! each step have to be the events of each [series](LawSubject::series) in their order, the asks, the refusals, the octets to each stream
//! concatenated, and the datagrams to each address. With drains between the chunks only the events have to
//! be equal, since a drain may split an answer. Four differences are allowed:
//!
//! * A machine may stop wanting octets after some of the chunks, where it took more of the whole. While such
//!   octets are unread the runs cannot be compared, nor afterwards once anything but `Free` comes.
//! * Where the machine [awaits](LawSubject::awaits) a decision, the octets that it took too early must make no
//!   difference until time passes or a cue comes; so commands are compared.
//! * Unsent octets of a stream that is aborted are lost, and one run may have sent more of them.
//! * A detached stream is its early octets followed by those that are still in the socket.

mod accounts;
mod check;
mod checker;
mod chunking;
pub mod codec;
#[cfg(feature = "arbitrary")]
mod generate;
mod log;
mod runner;
mod script;
mod shrink;
mod subject;
#[cfg(test)]
mod tests;
mod violation;

pub use check::{Summary, check, check_metered, try_check, try_check_metered};
pub use checker::Checker;
pub use script::{Case, Step};
pub use subject::{DrainInput, InputMemory, LawSubject};
pub use violation::{Law, Violation};
