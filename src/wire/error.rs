//! Decoding errors.

use core::error::Error;
use core::fmt;

/// Why octets could not be decoded: the invalid field and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DecodeError {
    /// The name of the field in the standard.
    pub field: &'static str,
    /// Octets before the field, from the start of the PDU.
    pub offset: usize,
    /// The fault.
    pub fault: Fault,
}

/// The fault of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Fault {
    /// The field is longer than the octets that are left.
    Short {
        /// Octets of the field.
        need: usize,
        /// Octets that are left.
        left: usize,
    },
    /// The value is not allowed.
    Value(u32),
    /// The length is not allowed.
    Length(usize),
    /// The field occurs twice.
    Repeated,
    /// Octets follow where none are allowed.
    Trailing(usize),
    /// The number exceeds 64 bits.
    Overflow,
    /// The range exceeds the one that contains it.
    Bounds,
}

impl DecodeError {
    pub(crate) const fn new(field: &'static str, offset: usize, fault: Fault) -> Self {
        Self {
            field,
            offset,
            fault,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {}: {}",
            self.field, self.offset, self.fault
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { need, left } => write!(f, "needs {need} octets, {left} left"),
            Self::Value(value) => write!(f, "value {value} (0x{value:02x}) is not allowed"),
            Self::Length(length) => write!(f, "a length of {length} octets is not allowed"),
            Self::Repeated => f.write_str("occurs twice"),
            Self::Trailing(count) => write!(f, "{count} octets follow where none are allowed"),
            Self::Overflow => f.write_str("the number exceeds 64 bits"),
            Self::Bounds => f.write_str("the range is out of bounds"),
        }
    }
}

impl Error for DecodeError {}
