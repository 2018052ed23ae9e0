//! Cookies of peers (RFC 5327 section 2.2): shown to the application, neither checked nor sent.
//!
//! CCSDS 734.1-B-1 forbids cookies, and no deployed engine is known to send any. The application can see that a peer
//! uses them. A peer that insists on them drops segments without its cookie, so no communication with it is possible.
//! Authentication does what cookies are for, and more.

use bytes::Bytes;

use crate::Addr;
use crate::ltp::context::Node;
use crate::ltp::engine::Engine;
use crate::ltp::peer::Role;
use crate::ltp::table::{Keyed, Table};
use crate::ltp::wire::{ExtensionTag, Extensions, SessionId};

/// The maximum length of a cookie that is kept, in octets.
const LONGEST: usize = 256;
/// Cookies of one session: each engine may start one before it sees the other's.
const MOST: usize = 2;

/// The cookies of open sessions. An empty one is none.
#[derive(Debug)]
pub(in crate::ltp) struct Cookies(Table<(Role, SessionId), [Bytes; MOST]>);

impl Cookies {
    pub(in crate::ltp) const fn new(hasher: Keyed) -> Self {
        Self(Table::with_hasher(hasher))
    }

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let octets = self.0.values().flatten().map(Bytes::len);
        self.0.allocation_size() + octets.sum::<usize>()
    }

    /// Returns the bytes that the cookies of one session take at most.
    pub(in crate::ltp) const fn memory_per_entry() -> usize {
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
    /// None by default: [`EngineLimits::cookies`](crate::ltp::EngineLimits::cookies) enables them. Cookies of 1 to 256
    /// octets are kept, and a longer one replaces the one that it starts with. They are neither checked nor sent, and
    /// are dropped with the session.
    pub fn cookies(&self, session: SessionId) -> impl Iterator<Item = &[u8]> {
        [Role::Sender, Role::Receiver]
            .into_iter()
            .filter_map(move |role| self.core.node.cookies.0.get(&(role, session)))
            .flatten()
            .map(Bytes::as_ref)
            .filter(|cookie| !cookie.is_empty())
    }
}

impl Node {
    /// Drops the cookies of a session that ends.
    pub(in crate::ltp) fn forget_cookies(&mut self, role: Role, session: SessionId) {
        let cookies = &mut self.cookies.0;
        if !cookies.is_empty() {
            cookies.remove(&(role, session));
        }
    }

    /// Keeps the cookies of a segment that was accepted, if its session is open.
    pub(in crate::ltp) fn keep_cookies(
        &mut self,
        name: (Role, SessionId),
        header: &Extensions<'_>,
        is_open: impl FnOnce() -> bool,
    ) {
        let limit = usize::try_from(self.config.limits.cookies).unwrap_or(usize::MAX);
        if limit == 0 || header.find(ExtensionTag::COOKIE).is_none() || !is_open() {
            return;
        }
        let cookies = &mut self.cookies.0;
        if cookies.len() >= limit && !cookies.contains_key(&name) {
            self.stats.no_room += 1;
            return;
        }
        let kept = cookies.entry(name).or_default();
        for extension in header.iter() {
            let is_cookie = extension.tag == ExtensionTag::COOKIE;
            if is_cookie && !accept(kept, extension.value) {
                self.stats.invalid_cookies += 1;
            }
        }
    }
}
