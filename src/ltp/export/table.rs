//! The sessions in which blocks are sent, and how one of them is run.

use super::ExportSession;
use crate::Tag;
use crate::ltp::api::{Error, Event};
use crate::ltp::closed::End;
use crate::ltp::context::{Context, Core, Node, Step};
use crate::ltp::peer::{PeerState, Role};
use crate::ltp::peers::index;
use crate::ltp::table::{Keyed, Sessions, Table};

/// The sessions in which blocks are sent, by number and by the tags of the blocks.
#[derive(Debug)]
pub(in crate::ltp) struct Exports {
    pub(in crate::ltp) table: Sessions<u64, ExportSession>,
    tags: Table<Tag, u32>,
}

impl Exports {
    pub(in crate::ltp) const fn new(hasher: Keyed) -> Self {
        Self {
            table: Sessions::new(hasher),
            tags: Table::with_hasher(hasher),
        }
    }

    /// Returns the place of the session of the block with a tag.
    pub(in crate::ltp) fn place_of(&self, tag: Tag) -> Result<u32, Error> {
        let place = self.tags.get(&tag).copied();
        place.ok_or(Error::UnknownTag(tag))
    }

    /// Adds a session, and the tag of its block if it is being sent.
    pub(in crate::ltp) fn insert(
        &mut self,
        number: u64,
        export: ExportSession,
        peer: &mut PeerState,
    ) -> Option<u32> {
        let (tag, slot) = (export.tag(), export.slot);
        peer.exports += 1;
        let place = self.table.insert(number, export, slot)?;
        if let Some(tag) = tag {
            self.tags.insert(tag, place);
        }
        Some(place)
    }

    /// Runs the session with a number, if there is one.
    pub(in crate::ltp) fn with(
        &mut self,
        number: u64,
        core: &mut Core,
        act: impl FnOnce(&mut ExportSession, &mut Context<'_>) -> Step,
    ) {
        if let Some(place) = self.table.find(&number) {
            self.run(place, core, act);
        }
    }

    /// Lets a session handle an input, and closes it if it ends with that.
    #[inline]
    pub(in crate::ltp) fn run(
        &mut self,
        place: u32,
        core: &mut Core,
        act: impl FnOnce(&mut ExportSession, &mut Context<'_>) -> Step,
    ) {
        let Some((number, export)) = self.table.at_mut(place) else {
            return;
        };
        let (session, tag) = (core.node.own_session(*number), export.tag());
        let Some(mut cx) = core.context(export.slot, session) else {
            return;
        };
        let step = act(export, &mut cx);
        if let Some(tag) = tag
            && export.tag().is_none()
        {
            self.tags.remove(&tag);
        }
        match step {
            Step::Continues => {}
            Step::Ends(end) => self.close(place, end, core),
            Step::Restarts => self.restart(place, core),
        }
    }

    /// Sends the block of a session once more, in another session.
    fn restart(&mut self, place: u32, core: &mut Core) {
        let node = &mut core.node;
        let number = node.draw_number(|number| self.table.contains(&number));
        let Some((old, export)) = self.table.at_mut(place) else {
            return;
        };
        let (old, tag, slot) = (node.own_session(*old), export.tag(), export.slot);
        let Some(mut cx) = core.context(slot, old) else {
            return;
        };
        let again = export.begin_again(&mut cx);
        if let Some(tag) = tag {
            self.tags.remove(&tag);
        }
        self.close(place, End::Plain, core);
        let Core { node, peers } = core;
        if let (Some(again), Some(tag), Some(peer)) = (again, tag, peers.get_mut(slot)) {
            self.insert(number, again, peer);
            peer.fresh.push_back(number);
            peer.mark_ready(node);
            let session = node.own_session(number);
            node.push_event(Event::Restarted { tag, session }, 0);
        }
    }

    /// Closes a session (RFC 5326 section 6.20), and remembers that its number was used.
    fn close(&mut self, place: u32, end: End, core: &mut Core) {
        let Some((number, export)) = self.table.at_mut(place) else {
            return;
        };
        let Core { node, peers } = core;
        let session = node.own_session(*number);
        if let Some(cancel) = export.stage.cancel_mut() {
            node.stop(cancel.timer);
        }
        if let Some(peer) = peers.get_mut(export.slot) {
            peer.exports -= 1;
            peer.on_session_over(node);
            node.remember(peer, (Role::Sender, session), end, export.key_hash, None);
        }
        node.forget_cookies(Role::Sender, session);
        self.table.remove_at(place);
        self.unblock(core);
    }

    /// Returns the limit that a block of `octets` to a peer would exceed.
    pub(in crate::ltp) fn limit(
        &self,
        peer: &PeerState,
        octets: usize,
        node: &Node,
    ) -> Option<Error> {
        let window = (index(peer.exports), index(peer.config.limits.exports));
        let sessions = (self.table.len(), index(node.config.limits.exports));
        let events = (node.events.len(), index(node.config.limits.events));
        let (held, limit) = (node.budget.exports, node.config.limits.export_octets);
        let is_over = octets > limit - held;
        let mut full = [window, sessions, events].into_iter();
        let full = full.find(|(held, limit)| held >= limit);
        full.or_else(|| is_over.then_some((held, limit)))
            .map(|(held, limit)| Error::Full { held, limit })
    }

    /// Reports room, once to each peer for which a block was refused.
    pub(in crate::ltp) fn unblock(&self, core: &mut Core) {
        let Core { node, peers } = core;
        for _ in 0..peers.blocked.len() {
            let Some(slot) = peers.blocked.pop_front() else {
                return;
            };
            let Some(peer) = peers.get_mut(slot) else {
                continue;
            };
            let octets = peer.blocked_peers.unwrap_or(0);
            if self.limit(peer, octets, node).is_some() {
                peers.blocked.push_back(slot);
            } else {
                peer.blocked_peers = None;
                node.push_event(Event::Room { peer: peer.id }, 0);
            }
        }
    }

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        self.table.memory_used() + self.tags.allocation_size()
    }
}
