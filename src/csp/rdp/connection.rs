//! The state of a connection.

mod inbound;
mod outbound;

use core::time::Duration;
use core::{fmt, mem};

use bytes::Bytes;

use super::parameters::Parameters;
use super::receive::{DataKind, ReceiveQueue};
use super::send::SendQueue;
use crate::Instant;
use crate::csp::wire::{RdpFlags, RdpHeader, SequenceNumber, SfpTrailer, SynOptions};
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

/// What is sent to draw an acknowledgement from a peer that has all and is silent.
///
/// libcsp drops what comes a second time without an answer. If it delays acknowledgements, one that was lost comes
/// again with the next packets or its timeout; if not, it comes with the next packet or never.
#[derive(Debug, Clone, Copy, Default)]
struct Ask {
    /// Packets that may be sent beyond the window, to make the peer acknowledge all. It takes two windows.
    packets: u16,
    /// Whether an RST is to be sent behind the last packet: one in sequence is answered with an acknowledgement of
    /// all, and one that overtook data is ignored.
    is_reset_due: bool,
    is_reset_sent: bool,
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
    /// Where the data belong, if they are a fragment of SFP.
    pub(in crate::csp) fragment: Option<SfpTrailer>,
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
    /// How the peer is asked for an acknowledgement.
    ask: Ask,
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
        let queues = (SendQueue::new(send), ReceiveQueue::new(receive, max_data));
        Self::with(queues, window, Instant::ZERO, SynOptions::default())
    }

    /// Makes a closed connection of these queues.
    fn with(
        (send, receive): (SendQueue, ReceiveQueue),
        max_window: u16,
        now: Instant,
        options: SynOptions,
    ) -> Self {
        Self {
            state: State::Closed(CloseReason::Closed),
            options,
            parameters: Parameters::new(&options, max_window),
            max_window,
            initial: SequenceNumber(0),
            peer_initial: SequenceNumber(0),
            send,
            receive,
            last_acknowledged: SequenceNumber(0),
            ack: Ack::Idle,
            rtt: Rtt::new(),
            shortest: None,
            backoff: 0,
            retransmit_at: None,
            ask: Ask::default(),
            since: now,
            heard: now,
            sent: now,
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
    ///
    /// An acknowledgement that is delayed for more packets than half the window is reduced to that: libcsp would wait
    /// with each window until its timeout.
    pub(in crate::csp) fn connect(
        &mut self,
        now: Instant,
        options: SynOptions,
        initial: SequenceNumber,
    ) {
        let options = SynOptions {
            ack_delay_count: options.ack_delay_count.min(options.window / 2),
            ..options
        };
        self.begin(now, options, initial);
        self.state = State::SynSent { is_due: true };
    }

    /// Begins anew with the same options.
    pub(in crate::csp) fn connect_again(&mut self, now: Instant, initial: SequenceNumber) {
        self.connect(now, self.options, initial);
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
        let mut send = mem::replace(&mut self.send, SendQueue::new(0));
        let mut receive = mem::replace(&mut self.receive, ReceiveQueue::new(0, 0));
        send.reset(initial);
        receive.reset(SequenceNumber(0));
        *self = Self::with((send, receive), self.max_window, now, options);
        self.initial = initial;
    }

    fn begin_receiving(&mut self, initial: SequenceNumber) {
        self.peer_initial = initial;
        self.receive.reset(initial);
        self.last_acknowledged = initial;
    }

    /// Sends a packet once the window lets it. Returns whether there was room for it.
    pub(in crate::csp) fn send(&mut self, data: Bytes) -> bool {
        self.send.push(data, None)
    }

    /// Sends a fragment of SFP as a packet.
    pub(in crate::csp) fn send_fragment(&mut self, place: SfpTrailer, data: Bytes) -> bool {
        self.send.push(data, Some(place))
    }

    pub(in crate::csp) fn has_room(&self) -> bool {
        !self.send.is_full()
    }

    /// Tells whether packets can be sent: it is open, and this end has not closed it.
    pub(in crate::csp) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Tells whether packets of the peer are taken.
    pub(in crate::csp) const fn is_receiving(&self) -> bool {
        matches!(self.state, State::Open | State::Closing)
    }

    /// Returns when the SYN came that this end has answered, as long as its peer has not confirmed the answer.
    pub(in crate::csp) const fn half_open_since(&self) -> Option<Instant> {
        match self.state {
            State::SynReceived { .. } => Some(self.since),
            _ => None,
        }
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
        mem::replace(&mut self.is_opened, false)
    }

    /// Returns RCV.CUR, the last number that was received in order, also of a connection that has ended.
    pub(in crate::csp) const fn last_received(&self) -> SequenceNumber {
        self.receive.current()
    }

    /// Takes the next packet in order.
    pub(in crate::csp) fn take(&mut self) -> Option<(Bytes, DataKind)> {
        self.receive.take()
    }

    /// Takes the number of packets that were acknowledged since the last call.
    pub(in crate::csp) const fn take_acknowledged(&mut self) -> u32 {
        mem::replace(&mut self.newly_acknowledged, 0)
    }

    pub(in crate::csp) const fn connection_timeout(&self) -> Duration {
        self.parameters.connection_timeout
    }

    /// Returns the packets that are not acknowledged.
    pub(in crate::csp) fn unacknowledged(&self) -> usize {
        self.send.len()
    }

    /// Gives up the packets of a connection that has ended.
    pub(in crate::csp) fn forget(&mut self) {
        self.send.reset(self.initial);
    }

    /// Returns the octets of packets that are not acknowledged.
    pub(in crate::csp) fn octets(&self) -> usize {
        self.send.octets()
    }
}
