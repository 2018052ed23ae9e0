//! Decoding primitives for the wire formats of all protocols.

#[cfg(any(feature = "cotp", feature = "ltp"))]
mod cursor;
mod error;

#[cfg(any(feature = "cotp", feature = "ltp"))]
pub(crate) use cursor::Cursor;
pub use error::{DecodeError, Fault};
