//! Addresses on the command line: `HOST`, `HOST:PORT`, `[IPV6]` and `[IPV6]:PORT`.
//!
//! An IPv6 address may have a scope (RFC 4007 section 11): `fe80::1%3` or `fe80::1%eth0`. Without a port, the
//! protocol's own is taken.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::io;
use std::net::ToSocketAddrs as _;

/// Octets of the longest host name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Octets of the longest label of a host name (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A host and a port, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// An address and the interface it is valid on, by index or by name.
    Scoped(Ipv6Addr, String),
    Name(String),
}

impl Address {
    /// Parses an address or a host name.
    ///
    /// # Errors
    ///
    /// The text is not an address; the message quotes the part that is wrong.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        Ok(Self {
            host: Host::parse(host)?,
            port: port.map_or(Ok(default_port), parse_port)?,
        })
    }

    /// Parses the address of a socket to bind, which cannot be a host name.
    ///
    /// # Errors
    ///
    /// The text is not an IP address, or its scope is not an interface of this machine.
    pub(crate) fn parse_local(text: &str, default_port: u16) -> Result<SocketAddr, String> {
        let address = Self::parse(text, default_port)?;
        if let Host::Name(name) = &address.host {
            return Err(format!("`{name}` is a name; an IP address is needed here"));
        }
        let found = address.resolve().map_err(|error| error.to_string())?;
        found
            .first()
            .copied()
            .ok_or_else(|| format!("`{text}` is not an address of this machine"))
    }

    /// Returns the port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket addresses of the host. This asks the resolver of the system about a name, and may
    /// wait for it.
    ///
    /// # Errors
    ///
    /// The resolver does not know the name, or the scope is not an interface of this machine.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Scoped(ip, scope) => {
                if let Ok(index) = scope.parse() {
                    return Ok(vec![SocketAddrV6::new(*ip, self.port, 0, index).into()]);
                }
                // The resolver of the system maps names of interfaces to indices, without a query for a
                // numeric address.
                format!("{ip}%{scope}")
            }
            Host::Name(name) => name.clone(),
        };
        let found = (name.as_str(), self.port).to_socket_addrs();
        found
            .map(Iterator::collect)
            .map_err(|error| match &self.host {
                Host::Scoped(_, scope) => io::Error::new(
                    error.kind(),
                    format!("`{scope}` is not an interface of this machine"),
                ),
                _ => io::Error::new(error.kind(), format!("`{name}`: {error}")),
            })
    }
}

impl Address {
    /// Resolves the host on a thread of the runtime that may wait.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub(crate) async fn lookup(self) -> io::Result<Vec<SocketAddr>> {
        let resolving = tokio::task::spawn_blocking(move || self.resolve());
        resolving.await.map_err(io::Error::other)?
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Scoped(ip, scope) => write!(f, "[{ip}%{scope}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((ip, scope)) = text.split_once('%') {
            let ip = parse_ipv6(ip)?;
            let is_scope = |octet: u8| octet.is_ascii_graphic() && octet != b'%' && octet != b'/';
            if scope.is_empty() || !scope.bytes().all(is_scope) {
                return Err(format!(
                    "`{scope}` behind `%` is not the index or name of an interface"
                ));
            }
            if scope.bytes().all(|octet| octet.is_ascii_digit()) && scope.parse::<u32>().is_err() {
                return Err(format!("interface index {scope} exceeds {}", u32::MAX));
            }
            return Ok(Self::Scoped(ip, scope.into()));
        }
        if text.contains(':') {
            return parse_ipv6(text).map(|ip| Self::Ip(ip.into()));
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        check_name(text).map(|()| Self::Name(text.into()))
    }
}

/// Splits the port off, and takes the brackets away.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, behind) = bracketed
            .split_once(']')
            .ok_or_else(|| format!("`{text}` lacks the closing `]`"))?;
        if !host.contains(':') {
            return Err(format!("`{host}` in brackets is not an IPv6 address"));
        }
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(format!("`{behind}` behind `]` is not `:` and a port")),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(port))),
        Some(_) if text.contains("]:") => Err(format!("`{text}` lacks the opening `[`")),
        _ => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number => Ok(port),
        _ => Err(format!("port `{text}` is not a number from 0 to 65535")),
    }
}

fn parse_ipv6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some((host, _)) if host.parse::<Ipv6Addr>().is_ok() => {
                ": with a port it needs brackets, as in [::1]:1024"
            }
            _ => "",
        };
        format!("`{text}` is not an IPv6 address{hint}")
    })
}

fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the host is missing".into());
    }
    if text.len() > MAX_NAME {
        let len = text.len();
        return Err(format!(
            "a host name of {len} octets exceeds the limit of {MAX_NAME}"
        ));
    }
    let mut labels = text.strip_suffix('.').unwrap_or(text).split('.');
    // No top-level domain is a number, so this was meant as an address (RFC 3696 section 2).
    let is_number =
        |label: &str| !label.is_empty() && label.bytes().all(|octet| octet.is_ascii_digit());
    if labels.clone().next_back().is_some_and(is_number) {
        return Err(format!("`{text}` is not an IPv4 address"));
    }
    let is_label = |label: &str| {
        let is_in_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(is_in_name)
    };
    match labels.find(|label| !is_label(label)) {
        Some(label) => Err(format!(
            "`{label}` in `{text}` is not a label of a host name"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text, 102).map_or_else(|error| error, |address| address.to_string())
    }

    #[test]
    fn a_port_is_taken_as_written_or_by_default() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:102"),
            ("192.0.2.1:9", "192.0.2.1:9"),
            ("host", "host:102"),
            ("host.example.:9", "host.example.:9"),
            ("::1", "[::1]:102"),
            ("[::1]", "[::1]:102"),
            ("[::1]:9", "[::1]:9"),
            ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:102"),
            ("fe80::1%3", "[fe80::1%3]:102"),
            ("fe80::1%eth0", "[fe80::1%eth0]:102"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:102"),
            ("[fe80::1%br-lan.7]:9", "[fe80::1%br-lan.7]:9"),
            ("_mms._tcp.host-1:0", "_mms._tcp.host-1:0"),
        ] {
            assert_eq!(shown(text), address, "{text}");
            assert_eq!(shown(address), address, "{text}");
        }
    }

    #[test]
    fn an_error_quotes_the_part_that_is_wrong() {
        for (text, error) in [
            ("", "the host is missing"),
            (":102", "the host is missing"),
            ("host:", "port `` is not a number from 0 to 65535"),
            ("host:65536", "port `65536` is not a number from 0 to 65535"),
            ("host:+1", "port `+1` is not a number from 0 to 65535"),
            ("[::1]:x", "port `x` is not a number from 0 to 65535"),
            ("[::1", "`[::1` lacks the closing `]`"),
            ("::1]:102", "`::1]:102` lacks the opening `[`"),
            ("[::1]102", "`102` behind `]` is not `:` and a port"),
            (
                "[192.0.2.1]:9",
                "`192.0.2.1` in brackets is not an IPv6 address",
            ),
            ("[::g]:9", "`::g` is not an IPv6 address"),
            (
                "1:2:3:4:5:6:7:8:102",
                "`1:2:3:4:5:6:7:8:102` is not an IPv6 address: with a port it needs brackets, as in [::1]:1024",
            ),
            ("192.0.2.1%eth0", "`192.0.2.1` is not an IPv6 address"),
            (
                "fe80::1%",
                "`` behind `%` is not the index or name of an interface",
            ),
            (
                "[fe80::1%a%b]:9",
                "`a%b` behind `%` is not the index or name of an interface",
            ),
            (
                "fe80::1%4294967296",
                "interface index 4294967296 exceeds 4294967295",
            ),
            ("192.0.2.256", "`192.0.2.256` is not an IPv4 address"),
            ("192.0.2", "`192.0.2` is not an IPv4 address"),
            ("ho st", "`ho st` in `ho st` is not a label of a host name"),
            ("a..b", "`` in `a..b` is not a label of a host name"),
        ] {
            assert_eq!(shown(text), error, "{text}");
        }
        let long = "a.".repeat(127);
        assert_eq!(
            shown(&long),
            "a host name of 254 octets exceeds the limit of 253"
        );
    }

    #[test]
    fn a_scope_is_kept_as_an_interface_index() {
        let local = |text: &str| Address::parse_local(text, 1113).unwrap();

        let SocketAddr::V6(address) = local("fe80::1%7") else {
            panic!("an IPv6 address");
        };
        assert_eq!((address.port(), address.scope_id()), (1113, 7));
        assert_eq!(local("[fe80::1%7]:9").port(), 9);
    }

    #[test]
    fn a_scope_by_name_is_an_interface_of_this_machine() {
        let error = Address::parse_local("fe80::1%nowhere-0", 1113).unwrap_err();

        assert_eq!(error, "`nowhere-0` is not an interface of this machine");
    }

    #[test]
    fn a_socket_is_bound_to_no_name() {
        let error = Address::parse_local("host:9", 1113).unwrap_err();

        assert_eq!(error, "`host` is a name; an IP address is needed here");
    }
}
