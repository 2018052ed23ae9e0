//! DTP nodes in tasks of tokio: payloads that are served and got.
//!
//! ```
//! use std::net::UdpSocket;
//!
//! use farlink::adapters::interfaces::Interfaces;
//! use farlink::adapters::tokio::dtp::Node;
//! use farlink::dtp::{Config, GetOptions};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
//! let [ground, flight] = [sockets[0].local_addr()?, sockets[1].local_addr()?];
//! let start = |address, socket, peer| {
//!     let mut interfaces = Interfaces::new();
//!     interfaces.add_udp_peer(0, socket, peer)?;
//!     let mut config = Config::default();
//!     config.csp.address = address;
//!     Node::start(interfaces, config)
//! };
//! let [socket, other] = sockets;
//! let (client, server) = (start(2, socket, flight)?, start(1, other, ground)?);
//!
//! server.serve(3, "a picture")?;
//! let mut download = client.get(1, 3, GetOptions::default())?;
//! let run = download.next_run().await?.unwrap();
//! assert_eq!((run.offset, &run.data[..]), (0, &b"a picture"[..]));
//! assert_eq!(download.next_run().await?, None);
//! # Ok::<_, farlink::adapters::dtp::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub use crate::adapters::dtp::{
    Download, DownloadProgress, DtpOptions, DtpStats, Error, Node, NodeFactory, NodeMachine,
    PayloadNeed, PayloadRun, ServedRequest,
};
