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

mod connection;
mod listener;
mod opening;

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};

use socket2::{SockRef, TcpKeepalive};

use opening::{Opened, Opening};

pub use self::connection::{Connection, ReceiveHalf, SendHalf};
pub use self::listener::{Arrival, Listener};
pub use self::opening::Request;
pub use crate::adapters::cotp::{Error, Incoming, Info, Options};

use crate::Seed;
use crate::adapters::cotp::Side;
use crate::cotp::Connection as Machine;

/// Connects to a peer: TCP first, then the handshake.
///
/// # Errors
///
/// There is no TCP connection, the configuration is refused, or the peer refused, closed or stayed silent.
pub fn connect(
    address: impl ToSocketAddrs,
    options: impl Into<Options>,
) -> Result<Connection, Error> {
    let options = options.into();
    let seed = seed_of(&options)?;
    // Before the connection: a configuration that cannot work is none of the peer's business.
    Machine::new(options.config.clone(), &seed)?;
    open_on(TcpStream::connect(address)?, &options, &seed)
}

/// Connects to a peer on a TCP connection that is there already.
///
/// # Errors
///
/// The configuration is refused, or the peer refused, closed or stayed silent.
pub fn connect_on(stream: TcpStream, options: impl Into<Options>) -> Result<Connection, Error> {
    let options = options.into();
    let seed = seed_of(&options)?;
    open_on(stream, &options, &seed)
}

/// Listens on a TCP port; 102 is that of the standard.
///
/// # Errors
///
/// The address cannot be had, or the configuration is refused or not that of a responder.
pub fn listen(address: impl ToSocketAddrs, options: impl Into<Options>) -> Result<Listener, Error> {
    listen_on(TcpListener::bind(address)?, options)
}

/// Listens on a socket that listens already.
///
/// # Errors
///
/// The configuration is refused or not that of a responder.
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

fn open_on(stream: TcpStream, options: &Options, seed: &Seed) -> Result<Connection, Error> {
    match Opening::start(stream, options, seed)?.open()? {
        Opened::Connection(connection) => Ok(connection),
        // A responder's configuration, on a connection that this side made: who called is the peer.
        Opened::Request(request) => request.accept(),
    }
}

fn seed_of(options: &Options) -> io::Result<Seed> {
    options.seed.clone().map_or_else(crate::adapters::seed, Ok)
}

/// Sets what RFC 2126 advises in sections 6.1 and 6.2. A socket that refuses works all the same.
fn prepare(stream: &TcpStream, options: &Options) {
    let _ = stream.set_nodelay(true);
    if let Some(time) = options.keepalive {
        let keepalive = TcpKeepalive::new().with_time(time);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}
