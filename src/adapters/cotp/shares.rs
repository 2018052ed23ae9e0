//! Who gives way when many connections take together more than there is.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use crate::adapters::lock;
use crate::{Addr as _, Path};

/// What many hold of something that is limited: its sources, and what each of their members holds.
pub(super) struct Shares<T> {
    pub(super) limit: usize,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    /// With how much each member holds, by source and number.
    members: BTreeMap<Key, (usize, T)>,
    total: usize,
    last: u64,
}

/// The source of a member, and a number: members that held more, or came, earlier have lower ones.
pub(super) type Key = (IpAddr, u64);

/// Returns the key of another member from there, which holds nothing yet.
pub(super) fn key(remote: SocketAddr) -> Key {
    (Path::tcp(remote, remote).prefix().remote.ip(), 0)
}

impl<T> Shares<T> {
    pub(super) const fn new(limit: usize) -> Self {
        let held = Held {
            members: BTreeMap::new(),
            total: 0,
            last: 0,
        };
        Self {
            limit,
            held: Mutex::new(held),
        }
    }

    /// Sets what a member holds. If all hold more than the limit then, one of them is removed and returned: of the
    /// source that holds most, the one that has held the same for longest.
    pub(super) fn hold(&self, key: &mut Key, amount: usize, member: T) -> Option<T> {
        self.with(|held| {
            drop(held.remove(*key));
            held.last += 1;
            key.1 = held.last;
            held.total += amount;
            held.members.insert(*key, (amount, member));
            (held.total > self.limit).then(|| held.displace()).flatten()
        })
    }

    /// Removes a member.
    pub(super) fn release(&self, key: Key) {
        drop(self.with(|held| held.remove(key)));
    }

    /// Removes the member that gives way next.
    pub(super) fn displace(&self) -> Option<T> {
        self.with(Held::displace)
    }

    /// Returns how much all hold.
    pub(super) fn total(&self) -> usize {
        self.with(|held| held.total)
    }

    fn with<R>(&self, act: impl FnOnce(&mut Held<T>) -> R) -> R {
        act(&mut lock(&self.held))
    }
}

impl<T> Held<T> {
    fn remove(&mut self, key: Key) -> Option<T> {
        let (amount, member) = self.members.remove(&key)?;
        self.total -= amount;
        Some(member)
    }

    fn displace(&mut self) -> Option<T> {
        let mut most: Option<(usize, Key)> = None;
        let mut members = self.members.iter().peekable();
        while let Some((&oldest, &(first, _))) = members.next() {
            let mut sum = first;
            while let Some((_, (more, _))) = members.next_if(|(key, _)| key.0 == oldest.0) {
                sum += more;
            }
            let is_more =
                |&(most, key): &(usize, Key)| sum > most || (sum == most && oldest.1 < key.1);
            if most.as_ref().is_none_or(is_more) {
                most = Some((sum, oldest));
            }
        }
        most.and_then(|(_, key)| self.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 5))
    }

    #[test]
    fn the_oldest_of_the_source_that_holds_most_gives_way() {
        let shares = Shares::new(4);
        let hold = |host, amount, name| shares.hold(&mut key(remote(host)), amount, name);

        assert_eq!(hold(1, 1, "a"), None);
        assert_eq!(hold(2, 1, "b"), None);
        assert_eq!(hold(2, 1, "c"), None);
        assert_eq!(hold(3, 1, "d"), None);
        assert_eq!(hold(4, 1, "e"), Some("b"), "of the source with two");
        assert_eq!(hold(5, 1, "f"), Some("a"), "the oldest, as all have one");
        assert_eq!(shares.total(), 4);
    }

    #[test]
    fn what_a_member_holds_is_replaced_and_released() {
        let shares = Shares::new(10);
        let mut one = key(remote(1));
        let mut other = key(remote(1));
        assert_eq!(shares.hold(&mut one, 4, 'a'), None);
        assert_eq!(shares.hold(&mut other, 6, 'b'), None);
        assert_eq!(shares.hold(&mut one, 3, 'a'), None);
        assert_eq!(shares.total(), 9);

        assert_eq!(
            shares.hold(&mut one, 5, 'a'),
            Some('b'),
            "it has not moved since"
        );
        shares.release(one);
        assert_eq!(shares.total(), 0);
        assert_eq!(shares.displace(), None);
    }
}
