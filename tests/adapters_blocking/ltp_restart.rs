//! LTP nodes in threads that crash or are put aside, and are taken up again; and whether peers are there.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::thread;

use farlink::adapters::blocking::ltp::{AccessPoint, Node, NodeSnapshot, Restored, Sending};
use farlink::adapters::ltp::{Error, Kind, Maker, Options};
use farlink::ltp::{self, Config, Engine, Peer, Reason, Red, Side};

use super::AT_LAST;
use super::loopback::here;
use super::ltp::{node, pair};
use super::ltp_nodes::{CLIENT, block_of, failure, hasty};

#[test]
fn a_sender_that_crashed_goes_on_with_its_blocks_by_their_handles() {
    let mars_at = UdpSocket::bind(here()).unwrap();
    let earth = node(1);
    let earth_at = earth.local_addr();
    earth
        .add_peer(2, Peer::new(mars_at.local_addr().unwrap()))
        .unwrap();
    let near = earth.open(CLIENT).unwrap();
    let small = near.start(2, "small", Red::All).unwrap().tag();
    let large = near.start(2, block_of(100_000), Red::All).unwrap();
    let tags = [small, large.tag()];

    let saved = earth.snapshot().unwrap();
    assert_eq!(saved.engine(), 1);
    assert!(saved.tags().eq(tags));
    crash(&earth);
    let mars_addr = mars_at.local_addr().unwrap();
    drop(mars_at);
    let mars = Node::bind(mars_addr, Config::engine(2)).unwrap();
    mars.add_peer(1, Peer::new(earth_at)).unwrap();
    let far = mars.open(CLIENT).unwrap();
    let mut earth = restored(earth_at, 1, &saved);

    assert!(earth.sendings.iter().map(Sending::tag).eq(tags));
    for sending in &mut earth.sendings {
        sending.wait_timeout(AT_LAST).unwrap().unwrap();
    }
    let mut blocks = [next(&far), next(&far)];
    blocks.sort();
    assert_eq!(blocks, sorted(["small".into(), block_of(100_000).into()]));
    assert_eq!(far.try_receive().unwrap(), None);
    // Names are not given again.
    let third = earth.points[0].start(2, "third", Red::All).unwrap();
    assert!(!tags.contains(&third.tag()));
    assert_eq!(next(&far), b"third");
}

#[test]
fn a_node_that_was_suspended_goes_on_in_both_directions() {
    let (earth, mars) = pair();
    let (near, far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let mars_at = mars.local_addr();
    let mut sending = begun(&earth, &mars, &near);

    let saved = mars.suspend().unwrap();
    assert!(matches!(mars.snapshot(), Err(Error::Closed)));
    assert!(matches!(mars.open(9), Err(Error::Closed)));
    assert!(!far.is_open());
    let mars = restored(mars_at, 2, &saved);
    earth.change_peer(2, Peer::new(mars_at)).unwrap();

    sending.wait_timeout(AT_LAST).unwrap().unwrap();
    assert_eq!(mars.points.len(), 1);
    let far = &mars.points[0];
    assert_eq!(far.client(), CLIENT);
    assert_eq!(next(far), b"not taken");
    assert_eq!(next(far), block_of(60_000));
    assert_eq!(far.try_receive().unwrap(), None);
    assert!(mars.sendings.is_empty());
    assert!(matches!(mars.node.open(CLIENT), Err(Error::Refused(_))));
}

#[test]
fn blocks_arrive_once_however_often_both_nodes_are_put_aside() {
    let (earth, mars) = pair();
    let (earth_at, mars_at) = (earth.local_addr(), mars.local_addr());
    let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let blocks: Vec<_> = (1..=30).map(|number| block_of(number * 1000)).collect();
    for block in &blocks {
        near.start(2, block.clone(), Red::All).unwrap();
    }

    let mut far = restored(mars_at, 2, &mars.suspend().unwrap());
    let mut near = restored(earth_at, 1, &earth.suspend().unwrap());
    let mut received = Vec::new();
    while received.len() < blocks.len() {
        received.push(next(&far.points[0]));
        if received.len() % 4 == 0 {
            far = restored(mars_at, 2, &far.node.suspend().unwrap());
        }
        if received.len() % 5 == 0 {
            near = restored(earth_at, 1, &near.node.suspend().unwrap());
        }
    }

    for sending in &mut near.sendings {
        sending.wait_timeout(AT_LAST).unwrap().unwrap();
    }
    received.sort_by_key(Vec::len);
    assert_eq!(received, blocks);
    assert_eq!(far.points[0].try_receive().unwrap(), None);
}

#[test]
fn a_receiver_that_crashed_cancels_what_it_had_in_part_and_keeps_what_it_had_whole() {
    let (earth, mars) = pair();
    let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let mars_at = mars.local_addr();
    let mut sending = begun(&earth, &mars, &near);

    let saved = mars.snapshot().unwrap();
    crash(&mars);
    let mars = restored(mars_at, 2, &saved);
    earth.change_peer(2, Peer::new(mars_at)).unwrap();

    let outcome = sending.wait_timeout(AT_LAST);
    assert_eq!(
        failure(outcome.unwrap_err()),
        (Side::Remote, Reason::SYSTEM)
    );
    assert_eq!(next(&mars.points[0]), b"not taken");
    let received = mars.points[0].receive_timeout(AT_LAST);
    assert!(matches!(
        received.unwrap().unwrap().kind,
        Kind::Cancelled { .. }
    ));
}

#[test]
fn the_end_of_a_block_that_nobody_asked_for_is_told_after_a_restart() {
    let (earth, mars) = pair();
    let (near, _far) = (earth.open(CLIENT).unwrap(), mars.open(CLIENT).unwrap());
    let sending = near.start(2, "hello", Red::All).unwrap();
    while earth.stats().exports > 0 {
        thread::yield_now();
    }

    let saved = earth.suspend().unwrap();
    let mut earth = restored(here(), 1, &saved);

    assert_eq!(earth.sendings.len(), 1);
    assert_eq!(earth.sendings[0].tag(), sending.tag());
    let session = earth.sendings[0].wait().unwrap();
    assert_eq!(session.originator, 1);
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let earth = node(1);
    let peer = "127.0.0.1:9".parse().unwrap();
    earth.add_peer(2, Peer::new(peer)).unwrap();
    let saved = earth.snapshot().unwrap();
    let refused = |address, options: Options| Node::restore(address, options, saved.clone());

    let other = refused(here(), Config::engine(3).into()).unwrap_err();
    assert_eq!(other.to_string(), "snapshot of engine 1, this is engine 3");
    let far = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let unreachable = refused(far, Config::engine(1).into()).unwrap_err();
    let message = unreachable.to_string();
    assert!(message.ends_with("cannot reach a peer at 127.0.0.1:9"));
    let mut options = Options::from(Config::engine(1));
    options.maker = Maker::new(|config, seed, _| Ok(Box::new(Engine::new(config, seed)?)));
    assert!(matches!(refused(here(), options), Err(Error::Io(_))));
}

#[test]
fn a_peer_that_is_there_answers_a_ping_and_one_that_is_not_is_silent() {
    let (earth, _mars) = pair();
    let silent = UdpSocket::bind(here()).unwrap();
    let peer = hasty(silent.local_addr().unwrap());
    earth.add_peer(3, peer).unwrap();

    earth.ping(2).unwrap();
    let error = earth.ping(3).unwrap_err();
    assert_eq!(error.to_string(), "engine 3 does not answer");
    assert!(matches!(error, Error::Silent { peer: 3 }));
    let unknown = ltp::Error::UnknownPeer(4);
    assert!(matches!(earth.ping(4), Err(Error::Refused(error)) if error == unknown));
}

#[test]
fn a_ping_hears_of_the_end_of_the_peer_and_of_the_node() {
    let (earth, silent) = (node(1), UdpSocket::bind(here()).unwrap());
    let at = silent.local_addr().unwrap();
    for is_node in [false, true] {
        earth.add_peer(2, Peer::new(at)).unwrap();
        let asking = {
            let earth = earth.clone();
            thread::spawn(move || earth.ping(2))
        };
        // The question: it is waited for.
        let mut question = [0; 100];
        assert!(silent.recv(&mut question).unwrap() > 0);
        if is_node {
            earth.suspend().unwrap();
        } else {
            earth.remove_peer(2).unwrap();
        }
        let outcome = asking.join().unwrap();
        if is_node {
            assert!(matches!(outcome, Err(Error::Closed)));
        } else {
            assert!(matches!(outcome, Err(Error::Silent { peer: 2 })));
        }
    }
}

/// Ends a node without a word, as a crash does.
fn crash(node: &Node) {
    drop(node.suspend().unwrap());
}

/// Takes a node up, from a disk where that can be.
fn restored(at: SocketAddr, engine: u64, saved: &NodeSnapshot) -> Restored {
    #[cfg(feature = "serde")]
    let saved: &NodeSnapshot =
        &serde_json::from_str(&serde_json::to_string(saved).unwrap()).unwrap();
    Node::restore(at, Config::engine(engine), saved.clone()).unwrap()
}

fn next(point: &AccessPoint) -> Vec<u8> {
    let received = point.receive_timeout(AT_LAST).unwrap().unwrap();
    assert_eq!(received.kind, Kind::Whole { ends_block: true });
    received.data.into()
}

fn sorted(mut blocks: [Vec<u8>; 2]) -> [Vec<u8>; 2] {
    blocks.sort();
    blocks
}

/// Sends a block that nobody takes, and the beginning of another one.
fn begun(earth: &Node, mars: &Node, near: &AccessPoint) -> Sending {
    near.send(2, "not taken").unwrap();
    slow_down(earth, mars);
    let sending = near.start(2, block_of(60_000), Red::All).unwrap();
    while mars.stats().engine.red_octets < 5000 {
        thread::yield_now();
    }
    sending
}

/// Lets `from` send a part of a block to `to`, and hardly any more.
fn slow_down(from: &Node, to: &Node) {
    let mut peer = Peer::new(to.local_addr());
    peer.rate = NonZeroU64::new(1000);
    peer.burst = 10_000;
    from.change_peer(2, peer).unwrap();
}
