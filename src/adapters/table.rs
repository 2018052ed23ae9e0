//! The sockets of one machine by their addresses: UDP sockets, TCP listeners, byte streams, packet devices.
//!
//! [`sockets`](super::sockets) fills it with sockets on paths and opens more when the machine asks;
//! [`interfaces`](super::interfaces) fills it with numbered interfaces. A socket is polled only after its own
//! waker was called, so that idle sockets cost nothing.

mod counters;
mod ready;
mod socket;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;

pub use counters::{SocketCounters, SocketStats};
pub(super) use socket::{Connecting, DatagramIo, Socket, cause_of_connect};

use super::event_loop::{Carrier, Liveness};
use super::handle::DetachedStream;
use super::runtime::ByteStream;
use super::stream::StreamIo;
use crate::{Addr, Ask, Cause, Instant, Link, Machine, Tag, Transmit};
use ready::{ReadySet, SocketWaker};
use socket::Outcome;

/// Sockets polled in a row before the machine is drained.
const POLLS: usize = 64;

/// What a table does not know of its addresses: how a socket is opened.
pub(super) trait Opener<A>: Send {
    /// Opens the socket that a machine asked for, and returns it under the address with the real local port.
    ///
    /// # Errors
    ///
    /// Why it cannot be opened, in the machine's terms. By default nothing can be.
    fn open(&mut self, _tag: Tag, _asked: A) -> Result<(A, Socket<A>), Cause> {
        Err(Cause::Unreachable)
    }

    /// Takes a connection that the listener at `listener` accepted, and returns it under its address.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    fn accept(
        &mut self,
        _listener: A,
        _socket: socket2::Socket,
        _remote: SocketAddr,
    ) -> io::Result<(A, Socket<A>)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Entry<A> {
    /// The address that the machine knows it by.
    at: A,
    socket: Socket<A>,
    ready: Arc<SocketWaker>,
    /// The same, as sockets need it.
    waker: Waker,
    tag: Option<Tag>,
    /// When it is to be polled without having become ready.
    deadline: Option<Instant>,
    /// The machine is done with it; datagrams that would block at this time are not sent.
    give_up: Option<Instant>,
}

/// All sockets of a machine; the [`Carrier`] that answers what the machine asks.
///
/// An entry that was closed stays until it is flushed and has lingered, without an address: nothing is told
/// of it, and another socket may get the address.
pub(super) struct Table<A: Addr> {
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
    linger: Duration,
    counters: Arc<SocketCounters>,
}

impl<A: Addr> Table<A> {
    /// `linger` is how long datagrams of a socket that is to be closed may wait to be sent.
    pub(super) fn new(
        opener: Box<dyn Opener<A>>,
        linger: Duration,
        counters: Arc<SocketCounters>,
    ) -> Self {
        Self {
            opener,
            entries: BTreeMap::new(),
            ids: BTreeMap::new(),
            tags: BTreeMap::new(),
            last_id: 0,
            ready: ReadySet::new(),
            blocked: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            cues: VecDeque::new(),
            detached: VecDeque::new(),
            linger,
            counters,
        }
    }

    /// Adds a socket that the machine has from the start.
    pub(super) fn add(&mut self, at: A, socket: Socket<A>) {
        self.insert(at, socket, None);
        self.cues.push_back((at, Link::Up));
    }

    fn insert(&mut self, at: A, socket: Socket<A>, tag: Option<Tag>) {
        self.last_id += 1;
        let id = self.last_id;
        let ready = self.ready.waker(id);
        let waker = Waker::from(Arc::clone(&ready));
        let entry = Entry {
            at,
            socket,
            ready,
            waker,
            tag,
            deadline: None,
            give_up: None,
        };
        self.entries.insert(id, entry);
        self.ids.insert(at.carrier(), id);
        if let Some(tag) = tag {
            self.tags.insert(tag, id);
        }
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
        let (carrier, tag) = (entry.at.carrier(), entry.tag);
        if self.ids.get(&carrier) == Some(&id) {
            self.ids.remove(&carrier);
            self.cues.retain(|(at, _)| at.carrier() != carrier);
        }
        if let Some(tag) = tag
            && self.tags.get(&tag) == Some(&id)
        {
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

    /// Sends what was written, then closes.
    fn close(&mut self, id: u64, now: Instant) {
        self.forget(id);
        let linger = self.linger;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.socket.close(now) {
            entry.give_up = Some(now + linger);
            entry.ready.insert();
            self.update(id);
        } else {
            self.remove(id);
        }
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
        let deadline = entry.socket.deadline().or(entry.give_up);
        if deadline != entry.deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, id));
            }
            self.deadlines.extend(deadline.map(|at| (at, id)));
            entry.deadline = deadline;
        }
    }

    fn open(&mut self, tag: Tag, asked: A) {
        let opening = self.tags.get(&tag).and_then(|id| self.entries.get(id));
        let is_opening = opening.is_some_and(|entry| entry.socket.is_connecting());
        let opened = if is_opening || self.ids.contains_key(&asked.carrier()) {
            Err(Cause::InUse)
        } else {
            self.opener.open(tag, asked)
        };
        match opened {
            Ok((at, socket)) => {
                if !socket.is_connecting() {
                    self.cues.push_back((at, Link::Opened(tag)));
                }
                self.insert(at, socket, Some(tag));
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
            self.close(*id, now);
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

    /// Polls the socket `id`, and tells whether the machine got something.
    fn poll<M: Machine<Addr = A>>(
        &mut self,
        (id, now): (u64, Instant),
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        if entry.give_up.is_some() {
            return self.poll_closed(id, now);
        }
        entry.ready.start();
        let at = entry.at;
        let cx = &mut Context::from_waker(&entry.waker);
        let to = (&mut *machine, may_read);
        let outcome = entry.socket.inputs(cx, (now, at), to, &self.counters);
        let is_idle = matches!(outcome, Outcome::Quiet | Outcome::Blocked);
        match outcome {
            Outcome::Busy => entry.ready.insert(),
            Outcome::Drained | Outcome::Quiet => {}
            Outcome::Blocked => {
                self.blocked.insert(id);
            }
            Outcome::Accepted(socket, remote) => {
                entry.ready.insert();
                self.accepted(at, socket, remote);
                // Before anything is read from it.
                self.tell(now, machine);
                return true;
            }
            Outcome::Detached => self.detach(id),
            Outcome::Gone => {
                self.remove(id);
            }
        }
        self.update(id);
        !is_idle
    }

    /// Goes on with closing the socket `id`, and tells whether a stream was detached.
    fn poll_closed(&mut self, id: u64, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        entry.ready.start();
        let cx = &mut Context::from_waker(&entry.waker);
        let give_up = entry.give_up.unwrap_or(now);
        match entry.socket.poll_closed(cx, now, give_up) {
            Outcome::Detached => self.detach(id),
            Outcome::Gone => {
                self.remove(id);
            }
            _ => self.update(id),
        }
        !self.detached.is_empty()
    }

    fn detach(&mut self, id: u64) {
        if let Some(Socket::Stream(stream)) = self.remove(id) {
            self.detached.extend(stream.into_detached());
        }
    }

    fn accepted(&mut self, listener: A, socket: socket2::Socket, remote: SocketAddr) {
        let Ok((at, socket)) = self.opener.accept(listener, socket, remote) else {
            return SocketCounters::add(&self.counters.unaccepted, 1);
        };
        // The system has only one connection of these addresses, so the one in the table is dead.
        if let Some((id, entry)) = self.entry(at) {
            let cue = match entry.tag.filter(|_| entry.socket.is_connecting()) {
                Some(tag) => Link::Failed(tag, Cause::InUse),
                None => Link::Down(Cause::Reset),
            };
            self.remove(id);
            self.cues.push_back((at, cue));
        }
        self.add(at, socket);
    }

    /// Polls blocked sockets again that may be read.
    fn unblock<M: Machine<Addr = A>>(&mut self, machine: &M) {
        let entries = &self.entries;
        self.blocked.retain(|id| {
            let Some(entry) = entries.get(id) else {
                return false;
            };
            let is_stream = matches!(entry.socket, Socket::Stream(_));
            let is_blocked = is_stream && !machine.wants(entry.at);
            if !is_blocked {
                entry.ready.insert();
            }
            is_blocked
        });
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.first().filter(|(at, _)| *at <= now).copied() {
            self.deadlines.remove(&due);
            if let Some(entry) = self.entries.get_mut(&due.1) {
                entry.deadline = None;
                entry.ready.insert();
            }
        }
    }
}

impl<A: Addr, M: Machine<Addr = A>> Carrier<M> for Table<A> {
    fn begin(&mut self, now: Instant, machine: &mut M) {
        self.tell(now, machine);
    }

    fn send(&mut self, _: &mut Context<'_>, tx: &mut Transmit<A>) -> Option<A> {
        let id = self.ids.get(&tx.to()?.carrier()).copied();
        let Some((id, entry)) = id.and_then(|id| Some((id, self.entries.get_mut(&id)?))) else {
            SocketCounters::add(&self.counters.unroutable, tx.datagrams().len());
            return None;
        };
        let cx = &mut Context::from_waker(&entry.waker);
        let is_full = entry.socket.send(cx, tx, &self.counters);
        let is_stream = matches!(entry.socket, Socket::Stream(_));
        let at = if is_stream {
            entry.at
        } else {
            entry.at.carrier()
        };
        if is_full && is_stream {
            // A stream that broke has last words to be read.
            entry.ready.insert();
        }
        self.update(id);
        is_full.then_some(at)
    }

    fn receive_buffer(&self) -> usize {
        let sockets = self.entries.values().map(|entry| &entry.socket);
        let granted = sockets.map(Socket::receive_buffer);
        granted.filter(|octets| *octets > 0).min().unwrap_or(0)
    }

    fn answer(&mut self, now: Instant, ask: Ask<A>) {
        match ask {
            Ask::Open { tag, path } => self.open(tag, path),
            Ask::Cancel(tag) => self.cancel(tag, now),
            Ask::Finish(at) => self.shut(at, StreamIo::finish),
            Ask::Close(at) => {
                if let Some((id, _)) = self.entry(at) {
                    self.close(id, now);
                }
            }
            Ask::Abort(at) => {
                if let Some((id, _)) = self.entry(at)
                    && let Some(Socket::Stream(mut stream)) = self.remove(id)
                {
                    stream.abort();
                }
            }
            Ask::Detach { tag, path, early } => {
                self.shut(path, |stream| stream.detach(now, tag, early));
            }
        }
    }

    fn inputs(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        self.ready.register(cx);
        self.wake_due(now);
        let mut is_busy = self.tell(now, machine) || !self.detached.is_empty();
        if may_read {
            self.unblock(machine);
        }
        for _ in 0..POLLS {
            let Some(id) = self.ready.next() else {
                return is_busy;
            };
            is_busy |= self.poll((id, now), machine, may_read);
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
        if self.ids.is_empty() && self.cues.is_empty() {
            Liveness::Empty
        } else {
            Liveness::Alive
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        self.ready.register(cx);
        self.cues.clear();
        while let Some((_, id)) = self.ids.first_key_value() {
            self.close(*id, now);
        }
        self.wake_due(now);
        for _ in 0..POLLS {
            match self.ready.next() {
                Some(id) => {
                    self.poll_closed(id, now);
                }
                None => break,
            }
        }
        if self.entries.is_empty() {
            return Poll::Ready(());
        }
        if !self.ready.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

impl<A: Addr> Table<A> {
    /// Ends a direction of the stream at `at`.
    fn shut(&mut self, at: A, shut: impl FnOnce(&mut StreamIo<Box<dyn ByteStream>>)) {
        if let Some((_, entry)) = self.entry(at)
            && let Socket::Stream(stream) = &mut entry.socket
        {
            shut(stream);
            entry.ready.insert();
        }
    }
}
