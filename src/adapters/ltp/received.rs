//! What access points give.

use bytes::Bytes;

use crate::ltp::{EndCause, Event, Reason, SessionId, Side};

/// What an access point gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Received {
    /// The engine ID of the node that sends the block.
    pub from: u64,
    /// The session of the block.
    pub session: SessionId,
    /// The client service.
    pub client: u64,
    /// What was received.
    pub kind: ReceivedKind,
    /// The octets. Empty with [`ReceivedKind::Started`], [`ReceivedKind::RedPart`] and [`ReceivedKind::Cancelled`], and
    /// never otherwise.
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub data: Bytes,
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ReceivedKind {
    /// A whole red part, exactly once.
    Whole {
        /// Whether the block ends here; otherwise a green part belongs to it.
        ends_block: bool,
    },
    /// A segment of a green part, as it came: neither in order nor freed of duplicates.
    Green {
        /// Octets of the block before these.
        offset: u64,
        /// Whether the block ends here.
        ends_block: bool,
    },
    /// The next octets of a red part, for a streaming service; all of it comes again as `Whole`.
    Piece {
        /// Octets of the block before these.
        offset: u64,
    },
    /// Octets of a red part for a scattered service, each of them once.
    Segment {
        /// Octets of the block before these.
        offset: u64,
    },
    /// All octets of a red part for a scattered service were given. [`AccessPoint::stored`](super::AccessPoint::stored)
    /// acknowledges it, [`AccessPoint::refuse`](super::AccessPoint::refuse) cancels it.
    RedPart {
        /// Octets of the red part.
        len: u64,
        /// Whether the block ends here; otherwise a green part belongs to it.
        ends_block: bool,
    },
    /// A session for a streaming service began.
    Started,
    /// The reception was cancelled. Nothing more comes of the session.
    Cancelled {
        /// Who cancelled.
        by: Side,
        /// The reason code, which one side told the other.
        reason: Reason,
        /// Why, as far as this engine knows.
        cause: EndCause,
        /// Whether the red part was handed over before; it remains valid.
        after_delivery: bool,
    },
}

/// Makes a [`Received`] of an event of one of these names, which tells of a session of an access point. Others come back.
macro_rules! received {
    ($event:expr, $($name:ident { $($field:ident),* } => $kind:expr, $data:expr;)*) => {
        match $event {
            $(Event::$name { session, client, $($field),* } => Ok(Received {
                from: session.originator,
                session,
                client,
                kind: $kind,
                data: $data,
            }),)*
            event => Err(event),
        }
    };
}

impl Received {
    /// Takes an event that concerns an access point; others come back.
    pub(super) fn from_event(event: Event) -> Result<Self, Event> {
        use ReceivedKind as Kind;
        let none = Bytes::new();
        received! { event,
            Started {} => Kind::Started, none;
            Piece { offset, data } => Kind::Piece { offset }, data;
            Segment { offset, data } => Kind::Segment { offset }, data;
            RedPart { len, ends_block } => Kind::RedPart { len, ends_block }, none;
            Received { data, ends_block } => Kind::Whole { ends_block }, data;
            Green { offset, data, ends_block } => Kind::Green { offset, ends_block }, data;
            Cancelled { by, reason, cause, after_delivery } => Kind::Cancelled { by, reason, cause, after_delivery }, none;
        }
    }

    /// Returns how much memory it takes.
    pub(super) const fn memory_used(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}
