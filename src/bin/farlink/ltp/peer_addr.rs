//! LTP peers on the command line: `N=ADDR`, an engine ID and the address of the engine.

use core::net::SocketAddr;

use farlink::Path as NetPath;
use farlink::ltp::Engine;
use farlink::record::Recorded;

use crate::Failure;
use crate::address::Address;

/// The UDP port of LTP (RFC 7122 section 3.4).
const PORT: u16 = <Engine<NetPath> as Recorded>::PORT;

/// An engine and its address, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeerAddr {
    pub(super) engine: u64,
    address: Address,
}

/// Parses an engine and its address.
pub(super) fn peer_addr(text: &str) -> Result<PeerAddr, String> {
    let (engine, address) = text
        .split_once('=')
        .ok_or("an engine and its address, as in 2=192.0.2.1:1113")?;
    Ok(PeerAddr {
        engine: super::id(engine)?,
        address: Address::parse(address, PORT)?,
    })
}

/// Parses the address of a socket to bind.
pub(super) fn local(text: &str) -> Result<SocketAddr, String> {
    Address::parse_local(text, PORT)
}

/// Returns an address as people write it: that of IPv4 in IPv6 form as one of IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip = address.ip().to_canonical();
    if ip.is_ipv4() {
        return SocketAddr::new(ip, address.port());
    }
    address
}

impl PeerAddr {
    /// Resolves the address to one of the family of `local`, if that is given. A socket of both families has
    /// IPv4 addresses in IPv6 form.
    pub(super) async fn resolve(&self, local: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let Self { engine, address } = self;
        let fault = |why: &dyn core::fmt::Display| {
            Failure::Usage(format!("engine {engine} at {address}: {why}"))
        };
        let takes_both = |local: SocketAddr| local.is_ipv6() && local.ip().is_unspecified();
        let is_fit = |found: &SocketAddr| {
            local.is_none_or(|local| takes_both(local) || local.is_ipv4() == found.is_ipv4())
        };
        let found = address.clone().lookup().await;
        let found = found.map_err(|error| fault(&error))?;
        match found.into_iter().find(is_fit) {
            Some(found) if found.port() == 0 => Err(fault(&"nothing can be sent to port 0")),
            Some(SocketAddr::V4(found)) if local.is_some_and(takes_both) => {
                Ok((found.ip().to_ipv6_mapped(), found.port()).into())
            }
            Some(found) => Ok(found),
            None => Err(fault(&"no address of the family of --bind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_port_1113() {
        assert_eq!(local("127.0.0.1"), Ok(([127, 0, 0, 1], 1113).into()));
        assert_eq!(local("127.0.0.1:9"), Ok(([127, 0, 0, 1], 9).into()));
        assert_eq!(local("[::1]:9").map(|local| local.port()), Ok(9));
        assert_eq!(local("::1").map(|local| local.port()), Ok(1113));
        assert!(local("nowhere").is_err());
    }

    #[test]
    fn an_engine_stands_before_its_address() {
        let parsed = |text| peer_addr(text).map(|peer| (peer.engine, peer.address.to_string()));

        assert_eq!(parsed("2=host:1113"), Ok((2, "host:1113".into())));
        assert_eq!(parsed("2=[::1]"), Ok((2, "[::1]:1113".into())));
        assert!(parsed("2=").is_err());
        assert!(parsed("host:1113").is_err());
        assert_eq!(parsed("0=host"), Err("ID 0 is reserved".into()));
    }
}
