//! Serial lines for interfaces with KISS.

use std::io;
use std::path::Path;

#[cfg(feature = "blocking")]
use super::blocking::ThreadedIo;
#[cfg(feature = "tokio")]
use super::tokio::TokioIo;

/// How long a thread that reads a line waits until it looks whether the line was closed.
#[cfg(feature = "blocking")]
const LOOK: core::time::Duration = core::time::Duration::from_millis(100);

/// Opens a serial line at this many baud, with 8 bits and no parity, in the tokio runtime of the caller.
///
/// An interface with [`Encapsulation::Kiss`](crate::csp::Encapsulation::Kiss) takes it by
/// [`add_stream`](super::interfaces::Interfaces::add_stream) at `via` 0.
///
/// # Errors
///
/// The device cannot be opened, is no serial line, or cannot be set so.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
#[cfg(feature = "tokio")]
pub fn tokio_serial(
    device: impl AsRef<Path>,
    baud: u32,
) -> io::Result<TokioIo<serial2_tokio::SerialPort>> {
    serial2_tokio::SerialPort::open(device, baud).map(TokioIo)
}

/// Opens a serial line at this many baud, with 8 bits and no parity.
///
/// An interface with [`Encapsulation::Kiss`](crate::csp::Encapsulation::Kiss) takes it by
/// [`add_stream`](super::interfaces::Interfaces::add_stream) at `via` 0.
///
/// # Errors
///
/// The device cannot be opened, is no serial line, or cannot be set so.
#[cfg(feature = "blocking")]
pub fn threaded_serial(device: impl AsRef<Path>, baud: u32) -> io::Result<ThreadedIo> {
    let mut port = serial2::SerialPort::open(device, baud)?;
    port.set_read_timeout(LOOK)?;
    port.set_write_timeout(LOOK)?;
    Ok(ThreadedIo::new(port.try_clone()?, port))
}
