//! Self-delimiting numeric values (RFC 5326 section 2, RFC 6256).

use alloc::vec::Vec;

use crate::wire::{Cursor, DecodeError, Fault};

/// Octets of the longest value: 64 bits in groups of seven.
pub const MAX_SDNV: usize = 10;

/// Returns how many octets `value` takes: 1 to 10.
#[must_use]
pub const fn sdnv_len(value: u64) -> usize {
    // A seventh of the bits rounded up, without a division. Bound: 1 to 10.
    let bits = 64 - (value | 1).leading_zeros();
    ((bits * 9 + 64) / 64) as usize
}

/// Appends `value` with as few octets as it needs (RFC 5326 section 2, item 20).
pub fn put_sdnv(out: &mut Vec<u8>, value: u64) {
    if let Ok(octet @ 0..=0x7F) = u8::try_from(value) {
        out.push(octet);
        return;
    }
    let mut head = Head::new();
    head.sdnv(value);
    head.put(out);
}

/// Values of the longest head of a segment: two of the session, and seven of a report with one claim.
const MOST_VALUES: usize = 9;

/// Octets of the longest head: control, counts, and values.
const LONGEST_HEAD: usize = 2 + MOST_VALUES * MAX_SDNV;

/// Octets that most of them fit into.
const USUAL: usize = 32;

/// The fields before the data of a segment, or all of them, put together where no vector has to grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Eight more, as values are written in words.
    octets: [u8; LONGEST_HEAD + 8],
    len: usize,
}

impl Head {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            octets: [0; LONGEST_HEAD + 8],
            len: 0,
        }
    }

    #[inline]
    pub(super) fn octet(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.len) {
            *place = octet;
            self.len += 1;
        }
    }

    /// Appends a value. At most nine fit, beside two octets.
    #[inline]
    pub(super) fn sdnv(&mut self, value: u64) {
        if let Ok(octet @ 0..=0x7F) = u8::try_from(value) {
            self.octet(octet);
        } else {
            self.word(value);
        }
    }

    /// A value of up to 56 bits: all of its groups at once. It is a call, or the code of one session would not
    /// fit the cache of a processor.
    #[inline(never)]
    fn word(&mut self, value: u64) {
        if value >> (7 * WORD) > 0 {
            self.groups(value);
            return;
        }
        let len = sdnv_len(value);
        let behind = 8 * (WORD - len);
        let more = CONTINUES >> behind & !0xFF;
        let word = (spread(value) | more) << behind;
        if let Some(place) = self.octets.get_mut(self.len..self.len + WORD) {
            place.copy_from_slice(&word.to_be_bytes());
            self.len += len;
        }
    }

    #[cold]
    fn groups(&mut self, value: u64) {
        for group in (0..sdnv_len(value)).rev() {
            // Bound: masked to seven bits.
            let octet = (value >> (7 * group) & 0x7F) as u8;
            self.octet(if group > 0 { octet | 0x80 } else { octet });
        }
    }

    #[inline]
    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// Appends what was put together: usually in one move of a fixed length, which takes no call.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self.octets.first_chunk::<USUAL>() {
            Some(head) if self.len <= USUAL && out.capacity() - out.len() >= USUAL => {
                let end = out.len() + self.len;
                out.extend_from_slice(head);
                out.truncate(end);
            }
            _ => out.extend_from_slice(self.octets()),
        }
    }
}

/// Octets that are read and written at a time.
const WORD: usize = 8;
/// The bit of each octet that says that another follows.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Moves each group of seven bits into an octet of its own.
const fn spread(value: u64) -> u64 {
    let halves = value & 0x0FFF_FFFF | (value & 0xFF_FFFF_F000_0000) << 4;
    let pairs = halves & 0x3FFF_0000_3FFF | (halves & 0x0FFF_C000_0FFF_C000) << 2;
    pairs & 0x007F_007F_007F_007F | (pairs & 0x3F80_3F80_3F80_3F80) << 1
}

/// Moves the groups of seven bits together again.
const fn gather(octets: u64) -> u64 {
    let pairs = octets & 0x007F_007F_007F_007F | (octets & 0x7F00_7F00_7F00_7F00) >> 1;
    let halves = pairs & 0x3FFF_0000_3FFF | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    halves & 0x0FFF_FFFF | (halves & 0x0FFF_FFFF_0000_0000) >> 4
}

/// Reads a value of up to eight octets off the front; `None` when it is longer, or the octets are fewer than
/// eight and it is not the first of them.
#[inline]
pub(super) fn short_sdnv(octets: &[u8]) -> Option<(u64, usize)> {
    let first = *octets.first()?;
    if first & 0x80 == 0 {
        return Some((u64::from(first), 1));
    }
    word(octets)
}

#[inline]
fn word(octets: &[u8]) -> Option<(u64, usize)> {
    let word = u64::from_be_bytes(*octets.first_chunk::<WORD>()?);
    let ends = !word & CONTINUES;
    if ends == 0 {
        return None;
    }
    // Bound: 0 to 7.
    let len = ends.leading_zeros() as usize / 8 + 1;
    Some((gather(word >> (8 * (WORD - len))), len))
}

/// Takes one value. Leading zero groups are let through up to ten octets in all (RFC 6256 section 3.2).
///
/// LTP sets no maximum; 64 bits is ours, as RFC 6256 section 3.3 asks every protocol to name one.
#[inline]
pub(super) fn sdnv(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
    match cursor.octet_up_to(0x7F) {
        Some(octet) => Ok(u64::from(octet)),
        None => long_sdnv(cursor, field),
    }
}

#[inline(never)]
fn long_sdnv(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
    match cursor.rest() {
        // Also where they are the last two.
        [high @ 0x80..=0xFF, low @ 0..=0x7F, ..] => {
            let value = u64::from(high & 0x7F) << 7 | u64::from(*low);
            cursor.take(2, field).map(|_| value)
        }
        rest => match word(rest) {
            Some((value, len)) => cursor.take(len, field).map(|_| value),
            None => any_sdnv(cursor, field),
        },
    }
}

/// Octet by octet.
#[cold]
fn any_sdnv(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
    let start = cursor.offset();
    let mut value = 0_u64;
    for _ in 0..MAX_SDNV {
        let octet = cursor.u8(field)?;
        if value >> 57 != 0 {
            return Err(DecodeError::new(field, start, Fault::Overflow));
        }
        value = value << 7 | u64::from(octet & 0x7F);
        if octet & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::new(field, start, Fault::Overflow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(octets: &[u8]) -> Result<u64, DecodeError> {
        sdnv(&mut Cursor::new(octets), "value")
    }

    #[test]
    fn values_take_the_octets_of_the_table_in_the_specification() {
        let table: [(u64, &[u8]); 11] = [
            (0, &[0]),
            (1, &[1]),
            (127, &[0x7F]),
            (128, &[0x81, 0]),
            (0xABC, &[0x95, 0x3C]),
            (0x1234, &[0xA4, 0x34]),
            (0x4234, &[0x81, 0x84, 0x34]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x81, 0x80, 0]),
            (0xFFFF_FFFF, &[0x8F, 0xFF, 0xFF, 0xFF, 0x7F]),
            (
                u64::MAX,
                &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
            ),
        ];

        for (value, octets) in table {
            let mut out = Vec::new();
            put_sdnv(&mut out, value);

            assert_eq!(out, octets, "{value}");
            assert_eq!(sdnv_len(value), octets.len(), "{value}");
            assert_eq!(decode(octets), Ok(value));
        }
    }

    #[test]
    fn every_length_and_bit_survives_whatever_stands_behind() {
        for value in
            (0..64).flat_map(|bit| [1 << bit, u64::MAX >> bit, 0x5A5A_5A5A_5A5A_5A5A >> bit])
        {
            let mut out = Vec::new();
            put_sdnv(&mut out, value);

            assert_eq!(out.len(), sdnv_len(value), "{value:#x}");
            assert_eq!(decode(&out), Ok(value), "{value:#x}");
            for behind in [0, 0x80, 0xFF] {
                let mut more = out.clone();
                more.extend([behind; 9]);
                let mut cursor = Cursor::new(&more);
                assert_eq!(sdnv(&mut cursor, "value"), Ok(value), "{value:#x}");
                assert_eq!(cursor.offset(), out.len(), "{value:#x}");
            }
        }
    }

    #[test]
    fn padding_is_accepted_up_to_ten_octets() {
        assert_eq!(decode(&[0x80, 0x80, 5]), Ok(5));
        assert_eq!(
            decode(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 5]),
            Ok(5)
        );
        assert!(decode(&[0x80; 10]).is_err());
    }

    #[test]
    fn a_value_above_64_bits_or_cut_short_is_refused() {
        let above = [0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0];

        assert_eq!(
            decode(&above).map_err(|error| error.fault),
            Err(Fault::Overflow)
        );
        assert_eq!(
            decode(&[0x81]).map_err(|error| error.fault),
            Err(Fault::Short { need: 1, left: 0 })
        );
    }
}
