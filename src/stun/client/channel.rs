//! The sockets and connections of a client.

use alloc::vec::Vec;

use crate::stun::framing::MessageFraming;
use crate::{Instant, Link, Path, Proto, Tag};

/// Addresses that are remembered to be blocked.
const MAX_BLOCKED: usize = 64;

/// A UDP socket or a TCP connection.
#[derive(Debug)]
pub(super) struct Channel {
    /// Names it, whatever its path.
    pub(super) id: u64,
    /// The path that queries ask for.
    asked: Path,
    /// The path that it has.
    pub(super) path: Path,
    pub(super) stage: Stage,
    /// Whether the client has opened it, and so closes it.
    pub(super) is_own: bool,
    pub(super) is_full: bool,
    pub(super) framing: MessageFraming,
    /// A request that the stream has not taken whole, and how many octets of it are written.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    /// Queries that are under way on it.
    pub(super) users: usize,
    /// Whether an answer came by it.
    pub(super) was_useful: bool,
    /// When a channel without queries is closed.
    pub(super) expires: Instant,
}

/// Whether a channel is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The driver was asked, and has so long to answer.
    Opening(Tag, Instant),
    Open,
}

impl Channel {
    pub(super) const fn new(id: u64, path: Path, stage: Stage, max_message: usize) -> Self {
        Self {
            id,
            asked: path,
            path,
            stage,
            is_own: matches!(stage, Stage::Opening(..)),
            is_full: false,
            framing: MessageFraming::new(max_message),
            out: Vec::new(),
            written: 0,
            users: 0,
            was_useful: false,
            expires: Instant::MAX,
        }
    }

    /// Tells whether queries for this path go by this channel: the one that was opened for it, or the socket that has
    /// its local address.
    pub(super) fn serves(&self, to: Path) -> bool {
        let to = carrier_of(to);
        self.asked == to || self.path == to
    }

    pub(super) const fn is_stream(&self) -> bool {
        matches!(self.path.proto, Proto::Tcp)
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Tells whether a request can be written.
    pub(super) const fn is_writable(&self) -> bool {
        self.is_open() && !self.is_full && self.out.is_empty()
    }

    /// Returns the next time at which the channel itself has to act.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Opening(_, until) if self.users > 0 => Some(until),
            _ if self.users == 0 && self.is_own => Some(self.expires),
            _ => None,
        }
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.framing.memory_used() + self.out.capacity()
    }
}

/// Returns what carries octets to `to`: the UDP socket, or the connection itself.
pub(super) fn carrier_of(to: Path) -> Path {
    match to.proto {
        Proto::Udp => Path::socket(Proto::Udp, to.local),
        Proto::Tcp => to,
    }
}

/// Addresses that UDP sockets reach and that have had cues of their own: full or down. Sockets of the system give none.
#[derive(Debug, Default)]
pub(super) struct Blocked(Vec<(Path, Link)>);

impl Blocked {
    pub(super) fn on_cue(&mut self, at: Path, cue: Link) {
        let known = self.get(at);
        let is_over = match cue {
            Link::Up => matches!(known, Some(Link::Down(_))),
            Link::Free => known == Some(Link::Full),
            Link::Full => known.is_none(),
            _ => true,
        };
        if !is_over {
            return;
        }
        self.0.retain(|(it, _)| *it != at);
        if matches!(cue, Link::Full | Link::Down(_)) && self.0.len() < MAX_BLOCKED {
            self.0.push((at, cue));
        }
    }

    /// Returns the cue that keeps octets from an address.
    pub(super) fn get(&self, at: Path) -> Option<Link> {
        let blocked = self.0.iter().find(|(it, _)| *it == at);
        blocked.map(|(_, cue)| *cue)
    }

    /// Forgets the addresses of a socket that is gone.
    pub(super) fn forget(&mut self, socket: Path) {
        self.0.retain(|(at, _)| carrier_of(*at) != socket);
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.0.capacity() * size_of::<(Path, Link)>()
    }
}
