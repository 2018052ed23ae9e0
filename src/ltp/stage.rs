//! What an open session is about: its block, or its cancellation.

use super::closed::End;
use super::context::{Cancel, Step};

/// A block that is sent or received, or the cancellation of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum Stage<T> {
    Open(T),
    Cancelling(Cancel),
}

impl<T> Stage<T> {
    /// Returns the block, unless it is being cancelled.
    #[inline]
    pub(super) const fn open(&self) -> Option<&T> {
        match self {
            Self::Open(block) => Some(block),
            Self::Cancelling(_) => None,
        }
    }

    /// Returns the block, unless it is being cancelled.
    #[inline]
    pub(super) const fn open_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Open(block) => Some(block),
            Self::Cancelling(_) => None,
        }
    }

    /// Returns the cancellation of a session that is being cancelled.
    pub(super) const fn cancel_mut(&mut self) -> Option<&mut Cancel> {
        match self {
            Self::Open(_) => None,
            Self::Cancelling(cancel) => Some(cancel),
        }
    }

    /// Handles the acknowledgment of a cancel segment (RFC 5326 section 6.18).
    pub(super) const fn on_cancel_ack(&self) -> Step {
        match self {
            Self::Open(_) => Step::Continues,
            Self::Cancelling(_) => Step::Ends(End::Plain),
        }
    }

    /// Returns what a snapshot keeps, which has no timers.
    pub(super) fn saved<S>(&self, save: impl FnOnce(&T) -> S) -> Stage<S> {
        match self {
            Self::Open(block) => Stage::Open(save(block)),
            Self::Cancelling(cancel) => Stage::Cancelling(cancel.saved()),
        }
    }
}
