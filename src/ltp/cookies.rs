//! Cookies of peers (RFC 5327 section 2.2): read and shown to the application, neither checked nor sent.
//!
//! The CCSDS profile forbids cookies, and no engine we know of sends any. An application can see here that a
//! peer wants them. A peer that insists on them cannot be talked to: it drops what comes back without its
//! cookie. Authentication does what cookies are for, and more.

use bytes::Bytes;

use super::engine::Engine;
use super::peer::Role;
use super::table::{Keyed, Table};
use super::wire::{ExtensionTag, Extensions, SessionId};
use crate::Addr;

/// Octets of the longest cookie that is kept.
const LONGEST: usize = 256;
/// Cookies of one session: each engine may begin one before it sees the other's.
const MOST: usize = 2;

/// The cookies of open sessions. An empty one is none.
#[derive(Debug)]
pub(super) struct Cookies(Table<(Role, SessionId), [Bytes; MOST]>);

impl Cookies {
    pub(super) const fn new(hasher: Keyed) -> Self {
        Self(Table::with_hasher(hasher))
    }

    /// Cookies do not outlast a session.
    pub(super) fn forget(&mut self, role: Role, session: SessionId) {
        if !self.0.is_empty() {
            self.0.remove(&(role, session));
        }
    }

    pub(super) fn memory_used(&self) -> usize {
        let octets = self.0.values().flatten().map(Bytes::len);
        self.0.allocation_size() + octets.sum::<usize>()
    }

    /// Bytes that the cookies of one session take at most.
    pub(super) const fn memory_per_entry() -> usize {
        4 * (size_of::<((Role, SessionId), [Bytes; MOST])>() + 1) + MOST * LONGEST
    }
}

/// Takes a cookie in: a good one begins with the one that is kept and takes its place, or is the first of its
/// engine. False for any other.
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
    /// Returns the cookies that the segments of an open session carried, at most two, in the order in which
    /// they came (RFC 5327 section 2.2).
    ///
    /// None by default: [`Config::max_cookies`](super::Config::max_cookies) turns them on. Cookies of 1 to 256
    /// octets are kept; a longer one takes the place of the one that it begins with. They are neither checked nor
    /// sent, and end with the session.
    pub fn cookies(&self, session: SessionId) -> impl Iterator<Item = &[u8]> {
        [Role::Sender, Role::Receiver]
            .into_iter()
            .filter_map(move |role| self.cookies.0.get(&(role, session)))
            .flatten()
            .map(Bytes::as_ref)
            .filter(|cookie| !cookie.is_empty())
    }

    /// Keeps the cookies of a segment that was taken in.
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
