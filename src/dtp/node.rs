//! The node: transfers from servers and to clients, and the node of CSP that carries them.

mod clients;
mod memory;
mod messages;
mod runs;
mod servers;

use alloc::vec::Vec;

use super::api::{Command, Error, Event, NeedId, Stats};
use super::client::Download;
use super::config::{Config, ConfigError};
use super::server::{DATA_PORT, Payload, Transfer};
use crate::csp::{self, ConnectionId, RdpHeader, SocketOptions};
use crate::{Hop, Instant, Link, Machine, Output, Rng, Seed, Tag, Transmit};
use memory::MessageSlot;
use messages::OutgoingMessage;
use runs::Runs;

/// The port that requests come to.
const REQUEST_PORT: u8 = 7;
/// The port that messages of VMEM come to.
const VMEM_PORT: u8 = 14;
/// The tags of connections to servers are the largest there are.
const MAX_TAG: u64 = u64::MAX;

/// A node that gets payloads from servers of DTP, and serves them to clients.
///
/// It allocates when it is made and never after; see [`Config::footprint`]. Payloads that it serves are shared with the
/// application.
#[derive(Debug)]
pub struct Node {
    config: Config,
    now: Instant,
    rng: Rng,
    csp: csp::Node,
    downloads: Vec<Download>,
    transfers: Vec<Transfer>,
    next_to_send: usize,
    payloads: Vec<Payload>,
    /// Connections with messages of VMEM, and the session that was sent last by one.
    messages: Vec<MessageSlot>,
    memory_session: u32,
    outgoing: Vec<OutgoingMessage>,
    /// The connection in each slot of CSP that belongs to a transfer, or did until it is closed.
    own: Vec<Option<ConnectionId>>,
    runs: Runs,
    needs: NeedId,
    /// Whether an ask was finished in this poll, so that the next one may be taken.
    is_released: bool,
    is_shut_down: bool,
    stats: Stats,
}

impl Node {
    /// Makes a node. Session ids, sequence numbers and source ports come from `seed`.
    ///
    /// # Errors
    ///
    /// When a value of `config` is out of its range.
    pub fn new(config: Config, seed: &Seed) -> Result<Self, ConfigError> {
        config.check()?;
        let carrier = config.carrier()?;
        let connections = usize::from(carrier.connections);
        let mut csp = csp::Node::new(carrier, &seed.child("csp")).map_err(ConfigError::Csp)?;
        if config.servers > 0 {
            // Of a node that was just made, every port but that of pings is free.
            let mut options = SocketOptions::RDP_REQUIRED;
            options.set(SocketOptions::HMAC_REQUIRED, config.hmac);
            let _: Result<(), csp::Error> = csp.bind(REQUEST_PORT, options);
            if config.vmem_messages > 0 {
                options.remove(SocketOptions::RDP_REQUIRED);
                options.insert(SocketOptions::CRC32_REQUIRED);
                let _: Result<(), csp::Error> = csp.bind(VMEM_PORT, options);
            }
        }
        let (max_holes, max_ask) = (usize::from(config.max_holes), max_ask(&config));
        // Bound: an address has at least 32 bits where there are 64 KiB of memory to lend.
        let run = usize::try_from(config.data_event_octets).unwrap_or(usize::MAX);
        Ok(Self {
            now: Instant::ZERO,
            rng: seed.rng(),
            csp,
            downloads: (0..config.clients)
                .map(|_| Download::free(max_holes, max_ask))
                .collect(),
            transfers: (0..config.servers)
                .map(|_| Transfer::free(max_ask))
                .collect(),
            next_to_send: 0,
            payloads: Vec::with_capacity(usize::from(config.payloads)),
            messages: (0..received_messages(&config))
                .map(|_| MessageSlot::free())
                .collect(),
            memory_session: 0,
            outgoing: (0..sent_messages(&config))
                .map(|_| OutgoingMessage::free())
                .collect(),
            own: (0..connections).map(|_| None).collect(),
            runs: Runs::new(usize::from(config.data_events), run),
            needs: NeedId(0),
            is_released: false,
            is_shut_down: false,
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

    /// Returns the node that carries the transfers.
    #[must_use]
    pub const fn csp(&self) -> &csp::Node {
        &self.csp
    }

    /// Returns the bytes of memory that the node holds: what it has allocated, the packets that came with commands, and
    /// the octets of payloads on demand. Payloads that it serves are the application's.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let own = self.config.footprint() - self.csp.config().footprint();
        let fed = self.transfers.iter().map(|it| it.blocks.octets());
        own + fed.sum::<usize>() + self.csp.memory_used()
    }

    fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.csp.observe(now);
    }

    fn csp_command(&mut self, command: csp::Command) -> Result<(), Error> {
        match &command {
            csp::Command::Bind { port, .. } | csp::Command::Unbind(port)
                if [REQUEST_PORT, DATA_PORT].contains(port)
                    || *port == VMEM_PORT && !self.messages.is_empty() =>
            {
                return Err(csp::Error::PortInUse(*port).into());
            }
            csp::Command::Connect { tag, .. }
                if self.download_of(*tag).is_some() || self.message_of(*tag).is_some() =>
            {
                return Err(Error::TagInUse(*tag));
            }
            csp::Command::Send { connection, .. }
            | csp::Command::SendFragments { connection, .. }
            | csp::Command::Close(connection)
            | csp::Command::Hold(connection)
            | csp::Command::Release(connection)
                if self.is_own(*connection) =>
            {
                return Err(csp::Error::NoConnection(*connection).into());
            }
            _ => {}
        }
        Ok(self.csp.command(self.now, command)?)
    }

    /// Returns the place of the transfer whose connection has this tag.
    fn download_of(&self, tag: Tag) -> Option<usize> {
        let place = usize::try_from(MAX_TAG - tag.0).ok()?;
        (place < self.downloads.len()).then_some(place)
    }

    fn is_own(&self, connection: ConnectionId) -> bool {
        self.own.get(connection.slot()) == Some(&Some(connection))
    }

    fn set_own(&mut self, connection: ConnectionId, own: Option<ConnectionId>) {
        if let Some(place) = self.own.get_mut(connection.slot()) {
            *place = own;
        }
    }

    fn on_acknowledged(&mut self, connection: ConnectionId, packets: u32) {
        if let Some(place) = self.transfer_place(connection) {
            if let Some(transfer) = self.transfers.get_mut(place) {
                transfer.on_acknowledged(packets);
            }
            if self.transfers.get(place).is_some_and(Transfer::is_over) {
                self.stop(place);
            }
            self.send_done(place);
        }
        if let Some(download) = self.download_at(connection) {
            download.on_acknowledged(packets);
        }
    }

    fn shut_down(&mut self) {
        self.is_shut_down = true;
        self.end_downloads();
        self.end_transfers();
    }

    fn close(&mut self, connection: ConnectionId) {
        // It may have closed by itself.
        let _: Result<(), csp::Error> = self.csp.close(connection);
    }

    /// Acts on what CSP tells about transfers, and returns what it tells the application.
    fn next_csp_event(&mut self) -> Option<csp::Event> {
        loop {
            let event = self.csp.next_event()?;
            match event {
                csp::Event::Connected { tag, connection } => {
                    if let Some(place) = self.download_of(tag) {
                        self.on_connected(place, connection);
                    } else if let Some(place) = self.message_of(tag) {
                        self.on_message_connected(place, connection);
                    } else {
                        return Some(event);
                    }
                }
                csp::Event::ConnectFailed { tag, reason } => {
                    if let Some(place) = self.download_of(tag) {
                        self.on_connect_failed(place, reason);
                    } else if let Some(place) = self.message_of(tag) {
                        self.on_message_failed(place, reason);
                    } else {
                        return Some(event);
                    }
                }
                csp::Event::Accepted {
                    connection,
                    port: REQUEST_PORT,
                    from,
                } => self.on_accepted(connection, from.address),
                csp::Event::Accepted {
                    connection,
                    port: VMEM_PORT,
                    from,
                } if !self.messages.is_empty() => self.on_messenger(connection, from.address),
                csp::Event::Datagram {
                    port: VMEM_PORT,
                    from,
                    ref data,
                } if !self.messages.is_empty() => self.on_datagram_of_client(from, data),
                csp::Event::Received {
                    connection,
                    ref data,
                } if self.is_own(connection) => {
                    self.on_packet_of_client(connection, data);
                    self.on_packet_of_server(connection, data);
                    self.on_packet_of_messenger(connection, data);
                    self.on_answer_to_message(connection, data);
                }
                csp::Event::Acknowledged {
                    connection,
                    packets,
                } if self.is_own(connection) => self.on_acknowledged(connection, packets),
                csp::Event::Room(connection) if self.is_own(connection) => {}
                csp::Event::Closed {
                    connection,
                    unacknowledged,
                    ..
                } if self.is_own(connection) => {
                    self.set_own(connection, None);
                    self.on_messenger_closed(connection);
                    self.on_message_closed(connection, unacknowledged);
                    self.on_client_closed(connection);
                    self.on_server_closed(connection);
                }
                other => return Some(other),
            }
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.next_started() {
            return Some(event);
        }
        if let Some((tag, offset, data)) = self.runs.pop() {
            let mut downloads = self.downloads.iter_mut();
            if let Some(download) = downloads.find(|it| !it.is_free() && it.tag == tag) {
                download.on_data(offset, &data);
            }
            return Some(Event::Data { tag, offset, data });
        }
        self.next_ended()
            .or_else(|| self.next_serving())
            .or_else(|| self.next_status())
            .or_else(|| self.next_need())
    }

    fn deadline(&self) -> Option<Instant> {
        let downloads = self.downloads.iter().filter_map(Download::deadline);
        let transfers = self.transfers.iter();
        let transfers = transfers.filter_map(|transfer| transfer.deadline(self.now));
        let received = self.messages.iter().filter_map(MessageSlot::deadline);
        let sent = self.outgoing.iter().filter_map(OutgoingMessage::deadline);
        let all = downloads.chain(transfers).chain(self.csp.deadline());
        let all = all.chain(received).chain(sent);
        // What an interface that is full keeps back is due, and waits for the cue.
        all.filter(|at| *at > self.now).min()
    }
}

impl Machine for Node {
    type Addr = Hop;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, hop: Hop, octets: &[u8]) {
        self.set_now(now);
        self.receive_octets(hop, octets);
    }

    fn link(&mut self, now: Instant, at: Hop, state: Link) {
        self.now = self.now.max(now);
        self.csp.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        self.set_now(now);
        match command {
            Command::Get {
                tag,
                server,
                payload,
                options,
            } => self.get(tag, server, payload, options),
            Command::GetRest {
                tag,
                session,
                options,
            } => self.get_rest(tag, &session, options),
            Command::GetMemory {
                tag,
                request,
                session,
                options,
            } => self.get_memory(tag, request, session.as_ref(), options),
            Command::MemoryStatus {
                tag,
                server,
                transport,
                timeout,
            } => self.ask_status(tag, (server, transport), timeout),
            Command::ServeMemory { payload, address } => self.serve_memory(payload, address),
            Command::Pause(tag) => self.pause(tag),
            Command::Resume(tag) => self.resume(tag),
            Command::Cancel(tag) => self.cancel(tag),
            Command::Serve { payload, data } => self.serve(payload, data),
            Command::ServeOnDemand {
                payload,
                size,
                identity,
            } => self.serve_on_demand(payload, size, identity),
            Command::Feed { need, data } => self.feed(need, &data),
            Command::Shutdown => {
                self.shut_down();
                Ok(())
            }
            Command::Withdraw(payload) => self.withdraw(payload),
            Command::Csp(command) => self.csp_command(command),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Hop>) -> Output<Hop, Event> {
        tx.clear();
        self.now = self.now.max(now);
        self.advance_csp();
        self.downloads_on_time();
        self.transfers_on_time();
        self.messengers_on_time();
        self.messages_on_time();
        if let Some(event) = self.next_csp_event() {
            return Output::Event(Event::Csp(event));
        }
        // What CSP told may have ended a request and begun another.
        self.downloads_on_time();
        if let Some(event) = self.next_event() {
            return Output::Event(event);
        }
        self.csp.write(tx);
        if tx.is_empty() {
            self.write_data(tx);
        }
        let is_released = core::mem::take(&mut self.is_released);
        if !tx.is_empty() {
            return Output::Transmit;
        }
        if is_released || self.csp.is_busy() {
            return Output::Yield;
        }
        Output::Idle(self.deadline())
    }
}

/// Returns the octets of the longest ask that a node takes or sends.
fn max_ask(config: &Config) -> usize {
    usize::from(config.max_mtu()).saturating_sub(RdpHeader::LEN)
}

/// Returns the octets of payloads on demand that a node holds at most.
#[cfg(any(test, feature = "laws"))]
pub(super) fn max_fed(config: &Config) -> usize {
    usize::from(config.servers) * super::server::Blocks::MAX_OCTETS
}

/// Returns how many messages of VMEM are taken at a time.
const fn received_messages(config: &Config) -> u8 {
    if config.servers > 0 {
        config.vmem_messages
    } else {
        0
    }
}

/// Returns how many messages of VMEM are sent at a time.
const fn sent_messages(config: &Config) -> u8 {
    if config.clients > 0 {
        config.vmem_messages
    } else {
        0
    }
}

pub(super) fn footprint(config: &Config) -> usize {
    let carrier = config.carrier().unwrap_or_default();
    let run = usize::try_from(config.data_event_octets).unwrap_or(usize::MAX);
    let max_ask = max_ask(config);
    let download = size_of::<Download>() + Download::footprint(config.max_holes.into(), max_ask);
    let transfer = size_of::<Transfer>() + Transfer::footprint(max_ask);
    size_of::<Node>()
        + carrier.footprint()
        // That of the configuration is a copy.
        + config.csp.routes.capacity() * size_of::<csp::Route>()
        + usize::from(config.clients) * download
        + usize::from(config.servers) * transfer
        + usize::from(config.payloads) * size_of::<Payload>()
        + usize::from(received_messages(config)) * MessageSlot::footprint()
        + usize::from(sent_messages(config)) * OutgoingMessage::footprint()
        + usize::from(carrier.connections) * size_of::<Option<ConnectionId>>()
        + Runs::footprint(config.data_events.into(), run)
}
