//! The state of a connection.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::parameters::Parameters;
use super::receive::{Inserted, ReceiveQueue};
use super::send::SendQueue;
use crate::Instant;
use crate::csp::wire::{RdpFlags, RdpHeader, SequenceNumber, SynOptions, eack_numbers};
use crate::kit::Rtt;

/// The least time that an acknowledgement is waited for beyond the round trip.
const GRANULARITY: Duration = Duration::from_millis(10);
/// How long a peer may take to confirm a SYN+ACK, whatever timeout it has proposed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a timeout doubles at most, and how often a SYN+ACK is sent without another SYN.
const MAX_BACKOFF: u32 = 6;
/// Repetitions of an RST that the peer does not answer. One that has freed its connection never does.
const MAX_RESETS: u32 = 4;
/// Numbers in the longest EACK sent.
const MAX_EACK: usize = 32;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CloseReason {
    /// This end closed it, and the peer confirmed it or stayed silent.
    Closed,
    /// The peer closed it.
    PeerClosed,
    /// The peer sent nothing for the connection timeout.
    TimedOut,
    /// The peer refused to open it.
    Refused,
    /// The peer sent the SYN of another connection: it knows nothing of this one.
    PeerRestarted,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::PeerClosed => "closed by the peer",
            Self::TimedOut => "the peer sent nothing for the connection timeout",
            Self::Refused => "refused by the peer",
            Self::PeerRestarted => "the peer has restarted",
        })
    }
}

/// The state, by the names of RFC 908 section 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed(CloseReason),
    /// A SYN is to be sent, or was.
    SynSent {
        is_due: bool,
    },
    /// A SYN came, and the SYN+ACK is to be sent, or was.
    SynReceived {
        is_due: bool,
    },
    Open,
    /// OPEN, until all packets are acknowledged; then RST.
    Closing,
    /// An RST is to be sent, or was, and that of the peer is awaited.
    CloseWait {
        is_due: bool,
    },
    /// An RST is to be sent, and nothing is awaited.
    Resetting(CloseReason),
}

/// When an acknowledgement is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ack {
    Idle,
    By(Instant),
    Due,
}

/// What became of a packet that the connection was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) enum Received {
    Accepted,
    /// It was received before.
    Duplicate,
    /// Its sequence number is none that the peer may send.
    BadSequence,
    /// Its acknowledgement number is none that was sent.
    BadAcknowledgement,
    /// The application has not taken enough of those before.
    NoRoom,
    /// It has no meaning in this state.
    Unexpected,
    /// The peer has a connection that this end does not know: to be reset at this sequence number.
    HalfOpen(SequenceNumber),
}

/// Data and trailer of a packet to be sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::csp) struct Segment<'a> {
    pub(in crate::csp) flags: RdpFlags,
    pub(in crate::csp) sequence: SequenceNumber,
    pub(in crate::csp) acknowledgement: SequenceNumber,
    pub(in crate::csp) data: &'a [u8],
    /// Whether the data are those of the application.
    pub(in crate::csp) is_data: bool,
}

/// What [`Connection::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) enum Written {
    Nothing,
    /// There is something, and no room for it.
    Blocked,
    Segment,
    /// A packet of the application was sent again.
    Repetition,
}

/// One end of a connection. It is made once and used for one connection after another.
#[derive(Debug)]
pub(in crate::csp) struct Connection {
    state: State,
    options: SynOptions,
    parameters: Parameters,
    max_window: u16,
    /// SND.ISS and RCV.IRS: the initial numbers of both ends.
    initial: SequenceNumber,
    peer_initial: SequenceNumber,
    send: SendQueue,
    receive: ReceiveQueue,
    /// The last number that was acknowledged to the peer.
    last_acknowledged: SequenceNumber,
    ack: Ack,
    rtt: Rtt,
    /// The shortest round trip seen. One whose acknowledgement was lost looks long.
    shortest: Option<Duration>,
    backoff: u32,
    retransmit_at: Option<Instant>,
    /// When the state began, when the peer was last heard and when something was last sent to it.
    since: Instant,
    heard: Instant,
    sent: Instant,
    /// An RST that overtook data.
    reset_at: Option<SequenceNumber>,
    is_opened: bool,
    newly_acknowledged: u32,
}

impl Connection {
    pub(in crate::csp) fn new(window: u16, queue: (u16, u16), max_data: usize) -> Self {
        let (send, receive) = queue;
        let options = SynOptions::default();
        Self {
            state: State::Closed(CloseReason::Closed),
            options,
            parameters: Parameters::new(&options, window),
            max_window: window,
            initial: SequenceNumber(0),
            peer_initial: SequenceNumber(0),
            send: SendQueue::new(send),
            receive: ReceiveQueue::new(receive, max_data),
            last_acknowledged: SequenceNumber(0),
            ack: Ack::Idle,
            rtt: Rtt::new(),
            shortest: None,
            backoff: 0,
            retransmit_at: None,
            since: Instant::ZERO,
            heard: Instant::ZERO,
            sent: Instant::ZERO,
            reset_at: None,
            is_opened: false,
            newly_acknowledged: 0,
        }
    }

    /// Returns the bytes that a connection allocates.
    pub(in crate::csp) const fn footprint(queue: (u16, u16), max_data: usize) -> usize {
        let (send, receive) = queue;
        SendQueue::footprint(send) + ReceiveQueue::footprint(receive, max_data)
    }

    /// Opens the connection with a SYN.
    pub(in crate::csp) fn connect(
        &mut self,
        now: Instant,
        options: SynOptions,
        initial: SequenceNumber,
    ) {
        self.begin(now, options, initial);
        self.state = State::SynSent { is_due: true };
    }

    /// Opens the connection by the SYN of a peer.
    pub(in crate::csp) fn accept(
        &mut self,
        now: Instant,
        syn: (RdpHeader, SynOptions),
        initial: SequenceNumber,
    ) {
        let (header, options) = syn;
        self.begin(now, options, initial);
        self.begin_receiving(header.sequence);
        self.state = State::SynReceived { is_due: true };
    }

    fn begin(&mut self, now: Instant, options: SynOptions, initial: SequenceNumber) {
        self.options = options;
        self.parameters = Parameters::new(&options, self.max_window);
        self.initial = initial;
        self.send.reset(initial);
        self.receive.reset(SequenceNumber(0));
        self.ack = Ack::Idle;
        self.rtt = Rtt::new();
        self.shortest = None;
        self.backoff = 0;
        self.retransmit_at = None;
        self.since = now;
        self.heard = now;
        self.sent = now;
        self.reset_at = None;
        self.is_opened = false;
        self.newly_acknowledged = 0;
    }

    fn begin_receiving(&mut self, initial: SequenceNumber) {
        self.peer_initial = initial;
        self.receive.reset(initial);
        self.last_acknowledged = initial;
    }

    /// Sends a packet once the window lets it. Returns whether there was room for it.
    pub(in crate::csp) fn send(&mut self, data: Bytes) -> bool {
        self.send.push(data)
    }

    pub(in crate::csp) fn has_room(&self) -> bool {
        !self.send.is_full()
    }

    /// Tells whether packets can be sent: it is open, and this end has not closed it.
    pub(in crate::csp) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Closes the connection once all packets are acknowledged.
    pub(in crate::csp) fn close(&mut self, now: Instant) {
        match self.state {
            State::SynSent { .. } => self.state = State::Closed(CloseReason::Closed),
            State::SynReceived { .. } => self.state = State::Resetting(CloseReason::Closed),
            State::Open => {
                self.state = State::Closing;
                self.since = now;
            }
            _ => {}
        }
    }

    /// Returns why the connection ended, once nothing more is to be sent or taken.
    pub(in crate::csp) const fn closed(&self) -> Option<CloseReason> {
        match self.state {
            State::Closed(reason) if !self.receive.has_ready() => Some(reason),
            _ => None,
        }
    }

    /// Returns true once, when the connection has opened.
    pub(in crate::csp) const fn take_opened(&mut self) -> bool {
        core::mem::replace(&mut self.is_opened, false)
    }

    /// Takes the next packet in order.
    pub(in crate::csp) fn take(&mut self) -> Option<Bytes> {
        self.receive.take()
    }

    /// Takes the number of packets that were acknowledged since the last call.
    pub(in crate::csp) const fn take_acknowledged(&mut self) -> u32 {
        core::mem::replace(&mut self.newly_acknowledged, 0)
    }

    pub(in crate::csp) const fn connection_timeout(&self) -> Duration {
        self.parameters.connection_timeout
    }

    /// Returns the packets that are not acknowledged.
    pub(in crate::csp) fn unacknowledged(&self) -> usize {
        self.send.len()
    }

    /// Returns the octets of packets that are not acknowledged.
    pub(in crate::csp) fn octets(&self) -> usize {
        self.send.octets()
    }

    /// Takes a packet of the peer, without its trailer.
    pub(in crate::csp) fn receive(
        &mut self,
        now: Instant,
        header: RdpHeader,
        data: &[u8],
    ) -> Received {
        match self.state {
            State::Closed(_) | State::Resetting(_) => Received::Unexpected,
            State::SynSent { .. } => self.receive_in_syn_sent(now, header),
            State::SynReceived { .. } => self.receive_in_syn_received(now, header, data),
            State::Open | State::Closing => self.receive_in_open(now, header, data),
            State::CloseWait { .. } => {
                if header.flags == RdpFlags::SYN || header.flags.contains(RdpFlags::RST) {
                    self.state = State::Closed(CloseReason::Closed);
                } else {
                    self.state = State::CloseWait { is_due: true };
                }
                Received::Accepted
            }
        }
    }

    fn receive_in_syn_sent(&mut self, now: Instant, header: RdpHeader) -> Received {
        let flags = header.flags;
        let acknowledges = flags.contains(RdpFlags::ACK) && header.acknowledgement == self.initial;
        if flags.contains(RdpFlags::RST) {
            // One that does not acknowledge the SYN is left from an earlier connection of these ports.
            if !acknowledges {
                return Received::Unexpected;
            }
            self.state = State::Closed(CloseReason::Refused);
            return Received::Accepted;
        }
        if !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        if !flags.contains(RdpFlags::SYN) {
            // The peer resets its old connection if the number is its next one.
            return Received::HalfOpen(header.acknowledgement.plus(1));
        }
        if !acknowledges {
            return Received::BadAcknowledgement;
        }
        self.begin_receiving(header.sequence);
        self.open(now);
        self.ack = Ack::Due;
        Received::Accepted
    }

    fn open(&mut self, now: Instant) {
        if self.backoff == 0 && self.retransmit_at.is_some() {
            self.on_round_trip(now - self.sent);
        }
        // The peer answers; that it took several packets tells of losses more than of a long way.
        self.backoff = self.backoff.min(1);
        self.state = State::Open;
        self.heard = now;
        self.is_opened = true;
        self.retransmit_at = None;
    }

    fn receive_in_syn_received(
        &mut self,
        now: Instant,
        header: RdpHeader,
        data: &[u8],
    ) -> Received {
        let flags = header.flags;
        if flags.contains(RdpFlags::RST) {
            if header.sequence != self.peer_initial.plus(1) {
                return Received::BadSequence;
            }
            self.state = State::Closed(CloseReason::PeerClosed);
            return Received::Accepted;
        }
        if flags == RdpFlags::SYN {
            return self.receive_another_syn(now, header, data);
        }
        if flags.contains(RdpFlags::SYN) || !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        let reach = self.parameters.window.saturating_mul(2);
        if !header.sequence.is_within(self.peer_initial.plus(1), reach) {
            self.state = State::SynReceived { is_due: true };
            return Received::BadSequence;
        }
        if header.acknowledgement != self.initial {
            return Received::BadAcknowledgement;
        }
        self.open(now);
        self.receive_in_open(now, header, data)
    }

    /// Takes a SYN before the connection is open: the same again, or one of a peer that gave up the first.
    fn receive_another_syn(&mut self, now: Instant, header: RdpHeader, data: &[u8]) -> Received {
        if header.sequence != self.peer_initial {
            let Ok(options) = SynOptions::decode(data) else {
                return Received::Unexpected;
            };
            let initial = self.initial;
            self.accept(now, (header, options), initial);
            return Received::Accepted;
        }
        self.state = State::SynReceived { is_due: true };
        Received::Duplicate
    }

    fn receive_in_open(&mut self, now: Instant, header: RdpHeader, data: &[u8]) -> Received {
        let flags = header.flags;
        if flags.contains(RdpFlags::RST) {
            return self.receive_reset(now, header);
        }
        if flags.contains(RdpFlags::SYN) {
            return self.receive_syn_in_open(header);
        }
        if !flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        let window = self.parameters.window;
        let next = self.receive.current().plus(1);
        let reach = window.saturating_mul(2);
        // What is behind comes again since its acknowledgement was lost.
        let first = next.minus(reach);
        if !header.sequence.is_within(first, reach.saturating_mul(2)) {
            self.ack = Ack::Due;
            return Received::BadSequence;
        }
        if !self.send.can_acknowledge(header.acknowledgement, window) {
            return Received::BadAcknowledgement;
        }
        self.heard = now;
        self.on_acknowledgement(now, header.acknowledgement);
        if flags.contains(RdpFlags::EAK) {
            // An EACK is never delayed.
            if let Some(sample) = self.send.acknowledge_ahead(now, eack_numbers(data)) {
                self.on_round_trip(sample);
            }
            return Received::Accepted;
        }
        if data.is_empty() {
            return Received::Accepted;
        }
        let distance = header.sequence.distance(next);
        if distance >= reach {
            self.ack = Ack::Due;
            return Received::Duplicate;
        }
        self.insert(now, distance, data)
    }

    fn insert(&mut self, now: Instant, distance: u16, data: &[u8]) -> Received {
        match self.receive.insert(distance, data) {
            Inserted::NoRoom => return Received::NoRoom,
            Inserted::Duplicate => {
                self.ack = Ack::Due;
                return Received::Duplicate;
            }
            Inserted::Ahead => self.ack = Ack::Due,
            Inserted::InOrder => self.delay_ack(now),
        }
        if self.reset_at == Some(self.receive.current().plus(1)) {
            self.state = State::Resetting(CloseReason::PeerClosed);
        }
        Received::Accepted
    }

    /// Acknowledges what has come in order: by number, or by time.
    fn delay_ack(&mut self, now: Instant) {
        let pending = self.receive.current().distance(self.last_acknowledged);
        if pending >= self.parameters.packets_per_ack() || self.receive.has_gap() {
            self.ack = Ack::Due;
        } else if let (Ack::Idle, Some(timeout)) = (self.ack, self.parameters.ack_timeout) {
            self.ack = Ack::By(now + timeout);
        }
    }

    fn receive_reset(&mut self, now: Instant, header: RdpHeader) -> Received {
        let window = self.parameters.window;
        let number = header.acknowledgement;
        if header.flags.contains(RdpFlags::ACK) && self.send.can_acknowledge(number, window) {
            self.on_acknowledgement(now, number);
        }
        let next = self.receive.current().plus(1);
        if header.sequence == next {
            self.state = State::Resetting(CloseReason::PeerClosed);
            return Received::Accepted;
        }
        if !header.sequence.is_within(next, window.saturating_add(1)) {
            return Received::BadSequence;
        }
        // Data before it are missing: an acknowledgement asks for them.
        self.reset_at = Some(header.sequence);
        self.ack = Ack::Due;
        Received::Accepted
    }

    fn receive_syn_in_open(&mut self, header: RdpHeader) -> Received {
        if header.sequence == self.peer_initial {
            // The ACK that ends the handshake was lost, or this came late.
            self.ack = Ack::Due;
            return Received::Duplicate;
        }
        if header.flags.contains(RdpFlags::ACK) {
            return Received::Unexpected;
        }
        self.state = State::Resetting(CloseReason::PeerRestarted);
        Received::Accepted
    }

    fn on_acknowledgement(&mut self, now: Instant, number: SequenceNumber) {
        let told = self.send.acknowledge(now, number);
        if told.packets == 0 {
            return;
        }
        self.newly_acknowledged += u32::from(told.packets);
        if self.state == State::Closing {
            self.since = now;
        }
        if let Some(sample) = told.sample {
            self.sample(told.packets, sample);
        }
        let rest = self.send.outstanding();
        self.retransmit_at = (rest > 0).then(|| now + self.retransmission_timeout());
    }

    /// Takes the time from a packet to its acknowledgement, of which a delay of the peer is no part.
    fn sample(&mut self, packets: u16, sample: Duration) {
        let delay = self.parameters.peer_delay(packets);
        self.on_round_trip(match self.rtt.smoothed() {
            Some(known) if sample > known => known.max(sample.saturating_sub(delay)),
            _ => sample,
        });
    }

    fn on_round_trip(&mut self, time: Duration) {
        self.backoff = 0;
        self.rtt.on_sample(time);
        self.shortest = Some(self.shortest.map_or(time, |it| it.min(time)));
    }

    /// Returns how long the acknowledgement of what is outstanding may take.
    ///
    /// It doubles with each repetition, up to the packet timeout, by which libcsp repeats, or two round trips: a peer
    /// ends the connection when it is not heard in time.
    fn retransmission_timeout(&self) -> Duration {
        let Parameters {
            packet_timeout,
            connection_timeout,
            ..
        } = self.parameters;
        // Nothing but the acknowledgement of data is delayed.
        let delay = match self.state {
            State::Open | State::Closing => self.parameters.peer_delay(self.send.outstanding()),
            _ => Duration::ZERO,
        };
        let (timeout, most) = match (self.rtt.timeout(GRANULARITY), self.shortest) {
            (Some(timeout), Some(shortest)) => {
                (timeout + delay, packet_timeout.max(shortest * 2 + delay))
            }
            _ => (packet_timeout, packet_timeout.max(connection_timeout / 4)),
        };
        (timeout * (1 << self.backoff)).min(most)
    }

    /// Returns after which silence the state ends.
    fn timeout(&self) -> Duration {
        let timeout = self.parameters.connection_timeout;
        match self.state {
            State::SynReceived { .. } => timeout.min(HANDSHAKE_TIMEOUT),
            _ => timeout,
        }
    }

    /// Returns when time alone changes the connection.
    pub(in crate::csp) fn deadline(&self) -> Option<Instant> {
        let ended = match self.state {
            State::Closed(_) | State::Resetting(_) => return None,
            State::Open => self.heard,
            State::Closing => self.heard.min(self.since),
            _ => self.since,
        };
        let mut deadline = ended + self.timeout();
        if let Some(at) = self.retransmit_at {
            deadline = deadline.min(at);
        }
        if let State::Open | State::Closing = self.state {
            let keepalive = self.sent + self.parameters.keepalive();
            deadline = match self.ack {
                Ack::Idle => deadline.min(keepalive),
                Ack::By(at) => deadline.min(keepalive).min(at),
                Ack::Due => deadline,
            };
        }
        Some(deadline)
    }

    /// Fires the timers that are due.
    pub(in crate::csp) fn on_time(&mut self, now: Instant) {
        let timeout = self.timeout();
        match self.state {
            State::Closed(_) | State::Resetting(_) => return,
            State::SynSent { .. } | State::SynReceived { .. } if self.since + timeout <= now => {
                self.state = State::Closed(CloseReason::TimedOut);
                return;
            }
            State::CloseWait { .. } if self.since + timeout <= now || self.backoff > MAX_RESETS => {
                self.state = State::Closed(CloseReason::Closed);
                return;
            }
            State::Open | State::Closing => {
                let is_stuck = self.state == State::Closing && self.since + timeout <= now;
                if is_stuck || self.heard + timeout <= now {
                    self.state = State::Resetting(CloseReason::TimedOut);
                    return;
                }
                let is_silent = self.sent + self.parameters.keepalive() <= now;
                if is_silent || matches!(self.ack, Ack::By(at) if at <= now) {
                    self.ack = Ack::Due;
                }
            }
            _ => {}
        }
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.retransmit_at = None;
            if self.backoff == MAX_BACKOFF && matches!(self.state, State::SynReceived { .. }) {
                return;
            }
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
            match &mut self.state {
                State::SynSent { is_due }
                | State::SynReceived { is_due }
                | State::CloseWait { is_due } => *is_due = true,
                _ => self.send.on_timeout(),
            }
        }
    }

    /// Writes the next segment, if there is one, by `put`, which tells whether there was room for it.
    pub(in crate::csp) fn write(
        &mut self,
        now: Instant,
        mut put: impl FnMut(Segment<'_>) -> bool,
    ) -> Written {
        let acknowledgement = self.receive.current();
        let control = |flags, sequence, data| Segment {
            flags,
            sequence,
            acknowledgement,
            data,
            is_data: false,
        };
        let reset = RdpFlags::RST | RdpFlags::ACK;
        let options = self.options.encode();
        let segment = match self.state {
            State::SynSent { is_due: true } => control(RdpFlags::SYN, self.initial, &options[..]),
            State::SynReceived { is_due: true } => {
                control(RdpFlags::SYN | RdpFlags::ACK, self.initial, &[])
            }
            State::CloseWait { is_due: true } | State::Resetting(_) => {
                control(reset, self.send.next_number(), &[])
            }
            State::Open | State::Closing => return self.write_in_open(now, put),
            _ => return Written::Nothing,
        };
        if !put(segment) {
            return Written::Blocked;
        }
        self.on_control_sent(now);
        Written::Segment
    }

    fn on_control_sent(&mut self, now: Instant) {
        self.sent = now;
        match &mut self.state {
            State::Resetting(reason) => {
                self.state = State::Closed(*reason);
                return;
            }
            State::SynSent { is_due } | State::SynReceived { is_due } => *is_due = false,
            State::CloseWait { is_due } => *is_due = false,
            _ => {}
        }
        self.retransmit_at = Some(now + self.retransmission_timeout());
    }

    fn write_in_open(&mut self, now: Instant, mut put: impl FnMut(Segment<'_>) -> bool) -> Written {
        let acknowledgement = self.receive.current();
        if let Some(next) = self.send.next(self.parameters.window) {
            let segment = Segment {
                flags: RdpFlags::ACK,
                sequence: next.sequence,
                acknowledgement,
                data: next.data,
                is_data: true,
            };
            let place = next.place();
            if !put(segment) {
                return Written::Blocked;
            }
            let is_again = self.send.on_sent(now, place);
            self.on_acknowledged_sent(now);
            if self.retransmit_at.is_none() {
                self.retransmit_at = Some(now + self.retransmission_timeout());
            }
            return if is_again {
                Written::Repetition
            } else {
                Written::Segment
            };
        }
        if self.state == State::Closing && self.send.is_empty() {
            self.state = State::CloseWait { is_due: true };
            self.since = now;
            self.backoff = 0;
            return self.write(now, put);
        }
        if self.ack != Ack::Due {
            return Written::Nothing;
        }
        let mut numbers = [0; 2 * MAX_EACK];
        let (flags, data) = match self.numbers_ahead(&mut numbers) {
            [] => (RdpFlags::ACK, &[][..]),
            numbers => (RdpFlags::ACK | RdpFlags::EAK, numbers),
        };
        let segment = Segment {
            flags,
            sequence: self.send.next_number(),
            acknowledgement,
            data,
            is_data: false,
        };
        if !put(segment) {
            return Written::Blocked;
        }
        self.on_acknowledged_sent(now);
        Written::Segment
    }

    /// Writes the numbers received out of order as the data of an EACK.
    fn numbers_ahead<'a>(&self, out: &'a mut [u8; 2 * MAX_EACK]) -> &'a [u8] {
        if !self.receive.has_gap() {
            return &[];
        }
        let (places, _) = out.as_chunks_mut::<2>();
        let mut count = 0;
        for (place, number) in places.iter_mut().zip(self.receive.numbers_ahead()) {
            *place = number.0.to_be_bytes();
            count += 1;
        }
        out.get(..2 * count).unwrap_or_default()
    }

    /// A segment with the acknowledgement number was sent.
    const fn on_acknowledged_sent(&mut self, now: Instant) {
        self.sent = now;
        self.ack = Ack::Idle;
        self.last_acknowledged = self.receive.current();
    }
}
