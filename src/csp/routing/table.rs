//! Routes, and the text form of a table that libcsp reads and prints.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use super::InterfaceConfig;
use crate::csp::wire::Version;

/// Where the packets to some addresses go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Route {
    /// An address.
    pub address: u16,
    /// How many of its first bits an address needs to have in common with it: 0 for all addresses, 5 or 14 for it
    /// alone.
    pub prefix: u8,
    /// The number of the interface.
    pub interface: u8,
    /// The next node; `None` sends to the destination itself.
    pub via: Option<u16>,
}

impl Route {
    /// Tells whether it is for `address`.
    pub(in crate::csp) fn contains(self, address: u16, version: Version) -> bool {
        let rest = version.address_bits().saturating_sub(self.prefix);
        (self.address ^ address) >> rest == 0
    }

    /// Tells whether another is for the same addresses.
    pub(in crate::csp) fn is_for_same(self, other: Self, version: Version) -> bool {
        self.prefix == other.prefix && self.contains(other.address, version)
    }

    /// Reads a table: `address[/bits] interface [via]`, separated by commas. Without bits it is for the address alone.
    /// Interfaces have the names that the configuration gives them, in any case; without one they have their number.
    ///
    /// ```
    /// use farlink::csp::{InterfaceConfig, Route, Text, Version};
    ///
    /// let interface = |name| InterfaceConfig { name: Text::new(name).unwrap(), ..InterfaceConfig::default() };
    /// let interfaces = [interface("UDP"), interface("CAN")];
    /// let routes = Route::parse_table("8/9 UDP 3, 0/0 CAN", Version::V2, &interfaces)?;
    /// assert_eq!((routes[0].via, routes[1].interface), (Some(3), 1));
    /// assert_eq!(Route::table_text(&routes, Version::V2, &interfaces).to_string(), "8/9 UDP 3,0/0 CAN");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When an entry has another form, a number exceeds the bits of an address, or there is no such interface.
    pub fn parse_table(
        text: &str,
        version: Version,
        interfaces: &[InterfaceConfig],
    ) -> Result<Vec<Self>, RouteError> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let routes = entries.map(|entry| {
            Self::parse(entry, version, interfaces).map_err(|fault| RouteError {
                entry: entry.to_string(),
                fault,
            })
        });
        routes.collect()
    }

    fn parse(
        entry: &str,
        version: Version,
        interfaces: &[InterfaceConfig],
    ) -> Result<Self, RouteFault> {
        let mut words = entry.split_ascii_whitespace();
        let (Some(destination), Some(name)) = (words.next(), words.next()) else {
            return Err(RouteFault::Form);
        };
        let (via, rest) = (words.next(), words.next());
        if rest.is_some() {
            return Err(RouteFault::Form);
        }
        let bits = version.address_bits();
        let (address, prefix) = match destination.split_once('/') {
            None => (destination, Some(bits)),
            Some((address, prefix)) => (address, prefix.parse().ok()),
        };
        let limit = version.broadcast();
        let number = |text: &str| text.parse().ok().filter(|number| *number <= limit);
        let mut numbered = (0..=u8::MAX).zip(interfaces);
        let interface = numbered.find(|(number, it)| match it.name.as_str() {
            "" => name.parse() == Ok(*number),
            of_interface => of_interface.eq_ignore_ascii_case(name),
        });
        Ok(Self {
            address: number(address).ok_or(RouteFault::Address { limit })?,
            prefix: prefix
                .filter(|prefix| *prefix <= bits)
                .ok_or(RouteFault::Prefix { limit: bits })?,
            interface: interface.ok_or(RouteFault::Interface)?.0,
            via: match via {
                None => None,
                Some(via) => Some(number(via).ok_or(RouteFault::Via { limit })?),
            },
        })
    }

    /// Returns what displays routes as [`parse_table`](Self::parse_table) reads them.
    #[must_use]
    pub const fn table_text<'a>(
        routes: &'a [Self],
        version: Version,
        interfaces: &'a [InterfaceConfig],
    ) -> RoutesText<'a> {
        RoutesText {
            routes,
            version,
            interfaces,
        }
    }
}

/// Displays routes in the text form of a table. An interface without a name has its number.
#[derive(Debug, Clone, Copy)]
pub struct RoutesText<'a> {
    routes: &'a [Route],
    version: Version,
    interfaces: &'a [InterfaceConfig],
}

impl fmt::Display for RoutesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, route) in self.routes.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", route.address)?;
            if route.prefix != self.version.address_bits() {
                write!(f, "/{}", route.prefix)?;
            }
            let interface = self.interfaces.get(usize::from(route.interface));
            match interface.map(|it| it.name.as_str()).unwrap_or_default() {
                "" => write!(f, " {}", route.interface)?,
                name => write!(f, " {name}")?,
            }
            if let Some(via) = route.via {
                write!(f, " {via}")?;
            }
        }
        Ok(())
    }
}

/// An entry of a routing table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::Display)]
#[display("route {entry:?}: {fault}")]
pub struct RouteError {
    /// The entry.
    pub entry: String,
    /// Why.
    pub fault: RouteFault,
}

impl core::error::Error for RouteError {}

/// Why an entry of a routing table cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum RouteFault {
    /// It has another form.
    #[display("the form is address[/bits] interface [via]")]
    Form,
    /// The address is no number up to the largest.
    #[display("the address is not within 0 to {limit}")]
    Address {
        /// The largest address.
        limit: u16,
    },
    /// The bits are no number up to those of an address.
    #[display("the bits are not within 0 to {limit}")]
    Prefix {
        /// The bits of an address.
        limit: u8,
    },
    /// No interface has this name.
    #[display("no interface has this name")]
    Interface,
    /// The next node is no number up to the largest address.
    #[display("the next node is not within 0 to {limit}")]
    Via {
        /// The largest address.
        limit: u16,
    },
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::csp::services::Text;

    fn interfaces() -> Vec<InterfaceConfig> {
        let interface = |name| InterfaceConfig {
            name: Text::new(name).unwrap(),
            ..InterfaceConfig::default()
        };
        ["UDP", "CAN0"].map(interface).to_vec()
    }

    #[test]
    fn a_route_contains_the_addresses_with_its_first_bits() {
        let contains = |prefix, address| {
            let route = Route {
                address: 8,
                prefix,
                ..Route::default()
            };
            route.contains(address, Version::V2)
        };

        assert!(contains(14, 8) && !contains(14, 9));
        assert!(contains(11, 15) && !contains(11, 16));
        assert!(contains(0, 16_382));
    }

    #[test]
    fn a_table_is_read_and_printed_as_libcsp_does() {
        let interfaces = interfaces();
        let text = "1 UDP,8/2 CAN0 3,0/0 udp";
        let routes = Route::parse_table(text, Version::V1, &interfaces).unwrap();

        let route = |address, prefix, interface, via| Route {
            address,
            prefix,
            interface,
            via,
        };
        assert_eq!(
            routes,
            [
                route(1, 5, 0, None),
                route(8, 2, 1, Some(3)),
                route(0, 0, 0, None)
            ]
        );
        let printed = Route::table_text(&routes, Version::V1, &interfaces).to_string();
        assert_eq!(printed, "1 UDP,8/2 CAN0 3,0/0 UDP");
        let printed = Route::table_text(&routes, Version::V2, &[]).to_string();
        assert_eq!(printed, "1/5 0,8/2 1 3,0/0 0");
        assert_eq!(Route::parse_table(" , ", Version::V1, &[]), Ok(Vec::new()));
        let nameless = [InterfaceConfig::default()];
        let read = Route::parse_table("1/5 0,0/0 0", Version::V2, &nameless).unwrap();
        assert_eq!((read.len(), read[1].interface), (2, 0));
    }

    #[test]
    fn a_refusal_names_the_entry_and_the_rule() {
        let refused = |text| {
            let read = Route::parse_table(text, Version::V1, &interfaces());
            read.unwrap_err().to_string()
        };
        let form = "the form is address[/bits] interface [via]";

        assert_eq!(refused("1 UDP, 2"), alloc::format!("route \"2\": {form}"));
        assert_eq!(
            refused("1 UDP 2 3"),
            alloc::format!("route \"1 UDP 2 3\": {form}")
        );
        assert_eq!(
            refused("32 UDP"),
            "route \"32 UDP\": the address is not within 0 to 31"
        );
        assert_eq!(
            refused("1/6 UDP"),
            "route \"1/6 UDP\": the bits are not within 0 to 5"
        );
        assert_eq!(
            refused("1 KISS"),
            "route \"1 KISS\": no interface has this name"
        );
        assert_eq!(
            refused("1 UDP x"),
            "route \"1 UDP x\": the next node is not within 0 to 31"
        );
    }
}
