//! What the handles of a node do, short of waiting: that is another matter for tasks than for threads.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::hall::{Hall, Pump};
use super::station::Station;
use super::waiters::Ticket;
use super::{Error, NodeSnapshot, NodeStats, Received};
#[cfg(feature = "blocking")]
use crate::adapters::Clock;
use crate::ltp::{Block, Command, Cue, LineEstimate, Peer, Progress, Red, Service, SessionId};
use crate::{Path, Tag};

/// A hold on a node. The node ends when the last one is gone.
pub(crate) struct Handle<P: Pump>(Arc<Keep<P>>);

struct Keep<P: Pump>(Arc<Hall<P>>);

impl<P: Pump> Drop for Keep<P> {
    fn drop(&mut self) {
        self.0
            .order(|station, now| station.close(now, Duration::ZERO));
        P::part(&self.0);
    }
}

impl<P: Pump> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Pump> Handle<P> {
    pub(crate) fn new(hall: Arc<Hall<P>>) -> Self {
        Self(Arc::new(Keep(hall)))
    }

    pub(crate) fn hall(&self) -> &Hall<P> {
        &self.0.0
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.hall().local()
    }

    pub(crate) fn add_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
        let peer = self.place(peer)?;
        self.command(Command::AddPeer(id, peer.into()))
    }

    pub(crate) fn change_peer(&self, id: u64, peer: Peer<SocketAddr>) -> Result<(), Error> {
        let peer = self.place(peer)?;
        self.command(Command::ChangePeer(id, peer.into()))
    }

    /// Says how the socket reaches a peer, if it can.
    fn place(&self, peer: Peer<SocketAddr>) -> Result<Peer<Path>, Error> {
        let (local, remote) = (self.local(), peer.address);
        if local.is_ipv4() != remote.is_ipv4() || remote.port() == 0 {
            let message = format!("a socket at {local} cannot reach a peer at {remote}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
        }
        Ok(peer.map_address(|remote| Path::udp(local, remote)))
    }

    pub(crate) fn remove_peer(&self, id: u64) -> Result<(), Error> {
        self.hall()
            .order(|station, now| station.remove_peer(now, id))
    }

    pub(crate) fn contact(&self, id: u64, cue: Cue) -> Result<(), Error> {
        self.command(Command::Contact(id, cue))
    }

    fn command(&self, command: Command<Path>) -> Result<(), Error> {
        self.hall()
            .order(|station, now| station.command(now, command))
    }

    pub(crate) fn stats(&self) -> NodeStats {
        self.hall().stats()
    }

    pub(crate) fn cookies(&self, session: SessionId) -> Vec<Bytes> {
        self.hall().with(|station, _| station.cookies(session))
    }

    pub(crate) fn line(&self, peer: u64) -> Option<LineEstimate> {
        self.hall().with(|station, _| station.line(peer))
    }

    /// Returns a handle for every access point and every block that the node has, as after a restart.
    pub(crate) fn kept(&self) -> (Vec<Access<P>>, Vec<Tracked<P>>) {
        let (points, tags) = self.hall().with(|station, _| station.kept());
        let points = points.into_iter().map(|point| {
            Access(Arc::new(Seat {
                handle: self.clone(),
                point,
            }))
        });
        let blocks = tags.into_iter().map(|tag| Tracked {
            handle: self.clone(),
            tag,
        });
        (points.collect(), blocks.collect())
    }

    pub(crate) fn save(&self) -> Result<NodeSnapshot, Error> {
        self.hall().with(|station, now| station.save(now))
    }

    /// Ends the node as it is; [`Leaving::poll`] tells when its socket is closed.
    pub(crate) fn suspend(&self) -> Result<(NodeSnapshot, Leaving<'_, P>), Error> {
        let saved = self.hall().order(Station::suspend)?;
        let leaving = Leaving {
            hall: self.hall(),
            ticket: None,
        };
        Ok((saved, leaving))
    }

    pub(crate) fn ping(&self, peer: u64) -> Asking<'_, P> {
        Asking {
            hall: self.hall(),
            peer,
            ticket: None,
        }
    }

    pub(crate) fn open(&self, client: u64, service: Service) -> Result<Access<P>, Error> {
        let name = self
            .hall()
            .order(|station, now| station.open(now, client, service))?;
        Ok(Access(Arc::new(Seat {
            handle: self.clone(),
            point: (client, name),
        })))
    }

    /// Begins to end the node; [`Leaving::poll`] tells when it has.
    pub(crate) fn leave(&self, limit: Duration) -> Leaving<'_, P> {
        self.hall().order(|station, now| station.close(now, limit));
        Leaving {
            hall: self.hall(),
            ticket: None,
        }
    }
}

/// Somebody who waits for a peer to answer.
pub(crate) struct Asking<'a, P: Pump> {
    hall: &'a Hall<P>,
    peer: u64,
    ticket: Option<Ticket>,
}

impl<P: Pump> Asking<'_, P> {
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Duration, Error>> {
        let (peer, ticket) = (self.peer, &mut self.ticket);
        let is_first = ticket.is_none();
        let polled = self
            .hall
            .with(|station, now| station.poll_ping(now, peer, ticket, cx.waker()));
        if is_first {
            P::stir(self.hall);
        }
        polled
    }
}

impl<P: Pump> Drop for Asking<'_, P> {
    fn drop(&mut self) {
        let (peer, ticket) = (self.peer, &mut self.ticket);
        if ticket.is_some() {
            self.hall
                .with(|station, _| station.stop_asking(peer, ticket));
        }
    }
}

/// Somebody who waits for the end of a node.
pub(crate) struct Leaving<'a, P: Pump> {
    hall: &'a Hall<P>,
    ticket: Option<Ticket>,
}

impl<P: Pump> Leaving<'_, P> {
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let ticket = &mut self.ticket;
        self.hall
            .with(|station, _| station.poll_end(ticket, cx.waker()))
    }
}

impl<P: Pump> Drop for Leaving<'_, P> {
    fn drop(&mut self) {
        let ticket = &mut self.ticket;
        if ticket.is_some() {
            self.hall.with(|station, _| station.stop_leaving(ticket));
        }
    }
}

/// A hold on an access point. It is closed when the last one is gone.
pub(crate) struct Access<P: Pump>(Arc<Seat<P>>);

struct Seat<P: Pump> {
    handle: Handle<P>,
    /// Client service and name.
    point: (u64, u64),
}

impl<P: Pump> Seat<P> {
    fn close(&self) {
        let point = self.point;
        self.handle
            .hall()
            .order(|station, now| station.close_point(now, point));
    }
}

impl<P: Pump> Drop for Seat<P> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<P: Pump> Clone for Access<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Pump> Access<P> {
    pub(crate) fn client(&self) -> u64 {
        self.0.point.0
    }

    /// Returns the clock that the node lives by.
    #[cfg(feature = "blocking")]
    pub(crate) fn clock(&self) -> &Clock {
        self.hall().clock()
    }

    pub(crate) fn is_open(&self) -> bool {
        let point = self.0.point;
        self.hall().with(|station, _| station.is_open(point))
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) fn interrupt(&self) {
        let point = self.0.point;
        self.hall().with(|station, _| station.interrupt(point));
    }

    pub(crate) fn start(&self, to: u64, data: Bytes, red: Red) -> Starting<'_, P> {
        let block = Block {
            // Drawn when it is given to the engine.
            tag: Tag(0),
            to,
            client: self.client(),
            data,
            red,
        };
        Starting {
            access: self,
            block,
            ticket: None,
        }
    }

    pub(crate) fn receive(&self) -> Receiving<'_, P> {
        Receiving {
            access: self,
            ticket: None,
        }
    }

    pub(crate) fn try_receive(&self) -> Result<Option<Received>, Error> {
        let point = self.0.point;
        self.hall()
            .order(|station, now| station.try_receive(now, point))
    }

    pub(crate) fn refuse(&self, session: SessionId) -> Result<(), Error> {
        self.0.handle.command(Command::Refuse(session))
    }

    fn hall(&self) -> &Hall<P> {
        self.0.handle.hall()
    }
}

/// A block that waits for room.
pub(crate) struct Starting<'a, P: Pump> {
    access: &'a Access<P>,
    block: Block,
    ticket: Option<Ticket>,
}

impl<P: Pump> Starting<'_, P> {
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Tracked<P>, Error>> {
        let Self {
            access,
            block,
            ticket,
        } = self;
        let point = access.0.point;
        let polled = access
            .hall()
            .with(|station, now| station.poll_start(now, point, block, ticket, cx.waker()));
        // Not before the handle is there: the machine may be polled in this thread.
        let polled = polled.map_ok(|tag| Tracked {
            handle: access.0.handle.clone(),
            tag,
        });
        if polled.is_ready() {
            P::stir(access.hall());
        }
        polled
    }
}

impl<P: Pump> Drop for Starting<'_, P> {
    fn drop(&mut self) {
        let (peer, ticket) = (self.block.to, &mut self.ticket);
        if ticket.is_some() {
            let hall = self.access.hall();
            hall.with(|station, _| station.stop_starting(peer, ticket));
        }
    }
}

/// Somebody who waits at an access point.
pub(crate) struct Receiving<'a, P: Pump> {
    access: &'a Access<P>,
    ticket: Option<Ticket>,
}

impl<P: Pump> Receiving<'_, P> {
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Received, Error>> {
        let (point, ticket) = (self.access.0.point, &mut self.ticket);
        let hall = self.access.hall();
        let polled = hall.with(|station, now| station.poll_receive(now, point, ticket, cx.waker()));
        if polled.is_ready() {
            // The engine was asked for the next item.
            P::stir(hall);
        }
        polled
    }
}

impl<P: Pump> Drop for Receiving<'_, P> {
    fn drop(&mut self) {
        let (point, ticket) = (self.access.0.point, &mut self.ticket);
        if ticket.is_some() {
            let hall = self.access.hall();
            hall.with(|station, _| station.stop_receiving(point, ticket));
        }
    }
}

/// A block that the engine has accepted.
pub(crate) struct Tracked<P: Pump> {
    handle: Handle<P>,
    tag: Tag,
}

impl<P: Pump> Tracked<P> {
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<SessionId, Error>> {
        let hall = self.handle.hall();
        hall.with(|station, _| station.poll_outcome(self.tag, cx.waker()))
    }

    /// Returns the clock that the node lives by.
    #[cfg(feature = "blocking")]
    pub(crate) fn clock(&self) -> &Clock {
        self.handle.hall().clock()
    }

    pub(crate) const fn tag(&self) -> Tag {
        self.tag
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        let hall = self.handle.hall();
        hall.with(|station, _| station.progress(self.tag))
    }

    pub(crate) fn cancel(&self) {
        // Refused when the block is over, which is just as well.
        let _ = self.handle.command(Command::Cancel(self.tag));
    }
}

impl<P: Pump> Drop for Tracked<P> {
    fn drop(&mut self) {
        let hall = self.handle.hall();
        hall.with(|station, _| station.unwatch(self.tag));
    }
}
