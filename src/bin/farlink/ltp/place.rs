//! Where nodes are: addresses and names, with the port of the standard unless another one is said.

use core::net::{IpAddr, SocketAddr};

use farlink::Path as Way;
use farlink::ltp::Engine;
use farlink::record::Recorded;

use crate::Failure;

/// The port of LTP over UDP.
const PORT: u16 = <Engine<Way> as Recorded>::PORT;

/// An engine, and where it is: `N=ADDR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) engine: u64,
    /// Not looked up yet.
    address: String,
}

/// Reads an engine and its address.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let (engine, address) = text
        .split_once('=')
        .filter(|(_, address)| !address.is_empty())
        .ok_or("an engine and its address, as in 2=192.0.2.1:1113")?;
    Ok(Place {
        engine: super::id(engine)?,
        address: address.into(),
    })
}

/// Reads an address of this machine.
pub(super) fn local(text: &str) -> Result<SocketAddr, String> {
    literal(text).ok_or_else(|| "an IP address and a port, as in 0.0.0.0:1113".into())
}

fn literal(text: &str) -> Option<SocketAddr> {
    let with_port = || {
        let ip: IpAddr = text.parse().ok()?;
        Some(SocketAddr::new(ip, PORT))
    };
    text.parse().ok().or_else(with_port)
}

impl Place {
    /// Looks the address up; it is of the same family as `local`, if that is known.
    pub(super) async fn find(&self, local: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let Self { engine, address } = self;
        let fault = |why: &dyn core::fmt::Display| {
            Failure::Usage(format!("engine {engine} at {address}: {why}"))
        };
        let is_fit =
            |found: &SocketAddr| local.is_none_or(|local| local.is_ipv4() == found.is_ipv4());
        let found = match literal(address) {
            Some(literal) => vec![literal],
            None => self.look_up().await.map_err(|error| fault(&error))?,
        };
        match found.into_iter().find(is_fit) {
            Some(found) if found.port() == 0 => Err(fault(&"port 0 is nobody's")),
            Some(found) => Ok(found),
            None => Err(fault(&"no address of the family of --bind")),
        }
    }

    async fn look_up(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.address.contains(':') {
            return Ok(tokio::net::lookup_host(&self.address).await?.collect());
        }
        let named = (self.address.as_str(), PORT);
        Ok(tokio::net::lookup_host(named).await?.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_port_has_that_of_the_standard() {
        assert_eq!(local("127.0.0.1"), Ok(([127, 0, 0, 1], 1113).into()));
        assert_eq!(local("127.0.0.1:9"), Ok(([127, 0, 0, 1], 9).into()));
        assert_eq!(local("[::1]:9").map(|local| local.port()), Ok(9));
        assert_eq!(local("::1").map(|local| local.port()), Ok(1113));
        assert!(local("nowhere").is_err());
    }

    #[test]
    fn an_engine_stands_before_its_address() {
        let place = |text| place(text).map(|place| (place.engine, place.address));

        assert_eq!(place("2=host:1113"), Ok((2, "host:1113".into())));
        assert!(place("2=").is_err());
        assert!(place("host:1113").is_err());
        assert_eq!(place("0=host"), Err("ID 0 is reserved".into()));
    }
}
