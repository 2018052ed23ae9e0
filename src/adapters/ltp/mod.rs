//! LTP nodes over UDP: blocks to and from client services, on any [`Runtime`](super::runtime::Runtime).
//!
//! The handles are awaited. `adapters::tokio::ltp` is this module; `adapters::blocking::ltp` has the same
//! handles with methods that block.

mod handles;
mod port;
mod received;
mod snapshot;
#[cfg(test)]
mod tests;

use alloc::format;
use core::error::Error as StdError;
use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::udp::{UdpOptions, UdpStats};
use super::{Clock, Closed, MachineFactory, seed};
use crate::ltp::{
    self, Age, Config, ConfigError, Engine, Reason, RestoreError, SessionId, Side, Snapshot, Stats,
};
use crate::{BoxedMachine, Instant, Limits, Path, Seed};

pub use handles::{AccessPoint, Node, Restored, Sending};
use port::NodePort;
pub use received::{Received, ReceivedKind};
pub use snapshot::NodeSnapshot;

/// The machine of a node: an [`Engine`], or one around it that records, for example.
pub type EngineMachine = BoxedMachine<Engine<Path>>;

/// Makes the machine of a node. Default: an [`Engine`].
pub type EngineFactory = MachineFactory<Engine<Path>, EngineSetup, Error>;

/// What the engine of a node is made from.
#[derive(Debug)]
#[non_exhaustive]
pub struct EngineSetup {
    /// The parameters of the protocol.
    pub config: Config,
    /// Where session and serial numbers come from.
    pub seed: Seed,
    /// What the socket of the node is bound to.
    pub local: SocketAddr,
    /// What the engine is to be restored from, and how far that is behind.
    pub saved: Option<(Snapshot<Path>, Age)>,
    /// The time.
    pub now: Instant,
}

impl EngineSetup {
    /// Makes the engine.
    ///
    /// # Errors
    ///
    /// The engine's own reason for refusing the configuration or the snapshot.
    pub fn engine(self) -> Result<Engine<Path>, Error> {
        let Self { config, seed, .. } = self;
        Ok(match self.saved {
            Some((saved, age)) => Engine::restore(config, seed, saved, age, self.now)?,
            None => Engine::new(config, seed)?,
        })
    }
}

/// The parameters of a node. A [`Config`] alone will do: `config.into()`.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The parameters of the protocol, and the limits of what the node holds.
    ///
    /// [`Config::import_octets`] also bounds what was received and not taken from access points.
    pub config: Config,
    /// Where session and serial numbers come from. Default: the operating system's generator.
    pub seed: Option<Seed>,
    /// The origin of the node's time, which passes by the clock of its runtime. Default: the moment at which
    /// the options were made.
    pub clock: Clock,
    /// How much one poll may send. Default: 64 datagrams of any size, 64 KiB in all.
    pub limits: Limits,
    /// How the socket is set up. A burst that exceeds its receive buffer is lost, and repeated. Default: a
    /// receive buffer of 4 MiB and a send buffer of 1 MiB.
    pub udp: UdpOptions,
    /// What makes the machine. Default: an [`Engine`].
    pub factory: EngineFactory,
}

/// Octets of the longest datagram over IPv4.
const LONGEST: usize = 65_507;

impl From<Config> for NodeOptions {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            limits: Limits::new(LONGEST, 64, 1 << 16),
            udp: UdpOptions {
                send_buffer: 1 << 20,
                ..UdpOptions::default()
            },
            factory: EngineFactory::default(),
        }
    }
}

impl NodeOptions {
    /// Makes port and machine of a node, or makes them again from a snapshot.
    fn make(
        &self,
        local: SocketAddr,
        saved: Option<NodeSnapshot>,
        now: Instant,
    ) -> Result<(NodePort, EngineMachine), Error> {
        let seed = self.seed.clone().map_or_else(seed, Ok)?;
        let saved = saved.map(|saved| saved.into_parts(local)).transpose()?;
        let (port, saved) = saved.unzip();
        let setup = EngineSetup {
            config: self.config.clone(),
            seed,
            local,
            saved,
            now,
        };
        let machine = self.factory.make(setup, EngineSetup::engine)?;
        Ok((port.unwrap_or_default(), machine))
    }
}

/// Binds the socket of a node. It shares its port with nobody: a second node would take half of what comes.
fn bind_socket(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        // Systems differ in the default. The unspecified address is that of both families, where a system has
        // such sockets.
        let is_any = local.ip().is_unspecified();
        let set = socket.set_only_v6(!is_any);
        if !is_any {
            set?;
        }
    }
    socket.bind(&local.into()).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            let message = format!("another node or program has the socket at {local}");
            return io::Error::new(error.kind(), message);
        }
        error
    })?;
    Ok(socket.into())
}

/// Why an operation on a node failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a socket; or it is taken, by another node as a rule.
    Io(io::Error),
    /// The configuration was refused.
    Config(ConfigError),
    /// The engine refused the command, and nothing has changed.
    Refused(ltp::Error),
    /// The node cannot be restored from the snapshot.
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
    /// A peer has not answered a ping, however often it was repeated.
    Silent {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// The receive was interrupted; the access point goes on.
    Interrupted,
    /// The limit of time was reached.
    TimedOut,
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
                by,
                reason,
                ..
            } => match (*by, *reason) {
                (Side::Remote, reason) => {
                    write!(f, "engine {peer} cancelled block {session}: {reason}")
                }
                (Side::Local, reason @ Reason::RETRANSMISSION_LIMIT) => write!(
                    f,
                    "engine {peer} does not answer, block {session} was given up: {reason}"
                ),
                (Side::Local, reason) => {
                    write!(f, "block {session} to engine {peer} was given up: {reason}")
                }
            },
            Self::Restore(error) => error.fmt(f),
            Self::Silent { peer } => write!(f, "engine {peer} does not answer"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl StdError for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

macro_rules! causes {
    ($($variant:ident($cause:ty))*) => {$(
        impl From<$cause> for Error {
            fn from(error: $cause) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

causes! {
    Config(ConfigError)
    Refused(ltp::Error)
    Restore(RestoreError)
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Interrupted => Self::new(io::ErrorKind::Interrupted, error),
            Error::TimedOut => Self::new(io::ErrorKind::TimedOut, error),
            error => Self::other(error),
        }
    }
}

/// What a node has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeStats {
    /// What the engine has counted.
    pub engine: Stats,
    /// Blocks under way to peers.
    pub exports: usize,
    /// Blocks under way from peers.
    pub imports: usize,
    /// Octets that were received and not taken from access points, with what it takes to keep them.
    pub waiting_octets: usize,
    /// What the socket has counted.
    pub udp: UdpStats,
}

impl fmt::Display for NodeStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            exports,
            imports,
            waiting_octets,
            udp,
        } = self;
        write!(
            f,
            "{exports} exports and {imports} imports under way, {waiting_octets} octets not taken; \
             {engine}; {udp}"
        )
    }
}
