//! Lines between hosts, and wires and buses between interfaces.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::direction::{Medium, Propagation};
use super::event::RareEvent;
use super::lookup_map::LookupMap;
use super::trace::Contact;
use super::world::AddressState;
use super::{AnyAddr, HostId, Line, Node, World, misuse};
use crate::{Cause, Hop, Instant, Link};

/// The link address of all interfaces on a bus.
pub const BROADCAST: u16 = u16::MAX;

/// A handle of a bus, which connects interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bus(u32);

// Bound: a world of four billion buses has no memory left for them.
impl Bus {
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// All lines of a world.
pub(super) struct Links {
    pub(super) directions: Vec<LineDirection>,
    /// The ends of each direction, which few events need.
    ends: Vec<Endpoints>,
    table: LookupMap<(LineEnd, LineEnd), DirectionId>,
    pub(super) buses: Vec<BusState>,
    pub(super) interfaces: BTreeMap<(HostId, u8), Attachment>,
    /// The carriers that are full, as their hosts were told, and when they are free again.
    pub(super) full: BTreeMap<(HostId, AnyAddr), Instant>,
}

/// An end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LineEnd {
    Node(Node),
    Interface(HostId, u8),
}

impl LineEnd {
    pub(super) const fn node(self) -> Node {
        match self {
            Self::Node(node) => node,
            Self::Interface(host, _) => Node::Host(host),
        }
    }
}

/// The index of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirectionId(u32);

/// One direction of a line: the state that all datagrams need, in one cache line.
#[repr(align(64))]
pub(super) struct LineDirection {
    pub(super) line: Arc<Line>,
    pub(super) medium: MediumRef,
    pub(super) propagation: Propagation,
}

#[derive(Debug, Clone, Copy)]
struct Endpoints {
    from: LineEnd,
    to: LineEnd,
    /// The number of lines that were added here. It tells the contact plan of a former one apart.
    version: u32,
    /// Whether the sender was told last that the line is up. `None` if it was told nothing.
    told_up: Option<bool>,
}

/// A line has a medium for each direction, a bus one for all.
pub(super) enum MediumRef {
    Own(Medium),
    OfBus(Bus),
}

pub(super) struct BusState {
    line: Arc<Line>,
    pub(super) medium: Medium,
    pub(super) members: Vec<(HostId, u8)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Attachment {
    Wire(HostId, u8),
    Bus(Bus),
}

// Bound: a world of four billion lines has no memory left for them.
impl DirectionId {
    fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            directions: Vec::new(),
            ends: Vec::new(),
            table: LookupMap::default(),
            buses: Vec::new(),
            interfaces: BTreeMap::new(),
            full: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, from: LineEnd, to: LineEnd) -> Option<DirectionId> {
        self.table.get(&(from, to)).copied()
    }

    pub(super) fn direction(&mut self, direction: DirectionId) -> Option<&mut LineDirection> {
        self.directions.get_mut(direction.index())
    }

    /// Returns the nodes at the ends of a direction.
    pub(super) fn nodes(&self, direction: DirectionId) -> Option<(Node, Node)> {
        let ends = self.ends.get(direction.index())?;
        Some((ends.from.node(), ends.to.node()))
    }
}

impl World {
    /// Adds a line between two hosts with numbers, or between two neighbours on IP: hosts and NATs of one
    /// network, or a NAT and a node behind it. It replaces the present line between them; what is in flight
    /// arrives. Many hosts can share one line in an [`Arc`].
    pub fn line(
        &mut self,
        one: impl Into<Node>,
        other: impl Into<Node>,
        line: impl Into<Arc<Line>>,
    ) {
        let line = line.into();
        let (one, other) = (one.into(), other.into());
        self.line_from(one, other, Arc::clone(&line));
        self.line_from(other, one, line);
    }

    /// Adds one direction of a line.
    pub fn line_from(
        &mut self,
        from: impl Into<Node>,
        to: impl Into<Node>,
        line: impl Into<Arc<Line>>,
    ) {
        let (from, to) = (from.into(), to.into());
        if !self.are_neighbours(from, to) {
            let (from, to) = (self.trace.name(from), self.trace.name(to));
            misuse(&format!("{from} and {to} are not neighbours"));
        }
        self.add_direction(LineEnd::Node(from), LineEnd::Node(to), line.into(), None);
    }

    fn are_neighbours(&self, from: Node, to: Node) -> bool {
        match (self.address(from), self.address(to)) {
            (Some(AddressState::Number(_)), Some(AddressState::Number(_))) => true,
            (Some(AddressState::Ip(_)) | None, Some(AddressState::Ip(_)) | None) => {
                self.share_net(from, to)
            }
            _ => false,
        }
    }

    pub(super) fn address(&self, node: Node) -> Option<&AddressState> {
        match node {
            Node::Host(id) => self.hosts.get(id.index()).map(|slot| &slot.address),
            Node::Nat(_) => None,
        }
    }

    /// Connects two interfaces. What a machine sends to any `via` arrives at the other end.
    pub fn wire(
        &mut self,
        one: (impl Into<HostId>, u8),
        other: (impl Into<HostId>, u8),
        line: Line,
    ) {
        let one = (one.0.into(), one.1);
        let other = (other.0.into(), other.1);
        self.attach(one, Attachment::Wire(other.0, other.1));
        self.attach(other, Attachment::Wire(one.0, one.1));
        let line = Arc::new(line);
        let (from, to) = (
            LineEnd::Interface(one.0, one.1),
            LineEnd::Interface(other.0, other.1),
        );
        self.add_direction(from, to, Arc::clone(&line), None);
        self.add_direction(to, from, line, None);
    }

    /// Replaces one direction of a wire.
    pub fn wire_from(
        &mut self,
        from: (impl Into<HostId>, u8),
        to: (impl Into<HostId>, u8),
        line: Line,
    ) {
        let from = LineEnd::Interface(from.0.into(), from.1);
        let to = LineEnd::Interface(to.0.into(), to.1);
        if self.links.find(from, to).is_none() {
            misuse("no wire connects the interfaces");
        }
        self.add_direction(from, to, Arc::new(line), None);
    }

    /// Creates a bus. Its rate and its queue are shared by all interfaces on it.
    pub fn bus(&mut self, line: Line) -> Bus {
        let bus = Bus(u32::try_from(self.links.buses.len()).unwrap_or(u32::MAX));
        self.links.buses.push(BusState {
            line: Arc::new(line),
            medium: Medium::default(),
            members: Vec::new(),
        });
        bus
    }

    /// Connects an interface to a bus. It receives what is sent to the link address of its host, and to
    /// [`BROADCAST`].
    pub fn join(&mut self, bus: Bus, host: impl Into<HostId>, interface: u8) {
        let member = (host.into(), interface);
        self.attach(member, Attachment::Bus(bus));
        let Some(state) = self.links.buses.get_mut(bus.index()) else {
            misuse("the bus belongs to another world");
        };
        let line = Arc::clone(&state.line);
        let others = state.members.clone();
        state.members.push(member);
        let point = LineEnd::Interface(member.0, member.1);
        for (host, interface) in others {
            let other = LineEnd::Interface(host, interface);
            self.add_direction(point, other, Arc::clone(&line), Some(bus));
            self.add_direction(other, point, Arc::clone(&line), Some(bus));
        }
    }

    fn attach(&mut self, end: (HostId, u8), attachment: Attachment) {
        if !matches!(self.address(Node::Host(end.0)), Some(AddressState::Link(_))) {
            misuse("only a host with a link address has interfaces");
        }
        if self.links.interfaces.insert(end, attachment).is_some() {
            let name = self.trace.name(end.0);
            misuse(&format!("interface {} of {name} is taken", end.1));
        }
    }

    /// Adds one direction of a line, on a medium of its own or on that of a bus.
    pub(super) fn add_direction(
        &mut self,
        from: LineEnd,
        to: LineEnd,
        line: Arc<Line>,
        bus: Option<Bus>,
    ) -> DirectionId {
        let seed = self.seed.child(&format!("way {from:?} {to:?}"));
        let propagation = Propagation::new(&seed, &line);
        let links = &mut self.links;
        let found = links.find(from, to);
        let direction = found.unwrap_or(DirectionId::new(links.directions.len()));
        if found.is_none() {
            links.ends.push(Endpoints {
                from,
                to,
                version: 0,
                told_up: None,
            });
            links.directions.push(LineDirection {
                line: Arc::clone(&line),
                medium: bus.map_or_else(|| MediumRef::Own(Medium::default()), MediumRef::OfBus),
                propagation,
            });
            links.table.insert((from, to), direction);
        }
        let state = links.directions.get_mut(direction.index());
        let (Some(state), Some(ends)) = (state, links.ends.get_mut(direction.index())) else {
            return direction;
        };
        state.propagation.replace_line(&line);
        state.line = line;
        ends.version += 1;
        let version = ends.version;
        // At once: what is sent at this instant must see whether a contact is open.
        self.contact_changes(direction, version);
        direction
    }

    /// Follows the contact plan of a line that was added, or whose contact begins or ends.
    pub(super) fn contact_changes(&mut self, direction: DirectionId, version: u32) {
        let now = self.now;
        let Links {
            directions, ends, ..
        } = &mut self.links;
        let (Some(state), Some(ends)) = (
            directions.get(direction.index()),
            ends.get_mut(direction.index()),
        ) else {
            return;
        };
        // A line without a plan gives no cues, unless it replaces one with a plan.
        let is_always = state.line.contacts.is_always();
        if ends.version != version || (is_always && ends.told_up.is_none()) {
            return;
        }
        let (from, to) = (ends.from, ends.to);
        let window = state.line.contacts.window_at(now);
        let is_news = ends.told_up.replace(window.is_some()) != Some(window.is_some());
        if let Some(next) = state.line.contacts.next_change(now) {
            self.schedule_rare(next, RareEvent::Contact(direction, version));
        }
        self.trace.end_contact(from.node(), to.node(), now);
        if let Some((opens, closes)) = window.filter(|_| !is_always) {
            self.trace.contact(Contact {
                from: from.node(),
                to: to.node(),
                opens: opens.max(now),
                closes,
            });
        }
        let link = window.map_or(Link::Down(Cause::Unreachable), |_| Link::Up);
        if is_news && let Some((id, addr)) = self.address_of(from, to) {
            self.contact_cue(id, addr, link);
        }
    }

    /// Returns the address by which the host at `from` knows the one at `to`. On IP there is none, because
    /// contacts give no cues.
    fn address_of(&self, from: LineEnd, to: LineEnd) -> Option<(HostId, AnyAddr)> {
        let Node::Host(id) = from.node() else {
            return None;
        };
        match (from, self.address(to.node())?) {
            (_, AddressState::Number(named)) => Some((id, AnyAddr::Number(named.own))),
            (LineEnd::Interface(_, interface), AddressState::Link(via)) => {
                let via = *via;
                Some((id, AnyAddr::Hop(Hop { interface, via })))
            }
            _ => None,
        }
    }
}
