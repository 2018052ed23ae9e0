//! The node: ports, connections, packets without connection, pings and routes.

mod carrier;
mod commands;
mod events;
mod inbound;
mod outbound;
mod pings;
mod slot;
mod source_ports;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::api::{Command, ConnectionId, Endpoint, Error, Event, SocketOptions, Stats};
use super::config::{Config, ConfigError};
use super::rdp::Connection;
use super::ring::PacketRing;
use super::wire::{Header, Packet, SequenceNumber};
use crate::{Hop, Instant, Link, Machine, Output, Rng, Seed, Transmit};
use carrier::Links;
#[cfg(feature = "dtp")]
pub(crate) use carrier::Put;
use pings::Pings;
use slot::Slot;
use source_ports::SourcePorts;

/// Answers of the node itself that may wait: echoes of pings and resets.
const MAX_ANSWERS: usize = 16;
/// Packets to the node itself that may wait.
const MAX_LOOPBACK: usize = 32;
/// Ports of a node.
const PORTS: usize = 64;

/// A node of a CSP network.
///
/// It allocates when it is made and never after; see [`Config::footprint`].
#[derive(Debug)]
pub struct Node {
    config: Config,
    now: Instant,
    rng: Rng,
    ports: [Option<SocketOptions>; PORTS],
    source_ports: SourcePorts,
    slots: Vec<Slot>,
    /// The slots whose events and packets come first.
    next_event: usize,
    next_to_send: usize,
    datagrams: PacketRing<DatagramAddress>,
    outgoing: VecDeque<OutgoingDatagram>,
    answers: PacketRing<Header>,
    loopback: PacketRing<()>,
    pings: Pings,
    links: Links,
    /// Control packets of RDP sent, modulo 16.
    control_packets: u8,
    stats: Stats,
}

/// Where a packet without connection came from, and the port it came to.
#[derive(Debug, Clone, Copy, Default)]
struct DatagramAddress {
    port: u8,
    from: Endpoint,
}

#[derive(Debug)]
struct OutgoingDatagram {
    header: Header,
    data: Bytes,
}

impl Node {
    /// Makes a node. Initial sequence numbers and source ports come from `seed`.
    ///
    /// # Errors
    ///
    /// When a value of `config` is out of its range.
    pub fn new(config: Config, seed: &Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = seed.rng();
        let max_data = usize::from(config.max_data);
        let queue = usize::from(config.datagram_queue);
        Ok(Self {
            now: Instant::ZERO,
            ports: [None; PORTS],
            source_ports: SourcePorts::new(&mut rng),
            rng,
            slots: (0..config.connections)
                .map(|_| Slot::new(config.connection()))
                .collect(),
            next_event: 0,
            next_to_send: 0,
            datagrams: PacketRing::new(queue, max_data),
            outgoing: VecDeque::with_capacity(queue),
            answers: PacketRing::new(MAX_ANSWERS, max_data),
            loopback: PacketRing::new(MAX_LOOPBACK, max_loopback(&config)),
            pings: Pings::new(),
            links: Links::new(),
            control_packets: 0,
            stats: Stats::default(),
            config,
        })
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the bytes of memory that the node holds: what it has allocated, and the packets that came with
    /// commands.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let packets = self.slots.iter().map(|slot| slot.rdp.octets());
        let outgoing = self.outgoing.iter().map(|packet| packet.data.len());
        self.config.footprint() + packets.chain(outgoing).sum::<usize>()
    }

    /// Takes the time of what follows.
    #[cfg(feature = "dtp")]
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Takes packets that the node sent to itself, and fires due timers.
    pub(crate) fn advance(&mut self, now: Instant, lend: &mut dyn FnMut(&Packet<'_>) -> bool) {
        self.now = self.now.max(now);
        self.receive_loopback(lend);
        for slot in &mut self.slots {
            slot.on_time(self.now);
        }
        self.pings.on_time(self.now);
    }

    /// Tells whether packets to the node itself wait.
    pub(crate) const fn has_loopback(&self) -> bool {
        !self.loopback.is_empty()
    }

    fn draw_initial(&mut self) -> SequenceNumber {
        let [low, high, ..] = self.rng.next_u64().to_le_bytes();
        SequenceNumber(u16::from_le_bytes([low, high]))
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Result<&mut Slot, Error> {
        let slot = self.slots.get_mut(usize::from(id.slot));
        slot.filter(|slot| slot.is_named(id))
            .ok_or(Error::NoConnection(id))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let connections = self.slots.iter().filter_map(Slot::deadline);
        connections.chain(self.pings.deadline()).min()
    }
}

impl Machine for Node {
    type Addr = Hop;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, _: Hop, octets: &[u8]) {
        self.now = self.now.max(now);
        self.receive_packet(octets, &mut |_| false);
    }

    fn link(&mut self, now: Instant, at: Hop, state: Link) {
        self.now = self.now.max(now);
        self.links.on_cue(at, state);
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        self.now = self.now.max(now);
        match command {
            Command::Bind { port, options } => self.bind(port, options),
            Command::Unbind(port) => self.unbind(port),
            Command::Connect { tag, to, options } => {
                self.connect(tag, to, options, self.config.rdp)
            }
            Command::Send { connection, data } => self.send(connection, data),
            Command::Close(connection) => self.close(connection),
            Command::SendTo {
                from,
                to,
                options,
                data,
            } => self.send_to(from, to, options, data),
            Command::Ping {
                tag,
                destination,
                octets,
                timeout,
            } => self.ping(tag, destination, octets, timeout),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Hop>) -> Output<Hop, Event> {
        tx.clear();
        self.advance(now, &mut |_| false);
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        self.write(tx);
        if !tx.is_empty() {
            return Output::Transmit;
        }
        if self.has_loopback() {
            return Output::Yield;
        }
        Output::Idle(self.deadline())
    }
}

fn max_loopback(config: &Config) -> usize {
    config.version.header_len() + usize::from(config.max_data)
}

pub(super) fn footprint(config: &Config) -> usize {
    let max_data = usize::from(config.max_data);
    let queue = usize::from(config.datagram_queue);
    let connection = size_of::<Slot>() + Connection::footprint(config.queues(), max_data);
    size_of::<Node>()
        + usize::from(config.connections) * connection
        + PacketRing::<DatagramAddress>::footprint(queue, max_data)
        + queue * size_of::<OutgoingDatagram>()
        + PacketRing::<Header>::footprint(MAX_ANSWERS, max_data)
        + PacketRing::<()>::footprint(MAX_LOOPBACK, max_loopback(config))
        + Pings::footprint()
        + Links::footprint()
        + config.routes.capacity() * size_of::<super::Route>()
}
