//! The byte streams that the driver knows.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use socket2::SockRef;

/// A byte stream in both directions that two threads use at once, one to read and one to write.
///
/// `std` cannot interrupt a read without breaking the stream, so both directions wait for a limited time
/// only, and then look whether they are still wanted.
pub trait Carrier: Send + Sync + Sized + 'static {
    /// Makes it block, and limits the waits of both directions; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// The system's own.
    fn block(&self, reading: Option<Duration>, writing: Option<Duration>) -> io::Result<()>;

    /// Limits the wait of one read from here on.
    ///
    /// # Errors
    ///
    /// The system's own.
    fn limit_read(&self, limit: Duration) -> io::Result<()>;

    /// Reads what has come, 0 octets at the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing came within the limit; any other ends the link.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some of `octets`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing could be written within the limit; any other ends the link.
    fn write(&self, octets: &[u8]) -> io::Result<usize>;

    /// Writes what goes out at once, so that a send costs no change of threads while the stream takes it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing does, or when the system knows no such write, as is the default. Any other
    /// ends the link.
    fn write_now(&self, octets: &[u8]) -> io::Result<usize> {
        let _ = octets;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Ends the direction of writing, once what was written is sent (FIN).
    ///
    /// # Errors
    ///
    /// The system's own; the stream is gone then.
    fn finish(&self) -> io::Result<()>;

    /// Wakes a read without a word to the peer. Nothing is read after it.
    fn hush(&self);

    /// Closes it so that the peer sees that something went wrong (RST), where the carrier can tell.
    fn abort(self);
}

/// Flags of a send that neither waits nor raises a signal; `std` exports no such constant.
#[cfg(any(target_os = "linux", target_os = "android"))]
const AT_ONCE: Option<i32> = Some(0x40 | 0x4000);
/// `MSG_DONTWAIT`; `std` keeps the signal off by a socket option here.
#[cfg(target_vendor = "apple")]
const AT_ONCE: Option<i32> = Some(0x80);
/// Everything goes through the writer thread.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
const AT_ONCE: Option<i32> = None;

macro_rules! socket_carrier {
    ($stream:ty, $abort:expr) => {
        impl Carrier for $stream {
            fn block(
                &self,
                reading: Option<Duration>,
                writing: Option<Duration>,
            ) -> io::Result<()> {
                self.set_nonblocking(false)?;
                self.set_read_timeout(reading)?;
                self.set_write_timeout(writing)
            }

            fn limit_read(&self, limit: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(limit))
            }

            fn read(&self, into: &mut [u8]) -> io::Result<usize> {
                let mut stream: &Self = self;
                Read::read(&mut stream, into)
            }

            fn write(&self, octets: &[u8]) -> io::Result<usize> {
                let mut stream: &Self = self;
                Write::write(&mut stream, octets)
            }

            fn write_now(&self, octets: &[u8]) -> io::Result<usize> {
                match AT_ONCE {
                    Some(flags) => SockRef::from(self).send_with_flags(octets, flags),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                }
            }

            fn finish(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            fn hush(&self) {
                // It fails when the stream is gone already, and then there is no read to wake.
                let _ = self.shutdown(Shutdown::Read);
            }

            fn abort(self) {
                $abort(&self);
            }
        }
    };
}

/// A linger of no time makes closing send RST. Should the option fail, the stream is closed all the same.
fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

socket_carrier!(TcpStream, reset_on_close);
#[cfg(unix)]
socket_carrier!(std::os::unix::net::UnixStream, |_: &Self| ());
