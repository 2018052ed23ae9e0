//! RDP as libcsp has it.

use std::collections::VecDeque;

use bytes::Bytes;
use farlink::Instant;
use farlink::csp::{Flags, Header, Priority, RdpFlags, RdpHeader, SynOptions};

use super::{App, Libcsp, Told};

/// Who has closed a connection. One that its program does not close keeps its slot for ever.
const BY_PROGRAM: u8 = 1;
const BY_PROTOCOL: u8 = 2;
const BY_TIMEOUT: u8 = 4;
const BY_ALL: u8 = 7;
/// How long a thread takes that does not run at once.
const WAKE_TIME: core::time::Duration = core::time::Duration::from_micros(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    SynSent,
    SynReceived,
    Open,
    CloseWait,
}

/// Who is at the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    Router,
    Program,
}

/// A packet that is kept to be sent again.
#[derive(Debug, Clone)]
struct Kept {
    flags: u8,
    sequence: u16,
    acknowledgement: u16,
    data: Bytes,
    sent: u64,
}

/// One slot of the pool, with what its last connection left in it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "libcsp has as many flags")]
pub(crate) struct Connection {
    pub(crate) is_taken: bool,
    pub(super) serial: u64,
    pub(super) is_client: bool,
    pub(super) port: u8,
    pub(super) peer: (u16, u8),
    pub(super) crc32: bool,
    pub(super) priority: Priority,
    pub(super) options: SynOptions,
    pub(crate) state: State,
    /// Accepted by no program.
    pub(super) is_pending: bool,
    /// The tag of a program that waits for the connection to open, and the attempts that it has left.
    pub(super) connecting: Option<(u64, u8)>,
    closed_by: u8,
    snd_nxt: u16,
    snd_una: u16,
    snd_iss: u16,
    rcv_cur: u16,
    rcv_irs: u16,
    rcv_lsa: u16,
    /// When a packet was last taken, or the state CLOSE-WAIT begun.
    pub(super) timestamp: Instant,
    ack_timestamp: u64,
    kept: VecDeque<Kept>,
    /// Packets received out of order.
    ahead: VecDeque<(u16, Bytes)>,
    /// What the program can read. Nothing says that the connection has ended.
    queue: VecDeque<Option<Bytes>>,
    /// What the program is about to send, and whether it closes then.
    pub(super) outbox: VecDeque<Bytes>,
    pub(super) closes: bool,
    pub(super) blocked_since: Option<Instant>,
    /// When that thread runs, after it was woken.
    wakes_at: Option<Instant>,
    /// The program was told that it has ended.
    has_ended: bool,
}

fn is_between(number: u16, first: u16, last: u16) -> bool {
    last.wrapping_sub(first) >= number.wrapping_sub(first)
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            is_taken: false,
            serial: 0,
            is_client: false,
            port: 0,
            peer: (0, 0),
            crc32: false,
            priority: Priority::Normal,
            options: SynOptions::default(),
            state: State::Closed,
            is_pending: false,
            connecting: None,
            closed_by: 0,
            snd_nxt: 0,
            snd_una: 0,
            snd_iss: 0,
            rcv_cur: 0,
            rcv_irs: 0,
            rcv_lsa: 0,
            timestamp: Instant::ZERO,
            ack_timestamp: 0,
            kept: VecDeque::new(),
            ahead: VecDeque::new(),
            queue: VecDeque::new(),
            outbox: VecDeque::new(),
            closes: false,
            blocked_since: None,
            wakes_at: None,
            has_ended: false,
        }
    }

    /// Of the numbers of the last connection RCV.CUR stays as it was.
    pub(super) fn take(&mut self, serial: u64) {
        let rcv_cur = self.rcv_cur;
        *self = Self::new();
        self.rcv_cur = rcv_cur;
        self.is_taken = true;
        self.serial = serial;
    }

    pub(super) fn begin(&mut self, initial: u16) {
        self.snd_iss = initial;
        self.snd_nxt = initial.wrapping_add(1);
        self.snd_una = initial;
        self.kept.clear();
    }

    fn window(&self) -> u16 {
        u16::try_from(self.options.window).unwrap_or(u16::MAX)
    }

    fn can_send(&self) -> bool {
        let last = self.snd_una.wrapping_add(self.window()).wrapping_sub(1);
        is_between(self.snd_nxt, self.snd_una, last)
    }

    fn begin_receiving(&mut self, sequence: u16) {
        self.rcv_cur = sequence;
        self.rcv_irs = sequence;
        self.rcv_lsa = sequence;
    }

    fn takes_ack(&self, number: u16) -> bool {
        let reach = self.window().wrapping_mul(2).wrapping_add(1);
        let first = self.snd_una.wrapping_sub(reach);
        is_between(number, first, self.snd_nxt.wrapping_sub(1))
    }
}

impl<A: App> Libcsp<A> {
    /// Sends a packet without data of the program. A SYN is kept to be sent again.
    pub(super) fn send_control(
        &mut self,
        at: usize,
        flags: RdpFlags,
        sequence: u16,
        acknowledgement: u16,
        data: &[u8],
    ) {
        let octet = self.control_packets << 4 | flags.bits();
        self.control_packets = (self.control_packets + 1) & 0x0F;
        let packet = Kept {
            flags: octet,
            sequence,
            acknowledgement,
            data: Bytes::copy_from_slice(data),
            sent: self.millis(),
        };
        let priority = self.slots[at].priority.min(Priority::High);
        self.transmit(at, &packet, priority);
        if flags.contains(RdpFlags::SYN) {
            self.keep(at, packet);
        }
    }

    fn transmit(&mut self, at: usize, packet: &Kept, priority: Priority) {
        let slot = &self.slots[at];
        let header = Header {
            priority,
            source: self.build.address,
            destination: slot.peer.0,
            destination_port: slot.peer.1,
            source_port: slot.port,
            flags: if slot.crc32 {
                Flags::CRC32
            } else {
                Flags::empty()
            },
        };
        let [s0, s1] = packet.sequence.to_be_bytes();
        let [a0, a1] = packet.acknowledgement.to_be_bytes();
        let rdp = [packet.flags, s0, s1, a0, a1];
        self.put(header, &packet.data.clone(), Some(rdp));
    }

    /// All connections share the memory for what may be sent again. What finds none is never sent again.
    fn keep(&mut self, at: usize, packet: Kept) {
        let kept: usize = self.slots.iter().map(|slot| slot.kept.len()).sum();
        if kept < self.build.pool {
            self.slots[at].kept.push_back(packet);
        }
    }

    /// A packet of the connection; the router works on it.
    pub(super) fn on_packet(&mut self, at: usize, rdp: RdpHeader, data: Bytes) {
        let (sequence, number) = (rdp.sequence.0, rdp.acknowledgement.0);
        let flags = rdp.flags;
        if flags.contains(RdpFlags::RST) {
            return self.on_reset(at, flags, sequence, number);
        }
        match self.slots[at].state {
            State::Closed => self.on_packet_in_closed(at, flags, sequence, &data),
            State::SynSent => self.on_packet_in_syn_sent(at, flags, sequence, number),
            State::SynReceived | State::Open => self.on_packet_in_open(at, rdp, data),
            State::CloseWait => {
                if flags.contains(RdpFlags::SYN) || !flags.contains(RdpFlags::ACK) {
                    return;
                }
                if !self.slots[at].takes_ack(number) {
                    return;
                }
                self.slots[at].snd_una = number.wrapping_add(1);
                self.send_reset(at);
            }
        }
    }

    /// A reset is looked at before all else, and its acknowledgement taken whatever becomes of it.
    fn on_reset(&mut self, at: usize, flags: RdpFlags, sequence: u16, number: u16) {
        let slot = &mut self.slots[at];
        let has_ack = flags.contains(RdpFlags::ACK);
        if has_ack {
            slot.snd_una = number.wrapping_add(1);
        }
        match slot.state {
            State::CloseWait | State::Closed => {
                let by = BY_PROTOCOL | if has_ack { BY_TIMEOUT } else { 0 };
                self.end(at, by);
            }
            _ if sequence == slot.rcv_cur.wrapping_add(1) => {
                slot.state = State::CloseWait;
                slot.timestamp = self.now;
                self.send_reset(at);
                self.end(at, BY_PROTOCOL | BY_TIMEOUT);
            }
            _ => {}
        }
    }

    fn send_reset(&mut self, at: usize) {
        let slot = &self.slots[at];
        let (next, current) = (slot.snd_nxt, slot.rcv_cur);
        self.send_control(at, RdpFlags::RST | RdpFlags::ACK, next, current, &[]);
    }

    fn on_packet_in_closed(&mut self, at: usize, flags: RdpFlags, sequence: u16, data: &[u8]) {
        if flags != RdpFlags::SYN {
            let slot = &self.slots[at];
            let (next, current) = (slot.snd_nxt, slot.rcv_cur);
            self.send_control(at, RdpFlags::RST, next, current, &[]);
            self.slots[at].is_taken = false;
            return;
        }
        let Ok(options) = SynOptions::decode(data) else {
            self.slots[at].is_taken = false;
            return;
        };
        let initial = self.draw_initial();
        let slot = &mut self.slots[at];
        slot.begin(initial);
        slot.begin_receiving(sequence);
        slot.options = options;
        slot.state = State::SynReceived;
        let flags = RdpFlags::SYN | RdpFlags::ACK;
        self.send_control(at, flags, initial, sequence, &[]);
    }

    fn on_packet_in_syn_sent(&mut self, at: usize, flags: RdpFlags, sequence: u16, number: u16) {
        let (now, millis) = (self.now, self.millis());
        let slot = &mut self.slots[at];
        if flags.contains(RdpFlags::SYN | RdpFlags::ACK) {
            slot.begin_receiving(sequence);
            slot.snd_una = number.wrapping_add(1);
            slot.ack_timestamp = millis;
            slot.timestamp = now;
            slot.state = State::Open;
            slot.blocked_since = None;
            let next = slot.snd_nxt;
            self.send_control(at, RdpFlags::ACK, next, sequence, &[]);
            let handle = self.handle(at);
            if let Some((tag, _)) = self.slots[at].connecting.take() {
                self.tell(Told::Connected { tag, handle });
            }
            return;
        }
        if flags.contains(RdpFlags::ACK) {
            // The peer has an older connection. Its number is not looked at, so this reset rarely fits.
            let (next, current) = (slot.snd_nxt, slot.rcv_cur);
            self.send_control(at, RdpFlags::RST, next, current, &[]);
            match &mut self.slots[at].connecting {
                Some((_, attempts)) if *attempts > 0 => {
                    *attempts -= 1;
                    self.send_syn(at);
                }
                _ => self.fail_to_connect(at),
            }
            return;
        }
        self.send_reset_and_wait(at);
        self.fail_to_connect(at);
    }

    pub(super) fn fail_to_connect(&mut self, at: usize) {
        let now = self.now;
        let slot = &mut self.slots[at];
        slot.state = State::CloseWait;
        slot.timestamp = now;
        slot.blocked_since = None;
        slot.closed_by |= BY_PROGRAM | BY_PROTOCOL;
        slot.has_ended = true;
        if let Some((tag, _)) = slot.connecting.take() {
            self.tell(Told::ConnectFailed { tag });
        }
    }

    fn on_packet_in_open(&mut self, at: usize, rdp: RdpHeader, data: Bytes) {
        let (sequence, number) = (rdp.sequence.0, rdp.acknowledgement.0);
        let flags = rdp.flags;
        let slot = &self.slots[at];
        if flags.contains(RdpFlags::SYN) || !flags.contains(RdpFlags::ACK) {
            if sequence != slot.rcv_irs {
                self.send_reset_and_wait(at);
                self.end(at, BY_PROTOCOL);
            }
            return;
        }
        let reach = slot.window().wrapping_mul(2);
        let next = slot.rcv_cur.wrapping_add(1);
        if !is_between(sequence, next, slot.rcv_cur.wrapping_add(reach)) {
            if slot.state == State::SynReceived {
                let (initial, peer) = (slot.snd_iss, slot.rcv_irs);
                let flags = RdpFlags::SYN | RdpFlags::ACK;
                self.send_control(at, flags, initial, peer, &[]);
            }
            return;
        }
        if !slot.takes_ack(number) {
            return;
        }
        let now = self.now;
        if slot.state == State::SynReceived {
            if number != slot.snd_iss {
                return;
            }
            let millis = self.millis();
            let slot = &mut self.slots[at];
            slot.state = State::Open;
            slot.is_pending = false;
            slot.ack_timestamp = millis;
            let (handle, port) = (self.handle(at), self.slots[at].port);
            self.tell(Told::Accepted { handle, port });
        }
        let slot = &mut self.slots[at];
        slot.timestamp = now;
        // Backwards too.
        slot.snd_una = number.wrapping_add(1);
        if flags.contains(RdpFlags::EAK) || data.is_empty() {
            return;
        }
        if sequence != next {
            if slot.ahead.iter().any(|(it, _)| *it == sequence) {
                self.check_ack(at);
            } else {
                slot.ahead.push_back((sequence, data));
            }
            return;
        }
        if !self.enqueue(at, Some(data)) {
            return;
        }
        if self.races.is_now() {
            self.run_reader(at);
        }
        self.slots[at].rcv_cur = sequence;
        self.check_ack(at);
        self.drain_ahead(at);
        self.run_reader(at);
    }

    fn drain_ahead(&mut self, at: usize) {
        loop {
            let slot = &self.slots[at];
            let next = slot.rcv_cur.wrapping_add(1);
            let Some(place) = slot.ahead.iter().position(|(it, _)| *it == next) else {
                return;
            };
            if slot.queue.len() >= self.build.queue {
                return;
            }
            let Some((_, data)) = self.slots[at].ahead.remove(place) else {
                return;
            };
            self.enqueue(at, Some(data));
            self.slots[at].rcv_cur = next;
        }
    }

    /// What finds no room is dropped without a word.
    fn enqueue(&mut self, at: usize, data: Option<Bytes>) -> bool {
        let has_room = self.slots[at].queue.len() < self.build.queue;
        if has_room {
            self.slots[at].queue.push_back(data);
        }
        has_room
    }

    /// Acknowledges, if it is time and there is room for a window.
    fn check_ack(&mut self, at: usize) {
        self.check_ack_by(at, Thread::Router);
    }

    fn check_ack_by(&mut self, at: usize, thread: Thread) {
        let millis = self.millis();
        let slot = &self.slots[at];
        let room = self.build.queue.saturating_sub(slot.queue.len());
        if room < usize::from(slot.window()) {
            return;
        }
        let options = slot.options;
        let pending = u32::from(slot.rcv_cur.wrapping_sub(slot.rcv_lsa));
        let is_due = options.delayed_acks == 0
            || millis > slot.ack_timestamp + u64::from(options.ack_timeout)
            || pending > options.ack_delay_count;
        // Without delay the timer acknowledges what is not acknowledged.
        if !is_due {
            return;
        }
        let (next, current) = (slot.snd_nxt, slot.rcv_cur);
        self.send_control(at, RdpFlags::ACK, next, current, &[]);
        let can_race = thread == Thread::Router && !self.slots[at].queue.is_empty();
        if options.delayed_acks != 0 && can_race && self.races.is_now() {
            // The program reads before the router has noted that it has acknowledged, and acknowledges too.
            self.run_reader(at);
        }
        let slot = &mut self.slots[at];
        slot.rcv_lsa = current;
        slot.ack_timestamp = millis;
    }

    /// The program reads what there is.
    pub(super) fn run_reader(&mut self, at: usize) {
        while self.reads && !self.slots[at].is_pending {
            let Some(data) = self.slots[at].queue.pop_front() else {
                return;
            };
            let handle = self.handle(at);
            let Some(data) = data else {
                self.slots[at].has_ended = true;
                return self.tell(Told::Ended { handle });
            };
            let is_open = self.slots[at].state == State::Open;
            if is_open && self.slots[at].options.delayed_acks != 0 {
                self.check_ack_by(at, Thread::Program);
            }
            self.tell(Told::Read { handle, data });
        }
    }

    /// The thread of the program that sends: packets while the window has room, and then it closes.
    pub(super) fn run_sender(&mut self, at: usize) {
        let handle = self.handle(at);
        let was_sending = !self.slots[at].outbox.is_empty();
        while let Some(data) = self.slots[at].outbox.front().cloned() {
            let (now, millis) = (self.now, self.millis());
            let slot = &mut self.slots[at];
            if slot.state != State::Open {
                slot.outbox.clear();
                self.tell(Told::SendFailed { handle });
                break;
            }
            if !slot.can_send() {
                slot.blocked_since.get_or_insert(now);
                return;
            }
            slot.outbox.pop_front();
            slot.blocked_since = None;
            let packet = Kept {
                flags: RdpFlags::ACK.bits(),
                sequence: slot.snd_nxt,
                acknowledgement: slot.rcv_cur,
                data,
                sent: millis,
            };
            slot.snd_nxt = slot.snd_nxt.wrapping_add(1);
            slot.ack_timestamp = millis;
            let priority = slot.priority;
            self.transmit(at, &packet, priority);
            self.keep(at, packet);
        }
        if self.find(handle).is_none() {
            return;
        }
        if was_sending && self.slots[at].outbox.is_empty() {
            self.tell(Told::Sent { handle });
        }
        if self.find(handle).is_some() && self.slots[at].closes && self.slots[at].outbox.is_empty()
        {
            self.close(at);
        }
    }

    /// The program closes: the reset leaves at once, whatever is not acknowledged.
    fn close(&mut self, at: usize) {
        self.slots[at].has_ended = true;
        if self.slots[at].state == State::Closed {
            self.slots[at].is_taken = false;
            return;
        }
        self.send_reset_and_wait(at);
        self.end(at, BY_PROGRAM);
    }

    fn send_reset_and_wait(&mut self, at: usize) {
        let now = self.now;
        let slot = &mut self.slots[at];
        if slot.state == State::CloseWait {
            return;
        }
        slot.state = State::CloseWait;
        slot.timestamp = now;
        self.send_reset(at);
    }

    /// One of those has closed who must all have before the slot is free: the program, the protocol and the timer.
    fn end(&mut self, at: usize, by: u8) {
        let slot = &mut self.slots[at];
        slot.closed_by |= by;
        if slot.is_pending {
            slot.state = State::Closed;
            slot.is_taken = false;
            return;
        }
        if slot.closed_by == BY_ALL {
            slot.state = State::Closed;
            slot.is_taken = false;
            return;
        }
        if by & BY_PROTOCOL != 0 && !slot.has_ended && slot.connecting.is_none() {
            self.enqueue(at, None);
            self.run_reader(at);
        }
    }

    /// The timers, which the router looks at after each packet and each tick.
    pub(super) fn check_timeouts(&mut self) {
        for at in 0..self.slots.len() {
            if self.slots[at].is_taken {
                self.check_timeouts_of(at);
            }
        }
    }

    fn check_timeouts_of(&mut self, at: usize) {
        let slot = &self.slots[at];
        let timeout = core::time::Duration::from_millis(slot.options.connection_timeout.into());
        let is_silent = self.now > slot.timestamp + timeout;
        if is_silent {
            match slot.state {
                State::SynReceived => {
                    self.slots[at].is_taken = false;
                    self.slots[at].state = State::Closed;
                    return;
                }
                State::CloseWait => {
                    self.end(at, BY_PROTOCOL | BY_TIMEOUT);
                    if !self.slots[at].is_taken {
                        return;
                    }
                }
                State::Open => {
                    self.send_reset_and_wait(at);
                    self.end(at, BY_PROTOCOL);
                }
                _ => {}
            }
        }
        self.retransmit(at);
        if self.slots[at].state == State::Open {
            let slot = &self.slots[at];
            if slot.options.delayed_acks != 0 || slot.rcv_cur != slot.rcv_lsa {
                self.check_ack(at);
            }
            if self.slots[at].is_taken {
                self.wake_sender(at);
            }
        } else if self.slots[at].blocked_since.is_some() && self.slots[at].connecting.is_none() {
            self.run_sender(at);
        }
    }

    /// Wakes the thread that waits for the window. It may not run at once.
    fn wake_sender(&mut self, at: usize) {
        if self.slots[at].blocked_since.is_none() || !self.slots[at].can_send() {
            return;
        }
        if self.slots[at].wakes_at.is_none() {
            if !self.races.is_now() {
                return self.run_sender(at);
            }
            self.slots[at].wakes_at = Some(self.now + WAKE_TIME);
        }
    }

    pub(super) fn run_woken(&mut self) {
        for at in 0..self.slots.len() {
            if self.slots[at].wakes_at.is_some_and(|it| it <= self.now) {
                self.slots[at].wakes_at = None;
                self.run_sender(at);
            }
        }
    }

    /// Sends again all whose packet timeout is over, since the last time.
    fn retransmit(&mut self, at: usize) {
        let millis = self.millis();
        let slot = &mut self.slots[at];
        let (una, current) = (slot.snd_una, slot.rcv_cur);
        let is_before = |a: u16, b: u16| a != b && b.wrapping_sub(a) < 1 << 15;
        slot.kept.retain(|packet| !is_before(packet.sequence, una));
        let timeout = u64::from(slot.options.packet_timeout);
        let mut again = Vec::new();
        for packet in &mut slot.kept {
            if millis > packet.sent + timeout {
                packet.sent = millis;
                // The first SYN acknowledges nothing, and the field is filled all the same.
                let is_syn = packet.flags & 0x0F == RdpFlags::SYN.bits();
                packet.acknowledgement = if is_syn { 0 } else { current };
                again.push(packet.clone());
            }
        }
        if !again.is_empty() {
            slot.ack_timestamp = millis;
        }
        let priority = slot.priority;
        for packet in again {
            self.transmit(at, &packet, priority);
        }
    }

    /// When a thread of the program runs that waits for the peer, or gives up.
    pub(super) fn block_deadline(&self) -> Option<Instant> {
        let blocked = self.slots.iter().filter(|slot| slot.is_taken);
        let deadline = |slot: &Connection| {
            let timeout = core::time::Duration::from_millis(slot.options.connection_timeout.into());
            let given_up = slot.blocked_since.map(|it| it + timeout);
            given_up.into_iter().chain(slot.wakes_at).min()
        };
        blocked.filter_map(deadline).min()
    }

    pub(super) fn on_blocked(&mut self) {
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            let timeout = core::time::Duration::from_millis(slot.options.connection_timeout.into());
            let is_over = slot
                .blocked_since
                .is_some_and(|it| it + timeout <= self.now);
            if !slot.is_taken || !is_over {
                continue;
            }
            if slot.connecting.is_some() {
                self.fail_to_connect(at);
                continue;
            }
            slot.blocked_since = None;
            slot.outbox.clear();
            let handle = self.handle(at);
            self.tell(Told::SendFailed { handle });
            if self.find(handle).is_some() && self.slots[at].closes {
                self.close(at);
            }
        }
    }
}
