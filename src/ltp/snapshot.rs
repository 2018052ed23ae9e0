//! Snapshots: the sessions of an engine as plain data, from which a restarted engine resumes them.

use alloc::format;
use alloc::vec::Vec;
use core::error::Error as StdError;
use core::time::Duration;

use super::api::{Cue, Error, Event, Service};
use super::auth::KeyHash;
use super::closed::{End, Record};
use super::config::{Config, ConfigError, Peer};
use super::context::{Core, EVENT_OVERHEAD, Node};
use super::engine::Engine;
use super::export::{Exports, SavedExport};
use super::fingerprint::Fingerprint;
use super::import::{Imports, SavedImport};
use super::peer::{Origin, PeerState, Role};
use super::peers::{Addresses, Peers, index};
use super::services::Delivery;
use super::wire::SessionId;
use crate::{Addr, Instant, Seed, Tag};

/// The version of the format that is written and read.
const FORMAT: u16 = 4;

/// The state of an engine at one moment, for [`Engine::restore`] after a crash.
///
/// It is plain data, and serialisable with the feature `serde`. It holds peers with their keys, open services with
/// what waits in them, blocks being sent with the claims of their peers, blocks being received, events that were not
/// polled, and the memory of closed sessions. It does not hold queued control segments, timers and takes: for the
/// peers, control segments are as if lost on the line. Times are stored as the time left, so the clock of the
/// restarted engine may start anywhere.
///
/// The data of blocks being sent are shared with the engine. Octets of blocks being received are copied.
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
// How much there is, and no payload.
#[debug(
    "Snapshot of engine {engine}: {} peers, {} services, {} blocks sent, {} received, {} closed, {} events",
    peers.len(), services.len(), exports.len(), imports.len(), closed.len(), events.len()
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot<A> {
    format: u16,
    engine: u64,
    /// The number of restarts before.
    incarnation: u64,
    /// Whether the engine was ever restored from a snapshot that was behind.
    is_forgetful: bool,
    peers: Vec<SavedPeer<A>>,
    /// The template for unknown peers, and how many are accepted.
    unknown_peer_policy: Option<(Peer<A>, u32)>,
    services: Vec<SavedService>,
    exports: Vec<SavedExport>,
    imports: Vec<SavedImport>,
    closed: Vec<SavedClosed>,
    events: Vec<Event>,
}

/// How far a snapshot is behind the engine it was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Age {
    /// Not behind: since the snapshot was taken, no segment was sent and no event was handled. This holds if each output
    /// of the engine is acted upon only after a snapshot taken behind it is on the disk, in one transaction with the
    /// effects of events. What was received since then is as if lost on the line.
    ///
    /// Blocks being received are resumed.
    Current,
    /// The engine may have gone on, and peers may hold claims of it that the snapshot does not have.
    ///
    /// Blocks being received are cancelled with `SYS_CNCLD`, or the peer would never send again what it takes for
    /// received. So are sessions started since then, as soon as a checkpoint shows it.
    Behind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedPeer<A> {
    id: u64,
    config: Peer<A>,
    must_stop: bool,
    peer_stopped: bool,
    /// The time left until transmission must stop.
    ends_in: Option<Duration>,
    was_unknown: bool,
    blocked_peers: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedService {
    client: u64,
    service: Service,
    delivery: Delivery,
    /// Items to be taken.
    waiting: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct SavedClosed {
    role: Role,
    session: SessionId,
    peer: u64,
    left: Duration,
    end: End,
    key_hash: Option<KeyHash>,
    #[cfg_attr(feature = "serde", serde(default))]
    fingerprint: Option<Fingerprint>,
}

/// Why no engine can be restored from a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum RestoreError {
    /// The configuration is invalid.
    Config(ConfigError),
    /// The snapshot has a format that this version cannot read.
    #[display("snapshot of format {format}, {FORMAT} is known")]
    Format {
        /// The format of the snapshot.
        format: u16,
    },
    /// The snapshot is from another engine.
    #[display("snapshot of engine {id}, this is engine {own}")]
    Engine {
        /// The engine ID of the snapshot.
        id: u64,
        /// The engine ID of the configuration.
        own: u64,
    },
    /// A peer or service cannot be added.
    #[display("{field}[{at}]: {error}")]
    Refused {
        /// The list with the entry.
        field: &'static str,
        /// The index of the entry.
        at: usize,
        /// The reason.
        error: Error,
    },
    /// A field has a value that no engine writes.
    #[display("{field} of entry {at} is damaged")]
    Field {
        /// The field.
        field: &'static str,
        /// The index of its entry in the list.
        at: usize,
    },
    /// The snapshot exceeds a limit of the configuration.
    #[display("{field}: {value} exceeds the limit of {limit}")]
    Limit {
        /// What is limited.
        field: &'static str,
        /// The amount in the snapshot.
        value: usize,
        /// The limit.
        limit: usize,
    },
}

impl StdError for RestoreError {}

/// The result of restoring a part.
pub(super) type Restored<T = ()> = Result<T, RestoreError>;

/// Refuses a field unless `is_so`.
pub(super) const fn require(is_so: bool, field: &'static str, at: usize) -> Restored {
    if is_so {
        Ok(())
    } else {
        Err(RestoreError::Field { field, at })
    }
}

fn within(field: &'static str, value: usize, limit: usize) -> Restored {
    if value <= limit {
        Ok(())
    } else {
        Err(RestoreError::Limit {
            field,
            value,
            limit,
        })
    }
}

impl<A> Snapshot<A> {
    /// Returns the ID of the engine that the snapshot was taken from.
    #[must_use]
    pub const fn engine(&self) -> u64 {
        self.engine
    }

    /// Returns the tags of the blocks whose end a restored engine reports: those being sent, and those whose end was not
    /// polled.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        let sending = self.exports.iter().filter_map(SavedExport::tag);
        let over = self.events.iter().filter_map(|event| match event {
            Event::Complete { tag, .. } | Event::Failed { tag, .. } => Some(*tag),
            _ => None,
        });
        sending.chain(over)
    }

    /// Returns the open client services.
    pub fn services(&self) -> impl Iterator<Item = (u64, Service)> {
        self.services
            .iter()
            .map(|saved| (saved.client, saved.service))
    }

    /// Returns the same snapshot with the addresses of its peers mapped to another type.
    #[must_use]
    pub fn map_address<B>(self, mut map: impl FnMut(A) -> B) -> Snapshot<B> {
        let peers = self.peers.into_iter().map(|peer| SavedPeer {
            id: peer.id,
            config: peer.config.map_address(&mut map),
            must_stop: peer.must_stop,
            peer_stopped: peer.peer_stopped,
            ends_in: peer.ends_in,
            was_unknown: peer.was_unknown,
            blocked_peers: peer.blocked_peers,
        });
        Snapshot {
            format: self.format,
            engine: self.engine,
            incarnation: self.incarnation,
            is_forgetful: self.is_forgetful,
            peers: peers.collect(),
            unknown_peer_policy: self
                .unknown_peer_policy
                .map(|(template, most)| (template.map_address(&mut map), most)),
            services: self.services,
            exports: self.exports,
            imports: self.imports,
            closed: self.closed,
            events: self.events,
        }
    }
}

impl<A: Addr> Engine<A> {
    /// Takes a snapshot from which [`restore`](Self::restore) can resume the node after a crash.
    ///
    /// It takes time in proportion to the number of sessions, open and remembered, and to the octets of blocks being
    /// received. The best moment is between an input and the outputs it causes.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot<A> {
        let Core { node, peers } = &self.core;
        let now = node.now.max(now);
        let services = node.services.open.iter();
        Snapshot {
            format: FORMAT,
            engine: node.config.engine,
            incarnation: node.incarnation,
            is_forgetful: node.is_forgetful,
            peers: self.addresses.save(peers, now),
            unknown_peer_policy: self
                .addresses
                .policy
                .as_ref()
                .map(|policy| ((*policy.template).clone(), policy.limit)),
            services: services
                .map(|(client, opened)| SavedService {
                    client: *client,
                    service: opened.service,
                    delivery: opened.delivery,
                    waiting: opened.waiting().cloned().collect(),
                })
                .collect(),
            exports: self.exports.save(peers),
            imports: self.imports.save(peers),
            closed: self.core.save_closed(&self.exports, &self.imports, now),
            events: node.events.iter().map(|(event, _)| event.clone()).collect(),
        }
    }

    /// Restores an engine from a snapshot. It resumes the sessions in it.
    ///
    /// For each block being sent, a new checkpoint asks the peer what it has, and what is missing is sent again. Links
    /// count as up until the driver reports otherwise. The seed should not be one used before, or session numbers could
    /// repeat that a snapshot which is [behind](Age::Behind) does not know.
    ///
    /// Events that were reported after the snapshot was taken may be reported again: the end of a block, with its tag, and
    /// a received block, with its session.
    ///
    /// # Errors
    ///
    /// A value that no engine writes, or more than `config` allows. Snapshots come from a disk, and a damaged one is
    /// refused as a whole.
    #[expect(clippy::needless_pass_by_value, reason = "every machine is made alike")]
    pub fn restore(
        config: Config,
        seed: Seed,
        snapshot: Snapshot<A>,
        age: Age,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        if snapshot.format != FORMAT {
            let format = snapshot.format;
            return Err(RestoreError::Format { format });
        }
        let (id, own) = (snapshot.engine, config.engine);
        if id != own {
            return Err(RestoreError::Engine { id, own });
        }
        let incarnation = snapshot.incarnation.saturating_add(1);
        // A seed that is reused by mistake still gives other numbers than before the restart.
        let seed = seed.child(&format!("life {incarnation}"));
        let mut engine = Self::new(config, seed).map_err(RestoreError::Config)?;
        engine.advance(now);
        engine.core.node.incarnation = incarnation;
        engine.core.node.is_forgetful = snapshot.is_forgetful || age == Age::Behind;
        for (at, peer) in snapshot.peers.iter().enumerate() {
            peer.restore(at, &mut engine)?;
        }
        let refused = |field, at| move |error| RestoreError::Refused { field, at, error };
        if let Some((template, limit)) = snapshot.unknown_peer_policy {
            let accepted = engine.accept_unknown_peers(now, Some(template), limit);
            accepted.map_err(refused("unknown_peer_policy", 0))?;
        }
        let Self {
            core,
            exports,
            imports,
            ..
        } = &mut engine;
        let Core { node, peers } = core;
        for (at, saved) in snapshot.services.iter().enumerate() {
            node.open(saved.client, saved.service, saved.delivery)
                .map_err(refused("services", at))?;
        }
        node.restore_closed(&snapshot.closed, peers)?;
        node.restore_events(snapshot.events)?;
        node.restore_waiting(snapshot.services, peers)?;
        let limits = [node.config.limits.exports, node.config.limits.imports].map(index);
        within("exports", snapshot.exports.len(), limits[0])?;
        within("imports", snapshot.imports.len(), limits[1])?;
        for export in snapshot.exports.into_iter().enumerate() {
            exports.restore(export, age, core)?;
        }
        let limit = core.node.config.limits.export_octets;
        within("export octets", core.node.budget.exports, limit)?;
        for import in snapshot.imports.into_iter().enumerate() {
            imports.restore(import, age, core)?;
        }
        exports.unblock(core);
        Ok(engine)
    }
}

impl<A: Addr> SavedPeer<A> {
    /// Adds the peer, the one at `at` in the snapshot.
    fn restore(&self, at: usize, engine: &mut Engine<A>) -> Restored {
        let (now, field) = (engine.core.node.now, "peers");
        let refused = |error| RestoreError::Refused { field, at, error };
        engine
            .add_peer(now, self.id, self.config.clone())
            .map_err(refused)?;
        for (is_so, cue) in [
            (self.must_stop, Cue::MustStop),
            (self.peer_stopped, Cue::PeerStopped),
        ] {
            if is_so {
                engine.contact(now, self.id, cue).map_err(refused)?;
            }
        }
        let Engine {
            core, addresses, ..
        } = engine;
        let slot = core.peers.restored_slot(self.id, field, at)?;
        if let Some(state) = core.peers.get_mut(slot) {
            state.ends = self.ends_in.map(|left| now + left);
        }
        if self.was_unknown {
            addresses.count_accepted(slot, core);
        }
        if let Some(octets) = self.blocked_peers {
            core.peers.block(slot, octets);
        }
        Ok(())
    }
}

impl<A: Addr> Addresses<A> {
    fn save(&self, peers: &Peers, now: Instant) -> Vec<SavedPeer<A>> {
        let save = |state: &PeerState| {
            let address = self.of(state.slot)?;
            Some(SavedPeer {
                id: state.id,
                config: state.config.clone().map_address(|()| address),
                must_stop: state.must_stop,
                peer_stopped: state.peer_stopped,
                ends_in: state.ends.filter(|ends| *ends > now).map(|ends| ends - now),
                was_unknown: state.origin == Origin::Accepted,
                blocked_peers: state.blocked_peers,
            })
        };
        peers.iter().filter_map(save).collect()
    }
}

impl Core {
    fn save_closed(&self, exports: &Exports, imports: &Imports, now: Instant) -> Vec<SavedClosed> {
        // A session closed before its red part came, for a service that was closed since, is both open and remembered.
        let is_over = |(role, session): &(Role, SessionId)| match role {
            Role::Sender => !exports.table.contains(&session.number),
            Role::Receiver => !imports.table.contains(session),
        };
        let records = self.node.closed.iter(now);
        let records = records.filter(|(name, _)| is_over(name));
        let save = |((role, session), record): ((Role, SessionId), &Record)| SavedClosed {
            role,
            session,
            peer: match role {
                Role::Sender => self.peers.id(record.slot),
                Role::Receiver => session.originator,
            },
            left: record.until - now,
            end: record.end,
            key_hash: record.key_hash,
            fingerprint: record.fingerprint,
        };
        let mut closed: Vec<SavedClosed> = records.map(save).collect();
        closed.sort_unstable_by_key(|old| (old.left, old.role, old.session));
        closed
    }
}

impl Peers {
    /// Returns the slot of the peer of a session.
    pub(super) fn restored_slot(&self, peer: u64, field: &'static str, at: usize) -> Restored<u32> {
        let slot = self.slot(peer);
        slot.map_err(|_| RestoreError::Field { field, at })
    }

    /// Returns the engine ID of the peer in a slot.
    pub(super) fn id(&self, slot: u32) -> u64 {
        self.get(slot).map_or(0, |state| state.id)
    }
}

impl Node {
    fn restore_closed(&mut self, closed: &[SavedClosed], peers: &Peers) -> Restored {
        for (at, old) in closed.iter().enumerate() {
            let name = (old.role, old.session);
            let is_new = self.closed.get(self.now, name).is_none();
            require(is_new, "closed session", at)?;
            // The blocks of a removed peer are remembered in case it is added again.
            let slot = match old.role {
                Role::Sender => peers.restored_slot(old.peer, "closed peer", at)?,
                Role::Receiver => u32::MAX,
            };
            let record = Record {
                slot,
                until: self.now + old.left,
                end: old.end,
                key_hash: old.key_hash,
                fingerprint: old.fingerprint,
            };
            self.closed.insert(self.now, name, record);
        }
        Ok(())
    }

    fn restore_events(&mut self, events: Vec<Event>) -> Restored {
        let config = &self.config;
        let sessions = index(config.limits.exports).saturating_add(index(config.limits.imports));
        let limit = index(config.limits.events)
            .saturating_add(sessions.saturating_mul(4))
            .saturating_add(index(config.limits.peers).saturating_mul(4));
        within("events", events.len(), limit)?;
        for event in events {
            if let Event::Failed { data, .. } = &event {
                let octets = &mut self.budget.exports;
                *octets = octets.saturating_add(data.len());
            }
            let octets = item_of(&event).map_or(0, |(.., len)| len + EVENT_OVERHEAD);
            self.push_event(event, octets);
        }
        let weightless = self.events.len().saturating_mul(EVENT_OVERHEAD);
        within(
            "event octets",
            self.budget.events.saturating_sub(weightless),
            self.config.limits.import_octets.saturating_mul(2),
        )
    }

    fn restore_waiting(&mut self, services: Vec<SavedService>, peers: &Peers) -> Restored {
        let config = &self.config;
        let sessions = index(config.limits.exports).saturating_add(index(config.limits.imports));
        let limit = config.limits.import_octets.saturating_mul(2);
        let limit = limit.saturating_add(sessions.saturating_mul(4 * EVENT_OVERHEAD));
        for (at, saved) in services.into_iter().enumerate() {
            let may_wait = saved.delivery == Delivery::OnDemand || saved.waiting.is_empty();
            require(may_wait, "services.waiting", at)?;
            for event in saved.waiting {
                let item = item_of(&event).filter(|(client, ..)| *client == saved.client);
                require(item.is_some(), "services.waiting", at)?;
                let octets = item.map_or(0, |(.., len)| len + EVENT_OVERHEAD);
                let id = item.map_or(0, |(_, session, _)| session.originator);
                let peer = peers.slot(id).ok().and_then(|slot| peers.get(slot));
                let origin = peer.map_or(Origin::Added, |peer| peer.origin);
                self.push_service_event((saved.client, origin), event, octets);
                within("waiting octets", self.budget.waiting, limit)?;
            }
        }
        Ok(())
    }
}

/// Returns the client service and the session of an event that answers a take, and the octets of its payload.
pub(super) const fn item_of(event: &Event) -> Option<(u64, SessionId, usize)> {
    match event {
        Event::Received {
            client,
            session,
            data,
            ..
        }
        | Event::Piece {
            client,
            session,
            data,
            ..
        }
        | Event::Green {
            client,
            session,
            data,
            ..
        } => Some((*client, *session, data.len())),
        Event::Started {
            client, session, ..
        }
        | Event::Cancelled {
            client, session, ..
        } => Some((*client, *session, 0)),
        _ => None,
    }
}
