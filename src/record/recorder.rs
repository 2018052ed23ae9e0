//! The machine around a machine.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lane::{Lane, Place};
use super::pages::Pages;
use super::sink::{Flush, Rotate, single_part};
use super::tape::Tape;
use super::{FORMAT, VERSION};
use crate::{AsMachine, Instant, Link, Machine, Output, Seed, Transmit};

/// A machine that can be recorded and replayed.
pub trait Recorded:
    Machine<Addr: Place, Command: Serialize + DeserializeOwned, Event: Serialize> + Sized
{
    /// Names the machine in a recording, as in `"cotp"`.
    const KIND: &'static str;
    /// The port by which analysers know the protocol, or 0 if there is none.
    const PORT: u16 = 0;
    /// What the machine is made from, besides a seed.
    type Config: Serialize + DeserializeOwned;
    /// Why a configuration was refused.
    type ConfigError: Error;
    /// What a machine is restored from after a crash; [`NoSnapshot`] where it cannot be.
    type Snapshot: Serialize + DeserializeOwned;
    /// Why a machine cannot be restored.
    type RestoreError: Error;

    /// Makes the machine. Equal arguments make equal machines.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration.
    fn make(config: Self::Config, seed: Seed) -> Result<Self, Self::ConfigError>;

    /// Restores the machine at the time `now`. Equal arguments make equal machines.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration or the snapshot.
    fn restore(
        config: Self::Config,
        seed: Seed,
        snapshot: Self::Snapshot,
        now: Instant,
    ) -> Result<Self, Self::RestoreError>;
}

/// The snapshot of a machine that cannot be restored: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoSnapshot {}

/// How a recording is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// When blocks go to the sink.
    pub flush: Flush,
    /// After how many octets a part ends; the call that crosses the limit is still in it.
    pub part_octets: Option<u64>,
    /// What the wall clock showed at [`Instant::ZERO`], in seconds since 1970, for analysers to show.
    pub epoch: u64,
}

/// A machine that writes down what happens to the one in it.
///
/// It goes wherever the inner machine would: under any driver, into the simulator. Inputs are written
/// before the inner machine sees them, so a recording ends with what broke it. Dropping the recorder
/// finishes the recording.
///
/// Octets of a stream that was handed over ([`Ask::Detach`](crate::Ask::Detach)) are not written down, should
/// a driver bring any. What [`wants`](Machine::wants) says is not either: it follows from the calls.
///
/// Trouble with the sink never disturbs the machine: recording stops, and [`error`](Self::error) tells.
pub struct Recorder<M: Recorded> {
    machine: M,
    tape: Tape<M::Addr>,
}

impl<M: Recorded> Recorder<M> {
    /// Makes the machine, and records it into `sink`.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration.
    pub fn new(
        config: M::Config,
        seed: Seed,
        sink: impl Write + Send + 'static,
        options: Options,
    ) -> Result<Self, M::ConfigError> {
        Self::rotating(config, seed, single_part(sink), options)
    }

    /// Makes the machine, and records it into the sinks that `rotate` gives, one for each part.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration.
    pub fn rotating(
        config: M::Config,
        seed: Seed,
        rotate: impl Rotate + 'static,
        options: Options,
    ) -> Result<Self, M::ConfigError> {
        let head = head::<M>(&config, &seed, false);
        let machine = M::make(config, seed)?;
        Ok(Self::begin(machine, head, Box::new(rotate), options))
    }

    /// Restores the machine at the time `now`, and records it from there on.
    ///
    /// The recording begins with the snapshot, so it holds what the machine was doing when the snapshot was
    /// taken. [`single_part`](super::single_part) makes a `rotate` of one sink.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration or the snapshot.
    pub fn restore(
        config: M::Config,
        seed: Seed,
        snapshot: M::Snapshot,
        now: Instant,
        rotate: impl Rotate + 'static,
        options: Options,
    ) -> Result<Self, M::RestoreError> {
        let head = head::<M>(&config, &seed, true);
        let note = serde_json::to_value(&snapshot);
        let machine = M::restore(config, seed, snapshot, now)?;
        let mut recorder = Self::begin(machine, head, Box::new(rotate), options);
        match note {
            Ok(snapshot) => recorder.tape.restore(now, &snapshot),
            Err(error) => recorder.tape.pages_mut().fail(error.into()),
        }
        Ok(recorder)
    }

    fn begin(
        machine: M,
        head: serde_json::Result<Value>,
        rotate: Box<dyn Rotate>,
        options: Options,
    ) -> Self {
        let pages = match head {
            Ok(head) => Pages::new(rotate, options, head),
            Err(error) => Pages::broken(error.into()),
        };
        let tape = Tape::new(pages, Box::new(|at: M::Addr| at.lane(M::PORT)));
        Self { machine, tape }
    }

    /// Lets `lanes` say where the octets of an address belong, before anything is recorded.
    #[must_use]
    pub fn with_lanes(mut self, lanes: impl FnMut(M::Addr) -> Lane + Send + 'static) -> Self {
        self.tape.set_lanes(Box::new(lanes));
        self
    }

    /// Returns the inner machine. It cannot be changed: what it is not told by a call is not recorded.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns what stopped the recording, if anything did.
    pub const fn error(&self) -> Option<&io::Error> {
        self.tape.pages().error()
    }

    /// Tells whether calls are being recorded: not after an error or a limit.
    pub const fn is_recording(&self) -> bool {
        self.tape.pages().is_writing()
    }

    /// Hands everything so far to the sink.
    pub fn flush(&mut self) {
        self.tape.pages_mut().flush();
    }

    /// Ends the recording; calls go on to the inner machine, unrecorded.
    pub fn finish(&mut self) {
        self.tape.finish();
    }
}

/// Returns what every part begins with, less its number.
fn head<M: Recorded>(
    config: &M::Config,
    seed: &Seed,
    is_restored: bool,
) -> serde_json::Result<Value> {
    let mut head = json!({
        "farlink": VERSION,
        "format": FORMAT,
        "kind": M::KIND,
        "seed": seed,
        "config": serde_json::to_value(config)?,
    });
    if is_restored && let Some(fields) = head.as_object_mut() {
        fields.insert("restored".into(), true.into());
    }
    Ok(head)
}

impl<M: Recorded> AsRef<M> for Recorder<M> {
    fn as_ref(&self) -> &M {
        &self.machine
    }
}

impl<M: Recorded> AsMachine<M> for Recorder<M> {
    fn as_machine(&self) -> &M {
        &self.machine
    }

    fn finish(&mut self) {
        self.tape.finish();
    }
}

impl<M: Recorded> Drop for Recorder<M> {
    fn drop(&mut self) {
        self.tape.finish();
    }
}

impl<M: Recorded> Machine for Recorder<M> {
    type Addr = M::Addr;
    type Command = M::Command;
    type Event = M::Event;
    type Error = M::Error;

    fn receive(&mut self, now: Instant, from: Self::Addr, octets: &[u8]) {
        self.tape.receive(now, from, octets);
        self.machine.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: Self::Addr, state: Link) {
        self.tape.link(now, at, state);
        self.machine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error> {
        self.tape.command(now, &command);
        let answer = self.machine.command(now, command);
        self.tape.answer(now, answer.as_ref().map(|&()| ()));
        answer
    }

    fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Self::Addr>,
    ) -> Output<Self::Addr, Self::Event> {
        self.tape.begin_poll(now, tx);
        let output = self.machine.poll(now, tx);
        self.tape.output(now, &output, tx);
        output
    }

    fn wants(&self, from: Self::Addr) -> bool {
        self.machine.wants(from)
    }
}

impl<M: Recorded + fmt::Debug> fmt::Debug for Recorder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("machine", &self.machine)
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}
