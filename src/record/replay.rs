//! Repeats the calls of a recording on another machine and compares the results.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Op;
use super::call_writer::reason;
use super::diff::{Difference, Side, lay_out};
use super::head::{Damage, Head, RecordingEnd};
use super::interface::RecordAddr;
use super::json::{AskNote, CommandNote, EventNote, LinkNote, SnapshotNote, render, same};
use super::recording::{Calls, Packets, Recording, Step};
use super::{ReadError, Recorded, VERSION};
use crate::{Instant, Limits, Output, Transmit};

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The version of the crate that made the recording.
    pub made_by: String,
    /// The number of calls made, including the one that differs.
    pub calls: u64,
    /// The first call with another result, where the replay ends.
    pub difference: Option<Difference>,
    /// The first damage in the file.
    pub damage: Option<Damage>,
    /// How the recording ends, as far as it was read.
    pub end: RecordingEnd,
}

impl Outcome {
    /// Tells whether all calls had the recorded results, and the file is undamaged.
    ///
    /// The recording may still be incomplete: see [`end`](Self::end).
    #[must_use]
    pub const fn matches(&self) -> bool {
        self.difference.is_none() && self.damage.is_none()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls;
        match &self.difference {
            Some(difference) => write!(f, "the replay differs\n{difference}")?,
            None => write!(f, "{calls} calls match")?,
        }
        write_damage(f, self.damage)?;
        if self.difference.is_none() && self.end != RecordingEnd::Finished {
            write!(f, "\n{}", self.end)?;
        }
        if !self.matches() {
            write!(f, "{}", Versions(&self.made_by))?;
        }
        Ok(())
    }
}

fn write_damage(f: &mut fmt::Formatter<'_>, damage: Option<Damage>) -> fmt::Result {
    match damage {
        Some(damage) => write!(f, "\n{damage}"),
        None => Ok(()),
    }
}

/// Prints the version that wrote a recording, if it is another one.
#[derive(Debug)]
struct Versions<'a>(&'a str);

impl fmt::Display for Versions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == VERSION {
            return Ok(());
        }
        let made_by = self.0;
        write!(
            f,
            "\nthe recording was made by farlink {made_by}, this is farlink {VERSION}"
        )
    }
}

/// Why a recording cannot be replayed, or cannot be replayed further.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    Read {
        /// Why.
        error: ReadError,
        /// The number of calls before, all of which match.
        calls: u64,
        /// The time of the last of them.
        time: Instant,
        /// The version of the crate that wrote it, if that can be read.
        made_by: Option<String>,
        /// The first damage in the file.
        damage: Option<Damage>,
    },
    /// Seed and payloads were removed.
    Redacted,
    /// The file begins with this part, and not with part 0.
    Part(u32),
    /// The recording is of another machine.
    Kind {
        /// The kind of the recorded machine.
        recorded: String,
        /// The kind of the machine that was to replay it.
        expected: &'static str,
        /// The version of the crate that wrote it.
        made_by: String,
    },
    /// The machine cannot be made from the recorded configuration, or cannot read the recorded inputs.
    Unreadable {
        /// What cannot be read, and why.
        what: String,
        /// The version of the crate that wrote it.
        made_by: String,
        /// The first damage in the file.
        damage: Option<Damage>,
    },
}

impl ReplayError {
    /// Returns the first damage in the file, if any was found.
    #[must_use]
    pub const fn damage(&self) -> Option<Damage> {
        match self {
            Self::Read { damage, .. } | Self::Unreadable { damage, .. } => *damage,
            _ => None,
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read {
                error,
                calls,
                time,
                made_by,
                damage,
            } => {
                write!(f, "{error}")?;
                if *calls > 0 {
                    write!(f, ", after call {calls} at {time}; all calls before match")?;
                }
                write_damage(f, *damage)?;
                match made_by {
                    Some(made_by) => write!(f, "{}", Versions(made_by)),
                    None => Ok(()),
                }
            }
            Self::Redacted => f.write_str(
                "the recording is redacted: without seed and payloads it can be viewed and not replayed",
            ),
            Self::Part(part) => write!(
                f,
                "the file begins with part {part} of a recording; a replay begins with part 0"
            ),
            Self::Kind {
                recorded,
                expected,
                made_by,
            } => {
                write!(f, "recording of `{recorded}`, where one of `{expected}` was expected")?;
                write!(f, "{}", Versions(made_by))
            }
            Self::Unreadable {
                what,
                made_by,
                damage,
            } => {
                f.write_str(what)?;
                write_damage(f, *damage)?;
                write!(f, "{}", Versions(made_by))
            }
        }
    }
}

impl Error for ReplayError {}

/// Replays a recording on another machine, up to the first difference.
///
/// The machine is made from the recorded configuration and seed, or restored from the recorded snapshot. Every
/// call is made at its recorded time; octets, asks, events, deadlines and refusals are compared. `file` may hold
/// several parts of one recording in their order.
///
/// # Errors
///
/// [`ReplayError`], when the recording cannot be read or is of another machine.
pub fn replay<M: Recorded>(file: &[u8]) -> Result<Outcome, ReplayError> {
    let unread = |error, made_by| ReplayError::Read {
        error,
        calls: 0,
        time: Instant::ZERO,
        made_by,
        damage: None,
    };
    let recording = Recording::open(file).map_err(|error| unread(error, None))?;
    let made_by = recording.head().made_by.clone();
    let mut calls = recording
        .calls()
        .map_err(|error| unread(error, Some(made_by.clone())))?;
    check::<M>(recording.head())?;
    let stopped = |stop, calls: &Calls<'_>, time| match stop {
        ReplayStop::Read(error) => ReplayError::Read {
            error,
            calls: calls.count(),
            time,
            made_by: Some(made_by.clone()),
            damage: calls.damage(),
        },
        ReplayStop::Unreadable(what) => ReplayError::Unreadable {
            what,
            made_by: made_by.clone(),
            damage: calls.damage(),
        },
    };
    let mut replayer = Replayer::<M>::new(recording.head(), &mut calls)
        .map_err(|stop| stopped(stop, &calls, Instant::ZERO))?;
    let difference = replayer.run(&mut calls).map_err(|stop| {
        let stop = match stop {
            ReplayStop::Unreadable(what) => ReplayStop::Unreadable(format!(
                "call {} at {}: {what}",
                calls.count(),
                replayer.now
            )),
            read @ ReplayStop::Read(_) => read,
        };
        stopped(stop, &calls, replayer.now)
    })?;
    Ok(Outcome {
        made_by,
        calls: calls.count(),
        difference,
        damage: calls.damage(),
        end: calls.end(),
    })
}

enum ReplayStop {
    Read(ReadError),
    Unreadable(String),
}

impl From<ReadError> for ReplayStop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The last input, to be described with a difference.
#[derive(Debug, Clone, Copy)]
struct Input {
    number: u64,
    kind: InputKind,
}

#[derive(Debug, Clone, Copy)]
enum InputKind {
    Octets(usize),
    Link,
    Command,
}

struct Replayer<M: Recorded> {
    machine: M,
    now: Instant,
    tx: Transmit<M::Addr>,
    addresses: Vec<M::Addr>,
    /// The answer to the last command.
    answer: Result<(), String>,
    input: Option<Input>,
    scratch: Vec<u8>,
    text: Vec<u8>,
}

/// Refuses a recording that cannot be replayed on a machine `M`.
fn check<M: Recorded>(head: &Head) -> Result<(), ReplayError> {
    if head.redacted {
        return Err(ReplayError::Redacted);
    }
    if head.kind != M::KIND {
        return Err(ReplayError::Kind {
            recorded: head.kind.clone(),
            expected: M::KIND,
            made_by: head.made_by.clone(),
        });
    }
    if head.part != 0 {
        return Err(ReplayError::Part(head.part));
    }
    Ok(())
}

/// Makes the machine just as it was made for the recording; a snapshot is the first step of `calls`.
fn make<M: Recorded>(head: &Head, calls: &mut Calls<'_>) -> Result<M, ReplayStop> {
    let refused = |error: &dyn fmt::Display| {
        ReplayStop::Unreadable(format!("the recorded configuration: {error}"))
    };
    let seed = head
        .seed
        .clone()
        .ok_or_else(|| ReplayStop::Unreadable("the recording has no seed".into()))?;
    let config = serde_json::from_value(head.config.clone()).map_err(|error| refused(&error))?;
    if !head.restored {
        return M::make(config, seed).map_err(|error| refused(&error));
    }
    let Some(Step::Call(now, Op::Restore)) = calls.step()? else {
        return Err(calls
            .malformed("a restored machine without its snapshot")
            .into());
    };
    let note: SnapshotNote<M::Snapshot> = read(calls, "a snapshot")?;
    M::restore(config, seed, note.snapshot, now)
        .map_err(|error| ReplayStop::Unreadable(format!("the recorded snapshot: {error}")))
}

impl<M: Recorded> Replayer<M> {
    fn new(head: &Head, calls: &mut Calls<'_>) -> Result<Self, ReplayStop> {
        Ok(Self {
            machine: make(head, calls)?,
            now: Instant::ZERO,
            tx: Transmit::new(Limits::default()),
            addresses: Vec::new(),
            answer: Ok(()),
            input: None,
            scratch: Vec::new(),
            text: Vec::new(),
        })
    }

    fn run(&mut self, calls: &mut Calls<'_>) -> Result<Option<Difference>, ReplayStop> {
        while let Some(step) = calls.step()? {
            match step {
                Step::Address(address) => {
                    let address = serde_json::from_slice(address)
                        .map_err(|error| ReplayStop::Unreadable(format!("an address: {error}")))?;
                    self.addresses.push(address);
                }
                Step::Forget => self.addresses.clear(),
                Step::Limits(limits) => self.tx = Transmit::new(limits),
                Step::Call(now, op) => {
                    self.now = now;
                    if let Some(difference) = self.call(calls, now, op)? {
                        return Ok(Some(difference));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Makes one call and compares what comes back.
    fn call(
        &mut self,
        calls: &Calls<'_>,
        now: Instant,
        op: Op<'_>,
    ) -> Result<Option<Difference>, ReplayStop> {
        match op {
            Op::Receive { from, packets } => {
                let from = self.address(calls, from)?;
                let octets = calls.packets(packets)?.join(&mut self.scratch);
                self.input = Some(Input {
                    number: calls.count(),
                    kind: InputKind::Octets(octets.len()),
                });
                self.machine.receive(now, from, octets);
                Ok(None)
            }
            Op::Link => {
                let note: LinkNote<M::Addr> = read(calls, "a link cue")?;
                self.note_input(calls, InputKind::Link);
                self.machine.link(now, note.at, note.link);
                Ok(None)
            }
            Op::Command => {
                let note: CommandNote<M::Command> = read(calls, "a command")?;
                self.note_input(calls, InputKind::Command);
                let answer = self.machine.command(now, note.command);
                self.answer = answer.map_err(|error| reason(&error));
                Ok(None)
            }
            Op::Restore => Err(calls.malformed("a snapshot behind the first call").into()),
            Op::Accepted => Ok(self.compare_answer(calls, Ok(()))),
            Op::Refused(reason) => {
                let reason = String::from_utf8_lossy(reason);
                Ok(self.compare_answer(calls, Err(reason.as_ref())))
            }
            _ => self.poll(calls, now, op),
        }
    }

    fn note_input(&mut self, calls: &Calls<'_>, kind: InputKind) {
        self.input = Some(Input {
            number: calls.count(),
            kind,
        });
    }

    fn address(&self, calls: &Calls<'_>, index: u32) -> Result<M::Addr, ReadError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.addresses.get(index).copied())
            .ok_or_else(|| calls.malformed("an address that is not in the table"))
    }

    fn compare_answer(&self, calls: &Calls<'_>, recorded: Result<(), &str>) -> Option<Difference> {
        let replayed = self.answer.as_ref().map(|&()| ()).map_err(String::as_str);
        if replayed == recorded {
            return None;
        }
        let side = |answer| {
            Side::Line(match answer {
                Ok(()) => "accepted".into(),
                Err(reason) => format!("refused: {reason}"),
            })
        };
        let call = "command".into();
        Some(self.difference(calls, call, &side(recorded), &side(replayed)))
    }

    fn poll(
        &mut self,
        calls: &Calls<'_>,
        now: Instant,
        op: Op<'_>,
    ) -> Result<Option<Difference>, ReplayStop> {
        let output = self.machine.poll(now, &mut self.tx);
        let equal = match (op, &output) {
            (Op::Datagrams { to, packets }, Output::Transmit) => {
                let sent = calls.packets(packets)?;
                self.tx.to() == Some(self.address(calls, to)?)
                    && !self.tx.is_stream()
                    && self.tx.datagrams().eq(sent.iter())
            }
            (Op::Stream { to, packets }, Output::Transmit) => {
                let to = self.address(calls, to)?;
                let sent = calls.packets(packets)?.join(&mut self.scratch);
                self.tx.to() == Some(to) && self.tx.is_stream() && self.tx.octets() == sent
            }
            (Op::EmptyTransmit, Output::Transmit) => self.tx.is_empty(),
            (Op::Event, Output::Event(event)) => {
                self.write(&EventNote { event })?;
                same(&self.text, calls.text()?)
            }
            (Op::Ask, Output::Ask(ask)) => {
                self.write(&AskNote { ask })?;
                same(&self.text, calls.text()?)
            }
            (Op::Idle(recorded), Output::Idle(replayed)) => recorded == *replayed,
            (Op::Yield, Output::Yield) | (Op::Done, Output::Done) => true,
            _ => false,
        };
        if equal {
            return Ok(None);
        }
        let recorded = self.recorded_side(calls, op)?;
        let replayed = self.replayed_side(&output)?;
        Ok(Some(self.difference(
            calls,
            "poll".into(),
            &recorded,
            &replayed,
        )))
    }

    /// Writes a note into `text` as the recorder does.
    fn write(&mut self, note: &impl Serialize) -> Result<(), ReplayStop> {
        render(&mut self.text, note, &mut |_, _| {})
            .map_err(|error| ReplayStop::Unreadable(error.to_string()))
    }

    fn difference(
        &self,
        calls: &Calls<'_>,
        call: String,
        recorded: &Side,
        replayed: &Side,
    ) -> Difference {
        let (recorded, replayed) = lay_out(recorded, replayed);
        let after = self.input.map(|Input { number, kind }| match kind {
            InputKind::Octets(octets) => format!("{octets} octets received (call {number})"),
            InputKind::Link => format!("a link cue (call {number})"),
            InputKind::Command => format!("a command (call {number})"),
        });
        Difference {
            number: calls.count(),
            time: self.now,
            call,
            after,
            recorded,
            replayed,
        }
    }

    fn recorded_side(&self, calls: &Calls<'_>, op: Op<'_>) -> Result<Side, ReplayStop> {
        let datagrams = |sent: Packets<'_, '_>| sent.iter().map(<[u8]>::to_vec).collect();
        Ok(match op {
            Op::Datagrams { to, packets } => {
                let datagrams = datagrams(calls.packets(packets)?);
                transmit_side(self.address(calls, to)?, false, datagrams)
            }
            Op::Stream { to, packets } => {
                let run = calls.packets(packets)?.join(&mut Vec::new()).to_vec();
                transmit_side(self.address(calls, to)?, true, alloc::vec![run])
            }
            Op::Event => Side::Json("event", calls.text()?.to_vec()),
            Op::Ask => Side::Json("ask", calls.text()?.to_vec()),
            Op::Yield => Side::Line("yield".into()),
            Op::Idle(deadline) => idle_side(deadline),
            Op::Done => Side::Line("done".into()),
            Op::EmptyTransmit => Side::Line("an empty transmit".into()),
            _ => Side::Line("no return: the machine panicked".into()),
        })
    }

    fn replayed_side(&mut self, output: &Output<M::Addr, M::Event>) -> Result<Side, ReplayStop> {
        Ok(match output {
            Output::Transmit => match self.tx.to() {
                Some(to) => {
                    let datagrams = self.tx.datagrams().map(<[u8]>::to_vec).collect();
                    transmit_side(to, self.tx.is_stream(), datagrams)
                }
                None => Side::Line("an empty transmit".into()),
            },
            Output::Event(event) => {
                self.write(&EventNote { event })?;
                Side::Json("event", self.text.clone())
            }
            Output::Ask(ask) => {
                self.write(&AskNote { ask })?;
                Side::Json("ask", self.text.clone())
            }
            Output::Yield => Side::Line("yield".into()),
            Output::Idle(deadline) => idle_side(*deadline),
            Output::Done => Side::Line("done".into()),
        })
    }
}

fn read<N: DeserializeOwned>(calls: &Calls<'_>, what: &str) -> Result<N, ReplayStop> {
    let text = calls.text()?;
    let note = match calls.value(text)? {
        Some(value) => serde_json::from_value(value),
        None => serde_json::from_slice(text),
    };
    note.map_err(|error| ReplayStop::Unreadable(format!("{what}: {error}")))
}

fn idle_side(deadline: Option<Instant>) -> Side {
    Side::Line(match deadline {
        Some(deadline) => format!("idle until {deadline}"),
        None => "idle".into(),
    })
}

fn transmit_side(to: impl RecordAddr, is_stream: bool, datagrams: Vec<Vec<u8>>) -> Side {
    let octets: usize = datagrams.iter().map(Vec::len).sum();
    let what = match datagrams.len() {
        _ if is_stream => "stream".into(),
        1 => "1 datagram".into(),
        count => format!("{count} datagrams"),
    };
    let to = to.label();
    let title = format!("transmit to {to}: {what}, {octets} octets");
    Side::Octets { title, datagrams }
}
