//! Sockets that a runtime watches.

use std::convert::Infallible;
use std::sync::Arc;

use farlink::adapters::raw::{self, DriverOptions, Events, Notice};
use farlink::adapters::runtime::Runtime;
use farlink::adapters::sockets::{SocketCounters, Sockets};
use farlink::{Instant, Link, Machine, Output, Path, Transmit};
use tokio::time::timeout;

use super::{AT_LAST, LIMITS, bound};

#[cfg(feature = "tokio")]
#[tokio::test]
async fn on_tokio() {
    batches_pass(&farlink::adapters::tokio::runtime()).await;
    a_receiver_that_waits_is_woken(farlink::adapters::tokio::runtime()).await;
}

#[cfg(feature = "blocking")]
#[tokio::test]
async fn on_threads() {
    batches_pass(&farlink::adapters::blocking::runtime()).await;
    a_receiver_that_waits_is_woken(farlink::adapters::blocking::runtime()).await;
}

async fn batches_pass(runtime: &Arc<dyn Runtime>) {
    let mut receiver = Watched::new(runtime);
    let sender = Watched::new(runtime);
    let to = Path::udp(sender.path.local, receiver.path.local);

    sender.commands.command(to).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 46 {
        let octets = receiver.next().await;
        assert_eq!(octets.len(), 1400);
        numbers.push(octets[0]);
    }

    assert_eq!(numbers, (0..46).collect::<Vec<u8>>());
    assert_eq!(sender.counters.stats().udp.sent, 46);
    assert_eq!(receiver.counters.stats().udp.received, 46);
}

async fn a_receiver_that_waits_is_woken(runtime: Arc<dyn Runtime>) {
    let mut receiver = Watched::new(&runtime);
    let to = receiver.path.local;
    let waiting = tokio::spawn(async move { receiver.next().await });
    tokio::task::yield_now().await;

    bound().send_to(b"wake up", to).unwrap();

    assert_eq!(
        timeout(AT_LAST, waiting).await.unwrap().unwrap(),
        b"wake up"
    );
}

/// A machine on one socket, and its handles.
struct Watched {
    commands: raw::Commands<Batch>,
    events: Events<Batch>,
    counters: Arc<SocketCounters>,
    path: Path,
}

impl Watched {
    fn new(runtime: &Arc<dyn Runtime>) -> Self {
        let mut sockets = Sockets::new();
        let path = sockets.add_udp(bound()).unwrap();
        let counters = sockets.counters();
        let options = DriverOptions {
            limits: LIMITS,
            ..DriverOptions::default()
        };
        let driven = raw::sockets(runtime, Batch::default(), sockets, options);
        let (commands, events) = driven.unwrap();
        Self {
            commands,
            events,
            counters,
            path,
        }
    }

    async fn next(&mut self) -> Vec<u8> {
        match timeout(AT_LAST, self.events.recv()).await.unwrap() {
            Some(Notice::Event(octets)) => octets,
            other => panic!("{other:?}"),
        }
    }
}

/// Tells what it receives, and sends a batch of 46 datagrams where it is told to.
#[derive(Default)]
struct Batch {
    received: Vec<Vec<u8>>,
    to: Option<Path>,
}

impl Machine for Batch {
    type Addr = Path;
    type Command = Path;
    type Event = Vec<u8>;
    type Error = Infallible;

    fn receive(&mut self, _: Instant, _: Path, octets: &[u8]) {
        self.received.insert(0, octets.to_vec());
    }

    fn link(&mut self, _: Instant, _: Path, _: Link) {}

    fn command(&mut self, _: Instant, to: Path) -> Result<(), Infallible> {
        self.to = Some(to);
        Ok(())
    }

    fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, Vec<u8>> {
        tx.clear();
        if let Some(octets) = self.received.pop() {
            return Output::Event(octets);
        }
        let Some(to) = self.to.take() else {
            return Output::Idle(None);
        };
        for number in 0..46 {
            assert!(tx.push(to, 1400, |out| out.resize(out.len() + 1400, number)));
        }
        Output::Transmit
    }
}
