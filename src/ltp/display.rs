//! `Display` of segments in one line, for `farlink decode` and logs. The alternate form, `{:#}`, is short, for ladder
//! diagrams.

use core::fmt;
use core::ops::Range;

use super::wire::{
    Body, Checkpoint, Claims, Color, Data, ExtensionTag, Extensions, Mark, Report, Segment,
};

/// Octets of data that are shown.
const SHOWN: usize = 16;
/// Claims of a report that are shown before they are only counted, and in the short form.
const CLAIMS: usize = 8;
const FEW_CLAIMS: usize = 2;

impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.session, self.body)?;
        extensions("header", &self.header, f)?;
        extensions("trailer", &self.trailer, f)?;
        match &self.body {
            Body::Data(data) => octets(": ", data.octets, f),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (signal, reason) = match self {
            Self::Data(data) => return data.fmt(f),
            Self::Report(report) => return report.fmt(f),
            Self::ReportAck(serial) => return write!(f, "RA {serial}"),
            Self::CancelBySender(reason) => ("CS", reason),
            Self::CancelByReceiver(reason) => ("CR", reason),
            Self::CancelAckToSender => return f.write_str("CAS"),
            Self::CancelAckToReceiver => return f.write_str("CAR"),
        };
        if f.alternate() {
            write!(f, "{signal} {reason}")
        } else {
            write!(f, "{signal}, {reason} ({})", reason.0)
        }
    }
}

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let color = match self.color {
            Color::Red(_) => "red",
            Color::Green { .. } => "green",
        };
        write!(f, "{color} {:?}", self.range())?;
        if !f.alternate() {
            write!(f, ", client {}", self.client)?;
        }
        match &self.color {
            Color::Red(Some(checkpoint)) => {
                either(" ", ", ", f)?;
                checkpoint.fmt(f)
            }
            Color::Green { ends_block: true } => either(" EOB", ", end of block", f),
            Color::Red(None) | Color::Green { ends_block: false } => Ok(()),
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CP {}", self.serial)?;
        if self.report != 0 {
            write!(f, " for RS {}", self.report)?;
        }
        match self.mark {
            Mark::None => Ok(()),
            Mark::RedPart => either(" EORP", ", end of red part", f),
            Mark::Block => either(" EORP EOB", ", end of red part and block", f),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RS {}", self.serial)?;
        if self.checkpoint != 0 {
            write!(f, " for CP {}", self.checkpoint)?;
        }
        either(":", ",", f)?;
        let scope: Range<u64> = self.scope.into();
        if self.claims.iter().eq([scope.clone()]) {
            f.write_str(" all")?;
        } else if self.claims.count() == 0 {
            f.write_str(" nothing")?;
        } else {
            claims(&self.claims, f)?;
        }
        match scope.start {
            0 if f.alternate() => write!(f, " of {}", scope.end),
            _ => write!(f, " of {scope:?}"),
        }
    }
}

/// Writes one text in the short form, and the other in the long one.
fn either(short: &str, long: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(if f.alternate() { short } else { long })
}

fn claims(claims: &Claims<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown = if f.alternate() { FEW_CLAIMS } else { CLAIMS };
    for claim in claims.iter().take(shown) {
        write!(f, " {claim:?}")?;
    }
    // Bound: a small constant.
    match claims.count().saturating_sub(shown as u64) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

fn extensions(place: &str, list: &Extensions<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for extension in list.iter() {
        write!(f, ", {place} ")?;
        match extension.tag {
            ExtensionTag::AUTHENTICATION => f.write_str("authentication")?,
            ExtensionTag::COOKIE => f.write_str("cookie")?,
            ExtensionTag(tag) => write!(f, "extension 0x{tag:02x}")?,
        }
        octets(" ", extension.value, f)?;
    }
    Ok(())
}

/// Writes octets in hexadecimal, and nothing if there are none.
fn octets(before: &str, octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if octets.is_empty() {
        return Ok(());
    }
    f.write_str(before)?;
    let shown = octets.get(..SHOWN).unwrap_or(octets);
    shown
        .iter()
        .try_for_each(|octet| write!(f, "{octet:02x}"))?;
    if octets.len() > SHOWN {
        f.write_str("..")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};

    use super::*;

    fn line(octets: &[u8]) -> String {
        Segment::decode(octets).unwrap().to_string()
    }

    #[test]
    fn a_data_segment_prints_its_range_its_marks_and_the_first_octets() {
        let end = [3, 1, 9, 0, 4, 10, 2, 0x8B, 0x46, 5, b'a', b'b'];
        let mut long = alloc::vec![4, 1, 9, 0, 4, 10, 17];
        long.extend([0xFE; 17]);

        assert_eq!(
            line(&end),
            "1:9 red 10..12, client 4, CP 1478 for RS 5, end of red part and block: 6162"
        );
        assert_eq!(
            line(&long),
            "1:9 green 10..27, client 4: fefefefefefefefefefefefefefefefe.."
        );
        assert_eq!(
            line(&[7, 1, 9, 0, 4, 10, 0]),
            "1:9 green 10..10, client 4, end of block"
        );
    }

    #[test]
    fn a_report_prints_what_it_claims_of_its_scope() {
        let all = [8, 1, 9, 0, 7, 5, 100, 0, 1, 0, 100];
        let gap = [8, 1, 9, 0, 7, 0, 100, 10, 2, 0, 5, 20, 70];
        let nothing = [8, 1, 9, 0, 7, 0, 100, 10, 0];
        let mut many = alloc::vec![8, 1, 9, 0, 7, 0, 100, 0, 10];
        many.extend((0..10).flat_map(|claim| [2 * claim, 1]));

        assert_eq!(line(&all), "1:9 RS 7 for CP 5, all of 0..100");
        assert_eq!(line(&gap), "1:9 RS 7, 10..15 30..100 of 10..100");
        assert_eq!(line(&nothing), "1:9 RS 7, nothing of 10..100");
        assert!(
            line(&many).ends_with(" 14..15 and 2 more of 0..100"),
            "{}",
            line(&many)
        );
    }

    #[test]
    fn signals_print_their_reason_and_extensions_their_size() {
        assert_eq!(line(&[9, 1, 9, 0, 7]), "1:9 RA 7");
        assert_eq!(
            line(&[12, 1, 9, 0, 2]),
            "1:9 CS, retransmission limit exceeded (2)"
        );
        assert_eq!(line(&[13, 1, 9, 0]), "1:9 CAS");
        assert_eq!(
            line(&[14, 1, 9, 0, 1]),
            "1:9 CR, no such client service (1)"
        );
        assert_eq!(
            line(&[15, 1, 9, 0x21, 1, 1, 0xAA, 0xC0, 0, 0, 1, 7]),
            "1:9 CAR, header cookie aa, header extension 0xc0, trailer authentication 07"
        );
    }
}
