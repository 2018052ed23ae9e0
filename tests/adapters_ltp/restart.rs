//! Nodes that crash or are suspended, and are restored; and pings.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use farlink::adapters::ltp::{Error, NodeOptions, NodeSnapshot, ReceivedKind};
use farlink::ltp::{self, Config, Peer, Reason, Red, Side};

use super::face::{self, AccessPoint, Node, Restored, Sending, end, pause, run, spawn};
use super::pair::{node, pair, slow_down};
use crate::loopback::here;
use crate::support::{CLIENT, block_of, failure, hasty};

#[test]
fn a_sender_that_crashed_goes_on_with_its_blocks_by_their_handles() {
    run(async {
        let mars_at = UdpSocket::bind(here()).unwrap();
        let earth = node(1);
        let earth_at = earth.local_addr();
        earth
            .add_peer(2, Peer::at(mars_at.local_addr().unwrap()))
            .unwrap();
        let near = earth.open(CLIENT).unwrap();
        let small = near.start(2, "small", Red::All).await.unwrap().tag();
        let large = near.start(2, block_of(100_000), Red::All).await.unwrap();
        let tags = [small, large.tag()];

        let saved = earth.snapshot().unwrap();
        assert_eq!(saved.engine(), 1);
        assert!(saved.tags().eq(tags));
        crash(&earth).await;
        let mars_addr = mars_at.local_addr().unwrap();
        drop(mars_at);
        let mars = Node::bind(mars_addr, Config::engine(2)).unwrap();
        mars.add_peer(1, Peer::at(earth_at)).unwrap();
        let far = mars.open(CLIENT).unwrap();
        let mut earth = restored(earth_at, 1, &saved);

        assert!(earth.sendings.iter().map(Sending::tag).eq(tags));
        let mut blocks = [next(&far).await, next(&far).await];
        for sending in &mut earth.sendings {
            end(sending).await.unwrap();
        }
        blocks.sort();
        assert_eq!(blocks, sorted(["small".into(), block_of(100_000).into()]));
        assert_eq!(far.try_receive().unwrap(), None);
        // Names are not given again.
        let third = earth.points[0].start(2, "third", Red::All).await.unwrap();
        assert!(!tags.contains(&third.tag()));
        assert_eq!(next(&far).await, b"third");
    });
}

#[test]
fn a_node_that_was_suspended_goes_on_in_both_directions() {
    run(async {
        let (earth, mars) = pair();
        let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let mars_at = mars.local_addr();
        let mut sending = begun(&earth, &mars, &near).await;

        let saved = mars.suspend().await.unwrap();
        assert!(matches!(mars.snapshot(), Err(Error::Closed)));
        assert!(matches!(mars.open(9), Err(Error::Closed)));
        assert!(!far.is_open());
        let mars = restored(mars_at, 2, &saved);
        earth.change_peer(2, Peer::at(mars_at)).unwrap();

        end(&mut sending).await.unwrap();
        assert_eq!(mars.points.len(), 1);
        let far = &mars.points[0];
        assert_eq!(far.client(), CLIENT);
        assert_eq!(next(far).await, b"not taken");
        assert_eq!(next(far).await, block_of(60_000));
        assert_eq!(far.try_receive().unwrap(), None);
        assert!(mars.sendings.is_empty());
        assert!(matches!(mars.node.open(CLIENT), Err(Error::Refused(_))));
    });
}

#[test]
fn a_receiver_that_crashed_cancels_what_it_had_in_part_and_keeps_what_it_had_whole() {
    run(async {
        let (earth, mars) = pair();
        let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let mars_at = mars.local_addr();
        let mut sending = begun(&earth, &mars, &near).await;

        let saved = mars.snapshot().unwrap();
        crash(&mars).await;
        let mars = restored(mars_at, 2, &saved);
        earth.change_peer(2, Peer::at(mars_at)).unwrap();

        let outcome = end(&mut sending).await;
        assert_eq!(
            failure(outcome.unwrap_err()),
            (Side::Remote, Reason::SYSTEM)
        );
        assert_eq!(next(&mars.points[0]).await, b"not taken");
        let received = face::next(&mars.points[0]).await;
        assert!(matches!(received.kind, ReceivedKind::Cancelled { .. }));
    });
}

#[test]
fn the_end_of_a_block_that_nobody_asked_for_is_told_after_a_restart() {
    run(async {
        let (earth, mars) = pair();
        let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let sending = near.start(2, "hello", Red::All).await.unwrap();
        while earth.stats().exports > 0 {
            pause().await;
        }

        let saved = earth.suspend().await.unwrap();
        let mut earth = restored(here(), 1, &saved);

        assert_eq!(earth.sendings.len(), 1);
        assert_eq!(earth.sendings[0].tag(), sending.tag());
        let session = earth.sendings[0].wait().await.unwrap();
        assert_eq!(session.originator, 1);
    });
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    run(async {
        let earth = node(1);
        let peer = "127.0.0.1:9".parse().unwrap();
        earth.add_peer(2, Peer::at(peer)).unwrap();
        let saved = earth.snapshot().unwrap();
        let refused =
            |address, options: NodeOptions| Node::restore(address, options, saved.clone());

        let other = refused(here(), Config::engine(3).into()).unwrap_err();
        assert_eq!(other.to_string(), "snapshot of engine 1, this is engine 3");
        let far = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let unreachable = refused(far, Config::engine(1).into()).unwrap_err();
        let message = unreachable.to_string();
        assert!(message.ends_with("cannot reach a peer at 127.0.0.1:9"));
    });
}

#[test]
fn a_peer_that_is_there_answers_a_ping_and_one_that_is_not_is_silent() {
    run(async {
        let (earth, _mars) = pair();
        let silent = UdpSocket::bind(here()).unwrap();
        let peer = hasty(silent.local_addr().unwrap());
        earth.add_peer(3, peer).unwrap();

        earth.ping(2).await.unwrap();
        let error = earth.ping(3).await.unwrap_err();
        assert_eq!(error.to_string(), "engine 3 does not answer");
        assert!(matches!(error, Error::Silent { peer: 3 }));
        let unknown = ltp::Error::UnknownPeer(4);
        assert!(matches!(earth.ping(4).await, Err(Error::Refused(error)) if error == unknown));
    });
}

#[test]
fn a_ping_hears_of_the_end_of_the_peer_and_of_the_node() {
    run(async {
        let silent = UdpSocket::bind(here()).unwrap();
        let earth = node(1);
        let at = silent.local_addr().unwrap();
        for is_node in [false, true] {
            earth.add_peer(2, Peer::at(at)).unwrap();
            let asking = {
                let earth = earth.clone();
                spawn(async move { earth.ping(2).await })
            };
            // The question: it is waited for.
            let mut question = [0; 100];
            assert!(silent.recv(&mut question).unwrap() > 0);
            if is_node {
                earth.suspend().await.unwrap();
            } else {
                earth.remove_peer(2).unwrap();
            }
            let outcome = asking.join().await;
            if is_node {
                assert!(matches!(outcome, Err(Error::Closed)));
            } else {
                assert!(matches!(outcome, Err(Error::Silent { peer: 2 })));
            }
        }
    });
}

/// Ends a node without a word, as a crash does.
async fn crash(node: &Node) {
    drop(node.suspend().await.unwrap());
}

/// Takes a node up, from a disk where that can be.
fn restored(at: SocketAddr, engine: u64, saved: &NodeSnapshot) -> Restored {
    #[cfg(feature = "serde")]
    let saved: &NodeSnapshot =
        &serde_json::from_str(&serde_json::to_string(saved).unwrap()).unwrap();
    Node::restore(at, Config::engine(engine), saved.clone()).unwrap()
}

async fn next(point: &AccessPoint) -> Vec<u8> {
    let received = face::next(point).await;
    assert_eq!(received.kind, ReceivedKind::Whole { ends_block: true });
    received.data.into()
}

fn sorted(mut blocks: [Vec<u8>; 2]) -> [Vec<u8>; 2] {
    blocks.sort();
    blocks
}

/// Sends a block that nobody takes, and the beginning of another one.
async fn begun(earth: &Node, mars: &Node, near: &AccessPoint) -> Sending {
    near.send(2, "not taken").await.unwrap();
    // A part of the block, and hardly any more.
    slow_down(earth, mars, 1000);
    let sending = near.start(2, block_of(60_000), Red::All).await.unwrap();
    while mars.stats().engine.red_octets < 5000 {
        pause().await;
    }
    sending
}

#[test]
fn blocks_arrive_once_however_often_both_nodes_are_suspended() {
    run(async {
        let (earth, mars) = pair();
        let (earth_at, mars_at) = (earth.local_addr(), mars.local_addr());
        let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
        let blocks: Vec<_> = (1..=30).map(|number| block_of(number * 1000)).collect();
        for block in &blocks {
            near.start(2, block.clone(), Red::All).await.unwrap();
        }

        let mut far = restored(mars_at, 2, &mars.suspend().await.unwrap());
        let mut near = restored(earth_at, 1, &earth.suspend().await.unwrap());
        let mut received = Vec::new();
        while received.len() < blocks.len() {
            received.push(next(&far.points[0]).await);
            if received.len() % 4 == 0 {
                far = restored(mars_at, 2, &far.node.suspend().await.unwrap());
            }
            if received.len() % 5 == 0 {
                near = restored(earth_at, 1, &near.node.suspend().await.unwrap());
            }
        }

        for sending in &mut near.sendings {
            end(sending).await.unwrap();
        }
        received.sort_by_key(Vec::len);
        assert_eq!(received, blocks);
        assert_eq!(far.points[0].try_receive().unwrap(), None);
    });
}
