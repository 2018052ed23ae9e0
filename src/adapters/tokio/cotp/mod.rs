//! COTP connections over TCP: whole messages between named services.
//!
//! ```
//! use farlink::adapters::tokio::cotp;
//! use farlink::cotp::{Config, Policy, Selector};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let policy = Policy::Selectors(vec![Selector::from(1)]);
//! let mut listener = cotp::listen("127.0.0.1:0", Config::responder(policy)).await?;
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

mod clerk;
mod connection;
mod listener;

use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

use connection::{Opened, Opening};

pub use self::connection::{Connection, ReceiveHalf, Request, SendHalf};
pub use self::listener::{Arrival, Listener};
pub use crate::adapters::cotp::{Error, Incoming, Info, Options};

use crate::Seed;
use crate::adapters::cotp::Side;
use crate::adapters::tokio::open;
use crate::cotp::Connection as Machine;

/// Connects to a peer: TCP first, then the handshake.
///
/// # Errors
///
/// There is no TCP connection, the configuration is refused, or the peer refused, closed or stayed silent.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect(
    address: impl ToSocketAddrs,
    options: impl Into<Options>,
) -> Result<Connection, Error> {
    let options = options.into();
    let seed = seed_of(&options)?;
    // Before the connection: a configuration that cannot work is none of the peer's business.
    Machine::new(options.config.clone(), &seed)?;
    let stream = TcpStream::connect(address).await?;
    open_on(stream, &options, &seed).await
}

/// Connects to a peer on a TCP connection that is there already.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or stayed silent.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect_on(
    stream: TcpStream,
    options: impl Into<Options>,
) -> Result<Connection, Error> {
    let options = options.into();
    let seed = seed_of(&options)?;
    open_on(stream, &options, &seed).await
}

/// Listens on a TCP port; 102 is that of the standard.
///
/// # Errors
///
/// The address cannot be had, or the configuration is refused or not that of a responder.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn listen(
    address: impl ToSocketAddrs,
    options: impl Into<Options>,
) -> Result<Listener, Error> {
    listen_on(TcpListener::bind(address).await?, options)
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
pub fn listen_on(listener: TcpListener, options: impl Into<Options>) -> Result<Listener, Error> {
    let options = options.into();
    if Side::of(&options.config) == Side::Initiator {
        let message = "a listener needs the configuration of a responder";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
    }
    let seed = seed_of(&options)?;
    Machine::new(options.config.clone(), &seed)?;
    Ok(Listener::start(listener, options, &seed)?)
}

async fn open_on(stream: TcpStream, options: &Options, seed: &Seed) -> Result<Connection, Error> {
    prepare(&stream, options);
    match Opening::start(stream, options, seed)?.open().await? {
        Opened::Connection(connection) => Ok(connection),
        // A responder's configuration, on a connection that this side made: who called is the peer.
        Opened::Request(request) => request.accept().await,
    }
}

fn seed_of(options: &Options) -> io::Result<Seed> {
    match &options.seed {
        Some(seed) => Ok(seed.clone()),
        None => crate::adapters::seed(),
    }
}

/// Sets what RFC 2126 advises in sections 6.1 and 6.2. A socket that refuses works all the same.
fn prepare(stream: &TcpStream, options: &Options) {
    open::without_delay(stream);
    if let Some(time) = options.keepalive {
        let keepalive = TcpKeepalive::new().with_time(time);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}
