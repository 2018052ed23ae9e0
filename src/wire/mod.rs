//! Decoding primitives for the wire formats of all protocols.

mod cursor;
mod error;

pub(crate) use cursor::Cursor;
pub use error::{DecodeError, Fault};
