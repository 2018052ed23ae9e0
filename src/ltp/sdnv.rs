//! Self-delimiting numeric values (RFC 5326 section 2, RFC 6256).

use alloc::vec::Vec;

use crate::wire::{Cursor, DecodeError, Fault};

/// Octets of the longest value: 64 bits in groups of seven.
pub const MAX_SDNV: usize = 10;

/// Returns how many octets `value` takes: 1 to 10.
#[must_use]
pub const fn sdnv_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    // Bound: 1 to 10.
    bits.div_ceil(7) as usize
}

/// Appends `value` with as few octets as it needs (RFC 5326 section 2, item 20).
pub fn put_sdnv(out: &mut Vec<u8>, value: u64) {
    if let Ok(octet @ 0..=0x7F) = u8::try_from(value) {
        out.push(octet);
        return;
    }
    let mut octets = [0; MAX_SDNV];
    let mut left = value;
    let mut len = 0;
    let mut more = 0;
    for place in octets.iter_mut().rev() {
        *place = group(left) | more;
        more = 0x80;
        left >>= 7;
        len += 1;
        if left == 0 {
            break;
        }
    }
    if let Some(tail) = octets.get(MAX_SDNV - len..) {
        out.extend_from_slice(tail);
    }
}

/// The lowest seven bits.
const fn group(value: u64) -> u8 {
    // Bound: masked to seven bits.
    (value & 0x7F) as u8
}

/// Takes one value. Leading zero groups are let through up to ten octets in all (RFC 6256 section 3.2).
///
/// LTP sets no maximum; 64 bits is ours, as RFC 6256 section 3.3 asks every protocol to name one.
pub(super) fn sdnv(cursor: &mut Cursor<'_>, field: &'static str) -> Result<u64, DecodeError> {
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
