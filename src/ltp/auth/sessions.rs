//! The key of a session. A peer names it in the first segment, and may leave it out later (RFC 5327 section 2.1).

use core::num::NonZeroU64;

use crate::Instant;
use crate::ltp::closed::Closed;
use crate::ltp::export::Exports;
use crate::ltp::import::Imports;
use crate::ltp::peer::Role;
use crate::ltp::wire::{Body, SessionId};

/// A hash of a suite and a key ID. It only selects among accepted keys, so a collision does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub(in crate::ltp) struct KeyHash(NonZeroU64);

impl KeyHash {
    /// FNV-1a with 64 bits. It is the same in every run, so that snapshots can hold it.
    pub(in crate::ltp) fn of(suite: u8, id: &[u8]) -> Self {
        let all = [suite];
        let all = all.iter().chain(id);
        let hash = all.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
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

/// Returns the place where the key of an open session is kept.
fn key_of<'a>(
    (role, session): (Role, SessionId),
    exports: &'a mut Exports,
    imports: &'a mut Imports,
) -> Option<&'a mut Option<KeyHash>> {
    match role {
        Role::Sender => Some(&mut exports.table.find_mut(&session.number)?.key_hash),
        Role::Receiver => Some(&mut imports.table.find_mut(&session)?.key_hash),
    }
}

/// Returns the key that a session named before.
pub(in crate::ltp) fn key_hash(
    name: (Role, SessionId),
    exports: &mut Exports,
    imports: &mut Imports,
    (closed, now): (&Closed, Instant),
) -> Option<KeyHash> {
    match key_of(name, exports, imports) {
        Some(key) => *key,
        None => closed.get(now, name)?.key_hash,
    }
}

/// Remembers the key that a segment named, as long as its session is remembered.
pub(in crate::ltp) fn remember_key(
    name: (Role, SessionId),
    key: KeyHash,
    (exports, imports): (&mut Exports, &mut Imports),
    (closed, now): (&mut Closed, Instant),
) {
    match key_of(name, exports, imports) {
        Some(place) => *place = Some(key),
        None => closed.change(now, name, |old| old.key_hash = Some(key)),
    }
}
