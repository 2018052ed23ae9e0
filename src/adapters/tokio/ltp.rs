//! LTP nodes over UDP in tasks of tokio: blocks to and from client services.
//!
//! ```
//! use farlink::adapters::tokio::ltp::{Node, ReceivedKind};
//! use farlink::ltp::{Config, Peer};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let here = "127.0.0.1:0".parse().unwrap();
//! let earth = Node::bind(here, Config::engine(1))?;
//! let mars = Node::bind(here, Config::engine(2))?;
//! earth.add_peer(2, Peer::at(mars.local_addr()))?;
//! mars.add_peer(1, Peer::at(earth.local_addr()))?;
//!
//! let (pictures, album) = (earth.open(4)?, mars.open(4)?);
//! pictures.send(2, "a red planet").await?;
//! let received = album.receive().await?;
//! assert_eq!((received.from, &received.data[..]), (1, &b"a red planet"[..]));
//! assert_eq!(received.kind, ReceivedKind::Whole { ends_block: true });
//! # Ok::<_, farlink::adapters::ltp::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub use crate::adapters::ltp::{
    AccessPoint, EngineFactory, EngineMachine, EngineSetup, Error, Node, NodeOptions, NodeSnapshot,
    NodeStats, Received, ReceivedKind, Restored, Sending,
};
