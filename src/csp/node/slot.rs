//! A slot for a connection: its ports, and what the application was told of it.

use core::mem;
use core::time::Duration;

use bytes::Bytes;

use crate::csp::api::{ConnectionId, Endpoint, Event, SendOptions, Stats};
use crate::csp::rdp::{Connection, DataKind};
use crate::csp::sfp::{Fragments, Reassembly, Step, without_trailer};
use crate::{Instant, Tag};

/// Attempts to open a connection from another port, after a peer that knows an earlier one from the first.
const MAX_RETRIES: u8 = 2;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) rdp: Connection,
    pub(super) role: Role,
    generation: u32,
    /// The address of this end.
    pub(super) local: u16,
    pub(super) port: u8,
    pub(super) peer: Endpoint,
    pub(super) options: SendOptions,
    /// Whether a packet was refused for lack of room.
    pub(super) awaits_room: bool,
    /// What is sent by SFP.
    fragments: Option<Fragments>,
    /// Whether the connection is to be closed behind it.
    closes_after: bool,
    reassembly: Reassembly,
    /// A fragment that ended those before it.
    held: Option<Bytes>,
    /// Whether packets stay in the queue, as long as the peer may send more.
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
    pub(super) fn new(rdp: Connection) -> Self {
        Self {
            rdp,
            role: Role::Free,
            generation: 0,
            local: 0,
            port: 0,
            peer: Endpoint::default(),
            options: SendOptions::default(),
            awaits_room: false,
            fragments: None,
            closes_after: false,
            reassembly: Reassembly::Idle,
            held: None,
            is_held: false,
        }
    }

    /// Takes the slot for a connection between two ports.
    pub(super) fn take(
        &mut self,
        role: Role,
        (local, port): (u16, u8),
        peer: Endpoint,
        options: SendOptions,
    ) {
        let rdp = mem::replace(&mut self.rdp, Connection::new(1, (0, 0), 0));
        *self = Self {
            role,
            generation: self.generation.wrapping_add(1),
            local,
            port,
            peer,
            options,
            ..Self::new(rdp)
        };
    }

    pub(super) fn is_free(&self) -> bool {
        self.role == Role::Free
    }

    /// Tells whether the connection is between these ports.
    pub(super) fn connects(&self, port: u8, peer: Endpoint) -> bool {
        !self.is_free() && self.port == port && self.peer == peer
    }

    /// Tells whether its last connection was between these ports, and has ended.
    pub(super) fn has_connected(&self, port: u8, peer: Endpoint) -> bool {
        self.is_free() && self.generation > 0 && self.port == port && self.peer == peer
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

    /// Returns since when the peer that opens it has not confirmed it.
    pub(super) fn half_open_since(&self) -> Option<Instant> {
        if self.role == Role::Accepting {
            self.rdp.half_open_since()
        } else {
            None
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        if !self.is_free() {
            self.rdp.on_time(now);
            self.feed(now);
        }
    }

    pub(super) fn send_fragments(&mut self, fragments: Fragments) {
        self.fragments = Some(fragments);
    }

    pub(super) const fn has_fragments(&self) -> bool {
        self.fragments.is_some()
    }

    /// Tells whether it is closed behind the fragments that are sent.
    pub(super) const fn is_closing(&self) -> bool {
        self.closes_after
    }

    /// Closes the connection behind all that is sent on it.
    pub(super) fn close(&mut self, now: Instant) {
        if self.has_fragments() && self.rdp.is_open() {
            self.closes_after = true;
        } else {
            self.rdp.close(now);
        }
    }

    /// Gives the connection as many fragments as it has room for.
    fn feed(&mut self, now: Instant) {
        if !self.rdp.is_open() {
            return;
        }
        let Some(fragments) = &mut self.fragments else {
            return;
        };
        while self.rdp.has_room() {
            let Some((place, data)) = fragments.take() else {
                self.fragments = None;
                if self.closes_after {
                    self.rdp.close(now);
                }
                return;
            };
            self.rdp.send_fragment(place, data);
        }
    }

    /// Returns the octets of what is sent, which the application allocated.
    pub(super) fn octets(&self) -> usize {
        let fragments = self.fragments.as_ref().map_or(0, Fragments::octets);
        self.rdp.octets() + fragments
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
    pub(super) fn next_event(
        &mut self,
        slot: u8,
        max_sfp: u32,
        stats: &mut Stats,
    ) -> Option<Event> {
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
            Role::Open => self.next_of_open(connection, max_sfp, stats),
        }
    }

    fn next_of_open(
        &mut self,
        connection: ConnectionId,
        max_sfp: u32,
        stats: &mut Stats,
    ) -> Option<Event> {
        let is_held = self.is_held && self.rdp.is_receiving();
        if !is_held && let Some(event) = self.next_received(connection, max_sfp, stats) {
            return Some(event);
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
            // Bound: a queue has at most 1024 packets, and fragments have 32 bits.
            let fragments = self.fragments.take().map_or(0, |it| it.count());
            let unacknowledged = self.rdp.unacknowledged() + fragments;
            let unacknowledged = u32::try_from(unacknowledged).unwrap_or(u32::MAX);
            self.rdp.forget();
            return Some(Event::Closed {
                connection,
                reason,
                unacknowledged,
            });
        }
        let has_room = self.rdp.has_room() && !self.has_fragments();
        if self.awaits_room && self.rdp.is_open() && has_room {
            self.awaits_room = false;
            return Some(Event::Room(connection));
        }
        None
    }

    fn next_received(
        &mut self,
        connection: ConnectionId,
        max_sfp: u32,
        stats: &mut Stats,
    ) -> Option<Event> {
        loop {
            let held = self.held.take().map(|octets| (octets, DataKind::Fragment));
            let (data, kind) = held.or_else(|| self.rdp.take())?;
            if kind == DataKind::Packet {
                return Some(Event::Received { connection, data });
            }
            match self.reassembly.step(&data, max_sfp) {
                Step::Next(place) => {
                    let data = without_trailer(data);
                    return Some(Event::Fragment {
                        connection,
                        place,
                        data,
                    });
                }
                Step::Dropped => stats.bad_fragment += 1,
                Step::Failed(fault) => {
                    stats.bad_fragment += 1;
                    return Some(Event::FragmentsFailed { connection, fault });
                }
                Step::FailedBefore(fault) => {
                    self.held = Some(data);
                    return Some(Event::FragmentsFailed { connection, fault });
                }
            }
        }
    }
}
