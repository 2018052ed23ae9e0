//! Tokio as a [`Runtime`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::future::Future as _;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::adapters::runtime::{
    ByteStream, DriverFuture, Kind, Moved, Runtime, Source, Timer, Way,
};

/// Returns the tokio runtime that the caller is in.
///
/// # Panics
///
/// Outside of a tokio runtime. I/O and time have to be enabled in it.
#[must_use]
pub fn runtime() -> Arc<dyn Runtime> {
    Arc::new(Handle::current())
}

impl Runtime for Handle {
    fn now(&self) -> std::time::Instant {
        // A test that pauses tokio's clock must see machine and timers agree.
        let _context = self.enter();
        Instant::now().into_std()
    }

    fn timer(&self, at: std::time::Instant) -> Box<dyn Timer> {
        let _context = self.enter();
        Box::new(Box::pin(sleep_until(Instant::from_std(at))))
    }

    fn spawn(&self, driver: DriverFuture) {
        // A driver yields by itself. With tokio's budget spent, a socket that is ready would seem full.
        drop(Handle::spawn(self, unconstrained(driver)));
    }

    fn watch(&self, socket: Socket, _: Kind) -> io::Result<Box<dyn Source>> {
        let _context = self.enter();
        Ok(Box::new(TcpStream::from_std(socket.into())?))
    }
}

impl Timer for Pin<Box<Sleep>> {
    fn reset(&mut self, at: std::time::Instant) {
        self.as_mut().reset(Instant::from_std(at));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.as_mut().poll(cx)
    }
}

/// Any socket: tokio watches UDP sockets and listeners under this type too, as nothing is asked of it but
/// readiness.
impl Source for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        way: Way,
        op: &mut dyn FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let interest = match way {
                Way::In => {
                    ready!(self.poll_read_ready(cx))?;
                    Interest::READABLE
                }
                Way::Out => {
                    ready!(self.poll_write_ready(cx))?;
                    Interest::WRITABLE
                }
            };
            let socket = SockRef::from(self);
            let mut drained = None;
            let done = self.try_io(interest, || {
                let moved = op(&socket)?;
                if moved.drained {
                    // Tokio clears the readiness by this error alone, and never a closed state.
                    drained = Some(moved.count);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(moved.count)
            });
            match (done, drained) {
                (_, Some(count)) => return Poll::Ready(Ok(count)),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (done, None) => return Poll::Ready(done),
            }
        }
    }

    fn into_socket(self: Box<Self>) -> io::Result<Socket> {
        Ok((*self).into_std()?.into())
    }
}

/// Any stream of tokio's as a [`ByteStream`]: TLS, a pipe, a serial line.
#[derive(derive_more::Debug)]
#[debug("TokioIo(..)")]
pub struct TokioIo<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for TokioIo<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, octets)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let stream = (&self.0 as &dyn Any).downcast_ref::<TcpStream>()?;
        stream.local_addr().ok().zip(stream.peer_addr().ok())
    }

    fn reset(&mut self) {
        if let Some(stream) = (&self.0 as &dyn Any).downcast_ref::<TcpStream>() {
            // A socket that refuses the option is closed by FIN.
            let _ = stream.set_zero_linger();
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        Box::new(self.0)
    }
}
