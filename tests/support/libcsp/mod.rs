//! A model of libcsp, faults included: what a node of its 2.2 line does with RDP, ports, slots and queues.
//!
//! It is written from descriptions of libcsp and proven by captures of it, and shares with this crate nothing but the
//! encoding of packets. A program on the node is an [`App`]. It is one thread, and the router is another: where the
//! program acts while the router is at a packet, [`Races`] decide.
#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

mod connection;
mod machine;
mod packet;
mod programs;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use farlink::csp::{Flags, Header, Priority, RdpFlags, SynOptions, Version};
use farlink::{Instant, Rng, Seed};

pub(crate) use connection::{Connection, State};
#[allow(unused_imports, reason = "each test program uses some of it")]
pub(crate) use machine::{Command, Machine};
use packet::Trailers;
#[allow(unused_imports, reason = "each test program uses some of it")]
pub(crate) use programs::{Passive, Sender, Sink};

/// How a libcsp is built and run.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) address: u16,
    pub(crate) version: Version,
    pub(crate) connections: usize,
    /// Packets that a connection holds for its program.
    pub(crate) queue: usize,
    /// Packets of all connections that are kept to be sent again.
    pub(crate) pool: usize,
    /// How often the router looks at timers when no packet comes.
    pub(crate) tick: Duration,
    pub(crate) hmac_passphrase: Option<String>,
}

impl Build {
    pub(crate) fn new(address: u16) -> Self {
        Self {
            address,
            version: Version::V2,
            connections: 8,
            queue: 16,
            pool: 40,
            tick: Duration::from_millis(100),
            hmac_passphrase: None,
        }
    }
}

/// Whether the program gets the processor in the middle of what the router does.
#[derive(Debug)]
pub(crate) enum Races {
    Random(Box<Rng>),
    /// These answers, and then never. What was answered is noted.
    Scripted {
        answers: Vec<bool>,
        asked: usize,
    },
}

impl Races {
    fn is_now(&mut self) -> bool {
        match self {
            Self::Random(rng) => rng.below(8) == 0,
            Self::Scripted { answers, asked } => {
                if answers.len() == *asked {
                    answers.push(false);
                }
                *asked += 1;
                answers[*asked - 1]
            }
        }
    }
}

/// A handle of a connection, as a program has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle {
    slot: usize,
    serial: u64,
}

/// What calls of libcsp return to a program.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Connected {
        tag: u64,
        handle: Handle,
    },
    ConnectFailed {
        tag: u64,
    },
    Accepted {
        handle: Handle,
        port: u8,
    },
    Read {
        handle: Handle,
        data: Bytes,
    },
    /// A read returned nothing: the connection has ended.
    Ended {
        handle: Handle,
    },
    /// A packet could not be sent for the connection timeout, or the connection is not open.
    SendFailed {
        handle: Handle,
    },
    /// All that was to be sent is sent, which says nothing of its delivery.
    Sent {
        handle: Handle,
    },
    Datagram {
        port: u8,
        source: (u16, u8),
        data: Bytes,
    },
}

/// What a program calls.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Listen {
        port: u8,
        crc32_required: bool,
    },
    BindDatagrams(u8),
    Unbind(u8),
    Connect(Connect),
    Send {
        handle: Handle,
        data: Bytes,
    },
    /// Once all is sent: a program that closes is a thread that has returned from sending.
    Close(Handle),
    SendTo {
        from: u8,
        to: (u16, u8),
        priority: Priority,
        crc32: bool,
        data: Bytes,
    },
    /// Whether the program reads its connections.
    Read(bool),
}

#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) tag: u64,
    pub(crate) to: (u16, u8),
    pub(crate) options: SynOptions,
    pub(crate) crc32: bool,
    pub(crate) priority: Priority,
}

/// A program on the node.
pub(crate) trait App: 'static {
    type Command;
    type Event: core::fmt::Debug;

    fn command(&mut self, now: Instant, command: Self::Command, calls: &mut Vec<Call>);
    fn told(&mut self, now: Instant, told: Told, calls: &mut Vec<Call>);
    fn on_time(&mut self, _: Instant, _: &mut Vec<Call>) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn next_event(&mut self) -> Option<Self::Event>;
    /// The process was killed and started again.
    fn restart(&mut self);
}

/// What a port is bound to.
#[derive(Debug, Clone, Copy)]
enum Socket {
    Connections { crc32_required: bool },
    Datagrams,
}

/// The process: a router with its connections, and a program.
#[derive(Debug)]
pub(crate) struct Libcsp<A> {
    pub(crate) build: Build,
    pub(crate) app: A,
    now: Instant,
    /// When the router looks at timers if no packet comes before.
    pub(crate) tick_at: Instant,
    slots: Vec<Connection>,
    sockets: BTreeMap<u8, Socket>,
    reads: bool,
    races: Races,
    /// Initial sequence numbers, and the source of those that follow.
    pub(crate) initials: VecDeque<u16>,
    rng: Rng,
    /// Control packets sent by the node, modulo 16.
    pub(crate) control_packets: u8,
    /// The port of outgoing connections of the first slot. Each slot has its own.
    pub(crate) first_source_port: u8,
    serials: u64,
    /// Where a free slot is looked for first.
    next_slot: usize,
    out: VecDeque<(u16, Vec<u8>)>,
}

impl<A: App> Libcsp<A> {
    pub(crate) fn new(build: Build, app: A, seed: &Seed) -> Self {
        Self {
            slots: (0..build.connections).map(|_| Connection::new()).collect(),
            tick_at: Instant::ZERO + build.tick,
            build,
            app,
            now: Instant::ZERO,
            sockets: BTreeMap::new(),
            reads: true,
            races: Races::Random(Box::new(seed.child("races").rng())),
            initials: VecDeque::new(),
            rng: seed.child("initials").rng(),
            control_packets: 0,
            first_source_port: 17,
            serials: 0,
            next_slot: 0,
            out: VecDeque::new(),
        }
    }

    pub(crate) fn with_races(mut self, answers: Vec<bool>) -> Self {
        self.races = Races::Scripted { answers, asked: 0 };
        self
    }

    /// Returns the answers to the races that came up.
    pub(crate) fn races(&self) -> Vec<bool> {
        match &self.races {
            Races::Scripted { answers, asked } => answers[..*asked].to_vec(),
            Races::Random(_) => Vec::new(),
        }
    }

    /// Returns how many slots are taken.
    pub(crate) fn taken_slots(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_taken).count()
    }

    pub(crate) fn command(&mut self, now: Instant, command: A::Command) {
        self.now = now;
        let mut calls = Vec::new();
        self.app.command(now, command, &mut calls);
        self.carry_out(calls);
    }

    pub(crate) fn restart(&mut self, now: Instant) {
        self.now = now;
        for slot in &mut self.slots {
            *slot = Connection::new();
        }
        self.sockets.clear();
        self.reads = true;
        self.control_packets = 0;
        self.out.clear();
        self.app.restart();
    }

    /// Takes a packet: the router works on it, and then looks at the timers.
    pub(crate) fn receive(&mut self, now: Instant, octets: &[u8]) {
        self.advance(now);
        self.route(octets);
        self.check_timeouts();
        self.tick_at = now + self.build.tick;
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Instant) {
        loop {
            let of_app = self.app.deadline().into_iter().chain(self.block_deadline());
            let next = of_app.chain(self.next_tick()).min();
            let Some(next) = next.filter(|next| *next <= now) else {
                break;
            };
            self.now = self.now.max(next);
            if self.tick_at <= self.now {
                self.check_timeouts();
                self.tick_at += self.build.tick;
            }
            self.run_woken();
            self.on_blocked();
            let mut calls = Vec::new();
            self.app.on_time(self.now, &mut calls);
            self.carry_out(calls);
        }
        self.now = self.now.max(now);
        while self.tick_at <= self.now {
            self.tick_at += self.build.tick;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of_app = self.app.deadline().into_iter().chain(self.block_deadline());
        of_app.chain(self.next_tick()).min()
    }

    /// Without a connection nothing happens at a tick.
    fn next_tick(&self) -> Option<Instant> {
        let is_used = self.slots.iter().any(|slot| slot.is_taken);
        is_used.then_some(self.tick_at)
    }

    /// Takes the next packet to send, and the node it goes to.
    pub(crate) fn next_packet(&mut self) -> Option<(u16, Vec<u8>)> {
        self.out.pop_front()
    }

    fn millis(&self) -> u64 {
        self.now.as_nanos() / 1_000_000
    }

    fn draw_initial(&mut self) -> u16 {
        let next = self.initials.pop_front();
        next.unwrap_or_else(|| u16::try_from(self.rng.below(1 << 16)).unwrap())
    }

    fn tell(&mut self, told: Told) {
        let mut calls = Vec::new();
        self.app.told(self.now, told, &mut calls);
        self.carry_out(calls);
    }

    fn carry_out(&mut self, calls: Vec<Call>) {
        for call in calls {
            match call {
                Call::Listen {
                    port,
                    crc32_required,
                } => {
                    let socket = Socket::Connections { crc32_required };
                    self.sockets.insert(port, socket);
                }
                Call::BindDatagrams(port) => {
                    self.sockets.insert(port, Socket::Datagrams);
                }
                Call::Unbind(port) => {
                    self.sockets.remove(&port);
                }
                Call::Connect(connect) => self.connect(&connect),
                Call::Send { handle, data } => {
                    if let Some(at) = self.find(handle) {
                        self.slots[at].outbox.push_back(data);
                        self.run_sender(at);
                    }
                }
                Call::Close(handle) => {
                    if let Some(at) = self.find(handle) {
                        self.slots[at].closes = true;
                        self.run_sender(at);
                    }
                }
                Call::SendTo {
                    from,
                    to,
                    priority,
                    crc32,
                    data,
                } => {
                    let mut flags = Flags::empty();
                    flags.set(Flags::CRC32, crc32);
                    let header = Header {
                        flags,
                        priority,
                        source: self.build.address,
                        destination: to.0,
                        destination_port: to.1,
                        source_port: from,
                    };
                    self.put(header, &data, None);
                }
                Call::Read(reads) => {
                    self.reads = reads;
                    for at in 0..self.slots.len() {
                        self.run_reader(at);
                    }
                }
            }
        }
    }

    fn find(&self, handle: Handle) -> Option<usize> {
        let slot = &self.slots[handle.slot];
        (slot.is_taken && slot.serial == handle.serial).then_some(handle.slot)
    }

    fn handle(&self, at: usize) -> Handle {
        Handle {
            slot: at,
            serial: self.slots[at].serial,
        }
    }

    /// Sends a packet by its header, with the trailers that its flags ask for.
    fn put(&mut self, header: Header, data: &[u8], rdp: Option<[u8; 5]>) {
        let trailers = Trailers {
            rdp,
            hmac: self
                .build
                .hmac_passphrase
                .as_deref()
                .filter(|_| rdp.is_some()),
        };
        let octets = packet::encode(self.build.version, header, data, &trailers);
        self.out.push_back((header.destination, octets));
    }

    /// The way of a packet into the node: to a connection, or to a socket.
    fn route(&mut self, octets: &[u8]) {
        let hmac = self.build.hmac_passphrase.as_deref();
        let Some(packet) = packet::decode(self.build.version, octets, hmac) else {
            return;
        };
        let header = packet.header;
        if header.destination != self.build.address {
            return;
        }
        let is_of = |slot: &Connection| {
            slot.is_taken
                && if slot.is_client {
                    header.destination_port == slot.port
                } else {
                    header.destination_port == slot.port
                        && header.source_port == slot.peer.1
                        && header.source == slot.peer.0
                }
        };
        if let Some(at) = self.slots.iter().position(is_of) {
            if let Some(rdp) = packet.rdp {
                self.on_packet(at, rdp, packet.data);
            }
            return;
        }
        match self.sockets.get(&header.destination_port) {
            Some(Socket::Datagrams) => self.tell(Told::Datagram {
                port: header.destination_port,
                source: (header.source, header.source_port),
                data: packet.data,
            }),
            Some(Socket::Connections { crc32_required }) => {
                let has_crc32 = header.flags.contains(Flags::CRC32);
                if *crc32_required && !has_crc32 {
                    return;
                }
                let Some(rdp) = packet.rdp else {
                    return self.tell(Told::Datagram {
                        port: header.destination_port,
                        source: (header.source, header.source_port),
                        data: packet.data,
                    });
                };
                let Some(at) = self.take_slot() else { return };
                let slot = &mut self.slots[at];
                slot.is_client = false;
                slot.port = header.destination_port;
                slot.peer = (header.source, header.source_port);
                slot.crc32 = has_crc32;
                slot.priority = header.priority;
                slot.is_pending = true;
                slot.timestamp = self.now;
                self.on_packet(at, rdp, packet.data);
            }
            None => {}
        }
    }

    /// Takes the free slot behind the one that was taken last. What the last connection has left in it stays.
    fn take_slot(&mut self) -> Option<usize> {
        let count = self.slots.len();
        let mut behind = (0..count).map(|it| (self.next_slot + it) % count);
        let at = behind.find(|at| !self.slots[*at].is_taken)?;
        self.next_slot = at + 1;
        self.serials += 1;
        self.slots[at].take(self.serials);
        Some(at)
    }

    fn connect(&mut self, connect: &Connect) {
        let tag = connect.tag;
        let Some(at) = self.take_slot() else {
            return self.tell(Told::ConnectFailed { tag });
        };
        let slot = &mut self.slots[at];
        slot.is_client = true;
        slot.port = self.first_source_port + u8::try_from(at).unwrap();
        slot.peer = connect.to;
        slot.crc32 = connect.crc32;
        slot.priority = connect.priority;
        slot.options = connect.options;
        slot.connecting = Some((tag, 1));
        slot.timestamp = self.now;
        self.send_syn(at);
    }

    fn send_syn(&mut self, at: usize) {
        let initial = self.draw_initial();
        let now = self.now;
        let slot = &mut self.slots[at];
        slot.state = State::SynSent;
        slot.begin(initial);
        slot.blocked_since = Some(now);
        let options = slot.options.encode();
        self.send_control(at, RdpFlags::SYN, initial, 0, &options);
    }
}
