//! What futures that are polled and dropped leave behind.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use farlink::adapters::ltp::Error;
use farlink::ltp::{Cue, Peer, Red};
use tokio::time::timeout;

use super::face::{next, run, spawn};
use super::pair::{node, pair};
use crate::AT_LAST;
use crate::support::CLIENT;

#[test]
fn every_receive_that_waits_is_interrupted_and_no_other() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let (mut one, mut other) = (pin!(far.receive()), pin!(far.receive()));
        assert!(is_pending(&mut one).await && is_pending(&mut other).await);

        far.interrupt();

        assert!(matches!(one.await, Err(Error::Interrupted)));
        assert!(matches!(other.await, Err(Error::Interrupted)));
        near.send(2, "hello").await.unwrap();
        assert_eq!(next(&far).await.data, "hello");
    });
}

#[test]
fn a_receive_that_is_dropped_passes_what_it_was_called_for_to_the_next() {
    run(async {
        let (earth, mars) = pair();
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
    });
}

#[test]
fn blocks_that_wait_for_room_leave_in_the_order_in_which_they_came() {
    run(async {
        let (earth, mars) = pair();
        let mut peer = Peer::new(mars.local_addr());
        peer.max_exports = 1;
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
        let sending = spawn({
            let near = near.clone();
            async move { near.send(2, "fifth").await.map(drop) }
        });
        for send in waiting {
            send.await.unwrap();
        }
        sending.join().await.unwrap();

        for block in ["first", "third", "fourth", "fifth"] {
            assert_eq!(next(&far).await.data, block);
        }
    });
}

#[test]
fn a_runtime_that_ends_takes_its_nodes_with_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let near = first.block_on(async {
        let earth = node(1);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        earth.add_peer(2, Peer::new(nobody)).unwrap();
        earth.open(CLIENT).unwrap()
    });
    let mut sending = first.block_on(near.start(2, "hello", Red::All)).unwrap();
    let receiving = second.spawn({
        let near = near.clone();
        async move { near.receive().await }
    });

    drop(first);

    second.block_on(async {
        assert!(matches!(receiving.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(sending.wait().await, Err(Error::Closed)));
        assert!(matches!(near.send(2, "more").await, Err(Error::Closed)));
    });
}

#[test]
fn a_block_that_arrives_is_left_to_who_receives_next_when_its_receiver_is_dropped() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        {
            let mut receiving = pin!(far.receive());
            assert!(is_pending(&mut receiving).await);
            near.send(2, "hello").await.unwrap();
        }

        assert_eq!(far.try_receive().unwrap().unwrap().data, "hello");
        assert_eq!(far.try_receive().unwrap(), None);
    });
}

#[test]
fn pings_of_one_peer_at_a_time_share_the_answer() {
    run(async {
        let (earth, _mars) = pair();

        let (one, two) = tokio::join!(earth.ping(2), earth.ping(2));

        assert_eq!(one.unwrap(), two.unwrap());
    });
}

/// Tells whether a future has nothing to give yet, having begun to wait.
async fn is_pending(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
