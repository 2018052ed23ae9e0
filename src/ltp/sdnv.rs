//! Self-delimiting numeric values, SDNV (RFC 5326 section 2, RFC 6256).

use alloc::vec::Vec;

use crate::wire::{Cursor, DecodeError, Fault};

/// The maximum length of an SDNV in octets: 64 bits in groups of seven.
pub const MAX_SDNV: usize = 10;

/// Returns the length of `value` in octets: 1 to 10.
#[must_use]
pub const fn sdnv_len(value: u64) -> usize {
    // A seventh of the bits rounded up, without a division. Bound: 1 to 10.
    let bits = 64 - (value | 1).leading_zeros();
    ((bits * 9 + 64) / 64) as usize
}

/// Appends `value` with as few octets as possible (RFC 5326 section 2, item 20).
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
const MAX_VALUES: usize = 9;

/// Octets of the longest head: type, extension counts, and values.
const MAX_HEAD: usize = 2 + MAX_VALUES * MAX_SDNV;

/// Octets into which most heads fit.
const USUAL: usize = 32;

/// The fields of a segment before its data, or all fields, encoded in an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Eight octets more, since values are written in words.
    octets: [u8; MAX_HEAD + 8],
    len: usize,
}

impl Head {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            octets: [0; MAX_HEAD + 8],
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

    /// Appends a value of up to 56 bits at once. It is not inlined, so that the code of a session fits the instruction
    /// cache.
    #[inline(never)]
    fn word(&mut self, value: u64) {
        // Most serial numbers and lengths take two octets.
        if value >> 14 == 0
            && let Some(place) = self.octets.get_mut(self.len..self.len + 2)
        {
            // Bound: masked to seven bits.
            place.copy_from_slice(&[0x80 | (value >> 7) as u8, (value & 0x7F) as u8]);
            self.len += 2;
            return;
        }
        if value >> (7 * WORD) > 0 {
            self.groups(value);
            return;
        }
        let len = sdnv_len(value);
        let word = groups_of(value, len) << (8 * (WORD - len));
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

    /// Appends the head to `out`: usually in one move of fixed length, which needs no call.
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

/// The headers of segments that differ only in the offset, as those of a block do. What is before and behind the
/// offset is encoded once. The offset has the same length in all of them.
///
/// A header is held in one integer, or in two if it is long, with its first octet lowest. It is written, and compared,
/// at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderTemplate {
    /// The octets before the offset.
    front: u128,
    /// Bits of the front.
    place: u32,
    /// The shift of the offset in the word behind the front.
    shift: usize,
    /// The other bits of that word: the continuation bits, and the value behind the offset.
    beside: u64,
    /// The bits of both integers that belong to the header.
    mask: (u128, u64),
    /// Octets of a header.
    len: usize,
    /// The smallest offset that needs more octets.
    end: u64,
}

/// Octets of a header in the first integer.
const FIRST: usize = size_of::<u128>();

impl HeaderTemplate {
    /// The minimum length of a datagram into which a header can be written, in octets.
    pub(super) const MIN_DATAGRAM: usize = FIRST + WORD;

    /// Makes headers of `front`, an offset as long as `offset`, and the value `behind`. `None` for very long ones.
    pub(super) fn new(front: &Head, offset: u64, behind: u64) -> Option<Self> {
        let (first, second) = (sdnv_len(offset), sdnv_len(behind));
        let unused = WORD.checked_sub(first + second)?;
        let front = front.octets();
        // The word does not reach beyond the two integers.
        let place = front.len();
        if place >= FIRST {
            return None;
        }
        let mut octets = [0; FIRST];
        octets.get_mut(..place)?.copy_from_slice(front);
        // Bound: the offset takes at most seven octets, as the other value takes one.
        let shift = 8 * (WORD - first);
        let behind = groups_of(behind, second) << (8 * unused);
        let len = place + first + second;
        Some(Self {
            front: u128::from_le_bytes(octets),
            place: u32::try_from(8 * place).ok()?,
            shift,
            beside: groups_of(0, first) << shift | behind,
            mask: (
                u128::MAX >> (8 * FIRST.saturating_sub(len)),
                (1 << (8 * len.saturating_sub(FIRST))) - 1,
            ),
            len,
            end: 1 << (7 * first),
        })
    }

    /// Octets of each header.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns the smallest offset that is too long.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Returns the header in two integers, with undefined octets behind it.
    #[inline]
    fn header(&self, offset: u64) -> (u128, u64) {
        let word = (spread(offset) << self.shift | self.beside).swap_bytes();
        let first = self.front | u128::from(word) << self.place;
        // The bits of the word that do not fit the first integer. Behind a short front all fit.
        let second = word >> (u128::BITS - self.place).min(u64::BITS - 1);
        (first, second)
    }

    /// Writes the header with an offset below the end to the front of `out`, which has at least
    /// [`MIN_DATAGRAM`](Self::MIN_DATAGRAM) octets. Octets behind the header may be overwritten.
    #[inline]
    pub(super) fn write(&self, out: &mut [u8], offset: u64) {
        let (first, second) = self.header(offset);
        let Some((place, rest)) = out.split_first_chunk_mut() else {
            return;
        };
        *place = first.to_le_bytes();
        if self.len > FIRST
            && let Some(place) = rest.first_chunk_mut()
        {
            *place = second.to_le_bytes();
        }
    }

    /// Returns the octets behind the header, if `octets` start with the one with this offset.
    #[inline]
    pub(super) fn behind<'a>(&self, octets: &'a [u8], offset: u64) -> Option<&'a [u8]> {
        let (first, second) = self.header(offset);
        let begin = u128::from_le_bytes(*octets.first_chunk()?);
        if (begin ^ first) & self.mask.0 != 0 || offset >= self.end {
            return None;
        }
        if self.len > FIRST {
            let rest = u64::from_le_bytes(*octets.get(FIRST..)?.first_chunk()?);
            if (rest ^ second) & self.mask.1 != 0 {
                return None;
            }
        }
        octets.get(self.len..)
    }
}

/// Octets that are read and written at once.
const WORD: usize = 8;
/// The continuation bit of each octet.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Moves each group of seven bits into an octet of its own.
const fn spread(value: u64) -> u64 {
    let halves = value & 0x0FFF_FFFF | (value & 0xFF_FFFF_F000_0000) << 4;
    let pairs = halves & 0x3FFF_0000_3FFF | (halves & 0x0FFF_C000_0FFF_C000) << 2;
    pairs & 0x007F_007F_007F_007F | (pairs & 0x3F80_3F80_3F80_3F80) << 1
}

/// Returns the octets of a value with the length `len`, at most eight, with continuation bits in all but the last.
const fn groups_of(value: u64, len: usize) -> u64 {
    spread(value) | CONTINUES >> (8 * (WORD - len)) & !0xFF
}

/// Moves the groups of seven bits together again.
const fn gather(octets: u64) -> u64 {
    let pairs = octets & 0x007F_007F_007F_007F | (octets & 0x7F00_7F00_7F00_7F00) >> 1;
    let halves = pairs & 0x3FFF_0000_3FFF | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    halves & 0x0FFF_FFFF | (halves & 0x0FFF_FFFF_0000_0000) >> 4
}

/// Reads a value of up to eight octets. `None` if it is longer, or there are fewer octets.
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

/// Reads a value. Leading zero groups are accepted up to ten octets in all (RFC 6256 section 3.2).
///
/// LTP sets no maximum. RFC 6256 section 3.3 requires every protocol to set one; here it is 64 bits.
#[inline]
pub(super) fn sdnv(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
    if let Some(octet) = cursor.octet_up_to(0x7F) {
        return Ok(u64::from(octet));
    }
    match long_sdnv(cursor) {
        Some(value) => Ok(value),
        None => any_sdnv(cursor, field),
    }
}

/// Reads a value of two octets, or of up to eight with as many left. `None` for others.
#[inline(never)]
fn long_sdnv(cursor: &mut Cursor<'_>) -> Option<u64> {
    let rest = cursor.rest();
    // Two octets are also read if they are the last ones.
    if let [high @ 0x80..=0xFF, low @ 0..=0x7F, rest @ ..] = rest {
        cursor.skip_to(rest);
        return Some(u64::from(high & 0x7F) << 7 | u64::from(*low));
    }
    let (value, len) = word(rest)?;
    cursor.skip_to(rest.get(len..)?);
    Some(value)
}

/// Reads a value octet by octet.
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
    use alloc::vec;

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

    /// Puts a header together value by value.
    fn plainly(front: &Head, offset: u64, behind: u64) -> Vec<u8> {
        let mut out = Vec::from(front.octets());
        put_sdnv(&mut out, offset);
        put_sdnv(&mut out, behind);
        out
    }

    #[test]
    fn a_series_writes_and_knows_the_headers_of_all_its_offsets() {
        for front_len in 1..FIRST {
            let mut front = Head::new();
            (0..front_len).for_each(|octet| front.octet(0x81 + u8::try_from(octet).unwrap()));
            for (from, behind) in [
                (0, 1),
                (127, 127),
                (128, 128),
                (13_880, 1388),
                (1_000_000, 16_383),
                (2_097_152, 16_384),
                (987_654_321, 65_000),
                ((1 << 42) - 9, 100),
            ] {
                let template = HeaderTemplate::new(&front, from, behind).unwrap();
                let most = template.end() - 1;
                for offset in [from, from + 1, u64::midpoint(from, most), most] {
                    let offset = offset.min(most);
                    let header = plainly(&front, offset, behind);
                    let mut out = vec![0; header.len() + HeaderTemplate::MIN_DATAGRAM];
                    template.write(&mut out, offset);
                    let (begin, behind) = out.split_at(header.len());
                    assert_eq!(begin, header, "{offset}");
                    assert_eq!(template.len(), header.len());

                    assert_eq!(template.behind(&out, offset), Some(behind));
                    assert_eq!(template.behind(&out, offset ^ 1), None);
                    for bit in 0..8 * header.len() {
                        let mut other = out.clone();
                        other[bit / 8] ^= 1 << (bit % 8);
                        assert_eq!(template.behind(&other, offset), None, "{bit}");
                    }
                }
                assert_eq!(sdnv_len(template.end()), sdnv_len(from) + 1);
            }
        }
    }

    #[test]
    fn headers_that_do_not_fit_are_no_series() {
        let mut front = Head::new();
        (0..FIRST).for_each(|_| front.octet(1));

        assert!(HeaderTemplate::new(&front, 0, 1).is_none(), "a long front");
        assert!(
            HeaderTemplate::new(&Head::new(), 1 << 49, 1).is_none(),
            "an offset of eight octets"
        );
        assert!(HeaderTemplate::new(&Head::new(), 1 << 42, 128).is_none());
    }
}
