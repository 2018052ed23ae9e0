//! The key of a session. A peer names it in the first segment, and may leave it out later (RFC 5327 section 2.1).

use crate::Addr;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
use crate::ltp::wire::{Body, Segment};

/// A hash of a suite and a key ID. It only selects among accepted keys, so a collision does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub(in crate::ltp) struct KeyHash(u64);

impl KeyHash {
    /// FNV-1a with 64 bits. It is the same in every run, so that snapshots can hold it.
    pub(in crate::ltp) fn of(suite: u8, id: &[u8]) -> Self {
        let all = [suite];
        let all = all.iter().chain(id);
        Self(all.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl Body<'_> {
    /// Returns the role of the engine that receives the segment.
    pub(in crate::ltp) const fn receiving_role(&self) -> Role {
        match self {
            Self::Data(_)
            | Self::ReportAck(_)
            | Self::CancelBySender(_)
            | Self::CancelAckToReceiver => Role::Receiver,
            Self::Report(_) | Self::CancelAckToSender | Self::CancelByReceiver(_) => Role::Sender,
        }
    }
}

impl<A: Addr> Engine<A> {
    /// Returns the key that the session of a segment named before.
    pub(in crate::ltp) fn key_hash(&self, segment: &Segment<'_>) -> Option<KeyHash> {
        let session = segment.session;
        let role = segment.body.receiving_role();
        let live = match role {
            Role::Sender => self
                .exports
                .get(&session.number)
                .map(|export| export.key_hash),
            Role::Receiver => self.imports.get(&session).map(|import| import.key_hash),
        };
        live.or_else(|| self.closed.get((role, session)).map(|old| old.key_hash))
            .flatten()
    }

    /// Remembers the key that a segment named, as long as its session is remembered.
    pub(in crate::ltp) fn remember_key(&mut self, segment: &Segment<'_>, name: Option<KeyHash>) {
        let Some(name) = name else {
            return;
        };
        let session = segment.session;
        let role = segment.body.receiving_role();
        let live = match role {
            Role::Sender => self
                .exports
                .get_mut(&session.number)
                .map(|export| &mut export.key_hash),
            Role::Receiver => self
                .imports
                .get_mut(&session)
                .map(|import| &mut import.key_hash),
        };
        match live {
            Some(place) => *place = Some(name),
            None => self
                .closed
                .change((role, session), |old| old.key_hash = Some(name)),
        }
    }
}
