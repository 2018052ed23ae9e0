//! What an adapter needs of an asynchronous runtime.
//!
//! The crate brings two runtimes: tokio (`adapters::tokio`) and threads (`adapters::blocking`). Another one
//! is supported by implementing [`Runtime`]; all handles then work on it, as none of them has the runtime
//! as a type parameter.

use alloc::boxed::Box;
use core::any::Any;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// What kind of socket a [`Source`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A TCP connection, or one that is being established.
    Stream,
    /// A UDP socket.
    Datagram,
    /// A TCP listener.
    Listener,
}

/// The direction of an operation on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a socket has these two directions")]
pub enum Way {
    /// Receiving and accepting.
    In,
    /// Sending and connecting.
    Out,
}

/// What an operation on a socket achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by every operation")]
pub struct Moved {
    /// The result of [`Source::poll_io`]: mostly a number of octets.
    pub count: usize,
    /// The next operation in this direction would block, so the readiness of the socket can be cleared.
    pub drained: bool,
}

impl Moved {
    /// `count` is the result of [`Source::poll_io`]; `drained` says that the next operation would block.
    #[must_use]
    pub const fn new(count: usize, drained: bool) -> Self {
        Self { count, drained }
    }
}

/// The future of a driver, to be run until it ends.
pub type DriverFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime: clock, timers, tasks and the readiness of sockets.
///
/// All methods may be called from any thread.
pub trait Runtime: Send + Sync + 'static {
    /// Reads the clock by which the [timers](Self::timer) fire.
    fn now(&self) -> std::time::Instant;

    /// Makes a timer that fires at `at`, never earlier by the clock of [`now`](Self::now).
    fn timer(&self, at: std::time::Instant) -> Box<dyn Timer>;

    /// Runs `driver` to its end. Dropping it earlier closes the connection or node that it drives.
    fn spawn(&self, driver: DriverFuture);

    /// Registers a non-blocking socket.
    ///
    /// # Errors
    ///
    /// The system or the runtime cannot watch the socket.
    fn watch(&self, socket: Socket, kind: Kind) -> io::Result<Box<dyn Source>>;

    /// Whether the threads that call handles also send and receive, and leave to the driver what is left.
    ///
    /// This saves a switch of threads per message where callers block; where callers are tasks, messages
    /// are better sent in batches by the driver alone. Default: false.
    fn callers_drive(&self) -> bool {
        false
    }
}

/// A timer of a [`Runtime`].
pub trait Timer: Send {
    /// Makes the timer fire at `at`.
    fn reset(&mut self, at: std::time::Instant);

    /// Waits until the timer fires.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A non-blocking socket whose readiness a [`Runtime`] watches.
///
/// All polls of one direction use the same waker, that of the driver, though different threads may call.
pub trait Source: Send + Sync {
    /// Returns the socket, for its options and addresses.
    fn socket(&self) -> SockRef<'_>;

    /// Runs `op` while the socket is ready; registers the waker when `op` fails with `WouldBlock`.
    ///
    /// `op` may run any number of times and must not block.
    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        way: Way,
        op: &mut dyn FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>>;

    /// Accepts a connection of a listener. The returned socket is non-blocking; its address is 0.0.0.0:0 if it has none
    /// of IP.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let mut accepted = None;
        let accept = &mut |listener: &Socket| {
            accepted = Some(listener.accept()?);
            Ok(Moved::new(1, false))
        };
        ready!(self.poll_io(cx, Way::In, accept))?;
        let (socket, remote) = accepted.ok_or(io::ErrorKind::WouldBlock)?;
        socket.set_nonblocking(true)?;
        Poll::Ready(Ok((socket, remote.as_socket().unwrap_or(NO_ADDRESS))))
    }

    /// Takes the socket out of the runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot deregister it; the socket is closed then.
    fn into_socket(self: Box<Self>) -> io::Result<Socket>;
}

/// A byte stream that a driver can own: TCP, TLS over it, a pipe, a serial line.
///
/// The methods that poll have the contracts of [`Read`](io::Read) and [`Write`](io::Write), except that
/// they register the waker and return `Pending` where those block.
pub trait ByteStream: Send + 'static {
    /// Reads into `buffer` and returns how many octets were read; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes from `octets` and returns how many octets were taken.
    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>>;

    /// Waits until everything written is with the system. A driver flushes what it writes at once; until that is done
    /// the stream counts as full.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes and ends the sending direction: FIN, or `close_notify` and FIN.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until the stream is established. By default it is so from the start.
    ///
    /// # Errors
    ///
    /// It cannot be established.
    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Returns the local and the remote address, if it has any.
    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        None
    }

    /// Makes the stream end by RST when it is dropped, if it can.
    fn reset(&mut self) {}

    /// Turns the stream into a value that can be cast to its type.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<S: ByteStream> From<S> for Box<dyn ByteStream> {
    fn from(stream: S) -> Self {
        Box::new(stream)
    }
}

/// The address of what has none of IP.
pub(crate) const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A TCP connection, or one of a Unix socket, as a [`ByteStream`].
#[derive(derive_more::Debug)]
#[debug("TcpIo(..)")]
pub struct TcpIo {
    source: Box<dyn Source>,
}

impl TcpIo {
    /// Registers a connected, non-blocking socket with `runtime`.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    pub fn new(runtime: &dyn Runtime, socket: Socket) -> io::Result<Self> {
        let source = runtime.watch(socket, Kind::Stream)?;
        Ok(Self { source })
    }

    /// Returns the socket, for its options and addresses.
    #[must_use]
    pub fn socket(&self) -> SockRef<'_> {
        self.source.socket()
    }

    /// Connects to `remote`.
    ///
    /// # Errors
    ///
    /// The connection is refused or times out, or the runtime cannot watch the socket.
    pub async fn connect(runtime: &dyn Runtime, remote: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(remote);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        let mut stream = Self::begin(runtime, socket, remote)?;
        poll_fn(|cx| stream.poll_connected(cx)).await?;
        Ok(stream)
    }

    /// Begins to connect `socket`; [`poll_connected`](ByteStream::poll_connected) follows.
    pub(crate) fn begin(
        runtime: &dyn Runtime,
        socket: Socket,
        remote: SocketAddr,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        match socket.connect(&remote.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            Ok(()) | Err(_) => Self::new(runtime, socket),
        }
    }

    /// Takes the socket out of the runtime; it stays non-blocking.
    ///
    /// # Errors
    ///
    /// The runtime cannot deregister it.
    pub fn into_std(self) -> io::Result<TcpStream> {
        Ok(self.source.into_socket()?.into())
    }
}

/// `EINPROGRESS`, for which `std` has no stable kind. Windows says `WouldBlock`.
const IN_PROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    115
} else {
    36
};

fn is_in_progress(error: &io::Error) -> bool {
    let is_started = cfg!(unix) && error.raw_os_error() == Some(IN_PROGRESS);
    is_started || error.kind() == io::ErrorKind::WouldBlock
}

impl ByteStream for TcpIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = &mut |mut socket: &Socket| {
            let count = socket.read(buffer)?;
            // The end of the stream stays readable.
            Ok(Moved::new(count, count > 0 && count < buffer.len()))
        };
        self.source.poll_io(cx, Way::In, read)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let write = &mut |mut socket: &Socket| {
            let count = socket.write(octets)?;
            Ok(Moved::new(count, count < octets.len()))
        };
        self.source.poll_io(cx, Way::Out, write)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(Shutdown::Write))
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let check = &mut |socket: &Socket| {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Ok(_) => Ok(Moved::new(0, false)),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        };
        self.source.poll_io(cx, Way::Out, check).map_ok(drop)
    }

    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.socket();
        let local = socket.local_addr().ok()?.as_socket()?;
        Some((local, socket.peer_addr().ok()?.as_socket()?))
    }

    fn reset(&mut self) {
        // A socket that refuses the option is closed by FIN.
        let _ = self.socket().set_linger(Some(core::time::Duration::ZERO));
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
