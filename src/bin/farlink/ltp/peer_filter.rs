//! Which engines may send to a node: the peers that were named, or every engine that does.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

use farlink::adapters::ltp::EngineMachine;
use farlink::ltp::{Body, Command, Engine, Error, Event, Peer, Segment};
use farlink::{AsMachine, Instant, Link, Machine, Output, Path as NetPath, Transmit};
use serde_json::json;

use super::peer_addr::canonical;
use crate::output::OutputFormat;

/// Unknown engines that are added as peers.
const MAX_ADDED: usize = 1024;
/// Unknown engines whose rejection is reported, each once.
const MAX_REJECTIONS: usize = 16;
/// Added peers that are reported: forgers come under many IDs.
const MAX_REPORTS: usize = 4096;

/// An engine that adds the sender of each block and ping as a peer first, or reports that it is unknown.
pub(super) struct PeerFilter {
    engine: EngineMachine,
    /// The parameters of unknown engines; without them, they are rejected.
    template: Option<Peer<()>>,
    format: OutputFormat,
    named: BTreeSet<u64>,
    /// Peers that were added here, and their addresses.
    added: BTreeMap<u64, NetPath>,
    rejected: BTreeSet<(u64, SocketAddr)>,
    /// Added peers that were reported.
    reports: usize,
}

impl PeerFilter {
    /// Accepts segments of peers that are added by command and, with `template`, of all others.
    pub(super) const fn new(
        engine: EngineMachine,
        template: Option<Peer<()>>,
        format: OutputFormat,
    ) -> Self {
        Self {
            engine,
            template,
            format,
            named: BTreeSet::new(),
            added: BTreeMap::new(),
            rejected: BTreeSet::new(),
            reports: 0,
        }
    }

    fn check(&mut self, now: Instant, from: NetPath, octets: &[u8]) {
        let Ok((segment, _)) = Segment::decode_first(octets) else {
            return;
        };
        // Data begins a session, and a cancellation may be a ping. Both name their sender.
        if !matches!(segment.body, Body::Data(_) | Body::CancelBySender(_)) {
            return;
        }
        let id = segment.session.originator;
        if self.named.contains(&id) || self.added.get(&id) == Some(&from) {
            return;
        }
        match &self.template {
            Some(template) => {
                let peer = template.clone().map_address(|()| from);
                self.add(now, id, peer);
            }
            None => self.reject(id, from.remote),
        }
    }

    /// A node that restarts may have another port: then it has a new address, or an old one of another.
    fn add(&mut self, now: Instant, id: u64, peer: Peer<NetPath>) {
        let from = peer.address;
        let before = self.added.iter().find(|(_, address)| **address == from);
        if let Some(before) = before.map(|(id, _)| *id) {
            self.added.remove(&before);
            // Known until here.
            let _ = self.engine.command(now, Command::RemovePeer(before));
        }
        let is_known = self.added.contains_key(&id);
        if !is_known && self.added.len() >= MAX_ADDED {
            return;
        }
        let command = if is_known {
            Command::ChangePeer(id, peer.into())
        } else {
            Command::AddPeer(id, peer.into())
        };
        if self.engine.command(now, command).is_ok() {
            self.added.insert(id, from);
            self.reports += 1;
            if self.reports <= MAX_REPORTS {
                self.report("peer", id, from.remote, "comes from");
            }
        }
    }

    fn reject(&mut self, id: u64, from: SocketAddr) {
        if self.rejected.len() < MAX_REJECTIONS && self.rejected.insert((id, from)) {
            self.report("unknown_peer", id, from, "is an unknown peer, rejected:");
        }
    }

    fn report(&self, event: &str, engine: u64, address: SocketAddr, does: &str) {
        let address = canonical(address);
        self.format.report(
            || format!("engine {engine} {does} {address}"),
            || json!({ "event": event, "engine": engine, "address": address.to_string() }),
        );
    }
}

impl Machine for PeerFilter {
    type Addr = NetPath;
    type Command = Command<NetPath>;
    type Event = Event;
    type Error = Error;

    fn receive(&mut self, now: Instant, from: NetPath, octets: &[u8]) {
        self.check(now, from, octets);
        self.engine.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: NetPath, state: Link) {
        self.engine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command<NetPath>) -> Result<(), Error> {
        let named = match &command {
            Command::AddPeer(id, _) => Some(*id),
            _ => None,
        };
        self.engine.command(now, command)?;
        self.named.extend(named);
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<NetPath>) -> Output<NetPath, Event> {
        self.engine.poll(now, tx)
    }

    fn wants(&self, from: NetPath) -> bool {
        self.engine.wants(from)
    }
}

impl AsMachine<Engine<NetPath>> for PeerFilter {
    fn as_machine(&self) -> &Engine<NetPath> {
        &self.engine
    }

    fn finish(&mut self) {
        self.engine.finish();
    }
}
