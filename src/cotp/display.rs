//! TPDUs as one line of text, for `farlink decode` and logs.

use core::fmt;

use super::params::Parameters;
use super::wire::{Connect, Tpdu};

/// Octets shown of user data and of variable parts that are not decoded.
const SHOWN: usize = 16;

impl fmt::Display for Tpdu<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::ConnectionRequest(tpdu) | Self::ConnectionConfirm(tpdu) => connect(tpdu, f),
            Self::DisconnectRequest(tpdu) => {
                references(tpdu.source, tpdu.destination, f)?;
                write!(f, ", {}", tpdu.reason)?;
                octets(", information", tpdu.information(), f)?;
                octets(", user data", tpdu.user_data, f)
            }
            Self::DisconnectConfirm(tpdu) => references(tpdu.source, tpdu.destination, f),
            Self::Data(tpdu) => {
                write!(f, " {} octets", tpdu.user_data.len())?;
                f.write_str(if tpdu.is_last {
                    ", end of message"
                } else {
                    ", more follows"
                })?;
                if tpdu.number != 0 {
                    write!(f, ", number {}", tpdu.number)?;
                }
                octets(":", tpdu.user_data, f)
            }
            Self::Expedited(tpdu) => {
                write!(f, " {} octets", tpdu.user_data.len())?;
                octets(":", tpdu.user_data, f)
            }
            Self::Error(tpdu) => {
                write!(f, " to 0x{:04x}, {}", tpdu.destination, tpdu.cause)?;
                octets(
                    ", rejected TPDU",
                    tpdu.invalid_tpdu().unwrap_or_default(),
                    f,
                )
            }
            Self::OtherClass(tpdu) => {
                write!(f, " of another class, code 0x{:02x}", tpdu.code)?;
                octets(":", tpdu.octets, f)
            }
        }
    }
}

fn connect(tpdu: &Connect<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    references(tpdu.source, tpdu.destination, f)?;
    write!(f, ", class {}", tpdu.class())?;
    match tpdu.parameters() {
        Ok(parameters) if parameters.fault.is_none() => list(&parameters, f)?,
        _ => octets(", variable part", tpdu.variable, f)?,
    }
    octets(", user data", tpdu.user_data, f)
}

fn list(parameters: &Parameters<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(selector) = parameters.calling {
        selector_as(", calling", selector, f)?;
    }
    if let Some(selector) = parameters.called {
        selector_as(", called", selector, f)?;
    }
    if let Some(size) = parameters.tpdu_size {
        write!(f, ", TPDU size {}", size.octets())?;
    }
    if let Some(units) = parameters.preferred_size {
        write!(f, ", preferred size {}", u32::from(units) * 128)?;
    }
    if let Some(bits) = parameters.options {
        write!(f, ", options 0x{bits:02x}")?;
    }
    if let Some(classes) = parameters.alternatives {
        octets(", alternative classes", classes, f)?;
    }
    Ok(())
}

fn references(source: u16, destination: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, " from 0x{source:04x} to 0x{destination:04x}")
}

fn selector_as(name: &str, selector: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if selector.is_empty() {
        return write!(f, "{name} (empty)");
    }
    write!(f, "{name} ")?;
    hex(selector, f)
}

/// Writes the first octets, or nothing if there are none.
fn octets(name: &str, octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if octets.is_empty() {
        return Ok(());
    }
    write!(f, "{name} ")?;
    hex(octets.get(..SHOWN).unwrap_or(octets), f)?;
    if octets.len() > SHOWN {
        f.write_str("..")
    } else {
        Ok(())
    }
}

fn hex(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn a_tpdu_is_printed_in_one_line() {
        let cr = [
            0x11, 0xE0, 0, 0, 0x12, 0x34, 0, 0xC1, 2, 1, 0, 0xC2, 2, 1, 2, 0xC0, 1, 10,
        ];
        let dr = [6, 0x80, 0x12, 0x34, 0, 0, 3];
        let dt = [2, 0xF0, 0, b'a', b'b'];

        let lines = [&cr[..], &dr, &dt].map(|octets| Tpdu::decode(octets).unwrap().to_string());

        assert_eq!(
            lines,
            [
                "CR from 0x1234 to 0x0000, class 0, calling 0100, called 0102, TPDU size 1024",
                "DR from 0x0000 to 0x1234, selector unknown (3)",
                "DT 2 octets, more follows: 6162",
            ]
        );
    }

    #[test]
    fn a_variable_part_that_is_no_list_is_printed_as_octets() {
        let mut octets = alloc::vec![6 + 8, 0xE0, 0, 0, 0, 0, 0];
        octets.extend_from_slice(b"Cookie: ");

        let line = Tpdu::decode(&octets).unwrap().to_string();

        assert_eq!(
            line,
            "CR from 0x0000 to 0x0000, class 0, variable part 436f6f6b69653a20"
        );
    }
}
