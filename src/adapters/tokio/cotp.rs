//! COTP connections over TCP: whole messages between named services.
//!
//! ```
//! use farlink::adapters::tokio::cotp;
//! use farlink::cotp::{Config, Policy, Selector};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let policy = Policy::Selectors(vec![Selector::from(1)]);
//! let listener = cotp::listen("127.0.0.1:0", Config::responder(policy)).await?;
//! let address = listener.local_addr();
//! tokio::spawn(async move {
//!     let mut connection = listener.accept().await?;
//!     while let Some(message) = connection.receive().await? {
//!         connection.send(message).await?;
//!     }
//!     Ok::<_, cotp::Error>(())
//! });
//!
//! let config = Config::initiator(None, Some(Selector::from(1)));
//! let mut connection = cotp::connect(address, config).await?;
//! connection.send("hello").await?;
//! assert_eq!(connection.receive().await?.as_deref(), Some(&b"hello"[..]));
//! connection.close().await?;
//! # Ok::<_, cotp::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};

use super::{TokioIo, runtime};
use crate::adapters::cotp;

pub use crate::adapters::cotp::{
    Arrival, Connection, ConnectionFactory, ConnectionOptions, ConnectionRequest, Error, Incoming,
    Info, IntoOctets, Listener, ReassemblyLimit, ReceiveHalf, SendHalf,
};

/// Connects to a peer: TCP first, then the handshake.
///
/// # Errors
///
/// There is no TCP connection, the configuration is refused, or the peer refused, closed or did not answer
/// in time.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect(
    address: impl ToSocketAddrs,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    cotp::connect(&runtime(), lookup_host(address).await?, options).await
}

/// Connects to a peer on a TCP connection that is established already.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect_on(
    stream: TcpStream,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    cotp::connect_on(&runtime(), stream.into_std()?, options).await
}

/// Connects to a peer on any byte stream, such as a Unix socket, in the role that the configuration says.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or did not answer in time.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    options: impl Into<ConnectionOptions>,
) -> Result<Connection, Error> {
    cotp::connect_over(&runtime(), TokioIo(stream), options).await
}

/// Listens on TCP, on all addresses of a name; port 102 is that of the standard.
///
/// # Errors
///
/// No address can be had, or the configuration is refused or not that of a responder.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn listen(
    address: impl ToSocketAddrs,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen(&runtime(), lookup_host(address).await?, options)
}

/// Listens on a socket that listens already.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub fn listen_on(
    listener: TcpListener,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen_on(&runtime(), listener.into_std()?, options)
}

/// Listens on a Unix socket that listens already.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[cfg(unix)]
pub fn listen_on_unix(
    listener: tokio::net::UnixListener,
    options: impl Into<ConnectionOptions>,
) -> Result<Listener, Error> {
    cotp::listen_on(&runtime(), listener.into_std()?, options)
}
