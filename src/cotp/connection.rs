//! The state machine of one transport connection.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::api::{Acceptance, Command, EndReason, Error, Event, Refusal, Stats};
use super::config::{Config, ConfigError, EmptyMessages, Role, SendDisconnect, Strict};
use super::handshake::{self, MAX_INFORMATION, Request};
use super::segment::{ENTRY_COST, Outbox, Reassembly};
use super::tpkt::Tpkt;
use super::wire::DATA_HEADER;
use crate::{Cause, Instant, Link, Machine, Output, Rng, Seed, Tag, Transmit};

mod ending;
mod inbound;
mod memory;
mod open_config;
mod timers;

use ending::{Closing, EndEvent};
use inbound::{MAX_EXPEDITED, cost_of};
use open_config::OpenConfig;
use timers::Timer;

/// The limit of pending flushes.
const MAX_FLUSHES: usize = 64;

/// A transport connection of class 0 over one stream, in either role.
///
/// The handshake begins with [`Link::Up`]: an initiator sends its CR, a responder waits for one. The last
/// event is [`Event::Failed`] or [`Event::Closed`]. [`Output::Done`] follows when the stream is closed.
#[derive(Debug)]
pub struct Connection {
    config: OpenConfig,
    reference: u16,
    now: Instant,
    state: State,
    link_state: LinkState,
    /// How the peer ended the stream. Octets before the end may wait to be decoded.
    peer_end: Option<PeerEnd>,
    negotiated: Negotiated,
    framing: Tpkt,
    reassembly: Reassembly,
    /// Whether the current DT has EOT.
    is_last_segment: bool,
    /// Octets that are not to be decoded yet, from `unread_at` on.
    unread: Vec<u8>,
    unread_at: usize,
    outbox: Outbox,
    events: VecDeque<Event>,
    /// Octets of the messages in `events`, with [`ENTRY_COST`] more for each.
    events_cost: usize,
    /// Octets of the longest message that was refused with [`Error::Full`].
    refused: Option<usize>,
    timers: [Option<Instant>; Timer::COUNT],
    /// Octets from the peer that were decoded.
    decoded: usize,
    /// Whether the configuration or a command has named the peer.
    is_named: bool,
    stats: Stats,
}

/// The state of a connection. Only those before `Open` have the whole configuration, so that an open
/// connection stays small.
#[derive(Debug)]
enum State {
    /// The stream is not connected yet.
    AwaitingLink(Box<Config>),
    /// The initiator waits for the answer to its CR.
    AwaitingCc(Box<Config>),
    /// The responder waits for a CR.
    AwaitingCr(Box<Config>),
    /// The responder waits for the application to answer a CR.
    Deciding(Box<Config>, Box<Request>),
    Open {
        is_paused: bool,
    },
    /// The stream is detached when all messages are written.
    Detaching(Tag),
    Closing(Closing),
    /// The stream is closed or detached.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Ready,
    Full,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerEnd {
    Finished,
    /// A DC arrived. The stream is still open, so this end is finished before it is closed.
    Confirmed,
    Down(Cause),
}

#[derive(Debug, Clone, Copy)]
struct Negotiated {
    tpdu_size: usize,
    expedited: bool,
    peer: u16,
}

impl Connection {
    /// Makes one end of a connection. The seed determines its reference, unless the configuration does.
    ///
    /// # Errors
    ///
    /// The configuration is invalid; the error has the value and the limit.
    pub fn new(config: Config, seed: &Seed) -> Result<Self, ConfigError> {
        handshake::check(&config)?;
        let framing = Tpkt::new(
            config.limits.packet_limit,
            config.compat.strict.contains(Strict::RESERVED),
        );
        let reference = config
            .compat
            .reference
            .unwrap_or_else(|| draw_reference(&mut seed.rng()));
        Ok(Self {
            reference,
            framing,
            now: Instant::ZERO,
            link_state: LinkState::Ready,
            peer_end: None,
            negotiated: Negotiated {
                tpdu_size: config.tpdu_size.octets(),
                expedited: false,
                peer: 0,
            },
            reassembly: Reassembly::default(),
            is_last_segment: false,
            unread: Vec::new(),
            unread_at: 0,
            outbox: Outbox::default(),
            events: VecDeque::new(),
            events_cost: 0,
            refused: None,
            timers: [None; Timer::COUNT],
            decoded: 0,
            is_named: matches!(config.role, Role::Initiator(_)),
            stats: Stats::default(),
            config: OpenConfig::from(&config),
            state: State::AwaitingLink(Box::new(config)),
        })
    }

    /// Answers the CR of [`Event::Indication`] with a CC.
    ///
    /// # Errors
    ///
    /// No CR waits for an answer, or the acceptance does not fit a CC.
    pub fn accept(&mut self, now: Instant, acceptance: &Acceptance) -> Result<(), Error> {
        self.advance(now);
        let State::Deciding(config, request) = &self.state else {
            return Err(self.closed_or(Error::NoIndication));
        };
        let (cc, connected) = handshake::confirm(config, request, acceptance, self.reference)
            .map_err(Error::Acceptance)?;
        self.is_named = true;
        self.confirm(cc, connected);
        Ok(())
    }

    /// Answers the CR of [`Event::Indication`] with a DR.
    ///
    /// # Errors
    ///
    /// No CR waits for an answer, or the information is too long.
    pub fn refuse(&mut self, now: Instant, refusal: &Refusal) -> Result<(), Error> {
        self.advance(now);
        let State::Deciding(_, request) = &self.state else {
            return Err(self.closed_or(Error::NoIndication));
        };
        let len = refusal.information.len();
        if len > MAX_INFORMATION {
            return Err(Error::Information {
                len,
                limit: MAX_INFORMATION,
            });
        }
        let reference = request.indication.reference;
        self.outbox.set_disconnect(handshake::refuse(
            reference,
            refusal.reason,
            &refusal.information,
        ));
        self.end(EndReason::Declined(refusal.reason));
        Ok(())
    }

    /// Queues a message, which is sent in DTs of the negotiated size. It is copied when it is written, not
    /// before.
    ///
    /// # Errors
    ///
    /// The connection is not open, the message is empty or longer than the queue, or the queue is full.
    pub fn send(&mut self, now: Instant, message: Bytes) -> Result<(), Error> {
        self.advance(now);
        self.check_open()?;
        if message.is_empty() && self.config.empty == EmptyMessages::Refuse {
            return Err(Error::Empty);
        }
        self.check_fits(message.len())?;
        self.is_named = true;
        self.outbox.push(message);
        Ok(())
    }

    /// Queues 1 to 16 octets of expedited data ahead of the messages (RFC 1006 section 6).
    ///
    /// # Errors
    ///
    /// The connection is not open, the handshake did not agree on expedited data, the data have another
    /// length, or the queue is full.
    pub fn send_expedited(&mut self, now: Instant, message: Bytes) -> Result<(), Error> {
        self.advance(now);
        self.check_open()?;
        if !self.negotiated.expedited {
            return Err(Error::NotAgreed);
        }
        let len = message.len();
        if !(1..=MAX_EXPEDITED).contains(&len) {
            return Err(Error::Expedited {
                len,
                limit: MAX_EXPEDITED,
            });
        }
        self.check_fits(len)?;
        self.is_named = true;
        self.outbox.push_expedited(message);
        Ok(())
    }

    /// Requests [`Event::Flushed`] when all messages queued before are written to the stream.
    ///
    /// # Errors
    ///
    /// The connection is not open, or 64 flushes are pending.
    pub fn flush(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        self.check_open()?;
        if self.outbox.flushes() >= MAX_FLUSHES {
            return Err(Error::Flushes { limit: MAX_FLUSHES });
        }
        self.outbox.flush(tag);
        Ok(())
    }

    /// Continues reading after [`AfterHandshake::Pause`](super::AfterHandshake::Pause).
    ///
    /// # Errors
    ///
    /// The connection is not open, or not paused.
    pub fn resume(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        self.check_open()?;
        if !matches!(self.state, State::Open { is_paused: true }) {
            return Err(Error::NotPaused);
        }
        self.state = State::Open { is_paused: false };
        Ok(())
    }

    /// Gives the stream to the application when all queued messages are written.
    /// [`Ask::Detach`](crate::Ask::Detach) has the octets that were read and not decoded; [`Event::Closed`]
    /// is the last event.
    ///
    /// # Errors
    ///
    /// The connection is not open, or a message has arrived in part and would be lost.
    pub fn detach(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        self.check_open()?;
        if self.reassembly.is_begun() || self.framing.is_inside_data() {
            return Err(Error::MidMessage {
                len: self.reassembly.len(),
            });
        }
        self.state = State::Detaching(tag);
        self.timers = [None; Timer::COUNT];
        self.arm(Timer::Close, Some(self.config.drain_timeout));
        Ok(())
    }

    /// Sends all queued messages, then closes the connection. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// The stream is being detached.
    pub fn close(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        let unreported = match &self.state {
            State::Detaching(_) => return Err(Error::Closed),
            State::Closing(_) | State::Done => return Ok(()),
            State::Open { .. } => EndEvent::Closed,
            State::AwaitingLink(_) => {
                self.end(EndReason::Closed);
                return Ok(());
            }
            State::AwaitingCc(_) | State::AwaitingCr(_) | State::Deciding(..) => EndEvent::Failed,
        };
        if unreported == EndEvent::Closed
            && self.config.send_disconnect.contains(SendDisconnect::CLOSE)
        {
            self.close_by_dr();
        } else {
            self.begin_closing(Some(unreported));
        }
        Ok(())
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Tells whether neither the configuration nor a command has named the peer.
    pub(super) const fn is_stranger(&self) -> bool {
        !self.is_named
    }

    /// Tells whether reading waits for a command of the application.
    pub(super) const fn awaits_decision(&self) -> bool {
        matches!(
            self.state,
            State::Deciding(..) | State::Open { is_paused: true }
        )
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    const fn closed_or(&self, otherwise: Error) -> Error {
        match self.state {
            State::Closing(_) | State::Detaching(_) | State::Done => Error::Closed,
            _ => otherwise,
        }
    }

    const fn check_open(&self) -> Result<(), Error> {
        match self.state {
            State::Open { .. } => Ok(()),
            _ => Err(self.closed_or(Error::NotOpen)),
        }
    }

    fn check_fits(&mut self, len: usize) -> Result<(), Error> {
        let limit = self.config.send_queue;
        if len + ENTRY_COST > limit {
            let limit = limit.saturating_sub(ENTRY_COST);
            return Err(Error::TooLong { len, limit });
        }
        let queued = self.outbox.cost();
        if queued + len + ENTRY_COST > limit {
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

    /// Removes a flush that is done. It is reported in the call after the send, since the driver may say
    /// [`Link::Full`] in between.
    fn next_flushed(&mut self) -> Option<Tag> {
        if self.link_state == LinkState::Ready {
            self.outbox.next_flushed()
        } else {
            None
        }
    }

    /// Writes packets to `tx`. Tells whether there were any.
    fn write(&mut self, tx: &mut Transmit<()>) -> bool {
        if self.link_state != LinkState::Ready {
            return false;
        }
        let written = self
            .outbox
            .write(tx, self.negotiated.tpdu_size - DATA_HEADER);
        if tx.is_empty() {
            return false;
        }
        self.stats.octets_sent += written.octets as u64;
        self.stats.messages_sent += written.messages as u64;
        match &self.state {
            State::AwaitingCc(config) if written.is_connect_sent => {
                let span = config.timers.answer_timeout;
                self.arm(Timer::Handshake, span);
            }
            State::Closing(_) | State::Detaching(_) => {
                self.arm(Timer::Close, Some(self.config.drain_timeout));
            }
            _ => (),
        }
        self.report_room();
        true
    }

    /// Reports [`Event::Room`] when half the queue is free, so that a sender can queue many messages and
    /// not one.
    fn report_room(&mut self) {
        let limit = self.config.send_queue;
        let cost = self.outbox.cost();
        if let Some(len) = self.refused
            && cost + len + ENTRY_COST <= limit
            && cost <= limit / 2
        {
            self.refused = None;
            self.emit(Event::Room);
        }
    }

    fn link_up(&mut self) {
        if self.link_state == LinkState::Down {
            return;
        }
        match mem::replace(&mut self.state, State::Done) {
            State::AwaitingLink(config) => self.start_handshake(config),
            other => self.state = other,
        }
    }

    fn start_handshake(&mut self, config: Box<Config>) {
        match &config.role {
            Role::Initiator(proposal) => {
                self.outbox
                    .set_connect(handshake::request(&config, proposal, self.reference));
                self.state = State::AwaitingCc(config);
            }
            Role::Responder(_) => {
                self.arm(Timer::Handshake, config.timers.request_timeout);
                self.state = State::AwaitingCr(config);
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
        self.receive_octets(octets);
    }

    fn link(&mut self, now: Instant, (): (), state: Link) {
        self.advance(now);
        match (state, self.link_state) {
            (Link::Up | Link::Opened(_), _) => self.link_up(),
            (Link::Full, LinkState::Ready) => self.link_state = LinkState::Full,
            (Link::Free, LinkState::Full) => self.link_state = LinkState::Ready,
            (Link::Ended, LinkState::Ready | LinkState::Full)
                if !matches!(self.state, State::AwaitingLink(_)) && self.peer_end.is_none() =>
            {
                self.peer_end = Some(PeerEnd::Finished);
            }
            (Link::Down(cause), LinkState::Ready | LinkState::Full) => self.link_down(cause),
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
            Command::Detach(tag) => self.detach(now, tag),
            Command::Close => self.close(now),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        tx.clear();
        self.advance(now);
        loop {
            self.fire_timers();
            self.decode_unread();
            if let Some(event) = self.next_event() {
                return Output::Event(event);
            }
            if let Some(ask) = self.next_ask() {
                return Output::Ask(ask);
            }
            if self.write(tx) {
                return Output::Transmit;
            }
            if matches!(self.state, State::Done) {
                return Output::Done;
            }
            self.update_peer_timers();
            let deadline = self.deadline();
            if deadline.is_none_or(|due| due > self.now) {
                return Output::Idle(deadline);
            }
        }
    }

    fn wants(&self, (): ()) -> bool {
        match self.state {
            State::Closing(_) => self.peer_end.is_none(),
            State::Deciding(..) => !self.has_unread(),
            _ => !self.has_unread() && self.may_decode(),
        }
    }
}

fn draw_reference(rng: &mut Rng) -> u16 {
    u16::try_from(1 + rng.below(u64::from(u16::MAX))).unwrap_or(1)
}
