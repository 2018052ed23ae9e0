//! Cookies of peers (RFC 5327 section 2.2): shown to the application, neither checked nor sent.
//!
//! CCSDS 734.1-B-1 forbids cookies, and no deployed engine is known to send any. The application can see that a peer
//! uses them. A peer that insists on them drops segments without its cookie, so no communication with it is possible.
//! Authentication does what cookies are for, and more.

use bytes::Bytes;

use super::engine::Engine;
use super::peer::Role;
use super::table::{Keyed, Table};
use super::wire::{ExtensionTag, Extensions, SessionId};
use crate::Addr;

/// The maximum length of a cookie that is kept, in octets.
const LONGEST: usize = 256;
/// Cookies of one session: each engine may start one before it sees the other's.
const MOST: usize = 2;

/// The cookies of open sessions. An empty one is none.
#[derive(Debug)]
pub(super) struct Cookies(Table<(Role, SessionId), [Bytes; MOST]>);

impl Cookies {
    pub(super) const fn new(hasher: Keyed) -> Self {
        Self(Table::with_hasher(hasher))
    }

    /// Drops the cookies of a session that ends.
    pub(super) fn forget(&mut self, role: Role, session: SessionId) {
        if !self.0.is_empty() {
            self.0.remove(&(role, session));
        }
    }

    pub(super) fn memory_used(&self) -> usize {
        let octets = self.0.values().flatten().map(Bytes::len);
        self.0.allocation_size() + octets.sum::<usize>()
    }

    /// Returns the bytes that the cookies of one session take at most.
    pub(super) const fn memory_per_entry() -> usize {
        4 * (size_of::<((Role, SessionId), [Bytes; MOST])>() + 1) + MOST * LONGEST
    }
}

/// Keeps a cookie if it extends the one that is kept, or is the first of its engine. False for any other.
fn accept(kept: &mut [Bytes; MOST], cookie: &[u8]) -> bool {
    if cookie.is_empty() || cookie.len() > LONGEST {
        return false;
    }
    let place = kept
        .iter_mut()
        .find(|one| one.is_empty() || cookie.starts_with(one));
    let Some(place) = place else {
        return false;
    };
    if place.len() < cookie.len() {
        *place = Bytes::copy_from_slice(cookie);
    }
    true
}

impl<A: Addr> Engine<A> {
    /// Returns the cookies in the segments of an open session, at most two, in the order of arrival (RFC 5327 section
    /// 2.2).
    ///
    /// None by default: [`Config::max_cookies`](super::Config::max_cookies) enables them. Cookies of 1 to 256 octets are
    /// kept, and a longer one replaces the one that it starts with. They are neither checked nor sent, and are dropped
    /// with the session.
    pub fn cookies(&self, session: SessionId) -> impl Iterator<Item = &[u8]> {
        [Role::Sender, Role::Receiver]
            .into_iter()
            .filter_map(move |role| self.cookies.0.get(&(role, session)))
            .flatten()
            .map(Bytes::as_ref)
            .filter(|cookie| !cookie.is_empty())
    }

    /// Keeps the cookies of a segment that was accepted.
    pub(super) fn keep_cookies(&mut self, role: Role, session: SessionId, header: &Extensions<'_>) {
        let limit = usize::try_from(self.config.max_cookies).unwrap_or(usize::MAX);
        if limit == 0 || header.find(ExtensionTag::COOKIE).is_none() {
            return;
        }
        let is_open = match role {
            Role::Sender => {
                session.originator == self.config.engine
                    && self.exports.contains_key(&session.number)
            }
            Role::Receiver => self.imports.contains_key(&session),
        };
        let name = (role, session);
        if !is_open {
            return;
        }
        if self.cookies.0.len() >= limit && !self.cookies.0.contains_key(&name) {
            self.stats.no_room += 1;
            return;
        }
        let kept = self.cookies.0.entry(name).or_default();
        for extension in header.iter() {
            let is_cookie = extension.tag == ExtensionTag::COOKIE;
            if is_cookie && !accept(kept, extension.value) {
                self.stats.invalid_cookies += 1;
            }
        }
    }
}
