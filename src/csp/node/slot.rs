//! A slot for a connection: its ports, and what the application was told of it.

use core::time::Duration;

use crate::csp::api::{ConnectionId, Endpoint, Event, SendOptions};
use crate::csp::rdp::Connection;
use crate::{Instant, Tag};

/// Attempts to open a connection from another port, after a peer that knows an earlier one from the first.
const MAX_RETRIES: u8 = 2;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) rdp: Connection,
    pub(super) role: Role,
    generation: u32,
    pub(super) port: u8,
    pub(super) peer: Endpoint,
    pub(super) options: SendOptions,
    /// Whether a packet was refused for lack of room.
    pub(super) awaits_room: bool,
    /// Whether packets stay in the queue, as long as the connection is open.
    pub(super) is_held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Free,
    /// Opened by a command, and not open.
    Connecting {
        tag: Tag,
        retries: u8,
    },
    /// Opened by a peer, and not open.
    Accepting,
    /// Known to the application.
    Open,
}

impl Slot {
    pub(super) const fn new(rdp: Connection) -> Self {
        Self {
            rdp,
            role: Role::Free,
            generation: 0,
            port: 0,
            peer: Endpoint {
                address: 0,
                port: 0,
            },
            options: SendOptions {
                priority: crate::csp::wire::Priority::Normal,
                crc32: false,
            },
            awaits_room: false,
            is_held: false,
        }
    }

    /// Takes the slot for a connection between two ports.
    pub(super) const fn take(
        &mut self,
        role: Role,
        port: u8,
        peer: Endpoint,
        options: SendOptions,
    ) {
        self.role = role;
        self.generation = self.generation.wrapping_add(1);
        self.port = port;
        self.peer = peer;
        self.options = options;
        self.awaits_room = false;
        self.is_held = false;
    }

    pub(super) fn is_free(&self) -> bool {
        self.role == Role::Free
    }

    /// Tells whether the connection is between these ports.
    pub(super) fn connects(&self, port: u8, peer: Endpoint) -> bool {
        !self.is_free() && self.port == port && self.peer == peer
    }

    pub(super) fn is_named(&self, id: ConnectionId) -> bool {
        self.role == Role::Open && self.generation == id.generation
    }

    /// Counts an attempt from another port. Returns whether there is one left.
    pub(super) fn retry(&mut self) -> bool {
        match &mut self.role {
            Role::Connecting { retries, .. } if *retries < MAX_RETRIES => {
                *retries += 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        if !self.is_free() {
            self.rdp.on_time(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_free() {
            return None;
        }
        self.rdp.deadline()
    }

    /// How long its port rests once it is closed.
    pub(super) fn rest(&self) -> Duration {
        self.rdp.connection_timeout()
    }

    /// Returns the next event. A slot is free again once its last one is taken.
    pub(super) fn next_event(&mut self, slot: u8) -> Option<Event> {
        let connection = ConnectionId {
            slot,
            generation: self.generation,
        };
        match self.role {
            Role::Free => None,
            Role::Connecting { tag, .. } => {
                if self.rdp.take_opened() {
                    self.role = Role::Open;
                    return Some(Event::Connected { tag, connection });
                }
                let reason = self.rdp.closed()?;
                self.role = Role::Free;
                Some(Event::ConnectFailed { tag, reason })
            }
            Role::Accepting => {
                if self.rdp.take_opened() {
                    self.role = Role::Open;
                    return Some(Event::Accepted {
                        connection,
                        port: self.port,
                        from: self.peer,
                    });
                }
                if self.rdp.closed().is_some() {
                    self.role = Role::Free;
                }
                None
            }
            Role::Open => self.next_of_open(connection),
        }
    }

    fn next_of_open(&mut self, connection: ConnectionId) -> Option<Event> {
        let is_held = self.is_held && self.rdp.is_open();
        if let Some(data) = (!is_held).then(|| self.rdp.take()).flatten() {
            return Some(Event::Received { connection, data });
        }
        let packets = self.rdp.take_acknowledged();
        if packets > 0 {
            return Some(Event::Acknowledged {
                connection,
                packets,
            });
        }
        if let Some(reason) = self.rdp.closed() {
            self.role = Role::Free;
            // Bound: a queue has at most 1024 packets.
            let unacknowledged = u32::try_from(self.rdp.unacknowledged()).unwrap_or(u32::MAX);
            self.rdp.forget();
            return Some(Event::Closed {
                connection,
                reason,
                unacknowledged,
            });
        }
        if self.awaits_room && self.rdp.is_open() && self.rdp.has_room() {
            self.awaits_room = false;
            return Some(Event::Room(connection));
        }
        None
    }
}
