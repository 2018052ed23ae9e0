//! What the application asks for.

use core::time::Duration;

use bytes::Bytes;

use super::carrier::PacketHead;
use super::requests::{Kind, MAX_PING, Outstanding};
use super::slot::{Role, Slot};
use super::{Node, OutgoingData, OutgoingDatagram};
use crate::Tag;
use crate::csp::api::{ConnectionId, Endpoint, Error, SendOptions, SocketOptions};
use crate::csp::routing::Route;
use crate::csp::services::{ServiceRequest, port};
use crate::csp::sfp::Fragments;
use crate::csp::wire::{Flags, Header, MAX_PORT, SynOptions};

impl Node {
    pub(crate) fn bind(&mut self, port: u8, options: SocketOptions) -> Result<(), Error> {
        self.check_key(options.required())?;
        let is_service = self.serves(port);
        let is_used = self.is_source_port(port);
        let place = self.ports.get_mut(usize::from(port));
        let place = place.ok_or(Error::PortTooLarge(port))?;
        if place.is_some() || is_service || is_used {
            return Err(Error::PortInUse(port));
        }
        *place = Some(options);
        Ok(())
    }

    pub(super) fn unbind(&mut self, port: u8) -> Result<(), Error> {
        let place = self.ports.get_mut(usize::from(port));
        let place = place.ok_or(Error::PortTooLarge(port))?;
        place.take().map(drop).ok_or(Error::NotBound(port))
    }

    pub(crate) fn connect(
        &mut self,
        tag: Tag,
        to: Endpoint,
        options: SendOptions,
        syn: SynOptions,
    ) -> Result<(), Error> {
        self.check_endpoint(to, self.config.version.broadcast() - 1)?;
        self.check_key(options.flags())?;
        let exit = self.router.exits(to.address, None).next();
        let local = match exit {
            Some(exit) if !self.is_own(to.address) => exit.source,
            _ => self.config.address,
        };
        let limit = self.config.connections;
        let port = self.take_source_port().ok_or(Error::NoSourcePort)?;
        let at = self.free_slot(Duration::ZERO);
        let at = at.ok_or(Error::NoSlot { limit })?;
        let (initial, now) = (self.draw_initial(), self.now);
        if let Some(slot) = self.slots.get_mut(at) {
            let role = Role::Connecting { tag, retries: 0 };
            slot.take(role, (local, port), to, options);
            slot.rdp.connect(now, syn, initial);
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, data: Bytes) -> Result<(), Error> {
        let flags = Flags::RDP | self.slot_mut(connection)?.options.flags();
        let (octets, limit) = (self.config.data_limit(flags), self.config.send_queue);
        let slot = self.slot_mut(connection)?;
        if data.is_empty() {
            return Err(Error::Empty);
        }
        check_length(data.len(), octets)?;
        if !slot.rdp.is_open() {
            return Err(Error::NotOpen(connection));
        }
        if slot.has_fragments() || !slot.rdp.send(data) {
            slot.awaits_room = true;
            return Err(Error::Full { limit });
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, connection: ConnectionId) -> Result<(), Error> {
        let now = self.now;
        self.slot_mut(connection)?.close(now);
        Ok(())
    }

    pub(super) fn send_to(
        &mut self,
        from: u8,
        to: Endpoint,
        options: SendOptions,
        data: Bytes,
    ) -> Result<(), Error> {
        check_length(data.len(), self.config.data_limit(options.flags()))?;
        self.push_outgoing(from, to, options, OutgoingData::Packet(data))
    }

    fn push_outgoing(
        &mut self,
        from: u8,
        to: Endpoint,
        options: SendOptions,
        data: OutgoingData,
    ) -> Result<(), Error> {
        if from > MAX_PORT {
            return Err(Error::PortTooLarge(from));
        }
        self.check_endpoint(to, self.config.version.broadcast())?;
        self.check_key(options.flags())?;
        let limit = self.config.datagram_queue;
        if self.outgoing.len() >= usize::from(limit) {
            return Err(Error::Full { limit });
        }
        let fragment = match data {
            OutgoingData::Packet(_) => Flags::empty(),
            OutgoingData::Fragments(_) => Flags::FRAG,
        };
        let header = Header {
            priority: options.priority,
            source: self.config.address,
            destination: to.address,
            destination_port: to.port,
            source_port: from,
            flags: options.flags() | fragment,
        };
        let head = PacketHead::from_interface(header).with(options);
        self.outgoing.push_back(OutgoingDatagram { head, data });
        Ok(())
    }

    pub(super) fn send_fragments(
        &mut self,
        connection: ConnectionId,
        mtu: u16,
        data: Bytes,
    ) -> Result<(), Error> {
        let flags = Flags::RDP | self.slot_mut(connection)?.options.flags();
        self.check_fragments(mtu, &data, flags)?;
        let limit = self.config.send_queue;
        let slot = self.slot_mut(connection)?;
        if !slot.rdp.is_open() || slot.is_closing() {
            return Err(Error::NotOpen(connection));
        }
        if slot.has_fragments() || !slot.rdp.has_room() {
            slot.awaits_room = true;
            return Err(Error::Full { limit });
        }
        slot.send_fragments(Fragments::new(data, mtu));
        Ok(())
    }

    pub(super) fn send_fragments_to(
        &mut self,
        from: u8,
        to: Endpoint,
        options: SendOptions,
        mtu: u16,
        data: Bytes,
    ) -> Result<(), Error> {
        self.check_fragments(mtu, &data, options.flags())?;
        let data = OutgoingData::Fragments(Fragments::new(data, mtu));
        self.push_outgoing(from, to, options, data)
    }

    fn check_fragments(&self, mtu: u16, data: &Bytes, flags: Flags) -> Result<(), Error> {
        let limit = self.config.data_limit(flags | Flags::FRAG);
        if mtu == 0 || usize::from(mtu) > limit {
            return Err(Error::Mtu { mtu, limit });
        }
        let octets = data.len();
        let limit = usize::try_from(self.config.max_sfp).unwrap_or(usize::MAX);
        if octets == 0 {
            return Err(Error::Empty);
        }
        if octets > limit {
            return Err(Error::TooMuchData { octets, limit });
        }
        Ok(())
    }

    pub(super) fn set_route(&mut self, route: Route) -> Result<(), Error> {
        self.config.check_route(route)?;
        self.router.set_route(route)
    }

    pub(super) fn ping(
        &mut self,
        tag: Tag,
        destination: u16,
        octets: u16,
        timeout: Duration,
    ) -> Result<(), Error> {
        let limit = self.config.data_limit(self.config.requests.flags());
        check_length(usize::from(octets), limit.min(MAX_PING))?;
        self.start_request(tag, destination, Kind::Ping(octets), timeout)
    }

    pub(super) fn request(
        &mut self,
        tag: Tag,
        destination: u16,
        request: ServiceRequest,
        timeout: Duration,
    ) -> Result<(), Error> {
        let (octets, limit) = request.data_and_limit();
        if octets > limit {
            return Err(Error::TooMuchData { octets, limit });
        }
        let limit = self.config.data_limit(self.config.requests.flags());
        check_length(request.len(self.config.version), limit)?;
        self.start_request(tag, destination, Kind::Service(request), timeout)
    }

    fn start_request(
        &mut self,
        tag: Tag,
        destination: u16,
        kind: Kind,
        timeout: Duration,
    ) -> Result<(), Error> {
        let to = Endpoint {
            address: destination,
            port: port::PING,
        };
        self.check_endpoint(to, self.config.version.broadcast())?;
        self.requests.check_room()?;
        let port = self.take_source_port().ok_or(Error::NoSourcePort)?;
        self.source_ports.rest(port, self.now, timeout);
        self.requests.start(Outstanding {
            tag,
            port,
            destination,
            kind,
            deadline: self.now + timeout,
            sent: None,
            answers: 0,
            has_ended: false,
        });
        Ok(())
    }

    fn check_key(&self, flags: Flags) -> Result<(), Error> {
        if flags.contains(Flags::HMAC) && self.config.hmac_key.is_none() {
            return Err(Error::NoHmacKey);
        }
        Ok(())
    }

    /// Leaves the packets of a connection in its queue until [`release`](Self::release), or until it ends.
    pub(crate) fn hold(&mut self, connection: ConnectionId) -> Result<(), Error> {
        self.slot_mut(connection)?.is_held = true;
        Ok(())
    }

    /// Tells of the packets of a connection again.
    pub(crate) fn release(&mut self, connection: ConnectionId) -> Result<(), Error> {
        self.slot_mut(connection)?.is_held = false;
        Ok(())
    }

    /// Takes a source port for a packet without connection, which nothing else has for so long.
    #[cfg(feature = "dtp")]
    pub(crate) fn lend_source_port(&mut self, time: Duration) -> Option<u8> {
        let port = self.take_source_port()?;
        self.source_ports.rest(port, self.now, time);
        Some(port)
    }

    /// Tells why no connection can lead to a port, if none can.
    #[cfg(feature = "dtp")]
    pub(crate) fn check_peer(&self, to: Endpoint) -> Result<(), Error> {
        self.check_endpoint(to, self.config.version.broadcast() - 1)
    }

    fn check_endpoint(&self, to: Endpoint, limit: u16) -> Result<(), Error> {
        let Endpoint { address, port } = to;
        if port > MAX_PORT {
            return Err(Error::PortTooLarge(port));
        }
        if address > limit {
            return Err(Error::AddressTooLarge { address, limit });
        }
        if !self.is_own(address) && !self.leads_to(address) {
            return Err(Error::NoRoute(address));
        }
        Ok(())
    }

    pub(super) fn take_source_port(&mut self) -> Option<u8> {
        let (ports, slots, requests) = (&self.ports, &self.slots, &self.requests);
        self.source_ports.take(self.now, |port| {
            let is_bound = ports.get(usize::from(port)).is_some_and(Option::is_some);
            is_bound || requests.has_port(port) || slots.iter().any(|slot| slot.has_port(port))
        })
    }

    /// Tells whether a connection or a request comes from this port.
    fn is_source_port(&self, port: u8) -> bool {
        self.requests.has_port(port) || self.slots.iter().any(|slot| slot.has_port(port))
    }
}

impl Slot {
    fn has_port(&self, port: u8) -> bool {
        !self.is_free() && self.port == port
    }
}

const fn check_length(octets: usize, limit: usize) -> Result<(), Error> {
    if octets > limit {
        return Err(Error::TooLong { octets, limit });
    }
    Ok(())
}
