//! What is given up, what waits in line, and what a panic leaves: COTP connections on both runtimes.

use std::io::Read;
use std::net::TcpListener;
use std::task::Poll;
use std::time::Duration;

use farlink::adapters::cotp::{ConnectionFactory, ConnectionOptions, Error};
use farlink::cotp::{Command, Config, Event, Policy};
use farlink::{AsMachine, BoxedMachine, Instant, Link, Machine, Output, Transmit};

use crate::cotp::{TOO_MUCH, client};
use crate::loopback::here;
use crate::on::{On, is_pending, on_both, poll_once};

on_both! {
async fn a_connect_that_is_given_up_closes(on: On) {
    let listener = TcpListener::bind(here()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connecting = Box::pin(on.connect(address, client()));
    assert!(is_pending(&mut connecting).await);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    while is_pending(&mut connecting).await {
        let mut request = [0; 100];
        if stream.read(&mut request).is_ok() {
            break;
        }
        on.sleep(Duration::from_millis(1)).await;
    }
    stream.set_nonblocking(false).unwrap();
    drop(connecting);

    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

async fn a_send_that_is_given_up_has_sent_its_message_whole_or_not_at_all(on: On) {
    const COUNT: u32 = 2000;
    let mut config = client();
    config.limits.send_queue = 8192;
    let (near, mut far) = on.pair(config).await;
    let sender = on.spawn(async move {
        let mut accepted = Vec::new();
        for number in 0..COUNT {
            let message = [&number.to_be_bytes()[..], &[7; 3000]].concat();
            let mut sending = Box::pin(near.send(message));
            let is_given_up = is_pending(&mut sending).await;
            if !is_given_up {
                accepted.push(number);
            } else if number % 3 == 0 {
                sending.await.unwrap();
                accepted.push(number);
            }
        }
        near.close().await.unwrap();
        accepted
    });

    let mut received = Vec::new();
    while let Some(message) = far.receive().await.unwrap() {
        assert_eq!(message.len(), 3004);
        received.push(u32::from_be_bytes(message[..4].try_into().unwrap()));
    }

    assert_eq!(received, sender.await.unwrap());
}

async fn a_receive_that_is_given_up_has_taken_nothing(on: On) {
    const COUNT: u32 = 2000;
    let (near, mut far) = on.pair(client()).await;
    let sender = on.spawn(async move {
        for number in 0..COUNT {
            near.send(number.to_be_bytes().to_vec()).await.unwrap();
            near.flush().await.unwrap();
        }
        near
    });

    let mut given_up = 0;
    for number in 0..COUNT {
        let mut message = None;
        while message.is_none() {
            // Dropped while it waits, or just when the message comes.
            let mut receiving = Box::pin(far.receive());
            match poll_once(&mut receiving).await {
                Poll::Ready(received) => message = received.unwrap(),
                Poll::Pending if given_up < 10_000 => given_up += 1,
                Poll::Pending => message = receiving.await.unwrap(),
            }
        }
        assert_eq!(message.unwrap()[..], number.to_be_bytes());
    }
    assert!(given_up > 0);
    drop(sender.await.unwrap());
}

async fn messages_of_many_senders_wait_in_line_and_a_close_behind_them(on: On) {
    let mut config = client();
    config.limits.send_queue = 64_000;
    let (near, mut far) = on.pair(config).await;
    let (sender, _receiver) = near.split();
    // Each waits for room behind the one before.
    let mut waiting = Vec::new();
    for number in 0..250_u8 {
        let sender = sender.clone();
        waiting.push(Box::pin(async move { sender.send(vec![number; 60_000]).await }));
    }
    let mut closing = Box::pin(sender.close());
    let mut pending = Vec::new();
    for mut waiting in waiting {
        if is_pending(&mut waiting).await {
            pending.push(waiting);
        }
    }
    assert!(!pending.is_empty() && is_pending(&mut closing).await);

    let all = on.spawn(async move {
        for waiting in pending {
            waiting.await.unwrap();
        }
        closing.await
    });
    for number in 0..250 {
        assert!(far.receive().await.unwrap().unwrap() == vec![number; 60_000]);
    }
    assert_eq!(far.receive().await.unwrap(), None);

    all.await.unwrap().unwrap();
}

async fn a_close_behind_messages_that_find_no_room_gives_up_in_time(on: On) {
    let mut config = client();
    config.timers.drain_timeout = Duration::from_millis(50);
    config.limits.send_queue = 2 * TOO_MUCH;
    let (near, raw) = on.raw_peer(config).await;
    let (sender, _receiver) = near.split();
    sender.send(vec![7; TOO_MUCH]).await.unwrap();
    sender.send(vec![7; TOO_MUCH - 1000]).await.unwrap();
    let clone = sender.clone();
    let mut waiting = Box::pin(clone.send(vec![7; TOO_MUCH]));
    assert!(is_pending(&mut waiting).await);

    let closed = sender.close().await.unwrap_err();

    assert!(matches!(closed, Error::Ended(_)), "{closed}");
    waiting.await.unwrap_err();
    drop(raw);
}

async fn a_machine_that_panics_ends_its_connection_alone(on: On) {
    let (mut near, mut far) = on.pair(client()).await;
    let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
    options.factory = ConnectionFactory::new(|(config, seed, _)| {
        let inner = farlink::cotp::Connection::new(config, &seed)?;
        Ok(BoxedMachine::new(Panics(inner)))
    });
    let listener = on.listen(options).unwrap();
    let address = listener.local_addr();
    let victim = on.connect(address, client()).await.unwrap();
    let mut panicking = listener.accept().await.unwrap();

    victim.send("panic").await.unwrap();

    let error = panicking.receive().await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    assert!(matches!(panicking.send("late").await, Err(Error::Closed)));
    near.send("there").await.unwrap();
    let message = far.receive().await.unwrap().unwrap();
    far.send(message).await.unwrap();
    assert_eq!(near.receive().await.unwrap().unwrap(), "there");
}
}

/// A connection that panics when a message comes.
struct Panics(farlink::cotp::Connection);

impl Machine for Panics {
    type Addr = ();
    type Command = Command;
    type Event = Event;
    type Error = farlink::cotp::Error;

    fn receive(&mut self, now: Instant, from: (), octets: &[u8]) {
        self.0.receive(now, from, octets);
    }

    fn link(&mut self, now: Instant, at: (), state: Link) {
        self.0.link(now, at, state);
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), farlink::cotp::Error> {
        self.0.command(now, command)
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<()>) -> Output<(), Event> {
        let output = self.0.poll(now, tx);
        assert!(
            !matches!(output, Output::Event(Event::Received(_))),
            "a panic of the test"
        );
        output
    }
}

impl AsMachine<farlink::cotp::Connection> for Panics {
    fn as_machine(&self) -> &farlink::cotp::Connection {
        &self.0
    }
}
