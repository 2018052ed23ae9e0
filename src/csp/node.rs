//! The node: ports, connections, packets without connection, services and routes.

mod carrier;
mod commands;
mod events;
mod fragments;
mod inbound;
mod links;
mod outbound;
mod requests;
mod services;
mod slot;
mod source_ports;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::InterfaceCodec;
use super::api::{
    Command, ConnectionId, Endpoint, Error, Event, InterfaceStats, SocketOptions, Stats,
};
use super::carriers::FrameStats;
use super::config::{Config, ConfigError};
use super::rdp::{Connection, DataKind};
use super::ring::PacketRing;
use super::routing::{Route, Router};
use super::security::Security;
use super::sfp::Fragments;
use super::wire::{Header, SequenceNumber};
use crate::{Addr as _, Hop, Instant, Link, Machine, Output, Rng, Seed, Transmit};
use carrier::PacketHead;
#[cfg(feature = "dtp")]
pub(crate) use carrier::Put;
use fragments::FragmentSenders;
use inbound::Lend;
use links::Links;
use requests::Requests;
use services::PendingRequests;
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
    /// When the node was first driven.
    started: Option<Instant>,
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
    fragments: FragmentSenders,
    requests: Requests,
    pending: PendingRequests,
    links: Links,
    router: Router,
    /// Of each interface.
    codecs: Vec<InterfaceCodec>,
    security: Security,
    /// The data of the packet that was decrypted last.
    decrypted: Vec<u8>,
    /// Control packets of RDP sent, modulo 16.
    control_packets: u8,
    /// Whether a packet went nowhere, the last time that packets were written.
    has_lost: bool,
    stats: Stats,
}

/// Where a packet without connection came from, and the port it came to.
#[derive(Debug, Clone, Copy, Default)]
struct DatagramAddress {
    port: u8,
    from: Endpoint,
    kind: DataKind,
}

#[derive(Debug)]
struct OutgoingDatagram {
    head: PacketHead,
    data: OutgoingData,
}

#[derive(Debug)]
enum OutgoingData {
    Packet(Bytes),
    Fragments(Fragments),
}

impl OutgoingDatagram {
    /// Returns the octets that the application allocated.
    fn octets(&self) -> usize {
        match &self.data {
            OutgoingData::Packet(data) => data.len(),
            OutgoingData::Fragments(fragments) => fragments.octets(),
        }
    }
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
            started: None,
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
            loopback: PacketRing::new(MAX_LOOPBACK, config.max_packet()),
            fragments: FragmentSenders::new(&config),
            requests: Requests::new(&config),
            pending: PendingRequests::new(&config),
            links: Links::new(&config),
            router: Router::new(&config),
            codecs: config.codecs(),
            security: Security::new(&config),
            decrypted: Vec::with_capacity(max_decrypted(&config)),
            control_packets: 0,
            has_lost: false,
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

    /// Returns the counters of an interface, if there is one of this number.
    #[must_use]
    pub fn interface_stats(&self, interface: u8) -> Option<InterfaceStats> {
        self.router.stats(interface)
    }

    /// Returns what was counted of frames on an interface that gave no packet, if there is one of this number.
    #[must_use]
    pub fn frame_stats(&self, interface: u8) -> Option<FrameStats> {
        let codec = self.codecs.get(usize::from(interface))?;
        Some(codec.stats())
    }

    /// Returns the routes, in the order in which they were set.
    #[must_use]
    pub const fn routes(&self) -> &[Route] {
        self.router.routes()
    }

    /// Returns the bytes of memory that the node holds: what it has allocated, and the packets that came with
    /// commands.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let packets = self.slots.iter().map(Slot::octets);
        let outgoing = self.outgoing.iter().map(OutgoingDatagram::octets);
        let commands = packets.chain(outgoing).sum::<usize>() + self.requests.octets();
        self.config.footprint() + commands
    }

    /// Takes packets that the node sent to itself, and fires due timers.
    pub(crate) fn advance(&mut self, now: Instant, lend: Lend<'_>) {
        self.observe(now);
        self.receive_loopback(lend);
        for slot in &mut self.slots {
            slot.on_time(self.now);
        }
        self.requests.on_time(self.now);
        self.pending.on_time(self.now);
    }

    /// Takes the time of what follows.
    pub(crate) fn observe(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.started.get_or_insert(now);
    }

    /// Tells whether an address is one of this node.
    fn is_own(&self, address: u16) -> bool {
        self.config.has_address(address) || self.router.has_address(address)
    }

    /// Tells whether packets to an address leave by any interface.
    fn leads_to(&self, address: u16) -> bool {
        self.router.exits(address, None).next().is_some()
    }

    /// Tells whether there is more to do at once: packets to the node itself, or events of what was written. What went
    /// nowhere may have ended a connection.
    pub(crate) fn is_busy(&self) -> bool {
        let has_events = self.router.has_captured() || self.requests.has_event();
        !self.loopback.is_empty() || has_events || self.has_lost
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
        let requests = self.requests.deadline().into_iter();
        let pending = self.pending.deadline().into_iter();
        let fragments = self.fragments.deadline().into_iter();
        let paced = self.links.deadline(self.now);
        connections
            .chain(requests)
            .chain(pending)
            .chain(fragments)
            .chain(paced)
            .min()
    }
}

impl Machine for Node {
    type Addr = Hop;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, hop: Hop, octets: &[u8]) {
        self.observe(now);
        self.receive_octets(hop, octets, &mut |_| false);
    }

    fn link(&mut self, now: Instant, at: Hop, state: Link) {
        self.observe(now);
        if matches!(state, Link::Up | Link::Down(_))
            && at == at.carrier()
            && let Some(codec) = self.codecs.get_mut(usize::from(at.interface))
        {
            codec.clear();
        }
        self.links.on_cue(at, state);
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        self.observe(now);
        match command {
            Command::Bind { port, options } => self.bind(port, options),
            Command::Unbind(port) => self.unbind(port),
            Command::Connect { tag, to, options } => {
                self.connect(tag, to, options, self.config.rdp)
            }
            Command::Send { connection, data } => self.send(connection, data),
            Command::Close(connection) => self.close(connection),
            Command::Hold(connection) => self.hold(connection),
            Command::Release(connection) => self.release(connection),
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
            Command::Request {
                tag,
                destination,
                request,
                timeout,
            } => self.request(tag, destination, request, timeout),
            Command::Answer { request, answer } => self.answer_request(request, answer.as_ref()),
            Command::SendFragments {
                connection,
                mtu,
                data,
            } => self.send_fragments(connection, mtu, data),
            Command::SendFragmentsTo {
                from,
                to,
                options,
                mtu,
                data,
            } => self.send_fragments_to(from, to, options, mtu, data),
            Command::SetRoute(route) => self.set_route(route),
            Command::RemoveRoute { address, prefix } => self.router.remove_route(address, prefix),
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
        if self.is_busy() {
            return Output::Yield;
        }
        Output::Idle(self.deadline())
    }
}

/// Octets of decrypted data, if there is a key.
fn max_decrypted(config: &Config) -> usize {
    match config.xtea_key {
        Some(_) => config.max_data.into(),
        None => 0,
    }
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
        + PacketRing::<()>::footprint(MAX_LOOPBACK, config.max_packet())
        + FragmentSenders::footprint(config)
        + Requests::footprint(config)
        + PendingRequests::footprint(config)
        + Links::footprint(config.interfaces.len())
        + Router::footprint(config)
        + config.codecs_footprint()
        + max_decrypted(config)
        + config.routes.capacity() * size_of::<Route>()
        + config.aliases.capacity() * size_of::<u16>()
        + config.interfaces.capacity() * size_of::<super::InterfaceConfig>()
}
