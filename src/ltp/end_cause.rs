//! Why sessions end before their time, told apart further than reason codes do.

use core::time::Duration;

use super::wire::Reason;

/// Why a session ended before its time, as far as this engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EndCause {
    /// The peer cancelled it. Its reason code is all it says.
    #[display("cancelled by the peer")]
    Peer,
    /// The application here cancelled it, closed its client service, or shut down.
    #[display("cancelled by the application")]
    Application,
    /// The application here removed the peer.
    #[display("peer removed")]
    PeerRemoved,
    /// Nothing was heard from the peer for so long while it owed an answer or octets.
    #[display("peer silent for {_0:.1?}")]
    PeerSilent(#[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))] Duration),
    /// A limit of this engine was exceeded.
    #[display("{value} exceeds the limit of {max} {limit}")]
    LimitExceeded {
        /// The limit.
        limit: Limit,
        /// Its value.
        max: u64,
        /// The value that exceeded it.
        value: u64,
    },
    /// The colors or ends of segments contradict each other (RFC 5326 section 6.21).
    #[display("red and green segments contradict each other")]
    Miscolored,
    /// The red part ends where it begins.
    #[display("red part without an octet")]
    EmptyRedPart,
    /// The peer, or this engine, lost its state, and what one side knows of the session is no longer true.
    #[display("one side lost its state of the session")]
    StateLost,
    /// No segment of the session fits a datagram.
    #[display("no segment of the session fits a datagram")]
    NoRoomInDatagram,
}

/// A limit of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Limit {
    /// [`PeerLimits::session_octets`](super::PeerLimits::session_octets).
    #[display("octets in the red part of a block")]
    SessionOctets,
    /// [`PeerLimits::checkpoint_retries`](super::PeerLimits::checkpoint_retries).
    #[display("repetitions of a checkpoint")]
    CheckpointRetries,
    /// [`PeerLimits::report_retries`](super::PeerLimits::report_retries).
    #[display("repetitions of a report")]
    ReportRetries,
    /// [`PeerLimits::problems`](super::PeerLimits::problems).
    #[display("reports with gaps in a session")]
    Problems,
    /// [`PeerLimits::cycles`](super::PeerLimits::cycles).
    #[display("retransmission cycles in a session")]
    Cycles,
}

impl EndCause {
    /// Returns the cause of exceeding a limit by the next value.
    pub(super) fn over(limit: Limit, max: impl Into<u64>) -> Self {
        let max = max.into();
        let value = max.saturating_add(1);
        Self::LimitExceeded { limit, max, value }
    }

    /// Whether the peer did not answer: it is silent, or signals were repeated as often as the limits say.
    #[must_use]
    pub const fn is_unanswered(self) -> bool {
        matches!(
            self,
            Self::PeerSilent(_)
                | Self::LimitExceeded {
                    limit: Limit::CheckpointRetries | Limit::ReportRetries,
                    ..
                }
        )
    }

    /// Returns the reason code for the peer.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Application => Reason::USER,
            Self::Miscolored | Self::EmptyRedPart => Reason::MISCOLORED,
            Self::LimitExceeded { limit, .. } => match limit {
                Limit::SessionOctets => Reason::SYSTEM,
                Limit::CheckpointRetries | Limit::ReportRetries | Limit::Problems => {
                    Reason::RETRANSMISSION_LIMIT
                }
                Limit::Cycles => Reason::CYCLE_LIMIT,
            },
            Self::PeerSilent(_) => Reason::RETRANSMISSION_LIMIT,
            Self::Peer | Self::PeerRemoved | Self::StateLost | Self::NoRoomInDatagram => {
                Reason::SYSTEM
            }
        }
    }
}
