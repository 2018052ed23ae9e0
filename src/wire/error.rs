//! Why octets could not be decoded.

use core::error::Error;
use core::fmt;

/// The field that was wrong, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DecodeError {
    /// What the standard calls the field.
    pub field: &'static str,
    /// Octets before the fault, from the start of what was decoded.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Fault {
    /// The field needs more octets than are left.
    Short {
        /// Octets the field takes.
        need: usize,
        /// Octets that are left.
        left: usize,
    },
    /// The standard does not allow this value here.
    Value(u32),
    /// The field cannot have this length.
    Length(usize),
    /// A second one stands where only one may.
    Repeated,
    /// Octets follow where nothing may.
    Trailing(usize),
    /// The number has more bits than are kept.
    Overflow,
    /// The range runs outside of what surrounds it.
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
            Self::Repeated => f.write_str("given twice"),
            Self::Trailing(count) => write!(f, "{count} octets follow where none may"),
            Self::Overflow => f.write_str("the number exceeds 64 bits"),
            Self::Bounds => f.write_str("the range is out of bounds"),
        }
    }
}

impl Error for DecodeError {}
