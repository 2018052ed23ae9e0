//! One transport connection as a machine.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::api::{Acceptance, Command, Error, Event, Reason, Refusal, Stats};
use super::config::{Config, ConfigError, EmptyMessages, Role, SendDisconnect, Strict};
use super::handshake::{self, MAX_INFORMATION, Request};
use super::segment::{Assembly, ENTRY, Outbox};
use super::tpkt::Tpkt;
use super::wire::DATA_HEADER;
use crate::{Cause, Instant, Link, Machine, Output, Rng, Seed, Tag, Transmit};

mod ending;
mod inbound;
mod memory;
mod rules;
mod timers;

use ending::{Closing, Untold};
use inbound::{MAX_EXPEDITED, cost_of};
use rules::Rules;
use timers::Timer;

/// Flushes that may be under way.
const MAX_FLUSHES: usize = 64;

/// A transport connection of class 0 over one stream, in either role.
///
/// It starts with [`Link::Up`]: an initiator sends its CR then, a responder waits for one. The last event
/// is [`Event::Failed`] or [`Event::Closed`]; the machine is done once the stream is closed too.
#[derive(Debug)]
pub struct Connection {
    rules: Rules,
    reference: u16,
    now: Instant,
    state: State,
    carrier: Carrier,
    /// How the peer ended the stream, until all that came before is dealt with.
    peer_end: Option<PeerEnd>,
    /// What was agreed on, as far as data transfer needs it.
    agreed: Agreed,
    framing: Tpkt,
    assembly: Assembly,
    /// Whether the DT that is being passed on ends its message.
    is_passing_last: bool,
    /// Octets that came and are not to be decoded yet, from `held_at` on.
    held: Vec<u8>,
    held_at: usize,
    outbox: Outbox,
    events: VecDeque<Event>,
    /// Octets of the messages in `events`, each with [`ENTRY`] more.
    events_cost: usize,
    /// Octets of the longest message that was refused for lack of room.
    refused: Option<usize>,
    timers: [Option<Instant>; Timer::COUNT],
    stats: Stats,
}

/// The configuration goes with the handshake: an open connection has its [`Rules`], so that it stays small.
#[derive(Debug)]
enum State {
    /// The stream is not up yet.
    Waiting(Box<Config>),
    /// The CR is on its way.
    Requesting(Box<Config>),
    /// A CR is due.
    Listening(Box<Config>),
    /// The application decides on a CR.
    Deciding(Box<Config>, Box<Request>),
    Open {
        is_paused: bool,
    },
    /// The application takes the stream once everything is written.
    Handing(Tag),
    Closing(Closing),
    /// The stream is somebody else's or nobody's.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Ready,
    Full,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerEnd {
    Finished,
    /// A DC came. Its stream is still open, so ours is finished before it is closed, whenever the DC was read.
    Confirmed,
    Down(Cause),
}

#[derive(Debug, Clone, Copy)]
struct Agreed {
    tpdu_size: usize,
    expedited: bool,
    peer: u16,
}

impl Connection {
    /// Makes one end of a connection. The seed gives its reference, unless the configuration does.
    ///
    /// # Errors
    ///
    /// What no connection could work with; the error says the limit and the value.
    pub fn new(config: Config, seed: &Seed) -> Result<Self, ConfigError> {
        handshake::check(&config)?;
        let framing = Tpkt::new(
            config.packet_limit,
            config.strict.contains(Strict::RESERVED),
        );
        let reference = config
            .reference
            .map_or_else(|| draw_reference(&mut seed.rng()), u16::from);
        Ok(Self {
            reference,
            framing,
            now: Instant::ZERO,
            carrier: Carrier::Ready,
            peer_end: None,
            agreed: Agreed {
                tpdu_size: config.tpdu_size.octets(),
                expedited: false,
                peer: 0,
            },
            assembly: Assembly::default(),
            is_passing_last: false,
            held: Vec::new(),
            held_at: 0,
            outbox: Outbox::default(),
            events: VecDeque::new(),
            events_cost: 0,
            refused: None,
            timers: [None; Timer::COUNT],
            stats: Stats::default(),
            rules: Rules::from(&config),
            state: State::Waiting(Box::new(config)),
        })
    }

    /// Confirms the CR that [`Event::Indication`] showed.
    ///
    /// # Errors
    ///
    /// No CR waits, or the acceptance does not fit a CC.
    pub fn accept(&mut self, now: Instant, acceptance: &Acceptance) -> Result<(), Error> {
        self.advance(now);
        let State::Deciding(config, request) = &self.state else {
            return Err(self.not_in_place(Error::NoIndication));
        };
        let (cc, connected) = handshake::confirm(config, request, acceptance, self.reference)
            .map_err(Error::Acceptance)?;
        self.confirm(cc, connected);
        Ok(())
    }

    /// Refuses the CR that [`Event::Indication`] showed, by a DR.
    ///
    /// # Errors
    ///
    /// No CR waits, or the information is too long.
    pub fn refuse(&mut self, now: Instant, refusal: &Refusal) -> Result<(), Error> {
        self.advance(now);
        let State::Deciding(_, request) = &self.state else {
            return Err(self.not_in_place(Error::NoIndication));
        };
        let len = refusal.information.len();
        if len > MAX_INFORMATION {
            return Err(Error::Information {
                len,
                limit: MAX_INFORMATION,
            });
        }
        let reference = request.indication.reference;
        self.outbox.end_with(handshake::refuse(
            reference,
            refusal.reason,
            &refusal.information,
        ));
        self.end(Reason::Declined(refusal.reason));
        Ok(())
    }

    /// Sends a message, segmented as was agreed. It is shared, not copied, until it is written.
    ///
    /// # Errors
    ///
    /// The connection is not open, the message is empty or can never fit, or the queue is full.
    pub fn send(&mut self, now: Instant, message: Bytes) -> Result<(), Error> {
        self.advance(now);
        self.must_be_open()?;
        if message.is_empty() && self.rules.empty == EmptyMessages::Refuse {
            return Err(Error::Empty);
        }
        self.must_fit(message.len())?;
        self.outbox.push(message);
        Ok(())
    }

    /// Sends 1 to 16 octets ahead of the messages that wait (RFC 1006 section 6).
    ///
    /// # Errors
    ///
    /// Expedited data were not agreed on, have another length, or the queue is full.
    pub fn send_expedited(&mut self, now: Instant, message: Bytes) -> Result<(), Error> {
        self.advance(now);
        self.must_be_open()?;
        if !self.agreed.expedited {
            return Err(Error::NotAgreed);
        }
        let len = message.len();
        if !(1..=MAX_EXPEDITED).contains(&len) {
            return Err(Error::Expedited {
                len,
                limit: MAX_EXPEDITED,
            });
        }
        self.must_fit(len)?;
        self.outbox.push_expedited(message);
        Ok(())
    }

    /// Asks for [`Event::Flushed`] once everything accepted so far is with the link.
    ///
    /// # Errors
    ///
    /// The connection is not open, or 64 flushes are under way.
    pub fn flush(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        self.must_be_open()?;
        if self.outbox.flushes() >= MAX_FLUSHES {
            return Err(Error::Flushes { limit: MAX_FLUSHES });
        }
        self.outbox.flush(tag);
        Ok(())
    }

    /// Reads on after [`AfterHandshake::Pause`](super::AfterHandshake::Pause).
    ///
    /// # Errors
    ///
    /// Nothing is paused.
    pub fn resume(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        self.must_be_open()?;
        if !matches!(self.state, State::Open { is_paused: true }) {
            return Err(Error::NotPaused);
        }
        self.state = State::Open { is_paused: false };
        Ok(())
    }

    /// Takes the stream over with the octets that were read too far, once everything accepted is with the
    /// link. [`Ask::Detach`](crate::Ask::Detach) gives it, and [`Event::Closed`] tells so.
    ///
    /// # Errors
    ///
    /// The connection is not open, or a message has come in part and would be lost.
    pub fn hand_over(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        self.must_be_open()?;
        if self.assembly.is_begun() || self.framing.is_passing() {
            return Err(Error::MidMessage {
                len: self.assembly.len(),
            });
        }
        self.state = State::Handing(tag);
        self.timers = [None; Timer::COUNT];
        self.arm(Timer::Close, Some(self.rules.drain_timeout));
        Ok(())
    }

    /// Sends what was accepted, then ends the connection. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// The stream is being handed over.
    pub fn close(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        let untold = match &self.state {
            State::Handing(_) => return Err(Error::Closed),
            State::Closing(_) | State::Gone => return Ok(()),
            State::Open { .. } => Untold::Closed,
            State::Waiting(_) => {
                self.end(Reason::Closed);
                return Ok(());
            }
            State::Requesting(_) | State::Listening(_) | State::Deciding(..) => Untold::Failed,
        };
        if untold == Untold::Closed && self.rules.farewell.contains(SendDisconnect::CLOSE) {
            self.close_by_dr();
        } else {
            self.begin_closing(Some(untold));
        }
        Ok(())
    }

    /// Returns what was counted so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Tells whether octets wait for a decision of the application.
    pub(super) const fn awaits_decision(&self) -> bool {
        matches!(
            self.state,
            State::Deciding(..) | State::Open { is_paused: true }
        )
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    const fn not_in_place(&self, otherwise: Error) -> Error {
        match self.state {
            State::Closing(_) | State::Handing(_) | State::Gone => Error::Closed,
            _ => otherwise,
        }
    }

    const fn must_be_open(&self) -> Result<(), Error> {
        match self.state {
            State::Open { .. } => Ok(()),
            _ => Err(self.not_in_place(Error::NotOpen)),
        }
    }

    fn must_fit(&mut self, len: usize) -> Result<(), Error> {
        let limit = self.rules.send_queue;
        if len + ENTRY > limit {
            let limit = limit.saturating_sub(ENTRY);
            return Err(Error::TooLong { len, limit });
        }
        let queued = self.outbox.cost();
        if queued + len + ENTRY > limit {
            self.refused = self.refused.max(Some(len));
            return Err(Error::Full { queued, limit });
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        let Some(event) = self.events.pop_front() else {
            return self.next_flushed().map(Event::Flushed);
        };
        self.events_cost -= cost_of(&event);
        if self.events.is_empty() && self.events.capacity() > 8 {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Takes a flush that is done. It is asked for after the send, when the driver has had its chance to say
    /// that it could not pass on all of it.
    fn next_flushed(&mut self) -> Option<Tag> {
        if self.carrier == Carrier::Ready {
            self.outbox.next_flushed()
        } else {
            None
        }
    }

    /// Writes what fits; tells whether anything was written.
    fn write(&mut self, tx: &mut Transmit<()>) -> bool {
        if self.carrier != Carrier::Ready {
            return false;
        }
        let written = self.outbox.write(tx, self.agreed.tpdu_size - DATA_HEADER);
        if tx.is_empty() {
            return false;
        }
        self.stats.octets_sent += written.octets as u64;
        self.stats.messages_sent += written.messages as u64;
        match &self.state {
            State::Requesting(config) if written.is_opened => {
                let span = config.answer_timeout;
                self.arm(Timer::Handshake, span);
            }
            State::Closing(_) | State::Handing(_) => {
                self.arm(Timer::Close, Some(self.rules.drain_timeout));
            }
            _ => (),
        }
        self.settle_room();
        true
    }

    /// Half the queue is to be free first, so that a sender that waits can send many and not one.
    fn settle_room(&mut self) {
        let limit = self.rules.send_queue;
        let cost = self.outbox.cost();
        if let Some(len) = self.refused
            && cost + len + ENTRY <= limit
            && cost <= limit / 2
        {
            self.refused = None;
            self.tell(Event::Room);
        }
    }

    fn go_up(&mut self) {
        if self.carrier == Carrier::Dead {
            return;
        }
        match mem::replace(&mut self.state, State::Gone) {
            State::Waiting(config) => self.begin(config),
            other => self.state = other,
        }
    }

    fn begin(&mut self, config: Box<Config>) {
        match &config.role {
            Role::Initiator(proposal) => {
                self.outbox
                    .open_with(handshake::request(&config, proposal, self.reference));
                self.state = State::Requesting(config);
            }
            Role::Responder(_) => {
                self.arm(Timer::Handshake, config.request_timeout);
                self.state = State::Listening(config);
            }
        }
    }
}

impl Machine for Connection {
    type Addr = ();
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, (): (), octets: &[u8]) {
        self.advance(now);
        self.take_in(octets);
    }

    fn link(&mut self, now: Instant, (): (), state: Link) {
        self.advance(now);
        match (state, self.carrier) {
            (Link::Up | Link::Opened(_), _) => self.go_up(),
            (Link::Full, Carrier::Ready) => self.carrier = Carrier::Full,
            (Link::Free, Carrier::Full) => self.carrier = Carrier::Ready,
            (Link::Ended, Carrier::Ready | Carrier::Full)
                if !matches!(self.state, State::Waiting(_)) && self.peer_end.is_none() =>
            {
                self.peer_end = Some(PeerEnd::Finished);
            }
            (Link::Down(cause), Carrier::Ready | Carrier::Full) => self.go_down(cause),
            _ => (),
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match command {
            Command::Accept(acceptance) => self.accept(now, &acceptance),
            Command::Refuse(refusal) => self.refuse(now, &refusal),
            Command::Send(message) => self.send(now, message),
            Command::SendExpedited(message) => self.send_expedited(now, message),
            Command::Flush(tag) => self.flush(now, tag),
            Command::Resume => self.resume(now),
            Command::Detach(tag) => self.hand_over(now, tag),
            Command::Close => self.close(now),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        tx.clear();
        self.advance(now);
        loop {
            self.fire_timers();
            self.catch_up();
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
            if let Some(ask) = self.next_ask() {
                return Output::Ask(ask);
            }
            if self.write(tx) {
                return Output::Transmit;
            }
            if matches!(self.state, State::Gone) {
                return Output::Done;
            }
            self.time_silence();
            let deadline = self.deadline();
            if deadline.is_none_or(|due| due > self.now) {
                return Output::Idle(deadline);
            }
        }
    }

    fn wants(&self, (): ()) -> bool {
        match self.state {
            State::Closing(_) => self.peer_end.is_none(),
            State::Deciding(..) => !self.is_holding(),
            _ => !self.is_holding() && self.may_decode(),
        }
    }
}

fn draw_reference(chance: &mut Rng) -> u16 {
    u16::try_from(1 + chance.below(u64::from(u16::MAX))).unwrap_or(1)
}
