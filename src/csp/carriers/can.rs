//! Frames of CAN in the form of `LINKTYPE_CAN_SOCKETCAN`: identifier and flags, length, three reserved octets, data.

use alloc::vec::Vec;

use crate::wire::{DecodeError, Fault};

/// Octets before the data.
const HEADER: usize = 8;
/// Octets of data at most.
pub(super) const MAX_DATA: usize = 8;
/// The flag of an identifier of 29 bits.
const EXTENDED: u32 = 1 << 31;
/// The bits of such an identifier.
const IDENTIFIER: u32 = (1 << 29) - 1;

/// A data frame of classic CAN with an identifier of 29 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CanFrame {
    identifier: u32,
    data: [u8; MAX_DATA],
    /// At most `MAX_DATA`.
    len: u8,
}

impl CanFrame {
    /// Octets of the longest frame.
    pub const MAX_LEN: usize = HEADER + MAX_DATA;

    /// Makes a frame of pieces of data, of at most 8 octets in all. Bits of the identifier beyond 29, and octets
    /// beyond 8, are cut off.
    #[must_use]
    pub fn new(identifier: u32, pieces: &[&[u8]]) -> Self {
        let mut frame = Self {
            identifier: identifier & IDENTIFIER,
            data: [0; MAX_DATA],
            len: 0,
        };
        let octets = pieces.iter().flat_map(|piece| *piece);
        for (place, octet) in frame.data.iter_mut().zip(octets) {
            *place = *octet;
            frame.len += 1;
        }
        frame
    }

    /// Returns the identifier.
    #[must_use]
    pub const fn identifier(&self) -> u32 {
        self.identifier
    }

    /// Returns the data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.data.get(..self.len.into()).unwrap_or(&self.data)
    }

    /// Decodes a frame. Octets behind its data are padding of the system and ignored.
    ///
    /// # Errors
    ///
    /// When it is shorter than it says, has more than 8 octets of data, as CAN FD has, or is no data frame with an
    /// identifier of 29 bits.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[i0, i1, i2, i3, len, ..], data)) = octets.split_first_chunk::<HEADER>() else {
            let (need, left) = (HEADER, octets.len());
            return Err(DecodeError::new("header", 0, Fault::Short { need, left }));
        };
        let word = u32::from_be_bytes([i0, i1, i2, i3]);
        if word & !IDENTIFIER != EXTENDED {
            return Err(DecodeError::new("identifier", 0, Fault::Value(word)));
        }
        let need = usize::from(len);
        if need > MAX_DATA {
            return Err(DecodeError::new("length", 4, Fault::Length(need)));
        }
        let Some(data) = data.get(..need) else {
            let left = data.len();
            return Err(DecodeError::new(
                "data",
                HEADER,
                Fault::Short { need, left },
            ));
        };
        Ok(Self::new(word, &[data]))
    }

    /// Returns the octets of the encoded frame.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        HEADER + self.len as usize
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.identifier | EXTENDED).to_be_bytes());
        out.extend_from_slice(&[self.len, 0, 0, 0]);
        out.extend_from_slice(self.data());
    }
}
