//! CSP nodes in tasks of tokio: connections, packets, pings and services.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::time::Duration;
//!
//! use farlink::adapters::interfaces::Interfaces;
//! use farlink::adapters::tokio::csp::Node;
//! use farlink::csp::{Config, Endpoint, SendOptions, SocketOptions};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
//! let [ground, flight] = [sockets[0].local_addr()?, sockets[1].local_addr()?];
//! let start = |address, socket, peer| {
//!     let mut interfaces = Interfaces::new();
//!     interfaces.add_udp_peer(0, socket, peer)?;
//!     Node::start(interfaces, Config { address, ..Config::default() })
//! };
//! let [socket, other] = sockets;
//! let (client, server) = (start(2, socket, flight)?, start(1, other, ground)?);
//! client.ping(1, 10, Duration::from_secs(1)).await?;
//!
//! let socket = server.bind(10, SocketOptions::empty())?;
//! let connection = client.connect(Endpoint { address: 1, port: 10 }, SendOptions::default()).await?;
//! connection.send("hello").await?;
//! let accepted = socket.accept().await?;
//! assert_eq!(accepted.receive().await?.unwrap(), "hello");
//! connection.close().await?;
//! assert_eq!(accepted.receive().await?, None);
//! # Ok::<_, farlink::adapters::csp::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub use crate::adapters::csp::{
    AskedService, BoundPort, Connection, CspFactory, CspMachine, CspOptions, CspStats, Error, Node,
    NodeAnswer, ReceivedPacket,
};
