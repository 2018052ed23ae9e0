//! A connection as an application holds it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::AtomicUsize;
use std::net::TcpStream;

use bytes::Bytes;

use super::octets::IntoOctets;
use super::port::{ConnectionPort, Line, Share};
use super::{Arrival, ConnectionOptions, Ends, Error, Incoming, Info};
use crate::adapters::Detached;
#[cfg(feature = "blocking")]
use crate::adapters::blocking::Blocking;
use crate::adapters::driver::{Core, OneStream, Shared};
use crate::adapters::runtime::{ByteStream, NO_ADDRESS, Runtime};
use crate::cotp::{
    Acceptance, Command, ConnectionEnd, DisconnectReason, Event, Indication, Refusal, Role,
};
use crate::{Limits, Seed, Tag};

/// A hold on a connection, which is closed when it is dropped.
#[derive(derive_more::Debug)]
#[debug("..")]
struct Hold(Arc<Shared<ConnectionPort>>);

impl Drop for Hold {
    fn drop(&mut self) {
        // It is refused only by a machine that gives its stream away, or has ended.
        let _ = self.0.with(|core| core.give(Command::Close));
    }
}

/// What both halves of a connection hold together.
#[derive(Debug)]
struct Link {
    hold: Hold,
    info: Info,
}

/// An open connection; messages go both ways.
///
/// Dropping it, or both its halves, sends what was accepted and closes it.
#[derive(Debug)]
pub struct Connection {
    link: Arc<Link>,
    receiver: ReceiveHalf,
}

/// The sending half of a connection. Clones share it.
#[derive(Debug, Clone)]
pub struct SendHalf {
    link: Arc<Link>,
}

/// The receiving half of a connection. Once it is dropped, what comes is discarded.
#[derive(Debug)]
pub struct ReceiveHalf {
    link: Arc<Link>,
}

/// A peer that asks for a connection, under [`Policy::Ask`](crate::cotp::Policy::Ask).
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
pub struct ConnectionRequest {
    indication: Box<Indication>,
    opening: PendingConnection,
}

faces! {
    impl Connection, SendHalf, ReceiveHalf {
        /// Returns both addresses, both selectors and the TPDU size.
        #[must_use]
        pub fn info(&self) -> &Info {
            &self.link.info
        }

        /// Tells whether the connection is open, as far as is known: an end behind messages that nobody receives is not
        /// seen.
        #[must_use]
        pub fn is_open(&self) -> bool {
            self.link.hold.0.with(|core| core.check().is_ok()).unwrap_or(false)
        }

        /// Waits until the connection has ended, and returns how. Messages that came before can still be received.
        ///
        /// A receiving half that is neither read nor dropped may hide the end: its peer is not read when the queue is
        /// full.
        ///
        /// # Errors
        ///
        /// [`Error::Closed`]: the runtime stopped the connection.
        pub async fn closed[closed_timeout](&self) -> Result<Arc<ConnectionEnd>, Error> {
            let Hold(shared) = &self.link.hold;
            shared.until(Line::End, |core, _| core.poll_closed()).await?
        }
    }
}

faces! {
    impl Connection, SendHalf {
        /// Sends a message, and waits for room in the queue of those not sent yet.
        ///
        /// Messages keep their order. That one was accepted does not mean that it was sent: what ends the
        /// connection is told by the next call, and `flush` waits until the system has it all. A call that
        /// is given up has sent the message whole or not at all.
        ///
        /// While more messages wait to be received than the receive queue of the configuration holds, the
        /// peer is not read. Two ends that only send come to a halt once everything between them is full,
        /// so who sends must also receive, or drop the receiving half.
        ///
        /// # Errors
        ///
        /// The message is empty or too long for the queue, or the connection ended.
        pub async fn send[send_timeout](&self, message: impl IntoOctets) -> Result<(), Error> {
            self.link.send(Command::Send(message.into_octets())).await
        }

        /// Sends 1 to 16 octets ahead of the messages that wait.
        ///
        /// # Errors
        ///
        /// Expedited data were not agreed on, have another length, or the connection ended.
        pub async fn send_expedited(&self, message: impl IntoOctets) -> Result<(), Error> {
            self.link.send(Command::SendExpedited(message.into_octets())).await
        }

        /// Waits until everything sent so far is with the system.
        ///
        /// # Errors
        ///
        /// The connection ended before that.
        pub async fn flush[flush_timeout](&self) -> Result<(), Error> {
            let (shared, mut ticket) = (&self.link.hold.0, None);
            shared.until(Line::Flush, |core, _| core.poll_flush(&mut ticket)).await?
        }
    }
}

faces! {
    impl Connection, ReceiveHalf {
        /// Waits for a message; `None` when the connection was closed in good order.
        ///
        /// Expedited data, if agreed on, come as messages too; `incoming` tells them apart. A call that is
        /// given up has taken nothing.
        ///
        /// # Errors
        ///
        /// [`Error::Ended`] says why the connection broke; [`Error::NonTpkt`] offers the stream.
        pub async fn receive[receive_timeout](&mut self) -> Result<Option<Bytes>, Error> {
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
        pub async fn incoming[incoming_timeout](&mut self) -> Result<Option<Incoming>, Error> {
            let Hold(shared) = &self.link.hold;
            shared.until(Line::Receive, |core, _| core.poll_incoming()).await?
        }
    }
}

faces! {
    impl Connection {
        /// Reads on after [`AfterHandshake::Pause`](crate::cotp::AfterHandshake::Pause).
        ///
        /// # Errors
        ///
        /// Nothing is paused, or the connection ended.
        pub async fn resume(&self) -> Result<(), Error> {
            self.link.hold.command(Command::Resume)
        }

        /// Sends what was accepted, then ends the connection and waits until the peer did too.
        ///
        /// What the peer still sends is discarded.
        ///
        /// # Errors
        ///
        /// The connection ended in another way, or not everything could be sent.
        pub async fn close[close_timeout](self) -> Result<(), Error> {
            let (sender, _) = self.split();
            sender.close().await
        }

        /// Takes the TCP stream, with the octets of it that were read too far, once everything sent so far
        /// is with the system: RDP turns to TLS after the handshake.
        ///
        /// Messages that came before can still be received. A call that is given up half-way may have cost
        /// the connection. The stream is free of the runtime: blocking if its handles were, otherwise
        /// non-blocking.
        ///
        /// # Errors
        ///
        /// Part of a message has come, which would be lost; the connection goes on then. Or it has ended.
        pub async fn detach(&mut self) -> Result<Detached<TcpStream>, Error> {
            let detached = self.detach_stream().await?.into_tcp()?;
            let Hold(shared) = &self.link.hold;
            detached.stream.set_nonblocking(!shared.runtime().callers_drive())?;
            Ok(detached)
        }

        /// Takes the stream as [`detach`](Self::detach) does, whatever it is: TLS, a Unix socket, one of one's own.
        ///
        /// # Errors
        ///
        /// As there.
        pub async fn detach_stream(&mut self) -> Result<Detached<Box<dyn ByteStream>>, Error> {
            let Hold(shared) = &self.link.hold;
            self.link.hold.command(Command::Detach(Tag(0)))?;
            shared.until(Line::End, |core, _| core.poll_detached()).await?
        }
    }
}

faces! {
    impl SendHalf {
        /// Sends what was accepted, then ends the connection and waits until the peer did too.
        ///
        /// # Errors
        ///
        /// The connection ended in another way, or not everything could be sent.
        pub async fn close[close_timeout](self) -> Result<(), Error> {
            let shared = &self.link.hold.0;
            shared.until(Line::Room, Core::poll_close).await??;
            shared.until(Line::End, |core, _| core.poll_end()).await?
        }
    }
}

faces! {
    impl ConnectionRequest {
        /// Returns the selectors, and all else that the peer asks for.
        #[must_use]
        pub fn indication(&self) -> &Indication {
            &self.indication
        }

        /// Returns the address that the peer connected to.
        #[must_use]
        pub fn local(&self) -> SocketAddr {
            self.opening.ends.0
        }

        /// Returns the address of the peer.
        #[must_use]
        pub fn remote(&self) -> SocketAddr {
            self.opening.ends.1
        }

        /// Accepts.
        ///
        /// # Errors
        ///
        /// The peer is gone.
        pub async fn accept(self) -> Result<Connection, Error> as Result<Blocking<Connection>, Error> {
            self.accept_with(Acceptance::default()).await
        }

        /// Accepts, with parameters or user data of one's own in the CC.
        ///
        /// # Errors
        ///
        /// They do not fit a CC, or the peer is gone.
        pub async fn accept_with(self, acceptance: Acceptance) -> Result<Connection, Error> as Result<Blocking<Connection>, Error> {
            self.opening.hold.command(Command::Accept(acceptance))?;
            match self.opening.opened().await? {
                Arrival::Connection(connection) => Ok(connection),
                // There is no second indication.
                _ => Err(Error::Closed),
            }
        }

        /// Refuses: the peer gets a DR with the reason.
        ///
        /// # Errors
        ///
        /// The information is too long, or the peer is gone.
        pub async fn refuse(self, refusal: impl Into<Refusal>) -> Result<(), Error> {
            self.opening.hold.command(Command::Refuse(refusal.into()))
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
}

impl Connection {
    /// Parts the connection in two, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        (SendHalf { link: self.link }, self.receiver)
    }
}

impl Hold {
    fn command(&self, command: Command) -> Result<(), Error> {
        self.0.with(|core| core.command(command))?
    }
}

impl Link {
    async fn send(&self, command: Command) -> Result<(), Error> {
        let look = |core: &mut Core<_>, place| core.poll_send(place, &command);
        self.hold.0.until(Line::Room, look).await?
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        drop(self.link.hold.0.with(|core| core.port.received.close()));
    }
}

/// A connection in its handshake.
#[derive(Debug)]
pub(super) struct PendingConnection {
    hold: Hold,
    /// This side sent the CR.
    is_initiator: bool,
    /// Local and remote.
    ends: Ends,
}

impl PendingConnection {
    /// Starts a connection on a stream.
    pub(super) fn start(
        runtime: &Arc<dyn Runtime>,
        stream: Box<dyn ByteStream>,
        options: &ConnectionOptions,
        seed: Seed,
        untaken: Option<Arc<AtomicUsize>>,
    ) -> Result<Self, Error> {
        let ends = stream.ends().unwrap_or((NO_ADDRESS, NO_ADDRESS));
        let config = options.config.clone();
        let is_initiator = matches!(config.role, Role::Initiator(_));
        let carrier = Box::new(OneStream::new(stream, config.timers.close_timeout));
        let share = Share::new(&options.reassembly, ends.1);
        let port = ConnectionPort::new(&config, share, untaken);
        let machine = options.factory.make((config, seed, ends))?;
        let (clock, limits) = (options.clock, Limits::default());
        let shared = Shared::start(runtime, clock, limits, port, machine, carrier);
        let member = Arc::downgrade(&shared);
        shared.with(|core| core.port.share.member = member)?;
        Ok(Self {
            hold: Hold(shared),
            is_initiator,
            ends,
        })
    }

    pub(super) fn shared(&self) -> Arc<Shared<ConnectionPort>> {
        Arc::clone(&self.hold.0)
    }

    /// Waits for the end of the handshake, or for the peer's request.
    pub(super) async fn opened(self) -> Result<Arrival, Error> {
        let shared = &self.hold.0;
        let handshake = shared.until(Line::Handshake, |core, _| core.poll_handshake());
        match handshake.await?? {
            Event::Indication(indication) => Ok(Arrival::Request(ConnectionRequest {
                indication,
                opening: self,
            })),
            Event::Connected(agreed) => {
                let info = Info::new(self.is_initiator, self.ends, *agreed);
                let hold = self.hold;
                let link = Arc::new(Link { hold, info });
                let receiver = ReceiveHalf { link: link.clone() };
                Ok(Arrival::Connection(Connection { link, receiver }))
            }
            _ => Err(Error::Closed),
        }
    }
}
