//! Engines of LTP with lines between them, and what to ask of them when all is over.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use bytes::Bytes;
use farlink::Tag;
use farlink::ltp::{
    Block, Body, Color, Command, Config, Engine, Event, Labels, Peer, Red, Segment, Service, Side,
};
use farlink::sim::{Delivery, Host, Label, Line, PacketView, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// The client service that is open everywhere.
pub(crate) const CLIENT: u64 = 4;

pub(crate) type Node = Host<Engine<u64>>;

/// Engines 1, 2, 3 and so on, each under a name.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) nodes: Vec<Node>,
}

impl Scene {
    pub(crate) fn new<const N: usize>(seed: u64, names: [&str; N]) -> Self {
        let mut world = World::new(seed);
        // Sessions are numbered over the whole picture.
        let labels = Rc::new(RefCell::new(Labels::default()));
        let mut nodes = Vec::new();
        for (id, name) in (1..).zip(names) {
            let engine = Engine::new(Config::engine(id), world.seed(name)).unwrap();
            let node = world.host(id, engine);
            world.name(node, name);
            let labels = Rc::clone(&labels);
            world.label_host(node, move |octets| {
                let label = labels.borrow_mut().name(octets);
                Some(Label {
                    text: label.text,
                    is_repeated: Some(label.is_repeated),
                })
            });
            world.label_events(node, tell);
            world
                .command(node, Command::Open(CLIENT, Service::Whole))
                .unwrap();
            nodes.push(node);
        }
        Self { world, nodes }
    }

    /// Earth and Mars, and one line each way.
    pub(crate) fn pair(
        seed: u64,
        there: Line,
        back: Line,
        peer: impl Fn(u64) -> Peer<u64>,
    ) -> Self {
        let mut scene = Self::new(seed, ["earth", "mars"]);
        scene.join(1, 2, there, back, peer);
        scene
    }

    /// Lays lines between two engines, and makes them peers.
    pub(crate) fn join(
        &mut self,
        one: u64,
        other: u64,
        there: Line,
        back: Line,
        peer: impl Fn(u64) -> Peer<u64>,
    ) {
        let (first, second) = (self.node(one), self.node(other));
        self.world.line_from(first, second, there);
        self.world.line_from(second, first, back);
        for (node, id) in [(first, other), (second, one)] {
            let peer = Box::new(peer(id));
            self.world
                .command(node, Command::AddPeer(id, peer))
                .unwrap();
        }
    }

    pub(crate) fn node(&self, id: u64) -> Node {
        self.nodes[usize::try_from(id).unwrap() - 1]
    }

    pub(crate) fn send(&mut self, from: u64, to: u64, data: &Bytes, red: Red) {
        let block = Block {
            red,
            ..Block::red(Tag(to), to, CLIENT, data.clone())
        };
        let node = self.node(from);
        self.world.command(node, Command::Send(block)).unwrap();
    }

    /// Runs until no engine has a session, and nothing is under way.
    pub(crate) fn run(&mut self) {
        self.world.run_for(SECOND);
        let is_over = |scene: &Self| {
            let mut nodes = scene.nodes.iter();
            nodes.all(|node| scene.world.machine(*node).sessions() == (0, 0))
                && scene
                    .world
                    .trace()
                    .packets()
                    .all(|packet| packet.delivery != Delivery::InFlight)
        };
        while !is_over(self) {
            assert!(self.world.step(), "nothing more happens");
        }
        for node in &self.nodes {
            let engine = self.world.machine(*node);
            assert_eq!(engine.timers(), 0);
        }
    }

    pub(crate) fn events(&self, id: u64) -> Vec<Event> {
        let events = self.world.events(self.node(id));
        events.map(|(_, event)| event.clone()).collect()
    }

    /// The red parts that an engine received.
    pub(crate) fn received(&self, id: u64) -> Vec<Bytes> {
        let events = self.events(id).into_iter();
        events
            .filter_map(|event| match event {
                Event::Received { data, .. } => Some(data),
                _ => None,
            })
            .collect()
    }

    /// Octets that an engine sent again.
    pub(crate) fn resent(&self, id: u64) -> u64 {
        self.world.machine(self.node(id)).stats().octets_resent
    }
}

/// A block in which each octet tells its place.
pub(crate) fn pattern(len: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(len).collect()
}

/// Tells a kind of segment, for lines that choose what they lose.
pub(crate) fn is(
    which: impl Fn(&Body<'_>) -> bool + Send + Sync + 'static,
) -> impl Fn(&PacketView<'_>) -> bool + Send + Sync + 'static {
    move |seen| Segment::decode(seen.octets).is_ok_and(|segment| which(&segment.body))
}

pub(crate) const fn is_checkpoint(body: &Body<'_>) -> bool {
    matches!(body, Body::Data(data) if matches!(data.color, Color::Red(Some(_))))
}

pub(crate) const fn is_report(body: &Body<'_>) -> bool {
    matches!(body, Body::Report(_))
}

fn tell(event: &Event) -> String {
    match event {
        Event::Complete { .. } => "complete".into(),
        Event::Failed { by, reason, .. } => match by {
            Side::Local => format!("gave up: {reason}"),
            Side::Remote => format!("cancelled by the peer: {reason}"),
        },
        Event::Received { data, .. } => format!("received {} red octets", data.len()),
        Event::Green { data, offset, .. } => {
            format!("green {offset}..{}", offset + data.len() as u64)
        }
        Event::Cancelled { by, reason, .. } => match by {
            Side::Local => format!("reception cancelled: {reason}"),
            Side::Remote => format!("cancelled by the sender: {reason}"),
        },
        other => format!("{other:?}"),
    }
}
