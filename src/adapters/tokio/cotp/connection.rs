//! A connection as an application holds it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::clerk::{Clerk, Order, Reply, Shared, Told, is_sure};
use crate::Limits;
use crate::Seed;
use crate::adapters::Detached;
use crate::adapters::cotp::{Ends, Error, Incoming, Info, Options, Side, is_clean};
use crate::adapters::tokio::channel::{self, Receiver, Sender};
use crate::adapters::tokio::driver::Driver;
use crate::adapters::tokio::stream::OneStream;
use crate::cotp::{self, Acceptance, Command, Connected, DisconnectReason, Indication, Refusal};

/// The least and the most octets that may wait in front of the machine, in halves of its own send queue.
///
/// A sender that waits is called when half of them are gone. With a queue of 128 KiB that cost a fifth of
/// the throughput of 16 KiB messages.
const ORDERS: (usize, usize) = (1 << 12, 1 << 19);

/// An open connection; messages go both ways.
///
/// Dropping it, or both its halves, sends what was accepted and closes it.
#[derive(Debug)]
pub struct Connection {
    sender: SendHalf,
    receiver: ReceiveHalf,
}

impl Connection {
    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        self.sender.info()
    }

    /// Sends a message; see [`SendHalf::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send(message).await
    }

    /// Sends 1 to 16 octets ahead of the messages that wait.
    ///
    /// # Errors
    ///
    /// Expedited data were not agreed on, have another length, or the connection ended.
    pub async fn send_expedited(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send_expedited(message).await
    }

    /// Waits for a message; see [`ReceiveHalf::receive`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        self.receiver.receive().await
    }

    /// Waits for whatever comes; see [`ReceiveHalf::incoming`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn incoming(&mut self) -> Result<Option<Incoming>, Error> {
        self.receiver.incoming().await
    }

    /// Waits until everything sent so far is with the system.
    ///
    /// # Errors
    ///
    /// The connection ended before that.
    pub async fn flush(&self) -> Result<(), Error> {
        self.sender.flush().await
    }

    /// Reads on after [`AfterHandshake::Pause`](cotp::AfterHandshake::Pause).
    ///
    /// # Errors
    ///
    /// Nothing is paused, or the connection ended.
    pub async fn resume(&self) -> Result<(), Error> {
        self.sender.command(Command::Resume).await
    }

    /// Sends what was accepted, then ends the connection and waits until the peer did too.
    ///
    /// What the peer still sends is discarded.
    ///
    /// # Errors
    ///
    /// The connection ended in another way, or not everything could be sent.
    pub async fn close(self) -> Result<(), Error> {
        drop(self.receiver);
        self.sender.close().await
    }

    /// Takes the TCP stream, with the octets of it that were read too far, once everything sent so far is
    /// with the system: RDP turns to TLS after the handshake.
    ///
    /// Messages that came before can still be received. A future that is dropped half-way may have cost
    /// the connection.
    ///
    /// # Errors
    ///
    /// Part of a message has come, which would be lost; the connection goes on then. Or it has ended.
    pub async fn take_over(&mut self) -> Result<Detached<TcpStream>, Error> {
        let (taker, answer) = oneshot::channel();
        self.sender.order(Order::Detach(taker)).await?;
        match answer.await {
            Ok(handed) => handed.map_err(|error| self.sender.link.refused(error)),
            Err(_) => Err(self.sender.link.ended()),
        }
    }

    /// Parts the connection in two, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        (self.sender, self.receiver)
    }
}

/// What both halves of a connection know.
#[derive(Clone)]
struct Link {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    info: Arc<Info>,
    send_queue: usize,
}

impl Link {
    /// Returns why there is nothing more.
    fn ended(&self) -> Error {
        ended(&self.shared)
    }

    /// Tells of a message that was lost after it had been ordered.
    fn check_refused(&self) -> Result<(), Error> {
        match self.shared.refused.get() {
            Some(error) => Err(self.refused(*error)),
            None => Ok(()),
        }
    }

    /// Says it by the end, where there is one: the machine only knows that it is closed.
    fn refused(&self, error: cotp::Error) -> Error {
        match (error, self.shared.end.get()) {
            (cotp::Error::Closed, Some(end)) => Error::Ended(Arc::clone(end)),
            (error, _) => Error::Refused(error),
        }
    }
}

fn ended(shared: &Shared) -> Error {
    match shared.end.get() {
        Some(end) => Error::Ended(Arc::clone(end)),
        None => Error::Gone,
    }
}

/// The sending half of a connection. Clones share it.
#[derive(Clone)]
pub struct SendHalf {
    link: Link,
}

impl SendHalf {
    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.link.info
    }

    /// Sends a message, and waits for room in the queue of those not sent yet.
    ///
    /// Messages keep their order. That one was accepted does not mean that it was sent: what ends the
    /// connection is told by the next call, and [`flush`](Self::flush) waits until the system has it all.
    /// A future that is dropped has sent the message whole or not at all.
    ///
    /// While more messages wait to be received than the configuration's receive queue holds, the peer is not
    /// read. Two ends that only send come to a halt once everything between them is full, so who sends must
    /// also receive, or drop the receiving half.
    ///
    /// # Errors
    ///
    /// The message is empty or too long for the queue, or the connection ended.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        let message = message.into();
        self.check()?;
        if is_sure(&message, self.link.send_queue) {
            return self
                .order(Order::Command(Command::Send(message), None))
                .await;
        }
        self.command(Command::Send(message)).await
    }

    /// Sends 1 to 16 octets ahead of the messages that wait.
    ///
    /// # Errors
    ///
    /// Expedited data were not agreed on, have another length, or the connection ended.
    pub async fn send_expedited(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.command(Command::SendExpedited(message.into())).await
    }

    /// Waits until everything sent so far is with the system.
    ///
    /// # Errors
    ///
    /// The connection ended before that.
    pub async fn flush(&self) -> Result<(), Error> {
        match self.ask(Order::Flush).await {
            // An end behind the last octet takes nothing away.
            Err(Error::Ended(end)) if end.unsent == 0 => self.link.check_refused(),
            answer => answer,
        }
    }

    /// Sends what was accepted, then ends the connection and waits until the peer did too.
    ///
    /// # Errors
    ///
    /// The connection ended in another way, or not everything could be sent.
    pub async fn close(self) -> Result<(), Error> {
        let (closer, end) = oneshot::channel();
        let shared = &self.link.shared;
        shared.is_closing.store(true, Ordering::Release);
        let order = Order::Close(closer);
        let weight = order.weight();
        // Whether there is room or not: behind a peer that takes nothing there never will be.
        self.link.orders.push(order, weight);
        // Nothing is ever sent here: the other side is dropped when all is over.
        let _ = end.await;
        match shared.end.get() {
            Some(end) if is_clean(end) => self.link.check_refused(),
            _ => Err(self.link.ended()),
        }
    }

    /// Refuses to go on behind the end, or behind a message that was lost.
    fn check(&self) -> Result<(), Error> {
        match self.link.shared.end.get() {
            Some(end) => Err(Error::Ended(Arc::clone(end))),
            None => self.link.check_refused(),
        }
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.ask(|reply| Order::Command(command, Some(reply))).await
    }

    async fn ask(&self, order: impl FnOnce(Reply) -> Order) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.order(order(reply)).await?;
        match answer.await {
            Ok(answer) => answer.map_err(|error| self.link.refused(error)),
            Err(_) => Err(self.link.ended()),
        }
    }

    async fn order(&self, order: Order) -> Result<(), Error> {
        let weight = order.weight();
        let sent = self.link.orders.send(order, weight).await;
        sent.map_err(|_| self.link.ended())
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}

/// The receiving half of a connection. Once it is dropped, what comes is discarded.
pub struct ReceiveHalf {
    told: Receiver<Told>,
    link: Link,
}

impl ReceiveHalf {
    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.link.info
    }

    /// Waits for a message; `None` when the connection was closed in good order.
    ///
    /// Expedited data, if agreed on, come as messages too; [`incoming`](Self::incoming) tells them apart.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] says why the connection broke; [`Error::NonTpkt`] offers the stream.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        match self.incoming().await? {
            Some(Incoming::Message(octets) | Incoming::Expedited(octets)) => Ok(Some(octets)),
            Some(Incoming::NonTpkt(first)) => Err(Error::NonTpkt(first)),
            None => Ok(None),
        }
    }

    /// Waits for whatever comes; `None` when the connection was closed in good order.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] says why the connection broke.
    pub async fn incoming(&mut self) -> Result<Option<Incoming>, Error> {
        loop {
            match self.told.next().await {
                Some(Told::Incoming(incoming)) => return Ok(Some(incoming)),
                Some(Told::Indication(_) | Told::Connected(_)) => {}
                Some(Told::End(_)) | None => {
                    return match self.link.shared.end.get() {
                        Some(end) if is_clean(end) => Ok(None),
                        _ => Err(self.link.ended()),
                    };
                }
            }
        }
    }
}

impl fmt::Debug for ReceiveHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}

/// A peer that asks for a connection, under [`Policy::Ask`](cotp::Policy::Ask).
///
/// Dropping it closes the connection without an answer.
pub struct Request {
    indication: Box<Indication>,
    opening: Opening,
}

impl Request {
    /// Returns the selectors, and all else that the peer asks for.
    #[must_use]
    pub fn indication(&self) -> &Indication {
        &self.indication
    }

    /// Returns the address that the peer connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.opening.addresses.0
    }

    /// Returns the address of the peer.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.opening.addresses.1
    }

    /// Accepts.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub async fn accept(self) -> Result<Connection, Error> {
        self.accept_with(Acceptance::default()).await
    }

    /// Accepts, with parameters or user data of one's own in the CC.
    ///
    /// # Errors
    ///
    /// They do not fit a CC, or the peer is gone.
    pub async fn accept_with(self, acceptance: Acceptance) -> Result<Connection, Error> {
        self.opening.command(Command::Accept(acceptance)).await?;
        match self.opening.open().await? {
            Opened::Connection(connection) => Ok(connection),
            // There is no second indication.
            Opened::Request(_) => Err(Error::Gone),
        }
    }

    /// Refuses: the peer gets a DR with the reason.
    ///
    /// # Errors
    ///
    /// The information is too long, or the peer is gone.
    pub async fn refuse(self, refusal: impl Into<Refusal>) -> Result<(), Error> {
        self.opening.command(Command::Refuse(refusal.into())).await
    }

    /// Refuses because nobody has the called selector.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub async fn refuse_as_unknown(self) -> Result<(), Error> {
        self.refuse(DisconnectReason::ADDRESS_UNKNOWN).await
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("remote", &self.remote())
            .field("indication", &self.indication)
            .finish_non_exhaustive()
    }
}

/// A connection in its handshake.
pub(super) struct Opening {
    orders: Sender<Order>,
    told: Receiver<Told>,
    shared: Arc<Shared>,
    side: Side,
    /// Local and remote.
    addresses: Ends,
    send_queue: usize,
}

/// What became of a handshake.
pub(super) enum Opened {
    Connection(Connection),
    Request(Request),
}

impl Opening {
    /// Starts a connection on a stream, in a task of its own.
    pub(super) fn start(stream: TcpStream, options: &Options, seed: &Seed) -> Result<Self, Error> {
        let addresses = (stream.local_addr()?, stream.peer_addr()?);
        let config = options.config.clone();
        let (side, send_queue) = (Side::of(&config), config.send_queue);
        let (patience, receive_queue) = (config.drain_timeout, config.receive_queue);
        let linger = config.close_timeout;
        let machine = options.maker.make(config, seed, addresses)?;
        let (orders, order_receiver) = channel::channel((send_queue / 2).clamp(ORDERS.0, ORDERS.1));
        let (teller, told) = channel::channel(receive_queue);
        let shared = Arc::new(Shared::default());
        let clerk = Clerk::new(order_receiver, teller, Arc::clone(&shared), patience);
        let carriers = OneStream::new(stream, linger);
        let driver = Driver::new(machine, carriers, clerk, options.clock, Limits::default());
        // Its error is known to the machine, which says it in words of its own.
        drop(tokio::spawn(driver.run()));
        Ok(Self {
            orders,
            told,
            shared,
            side,
            addresses,
            send_queue,
        })
    }

    /// Waits for the end of the handshake, or for the peer's request.
    pub(super) async fn open(mut self) -> Result<Opened, Error> {
        match self.told.next().await {
            Some(Told::Connected(agreed)) => Ok(Opened::Connection(self.connected(*agreed))),
            Some(Told::Indication(indication)) => Ok(Opened::Request(Request {
                indication,
                opening: self,
            })),
            Some(Told::End(end)) => Err(Error::Ended(end)),
            Some(Told::Incoming(_)) | None => Err(ended(&self.shared)),
        }
    }

    fn connected(self, agreed: Connected) -> Connection {
        let link = Link {
            orders: self.orders,
            shared: self.shared,
            info: Arc::new(Info::new(self.side, self.addresses, agreed)),
            send_queue: self.send_queue,
        };
        Connection {
            sender: SendHalf { link: link.clone() },
            receiver: ReceiveHalf {
                told: self.told,
                link,
            },
        }
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Command(command, Some(reply));
        let weight = order.weight();
        self.orders.push(order, weight);
        match (answer.await, self.shared.end.get()) {
            (Ok(Ok(())), _) => Ok(()),
            (Ok(Err(error)), None) => Err(Error::Refused(error)),
            (Err(_), None) => Err(Error::Gone),
            (_, Some(end)) => Err(Error::Ended(Arc::clone(end))),
        }
    }
}
