//! What the handles of a COTP connection share, whatever drives it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::Clock;
use crate::cotp::{self, Command, Config, ConfigError, Connected, End, Event, Reason, Selector};
use crate::{Machine, Seed};

/// The machine of a connection: a [`cotp::Connection`], or one around it.
pub type Speaker =
    Box<dyn Machine<Addr = (), Command = Command, Event = Event, Error = cotp::Error> + Send>;

/// The local and the remote address of a TCP connection.
pub type Ends = (SocketAddr, SocketAddr);

/// Makes the machine of a connection.
///
/// [`Maker::default`] makes a [`cotp::Connection`]; another one puts a machine around it, which records
/// what it sees and does, for example.
#[derive(Clone)]
pub struct Maker(Arc<Make>);

type Make = dyn Fn(Config, &Seed, Ends) -> Result<Speaker, ConfigError> + Send + Sync;

impl Maker {
    /// Makes machines by `make`.
    pub fn new(
        make: impl Fn(Config, &Seed, Ends) -> Result<Speaker, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(
        &self,
        config: Config,
        seed: &Seed,
        ends: Ends,
    ) -> Result<Speaker, ConfigError> {
        (self.0)(config, seed, ends)
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new(|config, seed, _| Ok(Box::new(cotp::Connection::new(config, seed)?)))
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker(..)")
    }
}

/// How connections are made or answered. A [`Config`] alone will do: `config.into()`.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the protocol behaves.
    pub config: Config,
    /// Where references come from. Default: the operating system's generator.
    pub seed: Option<Seed>,
    /// The clock that connections live by. Default: one of its own.
    pub clock: Clock,
    /// After how long a silent peer is asked for a sign of life by TCP (RFC 2126 section 6.1 suggests to).
    /// Default 60 s.
    pub keepalive: Option<Duration>,
    /// Connections of a listener that may be in their handshake, or open and not taken by the application;
    /// at least 1. Further ones wait in the system's queue. Default 256.
    pub arrivals: usize,
    /// What makes the machine of each connection. Default: a [`cotp::Connection`] each.
    pub maker: Maker,
}

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        Self {
            config,
            seed: None,
            clock: Clock::new(),
            keepalive: Some(Duration::from_secs(60)),
            arrivals: 256,
            maker: Maker::default(),
        }
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

/// Which end of a connection this is, by who sent the CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

impl Side {
    pub(crate) const fn of(config: &Config) -> Self {
        match config.role {
            cotp::Role::Initiator(_) => Self::Initiator,
            cotp::Role::Responder(_) => Self::Responder,
        }
    }
}

impl Info {
    pub(crate) fn new(side: Side, (local, remote): Ends, agreed: Connected) -> Self {
        let (calling, called) = (agreed.calling.clone(), agreed.called.clone());
        let (local_selector, remote_selector) = match side {
            Side::Initiator => (calling, called),
            Side::Responder => (called, calling),
        };
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
    /// Octets that are no TPKT, the first of which is given: the stream can be taken over. See
    /// [`NonTpkt::Offer`](cotp::NonTpkt::Offer).
    NonTpkt(u8),
}

/// Why something with a connection came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system did not give a TCP connection, or a listener.
    Io(io::Error),
    /// The configuration was refused.
    Config(ConfigError),
    /// The connection refused what was asked, and goes on.
    Refused(cotp::Error),
    /// The connection is at its end, or never opened.
    Ended(Arc<End>),
    /// Octets came that are no TPKT, the first of which is given. The stream can be taken over.
    NonTpkt(u8),
    /// The driver of the connection was stopped before its time.
    Gone,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::Ended(end) => end.fmt(f),
            Self::NonTpkt(first) => {
                write!(f, "octets that are no TPKT, the first is 0x{first:02x}")
            }
            Self::Gone => f.write_str("the driver of the connection was stopped"),
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

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            error => Self::other(error),
        }
    }
}

/// Tells whether a connection ended in good order, with nothing lost in either direction.
pub(crate) fn is_clean(end: &End) -> bool {
    let is_orderly = matches!(
        end.reason,
        Reason::Closed | Reason::PeerClosed | Reason::Detached(_)
    );
    is_orderly && end.incomplete == 0 && end.unsent == 0
}
