//! One transport connection as a machine.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::api::{Acceptance, Command, End, Error, Event, Reason, Refusal, Stats};
use super::config::{Config, ConfigError, EmptyMessages, Farewell, Role, Strict};
use super::handshake::{self, MAX_INFORMATION, Request};
use super::segment::{Assembly, ENTRY, Mark, Outbox};
use super::tpkt::{MIN_PACKET, Tpkt};
use super::wire::{DATA_HEADER, DisconnectReason};
use crate::{Ask, Cause, Chance, Instant, Link, Machine, Output, Seed, Tag, Transmit};

mod inbound;
mod memory;
mod rules;

use inbound::{MAX_EXPEDITED, cost_of};
use rules::Rules;

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
    flushes: VecDeque<(Mark, Tag)>,
    /// Octets of the longest message that was refused for lack of room.
    refused: Option<usize>,
    timers: [Option<Instant>; Timer::COUNT],
    /// Packets that had come whole when the packet timer was armed.
    packets_at: u64,
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

/// A connection that ended, and whose stream is being closed.
#[derive(Debug)]
struct Closing {
    /// What to tell at the end, unless it was told at once.
    untold: Option<Untold>,
    is_finished: bool,
    /// A timer ran out, so the stream is to be cut.
    is_aborted: bool,
    /// A DC would answer the DR that was sent.
    awaits_dc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untold {
    Failed,
    Closed,
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
    Down(Cause),
}

#[derive(Debug, Clone, Copy)]
struct Agreed {
    tpdu_size: usize,
    expedited: bool,
    peer: u16,
}

#[derive(Debug, Clone, Copy)]
enum Timer {
    /// TS1, or the wait for a CR.
    Handshake,
    Packet,
    Idle,
    /// Progress of sending while closing or handing over, then TS2.
    Close,
}

impl Timer {
    const ALL: [Self; 4] = [Self::Handshake, Self::Packet, Self::Idle, Self::Close];
    const COUNT: usize = Self::ALL.len();
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
            .map_or_else(|| draw_reference(&mut seed.chance()), u16::from);
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
            flushes: VecDeque::new(),
            refused: None,
            timers: [None; Timer::COUNT],
            packets_at: 0,
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
        if self.flushes.len() >= MAX_FLUSHES {
            return Err(Error::Flushes { limit: MAX_FLUSHES });
        }
        self.flushes.push_back((self.outbox.accepted(), tag));
        Ok(())
    }

    /// Reads on after [`AfterHandshake::Pause`].
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
    /// link. [`Ask::Hand`] gives it, and [`Event::Closed`] tells so.
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
        if untold == Untold::Closed && self.rules.farewell.contains(Farewell::CLOSE) {
            self.close_by_dr();
        } else {
            self.begin_closing(Some(untold));
        }
        Ok(())
    }

    fn close_by_dr(&mut self) {
        // Class 0 has the reasons 0 to 3 alone, and iec61850bean fails on those above 4.
        let reason = DisconnectReason::NOT_SPECIFIED;
        let Agreed { peer, .. } = self.agreed;
        self.outbox
            .end_with(handshake::disconnect(peer, self.reference, reason, &[]));
        let framing = mem::take(&mut self.framing);
        let held = mem::take(&mut self.held);
        let held_at = self.held_at;
        self.begin_closing(Some(Untold::Closed));
        if let State::Closing(closing) = &mut self.state {
            closing.awaits_dc = true;
            self.framing = framing;
            self.look_for_dc(held.get(held_at..).unwrap_or_default());
        }
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

    /// Ends the connection for a reason of its own, tells it at once, and closes the stream.
    fn end(&mut self, reason: Reason) {
        if matches!(self.state, State::Waiting(_)) {
            self.tell_end(Untold::Failed, reason);
            self.leave();
            return;
        }
        if self.discards() {
            return;
        }
        let untold = match self.state {
            State::Open { .. } | State::Handing(_) => Untold::Closed,
            _ => Untold::Failed,
        };
        while let Some(tag) = self.next_flushed() {
            self.tell(Event::Flushed(tag));
        }
        self.flushes = VecDeque::new();
        self.tell_end(untold, reason);
        self.begin_closing(None);
    }

    fn tell_end(&mut self, untold: Untold, reason: Reason) {
        let is_cut_short = matches!(
            reason,
            Reason::PeerClosed
                | Reason::ClosedBeforeConfirm
                | Reason::ClosedBeforeRequest
                | Reason::Link(_)
                | Reason::PacketStalled(_)
                | Reason::Idle(_)
        );
        let packet = match self.framing.unfinished().len() {
            _ if !is_cut_short => 0,
            _ if self.framing.is_passing() => MIN_PACKET,
            len => len,
        };
        let end = Box::new(End {
            reason,
            incomplete: self.assembly.len() + packet,
            unsent: self.outbox.unsent(),
        });
        self.tell(match untold {
            Untold::Failed => Event::Failed(end),
            Untold::Closed => Event::Closed(end),
        });
    }

    fn begin_closing(&mut self, untold: Option<Untold>) {
        self.timers = [None; Timer::COUNT];
        self.refused = None;
        self.assembly = Assembly::default();
        self.framing = Tpkt::default();
        self.drop_held();
        if self.carrier == Carrier::Dead {
            self.leave();
            return;
        }
        self.state = State::Closing(Closing {
            untold,
            is_finished: false,
            is_aborted: false,
            awaits_dc: false,
        });
        self.arm(Timer::Close, Some(self.rules.drain_timeout));
    }

    /// The stream is gone, or somebody else's.
    fn leave(&mut self) {
        self.state = State::Gone;
        self.timers = [None; Timer::COUNT];
        self.outbox.clear();
        self.flushes = VecDeque::new();
        self.framing = Tpkt::default();
        self.drop_held();
    }

    fn arm(&mut self, timer: Timer, span: Option<Duration>) {
        if let Some(place) = self.timers.get_mut(timer as usize) {
            *place = span.map(|span| self.now + span);
        }
    }

    fn disarm(&mut self, timer: Timer) {
        self.arm(timer, None);
    }

    fn timer(&self, timer: Timer) -> Option<Instant> {
        self.timers.get(timer as usize).copied().flatten()
    }

    fn fire_timers(&mut self) {
        for timer in Timer::ALL {
            if self.timer(timer).is_some_and(|due| due <= self.now) {
                self.disarm(timer);
                self.fire(timer);
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        let rules = &self.rules;
        let (span, reason): (_, fn(Duration) -> Reason) = match (timer, &mut self.state) {
            (Timer::Handshake, State::Listening(config)) => {
                (config.request_timeout, Reason::NoRequest)
            }
            (Timer::Handshake, State::Requesting(config)) => {
                (config.answer_timeout, Reason::NoConfirm)
            }
            (Timer::Packet, _) => (rules.packet_timeout, Reason::PacketStalled),
            (Timer::Idle, _) => (rules.idle_timeout, Reason::Idle),
            (Timer::Close, State::Closing(_)) => return self.abort(),
            (Timer::Close, State::Handing(_)) => {
                self.end(Reason::SendStalled(rules.drain_timeout));
                return self.abort();
            }
            (Timer::Handshake | Timer::Close, _) => return,
        };
        // Who is not read cannot be blamed for silence. At the end of time no timer waits.
        if matches!(timer, Timer::Packet | Timer::Idle) && !self.wants(()) {
            self.arm(timer, span.filter(|_| self.now < Instant::MAX));
            return;
        }
        self.end(reason(span.unwrap_or_default()));
    }

    /// Waits for nothing any more.
    pub(super) const fn abort(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.is_aborted = true;
        }
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

    /// Returns a flush that is done. It is asked for after the send, when the driver has had its chance to
    /// say that it could not pass on all of it.
    fn next_flushed(&mut self) -> Option<Tag> {
        let &(mark, tag) = self.flushes.front()?;
        if self.carrier != Carrier::Ready || !self.outbox.has_written(mark) {
            return None;
        }
        self.flushes.pop_front();
        if self.flushes.is_empty() && self.flushes.capacity() > 4 {
            self.flushes = VecDeque::new();
        }
        Some(tag)
    }

    fn next_ask(&mut self) -> Option<Ask<()>> {
        let is_written = self.outbox.is_empty() && self.carrier == Carrier::Ready;
        match &mut self.state {
            State::Handing(tag) if is_written => {
                let tag = *tag;
                Some(self.hand(tag))
            }
            State::Closing(closing) if closing.is_aborted => {
                let reason = if closing.is_finished {
                    Reason::Aborted
                } else {
                    Reason::SendStalled(self.rules.drain_timeout)
                };
                self.finish_closing(reason);
                Some(Ask::Abort(()))
            }
            State::Closing(_) if is_written && self.peer_end.is_some() => {
                self.finish_closing(Reason::Closed);
                Some(Ask::Close(()))
            }
            State::Closing(closing) if is_written && !closing.is_finished => {
                closing.is_finished = true;
                self.arm(Timer::Close, Some(self.rules.close_timeout));
                Some(Ask::Finish(()))
            }
            _ => None,
        }
    }

    fn hand(&mut self, tag: Tag) -> Ask<()> {
        let mut early = Vec::from(self.framing.unfinished());
        early.extend_from_slice(self.held.get(self.held_at..).unwrap_or_default());
        self.tell_end(Untold::Closed, Reason::HandedOver(tag));
        self.leave();
        Ask::Hand {
            tag,
            path: (),
            early: Bytes::from(early),
        }
    }

    fn finish_closing(&mut self, reason: Reason) {
        if let State::Closing(Closing {
            untold: Some(untold),
            ..
        }) = self.state
        {
            self.tell_end(untold, reason);
        }
        self.leave();
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

    fn go_down(&mut self, cause: Cause) {
        let is_cut_short = self.carrier == Carrier::Full || self.outbox.unsent() > 0;
        self.carrier = Carrier::Dead;
        self.peer_end = Some(PeerEnd::Down(cause));
        match &self.state {
            State::Waiting(_) => self.end(Reason::Link(cause)),
            State::Closing(_) if is_cut_short => self.finish_closing(Reason::Link(cause)),
            State::Closing(_) => self.finish_closing(Reason::Closed),
            State::Deciding(..) | State::Handing(_) => self.drop_held(),
            State::Requesting(_) | State::Listening(_) | State::Open { .. } | State::Gone => (),
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
            Command::HandOver(tag) => self.hand_over(now, tag),
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
            let deadline = self.timers.iter().flatten().min().copied();
            if deadline.is_none_or(|due| due > self.now) {
                return Output::Idle(deadline);
            }
        }
    }

    fn wants(&self, (): ()) -> bool {
        match self.state {
            State::Waiting(_)
            | State::Gone
            | State::Handing(_)
            | State::Open { is_paused: true } => false,
            State::Closing(_) => self.peer_end.is_none(),
            State::Deciding(..) => !self.is_holding(),
            State::Requesting(_) | State::Listening(_) | State::Open { is_paused: false } => {
                !self.is_holding() && self.events_cost < self.rules.receive_queue
            }
        }
    }
}

fn draw_reference(chance: &mut Chance) -> u16 {
    u16::try_from(1 + chance.below(u64::from(u16::MAX))).unwrap_or(1)
}
