//! Handles of COTP whose methods are awaited, on either runtime, or block: one type for the bodies of tests.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use farlink::adapters::Detached;
use farlink::adapters::blocking::cotp as blocking;
use farlink::adapters::cotp::{
    self, Arrival, ConnectionOptions, Error, Incoming, Info, IntoOctets,
};
use farlink::cotp::{Config, ConnectionEnd, DisconnectReason, Indication, Policy};

use crate::loopback::here;
use crate::on::On;

/// A handle with either face.
#[derive(Clone, Debug)]
pub(crate) enum Face<A, B> {
    Awaited(A),
    Blocking(B),
}

pub(crate) type Connection = Face<cotp::Connection, blocking::Connection>;
pub(crate) type SendHalf = Face<cotp::SendHalf, blocking::SendHalf>;
pub(crate) type ReceiveHalf = Face<cotp::ReceiveHalf, blocking::ReceiveHalf>;
pub(crate) type Request = Face<cotp::ConnectionRequest, blocking::ConnectionRequest>;
pub(crate) type Listener = Face<cotp::Listener, blocking::Listener>;

macro_rules! methods {
    ($($handle:ident { $(async fn $name:ident($this:ident: $by:ty $(, $arg:ident: $ty:ty)*) -> $ret:ty;)* })*) => {$(
        impl $handle {
            $(pub(crate) async fn $name($this: $by $(, $arg: $ty)*) -> $ret {
                match $this {
                    Self::Awaited(handle) => handle.$name($($arg),*).await,
                    Self::Blocking(handle) => handle.$name($($arg),*),
                }
            })*
        }
    )*};
}

methods! {
    Connection {
        async fn send(self: &Self, message: impl IntoOctets) -> Result<(), Error>;
        async fn send_expedited(self: &Self, message: impl IntoOctets) -> Result<(), Error>;
        async fn flush(self: &Self) -> Result<(), Error>;
        async fn receive(self: &mut Self) -> Result<Option<Bytes>, Error>;
        async fn closed(self: &Self) -> Result<Arc<ConnectionEnd>, Error>;
        async fn incoming(self: &mut Self) -> Result<Option<Incoming>, Error>;
        async fn close(self: Self) -> Result<(), Error>;
    }
    SendHalf {
        async fn send(self: &Self, message: impl IntoOctets) -> Result<(), Error>;
        async fn closed(self: &Self) -> Result<Arc<ConnectionEnd>, Error>;
        async fn flush(self: &Self) -> Result<(), Error>;
        async fn close(self: Self) -> Result<(), Error>;
    }
    ReceiveHalf {
        async fn receive(self: &mut Self) -> Result<Option<Bytes>, Error>;
    }
    Request {
        async fn refuse(self: Self, reason: DisconnectReason) -> Result<(), Error>;
    }
}

impl Connection {
    pub(crate) fn info(&self) -> &Info {
        match self {
            Self::Awaited(connection) => connection.info(),
            Self::Blocking(connection) => connection.info(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Awaited(connection) => connection.is_open(),
            Self::Blocking(connection) => connection.is_open(),
        }
    }

    pub(crate) fn split(self) -> (SendHalf, ReceiveHalf) {
        match self {
            Self::Awaited(connection) => {
                let (sender, receiver) = connection.split();
                (Face::Awaited(sender), Face::Awaited(receiver))
            }
            Self::Blocking(connection) => {
                let (sender, receiver) = connection.split();
                (Face::Blocking(sender), Face::Blocking(receiver))
            }
        }
    }

    /// Detaches the stream, which blocks where handles do.
    pub(crate) async fn detach(&mut self) -> Result<Detached<TcpStream>, Error> {
        match self {
            Self::Awaited(connection) => connection.detach().await,
            Self::Blocking(connection) => connection.detach(),
        }
    }
}

impl Request {
    pub(crate) fn indication(&self) -> &Indication {
        match self {
            Self::Awaited(request) => request.indication(),
            Self::Blocking(request) => request.indication(),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Awaited(request) => request.local(),
            Self::Blocking(request) => request.local(),
        }
    }

    pub(crate) async fn accept(self) -> Result<Connection, Error> {
        match self {
            Self::Awaited(request) => request.accept().await.map(Face::Awaited),
            Self::Blocking(request) => request.accept().map(Face::Blocking),
        }
    }
}

impl Listener {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Awaited(listener) => listener.local_addr(),
            Self::Blocking(listener) => listener.local_addr(),
        }
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        match self {
            Self::Awaited(listener) => listener.local_addrs(),
            Self::Blocking(listener) => listener.local_addrs(),
        }
    }

    pub(crate) fn close(&self) {
        match self {
            Self::Awaited(listener) => listener.close(),
            Self::Blocking(listener) => listener.close(),
        }
    }

    pub(crate) async fn accept(&self) -> Result<Connection, Error> {
        match self {
            Self::Awaited(listener) => listener.accept().await.map(Face::Awaited),
            Self::Blocking(listener) => listener.accept().map(Face::Blocking),
        }
    }

    pub(crate) async fn next(&self) -> Result<Arrival<Connection, Request>, Error> {
        Ok(match self {
            Self::Awaited(listener) => faced(
                listener.next().await?,
                Connection::Awaited,
                Request::Awaited,
            ),
            Self::Blocking(listener) => {
                faced(listener.next()?, Connection::Blocking, Request::Blocking)
            }
        })
    }
}

fn faced<C, R>(
    arrival: Arrival<C, R>,
    connection: fn(C) -> Connection,
    request: fn(R) -> Request,
) -> Arrival<Connection, Request> {
    match arrival {
        Arrival::Connection(inner) => Arrival::Connection(connection(inner)),
        Arrival::Request(inner) => Arrival::Request(request(inner)),
        Arrival::Failed { remote, error } => Arrival::Failed { remote, error },
    }
}

impl On {
    pub(crate) fn listen(&self, options: impl Into<ConnectionOptions>) -> Result<Listener, Error> {
        self.listen_at(&[here()], options)
    }

    pub(crate) fn listen_at(
        &self,
        addresses: &[SocketAddr],
        options: impl Into<ConnectionOptions>,
    ) -> Result<Listener, Error> {
        let addresses = addresses.iter().copied();
        match self {
            Self::Blocking => {
                let addresses: Vec<_> = addresses.collect();
                blocking::listen(&addresses[..], options).map(Face::Blocking)
            }
            _ => cotp::listen(&self.runtime(), addresses, options).map(Face::Awaited),
        }
    }

    pub(crate) fn server(&self, policy: Policy) -> Listener {
        self.listen(Config::responder(policy)).unwrap()
    }

    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        options: impl Into<ConnectionOptions>,
    ) -> impl Future<Output = Result<Connection, Error>> + Send + 'static {
        let (on, options) = (self.clone(), options.into());
        async move {
            if let Self::Blocking = on {
                return blocking::connect(address, options).map(Face::Blocking);
            }
            let connected = cotp::connect(&on.runtime(), [address], options).await;
            connected.map(Face::Awaited)
        }
    }

    pub(crate) async fn connect_on(
        &self,
        stream: TcpStream,
        options: impl Into<ConnectionOptions>,
    ) -> Result<Connection, Error> {
        if let Self::Blocking = self {
            return blocking::connect_on(stream, options).map(Face::Blocking);
        }
        let connected = cotp::connect_on(&self.runtime(), stream, options).await;
        connected.map(Face::Awaited)
    }

    pub(crate) async fn pair(&self, config: Config) -> (Connection, Connection) {
        let listener = self.server(Policy::AcceptAny);
        let connecting = self.connect(listener.local_addr(), config);
        let (near, far) = tokio::join!(connecting, listener.accept());
        (near.unwrap(), far.unwrap())
    }
}
