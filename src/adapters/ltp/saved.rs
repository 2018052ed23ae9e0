//! What outlives a node: what its engine knows, and its books, as plain data.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io;

use super::desk::{Course, Desk, Outcome};
use super::station::Station;
use super::{Error, Kind, Options, Received};
use crate::adapters::seed;
use crate::ltp::{Age, Engine, Event, Snapshot};
use crate::{Instant, Path, Tag};

/// What a node knows at one moment, to be taken up again after a restart.
///
/// It is plain data, and serialisable with the feature `serde`: a [`Snapshot`] of the engine, what waits to be
/// taken from access points, and what became of blocks that nobody has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeSnapshot {
    engine: Snapshot<SocketAddr>,
    /// Whether the node has done nothing since.
    is_current: bool,
    /// The last name that was given to a block or an access point.
    names: u64,
    /// Blocks with a handle or under way, and their peers.
    blocks: Vec<(Tag, u64)>,
    /// What the engine has told and nobody has taken.
    told: Vec<Event>,
}

impl NodeSnapshot {
    /// Returns the ID of the engine of the node.
    #[must_use]
    pub const fn engine(&self) -> u64 {
        self.engine.engine()
    }

    /// Returns the tags of the blocks that the node will go on with, or tell the end of.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.blocks.iter().map(|(tag, _)| *tag)
    }

    /// Takes all that a node has; the engine's part is of the same moment.
    pub(super) fn new(engine: Snapshot<Path>, desk: &Desk, is_current: bool) -> Self {
        let blocks = desk.courses.iter();
        let ends = blocks.clone().filter_map(|(tag, course)| end(*tag, course));
        let points = desk.points.values();
        let received = points.flat_map(|point| point.queue().map(told));
        Self {
            engine: engine.map_address(|path| path.remote),
            is_current,
            names: desk.names(),
            told: ends.chain(received).collect(),
            blocks: blocks.map(|(tag, course)| (*tag, course.peer)).collect(),
        }
    }

    /// Makes a node again, whose socket is bound to `local`.
    pub(super) fn restore(
        self,
        local: SocketAddr,
        options: &Options,
        now: Instant,
    ) -> Result<Station, Error> {
        if !options.maker.makes_engines() {
            let message = "a node is restored without the machine that was around its engine";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
        }
        let seed = match &options.seed {
            Some(seed) => seed.clone(),
            None => seed()?,
        };
        let age = if self.is_current {
            Age::Current
        } else {
            Age::Behind
        };
        let snapshot = placed(self.engine, local)?;
        let services: Vec<u64> = snapshot.services().map(|(client, _)| client).collect();
        let going: Vec<Tag> = snapshot.tags().collect();
        let config = options.config.clone();
        let engine = Engine::restore(config, seed, snapshot, age, now)?;
        let mut desk = Desk::after(self.names);
        for client in &services {
            desk.open(*client);
        }
        for (tag, peer) in self.blocks {
            desk.courses.insert(tag, Course::new(peer));
        }
        for event in self.told {
            desk.file(event);
        }
        for (tag, course) in &mut desk.courses {
            if !going.contains(tag) {
                course.outcome.get_or_insert(Outcome::Unknown);
            }
        }
        let mut station = Station::new(Box::new(engine), local);
        station.take_over(now, desk);
        Ok(station)
    }
}

/// Says how the socket reaches the peers, if it can.
fn placed(engine: Snapshot<SocketAddr>, local: SocketAddr) -> Result<Snapshot<Path>, Error> {
    let mut odd = None;
    let engine = engine.map_address(|remote| {
        if remote.is_ipv4() != local.is_ipv4() {
            odd = Some(remote);
        }
        Path::udp(local, remote)
    });
    match odd {
        None => Ok(engine),
        Some(remote) => {
            let message = format!("a socket at {local} cannot reach a peer at {remote}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message).into())
        }
    }
}

/// Tells the end of a block as the engine did.
fn end(tag: Tag, course: &Course) -> Option<Event> {
    match course.outcome.clone()? {
        Outcome::Complete(session) => Some(Event::Complete { tag, session }),
        Outcome::Failed {
            session,
            by,
            reason,
            data,
        } => Some(Event::Failed {
            tag,
            session,
            by,
            reason,
            data,
        }),
        Outcome::Unknown => None,
    }
}

/// Tells what was received as the engine did.
fn told(received: &Received) -> Event {
    let Received {
        session,
        client,
        data,
        ..
    } = received.clone();
    match received.kind {
        Kind::Whole { ends_block } => Event::Received {
            session,
            client,
            data,
            ends_block,
        },
        Kind::Green { offset, ends_block } => Event::Green {
            session,
            client,
            offset,
            data,
            ends_block,
        },
        Kind::Piece { offset } => Event::Piece {
            session,
            client,
            offset,
            data,
        },
        Kind::Arriving => Event::Started { session, client },
        Kind::Cancelled {
            by,
            reason,
            after_delivery,
        } => Event::Cancelled {
            session,
            client,
            by,
            reason,
            after_delivery,
        },
    }
}
