//! The sessions in which blocks are received, and how one of them is run.

use alloc::vec::Vec;

use super::ImportSession;
use crate::ltp::closed::End;
use crate::ltp::context::{Context, Core, Node, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::peer::Role;
use crate::ltp::table::{Keyed, Sessions};
use crate::ltp::wire::{Data, SessionId};

/// The sessions in which blocks are received.
#[derive(Debug)]
pub(in crate::ltp) struct Imports {
    pub(in crate::ltp) table: Sessions<SessionId, ImportSession>,
}

impl Imports {
    pub(in crate::ltp) const fn new(hasher: Keyed) -> Self {
        Self {
            table: Sessions::new(hasher),
        }
    }

    /// Handles a data segment of a session that is not open.
    pub(in crate::ltp) fn start(
        &mut self,
        data: &Data<'_>,
        (slot, session): (u32, SessionId),
        core: &mut Core,
    ) {
        let Some(mut cx) = core.context(slot, session) else {
            return;
        };
        let count = self.table.len();
        let Some((import, green)) = ImportSession::admit(data, count, &mut cx) else {
            return;
        };
        cx.peer.imports += 1;
        if let Some(place) = self.table.insert(session, import, slot) {
            self.run(place, core, |import, cx| {
                let step = import.start(data, green, cx);
                import.lifetime = cx.limit_lifetime();
                cx.weigh();
                step
            });
        }
    }

    /// Runs a session, if there is one.
    pub(in crate::ltp) fn with(
        &mut self,
        session: SessionId,
        core: &mut Core,
        act: impl FnOnce(&mut ImportSession, &mut Context<'_>) -> Step,
    ) {
        if let Some(place) = self.table.find(&session) {
            self.run(place, core, act);
        }
    }

    /// Lets a session handle an input. One that ends with that is closed (RFC 5326 section 6.20) and remembered, and memory
    /// that is not free is given back. True if the input is for one that begins.
    #[inline]
    pub(in crate::ltp) fn run(
        &mut self,
        place: u32,
        core: &mut Core,
        act: impl FnOnce(&mut ImportSession, &mut Context<'_>) -> Step,
    ) -> bool {
        let Some((session, import)) = self.table.at_mut(place) else {
            return false;
        };
        let Some(mut cx) = core.context(import.slot, *session) else {
            return false;
        };
        let step = act(import, &mut cx);
        match step {
            Step::Continues => {}
            Step::Ends(end) => self.release(place, Some(end), core),
            Step::Restarts => self.release(place, None, core),
        }
        let node = &mut core.node;
        if node.budget.is_pool_too_large() {
            self.shrink_pool(node);
        }
        step == Step::Restarts
    }

    /// Ends a session whose peer is removed.
    pub(in crate::ltp) fn stop_at(&mut self, place: u32, core: &mut Core) {
        self.run(place, core, |import, cx| {
            import.stop(EndCause::PeerRemoved, cx);
            Step::Ends(End::Plain)
        });
    }

    /// Ends a session that gives way to another. One of which neither side has heard anything may start anew.
    pub(in crate::ltp) fn drop_at(&mut self, place: u32, core: &mut Core) {
        match self.table.at(place) {
            Some((_, import)) if import.has_been_heard_of() => self.stop_at(place, core),
            _ => self.release(place, None, core),
        }
    }

    /// Frees what a session holds, and remembers how it ended.
    fn release(&mut self, place: u32, end: Option<End>, core: &mut Core) {
        if let Some((session, import)) = self.table.at_mut(place)
            && let Some(mut cx) = core.context(import.slot, *session)
        {
            let name = (Role::Receiver, *session);
            import.release(&mut cx);
            cx.peer.imports -= 1;
            cx.weigh();
            cx.peer.on_session_over(cx.node);
            cx.node.forget_cookies(Role::Receiver, *session);
            if let Some(end) = end {
                let fingerprint = Some(import.fingerprint);
                cx.node
                    .remember(cx.peer, name, end, import.key_hash, fingerprint);
            }
        }
        self.table.remove_at(place);
    }

    /// Returns the places of the sessions for which `is_meant` holds, in the ascending order of the sessions.
    pub(in crate::ltp) fn places(&self, is_meant: impl Fn(&ImportSession) -> bool) -> Vec<u32> {
        let meant = self.table.iter().filter(|(_, import)| is_meant(import));
        let mut sessions: Vec<SessionId> = meant.map(|(session, _)| *session).collect();
        sessions.sort_unstable();
        let places = sessions.iter().filter_map(|one| self.table.position(one));
        places.collect()
    }

    /// Shrinks the pool of buffers to what sessions and events leave free.
    #[cold]
    fn shrink_pool(&mut self, node: &mut Node) {
        let pool = &mut node.budget.pool;
        pool.clear();
        if !pool.has_excess() {
            return;
        }
        for import in self.table.values_mut() {
            if let Some(reception) = import.stage.open_mut() {
                reception.shrink(pool);
            }
        }
    }
}
