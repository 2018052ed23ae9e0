//! UDP sockets that move batches: a whole [`Transmit`](crate::Transmit) leaves in one system call, and many
//! datagrams come in one.
//!
//! | what | where | otherwise |
//! |---|---|---|
//! | a batch is one send (GSO) | Linux since 4.18 | datagram by datagram, also once the kernel has refused |
//! | several datagrams are one read (GRO) | Linux since 5.0 | datagram by datagram |
//! | several reads are one call (`recvmmsg`) | Linux, Android, FreeBSD | one read a call |
//! | buffers of the size asked for, beyond `net.core.rmem_max` for root | Linux | what the system grants |
//!
//! All drivers use these system calls. A [`Socket`] is for a loop of one's own.
//!
//! Datagrams that exceed the MTU of the path are fragmented by IP, unless the socket was told otherwise; they
//! leave one by one, and from the first refusal on all do. Shorter datagrams are better in any case, as one
//! lost fragment loses all of it.
//!
//! The datagrams of a batch leave with DSCP 0, which is how `quinn-udp` sends.
//!
//! ```
//! use std::net::UdpSocket;
//! use farlink::adapters::udp::{RecvBuffers, Socket, UdpOptions};
//! use farlink::{Limits, Path, Transmit};
//!
//! let sender = Socket::new(UdpSocket::bind("127.0.0.1:0")?, &UdpOptions::default())?;
//! let receiver = Socket::new(UdpSocket::bind("127.0.0.1:0")?, &UdpOptions::default())?;
//! let to = Path::udp(sender.local_addr(), receiver.local_addr());
//! let mut tx = Transmit::new(Limits::default());
//! for number in 0..10 {
//!     tx.push(to, 1000, |out| out.resize(out.len() + 1000, number));
//! }
//!
//! let mut sent = 0;
//! while !sender.send(&tx, &mut sent) { /* wait until the socket is writable, and read meanwhile */ }
//!
//! let mut buffers = RecvBuffers::default();
//! let mut numbers = Vec::new();
//! while numbers.len() < 10 {
//!     // A loop of your own waits here, once there is nothing to read.
//!     let _ = receiver.receive(&mut buffers, |_from, octets| numbers.push(octets[0]));
//! }
//! assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
//! # Ok::<(), std::io::Error>(())
//! ```

mod offload;
mod recv_buffers;
mod socket;
mod stats;

#[cfg(any(feature = "blocking", feature = "tokio"))]
pub(super) use offload::Offload;
pub use recv_buffers::RecvBuffers;
pub use socket::{BufferSizes, Socket, UdpOptions};
pub use stats::{SocketCounters, SocketStats, UdpStats};
