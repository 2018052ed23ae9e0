//! A connection in its handshake.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::net::TcpStream;
use std::sync::OnceLock;

use super::connection::{Connection, Link};
use super::prepare;
use crate::adapters::blocking::stream::{self, Events, Handle, Sort};
use crate::adapters::cotp::{Ends, Error, Options, Side, Speaker};
use crate::cotp::{self, Acceptance, Command, DisconnectReason, End, Event, Indication, Refusal};
use crate::{Instant, Limits, Link as Cue, Machine, Output, Seed, Transmit};

/// What an event weighs beside its octets.
const ENTRY: usize = 64;

/// How a connection ended, for whoever comes too late for the event.
pub(super) type LastWord = Arc<OnceLock<Arc<End>>>;

/// The machine of a connection, overheard: the end is known to every handle as soon as it is told.
pub(super) struct Overheard {
    speaker: Speaker,
    end: LastWord,
}

impl Machine for Overheard {
    type Addr = ();
    type Command = Command;
    type Event = Event;
    type Error = cotp::Error;

    fn receive(&mut self, now: Instant, from: (), octets: &[u8]) {
        self.speaker.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: (), state: Cue) {
        self.speaker.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), cotp::Error> {
        self.speaker.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        let output = self.speaker.poll(now, tx);
        if let Output::Event(Event::Failed(end) | Event::Closed(end)) = &output {
            // There is one end only.
            let _ = self.end.set(Arc::new(end.as_ref().clone()));
        }
        output
    }

    fn wants(&self, from: ()) -> bool {
        self.speaker.wants(from)
    }
}

fn sort(event: &Event) -> Sort {
    match event {
        Event::Received(octets) | Event::Expedited(octets) => Sort::Event(octets.len() + ENTRY),
        Event::Room => Sort::Room,
        Event::Flushed(tag) => Sort::Answer(*tag),
        Event::Failed(_) | Event::Closed(_) => Sort::End(ENTRY),
        Event::Indication(_) | Event::Connected(_) | Event::NonTpkt(_) => Sort::Event(ENTRY),
    }
}

/// A connection in its handshake.
pub(super) struct Opening {
    handle: Handle<Overheard>,
    events: Events<Overheard>,
    end: LastWord,
    side: Side,
    ends: Ends,
}

/// What became of a handshake.
pub(super) enum Opened {
    Connection(Connection),
    Request(Request),
}

impl Opening {
    /// Starts a connection on a stream.
    pub(super) fn start(stream: TcpStream, options: &Options, seed: &Seed) -> Result<Self, Error> {
        prepare(&stream, options);
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let config = options.config.clone();
        let side = Side::of(&config);
        let drive = stream::Options {
            clock: options.clock,
            limits: Limits::default(),
            events: config.receive_queue,
            sort,
            on_drop: Some(Command::Close),
            // An echo sends before it receives the next message, and would wait for itself.
            when_full: stream::WhenFull::TakeCommands,
            linger: config.close_timeout,
        };
        let end = LastWord::default();
        let machine = Overheard {
            speaker: options.maker.make(config, seed, ends)?,
            end: Arc::clone(&end),
        };
        let (handle, events) = stream::start(machine, stream, drive)?;
        Ok(Self {
            handle,
            events,
            end,
            side,
            ends,
        })
    }

    pub(super) fn handle(&self) -> Handle<Overheard> {
        self.handle.clone()
    }

    /// Waits for the end of the handshake, or for the peer's request.
    pub(super) fn open(mut self) -> Result<Opened, Error> {
        match self.events.event() {
            Some(Event::Connected(agreed)) => {
                let link = Link::new(self.handle, self.end, (self.side, self.ends), *agreed);
                Ok(Opened::Connection(Connection::new(link, self.events)))
            }
            Some(Event::Indication(indication)) => Ok(Opened::Request(Request {
                indication,
                opening: self,
            })),
            _ => Err(self.ended()),
        }
    }

    fn ended(&self) -> Error {
        ended(&self.end)
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        let outcome = self.handle.command(command);
        outcome.map_err(|error| refused(error, &self.end))
    }
}

/// Returns why there is nothing more.
pub(super) fn ended(end: &LastWord) -> Error {
    match end.get() {
        Some(end) => Error::Ended(Arc::clone(end)),
        None => Error::Gone,
    }
}

/// Says it by the end, where there is one: the machine only knows that it is closed.
pub(super) fn refused(error: crate::adapters::CommandError<cotp::Error>, end: &LastWord) -> Error {
    use crate::adapters::CommandError::{Gone, Refused};
    match error {
        Refused(error) if error != cotp::Error::Closed || end.get().is_none() => {
            Error::Refused(error)
        }
        Refused(_) | Gone => ended(end),
    }
}

/// A peer that asks for a connection, under [`Policy::Ask`](cotp::Policy::Ask).
///
/// Dropping it closes the connection without an answer.
pub struct Request {
    indication: Box<Indication>,
    opening: Opening,
}

impl Request {
    /// Returns the selectors, and all else that the peer asks for.
    #[must_use]
    pub fn indication(&self) -> &Indication {
        &self.indication
    }

    /// Returns the address that the peer connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.opening.ends.0
    }

    /// Returns the address of the peer.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.opening.ends.1
    }

    /// Accepts.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub fn accept(self) -> Result<Connection, Error> {
        self.accept_with(Acceptance::default())
    }

    /// Accepts, with parameters or user data of one's own in the CC.
    ///
    /// # Errors
    ///
    /// They do not fit a CC, or the peer is gone.
    pub fn accept_with(self, acceptance: Acceptance) -> Result<Connection, Error> {
        self.opening.command(Command::Accept(acceptance))?;
        match self.opening.open()? {
            Opened::Connection(connection) => Ok(connection),
            // There is no second indication.
            Opened::Request(_) => Err(Error::Gone),
        }
    }

    /// Refuses: the peer gets a DR with the reason.
    ///
    /// # Errors
    ///
    /// The information is too long, or the peer is gone.
    pub fn refuse(self, refusal: impl Into<Refusal>) -> Result<(), Error> {
        self.opening.command(Command::Refuse(refusal.into()))
    }

    /// Refuses because nobody has the called selector.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub fn refuse_as_unknown(self) -> Result<(), Error> {
        self.refuse(DisconnectReason::ADDRESS_UNKNOWN)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("remote", &self.remote())
            .field("indication", &self.indication)
            .finish_non_exhaustive()
    }
}
