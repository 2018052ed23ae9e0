//! A machine on one stream that keeps the laws, and can be made to violate one.
//!
//! A frame is a length octet, not 0, and as many octets. One that begins with `?` is answered by a number
//! from the seed. The first frame may have to be accepted; more frames than two wait for room.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use bytes::Bytes;

use crate::laws::LawSubject;
use crate::{Ask, Instant, Link, Machine, Output, Rng, Seed, Tag, Transmit};

pub(super) const SILENCE: Duration = Duration::from_secs(30);
pub(super) const MAX_EVENTS: usize = 2;
pub(super) const MAX_OUT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub(super) enum Fault {
    None,
    EventsWithoutEnd,
    EventEverySecond,
    DeadlineInThePast,
    DeadlineSlides,
    PollChangesState,
    EmptySend,
    LongSend,
    OctetsUnderIdle,
    WakesAfterDone,
    RandomOutsideSeed,
    ClockGoesBack,
    Panics,
    NeverFrees,
    ReadsOnWhenFlooded,
    EventPerChunk,
    LosesSplitHeads,
    WritesWhenFull,
    WritesAfterDown,
    WritesAfterClose,
    NeverWantsAgain,
}

#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub(super) struct Config {
    pub(super) fault: Fault,
    /// The application has to accept the first frame.
    pub(super) must_accept: bool,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub(super) enum Command {
    Accept,
    Send(Vec<u8>),
    Close,
    Take(Tag),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Frame(Vec<u8>),
    Room,
    Lost,
    Tick,
}

#[derive(Debug, PartialEq)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Done,
}

pub(super) struct Lines {
    config: Config,
    rng: Rng,
    now: Instant,
    heard: Option<Instant>,
    state: State,
    is_waiting: bool,
    is_full: bool,
    owes_room: bool,
    read: VecDeque<u8>,
    events: VecDeque<Event>,
    asks: VecDeque<Ask<()>>,
    out: VecDeque<u8>,
    faulty: Faulty,
}

/// The state of a faulty machine.
#[derive(Default)]
struct Faulty {
    /// A frame `boom` came, which triggers most faults.
    is_hit: bool,
    has_refused: bool,
    has_said_done: bool,
    unfreed: Vec<u8>,
}

/// Differs from run to run, as the order of a `HashMap` does.
static OUTSIDE: AtomicU64 = AtomicU64::new(0);

impl Lines {
    fn is(&self, fault: Fault) -> bool {
        self.config.fault == fault
    }

    fn is_hit(&self, fault: Fault) -> bool {
        self.is(fault) && self.faulty.is_hit
    }

    fn advance(&mut self, now: Instant) {
        self.now = if self.is(Fault::ClockGoesBack) {
            now
        } else {
            self.now.max(now)
        };
    }

    fn has_room(&self) -> bool {
        self.events.len() < MAX_EVENTS && self.out.len() < MAX_OUT && !self.is_waiting
    }

    fn cut_frames(&mut self) {
        while self.state == State::Open && self.has_room() {
            let Some(&len) = self.read.front() else {
                return;
            };
            if len == 0 {
                return self.abort();
            }
            if self.read.len() <= usize::from(len) {
                return;
            }
            let frame: Vec<u8> = self.read.drain(..=usize::from(len)).skip(1).collect();
            self.on_frame(frame);
        }
    }

    fn on_frame(&mut self, frame: Vec<u8>) {
        self.faulty.is_hit |= frame == b"boom";
        assert!(
            !self.is_hit(Fault::Panics),
            "a frame that it does not handle"
        );
        if self.is(Fault::NeverFrees) {
            self.faulty.unfreed.extend([0; 200]);
        }
        if frame.first() == Some(&b'?') {
            let mut number = self.rng.next_u64();
            if self.is(Fault::RandomOutsideSeed) {
                number ^= OUTSIDE.fetch_add(1, Ordering::Relaxed);
            }
            self.out.extend(number.to_be_bytes());
        }
        self.is_waiting = core::mem::take(&mut self.config.must_accept);
        self.events.push_back(Event::Frame(frame));
        self.faulty.has_refused |= self.is(Fault::NeverWantsAgain) && !self.has_room();
    }

    fn abort(&mut self) {
        self.events.push_back(Event::Lost);
        self.asks.push_back(Ask::Abort(()));
        self.finish();
    }

    fn finish(&mut self) {
        self.state = State::Done;
        self.read = VecDeque::new();
        if !self.is(Fault::WritesAfterDown) {
            self.out = VecDeque::new();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let heard = self.heard?;
        match self.config.fault {
            Fault::DeadlineInThePast if self.faulty.is_hit => Some(self.now),
            Fault::DeadlineSlides if self.faulty.is_hit => Some(self.now + SILENCE),
            _ if self.state != State::Open => None,
            Fault::EventEverySecond if self.faulty.is_hit => Some(heard + Duration::from_secs(1)),
            _ => Some(heard + SILENCE),
        }
    }

    fn fire_timers(&mut self) {
        let (Some(heard), State::Open) = (self.heard, self.state) else {
            return;
        };
        if self.is_hit(Fault::EventEverySecond) && self.now >= heard + Duration::from_secs(1) {
            self.heard = Some(self.now);
            self.events.push_back(Event::Tick);
        } else if self.now >= heard + SILENCE {
            self.abort();
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        if self.is_hit(Fault::EventsWithoutEnd) && !self.events.is_empty() {
            return self.events.front().cloned();
        }
        let event = self.events.pop_front();
        if event.is_none() && self.owes_room && self.out.len() <= MAX_OUT / 2 {
            self.owes_room = false;
            return Some(Event::Room);
        }
        event
    }

    fn write(&mut self, tx: &mut Transmit<()>) -> bool {
        if self.out.is_empty() || (self.is_full && !self.is(Fault::WritesWhenFull)) {
            return false;
        }
        if self.is_hit(Fault::LongSend) {
            *tx = Transmit::new(crate::Limits::default());
        }
        let len = self.out.len().min(tx.room_in_stream(()));
        let out = &mut self.out;
        tx.append((), len, |octets| octets.extend(out.drain(..len)));
        true
    }

    fn rest(&mut self, tx: &mut Transmit<()>) -> Output<(), Event> {
        if self.state == State::Closing && self.out.is_empty() {
            self.finish();
            if self.is(Fault::WritesAfterClose) {
                self.out.push_back(b'!');
            }
            return Output::Ask(Ask::Close(()));
        }
        if self.state == State::Done {
            if self.is(Fault::WakesAfterDone) && self.faulty.has_said_done {
                return Output::Idle(None);
            }
            self.faulty.has_said_done = true;
            return Output::Done;
        }
        if self.is_hit(Fault::OctetsUnderIdle) {
            tx.append((), 1, |out| out.push(b'!'));
        }
        Output::Idle(self.deadline())
    }
}

impl Machine for Lines {
    type Addr = ();
    type Command = Command;
    type Event = Event;
    type Error = Refused;

    fn receive(&mut self, now: Instant, (): (), octets: &[u8]) {
        self.advance(now);
        if self.state != State::Open {
            return;
        }
        if !self.wants(()) {
            if !self.is(Fault::ReadsOnWhenFlooded) {
                self.abort();
            }
            return;
        }
        self.heard = Some(self.now);
        if self.is(Fault::EventPerChunk) {
            return self.events.push_back(Event::Frame(octets.to_vec()));
        }
        if !(self.is(Fault::LosesSplitHeads) && octets.len() == 1) {
            self.read.extend(octets);
        }
        self.cut_frames();
    }

    fn link(&mut self, now: Instant, (): (), state: Link) {
        self.advance(now);
        match state {
            Link::Up => self.heard = self.heard.or(Some(self.now)),
            Link::Full => self.is_full = true,
            Link::Free => self.is_full = false,
            Link::Ended | Link::Down(_) if self.state != State::Done => {
                self.events.push_back(Event::Lost);
                self.asks.clear();
                if matches!(state, Link::Ended) {
                    self.asks.push_back(Ask::Close(()));
                }
                self.finish();
            }
            _ => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Refused> {
        self.advance(now);
        if self.state != State::Open {
            return Err(Refused);
        }
        match command {
            Command::Accept if self.is_waiting => {
                self.is_waiting = false;
                self.cut_frames();
            }
            Command::Accept => return Err(Refused),
            Command::Send(octets) if self.out.len() + octets.len() > MAX_OUT => {
                self.owes_room = true;
                return Err(Refused);
            }
            Command::Send(octets) => self.out.extend(octets),
            Command::Close => self.state = State::Closing,
            Command::Take(tag) => {
                let early = Bytes::from(Vec::from(core::mem::take(&mut self.read)));
                self.asks.push_back(Ask::Detach {
                    tag,
                    path: (),
                    early,
                });
                self.finish();
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        tx.clear();
        self.advance(now);
        self.fire_timers();
        if self.is(Fault::PollChangesState) {
            self.rng.next_u64();
        }
        if let Some(event) = self.next_event() {
            self.cut_frames();
            return Output::Event(event);
        }
        if let Some(ask) = self.asks.pop_front() {
            return Output::Ask(ask);
        }
        if self.write(tx) {
            self.cut_frames();
            return Output::Transmit;
        }
        if self.is(Fault::EmptySend) && core::mem::take(&mut self.faulty.is_hit) {
            return Output::Transmit;
        }
        self.rest(tx)
    }

    fn wants(&self, (): ()) -> bool {
        self.has_room() && self.state == State::Open && !self.faulty.has_refused
    }
}

impl LawSubject for Lines {
    type Config = Config;

    fn make(config: &Config, seed: Seed) -> Option<Self> {
        Some(Self {
            config: *config,
            rng: seed.child("lines").rng(),
            now: Instant::ZERO,
            heard: None,
            state: State::Open,
            is_waiting: false,
            is_full: false,
            owes_room: false,
            read: VecDeque::new(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            out: VecDeque::new(),
            faulty: Faulty::default(),
        })
    }

    fn memory_limit(_: &Config) -> usize {
        1024
    }

    fn memory_used(&self) -> usize {
        let events: usize = self.events.iter().map(Event::weight).sum();
        self.read.len() + events + self.out.len() + self.faulty.unfreed.len()
    }

    fn is_stream(_: &Config, (): ()) -> bool {
        true
    }

    fn awaits(&self, (): ()) -> bool {
        self.is_waiting
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        _: &Config,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        let mut octets = Vec::new();
        for _ in 0..u.int_in_range(0..=4)? {
            let frame: &[u8] = match u.int_in_range(0..=3)? {
                0 => b"?",
                1 => b"boom",
                _ => {
                    let len = u.int_in_range(0..=40)?.min(u.len());
                    u.bytes(len)?
                }
            };
            octets.push(u8::try_from(frame.len()).unwrap());
            octets.extend_from_slice(frame);
        }
        Ok(octets)
    }
}

impl Event {
    fn weight(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len() + size_of::<Self>(),
            Self::Room | Self::Lost | Self::Tick => size_of::<Self>(),
        }
    }
}

/// Frames as they go over the stream.
pub(super) fn frames(payloads: &[&[u8]]) -> Vec<u8> {
    let mut octets = Vec::new();
    for payload in payloads {
        octets.push(u8::try_from(payload.len()).unwrap());
        octets.extend_from_slice(payload);
    }
    octets
}
