//! Loopback addresses that no two sockets of a test program share.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(1);

/// An address with a port of the system's choice. Whoever gives the port up and takes it again finds it
/// free, and nobody at it in between: the other tests are elsewhere, as far as the system has the addresses.
pub(crate) fn here() -> SocketAddr {
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let host = if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 1, high, low)
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::from((host, 0))
}
