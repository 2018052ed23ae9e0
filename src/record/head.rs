//! The head of a recording, how it ends, and damage to it.

use alloc::string::{String, ToString as _};
use core::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{FORMAT, ReadError};
use crate::Seed;

/// The head of a recording: which machine it is of, and how it was made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Head {
    /// The version of the crate that wrote it.
    pub made_by: String,
    /// The protocol: [`Recorded::KIND`](super::Recorded::KIND).
    pub kind: String,
    /// The number of this part, counted from 0.
    pub part: u32,
    /// The number of calls in the parts before.
    pub calls: u64,
    /// The time of the wall clock at [`Instant::ZERO`](crate::Instant::ZERO), in seconds since 1970.
    pub epoch: u64,
    /// Whether seed and payloads were removed.
    pub redacted: bool,
    /// Whether the machine was restored from a snapshot. If so, the first entry is the snapshot.
    pub restored: bool,
    pub(super) seed: Option<Seed>,
    pub(super) config: Value,
}

impl Head {
    /// Returns the configuration of the machine as JSON.
    #[must_use]
    pub fn config(&self) -> String {
        self.config.to_string()
    }

    /// Tells whether both are heads of one recording.
    pub(super) fn is_same_recording(&self, other: &Self) -> bool {
        self.made_by == other.made_by
            && self.kind == other.kind
            && self.epoch == other.epoch
            && self.seed == other.seed
            && self.config == other.config
    }

    pub(super) fn read(value: Value) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Version {
            farlink: String,
            format: u32,
        }
        #[derive(Deserialize)]
        struct Rest {
            kind: String,
            part: u32,
            calls: u64,
            epoch: u64,
            seed: Option<Seed>,
            config: Value,
            #[serde(default)]
            redacted: bool,
            #[serde(default)]
            restored: bool,
        }
        let version = Version::deserialize(&value).map_err(|_| ReadError::NotARecording)?;
        if version.format != FORMAT {
            return Err(ReadError::Format {
                format: version.format,
                made_by: version.farlink,
            });
        }
        let rest: Rest = serde_json::from_value(value).map_err(|_| ReadError::NotARecording)?;
        Ok(Self {
            made_by: version.farlink,
            kind: rest.kind,
            part: rest.part,
            calls: rest.calls,
            epoch: rest.epoch,
            redacted: rest.redacted,
            restored: rest.restored,
            seed: rest.seed,
            config: rest.config,
        })
    }
}

/// How a recording ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingEnd {
    /// With the end mark of a finished recording.
    Finished,
    /// At its size limit.
    Limit,
    /// With a part that another follows, which is missing.
    Continued,
    /// Without an end mark: the recorder was interrupted, or the file was truncated.
    Cut {
        /// The offset of the end of the last whole block.
        at: usize,
    },
}

impl fmt::Display for RecordingEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("the recording is whole"),
            Self::Limit => f.write_str("the recording ends at its size limit"),
            Self::Continued => f.write_str("the next part of the recording is missing"),
            Self::Cut { at } => {
                write!(f, "the recording has no end mark and ends after octet {at}")
            }
        }
    }
}

/// Octets that differ from what the recorder wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The offset up to which checksums match.
    pub from: usize,
    /// The offset of the checksum that does not match.
    pub to: usize,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "the file is damaged between octets {from} and {to}, or another program has rewritten it: \
             the checksum does not match"
        )
    }
}
