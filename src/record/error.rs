//! Why a file cannot be read.

use alloc::string::String;
use core::error::Error;
use core::fmt;

use super::{FORMAT, VERSION};

/// Why a file cannot be read, or not any further.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Neither pcap nor pcapng.
    NotACapture,
    /// A capture, but no recording of this crate.
    NotARecording,
    /// A recording in another format.
    Format {
        /// The format.
        format: u32,
        /// The version of the crate that wrote it.
        made_by: String,
    },
    /// Something that cannot be.
    Malformed {
        /// The octet in the file at which the block begins.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A part that does not follow the one before, or is one of another recording.
    Part {
        /// The number it should have.
        expected: u32,
        /// The number it has.
        found: u32,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACapture => f.write_str("neither a pcap nor a pcapng file"),
            Self::NotARecording => f.write_str("a capture, but not a recording of farlink"),
            Self::Format { format, made_by } => write!(
                f,
                "a recording in format {format}, made by farlink {made_by}; \
                 farlink {VERSION} reads format {FORMAT}"
            ),
            Self::Malformed { at, what } => write!(f, "malformed at octet {at}: {what}"),
            Self::Part { expected, found } if expected == found => write!(
                f,
                "part {found} of another recording, or one that does not follow the part before it"
            ),
            Self::Part { expected, found } => {
                write!(
                    f,
                    "part {found} of a recording where part {expected} belongs"
                )
            }
        }
    }
}

impl Error for ReadError {}
