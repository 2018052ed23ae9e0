//! The sockets of one machine by their addresses: UDP sockets, TCP listeners, byte streams, packet devices.
//!
//! [`sockets`](super::sockets) fills it with sockets on paths and opens more when the machine asks;
//! [`interfaces`](super::interfaces) fills it with numbered interfaces. A socket is polled only after its own
//! waker was called, so that idle sockets cost nothing.

mod ready;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::mem;
use core::net::SocketAddr;
use core::task::Waker;
use std::io;

use bytes::Bytes;

use super::event_loop::{Carrier, Liveness, Turn};
use super::handle::DetachedStream;
use super::socket::{Outcome, Socket};
use super::sockets::SocketCounters;
use crate::{Addr, Ask, Cause, Instant, Link, Machine, Tag, Transmit};
use ready::ReadySet;

/// Sockets polled in a row before the machine is drained.
const POLLS: usize = 64;

/// What a table does not know of its addresses: how a socket is opened.
pub(crate) trait Opener<A>: Send {
    /// Opens the socket that a machine asked for, and returns it under the address with the real local port.
    /// By default there is no way to anywhere.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, in the machine's terms.
    fn open(&mut self, tag: Tag, asked: A) -> Result<Socket<A>, Cause> {
        let _ = (tag, asked);
        Err(Cause::Unreachable)
    }

    /// Takes a connection that the listener at `listener` accepted, and returns it under its address.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    fn accept(
        &mut self,
        listener: A,
        socket: socket2::Socket,
        remote: SocketAddr,
    ) -> io::Result<Socket<A>> {
        let _ = (listener, socket, remote);
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Entry<A> {
    socket: Socket<A>,
    waker: Waker,
    tag: Option<Tag>,
    /// When it is to be polled without having become ready.
    deadline: Option<Instant>,
}

/// All sockets of a machine; the [`Carrier`] that answers what the machine asks.
///
/// An entry that was closed stays until it is flushed and has lingered, without an address: nothing is told
/// of it, and another socket may get the address.
pub(crate) struct Table<A: Addr> {
    opener: Box<dyn Opener<A>>,
    entries: BTreeMap<u64, Entry<A>>,
    /// What is open, by the address of the [carrier](Addr::carrier).
    ids: BTreeMap<A, u64>,
    /// What was opened under a tag, or is being opened.
    tags: BTreeMap<Tag, u64>,
    last_id: u64,
    ready: ReadySet,
    /// What may have something to read that is not wanted; no waker will be called for it.
    blocked: BTreeSet<u64>,
    /// What has written something that is not with the system yet.
    unflushed: BTreeSet<u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// What the machine is still to be told.
    cues: VecDeque<(A, Link)>,
    detached: VecDeque<DetachedStream>,
    counters: Arc<SocketCounters>,
}

impl<A: Addr> Table<A> {
    pub(super) fn new(opener: Box<dyn Opener<A>>, counters: Arc<SocketCounters>) -> Self {
        Self {
            opener,
            entries: BTreeMap::new(),
            ids: BTreeMap::new(),
            tags: BTreeMap::new(),
            last_id: 0,
            ready: ReadySet::default(),
            blocked: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            cues: VecDeque::new(),
            detached: VecDeque::new(),
            counters,
        }
    }

    /// Adds a socket that the machine has from the start.
    pub(super) fn add(&mut self, socket: Socket<A>) {
        self.cues.push_back((socket.at, Link::Up));
        self.insert(socket, None);
    }

    fn insert(&mut self, socket: Socket<A>, tag: Option<Tag>) {
        self.last_id += 1;
        let id = self.last_id;
        self.ids.insert(socket.at.carrier(), id);
        let entry = Entry {
            socket,
            waker: self.ready.waker(id),
            tag,
            deadline: None,
        };
        self.entries.insert(id, entry);
        self.tags.extend(tag.map(|tag| (tag, id)));
        // Nobody has polled it yet.
        self.ready.insert(id);
    }

    fn entry(&mut self, at: A) -> Option<(u64, &mut Entry<A>)> {
        let id = *self.ids.get(&at.carrier())?;
        Some((id, self.entries.get_mut(&id)?))
    }

    /// Takes address and tag from an entry: the machine hears no more of it.
    fn forget(&mut self, id: u64) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let carrier = entry.socket.at.carrier();
        if self.ids.get(&carrier) == Some(&id) {
            self.ids.remove(&carrier);
            self.cues.retain(|(at, _)| at.carrier() != carrier);
        }
        if let Some(tag) = entry.tag.filter(|tag| self.tags.get(tag) == Some(&id)) {
            self.tags.remove(&tag);
        }
        self.blocked.remove(&id);
    }

    fn remove(&mut self, id: u64) -> Option<Socket<A>> {
        self.forget(id);
        let entry = self.entries.remove(&id)?;
        self.unflushed.remove(&id);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(entry.socket)
    }

    /// Sends what was written, then closes or detaches.
    fn end(&mut self, id: u64, now: Instant, detach: Option<(Tag, Bytes)>) {
        self.forget(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.socket.end(now, detach);
            let outcome = entry.socket.poll_end(&entry.waker, now);
            self.settle(id, outcome);
        }
    }

    fn open(&mut self, tag: Tag, asked: A) {
        let opening = self.tags.get(&tag).and_then(|id| self.entries.get(id));
        let is_opening = opening.is_some_and(|entry| entry.socket.is_connecting());
        let opened = match &mut self.opener {
            _ if is_opening || self.ids.contains_key(&asked.carrier()) => Err(Cause::InUse),
            opener => opener.open(tag, asked),
        };
        match opened {
            Ok(socket) => {
                if !socket.is_connecting() {
                    self.cues.push_back((socket.at, Link::Opened(tag)));
                }
                self.insert(socket, Some(tag));
            }
            Err(cause) => {
                report!(debug, ?asked, %cause, "socket not opened");
                self.cues.push_back((asked, Link::Failed(tag, cause)));
            }
        }
    }

    /// Ends what [`open`](Self::open) began; neither an answer nor a cue follows.
    fn cancel(&mut self, tag: Tag, now: Instant) {
        self.cues.retain(|(_, cue)| match cue {
            Link::Opened(opened) | Link::Failed(opened, _) => *opened != tag,
            _ => true,
        });
        if let Some(id) = self.tags.get(&tag) {
            self.end(*id, now, None);
        }
    }

    /// Tells the machine what waits to be told, and returns whether anything did.
    fn tell<M: Machine<Addr = A>>(&mut self, now: Instant, machine: &mut M) -> bool {
        let is_any = !self.cues.is_empty();
        for (at, cue) in self.cues.drain(..) {
            machine.link(now, at, cue);
        }
        is_any
    }

    /// Polls the socket `id`, and tells whether anything happened.
    fn poll<M: Machine<Addr = A>>(&mut self, id: u64, turn: &mut Turn<'_, M>) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        let its = &mut Turn {
            waker: &entry.waker,
            machine: &mut *turn.machine,
            ..*turn
        };
        let outcome = entry.socket.inputs(its);
        let is_any = !matches!(outcome, Outcome::Quiet | Outcome::Blocked);
        self.settle(id, outcome);
        // Of an accepted connection, before anything is read from it.
        self.tell(turn.now, turn.machine) || is_any
    }

    /// Acts on what a poll of the socket `id` brought.
    fn settle(&mut self, id: u64, outcome: Outcome) {
        match outcome {
            Outcome::Drained | Outcome::Quiet => {}
            Outcome::Busy => self.ready.insert(id),
            Outcome::Blocked => {
                self.blocked.insert(id);
            }
            Outcome::Accepted(socket, remote) => {
                self.ready.insert(id);
                self.accepted(id, socket, remote);
            }
            Outcome::Detached => {
                let detached = self.remove(id).and_then(Socket::into_detached);
                self.detached.extend(detached);
            }
            Outcome::Gone(_) => drop(self.remove(id)),
        }
        self.update(id);
    }

    /// Notes whether a socket is flushed and when it is to be polled.
    fn update(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.socket.is_flushed() {
            self.unflushed.remove(&id);
        } else {
            self.unflushed.insert(id);
        }
        let deadline = entry.socket.deadline;
        let known = mem::replace(&mut entry.deadline, deadline);
        if known != deadline {
            self.deadlines.extend(deadline.map(|at| (at, id)));
            if let Some(known) = known {
                self.deadlines.remove(&(known, id));
            }
        }
    }

    fn accepted(&mut self, listener: u64, socket: socket2::Socket, remote: SocketAddr) {
        let listener = self.entries.get(&listener).map(|entry| entry.socket.at);
        let accepted = listener.map(|at| self.opener.accept(at, socket, remote));
        let Some(Ok(socket)) = accepted else {
            return self.counters.count(|stats| stats.unaccepted += 1);
        };
        // The system has only one connection of these addresses, so the one in the table is dead.
        let at = socket.at;
        if let Some((id, entry)) = self.entry(at) {
            let cue = match entry.tag.filter(|_| entry.socket.is_connecting()) {
                Some(tag) => Link::Failed(tag, Cause::InUse),
                None => Link::Down(Cause::Reset),
            };
            self.remove(id);
            self.cues.push_back((at, cue));
        }
        self.add(socket);
    }

    /// Polls blocked sockets again that may be read.
    fn unblock<M: Machine<Addr = A>>(&mut self, machine: &M) {
        let (entries, ready) = (&self.entries, &self.ready);
        self.blocked.retain(|id| {
            let entry = entries.get(id);
            let is_blocked =
                entry.is_some_and(|it| it.socket.is_held_back() && !machine.wants(it.socket.at));
            if !is_blocked {
                ready.insert(*id);
            }
            is_blocked
        });
    }
}

impl<A: Addr, M: Machine<Addr = A>> Carrier<M> for Table<A> {
    fn begin(&mut self, now: Instant, machine: &mut M) {
        self.tell(now, machine);
    }

    fn send(&mut self, _: &Waker, tx: &mut Transmit<A>) -> Option<A> {
        let sent = self.entry(tx.to()?).and_then(|(id, entry)| {
            let is_full = entry.socket.send(&entry.waker, tx)?;
            Some((id, is_full.then(|| entry.socket.carrier())))
        });
        let Some((id, full)) = sent else {
            let count = tx.datagrams().len() as u64;
            self.counters.count(|stats| stats.unroutable += count);
            return None;
        };
        if full.is_some() {
            // A stream that broke has last words to be read.
            self.ready.insert(id);
        }
        self.update(id);
        full
    }

    fn receive_buffer(&self) -> usize {
        let sockets = self.entries.values();
        let granted = sockets.map(|entry| entry.socket.receive_buffer);
        granted.filter(|octets| *octets > 0).min().unwrap_or(0)
    }

    fn answer(&mut self, now: Instant, ask: Ask<A>) {
        let at = match &ask {
            Ask::Open { tag, path } => return self.open(*tag, *path),
            Ask::Cancel(tag) => return self.cancel(*tag, now),
            Ask::Finish(at) | Ask::Close(at) | Ask::Abort(at) => *at,
            Ask::Detach { path, .. } => *path,
        };
        let Some((id, entry)) = self.entry(at) else {
            return;
        };
        match ask {
            Ask::Finish(_) => {
                entry.socket.finish();
                self.ready.insert(id);
            }
            Ask::Abort(_) => {
                entry.socket.reset();
                self.remove(id);
            }
            Ask::Detach { tag, early, .. } => self.end(id, now, Some((tag, early))),
            Ask::Open { .. } | Ask::Cancel(_) | Ask::Close(_) => self.end(id, now, None),
        }
    }

    fn inputs(&mut self, turn: &mut Turn<'_, M>) -> bool {
        self.ready.register(turn.waker);
        let is_due = |due: &&(Instant, u64)| due.0 <= turn.now;
        while let Some(due) = self.deadlines.first().filter(is_due).copied() {
            self.deadlines.remove(&due);
            self.ready.insert(due.1);
        }
        let mut is_busy = self.tell(turn.now, turn.machine) || !self.detached.is_empty();
        if turn.may_read {
            self.unblock(turn.machine);
        }
        for _ in 0..POLLS {
            let Some(id) = self.ready.next() else {
                return is_busy;
            };
            is_busy |= self.poll(id, turn);
        }
        is_busy || !self.ready.is_empty()
    }

    fn is_flushed(&self) -> bool {
        self.unflushed.is_empty()
    }

    fn detached(&mut self) -> Option<DetachedStream> {
        self.detached.pop_front()
    }

    fn liveness(&self) -> Liveness {
        let is_alive = !self.ids.is_empty() || !self.cues.is_empty();
        match self.entries.is_empty() {
            _ if is_alive => Liveness::Alive,
            true => Liveness::Gone,
            false => Liveness::Empty,
        }
    }

    fn finish(&mut self, now: Instant) {
        self.cues.clear();
        while let Some((_, id)) = self.ids.first_key_value() {
            self.end(*id, now, None);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
