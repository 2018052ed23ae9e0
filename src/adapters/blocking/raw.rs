//! Blocking handles for any machine: commands in, events out. See [`crate::adapters::raw`].
//!
//! ```
//! # #[cfg(feature = "cotp")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::{TcpListener, TcpStream};
//!
//! use farlink::adapters::blocking::{raw, runtime};
//! use farlink::adapters::raw::{DriverOptions, Notice};
//! use farlink::adapters::{runtime::TcpIo, seed};
//! use farlink::cotp::{Command, Config, Connection, Event, Policy};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let near = TcpStream::connect(listener.local_addr()?)?;
//! let (far, _) = listener.accept()?;
//! let drive = |config, stream: TcpStream| -> Result<_, Box<dyn std::error::Error>> {
//!     stream.set_nonblocking(true)?;
//!     let stream = TcpIo::new(&*runtime(), stream.into())?;
//!     let machine = Connection::new(config, &seed()?)?;
//!     Ok(raw::stream(machine, stream, DriverOptions::default()))
//! };
//! let (near, mut near_events) = drive(Config::default(), near)?;
//! let (_far, mut far_events) = drive(Config::responder(Policy::AcceptAny), far)?;
//!
//! // The machine refuses to send before it is connected.
//! let connected = near_events.recv();
//! assert!(matches!(connected, Some(Notice::Event(Event::Connected(_)))));
//! near.command(Command::Send("hello".into()))?;
//! while let Some(notice) = far_events.recv() {
//!     if let Notice::Event(Event::Received(message)) = notice {
//!         assert_eq!(message, "hello");
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cotp"))]
//! # fn main() {}
//! ```

use core::time::Duration;
use std::io;

use super::threads::block_on_timeout;
use super::{Blocking, runtime};
use crate::adapters::interfaces::Interfaces;
use crate::adapters::raw::{self, DriverOptions, Notice, SendMachine};
use crate::adapters::runtime::ByteStream;
use crate::adapters::sockets::Sockets;
use crate::{Hop, Machine, Path};

/// Gives commands to a machine; the blocking [`raw::Commands`].
pub type Commands<M> = Blocking<raw::Commands<M>>;

/// Takes the events of a machine; the blocking [`raw::Events`].
pub type Events<M> = Blocking<raw::Events<M>>;

/// Drives `machine` over one byte stream; see [`raw::stream`].
pub fn stream<M: SendMachine + Machine<Addr = ()>>(
    machine: M,
    stream: impl ByteStream,
    options: DriverOptions<M>,
) -> (Commands<M>, Events<M>) {
    blocking(raw::stream(&runtime(), machine, stream, options))
}

/// Drives `machine` over sockets, and opens more when it asks; see [`raw::sockets`].
///
/// # Errors
///
/// The system cannot watch one of the sockets.
pub fn sockets<M: SendMachine + Machine<Addr = Path>>(
    machine: M,
    sockets: Sockets,
    options: DriverOptions<M>,
) -> io::Result<(Commands<M>, Events<M>)> {
    raw::sockets(&runtime(), machine, sockets, options).map(blocking)
}

/// Drives `machine` over numbered interfaces; see [`raw::interfaces`].
///
/// # Errors
///
/// The system cannot watch one of the interfaces.
pub fn interfaces<M: SendMachine + Machine<Addr = Hop>>(
    machine: M,
    interfaces: Interfaces,
    options: DriverOptions<M>,
) -> io::Result<(Commands<M>, Events<M>)> {
    raw::interfaces(&runtime(), machine, interfaces, options).map(blocking)
}

fn blocking<C, E>((commands, events): (C, E)) -> (Blocking<C>, Blocking<E>) {
    (commands.into(), events.into())
}

impl<M: SendMachine> Events<M> {
    /// Waits for what the machine has to tell, at most for `limit`.
    ///
    /// # Errors
    ///
    /// `TimedOut` when nothing came.
    pub fn recv_timeout(&mut self, limit: Duration) -> io::Result<Option<Notice<M::Event>>> {
        block_on_timeout(self.0.recv(), limit)
    }
}
