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
use alloc::string::String;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

use bytes::Bytes;
use derive_more::{Debug, Display, From};

use super::driver::{NODE_LIMITS, new_socket};
use super::udp::{UdpOptions, UdpStats};
use super::{Clock, MachineFactory};
use crate::ltp::{
    self, Age, Config, ConfigError, EndCause, Engine, Reason, RestoreError, SessionId, Side,
    Snapshot, Stats,
};
use crate::preview::Preview;
use crate::{BoxedMachine, Instant, Limits, Path, Proto, Seed};

pub use handles::{AccessPoint, Node, Restored, Sending};
pub use received::{Received, ReceivedKind};
pub use snapshot::NodeSnapshot;

/// The machine of a node: an [`Engine`], or one around it that records, for example.
pub type EngineMachine = BoxedMachine<Engine<Path>>;

/// Makes the machine of a node. Default: an [`Engine`].
pub type EngineFactory = MachineFactory<Engine<Path>, EngineSetup, Error>;

impl Default for EngineFactory {
    fn default() -> Self {
        Self::new(|setup| Ok(BoxedMachine::new(setup.engine()?)))
    }
}

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
    /// [`EngineLimits::import_octets`](crate::ltp::EngineLimits::import_octets) also bounds what was received and not
    /// taken from access points.
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

impl From<Config> for NodeOptions {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            limits: NODE_LIMITS,
            udp: UdpOptions {
                send_buffer: 1 << 20,
                ..UdpOptions::default()
            },
            factory: EngineFactory::default(),
        }
    }
}

/// Binds the socket of a node. It shares its port with nobody: a second node would take half of what comes.
fn bind_socket(local: SocketAddr) -> io::Result<UdpSocket> {
    // The unspecified address is that of both families.
    let only_v6 = !local.ip().is_unspecified();
    let bound = new_socket(Path::socket(Proto::Udp, local), only_v6, false);
    let socket = bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let message = format!("another node or program has the socket at {local}");
            io::Error::new(error.kind(), message)
        }
        _ => error,
    })?;
    Ok(socket.into())
}

/// Why an operation on a node failed.
#[derive(Debug, Display, From)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a socket; or it is taken, by another node as a rule.
    Io(io::Error),
    /// The configuration was refused.
    #[from]
    Config(ConfigError),
    /// The engine refused the command, and nothing has changed.
    #[from]
    Refused(ltp::Error),
    /// The node cannot be restored from the snapshot.
    #[from]
    Restore(RestoreError),
    /// A block was given up. What of it arrived is not known.
    #[display("{}", failure(*peer, *session, (*by, *reason), *cause))]
    Failed {
        /// The engine ID of the peer.
        peer: u64,
        /// The session of the block.
        session: SessionId,
        /// Who gave up.
        by: Side,
        /// The reason code, which one side told the other.
        reason: Reason,
        /// Why, as far as this engine knows.
        cause: EndCause,
        /// The block, given back.
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// A peer has not answered a ping, however often it was repeated.
    #[display("engine {peer} does not answer")]
    Silent {
        /// The engine ID of the peer.
        peer: u64,
    },
    /// The receive was interrupted; the access point goes on.
    #[display("interrupted")]
    Interrupted,
    /// The limit of time was reached.
    #[display("timed out")]
    TimedOut,
    /// The access point was closed, or the node was shut down.
    #[display("closed")]
    Closed,
}

node_error!(Error);

fn failure(peer: u64, block: SessionId, (by, reason): (Side, Reason), cause: EndCause) -> String {
    match (by, cause) {
        (Side::Remote, _) => format!("engine {peer} cancelled block {block}: {reason}"),
        (Side::Local, cause) if cause.is_unanswered() => {
            format!("engine {peer} does not answer, block {block} was given up: {reason} ({cause})")
        }
        (Side::Local, cause) => format!("block {block} to engine {peer} was given up: {cause}"),
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Display)]
#[display(
    "{exports} exports and {imports} imports under way, {waiting_octets} octets not taken; {engine}; {udp}"
)]
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
