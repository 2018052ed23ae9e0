//! What futures that are polled and dropped leave behind, on both runtimes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use farlink::adapters::ltp::AccessPoint;
use farlink::adapters::ltp::{Error, Node, Received};
use farlink::adapters::runtime::Runtime;
use farlink::ltp::{Config, Cue, Peer, Red};
use tokio::time::timeout;

use crate::AT_LAST;
use crate::loopback::here;
use crate::support::{CLIENT, block_of};

macro_rules! on_both_runtimes {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test]
            async fn on_tokio() {
                super::$name(farlink::adapters::tokio::runtime()).await;
            }

            #[tokio::test]
            async fn in_threads() {
                super::$name(farlink::adapters::blocking::runtime()).await;
            }
        }
    )*};
}

on_both_runtimes! {
    every_receive_that_waits_is_interrupted_and_no_other
    a_receive_that_is_dropped_passes_what_it_was_called_for_to_the_next
    blocks_that_wait_for_room_leave_in_the_order_in_which_they_came
    a_block_that_arrives_is_left_to_who_receives_next_when_its_receiver_is_dropped
    pings_of_one_peer_at_a_time_share_the_answer
    receives_that_are_dropped_leave_what_comes_to_the_bound_of_the_engine
}

async fn every_receive_that_waits_is_interrupted_and_no_other(runtime: Arc<dyn Runtime>) {
    let (earth, mars) = pair(&runtime);
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let (mut one, mut other) = (pin!(far.receive()), pin!(far.receive()));
    assert!(is_pending(&mut one).await && is_pending(&mut other).await);

    far.interrupt();

    assert!(matches!(one.await, Err(Error::Interrupted)));
    assert!(matches!(other.await, Err(Error::Interrupted)));
    near.send(2, "hello").await.unwrap();
    assert_eq!(next(&far).await.data, "hello");
}

async fn a_receive_that_is_dropped_passes_what_it_was_called_for_to_the_next(
    runtime: Arc<dyn Runtime>,
) {
    let (earth, mars) = pair(&runtime);
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let mut other = pin!(far.receive());
    {
        let mut one = pin!(far.receive());
        assert!(is_pending(&mut one).await && is_pending(&mut other).await);
        // The first in the line is called when it comes, and never looks.
        near.send(2, "hello").await.unwrap();
    }

    let received = timeout(AT_LAST, other).await.unwrap();
    assert_eq!(received.unwrap().data, "hello");
}

async fn blocks_that_wait_for_room_leave_in_the_order_in_which_they_came(
    runtime: Arc<dyn Runtime>,
) {
    let (earth, mars) = pair(&runtime);
    let mut peer = Peer::at(mars.local_addr());
    peer.limits.exports = 1;
    earth.change_peer(2, peer).unwrap();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    earth.contact(2, Cue::MustStop).unwrap();
    let mut waiting: Vec<_> = ["first", "second", "third", "fourth"]
        .map(|block| Box::pin(near.send(2, block)))
        .into();
    for send in &mut waiting {
        assert!(is_pending(send).await);
    }

    // One that gives up holds nobody behind it up.
    drop(waiting.remove(1));
    earth.contact(2, Cue::MayTransmit).unwrap();
    let sending = tokio::spawn({
        let near = near.clone();
        async move { near.send(2, "fifth").await.map(drop) }
    });
    for send in waiting {
        send.await.unwrap();
    }
    sending.await.unwrap().unwrap();

    for block in ["first", "third", "fourth", "fifth"] {
        assert_eq!(next(&far).await.data, block);
    }
}

async fn a_block_that_arrives_is_left_to_who_receives_next_when_its_receiver_is_dropped(
    runtime: Arc<dyn Runtime>,
) {
    let (earth, mars) = pair(&runtime);
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    {
        let mut receiving = pin!(far.receive());
        assert!(is_pending(&mut receiving).await);
        near.send(2, "hello").await.unwrap();
    }

    assert_eq!(far.try_receive().unwrap().unwrap().data, "hello");
    assert_eq!(far.try_receive().unwrap(), None);
}

async fn pings_of_one_peer_at_a_time_share_the_answer(runtime: Arc<dyn Runtime>) {
    let (earth, _mars) = pair(&runtime);

    // Before it can be asked, let alone answer: both wait.
    earth.contact(2, Cue::MustStop).unwrap();
    let (mut one, mut two) = (pin!(earth.ping(2)), pin!(earth.ping(2)));
    assert!(is_pending(&mut one).await && is_pending(&mut two).await);
    earth.contact(2, Cue::MayTransmit).unwrap();

    let (one, two) = (timeout(AT_LAST, one).await, timeout(AT_LAST, two).await);
    assert_eq!(one.unwrap().unwrap(), two.unwrap().unwrap());
}

/// Tells whether a future has nothing to give yet, having begun to wait.
async fn is_pending(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

async fn receives_that_are_dropped_leave_what_comes_to_the_bound_of_the_engine(
    runtime: Arc<dyn Runtime>,
) {
    const LIMIT: usize = 100_000;
    const SERVICES: u64 = 8;
    let mut config = Config::engine(2);
    config.limits.import_octets = LIMIT;
    let (earth, mars) = pair_with(&runtime, config);
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for client in 1..=SERVICES {
        near.push(earth.open(client).unwrap());
        far.push(mars.open(client).unwrap());
    }
    for point in &far {
        let mut receiving = pin!(point.receive());
        assert!(is_pending(&mut receiving).await);
    }

    // More than fits beside one block that is taken ahead for each: some of it is refused until there is room.
    let block = block_of(20_000);
    let mut sendings = Vec::new();
    for point in near.iter().chain(&near) {
        sendings.push(point.start(2, block.clone(), Red::All).await.unwrap());
    }
    let refused = async {
        while mars.stats().engine.no_room == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(AT_LAST, refused).await.unwrap();

    // A block of each was taken ahead.
    let ahead = usize::try_from(SERVICES).unwrap() * 21_000;
    assert!(mars.stats().waiting_octets <= LIMIT + ahead);
    for point in far.iter().chain(&far) {
        assert!(next(point).await.data == block);
    }
    for mut sending in sendings {
        sending.wait().await.unwrap();
    }
}

fn node(runtime: &Arc<dyn Runtime>, config: Config) -> Node {
    Node::bind_on(runtime, here(), config).unwrap()
}

/// Two nodes that know each other.
fn pair(runtime: &Arc<dyn Runtime>) -> (Node, Node) {
    pair_with(runtime, Config::engine(2))
}

fn pair_with(runtime: &Arc<dyn Runtime>, mars: Config) -> (Node, Node) {
    let (earth, mars) = (node(runtime, Config::engine(1)), node(runtime, mars));
    earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
    (earth, mars)
}

/// Receives the next block, which must come.
async fn next(point: &AccessPoint) -> Received {
    timeout(AT_LAST, point.receive()).await.unwrap().unwrap()
}
