//! What is remembered of closed sessions, against duplicates that come late (RFC 5326 section 9.2).

use alloc::collections::VecDeque;

use super::auth::Name as KeyName;
use super::span::Role;
use super::table::{Keyed, Table};
use super::wire::SessionId;
use crate::Instant;

/// Closed sessions, in the order in which they closed.
#[derive(Debug)]
pub(super) struct Closed {
    table: Table<Name, Record>,
    order: VecDeque<Name>,
    least: usize,
    most: usize,
}

pub(super) type Name = (Role, SessionId);

/// What is known of a closed session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// The slot of the peer.
    pub(super) slot: u32,
    pub(super) until: Instant,
    /// What named the key of the session (RFC 5327 section 2.1).
    pub(super) key_name: Option<KeyName>,
    pub(super) end: End,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Plain,
    /// The red part of so many octets was handed over; `serial` is that of a report not made yet.
    Delivered {
        red: u64,
        serial: u64,
    },
    /// The green EOB came and nothing red; `low` is the first green octet.
    GreenOnly {
        low: u64,
    },
}

impl Closed {
    pub(super) fn new(hasher: Keyed, least: u32, most: u32) -> Self {
        Self {
            table: Table::with_hasher(hasher),
            order: VecDeque::new(),
            least: usize::try_from(least).unwrap_or(usize::MAX),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// Remembers a session, and forgets the oldest ones beyond what is kept.
    pub(super) fn insert(&mut self, now: Instant, name: Name, record: Record) {
        if self.table.insert(name, record).is_none() {
            self.order.push_back(name);
        }
        while let Some(oldest) = self.order.front() {
            let is_over = self.table.get(oldest).is_none_or(|old| old.until <= now);
            let len = self.order.len();
            if len <= self.least || (len <= self.most && !is_over) {
                break;
            }
            self.table.remove(oldest);
            self.order.pop_front();
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<Record> {
        self.table.get(&name).copied()
    }

    pub(super) fn get_mut(&mut self, name: Name) -> Option<&mut Record> {
        self.table.get_mut(&name)
    }

    /// Lets a session live again. Its place in the order stays, and is skipped or taken over later.
    pub(super) fn reopen(&mut self, name: Name) {
        if self.table.remove(&name).is_some() {
            self.order.retain(|other| *other != name);
        }
    }

    /// Forgets the sessions of a peer.
    pub(super) fn forget(&mut self, slot: u32) {
        self.table.retain(|_, record| record.slot != slot);
        self.order.retain(|name| self.table.contains_key(name));
    }

    pub(super) fn held(&self) -> usize {
        self.table.allocation_size() + self.order.capacity() * size_of::<Name>()
    }

    /// Bytes that one record takes at most.
    pub(super) const fn weight() -> usize {
        4 * (size_of::<(Name, Record)>() + 1) + 2 * size_of::<Name>()
    }
}
