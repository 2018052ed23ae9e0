//! What an application holds of a machine, whatever drives it.

use alloc::boxed::Box;
use std::io;
use std::net::TcpStream;

use bytes::Bytes;

use super::runtime::{ByteStream, TcpIo};
use crate::Tag;

/// Why a command came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
pub enum CommandError<E> {
    /// The machine refused it.
    Refused(E),
    /// The driver ended before the machine saw it.
    #[display("the driver has ended")]
    Gone,
}

impl<E: core::error::Error> core::error::Error for CommandError<E> {}

/// A stream that its machine gave to the application, asked to do so by a command.
#[derive(derive_more::Debug)]
pub struct Detached<S> {
    /// The tag of that command.
    pub tag: Tag,
    /// The stream. Everything that the machine wrote was sent.
    #[debug(skip)]
    pub stream: S,
    /// Octets that were read from the stream and not used; they precede all others.
    #[debug("{}", early.len())]
    pub early: Bytes,
}

/// A [`Detached`] stream as the core hands it on.
pub(crate) type DetachedStream = Detached<Box<dyn ByteStream>>;

impl Detached<Box<dyn ByteStream>> {
    /// Returns the stream as the type it was started with.
    ///
    /// # Errors
    ///
    /// The stream is of another type and was dropped.
    pub fn downcast<S: 'static>(self) -> io::Result<Detached<S>> {
        let mistaken = |_| io::Error::new(io::ErrorKind::InvalidInput, "a stream of another type");
        let stream = self.stream.into_any().downcast().map_err(mistaken)?;
        Ok(Detached {
            tag: self.tag,
            stream: *stream,
            early: self.early,
        })
    }

    /// Returns the TCP connection, free of the runtime. It is non-blocking.
    ///
    /// # Errors
    ///
    /// The stream is none of TCP, or the runtime cannot deregister it.
    pub fn into_tcp(self) -> io::Result<Detached<TcpStream>> {
        let Detached { tag, stream, early } = self.downcast::<TcpIo>()?;
        let stream = stream.into_std()?;
        Ok(Detached { tag, stream, early })
    }
}
