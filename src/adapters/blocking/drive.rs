//! The loop: a machine on one stream, and all that its threads share.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::Carrier;
use super::news::News;
use super::stream::{Options, WhenFull};
use crate::adapters::cause::cause_of;
use crate::adapters::{Clock, CommandError, Detached};
use crate::{Ask, Cause, Instant, Limits, Link, Machine, Output, Tag, Transmit};

/// Sends and asks after which the loop looks at its inputs, so that one busy peer cannot starve reading.
const OUTPUTS_PER_TURN: usize = 64;

/// The machine, the stream and what waits for either side. It lives behind one lock, and whoever brings an
/// input, be it octets, a command or the time, takes the next turn of the loop.
pub(super) struct Drive<M: Machine<Addr = ()>, S> {
    machine: M,
    clock: Clock,
    /// The time of this step: read once per input and per send, as reading a clock costs as much as a poll.
    now: Instant,
    tx: Transmit<()>,
    outbox: Outbox,
    stream: Stream<S>,
    finish: Finish,
    /// The writer may be in the middle of a write; this calls it off.
    cut: Arc<AtomicBool>,
    deadline: Option<Instant>,
    /// When a stream that does not get rid of what was written is cut off.
    give_up: Option<Instant>,
    /// Until when a closed stream is read: closing a socket with unread octets sends RST, which would
    /// destroy what the peer has not read yet.
    lingers: Instant,
    linger: Duration,
    /// The last turn ended before the machine was idle.
    restless: bool,
    done: bool,
    news: News<M::Event>,
    on_drop: Option<M::Command>,
    when_full: WhenFull,
    handed: Option<Detached<S>>,
    reader: Reader,
    /// Something went on since the callers were woken for the last time.
    moved: bool,
    keeper: Keeper,
    threads: usize,
    pub(super) handles: usize,
}

/// What the stream did not take at once; one [`Transmit`] at most.
struct Outbox {
    rest: Transmit<()>,
    sent: usize,
    state: Load,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    None,
    Waiting,
    /// The writer thread has it.
    Leaving,
}

enum Stream<S> {
    /// The machine's own.
    Open(Arc<S>),
    /// Writing failed. What the peer sent before is read, then the machine hears of it.
    Broken(Arc<S>, Cause),
    /// The machine is done with it, and what was written is on its way.
    Leaving(Arc<S>, End),
    /// Only the threads hold it; the last of them brings about the end.
    Gone(End),
}

/// How a stream ends for its driver.
pub(super) enum End {
    /// In good order.
    Close,
    /// It is broken already.
    Drop,
    /// RST.
    Abort,
    /// It belongs to the application.
    Hand {
        tag: Tag,
        early: Bytes,
        late: Vec<u8>,
    },
    /// The application has it, or is about to get it.
    Detached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    Asked,
    Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Running,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Awake,
    Asleep,
    AsleepUntil(Instant),
}

/// What the reader thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Read, and feed the machine.
    Feed,
    /// Read nothing until somebody rings.
    Wait,
    /// Read and drop it.
    Discard,
    /// Give what was read and not fed to the application.
    Keep,
    Stop,
}

impl<M: Machine<Addr = ()>, S: Carrier> Drive<M, S> {
    pub(super) fn new(
        machine: M,
        stream: Arc<S>,
        cut: Arc<AtomicBool>,
        options: Options<M>,
    ) -> Self {
        let limits = options.limits;
        Self {
            machine,
            clock: options.clock,
            now: options.clock.now(),
            tx: Transmit::new(limits),
            outbox: Outbox {
                rest: Transmit::new(limits),
                sent: 0,
                state: Load::None,
            },
            stream: Stream::Open(stream),
            finish: Finish::No,
            cut,
            deadline: None,
            give_up: None,
            lingers: Instant::ZERO,
            linger: options.linger,
            restless: false,
            done: false,
            news: News::new(&options),
            on_drop: options.on_drop,
            when_full: options.when_full,
            handed: None,
            reader: Reader::Running,
            moved: false,
            keeper: Keeper::Awake,
            threads: 0,
            handles: 1,
        }
    }

    /// Tells the machine that its stream is there.
    pub(super) fn begin(&mut self) {
        self.now = self.clock.now();
        self.machine.link(self.now, (), Link::Up);
        self.turn();
    }

    /// Ends what could not be started as a whole.
    pub(super) fn call_off(&mut self) {
        self.done = true;
        self.cut_off(End::Drop);
    }

    /// Lets go of the stream after the machine panicked: nothing else in here can be relied on.
    pub(super) fn abandon(&mut self) {
        self.stream = Stream::Gone(End::Drop);
    }

    pub(super) const fn thread_starts(&mut self) {
        self.threads += 1;
    }

    pub(super) const fn thread_ends(&mut self) {
        self.threads -= 1;
        self.moved = true;
    }

    pub(super) const fn has_threads(&self) -> bool {
        self.threads > 0
    }

    pub(super) const fn machine(&self) -> &M {
        &self.machine
    }

    pub(super) const fn limits(&self) -> Limits {
        self.tx.limits()
    }

    // The loop.

    /// Polls until the machine is idle, but for a limited number of sends.
    pub(super) fn turn(&mut self) {
        self.restless = false;
        let mut outputs = 0;
        while !self.done {
            if outputs == OUTPUTS_PER_TURN {
                self.restless = true;
                return;
            }
            match self.machine.poll(self.now, &mut self.tx) {
                Output::Transmit => {
                    outputs += 1;
                    self.send();
                    self.now = self.clock.now();
                }
                Output::Event(event) => {
                    self.news.push(event);
                    if self.outbox.state == Load::None && self.is_whole() {
                        self.news.give_answers();
                    }
                }
                Output::Ask(ask) => {
                    outputs += 1;
                    self.answer(ask);
                }
                Output::Yield => outputs = OUTPUTS_PER_TURN,
                Output::Idle(deadline) => {
                    if !self.bury() {
                        self.deadline = deadline;
                        return;
                    }
                }
                Output::Done => self.close_for_done(),
            }
            self.moved = true;
        }
    }

    fn send(&mut self) {
        let Stream::Open(stream) = &self.stream else {
            return;
        };
        debug_assert!(
            self.outbox.state == Load::None && self.finish == Finish::No,
            "written after Full or Finish (law 11)"
        );
        if self.outbox.state != Load::None {
            // Keeping it would let the outbox grow, and dropping it would tear the stream.
            return self.cut_off(End::Abort);
        }
        match write_now(&**stream, self.tx.octets()) {
            Ok(sent) if sent == self.tx.octets().len() => {}
            Ok(sent) => {
                mem::swap(&mut self.tx, &mut self.outbox.rest);
                self.outbox.sent = sent;
                self.outbox.state = Load::Waiting;
                self.machine.link(self.now, (), Link::Full);
            }
            Err(error) => {
                self.break_off(cause_of(&error));
                // Nothing more leaves, and the machine is not to think so until it hears that it is down.
                self.machine.link(self.now, (), Link::Full);
            }
        }
    }

    fn answer(&mut self, ask: Ask<()>) {
        match ask {
            Ask::Open { tag, .. } => {
                let failed = Link::Failed(tag, Cause::Unreachable);
                self.machine.link(self.now, (), failed);
            }
            Ask::Cancel(_) => {}
            Ask::Finish(()) => {
                if self.finish == Finish::No {
                    self.finish = Finish::Asked;
                    self.flushed();
                }
            }
            Ask::Close(()) => self.leave(End::Close),
            Ask::Abort(()) => self.cut_off(End::Abort),
            Ask::Detach { tag, early, .. } => self.leave(End::Hand {
                tag,
                early,
                late: Vec::new(),
            }),
        }
    }

    fn close_for_done(&mut self) {
        self.done = true;
        self.deadline = None;
        self.leave(End::Close);
    }

    // The end of the stream.

    /// The machine is done with its stream, which ends once everything written is sent.
    fn leave(&mut self, end: End) {
        self.stream = match mem::replace(&mut self.stream, Stream::Gone(End::Drop)) {
            Stream::Open(stream) | Stream::Broken(stream, _) => {
                self.give_up = Some(self.now + self.linger);
                Stream::Leaving(stream, end)
            }
            other => other,
        };
        self.flushed();
    }

    /// Acts on what was put off until everything written is sent.
    fn flushed(&mut self) {
        if self.outbox.state != Load::None {
            return;
        }
        if self.finish == Finish::Asked {
            self.finish = Finish::Sent;
            self.send_fin();
        }
        match mem::replace(&mut self.stream, Stream::Gone(End::Drop)) {
            Stream::Leaving(stream, end) => self.let_go(&stream, end),
            other => self.stream = other,
        }
    }

    fn send_fin(&self) {
        if let Stream::Open(stream) | Stream::Leaving(stream, _) = &self.stream {
            finish(&**stream);
        }
    }

    /// Ends the stream at once, whatever waits to be sent.
    fn cut_off(&mut self, end: End) {
        match mem::replace(&mut self.stream, Stream::Gone(End::Drop)) {
            Stream::Open(stream) | Stream::Broken(stream, _) | Stream::Leaving(stream, _) => {
                self.let_go(&stream, end);
            }
            gone @ Stream::Gone(_) => self.stream = gone,
        }
    }

    /// Leaves the stream to the threads, of which the last that holds it brings about the end. The writer
    /// goes after this only, so the last is never the loop.
    fn let_go(&mut self, stream: &S, end: End) {
        match end {
            End::Close => {
                finish(stream);
                self.lingers = self.now + self.linger;
            }
            End::Drop | End::Abort => {
                self.cut.store(true, Ordering::Relaxed);
                stream.hush();
            }
            End::Hand { .. } | End::Detached => {}
        }
        self.stream = Stream::Gone(end);
        self.give_up = None;
        self.moved = true;
        if self.outbox.state == Load::Waiting {
            self.outbox.state = Load::None;
        }
    }

    /// Writing failed. A stream that the machine is done with ends as it would have.
    fn break_off(&mut self, cause: Cause) {
        self.outbox.state = Load::None;
        match mem::replace(&mut self.stream, Stream::Gone(End::Drop)) {
            Stream::Open(stream) => self.stream = Stream::Broken(stream, cause),
            other => self.stream = other,
        }
        self.flushed();
    }

    /// Tells the machine of a broken stream that will not be read any more, if it is one.
    fn bury(&mut self) -> bool {
        match self.stream {
            Stream::Broken(_, cause) if self.reader == Reader::Ended || !self.machine.wants(()) => {
                self.down(cause);
                true
            }
            _ => false,
        }
    }

    fn down(&mut self, cause: Cause) {
        self.cut_off(End::Drop);
        self.machine.link(self.now, (), Link::Down(cause));
    }

    // The reader's part.

    pub(super) fn reading(&self) -> Reading {
        match &self.stream {
            Stream::Open(_) | Stream::Broken(..) if self.news.is_full() => Reading::Wait,
            Stream::Open(_) | Stream::Broken(..) if self.machine.wants(()) => Reading::Feed,
            Stream::Open(_) | Stream::Broken(..) => Reading::Wait,
            Stream::Leaving(_, End::Hand { .. }) | Stream::Gone(End::Hand { .. }) => Reading::Keep,
            Stream::Leaving(_, End::Close) => Reading::Discard,
            Stream::Gone(End::Close) if self.clock.now() < self.lingers => Reading::Discard,
            Stream::Leaving(..) | Stream::Gone(_) => Reading::Stop,
        }
    }

    /// Takes the octets that were read.
    pub(super) fn receive(&mut self, octets: &[u8]) {
        self.now = self.clock.now();
        self.machine.receive(self.now, (), octets);
        self.turn();
    }

    /// Nothing came for a while.
    pub(super) fn quiet(&mut self) {
        self.now = self.clock.now();
        if let Stream::Broken(_, cause) = self.stream {
            self.down(cause);
            self.turn();
        }
    }

    /// The reader met the end of the stream, or an error.
    pub(super) fn read_ended(&mut self, cause: Option<Cause>) {
        self.now = self.clock.now();
        match (&self.stream, cause) {
            (Stream::Broken(_, earlier), _) => self.down(*earlier),
            (Stream::Open(_), Some(cause)) => self.down(cause),
            (Stream::Open(_), None) => self.machine.link(self.now, (), Link::Ended),
            (Stream::Leaving(..) | Stream::Gone(_), _) => return,
        }
        self.turn();
    }

    /// The reader stops, with octets that the machine did not see.
    pub(super) fn reader_stops(&mut self, unseen: &[u8]) {
        self.now = self.clock.now();
        self.reader = Reader::Ended;
        if let Stream::Leaving(_, End::Hand { late, .. }) | Stream::Gone(End::Hand { late, .. }) =
            &mut self.stream
        {
            late.extend_from_slice(unseen);
        }
        self.turn();
    }

    // The writer's part.

    /// Gives the rest of a send to the writer, which lends an empty buffer for it, and tells how much of it
    /// has been sent.
    pub(super) fn take_load(&mut self, spare: &mut Transmit<()>) -> Option<usize> {
        if self.outbox.state != Load::Waiting {
            return None;
        }
        self.outbox.state = Load::Leaving;
        mem::swap(&mut self.outbox.rest, spare);
        Some(self.outbox.sent)
    }

    /// The writer is rid of its load, or failed.
    pub(super) fn written(&mut self, outcome: io::Result<()>) {
        self.now = self.clock.now();
        self.outbox.state = Load::None;
        self.moved = true;
        match outcome {
            Ok(()) => {
                self.news.give_answers();
                self.flushed();
                if matches!(self.stream, Stream::Open(_)) && self.finish == Finish::No {
                    self.machine.link(self.now, (), Link::Free);
                }
            }
            Err(error) => self.break_off(cause_of(&error)),
        }
        self.turn();
    }

    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.stream, Stream::Gone(_))
    }

    /// Takes the end that the last holder of the stream brings about.
    pub(super) fn take_end(&mut self) -> End {
        let Stream::Gone(end) = &mut self.stream else {
            return End::Drop;
        };
        let rest = match end {
            End::Hand { .. } => End::Detached,
            _ => End::Drop,
        };
        mem::replace(end, rest)
    }

    /// Keeps a stream for the application, or gives it back when nobody waits for it.
    pub(super) fn hand(&mut self, handed: Detached<S>) -> Option<Detached<S>> {
        if self.news.is_unwanted() {
            return Some(handed);
        }
        self.handed = Some(handed);
        None
    }

    // The keeper's part.

    /// Lets the machine act if it is time.
    pub(super) fn tick(&mut self) {
        self.now = self.clock.now();
        let now = self.now;
        self.keeper = Keeper::Awake;
        if self.give_up.is_some_and(|time| time <= now) {
            self.cut_off(End::Abort);
        }
        if self.restless || self.deadline.is_some_and(|time| time <= now) {
            self.turn();
        }
    }

    pub(super) const fn is_restless(&self) -> bool {
        self.restless && !self.done
    }

    /// Returns what the keeper is to sleep for, and notes that it does.
    pub(super) fn arm(&mut self) -> Option<Instant> {
        let alarm = self.alarm();
        self.keeper = alarm.map_or(Keeper::Asleep, Keeper::AsleepUntil);
        alarm
    }

    /// The keeper sleeps until somebody else took a turn.
    pub(super) const fn disarm(&mut self) {
        self.keeper = Keeper::Asleep;
    }

    fn alarm(&self) -> Option<Instant> {
        match (self.deadline, self.give_up) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Tells whether nothing can happen any more.
    pub(super) fn is_over(&self) -> bool {
        let is_idle = self.deadline.is_none() && !self.restless;
        self.is_gone() && (self.done || (self.handles == 0 && (is_idle || self.news.is_unwanted())))
    }

    // The application's part.

    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn takes_commands(&self) -> bool {
        self.when_full == WhenFull::TakeCommands || !self.news.is_full()
    }

    pub(super) fn command(&mut self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        if self.done {
            return Err(CommandError::Gone);
        }
        self.now = self.clock.now();
        let outcome = self.machine.command(self.now, command);
        if outcome.is_ok() {
            // A close, for example: whoever waits for room is to be refused then.
            self.news.make_room();
        }
        self.turn();
        outcome.map_err(CommandError::Refused)
    }

    /// Gives a command to which the machine answers by an event of the sort [`Sort::Answer`].
    pub(super) fn ask(
        &mut self,
        command: M::Command,
        tag: Tag,
    ) -> Result<(), CommandError<M::Error>> {
        // Before the command: the answer may come at once.
        self.news.await_answer(tag);
        let outcome = self.command(command);
        if outcome.is_err() {
            self.news.forget_answer(tag);
        }
        outcome
    }

    /// Tells whether an answer was given, or never will be; then nobody waits for it any more.
    pub(super) fn answered(&mut self, tag: Tag) -> Option<bool> {
        let is_given = self.news.is_answered(tag);
        let is_over = self.done || self.news.is_ended() || !self.is_whole();
        (is_given || is_over).then(|| {
            self.news.forget_answer(tag);
            is_given
        })
    }

    /// The last handle was dropped.
    pub(super) fn forsake(&mut self) {
        if let Some(command) = self.on_drop.take() {
            // A refusal has nobody to go to; the machine goes on to its end as it would have.
            let _ = self.command(command);
        }
    }

    /// Tells whether octets or outputs of the machine are still to go to the stream.
    pub(super) fn is_unsent(&self) -> bool {
        !self.is_gone() && (self.is_restless() || self.outbox.state != Load::None)
    }

    /// Tells whether everything that was written has been sent, once nothing [is unsent](Self::is_unsent).
    pub(super) const fn is_whole(&self) -> bool {
        !matches!(
            self.stream,
            Stream::Broken(..) | Stream::Gone(End::Drop | End::Abort)
        )
    }

    /// Swaps the events that wait for an empty queue, and tells whether there were any.
    pub(super) fn take_news(&mut self, taken: &mut VecDeque<M::Event>) -> bool {
        let has_news = !self.news.is_empty();
        if has_news {
            self.moved = true;
            self.news.take(taken);
        }
        has_news
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Wants no more events, and returns what waited: whatever that is, it is not dropped under the lock.
    pub(super) fn discard_news(&mut self) -> (VecDeque<M::Event>, Option<Detached<S>>) {
        self.moved = true;
        (self.news.refuse(), self.take_handed())
    }

    /// Counts how often there may have been room again in the machine.
    pub(super) const fn rooms(&self) -> u64 {
        self.news.rooms()
    }

    pub(super) fn take_handed(&mut self) -> Option<Detached<S>> {
        let handed = self.handed.take();
        if handed.is_some() {
            self.stream = Stream::Gone(End::Drop);
        }
        handed
    }

    /// Tells whether a stream that was not handed over yet still may be.
    pub(super) const fn may_hand(&self) -> bool {
        !matches!(
            self.stream,
            Stream::Gone(End::Close | End::Drop | End::Abort)
        )
    }

    // Who is to be woken.

    pub(super) fn wakes_keeper(&self) -> bool {
        self.is_restless()
            || self.is_over()
            || match (self.keeper, self.alarm()) {
                (Keeper::AsleepUntil(time), Some(alarm)) => alarm < time,
                (Keeper::Asleep, Some(_)) => true,
                _ => false,
            }
    }

    pub(super) fn wakes_reader(&self) -> bool {
        self.reading() != Reading::Wait
    }

    pub(super) fn wakes_writer(&self) -> bool {
        self.outbox.state == Load::Waiting || self.is_gone()
    }

    pub(super) fn wakes_application(&self) -> bool {
        self.has_news() || self.handed.is_some() || self.is_gone()
    }

    /// Tells, once, that there is room in the machine, or that there never will be.
    pub(super) fn wakes_waiting(&mut self) -> bool {
        self.news.has_new_room() || self.done
    }

    /// Tells, once, that something went on which a caller may have waited for.
    pub(super) fn wakes_callers(&mut self) -> bool {
        mem::take(&mut self.moved)
    }
}

/// Sends FIN. A stream that is gone cannot be finished, and reading tells why it is gone.
fn finish<S: Carrier>(stream: &S) {
    let _ = stream.finish();
}

/// Writes what goes out at once, and tells how much that was.
fn write_now<S: Carrier>(stream: &S, octets: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write_now(octets) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            other => return other,
        }
    }
}
