//! Hubs of ZMQ as interfaces: a proxy to which nodes publish their packets, and from which they get those of others.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::thread;

use bytes::Bytes;
use futures_lite::StreamExt as _;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};
use tokio_util::sync::PollSender;
use zeromq::{
    Socket as _, SocketEvent, SocketRecv as _, SocketSend as _, XPubSocket, XSubSocket, ZmqError,
    ZmqMessage,
};

use super::interfaces::{Interfaces, PacketDevice};
#[cfg(doc)]
use crate::csp::{Encapsulation, carriers::subscriptions};

/// Messages that wait in each direction at most.
const QUEUE: usize = 64;
/// The time between attempts to reach a hub.
const RETRY: Duration = Duration::from_millis(500);
/// How long a publisher waits for the hub to tell of this node's own subscription.
const JOIN: Duration = Duration::from_secs(1);

/// A hub, and what this node takes from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "two ends of a proxy and a filter"
)]
pub struct ZmqHub {
    /// Where nodes publish, such as `tcp://127.0.0.1:6000`.
    pub publish: String,
    /// Where they subscribe, such as `tcp://127.0.0.1:7000`.
    pub subscribe: String,
    /// The first octets of the messages that this node takes, as [`subscriptions`] gives them. An empty one takes all.
    pub subscriptions: Vec<Vec<u8>>,
}

impl ZmqHub {
    /// The hub of a host at the ports that libcsp has: 6000 and 7000.
    #[must_use]
    pub fn new(host: &str, subscriptions: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            publish: format!("tcp://{host}:6000"),
            subscribe: format!("tcp://{host}:7000"),
            subscriptions: subscriptions.into_iter().collect(),
        }
    }
}

impl Interfaces {
    /// Makes `interface` a hub of ZMQ, which is connected to in a thread of its own, again and again while it is not
    /// there. Its encapsulation is [`Encapsulation::Packet`] in version 2, and in version 1 what the other nodes have.
    ///
    /// # Errors
    ///
    /// The system starts no thread, or as [`add_udp`](Self::add_udp).
    pub fn add_zmq(&mut self, interface: u8, hub: ZmqHub) -> io::Result<()> {
        self.add_device(interface, Box::new(start(hub)?))
    }
}

/// Starts the thread of a hub.
fn start(hub: ZmqHub) -> io::Result<ZmqIo> {
    let (outgoing, to_send) = channel(QUEUE);
    let (received, incoming) = channel(QUEUE);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let run = move || runtime.block_on(run(&hub, to_send, received));
    let thread = thread::Builder::new().name("farlink zmq".into());
    thread.spawn(run)?;
    let outgoing = PollSender::new(outgoing);
    Ok(ZmqIo { outgoing, incoming })
}

struct ZmqIo {
    outgoing: PollSender<Bytes>,
    incoming: Receiver<Bytes>,
}

impl PacketDevice for ZmqIo {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: u16, packet: &[u8]) -> Poll<io::Result<()>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.outgoing.poll_reserve(cx)).map_err(gone)?;
        let packet = Bytes::copy_from_slice(packet);
        Poll::Ready(self.outgoing.send_item(packet).map_err(gone))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, u16)>> {
        let Some(message) = ready!(self.incoming.poll_recv(cx)) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let place = buffer.get_mut(..message.len());
        place
            .ok_or(io::ErrorKind::InvalidData)?
            .copy_from_slice(&message);
        Poll::Ready(Ok((message.len(), 0)))
    }
}

/// Carries messages until the interface is dropped.
async fn run(hub: &ZmqHub, mut to_send: Receiver<Bytes>, received: Sender<Bytes>) {
    while !received.is_closed() {
        if let Ok(()) = carry(hub, &mut to_send, &received).await {
            return;
        }
        report!(debug, ?hub, "no hub, or it has gone");
        tokio::select! {
            () = received.closed() => return,
            () = sleep(RETRY) => {}
        }
    }
}

/// Connects to a hub and carries messages. `Ok` once the interface is dropped.
async fn carry(
    hub: &ZmqHub,
    to_send: &mut Receiver<Bytes>,
    received: &Sender<Bytes>,
) -> Result<(), ZmqError> {
    let (mut publisher, mut subscriber) = (XPubSocket::new(), XSubSocket::new());
    let mut events = subscriber.monitor();
    for prefix in &hub.subscriptions {
        // As text it could not have all prefixes.
        let subscription = [&[1][..], prefix].concat();
        subscriber.send(subscription.into()).await?;
    }
    tokio::select! {
        connected = publisher.connect(&hub.publish) => connected?,
        () = received.closed() => return Ok(()),
    }
    tokio::select! {
        connected = subscriber.connect(&hub.subscribe) => connected?,
        () = received.closed() => return Ok(()),
    }
    // Once the hub passes on what this node subscribes to, it does so to all nodes: none misses the first packet or
    // its answer.
    let joined = timeout(JOIN, publisher.recv()).await;
    joined.unwrap_or_else(|_| Ok(Vec::new().into()))?;
    loop {
        tokio::select! {
            packet = to_send.recv() => match packet {
                Some(packet) => publisher.send(packet.into()).await?,
                None => return Ok(()),
            },
            message = subscriber.recv() => {
                let mut frames = ZmqMessage::into_vec(message?).into_iter();
                if let (Some(packet), None) = (frames.next(), frames.next())
                    && received.send(packet).await.is_err()
                {
                    return Ok(());
                }
            }
            // Subscriptions of others, by which it knows what to send.
            subscription = publisher.recv() => drop(subscription?),
            event = events.next() => if let Some(SocketEvent::Disconnected(_)) = event {
                return Err(ZmqError::Other("the hub has gone"));
            },
        }
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;
    use core::future::poll_fn;

    use zeromq::proxy;

    use super::*;

    async fn send(device: &mut ZmqIo, packet: &[u8]) {
        let sent = poll_fn(|cx| device.poll_send(cx, 0, packet)).await;
        assert!(sent.is_ok(), "{sent:?}");
    }

    async fn receive(device: &mut ZmqIo) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let received = poll_fn(|cx| device.poll_receive(cx, &mut buffer)).await;
        let count = received.map_or(0, |(count, _)| count);
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn a_hub_that_comes_late_carries_what_was_subscribed_to_by_octets() {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut front, mut back) = (XSubSocket::new(), XPubSocket::new());
            let publish = front.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
            let subscribe = back.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
            let hub = |subscriptions| ZmqHub {
                publish: publish.clone(),
                subscribe: subscribe.clone(),
                subscriptions,
            };
            // No text begins with 0xC0.
            let mut node = start(hub(vec![vec![0xC0, 5]])).unwrap();
            let mut all = start(hub(vec![vec![]])).unwrap();
            // What is published before the other node has joined is lost, as on any hub.
            let passed = async {
                loop {
                    for packet in [&[0x40, 5, 1][..], &[0xC0, 6, 2], &[0xC0, 5, 3]] {
                        send(&mut all, packet).await;
                    }
                    let received = receive(&mut node);
                    if let Ok(packet) = timeout(Duration::from_millis(100), received).await {
                        break packet;
                    }
                }
            };

            let received = ::tokio::select! {
                _ = proxy(front, back, None) => panic!("the hub ended"),
                received = passed => received,
            };

            assert_eq!(received, [0xC0, 5, 3]);
        });
    }
}
