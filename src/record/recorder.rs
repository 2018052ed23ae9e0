//! The machine around a machine.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::lane::{Lane, Place};
use super::pages::Pages;
use super::sink::{Flush, Once, Rotate};
use super::tape::Tape;
use super::{FORMAT, VERSION};
use crate::{Instant, Link, Machine, Output, Seed, Transmit};

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
    type Refusal: Error;

    /// Makes the machine. Equal arguments make equal machines.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing the configuration.
    fn make(config: Self::Config, seed: Seed) -> Result<Self, Self::Refusal>;
}

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
    ) -> Result<Self, M::Refusal> {
        Self::rotating(config, seed, Once(Some(Box::new(sink))), options)
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
    ) -> Result<Self, M::Refusal> {
        let head = serde_json::to_value(&config).map(|config| {
            json!({
                "farlink": VERSION,
                "format": FORMAT,
                "kind": M::KIND,
                "seed": seed,
                "config": config,
            })
        });
        let machine = M::make(config, seed)?;
        let pages = match head {
            Ok(head) => Pages::new(Box::new(rotate), options, head),
            Err(error) => Pages::broken(error.into()),
        };
        let tape = Tape::new(pages, Box::new(|at: M::Addr| at.lane(M::PORT)));
        Ok(Self { machine, tape })
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
