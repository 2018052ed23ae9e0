//! The sockets of one machine, by their paths.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::future::Future as _;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::io;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Sleep;

use super::bells::{Bell, Bells};
use super::driver::{Carriers, Outlook, Sent};
use super::line::{End, Line, Visit};
use super::sockets::{Counters, Sockets};
use super::{open, scratch};
use crate::adapters::Detached;
use crate::adapters::cause::{cause_of, cause_of_failure};
use crate::adapters::offload::{self, give_to};
use crate::{Ask, Cause, Instant, Link, Machine, Path, Proto, Tag, Transmit};

/// Sockets visited in a row before the machine is drained.
const VISITS: usize = 64;

/// Datagrams read from one socket before others get their turn.
const DATAGRAMS: usize = 64;

/// What there is at a path.
pub(super) enum Socket {
    Udp(Box<offload::Socket<UdpSocket>>),
    Listener {
        listener: TcpListener,
        rest: Option<Pin<Box<Sleep>>>,
    },
    Stream(Line<TcpStream>),
}

impl Socket {
    pub(super) fn udp(socket: UdpSocket) -> io::Result<Self> {
        let socket = offload::Socket::new(socket, &offload::Options::default())?;
        Ok(Self::Udp(Box::new(socket)))
    }

    pub(super) fn listener(listener: TcpListener) -> Self {
        Self::Listener {
            listener,
            rest: None,
        }
    }

    pub(super) fn stream(stream: TcpStream) -> Self {
        Self::Stream(Line::new(stream))
    }
}

struct Entry {
    socket: Socket,
    bell: Arc<Bell<Path>>,
    /// The bell again, as sockets want it.
    waker: Waker,
    /// The name under which the machine asked for it.
    tag: Option<Tag>,
}

/// A connection on its way.
struct Opening {
    task: AbortHandle,
    path: Path,
}

/// All sockets of a machine; answers what it asks.
pub(super) struct Table {
    entries: BTreeMap<Path, Entry>,
    bells: Bells<Path>,
    /// Sockets that may have something to read, and were not allowed to give it.
    parked: BTreeSet<Path>,
    /// What the machine is still to be told.
    cues: VecDeque<(Path, Link)>,
    openings: BTreeMap<Tag, Opening>,
    connects: JoinSet<(Tag, Result<TcpStream, Cause>)>,
    /// What lives by the tag it was opened under.
    opened: BTreeMap<Tag, Path>,
    ending: JoinSet<io::Result<End<TcpStream>>>,
    lingering: JoinSet<()>,
    handed: VecDeque<Detached<TcpStream>>,
    /// Datagrams of the held send that are gone already.
    sent: usize,
    counters: Arc<Counters>,
    linger: Duration,
}

impl Table {
    pub(super) fn new(sockets: Sockets, linger: Duration) -> Self {
        let mut table = Self {
            entries: BTreeMap::new(),
            bells: Bells::new(),
            parked: BTreeSet::new(),
            cues: VecDeque::new(),
            openings: BTreeMap::new(),
            connects: JoinSet::new(),
            opened: BTreeMap::new(),
            ending: JoinSet::new(),
            lingering: JoinSet::new(),
            handed: VecDeque::new(),
            sent: 0,
            counters: sockets.counters,
            linger,
        };
        for (path, socket) in sockets.sockets {
            table.insert(path, socket, None);
            table.cues.push_back((path, Link::Up));
        }
        table
    }

    fn insert(&mut self, path: Path, socket: Socket, tag: Option<Tag>) {
        let key = key(path);
        let bell = self.bells.hang(key);
        let waker = Waker::from(Arc::clone(&bell));
        let entry = Entry {
            socket,
            bell,
            waker,
            tag,
        };
        self.entries.insert(key, entry);
        if let Some(tag) = tag {
            self.opened.insert(tag, key);
        }
    }

    fn remove(&mut self, path: Path) -> Option<Socket> {
        let key = key(path);
        let entry = self.entries.remove(&key)?;
        self.parked.remove(&key);
        if let Some(tag) = entry.tag
            && self.opened.get(&tag) == Some(&key)
        {
            self.opened.remove(&tag);
        }
        Some(entry.socket)
    }

    fn close(&mut self, path: Path) {
        if let Some(Socket::Stream(line)) = self.remove(path) {
            self.ending.spawn(line.end(self.linger));
        }
    }

    fn open(&mut self, tag: Tag, path: Path) {
        match self.try_open(tag, path) {
            Ok(Some((path, socket))) => self.opened(tag, path, socket),
            Ok(None) => {}
            Err(cause) => self.cues.push_back((path, Link::Failed(tag, cause))),
        }
    }

    /// Opens what can be opened at once, and sends a connection on its way.
    fn try_open(&mut self, tag: Tag, path: Path) -> Result<Option<(Path, Socket)>, Cause> {
        if self.openings.contains_key(&tag) || self.entries.contains_key(&key(path)) {
            return Err(Cause::InUse);
        }
        let failed = |error: io::Error| cause_of_failure(&error);
        if path.proto == Proto::Udp {
            let socket = open::bind(path.local).map_err(failed)?;
            let path = open::with_port(path, socket.local_addr().map_err(failed)?);
            let socket = Socket::udp(socket).map_err(failed)?;
            return Ok(Some((path, socket)));
        }
        if path.is_socket() {
            let listener = open::listen(path.local).map_err(failed)?;
            let path = open::with_port(path, listener.local_addr().map_err(failed)?);
            return Ok(Some((path, Socket::listener(listener))));
        }
        let (path, socket) = open::prepare(path).map_err(failed)?;
        let connect = async move { (tag, open::connect(socket, path.remote).await) };
        let task = self.connects.spawn(connect);
        self.openings.insert(tag, Opening { task, path });
        Ok(None)
    }

    fn opened(&mut self, tag: Tag, path: Path, socket: Socket) {
        self.insert(path, socket, Some(tag));
        self.cues.push_back((path, Link::Opened(tag)));
    }

    fn cancel(&mut self, tag: Tag) {
        if let Some(opening) = self.openings.remove(&tag) {
            opening.task.abort();
        }
        self.cues.retain(|(_, cue)| match cue {
            Link::Opened(told) | Link::Failed(told, _) => *told != tag,
            _ => true,
        });
        if let Some(path) = self.opened.get(&tag) {
            self.close(*path);
        }
    }

    /// Takes the connections that were made, or not.
    fn take_connects(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(joined)) = self.connects.poll_join_next_with_id(cx) {
            // A task that was cancelled.
            let Ok((id, (tag, result))) = joined else {
                continue;
            };
            // One that was cancelled too late is closed here; its tag may name another by now.
            if self.openings.get(&tag).is_none_or(|it| it.task.id() != id) {
                continue;
            }
            let Some(Opening { path, .. }) = self.openings.remove(&tag) else {
                continue;
            };
            match result {
                Ok(stream) => self.opened(tag, path, Socket::stream(stream)),
                Err(cause) => self.cues.push_back((path, Link::Failed(tag, cause))),
            }
        }
    }

    /// Waits until everything that was written before a close is with the system.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.ending.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Ok(End::Closing(closing))))) => {
                    self.lingering.spawn(closing.linger(self.linger));
                }
                Poll::Ready(Some(Ok(Ok(End::Detached(handed))))) => self.handed.push_back(handed),
                // The machine let go of it and hears no more of it.
                Poll::Ready(Some(Ok(Err(_)) | Err(_))) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_lingering(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.lingering.poll_join_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Gives sockets another visit that were left alone when they rang.
    fn unpark<M: Machine<Addr = Path>>(&mut self, machine: &M) {
        let entries = &self.entries;
        self.parked.retain(|path| {
            let Some(entry) = entries.get(path) else {
                return false;
            };
            let is_left = matches!(entry.socket, Socket::Stream(_)) && !machine.wants(*path);
            if !is_left {
                entry.bell.ring();
            }
            is_left
        });
    }

    /// Visits the socket at `path`, and tells whether the machine got something.
    fn visit<M: Machine<Addr = Path>>(
        &mut self,
        (now, path): (Instant, Path),
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&path) else {
            return false;
        };
        let waker = entry.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        let visit = match &mut entry.socket {
            Socket::Stream(line) => line.visit(cx, (now, path), machine, may_read),
            Socket::Udp(_) | Socket::Listener { .. } if !may_read => Visit::Parked,
            Socket::Udp(socket) => read_datagrams(socket, cx, now, machine, &self.counters),
            Socket::Listener { listener, rest } => {
                match poll_accept(listener, rest, cx, &self.counters) {
                    Poll::Ready(Some((stream, remote))) => {
                        self.accepted((now, Path::tcp(path.local, remote)), stream, machine);
                        Visit::Busy
                    }
                    Poll::Ready(None) => Visit::Busy,
                    Poll::Pending => Visit::Quiet,
                }
            }
        };
        self.after(path, &visit)
    }

    fn after(&mut self, path: Path, visit: &Visit) -> bool {
        match visit {
            Visit::Busy => {
                if let Some(entry) = self.entries.get(&path) {
                    entry.bell.ring();
                }
                return true;
            }
            Visit::Quiet => return false,
            Visit::Parked => {
                self.parked.insert(path);
                return false;
            }
            Visit::Down(_) => {
                self.remove(path);
            }
            Visit::Detached => {
                if let Some(Socket::Stream(line)) = self.remove(path) {
                    self.handed.extend(line.into_handed());
                }
            }
        }
        true
    }

    fn accepted<M: Machine<Addr = Path>>(
        &mut self,
        (now, path): (Instant, Path),
        stream: TcpStream,
        machine: &mut M,
    ) {
        // The system has only one connection of these addresses, so the one in the table is dead.
        if self.remove(path).is_some() {
            machine.link(now, path, Link::Down(Cause::Reset));
        }
        self.insert(path, Socket::stream(stream), None);
        machine.link(now, path, Link::Up);
    }
}

impl<M: Machine<Addr = Path>> Carriers<M> for Table {
    type Stream = TcpStream;

    fn send(&mut self, _: &mut Context<'_>, tx: &mut Transmit<Path>) -> Sent<Path> {
        let Some(to) = tx.to() else {
            return Sent::All;
        };
        let Some(entry) = self.entries.get_mut(&key(to)) else {
            self.sent = 0;
            Counters::count(&self.counters.lost);
            return Sent::All;
        };
        let cx = &mut Context::from_waker(&entry.waker);
        match &mut entry.socket {
            Socket::Udp(socket) => {
                let before = socket.counts();
                let polled = socket.poll_send(cx, tx, &mut self.sent);
                self.counters.note(before, socket.counts());
                match polled {
                    Poll::Ready(()) => Sent::All,
                    Poll::Pending => Sent::Held,
                }
            }
            Socket::Stream(line) => {
                if line.send(cx, tx) {
                    // A stream that broke has last words to be read.
                    entry.bell.ring();
                    Sent::Full(to)
                } else {
                    Sent::All
                }
            }
            Socket::Listener { .. } => Sent::All,
        }
    }

    fn answer(&mut self, ask: Ask<Path>) {
        match ask {
            Ask::Open { tag, path } => self.open(tag, path),
            Ask::Cancel(tag) => self.cancel(tag),
            Ask::Finish(path) => {
                if let Some(entry) = self.entries.get_mut(&key(path))
                    && let Socket::Stream(line) = &mut entry.socket
                {
                    line.finish();
                    entry.bell.ring();
                }
            }
            Ask::Close(path) => self.close(path),
            Ask::Abort(path) => {
                if let Some(Socket::Stream(line)) = self.remove(path) {
                    line.abort();
                }
            }
            Ask::Detach { tag, path, early } => {
                if let Some(entry) = self.entries.get_mut(&key(path))
                    && let Socket::Stream(line) = &mut entry.socket
                {
                    line.hand(tag, early);
                    entry.bell.ring();
                }
            }
        }
    }

    fn poll_inputs(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        self.bells.register(cx);
        self.take_connects(cx);
        // Reaped as they end; nobody waits for them before the machine is done.
        let _ = self.poll_ending(cx);
        let _ = self.poll_lingering(cx);
        let mut is_busy = !self.handed.is_empty();
        while let Some((path, cue)) = self.cues.pop_front() {
            machine.link(now, path, cue);
            is_busy = true;
        }
        if may_read {
            self.unpark(machine);
        }
        for _ in 0..VISITS {
            let Some(path) = self.bells.next() else {
                return is_busy;
            };
            is_busy |= self.visit((now, path), machine, may_read);
        }
        is_busy || !self.bells.is_silent()
    }

    fn handed(&mut self) -> Option<Detached<TcpStream>> {
        self.handed.pop_front()
    }

    fn outlook(&self) -> Outlook {
        let is_empty = self.entries.is_empty() && self.openings.is_empty() && self.cues.is_empty();
        if is_empty {
            Outlook::Empty
        } else {
            Outlook::Alive
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connects.abort_all();
        while let Some((path, _)) = self.entries.first_key_value() {
            self.close(*path);
        }
        self.poll_ending(cx).map(Ok)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_lingering(cx)
    }
}

/// Reads what is there, up to a number, so that one socket does not keep the others waiting.
fn read_datagrams<M: Machine<Addr = Path>>(
    socket: &offload::Socket<UdpSocket>,
    cx: &mut Context<'_>,
    now: Instant,
    machine: &mut M,
    counters: &Counters,
) -> Visit {
    let mut inbox = scratch::take_inbox();
    let before = socket.counts();
    let mut visit = Visit::Busy;
    let (mut read, mut failures) = (0, 0);
    while read < DATAGRAMS {
        let give = give_to(machine, || now);
        let received = socket.poll_receive_trains(cx, &mut inbox, give);
        match received {
            // Errors were read, but no datagram.
            Poll::Ready(Ok(count)) => read += count.max(1),
            Poll::Ready(Err(error)) => {
                read += 1;
                failures += 1;
                Counters::count(&counters.ignored);
                if failures == DATAGRAMS {
                    let path = Path::socket(Proto::Udp, socket.local_addr());
                    machine.link(now, path, Link::Down(cause_of(&error)));
                    visit = Visit::Down(error);
                }
            }
            Poll::Pending => {
                if read == 0 {
                    visit = Visit::Quiet;
                }
                break;
            }
        }
    }
    counters.note(before, socket.counts());
    scratch::give_inbox(inbox);
    visit
}

/// Accepts a stream; `None` when there was something else to do, and more may come.
fn poll_accept(
    listener: &TcpListener,
    rest: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    counters: &Counters,
) -> Poll<Option<(TcpStream, SocketAddr)>> {
    if let Some(sleep) = rest {
        ready!(sleep.as_mut().poll(cx));
        *rest = None;
    }
    match ready!(listener.poll_accept(cx)) {
        Ok((stream, remote)) => {
            open::without_delay(&stream);
            Poll::Ready(Some((stream, remote)))
        }
        Err(error) => {
            Counters::count(&counters.unaccepted);
            if !open::is_of_one_connection(&error) {
                *rest = Some(Box::pin(tokio::time::sleep(open::REST)));
            }
            Poll::Ready(None)
        }
    }
}

/// Returns the path under which a socket stands in the table: datagrams of all peers share one.
fn key(path: Path) -> Path {
    if path.proto == Proto::Udp || path.is_socket() {
        Path::socket(path.proto, path.local)
    } else {
        path
    }
}
