//! Messages of VMEM to servers, each on a connection of its own or without.

use core::time::Duration;

use super::{MAX_TAG, Node, VMEM_PORT};
use crate::csp::{self, CloseReason, ConnectionId, Endpoint, Flags, Header, Packet, SendOptions};
use crate::dtp::api::{Error, Event, FailReason, GetOptions, MemoryRequest, VmemTransport};
use crate::dtp::client::Stage;
use crate::dtp::message::Message;
use crate::dtp::session::Session;
use crate::dtp::vmem::{VMEM_START_LEN, VmemMessage, VmemOperation, VmemStatus};
use crate::{Instant, Tag};

/// The tags of connections for messages are below those for requests.
const MAX_MESSAGE_TAG: u64 = MAX_TAG - 256;
/// How long the answer to a message without an answer may be awaited at most: the port of it rests so long.
const PORT_REST: Duration = Duration::from_secs(1);

/// A message on its way.
#[derive(Debug)]
pub(super) struct OutgoingMessage {
    server: u16,
    purpose: Purpose,
    stage: MessageStage,
    message: Message<VMEM_START_LEN>,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The start of the download in this slot.
    Start(usize),
    /// A stop, or a sign of life.
    Tell(VmemOperation),
    /// A status that the application wants, within so long.
    Ask(Tag, Duration),
    /// A start whose download has been given up.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageStage {
    Free,
    Connecting,
    Sent(ConnectionId),
    AwaitingAnswer {
        connection: Option<ConnectionId>,
        /// The port that it comes to without connection.
        port: u8,
        deadline: Instant,
    },
    /// The application is to be told.
    Answered(Option<VmemStatus>),
}

impl OutgoingMessage {
    pub(super) fn free() -> Self {
        Self {
            server: 0,
            purpose: Purpose::Nothing,
            stage: MessageStage::Free,
            message: Message::new(),
        }
    }

    /// Returns the bytes that a message allocates.
    pub(super) const fn footprint() -> usize {
        size_of::<Self>() + Message::<VMEM_START_LEN>::footprint()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            MessageStage::AwaitingAnswer { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    fn is_on(&self, connection: ConnectionId) -> bool {
        match self.stage {
            MessageStage::Sent(of) => of == connection,
            MessageStage::AwaitingAnswer { connection: of, .. } => of == Some(connection),
            _ => false,
        }
    }

    /// Takes a packet without connection. Returns whether it is an answer.
    pub(super) fn take_datagram(&mut self, packet: &Packet<'_>) -> bool {
        let header = packet.header;
        let MessageStage::AwaitingAnswer {
            connection: None,
            port,
            ..
        } = self.stage
        else {
            return false;
        };
        let is_answer = (header.source, header.source_port) == (self.server, VMEM_PORT)
            && header.destination_port == port;
        if is_answer && let Ok(status) = VmemStatus::decode(packet.data) {
            self.stage = MessageStage::Answered(Some(status));
        }
        is_answer
    }
}

impl Node {
    pub(super) fn get_memory(
        &mut self,
        tag: Tag,
        request: MemoryRequest,
        session: Option<&Session>,
        options: GetOptions,
    ) -> Result<(), Error> {
        if self.outgoing.is_empty() {
            return Err(Error::VmemOff);
        }
        let MemoryRequest { server, size, .. } = request;
        let mut options = options;
        if let Some(session) = session {
            if session.size != size {
                let session = session.size;
                return Err(Error::SessionSize { session, size });
            }
            if session.address.is_some_and(|it| it != request.address) {
                return Err(Error::SessionAddress {
                    session: session.address,
                    address: Some(request.address),
                });
            }
            (options.mtu, options.throughput) = (session.mtu, session.throughput);
        }
        let id = session.map_or_else(|| self.draw_session(), |session| session.id);
        let now = self.now;
        let download = self.begin(tag, (server, 0), options, id)?;
        download.get_memory(now, request, session);
        Ok(())
    }

    pub(super) fn ask_status(
        &mut self,
        tag: Tag,
        (server, transport): (u16, VmemTransport),
        timeout: Duration,
    ) -> Result<(), Error> {
        if self.outgoing.is_empty() {
            return Err(Error::VmemOff);
        }
        if self.is_shut_down {
            return Err(Error::ShutDown);
        }
        self.csp.check_peer(Endpoint {
            address: server,
            port: VMEM_PORT,
        })?;
        if self.send_message((server, transport), Purpose::Ask(tag, timeout)) {
            return Ok(());
        }
        let limit = self.config.vmem_messages;
        Err(Error::TooManyMessages { limit })
    }

    /// Begins to send a message. Returns whether there is room for it.
    fn send_message(
        &mut self,
        (server, transport): (u16, VmemTransport),
        purpose: Purpose,
    ) -> bool {
        let mut all = self.outgoing.iter();
        let Some(place) = all.position(|it| it.stage == MessageStage::Free) else {
            return false;
        };
        if transport == VmemTransport::Datagrams {
            return self.send_datagram(place, server, purpose);
        }
        // Bound: there are at most 255 places.
        let tag = Tag(MAX_MESSAGE_TAG - place as u64);
        let to = Endpoint {
            address: server,
            port: VMEM_PORT,
        };
        let options = SendOptions {
            crc32: true,
            hmac: self.config.hmac,
            ..SendOptions::default()
        };
        let syn = self.csp.config().rdp;
        let is_begun = self.csp.connect(tag, to, options, syn).is_ok();
        if let Some(message) = self.outgoing.get_mut(place).filter(|_| is_begun) {
            message.server = server;
            message.purpose = purpose;
            message.stage = MessageStage::Connecting;
        }
        is_begun
    }

    fn send_datagram(&mut self, place: usize, server: u16, purpose: Purpose) -> bool {
        let rest = match purpose {
            Purpose::Ask(_, timeout) => timeout,
            _ => PORT_REST,
        };
        let Some(port) = self.csp.lend_source_port(rest) else {
            return false;
        };
        let Some((octets, len)) = self.encode_message(purpose) else {
            return false;
        };
        let mut flags = Flags::CRC32;
        flags.set(Flags::HMAC, self.config.hmac);
        let header = Header {
            source: self.config.csp.address,
            source_port: port,
            destination: server,
            destination_port: VMEM_PORT,
            flags,
            ..Header::default()
        };
        self.csp
            .answer(header, octets.get(..len).unwrap_or(&octets));
        if let Purpose::Ask(..) = purpose
            && let Some(message) = self.outgoing.get_mut(place)
        {
            message.server = server;
            message.purpose = purpose;
            message.stage = MessageStage::AwaitingAnswer {
                connection: None,
                port,
                deadline: self.now + rest,
            };
        }
        true
    }

    /// Returns the octets of a message. The download of a start waits for data from here on.
    fn encode_message(&mut self, purpose: Purpose) -> Option<([u8; VMEM_START_LEN], usize)> {
        let now = self.now;
        let (operation, place) = match purpose {
            Purpose::Start(place) => {
                let download = self.downloads.get_mut(place);
                let download = download.filter(|it| it.stage == Stage::Connecting)?;
                (download.next_start(now)?, Some(place))
            }
            Purpose::Tell(operation) => (operation, None),
            Purpose::Ask(..) => (VmemOperation::Status, None),
            Purpose::Nothing => return None,
        };
        let download = place.and_then(|place| self.downloads.get(place));
        let memory = download.and_then(|download| download.memory);
        let version = memory.map_or(MemoryRequest::VERSION, |memory| memory.request.version);
        Some(VmemMessage { version, operation }.encode())
    }

    /// Sends the start of a download that waits to ask.
    pub(super) fn send_start(&mut self, place: usize, request: MemoryRequest) {
        let now = self.now;
        if let Some(download) = self.downloads.get_mut(place) {
            download.connect(now);
        }
        let to = (request.server, request.transport);
        if !self.send_message(to, Purpose::Start(place))
            && let Some(download) = self.downloads.get_mut(place)
        {
            // All source ports rest, or other messages have the room.
            download.fail_request(now, FailReason::NoAnswer);
        }
    }

    /// Tells the server that the client is there, if it is time. Without room for it, the next time.
    pub(super) fn send_alive(&mut self, place: usize) {
        let now = self.now;
        let Some(download) = self.downloads.get_mut(place) else {
            return;
        };
        if let Some(memory) = download.memory
            && download.take_alive(now)
        {
            let to = (memory.request.server, memory.request.transport);
            self.send_message(to, Purpose::Tell(VmemOperation::Alive));
        }
    }

    /// The download in a slot is over or pauses: its server is told to stop, if it was told to start.
    pub(super) fn send_stop(&mut self, place: usize, has_begun: bool) {
        for message in &mut self.outgoing {
            if message.purpose == Purpose::Start(place) {
                message.purpose = Purpose::Nothing;
            }
        }
        let Some(download) = self.downloads.get(place).filter(|_| has_begun) else {
            return;
        };
        if let Some(memory) = download.memory {
            let session = download.session;
            let to = (memory.request.server, memory.request.transport);
            // Without room for it, the server sends to the end.
            self.send_message(to, Purpose::Tell(VmemOperation::Stop { session }));
        }
    }

    /// Returns the place of the message whose connection has this tag.
    pub(super) fn message_of(&self, tag: Tag) -> Option<usize> {
        let place = usize::try_from(MAX_MESSAGE_TAG.checked_sub(tag.0)?).ok()?;
        (place < self.outgoing.len()).then_some(place)
    }

    fn message_on(&mut self, connection: ConnectionId) -> Option<&mut OutgoingMessage> {
        self.outgoing.iter_mut().find(|it| it.is_on(connection))
    }

    pub(super) fn on_message_connected(&mut self, place: usize, connection: ConnectionId) {
        self.set_own(connection, Some(connection));
        let now = self.now;
        let purpose = self.outgoing.get(place).map(|it| it.purpose);
        let encoded = self.encode_message(purpose.unwrap_or(Purpose::Nothing));
        let Some(message) = self.outgoing.get_mut(place) else {
            return;
        };
        message.stage = MessageStage::Sent(connection);
        if let Some((octets, len)) = encoded {
            let octets = message.message.put(octets.get(..len).unwrap_or(&octets));
            // It is open, and empty.
            let _: Result<(), csp::Error> = self.csp.send(connection, octets);
        }
        if let Purpose::Ask(_, timeout) = message.purpose {
            message.stage = MessageStage::AwaitingAnswer {
                connection: Some(connection),
                port: 0,
                deadline: now + timeout,
            };
        } else {
            self.close(connection);
        }
    }

    pub(super) fn on_message_failed(&mut self, place: usize, reason: CloseReason) {
        if let Some(message) = self.outgoing.get_mut(place) {
            message.stage = match message.purpose {
                Purpose::Ask(..) => MessageStage::Answered(None),
                _ => MessageStage::Free,
            };
            if let Purpose::Start(download) = message.purpose {
                message.purpose = Purpose::Nothing;
                self.on_connect_failed(download, reason);
            }
        }
    }

    pub(super) fn on_answer_to_message(&mut self, connection: ConnectionId, data: &[u8]) {
        let Some(message) = self.message_on(connection) else {
            return;
        };
        if let (MessageStage::AwaitingAnswer { .. }, Ok(status)) =
            (message.stage, VmemStatus::decode(data))
        {
            message.stage = MessageStage::Answered(Some(status));
            self.close(connection);
        }
    }

    /// The connection of a message has closed; all of it has arrived unless packets are `unacknowledged`.
    pub(super) fn on_message_closed(&mut self, connection: ConnectionId, unacknowledged: u32) {
        let now = self.now;
        let Some(message) = self.message_on(connection) else {
            return;
        };
        message.stage = match message.purpose {
            Purpose::Ask(..) => MessageStage::Answered(None),
            _ => MessageStage::Free,
        };
        if let Purpose::Start(place) = message.purpose {
            message.purpose = Purpose::Nothing;
            if let Some(download) = self.downloads.get_mut(place)
                && unacknowledged > 0
            {
                download.on_start_lost(now);
            }
        }
    }

    pub(super) fn messages_on_time(&mut self) {
        let now = self.now;
        for place in 0..self.outgoing.len() {
            let Some(message) = self.outgoing.get_mut(place) else {
                continue;
            };
            if let MessageStage::AwaitingAnswer {
                connection,
                deadline,
                ..
            } = message.stage
                && deadline <= now
            {
                message.stage = MessageStage::Answered(None);
                self.close_all(connection);
            }
        }
    }

    pub(super) fn next_status(&mut self) -> Option<Event> {
        let mut all = self.outgoing.iter_mut();
        all.find_map(|message| {
            let (Purpose::Ask(tag, _), MessageStage::Answered(status)) =
                (message.purpose, message.stage)
            else {
                return None;
            };
            message.stage = MessageStage::Free;
            message.purpose = Purpose::Nothing;
            Some(Event::MemoryStatus { tag, status })
        })
    }
}
