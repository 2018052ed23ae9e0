//! Why a file cannot be read.

use alloc::string::String;
use core::error::Error;
use core::fmt;

use super::{FORMAT, VERSION};

/// Why a file cannot be read, or cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is neither pcap nor pcapng.
    NotACapture,
    /// The file is a capture, and no recording of this crate.
    NotARecording,
    /// The recording has another format than [`FORMAT`].
    Format {
        /// The format of the recording.
        format: u32,
        /// The version of the crate that wrote it.
        made_by: String,
    },
    /// A block has contents that no writer of the format makes.
    Malformed {
        /// The offset of the block in the file.
        at: usize,
        /// What is malformed.
        what: &'static str,
    },
    /// A part does not follow the one before, or belongs to another recording.
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
                    "part {found} of a recording, where part {expected} was expected"
                )
            }
        }
    }
}

impl Error for ReadError {}
