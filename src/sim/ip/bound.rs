//! The bound sockets of one protocol on one host.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Bound sockets, sorted by port, so that those which may conflict are neighbours.
#[derive(Debug, Clone, Default)]
pub(super) struct BoundSockets(Vec<(u16, IpAddr)>);

impl BoundSockets {
    pub(super) fn contains(&self, socket: SocketAddr) -> bool {
        self.0.binary_search(&key(socket)).is_ok()
    }

    /// Adds a socket. Returns false if another socket of the same family has the port, on the same address or
    /// with an unspecified one.
    pub(super) fn insert(&mut self, socket: SocketAddr) -> bool {
        let first = self.0.partition_point(|(port, _)| *port < socket.port());
        let same_port = self.0.iter().skip(first);
        let mut same_port = same_port.take_while(|(port, _)| *port == socket.port());
        let overlaps = |ip: IpAddr| {
            ip.is_ipv4() == socket.is_ipv4()
                && (ip == socket.ip() || ip.is_unspecified() || socket.ip().is_unspecified())
        };
        if same_port.any(|(_, ip)| overlaps(*ip)) {
            return false;
        }
        if let Err(index) = self.0.binary_search(&key(socket)) {
            self.0.insert(index, key(socket));
        }
        true
    }

    pub(super) fn remove(&mut self, socket: SocketAddr) {
        if let Ok(index) = self.0.binary_search(&key(socket)) {
            self.0.remove(index);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

const fn key(socket: SocketAddr) -> (u16, IpAddr) {
    (socket.port(), socket.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_taken_by_its_address_by_all_addresses_and_for_all() {
        let mut bound = BoundSockets::default();
        assert!(bound.insert(socket("10.0.0.1:53")));

        assert!(!bound.insert(socket("10.0.0.1:53")));
        assert!(!bound.insert(socket("0.0.0.0:53")));
        assert!(bound.insert(socket("10.0.0.2:53")));
        assert!(bound.insert(socket("[::]:53")));
        assert!(!bound.insert(socket("[::1]:53")));
        assert!(bound.insert(socket("0.0.0.0:54")));
        assert!(!bound.insert(socket("10.0.0.1:54")));

        bound.remove(socket("0.0.0.0:54"));
        assert!(bound.insert(socket("10.0.0.1:54")));
        assert!(bound.contains(socket("10.0.0.2:53")));
        assert!(!bound.contains(socket("10.0.0.2:54")));
    }
}
