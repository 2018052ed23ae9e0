//! LTP nodes whose methods block, each call in a thread that waits for nothing else.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::blocking::ltp;
use farlink::adapters::ltp::{Error, NodeOptions, NodeSnapshot, Received};
use farlink::ltp::{Red, Service, SessionId};

use crate::AT_LAST;

/// Runs a future that only ever blocks.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    match pin!(test).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing here awaits"),
    }
}

pub(crate) struct Task<T>(JoinHandle<T>);

pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(thread::spawn(|| run(task)))
}

impl<T> Task<T> {
    pub(crate) async fn join(self) -> T {
        let joined = self.0.join();
        poll_fn(|_| Poll::Ready(())).await;
        joined.unwrap()
    }
}

pub(crate) async fn pause() {
    thread::yield_now();
}

/// Receives the next block, which must come.
pub(crate) async fn next(point: &AccessPoint) -> Received {
    point.receive_timeout(AT_LAST).unwrap()
}

/// Waits for the end of a block, which must come.
pub(crate) async fn end(sending: &mut Sending) -> Result<SessionId, Error> {
    let ended = sending.0.wait_timeout(AT_LAST);
    assert!(!matches!(ended, Err(Error::TimedOut)));
    ended
}

/// Waits for the end of a block, and tells whether it came within `limit`.
pub(crate) async fn ends_within(sending: &mut Sending, limit: Duration) -> bool {
    !matches!(sending.0.wait_timeout(limit), Err(Error::TimedOut))
}

#[derive(Clone, Debug)]
pub(crate) struct Node(ltp::Node);

#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) node: Node,
    pub(crate) points: Vec<AccessPoint>,
    pub(crate) sendings: Vec<Sending>,
}

impl Node {
    pub(crate) fn bind(at: SocketAddr, options: impl Into<NodeOptions>) -> Result<Self, Error> {
        ltp::Node::bind(at, options).map(Self)
    }

    pub(crate) fn restore(
        at: SocketAddr,
        options: impl Into<NodeOptions>,
        saved: NodeSnapshot,
    ) -> Result<Restored, Error> {
        let restored = ltp::Node::restore(at, options, saved)?;
        Ok(Restored {
            node: Self(restored.node),
            points: restored.points.into_iter().map(AccessPoint).collect(),
            sendings: restored.sendings.into_iter().map(Sending).collect(),
        })
    }

    pub(crate) fn open(&self, client: u64) -> Result<AccessPoint, Error> {
        self.0.open(client).map(AccessPoint)
    }

    pub(crate) fn open_with(&self, client: u64, service: Service) -> Result<AccessPoint, Error> {
        self.0.open_with(client, service).map(AccessPoint)
    }

    pub(crate) async fn suspend(&self) -> Result<NodeSnapshot, Error> {
        self.0.suspend()
    }

    pub(crate) async fn ping(&self, peer: u64) -> Result<Duration, Error> {
        self.0.ping(peer)
    }

    pub(crate) async fn shutdown(&self, limit: Duration) {
        self.0.shutdown(limit);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AccessPoint(ltp::AccessPoint);

impl AccessPoint {
    pub(crate) async fn send(&self, to: u64, data: impl Into<Bytes>) -> Result<SessionId, Error> {
        self.0.send(to, data)
    }

    pub(crate) async fn start(
        &self,
        to: u64,
        data: impl Into<Bytes>,
        red: Red,
    ) -> Result<Sending, Error> {
        self.0.start(to, data, red).map(Sending)
    }

    pub(crate) async fn receive(&self) -> Result<Received, Error> {
        self.0.receive()
    }
}

#[derive(Debug)]
pub(crate) struct Sending(ltp::Sending);

impl Sending {
    pub(crate) async fn wait(&mut self) -> Result<SessionId, Error> {
        self.0.wait()
    }

    pub(crate) fn tag(&self) -> farlink::Tag {
        self.0.tag()
    }
}

macro_rules! plain_methods {
    ($($wrapper:ident)*) => {$(
        impl Deref for $wrapper {
            type Target = ltp::$wrapper;

            fn deref(&self) -> &ltp::$wrapper {
                &self.0
            }
        }
    )*};
}

plain_methods!(Node AccessPoint Sending);
