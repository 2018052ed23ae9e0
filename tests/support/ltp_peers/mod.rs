//! Models of other implementations of LTP, as machines that run in the simulator against an engine of this crate.
//!
//! [`Model`] is one engine with one peer, whose behaviour is given by [`Habits`]: ION 4.1.3 and HDTN 1.3.1 have theirs
//! in `habits.rs`, each with the observation that it follows from. [`Licklider`] is licklider-core 0.1.1 itself, with
//! its defaults. [`Buffered`] puts any machine behind the receive buffer of a UDP socket.
//!
//! Models deliver and answer as the original does towards a peer that keeps the rules. They follow rules of the wire
//! and timers. Not modelled: contact plans, aggregation of units, files on disk, extensions, several peers, and the
//! fault of ION that delivers a block twice when all datagrams come twice (capture 17).
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses some of it"
)]

mod buffered;
mod habits;
mod licklider;
mod receiver;
mod sender;

use core::convert::Infallible;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use farlink::ltp::{Body, Reason, Segment, SessionId};
use farlink::{Instant, Link, Machine, Output, Rng, Seed, Transmit};

pub(crate) use buffered::Buffered;
pub(crate) use habits::{Cut, Habits, Wait};
use habits::{Numbers, Refusal, Scope};
pub(crate) use licklider::Licklider;
use receiver::Import;
use sender::Export;

/// A block that a model is told to send.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) client: u64,
    pub(crate) data: Bytes,
    /// Octets of the red part.
    pub(crate) red: usize,
}

/// A notice to the client service of a model (RFC 5326 section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A red part was received whole.
    Received { session: SessionId, data: Bytes },
    /// A green segment was received.
    Green {
        session: SessionId,
        offset: u64,
        data: Bytes,
    },
    /// The reception of a block was cancelled by either side.
    Cancelled { session: SessionId, reason: Reason },
    /// A block was sent, and its red part claimed.
    Complete { number: u64 },
    /// The transmission of a block was cancelled by either side.
    Failed { number: u64, reason: Reason },
}

/// A segment that is repeated until it is answered.
#[derive(Debug)]
struct Pending {
    octets: Vec<u8>,
    /// How often it has left.
    sends: u32,
    /// When it is repeated. `None` while it waits to be sent.
    due: Option<Instant>,
}

impl Pending {
    const fn new(octets: Vec<u8>) -> Self {
        Self {
            octets,
            sends: 0,
            due: None,
        }
    }
}

/// What a queued segment is, and so whose timer starts when it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timed {
    No,
    Checkpoint { number: u64, serial: u64 },
    CancelBySender(u64),
    Report { session: SessionId, serial: u64 },
    CancelByReceiver(SessionId),
}

/// A segment that waits to be sent.
#[derive(Debug)]
struct Queued {
    octets: Vec<u8>,
    timed: Timed,
    /// The session that is sent with it, if any.
    number: Option<u64>,
}

/// One engine with one peer.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) id: u64,
    pub(crate) peer: u64,
    pub(crate) habits: Habits,
    /// The number of the next session, where they are counted.
    next_session: u64,
    /// The number of the next session, and its first serial number, if they are not drawn.
    fixed_number: Option<u64>,
    fixed_serial: Option<u64>,
    rng: Rng,
    now: Instant,
    exports: BTreeMap<u64, Export>,
    imports: BTreeMap<SessionId, Import>,
    /// Closed receptions, until they are forgotten.
    closed: BTreeMap<SessionId, Instant>,
    /// Client services that were refused once, where that is remembered.
    refused: BTreeSet<SessionId>,
    control: VecDeque<Queued>,
    data: VecDeque<Queued>,
    notices: VecDeque<Notice>,
    /// When the link is idle again under a rate.
    free: Instant,
}

impl Model {
    /// Starts an engine, which remembers nothing.
    pub(crate) fn new(id: u64, peer: u64, habits: Habits, seed: u64) -> Self {
        Self {
            id,
            peer,
            habits,
            next_session: 1,
            fixed_number: None,
            fixed_serial: None,
            rng: Seed::from(seed).child("model").rng(),
            now: Instant::ZERO,
            exports: BTreeMap::new(),
            imports: BTreeMap::new(),
            closed: BTreeMap::new(),
            refused: BTreeSet::new(),
            control: VecDeque::new(),
            data: VecDeque::new(),
            notices: VecDeque::new(),
            free: Instant::ZERO,
        }
    }

    /// Sessions with state: of blocks being sent, and being received.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        (self.exports.len(), self.imports.len())
    }

    /// Sets the number of the next session, and its first serial number, as a capture has them.
    pub(crate) const fn expect_session(&mut self, number: u64, serial: u64) {
        self.fixed_number = Some(number);
        self.fixed_serial = Some(serial);
    }

    fn queue(&mut self, session: SessionId, body: Body<'_>, timed: Timed) {
        let octets = encode(session, body);
        self.control.push_back(Queued {
            octets,
            timed,
            number: None,
        });
    }

    fn first_serial(&mut self) -> u64 {
        let drawn = self.habits.first_serial(&mut self.rng);
        self.fixed_serial.take().unwrap_or(drawn)
    }

    /// The pending segment whose timer a segment starts.
    fn pending(&mut self, timed: Timed) -> Option<&mut Pending> {
        match timed {
            Timed::No => None,
            Timed::Checkpoint { number, serial } => {
                self.exports.get_mut(&number)?.checkpoints.get_mut(&serial)
            }
            Timed::CancelBySender(number) => self.exports.get_mut(&number)?.cancel.as_mut(),
            Timed::Report { session, serial } => {
                self.imports.get_mut(&session)?.reports.get_mut(&serial)
            }
            Timed::CancelByReceiver(session) => self.imports.get_mut(&session)?.cancel.as_mut(),
        }
    }

    /// All repeats that are due at some time.
    fn repeats(&self) -> impl Iterator<Item = (Timed, Instant)> {
        let exports = self.exports.iter().flat_map(|(number, export)| {
            let number = *number;
            let checkpoints = export.checkpoints.iter().map(move |(serial, one)| {
                let serial = *serial;
                (Timed::Checkpoint { number, serial }, one)
            });
            let cancel = export.cancel.iter();
            checkpoints.chain(cancel.map(move |one| (Timed::CancelBySender(number), one)))
        });
        let imports = self.imports.iter().flat_map(|(session, import)| {
            let session = *session;
            let reports = import.reports.iter().map(move |(serial, one)| {
                let serial = *serial;
                (Timed::Report { session, serial }, one)
            });
            let cancel = import.cancel.iter();
            reports.chain(cancel.map(move |one| (Timed::CancelByReceiver(session), one)))
        });
        let all = exports.chain(imports);
        all.filter_map(|(timed, one)| Some((timed, one.due?)))
    }

    fn fire(&mut self) {
        let now = self.now;
        let due = self.repeats().filter(|(_, at)| *at <= now);
        let due: Vec<Timed> = due.map(|(timed, _)| timed).collect();
        for timed in due {
            self.repeat(timed);
        }
        self.gathered_due();
        self.delayed_due();
        self.guards_due();
        self.closed.retain(|_, until| *until > now);
    }

    fn repeat(&mut self, timed: Timed) {
        let most = 1 + self.habits.retries;
        // Gone, if an earlier one has cancelled the session.
        let Some(pending) = self.pending(timed) else {
            return;
        };
        if pending.sends < most {
            pending.due = None;
            let octets = pending.octets.clone();
            let number = match timed {
                Timed::Checkpoint { number, .. } => Some(number),
                _ => None,
            };
            let queued = Queued {
                octets,
                timed,
                number,
            };
            match number {
                Some(_) => self.data.push_back(queued),
                None => self.control.push_back(queued),
            }
            return;
        }
        match timed {
            Timed::No => {}
            Timed::Checkpoint { number, .. } => {
                self.cancel_export(number, Reason::RETRANSMISSION_LIMIT);
            }
            Timed::Report { session, .. } => {
                self.cancel_import(session, Reason::RETRANSMISSION_LIMIT);
            }
            Timed::CancelBySender(number) => drop(self.exports.remove(&number)),
            Timed::CancelByReceiver(session) => self.close_import(session),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let gathered = self.exports.values().filter_map(|one| one.gather_due);
        let imports = self.imports.values().flat_map(|import| {
            let delayed = import.delayed.iter().map(|one| one.due);
            delayed.chain(import.guard(&self.habits))
        });
        let paced = (!self.data.is_empty() && self.free > self.now).then_some(self.free);
        self.repeats()
            .map(|(_, at)| at)
            .chain(gathered)
            .chain(imports)
            .chain(self.closed.values().copied())
            .chain(paced)
            .min()
    }

    /// Sends the next segment, if it is due and fits.
    fn send_next(&mut self, tx: &mut Transmit<u64>) -> bool {
        let is_control = !self.control.is_empty();
        let queue = if is_control {
            &mut self.control
        } else if self.free <= self.now {
            &mut self.data
        } else {
            return false;
        };
        let Some(next) = queue.front() else {
            return false;
        };
        let octets = &next.octets;
        if !tx.push(self.peer, octets.len(), |out| {
            out.extend_from_slice(octets);
        }) {
            return false;
        }
        let (len, timed) = (octets.len(), next.timed);
        queue.pop_front();
        if let (Some(rate), false) = (self.habits.rate, is_control) {
            let nanos = len as u64 * 1_000_000_000 / rate;
            self.free = self.now + core::time::Duration::from_nanos(nanos);
        }
        let due = self.habits.wait.after(self.now);
        if let Some(pending) = self.pending(timed) {
            pending.sends += 1;
            pending.due = Some(due);
        }
        true
    }
}

fn encode(session: SessionId, body: Body<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    Segment::new(session, body).encode(&mut octets);
    octets
}

impl Machine for Model {
    type Addr = u64;
    type Command = Send;
    type Event = Notice;
    type Error = Infallible;

    fn receive(&mut self, now: Instant, _: u64, octets: &[u8]) {
        self.now = now;
        let Ok((segment, _)) = Segment::decode_first(octets) else {
            return;
        };
        let session = segment.session;
        // Data from others is dropped, and so is session 0.
        let is_from = session.originator == self.peer && session.number != 0;
        let is_own = session.originator == self.id;
        match segment.body {
            Body::Data(data) if is_from => self.on_data(session, &data),
            Body::ReportAck(serial) if is_from => self.on_report_ack(session, serial),
            Body::CancelBySender(reason) if is_from => self.on_cancel_by_sender(session, reason),
            Body::CancelAckToReceiver if is_from => self.on_cancel_ack_to_receiver(session),
            Body::Report(report) if is_own => self.on_report(session, &report),
            Body::CancelByReceiver(reason) if is_own => self.on_cancel_by_receiver(session, reason),
            Body::CancelAckToSender if is_own => {
                let is_cancelled = |export: &Export| export.cancel.is_some();
                if self.exports.get(&session.number).is_some_and(is_cancelled) {
                    self.exports.remove(&session.number);
                }
            }
            _ => {}
        }
    }

    fn link(&mut self, _: Instant, _: u64, _: Link) {}

    fn command(&mut self, now: Instant, command: Send) -> Result<(), Infallible> {
        self.now = now;
        self.start(&command);
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<u64>) -> Output<u64, Notice> {
        tx.clear();
        self.now = now;
        self.fire();
        if let Some(notice) = self.notices.pop_front() {
            return Output::Event(notice);
        }
        while self.send_next(tx) {}
        if tx.is_empty() {
            Output::Idle(self.deadline())
        } else {
            Output::Transmit
        }
    }
}
