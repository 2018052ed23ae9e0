//! The contract between a protocol and whoever drives it.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Deref;

use bytes::Bytes;

use crate::{Addr, Instant, Tag, Transmit};

/// A protocol without sockets, clock, threads or chance of its own.
///
/// Octets, link cues, commands and time go in. Sends, events, asks for sockets and a deadline come out of
/// [`poll`](Machine::poll). After every input, and whenever the deadline has come, the driver polls until
/// the machine is [`Idle`](Output::Idle) or [`Done`](Output::Done). Several inputs may come before the
/// next poll. The [`laws`](crate::laws) say what holds of every machine.
pub trait Machine {
    /// What a peer, a stream or an interface is named by.
    type Addr: Addr;
    /// What the application can ask for.
    type Command;
    /// What the application is told.
    type Event;
    /// Why a command was refused; nothing else can fail.
    type Error: Error;

    /// Takes a datagram, or the next octets of a stream, in any chunking.
    ///
    /// It cannot fail: what is malformed is counted and dropped, and the end of a peer is an event.
    fn receive(&mut self, now: Instant, from: Self::Addr, octets: &[u8]);

    /// Takes datagrams that came back to back, each of `size` octets but the last, which may be shorter.
    ///
    /// No octets are one empty datagram. It does what receiving them one by one does; a machine has its own
    /// only to be faster.
    fn receive_batch(&mut self, now: Instant, from: Self::Addr, octets: &[u8], size: NonZeroUsize) {
        if octets.is_empty() {
            self.receive(now, from, octets);
        }
        for datagram in octets.chunks(size.get()) {
            self.receive(now, from, datagram);
        }
    }

    /// Takes what the driver knows about the link at `at`.
    fn link(&mut self, now: Instant, at: Self::Addr, state: Link);

    /// Takes a command of the application.
    ///
    /// # Errors
    ///
    /// The machine's own reason for refusing it. A refused command has changed nothing.
    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error>;

    /// Gives the next output: due timers act first, then events, asks and sends follow.
    ///
    /// `tx` is cleared on entry and holds something only under [`Output::Transmit`].
    #[must_use = "an output that is dropped is lost"]
    fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Self::Addr>,
    ) -> Output<Self::Addr, Self::Event>;

    /// Tells whether octets of the stream at `from` are welcome; false leaves them in the socket.
    ///
    /// The driver asks before each read, and again after events were taken.
    fn wants(&self, from: Self::Addr) -> bool {
        let _ = from;
        true
    }
}

impl<M: Machine + ?Sized> Machine for Box<M> {
    type Addr = M::Addr;
    type Command = M::Command;
    type Event = M::Event;
    type Error = M::Error;

    fn receive(&mut self, now: Instant, from: Self::Addr, octets: &[u8]) {
        (**self).receive(now, from, octets);
    }

    fn receive_batch(&mut self, now: Instant, from: Self::Addr, octets: &[u8], size: NonZeroUsize) {
        (**self).receive_batch(now, from, octets, size);
    }

    fn link(&mut self, now: Instant, at: Self::Addr, state: Link) {
        (**self).link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error> {
        (**self).command(now, command)
    }

    fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Self::Addr>,
    ) -> Output<Self::Addr, Self::Event> {
        (**self).poll(now, tx)
    }

    fn wants(&self, from: Self::Addr) -> bool {
        (**self).wants(from)
    }
}

/// A machine `M`, or a machine around one that has the same interface and lends it.
///
/// Every machine implements it for itself, and a [`Recorder`](crate::record::Recorder) for the machine that
/// it records.
pub trait AsMachine<M: Machine>:
    Machine<Addr = M::Addr, Command = M::Command, Event = M::Event, Error = M::Error>
{
    /// Lends the machine `M` for reading: whatever changes it goes through [`Machine`].
    fn as_machine(&self) -> &M;

    /// Finishes what is done beside driving `M`, such as a recording. Drivers call it at their end, when
    /// handles may still hold the machine.
    fn finish(&mut self) {}
}

impl<M: Machine> AsMachine<M> for M {
    fn as_machine(&self) -> &M {
        self
    }
}

/// A machine `M` on the heap, recorded or not.
///
/// It is driven through [`Machine`], and dereferences to `M` for reading.
pub struct BoxedMachine<M: Machine>(Box<dyn AsMachine<M> + Send>);

impl<M: Machine> BoxedMachine<M> {
    /// Boxes the machine `M`, or a machine around it.
    #[must_use]
    pub fn new(machine: impl AsMachine<M> + Send + 'static) -> Self {
        Self(Box::new(machine))
    }

    /// Finishes what is done beside driving `M`; see [`AsMachine::finish`].
    pub fn finish(&mut self) {
        // Of what is in the box: a box is a machine too.
        (*self.0).finish();
    }
}

impl<M: Machine> Deref for BoxedMachine<M> {
    type Target = M;

    fn deref(&self) -> &M {
        (*self.0).as_machine()
    }
}

impl<M: Machine + fmt::Debug> fmt::Debug for BoxedMachine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<M: Machine> Machine for BoxedMachine<M> {
    type Addr = M::Addr;
    type Command = M::Command;
    type Event = M::Event;
    type Error = M::Error;

    fn receive(&mut self, now: Instant, from: M::Addr, octets: &[u8]) {
        self.0.receive(now, from, octets);
    }

    fn receive_batch(&mut self, now: Instant, from: M::Addr, octets: &[u8], size: NonZeroUsize) {
        self.0.receive_batch(now, from, octets, size);
    }

    fn link(&mut self, now: Instant, at: M::Addr, state: Link) {
        self.0.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: M::Command) -> Result<(), M::Error> {
        self.0.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<M::Addr>) -> Output<M::Addr, M::Event> {
        self.0.poll(now, tx)
    }

    fn wants(&self, from: M::Addr) -> bool {
        self.0.wants(from)
    }
}

/// What [`Machine::poll`] gives.
#[must_use = "every output is work for the driver, and a drain ends at `Idle` or `Done` alone"]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Output<A, E> {
    /// Send what is in `tx`, then poll again.
    Transmit,
    /// Tell the application, then poll again.
    Event(E),
    /// Do this with the sockets, then poll again. Never shown to the application.
    Ask(Ask<A>),
    /// Work is left: look at the inputs once, without waiting, then poll again. `tx` is empty.
    ///
    /// It bounds the work of one poll: a machine says it after at most 256 due timers or cues, so that no
    /// amount of them keeps a driver from its other inputs.
    Yield,
    /// Nothing until the next input or until this time, which is later than now.
    Idle(Option<Instant>),
    /// Nothing ever again: flush what was sent, then close.
    Done,
}

/// What the driver tells a machine about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Link {
    /// The peer can be reached: a contact begins, a stream was accepted, a configured socket is bound.
    Up,
    /// The answer to [`Ask::Open`]; the address is filled in, with the real local port.
    Opened(Tag),
    /// The other answer to [`Ask::Open`].
    Failed(Tag, Cause),
    /// The carrier would block. Nothing may be written there until `Free`.
    Full,
    /// The carrier takes octets again.
    Free,
    /// The peer ended its direction of the stream (FIN).
    Ended,
    /// The link is gone. On a path this is final; for a contact, timers stand still until `Up`.
    Down(Cause),
}

/// Why a link failed or went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cause {
    /// In good order.
    Closed,
    /// Nobody listens there.
    Refused,
    /// Cut off by the peer (RST).
    Reset,
    /// The local address is taken.
    InUse,
    /// There is no way to that address.
    Unreachable,
    /// No answer in time.
    TimedOut,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by the peer",
            Self::InUse => "address in use",
            Self::Unreachable => "address unreachable",
            Self::TimedOut => "no answer in time",
        })
    }
}

/// What a machine wants of the owner of the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Ask<A> {
    /// Bind a UDP socket, listen on TCP (a remote with port 0), or connect.
    ///
    /// Answered by [`Link::Opened`] at the address with the real local port, or by [`Link::Failed`].
    Open {
        /// The name that the answer carries back.
        tag: Tag,
        /// What to open.
        path: A,
    },
    /// End what [`Ask::Open`] with this tag began, whether or not it was answered.
    ///
    /// The path is closed, octets written to it are lost, no cue of it follows, and no answer to the `Open`.
    /// A tag under which nothing was opened is ignored.
    Cancel(Tag),
    /// Send what was written, then FIN; reading goes on.
    Finish(A),
    /// Send what was written, then be done with it.
    Close(A),
    /// Send RST and be done with it; what was written and not sent is lost.
    Abort(A),
    /// Send what was written, then give the stream to the application.
    Detach {
        /// The name by which the application asked for it.
        tag: Tag,
        /// The stream.
        path: A,
        /// Octets of it that were read already and belong to the application.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        early: Bytes,
    },
}
