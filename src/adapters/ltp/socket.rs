//! The socket of a node.

use alloc::format;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

use socket2::{Domain, Protocol, Socket, Type};

use super::Options;

/// Binds the socket of a node. It shares its port with nobody: a second node would take half of what comes.
pub(crate) fn bind(local: SocketAddr, options: &Options) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        // Systems differ in the default.
        socket.set_only_v6(true)?;
    }
    // A system that gives less is as good as one with small buffers.
    let _ = socket.set_recv_buffer_size(options.receive_buffer);
    let _ = socket.set_send_buffer_size(options.send_buffer);
    socket
        .bind(&local.into())
        .map_err(|error| explained(local, error))?;
    Ok(socket.into())
}

fn explained(local: SocketAddr, error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        let message = format!("another node or program has the socket at {local}");
        return io::Error::new(error.kind(), message);
    }
    error
}
