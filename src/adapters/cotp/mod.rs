//! COTP connections over TCP on any [`Runtime`]: whole messages between named services.
//!
//! `adapters::tokio::cotp` and `adapters::blocking::cotp` bind these to a runtime, with examples.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::TcpListener;

use bytes::Bytes;
use derive_more::{Display, From};
use socket2::{SockRef, Socket};

use self::connection::PendingConnection;
use super::runtime::{Runtime, TcpIo};
use super::{Clock, Closed, MachineFactory};
use crate::cotp::{self, Config, ConfigError, Connected, ConnectionEnd, Selector};
use crate::{BoxedMachine, Seed};

mod connection;
mod listener;
mod port;

pub use self::connection::{Connection, ConnectionRequest, ReceiveHalf, SendHalf};
pub use self::listener::{Arrival, Listener};

/// Connections that may wait in the system's queue to be accepted.
const BACKLOG: i32 = 1024;

/// Connects to the first of `addresses` that answers: TCP first, then the handshake.
///
/// # Errors
///
/// No address accepts a TCP connection, the configuration is refused, or the peer refused, closed or did
/// not answer in time.
pub async fn connect(
    runtime: &Arc<dyn Runtime>,
    addresses: impl IntoIterator<Item = SocketAddr>,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    let options = options.into();
    // Before the connection: a configuration that cannot work is none of the peer's business.
    let seed = options.checked_seed()?;
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
    for address in addresses {
        match TcpIo::connect(runtime.as_ref(), address).await {
            Ok(stream) => {
                let opening = PendingConnection::start(runtime, stream, &options, seed)?;
                return opening.opened().await?.accepted().await;
            }
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

/// Connects to a peer on a TCP connection that is established already.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
pub async fn connect_on(
    runtime: &Arc<dyn Runtime>,
    socket: impl Into<Socket>,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    let (socket, options) = (socket.into(), options.into());
    let seed = options.checked_seed()?;
    socket.set_nonblocking(true)?;
    let stream = TcpIo::new(runtime.as_ref(), socket)?;
    let opening = PendingConnection::start(runtime, stream, &options, seed)?;
    // A responder's configuration, on a connection that this side made: who called is the peer.
    opening.opened().await?.accepted().await
}

/// Listens on the first of `addresses` that is free; 102 is the port of the standard.
///
/// # Errors
///
/// No address is free, or the configuration is refused or not that of a responder.
pub fn listen(
    runtime: &Arc<dyn Runtime>,
    addresses: impl IntoIterator<Item = SocketAddr>,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    let addresses: Vec<_> = addresses.into_iter().collect();
    // Elsewhere than on Unix it leaves out an option by which another process could take the port over.
    let listener = TcpListener::bind(&addresses[..])?;
    SockRef::from(&listener).listen(BACKLOG)?;
    listen_on(runtime, listener, options)
}

/// Listens on a socket that listens already.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
pub fn listen_on(
    runtime: &Arc<dyn Runtime>,
    socket: impl Into<Socket>,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    let (socket, options) = (socket.into(), options.into());
    if let cotp::Role::Initiator(_) = options.config.role {
        let message = "a listener needs the configuration of a responder";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
    }
    let seed = options.checked_seed()?;
    socket.set_nonblocking(true)?;
    Listener::start(runtime, socket, options, &seed)
}

/// The machine of a connection: a [`cotp::Connection`], or one around it.
pub type ConnectionMachine = BoxedMachine<cotp::Connection>;

/// The local and the remote address of a TCP connection.
pub type Ends = (SocketAddr, SocketAddr);

/// Makes the machine of each connection.
pub type ConnectionFactory = MachineFactory<cotp::Connection, (Config, Seed, Ends), ConfigError>;

impl Default for ConnectionFactory {
    fn default() -> Self {
        Self::new(|(config, seed, _)| Ok(BoxedMachine::new(cotp::Connection::new(config, &seed)?)))
    }
}

/// How connections are made or answered. A [`Config`] alone has all else by default.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// How the protocol behaves.
    pub config: Config,
    /// Where references come from. Default: the operating system's generator.
    pub seed: Option<Seed>,
    /// The origin of the machine's time. Default: one of its own.
    pub clock: Clock,
    /// After how long a silent peer is asked for a sign of life by TCP (RFC 2126 section 6.1 suggests to).
    /// Default 60 s.
    pub keepalive: Option<Duration>,
    /// Connections of a listener that may be in their handshake, or open and not taken by the application;
    /// at least 1. Further ones wait in the system's queue. Default 256.
    pub arrivals: usize,
    /// What makes the machine of each connection. Default: a [`cotp::Connection`] each.
    pub factory: ConnectionFactory,
}

impl From<Config> for ConnectionOptions {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            keepalive: Some(Duration::from_secs(60)),
            arrivals: 256,
            factory: ConnectionFactory::default(),
        }
    }
}

impl ConnectionOptions {
    /// Tries the configuration on a machine, and returns the seed of what is started with it.
    fn checked_seed(&self) -> Result<Seed, Error> {
        let seed = self.seed.clone().map_or_else(super::seed, Ok)?;
        cotp::Connection::new(self.config.clone(), &seed)?;
        Ok(seed)
    }
}

/// The two ends of an open connection, and what they agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The socket address of this end.
    pub local: SocketAddr,
    /// The socket address of the peer.
    pub remote: SocketAddr,
    /// The selector of this end, if one was given.
    pub local_selector: Option<Selector>,
    /// The selector of the peer, if one was given.
    pub remote_selector: Option<Selector>,
    /// Octets of the largest TPDU this end sends, header included.
    pub tpdu_size: usize,
    /// All that was agreed on.
    pub agreed: Connected,
}

impl Info {
    fn new(is_initiator: bool, (local, remote): Ends, agreed: Connected) -> Self {
        let mut selectors = [agreed.calling.clone(), agreed.called.clone()];
        if !is_initiator {
            selectors.reverse();
        }
        let [local_selector, remote_selector] = selectors;
        Self {
            local,
            remote,
            local_selector,
            remote_selector,
            tpdu_size: agreed.tpdu_size,
            agreed,
        }
    }
}

/// What comes from the peer of an open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A whole message.
    Message(Bytes),
    /// Expedited data.
    Expedited(Bytes),
    /// Octets that are no TPKT, the first of which is given: the stream can be detached. See
    /// [`NonTpkt::Offer`](cotp::NonTpkt::Offer).
    NonTpkt(u8),
}

/// Why an operation on a connection or listener failed.
#[derive(Debug, Display, From)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a TCP connection, or a listener.
    #[from]
    Io(io::Error),
    /// The configuration was refused.
    #[from]
    Config(ConfigError),
    /// The connection refused what was asked, and goes on.
    Refused(cotp::Error),
    /// The connection is at its end, or never opened.
    Ended(Arc<ConnectionEnd>),
    /// Octets came that are no TPKT, the first of which is given. The stream can be detached.
    #[display("octets that are no TPKT, the first is 0x{_0:02x}")]
    NonTpkt(u8),
    /// The connection or listener is not driven any more: its runtime ended, or its machine panicked.
    #[display("the driver of the connection was stopped")]
    Closed,
}

impl core::error::Error for Error {}

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            error => Self::other(error),
        }
    }
}
