//! What the application asks for.

use core::time::Duration;

use bytes::Bytes;

use super::pings::MAX_PING;
use super::slot::{Role, Slot};
use super::{Node, OutgoingDatagram, carrier};
use crate::Tag;
use crate::csp::api::{ConnectionId, Endpoint, Error, SendOptions, SocketOptions};
use crate::csp::wire::{Flags, Header, MAX_PORT, SynOptions};

impl Node {
    pub(crate) fn bind(&mut self, port: u8, options: SocketOptions) -> Result<(), Error> {
        let is_service = self.answers_pings_at(port);
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
        let limit = self.config.connections;
        let is_free = |slot: &Slot| slot.is_free();
        let at = self.slots.iter().position(is_free);
        let at = at.ok_or(Error::NoSlot { limit })?;
        let port = self.take_source_port().ok_or(Error::NoSourcePort)?;
        let (initial, now) = (self.draw_initial(), self.now);
        if let Some(slot) = self.slots.get_mut(at) {
            let role = Role::Connecting { tag, retries: 0 };
            slot.take(role, port, to, options);
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
        if !slot.rdp.send(data) {
            slot.awaits_room = true;
            return Err(Error::Full { limit });
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, connection: ConnectionId) -> Result<(), Error> {
        let now = self.now;
        self.slot_mut(connection)?.rdp.close(now);
        Ok(())
    }

    pub(super) fn send_to(
        &mut self,
        from: u8,
        to: Endpoint,
        options: SendOptions,
        data: Bytes,
    ) -> Result<(), Error> {
        if from > MAX_PORT {
            return Err(Error::PortTooLarge(from));
        }
        self.check_endpoint(to, self.config.version.broadcast())?;
        check_length(data.len(), self.config.data_limit(options.flags()))?;
        let limit = self.config.datagram_queue;
        if self.outgoing.len() >= usize::from(limit) {
            return Err(Error::Full { limit });
        }
        let header = Header {
            priority: options.priority,
            source: self.config.address,
            destination: to.address,
            destination_port: to.port,
            source_port: from,
            flags: options.flags(),
        };
        self.outgoing.push_back(OutgoingDatagram { header, data });
        Ok(())
    }

    pub(super) fn ping(
        &mut self,
        tag: Tag,
        destination: u16,
        octets: u16,
        timeout: Duration,
    ) -> Result<(), Error> {
        let to = Endpoint {
            address: destination,
            port: super::inbound::PING_PORT,
        };
        self.check_endpoint(to, self.config.version.broadcast())?;
        let limit = self.config.data_limit(Flags::CRC32).min(MAX_PING);
        check_length(usize::from(octets), limit)?;
        self.pings.check_room()?;
        let port = self.take_source_port().ok_or(Error::NoSourcePort)?;
        self.source_ports.rest(port, self.now, timeout);
        let deadline = self.now + timeout;
        self.pings.start(tag, port, destination, octets, deadline);
        Ok(())
    }

    /// Leaves the packets of a connection in its queue until [`release`](Self::release), or until it ends.
    #[cfg(feature = "dtp")]
    pub(crate) fn hold(&mut self, connection: ConnectionId) -> Result<(), Error> {
        self.slot_mut(connection)?.is_held = true;
        Ok(())
    }

    /// Tells of the packets of a connection again.
    #[cfg(feature = "dtp")]
    pub(crate) fn release(&mut self, connection: ConnectionId) -> Result<(), Error> {
        self.slot_mut(connection)?.is_held = false;
        Ok(())
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
        if address != self.config.address && carrier::route(&self.config, address).is_none() {
            return Err(Error::NoRoute(address));
        }
        Ok(())
    }

    pub(super) fn take_source_port(&mut self) -> Option<u8> {
        let (ports, slots, pings) = (&self.ports, &self.slots, &self.pings);
        self.source_ports.take(self.now, |port| {
            let is_bound = ports.get(usize::from(port)).is_some_and(Option::is_some);
            is_bound || pings.has_port(port) || slots.iter().any(|slot| slot.has_port(port))
        })
    }

    /// Tells whether a connection or a ping comes from this port.
    fn is_source_port(&self, port: u8) -> bool {
        self.pings.has_port(port) || self.slots.iter().any(|slot| slot.has_port(port))
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
