//! COTP connections over TCP: whole messages between named services.
//!
//! ```
//! use std::thread;
//!
//! use farlink::adapters::blocking::cotp;
//! use farlink::cotp::{Config, Policy, Selector};
//!
//! let policy = Policy::Selectors(vec![Selector::from(1)]);
//! let listener = cotp::listen("127.0.0.1:0", Config::responder(policy))?;
//! let address = listener.local_addr();
//! let server = thread::spawn(move || {
//!     let mut connection = listener.accept()?;
//!     while let Some(message) = connection.receive()? {
//!         connection.send(message)?;
//!     }
//!     Ok::<_, cotp::Error>(())
//! });
//!
//! let config = Config::initiator(None, Some(Selector::from(1)));
//! let mut connection = cotp::connect(address, config)?;
//! connection.send("hello")?;
//! assert_eq!(connection.receive()?.as_deref(), Some(&b"hello"[..]));
//! connection.close()?;
//! # server.join().unwrap()?;
//! # Ok::<_, cotp::Error>(())
//! ```

use core::net::SocketAddr;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::adapters::cotp;
use crate::adapters::threads::{block_on, runtime};

pub use crate::adapters::cotp::{ConnectionFactory, ConnectionOptions, Error, Incoming, Info};

/// Connects to a peer: TCP first, then the handshake.
///
/// # Errors
///
/// There is no TCP connection, the configuration is refused, or the peer refused, closed or did not answer
/// in time.
pub fn connect(
    address: impl ToSocketAddrs,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    let addresses = address.to_socket_addrs()?;
    block_on(cotp::connect(&runtime(), addresses, options)).map(Connection)
}

/// Connects to a peer on a TCP connection that is established already.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
pub fn connect_on(
    stream: TcpStream,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    block_on(cotp::connect_on(&runtime(), stream, options)).map(Connection)
}

/// Listens on a TCP port; 102 is that of the standard.
///
/// # Errors
///
/// The address cannot be had, or the configuration is refused or not that of a responder.
pub fn listen(
    address: impl ToSocketAddrs,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen(&runtime(), address.to_socket_addrs()?, options).map(Listener)
}

/// Listens on a socket that listens already.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
pub fn listen_on(
    listener: TcpListener,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen_on(&runtime(), listener, options).map(Listener)
}

/// An open connection; messages go both ways.
///
/// Dropping it, or both its halves, sends what was accepted and closes it.
#[derive(Debug)]
pub struct Connection(pub(in crate::adapters) cotp::Connection);

/// The sending half of a connection. Clones share it.
#[derive(Debug, Clone)]
pub struct SendHalf(pub(in crate::adapters) cotp::SendHalf);

/// The receiving half of a connection. Once it is dropped, what comes is discarded.
#[derive(Debug)]
pub struct ReceiveHalf(pub(in crate::adapters) cotp::ReceiveHalf);

/// A peer that asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
pub struct Request(pub(in crate::adapters) cotp::Request);

/// Accepts connections, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
#[derive(Debug)]
pub struct Listener(pub(in crate::adapters) cotp::Listener);

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival {
    /// A connection is open; the policy of the configuration accepted it.
    Connection(Connection),
    /// A peer asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
    Request(Request),
    /// A handshake failed.
    Failed {
        /// The address of the peer.
        remote: SocketAddr,
        /// Why.
        error: Error,
    },
}

impl From<cotp::Arrival> for Arrival {
    fn from(arrival: cotp::Arrival) -> Self {
        match arrival {
            cotp::Arrival::Connection(connection) => Self::Connection(connection.into()),
            cotp::Arrival::Request(request) => Self::Request(Request(request)),
            cotp::Arrival::Failed { remote, error } => Self::Failed { remote, error },
        }
    }
}

impl From<cotp::Connection> for Connection {
    fn from(connection: cotp::Connection) -> Self {
        Self(connection)
    }
}

impl Connection {
    /// Parts the connection in two, for threads of their own.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        let (sender, receiver) = self.0.split();
        (SendHalf(sender), ReceiveHalf(receiver))
    }
}
