//! Many connections on one listener.

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use super::connection::{Connection, Opened, Opening, Request};
use super::prepare;
use crate::adapters::cotp::{Error, Options};
use crate::adapters::tokio::channel::{self, Receiver, Sender};
use crate::adapters::tokio::open;
use crate::{Rng, Seed};

/// Takes connections in, all at once: a peer that is slow in its handshake keeps nobody waiting.
///
/// Dropping it closes the socket and all connections that were not taken. Those that were stay.
pub struct Listener {
    local: SocketAddr,
    arrivals: Receiver<(Arrival, OwnedSemaphorePermit)>,
    task: AbortHandle,
}

/// What a listener has to tell.
#[derive(Debug)]
pub enum Arrival {
    /// A connection is open; the policy of the configuration accepted it.
    Connection(Connection),
    /// A peer asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
    Request(Request),
    /// A handshake came to nothing.
    Failed {
        /// The address of the peer.
        remote: SocketAddr,
        /// Why.
        error: Error,
    },
}

impl Listener {
    pub(super) fn start(listener: TcpListener, options: Options, seed: &Seed) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (sender, arrivals) = channel::channel(usize::MAX);
        let chance = seed.rng();
        let task = tokio::spawn(take_in(listener, options, chance, sender)).abort_handle();
        Ok(Self {
            local,
            arrivals,
            task,
        })
    }

    /// Returns the address it listens on, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next open connection. Requests are accepted, failed handshakes passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]: the runtime stopped the listener.
    pub async fn accept(&mut self) -> Result<Connection, Error> {
        loop {
            match self.next().await? {
                Arrival::Connection(connection) => return Ok(connection),
                Arrival::Request(request) => {
                    if let Ok(connection) = request.accept().await {
                        return Ok(connection);
                    }
                }
                Arrival::Failed { .. } => {}
            }
        }
    }

    /// Waits for the next connection, request or failed handshake.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]: the runtime stopped the listener.
    pub async fn next(&mut self) -> Result<Arrival, Error> {
        let arrival = self.arrivals.next().await;
        arrival.map(|(arrival, _)| arrival).ok_or(Error::Gone)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

async fn take_in(
    listener: TcpListener,
    options: Options,
    mut chance: Rng,
    arrivals: Sender<(Arrival, OwnedSemaphorePermit)>,
) {
    let places = Arc::new(Semaphore::new(options.arrivals.max(1)));
    let options = Arc::new(options);
    let mut handshakes = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while handshakes.try_join_next().is_some() {}
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if open::is_of_one_connection(&error) => continue,
            Err(_) => {
                tokio::time::sleep(open::REST).await;
                continue;
            }
        };
        let mut octets = [0; 32];
        chance.fill(&mut octets);
        let seed = Seed::from_octets(octets);
        let (options, arrivals) = (Arc::clone(&options), arrivals.clone());
        handshakes.spawn(async move {
            let arrival = match receive(stream, &options, &seed).await {
                Ok(Opened::Connection(connection)) => Arrival::Connection(connection),
                Ok(Opened::Request(request)) => Arrival::Request(request),
                Err(error) => Arrival::Failed { remote, error },
            };
            arrivals.push((arrival, place), 1);
        });
    }
}

async fn receive(stream: TcpStream, options: &Options, seed: &Seed) -> Result<Opened, Error> {
    prepare(&stream, options);
    Opening::start(stream, options, seed)?.open().await
}
