//! UDP sockets that move batches: a whole [`Transmit`](crate::Transmit) leaves in one call of the system,
//! and many datagrams come in one.
//!
//! | what | where | else |
//! |---|---|---|
//! | a batch is one send (GSO) | Linux since 4.18 | datagram by datagram, also once the kernel has refused |
//! | a train of datagrams is one read (GRO) | Linux since 5.0 | datagram by datagram |
//! | several reads are one call (`recvmmsg`) | Linux, Android, FreeBSD | one read a call |
//! | buffers of the size asked for, beyond `net.core.rmem_max` for root | Linux | what the system grants |
//!
//! The drivers use these sockets by themselves. What the table says needs the feature `offload`; without it
//! a [`Socket`] is the plain socket in it, and leaves its buffers alone.
//!
//! Datagrams that exceed the MTU of the way are fragmented by IP on Linux, with the feature as without, unless
//! the socket was told otherwise; they leave one by one, and from the first refusal on all do. Elsewhere they are
//! not sent with the feature, and counted as unsent: `quinn-udp` forbids it. Shorter datagrams are better in
//! any case, as one lost fragment loses all of it.
//!
//! With the feature, the datagrams of a batch leave with DSCP 0, which is the way of `quinn-udp`.
//!
//! ```
//! use std::net::UdpSocket;
//! use farlink::adapters::offload::{Inbox, Options, Socket};
//! use farlink::{Limits, Path, Transmit};
//!
//! let sender = Socket::new(UdpSocket::bind("127.0.0.1:0")?, &Options::default())?;
//! let receiver = Socket::new(UdpSocket::bind("127.0.0.1:0")?, &Options::default())?;
//! let to = Path::udp(sender.local_addr(), receiver.local_addr());
//! let mut tx = Transmit::new(Limits::default());
//! for number in 0..10 {
//!     tx.push(to, 1000, |out| out.resize(out.len() + 1000, number));
//! }
//!
//! let mut sent = 0;
//! while !sender.send(&tx, &mut sent) { /* wait until the socket takes more, and read meanwhile */ }
//!
//! let mut inbox = Inbox::default();
//! let mut numbers = Vec::new();
//! while numbers.len() < 10 {
//!     // A loop of your own waits here, once there is nothing to read.
//!     let _ = receiver.receive(&mut inbox, |_from, octets| numbers.push(octets[0]));
//! }
//! assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
//! # Ok::<(), std::io::Error>(())
//! ```

mod buffers;
mod counts;
mod endpoint;
mod inbox;
#[cfg(feature = "offload")]
mod kernel;
#[cfg(not(feature = "offload"))]
#[path = "kernel_absent.rs"]
mod kernel;
mod socket;

pub use buffers::Buffers;
pub use counts::Counts;
pub use endpoint::{Endpoint, Side};
pub use inbox::Inbox;
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub(crate) use inbox::give_to;
pub use socket::{Options, Socket};
