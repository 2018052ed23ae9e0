//! The recorder: a machine around the machine that it records.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call_writer::CallWriter;
use super::interface::{Interface, RecordAddr};
use super::section_writer::SectionWriter;
use super::sink::{Flush, Rotate, single_part};
use super::{FORMAT, VERSION};
use crate::{AsMachine, Instant, Link, Machine, Output, Seed, Transmit};

/// A machine that can be recorded and replayed.
pub trait Recorded:
    Machine<Addr: RecordAddr, Command: Serialize + DeserializeOwned, Event: Serialize> + Sized
{
    /// The name of the protocol in a recording, such as `"cotp"`.
    const KIND: &'static str;
    /// The port by which analysers know the protocol, or 0 if there is none.
    const PORT: u16 = 0;
    /// What the machine is made from, besides a seed.
    type Config: Serialize + DeserializeOwned;
    /// Why a configuration was refused.
    type ConfigError: Error;
    /// What the machine is restored from after a crash; [`NoSnapshot`] if it cannot be restored.
    type Snapshot: Serialize + DeserializeOwned;
    /// Why the machine cannot be restored.
    type RestoreError: Error;

    /// Makes the machine. Equal arguments make equal machines.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the configuration.
    fn make(config: Self::Config, seed: Seed) -> Result<Self, Self::ConfigError>;

    /// Restores the machine at the time `now`. Equal arguments make equal machines.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the configuration or the snapshot.
    fn restore(
        config: Self::Config,
        seed: Seed,
        snapshot: Self::Snapshot,
        now: Instant,
    ) -> Result<Self, Self::RestoreError>;
}

/// The snapshot type of a machine that cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoSnapshot {}

/// How a recording is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordOptions {
    /// When octets are passed to the sink.
    pub flush: Flush,
    /// The size of a part in octets. The call that exceeds it is still in the part. `None`: one part.
    pub part_octets: Option<u64>,
    /// The time of the wall clock at [`Instant::ZERO`], in seconds since 1970, for analysers to show.
    pub epoch: u64,
}

/// A machine that records the machine in it.
///
/// It has the interface of the inner machine, so it takes its place under any driver and in the simulator. An
/// input is written before the inner machine takes it, so that a recording ends with the call at which the
/// machine panicked. Dropping the recorder finishes the recording.
///
/// Octets of a detached stream ([`Ask::Detach`](crate::Ask::Detach)) are not recorded, should a driver pass
/// any. The answers of [`wants`](Machine::wants) are not recorded either, since they follow from the calls.
///
/// An error of the sink never disturbs the machine: the recording ends, and [`error`](Self::error) returns it.
pub struct Recorder<M: Recorded> {
    machine: M,
    calls: CallWriter<M::Addr>,
}

impl<M: Recorded> Recorder<M> {
    /// Makes the machine and records it into `sink`.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the configuration.
    pub fn new(
        config: M::Config,
        seed: Seed,
        sink: impl Write + Send + 'static,
        options: RecordOptions,
    ) -> Result<Self, M::ConfigError> {
        Self::rotating(config, seed, single_part(sink), options)
    }

    /// Makes the machine and records it into the sinks that `rotate` returns, one for each part.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the configuration.
    pub fn rotating(
        config: M::Config,
        seed: Seed,
        rotate: impl Rotate + 'static,
        options: RecordOptions,
    ) -> Result<Self, M::ConfigError> {
        let head = head::<M>(&config, &seed, false);
        let machine = M::make(config, seed)?;
        Ok(Self::begin(machine, head, Box::new(rotate), options))
    }

    /// Restores the machine at the time `now` and records it.
    ///
    /// The recording begins with the snapshot, and a replay restores the machine from it. `rotate` is
    /// [`single_part`](super::single_part) of a sink, or gives one for each part.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the configuration or the snapshot.
    pub fn restore(
        config: M::Config,
        seed: Seed,
        snapshot: M::Snapshot,
        now: Instant,
        rotate: impl Rotate + 'static,
        options: RecordOptions,
    ) -> Result<Self, M::RestoreError> {
        let head = head::<M>(&config, &seed, true);
        let note = serde_json::to_value(&snapshot);
        let machine = M::restore(config, seed, snapshot, now)?;
        let mut recorder = Self::begin(machine, head, Box::new(rotate), options);
        match note {
            Ok(snapshot) => recorder.calls.restore(now, &snapshot),
            Err(error) => recorder.calls.section_mut().fail(error.into()),
        }
        Ok(recorder)
    }

    fn begin(
        machine: M,
        head: serde_json::Result<Value>,
        rotate: Box<dyn Rotate>,
        options: RecordOptions,
    ) -> Self {
        let section = match head {
            Ok(head) => SectionWriter::new(rotate, options, head),
            Err(error) => SectionWriter::broken(error.into()),
        };
        let interface_of = Box::new(|at: M::Addr| at.interface(M::PORT));
        let calls = CallWriter::new(section, interface_of, M::PORT);
        Self { machine, calls }
    }

    /// Chooses by `interface_of` on which interface the octets of an address are recorded. Call it before
    /// anything is recorded.
    #[must_use]
    pub fn with_interfaces(
        mut self,
        interface_of: impl FnMut(M::Addr) -> Interface + Send + 'static,
    ) -> Self {
        self.calls.set_interfaces(Box::new(interface_of));
        self
    }

    /// Returns the inner machine, for reading: only calls of the recorder are recorded.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns the error that ended the recording, if one did.
    pub const fn error(&self) -> Option<&io::Error> {
        self.calls.section().error()
    }

    /// Tells whether calls are recorded: not after an error, or after the last part.
    pub const fn is_recording(&self) -> bool {
        self.calls.section().is_writing()
    }

    /// Passes everything so far to the sink.
    pub fn flush(&mut self) {
        self.calls.section_mut().flush();
    }

    /// Ends the recording. Further calls reach the inner machine and are not recorded.
    pub fn finish(&mut self) {
        self.calls.finish();
    }
}

/// Returns the head of every part, without the fields that differ.
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
        self.calls.finish();
    }
}

impl<M: Recorded> Drop for Recorder<M> {
    fn drop(&mut self) {
        self.calls.finish();
    }
}

impl<M: Recorded> Machine for Recorder<M> {
    type Addr = M::Addr;
    type Command = M::Command;
    type Event = M::Event;
    type Error = M::Error;

    fn receive(&mut self, now: Instant, from: Self::Addr, octets: &[u8]) {
        self.calls.receive(now, from, octets);
        self.machine.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: Self::Addr, state: Link) {
        self.calls.link(now, at, state);
        self.machine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error> {
        self.calls.command(now, &command);
        let answer = self.machine.command(now, command);
        self.calls.answer(now, answer.as_ref().map(|&()| ()));
        answer
    }

    fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Self::Addr>,
    ) -> Output<Self::Addr, Self::Event> {
        self.calls.begin_poll(now, tx);
        let output = self.machine.poll(now, tx);
        self.calls.output(now, &output, tx);
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
