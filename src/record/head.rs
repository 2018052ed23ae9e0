//! What a recording says about itself, and what is wrong with it.

use alloc::string::{String, ToString as _};
use core::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{FORMAT, ReadError};
use crate::Seed;

/// What a recording says about itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Head {
    /// The version of the crate that made it.
    pub made_by: String,
    /// The kind of machine: [`Recorded::KIND`](super::Recorded::KIND).
    pub kind: String,
    /// Which part of the recording this is, counted from 0.
    pub part: u32,
    /// How many calls the parts before hold.
    pub calls: u64,
    /// What the wall clock showed at [`Instant::ZERO`](crate::Instant::ZERO), in seconds since 1970.
    pub epoch: u64,
    /// Whether seed and payloads were taken out.
    pub redacted: bool,
    /// Whether the machine was restored from a snapshot, which is the first entry.
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

    /// Tells whether both are of parts of one recording.
    pub(super) fn is_of_one_with(&self, other: &Self) -> bool {
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
pub enum End {
    /// In good order.
    Finished,
    /// At its size limit.
    Limit,
    /// The next part is missing.
    Continued,
    /// Without an end mark: the recorder was stopped, or the file was cut.
    Cut {
        /// The octet behind the last whole block.
        at: usize,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("the recording is whole"),
            Self::Limit => f.write_str("the recording ends at its size limit"),
            Self::Continued => f.write_str("the next part of the recording is missing"),
            Self::Cut { at } => write!(
                f,
                "the recording has no end mark: it breaks off behind octet {at}"
            ),
        }
    }
}

/// Octets that are not what the recorder wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The octet up to which the file is sound.
    pub from: usize,
    /// The octet up to which a checksum does not match.
    pub to: usize,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "the file is damaged between octets {from} and {to}, or another program has saved it anew: \
             the checksum does not match"
        )
    }
}
