//! COTP connections over TCP on any [`Runtime`]: whole messages between named services.
//!
//! `adapters::tokio::cotp` and `adapters::blocking::cotp` bind these to a runtime, with examples.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use core::future::{pending, poll_fn};
use core::net::SocketAddr;
use std::io;

use bytes::Bytes;
use derive_more::{Display, From};
use futures_lite::future::or;
use socket2::{SockRef, Socket};

use self::connection::PendingConnection;
use super::runtime::{ByteStream, Runtime, TcpIo};
use super::{Clock, Closed, MachineFactory, StreamUpgrade, TcpOptions};
use crate::cotp::{self, Config, ConfigError, Connected, ConnectionEnd, Selector};
use crate::{BoxedMachine, Seed};

mod connection;
mod listener;
mod octets;
mod port;
mod shares;

pub use self::connection::{Connection, ConnectionRequest, ReceiveHalf, SendHalf};
pub use self::listener::{Arrival, Listener};
pub use self::octets::IntoOctets;
pub use self::port::ReassemblyLimit;

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
    options.checked_seed()?;
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
    for address in addresses {
        match TcpIo::connect(runtime.as_ref(), address).await {
            Ok(stream) => {
                options.tcp.apply(&stream.socket());
                return connect_over(runtime, stream, options).await;
            }
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

/// Connects to a peer on a TCP connection that is established already, or on one of a Unix socket.
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
    socket.set_nonblocking(true)?;
    options.tcp.apply(&SockRef::from(&socket));
    let stream = TcpIo::new(runtime.as_ref(), socket)?;
    connect_over(runtime, stream, options).await
}

/// Connects to a peer on any byte stream, in the role that the configuration says.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
pub async fn connect_over(
    runtime: &Arc<dyn Runtime>,
    stream: impl Into<Box<dyn ByteStream>>,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    let options = options.into();
    let seed = options.checked_seed()?;
    let stream = options.upgraded(runtime, stream.into()).await?;
    let opening = PendingConnection::start(runtime, stream, &options, seed, None)?;
    // A responder's configuration, on a stream that this side made: who called is the peer.
    opening.opened().await?.accepted().await
}

/// Listens on all of `addresses` that this host has; 102 is the port of the standard.
///
/// An IPv6 address that is the only one also takes IPv4 connections, if it is unspecified and the system does so.
///
/// # Errors
///
/// An address is in use or not permitted, the host has none of them, or the configuration is refused or not that of a
/// responder.
pub fn listen(
    runtime: &Arc<dyn Runtime>,
    addresses: impl IntoIterator<Item = SocketAddr>,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    Listener::start(runtime, listener::bind_all(addresses)?, options.into())
}

/// Listens on a socket that listens already: one of TCP, or a Unix socket.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
pub fn listen_on(
    runtime: &Arc<dyn Runtime>,
    socket: impl Into<Socket>,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    Listener::start(runtime, vec![socket.into()], options.into())
}

/// The machine of a connection: a [`cotp::Connection`], or one around it.
pub type ConnectionMachine = BoxedMachine<cotp::Connection>;

/// The local and the remote address of a connection; 0.0.0.0:0 for streams that have none.
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
    /// How TCP notices that a peer has vanished.
    pub tcp: TcpOptions,
    /// Connections of a listener that may be open, or failed, and not taken by the application; at least 1. Further
    /// ones wait in the system's queue. Default 256.
    pub arrivals: usize,
    /// Connections of a listener that may be in their handshake; at least 1. One more takes the place of the oldest of
    /// the host that has most of them; of IPv6, 56 bits of the address count as a host. Default 512.
    pub handshakes: usize,
    /// Octets of unfinished messages that all connections with these options, and with clones of them, may hold
    /// together. Default 64 MiB.
    pub reassembly: ReassemblyLimit,
    /// What is made of each stream before the handshake, such as TLS. It has the time of the handshake once more.
    /// Default: nothing.
    pub upgrade: Option<StreamUpgrade>,
    /// What makes the machine of each connection. Default: a [`cotp::Connection`] each.
    pub factory: ConnectionFactory,
}

impl From<Config> for ConnectionOptions {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            tcp: TcpOptions::default(),
            arrivals: 256,
            handshakes: 512,
            reassembly: ReassemblyLimit::default(),
            upgrade: None,
            factory: ConnectionFactory::default(),
        }
    }
}

impl ConnectionOptions {
    /// Upgrades a stream, in the time that a handshake has.
    async fn upgraded(
        &self,
        runtime: &Arc<dyn Runtime>,
        stream: Box<dyn ByteStream>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let Some(upgrade) = &self.upgrade else {
            return Ok(stream);
        };
        let limit = match self.config.role {
            cotp::Role::Initiator(_) => self.config.timers.answer_timeout,
            cotp::Role::Responder(_) => self.config.timers.request_timeout,
        };
        let limited = async {
            let Some(limit) = limit else {
                return pending().await;
            };
            let mut timer = runtime.timer(runtime.now() + limit);
            poll_fn(|cx| timer.poll(cx)).await;
            let message = format!("the stream was not upgraded within {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        };
        or(upgrade.upgrade(stream), limited).await
    }

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
    /// The socket address of this end; 0.0.0.0:0 if the stream has none.
    pub local: SocketAddr,
    /// The socket address of the peer; 0.0.0.0:0 if the stream has none.
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
