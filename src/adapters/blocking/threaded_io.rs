//! A byte stream of a reader and a writer that block.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::mem;
use core::task::{Context, Poll, Waker};
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::adapters::runtime::ByteStream;

/// Octets that wait in each direction at most.
const LIMIT: usize = 1 << 16;
/// Octets of one read.
const READ: usize = 1 << 12;

/// Any reader and writer that block as a [`ByteStream`], each in a thread of its own: a serial line, a pipe.
///
/// Once it is dropped, the threads end with the next octets, error or timeout of the reader, and when the writer has
/// taken what it was given. `WouldBlock` and `TimedOut` are no errors of either.
#[derive(derive_more::Debug)]
#[debug("ThreadedIo(..)")]
pub struct ThreadedIo(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    incoming: Direction,
    outgoing: Direction,
    /// The writer has octets that it has not passed on yet.
    is_writing: bool,
    is_closed: bool,
}

/// One direction of the stream.
#[derive(Default)]
struct Direction {
    octets: Vec<u8>,
    waker: Option<Waker>,
    /// How it ended.
    end: Option<io::Result<()>>,
}

impl Direction {
    /// Waits for the thread.
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns how it ended, which is told once if it is an error.
    fn end(&mut self) -> Option<io::Result<()>> {
        let end = self.end.take()?;
        self.end = Some(Ok(()));
        Some(end)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while it is open and `is_idle` says so. `None` once it is closed.
    fn wait_while(&self, is_idle: impl Fn(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let idle = |state: &mut State| !state.is_closed && is_idle(state);
        let state = self.changed.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (!state.is_closed).then_some(state)
    }

    /// Ends or goes on with a direction, and wakes who waits for it.
    fn tell(&self, act: impl FnOnce(&mut State) -> &mut Direction) {
        let waker = act(&mut self.lock()).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn read(&self, mut reader: impl Read) {
        let mut buffer = [0; READ];
        loop {
            let read = match reader.read(&mut buffer) {
                Err(error) if is_pause(&error) && !self.lock().is_closed => continue,
                Ok(0) => Err(Ok(())),
                Ok(count) => Ok(buffer.get(..count).unwrap_or_default()),
                Err(error) => Err(Err(error)),
            };
            let Some(state) = self.wait_while(|state| state.incoming.octets.len() >= LIMIT) else {
                return;
            };
            drop(state);
            let has_ended = read.is_err();
            self.tell(|state| {
                match read {
                    Ok(octets) => state.incoming.octets.extend_from_slice(octets),
                    Err(end) => state.incoming.end = Some(end),
                }
                &mut state.incoming
            });
            if has_ended {
                return;
            }
        }
    }

    fn write(&self, mut writer: impl Write) {
        let mut octets = Vec::new();
        while let Some(mut state) = self.wait_while(|state| state.outgoing.octets.is_empty()) {
            mem::swap(&mut octets, &mut state.outgoing.octets);
            state.is_writing = true;
            drop(state);
            let written = self.write_all(&mut writer, &octets);
            octets.clear();
            let has_failed = written.is_err();
            self.tell(|state| {
                state.is_writing = false;
                if has_failed {
                    state.outgoing.end = Some(written);
                }
                &mut state.outgoing
            });
            if has_failed {
                return;
            }
        }
    }

    fn write_all(&self, writer: &mut impl Write, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            match writer.write(octets) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => octets = octets.get(count..).unwrap_or_default(),
                Err(error) if is_pause(&error) && !self.lock().is_closed => {}
                Err(error) => return Err(error),
            }
        }
        writer.flush()
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

impl ThreadedIo {
    /// Starts a thread for the reader and one for the writer.
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let io = Self(Arc::default());
        let [shared, other] = [&io.0; 2].map(Arc::clone);
        let thread = |name: &str| thread::Builder::new().name(name.into());
        thread("farlink reader").spawn(move || shared.read(reader))?;
        thread("farlink writer").spawn(move || other.write(writer))?;
        Ok(io)
    }
}

impl Drop for ThreadedIo {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl ByteStream for ThreadedIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let incoming = &mut state.incoming;
        let count = incoming.octets.len().min(buffer.len());
        if count > 0 {
            for (place, octet) in buffer.iter_mut().zip(incoming.octets.drain(..count)) {
                *place = octet;
            }
            self.0.changed.notify_all();
            return Poll::Ready(Ok(count));
        }
        match incoming.end() {
            Some(end) => Poll::Ready(end.map(|()| 0)),
            None => incoming.wait(cx),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let outgoing = &mut state.outgoing;
        if let Some(end) = outgoing.end() {
            let broken = io::ErrorKind::BrokenPipe.into();
            return Poll::Ready(Err(end.err().unwrap_or(broken)));
        }
        let count = octets
            .len()
            .min(LIMIT.saturating_sub(outgoing.octets.len()));
        if count == 0 {
            return outgoing.wait(cx);
        }
        let taken = octets.get(..count).unwrap_or_default();
        outgoing.octets.extend_from_slice(taken);
        self.0.changed.notify_all();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let is_flushed = state.outgoing.octets.is_empty() && !state.is_writing;
        match state.outgoing.end() {
            Some(end) => Poll::Ready(end),
            None if is_flushed => Poll::Ready(Ok(())),
            None => state.outgoing.wait(cx),
        }
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
    use core::future::poll_fn;
    use std::os::unix::net::UnixStream;

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
        let mut io = ThreadedIo::new(near.try_clone().unwrap(), near).unwrap();

        far.write_all(b"serial").unwrap();
        assert_eq!(read(&mut io).unwrap(), b"serial");
        // More than waits at a time: the writer goes on while the other end reads.
        let long = vec![7; 5 * LIMIT];
        let reader = thread::spawn(move || {
            let mut all = vec![0; 5 * LIMIT];
            far.read_exact(&mut all).map(|()| all)
        });
        let mut rest = &long[..];
        while !rest.is_empty() {
            let count = block_on(poll_fn(|cx| io.poll_write(cx, rest))).unwrap();
            rest = &rest[count..];
        }
        block_on(poll_fn(|cx| io.poll_flush(cx))).unwrap();
        assert!(reader.join().unwrap().unwrap() == long);
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
        let mut io = ThreadedIo::new(Failing(errors), io::sink()).unwrap();

        let error = read(&mut io).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
