//! The contract between a protocol and its driver.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use core::num::NonZeroUsize;
use core::ops::Deref;

use bytes::Bytes;

use crate::{Addr, Instant, Tag, Transmit};

/// A protocol as a state machine, without sockets, clock, threads or randomness of its own.
///
/// Octets, link cues, commands and the time go in. Events, asks for sockets, octets to send and a deadline
/// come out of [`poll`](Self::poll). Drivers, the simulator, the recorder and the replay run every machine by
/// this trait alone. The [guide](crate::guide) has a driver in numbered steps; this
/// page has its rules.
///
/// # What a driver does
///
/// * After any input, and once the deadline has come, it **drains** the machine: it polls until the output is
///   [`Idle`](Output::Idle) or [`Done`](Output::Done), and acts on every output. Several inputs may come before
///   a drain; the machine acts on them in `poll` alone.
/// * It passes the time of one clock to every call. Time that goes backwards counts as time that stands still.
/// * It sleeps until there is input or until the deadline of `Idle`, and rounds the wait up to the resolution
///   of its timer. A poll before the deadline changes nothing.
/// * Before it reads a stream it asks [`wants`](Self::wants). It never reads a stream that is not wanted.
/// * It never waits for a socket while it sends: it keeps what the socket does not take and gives
///   [`Link::Full`]; see [`Transmit`].
/// * It gives [`Link::Up`] for a stream that was connected or accepted before anything else of it, and for
///   each socket that was bound by configuration. What a machine asks for comes up by [`Link::Opened`].
/// * It gives every path one life. After [`Link::Down`], and after [`Ask::Close`], [`Ask::Abort`],
///   [`Ask::Detach`] or [`Ask::Cancel`], no octets and no cues of that path follow until another `Up` or
///   `Opened` begins its next life.
/// * An error that a UDP socket reports, as after an ICMP message, is counted and is no `Down`: anybody can
///   forge one.
///
/// # What a machine does
///
/// * [`receive`](Self::receive) cannot fail, and no input makes it panic.
/// * It writes nothing to an address between `Full` and `Free` of its [carrier](Addr::carrier), nor after its
///   path was finished, closed, aborted, detached, cancelled or is down.
/// * Equal configuration, seed, calls and limits of `tx` give equal outputs.
/// * Its memory is bounded by its configuration.
///
/// With the feature `laws`, the module `laws` checks these rules.
pub trait Machine {
    /// The address of a peer, a stream or an interface.
    type Addr: Addr;
    /// What the application can ask for.
    type Command;
    /// What the application is told.
    type Event;
    /// Why a command was refused; nothing else can fail.
    type Error: Error;

    /// Takes a datagram, or the next octets of a stream in any chunking.
    ///
    /// It cannot fail. Malformed octets are counted and dropped, or end the stream; that a peer is lost is an
    /// event.
    fn receive(&mut self, now: Instant, from: Self::Addr, octets: &[u8]);

    /// Takes datagrams that came back to back, each of `size` octets but the last, which may be shorter.
    ///
    /// If `octets` is empty, it is one empty datagram. The effect is that of one [`receive`](Self::receive) for
    /// each datagram; a machine overrides it only to be faster.
    fn receive_batch(&mut self, now: Instant, from: Self::Addr, octets: &[u8], size: NonZeroUsize) {
        if octets.is_empty() {
            self.receive(now, from, octets);
        }
        for datagram in octets.chunks(size.get()) {
            self.receive(now, from, datagram);
        }
    }

    /// Takes a cue about the link at `at`.
    fn link(&mut self, now: Instant, at: Self::Addr, state: Link);

    /// Takes a command of the application.
    ///
    /// # Errors
    ///
    /// The reason of the machine for refusing the command. A refused command has changed nothing.
    fn command(&mut self, now: Instant, command: Self::Command) -> Result<(), Self::Error>;

    /// Returns the next output, in this order: due timers are fired; then come events, then asks, then sends,
    /// then `Idle` or `Done`.
    ///
    /// Events come first because each input leads to few of them, while sends may go on for the length of a
    /// block. `tx` is cleared at the start, and holds something only under [`Output::Transmit`]. Writing a segment
    /// into `tx` counts as sending it, and starts its timer.
    #[must_use = "an output that is dropped is lost"]
    fn poll(
        &mut self,
        now: Instant,
        tx: &mut Transmit<Self::Addr>,
    ) -> Output<Self::Addr, Self::Event>;

    /// Tells whether the machine takes octets of the stream at `from`. If not, they are left in the socket, so
    /// that the peer is held back.
    ///
    /// The driver asks before each read, and again after each drain. A machine that did not want octets wants
    /// them again once its events are taken, `Free` comes, the application has decided, or never if the
    /// stream is closed.
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
/// Every machine implements it for itself, and `record::Recorder` for the machine that it records. A machine
/// of one's own around `M` needs one method.
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

/// What [`Machine::poll`] returns: work for the driver, or the end of a drain.
#[must_use = "every output is work for the driver, and a drain ends at `Idle` or `Done` alone"]
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Output<A, E> {
    /// Send what is in `tx`: one batch of datagrams, or octets of one stream. Then poll again.
    Transmit,
    /// Give this to the application, then poll again.
    ///
    /// While the application takes no events, the driver reads nothing and takes no commands, but still polls,
    /// sends, fires timers and carries out asks.
    Event(E),
    /// Do this with the sockets, then poll again. The application never sees it.
    Ask(Ask<A>),
    /// Look at the inputs once, without waiting, then poll again: work is left, and `tx` is empty.
    ///
    /// A machine returns it after at most 256 due timers or cues, so that other inputs do not wait for all of
    /// them. It is no `Idle`: the driver does not sleep.
    Yield,
    /// Sleep until the next input or until this time, which is later than now.
    Idle(Option<Instant>),
    /// Flush what was sent, close the sockets and drop the machine: nothing ever follows.
    ///
    /// A machine that serves until it is dropped, such as an LTP engine, never returns it.
    Done,
}

/// A cue: what a driver tells a machine about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Link {
    /// The peer can be reached: a contact begins, a stream was connected by configuration or accepted, a socket
    /// was bound by configuration.
    Up,
    /// [`Ask::Open`] succeeded. The address of the cue is that of the path, with the real local port.
    Opened(Tag),
    /// [`Ask::Open`] failed. The address of the cue is the path that was asked for.
    Failed(Tag, Cause),
    /// The carrier takes no more octets. Nothing may be written to any address on it until `Free`.
    ///
    /// The driver keeps what was written before, at most one [`Transmit`], and sends it first.
    Full,
    /// The carrier has taken what the driver kept, and takes more.
    Free,
    /// The peer ended its direction of the stream (FIN). It comes after the last octets.
    Ended,
    /// The link is down. For a path this is final. For a contact, timers of the peer are frozen until `Up`.
    Down(Cause),
}

/// Why a link failed or went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cause {
    /// It was closed, or the contact ended as planned.
    Closed,
    /// Nothing listens at the remote address.
    Refused,
    /// The peer reset the connection (RST).
    Reset,
    /// The local address is in use.
    InUse,
    /// The remote address is unreachable.
    Unreachable,
    /// No answer came in time.
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

/// What a machine asks the owner of the sockets to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Ask<A> {
    /// Bind a UDP socket, listen on TCP (a remote with port 0), or connect by TCP.
    ///
    /// The driver answers once: by [`Link::Opened`] at the address with the real local port, or by
    /// [`Link::Failed`]. There is no answer after [`Cancel`](Self::Cancel). It does not time out; a machine that
    /// waits no longer cancels.
    Open {
        /// The tag that the answer carries back.
        tag: Tag,
        /// What to open.
        path: A,
    },
    /// End what [`Open`](Self::Open) with this tag began, whether or not it was answered.
    ///
    /// The path is closed and unsent octets are lost. No cue of the path and no answer to the `Open` follows. A
    /// tag under which nothing was opened is ignored. Streams that a cancelled listener accepted stay open.
    Cancel(Tag),
    /// Send what was written, then FIN. Reading goes on.
    Finish(A),
    /// Send what was written, then close the path.
    Close(A),
    /// Send RST and close the path. Unsent octets are lost.
    Abort(A),
    /// Send what was written, then give the stream to the application.
    Detach {
        /// The tag by which the application asked for it.
        tag: Tag,
        /// The stream.
        path: A,
        /// Octets of the stream that the machine received and that belong to the application.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        early: Bytes,
    },
}
