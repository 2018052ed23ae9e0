//! Who may send to a node: peers that were named, or everybody who does.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

use farlink::adapters::ltp::{Around, Speaker};
use farlink::ltp::{Body, Command, Engine, Error, Event, Peer, Segment};
use farlink::{Instant, Link, Machine, Output, Path as Way, Transmit};
use serde_json::json;

use crate::output::Form;

/// Peers that a node gets to know by itself.
const MOST: usize = 1024;
/// Strangers that are told of, each once.
const STRANGERS: usize = 16;
/// Guests that are told of: forgers come under many names.
const TOLD: usize = 4096;

/// Who may send to a node.
#[derive(Clone)]
pub(super) struct Door {
    /// What is known of those who were not named; without it, they are turned away.
    welcome: Option<Peer<()>>,
    form: Form,
}

impl Door {
    /// Lets named peers in, and with `welcome` everybody else.
    pub(super) const fn new(welcome: Option<Peer<()>>, form: Form) -> Self {
        Self { welcome, form }
    }

    /// Puts the door before an engine.
    pub(super) const fn around(self, engine: Speaker) -> Porter {
        Porter {
            engine,
            door: self,
            named: BTreeSet::new(),
            guests: BTreeMap::new(),
            strangers: BTreeSet::new(),
            told: 0,
        }
    }
}

/// An engine that is told of each new peer before it hears it.
pub(super) struct Porter {
    engine: Speaker,
    door: Door,
    named: BTreeSet<u64>,
    /// Those who came by themselves, and from where.
    guests: BTreeMap<u64, Way>,
    strangers: BTreeSet<(u64, SocketAddr)>,
    /// Guests that were told of.
    told: usize,
}

impl Porter {
    fn look(&mut self, now: Instant, from: Way, octets: &[u8]) {
        let Ok((segment, _)) = Segment::decode_first(octets) else {
            return;
        };
        // Nothing else names its sender, and nothing else begins a session.
        if !matches!(segment.body, Body::Data(_)) {
            return;
        }
        let id = segment.session.originator;
        if self.named.contains(&id) || self.guests.get(&id) == Some(&from) {
            return;
        }
        match &self.door.welcome {
            Some(welcome) => {
                let peer = welcome.clone().map_address(|()| from);
                self.let_in(now, id, peer);
            }
            None => self.turn_away(id, from.remote),
        }
    }

    /// A node that starts again may have another port; then it has a new address, or an old one of another.
    fn let_in(&mut self, now: Instant, id: u64, peer: Peer<Way>) {
        let from = peer.address;
        let before = self.guests.iter().find(|(_, address)| **address == from);
        if let Some(before) = before.map(|(id, _)| *id) {
            self.guests.remove(&before);
            // Known until here.
            let _ = self.engine.command(now, Command::RemovePeer(before));
        }
        let is_known = self.guests.contains_key(&id);
        if !is_known && self.guests.len() >= MOST {
            return;
        }
        let command = if is_known {
            Command::ChangePeer(id, peer.into())
        } else {
            Command::AddPeer(id, peer.into())
        };
        if self.engine.command(now, command).is_ok() {
            self.guests.insert(id, from);
            self.told += 1;
            if self.told <= TOLD {
                self.tell("peer", id, from.remote, "comes from");
            }
        }
    }

    fn turn_away(&mut self, id: u64, from: SocketAddr) {
        if self.strangers.len() < STRANGERS && self.strangers.insert((id, from)) {
            self.tell("stranger", id, from, "is no peer, and turned away:");
        }
    }

    fn tell(&self, event: &str, engine: u64, address: SocketAddr, does: &str) {
        self.door.form.tell(
            || format!("engine {engine} {does} {address}"),
            || json!({ "event": event, "engine": engine, "address": address.to_string() }),
        );
    }
}

impl Machine for Porter {
    type Addr = Way;
    type Command = Command<Way>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: Way, octets: &[u8]) {
        self.look(now, from, octets);
        self.engine.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: Way, state: Link) {
        self.engine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command<Way>) -> Result<(), Error> {
        let named = match &command {
            Command::AddPeer(id, _) => Some(*id),
            _ => None,
        };
        self.engine.command(now, command)?;
        self.named.extend(named);
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Way>) -> Output<Way, Event> {
        self.engine.poll(now, tx)
    }

    fn wants(&self, from: Way) -> bool {
        self.engine.wants(from)
    }
}

impl Around for Porter {
    fn engine(&self) -> &Engine<Way> {
        self.engine.engine()
    }
}
