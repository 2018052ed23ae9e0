//! A machine on one stream that does what the test says.

use core::fmt;
use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::blocking::runtime;
use farlink::adapters::runtime::TcpIo;
use farlink::{Ask, Instant, Link, Machine, Output, Tag, Transmit};

use crate::loopback::here;

/// What `Command::Queue` may fill.
pub(crate) const QUEUE: usize = 200_000;

/// Octets that show where in the stream they belong.
pub(crate) fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(octet_at).collect()
}

fn octet_at(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap()
}

/// A machine on one stream that does what it is told.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one thing a test may say"
)]
pub(crate) struct Toy {
    events: VecDeque<Event>,
    asks: VecDeque<Ask<()>>,
    notes: VecDeque<Tag>,
    echo: VecDeque<u8>,
    is_echo: bool,
    /// Octets of the pattern that are still to be written.
    pub(crate) queued: usize,
    forever: bool,
    pub(crate) written: usize,
    pub(crate) received: usize,
    pub(crate) told: usize,
    pub(crate) ticks: usize,
    line: Vec<u8>,
    wish: Wish,
    is_full: bool,
    is_refused: bool,
    timer: Option<Instant>,
    tick: Option<(Instant, Duration)>,
    when_sent: Option<WhenSent>,
    done: bool,
    pub(crate) probe: Arc<()>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Wish {
    #[default]
    Octets,
    Nothing,
    /// One line, then the stream is handed over.
    Line(Tag),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum WhenSent {
    Finish,
    Done,
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Send(usize),
    SendForever,
    /// Like `Send`, but refused beyond `QUEUE`.
    Queue(usize),
    Echo,
    Ask(Ask<()>),
    FinishWhenSent,
    DoneWhenSent,
    Done,
    Want(Wish),
    Timer(Duration),
    /// Counts and tells nothing.
    Ticks(Duration),
    Tell(usize),
    /// Told by `Event::Sent` once nothing is queued.
    Note(Tag),
    Refuse,
    Panic,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Cue(Link),
    Octets(Bytes),
    Fired,
    Told,
    Room,
    Sent(Tag),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct No;

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl std::error::Error for No {}

impl Toy {
    /// A toy that reads nothing and has this much of the pattern to send.
    pub(crate) fn sender(queued: usize) -> Self {
        Self {
            wish: Wish::Nothing,
            queued,
            ..Self::default()
        }
    }

    fn fire(&mut self, now: Instant) {
        if self.timer.is_some_and(|time| time <= now) {
            self.timer = None;
            self.events.push_back(Event::Fired);
        }
        if let Some((time, span)) = &mut self.tick
            && *time <= now
        {
            *time = now + *span;
            self.ticks += 1;
        }
    }

    fn write(&mut self, tx: &mut Transmit<()>) -> bool {
        let room = tx.room_in_stream(());
        let echoed = self.echo.len().min(room);
        if echoed > 0 {
            return tx.append((), echoed, |out| out.extend(self.echo.drain(..echoed)));
        }
        let len = if self.forever {
            room
        } else {
            self.queued.min(room)
        };
        let start = self.written;
        self.written += len;
        self.queued = self.queued.saturating_sub(len);
        tx.append((), len, |out| {
            out.extend((start..start + len).map(octet_at));
        })
    }
}

impl Machine for Toy {
    type Addr = ();
    type Command = Command;
    type Event = Event;
    type Error = No;

    fn receive(&mut self, _now: Instant, (): (), octets: &[u8]) {
        self.received += octets.len();
        if self.is_echo {
            self.echo.extend(octets);
        }
        let Wish::Line(tag) = self.wish else {
            return self
                .events
                .push_back(Event::Octets(Bytes::copy_from_slice(octets)));
        };
        self.line.extend(octets);
        if let Some(end) = self.line.iter().position(|&octet| octet == b'\n') {
            let early = Bytes::from(self.line.split_off(end + 1));
            self.asks.push_back(Ask::Detach {
                tag,
                path: (),
                early,
            });
            self.wish = Wish::Nothing;
        }
    }

    fn link(&mut self, _now: Instant, (): (), state: Link) {
        match state {
            Link::Full => self.is_full = true,
            Link::Free => self.is_full = false,
            Link::Down(_) => self.done = true,
            _ => {}
        }
        self.events.push_back(Event::Cue(state));
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), No> {
        match command {
            Command::Queue(len) if self.queued + len > QUEUE => {
                self.is_refused = true;
                return Err(No);
            }
            Command::Send(len) | Command::Queue(len) => self.queued += len,
            Command::SendForever => self.forever = true,
            Command::Echo => self.is_echo = true,
            Command::Ask(ask) => self.asks.push_back(ask),
            Command::FinishWhenSent => self.when_sent = Some(WhenSent::Finish),
            Command::DoneWhenSent => self.when_sent = Some(WhenSent::Done),
            Command::Done => self.done = true,
            Command::Want(wish) => self.wish = wish,
            Command::Timer(span) => self.timer = Some(now + span),
            Command::Ticks(span) => self.tick = Some((now + span, span)),
            Command::Tell(count) => {
                self.told += count;
                self.events.extend((0..count).map(|_| Event::Told));
            }
            Command::Note(tag) => self.notes.push_back(tag),
            Command::Refuse => return Err(No),
            Command::Panic => panic!("as commanded"),
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        tx.clear();
        self.fire(now);
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.is_refused && self.queued <= QUEUE / 2 {
            self.is_refused = false;
            return Output::Event(Event::Room);
        }
        if self.queued == 0
            && let Some(tag) = self.notes.pop_front()
        {
            return Output::Event(Event::Sent(tag));
        }
        let is_empty = self.echo.is_empty() && self.queued == 0 && !self.forever;
        // What was written before an ask has to leave before it.
        if !self.is_full && !self.done && !is_empty && self.write(tx) {
            return Output::Transmit;
        }
        let is_due = is_empty || matches!(self.asks.front(), Some(Ask::Abort(())));
        if let Some(ask) = self.asks.front().filter(|_| is_due).cloned() {
            self.asks.pop_front();
            return Output::Ask(ask);
        }
        match self.when_sent {
            Some(WhenSent::Finish) if is_empty => {
                self.when_sent = None;
                return Output::Ask(Ask::Finish(()));
            }
            Some(WhenSent::Done) if is_empty => self.done = true,
            _ => {}
        }
        if self.done {
            return Output::Done;
        }
        let tick = self.tick.map(|(time, _)| time);
        Output::Idle(self.timer.into_iter().chain(tick).min())
    }

    fn wants(&self, (): ()) -> bool {
        self.wish != Wish::Nothing && self.echo.len() < QUEUE
    }
}

/// Returns both ends of a TCP connection.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(here()).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

/// Hands one end to the runtime of threads.
pub(crate) fn io(stream: TcpStream) -> TcpIo {
    stream.set_nonblocking(true).unwrap();
    TcpIo::new(&*runtime(), stream.into()).unwrap()
}
