//! Sockets on demand.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::adapters::cause::cause_of_failure;
use crate::{Cause, Path};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long a listener rests after an error such as a lack of files, which would come again at once.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Binds a UDP socket. It shares its port with nobody, or two relays could get the same.
pub(super) fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(local, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}

/// Listens on a TCP port, from which connections can be made too.
pub(super) fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp(local)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Prepares a connection from the local address of `path`, and returns the path with the real port.
pub(super) fn prepare(path: Path) -> io::Result<(Path, TcpSocket)> {
    let socket = tcp(path.local)?;
    // Bound even to port 0: a machine is told the port it has, and that is known from here on.
    socket.bind(&path.local.into())?;
    let socket = TcpSocket::from_std_stream(socket.into());
    Ok((with_port(path, socket.local_addr()?), socket))
}

/// Connects what was prepared.
///
/// # Errors
///
/// Why there is no connection, in the machine's terms.
pub(super) async fn connect(socket: TcpSocket, remote: SocketAddr) -> Result<TcpStream, Cause> {
    match socket.connect(remote).await {
        Ok(stream) => {
            without_delay(&stream);
            Ok(stream)
        }
        // The socket is bound, so its address exists: taken is this pair of addresses.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Err(Cause::InUse),
        Err(error) => Err(cause_of_failure(&error)),
    }
}

/// Returns `path` with the port that the system chose.
pub(super) fn with_port(path: Path, real: SocketAddr) -> Path {
    let local = SocketAddr::new(path.local.ip(), real.port());
    Path { local, ..path }
}

/// Machines write whole messages, and Nagle's algorithm would hold the last segment of each.
pub(super) fn without_delay(stream: &TcpStream) {
    // A socket without the option works all the same.
    let _ = stream.set_nodelay(true);
}

/// Tells whether the next connection can be accepted at once although this one could not.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted
    )
}

fn tcp(local: SocketAddr) -> io::Result<Socket> {
    let socket = socket(local, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    // Beside a listener Linux refuses a bind with the first option alone.
    #[cfg(all(
        unix,
        not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
    ))]
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn socket(local: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if local.is_ipv6() {
        // Systems differ in the default, and with the other one a machine cannot hold the IPv4 socket of
        // the same port beside it.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
