//! A byte stream of a reader and a writer that block.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use std::io::{self, Read, Write};

use ::blocking::Unblock;
use futures_lite::{AsyncRead as _, AsyncWrite as _};

use crate::adapters::runtime::ByteStream;

/// Octets that wait in each direction at most.
const LIMIT: usize = 1 << 16;

/// Any reader and writer that block as a [`ByteStream`]: a serial line, a pipe. They run in threads of the pool of the
/// crate `blocking`, whose 500 threads are shared by the whole process: one for each stream, and one while it writes.
///
/// Once it is dropped, the threads are free with the next octets, error or timeout of the reader, and when the writer has
/// taken what it was given. `WouldBlock` and `TimedOut` are no errors of either.
#[derive(derive_more::Debug)]
#[debug("ThreadedIo(..)")]
pub struct ThreadedIo {
    reader: Unblock<Patient<Box<dyn Read + Send>>>,
    writer: Unblock<Patient<Box<dyn Write + Send>>>,
    is_closed: Arc<AtomicBool>,
}

/// A reader or writer that goes on when its time is over, until the stream is closed.
struct Patient<T> {
    io: T,
    is_closed: Arc<AtomicBool>,
}

impl<T> Patient<T> {
    fn retry<R>(&mut self, mut op: impl FnMut(&mut T) -> io::Result<R>) -> io::Result<R> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        loop {
            match op(&mut self.io) {
                Err(error)
                    if matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
                        && !self.is_closed.load(Ordering::Relaxed) => {}
                done => return done,
            }
        }
    }
}

impl Read for Patient<Box<dyn Read + Send>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(|io| io.read(buffer))
    }
}

impl Write for Patient<Box<dyn Write + Send>> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.retry(|io| io.write(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry(Write::flush)
    }
}

impl ThreadedIo {
    /// Makes a stream of what comes from `reader` and what `writer` takes.
    ///
    /// A reader whose reads end after a time, such as 100 ms, lets go of its thread soon after the stream was dropped.
    pub fn new(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        let is_closed = Arc::new(AtomicBool::new(false));
        let reader = Patient {
            io: Box::new(reader) as _,
            is_closed: Arc::clone(&is_closed),
        };
        let writer = Patient {
            io: Box::new(writer) as _,
            is_closed: Arc::clone(&is_closed),
        };
        Self {
            reader: Unblock::with_capacity(LIMIT, reader),
            writer: Unblock::with_capacity(LIMIT, writer),
            is_closed,
        }
    }
}

impl Drop for ThreadedIo {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

impl ByteStream for ThreadedIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, octets)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

#[cfg(all(test, unix))]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::future::poll_fn;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::adapters::blocking::threads::block_on;

    fn read(io: &mut ThreadedIo) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 100];
        let count = block_on(poll_fn(|cx| io.poll_read(cx, &mut buffer)))?;
        Ok(buffer.get(..count).unwrap_or_default().to_vec())
    }

    #[test]
    fn octets_pass_both_ways_and_the_end_is_told_behind_them() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut io = ThreadedIo::new(near.try_clone().unwrap(), near);

        far.write_all(b"serial").unwrap();
        assert_eq!(read(&mut io).unwrap(), b"serial");
        // More than waits at a time: the writer goes on while the other end reads.
        let long = vec![7; 5 * LIMIT];
        let reader = thread::spawn(move || {
            let mut all = vec![0; 5 * LIMIT];
            far.read_exact(&mut all).unwrap();
            (all, far)
        });
        let mut rest = &long[..];
        while !rest.is_empty() {
            let count = block_on(poll_fn(|cx| io.poll_write(cx, rest))).unwrap();
            rest = &rest[count..];
        }
        block_on(poll_fn(|cx| io.poll_flush(cx))).unwrap();
        let (all, far) = reader.join().unwrap();
        assert!(all == long);
        drop(far);
        assert_eq!(read(&mut io).unwrap(), b"", "the other end is gone");
    }

    #[test]
    fn a_reader_that_times_out_goes_on_and_one_that_fails_is_told() {
        struct Failing(Vec<io::ErrorKind>);
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.pop().unwrap_or(io::ErrorKind::Other).into())
            }
        }
        let errors = vec![io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut];
        let mut io = ThreadedIo::new(Failing(errors), io::sink());

        let error = read(&mut io).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
