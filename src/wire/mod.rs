//! Octet primitives that the wire formats of all protocols share.

mod cursor;
mod error;

pub(crate) use cursor::Cursor;
pub use error::{DecodeError, Fault};
