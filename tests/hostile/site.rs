//! A node under attack, and honest engines that send to it.

use core::net::SocketAddr;
use core::time::Duration;

use farlink::ltp::{Block, Config, Engine, Event, Peer, Service};
use farlink::{Instant, Limits, Machine as _, Output, Path, Seed, Tag, Transmit};

use crate::ltp_alone::Alone;

pub(crate) const CLIENT: u64 = 4;
pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: usize = 1 << 20;

pub(crate) fn path(remote: SocketAddr) -> Path {
    Path::udp(SocketAddr::from(([192, 0, 2, 1], 1113)), remote)
}

/// The path from a host of the attacker, by number.
pub(crate) fn stranger(host: u32) -> Path {
    let [_, b, c, d] = host.to_be_bytes();
    path(SocketAddr::from(([10, b, c, d], 1113)))
}

/// The path from a port of one host.
pub(crate) fn port(port: u16) -> Path {
    path(SocketAddr::from(([10, 0, 0, 1], port)))
}

/// A node as the tool starts it: strangers may send, up to 1024 of them.
pub(crate) fn node() -> Alone<Path> {
    node_with(Config::engine(2))
}

pub(crate) fn node_with(config: Config) -> Alone<Path> {
    let mut node = Alone::new(config, 2);
    let template = Peer::at(stranger(0));
    let now = node.now;
    node.engine
        .accept_unknown_peers(now, Some(template), 1024)
        .unwrap();
    node.engine.open(now, CLIENT, Service::Whole).unwrap();
    node
}

/// An honest engine, and where it is.
pub(crate) struct Honest {
    engine: Engine<Path>,
    id: u64,
    at: Path,
    tags: u64,
    /// Octets of the block that is sent.
    len: usize,
    tx: Transmit<Path>,
    events: Vec<Event>,
    deadline: Option<Instant>,
}

impl Honest {
    /// An engine that the node was told of.
    pub(crate) fn named(node: &mut Alone<Path>, id: u64) -> Self {
        let honest = Self::unnamed(id);
        node.engine
            .add_peer(node.now, id, Peer::at(honest.at))
            .unwrap();
        honest
    }

    /// An engine of which the node knows nothing.
    pub(crate) fn unnamed(id: u64) -> Self {
        let mut engine = Engine::new(Config::engine(id), Seed::from(id)).unwrap();
        let there = Peer::at(stranger(0));
        engine.add_peer(Instant::ZERO, 2, there).unwrap();
        Self {
            engine,
            id,
            at: path(SocketAddr::from(([192, 0, 2, id as u8], 1113))),
            tags: 0,
            len: 0,
            tx: Transmit::new(Limits::default()),
            events: Vec::new(),
            deadline: None,
        }
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) const fn at(&self) -> Path {
        self.at
    }

    /// Sends a block to the node, and runs until its end. Returns whether it is complete and received.
    pub(crate) fn transfer(&mut self, node: &mut Alone<Path>, len: usize) -> bool {
        self.begin(node, len);
        self.finish(node)
    }

    /// Begins to send a block.
    pub(crate) fn begin(&mut self, node: &mut Alone<Path>, len: usize) {
        self.tags += 1;
        self.len = len;
        self.events.clear();
        node.events.clear();
        let data = vec![self.id as u8; len];
        let block = Block::red(Tag(self.tags), 2, CLIENT, data.into());
        self.engine.send_block(node.now, block).unwrap();
    }

    /// Runs until the block has ended, or for twenty seconds.
    pub(crate) fn finish(&mut self, node: &mut Alone<Path>) -> bool {
        let kept = node.kept.replace(self.at);
        let end = node.now + Duration::from_secs(20);
        while self.events.is_empty() && node.now < end {
            self.turn(node);
            if self.events.is_empty() {
                let span = self
                    .deadline
                    .map(|at| at.saturating_duration_since(node.now));
                let most = Duration::from_millis(100);
                node.run_for(span.unwrap_or(most).clamp(Duration::from_nanos(1), most));
            }
        }
        self.turn(node);
        node.kept = kept;
        let is_complete = |event: &Event| matches!(event, Event::Complete { .. });
        let is_received = |(_, event): &(Instant, Event)| match event {
            Event::Received { session, data, .. } => {
                session.originator == self.id && data.len() == self.len
            }
            _ => false,
        };
        self.events.iter().any(is_complete) && node.events.iter().any(is_received)
    }

    /// Passes on what both have for each other.
    fn turn(&mut self, node: &mut Alone<Path>) {
        loop {
            let mut has_sent = false;
            loop {
                match self.engine.poll(node.now, &mut self.tx) {
                    Output::Transmit => {
                        has_sent = true;
                        for octets in self.tx.datagrams() {
                            node.receive(self.at, octets);
                        }
                    }
                    Output::Event(event) => self.events.push(event),
                    Output::Yield => {}
                    Output::Idle(deadline) => {
                        self.deadline = deadline;
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            let answers = core::mem::take(&mut node.sent);
            for sent in answers.iter().filter(|sent| sent.to == self.at) {
                self.engine.receive(node.now, stranger(0), &sent.octets);
            }
            if !has_sent && answers.is_empty() {
                return;
            }
        }
    }
}

/// A named engine and a stranger of good will, each of which sends a block beside an attack.
pub(crate) struct Beside {
    named: Honest,
    unnamed: Honest,
}

impl Beside {
    pub(crate) fn new(node: &mut Alone<Path>) -> Self {
        Self {
            named: Honest::named(node, 101),
            unnamed: Honest::unnamed(102),
        }
    }

    /// Both send a block of 200,000 octets, which is to be complete.
    pub(crate) fn assert_served(&mut self, node: &mut Alone<Path>) {
        self.assert_named_served(node);
        assert!(self.unnamed.transfer(node, 200_000), "the stranger");
    }

    pub(crate) fn assert_named_served(&mut self, node: &mut Alone<Path>) {
        assert!(self.named.transfer(node, 200_000), "the named peer");
    }
}
