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

use std::io::{Read, Write};
use std::net::ToSocketAddrs;

use socket2::Socket;

use super::threads::{block_on, runtime};
use super::{Blocking, ThreadedIo};
use crate::adapters::cotp;

pub use crate::adapters::cotp::{
    ConnectionFactory, ConnectionOptions, Error, Incoming, Info, IntoOctets, ReassemblyLimit,
};

/// An open connection; see [`cotp::Connection`].
pub type Connection = Blocking<cotp::Connection>;

/// The sending half of a connection; see [`cotp::SendHalf`].
pub type SendHalf = Blocking<cotp::SendHalf>;

/// The receiving half of a connection; see [`cotp::ReceiveHalf`].
pub type ReceiveHalf = Blocking<cotp::ReceiveHalf>;

/// A peer that asks for a connection; see [`cotp::ConnectionRequest`].
pub type ConnectionRequest = Blocking<cotp::ConnectionRequest>;

/// Accepts connections; see [`cotp::Listener`].
pub type Listener = Blocking<cotp::Listener>;

/// What a listener has to tell.
pub type Arrival = cotp::Arrival<Connection, ConnectionRequest>;

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
    block_on(cotp::connect(&runtime(), addresses, options)).map(Into::into)
}

/// Connects to a peer on a connection that is established already: a `TcpStream`, or the `UnixStream` of a Unix
/// socket.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
pub fn connect_on(
    stream: impl Into<Socket>,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    block_on(cotp::connect_on(&runtime(), stream, options)).map(Into::into)
}

/// Connects to a peer on any byte stream, in the role that the configuration says. [`ThreadedIo`] says what becomes of
/// the reader and the writer.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
pub fn connect_over(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    let stream = ThreadedIo::new(reader, writer);
    block_on(cotp::connect_over(&runtime(), stream, options)).map(Into::into)
}

/// Listens on TCP, on all addresses of a name; port 102 is that of the standard.
///
/// # Errors
///
/// No address can be had, or the configuration is refused or not that of a responder.
pub fn listen(
    address: impl ToSocketAddrs,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen(&runtime(), address.to_socket_addrs()?, options).map(Into::into)
}

/// Listens on a `TcpListener`, or on the `UnixListener` of a Unix socket.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
pub fn listen_on(
    listener: impl Into<Socket>,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen_on(&runtime(), listener, options).map(Into::into)
}

impl From<cotp::Arrival> for Arrival {
    fn from(arrival: cotp::Arrival) -> Self {
        match arrival {
            cotp::Arrival::Connection(connection) => Self::Connection(connection.into()),
            cotp::Arrival::Request(request) => Self::Request(request.into()),
            cotp::Arrival::Failed { remote, error } => Self::Failed { remote, error },
        }
    }
}

impl Connection {
    /// Parts the connection in two, for threads of their own.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        let (sender, receiver) = self.0.split();
        (sender.into(), receiver.into())
    }
}
