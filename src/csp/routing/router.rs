//! The interfaces of a node with their counters and queues, and the routes to them.

use alloc::vec::Vec;

use bytes::Bytes;

use super::interface::Subnet;
use super::{Deduplication, Deduplicator, InterfaceConfig, Route, Seen};
use crate::csp::api::{Error, InterfaceStats};
use crate::csp::config::Config;
use crate::csp::ring::PacketRing;
use crate::csp::services::InterfaceName;
use crate::csp::wire::Version;
use crate::{Hop, Instant};

/// Interfaces, routes, and the packets that wait for them.
#[derive(Debug)]
pub(in crate::csp) struct Router {
    version: Version,
    interfaces: Vec<Interface>,
    routes: Vec<Route>,
    max_routes: u16,
    seen: Deduplicator,
    promiscuous: PacketRing<Origin>,
    /// The interface whose packets are sent next.
    next_queue: usize,
}

#[derive(Debug)]
struct Interface {
    name: InterfaceName,
    address: u16,
    subnet: Option<Subnet>,
    is_default: bool,
    deduplication: Deduplication,
    stats: InterfaceStats,
    /// Whole packets, each with the next node.
    queue: PacketRing<u16>,
}

/// Where a packet for the application came from; `None` if this node made it.
#[derive(Debug, Clone, Copy, Default)]
struct Origin(Option<Hop>);

/// A way out of the node for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) struct Exit {
    pub(in crate::csp) hop: Hop,
    /// The address of the node on that interface.
    pub(in crate::csp) source: u16,
    /// The destination there: a broadcast to the subnet of the interface becomes one to all its nodes.
    pub(in crate::csp) destination: u16,
}

impl Router {
    pub(in crate::csp) fn new(config: &Config) -> Self {
        let max_routes = config.max_routes();
        let interfaces = config.interfaces.iter();
        let mut router = Self {
            version: config.version,
            interfaces: interfaces.map(|it| Interface::new(it, config)).collect(),
            routes: Vec::with_capacity(usize::from(max_routes)),
            max_routes,
            seen: Deduplicator::new(config.max_remembered),
            promiscuous: PacketRing::new(config.promiscuous.into(), config.max_packet()),
            next_queue: 0,
        };
        for route in &config.routes {
            // Bound: there are at least as many as the configuration has.
            let _: Result<(), Error> = router.set_route(*route);
        }
        router
    }

    /// Returns the bytes that a router allocates.
    pub(in crate::csp) fn footprint(config: &Config) -> usize {
        let queue =
            PacketRing::<u16>::footprint(config.interface_queue.into(), config.max_packet());
        config.interfaces.len() * (size_of::<Interface>() + queue)
            + usize::from(config.max_routes()) * size_of::<Route>()
            + Deduplicator::footprint(config.max_remembered)
            + PacketRing::<Origin>::footprint(config.promiscuous.into(), config.max_packet())
    }

    /// Returns how many interfaces there are.
    pub(in crate::csp) const fn interfaces(&self) -> usize {
        self.interfaces.len()
    }

    pub(in crate::csp) const fn routes(&self) -> &[Route] {
        self.routes.as_slice()
    }

    pub(in crate::csp) fn stats(&self, interface: u8) -> Option<InterfaceStats> {
        Some(self.interface(interface)?.stats)
    }

    /// Returns the counters of an interface, to be changed.
    pub(in crate::csp) fn stats_mut(&mut self, interface: u8) -> Option<&mut InterfaceStats> {
        let interface = self.interfaces.get_mut(usize::from(interface))?;
        Some(&mut interface.stats)
    }

    /// Returns name and counters of the interface that has a name, in any case.
    pub(in crate::csp) fn named(&self, name: &str) -> Option<(InterfaceName, InterfaceStats)> {
        let is_named = |it: &&Interface| it.name.as_str().eq_ignore_ascii_case(name);
        let interface = self.interfaces.iter().find(is_named)?;
        Some((interface.name, interface.stats))
    }

    fn interface(&self, number: u8) -> Option<&Interface> {
        self.interfaces.get(usize::from(number))
    }

    /// Returns the address of the node on an interface.
    pub(in crate::csp) fn address_on(&self, interface: u8) -> Option<u16> {
        Some(self.interface(interface)?.address)
    }

    /// Tells whether an interface has this address.
    pub(in crate::csp) fn has_address(&self, address: u16) -> bool {
        self.interfaces.iter().any(|it| it.address == address)
    }

    /// Tells whether an address is that of all nodes, or of all in the subnet of an interface.
    pub(in crate::csp) fn is_broadcast_on(&self, interface: u8, address: u16) -> bool {
        let subnet = self.interface(interface).and_then(|it| it.subnet);
        address == self.version.broadcast() || subnet.is_some_and(|it| it.is_broadcast(address))
    }

    /// Tells whether an address is that of all nodes, or of all in any subnet of the node.
    pub(in crate::csp) fn is_broadcast(&self, address: u16) -> bool {
        let mut subnets = self.interfaces.iter().filter_map(|it| it.subnet);
        address == self.version.broadcast() || subnets.any(|it| it.is_broadcast(address))
    }

    /// Tells whether packets of an interface are looked at for repetitions.
    pub(in crate::csp) fn deduplicates(&self, interface: u8, is_for_node: bool) -> bool {
        let interface = self.interface(interface);
        interface.is_some_and(|it| it.deduplication.applies(is_for_node))
    }

    /// Tells whether a packet like this one came a short time ago.
    pub(in crate::csp) fn see(&mut self, now: Instant, interface: u8, octets: &[u8]) -> Seen {
        self.seen.see(now, interface, octets)
    }

    /// Returns the ways out for a packet: by each interface whose subnet has the destination; else by the routes that
    /// have most bits in common with it; else by the default interfaces. None leads back to where it came `from`.
    pub(in crate::csp) fn exits(
        &self,
        destination: u16,
        from: Option<u8>,
    ) -> impl Iterator<Item = Exit> {
        let version = self.version;
        let is_local = self.interfaces.iter().any(|it| it.contains(destination));
        let best = if is_local {
            None
        } else {
            self.best_route(destination)
        };
        let is_default = !is_local && best.is_none();
        let direct = (0..=u8::MAX).zip(&self.interfaces).filter(move |(_, it)| {
            is_local && it.contains(destination) || is_default && it.is_default
        });
        let direct = direct.map(move |(interface, _)| (interface, None));
        let routed = self.routes.iter();
        let routed =
            routed.filter(move |route| best.is_some_and(|it| it.is_for_same(**route, version)));
        let routed = routed.map(|route| (route.interface, route.via));
        let origin = from.and_then(|number| self.interface(number));
        direct.chain(routed).filter_map(move |(number, via)| {
            let interface = self.interface(number)?;
            let goes_back =
                from == Some(number) || origin.is_some_and(|it| it.is_beside(interface));
            (!goes_back).then(|| interface.exit(number, via, destination, version))
        })
    }

    /// Returns the last of the routes that have most bits in common with an address.
    fn best_route(&self, address: u16) -> Option<Route> {
        let routes = self.routes.iter();
        let routes = routes.filter(|route| route.contains(address, self.version));
        routes.max_by_key(|route| route.prefix).copied()
    }

    /// Adds a route, in place of one for the same addresses by the same interface.
    pub(in crate::csp) fn set_route(&mut self, route: Route) -> Result<(), Error> {
        let version = self.version;
        let is_same =
            |it: &&mut Route| it.is_for_same(route, version) && it.interface == route.interface;
        if let Some(place) = self.routes.iter_mut().find(is_same) {
            *place = route;
            return Ok(());
        }
        let limit = self.max_routes;
        if self.routes.len() >= usize::from(limit) {
            return Err(Error::TooManyRoutes { limit });
        }
        self.routes.push(route);
        Ok(())
    }

    pub(in crate::csp) fn remove_route(&mut self, address: u16, prefix: u8) -> Result<(), Error> {
        let (count, version) = (self.routes.len(), self.version);
        let removed = Route {
            address,
            prefix,
            ..Route::default()
        };
        self.routes.retain(|it| !it.is_for_same(removed, version));
        if self.routes.len() == count {
            return Err(Error::UnknownRoute { address, prefix });
        }
        Ok(())
    }

    /// Lets a packet wait for its interface. Returns false, and counts it there, if too many do.
    pub(in crate::csp) fn enqueue(&mut self, hop: Hop, pieces: &[&[u8]]) -> bool {
        let interface = self.interfaces.get_mut(usize::from(hop.interface));
        let is_queued = interface.is_some_and(|it| it.queue.push(hop.via, pieces));
        if !is_queued {
            self.on_dropped(hop.interface);
        }
        is_queued
    }

    /// Counts a packet that an interface did not take.
    pub(in crate::csp) fn on_dropped(&mut self, interface: u8) {
        self.count(Some(interface), |it| it.dropped += 1);
    }

    /// Counts something of an interface; what the node sends to itself comes by none.
    pub(in crate::csp) fn count(
        &mut self,
        interface: Option<u8>,
        count: impl FnOnce(&mut InterfaceStats),
    ) {
        if let Some(stats) = interface.and_then(|it| self.stats_mut(it)) {
            count(stats);
        }
    }

    /// Tells whether another packet can wait for the interface of a hop.
    pub(in crate::csp) fn has_room(&self, hop: Hop) -> bool {
        let interface = self.interface(hop.interface);
        interface.is_some_and(|it| it.queue.len() < it.queue.capacity())
    }

    /// Returns the interface whose packets are written first. Interfaces take turns.
    pub(in crate::csp) const fn first_queue(&self) -> usize {
        self.next_queue
    }

    /// Lends the next packet that waits for an interface.
    pub(in crate::csp) fn front_queued(&self, interface: usize) -> Option<(Hop, &[u8])> {
        let (via, octets) = self.interfaces.get(interface)?.queue.front()?;
        // Bound: there are at most 256 interfaces.
        let interface = u8::try_from(interface).ok()?;
        Some((Hop { interface, via }, octets))
    }

    /// Removes the packet that was lent. The next interface has the turn.
    pub(in crate::csp) fn discard_queued(&mut self, interface: usize) {
        if let Some(it) = self.interfaces.get_mut(interface) {
            it.queue.discard();
            self.next_queue = (interface + 1) % self.interfaces.len();
        }
    }

    /// Copies a packet for the application. Returns false if too many wait.
    pub(in crate::csp) fn capture(&mut self, from: Option<Hop>, pieces: &[&[u8]]) -> bool {
        self.promiscuous.capacity() == 0 || self.promiscuous.push(Origin(from), pieces)
    }

    /// Tells whether there is a packet for the application.
    pub(in crate::csp) const fn has_captured(&self) -> bool {
        !self.promiscuous.is_empty()
    }

    /// Takes the next packet for the application.
    pub(in crate::csp) fn next_captured(&mut self) -> Option<(Option<Hop>, Bytes)> {
        let (Origin(from), octets) = self.promiscuous.pop()?;
        Some((from, octets))
    }
}

impl Interface {
    fn new(config: &InterfaceConfig, node: &Config) -> Self {
        let address = config.address.unwrap_or(node.address);
        Self {
            name: config.name,
            address,
            subnet: Subnet::new(address, config.prefix, node.version),
            is_default: config.is_default,
            deduplication: config.deduplication,
            stats: InterfaceStats::default(),
            queue: PacketRing::new(node.interface_queue.into(), node.max_packet()),
        }
    }

    fn contains(&self, address: u16) -> bool {
        self.subnet.is_some_and(|it| it.contains(address))
    }

    /// Tells whether another interface is of the same subnet.
    fn is_beside(&self, other: &Self) -> bool {
        self.subnet.is_some() && self.subnet == other.subnet
    }

    fn exit(&self, number: u8, via: Option<u16>, destination: u16, version: Version) -> Exit {
        let is_broadcast = self.subnet.is_some_and(|it| it.is_broadcast(destination));
        let destination = if is_broadcast {
            version.broadcast()
        } else {
            destination
        };
        Exit {
            hop: Hop {
                interface: number,
                via: via.unwrap_or(destination),
            },
            source: self.address,
            destination,
        }
    }
}
