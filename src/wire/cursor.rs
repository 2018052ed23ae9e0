//! Decoding of fixed fields in order.

use super::{DecodeError, Fault};

/// Octets that are decoded in order, and the offset of the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    /// The octets that are left, of so many.
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self {
            rest: octets,
            len: octets.len(),
        }
    }

    /// Returns the octets behind the offset.
    #[inline]
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Returns the offset.
    pub(crate) const fn offset(self) -> usize {
        self.len - self.rest.len()
    }

    /// Returns the next `len` octets.
    #[cfg(feature = "ltp")]
    pub(crate) const fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((octets, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.short(len, field));
        };
        self.rest = rest;
        Ok(octets)
    }

    /// Moves on to the end of octets that were read from the [rest](Self::rest).
    #[cfg(feature = "ltp")]
    #[inline]
    pub(crate) const fn skip_to(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    /// Returns the next octet if it is at most `most`. A larger one is not consumed.
    #[cfg(feature = "ltp")]
    #[inline]
    pub(crate) const fn octet_up_to(&mut self, most: u8) -> Option<u8> {
        match *self.rest {
            [octet, ref rest @ ..] if octet <= most => {
                self.rest = rest;
                Some(octet)
            }
            _ => None,
        }
    }

    pub(crate) const fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let Some((&octet, rest)) = self.rest.split_first() else {
            return Err(self.short(1, field));
        };
        self.rest = rest;
        Ok(octet)
    }

    /// Returns the next big-endian number of 16 bits.
    #[cfg(feature = "cotp")]
    pub(crate) const fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let Some((&octets, rest)) = self.rest.split_first_chunk() else {
            return Err(self.short(2, field));
        };
        self.rest = rest;
        Ok(u16::from_be_bytes(octets))
    }

    #[cold]
    const fn short(&self, need: usize, field: &'static str) -> DecodeError {
        let left = self.rest.len();
        DecodeError::new(field, self.offset(), Fault::Short { need, left })
    }
}

#[cfg(all(test, feature = "cotp"))]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order_and_big_endian() {
        let mut cursor = Cursor::new(&[7, 0x12, 0x34, 9, 9]);

        assert_eq!(cursor.u8("first"), Ok(7));
        assert_eq!(cursor.u16("second"), Ok(0x1234));
        assert_eq!(cursor.rest(), [9, 9]);
    }

    #[test]
    fn a_short_field_is_named_with_its_offset() {
        let mut cursor = Cursor::new(&[7, 8]);
        cursor.u8("first").unwrap();

        let error = cursor.u16("second").unwrap_err();

        assert_eq!(
            error,
            DecodeError::new("second", 1, Fault::Short { need: 2, left: 1 })
        );
        assert_eq!(cursor.rest(), [8], "a failed read takes nothing");
    }
}
