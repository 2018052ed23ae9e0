//! Which engines may send to a node: the peers that were named, or every engine that does.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::num::NonZeroUsize;

use farlink::adapters::ltp::EngineMachine;
use farlink::ltp::{Body, Command, Engine, Error, Event, Peer, Segment, SessionId};
use farlink::{AsMachine, Instant, Link, Machine, Output, Path as NetPath, Transmit};
use serde_json::json;

use super::peer_addr::canonical;
use crate::output::OutputFormat;

/// Unknown engines that are peers at a time.
const MAX_ACCEPTED: u32 = 1024;
/// Unknown engines whose rejection is reported, each once.
const MAX_REJECTIONS: usize = 16;
/// Accepted engines that are reported, each once at an address: forgers come under many IDs.
const MAX_REPORTS: usize = 256;

/// An engine that reports which unknown engines it accepts or rejects.
pub(super) struct PeerFilter {
    engine: EngineMachine,
    format: OutputFormat,
    accepted: BTreeSet<(u64, SocketAddr)>,
    rejected: BTreeSet<(u64, SocketAddr)>,
    /// Engines whose segments failed authentication, each reported once.
    unauthentic: BTreeSet<u64>,
    /// Whether datagrams are dropped, as if the socket were not open. Without a client service and its peers, the
    /// engine would cancel their blocks.
    awaits_service: bool,
}

impl PeerFilter {
    /// Accepts segments of peers that are added by command and, with `template`, of all others.
    pub(super) fn new(
        mut engine: EngineMachine,
        (now, local): (Instant, SocketAddr),
        template: Option<Peer<()>>,
        format: OutputFormat,
    ) -> Result<Self, Error> {
        if let Some(template) = template {
            // The address is replaced by that of each engine.
            let template = template.map_address(|()| NetPath::udp(local, local));
            let accept = Command::AcceptUnknownPeers(Some(template.into()), MAX_ACCEPTED);
            engine.command(now, accept)?;
        }
        Ok(Self {
            engine,
            format,
            accepted: BTreeSet::new(),
            rejected: BTreeSet::new(),
            unauthentic: BTreeSet::new(),
            awaits_service: false,
        })
    }

    /// Drops datagrams until the first client service is open.
    pub(super) fn awaiting_service(self) -> Self {
        Self {
            awaits_service: true,
            ..self
        }
    }

    fn inner(&self) -> &Engine<NetPath> {
        self.engine.as_machine()
    }

    /// Returns how many segments were of unknown peers, and how many were not authentic.
    fn refused(&self) -> (u64, u64) {
        let stats = self.inner().stats();
        (stats.unknown_peer, stats.unauthentic + stats.unknown_key)
    }

    /// Reports that segments were refused since `before`, of which `octets` is the first datagram.
    fn check_refused(&mut self, before: (u64, u64), from: SocketAddr, octets: &[u8]) {
        let after = self.refused();
        if after.0 > before.0 {
            self.rejected(from, octets);
        }
        if after.1 > before.1 {
            self.unauthentic(from, octets, after.1);
        }
    }

    /// Reports an engine whose segments are not authentic: most likely one side has another key.
    fn unauthentic(&mut self, from: SocketAddr, octets: &[u8], count: u64) {
        let Ok((segment, _)) = Segment::decode_first(octets) else {
            return;
        };
        // The answers of a receiver name the sender of the block, which is this engine.
        let id = segment.session.originator;
        if self.unauthentic.len() >= MAX_REJECTIONS || !self.unauthentic.insert(id) {
            return;
        }
        let address = canonical(from);
        let is_own = matches!(
            segment.body,
            Body::Report(_) | Body::CancelByReceiver(_) | Body::CancelAckToSender
        );
        self.format.report(
            || {
                let of = if is_own {
                    format!("about blocks of engine {id}")
                } else {
                    format!("from engine {id}")
                };
                format!(
                    "segments {of} at {address} failed authentication ({count} so far): is the key of both \
                     sides the same?"
                )
            },
            || {
                json!({
                    "event": "unauthentic",
                    "engine": id,
                    "address": address.to_string(),
                    "count": count,
                })
            },
        );
    }

    fn rejected(&mut self, from: SocketAddr, octets: &[u8]) {
        let Ok((segment, _)) = Segment::decode_first(octets) else {
            return;
        };
        let id = segment.session.originator;
        if self.rejected.len() < MAX_REJECTIONS && self.rejected.insert((id, from)) {
            self.report("unknown_peer", id, from, "is an unknown peer, rejected:");
        }
    }

    fn accepted(&mut self, id: u64) {
        let Some(at) = self.inner().peer_address(id) else {
            return;
        };
        if self.accepted.len() > MAX_REPORTS || !self.accepted.insert((id, at.remote)) {
            return;
        }
        if self.accepted.len() <= MAX_REPORTS {
            self.report("peer", id, at.remote, "comes from");
        } else {
            self.format.report(
                || "further engines are not named".into(),
                || json!({ "event": "more_peers" }),
            );
        }
    }

    fn restarted(&self, session: SessionId) {
        self.format.report(
            || {
                format!(
                    "the peer allows no checkpoint before the end of a red part: the block is sent once more \
                     without, as block {session}"
                )
            },
            || json!({ "event": "restarted", "session": session.number }),
        );
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
        if self.awaits_service {
            return;
        }
        let before = self.refused();
        self.engine.receive(now, from, octets);
        self.check_refused(before, from.remote, octets);
    }

    fn receive_batch(&mut self, now: Instant, from: NetPath, octets: &[u8], size: NonZeroUsize) {
        if self.awaits_service {
            return;
        }
        let before = self.refused();
        self.engine.receive_batch(now, from, octets, size);
        let first = octets.chunks(size.get()).next();
        self.check_refused(before, from.remote, first.unwrap_or_default());
    }

    fn link(&mut self, now: Instant, at: NetPath, state: Link) {
        self.engine.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command<NetPath>) -> Result<(), Error> {
        let opens = matches!(command, Command::Open(..) | Command::OpenOnDemand(..));
        self.engine.command(now, command)?;
        self.awaits_service &= !opens;
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<NetPath>) -> Output<NetPath, Event> {
        let output = self.engine.poll(now, tx);
        match &output {
            Output::Event(Event::UnknownPeer { peer }) => self.accepted(*peer),
            Output::Event(Event::UnknownPeerRefused { peer, limit }) => self.format.report(
                || {
                    format!(
                        "engine {peer} is refused: limit of {limit} unknown engines reached; \
                         further ones are not named until there is room"
                    )
                },
                || json!({ "event": "peer_refused", "engine": peer, "limit": limit }),
            ),
            Output::Event(Event::Restarted { session, .. }) => self.restarted(*session),
            _ => {}
        }
        output
    }

    fn wants(&self, from: NetPath) -> bool {
        self.engine.wants(from)
    }
}

impl AsMachine<Engine<NetPath>> for PeerFilter {
    fn as_machine(&self) -> &Engine<NetPath> {
        self.inner()
    }

    fn finish(&mut self) {
        self.engine.finish();
    }
}

#[cfg(test)]
mod tests {
    use farlink::Seed;
    use farlink::ltp::{Config, Service};

    use super::*;

    /// The sender of a block under way may not wait for the receiver to start.
    #[test]
    fn a_receiver_that_has_not_opened_its_service_cancels_no_block() {
        let engine = Engine::new(Config::engine(2), Seed::from(1)).unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], 1113));
        let now = Instant::ZERO;
        let format = OutputFormat::of(true);
        let mut filter = PeerFilter::new(EngineMachine::new(engine), (now, local), None, format)
            .unwrap()
            .awaiting_service();
        let from = NetPath::udp(local, local);
        filter
            .command(now, Command::AddPeer(1, Peer::at(from).into()))
            .unwrap();
        // Octet 0 of the red part of session 5 of engine 1, for client service 4.
        let red = [0, 1, 5, 0, 4, 0, 1, 7];
        let heard = |filter: &mut PeerFilter| {
            filter.receive(now, from, &red);
            filter.receive_batch(now, from, &red, NonZeroUsize::MIN.saturating_add(7));
            filter.inner().stats().segments_received
        };

        assert_eq!(heard(&mut filter), 0);
        filter
            .command(now, Command::Open(4, Service::Whole))
            .unwrap();
        assert_eq!(heard(&mut filter), 2);
    }
}
