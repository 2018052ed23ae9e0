//! What the handles of an LTP node share, whatever drives it.

mod desk;
mod hall;
mod handles;
mod saved;
mod socket;
mod station;
#[cfg(test)]
mod tests;
mod waiters;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use bytes::Bytes;

use super::Clock;
use crate::ltp::{
    self, Command, Config, ConfigError, Engine, Event, Reason, RestoreError, SessionId, Side, Stats,
};
use crate::{Limits, Machine, Path, Seed};

pub(crate) use hall::{Hall, Pump};
pub(crate) use handles::{Access, Handle, Tracked};
pub use saved::NodeSnapshot;
pub(crate) use socket::bind;

/// The machine of a node: an [`Engine`], or one around it that shows the engine in it.
pub trait Around:
    Machine<Addr = Path, Command = Command<Path>, Event = Event, Error = ltp::Error>
{
    /// Returns the engine, to look at.
    fn engine(&self) -> &Engine<Path>;
}

impl Around for Engine<Path> {
    fn engine(&self) -> &Engine<Path> {
        self
    }
}

#[cfg(feature = "record")]
impl Around for crate::record::Recorder<Engine<Path>> {
    fn engine(&self) -> &Engine<Path> {
        self.machine()
    }
}

/// The machine of a node as its driver holds it.
pub type Speaker = Box<dyn Around + Send>;

/// Makes the machine of a node.
///
/// [`Maker::default`] makes an [`Engine`]; another one puts a machine around it, which records what it sees
/// and does, for example.
#[derive(Clone, Default)]
pub struct Maker(Option<Arc<Make>>);

type Make = dyn Fn(Config, Seed, SocketAddr) -> Result<Speaker, ConfigError> + Send + Sync;

impl Maker {
    /// Makes machines by `make`, which is told the address that the node is bound to.
    pub fn new(
        make: impl Fn(Config, Seed, SocketAddr) -> Result<Speaker, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(make)))
    }

    fn make(&self, config: Config, seed: Seed, local: SocketAddr) -> Result<Speaker, ConfigError> {
        match &self.0 {
            Some(make) => make(config, seed, local),
            None => Ok(Box::new(Engine::new(config, seed)?)),
        }
    }

    /// Tells whether it is the default one.
    const fn makes_engines(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker(..)")
    }
}

/// How a node behaves. A [`Config`] alone will do: `config.into()`.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the protocol behaves, and what the node may hold.
    ///
    /// [`Config::import_octets`] also bounds, within 2 %, what waits to be taken from access points; one for
    /// which more waits than is free gets nothing more, so a silent one leaves half of it to the others.
    /// What is refused for that is repeated by its sender, until it gives up.
    pub config: Config,
    /// Where session and serial numbers come from. Default: the operating system's generator.
    pub seed: Option<Seed>,
    /// The clock that the node lives by. Default: one of its own.
    pub clock: Clock,
    /// How much one poll may send. Default: 64 datagrams of any size, 64 KiB in all.
    pub limits: Limits,
    /// Octets that the system is asked to keep of what has come and was not read; it may give less. A burst
    /// that exceeds them is lost, and repeated. Default 4 MiB.
    pub receive_buffer: usize,
    /// Octets that the system is asked to keep of what is to leave; it may give less. Default 1 MiB.
    pub send_buffer: usize,
    /// What makes the machine. Default: an [`Engine`]. Nodes that are restored have no other one.
    pub maker: Maker,
}

#[cfg(feature = "blocking")]
impl Options {
    /// Returns what the socket is set up with.
    pub(crate) fn buffers(&self) -> super::offload::Options {
        super::offload::Options {
            receive_buffer: self.receive_buffer,
            send_buffer: self.send_buffer,
            ..super::offload::Options::default()
        }
    }
}

/// Octets of the longest datagram over IPv4.
const LONGEST: usize = 65_507;

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            limits: Limits::new(LONGEST, 64, 1 << 16),
            receive_buffer: 1 << 22,
            send_buffer: 1 << 20,
            maker: Maker::default(),
        }
    }
}

/// What comes out of an access point.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The engine ID of the node that sends the block.
    pub from: u64,
    /// The session of the block.
    pub session: SessionId,
    /// The client service.
    pub client: u64,
    /// What it is.
    pub kind: Kind,
    /// The octets. Empty with [`Kind::Arriving`] and [`Kind::Cancelled`], and never otherwise.
    pub data: Bytes,
}

/// What an access point gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A whole red part, exactly once.
    Whole {
        /// Whether the block ends here; otherwise a green part belongs to it.
        ends_block: bool,
    },
    /// A segment of a green part, as it came: neither in order nor freed of duplicates.
    Green {
        /// Octets of the block before these.
        offset: u64,
        /// Whether the block ends here.
        ends_block: bool,
    },
    /// The next octets of a red part, for a streaming service; all of it comes again as `Whole`.
    Piece {
        /// Octets of the block before these.
        offset: u64,
    },
    /// A session for a streaming service began.
    Arriving,
    /// The reception was cancelled. Nothing more comes of the session.
    Cancelled {
        /// Who cancelled.
        by: Side,
        /// Why.
        reason: Reason,
        /// Whether the red part was handed over before, which stands.
        after_delivery: bool,
    },
}

/// Why something with a node came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a socket; or it is taken, by another node as a rule.
    Io(io::Error),
    /// The configuration was refused.
    Config(ConfigError),
    /// The engine refused what was asked, and nothing has changed.
    Refused(ltp::Error),
    /// No node can be made of the snapshot.
    Restore(RestoreError),
    /// A block was given up. What of it arrived is not known.
    Failed {
        /// The engine ID of the peer.
        peer: u64,
        /// The session of the block.
        session: SessionId,
        /// Who gave up.
        by: Side,
        /// Why.
        reason: Reason,
        /// The block, given back.
        data: Bytes,
    },
    /// A peer that was asked whether it is there has not answered, however often.
    Silent {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// The receive was interrupted; the access point goes on.
    Interrupted,
    /// The access point was closed, or the node was shut down.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::Failed {
                peer,
                session,
                by: Side::Remote,
                reason,
                ..
            } => write!(f, "engine {peer} cancelled block {session}: {reason}"),
            Self::Failed {
                peer,
                session,
                reason: Reason::RETRANSMISSION_LIMIT,
                ..
            } => write!(
                f,
                "engine {peer} does not answer, block {session} was given up: {}",
                Reason::RETRANSMISSION_LIMIT
            ),
            Self::Failed {
                peer,
                session,
                reason,
                ..
            } => write!(f, "block {session} to engine {peer} was given up: {reason}"),
            Self::Restore(error) => error.fmt(f),
            Self::Silent { peer } => write!(f, "engine {peer} does not answer"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl StdError for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RestoreError> for Error {
    fn from(error: RestoreError) -> Self {
        Self::Restore(error)
    }
}

impl From<ltp::Error> for Error {
    fn from(error: ltp::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Interrupted => Self::new(io::ErrorKind::Interrupted, Error::Interrupted),
            error => Self::other(error),
        }
    }
}

/// What a node has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeStats {
    /// What the engine has counted.
    pub engine: Stats,
    /// Blocks under way to peers.
    pub exports: usize,
    /// Blocks under way from peers.
    pub imports: usize,
    /// Octets that wait to be taken from access points, with what it takes to keep them.
    pub waiting_octets: usize,
    /// Errors that the socket reported. Anybody can cause one by ICMP, so they end nothing.
    pub reported: u64,
    /// Datagrams that the system would not send.
    pub unsent: u64,
}
