//! How engines of this crate recognise each other: a private header extension (RFC 5326 section 3.1.4).
//!
//! ION, HDTN and licklider accept a data segment with an unknown extension, ignore it, and do not send it back.
//! So an answer that carries one comes from an engine of this crate. The value has six octets, since ION drops
//! segments with an empty one.

use crate::ltp::wire::{ExtensionTag, Extensions};

/// Octets in the unit of the window.
const UNIT: u64 = 1024;
/// The version of the value. Later versions keep its octets, and add others behind.
const VERSION: u8 = 1;
/// What the value begins with. Tags from 0xC0 are private, and others may use the same one.
const MARK: [u8; 2] = *b"fl";

/// What an engine of this crate says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ltp) struct Hello {
    /// Octets that the peer may have in flight to this engine; 0 where it does not know.
    pub(in crate::ltp) window: u64,
}

impl Hello {
    /// The tag of the extension.
    pub(in crate::ltp) const TAG: ExtensionTag = ExtensionTag(0xF1);
    /// The length of the extension in octets, tag and length included.
    pub(in crate::ltp) const LEN: usize = 8;

    /// Returns what an engine says whose socket has a receive buffer of so many octets. Datagrams of 1400 octets
    /// fill Linux' buffers at about half.
    pub(in crate::ltp) const fn from_receive_buffer(octets: u64) -> Self {
        Self { window: octets / 2 }
    }

    /// Returns how many octets the extension takes, if there is one.
    pub(in crate::ltp) fn len(hello: Option<Self>) -> usize {
        hello.map_or(0, |_| Self::LEN)
    }

    /// Returns the extension.
    #[must_use]
    pub(in crate::ltp) fn encode(self) -> [u8; Self::LEN] {
        let units = (self.window / UNIT).min(0xFF_FFFF);
        let [.., high, middle, low] = units.to_be_bytes();
        let [first, second] = MARK;
        [Self::TAG.0, 6, first, second, VERSION, high, middle, low]
    }

    /// Finds what a peer says among the extensions of a header.
    #[inline]
    pub(in crate::ltp) fn find(extensions: &Extensions<'_>) -> Option<Self> {
        if extensions.count() == 0 {
            return None;
        }
        extensions
            .iter()
            .filter(|extension| extension.tag == Self::TAG)
            .find_map(|extension| Self::decode(extension.value))
    }

    fn decode(value: &[u8]) -> Option<Self> {
        match value {
            [first, second, version, high, middle, low, ..]
                if [*first, *second] == MARK && *version >= VERSION =>
            {
                let units = u32::from_be_bytes([0, *high, *middle, *low]);
                Some(Self {
                    window: u64::from(units) * UNIT,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(octets: &[u8]) -> Option<u64> {
        Hello::find(&Extensions::new(octets).unwrap()).map(|hello| hello.window)
    }

    #[test]
    fn a_window_is_encoded_in_units_of_1024_octets() {
        let hello = Hello { window: 2 << 20 };

        let octets = hello.encode();

        assert_eq!(octets, [0xF1, 6, b'f', b'l', 1, 0, 8, 0]);
        assert_eq!(found(&octets), Some(2 << 20));
    }

    #[test]
    fn the_window_is_half_of_the_receive_buffer() {
        assert_eq!(Hello::from_receive_buffer(425_984).window, 212_992);
    }

    #[test]
    fn a_window_is_rounded_down_and_bounded_by_what_three_octets_hold() {
        let coded = |window| found(&Hello { window }.encode());

        assert_eq!(coded(0), Some(0));
        assert_eq!(coded(1023), Some(0));
        assert_eq!(coded(2047), Some(1024));
        assert_eq!(coded(u64::MAX), Some(0xFF_FFFF * 1024));
    }

    #[test]
    fn a_later_version_may_add_octets() {
        assert_eq!(found(&[0xF1, 8, b'f', b'l', 2, 0, 0, 4, 9, 9]), Some(4096));
    }

    #[test]
    fn extensions_of_others_are_none() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[0xF2, 6, b'f', b'l', 1, 0, 0, 4]), None, "tag");
        assert_eq!(found(&[0xF1, 6, b'g', b'l', 1, 0, 0, 4]), None, "mark");
        assert_eq!(found(&[0xF1, 6, b'f', b'l', 0, 0, 0, 4]), None, "version");
        assert_eq!(found(&[0xF1, 5, b'f', b'l', 1, 0, 0]), None, "length");
        assert_eq!(found(&[0xF1, 0]), None, "empty");
    }

    #[test]
    fn it_is_found_behind_others_with_the_same_tag() {
        let octets = [0xF1, 1, 7, 0xF1, 6, b'f', b'l', 1, 0, 0, 1];

        assert_eq!(found(&octets), Some(1024));
    }
}
